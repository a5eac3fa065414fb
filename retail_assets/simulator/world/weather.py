"""The weather at every store: temperature and rain, day by day.

Belongs here: making weather up. Does not belong here: what customers make of it (`demand`). Stores of one region have
the same weather but for little; the weather of a day depends on the scenario's seed and first date alone.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from statistics import NormalDist
from typing import Final

import numpy as np
import polars as pl

from retail_assets.contracts.tables import REFERENCE_WEATHER
from retail_assets.contracts.types import polars_schema
from retail_assets.simulator.noise import autoregression
from retail_assets.simulator.randomness import BLOCK_DAYS, Purpose
from retail_assets.simulator.runs import Floats, Ints
from retail_assets.simulator.scenario import DAYS_PER_YEAR, Scenario
from retail_assets.simulator.world.catalogue import REGIONS

_WARMEST: Final = 200  # day of the year, mid-July
_TEMPERATURE_PERSISTENCE: Final = 0.75
_TEMPERATURE_SPREAD: Final = 3.4  # degrees around the season's normal
_LOCAL_SPREAD: Final = 0.6  # degrees between the stores of a region
_RAIN_PERSISTENCE: Final = 0.35
_RAIN_MM: Final = 6.0  # for each unit that the latent variable lies above its threshold


@dataclass(frozen=True)
class WeatherBlock:
    """The weather of one block of days; arrays of BLOCK_DAYS x stores.

    Attributes:
        celsius: mean temperature of the day.
        unusual: degrees above the season's normal.
        rain_mm: rain of the day.
    """

    celsius: Floats
    unusual: Floats
    rain_mm: Floats


class Weather:
    """The weather of a scenario."""

    def __init__(self, scenario: Scenario, regions: Ints) -> None:
        """Look up the climate of the stores.

        Args:
            scenario: seed and first date.
            regions: place of each store's region in `REGIONS`.
        """
        self._scenario = scenario
        self._regions = regions
        self._mean = np.array([region.mean_celsius for region in REGIONS])[regions]
        self._swing = np.array([region.swing_celsius for region in REGIONS])[regions]
        normal = NormalDist()
        thresholds = [normal.inv_cdf(1.0 - region.rainy_days) for region in REGIONS]
        self._threshold = np.array(thresholds)[regions]

    def block(self, block: int) -> WeatherBlock:
        """Return the weather of one block of days, to the tenth of a degree and of a millimetre."""
        first = self._scenario.first_date + timedelta(days=block * BLOCK_DAYS)
        seed = self._scenario.seed
        warm, wet = (
            autoregression(seed, Purpose.WEATHER, kind, block=block, width=len(REGIONS), persistence=persistence)
            for kind, persistence in enumerate((_TEMPERATURE_PERSISTENCE, _RAIN_PERSISTENCE))
        )
        local = autoregression(seed, Purpose.WEATHER, 2, block=block, width=self._regions.size, persistence=0.0)
        unusual = _TEMPERATURE_SPREAD * warm[:, self._regions] + _LOCAL_SPREAD * local
        normal = self._mean + np.outer(_season([first + timedelta(days=day) for day in range(BLOCK_DAYS)]), self._swing)
        above = np.maximum(wet[:, self._regions] - self._threshold, 0.0)
        return WeatherBlock(
            celsius=np.round(normal + unusual, 1), unusual=unusual, rain_mm=np.round(_RAIN_MM * above, 1)
        )

    def table(self, store_ids: pl.Series) -> pl.DataFrame:
        """Return `reference/weather`, to the last date."""
        days, stores = self._scenario.days, store_ids.len()
        blocks = [self.block(number) for number in range(-(-days // BLOCK_DAYS))]

        def by_store(name: str) -> Floats:
            whole = np.concatenate([getattr(block, name) for block in blocks])
            return np.asarray(whole[:days].T.ravel(), dtype=np.float64)

        return pl.DataFrame(
            {
                "store_id": store_ids.gather(np.repeat(np.arange(stores), days)),
                "date": pl.Series(self._scenario.dates, dtype=pl.Date).gather(np.tile(np.arange(days), stores)),
                "mean_celsius": by_store("celsius"),
                "rain_mm": by_store("rain_mm"),
            }
        ).cast(polars_schema(REFERENCE_WEATHER.columns))


def _season(dates: list[date]) -> Floats:
    """Return how far along the year's swing each day is: 1 on the warmest, -1 on the coldest."""
    place = np.array([(day.timetuple().tm_yday - _WARMEST) / DAYS_PER_YEAR for day in dates])
    return np.asarray(np.cos(2.0 * np.pi * place), dtype=np.float64)
