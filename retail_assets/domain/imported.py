"""Imported history turned into the core layer's days.

Belongs here: what an imported row says of a day, and what the days between rows say. Does not belong here: reading
files (`imports`), and days that tills told of (`sales`, `ledger`).
"""

from datetime import date
from itertools import groupby
from typing import Final

import polars as pl

from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    RAW_IMPORTED_SALES,
    REFERENCE_ASSORTMENT,
)
from retail_assets.contracts.types import MONEY, QUANTITY, Column
from retail_assets.domain.frames import SERIES, columns_of, conform, typed
from retail_assets.domain.ledger import inventory_daily
from retail_assets.domain.prices import with_list_price
from retail_assets.domain.promotions import deepest_by_day
from retail_assets.domain.trading import trading_hours

_KEYS: Final = (*SERIES, "business_date")
_ROWS: Final = columns_of(
    RAW_IMPORTED_SALES, *_KEYS, "units", "unit_price", "revenue", "on_promotion", "on_hand", "stockout_hours"
)
_ASSORTMENT: Final = columns_of(REFERENCE_ASSORTMENT, *SERIES, "listed_from", "listed_until")
_OPENING: Final = (
    *columns_of(CORE_INVENTORY_DAILY, *SERIES),
    Column("on_hand", QUANTITY, "Units on hand at the end of the day before.", unit="units"),
)
_EXACT: Final = pl.Decimal(38, QUANTITY.scale)
_ZERO: Final = pl.lit(0, dtype=_EXACT)


#: Rows of tills and of an import in one frame: which is which, and what an import's columns are called there.
IS_IMPORTED: Final = "is_imported"
IMPORTED_PREFIX: Final = "imported_"


