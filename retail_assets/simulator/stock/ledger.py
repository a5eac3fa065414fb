"""One cluster of stores, day by day: what a day does to the state, from the first delivery to the orders at its end.

Belongs here: the order in which a day's parts happen, and the day's books. Does not belong here: the parts: what
customers want (`demand`, `shopping`), mornings and evenings (`stockroom`), trade (`trade`), orders (`ordering`).
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final

import numpy as np

from retail_assets.simulator.clusters import Cluster
from retail_assets.simulator.demand.model import DemandModel
from retail_assets.simulator.randomness import BLOCK_DAYS, Purpose, stream
from retail_assets.simulator.runs import Bools, Int32s, Ints
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.stock.daybook import AT_BITS, DayBook, Entries, Truth
from retail_assets.simulator.stock.goods import Goods
from retail_assets.simulator.stock.mishaps import Mishaps
from retail_assets.simulator.stock.ordering import Buyer
from retail_assets.simulator.stock.shopping import TradingHours, Wishes, draw_wishes
from retail_assets.simulator.stock.stock_state import TRAILING_DAYS, StockState
from retail_assets.simulator.stock.stockroom import Stockroom
from retail_assets.simulator.stock.trade import DayWishes, Tills
from retail_assets.simulator.world.world import World

# An anomaly can reach into the next block, and a delivery may come two blocks later.
_BLOCKS_AT_HAND: Final = 8


@dataclass(frozen=True)
class _Block:
    """What customers want in one block of days. None of it depends on stock."""

    number: int
    units: Int32s
    promotion: Int32s
    wishes: Wishes
    scanned_twice: Bools


class Ledger:
    """The books of one cluster, kept day by day."""

    def __init__(
        self, scenario: Scenario, world: World, demand: DemandModel, cluster: Cluster, state: StockState | None = None
    ) -> None:
        """Open the stores.

        Args:
            scenario: what is simulated.
            world: its reference frames.
            demand: what customers want.
            cluster: which stores.
            state: where to go on; without one, the first day comes next.
        """
        self._scenario, self._demand, self._cluster = scenario, demand, cluster
        self._goods = Goods.of(world, demand, cluster)
        self._hours = TradingHours.of(world, cluster)
        self._mishaps = lru_cache(_BLOCKS_AT_HAND)(
            lambda block: Mishaps(scenario.seed, demand.anomalies, cluster, self._hours.registers, block)
        )
        self._buyer = Buyer(scenario, world, cluster, self._goods, lambda block: self._mishaps(block).missed())
        self._stockroom = Stockroom(scenario, cluster, self._goods, self._hours, self._buyer)
        percent = (world.promotions["discount_share"] * 100).round().to_numpy().astype(np.int64)
        self._tills = Tills(scenario.seed, cluster, self._goods, self._hours, percent)
        self._block: _Block | None = None
        self.state = self._stockroom.first_state() if state is None else state

    def trade(self) -> DayBook:
        """Live through the next day."""
        state, goods = self.state, self._goods
        day = state.day
        block, mishaps = self._block_of(day), self._mishaps(day // BLOCK_DAYS)
        place = day % BLOCK_DAYS
        before = state.on_shelf.copy()
        morning, receipts, came = self._stockroom.morning(state)
        today = DayWishes(
            block.wishes,
            place,
            block.promotion[place],
            mishaps.prices(day, goods.price),
            block.scanned_twice,
            partial(mishaps.tills_that_answer, day),
        )
        traded = self._tills.trade(state, today)
        evening = self._stockroom.evening(state, before, came, mishaps.stolen(day, goods))
        self._note_sold(day, traded.booked)
        carried = (goods.starts <= day) & (day < goods.ends)
        book = DayBook(
            day=day,
            movements=self._in_order([*morning, traded.entries, evening]),
            baskets=traded.baskets,
            receipts=receipts,
            orders=self._buyer.order(state, day),
            truth=Truth(
                carried=carried,
                demand=block.units[place],
                substituted=traded.substituted,
                on_shelf=state.on_shelf.astype(np.int32),
                ran_out=carried & (traded.lowest <= 0),
            ),
        )
        state.day += 1
        return book

    def _block_of(self, day: int) -> _Block:
        """Return the block that a day lies in; drawn again only when another one begins."""
        number = day // BLOCK_DAYS
        if self._block is None or self._block.number != number:
            stores = [self._demand.block(store, number) for store in self._cluster.store_numbers]
            units = np.concatenate([store.units for store in stores], axis=1)
            rng = stream(self._scenario.seed, Purpose.SHOPPING, self._cluster.number, number)
            wishes = draw_wishes(units, self._hours, self._scenario.stock, rng)
            mishaps = self._mishaps(number)
            self._block = _Block(
                number=number,
                units=units,
                promotion=np.concatenate([store.promotion for store in stores], axis=1),
                # Which till is silent is settled first: its customers may meet a scanner that counts twice.
                wishes=(wishes := mishaps.served(wishes)),
                scanned_twice=mishaps.scanned_twice(wishes),
            )
        return self._block

    def _in_order(self, parts: list[Entries]) -> Entries:
        """Return all movements by store, then time, then series."""
        together = Entries.joined(parts)
        store = self._goods.store
        ordered = np.argsort(store[together.series] << AT_BITS | together.at, kind="stable")
        return together.taken(ordered)

    def _note_sold(self, day: int, booked: Ints) -> None:
        """Remember what the books say was sold today, in place of what they said 90 days ago."""
        state = self.state
        oldest = state.sold[day % TRAILING_DAYS]
        state.sold_lately += booked - oldest
        state.sold[day % TRAILING_DAYS] = booked
        state.quiet = np.where(booked > 0, 0.0, state.quiet + self._buyer.expected_rate(state, day))
