"""What several series have in common: levels of categories and stores, the calendar, what is planned, the weather."""

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_assets.domain.surroundings import (
    LEVELS_LOOKBACK_DAYS,
    calendar_features,
    level_features,
    promotions_ahead,
    weather_features,
)

FIRST = date(2024, 1, 1)  # a Monday


def levels(*rows: tuple[str, str, int, float, int]) -> pl.DataFrame:
    """Return levels: store, category, day, units, series."""
    return pl.DataFrame(
        [(store, category, FIRST + timedelta(days=day), units, series) for store, category, day, units, series in rows],
        schema=["store_id", "category", "business_date", "units", "series"],
        orient="row",
    )


def on(day: int) -> date:
    return FIRST + timedelta(days=day)


def test_a_level_is_units_of_a_product_and_its_trend_compares_a_month_with_a_quarter() -> None:
    rows = levels(*(("S1", "Tea", day, 10.0 if day < 62 else 40.0, 5) for day in range(90)))
    (row,) = level_features(rows, on(89), on(89)).iter_rows(named=True)
    assert row["store_category_mean_28"] == pytest.approx(8.0)
    quarter = (62 * 10 + 28 * 40) / (90 * 5)
    assert row["store_category_trend"] == pytest.approx(8.0 / quarter - 1.0)


def test_a_category_is_the_mean_over_all_stores_and_a_store_over_all_categories() -> None:
    rows = levels(("S1", "Tea", 0, 10.0, 1), ("S2", "Tea", 0, 20.0, 1), ("S1", "Jam", 0, 2.0, 2))
    frame = level_features(rows, on(0), on(0))
    means = {
        (row["store_id"], row["category"]): (row["category_mean_28"], row["store_mean_28"])
        for row in frame.iter_rows(named=True)
    }
    assert means == {("S1", "Tea"): (15.0, 4.0), ("S2", "Tea"): (15.0, 20.0), ("S1", "Jam"): (1.0, 4.0)}


def test_stores_fall_into_quarters_by_what_they_sell_and_strong_weekends_are_told_apart() -> None:
    rows = levels(
        *(
            (f"S{store}", "Tea", day, (store + 1) * (5.0 if day >= 5 and store % 2 else 1.0), 1)
            for store in range(8)
            for day in range(7)
        )
    )
    clusters = level_features(rows, on(6), on(6)).sort("store_id")["store_cluster"].to_list()
    by_units = sorted(range(8), key=lambda store: (store + 1) * (15 if store % 2 else 7))
    assert clusters == [by_units.index(store) // 2 + (4 if store % 2 else 0) for store in range(8)]


def test_stores_that_sell_nothing_have_a_cluster_all_the_same() -> None:
    rows = levels(("S1", "Tea", 0, 0.0, 1), ("S2", "Tea", 0, 0.0, 1))
    frame = level_features(rows, on(0), on(0))
    assert frame["store_cluster"].to_list() == [0, 2]
    assert frame["store_category_trend"].null_count() == 2


@settings(max_examples=10)
@given(
    units=st.lists(st.floats(0, 100), min_size=130, max_size=130),
    cut=st.integers(0, 110),
)
def test_what_comes_later_changes_no_level_and_a_day_alone_is_as_in_a_range(units: list[float], cut: int) -> None:
    rows = levels(*(("S1" if n % 2 else "S2", "Tea", n // 2 * 2, value, 3) for n, value in enumerate(units)))
    day = on(cut)
    whole = level_features(rows, FIRST, on(129)).filter(pl.col("business_date") == day)
    nearby = rows.filter(pl.col("business_date").is_between(day - timedelta(days=LEVELS_LOOKBACK_DAYS), day))
    assert_frame_equal(whole, level_features(nearby, day, day), abs_tol=1e-9)


def test_the_calendar_says_how_far_holidays_and_pay_days_are() -> None:
    calendar = pl.DataFrame({"date": [on(0), on(10)], "is_holiday": [True, True]})
    rows = {
        row["business_date"]: row for row in calendar_features(calendar, [on(0), on(4), on(30)]).iter_rows(named=True)
    }
    assert rows[on(0)]["is_holiday"]
    assert rows[on(0)]["days_to_holiday"] == 0
    assert rows[on(0)]["holidays_ahead_7"] == 0
    assert (rows[on(4)]["days_since_holiday"], rows[on(4)]["days_to_holiday"]) == (4, 6)
    assert rows[on(4)]["holidays_ahead_7"] == 1
    assert rows[on(30)]["days_since_holiday"] == 20
    assert rows[on(30)]["days_to_holiday"] == 28, "far away is far away"


def test_the_pay_day_is_the_last_working_day_of_a_month() -> None:
    # 29 March 2024 is Good Friday, and the month ends on a Sunday.
    calendar = pl.DataFrame({"date": [date(2024, 3, 29)], "is_holiday": [True]})
    (row,) = calendar_features(calendar, [date(2024, 3, 25)]).iter_rows(named=True)
    assert row["days_to_pay_day"] == 3
    assert row["days_since_pay_day"] == 25  # since Thursday, 29 February


def test_without_a_calendar_every_day_is_an_ordinary_one() -> None:
    (row,) = calendar_features(pl.DataFrame(), [FIRST]).iter_rows(named=True)
    assert not row["is_holiday"]
    assert row["days_to_holiday"] == 28


def test_a_promotion_that_starts_tomorrow_is_ahead_and_one_that_ends_today_is_not() -> None:
    promotions = pl.DataFrame(
        {
            "store_id": ["S1", "S1"],
            "product_id": ["P1", "P2"],
            "starts_on": [on(1), on(-3)],
            "ends_on": [on(1), on(0)],
            "discount_share": [0.25, 0.5],
        }
    )
    assert promotions_ahead(promotions, on(0), on(0)).rows() == [("S1", "P1", on(0), 1, 0.25)]


def test_the_weather_is_compared_with_the_last_four_weeks() -> None:
    weather = pl.DataFrame(
        {
            "store_id": ["S1"] * 28,
            "date": [on(day) for day in range(28)],
            "mean_celsius": [10.0] * 27 + [24.0],
            "rain_mm": [0.0] * 28,
        }
    )
    (row,) = weather_features(weather, on(27), on(27)).iter_rows(named=True)
    assert row["celsius_anomaly_28"] == pytest.approx(24.0 - (27 * 10.0 + 24.0) / 28)
