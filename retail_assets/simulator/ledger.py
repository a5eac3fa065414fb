"""The stock of every series, day by day: deliveries, sales as far as stock reaches, returns, losses, counts and orders.

Belongs here: whatever moves stock, and the incumbent's way of ordering. Does not belong here: what customers want
(`demand`, `shopping`) and how a movement looks on the wire (`events`).

Within a day everything has its time. Stock really runs out: a line that comes after the last unit is lost, a line that
finds too little gets what is left, and goods that come back can be sold again. The day's stock is therefore a walk that
is held at zero, which is worked out for all series at once.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from retail_assets.contracts.events import INVENTORY_UPDATE, SALES_TRANSACTION, EventSchema
from retail_assets.simulator.demand import Demand
from retail_assets.simulator.randomness import Purpose, stream
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.shopping import (
    HOUR_MS,
    MINUTE_MS,
    RETURN_RESIDUE,
    SALE_RESIDUE,
    VOID_RESIDUE,
    Ints,
    TradingHours,
    Wishes,
    distinct_times,
    draw_wishes,
    starts_of_runs,
)
from retail_assets.simulator.world import World

Int32s = npt.NDArray[np.int32]
Int8s = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]


def _symbols(schema: EventSchema, field: str) -> tuple[str, ...]:
    allowed = next(column.allowed for column in schema.columns if column.name == field)
    assert allowed is not None, f"{schema.name}.{field} is no enumeration"  # noqa: S101 - a fact of the schema file
    return allowed


MOVEMENTS: Final = _symbols(INVENTORY_UPDATE, "movement")
RECEIPT: Final = MOVEMENTS.index("receipt")
SALE: Final = MOVEMENTS.index("sale")
RETURN: Final = MOVEMENTS.index("return")
ADJUSTMENT: Final = MOVEMENTS.index("adjustment")
SPOILAGE: Final = MOVEMENTS.index("spoilage")
COUNT: Final = MOVEMENTS.index("count")

TRANSACTION_KINDS: Final = _symbols(SALES_TRANSACTION, "kind")
SALE_BASKET: Final = TRANSACTION_KINDS.index("sale")
RETURN_BASKET: Final = TRANSACTION_KINDS.index("return")
VOID_BASKET: Final = TRANSACTION_KINDS.index("void")

PAYMENT_METHODS: Final = _symbols(SALES_TRANSACTION, "payment_method")
_PAYMENT_SHARES: Final = {"cash": 0.38, "card": 0.5, "mobile": 0.1, "voucher": 0.02}

#: The incumbent's policy: order up to so many days of the trailing mean when below so many.
TARGET_DAYS: Final = 25.0
TRIGGER_DAYS: Final = 11.0
TRAILING_DAYS: Final = 90
# What spoils is ordered by its shelf life instead, or nearly all of it would be thrown away.
_FRESH_TARGET_SHARE: Final = 0.8
_FRESH_TRIGGER_SHARE: Final = 0.45
# The buyer's plan for a series without history is off by so much, in logs.
_PLAN_SPREAD: Final = 0.25

_RETURN_SHARE: Final = 0.014  # of lines of goods that keep, which are about four in five
_RETURN_WITHIN_DAYS: Final = 14
_VOID_SHARE: Final = 0.003  # of baskets
_VOID_AFTER_MS: Final = (20_000, 120_000)
_ADJUSTMENT_SHARE: Final = 0.0015  # of series, daily
_ADJUSTMENTS: Final = (-2, -1, -1, 1)
_COUNT_WEEKDAY: Final = 0
_COUNT_SHARE: Final = 0.04  # of series, weekly
_COUNT_CORRECTIONS: Final = (0, 0, 0, 0, 0, 0, -1, -1, -2, 1)

# Local times of what happens while the stores are closed; no store opens before six or closes after eleven.
_OPENING_COUNT_AT: Final = 4 * HOUR_MS
_RECEIPTS_AT: Final = 4 * HOUR_MS + 15 * MINUTE_MS
_COUNTS_AT: Final = 5 * HOUR_MS + 5 * MINUTE_MS
_ADJUSTMENTS_AT: Final = 5 * HOUR_MS + 30 * MINUTE_MS
_SPOILAGE_AFTER_CLOSE: Final = 15 * MINUTE_MS
_OPENING_COUNT_TAKES: Final = 10 * MINUTE_MS
_RECEIPTS_TAKE: Final = 40 * MINUTE_MS
_COUNTS_TAKE: Final = 20 * MINUTE_MS
_SPOILAGE_TAKES: Final = 30 * MINUTE_MS

_NONE: Final = -1


@dataclass(frozen=True)
class Movements:
    """All movements of one business date, by store, then time, then series. Arrays of the same length.

    Attributes:
        series: whose stock moved.
        at: when, milliseconds since the epoch, UTC.
        kind: index into `MOVEMENTS`.
        delta: units added, negative when taken.
        after: units on hand after it.
        order: row of the ledger's orders that a receipt fulfils, else -1.
        basket: the day's basket whose line this is, else -1.
        discount: of the basket's line, in cents.
        promotion: row of `world.promotions` that gave the discount, else -1.
    """

    series: Int32s
    at: Ints
    kind: Int8s
    delta: Int32s
    after: Int32s
    order: Int32s
    basket: Int32s
    discount: Int32s
    promotion: Int32s


@dataclass(frozen=True)
class Baskets:
    """All baskets of one business date that reached a till, by store, then time. Arrays of the same length.

    Attributes:
        store: where.
        at: when, milliseconds since the epoch, UTC; unique within a store.
        kind: index into `TRANSACTION_KINDS`.
        register: the till, counted from 0 within the store.
        shift: 0 before the middle of the trading day, 1 after it; with the register it gives the cashier.
        payment: index into `PAYMENT_METHODS`.
    """

    store: Int32s
    at: Ints
    kind: Int8s
    register: Int32s
    shift: Int8s
    payment: Int8s


@dataclass(frozen=True)
class DayBook:
    """The books of one business date."""

    date: date
    movements: Movements
    baskets: Baskets


@dataclass(frozen=True)
class Orders:
    """All orders to suppliers, in the order in which they were placed. Arrays of the same length.

    Attributes:
        series: what was ordered, and for which store.
        ordered: day of the order, counted from the scenario's first.
        expected: day that the supplier promised.
        arrives: day on which it comes, which may lie after the scenario's last.
        quantity: units.
    """

    series: Ints
    ordered: Ints
    expected: Ints
    arrives: Ints
    quantity: Ints


@dataclass(frozen=True)
class Ledger:
    """Everything that happened to stock.

    Attributes:
        days: the books of each business date.
        orders: orders to suppliers.
        opening: opening stock of each series.
        closing: stock of each series at the end of the last date.
        ran_out: whether a shelf was empty at any time of trade, days x series.
    """

    days: tuple[DayBook, ...]
    orders: Orders
    opening: Ints
    closing: Ints
    ran_out: Bools


def keep_books(scenario: Scenario, world: World, demand: Demand) -> Ledger:
    """Run every store through every day of the scenario."""
    storeroom = _Storeroom(scenario, world, demand)
    days = tuple(storeroom.trade(day) for day in range(scenario.days))
    return Ledger(
        days=days,
        orders=storeroom.orders(),
        opening=storeroom.opening,
        closing=storeroom.on_hand.copy(),
        ran_out=storeroom.ran_out,
    )


def stock_walk(series: Ints, change: Ints, on_hand: Ints) -> tuple[Ints, Ints]:
    """Work out stock after each entry, where stock can not fall below zero.

    A walk held at zero stands above the free walk by the deepest shortfall so far (Skorokhod's reflection), which is a
    running maximum and needs no loop.

    Args:
        series: the series of each entry, entries sorted by series and then by time.
        change: units that each entry would add.
        on_hand: stock before the first entry, by series.

    Returns:
        Stock after each entry, and the units that it really added; both as long as `series`.
    """
    if series.size == 0:
        return change, change
    starts = starts_of_runs(series)
    first = np.flatnonzero(starts)
    run = np.cumsum(starts) - 1
    total = np.cumsum(change)
    free = on_hand[series] + total - (total[first] - change[first])[run]
    shortfall = np.maximum(-free, 0)
    offset = run * (shortfall.max() + 1)
    after = free + np.maximum.accumulate(shortfall + offset) - offset
    before = np.empty_like(after)
    before[1:] = after[:-1]
    before[first] = on_hand[series[first]]
    return after, after - before


@dataclass
class _Entries:
    """Intended movements of one day, in any order; arrays of the same length."""

    series: Ints
    at: Ints
    kind: Ints
    change: Ints
    order: Ints
    basket: Ints
    line: Ints

    @classmethod
    def of(
        cls,
        series: Ints,
        at: Ints,
        kind: int,
        change: Ints,
        *,
        order: Ints | None = None,
        basket: Ints | None = None,
        line: Ints | None = None,
    ) -> "_Entries":
        none = np.full(series.size, _NONE, dtype=np.int64)
        return cls(
            series=series,
            at=at,
            kind=np.full(series.size, kind, dtype=np.int64),
            change=change,
            order=none if order is None else order,
            basket=none if basket is None else basket,
            line=none if line is None else line,
        )

    @classmethod
    def put_after(cls, earlier: "_Entries", later: "_Entries") -> "_Entries":
        """Put one part after another, as they are."""
        return cls(*(np.concatenate(pair) for pair in zip(earlier.columns(), later.columns(), strict=True)))

    @classmethod
    def joined(cls, parts: list["_Entries"]) -> "_Entries":
        """Put parts together, sorted by series and time."""
        together = cls(*(np.concatenate(column) for column in zip(*(part.columns() for part in parts), strict=True)))
        return together.taken(np.lexsort((together.at, together.series)))

    def columns(self) -> tuple[Ints, ...]:
        return (self.series, self.at, self.kind, self.change, self.order, self.basket, self.line)

    def taken(self, rows: Ints | Bools) -> "_Entries":
        return _Entries(*(column[rows] for column in self.columns()))


@dataclass
class _Outcome:
    """What came of a day's entries; arrays of their length, as in `Movements`."""

    after: Ints
    moved: Ints
    discount: Ints
    promotion: Ints


@dataclass
class _Lines:
    """Lines that customers bring back, in any order; arrays of the same length."""

    series: Ints
    quantity: Ints
    discount: Ints
    promotion: Ints

    @classmethod
    def joined(cls, parts: list["_Lines"]) -> "_Lines":
        columns = [(p.series, p.quantity, p.discount, p.promotion) for p in parts]
        return cls(*(np.concatenate(column) for column in zip(*columns, strict=True)))


_NOTHING: Final[Ints] = np.zeros(0, dtype=np.int64)
_NO_LINES: Final = _Lines(_NOTHING, _NOTHING, _NOTHING, _NOTHING)


@dataclass
class _Today:
    """What one day's customers do. Their baskets are numbered: sales first, then returns, then voids.

    Attributes:
        day: counted from the scenario's first.
        rng: the day's stream.
        wishes: the baskets of sales.
        brought_back: the lines of returns, each a basket of its own.
        void_of: the sale's basket of each void.
    """

    day: int
    rng: np.random.Generator
    wishes: Wishes
    brought_back: _Lines
    void_of: Ints

    @property
    def sales(self) -> int:
        """How many baskets are sales; the number of the first return."""
        return self.wishes.basket_store.size

    @property
    def first_void(self) -> int:
        """The number of the first void's basket."""
        return self.sales + self.brought_back.series.size


class _Storeroom:
    """The state of all series between two days, and what one day does to it."""

    def __init__(self, scenario: Scenario, world: World, demand: Demand) -> None:
        self._scenario = scenario
        self._demand = demand
        self._hours = TradingHours.of(world)
        self._zone = ZoneInfo(scenario.time_zone)
        self._dates = scenario.dates
        count = demand.base.size
        self._store = np.repeat(np.arange(scenario.stores), scenario.products)

        def by_series(column: str) -> Ints:
            return np.tile(world.products[column].to_numpy().astype(np.int64), scenario.stores)

        self._pack = by_series("pack_size")
        self._minimum_packs = by_series("minimum_order_packs")
        self._price = np.tile(cents(world.products["list_price"]), scenario.stores)
        self._percent = (world.promotions["discount_share"] * 100).round().to_numpy().astype(np.int64)

        life = by_series("shelf_life_days")
        self._keeps = life == 0
        self._target_days = np.where(self._keeps, TARGET_DAYS, np.minimum(TARGET_DAYS, life * _FRESH_TARGET_SHARE))
        self._trigger_days = np.where(self._keeps, TRIGGER_DAYS, np.minimum(TRIGGER_DAYS, life * _FRESH_TRIGGER_SHARE))

        suppliers = {supplier_id: number for number, supplier_id in enumerate(world.suppliers["supplier_id"])}
        self._supplier = np.tile(np.array([suppliers[s] for s in world.products["supplier_id"]]), scenario.stores)
        self._lead_mean = world.suppliers["lead_time_days_mean"].to_numpy()
        self._lead_spread = world.suppliers["lead_time_days_sd"].to_numpy()
        self._review = world.suppliers["review_period_days"].to_numpy().astype(np.int64)

        rng = stream(scenario.seed, Purpose.STOCKROOM)
        self._plan = demand.base * np.exp(_PLAN_SPREAD * rng.normal(size=count))
        cover = rng.uniform(0.5, 1.0, size=count) * self._target_days
        self.opening = np.maximum(np.ceil(cover * self._plan), 1).astype(np.int64)

        self.on_hand = np.zeros(count, dtype=np.int64)
        self.ran_out = np.zeros((scenario.days, count), dtype=np.bool_)
        self._on_order = np.zeros(count, dtype=np.int64)
        self._sold = np.zeros((scenario.days, count), dtype=np.int32)
        self._fresh = np.flatnonzero(~self._keeps)
        self._life = life[self._fresh]
        # Units by the days they have left after today, for what spoils: days x fresh series.
        self._ages = np.zeros((int(self._life.max(initial=0)) + 1, self._fresh.size), dtype=np.int64)
        self._orders: list[Orders] = []
        self._orders_placed = 0
        self._arriving: dict[int, list[tuple[Ints, Ints, Ints]]] = defaultdict(list)
        self._coming_back: dict[int, list[_Lines]] = defaultdict(list)

    def orders(self) -> Orders:
        """Return all orders that were placed so far."""
        parts = [(o.series, o.ordered, o.expected, o.arrives, o.quantity) for o in self._orders]
        return Orders(*(np.concatenate(column) for column in zip((_NOTHING,) * 5, *parts, strict=True)))

    def trade(self, day: int) -> DayBook:
        """Live through one day, from the deliveries to the orders at its end."""
        rng = stream(self._scenario.seed, Purpose.SHOPPING, day)
        today = _Today(
            day=day,
            rng=rng,
            wishes=draw_wishes(self._demand.units[day], self._hours, rng),
            brought_back=_Lines.joined([_NO_LINES, *self._coming_back.pop(day, [])]),
            void_of=_NOTHING,
        )
        morning, received = self._before_opening(day)
        entries = _Entries.joined([*morning, self._sales(today), self._returns(today)])
        entries = _Entries.joined([entries, self._voids(today, entries)])

        after, moved = stock_walk(entries.series, entries.change, self.on_hand)
        self._note_empty_shelves(day, entries, after, moved)
        before = self.on_hand.copy()
        # Later entries of a series overwrite earlier ones.
        self.on_hand[entries.series] = after
        happened = (moved != 0) | (entries.kind == COUNT)
        entries, after, moved = entries.taken(happened), after[happened], moved[happened]

        at_till = entries.basket != _NONE
        net = np.bincount(entries.series[at_till], weights=moved[at_till], minlength=before.size)
        self._sold[day] = -net.astype(np.int32)
        discount, promotion = self._discounts(today, entries, moved)
        self._schedule_returns(today, entries, _Lines(entries.series, -moved, discount, promotion))
        waste = self._waste(today, before, received)
        self._order(day)

        return self._book(
            today,
            _Entries.put_after(entries, waste),
            _Outcome(
                after=np.append(after, self.on_hand[waste.series]),
                moved=np.append(moved, waste.change),
                discount=np.append(discount, np.zeros_like(waste.series)),
                promotion=np.append(promotion, np.full_like(waste.series, _NONE)),
            ),
        )

    def _before_opening(self, day: int) -> tuple[list[_Entries], Ints]:
        """Return the movements before the doors open, and the units received by series."""
        rng = stream(self._scenario.seed, Purpose.STOCKROOM, day)
        count = self.on_hand.size
        begins = np.flatnonzero(self._demand.starts == day)
        begin_at = _OPENING_COUNT_AT + rng.integers(0, _OPENING_COUNT_TAKES, size=begins.size)
        parts = [_Entries.of(begins, begin_at, COUNT, self.opening[begins])]
        received = np.zeros(count, dtype=np.int64)
        np.add.at(received, begins, self.opening[begins])

        for series, order, quantity in self._arriving.pop(day, []):
            at = _RECEIPTS_AT + rng.integers(0, _RECEIPTS_TAKE, size=series.size)
            parts.append(_Entries.of(series, at, RECEIPT, quantity, order=order))
            np.add.at(received, series, quantity)
            np.subtract.at(self._on_order, series, quantity)
        if len(parts) > 1:
            # Two orders for the same series may come on one morning: one after the other.
            receipts = _Entries.joined(parts[1:])
            receipts.at = distinct_times(receipts.at, receipts.series, SALE_RESIDUE)
            parts[1:] = [receipts]

        trading = self._demand.starts < day
        if self._dates[day].weekday() == _COUNT_WEEKDAY:
            counted = np.flatnonzero(trading & (rng.random(count) < _COUNT_SHARE))
            at = _COUNTS_AT + rng.integers(0, _COUNTS_TAKE, size=counted.size)
            parts.append(_Entries.of(counted, at, COUNT, rng.choice(_COUNT_CORRECTIONS, size=counted.size)))
        adjusted = np.flatnonzero(trading & (rng.random(count) < _ADJUSTMENT_SHARE))
        at = _ADJUSTMENTS_AT + rng.integers(0, _COUNTS_TAKE, size=adjusted.size)
        parts.append(_Entries.of(adjusted, at, ADJUSTMENT, rng.choice(_ADJUSTMENTS, size=adjusted.size)))
        return parts, received

    def _sales(self, today: _Today) -> _Entries:
        """Return what customers would take if the shelves had it."""
        wishes = today.wishes
        at = wishes.basket_at[wishes.basket]
        line = np.arange(wishes.series.size)
        return _Entries.of(wishes.series, at, SALE, -wishes.quantity, basket=wishes.basket, line=line)

    def _returns(self, today: _Today) -> _Entries:
        """Give every line that comes back today a basket of its own, and a time."""
        lines = today.brought_back
        stores = self._store[lines.series]
        hour = self._hours.draw_hours(stores, today.rng)
        at = hour * HOUR_MS + today.rng.integers(0, HOUR_MS, size=stores.size)
        line = np.arange(stores.size)
        at = distinct_times(at, stores, RETURN_RESIDUE)
        return _Entries.of(lines.series, at, RETURN, lines.quantity, basket=today.sales + line, line=line)

    def _voids(self, today: _Today, entries: _Entries) -> _Entries:
        """Choose sales that are voided a minute later, and return the entries that put their goods back.

        Only baskets that got all they wanted are chosen. Goods that are put back can only raise what other lines get,
        so such a basket still gets all of it, and what is put back is exactly what was taken.
        """
        wishes, rng = today.wishes, today.rng
        _, moved = stock_walk(entries.series, entries.change, self.on_hand)
        short = (entries.kind == SALE) & (moved != entries.change)
        complete = np.ones(today.sales, dtype=np.bool_)
        complete[entries.basket[short]] = False
        today.void_of = np.flatnonzero(complete & (rng.random(today.sales) < _VOID_SHARE))
        at = wishes.basket_at[today.void_of] + rng.integers(*_VOID_AFTER_MS, size=today.void_of.size)
        at = distinct_times(at, wishes.basket_store[today.void_of], VOID_RESIDUE)
        place = np.full(today.sales, _NONE, dtype=np.int64)
        place[today.void_of] = np.arange(today.void_of.size)
        line = np.flatnonzero(place[wishes.basket] != _NONE)
        void = place[wishes.basket[line]]
        return _Entries.of(
            wishes.series[line], at[void], RETURN, wishes.quantity[line], basket=today.first_void + void, line=line
        )

    def _note_empty_shelves(self, day: int, entries: _Entries, after: Ints, moved: Ints) -> None:
        in_trade = entries.basket != _NONE
        at_open = self.on_hand.copy()
        np.add.at(at_open, entries.series[~in_trade], moved[~in_trade])
        np.minimum.at(at_open, entries.series[in_trade], after[in_trade])
        self.ran_out[day] = (at_open <= 0) & (self._demand.starts <= day)

    def _discounts(self, today: _Today, entries: _Entries, moved: Ints) -> tuple[Ints, Ints]:
        """Return the discount in cents and the promotion's row of every entry."""
        at_till = entries.basket != _NONE
        promotion = np.where(at_till, self._demand.promotion[today.day][entries.series], _NONE).astype(np.int64)
        percent = np.where(promotion != _NONE, np.append(self._percent, 0)[promotion], 0)
        discount = (self._price[entries.series] * np.abs(moved) * percent + 50) // 100
        # What comes back carries the discount with which it was bought.
        back = np.flatnonzero((entries.basket >= today.sales) & (entries.basket < today.first_void))
        discount[back] = today.brought_back.discount[entries.line[back]]
        promotion[back] = today.brought_back.promotion[entries.line[back]]
        return discount, promotion

    def _schedule_returns(self, today: _Today, entries: _Entries, lines: _Lines) -> None:
        """Draw which of today's sold lines come back, and when. What spoils is never taken back."""
        sold = (entries.kind == SALE) & self._keeps[entries.series] & ~np.isin(entries.basket, today.void_of)
        rows = np.flatnonzero(sold & (today.rng.random(sold.size) < _RETURN_SHARE))
        quantity = today.rng.integers(1, lines.quantity[rows] + 1)
        discount = lines.discount[rows] * quantity // lines.quantity[rows]
        due = today.day + today.rng.integers(1, _RETURN_WITHIN_DAYS + 1, size=rows.size)
        for back_on in np.unique(due):
            some = due == back_on
            back = _Lines(lines.series[rows[some]], quantity[some], discount[some], lines.promotion[rows[some]])
            self._coming_back[int(back_on)].append(back)

    def _waste(self, today: _Today, before: Ints, received: Ints) -> _Entries:
        """Throw away what spoils tonight, after the stores have closed."""
        spoiled = self._spoil(before, received)
        self.on_hand -= spoiled
        series = np.flatnonzero(spoiled)
        at = self._hours.closes[self._store[series]] + _SPOILAGE_AFTER_CLOSE
        at += today.rng.integers(0, _SPOILAGE_TAKES, size=series.size)
        return _Entries.of(series, at, SPOILAGE, -spoiled[series])

    def _spoil(self, before: Ints, received: Ints) -> Ints:
        """Age what spoils by one day and return the units that are past it, by series. The oldest is sold first."""
        spoiled = np.zeros(self.on_hand.size, dtype=np.int64)
        fresh = self._fresh
        columns = np.arange(fresh.size)
        came, left = received[fresh], self.on_hand[fresh]
        self._ages[self._life - 1, columns] += came
        taken = before[fresh] + came - left
        # More than was there, where a correction found some: as if it had just come.
        self._ages[self._life - 1, columns] += np.maximum(-taken, 0)
        running = np.cumsum(self._ages, axis=0)
        self._ages = np.clip(running - np.maximum(taken, 0), 0, self._ages)
        spoiled[fresh] = self._ages[0]
        self._ages[:-1] = self._ages[1:]
        self._ages[-1] = 0
        return spoiled

    def _order(self, day: int) -> None:
        """Order by the incumbent's policy, for series whose supplier takes orders today.

        Below 11 days of the trailing mean of what was sold, order up to 25 days of it, in whole packs. A series
        without anything on hand or on order gets its least order even where the mean is zero, or it would never sell
        again.
        """
        known = np.clip(day - self._demand.starts + 1, 0, TRAILING_DAYS)
        sold = self._sold[max(0, day - TRAILING_DAYS + 1) : day + 1].sum(axis=0)
        rate = (sold + (TRAILING_DAYS - known) * self._plan) / TRAILING_DAYS
        position = self.on_hand + self._on_order
        reviewed = (self._dates[day].toordinal() + self._supplier) % self._review[self._supplier] == 0
        low = (position < self._trigger_days * rate) | (position <= 0)
        series = np.flatnonzero(reviewed & low & (self._demand.starts <= day))
        wanted = self._target_days[series] * rate[series] - position[series]
        packs = np.maximum(np.ceil(wanted / self._pack[series]), self._minimum_packs[series]).astype(np.int64)
        quantity = packs * self._pack[series]
        mean, spread = self._lead_mean[self._supplier[series]], self._lead_spread[self._supplier[series]]
        rng = stream(self._scenario.seed, Purpose.ORDERS, day)
        lead = np.maximum(np.rint(rng.gamma((mean / spread) ** 2, spread**2 / mean)), 1).astype(np.int64)
        promised = np.maximum(np.rint(mean), 1).astype(np.int64)
        number = self._orders_placed + np.arange(series.size)
        self._orders_placed += series.size
        self._on_order[series] += quantity
        self._orders.append(Orders(series, np.full_like(series, day), day + promised, day + lead, quantity))
        for arrives in np.unique(day + lead):
            some = day + lead == arrives
            self._arriving[int(arrives)].append((series[some], number[some], quantity[some]))

    def _book(self, today: _Today, entries: _Entries, outcome: _Outcome) -> DayBook:
        """Put a day's movements into the order of the books and number the baskets that came about."""
        midnight = local_midnight_ms(self._dates[today.day], self._zone)
        store = self._store[entries.series]
        order = np.lexsort((entries.series, entries.at, store))
        basket = entries.basket[order]
        opens = starts_of_runs(basket) & (basket != _NONE)
        first = order[opens]

        # Tills and payment are drawn for sales; a void happens where its sale did, returns at the first till.
        registers = today.rng.integers(0, self._hours.registers[today.wishes.basket_store], size=today.sales)
        shares = [_PAYMENT_SHARES[method] for method in PAYMENT_METHODS]
        payments = today.rng.choice(len(PAYMENT_METHODS), size=today.sales, p=shares)
        returned = np.zeros_like(today.brought_back.series)
        register_of = np.concatenate([registers, returned, registers[today.void_of]])
        payment_of = np.concatenate([payments, returned, payments[today.void_of]])
        counts = (today.sales, returned.size, today.void_of.size)
        kind_of = np.repeat((SALE_BASKET, RETURN_BASKET, VOID_BASKET), counts)

        number, at, stores = entries.basket[first], entries.at[first], store[first]
        middle = (self._hours.opens[stores] + self._hours.closes[stores]) // 2
        return DayBook(
            date=self._dates[today.day],
            movements=Movements(
                series=entries.series[order].astype(np.int32),
                at=midnight + entries.at[order],
                kind=entries.kind[order].astype(np.int8),
                delta=outcome.moved[order].astype(np.int32),
                after=outcome.after[order].astype(np.int32),
                order=entries.order[order].astype(np.int32),
                basket=np.where(basket == _NONE, _NONE, np.cumsum(opens) - 1).astype(np.int32),
                discount=outcome.discount[order].astype(np.int32),
                promotion=outcome.promotion[order].astype(np.int32),
            ),
            baskets=Baskets(
                store=stores.astype(np.int32),
                at=midnight + at,
                kind=kind_of[number].astype(np.int8),
                register=register_of[number].astype(np.int32),
                shift=(at >= middle).astype(np.int8),
                payment=payment_of[number].astype(np.int8),
            ),
        )


def cents(money: pl.Series) -> Ints:
    """Return an exact amount of money as whole cents."""
    return (money.cast(pl.Float64) * 100).round().cast(pl.Int64).to_numpy()


def local_midnight_ms(day: date, zone: ZoneInfo) -> int:
    """Return what to add to milliseconds since local midnight to get milliseconds since the epoch.

    Taken from noon, so that it is right for all hours of trade on days on which the clocks change.
    """
    noon = datetime.combine(day, time(12), tzinfo=zone)
    return int(noon.astimezone(UTC).timestamp()) * 1_000 - 12 * HOUR_MS
