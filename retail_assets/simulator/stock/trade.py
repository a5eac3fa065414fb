"""Trade hours of one day: what customers take, give back and change their minds about, as far as stock reaches.

Belongs here: what happens between the shelf and the till. Does not belong here: what customers came for (`shopping`),
and what happens while the stores are closed (`stockroom`).

Within a day everything has its time. Stock really runs out: a line that comes after the last unit is lost, a line that
finds too little gets what is left, and goods that come back can be sold again. The day's stock is therefore a walk that
is held at zero, which is worked out for all series at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from retail_assets.simulator.clusters import Cluster
from retail_assets.simulator.randomness import Purpose, stream
from retail_assets.simulator.runs import (
    Bools,
    Int32s,
    Ints,
    Whole,
    place_in_run,
    running_sum,
    stable_order,
    starts_of_runs,
    stock_walk,
)
from retail_assets.simulator.stock.daybook import (
    AT_BITS,
    NONE,
    RETURN,
    RETURN_BASKET,
    SALE,
    SALE_BASKET,
    VOID_BASKET,
    Baskets,
    Entries,
)
from retail_assets.simulator.stock.goods import Goods
from retail_assets.simulator.stock.shopping import (
    HOUR_MS,
    RETURN_RESIDUE,
    VOID_RESIDUE,
    TradingHours,
    Wishes,
    distinct_times,
)
from retail_assets.simulator.stock.stock_state import ComingBack, StockState

_VOID_AFTER_MS: Final = (20_000, 120_000)


@dataclass(frozen=True)
class DayWishes:
    """What customers want on one day, and what the tills make of it.

    Attributes:
        wishes: of the day's block.
        place: the day's place in its block.
        promotion: the row of `world.promotions` that applies, by series; -1 where none does.
        price: what the tills ask for one unit, in cents, by series.
        scanned_twice: whether a till counts a line twice, by line of the block.
        till: the till that answers a customer, given the stores, the tills wanted and the times; -1 where none does.
    """

    wishes: Wishes
    place: int
    promotion: Int32s
    price: Ints
    scanned_twice: Bools
    till: Callable[[Whole, Whole, Ints], Ints]

    @property
    def lines(self) -> slice:
        """The day's lines within the block."""
        return slice(*self.wishes.first_line[self.place : self.place + 2])

    @property
    def baskets(self) -> slice:
        """The day's baskets within the block."""
        return slice(*self.wishes.first_basket[self.place : self.place + 2])


@dataclass(frozen=True)
class Traded:
    """What came of a day's trade.

    Attributes:
        entries: the movements at the tills, by store, time and series; `basket` is a row of `baskets`.
        baskets: what the tills closed.
        booked: net units sold by the books, by series.
        substituted: of what was really sold, units in place of something else, by series.
        lowest: least units on the shelf at any time of trade, by series.
    """

    entries: Entries
    baskets: Baskets
    booked: Ints
    substituted: Int32s
    lowest: Ints


@dataclass
class _Lines:
    """Lines of one day by store and time; arrays of the same length.

    Baskets are numbered: sales first, then returns, then voids. `row` is the line's place among the day's wishes, or
    among what comes back; -1 for what nobody had wished for: substitutes.
    """

    series: Ints
    at: Ints
    change: Ints
    basket: Ints
    row: Ints

    def columns(self) -> tuple[Ints, ...]:
        return (self.series, self.at, self.change, self.basket, self.row)

    def merged(self, others: list["_Lines"], store: Ints) -> "_Lines":
        """Put others between these, where they belong by store and time; behind these, where both are equal."""
        parts = [self.columns(), *(other.columns() for other in others)]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        # Sorted runs behind each other: a stable sort merges them in one go.
        order = np.argsort(store[columns[0]] << AT_BITS | columns[1], kind="stable")
        return _Lines(*(column[order] for column in columns))


@dataclass
class _Walk:
    """What came of lines; arrays of their length, but for `lowest`.

    Attributes:
        order: by series, then time.
        after: units on the shelf after each line.
        moved: units that it really added.
        lowest: least units on the shelf, by series.
    """

    order: Ints
    after: Ints
    moved: Ints
    lowest: Ints

    @classmethod
    def of(cls, lines: _Lines, on_shelf: Ints) -> "_Walk":
        """Walk through the lines of all series."""
        order = stable_order(lines.series, on_shelf.size)
        series = lines.series[order]
        after, moved = np.empty_like(order), np.empty_like(order)
        in_order = stock_walk(series, lines.change[order], on_shelf)
        after[order], moved[order] = in_order
        lowest = on_shelf.copy()
        if order.size:
            first = np.flatnonzero(starts_of_runs(series))
            traded = series[first]
            lowest[traded] = np.minimum(lowest[traded], np.minimum.reduceat(in_order[0], first))
        return cls(order, after, moved, lowest)


