"""Which price cuts hold on which day.

Belongs here: promotions, past and planned, as of a store's local date. Does not belong here: what they do to demand.
"""

from datetime import date
from typing import Final

import polars as pl

from retail_assets.contracts.tables import REFERENCE_PROMOTIONS
from retail_assets.domain.frames import SERIES, columns_of, typed

_PROMOTIONS: Final = columns_of(
    REFERENCE_PROMOTIONS, "store_id", "product_id", "starts_on", "ends_on", "discount_share"
)
_NAMED: Final = columns_of(REFERENCE_PROMOTIONS, "promotion_id")


def promotions_by_day(promotions: pl.DataFrame, first_date: date, last_date: date) -> pl.DataFrame:
    """Return every promotion of every series on each day on which it runs, the deepest first.

    Args:
        promotions: `reference/promotions`.
        first_date: first day of interest.
        last_date: last day of interest, inclusive.

    Returns:
        store_id, product_id, date, promotion_id, discount_share (0 to 1); within a series and day by falling discount,
        then by promotion_id.
    """
    return (
        _running(typed(promotions, (*_PROMOTIONS, *_NAMED)), first_date, last_date)
        .with_columns(date=pl.date_ranges("starts_on", "ends_on"))
        .explode("date")
        .select(*SERIES, "date", "promotion_id", "discount_share")
        .sort(*SERIES, "date", "discount_share", "promotion_id", descending=[False, False, False, True, False])
    )


def deepest_by_day(promotions: pl.DataFrame, first_date: date, last_date: date) -> pl.DataFrame:
    """Return the promotion that counts for every series and day on which one runs: the deepest.

    Where several run at once tills give a customer the best price, not the sum.

    Args:
        promotions: `reference/promotions`.
        first_date: first day of interest.
        last_date: last day of interest, inclusive.

    Returns:
        One row per store, product and day with a promotion: store_id, product_id, date, promotion_id, discount_share
        (0 to 1).
    """
    running = promotions_by_day(promotions, first_date, last_date)
    return running.unique([*SERIES, "date"], keep="first", maintain_order=True)


def with_promotion(lines: pl.DataFrame, promotions: pl.DataFrame) -> pl.DataFrame:
    """Return sold lines with the promotion that the reference data know for their store, product and local date.

    Of several that ran, the one that the till named counts, since the till applied it; else the deepest, as everywhere.
    What a till names counts for nothing where no such promotion ran there on that day.

    Args:
        lines: with store_id, product_id, business_date and till_promotion_id, and without a column promotion_id.
        promotions: `reference/promotions`.

    Returns:
        The lines in their order, with promotion_id; null where none ran.
    """
    if lines.is_empty():
        return lines.with_columns(promotion_id=pl.lit(None, dtype=pl.String))
    days = lines["business_date"]
    keys = [*SERIES, "date"]
    first, last = min(days), max(days)
    deepest = deepest_by_day(promotions, first, last).select(*keys, deepest="promotion_id")
    named = (
        promotions_by_day(promotions, first, last)
        .select(*keys, till_promotion_id="promotion_id", named="promotion_id")
        .unique()
    )
    on = [*SERIES, "business_date"]
    return (
        lines.join(deepest, left_on=on, right_on=keys, how="left", maintain_order="left")
        .join(
            named,
            left_on=[*on, "till_promotion_id"],
            right_on=[*keys, "till_promotion_id"],
            how="left",
            maintain_order="left",
        )
        .with_columns(promotion_id=pl.coalesce("named", "deepest"))
        .drop("named", "deepest")
    )


def discounts_by_day(promotions: pl.DataFrame, first_date: date, last_date: date) -> pl.DataFrame:
    """Return the discount of every series and day on which a promotion runs.

    Where several run at once the deepest counts: tills give a customer the best price, not the sum.

    Args:
        promotions: `reference/promotions`.
        first_date: first day of interest.
        last_date: last day of interest, inclusive.

    Returns:
        One row per store, product and day with a promotion: store_id, product_id, date, discount_share (0 to 1).
    """
    return (
        _running(typed(promotions, _PROMOTIONS), first_date, last_date)
        .with_columns(date=pl.date_ranges("starts_on", "ends_on"))
        .explode("date")
        .group_by(*SERIES, "date")
        .agg(pl.col("discount_share").max())
    )


def _running(promotions: pl.DataFrame, first_date: date, last_date: date) -> pl.DataFrame:
    """Return the promotions that run between two days, cut to them."""
    return promotions.with_columns(
        pl.col("starts_on").clip(lower_bound=first_date),
        pl.col("ends_on").clip(upper_bound=last_date),
        pl.col("discount_share").fill_null(0.0).clip(0.0, 1.0),
        # A promotion without an end, or that ends before it starts, runs on no day that we can name.
    ).filter(pl.col("starts_on") <= pl.col("ends_on"))
