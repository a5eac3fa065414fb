"""What the contract accepts, what it refuses, and what it says about it."""

import io
import json
import random
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from retail_assets.contracts.decoding import decode, event_fields, rejection
from retail_assets.contracts.events import (
    CONTENT_AVRO,
    CONTENT_JSON,
    INVENTORY_UPDATE,
    POS_EVENT,
    SALES_TRANSACTION,
    EventSchema,
    avro_schema,
)

NOON = 1_767_268_800_000


def basket(**changes: Any) -> dict[str, Any]:
    """Return a basket that the contract accepts, with some fields changed."""
    line = {"line_no": 1, "product_id": "P0001", "quantity": 2, "unit_price": 3.49, "discount": 0.5}
    return {
        "transaction_id": "T1",
        "store_id": "S001",
        "register_id": "R1",
        "cashier_id": "C1",
        "occurred_at": NOON,
        "currency": "EUR",
        "payment_method": "card",
        "kind": "sale",
        "lines": [line],
        **changes,
    }


def judged(
    spark: SparkSession,
    *values: bytes | None,
    schema: EventSchema = SALES_TRANSACTION,
    headers: dict[str, str] | None = None,
) -> list[Any]:
    """Decode messages and return for each its fields and, as `rejection`, the reason for refusing it."""
    pairs = [(name, text.encode()) for name, text in (headers or {}).items()] or None
    frame = spark.createDataFrame(
        [(value, pairs) for value in values], "value binary, headers array<struct<key: string, value: binary>>"
    ).select(decode(F.col("value"), F.col("headers"), schema).alias("event"), "headers")
    return frame.select(
        rejection(F.col("event"), F.col("headers"), schema).alias("rejection"),
        *event_fields(F.col("event"), schema),
    ).collect()


def test_a_right_basket_is_accepted_with_exact_money_and_time(spark: SparkSession) -> None:
    (row,) = judged(spark, json.dumps(basket()).encode())
    assert row["rejection"] is None
    assert str(row["lines"][0]["unit_price"]) == "3.49"
    assert str(row["lines"][0]["quantity"]) == "2.000"
    assert row["occurred_at"].timestamp() * 1000 == NOON


def test_an_unknown_extra_field_is_left_out_and_the_basket_accepted(spark: SparkSession) -> None:
    (row,) = judged(spark, json.dumps(basket(loyalty_card="42")).encode())
    assert row["rejection"] is None
    assert "loyalty_card" not in row.asDict()


WRONG: list[tuple[bytes, str]] = [
    (b"\x00\xff not json", "not a JSON object"),
    (b"", "not a JSON object"),
    (b"[]", "not a JSON object"),
    (b"{}", "not a JSON object"),
    (b'{"transaction_id": "T1"', "not a JSON object"),
    (json.dumps({**basket(), "store_id": None}).encode(), "store_id is missing"),
    (json.dumps(basket(occurred_at="yesterday")).encode(), "occurred_at is missing or not epoch milliseconds"),
    (json.dumps(basket(occurred_at=10**17)).encode(), "occurred_at is not a time between 2000 and 2100"),
    (json.dumps(basket(kind="gift")).encode(), "kind is not one of sale, return, void"),
    (json.dumps(basket(lines=[])).encode(), "lines is empty"),
    (json.dumps(basket(lines="none")).encode(), "lines is missing or not a list of lines"),
    (
        json.dumps(basket(lines=[{"line_no": 1, "quantity": 1, "unit_price": 1, "discount": 0}])).encode(),
        "lines.product_id is missing",
    ),
    (
        json.dumps(
            basket(lines=[{"line_no": 1, "product_id": "P", "quantity": "two", "unit_price": 1, "discount": 0}])
        ).encode(),
        "lines.quantity is missing or not decimal(12,3)",
    ),
    (
        json.dumps(
            basket(lines=[{"line_no": 1, "product_id": "P", "quantity": -1, "unit_price": 1, "discount": 0}])
        ).encode(),
        "lines.quantity is below 0.001",
    ),
    (
        json.dumps(
            basket(lines=[{"line_no": 1, "product_id": "P", "quantity": 1e6, "unit_price": 1, "discount": 0}])
        ).encode(),
        "lines.quantity is above 99999",
    ),
    (
        json.dumps(
            basket(lines=[{"line_no": 1, "product_id": "P", "quantity": 1, "unit_price": 1e40, "discount": 0}])
        ).encode(),
        "lines.unit_price is missing or not decimal(12,2)",
    ),
    (json.dumps(basket(lines=basket()["lines"] * 2)).encode(), "lines.line_no is there twice"),
    (
        json.dumps(
            basket(lines=[{"line_no": 1, "product_id": "P", "quantity": 9e4, "unit_price": 9e4, "discount": 0}])
        ).encode(),
        "lines: quantity x unit_price is above 999999",
    ),
]


