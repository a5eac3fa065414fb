"""How customers shop: what they want becomes lines, baskets and minutes of the day.

Belongs here: everything between demand and the shelf. Does not belong here: whether the shelf has it (`ledger`).
Times are milliseconds since local midnight.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from retail_assets.simulator.world import World

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000
_HOURS: Final = 24

# A further unit of the same product goes into a new customer's basket with this probability, else into the same line.
_NEW_LINE_SHARE: Final = 0.7
# Lines per basket, 1 to 8. Real baskets are larger; a demo's short catalogue is a part of what a store carries.
_BASKET_SIZE_WEIGHTS: Final = (0.34, 0.24, 0.15, 0.10, 0.07, 0.05, 0.03, 0.02)

# Times of different kinds of basket differ in their last digits, so that no two baskets of a store fall together and
# the order of a store's movements is never in doubt.
TIME_STEP_MS: Final = 4
SALE_RESIDUE: Final = 0
RETURN_RESIDUE: Final = 1
VOID_RESIDUE: Final = 2


@dataclass(frozen=True)
class TradingHours:
    """When each store trades, by store.

    Attributes:
        opens: start of trade, milliseconds since local midnight.
        closes: end of trade, milliseconds since local midnight.
        arrivals: share of a day's trade up to the end of each hour, stores x 24.
        registers: how many tills.
    """

    opens: Ints
    closes: Ints
    arrivals: Floats
    registers: Ints

    @classmethod
    def of(cls, world: World) -> "TradingHours":
        """Read the hours of a world's stores."""
        weights = np.zeros((len(world.formats), _HOURS))
        for store, store_format in enumerate(world.formats):
            weights[store, store_format.opens_at_hour : store_format.closes_at_hour] = store_format.hour_weights
        return cls(
            opens=np.array([f.opens_at_hour for f in world.formats], dtype=np.int64) * HOUR_MS,
            closes=np.array([f.closes_at_hour for f in world.formats], dtype=np.int64) * HOUR_MS,
            arrivals=np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True),
            registers=np.array([f.registers for f in world.formats], dtype=np.int64),
        )

    def draw_hours(self, stores: Ints, rng: np.random.Generator) -> Ints:
        """Draw an hour of trade for each of `stores`, by the store's profile."""
        chance = rng.random(stores.size)
        return np.asarray((chance[:, None] >= self.arrivals[stores]).sum(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class Wishes:
    """What the customers of one day carry to the tills if the shelves have it.

    Attributes:
        basket: the basket of each line, ascending; a basket has a product once.
        series: what each line is of.
        quantity: units of each line.
        basket_store: the store of each basket.
        basket_at: when each basket is closed; unique within a store.
    """

    basket: Ints
    series: Ints
    quantity: Ints
    basket_store: Ints
    basket_at: Ints


def draw_wishes(units: npt.NDArray[np.int32], hours: TradingHours, rng: np.random.Generator) -> Wishes:
    """Split a day's demand into lines, and put lines of the same store and hour into baskets.

    Args:
        units: what is wanted, by series, numbered store by store.
        hours: when the stores trade.
        rng: the day's stream.
    """
    per_store = units.size // hours.opens.size
    wanted = np.repeat(np.arange(units.size), units)
    if wanted.size == 0:
        nothing = np.zeros(0, dtype=np.int64)
        return Wishes(nothing, nothing, nothing, nothing, nothing)
    opens_line = starts_of_runs(wanted) | (rng.random(wanted.size) < _NEW_LINE_SHARE)
    quantity = np.diff(np.append(np.flatnonzero(opens_line), wanted.size))
    series = wanted[opens_line]

    hour = hours.draw_hours(series // per_store, rng)
    together = (series // per_store) * _HOURS + hour
    # Whole part: the store and hour; fraction: random, so that a basket is a random handful of the hour's lines.
    order = np.argsort(together + rng.random(series.size), kind="stable")
    series, quantity, together = series[order], quantity[order], together[order]
    sizes = rng.choice(np.arange(1, len(_BASKET_SIZE_WEIGHTS) + 1), size=series.size, p=_BASKET_SIZE_WEIGHTS)
    opens_basket = starts_of_runs(together)
    cuts = np.cumsum(sizes)
    opens_basket[cuts[cuts < series.size]] = True
    basket = np.cumsum(opens_basket) - 1
    basket_store, basket_hour = np.divmod(together[opens_basket], _HOURS)
    at = basket_hour * HOUR_MS + rng.integers(0, HOUR_MS, size=basket_hour.size)

    # A product that came into a basket twice becomes one line.
    line, place = np.unique(basket * units.size + series, return_inverse=True)
    basket, series = np.divmod(line, units.size)
    quantity = np.bincount(place, weights=quantity).astype(np.int64)
    return Wishes(basket, series, quantity, basket_store, distinct_times(at, basket_store, SALE_RESIDUE))


def starts_of_runs(values: Ints) -> npt.NDArray[np.bool_]:
    """Mark where a run of equal values begins."""
    marks = np.ones(values.size, dtype=np.bool_)
    marks[1:] = values[1:] != values[:-1]
    return marks


def distinct_times(at: Ints, group: Ints, residue: int) -> Ints:
    """Return times that are unique within each group, each as near to the one asked for as order allows.

    Args:
        at: the times asked for.
        group: which times must differ from each other, counted from 0.
        residue: what the times leave when divided by `TIME_STEP_MS`.
    """
    if at.size == 0:
        return at
    order = np.lexsort((at, group))
    slot, groups = at[order] // TIME_STEP_MS, group[order]
    first = np.flatnonzero(starts_of_runs(groups))
    place = np.arange(at.size) - np.repeat(first, np.diff(np.append(first, at.size)))
    # slot[i] = max(slot[i], slot[i - 1] + 1) within each group, as a running maximum of slots less their place.
    apart = slot - place
    apart -= apart.min()
    offset = groups * (apart.max() + 1)
    slot = np.maximum.accumulate(apart + offset) - offset + place + (slot - place).min()
    times = np.empty_like(at)
    times[order] = slot * TIME_STEP_MS + residue
    return times
