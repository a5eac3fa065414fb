"""Measures, classes, scales and skill of forecasts, held against the same worked out by hand."""

import json
import math
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from retail_assets.contracts.tables import QUANTILES
from retail_assets.domain.accuracy import bias, wape
from retail_assets.domain.judgement import report, skill
from retail_assets.domain.scales import naive_scales
from retail_assets.domain.series_classes import abc_classes, demand_classes

ORIGIN = date(2024, 3, 31)
NEXT = ORIGIN + timedelta(days=7)
PRODUCTS = pl.DataFrame({"product_id": ["P1", "P2", "P3"], "category": ["milk", "milk", "soap"]})


def days(demand: dict[str, list[float | None]], store: str = "S1", until: date = ORIGIN) -> pl.DataFrame:
    return pl.concat(
        pl.DataFrame(
            {
                "store_id": store,
                "product_id": product,
                "business_date": [until - timedelta(days=len(values) - 1 - n) for n in range(len(values))],
                "demand": values,
            },
            schema_overrides={"demand": pl.Float64},
        )
        for product, values in demand.items()
    )


def judged(
    model: str,
    actual: dict[str, list[float | None]],
    mean: dict[str, list[float | None]],
    origin: date = ORIGIN,
    spread: float | None = None,
) -> pl.DataFrame:
    """Return forecasts of the days after an origin; quantiles lie `spread` units apart around the mean."""
    return pl.concat(
        pl.DataFrame(
            {
                "model": model,
                "origin": origin,
                "target_date": [origin + timedelta(days=n + 1) for n in range(len(values))],
                "horizon": list(range(1, len(values) + 1)),
                "store_id": "S1",
                "product_id": product,
                "actual": values,
                "mean": mean[product],
            },
            schema_overrides={"horizon": pl.Int32, "actual": pl.Float64, "mean": pl.Float64},
        ).with_columns(
            (pl.col("mean") + (number - 4) * spread if spread is not None else pl.lit(None, dtype=pl.Float64)).alias(
                name
            )
            for number, name in enumerate(QUANTILES)
        )
        for product, values in actual.items()
    )


def report_of(forecasts: pl.DataFrame, history: pl.DataFrame | None = None, **more: Any) -> dict[str, Any]:
    past = days({"P1": [1.0, 3.0] * 40, "P2": [2.0] * 80, "P3": [0.0, 0.0, 9.0] * 30}) if history is None else history
    return report(
        forecasts,
        "ours",
        products=PRODUCTS,
        scales=naive_scales(past, PRODUCTS, forecasts["origin"].unique().to_list()),
        demand=demand_classes(past),
        abc=abc_classes(past),
        **more,
    )


def test_wape_and_bias_are_shares_of_actual_demand():
    actual, forecast = pl.Series([10.0, 0.0, 10.0]), pl.Series([8.0, 1.0, 14.0])
    assert wape(actual, forecast) == pytest.approx(7 / 20)
    assert bias(actual, forecast) == pytest.approx(3 / 20)
    assert wape([5, 5], [5, 5]) == 0.0


def test_without_any_demand_accuracy_is_not_a_number():
    assert math.isnan(wape([0.0], [1.0]))
    assert math.isnan(bias([], []))


@pytest.mark.parametrize("values", [pl.Series([1.0, None]), [1.0, math.nan], [1.0]])
def test_accuracy_over_what_is_not_known_is_refused(values: Any):
    for measure in (wape, bias):
        with pytest.raises(ValueError, match=r"not known|forecasts"):
            measure(pl.Series([1.0, 2.0]), values)


@pytest.mark.parametrize(
    ("demand", "expected"),
    [
        ([5.0, 6.0, 5.0, 6.0] * 10, "smooth"),
        ([1.0, 1.0, 1.0, 9.0] * 10, "erratic"),
        ([0.0, 0.0, 2.0] * 10, "intermittent"),
        ([0.0, 1.0, 0.0, 0.0, 9.0] * 10, "lumpy"),
    ],
)
def test_a_series_is_classed_by_how_seldom_and_how_unevenly_it_sells(demand: list[float], expected: str):
    assert demand_classes(days({"P1": list(demand)}))["demand_class"].to_list() == [expected]


