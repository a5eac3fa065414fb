"""The world is plausible, complete, and exactly in the contract's shape."""

from datetime import date, timedelta

import polars as pl
import pytest

from retail_assets.contracts.tables import (
    REFERENCE_CALENDAR,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_STORES,
    REFERENCE_SUPPLIERS,
    Table,
)
from retail_assets.contracts.types import polars_schema
from retail_assets.simulator.catalogue import STORE_FORMATS, SUBCATEGORIES
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.world import World, build_world

TABLES = (REFERENCE_STORES, REFERENCE_SUPPLIERS, REFERENCE_PRODUCTS, REFERENCE_PROMOTIONS, REFERENCE_CALENDAR)


@pytest.fixture(scope="module")
def asked() -> Scenario:
    return Scenario(last_date=date(2026, 1, 31), stores=10, products=120, days=120)


@pytest.fixture(scope="module")
def world(asked: Scenario) -> World:
    return build_world(asked)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_reference_frames_have_the_contracts_schema_and_grain(world: World, table: Table) -> None:
    frame: pl.DataFrame = getattr(world, table.name)
    assert frame.schema == polars_schema(table.columns)
    assert not frame.select(table.grain).is_duplicated().any()
    for column in table.columns:
        assert column.nullable or frame[column.name].null_count() == 0, column.name
        if column.minimum is not None:
            assert (frame[column.name].cast(pl.Float64) >= column.minimum).all(), column.name
        if column.maximum is not None:
            assert (frame[column.name].cast(pl.Float64) <= column.maximum).all(), column.name


def test_ids_are_short_and_in_order(world: World) -> None:
    assert world.stores["store_id"].to_list() == [f"S{n:03d}" for n in range(1, 11)]
    assert world.products["product_id"].to_list() == [f"P{n:04d}" for n in range(1, 121)]


def test_every_product_has_a_supplier_and_fresh_ones_a_near_one(world: World) -> None:
    joined = world.products.join(world.suppliers, on="supplier_id", how="left")
    assert joined["lead_time_days_mean"].null_count() == 0
    fresh = joined.filter(pl.col("shelf_life_days") > 0)
    assert fresh.height > 0
    assert (fresh["lead_time_days_mean"] <= 2).all()


def test_products_sell_above_cost_and_brands_tell_equal_names_apart(world: World) -> None:
    assert (world.products["list_price"] > world.products["unit_cost"]).all()
    assert not world.products.select("name", "brand").is_duplicated().any()


def test_all_formats_and_several_regions_occur(world: World) -> None:
    assert set(world.stores["format"]) == {store_format.name for store_format in STORE_FORMATS}
    assert world.stores["region"].n_unique() == 4


def test_hours_of_trade_have_a_weight_each() -> None:
    for store_format in STORE_FORMATS:
        assert len(store_format.hour_weights) == store_format.closes_at_hour - store_format.opens_at_hour
        # What happens before opening and after closing needs its room in the same business date.
        assert 6 <= store_format.opens_at_hour < store_format.closes_at_hour <= 23


def test_what_spoils_has_a_shelf_life_of_at_least_a_day() -> None:
    assert all(s.shelf_life_days == (0, 0) or s.shelf_life_days[0] >= 1 for s in SUBCATEGORIES)


def test_promotions_are_planned_a_fortnight_ahead_and_never_overlap(asked: Scenario, world: World) -> None:
    promotions = world.promotions
    assert promotions["ends_on"].max() >= asked.last_date + timedelta(days=14)  # type: ignore[operator]
    assert promotions["starts_on"].min() <= asked.first_date  # type: ignore[operator]
    by_series = promotions.sort("starts_on").with_columns(
        before=pl.col("ends_on").shift().over("store_id", "product_id")
    )
    assert by_series.filter(pl.col("starts_on") <= pl.col("before")).is_empty()


def test_nothing_is_promoted_before_it_is_launched(world: World) -> None:
    joined = world.promotions.join(world.products, on="product_id")
    assert (joined["starts_on"] >= joined["launched_on"]).all()


def test_the_calendar_reaches_a_year_ahead_and_knows_the_holidays(asked: Scenario, world: World) -> None:
    calendar = world.calendar
    assert calendar["date"][0] == asked.first_date
    assert calendar["date"][-1] >= date(2027, 1, 31)
    assert calendar["date"].diff().drop_nulls().unique().to_list() == [timedelta(days=1)]
    names = dict(calendar.filter("is_holiday").select("date", "holiday_name").iter_rows())
    assert names[date(2025, 12, 25)] == "Christmas Day"
    assert date(2026, 4, 6) in names
    assert calendar.filter(~pl.col("is_holiday"))["holiday_name"].unique().to_list() == [""]


@pytest.mark.parametrize(("stores", "products"), [(1, 1), (2, 5), (30, 400)])
def test_worlds_of_any_size_can_be_built(stores: int, products: int) -> None:
    world = build_world(Scenario(last_date=date(2026, 1, 31), stores=stores, products=products, days=10))
    assert world.stores.height == stores
    assert world.products.height == products
    assert world.promotions.height > 0
