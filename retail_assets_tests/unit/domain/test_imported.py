"""Imported days: what rows say, what the days between say, and books that close."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retail_assets.contracts.tables import CORE_DAILY_SALES, CORE_INVENTORY_DAILY
from retail_assets.contracts.types import polars_schema
from retail_assets.domain.imported import imported_daily_sales, imported_inventory, inventory_with_imports

FIRST = date(2024, 3, 4)
EMPTY = pl.DataFrame()
STORES = pl.DataFrame(
    {"store_id": ["S1", "S2"], "time_zone": ["UTC", "UTC"], "opens_at_hour": [8, 8], "closes_at_hour": [20, 20]}
)
PRICES = pl.DataFrame({"product_id": ["P1", "P2"], "valid_from": [FIRST, FIRST], "list_price": [4.0, 2.0]})


def on(day: int) -> date:
    return FIRST + timedelta(days=day)


def rows_of(*rows: dict[str, Any]) -> pl.DataFrame:
    blank = dict.fromkeys(("unit_price", "revenue", "on_promotion", "on_hand", "stockout_hours"))
    full = [{"store_id": "S1", "product_id": "P1", **blank, **row, "business_date": on(row["day"])} for row in rows]
    return pl.DataFrame(full, infer_schema_length=None).drop("day")


def listed(*rows: tuple[str, str, int, int | None]) -> pl.DataFrame:
    return pl.DataFrame(
        [(store, product, on(first), None if last is None else on(last)) for store, product, first, last in rows],
        schema={"store_id": pl.String, "product_id": pl.String, "listed_from": pl.Date, "listed_until": pl.Date},
        orient="row",
    )


def daily(imported: pl.DataFrame, assortment: pl.DataFrame = EMPTY, promotions: pl.DataFrame = EMPTY) -> pl.DataFrame:
    return imported_daily_sales(imported, assortment, PRICES, promotions, STORES)


def test_a_gap_is_zero_while_the_product_is_on_sale_and_the_store_open() -> None:
    imported = rows_of(
        {"day": 0, "units": 3},
        {"day": 2, "units": 1},
        *({"day": day, "product_id": "P2", "units": 5} for day in (0, 1, 2, 4)),
    )
    frame = daily(imported, listed(("S1", "P1", 0, 2), ("S1", "P2", 0, None)))
    of_p1 = {row["business_date"]: float(row["units"]) for row in frame.filter(product_id="P1").iter_rows(named=True)}
    assert of_p1 == {on(0): 3.0, on(1): 0.0, on(2): 1.0}, "not on day 3, when the store was closed, nor after the last"


def test_an_empty_import_has_an_empty_day_of_the_contract() -> None:
    frame = daily(EMPTY)
    assert frame.is_empty()
    assert frame.schema == polars_schema(CORE_DAILY_SALES.columns)


@pytest.mark.parametrize(
    ("row", "price", "revenue"),
    [
        ({"units": 2, "unit_price": 3.5}, 3.5, 7.0),
        ({"units": 2, "revenue": 5.0}, 2.5, 5.0),
        ({"units": 2, "unit_price": 3.0, "revenue": 5.0}, 3.0, 5.0),
        ({"units": 2}, 4.0, 8.0),
        ({"units": 0}, 4.0, 0.0),
    ],
)
def test_price_and_revenue_follow_from_each_other_and_else_from_the_list_price(
    row: dict[str, Any], price: float, revenue: float
) -> None:
    (day,) = daily(rows_of({"day": 0, **row})).iter_rows(named=True)
    assert (float(day["unit_price"]), float(day["revenue"])) == (price, revenue)


def test_a_promotion_takes_its_discount_off_the_list_price_unless_the_row_says_there_was_none() -> None:
    promotions = pl.DataFrame(
        {
            "promotion_id": ["PR1"],
            "store_id": ["S1"],
            "product_id": ["P1"],
            "starts_on": [on(0)],
            "ends_on": [on(1)],
            "discount_share": [0.25],
        }
    )
    imported = rows_of({"day": 0, "units": 1}, {"day": 1, "units": 1, "on_promotion": False})
    first, second = daily(imported, promotions=promotions).iter_rows(named=True)
    assert (first["on_promotion"], first["discount_share"], float(first["unit_price"])) == (True, 0.25, 3.0)
    assert (second["on_promotion"], second["discount_share"]) == (False, 0.0)
    assert (first["promotion_id"], second["promotion_id"]) == ("PR1", None)


def test_the_shelf_is_not_empty_for_longer_than_the_store_is_open() -> None:
    (day,) = daily(rows_of({"day": 0, "units": 0, "stockout_hours": 24.0})).iter_rows(named=True)
    assert (day["stockout_hours"], day["open_hours"]) == (12.0, 12.0)


def books(imported: pl.DataFrame, days: int, opening: pl.DataFrame = EMPTY) -> list[tuple[float, ...]]:
    frame = imported_inventory(imported, opening, [on(day) for day in range(days)])
    names = ("opening", "received", "sold", "adjusted", "closing")
    return [tuple(float(row[name]) for name in names) for row in frame.iter_rows(named=True)]


def test_stock_that_grew_was_received_and_stock_that_is_missing_was_adjusted() -> None:
    imported = rows_of(
        {"day": 0, "units": 2, "on_hand": 10},
        {"day": 1, "units": 3, "on_hand": 20},
        {"day": 2, "units": 1, "on_hand": 15},
    )
    assert books(imported, 3) == [(12, 0, 2, 0, 10), (10, 13, 3, 0, 20), (20, 0, 1, -4, 15)]


def test_a_day_that_does_not_tell_carries_the_stock_on_and_never_below_nothing() -> None:
    imported = rows_of({"day": 0, "units": 0, "on_hand": 5}, {"day": 1, "units": 3}, {"day": 3, "units": 4})
    assert books(imported, 4) == [(5, 0, 0, 0, 5), (5, 0, 3, 0, 2), (2, 0, 0, 0, 2), (2, 2, 4, 0, 0)]


def test_the_ledger_goes_on_from_the_day_before() -> None:
    opening = pl.DataFrame({"store_id": ["S1"], "product_id": ["P1"], "on_hand": [7]})
    assert books(rows_of({"day": 0, "units": 2}), 1, opening) == [(7, 0, 2, 0, 5)]


def test_a_series_whose_stock_is_never_told_has_no_ledger() -> None:
    assert books(rows_of({"day": 0, "units": 2}), 2) == []


@given(
    days=st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), st.integers(0, 30))), min_size=1, max_size=12),
    cut=st.integers(1, 11),
)
def test_books_close_follow_each_other_and_may_be_made_in_two_runs(
    days: list[tuple[int, int | None]], cut: int
) -> None:
    imported = rows_of(*({"day": n, "units": units, "on_hand": told} for n, (units, told) in enumerate(days)))
    dates = [on(n) for n in range(len(days))]
    whole = imported_inventory(imported, EMPTY, dates)
    assert whole.schema == polars_schema(CORE_INVENTORY_DAILY.columns)
    moved = pl.col("opening") + pl.col("received") - pl.col("sold") + pl.col("adjusted") - pl.col("closing")
    assert whole.select((moved == 0).all()).item()
    assert whole.select((pl.col("opening").slice(1) == pl.col("closing").shift(1).slice(1)).all()).item()
    first = imported_inventory(imported, EMPTY, dates[:cut])
    opening = first.filter(business_date=dates[min(cut, len(dates)) - 1]).select(
        "store_id", "product_id", on_hand="closing"
    )
    second = imported_inventory(imported, opening, dates[cut:])
    assert pl.concat([first, second]).rows() == whole.rows()


def test_tills_take_over_where_the_import_ends() -> None:
    imported = rows_of({"day": 0, "units": 2, "on_hand": 10}, {"day": 1, "units": 3, "on_hand": 7})
    movements = pl.DataFrame(
        {
            "store_id": ["S1"] * 2,
            "product_id": ["P1"] * 2,
            "occurred_at": [datetime.combine(on(day), time(12), tzinfo=UTC) for day in (1, 2)],
            "business_date": [on(1), on(2)],
            "movement": ["sale", "sale"],
            "quantity_delta": [-3, -4],
            "on_hand_after": [7, 3],
        }
    )
    frame = inventory_with_imports(movements, imported, EMPTY, STORES, [on(day) for day in range(4)])
    assert frame["closing"].cast(pl.Float64).to_list() == [10, 7, 3, 3]
    assert frame["sold"].cast(pl.Float64).to_list() == [2, 3, 4, 0], "the sale of the 2nd day counts once"
