"""Rivals of the model, run for real on small histories."""

import math
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pyspark.sql import SparkSession

from retail_assets.backtest.rivals import RIVALS, gbt_forecasts, rival_forecasts, sampled_series
from retail_assets.contracts.tables import QUANTILES
from retail_assets.domain.forecasting import FORECAST_INPUTS

ORIGIN = date(2024, 6, 30)  # a Sunday
KEYS = ["store_id", "product_id"]


def history_of(
    demand: dict[str, list[float | None]], promotions: dict[str, list[bool]] | None = None, until: date = ORIGIN
) -> pl.DataFrame:
    frames = []
    for product, values in demand.items():
        on = (promotions or {}).get(product, [False] * len(values))
        frames.append(
            pl.DataFrame(
                {
                    "store_id": "S1",
                    "product_id": product,
                    "business_date": [until - timedelta(days=len(values) - 1 - n) for n in range(len(values))],
                    "demand": values,
                    "on_promotion": on,
                    "discount_share": [0.3 if promoted else 0.0 for promoted in on],
                    "is_holiday": False,
                },
                schema_overrides={"demand": pl.Float64},
            )
        )
    return pl.concat(frames)


def ahead_of(products: list[str], on_promotion: bool = False) -> pl.DataFrame:
    week = {product: [0.0] * 7 for product in products}
    return history_of(
        week, {product: [on_promotion] * 7 for product in products}, until=ORIGIN + timedelta(days=7)
    ).drop("demand")


def weekly(length: int, level: float = 10.0, seed: int = 1) -> list[float | None]:
    """Return demand that doubles on Saturdays (the day before the last one), with noise."""
    noise = np.random.default_rng(seed).normal(0, 0.3, length)
    day = np.arange(length)[::-1] % 7
    return [float(value) for value in level * np.where(day == 1, 2.0, 1.0) + noise]


def forecast(history: pl.DataFrame, ahead: pl.DataFrame, *names: str, **more: Any) -> pl.DataFrame:
    return rival_forecasts(history, ahead, origin=ORIGIN, names=names, seed=7, **more)


def means(frame: pl.DataFrame, product: str = "P1") -> list[float]:
    return frame.filter(pl.col("product_id") == product).sort("horizon")["mean"].to_list()


def test_every_rival_forecasts_every_day_that_it_is_asked_for():
    history = history_of({"P1": weekly(120), "P2": [0.0, 0.0, 3.0] * 40, "P3": weekly(5), "P4": [0.0] * 60})
    ahead = ahead_of(["P1", "P2", "P3", "P4", "P5"])
    found = forecast(history, ahead, *RIVALS)
    assert found["model"].unique(maintain_order=True).to_list() == list(RIVALS)
    assert found.group_by("model").len()["len"].unique().to_list() == [5 * 7]
    assert found["mean"].is_finite().all()
    assert found["mean"].min() >= 0  # type: ignore[operator]
    assert found["horizon"].unique().sort().to_list() == list(range(1, 8))
    assert found.select((pl.col("target_date") - pl.col("origin")).dt.total_days() == pl.col("horizon"))[
        "target_date"
    ].all()
    # P5 has never been heard of; P3 is younger than three weeks.
    assert set(means(found, "P5")) == {0.0}
    assert means(found.filter(pl.col("model") == "auto_ets"), "P3") == [pytest.approx(np.mean(weekly(5)))] * 7  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(RIVALS))
def test_a_rival_never_sees_the_future(name: str):
    history = history_of({"P1": weekly(60)}, until=ORIGIN + timedelta(days=1))
    with pytest.raises(ValueError, match="may not see the future"):
        forecast(history, ahead_of(["P1"]), name)


def test_what_is_past_is_not_forecast_and_a_rival_nobody_knows_is_refused():
    history = history_of({"P1": weekly(60)})
    with pytest.raises(ValueError, match="past"):
        forecast(history, history.drop("demand"), "mean_28")
    with pytest.raises(ValueError, match="no rival prophet"):
        forecast(history, ahead_of(["P1"]), "prophet")


