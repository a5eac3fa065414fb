"""Why a query ended, in one line: Spark's exceptions sorted into what passes and what a person must mend.

Does not belong here: what is done about it (`service`).
"""

import re
from typing import Final

from retail_streaming.errors import (
    CheckpointError,
    DiskFullError,
    MessagesLostError,
    StreamingError,
    TopicMissingError,
    TransientError,
    UnknownError,
    first_line,
)

# Kafka's client gives up after its own time-outs; these are its words for a broker that is away or just coming up.
_BROKER_AWAY: Final = re.compile(
    r"org\.apache\.kafka\.common\.errors\.(Timeout|Disconnect|Network|CoordinatorNotAvailable|LeaderNotAvailable"
    r"|NotLeaderOrFollower|NotController|BrokerNotAvailable|NotEnoughReplicas|KafkaStorage|RetriableException)\w*"
    r"|Failed to create new KafkaAdminClient|Failed to construct kafka producer"
    r"|Timed out waiting for a node assignment"
)
# Spark says what a task said in the middle of a line.
_KAFKA_SAYS: Final = re.compile(r"org\.apache\.kafka\.common\.errors\.(\w+.*)")
# What a broker, or its client, says to messages that it will never take.
_NO_TOPIC: Final = re.compile(r"org\.apache\.kafka\.common\.errors\.(UnknownTopicOrPartition|UnknownTopicId)\w*")
_TOO_LARGE: Final = re.compile(r"org\.apache\.kafka\.common\.errors\.(RecordTooLarge|RecordBatchTooLarge)\w*")
_NOT_ALLOWED: Final = re.compile(r"org\.apache\.kafka\.common\.errors\.\w*(Authorization|Authentication)\w*")
_NEVER: Final = re.compile(
    r"org\.apache\.kafka\.common\.errors\.(InvalidTopic|InvalidRecord|InvalidConfiguration|InvalidRequiredAcks"
    r"|InvalidTimestamp|PolicyViolation|UnsupportedVersion|UnsupportedCompressionType|UnsupportedForMessageFormat"
    r"|Serialization)\w*"
)
_DATA_LOSS: Final = re.compile(
    r"KAFKA_DATA_LOSS|failOnDataLoss|data may have been lost|OffsetOutOfRange|UnknownTopicOrPartition"
)
_DISK_FULL: Final = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
# What Spark says itself of a log that is not as it left it, and of files that don't fit each other.
_DAMAGED: Final = re.compile(
    r"MALFORMED_LOG_FILE|Incomplete log file|batch \d+ doesn't exist"
    r"|STREAMING_CHECKPOINT_MISSING_METADATA_FILE|STATE_STORE_CHECKPOINT_LOCATION_NOT_EMPTY"
    r"|STREAMING_STATEFUL_OPERATOR_MISSING_STATE_DIRECTORY|CANNOT_READ_STREAMING_STATE_FILE"
    r"|ChecksumException|RocksDBException: Corruption"
)
# Of other damage only parsers complain, in words of their own: then it matters who called them. A state that can't be
# loaded for another reason (`CANNOT_LOAD_STATE_STORE` alone) may be loaded the next time.
_READS_CHECKPOINT: Final = re.compile(
    r"\bat org\.apache\.spark\S*\.(StreamMetadata|OffsetSeqLog|CommitLog|HDFSMetadataLog|StateStoreChangelogReader"
    r"|StateSchemaCompatibilityChecker|RocksDBFileManager|MicroBatchExecution\.(initialize|populateStart))"
)
_UNREADABLE: Final = re.compile(
    r"com\.fasterxml\.jackson\S*Exception|org\.json4s\S*Exception|MalformedInputException|EOFException|ZipException"
    r"|java\.lang\.AssertionError|NumberFormatException"
)
# State of another plan: the release that wrote it computed something else.
_OTHER_STATE: Final = re.compile(
    r"STREAMING_STATEFUL_OPERATOR_NOT_MATCH_IN_STATE_METADATA"
    r"|STATE_STORE_(KEY|VALUE)_(SCHEMA_NOT_COMPATIBLE|ROW_FORMAT_VALIDATION_FAILURE)"
)
_TWO_AT_ONCE: Final = "CONCURRENT_STREAM_LOG_UPDATE"
_JAVA_CAUSE: Final = re.compile(
    r"^\s*(?:Caused by|py4j\S+)?: (?P<cause>[a-z]\w*\.[\w.$]+(?:Exception|Error)\b.*)$", re.MULTILINE
)
_BEFORE_CAUSE: Final = re.compile(r"^(Caused by)?[: ]*")
_NOISE: Final = (
    "=== Streaming Query ===",
    "Identifier:",
    "[STREAM_FAILED]",
    "at ",
    "JVM stacktrace:",
    "An exception was raised by the Python Proxy",
)


