"""Features: point in time, windows of days, unknown days left out."""

import math
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_assets.contracts.tables import CORE_DAILY_SALES, FEATURES_DEMAND
from retail_assets.contracts.types import polars_schema
from retail_assets.domain.demand import uncensored_demand
from retail_assets.domain.features import LOOKBACK_DAYS, demand_features
from retail_assets.domain.surroundings import surroundings

FIRST = date(2024, 1, 1)  # a Monday


def sales_of(units: list[float | None], **columns: Any) -> pl.DataFrame:
    """One series; a day whose units are None has no row."""
    size = len(units)
    frame = pl.DataFrame(
        {
            "store_id": "S1",
            "product_id": "P1",
            "business_date": [FIRST + timedelta(days=n) for n in range(size)],
            "units": units,
            "revenue": 0.0,
            "unit_price": 2.0,
            "list_price": 2.0,
            "promotion_id": None,
            "discount_share": 0.0,
            "on_promotion": False,
            "stockout_hours": 0.0,
            "open_hours": 12.0,
        },
        strict=False,
    ).with_columns(**{name: pl.Series(values) for name, values in columns.items()})
    return (
        frame.filter(pl.col("units").is_not_null())
        .select(CORE_DAILY_SALES.column_names)
        .cast(polars_schema(CORE_DAILY_SALES.columns))
    )


NO_PRODUCTS = pl.DataFrame(schema={"product_id": pl.String, "category": pl.String})


def levels_of(sales: pl.DataFrame, products: pl.DataFrame = NO_PRODUCTS) -> pl.DataFrame:
    """Return units and series by store, category and day, as Spark sums them for the real thing."""
    return (
        sales.join(products.select("product_id", "category"), on="product_id", how="left")
        .group_by("store_id", pl.col("category").fill_null(""), "business_date")
        .agg(pl.col("units").cast(pl.Float64).sum(), series=pl.len())
    )


def features_of(sales: pl.DataFrame, first: date, last: date, **known: pl.DataFrame) -> pl.DataFrame:
    """Return the features with what is `known` besides: levels, products, promotions, calendar, weather."""
    empty = pl.DataFrame()
    levels = known.get("levels", levels_of(sales, known.get("products", NO_PRODUCTS)) if sales.width else empty)
    others = (known.get(name, empty) for name in ("products", "promotions", "calendar", "weather"))
    return demand_features(sales, surroundings(levels, *others, first, last), first, last)


def last_row(frame: pl.DataFrame, **known: pl.DataFrame) -> dict[str, Any]:
    day = frame["business_date"].max()
    assert isinstance(day, date)
    result = features_of(frame, day, day, **known)
    assert result.height == 1
    return result.row(0, named=True)


def many_series(days: int, seed: int, series: int = 4) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    frames = []
    for number in range(series):
        units = random.poisson(0.4 * 3**number, days).astype(float).tolist()
        gaps = random.random(days) < 0.05
        start = int(random.integers(0, days))
        frames.append(
            sales_of(
                [None if n < start or gaps[n] else u for n, u in enumerate(units)],
                stockout_hours=np.where(random.random(days) < 0.15, random.choice([4.0, 12.0], days), 0.0),
                on_promotion=random.random(days) < 0.1,
                unit_price=random.choice([1.0, 1.5, 2.0], days),
            ).with_columns(store_id=pl.lit(f"S{number % 2}"), product_id=pl.lit(f"P{number}"))
        )
    return pl.concat(frames)


def test_an_empty_table_has_empty_features_of_the_contract():
    features = features_of(pl.DataFrame(), FIRST, FIRST)
    assert features.is_empty()
    assert features.schema == polars_schema(FEATURES_DEMAND.columns)


def test_lags_and_means_end_with_the_origin_itself():
    row = last_row(sales_of([float(n) for n in range(100)]))
    assert row["demand"] == 99
    assert row["demand_lag_1"] == 98
    assert row["demand_lag_7"] == 92
    assert row["demand_lag_364"] is None
    assert row["demand_median_7"] == 96
    assert row["demand_sd_90"] == pytest.approx(np.std(range(10, 100), ddof=1))
    assert row["zero_share_364"] == pytest.approx(1 / 100)
    assert row["demand_mean_7"] == pytest.approx(np.mean(range(93, 100)))
    assert row["demand_mean_28"] == pytest.approx(np.mean(range(72, 100)))
    assert row["demand_mean_90"] == pytest.approx(np.mean(range(10, 100)))
    assert row["demand_sd_28"] == pytest.approx(np.std(range(72, 100), ddof=1))
    assert row["demand_trend"] == pytest.approx(np.mean(range(72, 100)) / np.mean(range(10, 100)) - 1)
    assert row["days_on_sale"] == 99


