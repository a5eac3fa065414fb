"""A closed day's way to the broker: every message exactly once, in order, however often it has to begin again.

Belongs here: sending a known number of messages, and finding out which of them were sent before. Does not belong here:
what the messages say (`messages`), streams without an end (`live`), and creating topics.

A producer that dies, or whose broker dies, leaves an unknown part of its messages behind. Only the broker knows which:
every message carries its producer and a running number as headers, so a new run reads back what is there and sends the
rest. Within a run, the idempotent producer keeps order and writes nothing twice.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

from retail_assets.contracts.events import HEADER_PRODUCED_AT
from retail_assets.contracts.topics import Topic
from retail_assets.simulator.tills.messages import HEADER_PRODUCER, Message
from retail_assets.simulator.tills.partitioning import partition_of
from retail_assets.simulator.tills.producers import TIMEOUT_S, EventProducer, ProducerError
from retail_assets.simulator.tills.readback import TopicReader

__all__ = ["ProducerError", "TillProducer"]

_PROGRESS_EVERY: Final = 1_000


class TillProducer:
    """Sends messages to one cluster.

    Two runs for the same producer at the same time are not provided for: each would take the other's messages for
    missing.
    """

    def __init__(self, bootstrap_servers: str, timeout_s: float = TIMEOUT_S) -> None:
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
            before = len(arrived)

            def tell(sent: int) -> None:
                if on_progress is not None:
                    on_progress(before + sent, len(messages))

            self._deliver(topic, missing, tell)
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

        A partition is read backwards to the first message that the producer has for it, or to its beginning: that a
        producer never sent here is only known when all is read.

        Args:
            topic: where to look.
            messages: all messages of their producer for this topic.
            settle: whether somebody may still be writing for the same producer.
        """
        producer = dict(messages[0].headers)[HEADER_PRODUCER]
        found: list[int] = []
        with TopicReader(self._servers, topic.name, "retail-tills-read-back", self._timeout_s) as reader:
            first_of: dict[int, int] = {}
            for message in messages:
                first_of.setdefault(partition_of(message.key, reader.partitions), message.sequence)
            with reader.explained():
                for partition, offsets in enumerate(reader.offsets(settle=settle)):
                    for stretch in reader.backwards(partition, offsets, producer):
                        found.extend(stretch)
                        if first_of.get(partition) in stretch:
                            break
        arrived = set(found)
        unknown = arrived - {message.sequence for message in messages}
        if unknown or len(arrived) < len(found):
            raise ProducerError(
                f"{topic.name} holds {len(found)} messages of producer {producer.decode()}, of which "
                f"{len(found) - len(arrived)} are repeated and {len(unknown)} are not among its {len(messages)}: "
                "delete and create the topic, then send again"
            )
        return arrived

    def _deliver(self, topic: Topic, messages: Sequence[Message], on_progress: Callable[[int], None]) -> None:
        """Send messages and wait until the broker has confirmed each."""
        producer = EventProducer(self._servers, topic, timeout_s=self._timeout_s)
        for number, message in enumerate(messages):
            produced_at = str(time.time_ns() // 1_000_000).encode()
            headers = [*message.headers, (HEADER_PRODUCED_AT, produced_at)]
            producer.offer(message.key, message.value, headers, message.sequence)
            if number % _PROGRESS_EVERY == 0:
                producer.serve()
                on_progress(producer.confirmed.total())
        producer.flush(lambda: on_progress(producer.confirmed.total()))
