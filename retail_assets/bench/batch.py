"""Measures the batch layers: features against Polars, a day's cost, a backfill, and an import.

Belongs here: what is measured in which order, and the report. Does not belong here: the measurements themselves
(`batch_features`, `batch_days`, `batch_import`).
"""

import os
import tempfile
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from retail_assets.bench.apart import measure_apart
from retail_assets.bench.batch_days import LAST_DATE, make_history, measure_days
from retail_assets.bench.batch_features import in_polars, make_daily_sales, on_spark
from retail_assets.bench.batch_import import import_file, make_file
from retail_assets.bench.report import describe_machine, publish
from retail_assets.settings import Settings, settings_of_children

REPORT_NAME: Final = "bench_batch.json"
_SHORT_DAYS: Final = 90
_LONG_DAYS: Final = 730
PARTS: Final = ("features", "days", "import")


@dataclass(frozen=True)
class Sizes:
    """How much is made.

    Attributes:
        stores: stores of the features and of the import.
        products: their products, carried by every store.
        days: their business dates.
        repeats: measured rounds of a day.
    """

    stores: int
    products: int
    days: int
    repeats: int

    @property
    def rows(self) -> int:
        """Store x product x days."""
        return self.stores * self.products * self.days


def run_batch_bench(settings: Settings, sizes: Sizes, parts: tuple[str, ...], *, as_json: bool) -> dict[str, Any]:
    """Measure, show, and write the report.

    Args:
        settings: say where Java and the jars are, and where the report goes.
        sizes: how much to make.
        parts: which measurements, of `PARTS`.
        as_json: print the report as JSON, and nothing else, on standard output.

    Raises:
        BenchError: a measurement failed.
    """
    console = Console(stderr=as_json, soft_wrap=True, highlight=False)
    report: dict[str, Any] = {"machine": asdict(describe_machine(settings)), "sizes": asdict(sizes)}
    with tempfile.TemporaryDirectory(prefix="retail-bench-") as folder:
        lake = Path(os.path.realpath(folder)) / "lake"
        if {"features", "import"} & set(parts):
            console.print(f"making {sizes.rows:,} rows of daily sales")
            measure_apart(make_daily_sales, lake, sizes.stores, sizes.products, sizes.days)
        if "features" in parts:
            report["features"] = _features(lake, sizes, console)
        if "import" in parts:
            report["import"] = _import(lake, console)
        if "days" in parts:
            report |= _days(Path(os.path.realpath(folder)), sizes, console)
    publish(settings, REPORT_NAME, report, console, as_json=as_json)
    return report


def _features(lake: Path, sizes: Sizes, console: Console) -> dict[str, Any]:
    polars = measure_apart(in_polars, str(lake), sizes.products, sizes.days)
    console.print(
        f"features in Polars   {polars.value['seconds']:>8.1f} s, {polars.peak_memory_mb:>8,.0f} MB at the most"
    )
    spark = measure_apart(on_spark, str(lake), sizes.products, sizes.days)
    ratio = spark.value["seconds"] / polars.value["seconds"]
    console.print(
        f"features on Spark    {spark.value['seconds']:>8.1f} s, {spark.peak_memory_mb:>8,.0f} MB at the most: "
        f"{ratio:.2f} x Polars"
    )
    return {
        "rows": sizes.rows,
        "seconds": round(spark.value["seconds"], 1),
        "peak_memory_mb": round(spark.peak_memory_mb),
        "ratio_to_polars": round(ratio, 2),
        "polars_seconds": round(polars.value["seconds"], 1),
        "polars_peak_memory_mb": round(polars.peak_memory_mb),
    }


def _import(lake: Path, console: Console) -> dict[str, Any]:
    file = lake.parent / "sales.csv"
    measure_apart(make_file, lake, file)
    size = file.stat().st_size
    done = measure_apart(import_file, str(file), (lake.parent / "imported").as_uri(), str(lake.parent / "work"))
    rows_per_s = done.value["rows"] / done.value["seconds"]
    console.print(
        f"import of a CSV file {done.value['seconds']:>8.1f} s, {done.peak_memory_mb:>8,.0f} MB at the most: "
        f"{rows_per_s:,.0f} rows a second"
    )
    return {
        "rows": round(done.value["rows"]),
        "file_mb": round(size / 1e6),
        "seconds": round(done.value["seconds"], 1),
        "rows_per_s": round(rows_per_s),
        "peak_memory_mb": round(done.peak_memory_mb),
    }


def _days(folder: Path, sizes: Sizes, console: Console) -> dict[str, Any]:
    lakes = {days: (folder / f"lake-of-{days}-days").as_uri() for days in (_SHORT_DAYS, _LONG_DAYS)}
    for days, uri in lakes.items():
        console.print(f"making a history of {days} days")
        measure_apart(make_history, uri, days)
    # Partitions are made with the graph, when the other process imports it.
    with settings_of_children({"history_start": str(LAST_DATE - timedelta(days=_LONG_DAYS))}):
        done = measure_apart(
            measure_days, lakes[_SHORT_DAYS], lakes[_LONG_DAYS], _SHORT_DAYS, _LONG_DAYS, sizes.repeats
        ).value
    flat, backfill = done["day_long"] / done["day_short"], done["backfill"] / done["day_long"]
    console.print(
        f"a day                {done['day_long']:>8.1f} s after {_LONG_DAYS} days, {done['day_short']:.1f} s after "
        f"{_SHORT_DAYS}: {flat:.2f} x"
    )
    console.print(f"backfill of {_SHORT_DAYS} days  {done['backfill']:>8.1f} s: {backfill:.1f} x a day")
    return {
        "etl_day": {
            "ratio_2y_to_3m": round(flat, 2),
            "seconds_2y": round(done["day_long"], 2),
            "seconds_3m": round(done["day_short"], 2),
            "rounds": done["rounds"],
        },
        "backfill": {"ratio_90_to_1": round(backfill, 1), "seconds": round(done["backfill"], 1)},
    }
