"""Model inputs without leakage, naive rivals, fallbacks."""

import math
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_assets.contracts.tables import CORE_DAILY_SALES
from retail_assets.contracts.types import polars_schema
from retail_assets.domain.features import demand_features
from retail_assets.domain.forecasting import (
    FORECAST_INPUTS,
    enough_history,
    known_fallback,
    mean_28,
    seasonal_naive,
    supervised_frame,
)
from retail_assets.domain.surroundings import surroundings

FIRST = date(2024, 1, 1)  # a Monday
WEEK = list(range(1, 8))
EMPTY = pl.DataFrame()
STORES = pl.DataFrame({"store_id": ["S1"], "opens_at_hour": [8], "closes_at_hour": [21]})
PRODUCTS = pl.DataFrame(
    {
        "product_id": ["P1", "P2", "P3", "P9"],
        "category": ["milk", "milk", "soap", "milk"],
        "unit_cost": [Decimal("1.00")] * 4,
        "list_price": [Decimal("2.50")] * 4,
        "pack_size": [6] * 4,
        "shelf_life_days": [10] * 4,
    }
)


def sales_of(units: dict[str, list[float]], **columns: Any) -> pl.DataFrame:
    frames = [
        pl.DataFrame(
            {
                "store_id": "S1",
                "product_id": product,
                "units": values,
                "revenue": 0.0,
                "unit_price": 2.5,
                "list_price": 2.5,
                "promotion_id": None,
                "discount_share": 0.0,
                "on_promotion": False,
                "stockout_hours": 0.0,
                "open_hours": 13.0,
                "business_date": [FIRST + timedelta(days=n) for n in range(len(values))],
            }
        ).with_columns(**{name: pl.Series(values) for name, values in columns.items()})
        for product, values in units.items()
    ]
    return pl.concat(frames).select(CORE_DAILY_SALES.column_names).cast(polars_schema(CORE_DAILY_SALES.columns))


def calendar(*holidays: date) -> pl.DataFrame:
    days = [FIRST + timedelta(days=n) for n in range(200)]
    return pl.DataFrame({"date": days, "is_holiday": [day in holidays for day in days]})


def promotion(starts: date, ends: date, share: float) -> pl.DataFrame:
    return pl.DataFrame(
        {"store_id": ["S1"], "product_id": ["P1"], "starts_on": [starts], "ends_on": [ends], "discount_share": [share]}
    )


def frame_for(sales: pl.DataFrame, origins: list[date], **tables: Any) -> pl.DataFrame:
    first, last = min(origins), max(origins)
    around = surroundings(pl.DataFrame(), *[pl.DataFrame()] * 4, first, last)
    features = demand_features(sales, around, first, last)
    return supervised_frame(
        features,
        tables.get("actuals"),
        tables.get("calendar", calendar()),
        tables.get("promotions", EMPTY),
        tables.get("products", PRODUCTS),
        STORES,
        origins,
        WEEK,
    )


def test_there_is_a_row_for_every_series_origin_and_horizon():
    sales = sales_of({"P1": [1.0] * 40, "P2": [2.0] * 40})
    origins = [FIRST + timedelta(days=n) for n in (20, 27)]
    frame = frame_for(sales, origins, actuals=sales)
    assert frame.height == 2 * 2 * 7
    assert frame.columns == [
        *("store_id", "product_id", "run_date", "target_date", "horizon"),
        *FORECAST_INPUTS,
        *("actual", "actual_units"),
    ]
    assert all(frame.schema[name] == pl.Float64 for name in FORECAST_INPUTS)
    assert all(frame[name].null_count() == 0 for name in FORECAST_INPUTS)
    assert (frame["target_date"] - frame["run_date"]).dt.total_days().to_list() == frame["horizon"].to_list()


def test_what_is_known_ahead_is_that_of_the_target_date():
    origin = FIRST + timedelta(days=69)  # a Sunday
    holiday = origin + timedelta(days=3)
    sales = sales_of({"P1": [float(n % 7) for n in range(70)]})
    frame = frame_for(
        sales, [origin], calendar=calendar(holiday), promotions=promotion(holiday, origin + timedelta(days=4), 0.25)
    )
    assert frame["target_weekday"].to_list() == [1, 2, 3, 4, 5, 6, 7]
    assert frame["target_weekday_mean"].to_list() == [0, 1, 2, 3, 4, 5, 6]
    assert frame["target_is_holiday"].to_list() == [0, 0, 1, 0, 0, 0, 0]
    assert frame["target_days_to_holiday"].to_list() == [2, 1, 0, 7, 7, 7, 7]
    assert frame["target_days_after_holiday"].to_list() == [7, 7, 0, 1, 2, 3, 4]
    assert frame["target_discount_share"].to_list() == [0, 0, 0.25, 0.25, 0, 0, 0]
    assert frame["target_on_promotion"].to_list() == [0, 0, 1, 1, 0, 0, 0]
    assert frame["margin_share"].to_list() == [pytest.approx(0.6)] * 7
    assert frame["store_open_hours"].to_list() == [13.0] * 7


