"""What the statistics of retail should be, and whose data say so.

Belongs here: ranges, published figures and their sources. Does not belong here: how a figure is counted
(`statistics`), and how it is shown (`report`).
"""

from dataclasses import dataclass
from typing import Final

from retail_assets.simulator.realism.statistics import CLASSES, LAGS, Statistics

_M5: Final = "M5 (Walmart)"
_M5_BETTER: Final = "M5, better sellers, 5 years"
_NOT_PUBLISHED: Final = "asked for by this project alone"
_CLASS_SHARES: Final = {"intermittent": 0.44, "lumpy": 0.19, "erratic": 0.19, "smooth": 0.18}
_CLASS_ROOM: Final = 0.12
_WEEKDAY_NAMES: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WEEKDAY_INDEX: Final = (0.92, 0.88, 0.88, 0.90, 1.03, 1.23, 1.16)
_WEEKDAY_ROOM: Final = 0.08
_AUTOCORRELATION: Final = {1: 0.27, 7: 0.23, 28: 0.18}
_AUTOCORRELATION_ROOM: Final = 0.1


@dataclass(frozen=True)
class Figure:
    """One figure beside what it should be.

    Attributes:
        name: where it is found in the JSON, with dots.
        label: what people call it.
        measured: what the lake's data give; None where they can't tell.
        least: the least that is asked for.
        greatest: the greatest; None where there is no limit.
        published: what real retailers' data gave.
        source: whose data.
        percent: whether it is a share, and shown as per cent.
    """

    name: str
    label: str
    measured: float | None
    least: float
    greatest: float | None
    published: str
    source: str
    percent: bool = False

    @property
    def inside(self) -> bool | None:
        """Whether it lies where it should; None where it isn't known."""
        if self.measured is None:
            return None
        return self.least <= self.measured and (self.greatest is None or self.measured <= self.greatest)


def figures_of_sales(statistics: Statistics) -> list[Figure]:
    """Return the figures of what was sold."""
    shares = statistics.class_shares or {}
    index = statistics.weekday_index
    return [
        Figure("zero_share", "days without a sale", statistics.zero_share, 0.4, 0.6, "48-55 %", _M5, percent=True),
        *(
            Figure(
                f"class_shares.{name}",
                f"{name} series",
                shares.get(name),
                _CLASS_SHARES[name] - _CLASS_ROOM,
                _CLASS_SHARES[name] + _CLASS_ROOM,
                f"{_CLASS_SHARES[name] * 100:.0f} %",
                _M5_BETTER,
                percent=True,
            )
            for name in CLASSES
        ),
        Figure("taylor_exponent", "Taylor exponent", statistics.taylor_exponent, 1.15, 1.4, "1.23-1.29", _M5),
        Figure(
            "variance_to_mean_median",
            "variance to mean, median",
            statistics.variance_to_mean_median,
            2.0,
            3.5,
            "2.7",
            _M5,
        ),
        *(
            Figure(
                f"weekday_index.{place}",
                f"{name} over the mean",
                None if index is None else index[place],
                _WEEKDAY_INDEX[place] - _WEEKDAY_ROOM,
                _WEEKDAY_INDEX[place] + _WEEKDAY_ROOM,
                f"{_WEEKDAY_INDEX[place]:.2f}",
                _M5,
            )
            for place, name in enumerate(_WEEKDAY_NAMES)
        ),
        Figure(
            "top20_share",
            "units of the top 20 % of series",
            statistics.top20_share,
            0.6,
            0.75,
            "67 %",
            _M5,
            percent=True,
        ),
        *(
            Figure(
                f"autocorrelation.{lag}",
                f"autocorrelation, {lag} day{'s' if lag > 1 else ''}",
                statistics.autocorrelation[lag],
                _AUTOCORRELATION[lag] - _AUTOCORRELATION_ROOM,
                _AUTOCORRELATION[lag] + _AUTOCORRELATION_ROOM,
                f"{_AUTOCORRELATION[lag]:.2f}",
                _M5,
            )
            for lag in LAGS
        ),
        Figure(
            "promotion_lift_median",
            "promotion lift, median",
            statistics.promotion_lift_median,
            2.0,
            6.0,
            "about 5",
            "Italian grocer (Mancuso 2021)",
        ),
    ]


def figures_of_stock(statistics: Statistics, rise: float | None) -> list[Figure]:
    """Return the figures of what lay on the shelves.

    Args:
        statistics: of the same data.
        rise: share of empty shelves when trade ends, over that when it begins.
    """
    return [
        Figure(
            "stockout_series_days_share",
            "series-days with an empty shelf",
            statistics.stockout_series_days_share,
            0.05,
            0.12,
            "-",
            _NOT_PUBLISHED,
            percent=True,
        ),
        Figure(
            "stockout_time_share",
            "hours of trade with an empty shelf",
            statistics.stockout_time_share,
            0.04,
            0.12,
            "8.3 %",
            "worldwide, at a moment (Gruen 2002)",
            percent=True,
        ),
        Figure(
            "stockout_rise",
            "empty at closing over opening",
            rise,
            1.0,
            None,
            "-",
            _NOT_PUBLISHED,
        ),
    ]
