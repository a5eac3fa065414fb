"""Runs the demo: the stages in order, what is shown of them, and the report at the end.

Every stage can be repeated: after a crash anywhere, running the demo again makes it right.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Final

from rich.console import Console
from rich.table import Table as Grid

from retail_assets.contracts.jobs import BATCH_PREDICTIONS, DAILY_ETL, DOING, FEATURE_ENGINEERING, JOBS, MODEL_TRAINING
from retail_assets.contracts.tables import FORECAST_HORIZON_DAYS
from retail_assets.contracts.topics import EVENT_TOPICS
from retail_assets.demo.area import prepare_area, require_place
from retail_assets.demo.errors import DemoError
from retail_assets.demo.report import DemoReport, Stage, count, urgent_reorders
from retail_assets.pipeline import FEATURE_DAYS
from retail_assets.resources.clickhouse import connect
from retail_assets.resources.kafka import KafkaResource
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.migrations import migrate
from retail_assets.resources.topics import read_topic_settings
from retail_assets.runs import DagsterApi, RunResult, StepResult, UnreachableError, partition_tags
from retail_assets.settings import Settings
from retail_assets.simulator.lake import write_history
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.scenario_file import load_scenario
from retail_assets.simulator.simulation import simulate
from retail_assets.simulator.tills.day_producer import TillProducer
from retail_assets.stopping import interruptible
from retail_local.files import locked
from retail_local.stack import Stack

_PRESET: Final = "demo"
_LAUNCHED_BY_DEMO = {"retail/launched_by": "demo"}


class _Stages:
    """Shows stages as they run and keeps what they did."""

    def __init__(self, console: Console, report: DemoReport) -> None:
        self.console = console
        self.report = report
        self.rows = 0

    @contextmanager
    def stage(self, name: str, doing: str) -> Iterator[None]:
        """Time a stage; its body sets `rows`."""
        self.rows = 0
        started = time.monotonic()
        self.console.print(f"[bold]{name}[/bold]  {doing}")
        yield
        seconds = round(time.monotonic() - started, 2)
        self.report.stages.append(Stage(name, self.rows, seconds))
        self.console.print(f"  [green]done[/green] {self.rows:>12,} rows {seconds:>8.1f} s")

    def note_of(self, service: str, text: str) -> None:
        """Show one line of a service's progress."""
        self.note(f"{service}: {text}")

    def note(self, text: str) -> None:
        """Show one line of progress."""
        self.console.print(f"  [dim]{text}[/dim]", highlight=False)


def run_demo(
    settings: Settings, *, stores: int, products: int, days: int, seed: int, last_date: date | None
) -> DemoReport:
    """Run the demo and write `var/reports/demo.json`.

    Args:
        settings: of the platform.
        stores: stores of the synthetic retailer.
        products: products of the synthetic retailer.
        days: days of history, the streamed one included.
        seed: of the synthetic retailer.
        last_date: the day that is streamed; yesterday in the retailer's time zone by default.

    Raises:
        DemoError: the dates lie outside of the partitions, the area holds other data, or the books don't balance.
    """
    started = time.monotonic()
    yesterday = datetime.now(settings.zone).date() - timedelta(days=1)
    scenario = load_scenario(
        _PRESET,
        last_date=last_date or yesterday,
        seed=seed,
        stores=stores,
        products=products,
        days=days,
        time_zone=settings.time_zone,
        currency=settings.currency,
    )
    first = scenario.first_date
    if first < date.fromisoformat(settings.history_start) or scenario.last_date > yesterday:
        raise DemoError(
            f"the demo needs {first} to {scenario.last_date}, but partitions go from RETAIL_HISTORY_START "
            f"{settings.history_start} to yesterday, {yesterday}: ask for fewer --days or set RETAIL_HISTORY_START"
        )
    require_place(settings)
    with _interruptible(settings), locked(settings.var_dir / ".demo.lock", on_wait=_refuse_a_second):
        return _run_stages(settings, scenario, started)


@contextmanager
def _interruptible(settings: Settings) -> Iterator[None]:
    """Answer Ctrl-C and SIGTERM with what is left running and how to go on."""
    try:
        with interruptible():
            yield
    except KeyboardInterrupt:
        raise DemoError(
            "interrupted; the services, and a run that had begun, go on: `retail down` ends them, "
            f"http://127.0.0.1:{settings.dagster_port}/runs shows them, and the demo can be run again at any time"
        ) from None


def _refuse_a_second() -> None:
    raise DemoError("another `retail demo` runs in this folder: wait for its end, or choose another RETAIL_VAR_DIR")


