"""The figures of a batch: in its log line, in the metrics, and in the warehouse's rows."""

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from retail_assets.resources.warehouse_schema import documented_columns
from retail_streaming import logs
from retail_streaming.errors import DiskFullError, TransientError
from retail_streaming.metrics import Metrics
from retail_streaming.progress import Batch, Written, WrittenBatches, batch_level, batch_line, batch_of
from retail_streaming.progress_rows import SCHEMA, TABLE, ProgressRows
from retail_streaming.supervision import SupervisedQuery

NEWEST = datetime(2026, 2, 25, 6, 13, 20, tzinfo=UTC)
#: As Spark reports a batch.
PROGRESS: dict[str, Any] = {
    "name": "sales",
    "batchId": 7,
    "numInputRows": 9,
    "durationMs": {"triggerExecution": 120},
    "stateOperators": [
        {"numRowsDroppedByWatermark": 2, "numRowsTotal": 30, "memoryUsedBytes": 4000},
        {"numRowsDroppedByWatermark": 0, "numRowsTotal": 12, "memoryUsedBytes": 600},
    ],
    "eventTime": {"watermark": "2026-02-25T05:13:20.000Z"},
    "sources": [
        {
            "startOffset": "None",
            "endOffset": '{"sales-transactions":{"0":10,"1":20}}',
            "latestOffset": '{"sales-transactions":{"0":13,"1":20,"2":5}}',
        }
    ],
}
COUNTS = {"refused": 1, "max_event_ms": int(NEWEST.timestamp() * 1000)}
BATCH = batch_of(PROGRESS, COUNTS, Written(rows=3))


class NeverEnds:
    isActive = True  # noqa: N815 -- Spark's name
    status: ClassVar[dict[str, bool]] = {"isTriggerActive": False}

    def stop(self) -> None:
        pytest.fail("nobody stops it")


def metrics_of(*batches: Batch) -> Metrics:
    metrics = Metrics()
    query = SupervisedQuery("sales", NeverEnds, lambda _: pytest.fail("it never ends"), restarts=1)
    metrics.watch_query(query)
    query.start(0)
    for batch in batches:
        metrics.batch(batch)
    return metrics


