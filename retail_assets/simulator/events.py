"""What the tills and the stockroom report: the ledger's days as events of the contract.

Belongs here: ids, names, exact numbers, and what a till says about itself. Does not belong here: what happened
(`ledger`), and how an event looks on the wire (`messages`). Frames hold the event's fields in the contract's order and
types, by store and time within each business date.
"""

from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from retail_assets.contracts.events import INVENTORY_UPDATE, POS_EVENT, SALES_TRANSACTION, EventSchema
from retail_assets.contracts.tables import REFERENCE_PURCHASE_ORDERS
from retail_assets.contracts.types import ListType, arrow_field, arrow_type, polars_schema
from retail_assets.simulator.ledger import (
    MOVEMENTS,
    PAYMENT_METHODS,
    RECEIPT,
    TRANSACTION_KINDS,
    Ledger,
    cents,
    local_midnight_ms,
)
from retail_assets.simulator.randomness import Purpose, stream
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.shopping import HOUR_MS, MINUTE_MS, Ints, TradingHours
from retail_assets.simulator.world import World

_UNIT: Final = 1_000  # thousandths, the scale of quantities
_HEARTBEAT_EVERY: Final = 4 * HOUR_MS
_AROUND_TRADE: Final = 15 * MINUTE_MS
#: What else a till reports: kind, mean times per till and day, what it says.
_INCIDENTS: Final = (
    ("no_sale", 0.15, "drawer opened without a sale"),
    ("price_override", 0.1, "price changed by hand"),
    ("scan_error", 0.25, "barcode not read"),
)


