"""Kafka: asking for topics, reading some as a stream, and sending dead letters.

Asks by the Kafka client in Spark's own jars, so that the service needs no second one. Does not belong here: what a
message means (`events`).
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from threading import Lock
from typing import Any, Final

from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from retail_assets.contracts.letters import LARGEST_LETTER_BYTES, LETTER_COMPRESSION, letter_columns
from retail_assets.contracts.topics import Topic
from retail_streaming.errors import SettingsError, TopicMissingError, TransientError, first_line
from retail_streaming.failures import explain_sending
from retail_streaming.settings import StreamingSettings

_ANSWER_MS: Final = "10000"
#: What a broker answers that knows no topic ids.
_NO_ID: Final = "AAAAAAAAAAAAAAAAAAAAAA"


class TopicAdmin:
    """Asks the broker for topics. One connection for all threads, opened when it is first needed."""

    def __init__(self, spark: SparkSession, settings: StreamingSettings) -> None:
        """Take what is needed to connect."""
        jvm: Any = spark._jvm  # noqa: SLF001
        self._jvm = jvm
        # Looked up once: py4j looks for `java` and `java.util` as classes too, in every jar.
        self._new_list = jvm.java.util.ArrayList
        self._servers = settings.bootstrap_servers
        self._lock = Lock()
        self._client: Any = None

    def require(self, topics: Sequence[Topic]) -> None:
        """Make sure that the broker answers and has the topics.

        Raises:
            TransientError: the broker doesn't answer.
            SettingsError: its address can't be right.
            TopicMissingError: a topic is missing. It is not made here: its partitions and retention are the platform's.
        """
        with self._explained():
            present = set(self._connected().listTopics().names().get())
        self._require_none([topic.name for topic in topics if topic.name not in present])

    def ids(self, topics: Sequence[Topic]) -> dict[str, str]:
        """Return the ids of topics by name, without those that have none. A topic that is made anew has another.

        Raises:
            TransientError: the broker doesn't answer.
            TopicMissingError: a topic is missing.
        """
        ids: dict[str, str] = {}
        asked = self._new_list()
        for topic in topics:
            asked.add(topic.name)
        with self._explained():
            answers = self._connected().describeTopics(asked).topicNameValues()
        for topic in topics:
            with self._explained(topic.name):
                ids[topic.name] = str(answers[topic.name].get().topicId().toString())
        return {name: topic_id for name, topic_id in ids.items() if topic_id != _NO_ID}

    def close(self) -> None:
        """Close the connection, if there is one."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                properties = self._jvm.java.util.Properties()
                for name, value in {
                    "bootstrap.servers": self._servers,
                    "request.timeout.ms": _ANSWER_MS,
                    "default.api.timeout.ms": _ANSWER_MS,
                }.items():
                    properties.setProperty(name, value)
                self._client = self._jvm.org.apache.kafka.clients.admin.AdminClient.create(properties)
            return self._client

    @contextmanager
    def _explained(self, *names: str) -> Iterator[None]:
        try:
            yield
        except Py4JJavaError as error:
            cause = root_cause(error)
            if "ConfigException" in cause:
                raise SettingsError(
                    f"RETAIL_KAFKA_BOOTSTRAP_SERVERS is {self._servers!r}: no such address ({cause})"
                ) from None
            if "UnknownTopicOrPartition" in cause:
                self._require_none(names)
            raise TransientError(
                f"the Kafka broker at {self._servers} doesn't answer ({cause}): start it with `retail up`, "
                "or check RETAIL_KAFKA_BOOTSTRAP_SERVERS"
            ) from None

    def _require_none(self, missing: Sequence[str]) -> None:
        if missing:
            raise TopicMissingError(
                f"the broker at {self._servers} has no topic {', '.join(missing)}: run `retail topics apply`"
            )


def read_topics(
    spark: SparkSession, settings: StreamingSettings, topics: Sequence[Topic], *, every_triggers: int = 1
) -> DataFrame:
    """Return the messages of topics as a stream, with headers, from the first that the broker has.

    What a checkpoint holds is not read again. Offsets that are gone before they were read end the query.

    Args:
        spark: the session.
        settings: say which broker, and how many messages a batch has at the most.
        topics: to read.
        every_triggers: messages wait for so many triggers, unless there are enough for a whole batch: a longer trigger
            would make that the most that is ever read in its time, however many come.
    """
    most = str(settings.stream_max_offsets_per_trigger)
    waiting = {}
    if every_triggers > 1:
        delay = round(settings.stream_trigger_seconds * every_triggers * 1000)
        waiting = {"minOffsetsPerTrigger": most, "maxTriggerDelay": f"{delay}ms"}
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", settings.bootstrap_servers)
        .option("subscribe", ",".join(topic.name for topic in topics))
        .option("includeHeaders", "true")
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        .option("maxOffsetsPerTrigger", most)
        .options(**waiting)
        .load()
        # Spark would give each of a topic's partitions a task, and each task makes its own code for all rules of the
        # contract: with few messages a batch, that is most of what it does.
        .coalesce(settings.stream_read_tasks)
    )


def send_letters(letters: DataFrame, settings: StreamingSettings, topic: Topic) -> None:
    """Send refused messages to the topic of dead letters, and wait until the broker has them.

    One that is sent again replaces itself, also one that the raw layer sent: the topic is compacted.

    Args:
        letters: rows of `letters.refused`, no stream.
        settings: say which broker.
        topic: where to.

    Raises:
        TransientError: the broker is away. Which letters it has is not known; send them again.
        TopicMissingError: it has no such topic.
        StreamingError: it refuses them, and will the next time.
        PySparkException: it was something else, that whoever runs the query explains.
        Py4JJavaError: the same, of a kind that PySpark has no class for.
    """
    try:
        (
            letters.select(*letter_columns("headers", F.col("kafka_offset"), F.col("sent_at")))
            .write.format("kafka")
            .option("kafka.bootstrap.servers", settings.bootstrap_servers)
            .option("kafka.acks", "all")
            .option("kafka.compression.type", LETTER_COMPRESSION)
            .option("kafka.max.request.size", str(LARGEST_LETTER_BYTES))
            # A client never waits for more room than there is: it refuses what is larger than all of it.
            .option("kafka.buffer.memory", str(LARGEST_LETTER_BYTES))
            .option("topic", topic.name)
            .option("includeHeaders", "true")
            .save()
        )
    except (PySparkException, Py4JJavaError) as error:
        explained = explain_sending(str(error), servers=settings.bootstrap_servers, topic=topic.name)
        if explained is None:
            raise
        if isinstance(explained, TransientError):
            # A client that knew the topic waits for it, and then says no more than that it waited.
            with closing(TopicAdmin(letters.sparkSession, settings)) as admin:
                admin.require([topic])
        raise explained from None


def root_cause(error: Py4JJavaError) -> str:
    """Return name and message of the innermost Java exception."""
    exception: Any = error.java_exception
    while exception.getCause() is not None:
        exception = exception.getCause()
    return first_line(f"{exception.getClass().getSimpleName()}: {exception.getMessage()}")
