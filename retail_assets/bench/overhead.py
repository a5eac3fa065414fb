"""Measures what Dagster and the IO manager add to a step beyond its own work, and that a run is one Spark application.

Both sides use one Spark session, take turns in going first, and are run unmeasured until the JVM is warm. Dagster has
SQLite and the project's own `dagster.yaml` in a temporary home, as `retail up` sets it up. Does not belong here: the
graph and its rival (`graph`), arithmetic (`summary`).
"""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any, Final

import dagster as dg
from rich.console import Console
from rich.table import Table as Grid

from retail_assets.bench.errors import BenchError
from retail_assets.bench.graph import (
    APPLICATIONS,
    DAY,
    PARTITIONS,
    bare_work,
    chain,
    no_work,
)
from retail_assets.bench.report import describe_machine, write_report
from retail_assets.bench.summary import (
    Overhead,
    Span,
    StepSeconds,
    charged_seconds,
    milliseconds_per_partition,
    overhead_of,
    overhead_of_all,
)
from retail_assets.build import build_resources
from retail_assets.paths import project_root
from retail_assets.resources.lake import LakeResource
from retail_assets.runs import partition_tags
from retail_assets.settings import Settings

REPORT_NAME: Final = "bench_overhead.json"
_STDERR: Final = 2


@dataclass(frozen=True)
class Sizes:
    """How much is run.

    Attributes:
        steps: daily assets after the first one; each has a check, which is a step too.
        repeats: measured rounds.
        warm_ups: rounds before them that are not measured.
        partitions: partitions of the long run of the event log's measurement.
    """

    steps: int
    repeats: int
    warm_ups: int
    partitions: int


@dataclass
class _Runs:
    """What the measured runs showed, round by round."""

    dagster: dict[str, list[float]] = field(default_factory=dict)
    bare: dict[str, list[float]] = field(default_factory=dict)
    outside_steps: list[float] = field(default_factory=list)
    applications: list[set[str]] = field(default_factory=list)

    def steps(self) -> list[StepSeconds]:
        return [
            StepSeconds(
                step=step,
                kind="check" if step.endswith("_contract") else "asset",
                dagster=tuple(self.dagster[step]),
                bare=tuple(seconds),
            )
            for step, seconds in self.bare.items()
        ]


@dataclass(frozen=True)
class OverheadReport:
    """The figures of `var/reports/bench_overhead.json`.

    Attributes:
        machine: where they were measured.
        sizes: how much was run.
        steps: every step.
        all_steps: all of them together.
        run_seconds_outside_steps: what a run takes before its first and after its last step, median.
        spark_applications_per_run: the most that any run had, unmeasured ones included.
        event_log_ms_per_partition_in_step: what Dagster takes to record one more partition of a run, in the step.
        event_log_ms_per_partition_in_run: the same with what it plans per partition before the run begins.
    """

    machine: dict[str, Any]
    sizes: dict[str, int]
    steps: list[Overhead]
    all_steps: Overhead
    run_seconds_outside_steps: float
    spark_applications_per_run: int
    event_log_ms_per_partition_in_step: float
    event_log_ms_per_partition_in_run: float


def run_overhead(settings: Settings, sizes: Sizes) -> OverheadReport:
    """Run the benchmark, print its table and write its report.

    Args:
        settings: of the platform; lake and Dagster's home are replaced by temporary folders.
        sizes: how much to run.

    Raises:
        BenchError: Spark doesn't run on this machine, or a run had more than one Spark application.
    """
    if not settings.spark_master.startswith("local"):
        raise BenchError(
            f"RETAIL_SPARK_MASTER is {settings.spark_master}, whose workers can't see a temporary folder of this "
            "machine: set it to local[*] for the benchmark"
        )
    console = Console(soft_wrap=True)
    machine = describe_machine(settings)
    with tempfile.TemporaryDirectory(prefix="retail-bench-") as name:
        folder = Path(name).resolve()
        with _dagster_instance(folder / "dagster") as instance:
            runs = _measure_steps(settings, sizes, folder, instance, console)
            in_step, in_run = _measure_partitions(sizes, folder, instance, console)
    steps = runs.steps()
    report = OverheadReport(
        machine=asdict(machine),
        sizes=asdict(sizes),
        steps=[overhead_of(step) for step in steps],
        all_steps=overhead_of_all(steps),
        run_seconds_outside_steps=median(runs.outside_steps),
        spark_applications_per_run=max(len(ids) for ids in runs.applications),
        event_log_ms_per_partition_in_step=in_step,
        event_log_ms_per_partition_in_run=in_run,
    )
    path = settings.var_dir / "reports" / REPORT_NAME
    write_report(path, _rounded(asdict(report)))
    _show(console, report, path)
    if report.spark_applications_per_run != 1:
        raise BenchError(f"a run had {report.spark_applications_per_run} Spark applications instead of one")
    return report


def _measure_steps(
    settings: Settings, sizes: Sizes, folder: Path, instance: dg.DagsterInstance, console: Console
) -> _Runs:
    lake_of_dagster, lake_of_bare = (folder / "dagster_lake").as_uri(), (folder / "bare_lake").as_uri()
    resources = build_resources(settings.model_copy(update={"lake_uri": lake_of_dagster}))
    used = {name: resources[name] for name in ("spark", "lake", "lake_io_manager")}
    assets = chain(sizes.steps)
    runs = _Runs()

    def with_dagster(*, measured: bool) -> None:
        spans, wall, ids = _run(assets, used, instance, folder / "run.log")
        runs.applications.append(ids)
        if measured:
            for step, seconds in charged_seconds(spans).items():
                runs.dagster.setdefault(step, []).append(seconds)
            ran = max(span.end for span in spans) - min(span.start for span in spans)
            runs.outside_steps.append(wall - ran)

    def without(*, measured: bool) -> None:
        session = resources["spark"].spark_session
        for step, work in bare_work(session, LakeResource(root=lake_of_bare), sizes.steps).items():
            started = time.perf_counter()
            work()
            if measured:
                runs.bare.setdefault(step, []).append(time.perf_counter() - started)

    for number in range(sizes.warm_ups + sizes.repeats):
        measured = number >= sizes.warm_ups
        console.print(
            f"round {number + 1} of {sizes.warm_ups + sizes.repeats}{'' if measured else ', to warm up'}",
            style="dim",
            highlight=False,
        )
        # The first run starts the session, as it does in the platform. After that they take turns in going first, so
        # that what slows the machine down for a while doesn't always meet the same side.
        for side in (with_dagster, without) if number % 2 == 0 else (without, with_dagster):
            side(measured=measured)
    return runs


