"""Sales by day, of everything that a store carries.

Belongs here: the step from sold lines to a complete table of days, zeros included. Does not belong here: taking
baskets apart and dropping repeated messages, which is done where the baskets are.
"""

from typing import Final

import polars as pl

from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    CORE_SALES_LINES,
    REFERENCE_PRODUCTS,
)
from retail_assets.contracts.types import MONEY
from retail_assets.domain.frames import SERIES, columns_of, conform, typed
from retail_assets.domain.imported import days_listed
from retail_assets.domain.prices import with_list_price
from retail_assets.domain.promotions import deepest_by_day
from retail_assets.domain.trading import trading_hours

_KEYS: Final = (*SERIES, "business_date")
_LINES: Final = columns_of(CORE_SALES_LINES, *_KEYS, "units", "revenue")
_INVENTORY: Final = columns_of(CORE_INVENTORY_DAILY, *_KEYS, "stockout_hours")
_PRODUCTS: Final = columns_of(REFERENCE_PRODUCTS, "product_id", "discontinued_on")


def daily_sales(
    lines: pl.DataFrame,
    inventory: pl.DataFrame,
    products: pl.DataFrame,
    prices: pl.DataFrame,
    promotions: pl.DataFrame,
    stores: pl.DataFrame,
    assortment: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return the sales of every product that a store carries, on every day, zeros included.

    What a store carries is what its ledger has a row for, up to the product's last day on sale: an empty shelf that
    nobody will fill again says nothing of demand. A store without any ledger row, whose till lines were imported
    without stock, carries what its assortment lists, on the days on which it sold anything. What sold all the same gets
    a row too, so that nothing sold is lost: units and revenue over all rows are those over all lines, exactly.

    Args:
        lines: `core/sales_lines`: units and revenue are net, negative for returns and voids.
        inventory: `core/inventory_daily`, of the dates wanted.
        products: `reference/products`.
        prices: `core/list_prices`.
        promotions: `reference/promotions`.
        stores: `reference/stores`.
        assortment: `reference/assortment`.

    Returns:
        `core/daily_sales`, exactly. unit_price (money per unit) is revenue over units, to the cent, where units were
        sold and their revenue isn't negative; elsewhere the price asked, list price less discount; 0 for a product
        whose price nobody told. List price and promotion are those of the business date, whenever this runs.
        stockout_hours is 0 where the ledger has no row, open_hours 0 for an unknown store.

    Raises:
        ValueError: a store closes before it opens.
    """
    sold = typed(lines, _LINES).group_by(_KEYS).agg(pl.col("units").sum(), pl.col("revenue").sum())
    catalogue = typed(products, _PRODUCTS).unique("product_id", keep="first", maintain_order=True)
    ended = catalogue.filter(pl.col("discontinued_on").is_not_null())
    carried = (
        typed(inventory, _INVENTORY)
        .join(ended, on="product_id", how="left")
        .filter(pl.col("discontinued_on").is_null() | (pl.col("business_date") <= pl.col("discontinued_on")))
        .drop("discontinued_on")
    )
    parts = [carried.select(_KEYS), sold.select(_KEYS)]
    if assortment is not None and not assortment.is_empty():
        without_ledger = sold.join(carried.select("store_id").unique(), on="store_id", how="anti")
        parts.append(days_listed(without_ledger, assortment))
    keys = pl.concat(parts).unique()
    if keys.is_empty():
        return conform(pl.DataFrame(schema=dict.fromkeys(CORE_DAILY_SALES.column_names, pl.Null)), CORE_DAILY_SALES)

    dates = keys["business_date"].unique().sort().to_list()
    discounts = deepest_by_day(promotions, dates[0], dates[-1])
    hours = trading_hours(stores, dates).select("store_id", "business_date", "open_hours")
    rows = (
        with_list_price(keys, prices)
        .join(sold, on=_KEYS, how="left")
        .join(carried, on=_KEYS, how="left")
        .join(discounts, left_on=_KEYS, right_on=(*SERIES, "date"), how="left")
        .join(hours, on=["store_id", "business_date"], how="left")
        .with_columns(
            pl.col("units", "revenue").fill_null(0),
            pl.col("stockout_hours", "open_hours").fill_null(0.0),
            on_promotion=pl.col("discount_share").is_not_null(),
            discount_share=pl.col("discount_share").fill_null(0.0),
        )
    )
    asked = pl.col("list_price").cast(pl.Float64).fill_null(0.0) * (1.0 - pl.col("discount_share"))
    sold_for = pl.col("revenue").cast(pl.Float64) / pl.col("units").cast(pl.Float64)
    price = pl.when((pl.col("units") > 0) & (pl.col("revenue") >= 0)).then(sold_for).otherwise(asked)
    return conform(rows.with_columns(unit_price=price.round(MONEY.scale)), CORE_DAILY_SALES)
