"""Kafka for sensors and runs: offsets, topics and dead letters, by kafka-python.

Every call opens its own client and closes it, also one that never came to be: a client that outlives a sensor's tick
hangs the daemon. Events themselves are read by Spark. Does not belong here: which range to read (`offsets`), and how
topics are brought to their settings (`topic_admin`).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError, UnknownTopicOrPartitionError, for_code
from kafka.net.compat import KafkaNetClient

from retail_assets.contracts.letters import LARGEST_LETTER_BYTES, LETTER_COMPRESSION
from retail_assets.contracts.topics import Topic, command_that_makes
from retail_assets.resources.offsets import TopicState
from retail_assets.resources.topic_admin import TopicChange, apply_topics
from retail_assets.resources.topics import TopicSettings
from retail_assets.settings import Settings

#: What a broker answers that knows no topic ids.
_NO_ID: Final = "00000000-0000-0000-0000-000000000000"
#: Calls to the broker that `state` makes, each of which may take its share of the time: find the broker, describe the
#: topic, first offsets, end offsets.
_CALLS_OF_STATE: Final = 4
_POLL_MS: Final = 500
#: How often is asked whether topics are gone.
_LOOK_S: Final = 0.1


class BrokerError(Exception):
    """The broker is away, or a topic isn't there. The message says what to do."""


class TopicMissingError(BrokerError):
    """The broker has no such topic. The message names the command that makes it."""


@dataclass(frozen=True)
class Received:
    """One message as the broker has it.

    Attributes:
        key: None where it has none.
        value: None for a tombstone.
        headers: by name, in order; a name may come twice.
        at: when it was stamped, by its producer or by the broker.
    """

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    at: datetime


