"""Kafka for sensors and runs: offsets, topics and dead letters, by kafka-python.

Every call opens its own client and closes it: a client that outlives a sensor's tick hangs the daemon. Events
themselves are read by Spark. Does not belong here: which range to read (`offsets`), and how topics are brought to
their settings (`topic_admin`).
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from retail_assets.resources.topic_admin import TopicChange, apply_topics
from retail_assets.resources.topics import TopicSettings


class BrokerError(Exception):
    """The broker is away, or a topic isn't there. The message says what to do."""


@dataclass(frozen=True)
class Letter:
    """One message to send: key, value and headers in bytes."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


class KafkaResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """One Kafka cluster.

    Attributes:
        bootstrap_servers: `host:port,host:port`.
        timeout_s: how long the broker may be away or keep silent before it is an error. Long enough for one that
            supervisor has just started again.
    """

    bootstrap_servers: str
    timeout_s: float = 15

    def offsets(self, topic: str) -> tuple[dict[int, int], dict[int, int]]:
        """Return the first available and the end offsets of a topic, by partition.

        Raises:
            BrokerError: the broker is away or has no such topic.
        """
        with self._errors(), closing(self._consumer()) as consumer:
            partitions = consumer.partitions_for_topic(topic)
            if not partitions:
                raise BrokerError(
                    f"the broker at {self.bootstrap_servers} has no topic {topic}: run `retail topics apply`"
                )
            handles = [TopicPartition(topic, partition) for partition in sorted(partitions)]
            first = consumer.beginning_offsets(handles)
            end = consumer.end_offsets(handles)
        return (
            {handle.partition: int(offset) for handle, offset in first.items()},
            {handle.partition: int(offset) for handle, offset in end.items()},
        )

    def topics_with_events(self, names: Iterable[str]) -> list[str]:
        """Return those of the topics that exist and have ever held an event.

        Raises:
            BrokerError: the broker is away.
        """
        with self._errors(), closing(self._consumer()) as consumer:
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
        with self._errors(), closing(self._admin()) as admin:
            return apply_topics(admin, wanted)

    def delete_topics(self, names: Iterable[str]) -> None:
        """Delete topics with all their events; those that don't exist are passed over.

        Raises:
            BrokerError: the broker is away or refuses.
        """
        with self._errors(), closing(self._admin()) as admin:
            present = set(admin.list_topics()) & set(names)
            if present:
                admin.delete_topics(sorted(present), timeout_ms=self._timeout_ms)

    def send(self, topic: str, letters: Iterable[Letter]) -> int:
        """Send a few messages and wait until the broker has them all.

        Raises:
            BrokerError: a message could not be delivered.
        """
        count = 0
        with self._errors(), closing(self._producer()) as producer:
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

    def _client_options(self) -> dict[str, Any]:
        return {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            # How long the client tries to reach any broker; a refused connection is tried again until then.
            "bootstrap_timeout_ms": self._timeout_ms,
            "request_timeout_ms": self._timeout_ms,
        }

    def _consumer(self) -> KafkaConsumer:
        return KafkaConsumer(**self._client_options(), enable_auto_commit=False)

    def _admin(self) -> KafkaAdminClient:
        return KafkaAdminClient(**self._client_options())

    def _producer(self) -> KafkaProducer:
        return KafkaProducer(**self._client_options(), acks="all", max_block_ms=self._timeout_ms)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (KafkaError, ValueError, OSError) as error:
            raise BrokerError(
                f"the Kafka broker at {self.bootstrap_servers} doesn't answer as it should "
                f"({type(error).__name__}: {error}). Run `retail status`; start it with `retail up`, or check "
                "RETAIL_KAFKA_BOOTSTRAP_SERVERS"
            ) from error
