"""The last sign of life of each till."""

from datetime import UTC, datetime

from pyspark.sql import SparkSession

from retail_streaming.pos_health import last_events

NINE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def test_the_newest_event_of_each_register_counts_in_whatever_order_they_came(spark: SparkSession) -> None:
    rows = [
        ("E2", "S1", "R1", NINE.replace(minute=5), "heartbeat"),
        ("E1", "S1", "R1", NINE, "open"),
        ("E3", "S1", "R2", NINE, "offline"),
        ("E4", "S2", "R1", NINE, "open"),
    ]
    frame = spark.createDataFrame(
        rows, "event_id string, store_id string, register_id string, occurred_at timestamp, kind string"
    )
    found = {(row["store_id"], row["register_id"]): row["last_kind"] for row in last_events(frame).collect()}
    assert found == {("S1", "R1"): "heartbeat", ("S1", "R2"): "offline", ("S2", "R1"): "open"}


def test_of_two_events_at_one_millisecond_it_is_always_the_same(spark: SparkSession) -> None:
    rows = [("E1", "S1", "R1", NINE, "offline"), ("E2", "S1", "R1", NINE, "online")]
    schema = "event_id string, store_id string, register_id string, occurred_at timestamp, kind string"
    for order in (rows, rows[::-1]):
        (row,) = last_events(spark.createDataFrame(order, schema)).collect()
        assert row["last_kind"] == "online"
