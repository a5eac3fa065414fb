"""What moves the demand for a whole subcategory on a day: season, pay-day, weekday, holidays, weather, shocks.

Belongs here: effects that all products of a subcategory in a store have in common, as logs of factors on mean demand.
Does not belong here: a product's own level, price and promotions (`demand`, `promotion_effects`).
"""

from calendar import monthrange
from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

import numpy as np

from retail_assets.simulator.noise import autoregression
from retail_assets.simulator.randomness import BLOCK_DAYS, Purpose
from retail_assets.simulator.runs import Floats, Ints
from retail_assets.simulator.scenario import DAYS_PER_YEAR, Scenario
from retail_assets.simulator.world.assortment import Subcategory
from retail_assets.simulator.world.weather import WeatherBlock
from retail_assets.simulator.world.world import World, public_holidays

#: What customers want from Monday to Sunday, before it is normalised to a mean of one. More of it is lost late in the
#: week, when shelves are emptier, than at its beginning.
WEEKDAY_INDEX: Final = (0.91, 0.87, 0.87, 0.89, 1.03, 1.24, 1.20)

_MIDSUMMER: Final = 196  # day of the year of the season's peak, mid-July
_DAYS_BEFORE_HOLIDAY: Final = (1.3, 1.1)  # the day before, and two days before
_ADVENT_PEAK: Final = (12, 20)
_ADVENT_SPREAD_DAYS: Final = 10.0
_RAINY_FROM_MM: Final = 1.0
_UNUSUAL_DEGREES: Final = 5.0
# Spread, in logs, and persistence from day to day of the shocks that are common to a store, to a category in a store,
# and to a category in all stores.
_STORE_SHOCK: Final = (0.05, 0.6)
_CATEGORY_SHOCK: Final = (0.08, 0.7)
_CHAIN_SHOCK: Final = (0.06, 0.75)


