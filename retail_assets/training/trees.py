"""The trees themselves: fitted to rows by XGBoost, and asked in Spark's tasks.

Does not belong here: where the rows come from (`rows`), and what is trained on which of them (`procedure`).
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from retail_assets.domain.forecasting import FORECAST_INPUTS
from retail_assets.domain.recipe import Recipe

if TYPE_CHECKING:
    from xgboost import Booster

#: Beyond this the workers of so small a model only talk to each other.
_MAX_WORKERS: Final = 8
#: Up to so many rows the driver trains alone: Spark's workers take longer to start than so few rows to learn.
ROWS_IN_DRIVER: Final = 2_000_000
_ROWS_FOR_THREADS: Final = 500_000
#: Greatest demands of which one more, or a few, may be a slip: so many rows, or this share of all.
_RARE_ROWS: Final = 50
_RARE_SHARE: Final = 0.001
#: A demand that is so many times the least of those is no demand.
_BEYOND_RARE: Final = 10.0


def fit(rows: SparkFrame, recipe: Recipe, *, rows_in_driver: int = ROWS_IN_DRIVER) -> bytes:
    """Train the mean of demand and return its trees in XGBoost's own format.

    The same rows in whatever order and partitions give the same trees as long as they are trained in the same place.

    Args:
        rows: supervised rows whose `actual` is known.
        recipe: the parameters.
        rows_in_driver: with more rows than these, Spark's workers train together (`xgboost.spark`).
    """
    known = rows.select(
        "store_id",
        "product_id",
        "run_date",
        "horizon",
        *(F.col(name).cast("float") for name in FORECAST_INPUTS),
        F.col("actual").cast("float"),
    )
    count = known.count()
    bounded = known.withColumn("actual", F.least("actual", F.lit(_highest_label(known, count)).cast("float")))
    return _fit_here(bounded, recipe) if count <= rows_in_driver else _fit_on_spark(bounded, recipe)


def _highest_label(known: SparkFrame, count: int) -> float:
    """Return the greatest demand that is taken for one: what is far beyond the greatest of the rest is a slip.

    A single day of a million units would otherwise pull up every leaf that it lies in.
    """
    place = max(_RARE_ROWS, round(count * _RARE_SHARE))
    greatest = known.select("actual").orderBy(F.col("actual").desc()).limit(place).agg(F.min("actual")).head()
    rare = float(greatest[0]) if greatest is not None and greatest[0] is not None else 0.0
    return _BEYOND_RARE * rare if rare > 0 else math.inf


def _parameters(recipe: Recipe) -> dict[str, Any]:
    power = {"tweedie_variance_power": recipe.tweedie_power} if recipe.objective == "reg:tweedie" else {}
    return {
        "objective": recipe.objective,
        **power,
        "max_depth": recipe.max_depth,
        "learning_rate": recipe.learning_rate,
        "subsample": recipe.subsample,
        "colsample_bytree": recipe.colsample,
        "min_child_weight": recipe.min_child_weight,
        "tree_method": "hist",
    }


def _fit_here(known: SparkFrame, recipe: Recipe) -> bytes:
    from xgboost import QuantileDMatrix, train

    # Spark returns rows in the order of its tasks; sampling by row number asks for one that is always the same.
    table = known.toArrow().sort_by([(name, "ascending") for name in ("run_date", "store_id", "product_id", "horizon")])
    inputs = np.column_stack([table.column(name).to_numpy() for name in FORECAST_INPUTS])
    matrix = QuantileDMatrix(
        inputs, label=table.column("actual").to_numpy(), missing=np.nan, feature_names=list(FORECAST_INPUTS)
    )
    # Threads meet after every level of a tree; with few rows, or on a busy machine, they only wait for each other.
    threads = 1 if table.num_rows < _ROWS_FOR_THREADS else 0
    parameters = {**_parameters(recipe), "seed": recipe.seed, "nthread": threads}
    booster = train(parameters, matrix, num_boost_round=recipe.rounds)
    return bytes(booster.save_raw("ubj"))


def _fit_on_spark(known: SparkFrame, recipe: Recipe) -> bytes:
    from xgboost.spark import SparkXGBRegressor

    workers = min(known.sparkSession.sparkContext.defaultParallelism, _MAX_WORKERS)
    # Columns rather than one vector column: XGBoost then takes them over Arrow as they are.
    estimator = SparkXGBRegressor(
        features_col=list(FORECAST_INPUTS),
        label_col="actual",
        # Each worker is one Spark task with one thread; more than the cores would wait for each other for ever.
        num_workers=workers,
        missing=float("nan"),
        n_estimators=recipe.rounds,
        random_state=recipe.seed,
        **_parameters(recipe),
    )
    # Where a row lies decides which worker samples it: by its keys, not by the tasks that happened to make it.
    placed = known.repartition(workers, "store_id", "product_id").sortWithinPartitions(
        "run_date", "store_id", "product_id", "horizon"
    )
    rows = placed.fillna(float("nan"), list(FORECAST_INPUTS)).select(*FORECAST_INPUTS, "actual")
    return bytes(estimator.fit(rows).get_booster().save_raw("ubj"))


def read_trees(trees: bytes) -> "Booster":
    """Return trees that `fit` made, ready to be asked."""
    from xgboost import Booster

    return Booster(model_file=bytearray(trees))


def predict_mean(rows: SparkFrame, trees: bytes) -> SparkFrame:
    """Return the rows with a column `mean`: expected demand, never negative; computed in Spark's tasks.

    Without trees (an empty model) the mean is null.
    """
    if not trees:
        return rows.withColumn("mean", F.lit(None).cast("double"))

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        model = read_trees(trees)
        for batch in batches:
            inputs = np.column_stack([batch.column(name).to_numpy(zero_copy_only=False) for name in FORECAST_INPUTS])
            mean = model.inplace_predict(inputs) if batch.num_rows else np.empty(0)
            yield batch.append_column("mean", pa.array(np.maximum(mean, 0.0), type=pa.float64()))

    return rows.mapInArrow(score, T.StructType([*rows.schema.fields, T.StructField("mean", T.DoubleType())]))
