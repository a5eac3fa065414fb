"""What happens to stock while the stores are closed: deliveries, transfers, counts and corrections in the morning,
waste and loss in the evening.

Belongs here: movements that no customer has a part in. Does not belong here: trade (`trade`) and ordering
(`ordering`). Times are milliseconds since local midnight.

The books are not the shelf. Theft and shrinkage take units from the shelf that the books go on carrying, until somebody
counts (phantom stock); a scanner that counts twice takes units from the books that are still there.
"""

from typing import Final

import numpy as np

from retail_assets.simulator.clusters import Cluster
from retail_assets.simulator.randomness import Purpose, stream
from retail_assets.simulator.runs import Bools, Floats, Ints, running_sum
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.stock.daybook import (
    ADJUSTMENT,
    COUNT,
    RECEIPT,
    SPOILAGE,
    TRANSFER_IN,
    TRANSFER_OUT,
    Entries,
    Receipts,
)
from retail_assets.simulator.stock.goods import Goods
from retail_assets.simulator.stock.ordering import Buyer, receive
from retail_assets.simulator.stock.shopping import HOUR_MS, MINUTE_MS, SALE_RESIDUE, TradingHours, distinct_times
from retail_assets.simulator.stock.stock_state import StockState

_ADJUSTMENTS: Final = (-2, -1, -1, 1)
_COUNT_WEEKDAY: Final = 0
_DAYS_PER_WEEK: Final = 7
# A series that should have sold so much since it last did is looked for with this probability a day.
_SUSPICIOUS_UNITS: Final = 6.0
_SUSPICIOUS_SHARE: Final = 0.3
# A neighbour that helps out keeps what it would order up to itself, and gives so many days of the other's sales.
_TRANSFER_DAYS: Final = 5.0

# Local times of what happens while the stores are closed; no store opens before six or closes after eleven. Nothing
# happens before three, so that it is right on days on which the clocks change.
_CLEARANCE_AT: Final = 3 * HOUR_MS + 2 * MINUTE_MS
_TRANSFERS_OUT_AT: Final = 3 * HOUR_MS + 10 * MINUTE_MS
_TRANSFERS_TAKE: Final = 20 * MINUTE_MS
_UNDERWAY: Final = 21 * MINUTE_MS
_OPENING_COUNT_AT: Final = 4 * HOUR_MS
_RECEIPTS_AT: Final = 4 * HOUR_MS + 15 * MINUTE_MS
_COUNTS_AT: Final = 5 * HOUR_MS + 5 * MINUTE_MS
_ADJUSTMENTS_AT: Final = 5 * HOUR_MS + 30 * MINUTE_MS
_SPOILAGE_AFTER_CLOSE: Final = 15 * MINUTE_MS
_CLEARANCE_TAKES: Final = 5 * MINUTE_MS
_OPENING_COUNT_TAKES: Final = 10 * MINUTE_MS
_RECEIPTS_TAKE: Final = 40 * MINUTE_MS
_COUNTS_TAKE: Final = 20 * MINUTE_MS
_ADJUSTMENTS_TAKE: Final = 20 * MINUTE_MS
_SPOILAGE_TAKES: Final = 30 * MINUTE_MS


