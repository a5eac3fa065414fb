"""The statistics of daily sales, on frames whose answers are known beforehand."""

import math
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_assets.simulator.realism.statistics import (
    LAGS,
    SERIES,
    Statistics,
    added,
    class_shares,
    demand_class,
    series_statistics,
    summarise,
    taylor_exponent,
    top_share,
    weekday_index,
    weekday_totals,
)

MONDAY = date(2026, 1, 5)


def frame_of(
    units: list[float] | np.ndarray,
    *,
    product: str = "P1",
    store: str = "S1",
    promoted: set[int] = frozenset(),  # type: ignore[assignment]
    empty: set[int] = frozenset(),  # type: ignore[assignment]
    shelf_known: bool = True,
) -> pl.DataFrame:
    """Return one series' days from a Monday on; promoted and empty days by their place."""
    count = len(units)
    return pl.DataFrame(
        {
            "store_id": [store] * count,
            "product_id": [product] * count,
            "date": [MONDAY + timedelta(days=day) for day in range(count)],
            "units": np.asarray(units, dtype=np.float64),
            "on_promotion": [day in promoted for day in range(count)],
            "open_hours": [12.0] * count,
            "empty_hours": [3.0 * (day in empty) if shelf_known else None for day in range(count)],
            "stocked_out": [day in empty if shelf_known else None for day in range(count)],
        },
        schema={
            "store_id": pl.String,
            "product_id": pl.String,
            "date": pl.Date,
            "units": pl.Float64,
            "on_promotion": pl.Boolean,
            "open_hours": pl.Float64,
            "empty_hours": pl.Float64,
            "stocked_out": pl.Boolean,
        },
    )


def many(series: dict[str, np.ndarray]) -> pl.DataFrame:
    return pl.concat([frame_of(units, product=name) for name, units in series.items()])


def statistics_of(days: pl.DataFrame) -> Statistics:
    return summarise(series_statistics(days), weekday_totals(days))


def only(days: pl.DataFrame) -> dict[str, object]:
    """Return the statistics of the one series."""
    return series_statistics(days).row(0, named=True)


@pytest.fixture(scope="module")
def poisson() -> pl.DataFrame:
    rng = np.random.default_rng(1)
    return many({f"P{n:03d}": rng.poisson(mean, 1_000) for n, mean in enumerate(np.geomspace(0.1, 30, 80))})


def test_poisson_sales_vary_as_much_as_they_sell(poisson: pl.DataFrame) -> None:
    found = statistics_of(poisson)
    assert found.variance_to_mean_median == pytest.approx(1.0, abs=0.03)
    assert found.taylor_exponent == pytest.approx(1.0, abs=0.02)
    assert all(value == pytest.approx(0.0, abs=0.02) for value in found.autocorrelation.values())
    assert found.weekday_index == pytest.approx([1.0] * 7, abs=0.02)


def test_negative_binomial_sales_vary_by_their_own_law() -> None:
    rng = np.random.default_rng(2)
    # Variance 2.5 times the mean: a gamma of scale 1.5 behind a Poisson draw.
    series = {f"P{n}": rng.poisson(rng.gamma(m / 1.5, 1.5, 2_000)) for n, m in enumerate(np.geomspace(1, 30, 40))}
    found = statistics_of(many(series))
    assert found.variance_to_mean_median == pytest.approx(2.5, rel=0.05)
    assert found.taylor_exponent == pytest.approx(1.0, abs=0.05)


def test_the_taylor_exponent_is_the_slope_of_the_logs() -> None:
    mean = np.geomspace(0.2, 50, 30)
    series = pl.DataFrame({"mean": [*mean, 0.0, 3.0], "variance": [*(2.7 * mean**1.27), 0.0, 0.0]})
    assert taylor_exponent(series) == pytest.approx(1.27)
    assert taylor_exponent(series.head(1)) is None
    assert taylor_exponent(series.tail(2)) is None


def test_zero_share_counts_series_days() -> None:
    days = pl.concat([frame_of([0, 1, 0, 2, 0]), frame_of([3, 0, 0], product="P2")])
    assert statistics_of(days).zero_share == pytest.approx(5 / 8)


def test_adi_and_variation_are_those_of_days_with_a_sale() -> None:
    found = only(frame_of([0, 2, 0, 0, 4, 0, 6, 0]))
    assert found["adi"] == pytest.approx(8 / 3)
    assert found["size_cv2"] == pytest.approx(4 / 16)  # sizes 2, 4, 6: sample variance 4, mean 4
    assert found["demand_class"] == "intermittent"
    assert (found["sale_days"], found["days"], found["units"]) == (3, 8, 12.0)


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([1, 1, 1, 1], "smooth"),
        ([1, 9, 1, 9], "erratic"),
        ([1, 0, 1, 0], "intermittent"),
        ([1, 0, 9, 0, 1, 0, 9, 0], "lumpy"),
        ([0, 0, 5, 0], "intermittent"),
        ([0, 0, 0], None),
    ],
)
def test_a_series_has_the_class_of_its_sales(units: list[float], expected: str | None) -> None:
    assert only(frame_of(units))["demand_class"] == expected


