"""The anomalies that act on stock and tills, carried out as `anomalies` has planned them.

Belongs here: what a planned anomaly does to baskets, prices, deliveries and shelves. Does not belong here: when and
where anomalies happen, and those of demand, which are in the demand already.
"""

from collections import defaultdict
from dataclasses import replace
from typing import Final

import numpy as np

from retail_assets.simulator.clusters import Cluster
from retail_assets.simulator.demand.anomalies import Anomaly, AnomalyKind, AnomalyPlan
from retail_assets.simulator.randomness import BLOCK_DAYS, Purpose, stream
from retail_assets.simulator.runs import NOTHING, Bools, Floats, Ints, Whole
from retail_assets.simulator.stock.daybook import NONE
from retail_assets.simulator.stock.goods import Goods
from retail_assets.simulator.stock.shopping import Wishes

_KINDS: Final = frozenset(
    {
        AnomalyKind.DOUBLE_SCAN,
        AnomalyKind.THEFT,
        AnomalyKind.PRICE_ERROR,
        AnomalyKind.SILENT_TILL,
        AnomalyKind.MISSED_DELIVERY,
    }
)


class Mishaps:
    """The anomalies of one cluster's stock and tills in one block of days."""

    def __init__(self, seed: int, plan: AnomalyPlan, cluster: Cluster, registers: Ints, block: int) -> None:
        """Look up what goes on in the block.

        Args:
            seed: the scenario's.
            plan: what goes wrong, when and where.
            cluster: whose stores.
            registers: how many tills each store has.
            block: which block of days.
        """
        self._registers = registers
        self._seed, self._plan, self._cluster, self._block = seed, plan, cluster, block
        self._first = block * BLOCK_DAYS
        self._of: dict[AnomalyKind, list[Anomaly]] = defaultdict(list)
        for store in cluster.store_numbers:
            for anomaly in (*plan.starting(store, block - 1), *plan.starting(store, block)):
                if anomaly.kind in _KINDS and anomaly.last_day >= self._first:
                    self._of[anomaly.kind].append(anomaly)

    def on(self, kind: AnomalyKind, day: int) -> list[Anomaly]:
        """Return the anomalies of a kind that go on on a day, which must lie in the block."""
        return [anomaly for anomaly in self._of[kind] if anomaly.on(day)]

    def series_of(self, anomaly: Anomaly) -> Ints:
        """Return the series that an anomaly concerns."""
        return (anomaly.store - self._cluster.first_store) * self._cluster.products + self._plan.products_of(anomaly)

    def tills_that_answer(self, day: int, store: Whole, register: Whole, at: Ints) -> Ints:
        """Return the till that serves each customer: the one wanted, or the next in number that isn't silent.

        Args:
            day: must lie in the block.
            store: where each customer is, counted within the cluster.
            register: the till wanted.
            at: when, milliseconds since local midnight.

        Returns:
            Tills counted from 0 within the store; -1 while all of the store's are silent.
        """
        found = register.astype(np.int64)
        silences = self.on(AnomalyKind.SILENT_TILL, day)
        for silent_store in {anomaly.store - self._cluster.first_store for anomaly in silences}:
            rows = np.flatnonzero(store == silent_store)
            tills = int(self._registers[silent_store])
            silent = np.zeros((rows.size, tills), dtype=np.bool_)
            for anomaly in silences:
                if anomaly.store - self._cluster.first_store == silent_store:
                    first_ms, after_ms = anomaly.window_ms(day)
                    silent[:, anomaly.register] |= (at[rows] >= first_ms) & (at[rows] < after_ms)
            choices = (found[rows][:, None] + np.arange(tills)) % tills
            answers = ~np.take_along_axis(silent, choices, axis=1)
            chosen = choices[np.arange(rows.size), answers.argmax(axis=1)]
            found[rows] = np.where(answers.any(axis=1), chosen, NONE)
        return found

    def served(self, wishes: Wishes) -> Wishes:
        """Send customers of a silent till to another one; where all are silent, they leave without anything."""
        register, quantity = wishes.register.copy(), wishes.quantity.copy()
        for place in range(BLOCK_DAYS):
            day, baskets = self._first + place, slice(*wishes.first_basket[place : place + 2])
            if self.on(AnomalyKind.SILENT_TILL, day):
                register[baskets] = self.tills_that_answer(
                    day, wishes.store[baskets], wishes.register[baskets], wishes.at[baskets]
                )
        quantity[register[wishes.basket] == NONE] = 0
        return replace(wishes, register=register, quantity=quantity)

    def scanned_twice(self, wishes: Wishes) -> Bools:
        """Return which lines a till counts twice."""
        twice = np.zeros(wishes.basket.size, dtype=np.bool_)
        rng = stream(self._seed, Purpose.DOUBLE_SCANS, self._cluster.number, self._block)
        for anomaly in self._of[AnomalyKind.DOUBLE_SCAN]:
            hit = np.zeros(wishes.store.size, dtype=np.bool_)
            hit[self._at_till(anomaly, wishes)] = True
            lines = np.flatnonzero(hit[wishes.basket])
            twice[lines[rng.random(lines.size) < anomaly.size]] = True
        return twice

    def prices(self, day: int, price: Ints) -> Ints:
        """Return the prices that the tills ask on a day, in cents."""
        errors = self.on(AnomalyKind.PRICE_ERROR, day)
        if not errors:
            return price
        asked = price.copy()
        for anomaly in errors:
            series = self.series_of(anomaly)
            asked[series] = np.maximum(np.rint(price[series] * anomaly.size), 1).astype(np.int64)
        return asked

    def stolen(self, day: int, goods: Goods) -> Floats:
        """Return the mean units that thieves take on a day, by series."""
        mean = np.zeros(goods.base.size)
        for anomaly in self.on(AnomalyKind.THEFT, day):
            series = self.series_of(anomaly)
            mean[series] += anomaly.size * goods.base[series]
        return mean

    def missed(self) -> Floats | None:
        """Return the share of deliveries that don't arrive, days x series; None where all do."""
        anomalies = self._of[AnomalyKind.MISSED_DELIVERY]
        if not anomalies:
            return None
        share = np.zeros((BLOCK_DAYS, self._cluster.series))
        for anomaly in anomalies:
            first = max(anomaly.first_day - self._first, 0)
            after = min(anomaly.last_day - self._first + 1, BLOCK_DAYS)
            rows = share[first:after]
            rows[:, self.series_of(anomaly)] = np.maximum(rows[:, self.series_of(anomaly)], anomaly.size)
        return share

    def _at_till(self, anomaly: Anomaly, wishes: Wishes) -> Ints:
        """Return the baskets of an anomaly's till, days and hours."""
        parts = [NOTHING]
        for day in range(max(anomaly.first_day, self._first), min(anomaly.last_day + 1, self._first + BLOCK_DAYS)):
            start, after = wishes.first_basket[day - self._first : day - self._first + 2]
            first_ms, after_ms = anomaly.window_ms(day)
            at = wishes.at[start:after]
            here = (
                (wishes.store[start:after] == anomaly.store - self._cluster.first_store)
                & (wishes.register[start:after] == anomaly.register)
                & (at >= first_ms)
                & (at < after_ms)
            )
            parts.append(start + np.flatnonzero(here))
        return np.concatenate(parts)
