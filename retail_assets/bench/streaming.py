"""Measures the streaming service: latency, the rate that it keeps up with, catching up, and a week's state.

Belongs here: what is measured in which order, and the report. Does not belong here: the load (`streaming_load`) and the
rival (`streaming_rival`).

A broker, a warehouse and the service run in folders of their own, on this machine together with the load: its
processors are shared by all four. Latency is from the moment that a probe is handed to the producer until a query on
the warehouse has returned its row, polling included.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import psutil
from clickhouse_connect.driver.client import Client
from rich.console import Console

from retail_assets.bench.errors import BenchError
from retail_assets.bench.own_stack import own_stack
from retail_assets.bench.report import describe_machine, publish
from retail_assets.bench.streaming_load import PROBE_STORE, SCENARIO, Sent, probe_name, send
from retail_assets.bench.streaming_rival import CREATE, RIVAL_TABLE, consume
from retail_assets.resources.clickhouse import connect
from retail_assets.resources.kafka import KafkaResource
from retail_assets.resources.migrations import migrate
from retail_assets.resources.topics import read_topic_settings
from retail_assets.resources.warehouse_schema import documented_columns
from retail_assets.settings import Settings, settings_of_children
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.simulation import simulate
from retail_assets.simulator.tills.live import LiveStream, SimulatedDays, by_speed
from retail_assets.simulator.tills.plan import StreamPlan

REPORT_NAME: Final = "bench_streaming.json"
PARTS: Final = ("latency", "sustained", "catch-up", "week")
#: Rates that are tried, messages a second, until one is too fast.
RATES: Final = (2_500, 5_000, 10_000, 15_000, 20_000)
_POLL_S: Final = 0.2
_PATIENCE_S: Final = 600.0
#: A rate is kept up with when what was left at the end, a batch or two of each query, is written so soon.
_BOUNDED_S: Final = 10.0
_MB: Final = 1 << 20
_WARM_UP_S: Final = 60
#: Where a probe shows: table and column, by the query that writes it.
_PROBES: Final = {
    "sales": ("rt_sales_velocity", "product_id"),
    "inventory": ("rt_inventory", "product_id"),
    "tills": ("rt_pos_health", "register_id"),
}
_STATEFUL: Final = tuple(_PROBES)
_STATE_ROWS: Final = (
    "SELECT sum(rows) FROM (SELECT argMax(state_rows, at) AS rows FROM rt_query_progress FINAL GROUP BY query)"
)


@dataclass(frozen=True)
class Sizes:
    """How much is sent.

    Attributes:
        rate: messages a second for the latency.
        seconds: for so long.
        step_seconds: how long each rate is tried.
        backlog: messages that wait when the service starts.
        week_days: days of the simulated stream.
        speed: its seconds of the stream in a second.
    """

    rate: int
    seconds: int
    step_seconds: int
    backlog: int
    week_days: int
    speed: float


@dataclass
class Service:
    """`retail-streaming run` in a folder of its own, followed by what it logs."""

    folder: Path
    settings: Settings
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def _log(self) -> Path:
        return self.folder / "service.log"

    def start(self, checkpoints: str) -> None:
        """Start it, with checkpoints of its own."""
        own = {
            "var_dir": str(self.settings.var_dir),
            "kafka_port": str(self.settings.kafka_port),
            "clickhouse_port": str(self.settings.clickhouse_port),
            "stream_checkpoint_uri": (self.folder / checkpoints).as_uri(),
            # Another service may have the port.
            "stream_http_port": "0",
        }
        with self._log.open("wb") as out, (self.folder / "service.err").open("wb") as err, settings_of_children(own):
            self.process = subprocess.Popen(
                [sys.executable, "-m", "retail_streaming", "run"], cwd=self.folder, stdout=out, stderr=err
            )

    def stop(self) -> None:
        """End it well."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=90)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return its log lines of one kind.

        Raises:
            BenchError: it has ended.
        """
        if self.process is not None and self.process.poll() is not None:
            raise BenchError(f"the service ended: {(self.folder / 'service.err').read_text()[-2000:]}")
        text = self._log.read_text(encoding="utf-8")
        whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in map(json.loads, whole) if line["event"] == event]

    def messages_read(self) -> int:
        """Return how many messages the queries with state have finished with."""
        return sum(line["rows_in"] for line in self.lines("batch") if line["query"] in _STATEFUL)

    def wait_until_started(self) -> None:
        """Wait until all queries run."""
        _until(lambda: bool(self.lines("service started")), "the service doesn't start")

    def wait_for(self, messages: int) -> float:
        """Wait until so many messages are finished with; return the seconds that it took."""
        began = time.monotonic()
        _until(lambda: self.messages_read() >= messages, f"the service doesn't get to {messages:,} messages")
        return time.monotonic() - began


def run_streaming_bench(settings: Settings, sizes: Sizes, parts: tuple[str, ...], *, as_json: bool) -> dict[str, Any]:
    """Measure, show, and write the report.

    Args:
        settings: say where Java and the jars are, and where the report goes.
        sizes: how much to send.
        parts: which measurements, of `PARTS`.
        as_json: print the report as JSON, and nothing else, on standard output.

    Raises:
        StackError: the broker or the warehouse doesn't start.
        BenchError: a measurement failed.
    """
    console = Console(stderr=as_json, soft_wrap=True, highlight=False)
    report: dict[str, Any] = {"machine": asdict(describe_machine(settings)), "sizes": asdict(sizes)}
    with _stack(settings) as own, contextlib.closing(connect(own, database=own.clickhouse_database)) as warehouse:
        measurements: dict[str, Callable[[], dict[str, Any]]] = {
            "latency": lambda: _latency(own, warehouse, sizes, console),
            "sustained": lambda: _sustained(own, sizes, console),
            "catch-up": lambda: _catch_up(own, warehouse, sizes, console),
            "week": lambda: _week(own, warehouse, sizes, console),
        }
        for name, measure in measurements.items():
            if name in parts:
                _empty(own, warehouse)
                report = _merged(report, measure())
    publish(settings, REPORT_NAME, report, console, as_json=as_json)
    return report


def _latency(own: Settings, warehouse: Client, sizes: Sizes, console: Console) -> dict[str, Any]:
    """Measure the service and the rival, one after the other, at the same rate."""
    console.print(f"latency at {sizes.rate:,} messages a second, {sizes.seconds} s")
    with _service(own) as service:
        service.wait_until_started()
        _warm_up(own, service, sizes.rate)
        with _load_process(own, sizes.rate, sizes.rate * sizes.seconds, "latency") as load:
            seen = _watch_probes(warehouse, _PROBES, load)
        ours = _percentiles(seen, load.sent())
    console.print(f"  service  p50 {ours['p50_s']:.2f} s, p99 {ours['p99_s']:.2f} s")
    _empty(own, warehouse)
    with _rival(own, warehouse, "latency"):
        with _load_process(own, sizes.rate, sizes.rate * min(sizes.seconds, 60), "rival") as load:
            seen = _watch_probes(warehouse, {"rival": (RIVAL_TABLE, "name")}, load)
        rival = _percentiles(seen, load.sent())
    console.print(f"  rival    p50 {rival['p50_s']:.2f} s, p99 {rival['p99_s']:.2f} s")
    return {
        "latency": {**ours, "rate": sizes.rate},
        "rival": {"p50_s": rival["p50_s"], "p99_s": rival["p99_s"]},
    }


def _sustained(own: Settings, sizes: Sizes, console: Console) -> dict[str, Any]:
    """Try one rate after the other, until what is left at the end is too much."""
    steps: dict[str, float] = {}
    sustained = 0
    with _service(own) as service:
        service.wait_until_started()
        done = _warm_up(own, service, RATES[0])
        for rate in RATES:
            sent = _load(own, rate, rate * sizes.step_seconds, f"rate{rate}-", with_probes=False)
            done += sum(sent.messages.values())
            left = service.wait_for(done)
            real = sum(sent.messages.values()) / sent.seconds
            console.print(f"  {real:,.0f} messages a second for {sent.seconds:.0f} s: the rest took {left:.1f} s")
            steps[str(round(real))] = round(left, 1)
            # A load that can't send so fast has not tried this rate.
            if left > _BOUNDED_S or real < 0.9 * rate:
                sustained = max(sustained, round(real) if left <= _BOUNDED_S else 0)
                break
            sustained = round(real)
    return {"sustained_events_per_s": sustained, "sustained": {"seconds_left_by_rate": steps}}


def _catch_up(own: Settings, warehouse: Client, sizes: Sizes, console: Console) -> dict[str, Any]:
    """Let a backlog wait, then start the service; and the rival on the same messages."""
    sent = _load(own, None, sizes.backlog, "backlog", with_probes=False)
    total = sum(sent.messages.values())
    with _service(own) as service:
        began = time.monotonic()
        service.wait_until_started()
        starting = time.monotonic() - began
        service.wait_for(total)
        seconds = time.monotonic() - began
    console.print(f"  a backlog of {total:,} messages: {seconds:.0f} s, {starting:.0f} s of them to start")
    with _rival(own, warehouse, "backlog"):
        rival_began = time.monotonic()

        def all_there() -> bool:
            return int(str(warehouse.command(f"SELECT count() FROM {RIVAL_TABLE}"))) >= total  # noqa: S608

        _until(all_there, "the rival doesn't get through the backlog")
        rival_s = time.monotonic() - rival_began
    console.print(f"  rival: {rival_s:.0f} s, {total / rival_s:,.0f} messages a second")
    return {
        "catch_up_seconds": round(seconds, 1),
        "catch_up": {"messages": total, "start_seconds": round(starting, 1), "events_per_s": round(total / seconds)},
        "rival": {"events_per_s": round(total / rival_s)},
    }


def _week(own: Settings, warehouse: Client, sizes: Sizes, console: Console) -> dict[str, Any]:
    """Stream a simulated week and look at state and memory at the end of each day."""
    last = date(2025, 11, 30)
    scenario = Scenario(last_date=last, stores=10, products=120, days=sizes.week_days + 8)
    plan = StreamPlan(SimulatedDays(simulate(scenario)), scenario.seed, scenario.dirt)
    stream = LiveStream(plan=plan, name=f"bench-{os.getpid()}", bootstrap_servers=own.bootstrap_servers)
    first = last - timedelta(days=sizes.week_days - 1)
    days: list[dict[str, float]] = []
    with _service(own) as service:
        service.wait_until_started()
        assert service.process is not None  # noqa: S101 -- it has started
        read = 0
        for number in range(sizes.week_days):
            midnight = _midnight_ms(first + timedelta(days=number + 1), scenario.time_zone)
            report = stream.run(first, midnight, by_speed(sizes.speed), threading.Event())
            read += report.total.messages
            service.wait_for(read)
            figures = {
                "messages": float(read),
                "resident_mb": round(_resident_mb(service.process.pid)),
                "state_rows": float(str(warehouse.command(_STATE_ROWS))),
            }
            console.print(
                f"  day {number + 1}: {figures['messages']:,.0f} messages so far, "
                f"{figures['resident_mb']:,.0f} MB, {figures['state_rows']:,.0f} keys in the state"
            )
            days.append(figures)
    rows = int(str(warehouse.command("SELECT count() FROM rt_sales_velocity")))
    return {"week": {"days": days, "velocity_rows": rows}}


@dataclass
class _Load:
    """A load in a process of its own, so that it doesn't take the measuring one's time."""

    process: Any
    receiver: Any
    result: Sent | None = None

    @property
    def done(self) -> bool:
        """Whether all is sent."""
        if self.result is None and self.receiver.poll():
            self.result = self.receiver.recv()
        return self.result is not None

    def sent(self) -> Sent:
        """Return what was sent.

        Raises:
            BenchError: the process failed.
        """
        try:
            self.result = self.result or self.receiver.recv()
        except EOFError:
            raise BenchError("the load failed, see above") from None
        self.process.join()
        assert self.result is not None  # noqa: S101 -- just received
        return self.result


def _send_apart(sender: Any, servers: str, rate: float | None, messages: int, tag: str, with_probes: bool) -> None:
    sender.send(send(servers, rate, messages, tag, with_probes=with_probes))


@contextmanager
def _load_process(
    own: Settings, rate: float | None, messages: int, tag: str, *, with_probes: bool = True
) -> Iterator[_Load]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (sender, own.bootstrap_servers, rate, messages, tag, with_probes)
    process = context.Process(target=_send_apart, args=arguments)
    process.start()
    sender.close()
    yield _Load(process, receiver)


def _load(own: Settings, rate: float | None, messages: int, tag: str, *, with_probes: bool) -> Sent:
    with _load_process(own, rate, messages, tag, with_probes=with_probes) as load:
        return load.sent()


def _watch_probes(warehouse: Client, places: Mapping[str, tuple[str, str]], load: _Load) -> dict[str, dict[str, float]]:
    """Return for each place when each probe was first seen there, in epoch milliseconds.

    Looks on until all probes of a load that has ended are there.
    """
    seen: dict[str, dict[str, float]] = {name: {} for name in places}
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        looked = time.monotonic()
        for name, (table, column) in places.items():
            # Those before are there already: only new ones are asked for.
            rows = warehouse.query(
                f"SELECT {column} FROM {table} WHERE store_id = {{store:String}} AND {column} > {{known:String}}",  # noqa: S608
                parameters={"store": PROBE_STORE, "known": _safely_before(max(seen[name], default=""))},
            ).result_rows
            now = time.time_ns() / 1e6
            for (probe,) in rows:
                seen[name].setdefault(str(probe), now)
        if load.done and all(len(found) >= len(load.sent().probes_ms) for found in seen.values()):
            return seen
        if time.monotonic() > deadline:
            raise BenchError("probes don't arrive")
        time.sleep(max(0.0, _POLL_S - (time.monotonic() - looked)))


def _safely_before(probe: str) -> str:
    """Return the name of a probe some seconds earlier: probes of different partitions may overtake each other."""
    return probe_name(max(0, int(probe.removeprefix("probe-")) - 500)) if probe else ""


def _percentiles(seen: Mapping[str, Mapping[str, float]], sent: Sent) -> dict[str, Any]:
    """Return the percentiles of all probes, and the median by table."""
    waits = {
        name: [(found[probe_name(number)] - at) / 1000 for number, at in sent.probes_ms.items()]
        for name, found in seen.items()
    }
    all_of_them = [wait for some in waits.values() for wait in some]
    return {
        "p50_s": round(float(np.percentile(all_of_them, 50)), 2),
        "p99_s": round(float(np.percentile(all_of_them, 99)), 2),
        "worst_s": round(max(all_of_them), 2),
        "probes": len(all_of_them),
        "by_query": {
            name: {"p50_s": round(float(np.percentile(some, 50)), 2), "p99_s": round(float(np.percentile(some, 99)), 2)}
            for name, some in waits.items()
        },
    }


@contextmanager
def _service(own: Settings) -> Iterator[Service]:
    with tempfile.TemporaryDirectory(prefix="retail-bench-service-") as folder:
        service = Service(Path(os.path.realpath(folder)), own)
        service.start("checkpoints")
        try:
            yield service
        finally:
            service.stop()


def _warm_up(own: Settings, service: Service, rate: int) -> int:
    """Send some messages that aren't measured, and return how many; the first batches compile their code.

    That is a service's start and not its life.
    """
    sent = _load(own, rate, rate * _WARM_UP_S, "warm", with_probes=False)
    messages = sum(sent.messages.values())
    service.wait_for(messages)
    return messages


@contextmanager
def _rival(own: Settings, warehouse: Client, group: str) -> Iterator[None]:
    warehouse.command(f"DROP TABLE IF EXISTS {RIVAL_TABLE}")
    warehouse.command(CREATE)
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    process = context.Process(target=consume, args=(own, f"rival-{group}", ready, stop))
    process.start()
    try:
        yield
    finally:
        stop.set()
        process.join(timeout=30)


@contextmanager
def _stack(settings: Settings) -> Iterator[Settings]:
    with own_stack(settings, ["kafka", "warehouse"]) as own:
        with contextlib.closing(connect(own, database="")) as client:
            migrate(client, own.clickhouse_database)
            _fill_star_schema(client)
        yield own


def _fill_star_schema(client: Client) -> None:
    """Give the warehouse what the service looks at beside its own tables: dimensions, eight weeks of sales, forecasts.

    The figures don't matter, their number does: they are a retailer's of the load's size.
    """
    world = simulate(SCENARIO).world
    stores = world.stores.with_row_index("store_key", offset=1)
    products = world.products.with_row_index("product_key", offset=1).with_columns(supplier_key=1)
    for table, rows in (("dim_store", stores), ("dim_product", products)):
        columns = [name for name, _, _ in documented_columns(table)]
        client.insert_arrow(table, rows.select(columns).to_arrow())
    client.command(
        "INSERT INTO fact_sales SELECT today() - 1 - d.number, 8 + h.number, s.store_key, p.product_key, 1, 2, 0, 1 "
        "FROM numbers(56) AS d CROSS JOIN numbers(12) AS h CROSS JOIN dim_store AS s CROSS JOIN dim_product AS p"
    )
    client.command(
        "INSERT INTO fact_forecast (run_date, store_key, product_key, target_date, horizon, mean, method) "
        "SELECT today() - 1, s.store_key, p.product_key, today() + d.number, d.number + 1, 12, 'bench' "
        "FROM numbers(7) AS d CROSS JOIN dim_store AS s CROSS JOIN dim_product AS p"
    )
    client.command("SYSTEM REFRESH VIEW rt_sales_profile_refresh")
    client.command("SYSTEM WAIT VIEW rt_sales_profile_refresh")


def _empty(own: Settings, warehouse: Client) -> None:
    """Begin with empty topics and tables."""
    kafka = KafkaResource.of(own)
    wanted = read_topic_settings(own.mode)
    kafka.delete_topics(wanted)

    def made() -> bool:
        try:
            kafka.apply_topics(wanted)
            return not any(sum(kafka.state(name).end.values()) for name in wanted)
        except Exception:  # noqa: BLE001 -- deletion goes on in the background
            return False

    _until(made, "the topics don't get empty")
    written = warehouse.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE 'rt_%' "
        "AND engine = 'ReplacingMergeTree'"
    )
    for (table,) in written.result_rows:
        warehouse.command(f"TRUNCATE TABLE {table}")


def _until(wanted: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not wanted():
        if time.monotonic() > deadline:
            raise BenchError(f"{complaint} within {_PATIENCE_S:.0f} s")
        time.sleep(_POLL_S)


def _resident_mb(pid: int) -> float:
    root = psutil.Process(pid)
    return sum(process.memory_info().rss for process in (root, *root.children(recursive=True))) / _MB


def _midnight_ms(day: date, time_zone: str) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(time_zone)).timestamp() * 1000)


def _merged(report: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(report)
    for name, figures in more.items():
        merged[name] = {**merged.get(name, {}), **figures} if isinstance(figures, dict) else figures
    return merged