def test_the_naive_rivals_take_last_weeks_day_and_the_mean_of_28():
    history = history_of({"P1": [float(n) for n in range(40)]})
    found = forecast(history, ahead_of(["P1"]), "seasonal_naive", "mean_28")
    assert means(found.filter(pl.col("model") == "seasonal_naive")) == [33.0, 34.0, 35.0, 36.0, 37.0, 38.0, 39.0]
    assert means(found.filter(pl.col("model") == "mean_28")) == [pytest.approx(25.5)] * 7


def test_a_day_of_unknown_demand_has_that_of_the_week_before_and_a_day_without_a_row_is_zero():
    history = history_of({"P1": [7.0] * 14 + [1.0, 2.0, None, 4.0, 5.0, 6.0, 7.0]})
    without = history.filter(pl.col("business_date") != ORIGIN - timedelta(days=2))
    found = forecast(without, ahead_of(["P1"]), "seasonal_naive", "mean_28")
    assert means(found.filter(pl.col("model") == "seasonal_naive")) == [1.0, 2.0, 7.0, 4.0, 0.0, 6.0, 7.0]
    # The mean is of the days whose demand is known: 14 of 7, then 1, 2, 4, 0, 6, 7.
    assert means(found.filter(pl.col("model") == "mean_28")) == [pytest.approx((14 * 7 + 20) / 20)] * 7


def test_exponential_smoothing_and_lightgbm_learn_the_week():
    history = history_of({f"P{n}": weekly(200, seed=n) for n in range(1, 6)})
    found = forecast(history, ahead_of(["P1", "P2", "P3", "P4", "P5"]), "auto_ets", "lightgbm")
    for name in ("auto_ets", "lightgbm"):
        week = means(found.filter(pl.col("model") == name))
        assert week[5] == pytest.approx(20.0, abs=2.0)
        assert max(week[:5] + week[6:]) < 13.0


def test_quantiles_of_exponential_smoothing_are_in_order_around_the_mean_and_hold_what_they_say():
    noise = np.random.default_rng(3).normal(0, 2.0, 300)
    found = forecast(history_of({"P1": [50.0 + float(value) for value in noise]}), ahead_of(["P1"]), "auto_ets")
    row = found.filter(pl.col("horizon") == 1).row(0, named=True)
    levels = [row[name] for name in QUANTILES]
    assert levels == sorted(levels)
    assert row["q50"] == row["mean"]
    assert row["q975"] - row["q025"] == pytest.approx(2 * 1.96 * 2.0, rel=0.15)
    assert row["q75"] - row["q25"] == pytest.approx(2 * 0.674 * 2.0, rel=0.15)


def test_forecasts_and_quantiles_are_never_below_zero():
    history = history_of({"P1": [float(max(30 - n, 0)) for n in range(40)], "P2": [0.0, 0.0, 0.0, 0.0, 1.0] * 10})
    found = forecast(history, ahead_of(["P1", "P2"]), *RIVALS)
    assert found.select(pl.min_horizontal("mean", *QUANTILES).min()).item() >= 0.0


def test_croston_spreads_rare_sales_over_the_days_between_them():
    found = forecast(history_of({"P1": [0.0, 0.0, 0.0, 8.0] * 30}), ahead_of(["P1"]), "croston_sba")
    # Size over interval, less Syntetos and Boylan's twentieth.
    assert means(found) == [pytest.approx(0.95 * 8 / 4, rel=0.02)] * 7


def test_lightgbm_knows_what_is_planned():
    generator = np.random.default_rng(2)
    promoted = {f"P{n}": [bool(value) for value in generator.random(200) < 0.15] for n in range(8)}
    demand: dict[str, list[float | None]] = {
        name: [10.0 + 20.0 * on + float(generator.normal(0, 0.5)) for on in days] for name, days in promoted.items()
    }
    history = history_of(demand, promoted)
    without, planned = (means(forecast(history, ahead_of(["P1"], on_promotion=on), "lightgbm")) for on in (False, True))
    assert np.mean(without) == pytest.approx(10.0, abs=1.5)
    assert np.mean(planned) == pytest.approx(30.0, abs=3.0)


