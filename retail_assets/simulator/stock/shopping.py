"""How customers shop: what they want becomes lines, baskets and minutes of the day.

Belongs here: everything between demand and the shelf. Does not belong here: whether the shelf has it (`trade`).
Times are milliseconds since local midnight. All of a block's days are drawn at once: none of it depends on stock.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from retail_assets.simulator.clusters import Cluster
from retail_assets.simulator.runs import (
    Bools,
    Floats,
    Int8s,
    Int32s,
    Ints,
    Whole,
    place_in_run,
    run_lengths,
    stable_order,
    starts_of_runs,
)
from retail_assets.simulator.scenario import StockSettings
from retail_assets.simulator.stock.daybook import AT_BITS, PAYMENT_METHODS
from retail_assets.simulator.world.world import World

HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000
HOURS: Final = 24

# A further unit of the same product goes into a new customer's basket with this probability, else into the same line.
_NEW_LINE_SHARE: Final = 0.7
# Lines per basket, 1 to 8. Real baskets are larger; a demo's short catalogue is a part of what a store carries.
_BASKET_SIZE_WEIGHTS: Final = (0.34, 0.24, 0.15, 0.10, 0.07, 0.05, 0.03, 0.02)
_PAYMENT_SHARES: Final = {"cash": 0.38, "card": 0.5, "mobile": 0.1, "voucher": 0.02}
_RETURN_WITHIN_DAYS: Final = 14

# Times of different kinds of basket differ in their last digits, so that no two baskets of a store fall together and
# the order of a store's movements is never in doubt.
TIME_STEP_MS: Final = 4
SALE_RESIDUE: Final = 0
RETURN_RESIDUE: Final = 1
VOID_RESIDUE: Final = 2

#: A draw from a short list is a look-up of one of so many equally likely places.
_PLACES: Final = 1 << 16


def _table(weights: tuple[float, ...] | Floats, dtype: type[np.integer] = np.uint8) -> npt.NDArray[np.uint8]:
    """Return which index each of the places stands for, so that indices come up by their weights."""
    shares = np.cumsum(weights) / np.sum(weights)
    return np.searchsorted(shares, (np.arange(_PLACES) + 0.5) / _PLACES, side="right").astype(dtype)


_BASKET_SIZES: Final = _table(_BASKET_SIZE_WEIGHTS) + 1
_PAYMENTS: Final = _table(tuple(_PAYMENT_SHARES[method] for method in PAYMENT_METHODS))


@dataclass(frozen=True)
class TradingHours:
    """When each store of a cluster trades, by store.

    Attributes:
        opens: start of trade, milliseconds since local midnight.
        closes: end of trade, milliseconds since local midnight.
        registers: how many tills.
        profile: which row of `hours` a store's customers follow.
        hours: the hour of each equally likely place, profiles x places.
    """

    opens: Ints
    closes: Ints
    registers: Ints
    profile: Ints
    hours: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, world: World, cluster: Cluster) -> "TradingHours":
        """Read the hours of a cluster's stores."""
        formats = [world.formats[store] for store in cluster.store_numbers]
        weights = np.zeros((len(formats), HOURS))
        for store, store_format in enumerate(formats):
            weights[store, store_format.opens_at_hour : store_format.closes_at_hour] = store_format.hour_weights
        profiles, profile = np.unique(weights, axis=0, return_inverse=True)
        return cls(
            opens=np.array([f.opens_at_hour for f in formats], dtype=np.int64) * HOUR_MS,
            closes=np.array([f.closes_at_hour for f in formats], dtype=np.int64) * HOUR_MS,
            registers=np.array([f.registers for f in formats], dtype=np.int64),
            profile=profile.ravel().astype(np.int64),
            hours=np.stack([_table(row) for row in profiles]),
        )

    def draw_hours(self, stores: Whole, rng: np.random.Generator) -> Ints:
        """Draw an hour of trade for each of `stores`, by the store's profile."""
        return self.hours[self.profile[stores], _draw_places(stores.size, rng)].astype(np.int64)


@dataclass(frozen=True)
class Wishes:
    """What the customers of some days carry to the tills if the shelves have it.

    Lines are sorted by basket and series, baskets by day, store and time. A basket has a product once.

    Attributes:
        basket: the basket of each line.
        series: what each line is of.
        quantity: units of each line; 0 where no till answers.
        takes_substitute: whether the customer of each line takes something else where the shelf is empty.
        back_line: lines that are brought back, if their goods keep; ascending.
        back_after: days until then.
        back_share: which part of the line comes back, above 0 and up to 1.
        store: the store of each basket.
        at: when each basket is closed; unique within a day and store.
        register: the till of each basket, counted from 0; -1 where none answers.
        payment: index into `PAYMENT_METHODS`.
        regretted: whether the basket is voided a minute later.
        first_line: first line of each day, and one more.
        first_basket: first basket of each day, and one more.
    """

    basket: Int32s
    series: Int32s
    quantity: Int32s
    takes_substitute: Bools
    back_line: Ints
    back_after: Ints
    back_share: Floats
    store: Int32s
    at: Ints
    register: Int32s
    payment: Int8s
    regretted: Bools
    first_line: Ints
    first_basket: Ints