def test_days_before_the_first_sale_and_days_of_unknown_demand_make_no_series_slow():
    found = demand_classes(days({"P1": [0.0] * 50 + [2.0, None] * 20, "P2": [0.0] * 90}))
    assert found["product_id"].to_list() == ["P1"]
    assert found["adi"].item() == 1.0


def test_the_product_that_crosses_a_border_of_turnover_still_belongs_above_it():
    history = days({"P1": [70.0], "P2": [20.0], "P3": [9.0], "P4": [1.0], "P5": [0.0]})
    # 70, 90, 99, 100: the second one crosses 80, the third one 95.
    assert abc_classes(history)["abc_class"].to_list() == ["A", "A", "B", "C", "C"]


def test_turnover_is_money_where_revenue_is_given_and_counts_in_its_own_store_for_90_days():
    history = pl.concat(
        [
            days({"P1": [1000.0] + [0.0] * 90, "P2": [1.0] * 91}),
            days({"P1": [1.0] * 91}, store="S2"),
        ]
    )
    assert abc_classes(history)["abc_class"].to_list() == ["C", "A", "A"]
    paid = days({"P1": [1.0], "P2": [9.0]}).with_columns(revenue=pl.Series([99.0, 1.0]))
    assert abc_classes(paid)["abc_class"].to_list() == ["A", "C"]


def scale_of(scales: pl.DataFrame, grain: str, item: str = "P1", origin: date = ORIGIN) -> float | None:
    found = scales.filter((pl.col("grain") == grain) & (pl.col("item") == item) & (pl.col("origin") == origin))
    return found["scale"].item()


def test_the_scale_of_a_series_is_its_mean_squared_step_from_the_first_sale_on():
    scales = naive_scales(days({"P1": [0.0, 0.0, 2.0, 4.0, 1.0]}), PRODUCTS, [ORIGIN])
    assert scale_of(scales, "product_store_day") == pytest.approx((2**2 + 3**2) / 2)


def test_a_day_of_unknown_demand_is_a_step_to_neither_side():
    scales = naive_scales(days({"P1": [2.0, 4.0, None, 90.0, 91.0]}), PRODUCTS, [ORIGIN])
    assert scale_of(scales, "product_store_day") == pytest.approx((2**2 + 1**2) / 2)


def test_the_scale_of_weeks_steps_from_block_to_block_that_end_at_the_origin():
    history = days({"P1": [50.0] * 3 + [1.0] * 7 + [2.0] * 7 + [4.0] * 7, "P2": [1.0] * 14})
    scales = naive_scales(history, PRODUCTS, [ORIGIN])
    # The three days before the first whole block are left out: 7, 14, 28 units.
    assert scale_of(scales, "product_store_week") == pytest.approx((7**2 + 14**2) / 2)
    # With the other product of the category: 7, 21, 35 units.
    assert scale_of(scales, "category_store_week", "milk") == pytest.approx(14**2)


def test_a_scale_sees_nothing_after_its_origin_and_grows_with_it():
    history = days({"P1": [1.0, 2.0] * 20 + [100.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]}, until=NEXT)
    scales = naive_scales(history, PRODUCTS, [NEXT, ORIGIN])
    alone = naive_scales(history.filter(pl.col("business_date") <= ORIGIN), PRODUCTS, [ORIGIN])
    for grain in ("product_store_day", "product_store_week"):
        assert scale_of(scales, grain) == pytest.approx(scale_of(alone, grain))
    steps = [1.0] * 39 + [98.0**2, 100.0**2] + [0.0] * 5
    assert scale_of(scales, "product_store_day", origin=NEXT) == pytest.approx(np.mean(steps))


