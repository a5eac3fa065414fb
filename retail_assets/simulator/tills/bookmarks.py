"""How far a live stream has got on a topic: what a run that takes it up again needs to know.

Belongs here: what the broker keeps for a stream, and reading back what came after. Does not belong here: which messages
there are (`plan`) and sending them (`live`).

A stream has no end, so reading back must have a bound. Now and then a run leaves a bookmark for each partition, as the
committed offset of a consumer group of the stream's name: at which offset the partition was, and up to which number it
held all of the stream's messages. A later run reads from there to the end. The bookmark may be old, it is never wrong:
the topic itself says what came since. Without a bookmark (a first start, or the broker has forgotten it, after a week
by default) a partition is read backwards until a message of the stream turns up.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from confluent_kafka import KafkaException, TopicPartition

from retail_assets.simulator.tills.producers import EventProducer, ProducerError
from retail_assets.simulator.tills.readback import TopicReader

NOTHING: Final = -1
#: The consumer group whose committed offsets are a stream's bookmarks.
GROUP: Final = "retail-live-{}"
_PARTS: Final = 3
_PAUSE_S: Final = 0.5


@dataclass(frozen=True)
class _Mark:
    """One partition's bookmark."""

    offset: int
    sequence: int
    partitions: int
    since: date

    @property
    def text(self) -> str:
        return f"{self.sequence} {self.partitions} {self.since.isoformat()}"

    @classmethod
    def read(cls, place: TopicPartition) -> "_Mark | None":
        parts = (place.metadata or "").split(" ")
        if place.offset < 0 or len(parts) != _PARTS:
            return None
        return cls(place.offset, int(parts[0]), int(parts[1]), date.fromisoformat(parts[2]))


@dataclass(frozen=True)
class Progress:
    """What a topic holds of a stream.

    Attributes:
        since: the date that the stream began with; None if no bookmark says it.
        sequences: by partition: all of the stream's messages up to this number are there, and none after it.
    """

    since: date | None
    sequences: tuple[int, ...]

    @property
    def lowest(self) -> int:
        """All of the stream's messages up to this number are there."""
        return min(self.sequences)


class Bookmarks:
    """The bookmarks of one stream on one topic."""

    def __init__(self, bootstrap_servers: str, topic: str, producer: str, timeout_s: float) -> None:
        """Connect.

        Args:
            bootstrap_servers: `host:port,…`.
            topic: an existing topic.
            producer: the stream's name.
            timeout_s: give up after so long without an answer.

        Raises:
            ProducerError: no broker, or no such topic.
        """
        self._producer = producer
        self._timeout_s = timeout_s
        self._begun: list[_Mark] = []
        self._reader = TopicReader(bootstrap_servers, topic, GROUP.format(producer), timeout_s)

    def close(self) -> None:
        """Disconnect."""
        self._reader.consumer.close()

    def find(self) -> Progress:
        """Find out what the topic holds of the stream.

        Raises:
            ProducerError: the broker doesn't answer; the topic was cut short; or it was given more partitions while a
                part of the stream was missing.
        """
        reader = self._reader
        with reader.explained():
            offsets = reader.offsets(settle=True)
            places = [reader.place(partition) for partition in range(reader.partitions)]
            kept = self._patiently(lambda: reader.consumer.committed(places, timeout=self._timeout_s))
            marks = [_Mark.read(place) for place in kept]
            found = [
                self._last(partition, bounds, mark)
                for partition, (bounds, mark) in enumerate(zip(offsets, marks, strict=True))
            ]
        known = [mark for mark in marks if mark is not None]
        since = known[0].since if known else None
        if known and known[0].partitions != reader.partitions:
            before = set(found[: known[0].partitions])
            if len(before) > 1:
                raise ProducerError(
                    f"{reader.topic} was given more partitions while messages of stream {self._producer} were missing: "
                    "their keys have moved. Delete and create the topic, or begin another stream"
                )
            found = [before.pop()] * reader.partitions
        return Progress(since, tuple(found))

    def begin(self, progress: Progress, since: date) -> None:
        """Leave bookmarks at the end of every partition, before anything is sent.

        Raises:
            ProducerError: the broker doesn't take them.
        """
        reader = self._reader
        with reader.explained():
            self._begun = [
                _Mark(high, sequence, reader.partitions, since)
                for (_, high), sequence in zip(reader.offsets(settle=False), progress.sequences, strict=True)
            ]
            places = [self._place(partition, mark) for partition, mark in enumerate(self._begun)]
            self._patiently(lambda: reader.consumer.commit(offsets=places, asynchronous=False))

    def update(self, producer: EventProducer, position: int, *, wait: bool = False) -> None:
        """Move the bookmarks to where a producer is; if the broker doesn't take them, the old ones serve as well.

        Args:
            producer: the stream's producer for this topic.
            position: all of the stream's messages for this topic up to this number were offered to the producer.
            wait: whether to wait for the broker.
        """
        marks = []
        for partition, begun in enumerate(self._begun):
            sequence, offset = producer.last_confirmed(partition)
            # What is confirmed comes before what isn't. Where nothing is missing, later messages are for others.
            sequence = max(begun.sequence, sequence, position if producer.is_clear(partition) else NOTHING)
            mark = _Mark(max(begun.offset, offset + 1), sequence, producer.partitions, begun.since)
            marks.append(self._place(partition, mark))
        with contextlib.suppress(KafkaException):
            if wait:
                self._reader.consumer.commit(offsets=marks, asynchronous=False)
            else:
                self._reader.consumer.commit(offsets=marks, asynchronous=True)

    def _last(self, partition: int, bounds: tuple[int, int], mark: _Mark | None) -> int:
        """Return the number of the stream's last message in a partition."""
        low, high = bounds
        name = self._producer.encode()
        if mark is None:
            for stretch in self._reader.backwards(partition, bounds, name):
                if stretch:
                    return stretch[-1]
            return NOTHING
        if mark.offset > high:
            raise ProducerError(
                f"{self._reader.topic} ends at offset {high} of partition {partition}, but stream {self._producer} has "
                f"written up to {mark.offset}: the topic's log was cut short. Delete and create the topic"
            )
        since = self._reader.between(partition, max(low, mark.offset), high, name)
        return max([mark.sequence, *since])

    def _patiently(self, call: Callable[[], Any]) -> Any:
        """Ask again while a broker that has just started doesn't know yet who keeps the bookmarks."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return call()
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_S)

    def _place(self, partition: int, mark: _Mark) -> TopicPartition:
        return self._reader.place(partition, mark.offset, mark.text)
