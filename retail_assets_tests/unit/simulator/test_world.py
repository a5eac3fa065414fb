"""The world is plausible, complete, and exactly in the contract's shape."""

from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest

from retail_assets.contracts.tables import (
    REFERENCE_CALENDAR,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_STORES,
    REFERENCE_SUPPLIERS,
    REFERENCE_WEATHER,
    Table,
)
from retail_assets.contracts.types import polars_schema
from retail_assets.simulator.scenario import CatalogueSettings, Scenario, StoreSettings
from retail_assets.simulator.world.assortment import SUBCATEGORIES
from retail_assets.simulator.world.catalogue import CUSTOMER_PROFILES, REGIONS, STORE_FORMATS
from retail_assets.simulator.world.world import World, build_world

TABLES = (
    REFERENCE_STORES,
    REFERENCE_SUPPLIERS,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_CALENDAR,
    REFERENCE_WEATHER,
)


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
        assert column.allowed is None or set(frame[column.name]) <= set(column.allowed), column.name
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


def test_nothing_is_promoted_while_it_is_not_on_sale(asked: Scenario) -> None:
    world = build_world(replace(asked, catalogue=replace(asked.catalogue, promoted=0.3)))
    joined = world.promotions.join(world.products, on="product_id")
    assert (joined["starts_on"] >= joined["launched_on"]).all()
    ending = joined.filter(pl.col("discontinued_on").is_not_null())
    assert ending.height > 0
    assert (ending["ends_on"] <= ending["discontinued_on"]).all()


def test_promotions_are_found_by_store_and_days(asked: Scenario, world: World) -> None:
    promotions = world.promotions.with_row_index()
    first, after = 30, 60
    starts, ends = (asked.first_date + timedelta(days=day) for day in (first, after - 1))
    for store in (0, 9):
        expected = promotions.filter(
            pl.col("store_id") == world.stores["store_id"][store],
            pl.col("ends_on") >= starts,
            pl.col("starts_on") <= ends,
        )
        assert sorted(world.promotion_index.rows(store, first, after)) == expected["index"].to_list()
        assert expected.height > 0


def test_some_products_are_launched_late_and_some_are_taken_off(world: World, asked: Scenario) -> None:
    assert 0 < world.products.filter(pl.col("launched_on") > asked.first_date).height < 30
    ending = world.products.drop_nulls("discontinued_on")
    assert 0 < ending.height < 30
    assert (ending["discontinued_on"] > ending["launched_on"]).all()


def test_a_substitute_is_another_product_of_the_same_subcategory(world: World) -> None:
    names = world.products["subcategory"].to_list()
    assert world.substitutes.shape == (120, 3)
    for product, row in enumerate(world.substitutes):
        others = [int(other) for other in row if other >= 0]
        assert len(set(others)) == len(others) > 0
        assert all(other != product and names[other] == names[product] for other in others)


def test_regions_can_have_time_zones_of_their_own() -> None:
    zones = StoreSettings(time_zones=(("East", "Europe/Moscow"),))
    world = build_world(Scenario(last_date=date(2026, 1, 31), stores=8, products=5, days=10, store_settings=zones))
    by_region = dict(world.stores.select("region", "time_zone").unique().iter_rows())
    assert by_region == {region.name: "Europe/Berlin" for region in REGIONS} | {"East": "Europe/Moscow"}


def test_formats_are_shared_out_as_the_scenario_says() -> None:
    kinds = StoreSettings(hypermarkets=0.0, supermarkets=0.0, convenience_stores=0.2)
    world = build_world(Scenario(last_date=date(2026, 1, 31), stores=4, products=5, days=10, store_settings=kinds))
    assert set(world.stores["format"]) == {"convenience"}


def test_stores_have_customers_and_room_in_the_size_of_their_format(world: World) -> None:
    sizes = {store_format.name: store_format.size_m2 for store_format in STORE_FORMATS}
    assert set(world.stores["customer_profile"]) <= {profile.name for profile in CUSTOMER_PROFILES}
    for name, size, litres in world.stores.select("format", "size_m2", "storage_litres").iter_rows():
        assert sizes[name][0] <= size <= sizes[name][1] < litres


def test_summers_are_warm_and_winters_cold() -> None:
    world = build_world(Scenario(last_date=date(2025, 12, 31), stores=8, products=5, days=365))
    month = pl.col("date").dt.month()
    celsius = {m: world.weather.filter(month == m)["mean_celsius"].mean() for m in (1, 7)}
    assert -6 < celsius[1] < 7  # type: ignore[operator]
    assert 13 < celsius[7] < 26  # type: ignore[operator]
    assert 0.2 < (world.weather["rain_mm"] > 0).mean() < 0.5  # type: ignore[operator]


def test_without_promotions_there_are_none() -> None:
    world = build_world(
        Scenario(last_date=date(2026, 1, 31), stores=2, products=9, days=40, catalogue=CatalogueSettings(promoted=0.0))
    )
    assert world.promotions.is_empty()


def test_more_days_change_nothing_of_the_days_before() -> None:
    short, long = (
        Scenario(last_date=date(2026, 1, 31) + timedelta(days=more), stores=5, products=60, days=90 + more)
        for more in (0, 100)
    )
    one, other = build_world(short), build_world(long)
    for name in ("stores", "suppliers", "products"):
        assert getattr(one, name).equals(getattr(other, name)), name
    assert other.promotions.head(one.promotions.height).equals(one.promotions)
    assert other.promotions.height > one.promotions.height
    for name in ("weather", "calendar"):
        shared = getattr(other, name).filter(pl.col("date") <= short.last_date)
        assert shared.equals(getattr(one, name).filter(pl.col("date") <= short.last_date)), name


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


def test_as_many_products_are_promoted_as_the_scenario_says_and_most_never_are(asked: Scenario) -> None:
    many = replace(asked, products=2_000, stores=3, catalogue=replace(asked.catalogue, promoted=0.02, launched_later=0))
    promotions = build_world(many).promotions
    weeks = promotions["starts_on"].n_unique()
    assert promotions["promotion_id"].n_unique() / weeks / many.products == pytest.approx(0.02, rel=0.15)
    assert promotions["product_id"].n_unique() < 0.25 * many.products
