"""Demand from sales and hours without stock."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.domain.demand import MAX_SCALE, uncensored_demand


def demand(units: float | None, stockout: float | None, hours: float | None) -> float | None:
    frame = pl.DataFrame(
        {"u": [units], "s": [stockout], "o": [hours]}, schema={"u": pl.Decimal(12, 3), "s": pl.Float64, "o": pl.Float64}
    )
    value: float | None = frame.select(uncensored_demand("u", "s", "o")).item()
    return value


@pytest.mark.parametrize(
    ("units", "stockout", "hours", "wanted"),
    [
        (6, 0, 12, 6.0),
        (6, 4, 12, 9.0),
        (6, 11, 12, 6.0 * MAX_SCALE),
        (-3, 0, 12, 0.0),
        (0, 3, 12, 0.0),
        (6, 0, 0, 6.0),
        (6, None, 12, 6.0),
        (6, 3, None, 6.0),
    ],
)
def test_demand_is_sales_scaled_up_to_the_whole_day_within_a_cap(
    units: float, stockout: float | None, hours: float | None, wanted: float
):
    assert demand(units, stockout, hours) == pytest.approx(wanted)


@pytest.mark.parametrize("stockout", [7, 12, 13])
def test_a_day_almost_or_wholly_without_stock_on_which_nothing_sold_tells_nothing(stockout: float):
    assert demand(0, stockout, 12) is None
    assert demand(-1, stockout, 12) is None


def test_sales_against_books_without_stock_show_that_the_books_are_wrong():
    assert demand(4, 12, 12) == 4.0


def test_unknown_sales_are_unknown_demand():
    assert demand(None, 0, 12) is None


@settings(max_examples=100, deadline=None)
@given(units=st.integers(-50, 50), stockout=st.floats(0, 24, allow_nan=False), hours=st.floats(0, 24, allow_nan=False))
def test_known_demand_is_never_below_sales_nor_below_zero_nor_beyond_the_cap(units: int, stockout: float, hours: float):
    value = demand(units, stockout, hours)
    if value is not None:
        assert max(units, 0) - 1e-9 <= value <= max(units, 0) * MAX_SCALE + 1e-9


def test_corrected_demand_is_nearer_to_the_truth_than_sales_when_shelves_run_out():
    random = np.random.default_rng(7)
    mean, stock, days = 10.0, 9, 4000
    units, stockout = [], []
    for _ in range(days):
        buyers = np.sort(random.random(random.poisson(mean)))
        units.append(min(len(buyers), stock))
        stockout.append(12.0 * (1.0 - buyers[stock - 1]) if len(buyers) >= stock else 0.0)
    frame = pl.DataFrame({"u": units, "s": stockout, "o": 12.0})
    corrected = frame.select(uncensored_demand("u", "s", "o")).to_series().mean()
    assert isinstance(corrected, float)
    assert abs(corrected - mean) < 0.5 * abs(float(np.mean(units)) - mean)
