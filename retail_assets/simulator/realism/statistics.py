"""The statistics of daily retail sales, as the literature counts them.

Belongs here: pure functions on Polars frames that hold for any retailer's data. Does not belong here: where the days
come from (`observation`, `store_days`), what the figures should be (`published`), and anything that only a simulator
knows.

A frame of days has one row per series and day, without gaps between a series' first day and its last, and the columns

- `store_id`, `product_id`: the series;
- `date`: the business date;
- `units`: units sold that day, zero on days without a sale;
- `on_promotion`: whether a promotion ran;
- `open_hours`: hours of trade that day;
- `empty_hours`: how many of them the shelf was empty; null where nobody knows;
- `stocked_out`: whether it was empty at any time of trade; null where nobody knows.

A series is judged over all its days, those with an empty shelf among them, as one has to where only sales are known.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

SERIES: Final = ("store_id", "product_id")
LAGS: Final = (1, 7, 28)
CLASSES: Final = ("intermittent", "lumpy", "erratic", "smooth")
#: Cut-offs of Syntetos, Boylan and Croston (2005).
ADI_CUT: Final = 1.32
CV2_CUT: Final = 0.49
#: A series shorter than this has too few pairs at the longest lag, and is left out of the autocorrelation.
LEAST_DAYS_FOR_LAGS: Final = 2 * LAGS[-1]
#: A series with fewer promoted days than a week has no lift.
LEAST_PROMOTION_DAYS: Final = 7
TOP_SHARE: Final = 0.2

_WEEKDAYS: Final = 7
_LEAST_LOG_SPREAD: Final = 1e-6  # below it, means differ by no more than their rounding


@dataclass(frozen=True)
class Statistics:
    """The figures of one retailer. None is what the data can't tell.

    Attributes:
        zero_share: share of series-days without a sale.
        class_shares: share of series in each of `CLASSES`, of those that sold at all.
        taylor_exponent: slope of the log of a series' variance on the log of its mean.
        variance_to_mean_median: median over series.
        weekday_index: mean units per series and day, Monday to Sunday, over the mean of the seven.
        top20_share: share of all units that the top fifth of the series sold.
        autocorrelation: mean over series of each one's own autocorrelation, by lag in days.
        promotion_lift_median: median over series of units on promotion over units without.
        stockout_series_days_share: share of series-days on which the shelf was empty at some time of trade.
        stockout_time_share: hours of trade with an empty shelf over all hours of trade, of all series: the share that
            is empty at a moment, on average.
    """

    zero_share: float | None
    class_shares: dict[str, float] | None
    taylor_exponent: float | None
    variance_to_mean_median: float | None
    weekday_index: tuple[float, ...] | None
    top20_share: float | None
    autocorrelation: dict[int, float | None]
    promotion_lift_median: float | None
    stockout_series_days_share: float | None
    stockout_time_share: float | None


def series_statistics(days: pl.DataFrame) -> pl.DataFrame:
    """Return what each series tells by itself.

    Args:
        days: a frame of days, in any order.

    Returns:
        One row per series, in the order of the series: `days`, `units`, `mean` and `variance` of a day's units (sample
        variance), `sale_days`, `adi` (days over days with a sale), `size_cv2` (squared coefficient of variation of the
        units of days with a sale; 0 where there is one such day), `demand_class`, `acf_1`, `acf_7`, `acf_28`,
        `promotion_days`, `promotion_lift`, `stockout_days`, `stockout_known_days`, `stockout_hours`,
        `stockout_known_hours`. Null is what a series can't tell: one that never sold has no class, one that never
        varies no autocorrelation.
    """
    ordered = days.sort(*SERIES, "date").with_columns(pl.col("units").cast(pl.Float64))
    units = pl.col("units")
    size = units.filter(units > 0)
    table = ordered.group_by(SERIES, maintain_order=True).agg(
        days=pl.len().cast(pl.Int64),
        units=units.sum(),
        mean=units.mean(),
        variance=units.var(),
        sale_days=(units > 0).sum().cast(pl.Int64),
        size_cv2=(size.var() / size.mean() ** 2).fill_null(0.0),
        **{f"acf_{lag}": _autocorrelation(units, lag) for lag in LAGS},
        stockout_days=pl.col("stocked_out").sum().cast(pl.Int64),
        stockout_known_days=pl.col("stocked_out").count().cast(pl.Int64),
        stockout_hours=pl.col("empty_hours").sum(),
        stockout_known_hours=pl.col("open_hours").filter(pl.col("empty_hours").is_not_null()).sum(),
    )
    sold = pl.col("sale_days") > 0
    long_enough = (pl.col("days") >= LEAST_DAYS_FOR_LAGS) & (pl.col("variance") > 0)
    return (
        table.with_columns(
            pl.when(sold).then("size_cv2").alias("size_cv2"),
            pl.when(sold).then(pl.col("days") / pl.col("sale_days")).alias("adi"),
            *(pl.when(long_enough).then(f"acf_{lag}").alias(f"acf_{lag}") for lag in LAGS),
        )
        .with_columns(demand_class=demand_class(pl.col("adi"), pl.col("size_cv2")))
        .join(_promotion_lifts(ordered), on=SERIES, how="left", maintain_order="left")
        .with_columns(pl.col("promotion_days").fill_null(0))
    )


def demand_class(adi: pl.Expr, size_cv2: pl.Expr) -> pl.Expr:
    """Return the class of demand by Syntetos, Boylan and Croston (2005).

    Args:
        adi: mean days from sale to sale.
        size_cv2: squared coefficient of variation of the units of a day with a sale.

    Returns:
        One of `CLASSES`; null where an argument is.
    """
    seldom, uneven = adi >= ADI_CUT, size_cv2 >= CV2_CUT
    return (
        pl.when(adi.is_null() | size_cv2.is_null())
        .then(pl.lit(None, dtype=pl.String))
        .when(seldom & uneven)
        .then(pl.lit("lumpy"))
        .when(seldom)
        .then(pl.lit("intermittent"))
        .when(uneven)
        .then(pl.lit("erratic"))
        .otherwise(pl.lit("smooth"))
    )


def weekday_totals(days: pl.DataFrame) -> pl.DataFrame:
    """Return units and series-days by weekday: `weekday` (1 Monday to 7 Sunday), `units`, `series_days`.

    Totals of parts of the data can be added, which indices can't.
    """
    return (
        days.group_by(pl.col("date").dt.weekday().cast(pl.Int64).alias("weekday"))
        .agg(pl.col("units").cast(pl.Float64).sum(), series_days=pl.len().cast(pl.Int64))
        .sort("weekday")
    )


def added(parts: Iterable[pl.DataFrame], by: list[str]) -> pl.DataFrame:
    """Add up tables of totals.

    Args:
        parts: tables of the same columns.
        by: the columns that identify a row; all others are summed.
    """
    return pl.concat(list(parts)).group_by(by).agg(pl.all().sum()).sort(by)


def weekday_index(totals: pl.DataFrame) -> tuple[float, ...] | None:
    """Return mean units per series and day, Monday to Sunday, over the mean of the seven.

    Args:
        totals: of `weekday_totals`.

    Returns:
        Seven numbers with a mean of one; None where a weekday is missing or nothing was sold.
    """
    means = totals.sort("weekday").select(pl.col("units") / pl.col("series_days")).to_series().to_numpy()
    if means.size != _WEEKDAYS or means.sum() <= 0:
        return None
    return tuple(float(value) for value in means / means.mean())


def summarise(series: pl.DataFrame, totals: pl.DataFrame) -> Statistics:
    """Return the figures of a retailer.

    Args:
        series: of `series_statistics`, of all stores.
        totals: of `weekday_totals`, of all stores.
    """
    days, sale_days = int(series["days"].sum()), int(series["sale_days"].sum())
    empty, known = int(series["stockout_days"].sum()), int(series["stockout_known_days"].sum())
    empty_hours, known_hours = float(series["stockout_hours"].sum()), float(series["stockout_known_hours"].sum())
    return Statistics(
        zero_share=1 - sale_days / days if days else None,
        class_shares=class_shares(series),
        taylor_exponent=taylor_exponent(series),
        variance_to_mean_median=_median(
            series.filter(pl.col("mean") > 0).select(pl.col("variance") / pl.col("mean")).to_series()
        ),
        weekday_index=weekday_index(totals),
        top20_share=top_share(series["units"]),
        autocorrelation={lag: _mean(series[f"acf_{lag}"]) for lag in LAGS},
        promotion_lift_median=_median(series["promotion_lift"]),
        stockout_series_days_share=empty / known if known else None,
        stockout_time_share=empty_hours / known_hours if known_hours else None,
    )


def class_shares(series: pl.DataFrame) -> dict[str, float] | None:
    """Return the share of series in each class, of those that have one; None where none has."""
    classes = series["demand_class"].drop_nulls()
    if classes.is_empty():
        return None
    return {name: int((classes == name).sum()) / classes.len() for name in CLASSES}


def taylor_exponent(series: pl.DataFrame) -> float | None:
    """Return the slope of log variance on log mean over series, by least squares.

    Series without mean or variance have no logarithm and are left out. None where all means that remain
    are equal.
    """
    usable = series.filter((pl.col("mean") > 0) & (pl.col("variance") > 0))
    x, y = np.log(usable["mean"].to_numpy()), np.log(usable["variance"].to_numpy())
    if x.size == 0 or np.ptp(x) < _LEAST_LOG_SPREAD:
        return None
    spread = x - x.mean()
    return float(spread @ y) / float(spread @ spread)


def top_share(units: pl.Series, top: float = TOP_SHARE) -> float | None:
    """Return the share of all units that the best-selling series sold.

    Args:
        units: by series.
        top: which part of the series counts as best-selling; rounded up to whole series.

    Returns:
        A share, or None where nothing was sold.
    """
    total = float(units.sum())
    if total <= 0:
        return None
    # A fifth of ten is two, not three because of a float's last digit.
    count = math.ceil(round(units.len() * top, 9))
    return float(units.top_k(count).sum()) / total


def _autocorrelation(units: pl.Expr, lag: int) -> pl.Expr:
    """Return the usual estimate: sums over the whole series' mean and variance, no trend taken out."""
    apart = units - units.mean()
    return (apart * apart.shift(lag)).sum() / (apart * apart).sum()


