"""Reorder points: the formula, the rules of the trade, and a reason in every row."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from retail_assets.contracts.tables import INVENTORY_REORDER_POINTS
from retail_assets.contracts.types import polars_schema
from retail_assets.domain.errors import DEFAULT_ERROR_MODEL, ErrorModel
from retail_assets.domain.inventory_policy import (
    MAX_DAYS_OF_COVER,
    demand_exceeds,
    demand_quantile,
    lead_time_demand,
    most_urgent,
    reorder_points,
)

TODAY = date(2024, 6, 3)
EMPTY = pl.DataFrame()
INDEPENDENT = ErrorModel(1.5, 1.0, (), DEFAULT_ERROR_MODEL.residual_quantiles, 0.0, 1000)


def forecasts(means: dict[str, list[float]]) -> pl.DataFrame:
    return pl.DataFrame(
        [("S1", product, day, mean, TODAY) for product, days in means.items() for day, mean in enumerate(days, 1)],
        schema={
            "store_id": pl.String,
            "product_id": pl.String,
            "horizon": pl.Int32,
            "mean": pl.Float64,
            "run_date": pl.Date,
        },
        orient="row",
    )


def stock(**on_hand: float) -> pl.DataFrame:
    return pl.DataFrame({"store_id": ["S1"] * len(on_hand), "product_id": [*on_hand], "on_hand": [*on_hand.values()]})


def products(pack: int | None = 12, minimum: int | None = 1, shelf_life: int | None = 0) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "product_id": ["P1"],
            "supplier_id": ["V1"],
            "pack_size": [pack],
            "minimum_order_packs": [minimum],
            "shelf_life_days": [shelf_life],
        },
        schema_overrides={"pack_size": pl.Int32, "minimum_order_packs": pl.Int32, "shelf_life_days": pl.Int32},
    )


def suppliers(lead: float | None = 3.0, sd: float | None = 0.0, review: int | None = 1) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "supplier_id": ["V1"],
            "lead_time_days_mean": [lead],
            "lead_time_days_sd": [sd],
            "review_period_days": [review],
        },
        schema_overrides={
            "lead_time_days_mean": pl.Float64,
            "lead_time_days_sd": pl.Float64,
            "review_period_days": pl.Int32,
        },
    )


def orders(*rows: tuple[int, int, int | None, float]) -> pl.DataFrame:
    """Orders of P1: days from today of ordering, promise and receipt, and the quantity."""

    def day(offset: int | None) -> date | None:
        return None if offset is None else TODAY + timedelta(days=offset)

    return pl.DataFrame(
        [("S1", "P1", day(o), day(e), day(r), q) for o, e, r, q in rows],
        schema={
            "store_id": pl.String,
            "product_id": pl.String,
            "ordered_on": pl.Date,
            "expected_on": pl.Date,
            "received_on": pl.Date,
            "quantity": pl.Float64,
        },
        orient="row",
    )


def decide(means: list[float] | None = None, on_hand: float | None = 9.0, **tables: Any) -> dict[str, Any]:
    frame = reorder_points(
        forecasts({"P1": means if means is not None else [5.0] * 7}),
        EMPTY if on_hand is None else stock(P1=on_hand),
        tables.get("orders", EMPTY),
        tables.get("products", products()),
        tables.get("suppliers", suppliers()),
        tables.get("error_model", INDEPENDENT),
        TODAY,
        tables.get("service_level", 0.95),
    )
    assert frame.height == 1
    assert frame.schema == polars_schema(INVENTORY_REORDER_POINTS.columns)
    assert all(frame[name].null_count() == 0 for name in frame.columns)
    row = frame.row(0, named=True)
    for column in INVENTORY_REORDER_POINTS.columns:
        if column.minimum is not None:
            assert row[column.name] >= column.minimum
        if column.maximum is not None:
            assert row[column.name] <= column.maximum
    return row


def test_nothing_forecast_is_an_empty_table_of_the_contract():
    frame = reorder_points(EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, DEFAULT_ERROR_MODEL, TODAY)
    assert frame.is_empty()
    assert frame.schema == polars_schema(INVENTORY_REORDER_POINTS.columns)
    assert most_urgent(frame, 5).is_empty()


def test_stock_has_to_last_for_lead_time_and_review_period():
    row = decide()
    assert row["expected_demand"] == 20.0  # 5 a day over 3 + 1 days
    assert row["reorder_point"] == demand_quantile(20.0, 1.5 * 20.0, 0.95)
    assert row["safety_stock"] == row["reorder_point"] - 20.0
    assert row["order_up_to"] == pytest.approx(row["reorder_point"] + 5.0)
    assert row["days_of_cover"] == pytest.approx(9 / 5)
    assert row["reason"] == "Order 36 (3 packs): 9 left, 20 expected in the 4 days until the next order can arrive."


def test_above_the_reorder_point_nothing_is_ordered():
    row = decide(on_hand=400)
    assert row["order_quantity"] == 0.0
    assert row["reason"] == "No order: 400 left, enough for a reorder point of 30."


def test_days_beyond_the_forecast_repeat_its_week():
    week = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert decide(week, suppliers=suppliers(lead=8.5))["expected_demand"] == pytest.approx(28 + 1 + 2 + 0.5 * 3)


def test_a_day_without_forecast_is_a_mean_day():
    assert decide([4.0, 6.0], suppliers=suppliers(lead=6))["expected_demand"] == pytest.approx(35.0)


def test_what_is_on_order_counts_unless_it_came_or_was_ordered_later_or_is_lost():
    placed = orders((-2, 1, None, 10), (-9, -3, -1, 20), (1, 4, None, 40), (-2, 1, 1, 80), (-90, -60, None, 160))
    row = decide(orders=placed)
    assert row["on_order"] == 90.0
    assert row["reason"].endswith("An order more than 28 days late is not counted on.")
    assert decide(orders=orders((-2, 1, None, 10)))["order_quantity"] < decide()["order_quantity"]


def test_the_risk_of_running_out_counts_only_what_is_due_before_a_delivery_ordered_now():
    late, early, none = (decide(on_hand=15, orders=orders((-2, due, None, 12))) for due in (9, 2, 9))
    bare = decide(on_hand=15)
    assert early["stockout_risk"] < late["stockout_risk"] == none["stockout_risk"] == bare["stockout_risk"]
    assert bare["stockout_risk"] == pytest.approx(demand_exceeds(15.0, 22.5, 15.0).item())


def test_a_product_that_spoils_is_ordered_only_as_far_as_it_sells_in_time():
    row = decide([5.0] * 7, on_hand=0, products=products(pack=2, shelf_life=3), suppliers=suppliers(lead=1, review=5))
    assert row["order_quantity"] == 14.0  # 15 sell within three days
    assert "Kept to what sells within 3 days of shelf life." in row["reason"]
    left = decide([5.0] * 7, on_hand=12, products=products(pack=2, shelf_life=3), suppliers=suppliers(lead=1, review=5))
    assert left["order_quantity"] == 8.0  # and 7 of those 15 are still there when the delivery comes
    none = decide([0.5] * 7, on_hand=0, products=products(pack=12, shelf_life=3))
    assert none["order_quantity"] == 0.0
    assert none["reason"] == (
        "No order: 0 left, and of a delivery of at least 12 only 1.5 would sell within 3 days of shelf life."
    )


def test_the_suppliers_minimum_is_kept():
    assert decide(on_hand=28, products=products(pack=4, minimum=10))["order_quantity"] == 40.0


def test_what_does_not_sell_is_not_ordered_even_on_an_empty_shelf():
    for means in ([0.0] * 7, [0.001] * 7):
        row = decide(means, on_hand=0)
        assert (row["order_quantity"], row["reorder_point"]) == (0.0, 0.0)
        assert "no stock is needed" in row["reason"]
    assert decide([0.0] * 7, on_hand=5)["days_of_cover"] == MAX_DAYS_OF_COVER


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"on_hand": None}, "Stock unknown, taken as 0."),
        ({"on_hand": -3.0}, "less than nothing, taken as 0: count the shelf."),
        ({"products": EMPTY}, "Not in the catalogue"),
        ({"suppliers": EMPTY}, "Lead time unknown, taken as 7 days."),
        ({"suppliers": suppliers(lead=None)}, "Lead time unknown"),
        ({"suppliers": suppliers(lead=float("nan"), sd=float("nan"), review=None)}, "Lead time unknown"),
        ({"products": products(pack=0)}, "Pack size unknown: single units."),
        ({"products": products(pack=None, minimum=None, shelf_life=None)}, "Pack size unknown"),
        ({"suppliers": suppliers(lead=0.0, sd=None, review=0)}, "until the next order can arrive."),
    ],
)
def test_what_is_missing_or_impossible_has_a_result_and_a_reason(tables: dict[str, Any], said: str):
    row = decide(**tables)
    assert said in row["reason"]
    assert row["order_quantity"] > 0


def test_negative_stock_is_shown_as_it_is_and_decided_on_as_zero():
    below, zero = decide(on_hand=-8), decide(on_hand=0)
    assert below["on_hand"] == -8
    assert below["days_of_cover"] == 0.0
    assert below["order_quantity"] == zero["order_quantity"]


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_service_level_that_is_no_probability_is_refused(level: float):
    with pytest.raises(ValueError, match="between 0 and 1"):
        decide(service_level=level)


situations = st.fixed_dictionaries(
    {
        "means": st.lists(st.floats(0, 200, allow_nan=False), min_size=1, max_size=7),
        "products": st.builds(products, st.integers(1, 48), st.integers(1, 5), st.sampled_from([0, 0, 2, 7, 40])),
        "suppliers": st.builds(suppliers, st.floats(0, 30), st.floats(0, 6), st.integers(1, 10)),
        "error_model": st.builds(
            ErrorModel,
            st.floats(0.1, 4),
            st.floats(0.5, 2),
            st.just(()),
            st.just(DEFAULT_ERROR_MODEL.residual_quantiles),
            st.floats(0, 0.9),
            st.just(10),
        ),
    }
)


@settings(max_examples=60, deadline=None)
@given(situation=situations, on_hand=st.floats(-50, 3000))
def test_orders_are_whole_packs_at_least_the_minimum_and_never_negative(situation: dict[str, Any], on_hand: float):
    row = decide(on_hand=on_hand, **situation)
    product = situation["products"].row(0, named=True)
    packs = row["order_quantity"] / product["pack_size"]
    assert packs == round(packs)
    assert packs == 0 or packs >= product["minimum_order_packs"]
    if row["order_quantity"] > 0 and product["shelf_life_days"] == 0:
        assert max(on_hand, 0) + row["order_quantity"] >= row["order_up_to"] - 1e-6


@settings(max_examples=60, deadline=None)
@given(situation=situations, levels=st.tuples(st.floats(0.01, 0.999), st.floats(0.01, 0.999)))
def test_a_higher_service_level_never_gives_a_lower_reorder_point(
    situation: dict[str, Any], levels: tuple[float, float]
):
    low, high = (decide(service_level=level, **situation) for level in sorted(levels))
    assert low["reorder_point"] <= high["reorder_point"]
    assert low["order_up_to"] <= high["order_up_to"] + 1e-9


@settings(max_examples=60, deadline=None)
@given(situation=situations, on_hand=st.tuples(st.floats(-10, 2000), st.floats(-10, 2000)))
def test_more_stock_never_orders_more_nor_risks_more(situation: dict[str, Any], on_hand: tuple[float, float]):
    less, more = (decide(on_hand=level, **situation) for level in sorted(on_hand))
    assert more["order_quantity"] <= less["order_quantity"]
    assert more["stockout_risk"] <= less["stockout_risk"] + 1e-12


@settings(max_examples=20, deadline=None)
@given(
    ids=st.lists(st.sampled_from([f"P{n}" for n in range(9)]), unique=True),
    known=st.lists(st.sampled_from([f"P{n}" for n in range(9)])),
)
def test_every_series_that_is_forecast_has_one_row_and_no_other_has(ids: list[str], known: list[str]):
    held = pl.DataFrame(
        {"store_id": ["S1"] * len(known), "product_id": known, "on_hand": [1.0] * len(known)},
        schema_overrides={"store_id": pl.String, "product_id": pl.String},
    )
    yesterday = forecasts({"P8": [1.0]}).with_columns(run_date=TODAY - timedelta(days=1))
    predicted = pl.concat([forecasts({product: [1.0] * 7 for product in ids}), yesterday])
    twice = pl.concat([products(), products()])
    frame = reorder_points(
        predicted, held, orders((-1, 2, None, 1), (-1, 2, None, 1)), twice, suppliers(), INDEPENDENT, TODAY
    )
    assert frame["product_id"].to_list() == sorted(ids)


@pytest.mark.parametrize(
    ("daily", "lead", "lead_sd", "review"), [(8.0, 5, 0.0, 2), (8.0, 6, 1.5, 2), (0.3, 6, 1.0, 1), (40.0, 12, 2.0, 7)]
)
def test_the_reorder_point_keeps_its_service_level_in_a_simulation(
    daily: float, lead: int, lead_sd: float, review: int
):
    random = np.random.default_rng(11)
    runs, factor = 40_000, 1.5
    row = decide([daily] * 7, suppliers=suppliers(lead=lead, sd=lead_sd, review=review), service_level=0.95)
    # Whole days with the lead time's own mean and spread; demand of each day negative binomial, variance 1.5 · mean.
    offsets = random.choice([-lead_sd, lead_sd], runs) if lead_sd else np.zeros(runs)
    days = lead + review + np.floor(offsets + random.random(runs))
    size = daily / (factor - 1)
    total = random.negative_binomial(size * np.maximum(days, 1e-9), 1 / factor)
    kept = float(np.mean(total <= row["reorder_point"]))
    assert kept >= 0.94
    # One unit fewer must miss the level, but for the shape of lead times: the formula knows their spread alone.
    fewer = float(np.mean(total <= row["reorder_point"] - max(2.0, 0.15 * row["reorder_point"])))
    assert fewer < 0.95


def test_correlated_errors_add_up_as_they_do_in_a_simulation():
    random = np.random.default_rng(12)
    model = ErrorModel(2.0, 1.0, (), DEFAULT_ERROR_MODEL.residual_quantiles, 0.3, 10)
    daily = np.array([[5.0, 10.0, 20.0, 5.0, 10.0, 20.0, 30.0]])
    errors = np.sqrt(0.3) * random.normal(size=(50_000, 1)) + np.sqrt(0.7) * random.normal(size=(50_000, 7))
    wanted = float(np.var((errors * model.sd(daily)).sum(axis=1)))
    mean, variance = lead_time_demand(daily, np.array([7.0]), np.array([0.0]), model)
    assert mean.item() == 100.0
    assert variance.item() == pytest.approx(wanted, rel=0.03)


@settings(max_examples=100, deadline=None)
@given(mean=st.floats(1e-4, 1e5), ratio=st.floats(0.2, 50), level=st.floats(0.5, 0.999))
def test_a_quantile_and_the_risk_beyond_it_are_of_one_distribution(mean: float, ratio: float, level: float):
    quantile = demand_quantile(mean, mean * ratio, level).item()
    assert np.isfinite(quantile)
    assert quantile == round(quantile)
    assert demand_exceeds(mean, mean * ratio, quantile).item() <= 1 - level + 1e-6
    assume(quantile >= 1)
    assert demand_exceeds(mean, mean * ratio, quantile - 1).item() >= 1 - level - 1e-6


def test_demand_that_varies_no_more_than_by_chance_is_poisson():
    assert demand_quantile(10.0, 4.0, 0.95).item() == poisson.ppf(0.95, 10.0)
    assert demand_quantile(0.0, 0.0, 0.95).item() == 0.0


def test_the_most_urgent_come_first_and_always_in_the_same_order():
    means = {"P1": [5.0] * 7, "P2": [50.0] * 7, "P3": [50.0] * 7, "P4": [50.0] * 7, "P5": [50.0] * 7}
    frame = reorder_points(
        forecasts(means), stock(P1=0, P2=5, P3=5, P4=5000, P5=0), EMPTY, EMPTY, EMPTY, INDEPENDENT, TODAY
    )
    for shuffled in (frame, frame.reverse(), frame.sample(fraction=1.0, shuffle=True, seed=1)):
        first = most_urgent(shuffled, 4)
        assert first["product_id"].to_list() == ["P5", "P2", "P3", "P1"]
        assert first.schema == frame.schema
    assert most_urgent(frame, 0).is_empty()
    assert most_urgent(frame, 99).height == 5