@dataclass(frozen=True)
class Letter:
    """One message to send: key, value and headers in bytes. Without a key it goes to any partition."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class KafkaResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """One Kafka cluster.

    Attributes:
        bootstrap_servers: `host:port,host:port`.
        timeout_s: how long the broker may be away or keep silent before it is an error. Long enough for one that
            supervisor has just started again.
        topic_prefix: what the names of the tenant's topics begin with; empty for the main ones.
    """

    bootstrap_servers: str
    timeout_s: float = 15
    topic_prefix: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "KafkaResource":
        """Return the cluster, and the tenant's topics in it, that the settings name."""
        return cls(bootstrap_servers=settings.bootstrap_servers, topic_prefix=settings.topic_prefix)

    def name_of(self, topic: Topic) -> str:
        """Return the name of the tenant's topic on the broker: what all other methods take."""
        return f"{self.topic_prefix}{topic.name}"

    def state(self, topic: str, *, within_s: float | None = None) -> TopicState:
        """Return the offsets of a topic and its id.

        Args:
            topic: the topic's name.
            within_s: seconds after which there is an answer or an error; by default each call to the broker may take
                `timeout_s`.

        Raises:
            BrokerError: the broker is away, too slow, or has no such topic.
        """
        call_s = self.timeout_s if within_s is None else within_s / _CALLS_OF_STATE
        with self._errors(), self._client(KafkaAdminClient, call_s) as admin:
            (described,) = admin.describe_topics([topic])
            if described["error_code"] == UnknownTopicOrPartitionError.errno:
                raise TopicMissingError(
                    f"the broker at {self.bootstrap_servers} has no topic {topic}: run `{command_that_makes(topic)}`"
                )
            if described["error_code"] or not described["partitions"]:
                # Taken for an empty topic, it would look like one that was made anew.
                raise for_code(described["error_code"])(f"topic {topic} is not to be described")
            handles = [TopicPartition(topic, partition["partition_index"]) for partition in described["partitions"]]
            limit_ms = round(call_s * 1000)
            first = admin.list_partition_offsets(dict.fromkeys(handles, OffsetSpec.EARLIEST), timeout_ms=limit_ms)
            end = admin.list_partition_offsets(dict.fromkeys(handles, OffsetSpec.LATEST), timeout_ms=limit_ms)
        topic_id = str(described["topic_id"] or _NO_ID)
        return TopicState(
            {handle.partition: int(first[handle].offset) for handle in sorted(first)},
            {handle.partition: int(end[handle].offset) for handle in sorted(end)},
            None if topic_id == _NO_ID else topic_id,
        )

    def oldest(self, topic: str, unread: Mapping[int, tuple[int, int]], *, within_s: float) -> datetime | None:
        """Return when the oldest of some messages was stamped, by reading the first one of each partition.

        Args:
            topic: the topic's name.
            unread: where to look, by partition: first offset, and one past the last.
            within_s: seconds after which there is an answer or an error.

        Returns:
            The least of the messages' timestamps; None where a message has none, or where there is no message, because
            transactions' markers and compaction leave offsets without.

        Raises:
            BrokerError: the broker is away or too slow.
        """
        deadline = time.monotonic() + within_s
        stamps: list[int] = []
        # The fetch takes the smallest piece that the broker gives: one batch of messages.
        options = {
            "enable_auto_commit": False,
            "max_partition_fetch_bytes": 1,
            "fetch_max_wait_ms": min(_POLL_MS, round(within_s * 1000 / _CALLS_OF_STATE) - 1),
        }
        with self._errors(), self._client(KafkaConsumer, within_s / _CALLS_OF_STATE, **options) as consumer:
            ends = {TopicPartition(topic, partition): end for partition, (_, end) in unread.items()}
            consumer.assign(list(ends))
            for partition, (start, _) in unread.items():
                consumer.seek(TopicPartition(topic, partition), start)
            while ends:
                if time.monotonic() >= deadline:
                    raise BrokerError(
                        f"the Kafka broker at {self.bootstrap_servers} tells offsets, but gave no message of {topic} "
                        f"within {within_s:.0f} s; the next tick asks again"
                    )
                for handle, messages in consumer.poll(timeout_ms=_POLL_MS, max_records=1).items():
                    if ends.pop(handle, None) is not None:
                        stamps.append(int(messages[0].timestamp))
                        consumer.pause(handle)
                for handle, end in list(ends.items()):
                    if (consumer.position(handle, timeout_ms=_POLL_MS) or 0) >= end:
                        del ends[handle]
        return datetime.fromtimestamp(min(stamps) / 1000, tz=UTC) if stamps and min(stamps) >= 0 else None

    def messages(self, topic: str) -> Iterator[Received]:
        """Yield all messages that a topic holds now, each partition's in order. For small topics.

        Raises:
            BrokerError: the broker is away or has no such topic, or gave nothing for `timeout_s`.
        """
        state = self.state(topic)
        with self._errors(), self._client(KafkaConsumer, self.timeout_s, enable_auto_commit=False) as consumer:
            ends = {TopicPartition(topic, partition): end for partition, end in state.end.items()}
            consumer.assign(list(ends))
            for partition, first in state.first.items():
                consumer.seek(TopicPartition(topic, partition), first)
            deadline = time.monotonic() + self.timeout_s
            while self._behind(consumer, ends):
                batches = consumer.poll(timeout_ms=_POLL_MS)
                if batches:
                    deadline = time.monotonic() + self.timeout_s
                elif time.monotonic() >= deadline:
                    raise BrokerError(
                        f"the Kafka broker at {self.bootstrap_servers} tells offsets, but gave no message of {topic} "
                        f"within {self.timeout_s:.0f} s; try again"
                    )
                for handle, batch in batches.items():
                    for one in batch:
                        if one.offset < ends[handle]:
                            yield Received(one.key, one.value, _headers(one.headers), _time(one.timestamp))

    @staticmethod
    def _behind(consumer: KafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
        # By position, not by count: compaction and transactions leave offsets without a message.
        return any((consumer.position(handle, timeout_ms=_POLL_MS) or 0) < end for handle, end in ends.items())

    def topics_with_events(self, names: Iterable[str]) -> list[str]:
        """Return those of the topics that exist and have ever held an event.

        Raises:
            BrokerError: the broker is away.
        """
        with self._errors(), self._client(KafkaConsumer, self.timeout_s, enable_auto_commit=False) as consumer:
            present = sorted(set(consumer.topics()) & set(names))
            handles = [TopicPartition(name, p) for name in present for p in consumer.partitions_for_topic(name) or ()]
            ends = consumer.end_offsets(handles) if handles else {}
        return sorted({handle.topic for handle, end in ends.items() if end})

    def apply_topics(self, wanted: Mapping[str, TopicSettings]) -> list[TopicChange]:
        """Create the topics that are missing and bring the others to their settings.

        Args:
            wanted: settings by the topic's name; other topics are left alone.

        Returns:
            What was changed; nothing if all was as wanted.

        Raises:
            BrokerError: the broker is away or refuses.
            TopicChangeError: a topic that is there can't be brought to its settings; nothing was changed.
        """
        with self._errors(), self._client(KafkaAdminClient, self.timeout_s) as admin:
            return apply_topics(admin, wanted)

    def delete_topics(self, names: Iterable[str]) -> None:
        """Delete topics with all their events, and wait until they are gone; those that don't exist are passed over.

        Raises:
            BrokerError: the broker is away or refuses, or shows the topics still.
        """
        with self._errors(), self._client(KafkaAdminClient, self.timeout_s) as admin:
            present = set(admin.list_topics()) & set(names)
            if not present:
                return
            admin.delete_topics(sorted(present), timeout_ms=self._timeout_ms)
            # A broker learns of it a moment later. Who asks it meanwhile finds the topic, and doesn't make it anew.
            deadline = time.monotonic() + self.timeout_s
            while left := present & set(admin.list_topics()):
                if time.monotonic() >= deadline:
                    raise BrokerError(
                        f"the Kafka broker at {self.bootstrap_servers} shows {', '.join(sorted(left))} still, "
                        f"{self.timeout_s:.0f} s after they were deleted; run the same command again"
                    )
                time.sleep(_LOOK_S)

    def send(self, topic: str, letters: Iterable[Letter]) -> int:
        """Send a few messages and wait until the broker has them all.

        Compressed: a message that a topic just took fits in the dead letters with the letter's headers, and in its own
        topic again with the replay's.

        Raises:
            BrokerError: a message could not be delivered.
        """
        count = 0
        options = {
            "acks": "all",
            "max_block_ms": self._timeout_ms,
            "max_request_size": LARGEST_LETTER_BYTES,
            "compression_type": LETTER_COMPRESSION,
        }
        with self._errors(), self._client(KafkaProducer, self.timeout_s, **options) as producer:
            futures = []
            for letter in letters:
                futures.append(producer.send(topic, value=letter.value, key=letter.key, headers=letter.headers))
                count += 1
            producer.flush(timeout=self.timeout_s)
            for future in futures:
                future.get(timeout=self.timeout_s)
        return count

    @property
    def _timeout_ms(self) -> int:
        return round(self.timeout_s * 1000)

    @contextmanager
    def _client(self, kind: Callable[..., Any], call_s: float, **options: Any) -> Iterator[Any]:
        """Open a client and close it, with all that it started, whatever happens.

        Args:
            kind: the client's class.
            call_s: seconds that the client may look for a broker, and that each call may take.
            options: further options of the client.
        """
        limit_ms = round(call_s * 1000)
        nets: list[KafkaNetClient] = []

        def net_client(**config: Any) -> KafkaNetClient:
            # The clients don't hand this limit on, and without it one more connection takes ten seconds of its own.
            nets.append(KafkaNetClient(**{**config, "socket_connection_setup_timeout_ms": limit_ms}))
            return nets[-1]

        try:
            client = kind(
                bootstrap_servers=self.bootstrap_servers.split(","),
                # How long the client tries to reach any broker; a refused connection is tried again until then.
                bootstrap_timeout_ms=limit_ms,
                request_timeout_ms=limit_ms,
                kafka_client=net_client,
                **options,
            )
            try:
                yield client
            finally:
                client.close()
        finally:
            # A client that finds no broker leaves a thread and sockets behind, and nothing to close them by.
            for net in nets:
                net.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (KafkaError, ValueError, OSError) as error:
            # kafka-python's own errors begin with their name.
            what = f"{type(error).__name__}: {str(error).removeprefix(f'{type(error).__name__}: ')}"
            raise BrokerError(
                f"the Kafka broker at {self.bootstrap_servers} doesn't answer as it should ({what}). Run "
                "`retail status`; start it with `retail up`, or check RETAIL_KAFKA_BOOTSTRAP_SERVERS"
            ) from error


def _headers(found: Iterable[tuple[str, bytes | None]]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, value or b"") for name, value in found)


def _time(milliseconds: int) -> datetime:
    """Return a message's time; the epoch where it says none."""
    return datetime.fromtimestamp(max(milliseconds, 0) / 1000, tz=UTC)
