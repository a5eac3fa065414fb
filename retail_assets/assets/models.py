"""The models layer: training the demand model and judging it on rolling origins.

Spark prepares the rows store by store and trains (`xgboost.spark`). Does not belong here: what the inputs are and how a
forecast is judged (`domain.forecasting`).
"""

import hashlib
import json
from datetime import date, timedelta
from typing import Any

import dagster as dg
import polars as pl
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from retail_assets.assets.common import lake_asset
from retail_assets.assets.scoring import predict_mean, supervised_rows
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
    fit_error_model,
    seasonal_naive,
)
from retail_assets.io_managers.delta import read_table, row_counts
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource

#: Beyond this the workers of so small a model only talk to each other.
_MAX_WORKERS = 8


class TrainingConfig(dg.Config):
    """What the model learns from, and how.

    Attributes:
        training_days: origins lie within this many days.
        origin_stride_days: days between two origins; neighbouring days say nearly the same.
        backtest_origins: weekly rolling origins at the end of the history, which the judged model never sees.
        rounds: trees.
        max_depth: depth of a tree.
        learning_rate: share of each tree that is taken.
        seed: of the row sampling.
    """

    training_days: int = 182
    origin_stride_days: int = 5
    backtest_origins: int = 4
    rounds: int = 100
    max_depth: int = 6
    learning_rate: float = 0.1
    seed: int = 7


def train(rows: SparkFrame, config: TrainingConfig) -> bytes:
    """Train the mean model on supervised rows and return its trees in XGBoost's own format.

    Rows whose demand is not known (the shelf was empty all day) teach nothing and are left out.
    """
    from xgboost.spark import SparkXGBRegressor

    # Columns rather than one vector column: XGBoost then takes them over Arrow as they are.
    known = rows.where(F.col("actual").isNotNull()).fillna(float("nan"), list(FORECAST_INPUTS))
    estimator = SparkXGBRegressor(
        features_col=list(FORECAST_INPUTS),
        label_col="actual",
        # Each worker is one Spark task with one thread; more than the cores would wait for each other for ever.
        num_workers=min(rows.sparkSession.sparkContext.defaultParallelism, _MAX_WORKERS),
        missing=float("nan"),
        objective="reg:tweedie",
        tweedie_variance_power=1.3,
        n_estimators=config.rounds,
        max_depth=config.max_depth,
        learning_rate=config.learning_rate,
        subsample=0.8,
        colsample_bytree=0.8,
        min_child_weight=20,
        tree_method="hist",
        random_state=config.seed,
    )
    return bytes(estimator.fit(known.select(*FORECAST_INPUTS, "actual")).get_booster().save_raw("ubj"))


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
    masters = {"calendar": calendar, "promotions": promotions, "products": products, "stores": stores}
    horizons = list(range(1, FORECAST_HORIZON_DAYS + 1))
    judged_on = [last - timedelta(days=FORECAST_HORIZON_DAYS * (back + 1)) for back in range(config.backtest_origins)]
    origins = _training_origins(first, last - timedelta(days=FORECAST_HORIZON_DAYS), config)
    # The judge's last target lies before the first one that it is asked for, so it has seen nothing of the answers.
    seen = F.col("target_date") <= F.lit(judged_on[-1])
    if not any(origin + timedelta(days=FORECAST_HORIZON_DAYS) <= judged_on[-1] for origin in origins):
        raise dg.Failure(
            f"the features hold {first} to {last}: too short to train and be judged on {config.backtest_origins} weeks"
        )

    rows = supervised_rows(session, lake, origins, horizons, **masters).cache()
    training_rows = rows.where(F.col("actual").isNotNull()).count()
    judge = train(rows.where(seen), config)
    backtest = _backtest(session, lake, judge, judged_on, horizons, masters)
    context.log.info("judged on %d origins, %d forecasts", len(judged_on), backtest.height)

    booster = train(rows, config)
    rows.unpersist()

    error_model = fit_error_model(backtest.filter(pl.col("actual").is_not_null()))
    known = backtest.filter(pl.col("seasonal_naive").is_not_null() & pl.col("actual_units").is_not_null())
    scores: dict[str, Any] = {
        "wape": wape(known["actual_units"], known["mean"]),
        "wape_seasonal_naive": wape(known["actual_units"], known["seasonal_naive"]),
        "bias": bias(known["actual_units"], known["mean"]),
    }
    context.add_output_metadata(
        {
            "trained_through": str(last),
            "training_rows": training_rows,
            "backtest_origins": dg.MetadataValue.json([str(origin) for origin in judged_on]),
            **scores,
            "wape_vs_seasonal_naive": scores["wape"] / scores["wape_seasonal_naive"],
        }
    )
    return pl.DataFrame(
        {
            "model_version": [f"{last}-{hashlib.sha256(booster).hexdigest()[:8]}"],
            "trained_through": [last],
            "training_rows": [training_rows],
            "backtest_origins": [len(judged_on)],
            **{name: [value] for name, value in scores.items()},
            "inputs": [json.dumps(list(FORECAST_INPUTS))],
            "error_model": [error_model.to_json()],
            "booster": [booster],
        }
    )


def feature_dates(lake: LakeResource) -> tuple[date, date]:
    """Return the first and last date that the features hold, by the table's log.

    Raises:
        dg.Failure: there are no features yet.
    """
    delta = lake.delta(FEATURES_DEMAND)
    kept = sorted(row_counts(delta, FEATURES_DEMAND, None)) if delta is not None else []
    if not kept:
        raise dg.Failure(f"{FEATURES_DEMAND.path} is empty: run the job feature_engineering first")
    return date.fromisoformat(kept[0]), date.fromisoformat(kept[-1])


def _training_origins(first: date, last: date, config: TrainingConfig) -> list[date]:
    earliest = max(first, last - timedelta(days=config.training_days))
    count = (last - earliest).days // config.origin_stride_days + 1
    return [last - timedelta(days=config.origin_stride_days * step) for step in range(max(count, 0))]


def _backtest(
    session: SparkSession,
    lake: LakeResource,
    booster: bytes,
    origins: list[date],
    horizons: list[int],
    masters: dict[str, pl.DataFrame],
) -> pl.DataFrame:
    """Forecast from each origin and put the seasonal naive forecast and the actuals beside it."""
    rows = supervised_rows(session, lake, origins, horizons, **masters)
    forecast = predict_mean(rows, booster).select(
        "store_id", "product_id", "run_date", "target_date", "horizon", "mean", "actual", "actual_units"
    )
    daily = (
        read_table(session, lake, CORE_DAILY_SALES)
        .where(F.col("business_date").between(F.lit(min(origins) - timedelta(days=28)), F.lit(max(origins))))
        .select("store_id", "product_id", "business_date", "units", "stockout_hours", "open_hours")
    )
    naive = seasonal_naive(pl.DataFrame(daily.toArrow()), origins, horizons)
    return pl.DataFrame(forecast.toArrow()).join(
        naive.select("store_id", "product_id", "run_date", "horizon", pl.col("mean").alias("seasonal_naive")),
        on=["store_id", "product_id", "run_date", "horizon"],
        how="left",
    )


def model_assets() -> list[dg.AssetsDefinition]:
    """Return the assets of the models layer."""
    return [demand_forecast]