class Reporter:
    """Turns stretches of the ledger into event frames."""

    def __init__(self, scenario: Scenario, world: World, ledger: Ledger) -> None:
        """Look up what events call by name.

        Args:
            scenario: what was simulated.
            world: its stores and products.
            ledger: what happened.
        """
        self._scenario = scenario
        self._ledger = ledger
        self._zone = ZoneInfo(scenario.time_zone)
        self._hours = TradingHours.of(world)
        self._stores = world.stores["store_id"]
        self._products = world.products["product_id"]
        self._supplier_of = world.products["supplier_id"]
        self._price = cents(world.products["list_price"])
        self._promotions = world.promotions["promotion_id"]
        self._order_ids = _order_ids(scenario, self._stores, ledger)

    def purchase_orders(self) -> pl.DataFrame:
        """Return `reference/purchase_orders` as known at the end of the last date."""
        orders = self._ledger.orders
        store, product = np.divmod(orders.series, self._scenario.products)
        first = pl.lit(self._scenario.first_date)
        frame = pl.DataFrame(
            {
                "purchase_order_id": self._order_ids,
                "supplier_id": self._supplier_of.gather(product),
                "store_id": self._stores.gather(store),
                "product_id": self._products.gather(product),
                "ordered": orders.ordered,
                "expected": orders.expected,
                "arrives": orders.arrives,
                "quantity": exact(orders.quantity * _UNIT, REFERENCE_PURCHASE_ORDERS.column("quantity").type),
            }
        )
        received = pl.when(pl.col("arrives") < self._scenario.days).then(pl.col("arrives"))
        return (
            frame.with_columns(
                ordered_on=first + pl.duration(days=pl.col("ordered")),
                expected_on=first + pl.duration(days=pl.col("expected")),
                received_on=first + pl.duration(days=received),
            )
            .select(REFERENCE_PURCHASE_ORDERS.column_names)
            .cast(polars_schema(REFERENCE_PURCHASE_ORDERS.columns))
            .sort("purchase_order_id")
        )

    def sales_transactions(self, first: int, after: int) -> pl.DataFrame:
        """Return the baskets of the days from `first` to before `after`, counted from the scenario's first."""
        days = self._ledger.days[first:after]
        store = _joined([day.baskets.store for day in days])
        at = _joined([day.baskets.at for day in days])
        day_of = np.repeat(np.arange(first, after), [day.baskets.at.size for day in days])
        register = _joined([day.baskets.register for day in days])
        shift = _joined([day.baskets.shift for day in days])
        kind = _joined([day.baskets.kind for day in days])
        payment = _joined([day.baskets.payment for day in days])
        register_ids = self._register_ids(store, register)
        cashiers = pl.Series((2 * register + shift + 1).astype(np.int64)).cast(pl.String).str.zfill(2)
        store_ids = self._stores.gather(store)
        ids = self._ids(day_of, store, "")
        return _event_frame(
            SALES_TRANSACTION,
            {
                "transaction_id": ids,
                "store_id": store_ids,
                "register_id": register_ids,
                "cashier_id": store_ids + "-C" + cashiers,
                "occurred_at": at,
                "currency": pl.Series([self._scenario.currency]).gather(np.zeros(at.size, dtype=np.int64)),
                "payment_method": pl.Series(PAYMENT_METHODS).gather(payment),
                "kind": pl.Series(TRANSACTION_KINDS).gather(kind),
                "lines": self._lines(first, after),
            },
        )

    def inventory_updates(self, first: int, after: int) -> pl.DataFrame:
        """Return the movements of the days from `first` to before `after`, counted from the scenario's first."""
        days = self._ledger.days[first:after]
        series = _joined([day.movements.series for day in days])
        kind = _joined([day.movements.kind for day in days])
        order = _joined([day.movements.order for day in days])
        day_of = np.repeat(np.arange(first, after), [day.movements.at.size for day in days])
        store, product = np.divmod(series, self._scenario.products)
        receipt = kind == RECEIPT
        suppliers = self._supplier_of.gather(product)
        no_text = pl.Series([None], dtype=pl.String)
        quantity = INVENTORY_UPDATE.columns[5].type
        return _event_frame(
            INVENTORY_UPDATE,
            {
                "event_id": self._ids(day_of, store, "I-"),
                "store_id": self._stores.gather(store),
                "product_id": self._products.gather(product),
                "occurred_at": _joined([day.movements.at for day in days]),
                "movement": pl.Series(MOVEMENTS).gather(kind),
                "quantity_delta": exact(_joined([day.movements.delta for day in days]) * _UNIT, quantity),
                "on_hand_after": exact(_joined([day.movements.after for day in days]) * _UNIT, quantity),
                "supplier_id": suppliers.zip_with(pl.Series(receipt), no_text),
                "purchase_order_id": _gather_or_null(self._order_ids, order),
            },
        )

    def pos_events(self, first: int, after: int) -> pl.DataFrame:
        """Return what the tills said of themselves, from day `first` to before `after`."""
        store = np.repeat(np.arange(self._hours.opens.size), self._hours.registers)
        register = _place_in_run(store)
        opens, closes = self._hours.opens[store], self._hours.closes[store]
        frames: list[pl.DataFrame] = []
        for day in range(first, after):
            rng = stream(self._scenario.seed, Purpose.TILLS, day)
            parts: list[tuple[Ints, Ints, Ints, str, str | None]] = [
                (store, register, opens - rng.integers(MINUTE_MS, _AROUND_TRADE, size=store.size), "open", None),
                (store, register, closes + rng.integers(MINUTE_MS, _AROUND_TRADE, size=store.size), "close", None),
            ]
            beats = -(-(closes - opens) // _HEARTBEAT_EVERY)
            nth = _place_in_run(np.repeat(np.arange(store.size), beats))
            at = np.repeat(opens, beats) + nth * _HEARTBEAT_EVERY
            parts.append((np.repeat(store, beats), np.repeat(register, beats), at, "heartbeat", None))
            for kind, mean, detail in _INCIDENTS:
                till = np.repeat(np.arange(store.size), rng.poisson(mean, size=store.size))
                at = opens[till] + (rng.random(till.size) * (closes - opens)[till]).astype(np.int64)
                parts.append((store[till], register[till], at, kind, detail))
            midnight = local_midnight_ms(self._ledger.days[day].date, self._zone)
            frames.extend(
                pl.DataFrame(
                    {"day": np.full(at.size, day), "store": stores, "register": registers, "at": midnight + at}
                ).with_columns(kind=pl.lit(kind), detail=pl.lit(detail, dtype=pl.String))
                for stores, registers, at, kind, detail in parts
            )
        said = pl.concat(frames).sort("day", "store", "at", "register", "kind")
        stores = said["store"].to_numpy()
        return _event_frame(
            POS_EVENT,
            {
                "event_id": self._ids(said["day"].to_numpy(), stores, "E-"),
                "store_id": self._stores.gather(stores),
                "register_id": self._register_ids(stores, said["register"].to_numpy()),
                "occurred_at": said["at"].to_numpy(),
                "kind": said["kind"],
                "detail": said["detail"],
            },
        )

    def _lines(self, first: int, after: int) -> pa.Array:
        """Return the lines of each basket, as a list of records per basket."""
        days = self._ledger.days[first:after]
        at_till = [day.movements.basket >= 0 for day in days]
        counts = _joined(
            [
                np.bincount(day.movements.basket[rows], minlength=day.baskets.at.size)
                for day, rows in zip(days, at_till, strict=True)
            ]
        )

        def column(name: str) -> Ints:
            return _joined([getattr(d.movements, name)[rows] for d, rows in zip(days, at_till, strict=True)])

        product = column("series") % self._scenario.products
        columns = {
            "line_no": _place_in_run(np.repeat(np.arange(counts.size), counts)) + 1,
            "product_id": self._products.gather(product),
            "quantity": np.abs(column("delta")) * _UNIT,
            "unit_price": self._price[product],
            "discount": column("discount"),
            "promotion_id": _gather_or_null(self._promotions, column("promotion")),
        }
        line_type = SALES_TRANSACTION.columns[-1].type
        assert isinstance(line_type, ListType)  # noqa: S101 - the last field of the schema file
        records = pa.StructArray.from_arrays(
            [_arrow(columns[field.name], arrow_type(field.type)) for field in line_type.fields],
            fields=[arrow_field(field) for field in line_type.fields],
        )
        offsets = np.append(0, np.cumsum(counts)).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), records)

    def _ids(self, day: Ints, store: Ints, mark: str) -> pl.Series:
        """Number the rows of each store and day, which lie together, as `S001-20260101-000001`."""
        run = day * self._stores.len() + store
        dates = pl.Series(self._scenario.dates, dtype=pl.Date).dt.strftime("%Y%m%d")
        number = pl.Series(_place_in_run(run) + 1).cast(pl.String).str.zfill(6)
        return self._stores.gather(store) + f"-{mark}" + dates.gather(day) + "-" + number

    def _register_ids(self, store: Ints, register: Ints) -> pl.Series:
        number = pl.Series(register.astype(np.int64) + 1).cast(pl.String).str.zfill(2)
        return self._stores.gather(store) + "-R" + number


