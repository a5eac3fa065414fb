"""State goes when the watermark has passed it, also where it is kept by a time that was computed."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession

from retail_streaming.errors import CheckpointError
from retail_streaming.events import once_each, with_watermark
from retail_streaming.failures import explain
from retail_streaming.sales import sales_by_time
from retail_streaming.tills import hours_of_tills

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
BASKET = (
    "transaction_id string, store_id string, occurred_at timestamp, sign int, products array<string>, "
    "lines array<struct<product_id: string, quantity: decimal(12,3), unit_price: decimal(12,2), "
    "discount: decimal(12,2)>>"
)
SIGN_OF_LIFE = "event_id string, store_id string, register_id string, occurred_at timestamp, kind string"


class Stream:
    """A stream of files, half an hour of which may be late; each file is one batch of one event."""

    def __init__(
        self, folder: Path, spark: SparkSession, schema: str, compute: Callable[[DataFrame], DataFrame]
    ) -> None:
        self.arriving, self.checkpoint = folder / "arriving", folder / "checkpoint"
        self.arriving.mkdir()
        self.spark, self.schema, self.compute = spark, schema, compute
        self.last: list[dict[str, Any]] = []
        self.late = 0
        self.watermark = ""

    def read(self, event: dict[str, object]) -> int:
        """Let an event arrive, and return how many keys the sums' state holds when all is done."""
        number = len(list(self.arriving.iterdir()))
        (self.arriving / f"{number}.json").write_text(json.dumps(event, default=str), encoding="utf-8")
        events = self.spark.readStream.schema(self.schema).json(str(self.arriving))
        self.last = []
        query = (
            self.compute(with_watermark(events, late_minutes=30))
            .writeStream.outputMode("update")
            .option("checkpointLocation", str(self.checkpoint))
            .trigger(availableNow=True)
            .foreachBatch(lambda batch, _: self.last.extend(row.asDict() for row in batch.collect()))
            .start()
        )
        query.awaitTermination()
        newest = query.lastProgress
        assert newest is not None
        self.late = sum(batch_late(progress) for progress in query.recentProgress)
        self.watermark = str(newest["eventTime"]["watermark"])
        (sums,) = [one for one in newest["stateOperators"] if one["operatorName"] == "stateStoreSave"]
        return int(sums["numRowsTotal"])


def batch_late(progress: Any) -> int:
    return sum(int(operator["numRowsDroppedByWatermark"]) for operator in progress["stateOperators"])


def basket(number: int, at: datetime) -> dict[str, object]:
    return {
        "transaction_id": f"T{number}",
        "store_id": "S1",
        "occurred_at": at.isoformat(),
        "sign": 1,
        "products": ["P1"],
        "lines": [{"product_id": "P1", "quantity": 1, "unit_price": 2, "discount": 0}],
    }


def sign_of_life(number: int, at: datetime) -> dict[str, object]:
    return {
        "event_id": f"E{number}",
        "store_id": "S1",
        "register_id": "R1",
        "occurred_at": at.isoformat(),
        "kind": "heartbeat",
    }


@pytest.mark.parametrize(
    ("schema", "compute", "event", "held", "columns", "changed"),
    [
        # Within the watermark the hour goes on, while the five minutes are others; an hour and a half later the hour is
        # over for everyone, and all its five minutes.
        (BASKET, sales_by_time, basket, (2, 3, 2), ("is_basket", "transactions"), [(False, 1), (True, 2)]),
        (SIGN_OF_LIFE, hours_of_tills, sign_of_life, (1, 1, 1), ("events",), [(2,)]),
    ],
    ids=["hours and five minutes of sales", "hours of tills"],
)
def test_stretches_leave_the_state_when_no_event_can_change_them_any_more(
    spark: SparkSession,
    tmp_path: Path,
    schema: str,
    compute: Callable[[DataFrame], DataFrame],
    event: Callable[[int, datetime], dict[str, object]],
    held: tuple[int, int, int],
    columns: tuple[str, ...],
    changed: list[tuple[object, ...]],
) -> None:
    stream = Stream(tmp_path, spark, schema, compute)
    assert stream.read(event(1, NOON)) == held[0]
    assert stream.read(event(2, NOON + timedelta(minutes=20))) == held[1]
    assert sorted(tuple(row[name] for name in columns) for row in stream.last) == changed
    assert stream.read(event(3, NOON + timedelta(minutes=95))) == held[2]


@pytest.mark.parametrize(("seconds", "late"), [(30 * 60, 0), (31 * 60 - 1, 0), (32 * 60, 1)])
def test_an_event_may_be_as_late_as_was_said_and_at_most_a_minute_more(
    spark: SparkSession, tmp_path: Path, seconds: int, late: int
) -> None:
    newest = NOON + timedelta(minutes=59, seconds=59)
    stream = Stream(tmp_path, spark, SIGN_OF_LIFE, hours_of_tills)
    stream.read(sign_of_life(1, newest))
    assert stream.watermark == "2026-03-02T12:28:00.000Z", "it moves by whole minutes"
    stream.read(sign_of_life(2, newest - timedelta(seconds=seconds)))
    assert stream.late == late


@pytest.mark.parametrize(
    "compute",
    [
        lambda events: events.groupBy("store_id").count(),
        lambda events: once_each(events, "event_id").groupBy("store_id").count(),
    ],
    ids=["other operators", "other keys"],
)
def test_the_state_of_another_release_is_one_line_that_names_the_checkpoint(
    spark: SparkSession, tmp_path: Path, compute: Callable[[DataFrame], DataFrame]
) -> None:
    stream = Stream(tmp_path, spark, SIGN_OF_LIFE, hours_of_tills)
    stream.read(sign_of_life(1, NOON))
    stream.compute = compute
    with pytest.raises(StreamingQueryException) as raised:
        stream.read(sign_of_life(2, NOON))
    error = explain(str(raised.value), query="tills", topic="t", checkpoint="file:///c")
    assert type(error) is CheckpointError
    with pytest.raises(
        CheckpointError, match="^tills: its checkpoint file:///c holds what another release .* begin-anew tills`"
    ):
        raise error
