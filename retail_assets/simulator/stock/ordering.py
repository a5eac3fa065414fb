"""The incumbent's way of ordering, and what suppliers make of the orders.

Belongs here: the policy that the project's own decisions are judged against ("order up to 25 days of the trailing mean
when below 11 days", of what spoils sooner fewer), least orders, lead times, short and missing deliveries. Does not
belong here: the shelf.

The buyer knows the books, never the shelf: stock that the books only dream of is not ordered again. Nor does the buyer
look at the store's room: the incumbent's policy may order more than it holds.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from retail_assets.simulator.clusters import Cluster
from retail_assets.simulator.randomness import BLOCK_DAYS, Purpose, stream
from retail_assets.simulator.runs import Bools, Floats, Ints, place_in_run, running_sum
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.stock.daybook import NONE, Orders
from retail_assets.simulator.stock.goods import Goods, cents
from retail_assets.simulator.stock.stock_state import TRAILING_DAYS, InTransit, StockState
from retail_assets.simulator.world.world import World

# What spoils is ordered for these shares of its shelf life at most, or nearly all of it would be thrown away.
_FRESH_TARGET_SHARE: Final = 0.8
_FRESH_TRIGGER_SHARE: Final = 0.45
# The buyer's plan for a series without history is off by so much, in logs.
_PLAN_SPREAD: Final = 0.25
_OPENING_COVER: Final = (0.5, 1.0)  # of the target
#: A buyer notices so many days later that a truck didn't come, and orders again.
NOTICED_AFTER_DAYS: Final = 7
_DAYS_PER_WEEK: Final = 7


class Buyer:
    """Orders for the stores of one cluster."""

    def __init__(
        self,
        scenario: Scenario,
        world: World,
        cluster: Cluster,
        goods: Goods,
        missed: Callable[[int], Floats | None],
    ) -> None:
        """Look up the suppliers' terms.

        Args:
            scenario: gives the policy's two numbers.
            world: its suppliers.
            cluster: whose stores.
            goods: what they carry.
            missed: by block of days, the share of deliveries that don't arrive, days x series, or None.
        """
        self._seed, self._cluster, self._goods, self._missed = scenario.seed, cluster, goods, missed
        self._first_ordinal = scenario.first_date.toordinal()
        policy = scenario.stock
        self.target_days = np.where(
            goods.keeps, policy.target_days, np.minimum(policy.target_days, goods.life * _FRESH_TARGET_SHARE)
        )
        self.trigger_days = np.where(
            goods.keeps, policy.trigger_days, np.minimum(policy.trigger_days, goods.life * _FRESH_TRIGGER_SHARE)
        )
        suppliers = world.suppliers
        self._lead_mean = suppliers["lead_time_days_mean"].to_numpy()
        self._lead_spread = suppliers["lead_time_days_sd"].to_numpy()
        self._review = suppliers["review_period_days"].to_numpy().astype(np.int64)
        self._reliability = suppliers["reliability"].to_numpy()
        self._least_value = cents(suppliers["minimum_order_value"])
        weekdays = [_weekdays(text) for text in suppliers["delivery_weekdays"]]
        self._wait = np.stack([_days_between(days, ahead=True) for days in weekdays])
        self._since = np.stack([_days_between(days, ahead=False) for days in weekdays])
        #: Which deliveries come on one truck: those of one supplier to one store.
        self._truck = goods.store * suppliers.height + goods.supplier
        self._trucks = cluster.stores * suppliers.height

        plans, covers = [], []
        for store in cluster.store_numbers:
            rng = stream(scenario.seed, Purpose.PLANS, store)
            plans.append(np.exp(_PLAN_SPREAD * rng.normal(size=cluster.products)))
            covers.append(rng.uniform(*_OPENING_COVER, size=cluster.products))
        #: What the buyer expects to sell a day before there is a history.
        self.plan = goods.base * np.concatenate(plans)
        #: What a store begins with.
        self.opening = np.maximum(np.ceil(np.concatenate(covers) * self.target_days * self.plan), 1).astype(np.int64)

    def expected_rate(self, state: StockState, day: int) -> Floats:
        """Return the trailing mean of what was sold a day, by series; the plan stands in for days without history."""
        known = np.clip(day - self._goods.starts + 1, 0, TRAILING_DAYS)
        return np.asarray((state.sold_lately + (TRAILING_DAYS - known) * self.plan) / TRAILING_DAYS)

    def order(self, state: StockState, day: int) -> Orders:
        """Order for series whose supplier takes orders today, and put the orders on their way.

        Below the trigger's days of the trailing mean of what was sold, order up to the target's, in whole packs. A
        series without anything on hand or on order gets its least order even where the mean is zero, or it would never
        sell again. What is about to be discontinued is not ordered.
        """
        goods = self._goods
        rate = self.expected_rate(state, day)
        position = state.on_hand + state.on_order
        today = (self._first_ordinal + day + np.arange(self._review.size)) % self._review == 0
        every = np.arange(self._review.size)
        promised = self._delivery_day(day, np.rint(self._lead_mean).astype(np.int64), every)[goods.supplier]
        may = today[goods.supplier] & (goods.starts <= day) & (promised < goods.ends)
        low = (position < self.trigger_days * rate) | (position <= 0)
        wanted = self.target_days * rate - position
        packs = np.where(may & low, np.maximum(np.ceil(wanted / goods.pack), goods.minimum_packs), 0).astype(np.int64)
        self._fill_trucks(packs, may, wanted, position, rate)
        series = np.flatnonzero(packs)
        quantity = packs[series] * goods.pack[series]
        number = place_in_run(goods.store[series])
        arrives, delivered, settled = self._deliveries(day, series, packs[series])
        state.on_order[series] += quantity
        ordered = np.full(series.size, day, dtype=np.int64)
        state.in_transit = state.in_transit.followed_by(
            InTransit(series, ordered, number, quantity, delivered, settled)
        )
        return Orders(series, number, promised[series], arrives, quantity)

    def _fill_trucks(self, packs: Ints, may: Bools, wanted: Floats, position: Ints, rate: Floats) -> None:
        """Bring each truck to the supplier's least value, or send none. Changes `packs`.

        First, what isn't low yet but has room below its target comes along, least cover first. Where that isn't
        enough, the buyer waits, unless there is something of which nothing is on hand or on order: such a truck comes
        below the least value.
        """
        goods = self._goods
        value = packs * goods.pack * goods.cost
        loaded = np.bincount(self._truck, weights=value, minlength=self._trucks)
        least = np.tile(self._least_value, self._cluster.stores)
        short = (loaded > 0) & (loaded < least)
        if not short.any():
            return
        room = np.flatnonzero(short[self._truck] & may & (packs == 0) & (wanted >= goods.pack))
        cover = position[room] / rate[room]
        room = room[np.lexsort((cover, self._truck[room]))]
        extra = np.maximum(np.floor(wanted[room] / goods.pack[room]), goods.minimum_packs[room]).astype(np.int64)
        truck = self._truck[room]
        added = extra * goods.pack[room] * goods.cost[room]
        before = running_sum(truck, added) - added
        comes = before < (least - loaded)[truck]
        packs[room[comes]] = extra[comes]
        loaded += np.bincount(truck[comes], weights=added[comes], minlength=self._trucks)
        urgent = np.zeros(self._trucks, dtype=np.bool_)
        urgent[self._truck[(packs > 0) & (position <= 0)]] = True
        waits = (loaded < least) & ~urgent
        packs[waits[self._truck]] = 0

    def _deliveries(self, day: int, series: Ints, packs: Ints) -> tuple[Ints, Ints, Ints]:
        """Draw what comes of orders.

        Returns:
            The day on which each arrives (-1: never), the units that come, and the day on which the buyer knows.
        """
        rng = stream(self._seed, Purpose.ORDERS, self._cluster.number, day)
        goods = self._goods
        supplier = goods.supplier[series]
        mean, spread = self._lead_mean[supplier], np.maximum(self._lead_spread[supplier], 0.01)
        lead = np.rint(rng.gamma((mean / spread) ** 2, spread**2 / mean)).astype(np.int64)
        arrives = self._delivery_day(day, lead, supplier)
        in_full = rng.random(series.size) < self._reliability[supplier]
        share = np.where(in_full, 1.0, rng.random(series.size))
        delivered = np.floor(share * packs).astype(np.int64) * goods.pack[series]
        gone = (rng.random(series.size) < self._missed_share(arrives, series)) & (delivered > 0)
        # What is taken off the shelves for good is not accepted any more.
        delivered[gone | (arrives >= goods.ends[series])] = 0
        settled = np.where(gone, arrives + NOTICED_AFTER_DAYS, arrives)
        return np.where(delivered > 0, arrives, NONE), delivered, settled

    def _missed_share(self, arrives: Ints, series: Ints) -> Floats:
        share = np.zeros(series.size)
        block, place = np.divmod(arrives, BLOCK_DAYS)
        for number in np.unique(block):
            of_block = self._missed(int(number))
            if of_block is not None:
                rows = block == number
                share[rows] = of_block[place[rows], series[rows]]
        return share

    def _delivery_day(self, day: int, lead: Ints, supplier: Ints) -> Ints:
        """Return the supplier's day of delivery that is nearest to so many days after the order, the next day at least.

        The nearest rather than the next, so that the mean lead time stays what the supplier's terms say.
        """
        weekday = (self._first_ordinal + day + np.maximum(lead, 1) - 1) % _DAYS_PER_WEEK
        wait, since = self._wait[supplier, weekday], self._since[supplier, weekday]
        earlier = (since < wait) & (lead - since >= 1)
        return np.asarray(day + np.maximum(lead, 1) + np.where(earlier, -since, wait))


def _weekdays(text: str) -> set[int]:
    """Read weekdays, Monday is 0 as in Python, from ISO numbers such as `1,3,5`."""
    return {int(number) - 1 for number in text.split(",")}


def _days_between(weekdays: set[int], *, ahead: bool) -> npt.NDArray[np.int64]:
    """Return how many days it is from each weekday to the next, or from the last, of some weekdays."""
    sign = 1 if ahead else -1
    return np.array([min(sign * (day - today) % _DAYS_PER_WEEK for day in weekdays) for today in range(_DAYS_PER_WEEK)])


def receive(state: StockState, day: int) -> InTransit:
    """Settle the orders that are due: take them off what is on order, and return those of which something comes."""
    due = state.in_transit.settled == day
    settled = state.in_transit.taken(due)
    state.in_transit = state.in_transit.taken(~due)
    np.subtract.at(state.on_order, settled.series, settled.quantity)
    arrived: InTransit = settled.taken(settled.delivered > 0)
    return arrived
