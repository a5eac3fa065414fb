"""Producers: one base that owns the connection to a topic, and one for each kind of event.

Belongs here: sending without loss, repetition or change of order, a bounded buffer, and counting what the broker has
confirmed. Does not belong here: when to send (`live`), what was sent by an earlier run (`tills`, `bookmarks`), and what
messages say (`messages`, `plan`).

A producer never drops a message by itself: a dropped one would leave a hole behind which later ones may have been
written. It retries for as long as the broker confirms anything at all; when nothing moves any more, everything is given
up at once. What the broker has then is a beginning of what was offered, for each partition.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from confluent_kafka import KafkaError, KafkaException, Producer

from retail_assets.contracts.topics import Topic, command_that_makes
from retail_assets.simulator.tills.partitioning import partition_of

TIMEOUT_S: Final = 30.0
_BUFFERED_MESSAGES: Final = 20_000
_BUFFERED_KIB: Final = 32 * 1_024
_POLL_S: Final = 0.2
_NOTHING: Final = -1
# A topic that was made a moment ago isn't known to every broker yet.
_NEW_TOPIC_S: Final = 3.0

Headers = Sequence[tuple[str, bytes]]


class ProducerError(Exception):
    """The messages could not be sent or accounted for. Sending again is safe: it goes on where this ended."""


class EventProducer:
    """Sends messages to one topic, in order for each key.

    Two producers under one name at the same time are not provided for: a later run would take the messages of one for
    gaps and repetitions of the other.

    Attributes:
        topic: where to.
        partitions: how many the topic has.
        offered: messages taken so far.
        confirmed: messages that the broker has, by the label that they were offered under.
        waits: messages that had to wait because the buffer was full.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: Topic,
        *,
        timeout_s: float = TIMEOUT_S,
        buffered_messages: int = _BUFFERED_MESSAGES,
        on_wait: Callable[[], None] | None = None,
    ) -> None:
        """Connect.

        Args:
            bootstrap_servers: `host:port,…`.
            topic: an existing topic.
            timeout_s: give up after so long without an answer or any progress.
            buffered_messages: messages that may wait for the broker; whoever offers more waits.
            on_wait: called now and then while a message waits for room.

        Raises:
            ProducerError: no broker, or no such topic.
        """
        self.topic = topic
        self.offered = 0
        self.confirmed: Counter[int] = Counter()
        self.waits = 0
        self._servers = bootstrap_servers
        self._timeout_s = timeout_s
        self._on_wait = on_wait
        self._error: KafkaError | None = None
        self._moved_at = time.monotonic()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "acks": "all",
                "message.timeout.ms": 0,
                "queue.buffering.max.messages": buffered_messages,
                "queue.buffering.max.kbytes": _BUFFERED_KIB,
                "linger.ms": 5,
                "log_level": 0,
            }
        )
        self.partitions = count_partitions(self._producer, topic.name, bootstrap_servers, timeout_s)
        #: By partition: sequence and label of what was offered and not confirmed yet, in order.
        self._waiting: list[deque[tuple[int, int]]] = [deque() for _ in range(self.partitions)]
        self._last: list[tuple[int, int]] = [(_NOTHING, _NOTHING)] * self.partitions

    @property
    def outstanding(self) -> int:
        """Messages that were offered and not confirmed yet."""
        return sum(map(len, self._waiting))

    def partition(self, key: bytes) -> int:
        """Return the partition of a key."""
        return partition_of(key, self.partitions)

    def last_confirmed(self, partition: int) -> tuple[int, int]:
        """Return sequence and offset of the last message that a partition confirmed; -1 and -1 if none."""
        return self._last[partition]

    def is_clear(self, partition: int) -> bool:
        """Say whether a partition has confirmed everything that was offered for it."""
        return not self._waiting[partition]

    def offer(self, key: bytes, value: bytes, headers: Headers, sequence: int, label: int = 0) -> None:
        """Take a message; waits while the buffer is full.

        Args:
            key: what keeps order.
            value: the message.
            headers: all of them.
            sequence: its number in the order of sending; rises within the topic.
            label: what it is counted under.

        Raises:
            ProducerError: the broker refuses it or an earlier one, or nothing has moved for too long.
        """
        partition = self.partition(key)
        has_waited = False
        while True:
            try:
                self._producer.produce(
                    self.topic.name, value, key, partition, self._confirm, headers=cast("list[Any]", headers)
                )
                break
            except BufferError:
                self.waits += not has_waited
                has_waited = True
                if self._on_wait is not None:
                    self._on_wait()
                self.serve(_POLL_S)
            except KafkaException as error:
                raise self._given_up(error_text(error)) from error
        if not self.outstanding_any():
            self._moved_at = time.monotonic()
        self._waiting[partition].append((sequence, label))
        self.offered += 1

    def outstanding_any(self) -> bool:
        """Say whether anything that was offered is not confirmed yet."""
        return any(self._waiting)

    def serve(self, timeout_s: float = 0.0) -> None:
        """Take delivery reports, waiting for the first of them at most so long.

        Raises:
            ProducerError: a message failed, or nothing has moved for too long.
        """
        self._producer.poll(timeout_s)
        if self._error is not None:
            raise self._given_up(self._error.str())
        if time.monotonic() - self._moved_at > self._timeout_s and self.outstanding_any():
            raise self._given_up(f"nothing for {self._timeout_s:g} s")

    def flush(self, on_progress: Callable[[], None] | None = None) -> None:
        """Wait until the broker has everything.

        Raises:
            ProducerError: a message failed, or nothing has moved for too long.
        """
        while self.outstanding_any():
            self.serve(_POLL_S)
            if on_progress is not None:
                on_progress()

    def give_up(self) -> None:
        """Forget what the broker hasn't confirmed. Only a later run can find out what of it arrived."""
        self._producer.purge()

    def _confirm(self, error: KafkaError | None, message: Any) -> None:
        """Take a delivery report."""
        if error is not None:
            self._error = self._error or error
            return
        partition = message.partition()
        sequence, label = self._waiting[partition].popleft()
        self._last[partition] = (sequence, message.offset())
        self.confirmed[label] += 1
        self._moved_at = time.monotonic()

    def _given_up(self, reason: str) -> ProducerError:
        self.give_up()
        return ProducerError(
            f"the broker at {self._servers} confirmed {self.confirmed.total()} of {self.offered} messages for "
            f"{self.topic.name}, then: {reason}; send again to go on"
        )


