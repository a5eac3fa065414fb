"""The models layer: training the demand model and judging it on rolling origins.

Does not belong here: how (`training`), and what the inputs are (`domain.forecasting`).
"""

import hashlib
import json
import math
from dataclasses import replace
from datetime import date, timedelta

import dagster as dg
import polars as pl
from deltalake import DeltaTable
from pyspark import StorageLevel
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from retail_assets.assets.common import lake_asset
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    FEATURES_DEMAND,
    FORECAST_HORIZON_DAYS,
    MODELS_DEMAND_FORECAST,
    REFERENCE_CALENDAR,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_STORES,
)
from retail_assets.domain.accuracy import bias, wape
from retail_assets.domain.forecasting import (
    FORECAST_INPUTS,
    seasonal_naive,
)
from retail_assets.domain.recipe import Recipe
from retail_assets.io_managers.delta import read_table, row_counts
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource
from retail_assets.training.procedure import origins_needed, train_and_judge
from retail_assets.training.rows import supervised_rows


class TrainingConfig(dg.Config):
    """Parameters of training instead of the recipe's own (`domain.recipe.Recipe`); null is the recipe's own.

    Attributes:
        training_days: origins lie within so many days.
        origin_stride_days: days between two origins.
        judged_origins: weekly origins at the end of the history, which the judged model never sees.
        rounds: trees.
        max_depth: depth of a tree.
        learning_rate: share of each tree that is taken.
        seed: of all sampling.
    """

    training_days: int | None = None
    origin_stride_days: int | None = None
    judged_origins: int | None = None
    rounds: int | None = None
    max_depth: int | None = None
    learning_rate: float | None = None
    seed: int | None = None

    def recipe(self) -> Recipe:
        """Return the recipe to train by.

        Raises:
            ValueError: a value that no model can be trained with.
        """
        return replace(Recipe(), **{name: value for name, value in self.model_dump().items() if value is not None})


@lake_asset(
    MODELS_DEMAND_FORECAST,
    kinds={"spark", "xgboost", "deltalake"},
    deps=[dg.AssetKey(FEATURES_DEMAND.key), dg.AssetKey(CORE_DAILY_SALES.key)],
    ins={
        "calendar": dg.AssetIn(key=dg.AssetKey(REFERENCE_CALENDAR.key)),
        "promotions": dg.AssetIn(key=dg.AssetKey(REFERENCE_PROMOTIONS.key)),
        "products": dg.AssetIn(key=dg.AssetKey(REFERENCE_PRODUCTS.key)),
        "stores": dg.AssetIn(key=dg.AssetKey(REFERENCE_STORES.key)),
    },
)
def demand_forecast(
    context: dg.AssetExecutionContext,
    config: TrainingConfig,
    spark: SparkResource,
    lake: LakeResource,
    calendar: pl.DataFrame,
    promotions: pl.DataFrame,
    products: pl.DataFrame,
    stores: pl.DataFrame,
) -> pl.DataFrame:
    """Judge a model on the last weeks, which it has not seen; then train the same on everything and keep it."""
    session = spark.spark_session
    first, last = feature_dates(lake)
    horizon = FORECAST_HORIZON_DAYS
    series = row_counts(_existing(lake), FEATURES_DEMAND, None)[str(last)]
    recipe = config.recipe().for_series(series, horizon)
    rows = supervised_rows(
        session,
        lake,
        origins_needed(first, last, recipe, horizon),
        list(range(1, horizon + 1)),
        calendar=calendar,
        promotions=promotions,
        products=products,
        stores=stores,
    ).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        trained = train_and_judge(rows, last, recipe, horizon)
    finally:
        rows.unpersist()
    scores = _scores(session, lake, trained.judged)
    origins = trained.judged["run_date"].unique().sort().to_list()
    if not trained.trees:
        context.log.warning("there is too little history for a model: every series gets the mean of its last weeks")
    context.add_output_metadata(
        {
            "trained_through": str(last),
            "training_rows": trained.training_rows,
            "backtest_origins": dg.MetadataValue.json([str(origin) for origin in origins]),
            "recipe": dg.MetadataValue.json(json.loads(recipe.to_json())),
            **{name: value for name, value in scores.items() if value is not None},
        }
    )
    return pl.DataFrame(
        {
            "model_version": [f"{last}-{hashlib.sha256(trained.trees).hexdigest()[:8]}"],
            "trained_through": [last],
            "training_rows": [trained.training_rows],
            "backtest_origins": [len(origins)],
            **{name: pl.Series([value], dtype=pl.Float64) for name, value in scores.items()},
            "inputs": [json.dumps(list(FORECAST_INPUTS))],
            "error_model": [trained.errors.to_json()],
            "booster": [trained.trees],
        }
    )


def _existing(lake: LakeResource) -> DeltaTable:
    """Return the feature store.

    Raises:
        dg.Failure: there are no features yet.
    """
    delta = lake.delta(FEATURES_DEMAND)
    if delta is None:
        raise dg.Failure(f"{FEATURES_DEMAND.path} is empty: run the job feature_engineering first")
    return delta


def feature_dates(lake: LakeResource) -> tuple[date, date]:
    """Return the first and last date that the features hold, by the table's log.

    Raises:
        dg.Failure: there are no features yet.
    """
    kept = sorted(row_counts(_existing(lake), FEATURES_DEMAND, None))
    if not kept:
        raise dg.Failure(f"{FEATURES_DEMAND.path} is empty: run the job feature_engineering first")
    return date.fromisoformat(kept[0]), date.fromisoformat(kept[-1])


def _scores(session: SparkSession, lake: LakeResource, judged: pl.DataFrame) -> dict[str, float | None]:
    """Return how far judged forecasts were off, beside the seasonal naive forecast of the same rows.

    Null where nothing was judged, or nothing demanded.
    """
    names = ("wape", "wape_seasonal_naive", "bias")
    if judged.is_empty():
        return dict.fromkeys(names)
    origins = judged["run_date"].unique().sort().to_list()
    horizons = judged["horizon"].unique().sort().to_list()
    daily = (
        read_table(session, lake, CORE_DAILY_SALES)
        .where(F.col("business_date").between(F.lit(min(origins) - timedelta(days=28)), F.lit(max(origins))))
        .select("store_id", "product_id", "business_date", "units", "stockout_hours", "open_hours")
    )
    naive = seasonal_naive(pl.DataFrame(daily.toArrow()), origins, horizons)
    known = judged.join(
        naive.select("store_id", "product_id", "run_date", "horizon", seasonal_naive="mean"),
        on=["store_id", "product_id", "run_date", "horizon"],
    ).filter(pl.col("actual_units").is_not_null())
    actual = known["actual_units"]
    figures = (wape(actual, known["mean"]), wape(actual, known["seasonal_naive"]), bias(actual, known["mean"]))
    return {name: value if math.isfinite(value) else None for name, value in zip(names, figures, strict=True)}


def model_assets() -> list[dg.AssetsDefinition]:
    """Return the assets of the models layer."""
    return [demand_forecast]
