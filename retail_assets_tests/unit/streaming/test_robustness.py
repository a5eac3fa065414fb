"""Versions, patience, and what is said of failures."""

from datetime import UTC, datetime
from threading import Event

import pyarrow as pa
import pytest

from retail_streaming.errors import (
    CheckpointError,
    DiskFullError,
    MessagesLostError,
    StreamingError,
    TopicMissingError,
    TransientError,
    UnknownError,
)
from retail_streaming.failures import explain, explain_sending
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


def stack(cause: str, *frames: str) -> str:
    """Return what Java says of a query that ended, cut short."""
    lines = [
        "org.apache.spark.sql.streaming.StreamingQueryException: assertion failed",
        "=== Streaming Query ===",
        "Identifier: sales [id = 5fca6874, runId = 81cf82ec]",
        "\tat org.apache.spark.sql.execution.streaming.runtime.StreamExecution.runStream(StreamExecution.scala:375)",
        f"Caused by: {cause}",
        *[f"\tat org.apache.spark.sql.execution.streaming.{frame}(X.scala:1)" for frame in frames],
        "\tat org.apache.spark.sql.execution.streaming.runtime.StreamExecution.runStream(StreamExecution.scala:313)",
    ]
    return "\n".join(lines)


def in_a_batch(text: str) -> str:
    """Return what Java says of an exception that Python met while it fetched the rows of a batch, cut short."""
    return (
        "An exception was raised by the Python Proxy. Return Message: Traceback (most recent call last):\n"
        '  File "writer.py", line 89, in __call__\n    rows = kept.toArrow()\n'
        "py4j.protocol.Py4JJavaError: An error occurred while calling o15205.collectToPython.\n"
        f": {text}"
    )


#: As Spark 4.2 says it, of a checkpoint of which one file is broken.
DAMAGE = {
    "an empty file of offsets": stack(
        "java.lang.IllegalStateException: Failed to read log file file:/c/offsets/23. Incomplete log file",
        "checkpointing.HDFSMetadataLog.getExistingBatch",
    ),
    "half a file of offsets": stack(
        "com.fasterxml.jackson.core.io.JsonEOFException: Unexpected end-of-input in field name",
        "checkpointing.OffsetSeqLog.deserialize",
    ),
    "nonsense for offsets": stack(
        "java.nio.charset.MalformedInputException: Input length = 1", "checkpointing.OffsetSeqLog.deserialize"
    ),
    "no offsets": stack(
        "java.lang.AssertionError: assertion failed", "runtime.MicroBatchExecution.initializeExecution"
    ),
    "the offsets before the last are gone": stack(
        "java.lang.IllegalStateException: batch 22 doesn't exist", "runtime.MicroBatchExecution.populateStartOffsets"
    ),
    "half a commit": stack(
        "com.fasterxml.jackson.core.io.JsonEOFException: Unexpected end-of-input", "checkpointing.CommitLog.deserialize"
    ),
    "nonsense for a commit": stack(
        "org.apache.spark.SparkException: Failed to read log file file:/c/commits/23. [MALFORMED_LOG_FILE] Log file "
        "was malformed: failed to read correct log version from garbage. SQLSTATE: KD002"
    ),
    "a file that is not what its checksum says": stack(
        "org.apache.hadoop.fs.ChecksumException: Checksum error: file:/c/offsets/25 at 512"
    ),
    "empty metadata": (
        "An error occurred while calling o21128.start.\n"
        ": com.fasterxml.jackson.databind.exc.MismatchedInputException: No content to map due to end-of-input\n"
        "\tat org.apache.spark.sql.execution.streaming.runtime.StreamMetadata$.read(StreamMetadata.scala:60)"
    ),
    "no metadata": (
        "[STREAMING_CHECKPOINT_MISSING_METADATA_FILE] Checkpoint location file:/c is in an inconsistent state: the "
        "metadata file is missing but offset and/or commit logs contain data."
    ),
    "state alone": "[STATE_STORE_CHECKPOINT_LOCATION_NOT_EMPTY] The location file:/c/state should be empty on batch 0",
    "no state": "[STREAMING_STATEFUL_OPERATOR_MISSING_STATE_DIRECTORY] Cannot restart streaming query",
    "a file of the state is gone": in_a_batch(
        "org.apache.spark.SparkException: [CANNOT_LOAD_STATE_STORE.CANNOT_READ_STREAMING_STATE_FILE] An error occurred "
        "during loading state. Error reading streaming state file of file:/c/state/1/1/24.changelog does not exist."
    ),
    "half a file of the state": in_a_batch(
        "org.apache.spark.SparkException: [CANNOT_LOAD_STATE_STORE.UNCATEGORIZED] An error occurred."
        "\nCaused by: java.io.EOFException: Stream ended prematurely\n"
        "\tat org.apache.spark.sql.execution.streaming.state.StateStoreChangelogReaderV1.getNext(X.scala:506)"
    ),
    "an empty schema of the state": stack(
        "java.io.EOFException", "state.StateSchemaCompatibilityChecker.getExistingKeyAndValueSchema"
    ),
}


