"""Measures the synthetic retailer: history from two lengths of the same retailer, and live tills on a real broker.

Belongs here: which retailers are measured, the report, and what a whole chain would take by these figures. Does not
belong here: the measurements themselves (`simulator_history`, `simulator_live`).
"""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from retail_assets.bench.own_stack import own_stack
from retail_assets.bench.report import describe_machine, publish
from retail_assets.bench.simulator_history import HistoryFigures, bench_history
from retail_assets.bench.simulator_live import LiveBench, bench_live
from retail_assets.settings import Settings
from retail_assets.simulator.scenario_file import load_scenario
from retail_local import jars

REPORT_NAME: Final = "bench_simulator.json"
#: The retailer whose history is made: large enough that its arrays, not the start of processes, decide.
_PRESET: Final = "city"
_CHAIN: Final = "chain"
_SECONDS_PER_HOUR: Final = 3600
_BYTES_PER_GB: Final = 1e9


@dataclass(frozen=True)
class Sizes:
    """How much is made.

    Attributes:
        days: business dates of the longer history; the shorter one has a quarter.
        workers: processes.
        live_days: business dates that are streamed.
        lake: whether the longer history is made once more and written to a lake.
    """

    days: int
    workers: int
    live_days: int
    lake: bool


@dataclass(frozen=True)
class ChainPlan:
    """What the preset `chain` would take at the measured cost, on this machine.

    Attributes:
        lines: sale lines, by the measured lines per store, product and day.
        processor_hours: to make them, and nothing else.
        lake_gb: on the disk, by the measured bytes per line; None where no lake was written.
    """

    lines: float
    processor_hours: float
    lake_gb: float | None


@dataclass(frozen=True)
class SimulatorReport:
    """The figures of `var/reports/bench_simulator.json`.

    Attributes:
        machine: where they were measured.
        sizes: how much was made.
        history_lines_per_s: sale lines a second of the longer history.
        peak_memory_mb: of all processes together in the longer history.
        peak_memory_mb_of_quarter: the same in the shorter one; memory is flat where the two are close.
        live_events_per_s: messages a second to the broker, made, checked, sent and confirmed.
        live_ratio_to_perf_test: that over Kafka's own producer test; None where it couldn't run.
        history: all figures of the longer history.
        live: all figures of the live tills.
        chain: what the preset `chain` would take.
    """

    machine: dict[str, Any]
    sizes: dict[str, Any]
    history_lines_per_s: float
    peak_memory_mb: float
    peak_memory_mb_of_quarter: float
    live_events_per_s: float
    live_ratio_to_perf_test: float | None
    history: dict[str, Any]
    live: dict[str, Any]
    chain: dict[str, Any]


def run_simulator_bench(settings: Settings, sizes: Sizes, *, as_json: bool) -> SimulatorReport:
    """Measure, show, and write the report.

    A broker of its own is started in a temporary folder, and ended.

    Args:
        settings: say where Java and the jars are, and where the report goes.
        sizes: how much to make.
        as_json: print the report as JSON, and nothing else, on standard output.

    Raises:
        StackError: the broker doesn't start.
        ProducerError: the broker went away meanwhile.
    """
    console = Console(stderr=as_json, soft_wrap=True, highlight=False)
    machine = asdict(describe_machine(settings))
    # The broker's tools are only needed for this.
    jars.fetch(settings, ["kafka-perf"], on_progress=lambda text: console.print(f"  [dim]{text}[/dim]"))
    quarter, whole, lake_bytes = _measure_history(sizes, console)
    with own_stack(settings, ["kafka"]) as own:
        console.print(f"live tills: {sizes.live_days} days to a broker, then kafka-producer-perf-test")
        live = bench_live(own, days=sizes.live_days)
    report = SimulatorReport(
        machine=machine,
        sizes=asdict(sizes),
        history_lines_per_s=round(whole.lines_per_s),
        peak_memory_mb=round(whole.peak_memory_mb),
        peak_memory_mb_of_quarter=round(quarter.peak_memory_mb),
        live_events_per_s=round(live.live_events_per_s),
        live_ratio_to_perf_test=live.live_ratio_to_perf_test,
        history=asdict(whole),
        live=asdict(live),
        chain=asdict(plan_chain(whole, lake_bytes)),
    )
    if not as_json:
        _show(console, whole, quarter, live, plan_chain(whole, lake_bytes))
    publish(settings, REPORT_NAME, asdict(report), console, as_json=as_json)
    return report


def plan_chain(measured: HistoryFigures, lake_bytes: int | None) -> ChainPlan:
    """Say what the preset `chain` would take, by what was measured of the smaller retailer.

    Args:
        measured: of the preset `city`.
        lake_bytes: what its lake takes on the disk; None where there is none.
    """
    small, chain = load_scenario(_PRESET), load_scenario(_CHAIN)
    per_series_day = measured.lines / (small.stores * small.products * measured.days)
    lines = per_series_day * chain.stores * chain.products * (chain.days - 1)
    return ChainPlan(
        lines=lines,
        processor_hours=lines / 1e6 * measured.seconds_per_million_lines / _SECONDS_PER_HOUR,
        lake_gb=None if lake_bytes is None else lake_bytes / measured.lines * lines / _BYTES_PER_GB,
    )


def _measure_history(sizes: Sizes, console: Console) -> tuple[HistoryFigures, HistoryFigures, int | None]:
    quarter_days = max(2, sizes.days // 4)
    console.print(f"history: {quarter_days} and {sizes.days} days of the preset {_PRESET}, {sizes.workers} processes")
    quarter = bench_history(load_scenario(_PRESET, days=quarter_days), sizes.workers)
    whole_scenario = load_scenario(_PRESET, days=sizes.days)
    if not sizes.lake:
        return quarter, bench_history(whole_scenario, sizes.workers), None
    with tempfile.TemporaryDirectory(prefix="retail-bench-") as folder:
        whole = bench_history(whole_scenario, sizes.workers, Path(folder).as_uri())
        written = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return quarter, whole, written


def _show(console: Console, whole: HistoryFigures, quarter: HistoryFigures, live: LiveBench, chain: ChainPlan) -> None:
    console.print(
        f"history           {whole.lines_per_s:>12,.0f} sale lines a second ({whole.lines:,} lines of {whole.days} "
        f"days, {whole.seconds_per_million_lines:.2f} s of processor time per million)"
    )
    console.print(
        f"memory            {whole.peak_memory_mb:>12,.0f} MB at the most; {quarter.peak_memory_mb:,.0f} MB for a "
        f"quarter of the days"
    )
    if whole.lake_lines_per_s is not None:
        console.print(f"to a lake         {whole.lake_lines_per_s:>12,.0f} sale lines a second")
    console.print(
        f"live tills        {live.live_events_per_s:>12,.0f} events a second, {live.message_bytes:.0f} bytes each"
    )
    if live.live_ratio_to_perf_test is None:
        console.print(f"  kafka-producer-perf-test couldn't run: {live.note}")
    else:
        console.print(
            f"  {live.live_ratio_to_perf_test:.2f} of kafka-producer-perf-test, which sends "
            f"{live.perf_test_records_per_s:,.0f} records of this size a second"
        )
    disk = "" if chain.lake_gb is None else f", {chain.lake_gb:,.0f} GB of lake"
    console.print(
        f"preset chain      {chain.lines / 1e9:>12,.2f} billion sale lines: {chain.processor_hours:,.1f} processor "
        f"hours{disk}"
    )
