"""What the lake says of a retailer's days, read as an outsider would: from `raw/*` and `reference/*` alone.

Belongs here: reading messages, and keeping what they say of units sold and of empty shelves. Does not belong here:
putting days together (`store_days`), figures (`statistics`), and whatever only the simulator knows; the truth is never
read.

Memory is bounded by the dates of one stretch, however long the history: messages are read stretch by stretch, and what
they say is kept on disk.

What is counted as sold are the units of sales, less those of voids, on the till's local date. Goods that customers
bring back are counted, but not taken off: a return says nothing of what was wanted on its own day. A shelf is empty
from a movement that leaves nothing on hand by the store's books until the next that leaves something.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from retail_assets.contracts.tables import (
    RAW_INVENTORY_UPDATES,
    RAW_SALES_TRANSACTIONS,
    REFERENCE_CALENDAR,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_STORES,
    Table,
)

#: Messages that are read at a time; whole dates, so a date with more is read alone.
STRETCH_ROWS: Final = 1_000_000

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_BYTES_PER_ROW: Final = 30  # of a compressed file, where its writer didn't count the rows
UTC_MICROS: Final = pl.Datetime("us", "UTC")
_KEPT: Final = {
    "sales": pl.Schema({"store": pl.UInt32(), "product": pl.UInt32(), "date": pl.Date(), "units": pl.Float64()}),
    "shelves": pl.Schema({"store": pl.UInt32(), "product": pl.UInt32(), "at": UTC_MICROS, "empty": pl.Boolean()}),
}


class ObservationError(Exception):
    """The lake can't be reported on. The message says what is missing and what to do."""


def cause_of(error: Exception) -> str:
    """Return what a store says is wrong, on one line: delta-rs tells it through all its layers, the cause last."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    plain = _COLOUR.sub("", str(error))
    lines = [re.sub(r"^\W+", "", line) for line in plain.splitlines() if line.strip()]
    return ": ".join(dict.fromkeys((lines[0], lines[-1]))) if lines else type(error).__name__


@dataclass
class Observation:
    """A lake that has been read once; its stores can be looked at one by one.

    Attributes:
        stores: `reference/stores`.
        products: `reference/products`.
        promotions: `reference/promotions`.
        calendar: `reference/calendar`.
        folder: where what was read is kept meanwhile.
        lake: where it was read.
        counts: what was read: `transactions`, `sale_lines`, `inventory_updates`, `units_sold` (net of voids),
            `units_voided`, `units_returned`, `unknown` (lines and movements of stores or products that the reference
            tables lack, which are left out).
        first_date: the first local date with a sale.
        last_date: the last.
        by_hour: units sold, by `store_id`, `weekday` (1 Monday to 7 Sunday) and `hour` (local).
    """

    stores: pl.DataFrame
    products: pl.DataFrame
    promotions: pl.DataFrame
    calendar: pl.DataFrame
    folder: Path
    lake: "_Lake"
    counts: dict[str, int] = field(default_factory=dict)
    first_date: date = date.max
    last_date: date = date.min
    by_hour: pl.DataFrame = field(default_factory=pl.DataFrame)

    def on_hand(self, store_id: str, product_id: str, first: date, last: date) -> pl.DataFrame:
        """Return one series' stock after each movement between two dates, UTC and inclusive: `at`, `on_hand`."""
        return (
            self.lake.accepted(RAW_INVENTORY_UPDATES)
            .filter(
                pl.col("event_date").is_between(first, last)
                & (pl.col("store_id") == store_id)
                & (pl.col("product_id") == product_id)
            )
            .sort("occurred_at", "kafka_offset")
            .select(at=pl.col("occurred_at").cast(UTC_MICROS), on_hand=pl.col("on_hand_after").cast(pl.Float64))
            .collect()
        )

    def kept(self, name: str, store_id: str) -> pl.DataFrame:
        """Return what was kept of one store, with product_id."""
        codes = self.products.select("product_id").with_row_index("product")
        number = self.stores["store_id"].to_list().index(store_id)
        return (
            pl.scan_parquet(self.folder / f"{name}-*.parquet")
            .filter(pl.col("store") == number)
            .join(codes.lazy(), on="product")
            .drop("store", "product")
            .collect()
        )