def draw_wishes(
    units: npt.NDArray[np.int32], hours: TradingHours, habits: StockSettings, rng: np.random.Generator
) -> Wishes:
    """Split demand into lines, and put lines of the same day, store and hour into baskets.

    Args:
        units: what is wanted, days x series, series numbered store by store.
        hours: when the stores trade.
        habits: how often customers take a substitute, bring goods back, or change their mind at the till.
        rng: the block's stream.
    """
    days, stores = units.shape[0], hours.opens.size
    visit, series, quantity = _lines(units, stores, rng)
    group = visit * HOURS + hours.draw_hours(visit % stores, rng)
    # Shuffled first, so that a basket is a random handful of the hour's lines.
    shuffled = rng.permutation(group.size)
    order = shuffled[stable_order(group[shuffled], days * stores * HOURS)]
    together = group[order]
    opens = starts_of_runs(together)
    cuts = np.cumsum(_BASKET_SIZES[_draw_places(order.size, rng)], dtype=np.int64)
    opens[cuts[cuts < order.size]] = True
    basket = np.empty(order.size, dtype=np.int64)
    basket[order] = np.cumsum(opens) - 1

    basket_visit, hour = np.divmod(together[opens], HOURS)
    at = hour * HOUR_MS + rng.integers(0, HOUR_MS, size=hour.size)
    at = distinct_times(at, basket_visit, SALE_RESIDUE)
    in_time = np.argsort(basket_visit << AT_BITS | at)
    rank = np.empty(in_time.size, dtype=np.int64)
    rank[in_time] = np.arange(in_time.size)
    basket_visit, at = basket_visit[in_time], at[in_time]

    basket = rank[basket]
    # Lines lay by day and series before; a stable order keeps that within a basket.
    order = stable_order(basket, rank.size)
    basket, series, quantity = basket[order], series[order], quantity[order]
    # A product that came into a basket twice becomes one line.
    first = np.flatnonzero(starts_of_runs(basket) | starts_of_runs(series))
    if first.size:
        basket, series, quantity = basket[first], series[first], np.add.reduceat(quantity, first)

    back_line = np.flatnonzero(rng.random(basket.size, dtype=np.float32) < habits.returns)
    basket_day, store = np.divmod(basket_visit, stores)
    first_basket = np.searchsorted(basket_day, np.arange(days + 1))
    return Wishes(
        basket=basket.astype(np.int32),
        series=series.astype(np.int32),
        quantity=quantity.astype(np.int32),
        takes_substitute=rng.random(basket.size, dtype=np.float32) < habits.substitution,
        back_line=back_line,
        back_after=rng.integers(1, _RETURN_WITHIN_DAYS + 1, size=back_line.size),
        back_share=1.0 - rng.random(back_line.size),
        store=store.astype(np.int32),
        at=at,
        register=(rng.random(store.size) * hours.registers[store]).astype(np.int32),
        payment=_PAYMENTS[_draw_places(store.size, rng)].astype(np.int8),
        regretted=rng.random(store.size, dtype=np.float32) < habits.voids,
        first_line=np.searchsorted(basket, first_basket),
        first_basket=first_basket,
    )


def _lines(units: npt.NDArray[np.int32], stores: int, rng: np.random.Generator) -> tuple[Ints, Int32s, Ints]:
    """Split demand into lines, by day and series.

    Returns:
        The visit (day times stores plus store), the series and the quantity of each line.
    """
    series_count = units.shape[1]
    wanted = units.ravel()
    cell = np.repeat(np.arange(wanted.size, dtype=np.int32), wanted)
    opens = rng.random(cell.size, dtype=np.float32) < _NEW_LINE_SHARE
    opens[(np.cumsum(wanted, dtype=np.int64) - wanted)[wanted > 0]] = True
    first = np.flatnonzero(opens)
    quantity = run_lengths(first, cell.size)
    cell = cell[first]
    day, series = np.divmod(cell, np.int32(series_count))
    visit = day.astype(np.int64) * stores + (series // np.int32(series_count // stores)).astype(np.int64)
    return visit, series, quantity


def _draw_places(count: int, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    return rng.integers(0, _PLACES, size=count, dtype=np.uint16)


def distinct_times(at: Ints, group: Ints, residue: int) -> Ints:
    """Return times that are unique within each group, each as near to the one asked for as order allows.

    Args:
        at: the times asked for, milliseconds since midnight.
        group: which times must differ from each other, counted from 0.
        residue: what the times leave when divided by `TIME_STEP_MS`.
    """
    if at.size == 0:
        return at
    order = np.argsort(group << AT_BITS | at, kind="stable")
    slot, groups = at[order] // TIME_STEP_MS, group[order]
    place = place_in_run(groups)
    # slot[i] = max(slot[i], slot[i - 1] + 1) within each group, as a running maximum of slots less their place.
    apart = slot - place
    least = int(apart.min())
    offset = groups * (int(apart.max()) - least + 1)
    slot = np.maximum.accumulate(apart + offset) - offset + place
    times = np.empty_like(at)
    times[order] = slot * TIME_STEP_MS + residue
    return times
