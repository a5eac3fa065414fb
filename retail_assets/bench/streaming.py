"""Measures the streaming service: latency, the rate that it keeps up with, catching up, and a week's state.

Belongs here: what is measured in which order, and the report. Does not belong here: the load and its
probes (`streaming_load`, `streaming_probes`), the service and its rival as processes (`streaming_service`,
`streaming_rival`), and what they run on (`streaming_stack`).

A broker, a warehouse and the service run in folders of their own, on this machine together with the load: its
processors are shared by all four. Latency is from the moment that a probe is handed to the producer until a query on
the warehouse has returned its row, polling included.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import psutil
from clickhouse_connect.driver.client import Client
from rich.console import Console

from retail_assets.bench.apart import resident_mb
from retail_assets.bench.jvm_memory import collected_heap
from retail_assets.bench.processors import Processors
from retail_assets.bench.report import describe_machine, publish
from retail_assets.bench.streaming_load import load, load_process
from retail_assets.bench.streaming_probes import percentiles, watch_probes
from retail_assets.bench.streaming_rival import RIVAL_TABLE, running_rival
from retail_assets.bench.streaming_service import Service, running_service
from retail_assets.bench.streaming_stack import empty, streaming_stack
from retail_assets.bench.waiting import until
from retail_assets.resources.clickhouse import connect
from retail_assets.settings import Settings
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.simulation import simulate
from retail_assets.simulator.tills.live import LiveStream, SimulatedDays, by_speed
from retail_assets.simulator.tills.plan import StreamPlan

REPORT_NAME: Final = "bench_streaming.json"
PARTS: Final = ("latency", "sustained", "catch-up", "week")
#: Rates that are tried, messages a second, until one is too fast.
RATES: Final = (2_500, 5_000, 10_000, 15_000, 20_000)
#: A rate is kept up with when what was left at the end, a batch or two of each query, is written so soon; dead letters
#: may wait for the time of their query besides (`retail_streaming.queries`).
_BOUNDED_S: Final = 10.0
_LETTERS_BOUNDED_S: Final = 15.0 + _BOUNDED_S
_WARM_UP_S: Final = 60
#: Where a probe shows: table and column, by the query that writes it.
_PROBES: Final = {
    "sales": ("rt_sales_velocity", "product_id"),
    "inventory": ("rt_inventory", "product_id"),
    "tills": ("rt_pos_hourly", "register_id"),
}
_STATE_ROWS: Final = (
    "SELECT sum(rows) FROM (SELECT argMax(state_rows, at) AS rows FROM rt_query_progress FINAL GROUP BY query)"
)

#: Memory of the service at the end of a day: resident as it runs; after a collection the heap in use, and what is
#: resident beside the heap that the JVM has taken.
_MEMORY: Final = ("resident_mb", "live_heap_mb", "beside_heap_mb")


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
    with (
        streaming_stack(settings) as own,
        contextlib.closing(connect(own, database=own.clickhouse_database)) as warehouse,
    ):
        measurements: dict[str, Callable[[], dict[str, Any]]] = {
            "latency": lambda: _latency(own, warehouse, sizes, console),
            "sustained": lambda: _sustained(own, sizes, console),
            "catch-up": lambda: _catch_up(own, warehouse, sizes, console),
            "week": lambda: _week(own, warehouse, sizes, console),
        }
        for name, measure in measurements.items():
            if name in parts:
                empty(own, warehouse)
                report = _merged(report, measure())
    publish(settings, REPORT_NAME, report, console, as_json=as_json)
    return report


def _latency(own: Settings, warehouse: Client, sizes: Sizes, console: Console) -> dict[str, Any]:
    """Measure the service and the rival, one after the other, at the same rate."""
    console.print(f"latency at {sizes.rate:,} messages a second, {sizes.seconds} s")
    with running_service(own) as service:
        service.wait_until_started()
        _warm_up(own, service, sizes.rate)
        with (
            load_process(own, sizes.rate, sizes.rate * sizes.seconds, "latency") as sending,
            Processors(service.pid) as processors,
        ):
            seen = watch_probes(warehouse, _PROBES, sending)
        ours = percentiles(seen, sending.sent())
    cores = processors.cores
    console.print(f"  service  p50 {ours['p50_s']:.2f} s, p99 {ours['p99_s']:.2f} s")
    console.print(
        f"           took {cores['own']:.2f} cores, {cores['compiling']:.2f} of them to compile; "
        f"all else {cores['others']:.2f}, and {cores['idle']:.2f} were idle"
    )
    empty(own, warehouse)
    with running_rival(own, warehouse, "latency"):
        with load_process(own, sizes.rate, sizes.rate * sizes.seconds, "rival") as sending:
            seen = watch_probes(warehouse, {"rival": (RIVAL_TABLE, "name")}, sending)
        rival = percentiles(seen, sending.sent())
    console.print(f"  rival    p50 {rival['p50_s']:.2f} s, p99 {rival['p99_s']:.2f} s")
    return {
        "latency": {**ours, "rate": sizes.rate, "cores": cores},
        "rival": {"p50_s": rival["p50_s"], "p99_s": rival["p99_s"]},
    }


def _sustained(own: Settings, sizes: Sizes, console: Console) -> dict[str, Any]:
    """Try one rate after the other, until what is left at the end is too much."""
    steps: dict[str, dict[str, float]] = {}
    sustained = 0
    with running_service(own) as service:
        service.wait_until_started()
        done = _warm_up(own, service, RATES[0])
        for rate in RATES:
            sent = load(own, rate, rate * sizes.step_seconds, f"rate{rate}-", with_probes=False)
            done += sum(sent.messages.values())
            left = service.wait_for(done)
            real = sum(sent.messages.values()) / sent.seconds
            console.print(
                f"  {real:,.0f} messages a second for {sent.seconds:.0f} s: the rest took {left.picture_s:.1f} s, "
                f"{left.letters_s:.1f} s with dead letters"
            )
            steps[str(round(real))] = {name: round(seconds, 1) for name, seconds in asdict(left).items()}
            bounded = left.picture_s <= _BOUNDED_S and left.letters_s <= _LETTERS_BOUNDED_S
            # A load that can't send so fast has not tried this rate.
            if not bounded or real < 0.9 * rate:
                sustained = max(sustained, round(real) if bounded else 0)
                break
            sustained = round(real)
    return {"sustained_events_per_s": sustained, "sustained": {"left_by_rate": steps}}


def _catch_up(own: Settings, warehouse: Client, sizes: Sizes, console: Console) -> dict[str, Any]:
    """Let a backlog wait, then start the service; and the rival on the same messages."""
    sent = load(own, None, sizes.backlog, "backlog", with_probes=False)
    total = sum(sent.messages.values())
    with running_service(own) as service:
        began = time.monotonic()
        service.wait_until_started()
        starting = time.monotonic() - began
        took = service.wait_for(total)
    seconds, picture = starting + took.letters_s, starting + took.picture_s
    console.print(
        f"  a backlog of {total:,} messages: {seconds:.0f} s, {starting:.0f} s of them to start; "
        f"the live picture was there after {picture:.0f} s"
    )
    with running_rival(own, warehouse, "backlog"):
        rival_began = time.monotonic()

        def all_there() -> bool:
            return int(str(warehouse.command(f"SELECT count() FROM {RIVAL_TABLE}"))) >= total  # noqa: S608

        until(all_there, "the rival doesn't get through the backlog")
        rival_s = time.monotonic() - rival_began
    console.print(f"  rival: {rival_s:.0f} s, {total / rival_s:,.0f} messages a second")
    return {
        "catch_up_seconds": round(seconds, 1),
        "catch_up": {
            "messages": total,
            "start_seconds": round(starting, 1),
            "picture_seconds": round(picture, 1),
            "events_per_s": round(total / seconds),
        },
        "rival": {"events_per_s": round(total / rival_s)},
    }


def _week(own: Settings, warehouse: Client, sizes: Sizes, console: Console) -> dict[str, Any]:
    """Stream a simulated week and look at state and memory at the end of each day.

    State is flat when its keys follow the messages of the last two days, since a watermark of a day forgets what is
    older; memory, when the heap in use after a collection, and what is resident beside the heap, no longer grow from
    day to day. Resident memory alone tells how much heap the JVM has taken, which is up to its limit.
    """
    last = date(2025, 11, 30)
    scenario = Scenario(last_date=last, stores=10, products=120, days=sizes.week_days + 8)
    plan = StreamPlan(SimulatedDays(simulate(scenario)), scenario.seed, scenario.dirt)
    stream = LiveStream(plan=plan, name=f"bench-{os.getpid()}", bootstrap_servers=own.bootstrap_servers)
    first = last - timedelta(days=sizes.week_days - 1)
    days: list[dict[str, float]] = []
    ends = [0]
    with running_service(own) as service:
        service.wait_until_started()
        read = 0
        for number in range(sizes.week_days):
            midnight = _midnight_ms(first + timedelta(days=number + 1), scenario.time_zone)
            report = stream.run(first, midnight, by_speed(sizes.speed), threading.Event())
            read += report.total.messages
            service.wait_for(read)
            ends.append(read)
            keys = float(str(warehouse.command(_STATE_ROWS)))
            figures = {
                "messages": float(read),
                "state_rows": keys,
                "keys_per_message": round(keys / (read - ends[max(number - 1, 0)]), 2),
                **_memory(service.pid),
            }
            console.print(
                f"  day {number + 1}: {figures['messages']:,.0f} messages so far, {keys:,.0f} keys in the state, "
                f"{figures['keys_per_message']:.2f} per message of the last two days; "
                + ", ".join(f"{name} {figures[name]:,.0f} MB" for name in _MEMORY if name in figures)
            )
            days.append(figures)
    rows = int(str(warehouse.command("SELECT count() FROM rt_sales_velocity")))
    slopes = {name: slope for name in _MEMORY if (slope := _slope_of_later_half(days, name)) is not None}
    for name, slope in slopes.items():
        console.print(f"  {name}: {slope:+.1f} MB a day in the later half")
    return {"week": {"days": days, "velocity_rows": rows, "mb_per_day": slopes}}


def _memory(pid: int) -> dict[str, float]:
    """Return what of `_MEMORY` can be told of a process, in megabytes."""
    process = psutil.Process(pid)
    resident = resident_mb(process)
    heap = collected_heap(process)
    if heap is None:
        return {"resident_mb": round(resident)}
    beside = resident_mb(process) - heap.taken_mb
    return {"resident_mb": round(resident), "live_heap_mb": round(heap.used_mb), "beside_heap_mb": round(beside)}


def _slope_of_later_half(days: list[dict[str, float]], name: str) -> float | None:
    """Return by how much a figure grew from day to day; None when fewer than two days tell it."""
    later = [day[name] for day in days[len(days) // 2 :] if name in day]
    return round(float(np.polyfit(range(len(later)), later, 1)[0]), 1) if len(later) > 1 else None


def _warm_up(own: Settings, service: Service, rate: int) -> int:
    """Send some messages that aren't measured, and return how many; the first batches compile their code.

    That is a service's start and not its life.
    """
    sent = load(own, rate, rate * _WARM_UP_S, "warm", with_probes=False)
    messages = sum(sent.messages.values())
    service.wait_for(messages)
    return messages


def _midnight_ms(day: date, time_zone: str) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(time_zone)).timestamp() * 1000)


def _merged(report: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(report)
    for name, figures in more.items():
        merged[name] = {**merged.get(name, {}), **figures} if isinstance(figures, dict) else figures
    return merged