def explain(text: str, *, query: str, topic: str, checkpoint: str) -> StreamingError:
    """Return what a query's exception means.

    Args:
        text: the exception with its causes and stack.
        query: its name.
        topic: what it reads.
        checkpoint: where its state is.
    """
    if _DISK_FULL.search(text):
        return DiskFullError(
            f"{query}: a disk is full, that of its checkpoint {checkpoint} or that of Spark's temporary files: make "
            "room, then the query goes on where it was"
        )
    if _DATA_LOSS.search(text):
        return MessagesLostError(
            f"{query}: topic {topic} no longer has messages that were not read yet (they are past its retention, or it "
            f"was made anew), and none is skipped in silence: to go on with what the topic has, "
            f"{begin_anew(query, checkpoint)}"
        )
    if (error := _of_checkpoint(text, query, checkpoint)) is not None:
        return error
    if _BROKER_AWAY.search(text):
        return TransientError(f"{query}: the Kafka broker is away")
    return UnknownError(f"{query} failed ({_root(text)}): its checkpoint is {checkpoint}")


def explain_sending(text: str, *, servers: str, topic: str) -> StreamingError | None:
    """Return what it means that messages couldn't be sent; None where that isn't the broker's doing, or not known.

    What will never be taken is told apart first: a client that waits for a topic that isn't there gives up with a
    time-out, and only its cause says why.

    Args:
        text: the exception with its causes and stack.
        servers: which broker.
        topic: where to.
    """
    found = _KAFKA_SAYS.findall(text)
    said = first_line(found[-1]) if found else _root(text)
    if _NO_TOPIC.search(text):
        return TopicMissingError(f"the broker at {servers} has no topic {topic}: run `retail topics apply`")
    if _TOO_LARGE.search(text):
        return StreamingError(
            f"a message is too large for the topic {topic} of the broker at {servers} ({said}): run `retail "
            "topics apply`, and if that changes nothing, raise the topic's max_message_kib in infra/kafka/topics.toml"
        )
    if _NOT_ALLOWED.search(text):
        return StreamingError(
            f"the broker at {servers} doesn't let this service write to the topic {topic} ({said}): allow it, "
            "and start the service again"
        )
    if _NEVER.search(text):
        return StreamingError(f"the broker at {servers} refuses messages to the topic {topic} ({said})")
    if _BROKER_AWAY.search(text):
        return TransientError(f"the Kafka broker at {servers} doesn't take messages to {topic} ({said})")
    return None


def _root(text: str) -> str:
    """Return the innermost cause in one line."""
    causes = _JAVA_CAUSE.findall(text)
    return first_line(causes[-1] if causes else text, without=_NOISE)


def _of_checkpoint(text: str, query: str, checkpoint: str) -> CheckpointError | None:
    """Return what is wrong with the checkpoint, if it is that."""
    if _TWO_AT_ONCE in text:
        return CheckpointError(
            f"{query}: its checkpoint {checkpoint} was written by someone else, or its newest file is missing: end any "
            f"other service that uses it; if there is none, {begin_anew(query, checkpoint)}"
        )
    if _OTHER_STATE.search(text):
        return CheckpointError(
            f"{query}: its checkpoint {checkpoint} holds what another release computed: go back to that one, or "
            f"{begin_anew(query, checkpoint)}"
        )
    damage = _DAMAGED.search(text) or (_UNREADABLE.search(text) if _READS_CHECKPOINT.search(text) else None)
    if damage:
        return CheckpointError(
            f"{query}: its checkpoint is damaged ({_line_of(damage)}): restore {checkpoint} as a whole, or "
            f"{begin_anew(query, checkpoint)}"
        )
    return None


def _line_of(match: re.Match[str]) -> str:
    """Return the line with a match."""
    begin, end = match.string.rfind("\n", 0, match.start()) + 1, match.string.find("\n", match.end())
    return first_line(_BEFORE_CAUSE.sub("", match.string[begin : end if end > 0 else None].strip()))


def begin_anew(query: str, checkpoint: str) -> str:
    """Return the words for what a person does to have a query read its topics from their start."""
    return (
        f"end the service, set {checkpoint} aside by `retail-streaming begin-anew {query}`, and start the service; "
        "the query then reads from the start of what its topics have, and rows replace themselves"
    )
