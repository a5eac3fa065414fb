"""Daily sales: complete, exact, priced."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.contracts.tables import CORE_DAILY_SALES
from retail_assets.contracts.types import polars_schema
from retail_assets.domain.prices import SINCE_EVER
from retail_assets.domain.sales import daily_sales

DAY = date(2024, 5, 6)
STORES = pl.DataFrame({"store_id": ["S1"], "time_zone": ["Europe/Rome"], "opens_at_hour": [8], "closes_at_hour": [21]})
PRODUCTS = pl.DataFrame({"product_id": ["P1", "P2"], "discontinued_on": [None, None]})
PRICES = pl.DataFrame(
    {"product_id": ["P1", "P2"], "valid_from": [SINCE_EVER] * 2, "list_price": [Decimal("2.00"), Decimal("9.99")]}
)
NO_PROMOTIONS = pl.DataFrame()


def lines(*rows: tuple[str, str, date, str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [(s, p, d, Decimal(u), Decimal(r)) for s, p, d, u, r in rows],
        schema={
            "store_id": pl.String,
            "product_id": pl.String,
            "business_date": pl.Date,
            "units": pl.Decimal(12, 3),
            "revenue": pl.Decimal(12, 2),
        },
        orient="row",
    )


def inventory(*rows: tuple[str, str, date, float]) -> pl.DataFrame:
    return pl.DataFrame(
        list(rows),
        schema={
            "store_id": pl.String,
            "product_id": pl.String,
            "business_date": pl.Date,
            "stockout_hours": pl.Float64,
        },
        orient="row",
    )


def promotions(*rows: tuple[str, date, date, float]) -> pl.DataFrame:
    return pl.DataFrame(
        [(f"PR{number}", "S1", *row) for number, row in enumerate(rows)],
        schema=["promotion_id", "store_id", "product_id", "starts_on", "ends_on", "discount_share"],
        orient="row",
    )


def only(frame: pl.DataFrame) -> dict[str, Any]:
    assert frame.height == 1
    return frame.row(0, named=True)


def test_nothing_sold_and_nothing_carried_is_an_empty_table_of_the_contract():
    empty = pl.DataFrame()
    frame = daily_sales(empty, empty, empty, empty, empty, empty)
    assert frame.is_empty()
    assert frame.schema == polars_schema(CORE_DAILY_SALES.columns)


def test_what_a_store_carries_but_does_not_sell_has_a_row_of_zeros_at_the_price_asked():
    row = only(daily_sales(lines(), inventory(("S1", "P1", DAY, 1.5)), PRODUCTS, PRICES, NO_PROMOTIONS, STORES))
    assert (row["units"], row["revenue"], row["unit_price"]) == (0, 0, Decimal("2.00"))
    assert (row["stockout_hours"], row["open_hours"]) == (1.5, 13.0)
    assert (row["on_promotion"], row["discount_share"]) == (False, 0.0)


def test_what_sells_without_being_carried_has_a_row_too():
    sold = lines(("S1", "P1", DAY, "2", "4.00"))
    row = only(daily_sales(sold, inventory(), PRODUCTS, PRICES, NO_PROMOTIONS, STORES))
    assert (row["units"], row["stockout_hours"], row["open_hours"]) == (2, 0.0, 13.0)


def test_returns_and_voids_are_netted():
    sold = lines(("S1", "P1", DAY, "5", "10.00"), ("S1", "P1", DAY, "-2", "-4.00"))
    row = only(daily_sales(sold, inventory(), PRODUCTS, PRICES, NO_PROMOTIONS, STORES))
    assert (row["units"], row["revenue"], row["unit_price"]) == (3, Decimal("6.00"), Decimal("2.00"))


@pytest.mark.parametrize(("units", "revenue"), [("-1", "-2.00"), ("0", "0.00"), ("1", "-3.00")])
def test_where_no_price_can_be_read_from_sales_the_price_asked_stands(units: str, revenue: str):
    row = only(
        daily_sales(lines(("S1", "P1", DAY, units, revenue)), inventory(), PRODUCTS, PRICES, NO_PROMOTIONS, STORES)
    )
    assert row["unit_price"] == Decimal("2.00")


def test_an_unknown_product_has_price_zero_and_an_unknown_store_no_hours():
    row = only(daily_sales(lines(), inventory(("S7", "P7", DAY, 0.0)), PRODUCTS, PRICES, NO_PROMOTIONS, STORES))
    assert (row["unit_price"], row["open_hours"]) == (0, 0.0)


def test_of_several_promotions_the_deepest_counts_on_the_days_that_it_runs():
    days = [DAY + timedelta(days=n) for n in range(4)]
    running = promotions(("P1", days[1], days[2], 0.2), ("P1", days[2], days[2], 0.5), ("P1", days[3], days[1], 0.9))
    carried = inventory(*(("S1", "P1", day, 0.0) for day in days))
    frame = daily_sales(lines(), carried, PRODUCTS, PRICES, running, STORES).sort("business_date")
    assert frame["discount_share"].to_list() == [0.0, 0.2, 0.5, 0.0]
    assert frame["on_promotion"].to_list() == [False, True, True, False]
    assert frame["promotion_id"].to_list() == [None, "PR0", "PR1", None]
    assert frame["unit_price"].to_list() == [Decimal(p) for p in ("2.00", "1.60", "1.00", "2.00")]


cents = st.decimals(min_value=-500, max_value=500, places=2, allow_nan=False, allow_infinity=False)
grams = st.decimals(min_value=-50, max_value=50, places=3, allow_nan=False, allow_infinity=False)
baskets = st.lists(
    st.tuples(st.sampled_from(["S1", "S2"]), st.sampled_from(["P1", "P2", "P3"]), st.integers(0, 2), grams, cents),
    max_size=15,
)


@settings(max_examples=40, deadline=None)
@given(sold=baskets, carried=st.lists(st.tuples(st.sampled_from(["P1", "P4"]), st.integers(0, 2)), unique=True))
def test_units_and_revenue_over_all_rows_are_those_over_all_lines_to_the_gram_and_cent(
    sold: list[Any], carried: list[Any]
):
    frame = daily_sales(
        lines(*((s, p, DAY + timedelta(days=d), str(u), str(r)) for s, p, d, u, r in sold)),
        inventory(*(("S1", p, DAY + timedelta(days=d), 0.0) for p, d in carried)),
        PRODUCTS,
        PRICES,
        promotions(("P1", DAY, DAY, 0.3)),
        STORES,
    )
    assert sum(frame["units"].to_list(), Decimal(0)) == sum((u for *_, u, _ in sold), Decimal(0))
    assert sum(frame["revenue"].to_list(), Decimal(0)) == sum((r for *_, r in sold), Decimal(0))
    keys = {(s, p, d) for s, p, d, *_ in sold} | {("S1", p, d) for p, d in carried}
    assert frame.height == len(keys)
    assert not frame.select("store_id", "product_id", "business_date").is_duplicated().any()
    assert all(frame[name].null_count() == 0 for name in frame.columns if not CORE_DAILY_SALES.column(name).nullable)
    assert (frame["unit_price"] >= 0).all()


def test_a_product_leaves_with_its_last_day_on_sale_unless_it_sells_on():
    ended = PRODUCTS.with_columns(discontinued_on=pl.lit(DAY))
    days = [DAY + timedelta(days=n) for n in range(3)]
    carried = inventory(*(("S1", "P1", day, 13.0) for day in days))
    frame = daily_sales(lines(("S1", "P1", days[2], "1", "2.00")), carried, ended, PRICES, NO_PROMOTIONS, STORES)
    assert frame["business_date"].to_list() == [days[0], days[2]]
    assert frame["units"].sum() == 1


def test_a_store_without_any_ledger_carries_what_its_assortment_lists_on_the_days_on_which_it_sold() -> None:
    later = DAY + timedelta(days=2)
    sold = lines(("S1", "P1", DAY, "1", "2"), ("S1", "P1", later, "1", "2"), ("S2", "P1", DAY, "1", "2"))
    listed = pl.DataFrame(
        {"store_id": ["S1", "S2"], "product_id": ["P2", "P2"], "listed_from": [DAY, DAY], "listed_until": [DAY, None]}
    )
    kept = inventory(("S2", "P1", DAY, 0.0))
    rows = daily_sales(sold, kept, PRODUCTS, PRICES, NO_PROMOTIONS, STORES, listed)
    assert set(rows.select("store_id", "product_id", "business_date", "units").rows()) == {
        ("S1", "P1", DAY, Decimal("1.000")),
        ("S1", "P2", DAY, Decimal("0.000")),
        ("S1", "P1", later, Decimal("1.000")),
        ("S2", "P1", DAY, Decimal("1.000")),
    }


def test_the_list_price_is_that_of_the_day_and_not_of_the_run():
    days = [DAY + timedelta(days=n) for n in range(3)]
    dearer = pl.concat([PRICES, PRICES.head(1).with_columns(valid_from=pl.lit(days[2]), list_price=Decimal("3.00"))])
    carried = inventory(*(("S1", "P1", day, 0.0) for day in days))
    frame = daily_sales(lines(), carried, PRODUCTS, dearer, NO_PROMOTIONS, STORES).sort("business_date")
    assert frame["list_price"].to_list() == [Decimal("2.00"), Decimal("2.00"), Decimal("3.00")]
    assert frame["unit_price"].to_list() == frame["list_price"].to_list()
