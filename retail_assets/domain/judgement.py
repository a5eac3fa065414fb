"""Judging forecasts whose days have passed: by grain, by model, by class of series, and against rivals.

Belongs here: the measures of a set of forecasts, skill, and the report of a backtest. Does not belong here: making
forecasts (`forecasting`), the classes (`series_classes`) and scales (`scales`) that are given, and the distribution of
errors (`errors`).

Each measure is given at three grains, and a comparison of models is made on rows that both have forecast and nowhere
else (`skill`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl
from scipy.special import stdtrit

from retail_assets.contracts.tables import QUANTILES
from retail_assets.domain.accuracy import GRAINS, categories_of
from retail_assets.domain.frames import SERIES
from retail_assets.domain.series_classes import ABC_CLASSES, DEMAND_CLASSES

__all__ = ["Skill", "report", "skill"]

_DAY, _WEEK_OF_PRODUCT, _WEEK_OF_CATEGORY = GRAINS
_COVERAGES: Final = {"coverage50": ("q25", "q75"), "coverage80": ("q10", "q90"), "coverage95": ("q025", "q975")}
_MEASURES: Final = ("wape", "accuracy", "bias", "rmsse", "pinball", *_COVERAGES)
#: What a row of any grain adds up to measures from.
_SUMS: Final = (
    "rows",
    "actual",
    "error",
    "abs_error",
    "squared_error",
    "quantile_rows",
    "quantile_actual",
    "loss",
    *_COVERAGES,
)
#: Below this share of a cell's forecast on days with known demand, its quantiles are not judged.
_LEAST_KNOWN_SHARE: Final = 0.8
_CONFIDENCE: Final = 0.95
_LEAST_ORIGINS: Final = 2


def _loss(actual: pl.Expr) -> pl.Expr:
    """Return the pinball loss in units, the mean over the levels of the contract (Koenker and Bassett, 1978)."""
    losses = [
        pl.max_horizontal(level * (actual - pl.col(name)), (level - 1.0) * (actual - pl.col(name)))
        for name, level in QUANTILES.items()
    ]
    return pl.sum_horizontal(losses) / len(losses)


def _quantile_sums(actual: pl.Expr) -> dict[str, pl.Expr]:
    """Return what quantiles are judged by, row by row; zero where one is missing or demand is unknown."""
    judged = pl.all_horizontal(pl.col(*QUANTILES).is_not_null()) & actual.is_not_null()
    return {
        "quantile_rows": judged.cast(pl.UInt32),
        "quantile_actual": pl.when(judged).then(actual).otherwise(0.0),
        "loss": pl.when(judged).then(_loss(actual)).otherwise(0.0),
        **{
            name: (judged & actual.is_between(pl.col(low), pl.col(high))).fill_null(value=False).cast(pl.UInt32)
            for name, (low, high) in _COVERAGES.items()
        },
    }


def _weeks(forecasts: pl.LazyFrame) -> pl.DataFrame:
    """Return what each model's forecast of a series from an origin adds up to: all other grains follow from it.

    One pass over the forecasts. Days of unknown demand are in `whole` alone, which is the forecast of all days.
    """
    actual, mean = pl.col("actual"), pl.col("mean")
    known = actual.is_not_null()
    names = [name for name in QUANTILES if name in forecasts.collect_schema().names()]
    return (
        forecasts.with_columns(
            *(pl.lit(None, dtype=pl.Float64).alias(name) for name in QUANTILES if name not in names),
            pl.col("actual", "mean", *names).cast(pl.Float64).fill_nan(None),
        )
        .filter(mean.is_not_null())
        .select(
            "model",
            "origin",
            *SERIES,
            rows=known.cast(pl.UInt32),
            actual=actual,
            whole=mean,
            forecast=pl.when(known).then(mean),
            error=mean - actual,
            abs_error=(mean - actual).abs(),
            squared_error=(mean - actual) ** 2,
            **_quantile_sums(actual),
        )
        .group_by("model", "origin", *SERIES)
        .agg(pl.all().sum())
        .filter(pl.col("rows") > 0)
        .collect()
    )


def _coarser(weeks: pl.DataFrame, grain: str, quantiles: pl.DataFrame | None) -> pl.DataFrame:
    """Return one cell per model, origin and series of the grain, as sums that `_measures` adds up.

    Quantiles are of all days of the horizon; the actual is of those whose demand is known. Where some are not, the
    quantiles are scaled by the share of the forecast that lies on known days. That is not exact, but the alternative
    would judge a category only in weeks in which none of its products was ever sold out.
    """
    keys = ["model", "origin", *GRAINS[grain]]
    cells = weeks.group_by(keys).agg(pl.col("actual", "forecast", "whole").sum())
    if quantiles is None or quantiles.is_empty():
        cells = cells.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in QUANTILES)
    else:
        given = quantiles.select(*keys, pl.col(*QUANTILES).cast(pl.Float64).fill_nan(None)).unique(keys)
        cells = cells.join(given, on=keys, how="left")
    whole, forecast = pl.col("whole"), pl.col("forecast")
    share = pl.when(whole > 0).then(forecast / whole).otherwise(1.0)
    error = forecast - pl.col("actual")
    return cells.with_columns(pl.when(share >= _LEAST_KNOWN_SHARE).then(pl.col(*QUANTILES) * share)).select(
        *keys,
        rows=pl.lit(1, dtype=pl.UInt32),
        actual="actual",
        error=error,
        abs_error=error.abs(),
        squared_error=error**2,
        **_quantile_sums(pl.col("actual")),
    )


def _measures(cells: pl.DataFrame, grain: str, scales: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Return the measures of each group of cells; null where a measure can not be told."""
    sums = cells.group_by(by).agg(pl.col(*_SUMS).sum())
    item = GRAINS[grain][1]
    scaled = (
        cells.select(*by, "origin", "store_id", item, "rows", "squared_error")
        .join(
            scales.filter(pl.col("grain") == grain).select("origin", "store_id", "scale", "weight", item="item"),
            left_on=["origin", "store_id", item],
            right_on=["origin", "store_id", "item"],
            how="inner",
        )
        .filter((pl.col("scale") > 0) & (pl.col("weight") > 0))
        .group_by(*by, "store_id", item)
        .agg(
            rmsse=((pl.col("squared_error") / pl.col("scale")).sum() / pl.col("rows").sum()).sqrt(),
            weight=pl.col("weight").sum(),
        )
        .group_by(by)
        .agg(rmsse=(pl.col("rmsse") * pl.col("weight")).sum() / pl.col("weight").sum())
    )
    demanded, quantiles = pl.col("actual") > 0, pl.col("quantile_rows")
    return (
        sums.join(scaled, on=by, how="left", nulls_equal=True)
        .with_columns(
            wape=pl.when(demanded).then(pl.col("abs_error") / pl.col("actual")),
            bias=pl.when(demanded).then(pl.col("error") / pl.col("actual")),
            # The mean loss over the mean actual: both means are over the same rows.
            pinball=pl.when(pl.col("quantile_actual") > 0).then(pl.col("loss") / pl.col("quantile_actual")),
            **{name: pl.when(quantiles > 0).then(pl.col(name) / quantiles) for name in _COVERAGES},
        )
        .with_columns(accuracy=1.0 - pl.col("wape"))
        .select(*by, *_MEASURES, pl.col("rows").cast(pl.Int64))
        .sort(by)
    )


