"""The tables that follow from an import: master data, assortment, promotions, calendar and events."""

from datetime import date, timedelta
from decimal import Decimal

import polars as pl
import pytest

from retail_assets.contracts.tables import (
    REFERENCE_ASSORTMENT,
    REFERENCE_CALENDAR,
    REFERENCE_EVENTS,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_PURCHASE_ORDERS,
    REFERENCE_STORES,
    REFERENCE_SUPPLIERS,
    REFERENCE_WEATHER,
)
from retail_assets.imports import defaults
from retail_assets.imports.errors import ImportRefusedError
from retail_assets.imports.reference import Place
from retail_assets_tests.unit.imports.conftest import Shop, Write

HEADER = "date,store_id,product_id,units,price,promotion"


def days(first: date, last: date, rest: str) -> list[str]:
    return [f"{first + timedelta(n)},{rest}" for n in range((last - first).days + 1)]


def test_what_nobody_says_has_the_documented_defaults(shop: Shop, write: Write) -> None:
    shop.take(write("date,store_id,product_id,units,price", "2024-05-03,S1,P1,3,10", "2024-05-04,S1,P1,3,20.01"))
    store = shop.table(REFERENCE_STORES).row(0, named=True)
    assert (store["name"], store["region"], store["time_zone"]) == ("S1", "unknown", "Europe/Berlin")
    assert store["opened_on"] == date(2024, 5, 3)
    product = shop.table(REFERENCE_PRODUCTS).row(0, named=True)
    assert (product["name"], product["category"], product["list_price"]) == ("P1", "unknown", Decimal("10.00"))
    assert product["unit_cost"] == Decimal("7.00")
    assert (product["launched_on"], product["discontinued_on"]) == (date(2024, 5, 3), None)
    supplier = shop.table(REFERENCE_SUPPLIERS).row(0, named=True)
    assert supplier["supplier_id"] == product["supplier_id"]
    assert (supplier["lead_time_days_mean"], supplier["lead_time_days_sd"]) == (2.0, 1.0)
    for table in (REFERENCE_WEATHER, REFERENCE_PURCHASE_ORDERS):
        assert shop.table(table).is_empty()


def test_what_a_retailer_says_goes_before_the_defaults(shop: Shop, write: Write) -> None:
    products = write(
        "product_id,name,category,cost,price,pack_size", "P1,Milk,Dairy,0.5,1,6", "P9,Tea,,,,", name="p.csv"
    )
    stores = write("store_id,city,opens_at_hour,time_zone", "S1,Lyon,9,Europe/Paris", name="s.csv")
    shop.take(write(HEADER, "2024-05-03,S1,P1,3,2,"), products=products, stores=stores)
    milk, tea = shop.table(REFERENCE_PRODUCTS).rows(named=True)
    assert (milk["name"], milk["category"], milk["pack_size"]) == ("Milk", "Dairy", 6)
    assert (milk["unit_cost"], milk["list_price"]) == (Decimal("0.50"), Decimal("1.00"))
    assert (tea["name"], tea["category"], tea["pack_size"]) == ("Tea", "unknown", defaults.PACK_SIZE)
    store = shop.table(REFERENCE_STORES).row(0, named=True)
    assert (store["city"], store["opens_at_hour"], store["time_zone"]) == ("Lyon", 9, "Europe/Paris")


def test_what_was_given_once_stays_and_what_nobody_gave_can_be_given_later(shop: Shop, write: Write) -> None:
    first = write(HEADER, "2024-05-03,S1,P1,3,,")
    shop.take(first, products=write("product_id,category", "P1,Dairy", name="p.csv"))
    shop.take(write(HEADER, "2024-05-04,S1,P1,3,4,"))
    shop.take(first, products=write("product_id,name", "P1,Milk", name="p.csv"))
    product = shop.table(REFERENCE_PRODUCTS).row(0, named=True)
    assert (product["name"], product["category"], product["list_price"]) == ("Milk", "Dairy", Decimal("4.00"))