def observe(
    lake_uri: str,
    folder: Path,
    storage_options: dict[str, str] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Observation:
    """Read a lake's sales and movements of stock.

    Args:
        lake_uri: `file:///…`, `s3://…` or `s3a://…`, without the layer.
        folder: an empty folder for what is read; a few bytes per series-day.
        storage_options: what delta-rs needs to reach the store.
        on_progress: called with one line of text per stretch of dates.

    Raises:
        ObservationError: a table is missing or can't be read, or there are no sales.
    """
    lake = _Lake(lake_uri, storage_options)
    observation = Observation(
        stores=lake.whole(REFERENCE_STORES),
        products=lake.whole(REFERENCE_PRODUCTS),
        promotions=lake.whole(REFERENCE_PROMOTIONS),
        calendar=lake.whole(REFERENCE_CALENDAR),
        folder=folder,
        lake=lake,
        counts=dict.fromkeys(
            (
                "transactions",
                "sale_lines",
                "inventory_updates",
                "units_sold",
                "units_voided",
                "units_returned",
                "unknown",
            ),
            0,
        ),
    )
    for name, schema in _KEPT.items():
        # So that a lake without any movement reads as one that knows of none.
        pl.DataFrame(schema=schema).write_parquet(folder / f"{name}-none.parquet")
    hours = []
    for number, (first, last, messages) in enumerate(lake.stretches(RAW_SALES_TRANSACTIONS)):
        hours.append(_keep_sales(observation, messages, number))
        if on_progress is not None:
            on_progress(f"{RAW_SALES_TRANSACTIONS.path}: {first} to {last}")
    if not hours or observation.last_date < observation.first_date:
        raise ObservationError(f"{lake_uri} holds no sales: write some with retail simulate history --lake URI")
    for number, (first, last, messages) in enumerate(lake.stretches(RAW_INVENTORY_UPDATES)):
        _keep_shelves(observation, messages, number)
        if on_progress is not None:
            on_progress(f"{RAW_INVENTORY_UPDATES.path}: {first} to {last}")
    observation.by_hour = (
        pl.concat(hours).group_by("store_id", "weekday", "hour").agg(pl.col("units").sum()).sort(pl.all())
    )
    return observation


class _Lake:
    """Delta tables below one root."""

    def __init__(self, uri: str, storage_options: dict[str, str] | None) -> None:
        # Spark says s3a for what all others call s3.
        self._root = uri.rstrip("/").replace("s3a://", "s3://", 1)
        self._options = storage_options

    def _open(self, table: Table) -> DeltaTable:
        try:
            return DeltaTable(f"{self._root}/{table.path}", storage_options=self._options)
        except TableNotFoundError:
            raise ObservationError(
                f"{self._root} has no table {table.path}: write one with retail simulate history --lake URI"
            ) from None
        except (DeltaError, OSError) as error:
            raise ObservationError(f"{self._root}/{table.path} can't be read: {cause_of(error)}") from None

    def whole(self, table: Table) -> pl.DataFrame:
        return pl.scan_delta(self._open(table)).collect()

    def accepted(self, table: Table) -> pl.LazyFrame:
        """Return the messages that the contract accepts."""
        return pl.scan_delta(self._open(table)).filter(pl.col("rejection").is_null())

    def stretches(self, table: Table) -> Iterator[tuple[date, date, pl.LazyFrame]]:
        """Yield the accepted messages of some dates after another: first date, last date, messages.

        A repeated message carries its event's own time, so that all its copies lie in one stretch.
        """
        delta = self._open(table)
        files = pl.DataFrame(delta.get_add_actions(flatten=True))
        if files.is_empty():
            return
        rows = pl.col("num_records").fill_null(pl.col("size_bytes") // _BYTES_PER_ROW)
        dates = files.group_by(pl.col("partition.event_date").alias("at")).agg(rows=rows.sum()).sort("at")
        accepted = self.accepted(table)
        for first, last in _cut(dates["at"].to_list(), dates["rows"].to_list()):
            yield first, last, accepted.filter(pl.col("event_date").is_between(first, last))


def _cut(dates: list[date], rows: list[int]) -> Iterator[tuple[date, date]]:
    """Cut dates into stretches of one calendar month at most, and not many more rows than `STRETCH_ROWS`."""
    start, held = 0, 0
    for place, (at, more) in enumerate(zip(dates, rows, strict=True)):
        full = held + more > STRETCH_ROWS or (at.year, at.month) != (dates[start].year, dates[start].month)
        if place > start and full:
            yield dates[start], dates[place - 1]
            start, held = place, 0
        held += more
    yield dates[start], dates[-1]


def _local(stores: pl.DataFrame) -> pl.Expr:
    """Return `occurred_at` on the clock of the store, whose `time_zone` is beside it."""
    return pl.coalesce(
        pl.when(pl.col("time_zone") == zone).then(
            pl.col("occurred_at").dt.convert_time_zone(zone).dt.replace_time_zone(None)
        )
        for zone in stores["time_zone"].unique().sort()
    )


def _with_codes(frame: pl.DataFrame, observation: Observation) -> pl.DataFrame:
    """Add the numbers of store and product; rows that the reference tables don't know are counted and left out."""
    stores = observation.stores.select("store_id", "time_zone").with_row_index("store")
    products = observation.products.select("product_id").with_row_index("product")
    known = frame.join(stores, on="store_id").join(products, on="product_id")
    observation.counts["unknown"] += frame.height - known.height
    return known


def _keep(frame: pl.DataFrame, folder: Path, name: str, number: int) -> None:
    # By store, in small groups of rows: a reader of one store skips the others.
    kept = frame.select(_KEPT[name].keys()).cast(_KEPT[name])
    kept.sort("store", "product", maintain_order=True).write_parquet(
        folder / f"{name}-{number:05d}.parquet", row_group_size=50_000
    )


def _keep_sales(observation: Observation, messages: pl.LazyFrame, number: int) -> pl.DataFrame:
    """Keep units by series and local date; return units by store_id, weekday and hour."""
    # Lines are told apart rather than baskets: comparing whole baskets takes ten times as long.
    line = pl.col("lines").struct.field
    lines = (
        messages.select("transaction_id", "store_id", "occurred_at", "kind", "lines")
        .explode("lines")
        .select(
            "transaction_id",
            "store_id",
            "occurred_at",
            "kind",
            line_no=line("line_no"),
            product_id=line("product_id"),
            quantity=line("quantity").cast(pl.Float64),
        )
        .unique(["transaction_id", "line_no"])
        .collect()
    )
    transactions = lines["transaction_id"].n_unique()
    lines = _with_codes(lines, observation).with_columns(local=_local(observation.stores))
    counts = observation.counts
    counts["transactions"] += transactions
    counts["sale_lines"] += lines.filter(pl.col("kind") == "sale").height
    by_kind = dict(lines.group_by("kind").agg(pl.col("quantity").sum()).iter_rows())
    counts["units_voided"] += round(by_kind.get("void", 0))
    counts["units_returned"] += round(by_kind.get("return", 0))
    counts["units_sold"] += round(by_kind.get("sale", 0) - by_kind.get("void", 0))

    sign = pl.when(pl.col("kind") == "sale").then(1.0).otherwise(-1.0)
    sold = (
        lines.filter(pl.col("kind") != "return")
        .group_by(
            "store",
            "product",
            "store_id",
            date=pl.col("local").dt.date(),
            hour=pl.col("local").dt.hour().cast(pl.Int64),
        )
        .agg(units=(pl.col("quantity") * sign).sum())
    )
    days = sold.group_by("store", "product", "date").agg(pl.col("units").sum())
    _keep(days, observation.folder, "sales", number)
    if not days.is_empty():
        at = days["date"]
        observation.first_date = min(observation.first_date, at.min())  # type: ignore[type-var, assignment]
        observation.last_date = max(observation.last_date, at.max())  # type: ignore[type-var, assignment]
    weekday = pl.col("date").dt.weekday().cast(pl.Int64)
    return sold.group_by("store_id", "hour", weekday=weekday).agg(pl.col("units").sum())


def _keep_shelves(observation: Observation, messages: pl.LazyFrame, number: int) -> None:
    """Keep when shelves ran empty and when they were filled again, and each series' first movement of the stretch."""
    # Movements of one series that fall on the same instant came in the order in which they were sent.
    moves = (
        messages.select("event_id", "store_id", "product_id", "occurred_at", "kafka_offset", "on_hand_after")
        .sort("kafka_offset")
        .unique("event_id", keep="first", maintain_order=True)
        .drop("event_id")
        .collect()
    )
    observation.counts["inventory_updates"] += moves.height
    known = _with_codes(moves, observation).sort("store", "product", "occurred_at", "kafka_offset")
    empty = pl.col("on_hand_after") <= 0
    turns = (
        known.select("store", "product", at=pl.col("occurred_at").cast(UTC_MICROS), empty=empty)
        .with_columns(before=pl.col("empty").shift().over("store", "product"))
        .filter(pl.col("before").is_null() | (pl.col("before") != pl.col("empty")))
        .drop("before")
    )
    _keep(turns, observation.folder, "shelves", number)
