"""Versions, patience, and what is said of failures."""

from datetime import UTC, datetime
from threading import Event

import pyarrow as pa
import pytest

from retail_streaming.errors import StreamingError, TransientError, UnknownError
from retail_streaming.failures import explain
from retail_streaming.patience import patiently
from retail_streaming.settings import StreamingSettings
from retail_streaming.warehouse import Target, Warehouse, version_epoch, version_of

NOW_MS = 1_772_000_000_000


def test_a_version_rises_with_each_batch_and_each_start() -> None:
    first, second = version_epoch(NOW_MS, 0), version_epoch(NOW_MS + 1000, 0)
    versions = [version_of(first, 0), version_of(first, 1), version_of(first, 86_400 * 365), version_of(second, 0)]
    assert versions == sorted(set(versions))
    assert versions[-1] < 2**64


def test_a_clock_that_was_set_back_does_not_make_new_rows_lose() -> None:
    held = version_of(NOW_MS, 12)
    assert version_of(version_epoch(NOW_MS - 3_600_000, held), 0) > held


def test_what_passes_is_tried_again_until_it_has_passed() -> None:
    answers = iter([TransientError("away"), TransientError("away"), "here"])

    def attempt() -> str:
        answer = next(answers)
        if isinstance(answer, TransientError):
            raise answer
        return answer

    assert patiently(attempt, what="test", seconds=60, stopping=Event(), first_pause=0.001) == "here"


@pytest.mark.parametrize(
    ("error", "seconds", "told_to_stop", "attempts"),
    [
        (StreamingError("refused"), 60, False, 1),
        (TransientError("away"), 0, False, 1),
        (TransientError("away"), 60, True, 1),
    ],
)
def test_patience_has_ends(error: StreamingError, seconds: float, told_to_stop: bool, attempts: int) -> None:
    stopping, tried = Event(), []
    if told_to_stop:
        stopping.set()

    def attempt() -> None:
        tried.append(1)
        raise error

    with pytest.raises(StreamingError, match=str(error)):
        patiently(attempt, what="test", seconds=seconds, stopping=stopping, first_pause=0.001)
    assert len(tried) == attempts


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        (
            "[STREAM_FAILED] Query terminated\nCaused by: org.apache.kafka.common.errors.TimeoutException: Timed out",
            TransientError,
            "the Kafka broker is away",
        ),
        ("[KAFKA_DATA_LOSS.TOPIC_PARTITIONS_OFFSET_...]", StreamingError, "move file:///c away"),
        ("[STREAM_FAILED] x\nat y\nNo space left on device", UnknownError, r"failed \(No space left on device\)"),
    ],
)
def test_a_failure_is_one_line_that_says_what_to_do(text: str, kind: type[StreamingError], says: str) -> None:
    error = explain(text, query="q", topic="t", checkpoint="file:///c")
    assert type(error) is kind
    assert "\n" not in str(error)
    with pytest.raises(kind, match=says):
        raise error


def test_a_warehouse_that_is_away_is_a_passing_error_that_names_the_settings() -> None:
    warehouse = Warehouse(StreamingSettings(clickhouse_port=9, clickhouse_password="x"))  # type: ignore[arg-type]
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:9 .*refused.* RETAIL_CLICKHOUSE_HOST"):
        warehouse.require_tables([])


def test_rows_that_do_not_fit_the_table_are_refused_rather_than_bent() -> None:
    target = Target("t", pa.schema([pa.field("n", pa.uint32())]), versioned=True)
    with pytest.raises(pa.ArrowInvalid):
        target.stamped(pa.table({"n": [-1]}), 1, datetime.now(UTC))
