"""Demand looks like retail demand. Bands are wide: they catch a broken formula, not an unlucky seed."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from retail_assets.simulator.demand import Demand, draw_demand, truth_frame
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.world import World, build_world


@pytest.fixture(scope="module")
def asked() -> Scenario:
    return Scenario(last_date=date(2026, 1, 31), seed=11, days=365)


@pytest.fixture(scope="module")
def world(asked: Scenario) -> World:
    return build_world(asked)


@pytest.fixture(scope="module")
def demand(asked: Scenario, world: World) -> Demand:
    return draw_demand(asked, world)


def test_a_series_sells_about_three_units_a_day(demand: Demand) -> None:
    assert 2.4 < demand.units.mean() < 3.6


def test_nearly_half_of_all_days_are_without_demand(demand: Demand) -> None:
    assert 0.35 < (demand.units == 0).mean() < 0.55


def test_a_fifth_of_the_series_carries_two_thirds_of_the_units(demand: Demand) -> None:
    totals = np.sort(demand.units.sum(axis=0))[::-1]
    assert 0.6 < totals[: totals.size // 5].sum() / totals.sum() < 0.73


def test_variance_grows_faster_than_the_mean(demand: Demand) -> None:
    mean, variance = demand.units.mean(axis=0), demand.units.var(axis=0)
    assert 1.7 < np.median(variance / mean) < 3.2
    exponent = np.polyfit(np.log(mean), np.log(variance), 1)[0]
    assert 1.1 < exponent < 1.4


def test_the_weekend_sells_more_than_the_middle_of_the_week(asked: Scenario, demand: Demand) -> None:
    weekday = np.array([day.weekday() for day in asked.dates])
    saturday, wednesday = (demand.units[weekday == day].mean() for day in (5, 2))
    assert 1.2 < saturday / wednesday < 1.6


def test_a_promotion_multiplies_demand(demand: Demand) -> None:
    on_promotion = demand.promotion >= 0
    without = np.where(on_promotion, np.nan, demand.units)
    expected = np.broadcast_to(np.nanmean(without, axis=0), demand.units.shape)[on_promotion]
    assert 2.0 < demand.units[on_promotion].sum() / expected.sum() < 5.0


def test_a_promotion_lifts_just_its_own_days_store_and_product(asked: Scenario, world: World, demand: Demand) -> None:
    row = world.promotions.with_row_index().filter(pl.col("starts_on") > asked.first_date).row(0, named=True)
    days, series = np.nonzero(demand.promotion == row["index"])
    assert [asked.dates[day] for day in days] == pl.date_range(row["starts_on"], row["ends_on"], eager=True).to_list()
    expected = world.stores["store_id"].to_list().index(row["store_id"]) * asked.products
    expected += world.products["product_id"].to_list().index(row["product_id"])
    assert set(series) == {expected}


def test_a_series_has_no_demand_before_it_begins(asked: Scenario, world: World, demand: Demand) -> None:
    late = demand.starts > 0
    assert late.any(), "this seed should have a product that is launched within the history"
    assert all(demand.units[:start, series].sum() == 0 for series, start in enumerate(demand.starts))
    truth = truth_frame(asked, world, demand)
    assert truth.height == int((asked.days - demand.starts).sum())
    assert truth["demand"].sum() == demand.units.sum()