def test_lightgbm_is_fitted_on_the_days_that_it_is_given_and_no_more():
    levels = history_of({f"P{n}": [100.0] * 200 + weekly(100, seed=n) for n in range(3)})
    short = forecast(levels, ahead_of(["P1"]), "lightgbm", training_days=100)
    recent = levels.filter(pl.col("business_date") > ORIGIN - timedelta(days=100))
    assert_frame_equal(short, forecast(recent, ahead_of(["P1"]), "lightgbm", training_days=100))


def test_the_same_inputs_and_seed_give_the_same_forecasts_in_whatever_order_they_come():
    history = history_of({f"P{n}": weekly(90, level=3.0 + n, seed=n) for n in range(6)})
    ahead = ahead_of([f"P{n}" for n in range(6)])
    first = forecast(history, ahead, *RIVALS)
    again = forecast(history.sample(fraction=1.0, shuffle=True, seed=1), ahead.reverse(), *RIVALS)
    assert_frame_equal(first, again)


def test_a_sample_is_of_whole_categories_of_stores_and_about_as_large_as_asked_for():
    products = pl.DataFrame(
        {"product_id": [f"P{n:02d}" for n in range(60)], "category": [f"C{n % 6}" for n in range(60)]}
    )
    series = pl.DataFrame({"store_id": ["S1", "S2", "S3"]}).join(products.select("product_id"), how="cross")
    found = sampled_series(products, series, 44, seed=3)
    assert found.height == 40
    whole = found.join(products, on="product_id").group_by("store_id", "category").len()
    assert set(whole["len"]) == {10}
    assert found.equals(sampled_series(products.reverse(), series.reverse(), 44, seed=3))
    assert not found.equals(sampled_series(products, series, 44, seed=4))
    assert sampled_series(products, series, 1, seed=3).height == 10
    assert sampled_series(products, series, 1000, seed=3).height == 180
    with pytest.raises(ValueError, match="none"):
        sampled_series(products, series, 0, seed=3)


def test_mllibs_trees_learn_from_known_and_unknown_inputs_alike(spark: SparkSession):
    generator = np.random.default_rng(4)
    rows = 400
    inputs = {name: generator.random(rows) for name in FORECAST_INPUTS}
    # What is unknown of a series says much of it: such sell nothing.
    unknown = generator.random(rows) < 0.3
    inputs["demand_mean_28"] = np.where(unknown, math.nan, inputs["demand_mean_28"])
    frame = pl.DataFrame(inputs).with_columns(
        actual=pl.Series(np.where(unknown, 0.0, 5.0 + 10.0 * np.nan_to_num(inputs["demand_mean_28"])))
    )
    half = frame.head(200).with_columns(
        actual=pl.when(pl.int_range(pl.len()) < 5).then(None).otherwise("actual")  # not known yet
    )
    training = spark.createDataFrame(half.to_arrow()).coalesce(1)
    asked = spark.createDataFrame(frame.tail(200).with_row_index("row").cast({"row": pl.Int64}).to_arrow()).coalesce(1)
    made = gbt_forecasts(training, asked, seed=1)
    assert made.columns == ["row", *FORECAST_INPUTS, "actual", "mean"]
    found = made.select("row", "actual", "mean").orderBy("row").collect()
    assert len(found) == 200
    assert min(row["mean"] for row in found) >= 0.0
    assert np.mean([abs(row["mean"] - row["actual"]) for row in found]) < 0.5
    again = gbt_forecasts(training, asked, seed=1).select("row", "actual", "mean").orderBy("row").collect()
    assert found == again


def test_without_history_or_anything_to_forecast_there_are_rows_of_zero_or_none():
    history, ahead = history_of({"P1": weekly(60)}), ahead_of(["P1"])
    assert forecast(history, ahead.clear(), *RIVALS).is_empty()
    assert forecast(history, ahead).is_empty()
    found = forecast(history.clear(), ahead, *RIVALS)
    assert found.height == 7 * len(RIVALS)
    assert set(found["mean"]) == {0.0}


def test_rivals_of_processes_and_threads_forecast_the_same_as_alone():
    history = history_of({f"P{n}": weekly(60, seed=n) for n in range(4)})
    ahead = ahead_of([f"P{n}" for n in range(4)])
    assert_frame_equal(forecast(history, ahead, *RIVALS), forecast(history, ahead, *RIVALS, n_jobs=2))