@pytest.fixture(scope="module")
def reasons(spark: SparkSession) -> dict[bytes, str | None]:
    """What is said about each wrong basket, asked for all in one go: each asking is a job of Spark's."""
    values = [value for value, _ in WRONG]
    return {value: row["rejection"] for value, row in zip(values, judged(spark, *values), strict=True)}


@pytest.mark.parametrize(("value", "reason"), WRONG)
def test_a_wrong_basket_is_refused_with_the_field_in_the_reason(
    reasons: dict[bytes, str | None], value: bytes, reason: str
) -> None:
    found = reasons[value]
    assert found is not None
    assert found.startswith(reason)


def test_a_movement_of_more_than_a_store_can_hold_is_refused(spark: SparkSession) -> None:
    movement = {
        "event_id": "I1",
        "store_id": "S001",
        "product_id": "P0001",
        "occurred_at": NOON,
        "movement": "adjustment",
        "quantity_delta": 1,
        "on_hand_after": 5,
    }
    values = [movement, {**movement, "quantity_delta": 999_999_999.999}, {**movement, "on_hand_after": -1e6}]
    found = judged(spark, *(json.dumps(value).encode() for value in values), schema=INVENTORY_UPDATE)
    assert [row["rejection"] for row in found] == [
        None,
        "quantity_delta is above 99999",
        "on_hand_after is below -99999",
    ]


def as_avro(event: dict[str, Any], schema: EventSchema) -> bytes:
    """Return an event as a till writes it in Avro; fields that it lacks get the schema's default."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(avro_schema(schema.name)), event)
    return buffer.getvalue()


def avro_basket() -> dict[str, Any]:
    """Return a basket with the decimals that Avro wants."""
    line = {"line_no": 1, "product_id": "P0001", "promotion_id": None}
    amounts = {"quantity": Decimal("2.000"), "unit_price": Decimal("3.49"), "discount": Decimal("0.50")}
    return basket(lines=[{**line, **amounts}])


def test_an_avro_message_is_the_same_event_as_its_json(spark: SparkSession) -> None:
    (of_json,) = judged(spark, json.dumps(basket()).encode(), headers={"content_type": CONTENT_JSON})
    (of_avro,) = judged(spark, as_avro(avro_basket(), SALES_TRANSACTION), headers={"content_type": CONTENT_AVRO})
    assert of_avro["rejection"] is None
    assert of_avro == of_json
    till = {"event_id": "E1", "store_id": "S1", "register_id": "R1", "occurred_at": NOON, "kind": "open"}
    (of_json,) = judged(spark, json.dumps(till).encode(), schema=POS_EVENT)
    (of_avro,) = judged(spark, as_avro(till, POS_EVENT), schema=POS_EVENT, headers={"content_type": CONTENT_AVRO})
    assert of_avro == of_json


def test_a_rule_of_the_contract_holds_for_avro_too(spark: SparkSession) -> None:
    wrong = avro_basket()
    wrong["lines"][0]["quantity"] = Decimal("-1.000")
    (row,) = judged(spark, as_avro(wrong, SALES_TRANSACTION), headers={"content_type": CONTENT_AVRO})
    assert row["rejection"] == "lines.quantity is below 0.001 in a line"


def test_bytes_that_are_no_avro_record_are_refused_and_harm_nobody_else(spark: SparkSession) -> None:
    good = as_avro(avro_basket(), SALES_TRANSACTION)
    draw = random.Random(11)  # noqa: S311 -- the same nonsense each time
    nonsense = [draw.randbytes(draw.randrange(1, 60)) for _ in range(200)]
    values = [
        b"",
        b"\x01" + good,
        good[: len(good) // 2],
        b"\xfe\xff\xff\xff\x0f",
        json.dumps(basket()).encode(),
        *nonsense,
    ]
    *refused, accepted = judged(spark, *values, good, headers={"content_type": CONTENT_AVRO})
    assert accepted["rejection"] is None
    assert all(row["rejection"] for row in refused)
    assert {row["rejection"] for row in refused[:4]} == {"not an Avro record of this schema"}


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"schema": "pos_event"}, "the header schema is not sales_transaction"),
        ({"schema": "sales_transaction", "schema_version": "99"}, "the header schema_version is not 1"),
        ({"schema_version": ""}, "the header schema_version is not 1"),
        ({"content_type": "text/csv"}, "the header content_type is neither application/json nor avro/binary"),
    ],
)
def test_a_message_that_says_it_is_something_else_is_refused(
    spark: SparkSession, headers: dict[str, str], reason: str
) -> None:
    (row,) = judged(spark, json.dumps(basket()).encode(), headers=headers)
    assert row["rejection"] == reason


def test_a_message_without_a_value_is_refused(spark: SparkSession) -> None:
    for content_type in (CONTENT_JSON, CONTENT_AVRO):
        (row,) = judged(spark, None, headers={"content_type": content_type})
        assert row["rejection"]