def test_a_list_price_is_the_median_outside_of_promotions(shop: Shop, write: Write) -> None:
    rows = [
        *days(date(2024, 5, 1), date(2024, 5, 3), "S1,P1,1,9,no"),
        *days(date(2024, 5, 4), date(2024, 5, 20), "S1,P1,1,5,yes"),
        *days(date(2024, 5, 1), date(2024, 5, 9), "S1,P2,1,5,yes"),
    ]
    shop.take(write(HEADER, *rows))
    assert shop.table(REFERENCE_PRODUCTS)["list_price"].to_list() == [9, 5]


def test_a_price_follows_from_revenue_where_none_is_given(shop: Shop, write: Write) -> None:
    shop.take(write("date,store_id,product_id,units,revenue", "2024-05-03,S1,P1,4,10", "2024-05-04,S1,P1,0,0"))
    assert shop.table(REFERENCE_PRODUCTS)["list_price"].to_list() == [Decimal("2.50")]


def test_a_series_is_on_sale_from_its_first_row_to_its_last_or_still(shop: Shop, write: Write) -> None:
    end = date(2024, 6, 30)
    rows = [
        f"{end},S1,P0,1,,",
        f"{end - timedelta(28)},S1,P1,1,,",
        f"{end - timedelta(29)},S1,P2,1,,",
        f"{end - timedelta(99)},S1,P2,1,,",
        # The end of another store is its own.
        f"{end - timedelta(99)},S2,P1,1,,",
    ]
    shop.take(write(HEADER, *rows))
    assert shop.table(REFERENCE_ASSORTMENT).rows() == [
        ("S1", "P0", end, None),
        ("S1", "P1", end - timedelta(28), None),
        ("S1", "P2", end - timedelta(99), end - timedelta(29)),
        ("S2", "P1", end - timedelta(99), None),
    ]


def test_later_days_bring_a_delisted_series_back(shop: Shop, write: Write) -> None:
    shop.take(write(HEADER, "2024-01-01,S1,P1,1,,", "2024-06-01,S1,P2,1,,"))
    assert shop.table(REFERENCE_ASSORTMENT)["listed_until"].to_list() == [date(2024, 1, 1), None]
    shop.take(write(HEADER, "2024-06-02,S1,P1,1,,"))
    assert shop.table(REFERENCE_ASSORTMENT).row(0) == ("S1", "P1", date(2024, 1, 1), None)


def test_promoted_days_of_trade_in_a_row_are_one_promotion(shop: Shop, write: Write) -> None:
    rows = [
        *days(date(2024, 5, 1), date(2024, 5, 3), "S1,P1,1,10,no"),
        # On the 5th the store has no row: it was closed.
        "2024-05-04,S1,P1,1,8,yes",
        "2024-05-06,S1,P1,1,7,yes",
        "2024-05-07,S1,P1,1,10,no",
        "2024-05-08,S1,P1,1,10,yes",
        # On the 9th the product has no row, but the store has.
        "2024-05-09,S1,P2,1,,no",
        "2024-05-10,S1,P1,1,12,yes",
    ]
    shop.take(write(HEADER, *rows))
    promotions = shop.table(REFERENCE_PROMOTIONS).sort("starts_on")
    assert promotions.select("starts_on", "ends_on", "discount_share").rows() == [
        (date(2024, 5, 4), date(2024, 5, 6), 0.25),
        (date(2024, 5, 8), date(2024, 5, 8), 0.0),
        (date(2024, 5, 10), date(2024, 5, 10), 0.0),
    ]


def test_promotions_are_the_same_however_many_stores_are_looked_at_at_once(
    shop: Shop, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row for s in range(5) for row in days(date(2024, 5, 1), date(2024, 5, 9), f"S{s},P1,1,{s + 1},yes")]
    path = write(HEADER, *rows)
    shop.take(path)
    together = shop.table(REFERENCE_PROMOTIONS)
    monkeypatch.setattr("retail_assets.imports.reference._PROMOTION_ROWS", 10)
    shop.take(path)
    assert shop.table(REFERENCE_PROMOTIONS).equals(together)
    assert together.height == 5


