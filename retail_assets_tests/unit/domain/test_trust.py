"""Which lines and movements can be trusted, and with which price and promotion."""

from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.contracts.tables.core import QUARANTINE_REASONS
from retail_assets.contracts.thresholds import load_thresholds
from retail_assets.contracts.types import polars_schema
from retail_assets.domain.prices import SINCE_EVER
from retail_assets.domain.trust import (
    JUDGED_LINES,
    JUDGED_MOVEMENTS,
    LINES,
    MOVEMENTS,
    judged_lines,
    judged_movements,
)

DAY = date(2026, 3, 10)
LIMITS = load_thresholds().quarantine
STORES = pl.DataFrame({"store_id": ["S1"], "opened_on": [DAY + timedelta(days=LIMITS.days_before_opening)]})
PRICES = pl.DataFrame({"product_id": ["P1"], "valid_from": [SINCE_EVER], "list_price": [Decimal("4.00")]})


def running(*rows: tuple[str, int, int, float]) -> pl.DataFrame:
    """Return promotions of P1 in S1: id, first and last day after `DAY`, discount."""
    return pl.DataFrame(
        [("S1", "P1", name, DAY + timedelta(days=a), DAY + timedelta(days=b), share) for name, a, b, share in rows],
        schema=["store_id", "product_id", "promotion_id", "starts_on", "ends_on", "discount_share"],
        orient="row",
    )


def line(**more: Any) -> dict[str, Any]:
    given = {
        "kafka_topic": "t",
        "kafka_partition": 0,
        "kafka_offset": 0,
        "transaction_id": "T1",
        "line_no": 1,
        "store_id": "S1",
        "register_id": "R1",
        "product_id": "P1",
        "occurred_at": datetime(2026, 3, 10, 12, tzinfo=UTC),
        "business_hour": 12,
        "kind": "sale",
        "unit_price": Decimal("4.00"),
        "discount": Decimal(0),
        "till_promotion_id": None,
        "business_date": DAY,
        "quantity": Decimal(2),
        "event_reason": None,
    }
    return {**given, **more}


def judge(*lines: dict[str, Any], promotions: pl.DataFrame | None = None) -> list[dict[str, Any]]:
    frame = pl.DataFrame(list(lines), schema=polars_schema(LINES))
    promotions = pl.DataFrame() if promotions is None else promotions
    return judged_lines(frame, STORES, PRICES, promotions, LIMITS).to_dicts()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"quantity": Decimal(1000)}, None),
        ({"quantity": Decimal("1000.001")}, "implausible_quantity"),
        ({"unit_price": Decimal("40.00")}, None),
        ({"unit_price": Decimal("40.01")}, "implausible_price"),
        ({"unit_price": Decimal(9999), "product_id": "P9"}, None),
        ({"unit_price": Decimal(0)}, None),
        ({"discount": Decimal("8.00")}, None),
        ({"discount": Decimal("8.01")}, "implausible_discount"),
        ({"quantity": Decimal("0.245"), "unit_price": Decimal("6.47"), "discount": Decimal("1.59")}, None),
        ({"business_date": DAY - timedelta(days=1)}, "store_not_open_yet"),
        ({"business_date": DAY - timedelta(days=1), "store_id": "S9"}, None),
        ({"event_reason": "conflicting_duplicate", "quantity": Decimal(5000)}, "conflicting_duplicate"),
        ({"kind": "return"}, None),
    ],
)
def test_a_line_is_trusted_up_to_the_limits_and_not_beyond(more: dict[str, Any], reason: str | None) -> None:
    (found,) = judge(line(**more))
    assert found["reason"] == reason
    assert (found["explanation"] is None) == (reason is None)


def test_half_a_cent_is_rounded_away_from_zero_and_once() -> None:
    (sold,) = judge(line(quantity=Decimal("0.500"), unit_price=Decimal("0.05")))
    (returned,) = judge(line(quantity=Decimal("0.500"), unit_price=Decimal("0.05"), kind="return"))
    assert (sold["revenue"], returned["revenue"]) == (Decimal("0.03"), Decimal("-0.03"))


