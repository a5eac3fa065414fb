"""How well forecasts came true: by grain, by model, by class of series, and against rivals.

Belongs here: measures of forecasts whose days have passed, the scales and classes that they need, and the report of a
backtest. Does not belong here: making forecasts (`forecasting`), and the distribution of their errors (`errors`).

Accuracy has no meaning without its grain. The same forecasts err by half of demand per product, store and day, and by
a tenth per category, store and week, because errors of single products cancel out. So each measure is given at three
grains, and a comparison of models is made on rows that both have forecast and nowhere else (`skill`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import stdtrit

from retail_assets.contracts.tables import QUANTILES
from retail_assets.domain.frames import SERIES

__all__ = [
    "ABC_CLASSES",
    "ADI_CUT",
    "CV2_CUT",
    "DEMAND_CLASSES",
    "GRAINS",
    "Skill",
    "abc_classes",
    "bias",
    "demand_classes",
    "naive_scales",
    "report",
    "skill",
    "wape",
]

#: Grains of judgement and what identifies a series at each; from fine to coarse.
GRAINS: Final[dict[str, tuple[str, str]]] = {
    "product_store_day": ("store_id", "product_id"),
    "product_store_week": ("store_id", "product_id"),
    "category_store_week": ("store_id", "category"),
}

#: Borders between classes of demand (Syntetos, Boylan and Croston, "On the categorization of demand patterns", 2005).
ADI_CUT: Final = 1.32
CV2_CUT: Final = 0.49
DEMAND_CLASSES: Final = ("smooth", "erratic", "intermittent", "lumpy")

#: Classes of turnover, from much to little.
ABC_CLASSES: Final = ("A", "B", "C")

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
_WEEK: Final = 7
#: Known days that make a block of seven worth scaling up to seven.
_LEAST_KNOWN_DAYS: Final = 4
_WEIGHT_DAYS: Final = 28
#: Below this share of a cell's forecast on days with known demand, its quantiles are not judged.
_LEAST_KNOWN_SHARE: Final = 0.8
_ABC_DAYS: Final = 90
_A_SHARE: Final = 0.8
_B_SHARE: Final = 0.95
_CONFIDENCE: Final = 0.95
_LEAST_ORIGINS: Final = 2


def _pair(
    actual: pl.Series | npt.ArrayLike, forecast: pl.Series | npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    left, right = (
        (values.cast(pl.Float64).to_numpy() if isinstance(values, pl.Series) else np.asarray(values, dtype=np.float64))
        for values in (actual, forecast)
    )
    if left.shape != right.shape:
        raise ValueError(f"{left.shape} actual values, {right.shape} forecasts")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError("an accuracy over values that are not known means nothing: leave those rows out first")
    return left, right


def wape(actual: pl.Series | npt.ArrayLike, forecast: pl.Series | npt.ArrayLike) -> float:
    """Return the weighted absolute percentage error: sum of absolute errors over sum of actual demand.

    A share, not per cent: 0.2 is 20 %. "Accuracy" is 1 less this. It depends on the grain: say the grain with it.

    Args:
        actual: demand, units.
        forecast: the same days and series, units.

    Returns:
        The share; NaN where nothing was demanded in all, since no error can be put in relation to it.

    Raises:
        ValueError: different lengths, or a value that is null, NaN or infinite.
    """
    left, right = _pair(actual, forecast)
    total = float(np.abs(left).sum())
    return float(np.abs(left - right).sum()) / total if total > 0 else math.nan


def bias(actual: pl.Series | npt.ArrayLike, forecast: pl.Series | npt.ArrayLike) -> float:
    """Return the sum of forecast less actual over the sum of actual demand: positive where too much is forecast.

    Args:
        actual: demand, units.
        forecast: the same days and series, units.

    Returns:
        The share; NaN where nothing was demanded in all.

    Raises:
        ValueError: different lengths, or a value that is null, NaN or infinite.
    """
    left, right = _pair(actual, forecast)
    total = float(np.abs(left).sum())
    return float((right - left).sum()) / total if total > 0 else math.nan


def demand_classes(history: pl.DataFrame) -> pl.DataFrame:
    """Return how regularly each series sells, by the days of `history` alone.

    Days are counted from the first sale: before it a product was not on sale, or nobody can tell. Days of unknown
    demand count for nothing.

    Args:
        history: store_id, product_id, business_date, demand (units per day; null where unknown). What lies after the
            first origin of a backtest does not belong in it.

    Returns:
        One row per series with a sale: store_id, product_id, adi (mean days from sale to sale), size_cv2 (squared
        coefficient of variation of the units of days with a sale; 0 for a single one), demand_class (one of
        `DEMAND_CLASSES`). Series without a sale have no class.
    """
    demand = pl.col("demand")
    sold = demand.filter(demand > 0)
    seldom, uneven = pl.col("adi") >= ADI_CUT, pl.col("size_cv2") >= CV2_CUT
    return (
        _known(history)
        .filter(pl.col("business_date") >= pl.col("business_date").filter(demand > 0).min().over(*SERIES))
        .group_by(*SERIES)
        .agg(adi=pl.len() / sold.len(), size_cv2=((sold.std() / sold.mean()) ** 2).fill_null(0.0))
        .with_columns(
            demand_class=pl.when(seldom & uneven)
            .then(pl.lit("lumpy"))
            .when(seldom)
            .then(pl.lit("intermittent"))
            .when(uneven)
            .then(pl.lit("erratic"))
            .otherwise(pl.lit("smooth"))
        )
        .sort(*SERIES)
    )


def abc_classes(history: pl.DataFrame) -> pl.DataFrame:
    """Return how much of its store's turnover each series makes: A the first 80 %, B the next 15 %, C the rest.

    By store, because it is a store that orders: the best seller of a small store would be a C among all. A series
    belongs to the class in which its first unit of turnover lies, so the one that crosses a border is still above it,
    and each store that sells anything has an A.

    Args:
        history: store_id, product_id, business_date, demand (units per day; null where unknown), and revenue (money
            per day) where turnover is to be counted in money. The last 90 days of it count.

    Returns:
        One row per series of those days: store_id, product_id, turnover (units or money), abc_class.
    """
    turnover = "revenue" if "revenue" in history.columns else "demand"
    recent = history.filter(
        pl.col("business_date") > pl.col("business_date").max() - pl.duration(days=_ABC_DAYS),
    )
    before = (pl.col("turnover").cum_sum() - pl.col("turnover")) / pl.col("turnover").sum()
    return (
        recent.group_by(*SERIES)
        .agg(turnover=pl.col(turnover).cast(pl.Float64).fill_nan(None).sum().clip(lower_bound=0.0))
        .sort("store_id", "turnover", "product_id", descending=[False, True, False])
        .with_columns(before=before.over("store_id"))
        .with_columns(
            # Not a number, where a store has sold nothing at all, is below no border.
            abc_class=pl.when((pl.col("turnover") > 0) & (pl.col("before") < _A_SHARE))
            .then(pl.lit("A"))
            .when((pl.col("turnover") > 0) & (pl.col("before") < _B_SHARE))
            .then(pl.lit("B"))
            .otherwise(pl.lit("C"))
        )
        .drop("before")
        .sort(*SERIES)
    )


def naive_scales(history: pl.DataFrame, products: pl.DataFrame, origins: Sequence[date]) -> pl.DataFrame:
    """Return what RMSSE puts squared errors in relation to: how much a series changes from one step to the next.

    The mean squared one-step difference of the history up to the origin, from the first sale on (Hyndman and Koehler,
    "Another look at measures of forecast accuracy", 2006; as in the M5 competition). A step is a day at the grain of
    days; at the coarser grains it is a block of seven days, and blocks do not overlap and end at the origin. A day of
    unknown demand makes no difference to either neighbour; a block is scaled up to seven days where at least four are
    known, and left out otherwise. May be called store by store.

    Args:
        history: store_id, product_id, business_date, demand (units per day; null where unknown).
        products: product_id, category; other products are of the category `unknown`.
        origins: last days whose demand is known to the forecasts. What history holds after an origin is not part of
            its scales.

    Returns:
        One row per grain, origin and series: grain, origin, store_id, item (product or category), scale (units², per
        step; null with fewer than two steps), weight (units of the 28 days up to the origin).
    """
    ordered = sorted(set(origins))
    known = _known(history).select(*SERIES, "business_date", "demand").sort(*SERIES, "business_date")
    categories = _categories(products)
    weights = (
        pl.concat(
            known.filter(
                pl.col("business_date").is_between(pl.lit(origin) - pl.duration(days=_WEIGHT_DAYS - 1), pl.lit(origin))
            )
            .group_by(*SERIES)
            .agg(weight=pl.col("demand").sum())
            .with_columns(origin=pl.lit(origin, dtype=pl.Date))
            for origin in ordered
        )
        if ordered
        else pl.DataFrame(schema={**dict.fromkeys(SERIES, pl.String), "weight": pl.Float64, "origin": pl.Date})
    )
    of_category = (
        weights.join(categories, on="product_id", how="left")
        .with_columns(pl.col("category").fill_null("unknown"))
        .group_by("store_id", "category", "origin")
        .agg(pl.col("weight").sum())
    )
    found = [_scales_at(_DAY, _steps(known, "product_id", 1), ordered, weights)]
    by_end: dict[int, list[date]] = {}
    for origin in ordered:
        by_end.setdefault(origin.toordinal() % _WEEK, []).append(origin)
    for sharing in by_end.values():
        blocks = _blocks(known, sharing[-1])
        found.append(_scales_at(_WEEK_OF_PRODUCT, _steps(blocks, "product_id", _WEEK), sharing, weights))
        summed = (
            blocks.join(categories, on="product_id", how="left")
            .with_columns(pl.col("category").fill_null("unknown"))
            .group_by("store_id", "category", "business_date")
            .agg(pl.col("demand").sum())
            .sort("store_id", "category", "business_date")
        )
        found.append(_scales_at(_WEEK_OF_CATEGORY, _steps(summed, "category", _WEEK), sharing, of_category))
    return pl.concat(found).sort("grain", "origin", "store_id", "item")


def _known(history: pl.DataFrame) -> pl.DataFrame:
    """Return the days whose demand is known, in units as Float64."""
    return history.with_columns(pl.col("demand").cast(pl.Float64).fill_nan(None)).drop_nulls("demand")


def _categories(products: pl.DataFrame) -> pl.DataFrame:
    return products.select("product_id", "category").unique("product_id", keep="first", maintain_order=True)


def _blocks(known: pl.DataFrame, end: date) -> pl.DataFrame:
    """Return demand of blocks of seven days up to `end`, each under its last day, ordered by series and date."""
    back = (pl.lit(end) - pl.col("business_date")).dt.total_days()
    return (
        known.filter(pl.col("business_date") <= end)
        .group_by(*SERIES, business_date=pl.lit(end) - pl.duration(days=back // _WEEK * _WEEK))
        .agg(demand=pl.col("demand").mean() * _WEEK, known_days=pl.len())
        .filter(pl.col("known_days") >= _LEAST_KNOWN_DAYS)
        .drop("known_days")
        .sort(*SERIES, "business_date")
    )


def _steps(ordered: pl.DataFrame, item: str, days: int) -> pl.DataFrame:
    """Return the squared difference of each step of `days` from the first sale on; rows ordered by series and date."""
    same = (pl.col("store_id") == pl.col("store_id").shift()) & (pl.col(item) == pl.col(item).shift())
    next_to = pl.col("business_date").diff().dt.total_days() == days
    return (
        ordered.filter((pl.col("demand") > 0).cum_max().over("store_id", item))
        .with_columns(squared=pl.when(same & next_to).then(pl.col("demand").diff() ** 2))
        .select("store_id", "business_date", "squared", item=item)
    )


def _scales_at(grain: str, steps: pl.DataFrame, origins: list[date], weights: pl.DataFrame) -> pl.DataFrame:
    """Return the scales of one grain at each origin, from one pass over the steps."""
    item = GRAINS[grain][1]
    ends = pl.DataFrame({"origin": origins}, schema={"origin": pl.Date}).sort("origin")
    between = (
        steps.sort("business_date")
        .join_asof(ends, left_on="business_date", right_on="origin", strategy="forward", check_sortedness=False)
        .drop_nulls("origin")
        .group_by("store_id", "item", "origin")
        .agg(total=pl.col("squared").sum(), steps=pl.col("squared").count())
    )
    # Each origin has what lies before the ones before it as well, whether or not there are steps in between.
    series = between.select("store_id", "item").unique()
    return (
        series.join(ends, how="cross")
        .join(between, on=["store_id", "item", "origin"], how="left")
        .sort("store_id", "item", "origin")
        .with_columns(pl.col("total", "steps").fill_null(0).cum_sum().over("store_id", "item"))
        .join(weights.rename({item: "item"}), on=["store_id", "item", "origin"], how="left")
        .select(
            pl.lit(grain).alias("grain"),
            "origin",
            "store_id",
            "item",
            scale=pl.when(pl.col("steps") > 0).then(pl.col("total") / pl.col("steps")),
            weight=pl.col("weight").fill_null(0.0),
        )
    )


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
            cells = cells.join(_categories(products), on="product_id", how="left").with_columns(
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
        scales: from `naive_scales`.
        demand: store_id, product_id, demand_class, from `demand_classes`.
        abc: store_id, product_id, abc_class, from `abc_classes`.
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
    categories = _categories(products)
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