@pytest.mark.parametrize(
    ("adi", "size_cv2", "expected"),
    [
        (1.32, 0.48, "intermittent"),
        (1.31, 0.49, "erratic"),
        (1.32, 0.49, "lumpy"),
        (1.31, 0.48, "smooth"),
        (None, 0.1, None),
    ],
)
def test_the_borders_belong_to_the_harder_class(adi: float | None, size_cv2: float, expected: str | None) -> None:
    frame = pl.DataFrame({"adi": [adi], "cv2": [size_cv2]}, schema={"adi": pl.Float64, "cv2": pl.Float64})
    assert frame.select(demand_class(pl.col("adi"), pl.col("cv2"))).item() == expected


def test_class_shares_leave_out_series_that_never_sold() -> None:
    series = pl.DataFrame({"demand_class": ["smooth", "lumpy", "smooth", None, "smooth"]})
    assert class_shares(series) == {"intermittent": 0.0, "lumpy": 0.25, "erratic": 0.0, "smooth": 0.75}
    assert class_shares(series.slice(3, 1)) is None


def test_autocorrelation_finds_what_an_autoregression_was_made_with() -> None:
    rng = np.random.default_rng(3)
    rows = {}
    for number in range(20):
        noise = rng.normal(size=3_000)
        values = np.empty_like(noise)
        values[0] = noise[0]
        for day in range(1, noise.size):
            values[day] = 0.8 * values[day - 1] + noise[day]
        rows[f"P{number}"] = values + 100
    found = statistics_of(many(rows)).autocorrelation
    assert found[1] == pytest.approx(0.8, abs=0.01)
    assert found[7] == pytest.approx(0.8**7, abs=0.02)
    assert found[28] == pytest.approx(0.8**28, abs=0.02)


def test_autocorrelation_is_the_textbooks_estimate() -> None:
    units = np.random.default_rng(4).poisson(3, 100).astype(float)
    found = only(frame_of(units))
    apart = units - units.mean()
    for lag in LAGS:
        assert found[f"acf_{lag}"] == pytest.approx(float(apart[lag:] @ apart[:-lag]) / float(apart @ apart))


def test_a_week_that_repeats_is_seen_at_its_own_lag() -> None:
    found = only(frame_of([1, 2, 3, 4, 5, 6, 7] * 60))
    assert found["acf_7"] == pytest.approx(1 - 1 / 60)
    assert found["acf_28"] == pytest.approx(1 - 4 / 60)


def test_each_series_counts_alike_and_short_or_constant_ones_not_at_all() -> None:
    long = frame_of([1.0, 2.0] * 40, product="P1")
    longer = frame_of([5.0, 900.0] * 400, product="P2")
    rest = [frame_of([1.0, 2.0] * 27, product="P3"), frame_of([4.0] * 80, product="P4")]
    found = statistics_of(pl.concat([long, longer, *rest])).autocorrelation
    assert found[1] == pytest.approx(-((1 - 1 / 80) + (1 - 1 / 800)) / 2)


def test_the_weekday_index_is_normalised_over_the_seven_days() -> None:
    week = [0.92, 0.88, 0.88, 0.90, 1.03, 1.23, 1.16]
    found = weekday_index(weekday_totals(frame_of([100 * value for value in week] * 4 + [92.0])))
    assert found == pytest.approx([value / 1.0 for value in week])
    assert found is not None
    assert np.mean(found) == pytest.approx(1.0)


def test_the_weekday_index_needs_all_seven_days_and_a_sale() -> None:
    assert weekday_index(weekday_totals(frame_of([1.0] * 6))) is None
    assert weekday_index(weekday_totals(frame_of([0.0] * 7))) is None


def test_the_top_fifth_is_rounded_up_to_whole_series() -> None:
    assert top_share(pl.Series([10.0, 1, 1, 1, 7])) == pytest.approx(10 / 20)
    assert top_share(pl.Series([10.0, 1, 1, 1, 6, 1])) == pytest.approx(16 / 20)
    # Three tenths of ten are three, though floats make other shares a little more than they are.
    assert top_share(pl.Series([5.0] * 10), 0.3) == pytest.approx(0.3)
    assert top_share(pl.Series([5.0] * 100), 0.07) == pytest.approx(0.07)
    assert top_share(pl.Series([0.0, 0.0])) is None


def test_the_lift_is_measured_against_the_same_weekdays() -> None:
    # Sundays sell five times as much. Three promoted weeks, each day tripled; compared with all days it would be less.
    week = np.array([1.0, 1, 1, 1, 1, 1, 5])
    units = np.tile(week, 10)
    sundays = {day for day in range(70) if day % 7 == 6 and day < 56}
    units[list(sundays)] *= 3
    found = only(frame_of(units, promoted=sundays))
    assert found["promotion_days"] == 8
    assert found["promotion_lift"] == pytest.approx(3.0)


