"""The features layer: what is known of a series at the end of a day.

Does not belong here: the features themselves (`domain.features`).
"""

from datetime import timedelta

import dagster as dg
import polars as pl
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import functions as F

from retail_assets.assets.common import lake_asset, per_store, run_window
from retail_assets.contracts.tables import CORE_DAILY_SALES, FEATURES_DEMAND
from retail_assets.domain.features import LOOKBACK_DAYS
from retail_assets.domain.features import demand_features as features_of
from retail_assets.io_managers.delta import read_table
from retail_assets.partitions import business_dates
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource
from retail_assets.settings import get_settings


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
)
def demand_features(context: dg.AssetExecutionContext, spark: SparkResource, lake: LakeResource) -> SparkFrame:
    """Compute the features of the run's days from those days and the ones that they look back on."""
    window = run_window(context)
    first, last = window.first, window.last
    history = read_table(spark.spark_session, lake, CORE_DAILY_SALES).where(
        F.col("business_date").between(F.lit(first - timedelta(days=LOOKBACK_DAYS)), F.lit(last))
    )

    def of_store(rows: pl.DataFrame) -> pl.DataFrame:
        return features_of(rows, first, last)

    return per_store(history, of_store, FEATURES_DEMAND)


def feature_assets() -> list[dg.AssetsDefinition]:
    """Return the assets of the features layer."""
    return [demand_features]