def _run_stages(settings: Settings, scenario: Scenario, started: float) -> DemoReport:
    console = Console(soft_wrap=True)
    report = DemoReport(last_date=str(scenario.last_date), seed=scenario.seed)
    stages = _Stages(console, report)
    lake = LakeResource(root=settings.lake)
    api = DagsterApi(f"http://127.0.0.1:{settings.dagster_port}")

    stack = Stack(settings)
    with stages.stage("stack", "broker and warehouse; Dagster goes on starting meanwhile"):
        stack.up(on_progress=stages.note_of, wait_for=["kafka", "warehouse"])
    with stages.stage("set-up", "topics and warehouse schema"):
        _set_up(settings, scenario, stages)

    simulation = simulate(scenario)
    with stages.stage(
        "history", f"{scenario.stores} stores, {scenario.products} products, {scenario.days - 1} days to the lake"
    ):
        stages.rows = sum(
            write_history(simulation, settings.lake, on_progress=lambda text: stages.note(str(text))).values()
        )
    with stages.stage("tills", f"the events of {scenario.last_date} to Kafka"):
        producer = TillProducer(settings.bootstrap_servers)
        messages = simulation.today_messages()
        for topic in EVENT_TOPICS:
            report.events_produced += producer.send(topic, messages[topic])
        stages.rows = report.events_produced

    with stages.stage("Dagster", "webserver, daemon and code location"):
        stack.up(on_progress=stages.note_of)
        left_over = _end_left_over(api, stack, stages)
        if left_over:
            stages.note(f"ended {left_over} runs of an earlier demo")

    first = scenario.first_date
    whole = partition_tags(first, scenario.last_date)
    # Training looks back this far; earlier features would serve nobody.
    learning = partition_tags(max(first, scenario.last_date - FEATURE_DAYS), scenario.last_date)
    today = partition_tags(scenario.last_date, scenario.last_date)
    tags = {DAILY_ETL: whole, FEATURE_ENGINEERING: learning, MODEL_TRAINING: {}, BATCH_PREDICTIONS: today}
    for job in JOBS:
        with stages.stage(job, DOING[job]):
            result = _run_job(api, job, tags[job], stages)
            stages.rows = sum(step.rows or 0 for step in result.steps.values())

    with stages.stage("report", "count everything again"):
        count(settings, lake, scenario.last_date, report)
    report.seconds_total = round(time.monotonic() - started, 1)
    path = settings.var_dir / "reports" / "demo.json"
    report.write(path)
    _show(console, report, lake, scenario.last_date, settings)
    wrong = report.imbalances(FORECAST_HORIZON_DAYS)
    if wrong:
        raise DemoError("the books don't balance: " + "; ".join(wrong))
    console.print(f"Report: {path}")
    return report


def _end_left_over(api: DagsterApi, stack: Stack, stages: _Stages) -> int:
    try:
        return api.end_left_over(_LAUNCHED_BY_DEMO)
    except UnreachableError:
        # A code server whose disk was full no longer notices that a run's process is gone, and waits for it forever.
        stages.note("Dagster can't end the runs of an earlier demo: starting it anew")
        stack.restart("dagster", stages.note_of)
        return api.end_left_over(_LAUNCHED_BY_DEMO)


def _set_up(settings: Settings, scenario: Scenario, stages: _Stages) -> None:
    if prepare_area(settings, scenario.fingerprint):
        stages.note("data of another scenario of the demo were removed")
    kafka = KafkaResource.of(settings)
    changes = kafka.apply_topics(read_topic_settings(settings.mode))
    client = connect(settings, database="")
    applied = migrate(client, settings.database)
    client.close()
    stages.note(f"{len(changes)} changes to topics, {len(applied)} migrations applied")


def _run_job(api: DagsterApi, job: str, tags: dict[str, str], stages: _Stages) -> RunResult:
    def on_step(step: StepResult) -> None:
        rows = "" if step.rows is None else f"{step.rows:>12,} rows"
        stages.note(f"{step.name:<44}{rows:>18} {step.seconds:>8.1f} s")

    run_id = api.launch(job, tags={**tags, **_LAUNCHED_BY_DEMO})
    return api.wait(run_id, job, on_step)


def _show(console: Console, report: DemoReport, lake: LakeResource, last_date: date, settings: Settings) -> None:
    console.print()
    urgent = urgent_reorders(lake, last_date)
    console.print("[bold]The most urgent reorders[/bold], by the units that would be missed without them")
    for store, product, risk, reason in urgent.iter_rows():
        console.print(
            f"  [bold]{store}[/bold], {product}: {reason} [dim]({risk:.0%} risk of running out)[/dim]", highlight=False
        )
    console.print()
    grid = Grid("books", "here", "there", box=None)
    there = report.events_in_raw + report.dead_letters
    grid.add_row("events produced = raw + dead letters", f"{report.events_produced:,}", f"{there:,}")
    grid.add_row("units in core = units in warehouse", f"{report.core_units:,.0f}", f"{report.fact_sales_units:,.0f}")
    grid.add_row(
        "forecast rows = series x 7", f"{report.forecast_rows:,}", f"{report.series * FORECAST_HORIZON_DAYS:,}"
    )
    grid.add_row("reorder rows = series", f"{report.reorder_rows:,}", f"{report.series:,}")
    console.print(grid)
    console.print(
        f"WAPE at store x product x day {report.wape:.3f}, seasonal naive {report.wape_seasonal_naive:.3f} "
        f"(ratio {report.wape_vs_seasonal_naive:.2f}); {report.seconds_total:.0f} s in all",
        highlight=False,
    )
    console.print()
    console.print("Where to look next")
    console.print(f"  Dagster     http://127.0.0.1:{settings.dagster_port}  (lineage, runs, checks)", highlight=False)
    console.print(
        f"  warehouse   http://127.0.0.1:{settings.clickhouse_port}  user bi_reader, password in "
        f"{settings.secrets_dir / 'clickhouse_bi_reader'}",
        highlight=False,
    )
    console.print("  services    retail status, retail logs, retail down, and retail up to come back", highlight=False)
