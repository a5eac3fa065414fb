"""What a day of the batch layers costs after a short and after a long history, and a backfill of many days.

The assets of the core and features layers with their checks run as in the job, on Spark, in this process, over lakes
that the simulator wrote. Reading from Kafka and loading the warehouse are left out: neither looks at the history.
"""

import time
from collections.abc import Callable
from datetime import date, timedelta
from statistics import median
from typing import Any, Final

import dagster as dg

from retail_assets.assets.core import core_assets
from retail_assets.assets.features import feature_assets
from retail_assets.assets.sources import source_specs
from retail_assets.bench.errors import BenchError
from retail_assets.checks.balance import balance_checks
from retail_assets.checks.contracts import contract_checks
from retail_assets.io_managers.delta import SparkDeltaIOManager
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource, spark_config
from retail_assets.runs import partition_tags
from retail_assets.settings import get_settings
from retail_assets.simulator.lake import write_history
from retail_assets.simulator.scenario_file import load_scenario
from retail_assets.simulator.simulation import simulate

#: Dates of the history's end; the history is simulated, so that any date serves which is over.
LAST_DATE: Final = date(2026, 6, 30)


def make_history(lake: str, days: int) -> None:
    """Write the raw layer and the master data of a small retailer.

    Args:
        lake: address of the lake.
        days: business dates up to the same last one.
    """
    write_history(simulate(load_scenario("demo", days=days + 1, last_date=LAST_DATE)), lake)


def measure_days(short_lake: str, long_lake: str, short_days: int, long_days: int, repeats: int) -> dict[str, Any]:
    """Make both lakes' whole core and features once, then the last day again and again, and a backfill.

    Args:
        short_lake: address of the lake with the shorter history.
        long_lake: of the longer one.
        short_days: its days; the backfill has as many.
        long_days: days of the longer one.
        repeats: measured rounds of the day, taking turns between the lakes.

    Returns:
        Seconds: `day_short`, `day_long` and `backfill` (medians), each with all rounds beside it.

    Raises:
        BenchError: a run failed.
    """
    spark = SparkResource(spark_config=spark_config(get_settings()))
    last = LAST_DATE - timedelta(days=1)
    runs = {
        "day_short": _run_of(spark, short_lake, last, 1),
        "day_long": _run_of(spark, long_lake, last, 1),
        "backfill": _run_of(spark, long_lake, last, short_days),
    }
    _run_of(spark, short_lake, last, short_days)()
    _run_of(spark, long_lake, last, long_days)()
    rounds: dict[str, list[float]] = {name: [] for name in runs}
    for name, run in runs.items():
        run()  # once without a clock, so that Java has seen each plan
        del name
    for _ in range(repeats):
        for name in ("day_short", "day_long"):
            rounds[name].append(_timed(runs[name]))
    rounds["backfill"].append(_timed(runs["backfill"]))
    spark.spark_session.stop()
    return {**{name: median(values) for name, values in rounds.items()}, "rounds": rounds}


def _timed(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _run_of(spark: SparkResource, root: str, last: date, days: int) -> Callable[[], None]:
    lake = LakeResource(root=root)
    resources = {
        "spark": spark,
        "lake": lake,
        "lake_io_manager": SparkDeltaIOManager(spark=spark, lake=lake),
    }
    assets = [*core_assets(), *feature_assets()]
    keys = [key for asset in assets for key in asset.keys]
    checks = [
        check
        for check in (*contract_checks(), *balance_checks())
        if {key.asset_key for key in check.check_keys} <= set(keys)
    ]
    first = last - timedelta(days=days - 1)

    def run() -> None:
        graph: list[Any] = [*source_specs(), *assets, *checks]
        result = dg.materialize(
            graph, selection=keys, resources=resources, tags=partition_tags(first, last), raise_on_error=False
        )
        if not result.success:
            raise BenchError(f"{first} to {last} of {root} failed, see above")

    return run