def test_the_calendar_has_the_countrys_holidays_to_a_year_ahead(shop: Shop, write: Write) -> None:
    shop.take(write(HEADER, "2024-05-01,S1,P1,1,,"))
    calendar = shop.table(REFERENCE_CALENDAR)
    assert (calendar["date"][0], calendar["date"][-1]) == (date(2024, 5, 1), date(2025, 5, 2))
    assert calendar.row(0) == (date(2024, 5, 1), "Erster Mai", True)
    assert calendar.row(1) == (date(2024, 5, 2), "", False)


@pytest.mark.parametrize(("country", "is_holiday"), [("DE", False), ("DE-BY", True), ("de-by", True), (None, False)])
def test_a_part_of_a_country_has_its_own_holidays(
    shop: Shop, write: Write, country: str | None, is_holiday: bool
) -> None:
    shop.take(write(HEADER, "2024-01-06,S1,P1,1,,"), place=Place("Europe/Berlin", country))
    assert shop.table(REFERENCE_CALENDAR)["is_holiday"][0] == is_holiday


@pytest.mark.parametrize("country", ["XX", "DE-XX", "Germany"])
def test_an_unknown_country_is_refused(shop: Shop, write: Write, country: str) -> None:
    with pytest.raises(ImportRefusedError, match="holidays aren't known"):
        shop.take(write(HEADER, "2024-01-06,S1,P1,1,,"), place=Place("Europe/Berlin", country))
    assert shop.is_empty()


def test_events_are_kept_and_holidays_among_them_are_in_the_calendar(shop: Shop, write: Write) -> None:
    sales = write(HEADER, "2024-05-02,S1,P1,1,,")
    events = write(
        "date,name,kind,store_id,region",
        "02/05/2024,Opening of the fair,,,",
        "03/05/2024,Founder's day,holiday,,",
        "03/05/2024,Bank holiday,Holiday,,",
        "04/05/2024,Village day,holiday,S1,",
        "31/12/2030,Far ahead,holiday,,",
        name="e.csv",
    )
    outcome = shop.take(sales, events=events)
    assert "1 holidays of single stores or regions are kept as events" in " ".join(outcome.warnings)
    calendar = shop.table(REFERENCE_CALENDAR)
    assert calendar["holiday_name"][:3].to_list() == ["", "Bank holiday, Founder's day", ""]
    shop.take(sales)
    held = shop.table(REFERENCE_EVENTS)
    assert held.height == 5
    assert held.row(0) == (date(2024, 5, 2), "Opening of the fair", "event", None, None)
    assert shop.table(REFERENCE_CALENDAR).equals(calendar)


def test_an_event_that_is_given_again_replaces_itself(shop: Shop, write: Write) -> None:
    sales = write(HEADER, "2024-05-02,S1,P1,1,,")
    shop.take(sales, events=write("date,name", "2024-05-02,Fair", name="e.csv"))
    shop.take(sales, events=write("date,name,kind", "2024-05-02,Fair,market", name="e.csv"))
    assert shop.table(REFERENCE_EVENTS)["kind"].to_list() == ["market"]


def test_days_on_which_a_store_has_no_row_at_all_are_counted_apart(shop: Shop, write: Write) -> None:
    rows = ["2024-05-01,S1,P1,1,,", "2024-05-04,S1,P1,1,,", "2024-05-03,S1,P2,1,,", "2024-05-02,S2,P1,1,,"]
    observed = shop.take(write(HEADER, *rows)).observed
    assert observed is not None
    assert observed.series.select("store_id", "product_id", "closed_days").rows() == [
        ("S1", "P1", 1),
        ("S1", "P2", 0),
        ("S2", "P1", 0),
    ]


def test_tables_that_others_fill_are_not_emptied(shop: Shop, write: Write) -> None:
    path = write(HEADER, "2024-05-02,S1,P1,1,,")
    shop.take(path)
    weather = pl.DataFrame({"store_id": ["S1"], "date": [date(2024, 5, 2)], "mean_celsius": [9.0], "rain_mm": [1.0]})
    weather.write_delta(f"{shop.uri}/{REFERENCE_WEATHER.path}", mode="append")
    shop.take(path)
    assert shop.table(REFERENCE_WEATHER).height == 1