class Stockroom:
    """The mornings and evenings of one cluster of stores."""

    def __init__(self, scenario: Scenario, cluster: Cluster, goods: Goods, hours: TradingHours, buyer: Buyer) -> None:
        """Take what a day needs.

        Args:
            scenario: how often things happen.
            cluster: whose stores.
            goods: what they carry.
            hours: when they trade.
            buyer: knows opening stock and what is expected to sell.
        """
        self._seed, self._rates, self._cluster = scenario.seed, scenario.stock, cluster
        self._first_weekday = scenario.first_date.weekday()
        self._goods, self._hours, self._buyer = goods, hours, buyer
        self.fresh = np.flatnonzero(~goods.keeps)
        self._life = goods.life[self.fresh]

    def first_state(self) -> StockState:
        """Return the state before the first day."""
        return StockState.of_the_first_day(self._cluster.series, self.fresh.size, int(self._life.max(initial=0)))

    def morning(self, state: StockState) -> tuple[list[Entries], Receipts, Ints]:
        """Do all that is done before the doors open.

        Returns:
            The movements, what `reference` of the receipts points to, and the units that came, by series.
        """
        day, goods = state.day, self._goods
        rng = stream(self._seed, Purpose.STOCKROOM, self._cluster.number, day)
        came = np.zeros(self._cluster.series, dtype=np.int64)
        carried = (goods.starts < day) & (day < goods.ends)
        entries = [
            self._clear(state, rng),
            *self._transfer(state, carried, rng),
            self._open(state, came, rng),
        ]
        received, receipts = self._receive(state, came, rng)
        entries.append(received)
        entries.append(self._count(state, carried, rng))
        adjusted = np.flatnonzero(carried & (rng.random(carried.size) < self._rates.adjustments))
        at = _ADJUSTMENTS_AT + rng.integers(0, _ADJUSTMENTS_TAKE, size=adjusted.size)
        # What is broken must be there; what is found is.
        change = np.maximum(rng.choice(_ADJUSTMENTS, size=adjusted.size), -state.on_shelf[adjusted])
        some = change != 0
        entries.append(_posted(state, ADJUSTMENT, adjusted[some], at[some], change[some], change[some]))
        return entries, receipts, came

    def _count(self, state: StockState, carried: Bools, rng: np.random.Generator) -> Entries:
        """Count some series, and put the books right.

        Some in turn, once a week; and any that the books still have while it is suspicious that none was sold.
        """
        chance = rng.random(carried.size)
        weekly = (self._first_weekday + state.day) % _DAYS_PER_WEEK == _COUNT_WEEKDAY
        suspicious = (state.on_hand > 0) & (state.quiet > _SUSPICIOUS_UNITS)
        wanted = (suspicious & (chance < _SUSPICIOUS_SHARE)) | (weekly & (chance < self._rates.counts))
        counted = np.flatnonzero(carried & wanted)
        state.quiet[counted] = 0.0
        at = _COUNTS_AT + rng.integers(0, _COUNTS_TAKE, size=counted.size)
        difference = state.on_shelf[counted] - state.on_hand[counted]
        return _posted(state, COUNT, counted, at, difference, np.zeros_like(difference))

    def _clear(self, state: StockState, rng: np.random.Generator) -> Entries:
        """Take what was discontinued yesterday out of the books and off the shelves."""
        ended = np.flatnonzero((self._goods.ends == state.day) & ((state.on_hand != 0) | (state.on_shelf != 0)))
        at = _CLEARANCE_AT + rng.integers(0, _CLEARANCE_TAKES, size=ended.size)
        return _posted(state, ADJUSTMENT, ended, at, -state.on_hand[ended], -state.on_shelf[ended])

    def _open(self, state: StockState, came: Ints, rng: np.random.Generator) -> Entries:
        """Give series that begin today their opening stock."""
        begins = np.flatnonzero((self._goods.starts == state.day) & (self._goods.ends > state.day))
        at = _OPENING_COUNT_AT + rng.integers(0, _OPENING_COUNT_TAKES, size=begins.size)
        opening = self._buyer.opening[begins]
        came[begins] += opening
        return _posted(state, COUNT, begins, at, opening, opening)

    def _receive(self, state: StockState, came: Ints, rng: np.random.Generator) -> tuple[Entries, Receipts]:
        """Take in what is delivered. Two orders for the same series may come on one morning: one after the other."""
        arrived = receive(state, state.day)
        at = _RECEIPTS_AT + rng.integers(0, _RECEIPTS_TAKE, size=arrived.series.size)
        at = distinct_times(at, arrived.series, SALE_RESIDUE)
        order = np.lexsort((at, arrived.series))
        arrived, at = arrived.taken(order), at[order]
        np.add.at(came, arrived.series, arrived.delivered)
        entries = _posted(
            state, RECEIPT, arrived.series, at, arrived.delivered, arrived.delivered, np.arange(arrived.series.size)
        )
        return entries, Receipts(arrived.series, arrived.ordered, arrived.number)

    def _transfer(self, state: StockState, carried: Bools, rng: np.random.Generator) -> list[Entries]:
        """Let a store that has plenty help out one that is about to run out, product by product.

        Of each product, the store with the most to spare gives to one that has less than a day left. Only what keeps,
        and only what is really there.
        """
        shape = (self._cluster.stores, self._cluster.products)
        if self._cluster.stores == 1 or self._rates.transfers == 0.0:
            return []
        rate = self._buyer.expected_rate(state, state.day - 1)
        asks = carried & self._goods.keeps & (state.on_hand < rate)
        asks &= rng.random(asks.size) < self._rates.transfers
        if not asks.any():
            return []
        spare = np.minimum(state.on_hand, state.on_shelf) - np.ceil(self._buyer.target_days * rate).astype(np.int64)
        spare = np.where(carried, spare, 0).reshape(shape)
        taker = asks.reshape(shape).argmax(axis=0)
        giver = spare.argmax(axis=0)
        product = np.flatnonzero(asks.reshape(shape).any(axis=0) & (giver != taker))
        source = giver[product] * self._cluster.products + product
        target = taker[product] * self._cluster.products + product
        units = np.minimum(np.ceil(_TRANSFER_DAYS * rate[target]).astype(np.int64), spare[giver[product], product])
        some = units > 0
        source, target, units = source[some], target[some], units[some]
        if units.size == 0:
            return []
        at = _TRANSFERS_OUT_AT + rng.integers(0, _TRANSFERS_TAKE, size=units.size)
        # By series, as all movements are posted.
        out, into = np.argsort(source), np.argsort(target)
        return [
            _posted(state, TRANSFER_OUT, source[out], at[out], -units[out], -units[out]),
            _posted(state, TRANSFER_IN, target[into], at[into] + _UNDERWAY, units[into], units[into]),
        ]

    def evening(self, state: StockState, before: Ints, came: Ints, stolen: Floats) -> Entries:
        """Lose what vanishes, and throw away what spoils tonight.

        Args:
            state: after the last customer.
            before: units on the shelf at the end of the day before, by series.
            came: units that came today, by series.
            stolen: mean units that thieves take today, by series.
        """
        rng = stream(self._seed, Purpose.SHRINKAGE, self._cluster.number, state.day)
        open_today = (self._goods.starts <= state.day) & (state.day < self._goods.ends)
        lost = np.where(open_today, self._rates.shrinkage * self._goods.base + stolen, 0.0)
        state.on_shelf -= np.minimum(rng.poisson(lost), state.on_shelf)
        spoiled = self._spoil(state, before, came)
        series = np.flatnonzero(spoiled)
        at = self._hours.closes[self._goods.store[series]] + _SPOILAGE_AFTER_CLOSE
        at += rng.integers(0, _SPOILAGE_TAKES, size=series.size)
        return _posted(state, SPOILAGE, series, at, -spoiled[series], -spoiled[series])

    def _spoil(self, state: StockState, before: Ints, came: Ints) -> Ints:
        """Age what spoils by one day and return the units that are past it, by series. The oldest is sold first."""
        fresh, ages = self.fresh, state.ages
        columns = np.arange(fresh.size)
        new = came[fresh]
        ages[self._life - 1, columns] += new
        taken = before[fresh] + new - state.on_shelf[fresh]
        # More than was there, where a correction found some or a customer brought some back: as if it had just come.
        ages[self._life - 1, columns] += np.maximum(-taken, 0)
        running = np.cumsum(ages, axis=0)
        ages[:] = np.clip(running - np.maximum(taken, 0), 0, ages)
        spoiled = np.zeros(before.size, dtype=np.int64)
        spoiled[fresh] = ages[0]
        ages[:-1] = ages[1:]
        ages[-1] = 0
        return spoiled


def _posted(
    state: StockState, kind: int, series: Ints, at: Ints, delta: Ints, really: Ints, reference: Ints | None = None
) -> Entries:
    """Post movements to the books and the shelf.

    Args:
        state: what they change.
        kind: index into `MOVEMENTS`.
        series: whose stock, sorted, and by time within a series.
        at: when.
        delta: units that the books add.
        really: units that the shelf gets.
        reference: row of the day's receipts.
    """
    after = state.on_hand[series] + running_sum(series, delta)
    np.add.at(state.on_hand, series, delta)
    np.add.at(state.on_shelf, series, really)
    return Entries.of_stock(kind, series, at, delta, after, reference)