def test_the_scales_of_a_store_are_the_same_whether_it_is_asked_for_alone():
    one, two = days({"P1": [1.0, 5.0] * 20}), days({"P1": [3.0, 4.0, 9.0] * 20, "P3": [1.0] * 30}, store="S2")
    both = naive_scales(pl.concat([two, one]), PRODUCTS, [ORIGIN, ORIGIN - timedelta(days=3)])
    alone = naive_scales(two, PRODUCTS, [ORIGIN, ORIGIN - timedelta(days=3)])
    assert both.filter(pl.col("store_id") == "S2").equals(alone)


def test_errors_of_single_days_cancel_out_in_a_week_and_those_of_products_in_their_category():
    forecasts = judged(
        "ours", {"P1": [2.0, 0.0] + [1.0] * 5, "P2": [3.0] * 7}, {"P1": [1.0] * 7, "P2": [3.0] * 6 + [4.0]}
    )
    found = report_of(forecasts)["grains"]
    assert found["product_store_day"]["ours"]["wape"] == pytest.approx(3 / 28)
    assert found["product_store_week"]["ours"]["wape"] == pytest.approx(1 / 28)
    assert found["category_store_week"]["ours"]["wape"] == pytest.approx(1 / 28)
    assert [found[grain]["ours"]["rows"] for grain in found] == [14, 2, 1]
    for grain in found:
        assert found[grain]["ours"]["bias"] == pytest.approx(1 / 28)
        assert found[grain]["ours"]["accuracy"] == pytest.approx(1 - found[grain]["ours"]["wape"])


def test_days_of_unknown_demand_are_in_neither_sum():
    forecasts = judged("ours", {"P1": [2.0, None, 4.0]}, {"P1": [2.0, 50.0, 3.0]})
    found = report_of(forecasts)["grains"]
    assert found["product_store_day"]["ours"]["rows"] == 2
    for grain in found:
        assert found[grain]["ours"]["wape"] == pytest.approx(1 / 6)


def test_rmsse_is_one_for_errors_as_large_as_the_steps_of_the_past():
    # P1 steps by 2 each day, P2 never: only P1 has a scale.
    forecasts = judged("ours", {"P1": [5.0] * 7, "P2": [9.0] * 7}, {"P1": [3.0] * 7, "P2": [1.0] * 7})
    assert report_of(forecasts)["grains"]["product_store_day"]["ours"]["rmsse"] == pytest.approx(1.0)


def test_rmsse_weighs_series_by_their_units_of_the_last_28_days():
    history = days({"P1": [1.0, 3.0] * 40, "P3": [10.0, 14.0] * 40})
    forecasts = judged("ours", {"P1": [5.0] * 7, "P3": [9.0] * 7}, {"P1": [3.0] * 7, "P3": [1.0] * 7})
    found = report_of(forecasts, history)["grains"]["product_store_day"]["ours"]["rmsse"]
    assert found == pytest.approx((1.0 * 2 + 8 / 4 * 12) / (2 + 12))


def test_rmsse_puts_errors_of_each_origin_in_relation_to_the_history_up_to_it():
    history = days({"P1": [1.0, 3.0] * 40 + [13.0, 3.0] * 4}, until=NEXT + timedelta(days=1))
    forecasts = pl.concat(judged("ours", {"P1": [5.0]}, {"P1": [2.0]}, origin) for origin in (ORIGIN, NEXT))
    first, then = (
        scale_of(naive_scales(history, PRODUCTS, [ORIGIN, NEXT]), "product_store_day", origin=origin)
        for origin in (ORIGIN, NEXT)
    )
    assert first != then
    assert report_of(forecasts, history)["grains"]["product_store_day"]["ours"]["rmsse"] == pytest.approx(
        math.sqrt((9 / first + 9 / then) / 2)  # type: ignore[operator]
    )


