"""The features layer: what is known of a series at the end of a day.

Does not belong here: the features themselves (`domain.features`), and their names and meanings (`contracts.features`).
"""

from datetime import timedelta
from typing import Final

import dagster as dg
import polars as pl
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import functions as F

from retail_assets.assets.common import lake_asset, run_window
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    FEATURES_DEMAND,
    REFERENCE_CALENDAR,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_WEATHER,
)
from retail_assets.domain.features import LOOKBACK_DAYS
from retail_assets.domain.features import demand_features as features_of
from retail_assets.domain.surroundings import LEVELS_LOOKBACK_DAYS, surroundings
from retail_assets.io_managers.delta import read_table
from retail_assets.io_managers.frames import DateWindow
from retail_assets.io_managers.parcels import Parcels, parcels_by_store
from retail_assets.partitions import business_dates
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource
from retail_assets.settings import get_settings
from retail_assets.training.rows import levels_by_day

#: Products of a store whose features a worker computes at once: half a gigabyte for half a year of days.
_PRODUCTS_AT_ONCE: Final = 2_000


def features_between(
    daily_sales: SparkFrame,
    window: DateWindow,
    *,
    products: pl.DataFrame,
    promotions: pl.DataFrame,
    calendar: pl.DataFrame,
    weather: pl.DataFrame,
) -> Parcels:
    """Return `features/demand_features` of a range of days.

    Args:
        daily_sales: `core/daily_sales`, all of it: only the days that features look back on are read.
        window: origin dates.
        products: `reference/products`.
        promotions: `reference/promotions`.
        calendar: `reference/calendar`.
        weather: `reference/weather`.
    """
    first, last = window.first, window.last

    def since(days: int) -> SparkFrame:
        return daily_sales.where(F.col("business_date").between(F.lit(first - timedelta(days=days)), F.lit(last)))

    levels = levels_by_day(since(LEVELS_LOOKBACK_DAYS), products)
    around = surroundings(levels, products, promotions, calendar, weather, first, last)

    def of_store(rows: pl.DataFrame) -> pl.DataFrame:
        return features_of(rows, around, first, last)

    parts = -(-products["product_id"].n_unique() // _PRODUCTS_AT_ONCE)
    return parcels_by_store(since(LOOKBACK_DAYS), of_store, FEATURES_DEMAND, parts=max(parts, 1))


@lake_asset(
    FEATURES_DEMAND,
    kinds={"spark", "polars", "deltalake"},
    partitions_def=business_dates(get_settings()),
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[
        dg.AssetDep(
            dg.AssetKey(CORE_DAILY_SALES.key),
            partition_mapping=dg.TimeWindowPartitionMapping(
                start_offset=-LOOKBACK_DAYS, allow_nonexistent_upstream_partitions=True
            ),
        )
    ],
    ins={
        table.name: dg.AssetIn(key=dg.AssetKey(table.key))
        for table in (REFERENCE_PRODUCTS, REFERENCE_PROMOTIONS, REFERENCE_CALENDAR, REFERENCE_WEATHER)
    },
)
def demand_features(
    context: dg.AssetExecutionContext,
    spark: SparkResource,
    lake: LakeResource,
    products: pl.DataFrame,
    promotions: pl.DataFrame,
    calendar: pl.DataFrame,
    weather: pl.DataFrame,
) -> Parcels:
    """Compute the features of the run's days from those days and the ones that they look back on."""
    return features_between(
        read_table(spark.spark_session, lake, CORE_DAILY_SALES),
        run_window(context),
        products=products,
        promotions=promotions,
        calendar=calendar,
        weather=weather,
    )


def feature_assets() -> list[dg.AssetsDefinition]:
    """Return the assets of the features layer."""
    return [demand_features]
