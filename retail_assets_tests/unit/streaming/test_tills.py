"""The last sign of life of each till, and what it reported by hour."""

from datetime import UTC, datetime

from pyspark.sql import SparkSession

from retail_streaming.tills import POS_HOURLY, hours_of_tills

NINE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TEN = NINE.replace(hour=10)
SCHEMA = "event_id string, store_id string, register_id string, occurred_at timestamp, kind string"

Row = tuple[str, str, str, datetime, str]


def hours(spark: SparkSession, *rows: Row) -> list[dict[str, object]]:
    table = hours_of_tills(spark.createDataFrame(list(rows), SCHEMA)).toArrow()
    return list(table.select(POS_HOURLY.names).cast(POS_HOURLY).to_pylist())


def last(spark: SparkSession, *rows: Row) -> dict[tuple[object, ...], object]:
    return {(row["store_id"], row["register_id"], row["hour_start"]): row["last_kind"] for row in hours(spark, *rows)}


def test_the_newest_event_of_each_register_and_hour_counts_in_whatever_order_they_came(spark: SparkSession) -> None:
    assert last(
        spark,
        ("E2", "S1", "R1", TEN, "heartbeat"),
        ("E5", "S1", "R1", TEN.replace(minute=9), "close"),
        ("E6", "S1", "R1", TEN.replace(minute=8), "no_sale"),
        ("E1", "S1", "R1", NINE, "open"),
        ("E3", "S1", "R2", NINE, "offline"),
        ("E4", "S2", "R1", NINE, "open"),
    ) == {
        ("S1", "R1", NINE): "open",
        ("S1", "R1", TEN): "close",
        ("S1", "R2", NINE): "offline",
        ("S2", "R1", NINE): "open",
    }


def test_of_two_events_at_one_millisecond_it_is_always_the_same(spark: SparkSession) -> None:
    rows = [("E1", "S1", "R1", NINE, "offline"), ("E2", "S1", "R1", NINE, "online")]
    for order in (rows, rows[::-1]):
        assert last(spark, *order) == {("S1", "R1", NINE): "online"}


def test_what_a_register_reports_is_counted_by_hour_and_each_event_once(spark: SparkSession) -> None:
    rows = [
        ("E1", "S1", "R1", NINE, "price_override"),
        ("E1", "S1", "R1", NINE, "price_override"),
        ("E2", "S1", "R1", NINE.replace(minute=59), "price_override"),
        ("E3", "S1", "R1", NINE.replace(minute=30), "no_sale"),
        ("E4", "S1", "R1", TEN, "scan_error"),
        ("E5", "S1", "R1", TEN, "offline"),
    ]
    names = ("hour_start", "events", "price_overrides", "no_sales", "scan_errors", "offline_events", "last_kind")
    found = sorted(tuple(row[name] for name in names) for row in hours(spark, *rows))
    assert found == [(NINE, 3, 2, 1, 0, 0, "price_override"), (TEN, 2, 0, 0, 1, 1, "offline")]