def test_coverage_is_the_share_of_days_between_the_quantiles_borders_included():
    # Quantiles at mean-4 … mean+4: 50 % is ±1, 80 % ±2, 95 % ±4.
    forecasts = judged("ours", {"P1": [10.0, 11.0, 12.0, 14.0, 15.0]}, {"P1": [10.0] * 5}, spread=1.0)
    found = report_of(forecasts)["grains"]["product_store_day"]["ours"]
    assert [found[name] for name in ("coverage50", "coverage80", "coverage95")] == [0.4, 0.6, 0.8]


def test_pinball_is_the_mean_loss_of_all_levels_over_the_mean_actual():
    forecasts = judged("ours", {"P1": [10.0, 13.0]}, {"P1": [10.0, 10.0]}, spread=1.0)
    losses = [
        max(level * (actual - quantile), (level - 1) * (actual - quantile))
        for actual in (10.0, 13.0)
        for quantile, level in zip(np.arange(6.0, 15.0), QUANTILES.values(), strict=True)
    ]
    assert report_of(forecasts)["grains"]["product_store_day"]["ours"]["pinball"] == pytest.approx(
        np.mean(losses) / 11.5
    )


def test_a_model_without_quantiles_is_judged_by_its_mean_alone():
    forecasts = judged("ours", {"P1": [1.0]}, {"P1": [2.0]})
    for frame in (forecasts, forecasts.drop(*QUANTILES)):
        found = report_of(frame)["grains"]["product_store_day"]["ours"]
        assert found["wape"] == 1.0
        assert found["pinball"] is None
        assert found["coverage95"] is None


def test_quantiles_of_a_sum_count_where_they_are_given_and_are_never_summed_up():
    forecasts = judged("ours", {"P1": [1.0] * 7, "P2": [2.0] * 7}, {"P1": [1.0] * 7, "P2": [1.0] * 7}, spread=1.0)
    assert report_of(forecasts)["grains"]["product_store_week"]["ours"]["coverage50"] is None
    of_weeks = pl.DataFrame(
        {"model": ["ours"] * 2, "origin": [ORIGIN] * 2, "store_id": ["S1"] * 2, "product_id": ["P1", "P2"]}
    ).with_columns(pl.lit(5.0 + number).alias(name) for number, name in enumerate(QUANTILES))
    found = report_of(forecasts, quantiles={"product_store_week": of_weeks})["grains"]
    # 7 units lie between 5 and 13 but not between the quartiles, which are 8 and 10; 14 units in none.
    measures = found["product_store_week"]["ours"]
    assert [measures[name] for name in ("coverage50", "coverage80", "coverage95")] == [0.0, 0.5, 0.5]
    assert found["category_store_week"]["ours"]["coverage50"] is None


def test_quantiles_of_a_week_are_scaled_to_the_days_whose_demand_is_known():
    forecasts = judged("ours", {"P1": [1.0] * 6 + [None]}, {"P1": [1.0] * 7})
    of_weeks = pl.DataFrame({"model": "ours", "origin": [ORIGIN], "store_id": "S1", "product_id": "P1"}).with_columns(
        pl.lit(7.0).alias(name) for name in QUANTILES
    )
    found = report_of(forecasts, quantiles={"product_store_week": of_weeks})["grains"]["product_store_week"]["ours"]
    assert found["pinball"] == pytest.approx(0.0, abs=1e-12)


def test_measures_by_class_are_of_the_series_of_the_class_alone():
    forecasts = judged("ours", {"P1": [4.0], "P2": [2.0], "P3": [9.0]}, {"P1": [3.0], "P2": [2.0], "P3": [0.0]})
    classes = report_of(forecasts)["classes"]
    # P1 and P2 sell each day, P3 each third one; the history has 160, 160 and 270 units.
    assert set(classes["demand"]) == {"smooth", "intermittent"}
    assert classes["demand"]["smooth"]["product_store_day"]["ours"]["wape"] == pytest.approx(1 / 6)
    assert classes["demand"]["intermittent"]["product_store_week"]["ours"]["wape"] == 1.0
    assert sum(found["product_store_day"]["ours"]["rows"] for found in classes["abc"].values()) == 3
    assert "category_store_week" not in classes["demand"]["smooth"]