@dataclass(frozen=True)
class Skill:
    """How much less a model errs than a rival.

    Attributes:
        skill: 1 less the ratio of their WAPE on the rows both have: 0.1 is a tenth less error, below 0 is worse. None
            where the rival makes no error at all.
        low: lower end of the interval that holds the skill with 95 % confidence; None with fewer than two origins.
        high: the upper end.
        rows: cells of the grain that both have.
    """

    skill: float | None
    low: float | None
    high: float | None
    rows: int


def skill(forecasts: pl.DataFrame, model: str, rival: str, grain: str, products: pl.DataFrame | None = None) -> Skill:
    """Return how much less `model` errs than `rival`, on the days and series that both have forecast.

    Rows are matched by day and series before they are summed up to the grain, so a rival that covers a sample of
    series, or only the slow ones of a category, is compared on just those.

    The interval is Student's t over the origins, paired: each origin gives the sum of errors of both, the skill is a
    ratio of their totals, and its variance that of a ratio estimator (Cochran, "Sampling Techniques", section 2.11),
    with one degree of freedom less than there are origins. Origins are taken as independent, rows of one origin as
    anything but. A bootstrap over origins would do the same with many of them, but with eight its intervals are too
    narrow: it draws from eight values as if they were all there are.

    Args:
        forecasts: judged forecasts, as `report` takes them.
        model: name of the model.
        rival: name of the rival.
        grain: one of `GRAINS`.
        products: product_id, category; needed at the grain of categories.

    Raises:
        ValueError: no such grain, or the grain of categories without products.
    """
    if grain not in GRAINS:
        raise ValueError(f"no grain {grain}, there are {', '.join(GRAINS)}")
    return _skill_at(_paired(_days_of(forecasts, model), _days_of(forecasts, rival)), grain, products)


