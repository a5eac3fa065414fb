"""What becomes of sales messages: judged, summed by basket, then by store and hour, and by product and five minutes."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from retail_assets.contracts.events import SALES_TRANSACTION
from retail_streaming.events import accepted, judged
from retail_streaming.sales import (
    REVENUE_HOURLY,
    SALES_VELOCITY,
    baskets,
    revenue_hourly,
    sales_by_time,
    sales_velocity,
)

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
NOW = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)

Figures = dict[tuple[str, str], tuple[str, str, int]]


def line(**changes: Any) -> dict[str, Any]:
    return {"line_no": 1, "product_id": "P1", "quantity": 2, "unit_price": 3.50, "discount": 0.5, **changes}


def basket(number: int, *, at: datetime = NOON, **changes: Any) -> dict[str, Any]:
    return {
        "transaction_id": f"T{number}",
        "store_id": "S1",
        "register_id": "R1",
        "cashier_id": "C1",
        "occurred_at": int(at.timestamp() * 1000),
        "currency": "EUR",
        "payment_method": "card",
        "kind": "sale",
        "lines": [line()],
        **changes,
    }


def summed(spark: SparkSession, messages: Sequence[dict[str, Any] | bytes]) -> DataFrame:
    values = [message if isinstance(message, bytes) else json.dumps(message).encode() for message in messages]
    frame = spark.createDataFrame(
        [(value, None, offset) for offset, value in enumerate(values)],
        "value binary, headers array<struct<key: string, value: binary>>, offset bigint",
    )
    return baskets(judged(frame, SALES_TRANSACTION, clock_skew_minutes=15, now=F.lit(NOW)))


def verdicts(spark: SparkSession, *messages: dict[str, Any] | bytes) -> list[str | None]:
    return [row["verdict"] for row in summed(spark, messages).collect()]


def changed(spark: SparkSession, *messages: dict[str, Any] | bytes) -> pa.Table:
    return sales_by_time(accepted(summed(spark, messages))).toArrow()


def figures(spark: SparkSession, *messages: dict[str, Any] | bytes) -> Figures:
    rows = revenue_hourly(changed(spark, *messages)).select(REVENUE_HOURLY.names).cast(REVENUE_HOURLY)
    return {
        (row["store_id"], f"{row['hour_start']:%H:%M}"): (str(row["units"]), str(row["revenue"]), row["transactions"])
        for row in rows.to_pylist()
    }


def velocity(spark: SparkSession, *messages: dict[str, Any] | bytes) -> dict[tuple[str, str], tuple[str, str, int]]:
    """Return the figures by product and beginning of the five minutes."""
    rows = sales_velocity(changed(spark, *messages)).select(SALES_VELOCITY.names).cast(SALES_VELOCITY)
    return {
        (row["product_id"], f"{row['bucket_start']:%H:%M}"): (
            str(row["units"]),
            str(row["revenue"]),
            row["transactions"],
        )
        for row in rows.to_pylist()
    }


def test_the_lines_of_all_baskets_are_summed_by_store_and_hour(spark: SparkSession) -> None:
    assert figures(
        spark,
        basket(1),
        basket(2, lines=[line(), line(line_no=2, quantity=1, unit_price=1, discount=0)]),
        basket(3, at=NOON.replace(hour=13)),
        basket(4, store_id="S2"),
    ) == {
        ("S1", "12:00"): ("5.000", "14.00", 2),
        ("S1", "13:00"): ("2.000", "6.50", 1),
        ("S2", "12:00"): ("2.000", "6.50", 1),
    }


def test_an_hour_begins_with_its_first_millisecond_and_ends_before_the_next(spark: SparkSession) -> None:
    last = NOON.replace(minute=59, second=59, microsecond=999_000)
    assert set(figures(spark, basket(1, at=NOON), basket(2, at=last))) == {("S1", "12:00")}


def test_returns_and_voids_count_against_sales(spark: SparkSession) -> None:
    found = figures(spark, basket(1), basket(2), basket(3, kind="return"), basket(4, kind="void"))
    assert found == {("S1", "12:00"): ("0.000", "0.00", 4)}


def test_a_basket_that_was_sent_again_counts_once(spark: SparkSession) -> None:
    assert figures(spark, basket(1), basket(1), basket(1)) == figures(spark, basket(1))


def test_each_line_is_rounded_to_the_cent_before_the_sum_as_in_the_batch_pipeline(spark: SparkSession) -> None:
    thirds = [line(line_no=number, quantity=0.333, unit_price=0.05, discount=0) for number in (1, 2, 3)]
    # 0.01665 is 0.02 a line; rounded at the end it would be 0.05.
    assert figures(spark, basket(1, lines=thirds)) == {("S1", "12:00"): ("0.999", "0.06", 1)}


def test_what_the_contract_refuses_has_a_verdict_and_no_influence(spark: SparkSession) -> None:
    refused = [b"not json", basket(8, store_id=None), basket(9, lines=[])]
    assert verdicts(spark, *refused) == ["refused"] * 3
    assert figures(spark, basket(1), *refused) == figures(spark, basket(1))


def test_an_event_ahead_of_the_clock_is_left_out_but_a_little_skew_is_forgiven(spark: SparkSession) -> None:
    year_ahead, minutes_ahead = NOW.replace(year=2027), NOW.replace(minute=14)
    assert verdicts(spark, basket(1, at=year_ahead), basket(2, at=minutes_ahead)) == ["ahead", None]


def test_amounts_that_no_column_can_hold_are_left_out_instead_of_ending_the_query(spark: SparkSession) -> None:
    # No line is worth more than the contract allows, but all of them together are.
    many = basket(1, lines=[line(line_no=n, quantity=999, unit_price=1_000, discount=0) for n in range(1, 10_102)])
    fits = basket(3, lines=[line(line_no=n, quantity=1, unit_price=1_000, discount=0) for n in range(1, 10_102)])
    assert verdicts(spark, many, basket(2), fits) == ["too_large", None, None]


def test_lines_that_are_not_added_up_first_always_fit(spark: SparkSession) -> None:
    most = {"quantity": 99_999, "unit_price": 10, "discount": 0}
    dearest = {"quantity": 10, "unit_price": 99_999, "discount": 0}
    for each in (most, dearest):
        lines = [line(line_no=n, product_id=f"P{n}", **each) for n in range(1, 10_001)]
        ((units, revenue, _),) = figures(spark, basket(1, lines=lines), basket(2, lines=lines)).values()
        assert (Decimal(units), Decimal(revenue)) == (20_000 * each["quantity"], 20_000 * 999_990)


def test_money_is_exact_where_floating_point_is_not(spark: SparkSession) -> None:
    cents = [basket(number, lines=[line(quantity=1, unit_price=0.1, discount=0)]) for number in range(300)]
    ((_, revenue, _),) = figures(spark, *cents).values()
    assert Decimal(revenue) == Decimal("30.00")


def test_products_are_summed_by_five_minutes_and_all_of_them_are_what_the_hour_says(spark: SparkSession) -> None:
    messages = [
        basket(1),
        basket(2, at=NOON.replace(minute=4, second=59)),
        basket(3, at=NOON.replace(minute=5), lines=[line(), line(line_no=2, product_id="P2", quantity=1, discount=0)]),
    ]
    assert velocity(spark, *messages) == {
        ("P1", "12:00"): ("4.000", "13.00", 2),
        ("P1", "12:05"): ("2.000", "6.50", 1),
        ("P2", "12:05"): ("1.000", "3.50", 1),
    }
    assert figures(spark, *messages) == {("S1", "12:00"): ("7.000", "23.00", 3)}


def test_a_basket_with_two_lines_of_a_product_is_one_transaction_of_it(spark: SparkSession) -> None:
    two = basket(1, lines=[line(), line(line_no=2, product_id="P2"), line(line_no=3)])
    assert velocity(spark, two)["P1", "12:00"] == ("4.000", "13.00", 1)


def test_a_product_without_a_name_is_no_basket(spark: SparkSession) -> None:
    nameless = basket(1, lines=[line(product_id="")])
    assert velocity(spark, nameless) == {("", "12:00"): ("2.000", "6.50", 1)}
    assert figures(spark, nameless) == {("S1", "12:00"): ("2.000", "6.50", 1)}


def test_returns_count_against_the_products_too(spark: SparkSession) -> None:
    assert velocity(spark, basket(1), basket(2, kind="return")) == {("P1", "12:00"): ("0.000", "0.00", 2)}