def test_skill_is_judged_on_the_rows_that_both_have():
    actual: dict[str, list[float | None]] = {"P1": [10.0] * 7, "P3": [5.0] * 7}
    ours = judged("ours", actual, {"P1": [9.0] * 7, "P3": [50.0] * 7})
    rival = judged("rival", {"P1": [10.0] * 7}, {"P1": [8.0] * 6 + [None]})
    found = report_of(pl.concat([ours, rival]))["skill"]
    # The rival knows nothing of P3, and nothing of the last day.
    assert found["product_store_day"]["rival"] == {"skill": pytest.approx(0.5), "low": None, "high": None, "rows": 6}
    assert found["category_store_week"]["rival"]["skill"] == pytest.approx(0.5)
    assert found["category_store_week"]["rival"]["rows"] == 1


def test_the_interval_of_skill_is_students_t_over_origins():
    origins = [ORIGIN + timedelta(days=7 * n) for n in range(4)]
    errors = [(1.0, 2.0), (2.0, 3.0), (1.0, 3.0), (3.0, 4.0)]
    forecasts = pl.concat(
        judged(name, {"P1": [10.0]}, {"P1": [10.0 + error[place]]}, origin)
        for origin, error in zip(origins, errors, strict=True)
        for place, name in enumerate(("ours", "rival"))
    )
    found = skill(forecasts, "ours", "rival", "product_store_day")
    ours, theirs = np.array(errors).T
    ratio = 7 / 12
    spread = np.std(ours - ratio * theirs, ddof=1) * math.sqrt(4) / 12
    assert found.skill == pytest.approx(1 - ratio)
    assert found.low == pytest.approx(1 - ratio - 3.182446 * spread, abs=1e-6)  # t of 3 degrees of freedom
    assert found.high == pytest.approx(1 - ratio + 3.182446 * spread, abs=1e-6)


def test_the_interval_holds_the_true_skill_about_as_often_as_it_says():
    generator, held, times = np.random.default_rng(5), 0, 400
    for _ in range(times):
        level = generator.gamma(8.0, 1.0, 8)
        ours, theirs = 0.8 * level * generator.lognormal(0, 0.1, 8), level * generator.lognormal(0, 0.1, 8)
        rows = pl.DataFrame(
            {
                "origin": [ORIGIN + timedelta(days=7 * n) for n in range(8)] * 2,
                "model": ["ours"] * 8 + ["rival"] * 8,
                "mean": np.concatenate([ours, theirs]),
            }
        ).with_columns(target_date="origin", store_id=pl.lit("S"), product_id=pl.lit("P"), actual=pl.lit(0.0))
        found = skill(rows, "ours", "rival", "product_store_day")
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1 - 0.8 <= found.high
    assert 0.92 <= held / times <= 0.98


def test_an_unknown_grain_is_refused_and_categories_need_the_products():
    forecasts = judged("ours", {"P1": [1.0]}, {"P1": [1.0]})
    with pytest.raises(ValueError, match="no grain"):
        skill(forecasts, "ours", "ours", "store_month")
    with pytest.raises(ValueError, match="categories"):
        skill(forecasts, "ours", "ours", "category_store_week")


def test_a_report_is_valid_json_even_where_nothing_was_demanded():
    forecasts = pl.concat(
        [judged("ours", {"P1": [0.0]}, {"P1": [0.0]}), judged("rival", {"P1": [0.0]}, {"P1": [math.nan]})]
    )
    found = report_of(forecasts)
    assert found["grains"]["product_store_day"]["ours"]["wape"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert report_of(forecasts.clear())["grains"]["product_store_day"] == {}