class DayEffects:
    """The effects of days on the subcategories of each store."""

    def __init__(self, scenario: Scenario, world: World) -> None:
        """Look up what stores and subcategories are like.

        Args:
            scenario: how strong each effect is.
            world: its stores and products.
        """
        self._scenario = scenario
        self._strength = scenario.demand
        #: The subcategories in the order of the columns of `block`.
        self.subcategories: tuple[Subcategory, ...] = tuple(dict.fromkeys(world.subcategories))
        categories = list(dict.fromkeys((s.department, s.category) for s in self.subcategories))
        self._category_of = np.array([categories.index((s.department, s.category)) for s in self.subcategories])
        self._categories = len(categories)
        self._week = np.array([f.week * p.week for f, p in zip(world.formats, world.profiles, strict=True)])
        self._pay_day = np.array([profile.pay_day for profile in world.profiles])
        self._on_holidays = np.log([store_format.on_holidays for store_format in world.formats])
        self._heat, self._rain = (np.array([getattr(s, name) for s in self.subcategories]) for name in ("heat", "rain"))
        # All stores ask for the same block, one after another.
        self._common = lru_cache(maxsize=4)(self._draw_common)
        self._weather: Callable[[int], WeatherBlock] = lru_cache(maxsize=4)(world.climate.block)

    def block(self, store: int, block: int) -> Floats:
        """Return the effects in one store, in logs, BLOCK_DAYS x subcategories."""
        by_subcategory, pay_day, holiday, weekday = self._common(block)
        strength = self._strength
        week = np.exp(strength.weekday * self._week[store] * np.log(WEEKDAY_INDEX))
        by_day = np.log(week / week.mean())[weekday]
        by_day = by_day + strength.pay_day * self._pay_day[store] * pay_day
        by_day += strength.holidays * self._on_holidays[store] * holiday
        return np.asarray(
            by_subcategory + by_day[:, None] + self._of_weather(store, block) + self._of_shocks(store, block),
            dtype=np.float64,
        )

    def _of_weather(self, store: int, block: int) -> Floats:
        weather = self._weather(block)
        unusual = np.clip(weather.unusual[:, store] / _UNUSUAL_DEGREES, -2.0, 2.0)
        rainy = weather.rain_mm[:, store] >= _RAINY_FROM_MM
        effect = np.outer(unusual, self._heat) + np.outer(rainy, self._rain)
        return np.asarray(self._strength.weather * effect, dtype=np.float64)

    def _of_shocks(self, store: int, block: int) -> Floats:
        seed = self._scenario.seed
        (store_spread, store_memory), (spread, memory) = _STORE_SHOCK, _CATEGORY_SHOCK
        of_store = autoregression(seed, Purpose.SHOCKS, 0, store, block=block, width=1, persistence=store_memory)
        own = autoregression(seed, Purpose.SHOCKS, 1, store, block=block, width=self._categories, persistence=memory)
        shock = store_spread * of_store + spread * own[:, self._category_of]
        return np.asarray(self._strength.shocks * shock, dtype=np.float64)

    def _draw_common(self, block: int) -> tuple[Floats, Floats, Floats, Ints]:
        """Return what is the same in all stores: effects by subcategory, pay-day, holidays, weekdays."""
        first = self._scenario.first_date + timedelta(days=block * BLOCK_DAYS)
        dates = [first + timedelta(days=day) for day in range(BLOCK_DAYS)]
        strength = self._strength
        season, advent, holiday = (
            np.array([getattr(s, name) for s in self.subcategories]) for name in ("season", "advent", "holiday")
        )
        spread, memory = _CHAIN_SHOCK
        chain = autoregression(
            self._scenario.seed, Purpose.SHOCKS, 2, block=block, width=self._categories, persistence=memory
        )
        closed, before = _holidays(dates)
        effect = strength.season * (np.outer(_year(dates), season) + np.outer(_advent(dates), advent))
        effect += strength.holidays * (before[:, None] + np.outer(before > 0, holiday))
        effect += strength.shocks * spread * chain[:, self._category_of]
        weekday = np.array([day.weekday() for day in dates], dtype=np.int64)
        return effect, _month(dates), closed, weekday


def _year(dates: list[date]) -> Floats:
    """Return the place in the yearly season: 1 at midsummer, -1 at midwinter."""
    phase = np.array([(day.timetuple().tm_yday - _MIDSUMMER) / DAYS_PER_YEAR for day in dates])
    return np.asarray(np.cos(2.0 * np.pi * phase), dtype=np.float64)


def _month(dates: list[date]) -> Floats:
    """Return the place in the month of pay: 1 at the turn of the month, -1 in its middle."""
    phase = np.array([(day.day - 1) / monthrange(day.year, day.month)[1] for day in dates])
    return np.asarray(np.cos(2.0 * np.pi * phase), dtype=np.float64)


def _advent(dates: list[date]) -> Floats:
    """Return how near Christmas is, 0 to 1; nothing of it is left after the holidays."""
    month, day_of_month = _ADVENT_PEAK
    distance = np.array([(day - date(day.year, month, day_of_month)).days for day in dates])
    bell = np.exp(-((distance / _ADVENT_SPREAD_DAYS) ** 2) / 2.0)
    return np.asarray(np.where(distance <= 4, bell, 0.0), dtype=np.float64)  # noqa: PLR2004 - 24 December


def _holidays(dates: list[date]) -> tuple[Floats, Floats]:
    """Return 1 on public holidays, else 0; and the effect of the days before them, in logs."""
    off = public_holidays(dates[0], dates[-1] + timedelta(days=len(_DAYS_BEFORE_HOLIDAY)))
    closed = np.array([float(day in off) for day in dates])
    before = np.zeros(len(dates))
    for distance, factor in reversed(list(enumerate(_DAYS_BEFORE_HOLIDAY, 1))):
        soon = np.array([day not in off and day + timedelta(days=distance) in off for day in dates])
        before[soon] = np.log(factor)
    return closed, before
