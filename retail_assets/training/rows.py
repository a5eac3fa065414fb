"""Supervised rows on Spark: what is known at an origin beside what came to pass. One way for all who train or forecast.

From the feature store for every day's work, from the sales alone for a backtest, which asks for origins of long ago.
Does not belong here: the inputs themselves (`domain.forecasting`, `domain.features`).
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    FEATURES_DEMAND,
    REFERENCE_CALENDAR,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_STORES,
    REFERENCE_WEATHER,
)
from retail_assets.domain.features import demand_features
from retail_assets.domain.forecasting import FORECAST_INPUTS, supervised_frame
from retail_assets.domain.frames import to_arrow
from retail_assets.domain.surroundings import LEVELS_LOOKBACK_DAYS, UNKNOWN_CATEGORY, surroundings
from retail_assets.io_managers.delta import read_table
from retail_assets.resources.lake import LakeResource

_KEYS = "store_id string, product_id string, run_date date, target_date date, horizon int"
_SUPERVISED = f"{_KEYS}, {', '.join(f'{name} double' for name in FORECAST_INPUTS)}, actual double, actual_units double"
_ARROW: Final = pa.schema(
    [
        pa.field(name, {"string": pa.string(), "date": pa.date32(), "int": pa.int32()}.get(kind, pa.float64()))
        for name, kind in (field.split() for field in _SUPERVISED.split(", "))
    ]
)
#: Products of a store whose history a worker lays out at once: some hundred megabytes for two years.
_PRODUCTS_AT_ONCE: Final = 200
_PART: Final = "part_of_store"


@dataclass(frozen=True)
class Masters:
    """The reference tables that features and inputs are made with; an empty frame is one without rows."""

    products: pl.DataFrame
    stores: pl.DataFrame
    promotions: pl.DataFrame
    calendar: pl.DataFrame
    weather: pl.DataFrame

    @classmethod
    def of(cls, lake: LakeResource) -> "Masters":
        """Read them from a lake."""
        return cls(
            products=lake.read(REFERENCE_PRODUCTS),
            stores=lake.read(REFERENCE_STORES),
            promotions=lake.read(REFERENCE_PROMOTIONS),
            calendar=lake.read(REFERENCE_CALENDAR),
            weather=lake.read(REFERENCE_WEATHER),
        )


def supervised_rows(
    session: SparkSession,
    lake: LakeResource,
    origins: list[date],
    horizons: list[int],
    *,
    calendar: pl.DataFrame,
    promotions: pl.DataFrame,
    products: pl.DataFrame,
    stores: pl.DataFrame,
) -> SparkFrame:
    """Return one row per series, origin and horizon: the inputs known at the origin, and the actual where it is known.

    Only the features of the origins and the sales of the target dates are read.
    """
    features = read_table(session, lake, FEATURES_DEMAND).where(F.col("business_date").isin(origins))
    targets = sorted({origin + timedelta(days=horizon) for origin in origins for horizon in horizons})
    sales = read_table(session, lake, CORE_DAILY_SALES).where(F.col("business_date").isin(targets))

    def of_store(feature_rows: pa.Table, sales_rows: pa.Table) -> pa.Table:
        rows = supervised_frame(
            pl.DataFrame(feature_rows),
            pl.DataFrame(sales_rows),
            calendar=calendar,
            promotions=promotions,
            products=products,
            stores=stores,
            origins=origins,
            horizons=horizons,
        )
        return to_arrow(rows, _ARROW)

    return features.groupBy("store_id").cogroup(sales.groupBy("store_id")).applyInArrow(of_store, _SUPERVISED)


def levels_by_day(daily_sales: SparkFrame, products: pl.DataFrame) -> pl.DataFrame:
    """Return units and series by store, category and day (`surroundings.LEVELS`): small, however many products.

    Args:
        daily_sales: `core/daily_sales` of the days wanted.
        products: `reference/products`.
    """
    categories = daily_sales.sparkSession.createDataFrame(
        list(products.select("product_id", "category").unique("product_id", keep="first").iter_rows()),
        "product_id string, category string",
    )
    levels = (
        daily_sales.join(F.broadcast(categories), "product_id", "left")
        .groupBy("store_id", F.coalesce("category", F.lit(UNKNOWN_CATEGORY)).alias("category"), "business_date")
        .agg(F.sum("units").cast("double").alias("units"), F.count(F.lit(1)).alias("series"))
    )
    return pl.DataFrame(levels.toArrow())


def rows_from_sales(daily_sales: SparkFrame, origins: list[date], horizons: list[int], masters: Masters) -> SparkFrame:
    """Return what `supervised_rows` does, with the features of the origins computed here and kept nowhere.

    Args:
        daily_sales: `core/daily_sales`, all of it; a row uses what lies before its origin, and its own target.
        origins: last days whose sales are known.
        horizons: days ahead, from 1.
        masters: the reference tables.
    """
    first, last = min(origins), max(origins)
    since = daily_sales.where(
        F.col("business_date").between(F.lit(first - timedelta(days=LEVELS_LOOKBACK_DAYS)), F.lit(last))
    )
    around = surroundings(
        levels_by_day(since, masters.products),
        masters.products,
        masters.promotions,
        masters.calendar,
        masters.weather,
        first,
        last,
    )
    wanted = pl.Series("business_date", sorted(set(origins)), dtype=pl.Date)

    def of_part(sales: pa.Table) -> pa.Table:
        known = pl.DataFrame(sales)
        features = demand_features(known, around, first, last).filter(pl.col("business_date").is_in(wanted.implode()))
        rows = supervised_frame(
            features,
            known.filter(pl.col("business_date") > first),
            calendar=masters.calendar,
            promotions=masters.promotions,
            products=masters.products,
            stores=masters.stores,
            origins=wanted.to_list(),
            horizons=horizons,
        )
        return to_arrow(rows, _ARROW)

    parts = max(-(-masters.products["product_id"].n_unique() // _PRODUCTS_AT_ONCE), 1)
    part = F.pmod(F.xxhash64("product_id"), F.lit(parts))
    return daily_sales.withColumn(_PART, part).groupBy("store_id", _PART).applyInArrow(of_part, _SUPERVISED)