def test_days_with_an_empty_shelf_count_on_neither_side_of_the_lift() -> None:
    units = np.full(70, 2.0)
    promoted = set(range(14, 28))
    units[list(promoted)] = 8.0
    empty = {14, 15, 16, 40, 41, 42}
    units[list(empty)] = 0.0
    found = only(frame_of(units, promoted=promoted, empty=empty))
    assert found["promotion_lift"] == pytest.approx(4.0)
    assert found["promotion_days"] == 11
    assert found["stockout_days"] == 6


def test_a_lift_needs_a_week_of_promotion_and_something_to_compare_with() -> None:
    units = [1.0] * 28
    assert only(frame_of(units, promoted=set(range(6))))["promotion_lift"] is None
    assert only(frame_of(units, promoted=set(range(7))))["promotion_lift"] == pytest.approx(1.0)
    assert only(frame_of(units, promoted=set(range(28))))["promotion_lift"] is None
    assert only(frame_of([3.0] * 7 + [0.0] * 21, promoted=set(range(7))))["promotion_lift"] is None


def test_the_median_lift_is_over_series() -> None:
    parts = []
    for number, lift in enumerate((1.5, 3.0, 100.0)):
        units = np.full(28, 2.0)
        units[:7] *= lift
        parts.append(frame_of(units, product=f"P{number}", promoted=set(range(7))))
    assert statistics_of(pl.concat(parts)).promotion_lift_median == pytest.approx(3.0)


def test_stockouts_are_counted_by_series_days_that_are_known() -> None:
    known = frame_of([1.0] * 10, empty={2, 3, 4})
    unknown = frame_of([1.0] * 90, product="P2", shelf_known=False)
    found = statistics_of(pl.concat([known, unknown]))
    assert found.stockout_series_days_share == pytest.approx(0.3)
    assert found.stockout_time_share == pytest.approx(3 * 3 / (10 * 12))
    assert statistics_of(unknown).stockout_series_days_share is None
    assert statistics_of(unknown).stockout_time_share is None


def test_no_days_give_no_figures() -> None:
    found = statistics_of(frame_of([]))
    assert found == Statistics(None, None, None, None, None, None, dict.fromkeys(LAGS), None, None, None)


retailers = st.lists(
    st.lists(st.integers(0, 12), min_size=1, max_size=80).filter(lambda units: sum(units) > 0), min_size=1, max_size=4
)


def retailer(series: list[list[int]]) -> pl.DataFrame:
    return pl.concat(
        [
            frame_of(
                [float(value) for value in units],
                product=f"P{number}",
                promoted={day for day in range(len(units)) if day % 28 < 7},
                empty={day for day in range(len(units)) if day % 11 == 3},
            )
            for number, units in enumerate(series)
        ]
    )


@settings(max_examples=40, deadline=None)
@given(series=retailers, seed=st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter(series: list[list[int]], seed: int) -> None:
    days = retailer(series)
    shuffled = days.sample(fraction=1.0, shuffle=True, seed=seed)
    assert_frame_equal(series_statistics(shuffled), series_statistics(days))
    assert_frame_equal(weekday_totals(shuffled), weekday_totals(days))


@settings(max_examples=40, deadline=None)
@given(series=retailers, factor=st.sampled_from([2.0, 10.0, 0.25]))
def test_selling_in_other_units_only_changes_variance_to_mean(series: list[list[int]], factor: float) -> None:
    days = retailer(series)
    before = statistics_of(days)
    after = statistics_of(days.with_columns(pl.col("units") * factor))
    assert after.zero_share == before.zero_share
    assert after.class_shares == before.class_shares
    assert after.stockout_series_days_share == before.stockout_series_days_share
    assert _same(after.taylor_exponent, before.taylor_exponent)
    assert _same(after.top20_share, before.top20_share)
    assert _same(after.promotion_lift_median, before.promotion_lift_median)
    assert all(_same(after.autocorrelation[lag], before.autocorrelation[lag]) for lag in LAGS)
    ratio = before.variance_to_mean_median
    assert _same(after.variance_to_mean_median, None if ratio is None else ratio * factor)


@settings(max_examples=40, deadline=None)
@given(series=retailers)
def test_figures_lie_within_what_they_can_be(series: list[list[int]]) -> None:
    table = series_statistics(retailer(series))
    found = summarise(table, weekday_totals(retailer(series)))
    assert table.height == len(series)
    assert found.class_shares is not None
    assert sum(found.class_shares.values()) == pytest.approx(1.0)
    assert (table["adi"] >= 1).all()
    assert all(table[f"acf_{lag}"].drop_nulls().is_between(-1.000001, 1.000001).all() for lag in LAGS)
    assert table["units"].sum() == sum(map(sum, series))


@settings(max_examples=30, deadline=None)
@given(series=retailers)
def test_stores_can_be_counted_one_by_one(series: list[list[int]]) -> None:
    days = retailer(series)
    parts = [days.filter(pl.col("product_id") == f"P{number}") for number in range(len(series))]
    together = pl.concat([series_statistics(part) for part in parts]).sort(SERIES)
    assert_frame_equal(together, series_statistics(days))
    assert_frame_equal(added([weekday_totals(part) for part in parts], ["weekday"]), weekday_totals(days))


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
