"""How far forecasts were off, as two figures, and the grains at which they are told.

Belongs here: WAPE, bias, and what a grain is. Does not belong here: judging whole sets of forecasts (`judgement`), and
the distribution of errors (`errors`).

Accuracy has no meaning without its grain. The same forecasts err by half of demand per product, store and day, and by
a tenth per category, store and week, because errors of single products cancel out.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

#: Grains of judgement and what identifies a series at each; from fine to coarse.
GRAINS: Final[dict[str, tuple[str, str]]] = {
    "product_store_day": ("store_id", "product_id"),
    "product_store_week": ("store_id", "product_id"),
    "category_store_week": ("store_id", "category"),
}


def _pair(
    actual: pl.Series | npt.ArrayLike, forecast: pl.Series | npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    left, right = (
        (values.cast(pl.Float64).to_numpy() if isinstance(values, pl.Series) else np.asarray(values, dtype=np.float64))
        for values in (actual, forecast)
    )
    if left.shape != right.shape:
        raise ValueError(f"{left.shape} actual values, {right.shape} forecasts")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError("an accuracy over values that are not known means nothing: leave those rows out first")
    return left, right


def wape(actual: pl.Series | npt.ArrayLike, forecast: pl.Series | npt.ArrayLike) -> float:
    """Return the weighted absolute percentage error: sum of absolute errors over sum of actual demand.

    A share, not per cent: 0.2 is 20 %. "Accuracy" is 1 less this. It depends on the grain: say the grain with it.

    Args:
        actual: demand, units.
        forecast: the same days and series, units.

    Returns:
        The share; NaN where nothing was demanded in all, since no error can be put in relation to it.

    Raises:
        ValueError: different lengths, or a value that is null, NaN or infinite.
    """
    left, right = _pair(actual, forecast)
    total = float(np.abs(left).sum())
    return float(np.abs(left - right).sum()) / total if total > 0 else math.nan


def bias(actual: pl.Series | npt.ArrayLike, forecast: pl.Series | npt.ArrayLike) -> float:
    """Return the sum of forecast less actual over the sum of actual demand: positive where too much is forecast.

    Args:
        actual: demand, units.
        forecast: the same days and series, units.

    Returns:
        The share; NaN where nothing was demanded in all.

    Raises:
        ValueError: different lengths, or a value that is null, NaN or infinite.
    """
    left, right = _pair(actual, forecast)
    total = float(np.abs(left).sum())
    return float((right - left).sum()) / total if total > 0 else math.nan


def categories_of(products: pl.DataFrame) -> pl.DataFrame:
    """Return product_id and category, one row per product."""
    return products.select("product_id", "category").unique("product_id", keep="first", maintain_order=True)
