"""The forecasts layer: demand of the next seven days, mean and quantiles.

Does not belong here: how quantiles follow from past errors, and what a series without history gets
(`domain.forecasting`).
"""

import json
from datetime import timedelta

import dagster as dg
import polars as pl
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import functions as F

from retail_assets.assets.common import lake_asset, per_store_pair, run_window
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    FEATURES_DEMAND,
    FORECAST_HORIZON_DAYS,
    FORECASTS_DEMAND_7D,
    MODELS_DEMAND_FORECAST,
    REFERENCE_CALENDAR,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_STORES,
)
from retail_assets.domain.forecasting import (
    FORECAST_INPUTS,
    ErrorModel,
    complete_forecasts,
)
from retail_assets.io_managers.delta import days, read_table
from retail_assets.partitions import business_dates
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource
from retail_assets.settings import get_settings
from retail_assets.training.rows import supervised_rows
from retail_assets.training.trees import predict_mean

_KEYS = ("store_id", "product_id", "run_date", "target_date", "horizon")
#: Days of sales that the fallback of a young series looks at.
_FALLBACK_DAYS = 28


class ModelMismatchError(Exception):
    """The model was trained on other inputs than this code makes."""


@lake_asset(
    FORECASTS_DEMAND_7D,
    kinds={"spark", "xgboost", "deltalake"},
    partitions_def=business_dates(get_settings()),
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[dg.AssetKey(FEATURES_DEMAND.key), dg.AssetKey(CORE_DAILY_SALES.key)],
    ins={
        "model": dg.AssetIn(key=dg.AssetKey(MODELS_DEMAND_FORECAST.key)),
        "calendar": dg.AssetIn(key=dg.AssetKey(REFERENCE_CALENDAR.key)),
        "promotions": dg.AssetIn(key=dg.AssetKey(REFERENCE_PROMOTIONS.key)),
        "products": dg.AssetIn(key=dg.AssetKey(REFERENCE_PRODUCTS.key)),
        "stores": dg.AssetIn(key=dg.AssetKey(REFERENCE_STORES.key)),
    },
)
def demand_7d(
    context: dg.AssetExecutionContext,
    spark: SparkResource,
    lake: LakeResource,
    model: pl.DataFrame,
    calendar: pl.DataFrame,
    promotions: pl.DataFrame,
    products: pl.DataFrame,
    stores: pl.DataFrame,
) -> SparkFrame:
    """Forecast every series that has features on the run date, for each of the next seven days."""
    if model.is_empty():
        raise dg.Failure("there is no demand model yet: run the job model_training first")
    inputs = json.loads(model["inputs"].item())
    if inputs != list(FORECAST_INPUTS):
        raise ModelMismatchError(
            f"model {model['model_version'].item()} was trained on other inputs than this code makes "
            f"({sorted(set(inputs) ^ set(FORECAST_INPUTS))}): run the job model_training"
        )
    origins = list(days(run_window(context)))
    trained_through = model["trained_through"].item()
    if origins[0] < trained_through:
        raise ModelMismatchError(
            f"model {model['model_version'].item()} has learned from sales up to {trained_through}, so that its "
            f"forecasts of {origins[0]} would know what they foretell: forecast {trained_through} or later days"
        )
    horizons = list(range(1, FORECAST_HORIZON_DAYS + 1))
    rows = supervised_rows(
        spark.spark_session,
        lake,
        origins,
        horizons,
        calendar=calendar,
        promotions=promotions,
        products=products,
        stores=stores,
    )
    version, errors = model["model_version"].item(), ErrorModel.from_json(model["error_model"].item())
    means = predict_mean(rows, model["booster"].item()).select(*_KEYS, "mean", "days_on_sale", "demand_mean_28")
    recent = read_table(spark.spark_session, lake, CORE_DAILY_SALES).where(
        F.col("business_date").between(F.lit(min(origins) - timedelta(days=_FALLBACK_DAYS)), F.lit(max(origins)))
    )

    def with_quantiles(store_rows: pl.DataFrame, store_sales: pl.DataFrame) -> pl.DataFrame:
        forecasts = complete_forecasts(store_rows, store_sales, products, errors, "xgboost")
        return forecasts.with_columns(model_version=pl.lit(version))

    return per_store_pair(means, recent, with_quantiles, FORECASTS_DEMAND_7D)


def forecast_assets() -> list[dg.AssetsDefinition]:
    """Return the assets of the forecasts layer."""
    return [demand_7d]
