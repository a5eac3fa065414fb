"""List prices as of a day."""

from datetime import date, timedelta
from decimal import Decimal

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.contracts.tables import CORE_LIST_PRICES
from retail_assets.contracts.types import polars_schema
from retail_assets.domain.prices import SINCE_EVER, with_list_price, with_price_changes

DAY = date(2026, 3, 10)
NOTHING = pl.DataFrame()


def told(**prices: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"product_id": list(prices), "list_price": [Decimal(price) for price in prices.values()]},
        schema={"product_id": pl.String, "list_price": pl.Decimal(12, 2)},
    )


def price_on(prices: pl.DataFrame, product: str, day: date) -> Decimal | None:
    rows = pl.DataFrame({"product_id": [product], "business_date": [day]})
    price: Decimal | None = with_list_price(rows, prices)["list_price"].item()
    return price


def test_the_first_price_holds_for_all_days_before_and_another_one_from_the_day_on_which_it_was_told() -> None:
    prices = with_price_changes(NOTHING, told(P1="2.00"), DAY)
    prices = with_price_changes(prices, told(P1="3.00"), DAY + timedelta(days=5))
    assert [price_on(prices, "P1", DAY + timedelta(days=n)) for n in (-9_999, 0, 4, 5, 99)] == [2, 2, 2, 3, 3]
    assert prices["valid_from"].to_list() == [SINCE_EVER, DAY + timedelta(days=5)]


def test_telling_the_same_again_changes_nothing_and_telling_twice_on_a_day_keeps_the_last() -> None:
    prices = with_price_changes(NOTHING, told(P1="2.00"), DAY)
    assert with_price_changes(prices, told(P1="2.00"), DAY + timedelta(days=1)).equals(prices)
    twice = with_price_changes(with_price_changes(prices, told(P1="3.00"), DAY), told(P1="4.00"), DAY)
    assert twice.rows() == [("P1", SINCE_EVER, Decimal("2.00")), ("P1", DAY, Decimal("4.00"))]


def test_a_product_that_left_keeps_its_price_and_one_without_a_price_has_none() -> None:
    prices = with_price_changes(NOTHING, told(P1="2.00", P2="0.00"), DAY)
    prices = with_price_changes(prices, told(P3="5.00"), DAY)
    assert [price_on(prices, product, DAY) for product in ("P1", "P2", "P3")] == [2, None, 5]
    assert with_price_changes(prices, told(P1="0.00"), DAY).equals(prices)


def test_a_clock_that_was_set_back_does_not_rewrite_history() -> None:
    prices = with_price_changes(with_price_changes(NOTHING, told(P1="2.00"), DAY), told(P1="3.00"), DAY)
    prices = with_price_changes(prices, told(P1="4.00"), DAY - timedelta(days=3))
    assert price_on(prices, "P1", DAY - timedelta(days=1)) == 2
    assert price_on(prices, "P1", DAY) == 4


changes = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["P1", "P2"]), st.integers(1, 5)), max_size=12)


@settings(max_examples=30)
@given(changes=changes, asked=st.lists(st.tuples(st.sampled_from(["P1", "P2", "P3"]), st.integers(-5, 45)), max_size=9))
def test_the_price_of_a_day_is_the_last_that_was_told_by_then(
    changes: list[tuple[int, str, int]], asked: list[tuple[str, int]]
) -> None:
    ordered = sorted(changes, key=lambda change: change[0])
    prices = NOTHING
    for offset, product, price in ordered:
        prices = with_price_changes(prices, told(**{product: f"{price}.00"}), DAY + timedelta(days=offset))
    rows = pl.DataFrame(
        {
            "product_id": [product for product, _ in asked],
            "business_date": [DAY + timedelta(days=offset) for _, offset in asked],
            "place": range(len(asked)),
        },
        schema={"product_id": pl.String, "business_date": pl.Date, "place": pl.Int64},
    )
    found = with_list_price(rows, prices)
    assert found["place"].to_list() == list(range(len(asked)))
    for (product, offset), price in zip(asked, found["list_price"], strict=True):
        mine = [(then, value) for then, name, value in ordered if name == product]
        by_then = [value for then, value in mine[1:] if then <= offset]
        assert price == (by_then[-1] if by_then else mine[0][1] if mine else None)


def test_no_products_and_no_prices_are_an_empty_table_of_the_contract() -> None:
    prices = with_price_changes(NOTHING, told(), DAY)
    assert prices.schema == polars_schema(CORE_LIST_PRICES.columns)
    assert prices.is_empty()