def test_the_mean_of_each_weekday_is_of_the_last_eight_such_days():
    units = [float(100 * (n // 7) + n % 7) for n in range(70)]
    row = last_row(sales_of(units))
    for number in range(7):
        assert row[f"weekday_mean_{number + 1}"] == pytest.approx(
            np.mean([100 * week + number for week in range(2, 10)])
        )


def test_the_exponentially_weighted_mean_halves_its_weights_every_fourteen_days():
    units = [float(value) for value in np.random.default_rng(3).poisson(5, 100)]
    weights = [0.5 ** (age / 14) for age in range(90)]
    wanted = np.average(units[:-91:-1], weights=weights)
    assert last_row(sales_of(units))["demand_ewm_14"] == pytest.approx(wanted)


def test_days_without_stock_are_left_out_of_means_and_not_taken_for_zero():
    row = last_row(sales_of([4.0] * 27 + [0.0], stockout_hours=[0.0] * 27 + [12.0]))
    assert row["demand_mean_28"] == 4.0
    assert row["zero_share_28"] == 0.0
    assert row["stockout_share_28"] == pytest.approx(1 / 28)
    assert row["demand"] == 4.0  # unknown, so what the weekday brings


def test_a_day_without_a_row_is_a_day_of_which_nothing_is_known():
    units: list[float | None] = [6.0] * 14
    units[10] = units[6] = None
    row = last_row(sales_of(units))
    assert row["demand_mean_7"] == 6.0
    assert row["demand_lag_7"] is None
    assert row["days_on_sale"] == 13


def test_days_on_sale_stop_counting_where_features_stop_looking_back():
    assert last_row(sales_of([1.0] * (LOOKBACK_DAYS + 30)))["days_on_sale"] == LOOKBACK_DAYS


def test_a_year_ago_is_the_same_weekday_and_its_next_week_makes_the_yearly_index():
    units = [1.0] * 500
    day = len(units) - 1
    units[day - 364] = 7.0
    for ahead in range(1, 8):
        units[day - 364 + ahead] = 3.0
    row = last_row(sales_of(units))
    assert row["demand_lag_364"] == 7.0
    assert row["yearly_index"] == pytest.approx(3.0 / ((357 + 7 * 3.0) / 364))


def test_promotions_are_counted_behind_and_planned_ones_ahead():
    sales = sales_of([1.0] * 30, on_promotion=[False] * 25 + [True] * 5, discount_share=[0.0] * 25 + [0.2] * 5)
    last = FIRST + timedelta(days=29)
    planned = pl.DataFrame(
        {
            "store_id": ["S1", "S1", "S2"],
            "product_id": ["P1", "P1", "P1"],
            "starts_on": [last - timedelta(days=4), last + timedelta(days=5), last],
            "ends_on": [last + timedelta(days=2), last + timedelta(days=30), last + timedelta(days=9)],
            "discount_share": [0.2, 0.3, 0.9],
        }
    )
    row = last_row(sales, promotions=planned)
    assert row["on_promotion"]
    assert row["discount_share"] == pytest.approx(0.2)
    assert row["promotion_days_28"] == 5
    assert row["promotion_days_ahead_7"] == 2 + 3
    assert row["discount_share_ahead_7"] == pytest.approx(0.3)


def test_a_product_has_days_since_its_launch_and_one_that_the_catalogue_lacks_has_none():
    products = pl.DataFrame({"product_id": ["P1"], "category": ["Tea"], "launched_on": [FIRST - timedelta(days=100)]})
    assert last_row(sales_of([1.0] * 10), products=products)["days_since_launch"] == 109
    assert last_row(sales_of([1.0] * 10))["days_since_launch"] is None


def test_rows_come_out_for_the_days_that_have_one():
    features = features_of(sales_of([1.0, None, 1.0]), FIRST, FIRST + timedelta(days=2))
    assert features["business_date"].to_list() == [FIRST, FIRST + timedelta(days=2)]


def test_the_base_mean_leaves_promotions_out():
    row = last_row(sales_of([2.0] * 20 + [10.0] * 8, on_promotion=[False] * 20 + [True] * 8))
    assert row["base_mean_28"] == 2.0
    assert row["demand_mean_28"] == pytest.approx(120 / 28)


def test_the_price_stands_in_relation_to_its_median():
    assert last_row(sales_of([1.0] * 10, unit_price=[2.0] * 9 + [1.5]))["price_ratio_90"] == 0.75
    assert last_row(sales_of([1.0] * 10, unit_price=[0.0] * 10))["price_ratio_90"] is None


def test_days_since_a_sale_are_counted_and_are_unknown_where_nothing_sold_in_the_look_back():
    assert last_row(sales_of([1.0, 0.0, 0.0, -1.0]))["days_since_sale"] == 3
    assert last_row(sales_of([0.0] * 5))["days_since_sale"] is None
    assert last_row(sales_of([1.0] + [0.0] * (LOOKBACK_DAYS + 1)))["days_since_sale"] is None


def test_a_series_of_which_nothing_is_known_has_nulls_and_no_failure():
    row = last_row(sales_of([0.0] * 3, stockout_hours=[12.0] * 3))
    assert row["demand"] == 0.0
    assert row["demand_mean_28"] is None
    assert row["demand_trend"] is None


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), days=st.integers(20, 500))
def test_a_day_computed_alone_is_what_it_is_within_a_range(seed: int, days: int):
    sales = many_series(days, seed)
    last = FIRST + timedelta(days=days - 1)
    whole = features_of(sales, FIRST, last)
    for day in (FIRST, FIRST + timedelta(days=days // 2), last):
        needed = sales.filter(pl.col("business_date").is_between(day - timedelta(days=LOOKBACK_DAYS), day))
        alone = features_of(needed, day, day)
        assert_frame_equal(alone, whole.filter(pl.col("business_date") == day), rel_tol=1e-6, abs_tol=1e-6)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(5, 115))
def test_what_comes_later_changes_nothing(seed: int, cut: int):
    sales = many_series(120, seed)
    day = FIRST + timedelta(days=cut)
    later = pl.col("business_date") > day
    changed = sales.with_columns(
        units=pl.when(later).then(999).otherwise("units").cast(pl.Decimal(12, 3)),
        unit_price=pl.when(later).then(77).otherwise("unit_price").cast(pl.Decimal(12, 2)),
        on_promotion=pl.when(later).then(~pl.col("on_promotion")).otherwise("on_promotion"),
        stockout_hours=pl.when(later).then(11.0).otherwise("stockout_hours"),
    )
    last = FIRST + timedelta(days=119)
    before = pl.col("business_date") <= day
    assert_frame_equal(features_of(sales, FIRST, last).filter(before), features_of(changed, FIRST, last).filter(before))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_values_stay_within_the_contract_and_agree_with_a_slow_computation(seed: int):
    sales = many_series(130, seed).sample(fraction=1.0, shuffle=True, seed=seed)
    features = features_of(sales, FIRST, FIRST + timedelta(days=129))
    assert features.height == sales.height
    for column in FEATURES_DEMAND.columns:
        values = features[column.name]
        assert column.nullable or values.null_count() == 0
        if column.minimum is not None:
            assert (values.drop_nulls() >= column.minimum).all()
        if column.maximum is not None:
            assert (values.drop_nulls() <= column.maximum).all()
    demand = sales.with_columns(demand=uncensored_demand("units", "stockout_hours", "open_hours"))
    for row in features.sample(10, seed=seed).iter_rows(named=True):
        window = demand.filter(
            pl.col("product_id") == row["product_id"],
            pl.col("store_id") == row["store_id"],
            pl.col("business_date").is_between(row["business_date"] - timedelta(days=27), row["business_date"]),
        )["demand"].drop_nulls()
        if window.is_empty():
            assert row["demand_mean_28"] is None
        else:
            assert row["demand_mean_28"] == pytest.approx(window.mean(), rel=1e-6, abs=1e-6)
            assert row["zero_share_28"] == pytest.approx((window == 0).mean(), rel=1e-6, abs=1e-6)
        if len(window) > 1:
            spread = window.std()
            assert isinstance(spread, float)
            assert math.isclose(row["demand_sd_28"], spread, rel_tol=1e-5, abs_tol=1e-5)


def test_stores_do_not_mix():
    sales = many_series(60, 5)
    day = FIRST + timedelta(days=59)
    levels = levels_of(sales)
    apart = [features_of(sales.filter(store_id=store), FIRST, day, levels=levels) for store in ("S0", "S1")]
    together = features_of(sales, FIRST, day)
    assert_frame_equal(pl.concat(apart).sort(FEATURES_DEMAND.grain), together)
