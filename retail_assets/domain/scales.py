"""The scales of errors: how much a series changes by itself from one step to the next.

Belongs here: the mean squared naive difference at each grain, which RMSSE divides by. Does not belong here: the errors
(`judgement`).
"""

from collections.abc import Sequence
from datetime import date
from typing import Final

import polars as pl

from retail_assets.domain.accuracy import GRAINS, categories_of
from retail_assets.domain.demand import days_of_known_demand
from retail_assets.domain.frames import SERIES

_DAY, _WEEK_OF_PRODUCT, _WEEK_OF_CATEGORY = GRAINS
_WEEK: Final = 7
#: Known days that make a block of seven worth scaling up to seven.
_LEAST_KNOWN_DAYS: Final = 4
_WEIGHT_DAYS: Final = 28


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
    known = days_of_known_demand(history).select(*SERIES, "business_date", "demand").sort(*SERIES, "business_date")
    categories = categories_of(products)
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
