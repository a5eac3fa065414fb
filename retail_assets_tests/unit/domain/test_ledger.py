"""The stock ledger: books that close, stock carried forward, hours without stock."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_assets.contracts.tables import CORE_INVENTORY_DAILY
from retail_assets.contracts.types import polars_schema
from retail_assets.domain.ledger import inventory_daily
from retail_assets.domain.trading import trading_hours

ROME = "Europe/Rome"
MONDAY = date(2024, 3, 25)
TO_SUMMER = date(2024, 3, 31)
TO_WINTER = date(2024, 10, 27)
KINDS = ("receipt", "sale", "return", "transfer_in", "transfer_out", "adjustment", "spoilage", "count")


def stores(opens: int = 8, closes: int = 20, zone: str = ROME, ids: tuple[str, ...] = ("S1", "S2")) -> pl.DataFrame:
    return pl.DataFrame(
        {"store_id": ids, "time_zone": [zone] * len(ids), "opens_at_hour": opens, "closes_at_hour": closes}
    )


def at(day: date, hour: float, zone: str = ROME) -> datetime:
    local = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)) + timedelta(hours=hour)
    return local.astimezone(UTC)


def movement(
    kind: str, delta: str, when: datetime, *, store: str = "S1", product: str = "P1", after: str = "0"
) -> dict[str, Any]:
    return {
        "store_id": store,
        "product_id": product,
        "occurred_at": when,
        "business_date": when.astimezone(ZoneInfo(ROME)).date(),
        "movement": kind,
        "quantity_delta": Decimal(delta),
        "on_hand_after": Decimal(after),
    }


MOVEMENT_SCHEMA = {
    "store_id": pl.String,
    "product_id": pl.String,
    "occurred_at": pl.Datetime("us", "UTC"),
    "business_date": pl.Date,
    "movement": pl.String,
    "quantity_delta": pl.Decimal(12, 3),
    "on_hand_after": pl.Decimal(12, 3),
}


def movements(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=MOVEMENT_SCHEMA)


def opening(on_hand: str, store: str = "S1", product: str = "P1") -> pl.DataFrame:
    return pl.DataFrame({"store_id": [store], "product_id": [product], "on_hand": [Decimal(on_hand)]})


def test_no_movements_and_no_opening_are_an_empty_ledger_of_the_contract():
    for dates in ([], [MONDAY]):
        ledger = inventory_daily(pl.DataFrame(), pl.DataFrame(), pl.DataFrame(), dates)
        assert ledger.is_empty()
        assert ledger.schema == polars_schema(CORE_INVENTORY_DAILY.columns)


def test_every_movement_goes_to_its_column_with_its_sign():
    moves = movements(
        movement("receipt", "24", at(MONDAY, 7)),
        movement("sale", "-5", at(MONDAY, 9)),
        movement("return", "2", at(MONDAY, 10)),
        movement("transfer_in", "6", at(MONDAY, 11)),
        movement("transfer_out", "-4", at(MONDAY, 12)),
        movement("adjustment", "-1", at(MONDAY, 13)),
        movement("count", "-2", at(MONDAY, 14)),
        movement("spoilage", "-3", at(MONDAY, 15)),
    )
    row = inventory_daily(moves, opening("10"), stores(), [MONDAY]).row(0, named=True)
    wanted = {
        "opening": 10,
        "received": 24,
        "sold": 3,
        "transferred": 2,
        "adjusted": -3,
        "spoiled": 3,
        "closing": 27,
        "stockout_hours": 0.0,
    }
    assert {name: row[name] for name in wanted} == wanted


def test_a_receipt_taken_back_and_a_write_off_undone_are_adjustments():
    moves = movements(movement("receipt", "-2", at(MONDAY, 9)), movement("spoilage", "1", at(MONDAY, 10)))
    row = inventory_daily(moves, opening("10"), stores(), [MONDAY]).row(0, named=True)
    assert (row["received"], row["spoiled"], row["adjusted"], row["closing"]) == (0, 0, -1, 9)


def test_a_day_without_movement_carries_the_stock_forward():
    days = [MONDAY + timedelta(days=n) for n in range(3)]
    ledger = inventory_daily(movements(movement("sale", "-4", at(MONDAY, 12))), opening("10"), stores(), days)
    assert ledger["opening"].to_list() == [10, 6, 6]
    assert ledger["closing"].to_list() == [6, 6, 6]
    assert ledger["sold"].to_list() == [4, 0, 0]


def test_a_series_begins_on_the_day_of_its_first_movement_and_its_first_count_is_an_adjustment():
    days = [MONDAY + timedelta(days=n) for n in range(3)]
    ledger = inventory_daily(movements(movement("count", "12.5", at(days[1], 12))), pl.DataFrame(), stores(), days)
    assert ledger["business_date"].to_list() == days[1:]
    assert ledger["adjusted"].to_list() == [Decimal("12.5"), 0]
    assert ledger["closing"].to_list() == [Decimal("12.5")] * 2


def test_hours_without_stock_count_only_within_trading_hours():
    moves = movements(movement("sale", "-1", at(MONDAY, 17)), movement("receipt", "5", at(MONDAY, 22)))
    row = inventory_daily(moves, opening("1"), stores(), [MONDAY]).row(0, named=True)
    assert row["stockout_hours"] == pytest.approx(3.0)


def test_a_shelf_that_is_empty_in_the_morning_is_without_stock_until_the_delivery():
    row = inventory_daily(movements(movement("receipt", "5", at(MONDAY, 10.5))), opening("-2"), stores(), [MONDAY]).row(
        0, named=True
    )
    assert row["stockout_hours"] == pytest.approx(2.5)


def test_an_empty_shelf_without_any_movement_is_without_stock_all_day():
    ledger = inventory_daily(movements(), opening("0"), stores(9, 21), [MONDAY])
    assert ledger["stockout_hours"].to_list() == [12.0]


def test_movements_of_one_instant_are_one_step():
    noon = at(MONDAY, 12)
    pair = [movement("sale", "-1", noon), movement("receipt", "1", noon)]
    for rows in (pair, pair[::-1]):
        ledger = inventory_daily(movements(*rows), opening("1"), stores(), [MONDAY])
        assert ledger["stockout_hours"].to_list() == [0.0]


@pytest.mark.parametrize(("day", "hours"), [(TO_SUMMER, 7.0), (TO_WINTER, 9.0), (MONDAY, 8.0)])
def test_a_day_on_which_the_clock_changes_has_an_hour_less_or_more(day: date, hours: float):
    ledger = inventory_daily(movements(), opening("0"), stores(0, 8), [day])
    assert ledger["stockout_hours"].to_list() == [hours]


def test_a_store_that_never_closes_stays_within_the_contract_when_the_clock_goes_back():
    hours = trading_hours(stores(0, 24), [TO_WINTER, MONDAY, TO_SUMMER]).filter(pl.col("store_id") == "S1")
    assert hours.sort("business_date")["open_hours"].to_list() == [24.0, 23.0, 24.0]


def test_a_store_that_closes_before_it_opens_is_named():
    with pytest.raises(ValueError, match="S1 closes before it opens"):
        trading_hours(stores(20, 8), [MONDAY])


def test_an_unknown_store_has_books_but_no_hours():
    ledger = inventory_daily(movements(), opening("0", store="S9"), stores(), [MONDAY])
    assert ledger["stockout_hours"].to_list() == [0.0]


def test_dates_with_a_gap_are_refused_since_stock_can_not_be_carried_over_it():
    with pytest.raises(ValueError, match="consecutive"):
        inventory_daily(movements(), opening("1"), stores(), [MONDAY, MONDAY + timedelta(days=2)])


def test_movements_of_other_dates_are_ignored():
    other = MONDAY + timedelta(days=5)
    ledger = inventory_daily(movements(movement("sale", "-1", at(other, 9))), opening("3"), stores(), [MONDAY])
    assert ledger["closing"].to_list() == [3]


quantities = st.decimals(min_value=-20, max_value=20, places=3, allow_nan=False, allow_infinity=False)
moments = st.tuples(st.integers(0, 2), st.integers(0, 86_399))
histories = st.lists(
    st.tuples(
        st.sampled_from(["S1", "S2"]),
        st.sampled_from(["P1", "P2"]),
        moments,
        st.sampled_from(KINDS),
        quantities,
    ),
    max_size=14,
)


def frames_of(history: list[Any]) -> pl.DataFrame:
    return movements(
        *(
            movement(kind, str(delta), at(MONDAY + timedelta(days=day), second / 3600), store=store, product=product)
            for store, product, (day, second), kind, delta in history
        )
    )


@settings(max_examples=40, deadline=None)
@given(history=histories, start=quantities)
def test_books_close_on_every_day_and_follow_on_from_day_to_day(history: list[Any], start: Decimal):
    days = [MONDAY + timedelta(days=n) for n in range(3)]
    moves = frames_of(history)
    ledger = inventory_daily(moves, opening(str(start)), stores(), days)
    for row in ledger.iter_rows(named=True):
        booked = row["opening"] + row["received"] - row["sold"] + row["transferred"] + row["adjusted"] - row["spoiled"]
        assert booked == row["closing"]
        assert row["received"] >= 0
        assert row["spoiled"] >= 0
    for _, series in ledger.group_by("store_id", "product_id"):
        assert series["business_date"].to_list() == days[-series.height :]
        assert series["opening"].to_list()[1:] == series["closing"].to_list()[:-1]
    moved = sum((Decimal(delta) for *_, delta in history), Decimal(start))
    assert sum(ledger.filter(pl.col("business_date") == days[-1])["closing"].to_list(), Decimal(0)) == moved


@settings(max_examples=25, deadline=None)
@given(history=histories, start=quantities)
def test_day_by_day_gives_what_the_whole_range_gives(history: list[Any], start: Decimal):
    days = [MONDAY + timedelta(days=n) for n in range(3)]
    moves, held, parts = frames_of(history), opening(str(start)), []
    for day in days:
        part = inventory_daily(moves.filter(pl.col("business_date") == day), held, stores(), [day])
        held = part.select("store_id", "product_id", on_hand="closing")
        parts.append(part)
    whole = inventory_daily(moves, opening(str(start)), stores(), days)
    assert_frame_equal(pl.concat(parts).sort("store_id", "product_id", "business_date"), whole)


@settings(max_examples=25, deadline=None)
@given(history=histories, start=quantities)
def test_hours_without_stock_are_what_a_clock_that_ticks_through_the_day_counts(history: list[Any], start: Decimal):
    mine = [
        (day, second, delta) for store, product, (day, second), _, delta in history if (store, product) == ("S1", "P1")
    ]
    ledger = inventory_daily(
        frames_of(history), opening(str(start)), stores(), [MONDAY + timedelta(days=n) for n in range(3)]
    )
    found = ledger.filter(pl.col("store_id") == "S1", pl.col("product_id") == "P1")["stockout_hours"].to_list()
    steps = {(day, second) for day, second, _ in mine}
    level = Decimal(start)
    for day in range(3):
        empty, since = 0, 0
        for second in [*sorted(s for d, s in steps if d == day), 86_400]:
            if level <= 0:
                empty += max(min(second, 20 * 3600) - max(since, 8 * 3600), 0)
            since = second
            level += sum((delta for d, s, delta in mine if (d, s) == (day, second)), Decimal(0))
        assert found[day] == pytest.approx(empty / 3600)