def exact(scaled: Ints, decimal_type: Any) -> pl.Series:
    """Return whole numbers of the type's smallest step as exact decimals.

    Args:
        scaled: the amounts, in cents where the type has two digits behind the point.
        decimal_type: a `DecimalType` of the contract.
    """
    return pl.Series(pl.from_arrow(_decimals(scaled, arrow_type(decimal_type))))


def _decimals(scaled: Ints, decimal_type: pa.DataType) -> pa.Array:
    # Written into the array's memory as 128-bit numbers: a detour over floats would not be exact, one over Python's
    # decimals a hundred times slower.
    words = np.empty((scaled.size, 2), dtype="<i8")
    words[:, 0] = scaled
    words[:, 1] = np.where(scaled < 0, -1, 0)
    return pa.Array.from_buffers(decimal_type, scaled.size, [None, pa.py_buffer(words.tobytes())])


def _arrow(values: Any, arrow: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(arrow):
        return _decimals(values, arrow)
    if isinstance(values, pl.Series):
        return values.to_arrow().cast(arrow)
    return pa.array(values).cast(arrow)


def _event_frame(schema: EventSchema, columns: dict[str, Any]) -> pl.DataFrame:
    target = polars_schema(schema.columns)
    series = []
    for column in schema.columns:
        values = columns[column.name]
        if column.name == "occurred_at":
            series.append(pl.Series(column.name, values * 1_000).cast(target[column.name]))
        elif isinstance(values, pl.Series):
            series.append(values.alias(column.name).cast(target[column.name]))
        else:
            series.append(pl.Series(column.name, values, dtype=target[column.name]))
    return pl.DataFrame(series)


def _joined(parts: list[npt.NDArray[Any]]) -> Ints:
    return np.concatenate(parts).astype(np.int64)


def _place_in_run(values: Ints) -> Ints:
    """Count 0, 1, 2 … within each run of equal values."""
    if values.size == 0:
        return values.astype(np.int64)
    first = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    return np.arange(values.size) - np.repeat(first, np.diff(np.append(first, values.size)))


def _gather_or_null(names: pl.Series, rows: Ints) -> pl.Series:
    """Return the names of rows; null for the row -1."""
    with_null = names.extend_constant(None, 1)
    return with_null.gather(np.where(rows < 0, names.len(), rows))


def _order_ids(scenario: Scenario, stores: pl.Series, ledger: Ledger) -> pl.Series:
    """Number the orders of each store and day, as `PO-S001-20260101-0001`, by row of the ledger's orders."""
    orders = ledger.orders
    store = orders.series // scenario.products
    # Orders of one day lie together, by series and so by store.
    number = _place_in_run(orders.ordered * scenario.stores + store) + 1
    dates = pl.Series(scenario.dates, dtype=pl.Date).dt.strftime("%Y%m%d")
    numbers = pl.Series(number).cast(pl.String).str.zfill(4)
    return "PO-" + stores.gather(store) + "-" + dates.gather(orders.ordered) + "-" + numbers