def _measure_partitions(
    sizes: Sizes, folder: Path, instance: dg.DagsterInstance, console: Console
) -> tuple[float, float]:
    """Return the milliseconds that one more partition costs an asset that does nothing: in its step, and in the run."""
    keys = PARTITIONS.get_partition_keys()[: sizes.partitions]
    console.print(f"the event log, with {len(keys)} partitions in one run", style="dim", highlight=False)
    steps: dict[int, list[float]] = {1: [], len(keys): []}
    runs: dict[int, list[float]] = {1: [], len(keys): []}
    for number in range(1 + sizes.repeats):
        for count in sorted(runs, reverse=number % 2 == 0):
            tags = partition_tags(date.fromisoformat(keys[0]), date.fromisoformat(keys[count - 1]))
            with _quiet(folder / "run.log"):
                started = time.perf_counter()
                result = dg.materialize([no_work], instance=instance, tags=tags)
                taken = time.perf_counter() - started
            recorded = len(result.asset_materializations_for_node("bench__no_work"))
            if recorded != count:
                raise BenchError(f"Dagster recorded {recorded} partitions instead of {count}")
            if number:  # the first round warms up
                runs[count].append(taken)
                steps[count].append(sum(charged_seconds(_spans(instance, result.run_id)).values()))
    return (
        milliseconds_per_partition(steps[len(keys)], steps[1], len(keys)),
        milliseconds_per_partition(runs[len(keys)], runs[1], len(keys)),
    )


def _run(
    assets: list[dg.AssetsDefinition], resources: dict[str, Any], instance: dg.DagsterInstance, log: Path
) -> tuple[list[Span], float, set[str]]:
    """Materialize the graph once. Return its steps, the seconds of the whole run, and the Spark applications in it."""
    with _quiet(log):
        started = time.perf_counter()
        result = dg.materialize(assets, resources=resources, instance=instance, partition_key=str(DAY))
        wall = time.perf_counter() - started
    # Read back from the event log rather than from memory: it is what holds for every executor.
    ids: set[str] = set()
    for event in instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        noted = event.asset_materialization.metadata[APPLICATIONS] if event.asset_materialization else None
        if isinstance(noted, dg.JsonMetadataValue) and isinstance(noted.data, list):
            ids.update(map(str, noted.data))
    return _spans(instance, result.run_id), wall, ids


def _spans(instance: dg.DagsterInstance, run_id: str) -> list[Span]:
    spans = []
    for step in instance.get_run_step_stats(run_id):
        if step.start_time is None or step.end_time is None:
            raise BenchError(f"Dagster did not record when {step.step_key} began and ended")
        spans.append(Span(step.step_key, step.start_time, step.end_time))
    return spans


@contextlib.contextmanager
def _dagster_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """Open an instance in a home of its own, set up as the local stack's."""
    home.mkdir(parents=True)
    own = project_root() / "dagster.yaml"
    text = own.read_text(encoding="utf-8") if own.is_file() else "telemetry: {enabled: false}\n"
    (home / "dagster.yaml").write_text(text, encoding="utf-8")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@contextlib.contextmanager
def _quiet(log: Path) -> Iterator[None]:
    """Send Dagster's own lines and the JVM's to a file, as in the platform: writing them is a part of the cost."""
    sys.stderr.flush()
    kept = os.dup(_STDERR)
    try:
        with log.open("ab") as file:
            # The descriptor rather than `sys.stderr`: Dagster and the JVM write to the descriptor.
            os.dup2(file.fileno(), _STDERR)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, _STDERR)
        os.close(kept)


def _rounded(value: Any) -> Any:
    """Return plain values with floats of four digits behind the point; more would only look exact."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return value


def _show(console: Console, report: OverheadReport, path: Path) -> None:
    grid = Grid(title="Seconds of each step; overhead is what it takes beyond its own work")
    grid.add_column("step", no_wrap=True)
    for heading in ("with\nDagster", "work\nalone", "overhead\nmedian", "overhead\nmax", "ratio"):
        grid.add_column(heading, justify="right")
    for one in (*report.steps, report.all_steps):
        if one is report.all_steps:
            grid.add_section()
        name = "  its check" if one.kind == "check" else one.step.replace("__", "/")
        figures = (one.dagster_seconds, one.bare_seconds, one.overhead_median, one.overhead_max)
        grid.add_row(name, *(f"{seconds:.3f}" for seconds in figures), f"{one.ratio:.2f}")
    console.print(grid)
    console.print(
        f"Spark applications in a run: {report.spark_applications_per_run}\n"
        f"A run outside of its steps: {report.run_seconds_outside_steps:.3f} s\n"
        f"Each further partition of a run, in the event log: {report.event_log_ms_per_partition_in_step:.1f} ms in the "
        f"step, {report.event_log_ms_per_partition_in_run:.1f} ms with what is planned before it\n"
        f"{path}",
        highlight=False,
    )
