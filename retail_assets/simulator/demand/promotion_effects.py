"""What promotions do to demand: the lift, the dip after it, and what neighbours lose.

Belongs here: effects of promotions on mean demand, in logs. Does not belong here: the plan (`promotions`).
"""

from functools import lru_cache
from typing import Final

import numpy as np

from retail_assets.simulator.randomness import BLOCK_DAYS, Purpose, stream
from retail_assets.simulator.runs import Floats, Int32s, Ints
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.world.world import World

_NONE: Final = -1
_WEEK: Final = 7
# Factors on demand beside what the lower price does: the leaflet, and a display in the store.
_LEAFLET: Final = 1.5
_DISPLAY: Final = 1.35
_LIFT_SPREAD: Final = 0.15
_ELASTICITY_SPREAD: Final = 0.15
# A promotion draws most when it is new: factors on the lift's log from its first day to its last.
_FRESHNESS: Final = (1.25, 1.15, 1.05, 0.95, 0.9, 0.85, 0.85)
# On the day after a promotion this share of the lift's log turns against demand; it fades with this many days.
_DIP_SHARE: Final = 0.28
_DIP_SHARE_FRESH: Final = 0.08
_DIP_FADES_DAYS: Final = 5.0
_DIP_DAYS: Final = 14
# Share of a promotion's extra units that the neighbours in its subcategory lose, and the most they lose.
_TAKEN_FROM_NEIGHBOURS: Final = 0.35
_MOST_TAKEN: Final = 0.5


class PromotionEffects:
    """The effects of promotions in each store."""

    def __init__(self, scenario: Scenario, world: World, base: Floats, subcategory_of: Ints) -> None:
        """Look up what promotions and products are like.

        Args:
            scenario: how strong the effects are.
            world: its promotions and products.
            base: mean units per day, stores x products.
            subcategory_of: a number for each product's subcategory, counted from 0.
        """
        self._scenario = scenario
        self._index = world.promotion_index
        self._base = base
        self._subcategory_of = subcategory_of
        self._subcategories = int(subcategory_of.max()) + 1
        self._monday = -scenario.first_date.weekday()
        rng = stream(scenario.seed, Purpose.ELASTICITIES)
        spread = np.exp(_ELASTICITY_SPREAD * rng.normal(size=subcategory_of.size))
        self._elasticity = np.array([s.elasticity for s in world.subcategories]) * spread
        self._price_sense = np.array([profile.price for profile in world.profiles])
        fresh = np.array([s.fresh for s in world.subcategories])
        self._dip_share = np.where(fresh, _DIP_SHARE_FRESH, _DIP_SHARE) * scenario.demand.after_dip
        discount = world.promotions["discount_share"].to_numpy()
        display = world.promotions["on_display"].to_numpy()
        self._log_price = np.log1p(-np.minimum(discount, 0.95))
        self._log_shown = np.log(_LEAFLET) + np.log(_DISPLAY) * display
        self._noise = lru_cache(maxsize=16)(self._draw_noise)

    def block(self, store: int, block: int) -> tuple[Int32s, Floats]:
        """Return the promotions of one store in one block of days.

        Returns:
            The row of `world.promotions` that applies, -1 where none does, and the effect of all promotions in logs;
            both BLOCK_DAYS x products.
        """
        shape = (BLOCK_DAYS, self._subcategory_of.size)
        promotion = np.full(shape, _NONE, dtype=np.int32)
        effect = np.zeros(shape)
        first = block * BLOCK_DAYS
        rows = self._index.rows(store, first - _DIP_DAYS, first + BLOCK_DAYS)
        if rows.size == 0:
            return promotion, effect
        product = self._index.product[rows]
        lift = self._log_lifts(store, rows, product)
        day = self._index.start[rows][:, None] - first + np.arange(_WEEK + _DIP_DAYS)
        product = np.broadcast_to(product[:, None], day.shape)
        faded = np.exp(-np.arange(_DIP_DAYS) / _DIP_FADES_DAYS)
        dip = -(self._dip_share[product[:, 0]] * lift)[:, None] * faded
        size = np.concatenate([lift[:, None] * np.array(_FRESHNESS), dip], axis=1)
        within = (day >= 0) & (day < BLOCK_DAYS)
        np.add.at(effect, (day[within], product[within]), size[within])

        running = within.copy()
        running[:, _WEEK:] = False
        promotion[day[running], product[running]] = np.broadcast_to(rows[:, None], day.shape)[running]
        taken = self._taken(store, day[running], product[running], size[running])
        effect += np.where(promotion == _NONE, taken[:, self._subcategory_of], 0.0)
        return promotion, effect

    def _log_lifts(self, store: int, rows: Ints, product: Ints) -> Floats:
        week = (self._index.start[rows] - self._monday) // _WEEK
        noise = np.empty(rows.size)
        for number in np.unique(week):
            some = week == number
            noise[some] = self._noise(int(number))[product[some]]
        elasticity = self._elasticity[product] * self._price_sense[store]
        lift = -elasticity * self._log_price[rows] + self._log_shown[rows] + _LIFT_SPREAD * noise
        return np.asarray(self._scenario.demand.price * lift, dtype=np.float64)

    def _draw_noise(self, week: int) -> Floats:
        """Return by how much a week's promotion of each product is better than usual, in standard deviations."""
        return stream(self._scenario.seed, Purpose.LIFTS, week).standard_normal(self._subcategory_of.size)

    def _taken(self, store: int, day: Ints, product: Ints, lift: Floats) -> Floats:
        """Return the effect on products that are not on promotion themselves, BLOCK_DAYS x subcategories, in logs."""
        base = self._base[store]
        extra = np.bincount(
            day * self._subcategories + self._subcategory_of[product],
            weights=base[product] * np.expm1(lift),
            minlength=BLOCK_DAYS * self._subcategories,
        ).reshape(BLOCK_DAYS, self._subcategories)
        usual = np.bincount(self._subcategory_of, weights=base, minlength=self._subcategories)
        share = self._scenario.demand.cannibalisation * _TAKEN_FROM_NEIGHBOURS * extra / usual
        return np.asarray(np.log1p(-np.clip(share, 0.0, _MOST_TAKEN)), dtype=np.float64)
