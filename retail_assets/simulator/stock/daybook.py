"""The books of one business date, as arrays.

Belongs here: what a day leaves behind, in compact form, and the numbers that stand for the contract's words. Does not
belong here: how it came about (`ledger`), and how it looks as an event (`events`). Stores and series are numbered
within their cluster.
"""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from retail_assets.contracts.events import INVENTORY_UPDATE, SALES_TRANSACTION, EventSchema
from retail_assets.simulator.runs import Bools, Int8s, Int32s, Ints, Whole


def _symbols(schema: EventSchema, field: str) -> tuple[str, ...]:
    allowed = next(column.allowed for column in schema.columns if column.name == field)
    assert allowed is not None, f"{schema.name}.{field} is no enumeration"  # noqa: S101 - a fact of the schema file
    return allowed


MOVEMENTS: Final = _symbols(INVENTORY_UPDATE, "movement")
RECEIPT: Final = MOVEMENTS.index("receipt")
SALE: Final = MOVEMENTS.index("sale")
RETURN: Final = MOVEMENTS.index("return")
TRANSFER_IN: Final = MOVEMENTS.index("transfer_in")
TRANSFER_OUT: Final = MOVEMENTS.index("transfer_out")
ADJUSTMENT: Final = MOVEMENTS.index("adjustment")
SPOILAGE: Final = MOVEMENTS.index("spoilage")
COUNT: Final = MOVEMENTS.index("count")

TRANSACTION_KINDS: Final = _symbols(SALES_TRANSACTION, "kind")
SALE_BASKET: Final = TRANSACTION_KINDS.index("sale")
RETURN_BASKET: Final = TRANSACTION_KINDS.index("return")
VOID_BASKET: Final = TRANSACTION_KINDS.index("void")

PAYMENT_METHODS: Final = _symbols(SALES_TRANSACTION, "payment_method")

NONE: Final = -1
#: Milliseconds of a day fit into so many bits, so that a series and a time make one number to sort by.
AT_BITS: Final = 27


@dataclass
class Entries:
    """Movements of one day; arrays of the same length.

    Attributes:
        series: whose stock moved.
        at: when, milliseconds since local midnight.
        kind: index into `MOVEMENTS`.
        delta: units that the books add, negative when taken.
        after: units on hand by the books after it.
        reference: row of the day's `Receipts` that a receipt is, else -1.
        basket: the basket whose line this is, else -1.
        price: of one unit of the basket's line, in cents.
        discount: of the basket's line, in cents.
        promotion: row of `world.promotions` that gave the discount, else -1.
    """

    series: Ints
    at: Ints
    kind: Int8s
    delta: Ints
    after: Ints
    reference: Ints
    basket: Ints
    price: Ints
    discount: Ints
    promotion: Ints

    @classmethod
    def of_stock(
        cls, kind: int, series: Ints, at: Ints, delta: Ints, after: Ints, reference: Ints | None = None
    ) -> "Entries":
        """Return movements that no till knows of."""
        none = np.full(series.size, NONE, dtype=np.int64)
        nothing = np.zeros(series.size, dtype=np.int64)
        return cls(
            series=series,
            at=at,
            kind=np.full(series.size, kind, dtype=np.int8),
            delta=delta,
            after=after,
            reference=none if reference is None else reference,
            basket=none,
            price=nothing,
            discount=nothing,
            promotion=none,
        )

    @classmethod
    def joined(cls, parts: list["Entries"]) -> "Entries":
        """Put parts one behind the other."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def taken(self, rows: Ints | Bools) -> "Entries":
        """Return some of the movements."""
        return Entries(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True)
class Baskets:
    """All baskets of one business date that reached a till, by store, then time. Arrays of the same length.

    Attributes:
        store: where.
        at: when, milliseconds since local midnight; unique within a store.
        kind: index into `TRANSACTION_KINDS`.
        register: the till, counted from 0 within the store.
        shift: 0 before the middle of the trading day, 1 after it; with the register it gives the cashier.
        payment: index into `PAYMENT_METHODS`.
        original_day: day of the sale that a return or void refers to, else -1.
        original_number: that sale's place among the day's baskets of its store, else -1.
    """

    store: Int32s
    at: Ints
    kind: Int8s
    register: Int32s
    shift: Int8s
    payment: Int8s
    original_day: Int32s
    original_number: Int32s


@dataclass(frozen=True)
class Receipts:
    """What was delivered on one morning; arrays of the same length.

    Attributes:
        series: what came.
        ordered: day of the order.
        number: the order's place among those of its store and day.
    """

    series: Whole
    ordered: Whole
    number: Whole


@dataclass(frozen=True)
class Orders:
    """Orders to suppliers that were placed on one day, by series. Arrays of the same length.

    Attributes:
        series: what was ordered, and for which store.
        number: place among the orders of the store and day.
        expected: day that the supplier promised.
        arrives: day on which it comes, which may lie after the scenario's last; -1 where it never does.
        quantity: units.
    """

    series: Ints
    number: Ints
    expected: Ints
    arrives: Ints
    quantity: Ints


@dataclass(frozen=True)
class Truth:
    """What no retailer knows of a day, by series.

    Attributes:
        carried: whether the store carries it.
        demand: units that customers came for.
        substituted: of what was sold, units that were taken in place of something else.
        on_shelf: units that are really there at the end of the day, whatever the books say.
        ran_out: whether nothing was there at some time of trade.
    """

    carried: Bools
    demand: Int32s
    substituted: Int32s
    on_shelf: Int32s
    ran_out: Bools


@dataclass(frozen=True)
class DayBook:
    """The books of one cluster and business date.

    Attributes:
        day: counted from the scenario's first date.
        movements: by store, then time, then series; `basket` is a row of `baskets`.
        baskets: what the tills closed.
        receipts: what `movements.reference` points to.
        orders: placed at the end of the day.
        truth: what the books don't say.
    """

    day: int
    movements: Entries
    baskets: Baskets
    receipts: Receipts
    orders: Orders
    truth: Truth
