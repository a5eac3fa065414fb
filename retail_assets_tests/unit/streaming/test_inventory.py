"""The books of each product in each store, from movements that come in any order and more than once."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pyspark.sql import SparkSession

from retail_streaming.inventory import INVENTORY, inventory

NINE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SCHEMA = (
    "event_id string, store_id string, product_id string, occurred_at timestamp, movement string, "
    "quantity_delta decimal(12,3), on_hand_after decimal(12,3), kafka_offset bigint"
)

Movement = tuple[str, str, str, datetime, str, Decimal, Decimal, int]


def movement(number: int, kind: str, delta: float, after: float, *, minute: int | None = None) -> Movement:
    at = NINE + timedelta(minutes=number if minute is None else minute)
    return (f"E{number}", "S1", "P1", at, kind, Decimal(str(delta)), Decimal(str(after)), number)


def books(spark: SparkSession, *rows: Movement) -> dict[str, Any]:
    table = inventory(spark.createDataFrame(list(rows), SCHEMA)).toArrow()
    (row,) = table.select(INVENTORY.names).cast(INVENTORY).to_pylist()
    return dict(row)


DAY = (
    movement(1, "sale", -2, 8),
    movement(2, "receipt", 12, 20),
    movement(3, "sale", -1, 19),
    movement(4, "count", -3, 16),
    movement(5, "sale", -1, 15),
)


def test_the_newest_movement_says_what_is_on_hand_and_the_others_explain_it(spark: SparkSession) -> None:
    found = books(spark, *DAY)
    assert (found["on_hand"], found["opening"], found["moved"], found["unexplained"]) == (15, 10, 5, 0)
    assert (found["movements"], found["last_movement"]) == (5, "sale")
    assert found["last_sale_at"] == NINE + timedelta(minutes=5)
    assert found["last_receipt_at"] == NINE + timedelta(minutes=2)
    assert (found["last_count_at"], found["last_count_correction"]) == (NINE + timedelta(minutes=4), -3)


def test_order_and_repetitions_change_nothing(spark: SparkSession) -> None:
    mixed = [*DAY, *DAY[1:4]]
    random.Random(3).shuffle(mixed)  # noqa: S311 -- the same order each time
    assert books(spark, *mixed) == books(spark, *DAY)


def test_a_movement_that_never_arrived_is_unexplained(spark: SparkSession) -> None:
    assert books(spark, DAY[0], *DAY[2:])["unexplained"] == 12


def test_of_two_movements_at_one_millisecond_the_later_in_the_partition_is_the_newest(spark: SparkSession) -> None:
    first, second = movement(1, "sale", -1, 9, minute=0), movement(2, "sale", -1, 8, minute=0)
    for order in ((first, second), (second, first)):
        found = books(spark, *order)
        assert (found["on_hand"], found["opening"], found["unexplained"]) == (8, 10, 0)


def test_what_never_happened_has_no_time(spark: SparkSession) -> None:
    found = books(spark, movement(1, "sale", -1, 9))
    assert found["last_receipt_at"] is found["last_count_at"] is found["last_count_correction"] is None