class SalesProducer(EventProducer):
    """Sends baskets, in order for each store."""


class InventoryProducer(EventProducer):
    """Sends movements of stock, in order for each store and product."""


class PosProducer(EventProducer):
    """Sends what tills say of themselves, in order for each store."""


def cluster_of(bootstrap_servers: str, timeout_s: float) -> str:
    """Return the id of the cluster that answers, which is the same by whatever address it is reached.

    Raises:
        ProducerError: no broker.
    """
    try:
        return str(
            Producer({"bootstrap.servers": bootstrap_servers, "log_level": 0}).list_topics(timeout=timeout_s).cluster_id
        )
    except KafkaException as error:
        raise _absent(bootstrap_servers) from error


def count_partitions(client: Any, topic: str, bootstrap_servers: str, timeout_s: float) -> int:
    """Return how many partitions a topic has.

    Raises:
        ProducerError: no broker, or no such topic.
    """
    deadline = time.monotonic() + _NEW_TOPIC_S
    while True:
        try:
            found = client.list_topics(topic, timeout=timeout_s).topics[topic]
        except KafkaException as error:
            raise _absent(bootstrap_servers) from error
        if found.error is None and found.partitions:
            return len(found.partitions)
        if time.monotonic() > deadline:
            raise ProducerError(
                f"topic {topic} doesn't exist at {bootstrap_servers}: run `{command_that_makes(topic)}`"
            )
        time.sleep(_POLL_S)


def _absent(bootstrap_servers: str) -> ProducerError:
    return ProducerError(f"no Kafka broker answers at {bootstrap_servers}: is the stack up?")


def error_text(error: Exception) -> str:
    """Return the broker's or the client's own words for an error."""
    reason = error.args[0] if error.args else error
    return reason.str() if isinstance(reason, KafkaError) else str(reason)
