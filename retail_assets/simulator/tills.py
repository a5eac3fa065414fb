"""The simulated tills' way to the broker: every message exactly once, in order, however often they have to begin again.

Belongs here: sending, and finding out what was sent before. Does not belong here: what the messages say (`messages`)
and creating topics.

A producer that dies, or whose broker dies, leaves an unknown part of its messages behind. Only the broker knows which:
every message carries its producer and a running number as headers, so a new run reads back what is there and sends the
rest. Within a run, the idempotent producer keeps order and writes nothing twice.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from retail_assets.contracts.events import HEADER_PRODUCED_AT
from retail_assets.contracts.topics import Topic
from retail_assets.simulator.messages import HEADER_PRODUCER, HEADER_SEQUENCE, Message

_BUFFERED_MESSAGES: Final = 20_000
_READ_BACK: Final = 5_000  # offsets at first; doubled as long as the producer's first message isn't found
_READ_BATCH: Final = 1_000
_POLL_S: Final = 0.2
_READ_POLL_S: Final = 0.05
# What is read back is there already. At the client's own half second the broker would hold back its answer at each end
# of a partition in case something comes, and the read of the next partition behind it.
_READ_WAIT_MS: Final = 10
_PROGRESS_EVERY: Final = 1_000
_SEQUENCE_DIGITS: Final = 18
# A broker may still be writing what a killed producer sent last. Its end offsets must stand still for a moment; where
# others keep writing they never do, and after a while nothing of a dead producer can be left.
_SETTLED_S: Final = 1.0
_SETTLED_AT_LATEST_S: Final = 10.0
_PASSING_ERRORS: Final = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)  # noqa: SLF001 - librdkafka's own names
# A broker that has just started answers before it leads its partitions.
_STARTING_ERRORS: Final = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)


class ProducerError(Exception):
    """The messages could not be sent or accounted for. Sending again is safe: it goes on where this ended."""


class TillProducer:
    """Sends messages to one cluster.

    Two runs for the same producer at the same time are not provided for: each would take the other's messages for
    missing.
    """

    def __init__(self, bootstrap_servers: str, timeout_s: float = 30.0) -> None:
        """Remember where the broker is; `send` connects.

        Args:
            bootstrap_servers: `host:port,…`.
            timeout_s: give up after so long without an answer or any progress.
        """
        self._servers = bootstrap_servers
        self._timeout_s = timeout_s

    def send(
        self, topic: Topic, messages: Sequence[Message], on_progress: Callable[[int, int], None] | None = None
    ) -> int:
        """Send what of `messages` the topic doesn't hold yet, and return when the broker has all of it.

        Args:
            topic: an existing topic.
            messages: all messages of one producer for this topic, in order.
            on_progress: called with messages on the broker and messages in all, now and then.

        Returns:
            Messages of this producer on the topic, as read back from it: all of them.

        Raises:
            ProducerError: no broker, no such topic or no progress; or the topic holds a message of this producer twice,
                or one that is not among `messages`.
        """
        if not messages:
            return 0
        arrived = self._arrived(topic, messages, settle=True)
        missing = [message for message in messages if message.sequence not in arrived]
        if missing:
            self._deliver(topic, missing, lambda sent: on_progress and on_progress(len(arrived) + sent, len(messages)))
            arrived = self._arrived(topic, messages, settle=False)
            if len(arrived) < len(messages):
                raise ProducerError(
                    f"{topic.name} holds {len(arrived)} of {len(messages)} messages although the broker took all of "
                    "them: its log was cut short; send again"
                )
        if on_progress is not None:
            on_progress(len(arrived), len(messages))
        return len(arrived)

    def _arrived(self, topic: Topic, messages: Sequence[Message], *, settle: bool) -> set[int]:
        """Return the sequence numbers of these messages that the topic holds.

        Args:
            topic: where to look.
            messages: all messages of their producer for this topic.
            settle: whether somebody may still be writing for the same producer.
        """
        producer = dict(messages[0].headers)[HEADER_PRODUCER]
        consumer = Consumer(
            {
                "bootstrap.servers": self._servers,
                # Demanded by the client, never used: partitions are assigned and nothing is committed.
                "group.id": "retail-tills-read-back",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": _READ_WAIT_MS,
                "allow.auto.create.topics": False,
                "log_level": 0,
            }
        )
        try:
            partitions = self._partitions(consumer, topic)
            first_of: dict[int, int] = {}
            for message in messages:
                first_of.setdefault(partition_of(message.key, partitions), message.sequence)
            found: list[int] = []
            for partition, offsets in enumerate(self._offsets(consumer, topic, partitions, settle=settle)):
                place = TopicPartition(topic.name, partition)
                found.extend(self._read_back(consumer, place, offsets, producer, first_of.get(partition)))
        except KafkaException as error:
            raise ProducerError(f"{topic.name} can't be read back from {self._servers}: {_text(error)}") from error
        finally:
            consumer.close()
        arrived = set(found)
        unknown = arrived - {message.sequence for message in messages}
        if unknown or len(arrived) < len(found):
            raise ProducerError(
                f"{topic.name} holds {len(found)} messages of producer {producer.decode()}, of which "
                f"{len(found) - len(arrived)} are repeated and {len(unknown)} are not among its {len(messages)}: "
                "delete and create the topic, then send again"
            )
        return arrived

    def _partitions(self, client: Any, topic: Topic) -> int:
        try:
            found = client.list_topics(topic.name, timeout=self._timeout_s).topics[topic.name]
        except KafkaException as error:
            raise ProducerError(f"no Kafka broker answers at {self._servers}: is the stack up?") from error
        if found.error is not None or not found.partitions:
            raise ProducerError(f"topic {topic.name} doesn't exist at {self._servers}: create it first")
        return len(found.partitions)

    def _offsets(self, consumer: Consumer, topic: Topic, partitions: int, *, settle: bool) -> list[tuple[int, int]]:
        """Return each partition's first offset and the one after its last; to settle, once they stand still."""

        def offsets() -> list[tuple[int, int]]:
            places = [TopicPartition(topic.name, partition) for partition in range(partitions)]
            return [self._watermarks(consumer, place) for place in places]

        latest = time.monotonic() + _SETTLED_AT_LATEST_S
        seen = offsets()
        while settle and any(high > low for low, high in seen) and time.monotonic() < latest:
            time.sleep(_SETTLED_S)
            before, seen = seen, offsets()
            if before == seen:
                break
        return seen

    def _watermarks(self, consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return consumer.get_watermark_offsets(place, timeout=self._timeout_s)
            except KafkaException as error:
                if error.args[0].code() not in _STARTING_ERRORS or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)

    def _read_back(
        self, consumer: Consumer, place: TopicPartition, offsets: tuple[int, int], producer: bytes, first: int | None
    ) -> list[int]:
        """Return this producer's sequence numbers in one partition, reading backwards from its end.

        Ends at the first message that the producer has for this partition, or at the partition's beginning: that a
        producer never sent here is only known when all is read.
        """
        low, after = offsets
        found: list[int] = []
        step = _READ_BACK
        while after > low and (first is None or first not in found):
            start = max(low, after - step)
            found.extend(self._read(consumer, TopicPartition(place.topic, place.partition, start), after, producer))
            after, step = start, step * 2
        return found

    def _read(self, consumer: Consumer, start: TopicPartition, after: int, producer: bytes) -> list[int]:
        """Return this producer's sequence numbers from an offset to before another."""
        found: list[int] = []
        consumer.assign([start])
        deadline = time.monotonic() + self._timeout_s
        while time.monotonic() < deadline:
            for received in consumer.consume(_READ_BATCH, timeout=_READ_POLL_S):
                error = received.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name
                        return found
                    if error.code() in _PASSING_ERRORS:
                        continue
                    raise KafkaException(error)
                offset = cast("int", received.offset())  # None is for messages that were never sent
                if offset < after:
                    sequence = _sequence_of(received.headers(), producer)
                    if sequence is not None:
                        found.append(sequence)
                if offset >= after - 1:
                    return found
                deadline = time.monotonic() + self._timeout_s
        raise ProducerError(
            f"the broker at {self._servers} stopped answering while {start.topic} was read back; send again"
        )

    def _deliver(self, topic: Topic, messages: Sequence[Message], on_progress: Callable[[int], Any]) -> None:
        """Send messages and wait until the broker has confirmed each."""
        delivery = _Delivery(self._timeout_s)
        producer = Producer(
            {
                "bootstrap.servers": self._servers,
                "enable.idempotence": True,
                "acks": "all",
                # The client never drops a message by itself: a dropped one would leave a hole behind which later ones
                # may have been written. Instead, everything is given up at once when nothing moves.
                "message.timeout.ms": 0,
                "queue.buffering.max.messages": _BUFFERED_MESSAGES,
                "linger.ms": 5,
                "log_level": 0,
            }
        )
        try:
            partitions = self._partitions(producer, topic)
            for number, message in enumerate(messages):
                produced_at = str(time.time_ns() // 1_000_000).encode()
                while True:
                    try:
                        producer.produce(
                            topic.name,
                            key=message.key,
                            value=message.value,
                            headers=[*message.headers, (HEADER_PRODUCED_AT, produced_at)],
                            partition=partition_of(message.key, partitions),
                            on_delivery=delivery.confirm,
                        )
                        break
                    except BufferError:
                        producer.poll(_POLL_S)
                        delivery.check()
                producer.poll(0)
                delivery.check()
                if number % _PROGRESS_EVERY == 0:
                    on_progress(delivery.confirmed)
            while delivery.confirmed < len(messages):
                producer.poll(_POLL_S)
                delivery.check()
                on_progress(delivery.confirmed)
        except (KafkaException, _StalledError) as error:
            producer.purge()
            raise ProducerError(
                f"the broker at {self._servers} confirmed {delivery.confirmed} of {len(messages)} messages for "
                f"{topic.name}, then: {_text(error)}; send again to go on"
            ) from error


class _StalledError(Exception):
    """Nothing was confirmed for too long."""


class _Delivery:
    """What the broker has confirmed so far."""

    def __init__(self, timeout_s: float) -> None:
        self.confirmed = 0
        self._timeout_s = timeout_s
        self._moved_at = time.monotonic()
        self._error: KafkaError | None = None

    def confirm(self, error: KafkaError | None, _message: object) -> None:
        """Take a delivery report."""
        if error is not None:
            self._error = self._error or error
            return
        self.confirmed += 1
        self._moved_at = time.monotonic()

    def check(self) -> None:
        """Raise if a message failed or nothing has moved for too long."""
        if self._error is not None:
            raise KafkaException(self._error)
        if time.monotonic() - self._moved_at > self._timeout_s:
            raise _StalledError(f"nothing for {self._timeout_s:g} s")


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition that Kafka's own clients choose for a key: murmur2 without its sign, modulo partitions."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Return the 32-bit MurmurHash2 of bytes with the seed that Kafka uses (`org.apache.kafka.common.utils.Utils`)."""
    multiplier, mask = 0x5BD1E995, 0xFFFFFFFF
    value = 0x9747B28C ^ len(data)
    whole = len(data) - len(data) % 4
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * multiplier & mask
        word = (word ^ word >> 24) * multiplier & mask
        value = (value * multiplier & mask) ^ word
    if whole < len(data):
        value = (value ^ int.from_bytes(data[whole:], "little")) * multiplier & mask
    value = (value ^ value >> 13) * multiplier & mask
    return value ^ value >> 15


def _sequence_of(headers: Any, producer: bytes) -> int | None:
    """Return the running number of a message of this producer; None for foreign and corrupt ones."""
    found = dict(headers or ())
    sequence = found.get(HEADER_SEQUENCE)
    if found.get(HEADER_PRODUCER) != producer or not isinstance(sequence, bytes):
        return None
    return int(sequence) if sequence.isdigit() and len(sequence) <= _SEQUENCE_DIGITS else None


def _text(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    return reason.str() if isinstance(reason, KafkaError) else str(reason)