def test_the_explanation_has_the_numbers() -> None:
    (found,) = judge(line(unit_price=Decimal("99.00")))
    assert found["explanation"] == "99.00 for a unit, more than 10.0 times the list price 4.00"


@pytest.mark.parametrize(
    ("promotions", "till", "expected"),
    [
        ([("A", 0, 0, 0.1)], None, "A"),
        ([("A", 0, 0, 0.1)], "B", "A"),
        ([("A", 0, 0, 0.1), ("B", -3, 3, 0.5)], None, "B"),
        ([("A", 0, 0, 0.1), ("B", -3, 3, 0.5)], "A", "A"),
        ([("B", 0, 0, 0.1), ("A", 0, 0, 0.1)], None, "A"),
        ([("A", 1, 5, 0.1)], "A", None),
        ([("A", -5, -1, 0.1)], "A", None),
        ([], "A", None),
    ],
)
def test_the_promotion_is_one_that_ran_on_the_day_the_tills_own_if_it_did(
    promotions: list[Any], till: str | None, expected: str | None
) -> None:
    (found,) = judge(line(till_promotion_id=till), promotions=running(*promotions))
    assert (found["promotion_id"], found["till_promotion_id"]) == (expected, till)


amounts = st.decimals(min_value=0, max_value=99_999, places=2)
lines_of_tills = st.lists(
    st.builds(
        line,
        kind=st.sampled_from(["sale", "return", "void"]),
        quantity=st.decimals(min_value=Decimal("0.001"), max_value=9, places=3),
        unit_price=amounts,
        discount=amounts,
        product_id=st.sampled_from(["P1", "P2"]),
        store_id=st.sampled_from(["S1", "S2"]),
        event_reason=st.sampled_from([None, "future_date"]),
    ),
    max_size=8,
)


@settings(max_examples=40)
@given(lines_of_tills)
def test_every_line_comes_out_once_and_counts_what_the_till_said(lines: list[dict[str, Any]]) -> None:
    numbered = [{**one, "kafka_offset": number} for number, one in enumerate(lines)]
    found = judge(*numbered, promotions=running(("A", 0, 0, 0.1), ("B", 0, 0, 0.2)))
    assert [one["kafka_offset"] for one in found] == list(range(len(lines)))
    for before, after in zip(numbered, found, strict=True):
        sign = 1 if before["kind"] == "sale" else -1
        assert after["units"] == sign * before["quantity"]
        value = before["quantity"] * before["unit_price"]
        exact = sign * (value - before["discount"])
        assert after["revenue"] == exact.quantize(Decimal("0.01"), ROUND_HALF_UP)
        assert after["reason"] is None or after["reason"] in QUARANTINE_REASONS


def test_no_lines_and_no_movements_are_empty_tables_of_their_shapes() -> None:
    empty = pl.DataFrame()
    assert judged_lines(empty, empty, empty, empty, LIMITS).schema == polars_schema(JUDGED_LINES)
    assert judged_movements(empty, empty, LIMITS).schema == polars_schema(JUDGED_MOVEMENTS)


@pytest.mark.parametrize(
    ("movement", "delta", "reason"),
    [
        ("sale", -1000, None),
        ("sale", -1001, "implausible_quantity"),
        ("return", 1001, "implausible_quantity"),
        ("receipt", 50_000, None),
        ("receipt", 50_001, "implausible_quantity"),
        ("count", -50_001, "implausible_quantity"),
    ],
)
def test_a_movement_of_customers_has_the_limit_of_a_line_and_any_other_a_wider_one(
    movement: str, delta: int, reason: str | None
) -> None:
    row = {
        "kafka_topic": "t",
        "kafka_partition": 0,
        "kafka_offset": 0,
        "event_id": "M1",
        "store_id": "S1",
        "product_id": "P1",
        "occurred_at": datetime(2026, 3, 10, 12, tzinfo=UTC),
        "business_date": DAY,
        "movement": movement,
        "quantity_delta": Decimal(delta),
        "on_hand_after": Decimal(0),
        "event_reason": None,
    }
    frame = pl.DataFrame([row], schema=polars_schema(MOVEMENTS))
    assert judged_movements(frame, STORES, LIMITS)["reason"].to_list() == [reason]
