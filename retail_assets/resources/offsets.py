"""Which events to read next: pure arithmetic on offsets.

Belongs here: what a range is, and how the next one follows from what the table holds and what the broker has. Does
not belong here: asking the broker (`kafka`) and reading the table's log (`progress`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

#: Offsets by partition; an end is exclusive, as Kafka's end offsets are.
Offsets = Mapping[int, int]


class TopicResetError(Exception):
    """The topic ends before what the table already holds: it was deleted and made anew."""


@dataclass(frozen=True)
class OffsetRange:
    """A stretch of one topic, from `start` to `end` (exclusive) in each partition.

    Attributes:
        topic: the topic's name.
        start: first offset to read, by partition.
        end: one past the last offset to read, by partition.
        lost: events that the broker deleted before they were read, by partition.
    """

    topic: str
    start: dict[int, int]
    end: dict[int, int]
    lost: dict[int, int] = field(default_factory=dict)

    @property
    def events(self) -> int:
        """How many offsets the range spans; an upper bound of its messages."""
        return sum(self.end[partition] - self.start[partition] for partition in self.end)

    def starting_offsets(self) -> str:
        """The start, as Spark's Kafka reader wants it."""
        return json.dumps({self.topic: {str(partition): offset for partition, offset in self.start.items()}})

    def ending_offsets(self) -> str:
        """The end, as Spark's Kafka reader wants it."""
        return json.dumps({self.topic: {str(partition): offset for partition, offset in self.end.items()}})


def next_range(topic: str, *, held: Offsets, first: Offsets, end: Offsets, limit: int) -> OffsetRange:
    """Return the range that follows what the table holds.

    Args:
        topic: the topic's name.
        held: one past the last offset that the table holds, by partition; partitions that it has nothing of are absent.
        first: the broker's first available offsets.
        end: the broker's end offsets.
        limit: cap on the events of one range; shared out over the partitions by what waits in each.

    Returns:
        The range; empty where nothing waits.

    Raises:
        TopicResetError: a partition ends before what the table holds of it, or is gone.
    """
    for partition, offset in held.items():
        if end.get(partition, -1) < offset:
            raise TopicResetError(
                f"topic {topic} partition {partition} ends at {end.get(partition, 'nothing')}, but the raw table holds "
                f"it up to {offset}: the topic was deleted and made anew. Give the new topic another name, or move the "
                "raw table away and read the new topic from its start"
            )
    start = {p: max(held.get(p, first[p]), first[p]) for p in end}
    lost = {p: first[p] - held[p] for p in end if p in held and first[p] > held[p]}
    waiting = {p: end[p] - start[p] for p in end}
    total = sum(waiting.values())
    if total <= limit:
        return OffsetRange(topic, start, dict(end), lost)
    shares = {p: limit * count // total for p, count in waiting.items()}
    if not any(shares.values()):
        # The limit is smaller than the number of partitions with something to read: serve the fullest one.
        fullest = max(waiting, key=lambda p: waiting[p])
        shares[fullest] = min(limit, waiting[fullest])
    return OffsetRange(topic, start, {p: start[p] + shares[p] for p in end}, lost)
