"""How far forecasts are off: an error model fitted on a backtest, and the quantiles that follow from it.

Belongs here: the distribution of forecast errors, whatever made the forecasts. Does not belong here: making them
(`forecasting`), and deciding on stock with them (`inventory_policy`).
"""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import ndtri

from retail_assets.contracts.tables import QUANTILES
from retail_assets.domain.frames import SERIES

FloatArray = npt.NDArray[np.float64]

#: A forecast of next to nothing still errs by something; below this mean the error is taken as at this mean.
MEAN_FLOOR: Final = 0.01
#: Allowance where a backtest can not tell how alike the errors of two days of one forecast are.
DEFAULT_CORRELATION: Final = 0.2

_MAX_CORRELATION: Final = 0.95
_MIN_BIN_ROWS: Final = 400
_MAX_BINS: Final = 12
#: Demand varies between a fixed amount (0) and a fixed share (2) of its mean; beyond lies a fit to noise.
_POWER_RANGE: Final = (0.5, 2.0)
_MIN_VARIANCE: Final = 1e-6
#: Bins without a spread of means can not tell a power; Poisson's is the neutral one.
_POISSON_POWER: Final = 1.0
_MIN_LOG_SPREAD: Final = 0.5
_MIN_POINTS: Final = 2
_MEDIAN: Final = 0.5


@dataclass(frozen=True)
class ErrorModel:
    """The error of a forecast as a function of its level.

    Attributes:
        variance_scale: `a` in: error variance = a · mean^b, in units².
        variance_power: `b`; 1 for Poisson demand, 2 where the error is a share of the mean.
        upper_means: upper end of each bin of forecast levels but the last, ascending, in units.
        residual_quantiles: for each bin, the quantiles of (actual - mean) / sd(mean) at the levels of
            `contracts.tables.QUANTILES`, in their order.
        correlation: of the errors of two days of the same series and origin.
        rows: how many forecasts it was learnt from; 0 for the default.
    """

    variance_scale: float
    variance_power: float
    upper_means: tuple[float, ...]
    residual_quantiles: tuple[tuple[float, ...], ...]
    correlation: float
    rows: int

    def sd(self, mean: npt.ArrayLike) -> FloatArray:
        """Return the standard deviation of the error of daily forecasts, in units, one for each mean."""
        level = np.maximum(np.asarray(mean, dtype=np.float64), MEAN_FLOOR)
        return np.sqrt(self.variance_scale * level**self.variance_power)

    def bin_of(self, mean: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the number of the bin that each mean falls into."""
        return np.searchsorted(np.asarray(self.upper_means), np.asarray(mean, dtype=np.float64), side="left")

    def to_json(self) -> str:
        """Return the model as text that `from_json` reads back without loss."""
        return json.dumps({**asdict(self), "levels": list(QUANTILES.values())}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "ErrorModel":
        """Read a model.

        Raises:
            ValueError: the text is of other quantile levels than the contract's, or no error model at all.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            levels = fields.pop("levels")
            fields["upper_means"] = tuple(fields["upper_means"])
            fields["residual_quantiles"] = tuple(tuple(levels_) for levels_ in fields["residual_quantiles"])
            model = cls(**fields)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"not an error model: {error}") from error
        if levels != list(QUANTILES.values()):
            raise ValueError(f"error model of levels {levels}, the contract has {list(QUANTILES.values())}")
        return model


#: For the day before there is a backtest: errors of Poisson demand around a forecast that is right on average.
DEFAULT_ERROR_MODEL: Final = ErrorModel(
    variance_scale=1.0,
    variance_power=_POISSON_POWER,
    upper_means=(),
    residual_quantiles=(tuple(float(ndtri(level)) for level in QUANTILES.values()),),
    correlation=DEFAULT_CORRELATION,
    rows=0,
)