def values(metrics: Metrics) -> dict[str, float]:
    lines = [line for line in metrics.text().decode().splitlines() if line.startswith("retail_stream_")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_a_batch_is_one_line_of_json() -> None:
    written = WrittenBatches()
    written.note("sales", 7, Written(rows=3))
    fields = batch_line(batch_of(PROGRESS, COUNTS, written.take("sales", 7)))
    record = logging.makeLogRecord({"msg": "batch", "levelno": logging.INFO, "levelname": "INFO", "fields": fields})
    line = json.loads(logs.JsonFormatter().format(record))
    assert line.pop("at")
    assert line == {
        "level": "info",
        "event": "batch",
        "query": "sales",
        "batch": 7,
        "rows_in": 9,
        "refused": 1,
        "ahead": 0,
        "too_large": 0,
        "late": 2,
        "rows_out": 3,
        "ms": 120,
        "lag": 8,
        "max_event_at": "2026-02-25T06:13:20.000+00:00",
        "watermark": "2026-02-25T05:13:20.000+00:00",
    }
    assert written.take("sales", 7) == Written()


def test_waiting_for_the_next_turn_is_no_part_of_a_batch() -> None:
    assert batch_of(PROGRESS, COUNTS, Written(waited=0.05)).milliseconds == 70


def test_a_query_without_state_and_a_topic_without_messages_have_figures_too() -> None:
    source = {"startOffset": "None", "endOffset": "null", "latestOffset": "None"}
    bare = {**PROGRESS, "stateOperators": [], "eventTime": {}, "sources": [source]}
    batch = batch_of(bare, {}, Written())
    assert (batch.lag, batch.state_rows, batch.watermark, batch.newest_event) == (0, 0, None, None)


def test_before_the_first_event_there_is_no_watermark() -> None:
    batch = batch_of({**PROGRESS, "eventTime": {"watermark": "1970-01-01T00:00:00.000Z"}}, {}, Written())
    assert batch.watermark is None


def test_batches_add_up_in_the_metrics_and_the_newest_says_how_things_are() -> None:
    found = values(metrics_of(BATCH, replace(BATCH, lag=1, state_rows=50, newest_event=NEWEST - timedelta(hours=2))))
    label = '{query="sales"}'
    assert found[f"retail_stream_batches_total{label}"] == 2
    assert found[f"retail_stream_messages_total{label}"] == 18
    assert found[f"retail_stream_rows_written_total{label}"] == 6
    assert found['retail_stream_messages_left_out_total{query="sales",verdict="late"}'] == 4
    assert found['retail_stream_messages_left_out_total{query="sales",verdict="too_large"}'] == 0
    assert found[f"retail_stream_last_batch_seconds{label}"] == 0.12
    assert found['retail_stream_batch_seconds_bucket{le="0.25",query="sales"}'] == 2
    assert found['retail_stream_batch_seconds_bucket{le="0.1",query="sales"}'] == 0
    assert found[f"retail_stream_lag_messages{label}"] == 1
    assert found[f"retail_stream_state_rows{label}"] == 50
    assert found[f"retail_stream_state_bytes{label}"] == 4600
    assert found[f"retail_stream_newest_event_timestamp_seconds{label}"] == NEWEST.timestamp()
    assert found[f"retail_stream_watermark_timestamp_seconds{label}"] == NEWEST.timestamp() - 3600
    assert 0 <= found[f"retail_stream_seconds_since_last_batch{label}"] < 60


def test_a_query_is_in_the_metrics_before_its_first_batch() -> None:
    found = values(metrics_of())
    label = '{query="sales"}'
    assert found[f"retail_stream_query_up{label}"] == 1
    assert found[f"retail_stream_query_restarts_total{label}"] == 0
    assert found[f"retail_stream_batches_total{label}"] == 0


def test_refused_messages_are_counted_by_topic_and_reason() -> None:
    metrics = metrics_of()
    reasons = ["not a JSON object", "not a JSON object", "kind is missing"]
    metrics.count_letters(pa.table({"kafka_topic": ["pos-events"] * 3, "rejection": reasons}))
    found = values(metrics)
    assert found['retail_stream_dead_letters_total{reason="not a JSON object",topic="pos-events"}'] == 2
    assert found['retail_stream_dead_letters_total{reason="kind is missing",topic="pos-events"}'] == 1


def test_failures_are_counted_by_reason_and_a_clock_that_was_set_by_direction() -> None:
    metrics = metrics_of()
    metrics.failed("sales", DiskFullError("full"))
    metrics.clock_was_set(-3600)
    found = values(metrics)
    assert found['retail_stream_query_failures_total{query="sales",reason="disk_full"}'] == 1
    assert found['retail_stream_clock_set_total{direction="back"}'] == 1


@pytest.mark.parametrize(
    ("verdict", "level"), [("late", logging.WARNING), ("ahead", logging.WARNING), ("refused", logging.INFO)]
)
def test_a_batch_is_a_warning_when_an_event_was_left_out_for_its_time(verdict: str, level: int) -> None:
    nothing = dict.fromkeys(BATCH.left_out, 0)
    assert batch_level(replace(BATCH, left_out={**nothing, verdict: 1})) == level


class Table:
    """Stands for the warehouse: keeps what is inserted, or is away."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.away = False

    def insert(self, table: str, rows: pa.Table) -> None:
        assert table == TABLE
        if self.away:
            raise TransientError("away")
        self.rows += rows.to_pylist()


def noon(second: float) -> datetime:
    return datetime(2026, 3, 2, 12, tzinfo=UTC) + timedelta(seconds=second)


def test_the_batches_of_ten_seconds_are_one_row_once_these_are_over() -> None:
    rows, table = ProgressRows(), Table()
    rows.add(BATCH, noon(0))
    rows.add(replace(BATCH, number=8, milliseconds=90, lag=0, newest_event=None), noon(9.9))
    rows.add(replace(BATCH, number=9), noon(10))
    rows.write(table.insert, noon(9.99))
    assert table.rows == []
    rows.write(table.insert, noon(10))
    (row,) = table.rows
    assert {name: row[name] for name in ("query", "at", "batch", "batches", "rows_in", "late", "lag")} == {
        "query": "sales",
        "at": noon(0),
        "batch": 8,
        "batches": 2,
        "rows_in": 18,
        "late": 4,
        "lag": 0,
    }
    assert row["longest_batch_ms"] == 120
    assert row["newest_event_at"] == NEWEST
    rows.write(table.insert, noon(11), all_rows=True)
    rows.write(table.insert, noon(30))
    assert [row["batch"] for row in table.rows] == [8, 9]


def test_rows_that_the_warehouse_did_not_take_are_kept_and_it_is_said_once(seen: pytest.LogCaptureFixture) -> None:
    rows, table = ProgressRows(), Table()
    rows.add(BATCH, noon(0))
    table.away = True
    for _ in range(3):
        with pytest.raises(TransientError):
            rows.write(table.insert, noon(60))
    table.away = False
    rows.write(table.insert, noon(60))
    assert [row["batch"] for row in table.rows] == [7]
    assert seen.messages == ["progress not written"]


def test_a_warehouse_that_is_away_for_long_does_not_fill_the_memory() -> None:
    rows, table = ProgressRows(), Table()
    for number in range(2000):
        rows.add(replace(BATCH, number=number), noon(10 * number))
    rows.write(table.insert, noon(99_999))
    assert [row["batch"] for row in table.rows] == list(range(200, 2000))


def test_the_rows_have_the_columns_of_the_table() -> None:
    assert [name for name, _, _ in documented_columns(TABLE)] == SCHEMA.names