def _days_of(forecasts: pl.DataFrame, model: str) -> pl.DataFrame:
    return (
        forecasts.lazy()
        .filter(pl.col("model") == model)
        .select("origin", "target_date", *SERIES, pl.col("actual", "mean").cast(pl.Float64).fill_nan(None))
        .drop_nulls(["actual", "mean"])
        .collect()
    )


def _paired(ours: pl.DataFrame, theirs: pl.DataFrame) -> pl.DataFrame:
    """Return sums over the days that two models have, one row per origin and series."""
    actual, mean, other = pl.col("actual"), pl.col("mean"), pl.col("rival")
    return (
        ours.lazy()
        .join(
            theirs.lazy().select("origin", "target_date", *SERIES, rival="mean"),
            on=["origin", "target_date", *SERIES],
        )
        .group_by("origin", *SERIES)
        .agg(
            actual.sum(),
            mean.sum(),
            other.sum(),
            rows=pl.len(),
            ours=(mean - actual).abs().sum(),
            theirs=(other - actual).abs().sum(),
        )
        .collect()
    )


def _skill_at(pairs: pl.DataFrame, grain: str, products: pl.DataFrame | None) -> Skill:
    cells = pairs
    if grain != _DAY:
        if grain == _WEEK_OF_CATEGORY:
            if products is None:
                raise ValueError("the grain of categories needs to know the products' categories")
            cells = cells.join(categories_of(products), on="product_id", how="left").with_columns(
                pl.col("category").fill_null("unknown")
            )
        cells = (
            cells.group_by("origin", *GRAINS[grain])
            .agg(pl.col("actual", "mean", "rival").sum())
            .with_columns(
                rows=pl.lit(1),
                ours=(pl.col("mean") - pl.col("actual")).abs(),
                theirs=(pl.col("rival") - pl.col("actual")).abs(),
            )
        )
    rows = int(cells["rows"].sum())
    by_origin = cells.group_by("origin").agg(pl.col("ours", "theirs").sum()).sort("origin")
    ours, theirs = by_origin["ours"].to_numpy(), by_origin["theirs"].to_numpy()
    if theirs.sum() <= 0:
        return Skill(None, None, None, rows)
    ratio, count = float(ours.sum() / theirs.sum()), len(ours)
    if count < _LEAST_ORIGINS:
        return Skill(1.0 - ratio, None, None, rows)
    spread = math.sqrt(count / (count - 1) * float(((ours - ratio * theirs) ** 2).sum())) / float(theirs.sum())
    reach = float(stdtrit(count - 1, (1.0 + _CONFIDENCE) / 2.0)) * spread
    return Skill(1.0 - ratio, 1.0 - ratio - reach, 1.0 - ratio + reach, rows)