def test_actual_demand_is_corrected_for_stock_outs_and_null_where_unknown_or_yet_to_come():
    sales = sales_of({"P1": [4.0] * 20 + [4.0, 0.0, -1.0]}, stockout_hours=[0.0] * 20 + [6.5, 13.0, 0.0])
    frame = frame_for(sales, [FIRST + timedelta(days=19)], actuals=sales)
    assert frame["actual"].to_list() == [8.0, None, 0.0, None, None, None, None]
    assert frame["actual_units"].to_list() == [4.0, 0.0, -1.0, None, None, None, None]
    assert frame_for(sales, [FIRST + timedelta(days=19)])["actual"].null_count() == 7


def test_an_unknown_product_has_unknown_inputs_and_still_its_rows():
    frame = frame_for(sales_of({"P1": [1.0] * 20}), [FIRST + timedelta(days=19)], products=EMPTY)
    assert frame.height == 7
    assert frame["list_price"].is_nan().all()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), shift=st.integers(0, 20))
def test_what_sells_after_the_origin_changes_no_input(seed: int, shift: int):
    random = np.random.default_rng(seed)
    sales = sales_of({f"P{n}": random.poisson(3, 60).astype(float).tolist() for n in (1, 2)})
    origins = [FIRST + timedelta(days=25 + shift), FIRST + timedelta(days=32 + shift)]
    for origin in origins:
        later = pl.col("business_date") > origin
        changed = sales.with_columns(
            units=pl.when(later).then(500).otherwise("units").cast(pl.Decimal(12, 3)),
            unit_price=pl.when(later).then(9).otherwise("unit_price").cast(pl.Decimal(12, 2)),
            on_promotion=pl.col("on_promotion") | later,
        )
        mine = pl.col("run_date") == origin
        before, after = (frame_for(table, origins, actuals=table).filter(mine) for table in (sales, changed))
        assert_frame_equal(before.drop("actual", "actual_units"), after.drop("actual", "actual_units"))
        assert (after["actual"] == 500).any()


def test_nothing_in_gives_nothing_out_everywhere():
    for origins in ([], [FIRST]):
        frame = supervised_frame(EMPTY, None, EMPTY, EMPTY, EMPTY, EMPTY, origins, WEEK)
        assert frame.is_empty()
        assert frame["horizon"].dtype == pl.Int32
        assert seasonal_naive(EMPTY, origins, WEEK).is_empty()
        assert mean_28(EMPTY, origins, WEEK).is_empty()
        assert known_fallback(EMPTY, EMPTY, EMPTY, origins, WEEK).is_empty()


def test_a_horizon_of_nothing_is_refused():
    with pytest.raises(ValueError, match="one day ahead"):
        seasonal_naive(EMPTY, [FIRST], [0, 1])


def test_the_seasonal_naive_forecast_is_last_weeks_same_weekday():
    sales = sales_of({"P1": [float(n) for n in range(21)]})
    frame = seasonal_naive(sales, [FIRST + timedelta(days=20)], [1, 7, 8, 14])
    assert frame["mean"].to_list() == [14.0, 20.0, 14.0, 20.0]


def test_rivals_cover_the_same_rows_and_are_never_negative():
    sales = sales_of({"P1": [-2.0] * 10, "P2": [5.0] * 10})
    origin = FIRST + timedelta(days=9)
    naive, mean = (rival(sales, [origin], WEEK) for rival in (seasonal_naive, mean_28))
    assert naive.drop("mean").equals(mean.drop("mean"))
    assert mean.filter(pl.col("product_id") == "P2")["mean"].to_list() == [5.0] * 7
    assert naive.filter(pl.col("product_id") == "P1")["mean"].to_list() == [0.0] * 7


def test_the_28_day_mean_ends_with_the_origin():
    sales = sales_of({"P1": [float(n) for n in range(50)]})
    frame = mean_28(sales, [FIRST + timedelta(days=40)], [1])
    assert frame["mean"].to_list() == [pytest.approx(np.mean(range(13, 41)))]


def test_a_series_without_history_is_forecast_by_its_category_then_its_store_then_as_zero():
    sales = sales_of({"P1": [2.0] * 28, "P2": [4.0] * 28, "P3": [9.0] * 28})
    series = pl.DataFrame({"store_id": ["S1", "S1", "S5"], "product_id": ["P9", "P0", "P1"]})
    frame = known_fallback(series, sales, PRODUCTS, [FIRST + timedelta(days=27)], [1])
    found = {row["product_id"]: (row["mean"], row["method"]) for row in frame.iter_rows(named=True)}
    assert found == {"P9": (3.0, "category_mean"), "P0": (5.0, "store_mean"), "P1": (0.0, "zero")}


def test_a_fallback_uses_nothing_from_after_its_origin():
    sales = sales_of({"P1": [2.0] * 28 + [100.0] * 10})
    series = pl.DataFrame({"store_id": ["S1"], "product_id": ["P9"]})
    assert known_fallback(series, sales, PRODUCTS, [FIRST + timedelta(days=27)], [1])["mean"].to_list() == [2.0]


def test_a_young_series_or_one_of_which_nothing_is_known_has_not_enough_history():
    frame = pl.DataFrame(
        {"days_on_sale": [3.0, 50.0, 50.0, 50.0], "demand_mean_28": [1.0, 1.0, None, math.nan]}
    ).select(enough_history())
    assert frame.to_series().to_list() == [False, True, False, False]