@dataclass(frozen=True)
class _Baskets:
    """The day's baskets before it is known which of them come about: sales first, then returns, then voids.

    Attributes:
        sales: how many are sales; the number of the first return.
        returns: what comes back, a basket for each line.
        return_register: the till of each return.
        void_of: the sale that each void takes back.
        void_register: the till of each void.
    """

    sales: int
    returns: ComingBack
    return_register: Ints
    void_of: Ints
    void_register: Ints

    @property
    def first_void(self) -> int:
        """The number of the first void."""
        return self.sales + self.returns.series.size

    @property
    def count(self) -> int:
        """How many there are."""
        return self.first_void + self.void_of.size


class Tills:
    """The trade of one cluster of stores."""

    def __init__(self, seed: int, cluster: Cluster, goods: Goods, hours: TradingHours, percent: Ints) -> None:
        """Take what every day needs.

        Args:
            seed: the scenario's.
            cluster: whose stores.
            goods: what they carry.
            hours: when they trade.
            percent: discount of each row of `world.promotions`.
        """
        self._seed, self._cluster, self._goods, self._hours = seed, cluster, goods, hours
        self._percent = np.append(percent, 0)  # the last one is what the row -1 finds

    def trade(self, state: StockState, today: DayWishes) -> Traded:
        """Serve a day's customers, and change the state by what they take and bring."""
        store, on_shelf = self._goods.store, state.on_shelf
        sales = self._sales(today)
        returns, return_register, back = self._returns(state, today)
        lines = sales.merged([back], store)
        walk = _Walk.of(lines, on_shelf)
        instead = self._substitutes(today, state.day, lines, walk, on_shelf)
        void_of, void_register, voided = self._voids(today, state.day, lines, walk, instead, returns)
        baskets = _Baskets(today.baskets.stop - today.baskets.start, returns, return_register, void_of, void_register)
        if instead.series.size or voided.series.size:
            lines = lines.merged([instead, voided], store)
            walk = _Walk.of(lines, on_shelf)
        extra = self._counted_twice(today, lines, walk, baskets)
        entries = self._entries(state, today, lines, walk, extra, returns, baskets)
        happened = np.flatnonzero(walk.moved)
        closed, number_of = self._closed(today, state.day, lines, happened, baskets)
        entries = entries.taken(happened)
        entries.basket = np.cumsum(starts_of_runs(entries.basket)) - 1
        self._schedule_returns(state, today, lines, walk, extra, baskets, number_of)

        count = on_shelf.size
        moved = np.bincount(lines.series, weights=walk.moved, minlength=count).astype(np.int64)
        booked = -np.bincount(lines.series, weights=walk.moved - extra, minlength=count).astype(np.int64)
        instead_rows = lines.row == NONE
        substituted = -np.bincount(
            lines.series[instead_rows], weights=walk.moved[instead_rows], minlength=count
        ).astype(np.int32)
        state.on_shelf += moved
        state.on_hand -= booked
        return Traded(entries, closed, booked, substituted, walk.lowest)

    def _sales(self, today: DayWishes) -> _Lines:
        """Return what customers would take if the shelves had it."""
        wishes, lines = today.wishes, today.lines
        basket = wishes.basket[lines].astype(np.int64)
        return _Lines(
            series=wishes.series[lines].astype(np.int64),
            at=wishes.at[basket],
            change=-wishes.quantity[lines].astype(np.int64),
            basket=basket - today.baskets.start,
            row=np.arange(basket.size),
        )

    def _returns(self, state: StockState, today: DayWishes) -> tuple[ComingBack, Ints, _Lines]:
        """Give every line that comes back today a basket of its own, a time, and the first till that answers.

        Who finds all tills silent keeps the goods.
        """
        due = state.coming_back.due == state.day
        returns: ComingBack = state.coming_back.taken(due)
        state.coming_back = state.coming_back.taken(~due)
        stores = self._goods.store[returns.series]
        rng = stream(self._seed, Purpose.RETURNS, self._cluster.number, state.day)
        at = self._hours.draw_hours(stores, rng) * HOUR_MS + rng.integers(0, HOUR_MS, size=stores.size)
        at = distinct_times(at, stores, RETURN_RESIDUE)
        register = today.till(stores, np.zeros_like(stores), at)
        taken = register != NONE
        returns, stores, at, register = returns.taken(taken), stores[taken], at[taken], register[taken]
        row = np.arange(stores.size)
        order = np.argsort(stores << AT_BITS | at)
        basket = today.baskets.stop - today.baskets.start + row
        lines = _Lines(returns.series[order], at[order], returns.quantity[order], basket[order], row[order])
        return returns, register, lines

    def _substitutes(self, today: DayWishes, day: int, lines: _Lines, walk: _Walk, on_shelf: Ints) -> _Lines:
        """Let customers before an empty shelf take something else: what is nearest and was there in the morning.

        They get of it what is left then, and may in turn leave others before an empty shelf; those go without. Nobody
        takes what is in the basket already.
        """
        goods = self._goods
        short = np.flatnonzero(walk.moved > lines.change)
        short = short[today.wishes.takes_substitute[today.lines.start + lines.row[short]]]
        choices = goods.substitutes[lines.series[short]]
        there = (choices >= 0) & (on_shelf[choices] > 0) & (goods.starts[choices] <= day) & (day < goods.ends[choices])
        found = there.any(axis=1)
        short = short[found]
        series = choices[found, there.argmax(axis=1)[found]]
        # A basket and a series are told from others by series and time.
        key = series << AT_BITS | lines.at[short]
        _, first = np.unique(key, return_index=True)
        taken = lines.series[walk.order] << AT_BITS | lines.at[walk.order]
        place = np.minimum(np.searchsorted(taken, key[first]), taken.size - 1)
        first = np.sort(first[taken[place] != key[first]])
        short, series = short[first], series[first]
        change = lines.change[short] - walk.moved[short]
        return _Lines(series, lines.at[short], change, lines.basket[short], np.full(short.size, NONE, dtype=np.int64))

    def _voids(
        self, today: DayWishes, day: int, lines: _Lines, walk: _Walk, instead: _Lines, returns: ComingBack
    ) -> tuple[Ints, Ints, _Lines]:
        """Void baskets a minute later, at their own till or, where that has fallen silent, at another.

        Only baskets of goods that nobody lacked today: what is put back then changes nobody else's luck, and is exactly
        what was taken. While all tills are silent, nothing is voided.

        Returns:
            The sale that each void takes back, the till of each void, and the lines that put their goods back.
        """
        wishes, of_day = today.wishes, today.baskets
        regretted = wishes.regretted[of_day].copy()
        scarce = walk.lowest <= 0
        scarce[instead.series] = True
        count = regretted.size
        at_till = (lines.basket < count) & np.append(regretted, np.zeros(returns.series.size, np.bool_))[lines.basket]
        rows = np.flatnonzero(at_till)
        unlucky = scarce[lines.series[rows]] | today.scanned_twice[today.lines.start + lines.row[rows]]
        regretted[lines.basket[rows[unlucky]]] = False
        void_of = np.flatnonzero(regretted)
        store = wishes.store[of_day][void_of].astype(np.int64)
        rng = stream(self._seed, Purpose.VOIDS, self._cluster.number, day)
        at = wishes.at[of_day][void_of] + rng.integers(*_VOID_AFTER_MS, size=void_of.size)
        at = distinct_times(at, store, VOID_RESIDUE)
        register = today.till(store, wishes.register[of_day][void_of], at)
        answered = register != NONE
        regretted[void_of[~answered]] = False
        void_of, at, register = void_of[answered], at[answered], register[answered]

        rows = rows[regretted[lines.basket[rows]]]
        void = np.searchsorted(void_of, lines.basket[rows])
        first = count + returns.series.size
        back = _Lines(lines.series[rows], at[void], -lines.change[rows], first + void, lines.row[rows])
        order = np.argsort(self._goods.store[back.series] << AT_BITS | back.at, kind="stable")
        return void_of, register, _Lines(*(column[order] for column in back.columns()))

    def _counted_twice(self, today: DayWishes, lines: _Lines, walk: _Walk, baskets: _Baskets) -> Ints:
        """Return the units that a till's scanner adds to each line."""
        extra = np.zeros_like(walk.moved)
        if today.scanned_twice[today.lines].any():
            rows = np.flatnonzero((lines.basket < baskets.sales) & (lines.row != NONE))
            rows = rows[today.scanned_twice[today.lines.start + lines.row[rows]]]
            extra[rows] = -walk.moved[rows]
        return extra

    def _entries(
        self,
        state: StockState,
        today: DayWishes,
        lines: _Lines,
        walk: _Walk,
        extra: Ints,
        returns: ComingBack,
        baskets: _Baskets,
    ) -> Entries:
        """Return the movements by the books, with what the tills ask for. Baskets have their first numbers."""
        after = walk.after + (state.on_hand - state.on_shelf)[lines.series]
        if extra.any():
            after[walk.order] -= running_sum(lines.series[walk.order], extra[walk.order])
        delta = walk.moved - extra
        promotion = today.promotion[lines.series].astype(np.int64)
        price = today.price[lines.series]
        discount = (price * np.abs(delta) * self._percent[promotion] + 50) // 100
        # What comes back is worth what was paid for it.
        back = np.flatnonzero((lines.basket >= baskets.sales) & (lines.basket < baskets.first_void))
        row = lines.row[back]
        price[back], discount[back], promotion[back] = returns.price[row], returns.discount[row], returns.promotion[row]
        none = np.full(delta.size, NONE, dtype=np.int64)
        kind = np.where(lines.basket < baskets.sales, SALE, RETURN).astype(np.int8)
        return Entries(lines.series, lines.at, kind, delta, after, none, lines.basket, price, discount, promotion)

    def _closed(
        self, today: DayWishes, day: int, lines: _Lines, happened: Ints, baskets: _Baskets
    ) -> tuple[Baskets, Ints]:
        """Return the baskets that came about, and the place of each of the day's baskets among those of its store."""
        raw_of_line = lines.basket[happened]
        first = happened[starts_of_runs(raw_of_line)]
        raw, at = lines.basket[first], lines.at[first]
        store = self._goods.store[lines.series[first]]
        number_of = np.full(baskets.count, NONE, dtype=np.int64)
        number_of[raw] = place_in_run(store)

        wishes, of_day = today.wishes, today.baskets
        none = np.zeros(baskets.returns.series.size, dtype=np.int64)
        register = np.concatenate([wishes.register[of_day], baskets.return_register, baskets.void_register])
        payment = wishes.payment[of_day]
        payment = np.concatenate([payment, none, payment[baskets.void_of]])
        no_sale = np.full(baskets.sales, NONE, dtype=np.int64)
        of_today = np.full(baskets.void_of.size, day, dtype=np.int64)
        original_day = np.concatenate([no_sale, baskets.returns.sold_day, of_today])
        original = np.concatenate([no_sale, baskets.returns.sold_number, number_of[baskets.void_of]])
        counts = (baskets.sales, none.size, baskets.void_of.size)
        kind = np.repeat(np.array((SALE_BASKET, RETURN_BASKET, VOID_BASKET), dtype=np.int8), counts)
        middle = (self._hours.opens[store] + self._hours.closes[store]) // 2
        closed = Baskets(
            store=store.astype(np.int32),
            at=at,
            kind=kind[raw],
            register=register[raw].astype(np.int32),
            shift=(at >= middle).astype(np.int8),
            payment=payment[raw].astype(np.int8),
            original_day=original_day[raw].astype(np.int32),
            original_number=original[raw].astype(np.int32),
        )
        return closed, number_of

    def _schedule_returns(
        self,
        state: StockState,
        today: DayWishes,
        lines: _Lines,
        walk: _Walk,
        extra: Ints,
        baskets: _Baskets,
        number_of: Ints,
    ) -> None:
        """Note which of today's sold lines come back, and when. What spoils is never taken back."""
        wishes, goods = today.wishes, self._goods
        drawn = slice(*np.searchsorted(wishes.back_line, (today.lines.start, today.lines.stop)))
        wished = np.flatnonzero((lines.basket < baskets.sales) & (lines.row != NONE))
        # Sales keep their order, so a wish's place among them is its row.
        rows = wished[wishes.back_line[drawn] - today.lines.start]
        due = state.day + wishes.back_after[drawn]
        series, sold = lines.series[rows], -walk.moved[rows]
        voided = np.isin(lines.basket[rows], baskets.void_of)
        comes = (sold > 0) & goods.keeps[series] & (due < goods.ends[series]) & ~voided
        rows, due, series, sold = rows[comes], due[comes], series[comes], sold[comes]
        quantity = np.ceil(wishes.back_share[drawn][comes] * sold).astype(np.int64)
        promotion = today.promotion[series].astype(np.int64)
        price = today.price[series]
        counted = sold + extra[rows]
        discount = (price * counted * self._percent[promotion] + 50) // 100 * quantity // counted
        back = ComingBack(
            series=series,
            due=due,
            quantity=quantity,
            price=price,
            discount=discount,
            promotion=promotion,
            sold_day=np.full(series.size, state.day, dtype=np.int64),
            sold_number=number_of[lines.basket[rows]],
        )
        state.coming_back = state.coming_back.followed_by(back)
