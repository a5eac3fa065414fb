"""The error model: coverage, spread, what survives writing it down."""

from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.contracts.tables import QUANTILES
from retail_assets.domain.errors import (
    DEFAULT_CORRELATION,
    DEFAULT_ERROR_MODEL,
    ErrorModel,
    add_quantiles,
    fit_error_model,
)


def negative_binomial(rows: int, seed: int, low: float = 2.0, high: float = 60.0, spread: float = 0.3) -> pl.DataFrame:
    """Forecasts that are right on average, of demand with variance mean + spread · mean²."""
    random = np.random.default_rng(seed)
    mean = np.exp(random.uniform(np.log(low), np.log(high), rows))
    actual = random.poisson(mean * random.gamma(1 / spread, spread, rows))
    return pl.DataFrame({"mean": mean, "actual": actual.astype(float)})


def test_quantiles_cover_held_out_demand_as_often_as_they_say():
    model = fit_error_model(negative_binomial(20_000, 1))
    held_out = add_quantiles(negative_binomial(20_000, 2), model)
    for name, level in QUANTILES.items():
        below = (held_out["actual"] <= held_out[name]).mean()
        strictly = (held_out["actual"] < held_out[name]).mean()
        # Demand is whole units, so a quantile of 0 or near it covers more than its level.
        assert isinstance(below, float)
        assert isinstance(strictly, float)
        assert strictly - 0.015 <= level <= below + 0.015, name
        if level >= 0.25:
            assert below == pytest.approx(level, abs=0.03), name


def test_coverage_holds_for_small_and_for_great_levels_alike():
    model = fit_error_model(negative_binomial(20_000, 3))
    held_out = add_quantiles(negative_binomial(20_000, 4), model)
    for low, high in ((2, 5), (5, 15), (15, 60)):
        part = held_out.filter(pl.col("mean").is_between(low, high))
        inside = part.select((pl.col("actual").is_between("q05", "q95")).mean()).item()
        assert inside == pytest.approx(0.9, abs=0.05)


def test_slow_sellers_are_never_covered_less_than_the_level_says():
    model = fit_error_model(negative_binomial(20_000, 5, 0.05, 1.0))
    held_out = add_quantiles(negative_binomial(20_000, 6, 0.05, 1.0), model)
    for name, level in QUANTILES.items():
        share = held_out.select((pl.col("actual") <= pl.col(name)).mean()).item()
        assert share >= level - 0.02, name


def test_the_spread_of_errors_is_learnt_as_a_power_of_the_level():
    model = fit_error_model(negative_binomial(40_000, 7, low=5, high=200))
    for mean in (8.0, 30.0, 120.0):
        assert model.sd(mean) == pytest.approx(np.sqrt(mean + 0.3 * mean**2), rel=0.2)


@settings(max_examples=30, deadline=None)
@given(
    means=st.lists(st.floats(0, 1e4, allow_nan=False), min_size=1, max_size=20),
    seed=st.integers(0, 100),
    rows=st.sampled_from([1, 2, 30, 3000]),
)
def test_quantiles_never_cross_and_are_never_negative(means: list[float], seed: int, rows: int):
    frame = add_quantiles(pl.DataFrame({"mean": means}), fit_error_model(negative_binomial(rows, seed, 0.1, 50)))
    values = frame.select(*QUANTILES).to_numpy()
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert (np.diff(values, axis=1) >= 0).all()
    assert frame["mean"].to_list() == means


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(0, 2000))
def test_a_model_survives_being_written_down(seed: int, rows: int):
    model = fit_error_model(negative_binomial(rows, seed))
    assert ErrorModel.from_json(model.to_json()) == model


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"levels": []}', DEFAULT_ERROR_MODEL.to_json().replace("0.025", "0.03")]
)
def test_what_is_no_error_model_is_refused(text: str):
    with pytest.raises(ValueError, match="error model"):
        ErrorModel.from_json(text)


def test_without_a_backtest_the_default_stands():
    unknown = pl.DataFrame({"mean": [1.0, None], "actual": [None, 2.0]})
    assert fit_error_model(pl.DataFrame()) == DEFAULT_ERROR_MODEL
    assert fit_error_model(unknown) == DEFAULT_ERROR_MODEL


def test_a_null_mean_has_null_quantiles():
    frame = add_quantiles(pl.DataFrame({"mean": [None, 4.0]}), DEFAULT_ERROR_MODEL)
    assert frame["q95"].is_null().to_list() == [True, False]
    assert add_quantiles(pl.DataFrame(schema={"mean": pl.Float64}), DEFAULT_ERROR_MODEL).width == 1 + len(QUANTILES)


def test_forecasts_that_were_all_perfect_or_all_alike_give_a_model():
    for actual in ([5.0] * 1000, [4.0, 6.0] * 500):
        model = fit_error_model(pl.DataFrame({"mean": [5.0] * 1000, "actual": actual}))
        assert model.sd(5.0) == pytest.approx(np.std(actual), abs=0.01)


def test_errors_that_last_all_week_are_found_to_be_correlated():
    random = np.random.default_rng(8)
    series, days = 4000, 7
    shared, own = random.normal(0, 1, (series, 1)), random.normal(0, 1, (series, days))
    for weight in (0.0, 0.4):
        error = np.sqrt(weight) * shared + np.sqrt(1 - weight) * own
        frame = pl.DataFrame(
            {
                "store_id": "S1",
                "product_id": np.repeat([f"P{n}" for n in range(series)], days),
                "run_date": date(2024, 1, 1),
                "mean": 100.0,
                "actual": 100.0 + 5 * error.ravel(),
            }
        )
        assert fit_error_model(frame).correlation == pytest.approx(weight, abs=0.03)
        assert fit_error_model(frame.drop("run_date")).correlation == DEFAULT_CORRELATION
