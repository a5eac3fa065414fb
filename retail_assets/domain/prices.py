"""List prices as of a day.

Belongs here: since when a price holds, and which one held on a day. Does not belong here: what was paid (`sales`), and
price cuts (`promotions`).
"""

from datetime import date
from typing import Final

import polars as pl

from retail_assets.contracts.tables import CORE_LIST_PRICES, REFERENCE_PRODUCTS
from retail_assets.domain.frames import columns_of, conform, typed

#: Since when the price holds that was known first: longer than any history.
SINCE_EVER: Final = date(2000, 1, 1)

_PRODUCTS: Final = columns_of(REFERENCE_PRODUCTS, "product_id", "list_price")


def with_price_changes(known: pl.DataFrame, products: pl.DataFrame, told_on: date) -> pl.DataFrame:
    """Return the prices by day of change, with what the master data say now.

    The master data tell one price per product and no date. So the first price that is told holds for all days before,
    and another one from the day on which the master data were written. A product that left keeps its last price. A
    price of nothing means that none is known, and changes nothing.

    Args:
        known: `core/list_prices` so far; may be empty.
        products: `reference/products`; of a product that stands there twice the first row counts.
        told_on: local date on which the master data were last written. Told twice on one day, the later price counts.

    Returns:
        `core/list_prices`, exactly.
    """
    before = typed(known, CORE_LIST_PRICES.columns)
    newest = before.sort("valid_from").group_by("product_id", maintain_order=True).last()
    told = (
        typed(products, _PRODUCTS)
        .unique("product_id", keep="first", maintain_order=True)
        .filter(pl.col("list_price") > 0)
        .join(newest, on="product_id", how="left", suffix="_before")
        .filter(pl.col("list_price").ne_missing(pl.col("list_price_before")))
        .select(
            "product_id",
            # A date before the last change can only come from a clock that was set back: history isn't rewritten.
            valid_from=pl.when(pl.col("valid_from").is_null())
            .then(pl.lit(SINCE_EVER))
            .otherwise(pl.max_horizontal("valid_from", pl.lit(told_on))),
            list_price="list_price",
        )
    )
    kept = before.join(told, on=CORE_LIST_PRICES.grain, how="anti")
    return conform(pl.concat([kept, told]), CORE_LIST_PRICES)


def with_list_price(rows: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the list price of their day.

    Args:
        rows: with product_id and business_date, and without a column list_price.
        prices: `core/list_prices`.

    Returns:
        The rows in their order, with list_price (money per unit); null for a product whose price nobody told.
    """
    known = typed(prices, CORE_LIST_PRICES.columns).sort("valid_from")
    first = known.group_by("product_id").agg(pl.col("valid_from").min())
    # The first price holds for all days before, however late the master data came.
    since = known.join(first.with_columns(is_first=True), on=["product_id", "valid_from"], how="left").with_columns(
        valid_from=pl.when("is_first").then(pl.lit(date.min)).otherwise("valid_from")
    )
    return (
        rows.with_row_index("_row")
        .sort("business_date")
        .join_asof(
            since.select("product_id", "valid_from", "list_price").sort("valid_from"),
            left_on="business_date",
            right_on="valid_from",
            by="product_id",
            strategy="backward",
            check_sortedness=False,
        )
        .sort("_row")
        .drop("_row", "valid_from", strict=False)
    )
