"""What customers want to buy: a mean for every series and day, and a draw around it.

Belongs here: uncensored demand, which nobody in a store ever sees. Does not belong here: what is sold of it
(`stock`). A series is one store and product; series are numbered store by store, in the order of the world's frames.

The log of the mean is a sum: the series' base, its trend and slow drift, what the day does to its subcategory
(`effects`), promotions (`promotion_effects`), launch and fade-out. The draw is negative binomial around it. Days are
counted from the scenario's first date and drawn in blocks, store by store; a block depends on nothing before it.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import polars as pl
from scipy.special import expit

from retail_assets.simulator.demand.anomalies import AnomalyPlan
from retail_assets.simulator.demand.effects import DayEffects
from retail_assets.simulator.demand.promotion_effects import PromotionEffects
from retail_assets.simulator.noise import drift
from retail_assets.simulator.randomness import BLOCK_DAYS, Purpose, stream
from retail_assets.simulator.runs import Floats, Int32s, Ints
from retail_assets.simulator.scenario import DAYS_PER_YEAR, DemandSettings, Scenario
from retail_assets.simulator.world.world import World

#: A series without an end: the day after its last lies beyond every scenario.
NEVER: Final = 2**31

_STORE_SPREAD: Final = 0.15
# A product that costs twice its subcategory's usual price sells 2 ** -0.4 of what it would.
_SHELF_PRICE_ELASTICITY: Final = 0.4
# What a slow seller sells hangs on few customers, who come and go: its level is high for some weeks and low for others.
# The drift of a series of mean 1 has this variance over squared mean; it falls with this power of the mean, and never
# exceeds the limit. It is what autocorrelation at a distance of weeks comes from.
_DRIFT: Final = 0.65
_DRIFT_POWER: Final = 0.75
_GREATEST_DRIFT: Final = 0.65
#: Width of the step between high and low, in standard deviations of the noise behind it.
_DRIFT_STEP: Final = 0.25
# Products have weeks of their own around the stores': bread on Saturdays, fish on Fridays. Spread in logs.
_WEEK_SPREAD: Final = 0.15
_LAUNCH_STARTS_AT: Final = 0.35
_LAUNCH_DAYS: Final = 20.0
_FADE_ENDS_AT: Final = 0.25
_FADE_DAYS: Final = 56
_WEEKDAYS: Final = 7
_ROUNDS_OF_BALANCING: Final = 5


@dataclass(frozen=True)
class StoreDemand:
    """Demand in one store over one block of days; arrays of BLOCK_DAYS x products.

    Attributes:
        units: what customers want, whole units; 0 before a series begins and after it ends.
        promotion: the row of `world.promotions` that applies; -1 where none does.
        mean: what `units` is a draw around.
    """

    units: Int32s
    promotion: Int32s
    mean: Floats


class DemandModel:
    """What customers want in every store on every day.

    Attributes:
        base: mean units per day before seasons, promotions and holidays, stores x products; what a buyer plans with.
        starts: the first day of each series, counted from the scenario's first date, stores x products.
        ends: the day after the last of each series, stores x products; `NEVER` where none is planned.
        anomalies: what goes wrong; the demand holds its spikes and drops.
    """

    def __init__(self, scenario: Scenario, world: World) -> None:
        """Draw what is fixed about every series.

        Args:
            scenario: what is asked for.
            world: `build_world(scenario)`.
        """
        self._scenario = scenario
        levels = stream(scenario.seed, Purpose.DEMAND_LEVELS)
        self.base = _base(scenario, world, levels)
        self._trend = scenario.demand.trend_spread * levels.normal(size=scenario.products)
        self._week = _own_weeks(scenario, self.base.sum(axis=0), levels)
        self._first_weekday = scenario.first_date.weekday()
        self.starts, self.ends = _lives(scenario, world)
        self.anomalies = AnomalyPlan(scenario, world, self.base, self.starts, self.ends)
        self._effects = DayEffects(scenario, world)
        places = {subcategory: place for place, subcategory in enumerate(self._effects.subcategories)}
        self._subcategory_of = np.array([places[s] for s in world.subcategories], dtype=np.int64)
        self._promotions = PromotionEffects(scenario, world, self.base, self._subcategory_of)
        self._log_base = np.log(self.base)
        self._drift = _Drift(scenario.demand, self.base)
        # Products that were on the shelves at the first date are as settled as they will be.
        self._launched = np.flatnonzero(self.starts.max(axis=0) > 0)
        self._ending = np.flatnonzero(self.ends.min(axis=0) < NEVER)

    def block(self, store: int, block: int) -> StoreDemand:
        """Draw one store's demand over one block of days.

        Args:
            store: place in `world.stores`.
            block: days `block * BLOCK_DAYS` to before `(block + 1) * BLOCK_DAYS`.
        """
        seed = self._scenario.seed
        days = block * BLOCK_DAYS + np.arange(BLOCK_DAYS)
        promotion, log_mean = self._promotions.block(store, block)
        log_mean += self._log_base[store]
        log_mean += self._effects.block(store, block)[:, self._subcategory_of]
        log_mean += np.outer(days / DAYS_PER_YEAR, self._trend)
        log_mean += self._week[(self._first_weekday + days) % _WEEKDAYS]
        self._add_lives(log_mean, store, days)
        mean = np.exp(log_mean)
        mean *= self._drift.factor(store, drift(seed, Purpose.DRIFT, store, block=block, width=self._trend.size))
        factor = self.anomalies.demand_factor(store, block)
        if factor is not None:
            mean *= factor
        sold = (days[:, None] >= self.starts[store]) & (days[:, None] < self.ends[store])
        mean *= sold
        units = _negative_binomial(mean, self._scenario.demand, stream(seed, Purpose.DEMAND_DRAWS, store, block))
        return StoreDemand(units=units, promotion=np.where(sold, promotion, -1).astype(np.int32), mean=mean)

    def _add_lives(self, log_mean: Floats, store: int, days: Ints) -> None:
        """Add the slow start of new products and the fading of those that are taken off."""
        new = self._launched
        age = np.maximum(days[:, None] - self.starts[store, new], 0)
        log_mean[:, new] += np.log1p(-(1.0 - _LAUNCH_STARTS_AT) * np.exp(-age / _LAUNCH_DAYS))
        old = self._ending
        left = np.clip((self.ends[store, old] - days[:, None]) / _FADE_DAYS, 0.0, 1.0)
        log_mean[:, old] += np.log(_FADE_ENDS_AT + (1.0 - _FADE_ENDS_AT) * left)


def _base(scenario: Scenario, world: World, rng: np.random.Generator) -> Floats:
    """Return each series' mean units per day, stores x products.

    Products get the quantiles of a lognormal rather than draws from it, so that a small catalogue has the same skew as
    a large one; which product gets which is drawn, with a pull of its subcategory and of its price beside others.
    """
    settings = scenario.demand
    pull = np.array([subcategory.pull for subcategory in world.subcategories])
    usual = world.products.select(
        pl.col("list_price").cast(pl.Float64).log()
        - pl.col("list_price").cast(pl.Float64).log().mean().over("subcategory")
    )
    score = 0.8 * pull - _SHELF_PRICE_ELASTICITY * usual.to_series().to_numpy() + rng.normal(size=scenario.products)
    rank = np.argsort(np.argsort(score, kind="stable"), kind="stable")
    normal = NormalDist()
    quantiles = np.array([normal.inv_cdf((place + 0.5) / scenario.products) for place in range(scenario.products)])
    products = settings.product_spread * quantiles[rank]
    volume = np.log([store_format.volume for store_format in world.formats])
    stores = volume + _STORE_SPREAD * rng.normal(size=scenario.stores)
    leanings = [dict(profile.leanings) for profile in world.profiles]
    departments = world.products["department"].to_list()
    liked = np.array([[leaning.get(department, 0.0) for department in departments] for leaning in leanings])
    series = settings.series_spread * rng.normal(size=(scenario.stores, scenario.products))
    base = np.exp(stores[:, None] + products[None, :] + liked + series)
    return np.asarray(base * (settings.mean_units_per_day / base.mean()), dtype=np.float64)


def _own_weeks(scenario: Scenario, weights: Floats, rng: np.random.Generator) -> Floats:
    """Return how each product's week differs from its store's, in logs, weekdays x products.

    Weighted with what the products sell, the differences cancel out on every weekday: the stores' week stays theirs.
    """
    factor = np.exp(scenario.demand.weekday * _WEEK_SPREAD * rng.normal(size=(_WEEKDAYS, scenario.products)))
    for _ in range(_ROUNDS_OF_BALANCING):
        factor /= (factor @ weights / weights.sum())[:, None]
        factor /= factor.mean(axis=0)
    return np.asarray(np.log(factor), dtype=np.float64)


def _lives(scenario: Scenario, world: World) -> tuple[Ints, Ints]:
    """Return the first day of each series and the day after its last; 0 for those older than the history."""
    first = scenario.first_date
    opened = np.array([max(0, (day - first).days) for day in world.stores["opened_on"]], dtype=np.int64)
    launched = np.array([max(0, (day - first).days) for day in world.products["launched_on"]], dtype=np.int64)
    last = world.products["discontinued_on"].to_list()
    ends = np.array([NEVER if day is None else (day - first).days + 1 for day in last], dtype=np.int64)
    return np.maximum.outer(opened, launched), np.tile(ends, (scenario.stores, 1))


class _Drift:
    """Turns slow noise into factors on the means of series, each with a mean of 1 over time.

    The factor is a smooth step of the noise: near 0 below a threshold, level above it. The threshold decides how much
    of the time a series is up, and thereby how much it varies.
    """

    def __init__(self, settings: DemandSettings, base: Floats) -> None:
        """Find the threshold of each series.

        Args:
            settings: how strong the drift is.
            base: mean units per day, stores x products.
        """
        self._still = settings.drift == 0.0
        wanted = settings.drift**2 * np.minimum(_DRIFT * base**-_DRIFT_POWER, _GREATEST_DRIFT)
        thresholds = np.linspace(-6.0, 3.0, 181)
        nodes, weights = np.polynomial.hermite_e.hermegauss(61)
        steps = expit((nodes[None, :] - thresholds[:, None]) / _DRIFT_STEP)
        means = steps @ weights / weights.sum()
        relative_variances = steps**2 @ weights / weights.sum() / means**2 - 1.0
        self._threshold = np.interp(wanted, relative_variances, thresholds)
        self._level = 1.0 / np.interp(self._threshold, thresholds, means)

    def factor(self, store: int, noise: Floats) -> Floats:
        """Return the factors on one store's means, as `noise`: days x products."""
        if self._still:
            return np.ones_like(noise)
        step = expit((noise - self._threshold[store]) / _DRIFT_STEP)
        return np.asarray(step * self._level[store], dtype=np.float64)


def _negative_binomial(mean: Floats, settings: DemandSettings, rng: np.random.Generator) -> Int32s:
    """Draw counts with the given means and a variance that follows Taylor's law; 0 where the mean is 0.

    As a Poisson draw around a gamma draw: with shape mean / excess and scale excess, the mean is `mean` and the
    variance mean * (1 + excess).
    """
    excess = settings.dispersion * np.maximum(mean, _LEAST_MEAN) ** settings.dispersion_power
    rate = rng.standard_gamma(mean / excess) * excess
    return rng.poisson(rate).astype(np.int32)


#: Keeps the dispersion of a series that isn't sold away from zero.
_LEAST_MEAN: Final = 1e-6
