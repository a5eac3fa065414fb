"""The import of a long history at daily grain: rows a second, from a CSV file to the lake.

Belongs here: making the file, and importing it. Does not belong here: what an import does (`imports`).
"""

import time
from datetime import timedelta
from pathlib import Path

import polars as pl

from retail_assets.bench.batch_features import FIRST_DATE
from retail_assets.contracts.tables import CORE_DAILY_SALES
from retail_assets.imports.common import Request
from retail_assets.imports.reference import Place
from retail_assets.imports.sales import import_sales
from retail_assets.imports.writing import Lake


def make_file(lake: Path, path: Path) -> None:
    """Write the daily sales of a lake to a CSV file such as a retailer exports.

    Args:
        lake: folder with `core/daily_sales`.
        path: the file.
    """
    (
        pl.scan_delta(str(lake / CORE_DAILY_SALES.path))
        .select(
            date="business_date",
            store_id="store_id",
            product_id="product_id",
            units=pl.col("units").cast(pl.Float64),
            price=pl.col("unit_price").cast(pl.Float64),
        )
        .sink_csv(path)
    )


def import_file(path: str, lake: str, work: str) -> dict[str, float]:
    """Import the file into an empty lake; return the seconds and the rows accepted."""
    began = time.perf_counter()
    request = Request([Path(path)], Place("Europe/Berlin", "DE"), today=FIRST_DATE + timedelta(days=3_650))
    outcome = import_sales(request, Lake(lake, {}), Path(work))
    return {
        "seconds": time.perf_counter() - began,
        "rows": float(outcome.read - sum(outcome.rejections.counts.values())),
    }
