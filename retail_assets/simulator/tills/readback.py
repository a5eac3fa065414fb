"""Reading back from a topic what a producer has written there.

Belongs here: reading stretches of partitions and picking one producer's sequence numbers out of them. Does not belong
here: what is concluded from them (`day_producer`, `bookmarks`).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from retail_assets.contracts.letters import HEADER_REPLAY_OF
from retail_assets.simulator.tills.messages import HEADER_PRODUCER, HEADER_SEQUENCE
from retail_assets.simulator.tills.producers import ProducerError, count_partitions, error_text

_READ_BACK: Final = 5_000  # offsets at first; doubled as long as what is looked for isn't found
_READ_BATCH: Final = 1_000
_POLL_S: Final = 0.2
_READ_POLL_S: Final = 0.05
# What is read back is there already. At the client's own half second the broker would hold back its answer at each end
# of a partition in case something comes, and the read of the next partition behind it.
_READ_WAIT_MS: Final = 10
# A sequence fits 64 bits.
_SEQUENCE_DIGITS: Final = 19
_SEQUENCE_LIMIT: Final = 2**63
# A broker may still be writing what a killed producer sent last. Its end offsets must stand still for a moment; where
# others keep writing they never do, and after a while nothing of a dead producer can be left.
_SETTLED_S: Final = 1.0
_SETTLED_AT_LATEST_S: Final = 10.0
_PASSING_ERRORS: Final = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)  # noqa: SLF001 - librdkafka's own names
# A broker that has just started answers before it leads its partitions.
_STARTING_ERRORS: Final = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)


class TopicReader:
    """Reads one topic for one producer's messages. Use it in a `with` statement.

    Attributes:
        topic: the topic's name.
        partitions: how many it has.
    """

    def __init__(self, bootstrap_servers: str, topic: str, group: str, timeout_s: float) -> None:
        """Connect.

        Args:
            bootstrap_servers: `host:port,…`.
            topic: an existing topic.
            group: demanded by the client; its offsets are only used by those who ask for them.
            timeout_s: give up after so long without an answer.

        Raises:
            ProducerError: no broker, or no such topic.
        """
        self.topic = topic
        self._servers = bootstrap_servers
        self._timeout_s = timeout_s
        self.consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": _READ_WAIT_MS,
                "allow.auto.create.topics": False,
                "log_level": 0,
            }
        )
        try:
            self.partitions = count_partitions(self.consumer, topic, bootstrap_servers, timeout_s)
        except ProducerError:
            self.consumer.close()
            raise

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        self.consumer.close()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn the client's errors into `ProducerError`."""
        try:
            yield
        except KafkaException as error:
            raise ProducerError(f"{self.topic} can't be read back from {self._servers}: {error_text(error)}") from error

    def place(self, partition: int, offset: int = -1001, metadata: str = "") -> TopicPartition:
        """Return the client's name for a place in the topic; without an offset, for the whole partition."""
        return TopicPartition(self.topic, partition, offset, metadata)

    def offsets(self, *, settle: bool) -> list[tuple[int, int]]:
        """Return each partition's first offset and the one after its last.

        Args:
            settle: whether somebody may still be writing for the same producer: wait until they stand still.
        """
        latest = time.monotonic() + _SETTLED_AT_LATEST_S
        seen = self._all_offsets()
        while settle and any(high > low for low, high in seen) and time.monotonic() < latest:
            time.sleep(_SETTLED_S)
            before, seen = seen, self._all_offsets()
            if before == seen:
                break
        return seen

    def _all_offsets(self) -> list[tuple[int, int]]:
        return [self._watermarks(self.place(partition)) for partition in range(self.partitions)]

    def _watermarks(self, place: TopicPartition) -> tuple[int, int]:
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return self.consumer.get_watermark_offsets(place, timeout=self._timeout_s)
            except KafkaException as error:
                if error.args[0].code() not in _STARTING_ERRORS or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)

    def backwards(self, partition: int, offsets: tuple[int, int], producer: bytes) -> Iterator[list[int]]:
        """Yield a producer's sequence numbers in a partition, stretch by stretch from the end to the beginning.

        A stretch is in the order of the partition. The caller stops when it knows enough.
        """
        low, after = offsets
        step = _READ_BACK
        while after > low:
            start = max(low, after - step)
            yield self.between(partition, start, after, producer)
            after, step = start, step * 2

    def between(self, partition: int, start: int, after: int, producer: bytes) -> list[int]:
        """Return a producer's sequence numbers from an offset to before another, in order."""
        if start >= after:
            return []
        self.consumer.assign([self.place(partition, start)])
        try:
            return self._read_to(after, producer)
        finally:
            # Or it would go on fetching what comes later, for as long as it lives.
            self.consumer.unassign()

    def _read_to(self, after: int, producer: bytes) -> list[int]:
        found: list[int] = []
        deadline = time.monotonic() + self._timeout_s
        while time.monotonic() < deadline:
            for received in self.consumer.consume(_READ_BATCH, timeout=_READ_POLL_S):
                error = received.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name
                        return found
                    if error.code() in _PASSING_ERRORS:
                        continue
                    raise KafkaException(error)
                offset = cast("int", received.offset())  # None is for messages that were never sent
                if offset < after:
                    sequence = sequence_of(received.headers(), producer)
                    if sequence is not None:
                        found.append(sequence)
                if offset >= after - 1:
                    return found
                deadline = time.monotonic() + self._timeout_s
        raise ProducerError(
            f"the broker at {self._servers} stopped answering while {self.topic} was read back; send again"
        )


def sequence_of(headers: Any, producer: bytes) -> int | None:
    """Return the running number of a message of this producer; None for foreign and corrupt ones, and for replays.

    A dead letter that was replayed has the headers of the message that it was, but is another one, in another place.
    """
    found = dict(headers or ())
    sequence = found.get(HEADER_SEQUENCE)
    if found.get(HEADER_PRODUCER) != producer or HEADER_REPLAY_OF in found or not isinstance(sequence, bytes):
        return None
    if not sequence.isdigit() or len(sequence) > _SEQUENCE_DIGITS:
        return None
    number = int(sequence)
    return number if number < _SEQUENCE_LIMIT else None
