"""Which price cuts hold on which day.

Belongs here: promotions, past and planned, laid out by day. Does not belong here: what they do to demand.
"""

from datetime import date
from typing import Final

import polars as pl

from retail_assets.contracts.tables import REFERENCE_PROMOTIONS
from retail_assets.domain.frames import SERIES, columns_of, typed

_PROMOTIONS: Final = columns_of(
    REFERENCE_PROMOTIONS, "store_id", "product_id", "starts_on", "ends_on", "discount_share"
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
    running = (
        typed(promotions, _PROMOTIONS)
        .with_columns(
            pl.col("starts_on").clip(lower_bound=first_date),
            pl.col("ends_on").clip(upper_bound=last_date),
            pl.col("discount_share").fill_null(0.0).clip(0.0, 1.0),
        )
        # A promotion without an end, or that ends before it starts, runs on no day that we can name.
        .filter(pl.col("starts_on") <= pl.col("ends_on"))
    )
    return (
        running.with_columns(date=pl.date_ranges("starts_on", "ends_on"))
        .explode("date")
        .group_by(*SERIES, "date")
        .agg(pl.col("discount_share").max())
    )