def report(
    forecasts: pl.DataFrame,
    model: str,
    *,
    products: pl.DataFrame,
    scales: pl.DataFrame,
    demand: pl.DataFrame,
    abc: pl.DataFrame,
    quantiles: Mapping[str, pl.DataFrame] | None = None,
) -> dict[str, Any]:
    """Judge every model's forecasts at every grain, and one model against all others.

    Sums over a horizon or a category are over the days whose demand is known, of forecast and actual alike.

    Args:
        forecasts: judged forecasts, one row per model, origin, target date and series: model, origin, target_date,
            store_id, product_id, actual (units; null where demand is unknown, such rows are left out), mean (units;
            rows without are no forecasts) and the columns of `contracts.tables.QUANTILES` (units; null for a model
            that has none).
        model: the model whose skill against the others is told.
        products: product_id, category.
        scales: from `scales.naive_scales`.
        demand: store_id, product_id, demand_class, from `series_classes.demand_classes`.
        abc: store_id, product_id, abc_class, from `series_classes.abc_classes`.
        quantiles: of sums, by coarser grain: model, origin, what identifies a series at the grain (`GRAINS`), and the
            quantile columns (units of the whole horizon). Quantiles of a sum are no sums of quantiles: a model without
            such rows has no quantiles at that grain.

    Returns:
        Plain numbers and None, fit for JSON:

        - grains: grain, model -> wape, accuracy, bias, rmsse, pinball (mean loss over mean actual), coverage50,
          coverage80, coverage95 (shares), rows. Models may have forecast different rows: compare them by skill.
        - skill: grain, rival -> `Skill`.
        - classes: "demand" and "abc", class, grain, model -> the same measures, at the two grains of products: a
          category holds products of many classes. A series that has no class is in none.

    Raises:
        polars.exceptions.ColumnNotFoundError: a frame lacks a column.
    """
    given = quantiles or {}
    weeks = _weeks(forecasts.lazy())
    categories = categories_of(products)
    of_categories = weeks.join(categories, on="product_id", how="left").with_columns(
        pl.col("category").fill_null("unknown")
    )
    cells = {
        _DAY: weeks,
        _WEEK_OF_PRODUCT: _coarser(weeks, _WEEK_OF_PRODUCT, given.get(_WEEK_OF_PRODUCT)),
        _WEEK_OF_CATEGORY: _coarser(of_categories, _WEEK_OF_CATEGORY, given.get(_WEEK_OF_CATEGORY)),
    }
    of_products = (_DAY, _WEEK_OF_PRODUCT)
    classes: dict[str, Any] = {}
    for kind, column, table, names in (
        ("demand", "demand_class", demand, DEMAND_CLASSES),
        ("abc", "abc_class", abc, ABC_CLASSES),
    ):
        known = table.select(*SERIES, column).unique(SERIES)
        found = {
            grain: _by_name(
                _measures(cells[grain].join(known, on=SERIES), grain, scales, [column, "model"]), [column, "model"]
            )
            for grain in of_products
        }
        classes[kind] = {
            name: {grain: found[grain][name] for grain in of_products if name in found[grain]}
            for name in names
            if any(name in found[grain] for grain in of_products)
        }
    ours = _days_of(forecasts, model)
    against: dict[str, dict[str, Any]] = {grain: {} for grain in GRAINS}
    for rival in sorted(set(weeks["model"].unique()) - {model}):
        pairs = _paired(ours, _days_of(forecasts, rival))
        for grain in GRAINS:
            against[grain][rival] = asdict(_skill_at(pairs, grain, products))
    return {
        "grains": {
            grain: _by_name(_measures(frame, grain, scales, ["model"]), ["model"]) for grain, frame in cells.items()
        },
        "skill": against,
        "classes": classes,
    }


def _by_name(measures: pl.DataFrame, keys: Sequence[str]) -> dict[str, Any]:
    """Return rows as nested plain values; what is no number is None."""
    result: dict[str, Any] = {}
    for row in measures.iter_rows(named=True):
        place = result
        for key in keys[:-1]:
            place = place.setdefault(row[key], {})
        place[row[keys[-1]]] = {
            name: None if value is None or not math.isfinite(value) else value
            for name, value in row.items()
            if name not in keys
        }
    return result
