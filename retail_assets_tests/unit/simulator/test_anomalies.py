"""What goes wrong on purpose is planned, labelled, and the same however long the scenario is."""

from datetime import date, timedelta
from functools import lru_cache

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.contracts.types import polars_schema
from retail_assets.simulator.demand.anomalies import TRUTH_ANOMALIES, Anomaly, AnomalyKind, AnomalyPlan
from retail_assets.simulator.demand.model import DemandModel
from retail_assets.simulator.randomness import BLOCK_DAYS
from retail_assets.simulator.scenario import AnomalyRates, Scenario
from retail_assets.simulator.world.world import World, build_world

RATES = AnomalyRates(
    demand_spikes=20,
    demand_drops=20,
    double_scans=20,
    thefts=20,
    price_errors=20,
    silent_tills=20,
    missed_deliveries=20,
)
DAYS = 200


def scenario_of(days: int = DAYS, rates: AnomalyRates = RATES) -> Scenario:
    last = date(2025, 1, 1) + timedelta(days=days - 1)
    return Scenario(last_date=last, days=days, stores=3, products=60, anomalies=rates)


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(scenario_of())


@lru_cache(maxsize=4)
def plan_of(days: int = DAYS) -> AnomalyPlan:
    asked = scenario_of(days)
    return DemandModel(asked, build_world(asked)).anomalies


def everything(plan: AnomalyPlan, days: int = DAYS) -> list[Anomaly]:
    blocks = range(-(-days // BLOCK_DAYS))
    return [anomaly for store in range(3) for block in blocks for anomaly in plan.starting(store, block)]


def test_every_kind_occurs_about_as_often_as_asked_for() -> None:
    found = [anomaly.kind for anomaly in everything(plan_of())]
    for kind in AnomalyKind:
        assert 15 < found.count(kind) < 60, kind


def test_without_rates_nothing_goes_wrong() -> None:
    asked = scenario_of(rates=AnomalyRates())
    plan = DemandModel(asked, build_world(asked)).anomalies
    assert everything(plan) == []
    assert plan.demand_factor(0, 3) is None
    assert plan.labels(0, DAYS).is_empty()


def test_anomalies_are_short_and_have_ids_of_their_own() -> None:
    found = everything(plan_of())
    assert len({anomaly.anomaly_id for anomaly in found}) == len(found)
    for anomaly in found:
        assert 0 <= anomaly.last_day - anomaly.first_day < BLOCK_DAYS
        assert anomaly.from_ms < anomaly.until_ms or anomaly.first_day < anomaly.last_day
        assert anomaly.size >= 0


def test_tills_are_to_blame_during_hours_of_trade(world: World) -> None:
    at_till = [a for a in everything(plan_of()) if a.kind in {AnomalyKind.DOUBLE_SCAN, AnomalyKind.SILENT_TILL}]
    for anomaly in at_till:
        store_format = world.formats[anomaly.store]
        assert anomaly.register is not None
        assert anomaly.register < store_format.registers
        assert store_format.opens_at_hour * 3_600_000 <= anomaly.from_ms
        assert anomaly.until_ms <= store_format.closes_at_hour * 3_600_000


def test_goods_are_hit_while_they_are_on_sale() -> None:
    asked = scenario_of()
    model = DemandModel(asked, build_world(asked))
    hit = [a for a in everything(model.anomalies) if a.product is not None]
    assert hit
    for anomaly in hit:
        assert model.starts[anomaly.store, anomaly.product] <= anomaly.first_day
        assert anomaly.first_day < model.ends[anomaly.store, anomaly.product]


def test_a_category_is_all_its_products(world: World) -> None:
    plan = plan_of()
    whole = next(anomaly for anomaly in everything(plan) if anomaly.category is not None)
    names = world.products["category"].to_list()
    assert [names[product] for product in plan.products_of(whole)] == [whole.category] * names.count(whole.category)


@given(st.integers(0, 2), st.integers(0, DAYS - 1))
@settings(deadline=None)
def test_a_days_anomalies_are_those_whose_days_it_lies_between(store: int, day: int) -> None:
    plan = plan_of()
    expected = {a.anomaly_id for a in everything(plan) if a.store == store and a.first_day <= day <= a.last_day}
    assert {anomaly.anomaly_id for anomaly in plan.on(store, day)} == expected


@given(st.integers(2, 120))
@settings(max_examples=10, deadline=None)
def test_more_days_change_no_anomaly_of_the_days_before(days: int) -> None:
    assert plan_of(days).labels(0, days).equals(plan_of().labels(0, days))


def test_a_window_covers_whole_days_but_the_first_and_last() -> None:
    anomaly = Anomaly("A", AnomalyKind.THEFT, 0, None, None, 5, None, 10, 12, from_ms=100, until_ms=200, size=1.0)
    day = 24 * 3_600_000
    assert [anomaly.window_ms(n) for n in (10, 11, 12)] == [(100, day), (0, day), (0, 200)]


def test_labels_say_what_where_and_when(world: World) -> None:
    labels = plan_of().labels(0, DAYS)
    assert labels.schema == polars_schema(TRUTH_ANOMALIES.columns)
    assert (labels["ends_at"] > labels["starts_at"]).all()
    assert set(labels["store_id"]) == set(world.stores["store_id"])
    first = pl.col("starts_at").dt.convert_time_zone("Europe/Berlin").dt.date()
    assert labels.select(first.min()).item() >= date(2025, 1, 1)
    parts = [plan_of().labels(first, after) for first, after in ((0, 10), (10, 100), (100, DAYS))]
    assert pl.concat(parts).sort("anomaly_id").equals(labels)


def test_a_label_of_a_whole_day_begins_at_local_midnight() -> None:
    labels = plan_of().labels(0, DAYS).filter(pl.col("kind") == "theft")
    local = labels["starts_at"].dt.convert_time_zone("Europe/Berlin")
    # On the day on which the clocks change, midnight is an hour off.
    assert (local.dt.hour() == 0).mean() > 0.9  # type: ignore[operator]
