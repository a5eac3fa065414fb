"""Features on Spark beside the same features in Polars alone, over the same rows of the same lake.

Belongs here: making the rows, and the two ways. Both read Delta and write Parquet. Does not belong here: processes and
memory (`apart`), and the report (`batch`).
"""

import time
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from deltalake import write_deltalake

from retail_assets.contracts.tables import CORE_DAILY_SALES
from retail_assets.contracts.types import arrow_schema, polars_schema

FIRST_DATE: Final = date(2023, 1, 2)
_CATEGORIES: Final = 20
#: Stores whose rows are made at a time: what bounds the memory of making them.
_STORES_AT_ONCE: Final = 5


def make_daily_sales(lake: Path, stores: int, products: int, days: int) -> int:
    """Write `core/daily_sales` of a made-up retailer and return its rows.

    Args:
        lake: folder of the lake.
        stores: stores.
        products: products, carried by every store.
        days: business dates.
    """
    rng = np.random.default_rng(1)
    size = products * days
    parts = []
    for store in range(stores):
        units = rng.poisson(np.repeat(rng.gamma(0.7, 2.0, products), days))
        parts.append(
            pl.DataFrame(
                {
                    "store_id": pl.repeat(f"S{store:03d}", size, eager=True),
                    "product_id": np.repeat(_product_ids(products), days),
                    "units": units,
                    "revenue": units * 2.0,
                    "unit_price": np.full(size, 2.0),
                    "list_price": np.full(size, 2.0),
                    "promotion_id": pl.repeat(None, size, dtype=pl.String, eager=True),
                    "discount_share": np.zeros(size),
                    "on_promotion": rng.random(size) < 0.02,  # noqa: PLR2004 - a usual share
                    "stockout_hours": np.where(rng.random(size) < 0.05, 4.0, 0.0),  # noqa: PLR2004 - likewise
                    "open_hours": np.full(size, 12.0),
                    "business_date": np.tile(np.arange(days), products),
                }
            )
            .with_columns(business_date=pl.lit(FIRST_DATE) + pl.duration(days="business_date"))
            .select(CORE_DAILY_SALES.column_names)
            .cast(polars_schema(CORE_DAILY_SALES.columns))
        )
        if len(parts) == _STORES_AT_ONCE or store == stores - 1:
            rows = pl.concat(parts).sort("business_date", "store_id", "product_id")
            write_deltalake(
                lake / CORE_DAILY_SALES.path,
                rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(arrow_schema(CORE_DAILY_SALES.columns)),
                mode="append",
                partition_by=["business_date"],
            )
            parts.clear()
    return stores * size


def _product_ids(products: int) -> list[str]:
    return [f"P{number:05d}" for number in range(products)]


def _masters(products: int) -> dict[str, pl.DataFrame]:
    names = _product_ids(products)
    empty = pl.DataFrame()
    return {
        "products": pl.DataFrame(
            {
                "product_id": names,
                "category": [f"C{number % _CATEGORIES}" for number in range(products)],
                "launched_on": pl.repeat(FIRST_DATE, products, dtype=pl.Date, eager=True),
            }
        ),
        "promotions": empty,
        "calendar": pl.DataFrame({"date": [FIRST_DATE], "is_holiday": [True]}),
        "weather": empty,
    }


def _window(days: int) -> tuple[date, date]:
    return FIRST_DATE, FIRST_DATE + timedelta(days=days - 1)


def in_polars(lake: str, products: int, days: int) -> dict[str, float]:
    """Compute all features in Polars, a store at a time, and write a Parquet file for each; return the seconds."""
    from retail_assets.domain.features import demand_features
    from retail_assets.domain.surroundings import surroundings

    began = time.perf_counter()
    first, last = _window(days)
    masters = _masters(products)
    sales = pl.scan_delta(str(Path(lake) / CORE_DAILY_SALES.path))
    levels = (
        sales.join(masters["products"].lazy(), on="product_id", how="left")
        .group_by("store_id", "category", "business_date")
        .agg(pl.col("units").cast(pl.Float64).sum(), series=pl.len())
        .collect()
    )
    around = surroundings(levels, **masters, first_date=first, last_date=last)
    out = Path(lake) / "features_in_polars"
    out.mkdir()
    rows = sales.collect()
    for (store,), part in rows.partition_by("store_id", as_dict=True).items():
        demand_features(part, around, first, last).write_parquet(out / f"{store}.parquet", compression="snappy")
    return {"seconds": time.perf_counter() - began}


def on_spark(lake: str, products: int, days: int) -> dict[str, float]:
    """Compute all features as the asset does and write the table as its IO manager does; return the seconds.

    Spark's start isn't among them: a run pays it once, whatever it computes.
    """
    from retail_assets.assets.features import features_between
    from retail_assets.io_managers.frames import DateWindow
    from retail_assets.io_managers.parcels import write_parcels
    from retail_assets.resources.lake import LakeResource
    from retail_assets.resources.spark import SparkResource, spark_config
    from retail_assets.settings import get_settings

    session = SparkResource(spark_config=spark_config(get_settings())).spark_session
    began = time.perf_counter()
    window = DateWindow(*_window(days))
    root = Path(lake).as_uri()
    sales = session.read.format("delta").load(f"{root}/{CORE_DAILY_SALES.path}")
    write_parcels(features_between(sales, window, **_masters(products)), LakeResource(root=root), window)
    seconds = time.perf_counter() - began
    session.stop()
    return {"seconds": seconds}
