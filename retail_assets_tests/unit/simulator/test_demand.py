"""Demand looks like retail demand. Bands are wide: they catch a broken formula, not an unlucky seed."""

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.simulator.demand.model import DemandModel
from retail_assets.simulator.randomness import BLOCK_DAYS
from retail_assets.simulator.scenario import AnomalyRates, CatalogueSettings, DemandSettings, Scenario
from retail_assets.simulator.world.world import World, build_world

#: Demand without any effect but base and draw.
PLAIN = DemandSettings(
    trend_spread=0.0,
    season=0.0,
    pay_day=0.0,
    weekday=0.0,
    holidays=0.0,
    weather=0.0,
    drift=0.0,
    shocks=0.0,
    price=0.0,
)
LASTING = CatalogueSettings(launched_later=0.0, discontinued=0.0)


@dataclass(frozen=True)
class Drawn:
    """Demand of all series on all days, days x series, and the day on which each series begins."""

    units: npt.NDArray[np.int32]
    promotion: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]


def drawn(asked: Scenario, world: World) -> Drawn:
    model = DemandModel(asked, world)
    blocks = range(-(-asked.days // BLOCK_DAYS))
    stores = [[model.block(store, block) for block in blocks] for store in range(asked.stores)]
    units, promotion = (
        np.concatenate([np.concatenate([getattr(block, name) for block in of_store]) for of_store in stores], axis=1)
        for name in ("units", "promotion")
    )
    return Drawn(units[: asked.days], promotion[: asked.days], model.starts.ravel())


@pytest.fixture(scope="module")
def asked() -> Scenario:
    return Scenario(last_date=date(2026, 1, 31), seed=11, days=365)


@pytest.fixture(scope="module")
def world(asked: Scenario) -> World:
    return build_world(asked)


@pytest.fixture(scope="module")
def demand(asked: Scenario, world: World) -> Drawn:
    return drawn(asked, world)


def test_a_series_sells_about_three_units_a_day(demand: Drawn) -> None:
    assert 2.6 < demand.units.mean() < 4.0


def test_nearly_half_of_all_days_are_without_demand(demand: Drawn) -> None:
    assert 0.35 < (demand.units == 0).mean() < 0.55


def test_a_fifth_of_the_series_carries_two_thirds_of_the_units(demand: Drawn) -> None:
    totals = np.sort(demand.units.sum(axis=0))[::-1]
    assert 0.6 < totals[: totals.size // 5].sum() / totals.sum() < 0.73


def test_variance_grows_faster_than_the_mean(demand: Drawn) -> None:
    sold = demand.units[:, demand.units.any(axis=0)]
    mean, variance = sold.mean(axis=0), sold.var(axis=0)
    assert 1.7 < np.median(variance / mean) < 3.2
    exponent = np.polyfit(np.log(mean), np.log(variance), 1)[0]
    assert 1.1 < exponent < 1.4


def test_the_weekend_sells_more_than_the_middle_of_the_week(asked: Scenario, demand: Drawn) -> None:
    weekday = np.array([day.weekday() for day in asked.dates])
    saturday, wednesday = (demand.units[weekday == day].mean() for day in (5, 2))
    assert 1.2 < saturday / wednesday < 1.6


def test_a_promotion_multiplies_demand(demand: Drawn) -> None:
    on_promotion = demand.promotion >= 0
    on_sale = demand.units.any(axis=0)
    without = np.where(on_promotion, np.nan, demand.units)[:, on_sale]
    expected = np.broadcast_to(np.nanmean(without, axis=0), without.shape)[on_promotion[:, on_sale]]
    assert 2.0 < demand.units[:, on_sale][on_promotion[:, on_sale]].sum() / expected.sum() < 6.0


def test_a_promotion_lifts_just_its_own_days_store_and_product(asked: Scenario, world: World, demand: Drawn) -> None:
    row = world.promotions.with_row_index().filter(pl.col("starts_on") > asked.first_date).row(0, named=True)
    days, series = np.nonzero(demand.promotion == row["index"])
    assert [asked.dates[day] for day in days] == pl.date_range(row["starts_on"], row["ends_on"], eager=True).to_list()
    expected = world.stores["store_id"].to_list().index(row["store_id"]) * asked.products
    expected += world.products["product_id"].to_list().index(row["product_id"])
    assert set(series) == {expected}


def test_a_series_has_no_demand_before_it_begins(demand: Drawn) -> None:
    late = demand.starts > 0
    assert late.any(), "this seed should have a product that is launched within the history"
    assert all(demand.units[:start, series].sum() == 0 for series, start in enumerate(demand.starts))


def mean_of(asked: Scenario, store: int = 0) -> npt.NDArray[np.float64]:
    """Return mean demand of one store, days x products."""
    model = DemandModel(asked, build_world(asked))
    blocks = [model.block(store, block).mean for block in range(-(-asked.days // BLOCK_DAYS))]
    return np.concatenate(blocks)[: asked.days]


def plain(**other: object) -> Scenario:
    """Return a scenario without effects, but for those given."""
    fields = {"demand": PLAIN, "catalogue": LASTING} | other
    return Scenario(last_date=date(2025, 12, 31), stores=2, products=80, days=365, **fields)  # type: ignore[arg-type]


def test_without_effects_the_mean_is_the_base() -> None:
    asked = plain()
    model = DemandModel(asked, build_world(asked))
    assert np.allclose(model.block(1, 5).mean, model.base[1], rtol=1e-5)
    assert np.isclose(model.base.mean(), asked.demand.mean_units_per_day)


def test_means_and_variances_of_draws_follow_the_law() -> None:
    asked = plain(demand=replace(PLAIN, dispersion=0.8, dispersion_power=0.3))
    model = DemandModel(asked, build_world(asked))
    units = np.concatenate([model.block(0, block).units for block in range(40)])
    mean, variance = units.mean(axis=0), units.var(axis=0)
    base = model.base[0]
    assert np.median(np.abs(mean / base - 1.0)) < 0.05
    assert np.median(variance / (base * (1.0 + 0.8 * base**0.3))) == pytest.approx(1.0, abs=0.06)


def test_drift_leaves_the_mean_of_a_series_as_it_was_in_the_long_run() -> None:
    asked = plain(demand=replace(PLAIN, drift=1.0))
    model = DemandModel(asked, build_world(asked))
    means = np.concatenate([model.block(0, block).mean for block in range(0, 400, 3)])
    assert (means / model.base[0]).mean() == pytest.approx(1.0, abs=0.05)


def test_the_trend_starts_at_the_first_date() -> None:
    mean = mean_of(plain(demand=replace(PLAIN, trend_spread=0.3)))
    assert np.allclose(mean[0], DemandModel(plain(), build_world(plain())).base[0])
    growth = mean[-1] / mean[0]
    assert growth.min() < 0.8
    assert growth.max() > 1.2


def test_water_sells_in_summer_and_chocolate_before_christmas() -> None:
    asked = plain(demand=replace(PLAIN, season=1.0))
    mean, names = mean_of(asked), build_world(asked).products["subcategory"].to_numpy()
    january, july, december = (mean[[day.month == month for day in asked.dates]].mean(axis=0) for month in (1, 7, 12))
    assert (july > 1.5 * january)[names == "Mineral water"].all()
    assert (december > 1.5 * july)[names == "Chocolate"].all()


def test_the_turn_of_the_month_sells_more_than_its_middle() -> None:
    asked = plain(demand=replace(PLAIN, pay_day=1.0))
    mean = mean_of(asked)
    first, middle = (mean[[day.day == number for day in asked.dates]].mean() for number in (1, 16))
    assert 1.05 < first / middle < 1.4


def test_the_day_before_a_holiday_sells_more_and_the_holiday_less() -> None:
    asked = plain(demand=replace(PLAIN, holidays=1.0))
    mean = mean_of(asked).mean(axis=1)
    on = {day: mean[place] for place, day in enumerate(asked.dates)}
    assert on[date(2025, 4, 30)] > 1.25 * on[date(2025, 4, 28)]
    assert on[date(2025, 5, 1)] < 0.95 * on[date(2025, 4, 28)]


def test_heat_sells_ice_cream() -> None:
    asked = plain(demand=replace(PLAIN, weather=1.0))
    world = build_world(asked)
    ice = (world.products["subcategory"] == "Ice cream tubs").to_numpy()
    model = DemandModel(asked, world)
    for block in range(3):
        unusual = world.climate.block(block).unusual[:, 0]
        assert np.corrcoef(unusual, np.log(model.block(0, block).mean[:, ice]).mean(axis=1))[0, 1] > 0.8


def test_promotions_lift_then_dip_and_take_from_their_neighbours() -> None:
    asked = plain(demand=replace(PLAIN, price=1.0), catalogue=replace(LASTING, promoted=0.01))
    world = build_world(asked)
    model = DemandModel(asked, world)
    blocks = [model.block(0, block) for block in range(-(-asked.days // BLOCK_DAYS))]
    ratio = np.concatenate([block.mean for block in blocks]) / model.base[0]
    promotion = np.concatenate([block.promotion for block in blocks])
    assert np.median(ratio[promotion >= 0]) > 1.8
    ends = (promotion[:-1] >= 0) & (promotion[1:] < 0)
    assert (ratio[1:][ends] < 1.0).mean() > 0.9
    names = world.products["subcategory"].to_numpy()
    promoted_days, promoted = np.nonzero(promotion >= 0)
    for day, product in list(zip(promoted_days, promoted, strict=True))[:50]:
        neighbours = (names == names[product]) & (promotion[day] < 0)
        assert (ratio[day, neighbours] < 1.0).all()


def test_a_deeper_discount_lifts_more() -> None:
    asked = plain(demand=replace(PLAIN, price=1.0), catalogue=replace(LASTING, promoted=0.1))
    world = build_world(asked)
    model = DemandModel(asked, world)
    depth = world.promotions["discount_share"].to_numpy()
    blocks = [model.block(0, block) for block in range(10)]
    ratio = np.concatenate([block.mean / model.base[0] for block in blocks])
    promotion = np.concatenate([block.promotion for block in blocks])
    discount = np.where(promotion >= 0, depth[promotion], 0.0)
    deep, shallow = ratio[discount >= 0.3], ratio[(discount > 0.0) & (discount < 0.2)]
    assert np.median(deep) > 1.5 * np.median(shallow)


def test_a_launch_starts_slowly_and_an_end_fades() -> None:
    asked = plain(catalogue=CatalogueSettings(launched_later=0.3, discontinued=0.3))
    model = DemandModel(asked, build_world(asked))
    ratio = mean_of(asked) / model.base[0]
    launched = np.flatnonzero((model.starts[0] > 0) & (model.starts[0] < 200) & (model.ends[0] > 365))
    ended = np.flatnonzero((model.starts[0] == 0) & (model.ends[0] < 360))
    assert launched.size > 0
    assert ended.size > 0
    for product in launched:
        start = model.starts[0, product]
        assert (ratio[:start, product] == 0).all()
        assert ratio[start, product] < 0.5
        assert ratio[start + 100, product] > 0.9
    for product in ended:
        end = model.ends[0, product]
        assert (ratio[end:, product] == 0).all()
        assert 0.2 < ratio[end - 1, product] < 0.35


def test_spikes_and_drops_are_in_the_demand() -> None:
    calm = plain()
    asked = plain(anomalies=AnomalyRates(demand_spikes=60, demand_drops=60))
    model = DemandModel(asked, build_world(asked))
    ratio = mean_of(asked) / mean_of(calm)
    labelled = [a for block in range(-(-asked.days // BLOCK_DAYS)) for a in model.anomalies.starting(0, block)]
    assert len(labelled) > 50
    expected = np.ones_like(ratio)
    for anomaly in labelled:
        expected[anomaly.first_day : anomaly.last_day + 1, model.anomalies.products_of(anomaly)] *= anomaly.size
    assert np.allclose(ratio, expected)


@given(st.integers(2, 120), st.integers(1, 60), st.integers(0, 2**63 - 1))
@settings(max_examples=8, deadline=None)
def test_more_days_change_no_demand_of_the_days_before(days: int, more: int, seed: int) -> None:
    short, long = (
        Scenario(
            last_date=date(2026, 1, 31) + timedelta(days=extra),
            days=days + extra,
            seed=seed,
            stores=2,
            products=20,
            anomalies=AnomalyRates(demand_spikes=20.0),
        )
        for extra in (0, more)
    )
    one, other = (drawn(asked, build_world(asked)) for asked in (short, long))
    assert np.array_equal(one.units, other.units[:days])
    assert np.array_equal(one.promotion, other.promotion[:days])
    assert np.array_equal(one.starts, other.starts)


def test_a_block_is_the_same_whenever_and_in_whatever_order_it_is_drawn(asked: Scenario, world: World) -> None:
    order = [(store, block) for store in (0, 4) for block in (0, 3, 12)]
    forth = DemandModel(asked, world)
    back = DemandModel(asked, world)
    first = {key: forth.block(*key) for key in order}
    for key in reversed(order):
        again = back.block(*key)
        assert np.array_equal(again.units, first[key].units)
        assert np.array_equal(again.mean, first[key].mean)