def _promotion_lifts(days: pl.DataFrame) -> pl.DataFrame:
    """Return `promotion_days` and `promotion_lift` by series.

    The lift is units on promotion days over what the same weekdays of the same series sold on average without
    promotion. Days on which the shelf ran empty count on neither side: what was sold then says little of demand.
    """
    weekday = pl.col("date").dt.weekday()
    kept = days.filter(pl.col("stocked_out").fill_null(value=False).not_()).with_columns(weekday=weekday)
    usual = kept.filter(~pl.col("on_promotion")).group_by(*SERIES, "weekday").agg(usual=pl.col("units").mean())
    enough = (pl.col("promotion_days") >= LEAST_PROMOTION_DAYS) & (pl.col("usual") > 0)
    return (
        kept.filter("on_promotion")
        .join(usual, on=[*SERIES, "weekday"])
        .group_by(SERIES)
        .agg(promotion_days=pl.len().cast(pl.Int64), units=pl.col("units").sum(), usual=pl.col("usual").sum())
        .select(*SERIES, "promotion_days", promotion_lift=pl.when(enough).then(pl.col("units") / pl.col("usual")))
    )


def _median(values: pl.Series) -> float | None:
    median = values.drop_nulls().median()
    return float(median) if isinstance(median, int | float) else None


def _mean(values: pl.Series) -> float | None:
    mean = values.drop_nulls().mean()
    return float(mean) if isinstance(mean, int | float) else None