def _fit_variance(mean: FloatArray, squared_error: FloatArray, bins: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return a and b of: variance = a · mean^b.

    Least squares of log mean squared error on log mean over the bins (Taylor's law), weighted by rows.
    """
    count = np.bincount(bins).astype(np.float64)
    used = count > 0
    level = np.bincount(bins, weights=mean)[used] / count[used]
    variance = np.maximum(np.bincount(bins, weights=squared_error)[used] / count[used], _MIN_VARIANCE)
    x, y, weight = np.log(np.maximum(level, MEAN_FLOOR)), np.log(variance), count[used]
    power = _POISSON_POWER
    if len(x) >= _MIN_POINTS and np.ptp(x) >= _MIN_LOG_SPREAD:
        centred = x - np.average(x, weights=weight)
        power = float(np.sum(weight * centred * y) / np.sum(weight * centred**2))
        power = min(max(power, _POWER_RANGE[0]), _POWER_RANGE[1])
    intercept = float(np.average(y - power * x, weights=weight))
    return math.exp(intercept), power


def _conformal_quantiles(residuals: FloatArray) -> tuple[float, ...]:
    """Return quantiles of residuals, each a step outwards for the finite sample.

    With n past residuals the next one lies below the k-th smallest with probability k / (n + 1), if it is of the same
    kind (split conformal prediction; Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World").
    """
    ordered = np.sort(residuals)
    count = len(ordered)
    result = []
    for level in QUANTILES.values():
        if level == _MEDIAN:
            result.append(float(np.median(ordered)))
            continue
        rank = (count + 1) * level
        position = math.ceil(rank) if level > _MEDIAN else math.floor(rank)
        result.append(float(ordered[min(max(position, 1), count) - 1]))
    return tuple(result)


def _correlation(backtest: pl.DataFrame, residuals: FloatArray) -> float:
    """Return the mean correlation of the errors of two days of one forecast.

    Of the k normalised residuals r of one series and origin, (Σr)² - Σr² is the sum of r_i·r_j over all ordered
    pairs; over the same count of mean squares it is the correlation. Around zero on purpose, not around their mean:
    a forecast that is too low all week is exactly what makes the days' errors add up.
    """
    keys = [*SERIES, "run_date"]
    if not set(keys) <= set(backtest.columns):
        return DEFAULT_CORRELATION
    r = pl.col("residual")
    sums = (
        backtest.select(keys)
        .with_columns(residual=pl.Series(residuals))
        .group_by(keys)
        .agg(total=r.sum(), squares=(r**2).sum(), days=pl.len().cast(pl.Float64))
        .select(
            pairs=(pl.col("total") ** 2 - pl.col("squares")).sum(),
            alone=((pl.col("days") - 1) * pl.col("squares")).sum(),
        )
    )
    pairs, alone = sums.row(0)
    return min(max(pairs / alone, 0.0), _MAX_CORRELATION) if alone > 0 else DEFAULT_CORRELATION


def fit_error_model(backtest: pl.DataFrame) -> ErrorModel:
    """Learn the error of forecasts from a backtest.

    Forecast levels are cut into bins of equal rows; within each, errors are divided by sd(mean) and their quantiles
    kept: how skewed errors are depends on the level, slow sellers above all. One variance function for all bins pools
    what single slow sellers are too few to tell. The horizon plays no part: over seven days daily errors grow little.

    Args:
        backtest: forecasts of days whose demand is now known: mean, actual (units); rows where either is unknown are
            left out. With store_id, product_id and run_date as well, the correlation of the days of one forecast is
            learnt; without, it is `DEFAULT_CORRELATION`. One row per series, origin and horizon.

    Returns:
        The model; `DEFAULT_ERROR_MODEL` if no row is left.
    """
    if backtest.width == 0:
        return DEFAULT_ERROR_MODEL
    known = backtest.with_columns(pl.col("mean", "actual").cast(pl.Float64).fill_nan(None)).drop_nulls(
        ["mean", "actual"]
    )
    if known.is_empty():
        return DEFAULT_ERROR_MODEL
    mean = known["mean"].clip(lower_bound=0.0).to_numpy()
    error = known["actual"].to_numpy() - mean
    wanted = min(max(len(mean) // _MIN_BIN_ROWS, 1), _MAX_BINS)
    edges = np.unique(np.quantile(mean, np.arange(1, wanted) / wanted)) if wanted > 1 else np.empty(0)
    # All means at the greatest edge would leave the last bin empty.
    edges = edges[edges < mean.max()]
    bins = np.searchsorted(edges, mean, side="left")
    scale, power = _fit_variance(mean, error**2, bins)
    model = ErrorModel(scale, power, tuple(edges.tolist()), (), DEFAULT_CORRELATION, len(mean))
    residuals = error / model.sd(mean)
    order = np.argsort(bins, kind="stable")
    parts = np.split(residuals[order], np.cumsum(np.bincount(bins, minlength=len(edges) + 1))[:-1])
    return ErrorModel(
        variance_scale=scale,
        variance_power=power,
        upper_means=model.upper_means,
        residual_quantiles=tuple(_conformal_quantiles(part) for part in parts),
        correlation=_correlation(known, residuals),
        rows=len(mean),
    )


def add_quantiles(forecasts: pl.DataFrame, error_model: ErrorModel) -> pl.DataFrame:
    """Return `forecasts` with a column for each quantile of demand.

    Args:
        forecasts: has `mean`, units per day; null gives null quantiles.
        error_model: from `fit_error_model`.

    Returns:
        The same rows in the same order, with q025 … q975 in units: never negative, never crossing.
    """
    mean = forecasts["mean"].cast(pl.Float64).to_numpy()
    table = np.asarray(error_model.residual_quantiles)
    values = mean[:, None] + error_model.sd(mean)[:, None] * table[error_model.bin_of(mean)]
    values = np.maximum.accumulate(np.maximum(values, 0.0), axis=1)
    return forecasts.with_columns(
        pl.Series(name, values[:, number], dtype=pl.Float64).fill_nan(None) for number, name in enumerate(QUANTILES)
    )