@pytest.mark.parametrize("text", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_one_line_that_names_it_and_is_not_tried_again(text: str) -> None:
    error = explain(text, query="sales", topic="t", checkpoint="file:///c")
    assert type(error) is CheckpointError
    with pytest.raises(
        CheckpointError, match=r"^sales: its checkpoint is damaged \((?!.*Traceback).*`.* begin-anew sales`"
    ):
        raise error


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        (
            "[STREAM_FAILED] Query terminated\nCaused by: org.apache.kafka.common.errors.TimeoutException: Timed out",
            TransientError,
            "the Kafka broker is away",
        ),
        ("[KAFKA_DATA_LOSS.TOPIC_PARTITIONS_OFFSET_...]", MessagesLostError, "set file:///c aside"),
        (
            "[STREAM_FAILED] x\nat y\nCaused by: java.io.IOException: No space left on device",
            DiskFullError,
            "make room",
        ),
        ("[CONCURRENT_STREAM_LOG_UPDATE] Multiple streaming jobs detected for 22", CheckpointError, "someone else"),
        ("[STREAM_FAILED] x\nat y\nsomething new", UnknownError, r"failed \(something new\)"),
        # A state that could not be loaded for a reason that may pass.
        (
            in_a_batch(
                "x.SparkException: [CANNOT_LOAD_STATE_STORE.X] x\nCaused by: java.net.ConnectException: refused"
            ),
            UnknownError,
            r"failed \(java\.net\.ConnectException: refused\)",
        ),
        # Of the same kind as damage, but nobody was reading a checkpoint.
        (stack("java.io.EOFException", "runtime.MicroBatchExecution.runBatch"), UnknownError, "EOFException"),
    ],
)
def test_a_failure_is_one_line_that_says_what_to_do(text: str, kind: type[StreamingError], says: str) -> None:
    error = explain(text, query="q", topic="t", checkpoint="file:///c")
    assert type(error) is kind
    assert "\n" not in str(error)
    with pytest.raises(kind, match=says):
        raise error


def of_a_task(*causes: str) -> str:
    """Return what Spark says of a task that couldn't send to Kafka, cut short."""
    return "\n".join(
        [
            "Job aborted due to stage failure: Task 0 in stage 7.0 failed 1 times, most recent failure:",
            *[
                f"{'Caused by: ' if number else ''}org.apache.kafka.common.errors.{c}"
                for number, c in enumerate(causes)
            ],
            "\tat org.apache.spark.sql.kafka010.KafkaRowWriter.checkForErrors(KafkaWriteTask.scala:127)",
        ]
    )


WAITED = "TimeoutException: Topic dead-letters not present in metadata after 60000 ms."


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        (of_a_task(WAITED), TransientError, "the Kafka broker at b:1 doesn't take messages to dead-letters"),
        (of_a_task("NotEnoughReplicasException: fewer in-sync replicas than required"), TransientError, "fewer"),
        ("x.KafkaException: Failed to construct kafka producer\nat y", TransientError, "doesn't take messages"),
        (
            of_a_task(WAITED, "UnknownTopicOrPartitionException: This server does not host this topic-partition."),
            TopicMissingError,
            "no topic dead-letters: run `retail topics apply`",
        ),
        (
            of_a_task("RecordTooLargeException: The request included a message larger than the server will accept."),
            StreamingError,
            "too large .* run `retail topics apply`, .*max_message_kib",
        ),
        (of_a_task("TopicAuthorizationException: Not authorized to access topics"), StreamingError, "allow it"),
        (of_a_task("SaslAuthenticationException: Authentication failed"), StreamingError, "allow it"),
        (of_a_task("InvalidRecordException: the record is corrupt"), StreamingError, "refuses messages"),
    ],
)
def test_letters_that_the_broker_will_never_take_are_not_sent_again(
    text: str, kind: type[StreamingError], says: str
) -> None:
    error = explain_sending(text, servers="b:1", topic="dead-letters")
    assert type(error) is kind
    assert "\n" not in str(error)
    with pytest.raises(kind, match=says):
        raise error


def test_what_is_not_the_brokers_doing_is_left_to_whoever_runs_the_query() -> None:
    for text in ("java.io.IOException: No space left on device", of_a_task("OutOfOrderSequenceException: x")):
        assert explain_sending(text, servers="b:1", topic="t") is None


def test_a_warehouse_that_is_away_is_a_passing_error_that_names_the_settings() -> None:
    warehouse = Warehouse(StreamingSettings(clickhouse_port=9, clickhouse_password="x"))  # type: ignore[arg-type]
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:9 .*refused.* RETAIL_CLICKHOUSE_HOST"):
        warehouse.require_tables([])


def test_rows_that_do_not_fit_the_table_are_refused_rather_than_bent() -> None:
    target = Target("t", pa.schema([pa.field("n", pa.uint32())]), versioned=True)
    with pytest.raises(pa.ArrowInvalid):
        target.stamped(pa.table({"n": [-1]}), 1, datetime.now(UTC))
