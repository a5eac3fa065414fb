"""From rows to a model: judge a model on the last weeks, which it has not seen, then train the same on everything.

Does not belong here: the trees (`trees`), how errors become quantiles (`domain.errors`), and keeping the result.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import functions as F

from retail_assets.domain.errors import DEFAULT_ERROR_MODEL, ErrorModel, fit_error_model
from retail_assets.domain.recipe import Recipe
from retail_assets.training.trees import fit, predict_mean

#: What a forecast of a judged origin holds, one row per series, origin and horizon.
JUDGED: Final = ("store_id", "product_id", "run_date", "target_date", "horizon", "mean", "actual", "actual_units")
#: With fewer rows before the judged weeks there is no model: means of the last weeks are no worse then.
LEAST_ROWS: Final = 200
_NOTHING_JUDGED: Final = pl.DataFrame(
    schema={
        "store_id": pl.String,
        "product_id": pl.String,
        "run_date": pl.Date,
        "target_date": pl.Date,
        "horizon": pl.Int32,
        "mean": pl.Float64,
        "actual": pl.Float64,
        "actual_units": pl.Float64,
    }
)


@dataclass(frozen=True)
class Trained:
    """A model, and what is known of its errors.

    Attributes:
        trees: in XGBoost's own format; empty where there was too little to learn from.
        errors: of its forecasts of a day, learnt from `judged`.
        judged: forecasts of the judged origins by trees that had not seen them: `JUDGED`.
        training_rows: rows that the trees have learnt from.
        known_through: last day whose sales they know.
    """

    trees: bytes
    errors: ErrorModel
    judged: pl.DataFrame
    training_rows: int
    known_through: date


def origins_needed(first: date, last: date, recipe: Recipe, horizon: int) -> list[date]:
    """Return the origins whose rows `train_and_judge` needs, oldest first."""
    judged = [origin for origin in recipe.judged_on(last, horizon) if origin >= first]
    cut = recipe.judged_on(last, horizon)[0]
    return sorted({*recipe.training_origins(first, last), *recipe.training_origins(first, cut), *judged})


def rows_to_learn(rows: SparkFrame, known_through: date, recipe: Recipe) -> SparkFrame:
    """Return the rows that a model may learn from which knows sales up to a day, and no later ones.

    Rows whose demand is not known (the shelf was empty all day) teach nothing and are left out.

    Args:
        rows: supervised rows of at least the training origins.
        known_through: last day whose sales are known.
        recipe: which origins.
    """
    origins = recipe.training_origins(date.min, known_through)
    return rows.where(
        F.col("run_date").isin(origins) & (F.col("target_date") <= F.lit(known_through)) & F.col("actual").isNotNull()
    )


def train_and_judge(rows: SparkFrame, known_through: date, recipe: Recipe, horizon: int) -> Trained:
    """Train a model that knows sales up to a day, and learn from the weeks before how far its forecasts err.

    Args:
        rows: supervised rows of `origins_needed`; others are ignored, and so is what lies after `known_through`.
        known_through: last day whose sales are known.
        recipe: how.
        horizon: days ahead.

    Returns:
        The model; without trees where there is too little to learn from: every series gets the fallback then.
    """
    judged_on = recipe.judged_on(known_through, horizon)
    before = rows_to_learn(rows, judged_on[0], recipe)
    if not _can_be_learnt(before):
        return Trained(b"", DEFAULT_ERROR_MODEL, _NOTHING_JUDGED, 0, known_through)
    judge = fit(before, recipe)
    asked = rows.where(F.col("run_date").isin(judged_on) & (F.col("target_date") <= F.lit(known_through)))
    judged = pl.DataFrame(predict_mean(asked, judge).select(*JUDGED).toArrow()).sort(
        "run_date", "store_id", "product_id", "horizon"
    )
    learnt = rows_to_learn(rows, known_through, recipe)
    return Trained(
        trees=fit(learnt, recipe),
        errors=fit_error_model(judged.filter(pl.col("actual").is_not_null())),
        judged=judged,
        training_rows=learnt.count(),
        known_through=known_through,
    )


def _can_be_learnt(rows: SparkFrame) -> bool:
    """Return whether trees could learn anything: enough rows, and something sold in them."""
    told = rows.agg(F.count(F.lit(1)), F.max("actual")).head()
    return told is not None and told[0] >= LEAST_ROWS and told[1] > 0


def weeks_before(last: date, count: int) -> list[date]:
    """Return weekly origins, oldest first, the last of which has a week of known sales after it."""
    return [last - timedelta(days=7 * back) for back in range(count, 0, -1)]
