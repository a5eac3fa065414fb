"""The stock ledger by day: what lay on the shelf, what came, what went, and for how long the shelf was empty.

Belongs here: books made from stock movements. Does not belong here: demand, which is more than what was sold.
"""

import itertools
from datetime import date, timedelta
from typing import Final

import polars as pl

from retail_assets.contracts.events import INVENTORY_UPDATE
from retail_assets.contracts.tables import CORE_INVENTORY_DAILY
from retail_assets.contracts.types import QUANTITY, Column
from retail_assets.domain.frames import SERIES, columns_of, conform, typed
from retail_assets.domain.trading import MAX_HOURS, trading_hours

_FIELDS: Final = {column.name: column for column in INVENTORY_UPDATE.columns}
_MOVEMENTS: Final = (
    *columns_of(CORE_INVENTORY_DAILY, *SERIES, "business_date"),
    *(_FIELDS[name] for name in ("occurred_at", "movement", "quantity_delta", "on_hand_after")),
)
_OPENING: Final = (
    *columns_of(CORE_INVENTORY_DAILY, *SERIES),
    Column("on_hand", QUANTITY, "Units on hand at the end of the day before.", unit="units"),
)

#: Sums over decimals widen to the greatest precision; between two steps all quantities have this type.
_EXACT: Final = pl.Decimal(38, QUANTITY.scale)
_ZERO: Final = pl.lit(0, dtype=_EXACT)


def _booked() -> pl.Expr:
    """Return the column of the books that a movement goes to.

    A receipt that takes stock away and a write-off that gives stock back are corrections of earlier bookings; so is
    a movement whose kind is not known. All of them are "adjusted": the books close whatever a till sends, and what
    was received and what was written off stay what they say they are.
    """
    movement, delta = pl.col("movement"), pl.col("quantity_delta")
    return (
        pl.when(movement.is_in(["sale", "return"]))
        .then(pl.lit("sold"))
        .when(movement.is_in(["transfer_in", "transfer_out"]))
        .then(pl.lit("transferred"))
        .when((movement == "receipt") & (delta >= 0))
        .then(pl.lit("received"))
        .when((movement == "spoilage") & (delta <= 0))
        .then(pl.lit("spoiled"))
        .otherwise(pl.lit("adjusted"))
    )


def _check_consecutive(days: list[date]) -> None:
    for before, after in itertools.pairwise(days):
        if after - before != timedelta(days=1):
            raise ValueError(f"the ledger needs consecutive days: {after} follows {before}")


def inventory_daily(
    movements: pl.DataFrame, opening: pl.DataFrame, stores: pl.DataFrame, dates: list[date]
) -> pl.DataFrame:
    """Return the stock ledger of consecutive days.

    Every series that has an opening or a movement so far has a row on every day from its first appearance; a day
    without movement carries the stock forward. A series without an opening starts at nothing, so its first count is
    wholly an adjustment. `on_hand_after` is not used: it is the till's own opinion, and one lost message would split
    the books.

    A late movement changes all later openings: the ledger has to be made again from its date on.

    Args:
        movements: one row per stock movement, each once, of `dates` only (others are ignored): store_id, product_id,
            occurred_at (UTC), business_date, movement, quantity_delta, on_hand_after (units).
        opening: store_id, product_id, on_hand: the closing of the day before the first of `dates`; may be empty.
        stores: `reference/stores`. A store that it lacks has no trading hours, hence no stock-out hours.
        dates: consecutive local dates, in any order.

    Returns:
        `core/inventory_daily`, exactly: quantities in units as exact decimals, stockout_hours in hours of trade
        during which on hand was nothing or less. Movements of one instant count as one step, so no order among them
        can matter.

    Raises:
        ValueError: `dates` has a gap, or a store closes before it opens.
    """
    days = sorted(set(dates))
    _check_consecutive(days)
    calendar = pl.DataFrame({"business_date": days}, schema={"business_date": pl.Date})
    moves = typed(movements, _MOVEMENTS).join(calendar, on="business_date", how="semi")
    held = typed(opening, _OPENING).select(*SERIES, pl.col("on_hand").fill_null(0).cast(_EXACT))

    first_day = pl.lit(days[0] if days else None, dtype=pl.Date)
    series = (
        pl.concat(
            [
                held.with_columns(since=first_day),
                moves.select(*SERIES, on_hand=_ZERO, since="business_date"),
            ]
        )
        .group_by(SERIES)
        .agg(pl.col("on_hand").sum(), pl.col("since").min())
        .sort(SERIES)
        .with_row_index("series")
    )
    moves = moves.join(series.select("series", "on_hand", *SERIES), on=SERIES).with_columns(
        delta=pl.col("quantity_delta").cast(_EXACT), booked=_booked()
    )

    sums = [
        pl.when(pl.col("booked") == name).then(pl.col("delta")).otherwise(_ZERO).sum().alias(name)
        for name in ("received", "sold", "transferred", "adjusted", "spoiled")
    ]
    by_day = moves.group_by("series", "business_date").agg(pl.col("delta").sum(), *sums)
    books = (
        series.join(calendar, how="cross")
        .filter(pl.col("business_date") >= pl.col("since"))
        .join(by_day, on=["series", "business_date"], how="left")
        .with_columns(pl.col("delta", "received", "sold", "transferred", "adjusted", "spoiled").fill_null(_ZERO))
        .sort("series", "business_date")
        .with_columns(closing=pl.col("on_hand") + pl.col("delta").cum_sum().over("series"))
        .with_columns(
            opening=pl.col("closing") - pl.col("delta"),
            sold=_ZERO - pl.col("sold"),
            spoiled=_ZERO - pl.col("spoiled"),
        )
    )
    empty = _empty_hours(books, moves, trading_hours(stores, days))
    full = books.join(empty, on=["series", "business_date"], how="left").with_columns(
        pl.col("stockout_hours").fill_null(0.0)
    )
    return conform(full, CORE_INVENTORY_DAILY)


def _empty_hours(books: pl.DataFrame, moves: pl.DataFrame, hours: pl.DataFrame) -> pl.DataFrame:
    """Return the hours of trade without stock of each series and day that has any.

    A day is cut at its movements; the level holds from one to the next. The cuts are clipped to the trading hours, so
    that a shelf that is empty at night costs nothing.
    """
    steps = (
        moves.group_by("series", "store_id", "business_date", "occurred_at")
        .agg(pl.col("delta").sum(), pl.col("on_hand").first())
        .sort("series", "business_date", "occurred_at")
        .with_columns(level=pl.col("on_hand") + pl.col("delta").cum_sum().over("series"))
        .select("series", "store_id", "business_date", "occurred_at", "level")
    )
    mornings = books.select(
        "series",
        "store_id",
        "business_date",
        occurred_at=pl.lit(None, dtype=steps.schema["occurred_at"]),
        level="opening",
    )
    opens, closes = pl.col("opens_at"), pl.col("closes_at")
    return (
        pl.concat([mornings, steps])
        .join(hours, on=["store_id", "business_date"])
        .sort("series", "business_date", "occurred_at", nulls_last=False)
        .with_columns(
            start=pl.col("occurred_at").fill_null(opens).clip(opens, closes),
            end=pl.col("occurred_at").shift(-1).over("series", "business_date").fill_null(closes).clip(opens, closes),
        )
        .filter(pl.col("level") <= 0)
        .group_by("series", "business_date")
        .agg(stockout_hours=(pl.col("end") - pl.col("start")).sum().dt.total_seconds(fractional=True) / 3600.0)
        .with_columns(pl.col("stockout_hours").clip(0.0, MAX_HOURS))
    )