def apart(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return what tills and what an import say of a store, from one frame of both.

    Args:
        rows: `is_imported`; the columns of tills, null where it is true; those of `raw/imported_sales` with the prefix
            `imported_`, null where it is false.

    Returns:
        The rows of tills, and those of the import by their own names.
    """
    names = [name for name in rows.columns if name.startswith(IMPORTED_PREFIX)]
    told = rows.filter(IS_IMPORTED).select(names).rename(lambda name: name.removeprefix(IMPORTED_PREFIX))
    return rows.filter(~pl.col(IS_IMPORTED)).drop(names, IS_IMPORTED), told


def days_listed(rows: pl.DataFrame, assortment: pl.DataFrame) -> pl.DataFrame:
    """Return store_id, product_id and business_date of each day on which a product was on sale and its store open.

    Args:
        rows: at least store_id and business_date. A store was open on the days on which it has any row at all.
        assortment: `reference/assortment`.
    """
    open_days = rows.select("store_id", "business_date").unique()
    return (
        typed(assortment, _ASSORTMENT)
        .join(open_days, on="store_id")
        .filter(
            pl.col("business_date") >= pl.col("listed_from"),
            pl.col("listed_until").is_null() | (pl.col("business_date") <= pl.col("listed_until")),
        )
        .select(_KEYS)
    )


def _days_on_sale(rows: pl.DataFrame, assortment: pl.DataFrame) -> pl.DataFrame:
    """Return the rows, and a row without sales for each day on which a product was on sale and the store open."""
    keys = pl.concat([days_listed(rows, assortment), rows.select(_KEYS)]).unique()
    return keys.join(rows, on=_KEYS, how="left").with_columns(
        given=pl.col("units").is_not_null(), units=pl.col("units").fill_null(0)
    )


def imported_daily_sales(
    imported: pl.DataFrame,
    assortment: pl.DataFrame,
    prices: pl.DataFrame,
    promotions: pl.DataFrame,
    stores: pl.DataFrame,
) -> pl.DataFrame:
    """Return the daily sales that imported rows tell of, with zeros for products on sale that sold nothing.

    A gap is zero only between a product's first and last day on sale, and only on days on which its store has a row.
    What a row doesn't say is derived: revenue is units times price, price is revenue over units, else list price less
    the discount of a promotion that is known; hours without stock are none.

    Args:
        imported: `raw/imported_sales` of the dates wanted.
        assortment: `reference/assortment`.
        prices: `core/list_prices`.
        promotions: `reference/promotions`.
        stores: `reference/stores`.

    Returns:
        `core/daily_sales`, exactly.

    Raises:
        ValueError: a store closes before it opens.
    """
    rows = typed(imported, _ROWS)
    if rows.is_empty():
        return conform(pl.DataFrame(schema=dict.fromkeys(CORE_DAILY_SALES.column_names, pl.Null)), CORE_DAILY_SALES)
    dates = rows["business_date"].unique().sort().to_list()
    number = {name: pl.col(name).cast(pl.Float64) for name in ("units", "unit_price", "revenue", "list_price")}
    promoted = pl.coalesce("on_promotion", pl.col("discount_share").is_not_null())
    share = pl.when(promoted).then(pl.col("discount_share").fill_null(0.0)).otherwise(0.0)
    price = pl.coalesce(
        number["unit_price"],
        pl.when((number["units"] > 0) & (number["revenue"] >= 0)).then(number["revenue"] / number["units"]),
        number["list_price"] * (1.0 - share),
        0.0,
    ).round(MONEY.scale)
    full = (
        with_list_price(_days_on_sale(rows, assortment), prices)
        .join(
            deepest_by_day(promotions, dates[0], dates[-1]),
            left_on=_KEYS,
            right_on=(*SERIES, "date"),
            how="left",
        )
        .join(
            trading_hours(stores, dates).select("store_id", "business_date", "open_hours"),
            on=["store_id", "business_date"],
            how="left",
        )
        .with_columns(
            on_promotion=promoted,
            discount_share=share,
            unit_price=price,
            promotion_id=pl.when(promoted).then("promotion_id"),
        )
        .with_columns(
            revenue=pl.coalesce(number["revenue"], (number["units"] * pl.col("unit_price")).round(MONEY.scale)),
            open_hours=pl.col("open_hours").fill_null(0.0),
        )
        # A row may say that the shelf was empty for longer than the store was open.
        .with_columns(stockout_hours=pl.min_horizontal(pl.col("stockout_hours").fill_null(0.0), "open_hours"))
    )
    return conform(full, CORE_DAILY_SALES)


def imported_inventory(imported: pl.DataFrame, opening: pl.DataFrame, dates: list[date]) -> pl.DataFrame:
    """Return the stock ledger of series whose imported rows tell what is on hand.

    A day's closing is what its row says is on hand; a day without it carries the stock on, less what was sold and
    never below nothing. What doesn't follow from sales was received, where stock grew, and else adjusted: an import
    knows no deliveries. A series begins with its first known stock.

    Args:
        imported: `raw/imported_sales` of `dates`.
        opening: store_id, product_id, on_hand: the closing of the day before the first of `dates`; may be empty.
        dates: consecutive local dates.

    Returns:
        `core/inventory_daily`, exactly: quantities in units.
    """
    rows = typed(imported, _ROWS).filter(pl.col("business_date").is_in(dates))
    held = typed(opening, _OPENING).select(*SERIES, before=pl.col("on_hand").cast(_EXACT))
    known = pl.concat([held.select(SERIES), rows.filter(pl.col("on_hand").is_not_null()).select(SERIES)]).unique()
    calendar = pl.DataFrame({"business_date": sorted(set(dates))}, schema={"business_date": pl.Date})
    told = pl.col("on_hand").cast(_EXACT)
    sold = pl.col("units").cast(_EXACT).fill_null(_ZERO)
    days = (
        known.join(calendar, how="cross")
        .join(rows, on=_KEYS, how="left")
        .join(held, on=SERIES, how="left")
        .sort(_KEYS)
        .with_columns(sold=sold, told=told, stockout_hours=pl.col("stockout_hours").fill_null(0.0))
        # Nothing is received between two days that tell, so the stock falls by what was sold since the last of them.
        .with_columns(so_far=pl.col("sold").cum_sum().over(SERIES))
        .with_columns(
            base=pl.coalesce(pl.col("told").forward_fill().over(SERIES), "before"),
            since=pl.when(pl.col("told").is_not_null()).then("so_far").forward_fill().over(SERIES).fill_null(_ZERO),
        )
        .filter(pl.col("base").is_not_null())
        .with_columns(closing=(pl.col("base") - pl.col("so_far") + pl.col("since")).clip(lower_bound=_ZERO))
    )
    before = pl.col("closing").shift(1).over(SERIES)
    books = days.with_columns(opening=pl.coalesce(before, "before", pl.col("closing") + pl.col("sold")))
    moved = pl.col("closing") - pl.col("opening") + pl.col("sold")
    full = books.with_columns(
        received=pl.when(moved > 0).then(moved).otherwise(_ZERO),
        adjusted=pl.when(moved < 0).then(moved).otherwise(_ZERO),
        transferred=_ZERO,
        spoiled=_ZERO,
    )
    return conform(full, CORE_INVENTORY_DAILY)


def inventory_with_imports(
    movements: pl.DataFrame, imported: pl.DataFrame, opening: pl.DataFrame, stores: pl.DataFrame, dates: list[date]
) -> pl.DataFrame:
    """Return the stock ledger of one store, of which an import tells some days and tills tell the others.

    A day with an imported row is the import's, whatever tills say of it.

    Args:
        movements: as for `ledger.inventory_daily`, of one store.
        imported: `raw/imported_sales` of the same store.
        opening: store_id, product_id, on_hand: the closing of the day before the first of `dates`.
        stores: `reference/stores`.
        dates: consecutive local dates.

    Returns:
        `core/inventory_daily`, exactly.

    Raises:
        ValueError: `dates` has a gap, or a store closes before it opens.
    """
    told = set(imported["business_date"]) if imported.width else set()
    books: list[pl.DataFrame] = []
    for is_told, group in groupby(sorted(set(dates)), key=lambda day: day in told):
        span = list(group)
        books.append(
            imported_inventory(imported, opening, span)
            if is_told
            else inventory_daily(movements, opening, stores, span)
        )
        opening = books[-1].filter(business_date=span[-1]).select(*SERIES, on_hand="closing")
    return pl.concat(books)
