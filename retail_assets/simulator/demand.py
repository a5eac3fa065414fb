"""What customers want to buy: a mean for every series and day, and a draw around it.

Belongs here: uncensored demand, which nobody in a store ever sees. Does not belong here: what is sold of it
(`ledger`). A series is one store and product; series are numbered store by store, in the order of the world's frames.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from retail_assets.simulator.randomness import Purpose, stream
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.world import World, public_holidays

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Monday to Sunday, before it is normalised to a mean of one.
WEEKDAY_INDEX: Final = (0.92, 0.88, 0.88, 0.90, 1.03, 1.23, 1.16)
#: Mean of the demand of all series before promotions and holidays, which add about a tenth.
MEAN_UNITS_PER_DAY: Final = 2.75

# The spread of the logs of the series' means. The share of the top 20 % of a lognormal is Phi(sigma - 0.84): two thirds
# where sigma is 1.27. Store formats, products and their interaction add up to about that.
_PRODUCT_SPREAD: Final = 1.1
_STORE_SPREAD: Final = 0.15
_SERIES_SPREAD: Final = 0.4
_TREND_SPREAD: Final = 0.12
# Variance over mean of one day's draw is 1 + _DISPERSION * mean ** _DISPERSION_POWER: Taylor's law with an exponent
# of about 1.2, as in daily retail demand.
_DISPERSION: Final = 0.75
_DISPERSION_POWER: Final = 0.25
_LIFT_LEAST: Final = 2.0
_LIFT_GREATEST: Final = 5.0
_LIFT_PER_DISCOUNT: Final = 9.0
_LIFT_SPREAD: Final = 0.15
_BEFORE_HOLIDAY: Final = 1.35
_ON_HOLIDAY: Final = 0.6
_MIDSUMMER: Final = 196  # day of the year of the season's peak, mid-July
_DAYS_PER_YEAR: Final = 365.25


@dataclass(frozen=True)
class Demand:
    """Demand of all series on all days.

    Attributes:
        units: what customers want, whole units, days x series; 0 before a series begins.
        base: a series' mean per day before season, promotions and holidays, by series; what a buyer would plan with.
        starts: the day on which a series begins, counted from the scenario's first, by series.
        promotion: the row of `world.promotions` that applies, days x series; -1 where none does.
    """

    units: npt.NDArray[np.int32]
    base: Floats
    starts: Ints
    promotion: npt.NDArray[np.int32]


def draw_demand(scenario: Scenario, world: World) -> Demand:
    """Draw the demand of every series and day.

    The log of the mean is a sum of store, product, series, trend, season, weekday, holiday and promotion; the draw is
    negative binomial around it.
    """
    levels = stream(scenario.seed, Purpose.DEMAND_LEVELS)
    base = _base(scenario, world, levels)
    dates = scenario.dates
    promotion = _promotion_rows(scenario, world)
    starts = _starts(scenario, world)
    day_effect = np.log(_weekday_index(dates)) + np.log(_holiday_index(dates))
    product_effect = _product_effects(scenario, world, levels)
    lift = np.append(_log_lifts(world, levels), 0.0)  # the last one is what the row -1 finds
    units = np.zeros((scenario.days, base.size), dtype=np.int32)
    log_base = np.log(base)
    for day in range(scenario.days):
        mean = np.exp(log_base + day_effect[day] + np.tile(product_effect[day], scenario.stores) + lift[promotion[day]])
        drawn = _negative_binomial(mean, stream(scenario.seed, Purpose.DEMAND_DRAWS, day))
        units[day] = np.where(starts <= day, drawn, 0)
    return Demand(units=units, base=base, starts=starts, promotion=promotion)


def truth_frame(scenario: Scenario, world: World, demand: Demand) -> pl.DataFrame:
    """Return uncensored demand: one row per series and day since it began, with whole units as `demand`."""
    days, series = np.nonzero(np.arange(scenario.days)[:, None] >= demand.starts[None, :])
    stores, products = np.divmod(series, scenario.products)
    return pl.DataFrame(
        {
            "store_id": world.stores["store_id"].gather(stores),
            "product_id": world.products["product_id"].gather(products),
            "business_date": pl.Series(scenario.dates, dtype=pl.Date).gather(days),
            "demand": demand.units[days, series],
        }
    )


def _base(scenario: Scenario, world: World, rng: np.random.Generator) -> Floats:
    """Return each series' mean units per day.

    Products get the quantiles of a lognormal rather than draws from it, so that a small catalogue has the same skew as
    a large one; which product gets which is drawn, with a pull of its subcategory.
    """
    pull = np.array([subcategory.pull for subcategory in world.subcategories])
    rank = np.argsort(np.argsort(pull * 0.8 + rng.normal(size=scenario.products), kind="stable"), kind="stable")
    normal = NormalDist()
    quantiles = np.array([normal.inv_cdf((place + 0.5) / scenario.products) for place in range(scenario.products)])
    products = _PRODUCT_SPREAD * quantiles[rank]
    volume = np.log([store_format.volume for store_format in world.formats])
    stores = volume + _STORE_SPREAD * rng.normal(size=scenario.stores)
    series = _SERIES_SPREAD * rng.normal(size=(scenario.stores, scenario.products))
    base = np.exp(stores[:, None] + products[None, :] + series).ravel()
    return np.asarray(base * (MEAN_UNITS_PER_DAY / base.mean()), dtype=np.float64)


def _starts(scenario: Scenario, world: World) -> Ints:
    """Return the day on which each series begins; 0 for those older than the history."""
    launched = [max(0, (day - scenario.first_date).days) for day in world.products["launched_on"].to_list()]
    opened = [max(0, (day - scenario.first_date).days) for day in world.stores["opened_on"].to_list()]
    return np.maximum.outer(np.array(opened, dtype=np.int64), np.array(launched, dtype=np.int64)).ravel()


def _weekday_index(dates: list[date]) -> Floats:
    index = np.array(WEEKDAY_INDEX) / np.mean(WEEKDAY_INDEX)
    return np.asarray(index[[day.weekday() for day in dates]], dtype=np.float64)


def _holiday_index(dates: list[date]) -> Floats:
    """Return more on the day before a public holiday, less on the holiday itself."""
    off = public_holidays(dates[0], dates[-1] + timedelta(days=1))
    return np.array(
        [_ON_HOLIDAY if day in off else _BEFORE_HOLIDAY if day + timedelta(days=1) in off else 1.0 for day in dates]
    )


def _product_effects(scenario: Scenario, world: World, rng: np.random.Generator) -> Floats:
    """Return trend and yearly season in logs, days x products."""
    trend_per_year = _TREND_SPREAD * rng.normal(size=scenario.products)
    amplitude = np.array([subcategory.season for subcategory in world.subcategories])
    years = np.arange(scenario.days) / _DAYS_PER_YEAR
    phase = np.array([(day.timetuple().tm_yday - _MIDSUMMER) / _DAYS_PER_YEAR for day in scenario.dates])
    trend = np.outer(years - years.mean(), trend_per_year)
    return np.asarray(trend + np.outer(np.cos(2 * np.pi * phase), amplitude), dtype=np.float64)


def _promotion_rows(scenario: Scenario, world: World) -> npt.NDArray[np.int32]:
    """Return the row of `world.promotions` that applies, days x series; -1 where none does."""
    rows = np.full((scenario.days, scenario.stores * scenario.products), -1, dtype=np.int32)
    store_numbers = {store_id: number for number, store_id in enumerate(world.stores["store_id"])}
    product_numbers = {product_id: number for number, product_id in enumerate(world.products["product_id"])}
    columns = world.promotions.select("store_id", "product_id", "starts_on", "ends_on")
    for row, (store_id, product_id, starts_on, ends_on) in enumerate(columns.iter_rows()):
        first = max(0, (starts_on - scenario.first_date).days)
        after = max(0, (ends_on - scenario.first_date).days + 1)
        rows[first:after, store_numbers[store_id] * scenario.products + product_numbers[product_id]] = row
    return rows


def _log_lifts(world: World, rng: np.random.Generator) -> Floats:
    """Return what each promotion does to the mean, in logs: two to five times, more for a deeper discount."""
    discount = world.promotions["discount_share"].to_numpy()
    noise = np.exp(_LIFT_SPREAD * rng.normal(size=discount.size))
    lift = (_LIFT_LEAST + _LIFT_PER_DISCOUNT * (discount - 0.1)) * noise
    return np.asarray(np.log(np.clip(lift, _LIFT_LEAST, _LIFT_GREATEST)), dtype=np.float64)


def _negative_binomial(mean: Floats, rng: np.random.Generator) -> Ints:
    """Draw counts with the given means and a variance that follows Taylor's law.

    As a Poisson draw around a gamma draw: with shape mean / excess and scale excess, the mean is `mean` and the
    variance mean * (1 + excess).
    """
    excess = _DISPERSION * mean**_DISPERSION_POWER
    return np.asarray(rng.poisson(rng.gamma(mean / excess, excess)), dtype=np.int64)
