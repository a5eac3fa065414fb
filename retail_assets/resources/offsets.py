"""Which events to read next: pure arithmetic on offsets.

Belongs here: what a range is, how the next one follows from what the table holds and what the broker has, and what
becomes of a topic that was made anew or has lost events. Does not belong here: asking the broker (`kafka`), reading and
writing the table's log (`progress`), and when to start a run (`sensors`).

**Two counts of the same events.** The table's offsets never go back: where a topic is made anew, the table goes on
counting, and `base` says by partition how far it is ahead of the broker. Everything here is the table's count unless it
says otherwise; until a topic is made anew both are the same.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

#: Offsets by partition; an end is exclusive, as Kafka's end offsets are.
Offsets = Mapping[int, int]


class TopicResetError(Exception):
    """The topic isn't the one that the table was read from, or has lost its end. The message says what to do."""


@dataclass(frozen=True)
class TopicState:
    """A topic as the broker has it, in the broker's count.

    Attributes:
        first: first available offset, by partition.
        end: one past the last offset, by partition.
        topic_id: the id that the topic got when it was made; None from a broker that gives none.
    """

    first: dict[int, int]
    end: dict[int, int]
    topic_id: str | None = None


@dataclass(frozen=True)
class Gap:
    """Offsets that the broker deleted before they were read.

    Attributes:
        partition: of the topic.
        start: first offset that is missing.
        end: one past the last.
        noticed: when, in UTC, as ISO 8601.
        note: what was said when somebody acknowledged it; None until then.
    """

    partition: int
    start: int
    end: int
    noticed: str
    note: str | None = None

    @property
    def offsets(self) -> int:
        """How many; an upper bound of the events, because a transaction's marker has an offset too."""
        return self.end - self.start

    def __str__(self) -> str:
        """Return the gap in words."""
        return f"{stretch(self.partition, self.start, self.end)}, noticed {self.noticed}"


def stretch(partition: int, start: int, end: int) -> str:
    """Return offsets of one partition in words; `end` is exclusive."""
    return f"partition {partition}, offsets {start} to {end - 1} (at most {end - start:,} events)"


@dataclass(frozen=True)
class OffsetRange:
    """A stretch of one topic, from `start` to `end` (exclusive) in each partition.

    Attributes:
        topic: the topic's name.
        start: first offset to read, by partition.
        end: one past the last offset to read, by partition.
        lost: offsets before `start` that the broker deleted before they were read, by partition.
        base: how far these offsets are ahead of the broker's, by partition; 0 where absent.
        waiting: offsets that the broker has, those beyond the range among them.
    """

    topic: str
    start: dict[int, int]
    end: dict[int, int]
    lost: dict[int, int] = field(default_factory=dict)
    base: Offsets = field(default_factory=dict)
    waiting: int = 0

    @property
    def events(self) -> int:
        """How many offsets the range spans; an upper bound of its messages."""
        return sum(self.end[partition] - self.start[partition] for partition in self.end)

    def starting_offsets(self) -> str:
        """The start in the broker's count, as Spark's Kafka reader wants it."""
        return json.dumps({self.topic: {str(p): offset for p, offset in self._on_broker(self.start).items()}})

    def ending_offsets(self) -> str:
        """The end in the broker's count, as Spark's Kafka reader wants it."""
        return json.dumps({self.topic: {str(p): offset for p, offset in self._on_broker(self.end).items()}})

    def unread(self) -> dict[int, tuple[int, int]]:
        """Return start and end of the partitions that have something to read, in the broker's count."""
        start, end = self._on_broker(self.start), self._on_broker(self.end)
        return {p: (start[p], end[p]) for p in end if start[p] < end[p]}

    def losses(self) -> str:
        """Return in words what was lost; empty where nothing was."""
        return "; ".join(stretch(p, self.start[p] - count, self.start[p]) for p, count in sorted(self.lost.items()))

    def _on_broker(self, offsets: Offsets) -> dict[int, int]:
        return {partition: offset - self.base.get(partition, 0) for partition, offset in offsets.items()}


@dataclass(frozen=True)
class Progress:
    """What a raw table holds of its topic.

    Attributes:
        batch: number of the last batch; 0 where there was none.
        held: one past the last offset held, by partition.
        topic_id: of the topic that was read; None where nothing said it.
        base: how far the table's count is ahead of the broker's, by partition; 0 where absent.
        gaps: what was lost, acknowledged or not, oldest first.
    """

    batch: int
    held: dict[int, int]
    topic_id: str | None = None
    base: dict[int, int] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()

    @property
    def open_gaps(self) -> tuple[Gap, ...]:
        """The losses that nobody has acknowledged."""
        return tuple(gap for gap in self.gaps if gap.note is None)

    def after(self, span: OffsetRange, topic_id: str | None) -> "Progress":
        """Return what the table holds once it has the range, with what was lost before it.

        Args:
            span: the range.
            topic_id: of the topic that it is read from.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        new = tuple(Gap(p, span.start[p] - count, span.start[p], now) for p, count in sorted(span.lost.items()))
        return replace(
            self,
            batch=self.batch + 1,
            held={**self.held, **span.end},
            topic_id=topic_id or self.topic_id,
            gaps=self.gaps + new,
        )

    def acknowledged(self, note: str) -> "Progress":
        """Return the same with all losses acknowledged."""
        return replace(self, batch=self.batch + 1, gaps=tuple(replace(gap, note=gap.note or note) for gap in self.gaps))

    def adopting(self, state: TopicState) -> "Progress":
        """Return the same for a topic that is no longer the one that was read.

        A topic with another id goes on counting in every partition from what is held, and is read from offset 0: what
        it has deleted already will be noticed as lost. A topic with the same id has lost the end of some partitions;
        those are read again from their first event, because what is new among them can't be told from what was read.
        """
        base = dict(self.base)
        same = self.topic_id is not None and self.topic_id == state.topic_id
        for partition in self.held.keys() | state.end.keys():
            held = self.held.get(partition, 0)
            if not same:
                base[partition] = held
            elif state.end.get(partition, 0) + base.get(partition, 0) < held:
                base[partition] = held - state.first.get(partition, 0)
        held_of_all = {**dict.fromkeys(state.end, 0), **self.held}
        return replace(self, batch=self.batch + 1, held=held_of_all, topic_id=state.topic_id, base=base)


def range_after(progress: Progress, topic: str, state: TopicState, *, limit: int) -> OffsetRange:
    """Return the range that follows what the table holds.

    Args:
        progress: of the table.
        topic: the topic's name.
        state: the topic as the broker has it.
        limit: cap on the events of one range.

    Raises:
        TopicResetError: the topic was made anew, however far it has grown since, or has lost its end.
    """
    if progress.topic_id and state.topic_id and progress.topic_id != state.topic_id:
        raise TopicResetError(
            f"topic {topic} was deleted and made anew: its id is {state.topic_id}, the raw table was read from "
            f"{progress.topic_id}. {_what_to_do(topic)}"
        )
    if progress.topic_id and state.topic_id:
        # Kafka never takes partitions away from a topic: those that are gone were an earlier topic's.
        held = {partition: end for partition, end in progress.held.items() if partition in state.end}
    else:
        held = progress.held
    return next_range(
        topic, held=held, first=state.first, end=state.end, limit=limit, base=progress.base, begun=bool(progress.held)
    )


def next_range(
    topic: str,
    *,
    held: Offsets,
    first: Offsets,
    end: Offsets,
    limit: int,
    base: Offsets | None = None,
    begun: bool | None = None,
) -> OffsetRange:
    """Return the range that follows what is held.

    Args:
        topic: the topic's name.
        held: one past the last offset that the table holds, by partition; partitions that it has nothing of are absent.
        first: the broker's first available offsets, in its count.
        end: the broker's end offsets, in its count.
        limit: cap on the events of one range; shared out over the partitions by what waits in each.
        base: how far the table's count is ahead of the broker's, by partition.
        begun: whether the topic was read before; by default, whether anything is held. What a broker deleted before the
            first reading was never asked for; what it deleted of a partition that was added later is lost.

    Returns:
        The range; empty where nothing waits.

    Raises:
        TopicResetError: a partition ends before what the table holds of it, or is gone.
    """
    base = base or {}
    begun = bool(held) if begun is None else begun
    first = {p: offset + base.get(p, 0) for p, offset in first.items()}
    end = {p: offset + base.get(p, 0) for p, offset in end.items()}
    for partition, offset in held.items():
        if end.get(partition, -1) < offset:
            raise TopicResetError(
                f"topic {topic} partition {partition} ends at {end.get(partition, 'nothing')}, but the raw table holds "
                f"it up to {offset}: the topic was deleted and made anew, or the broker lost its newest events. "
                f"{_what_to_do(topic)}"
            )
    expected = {p: held.get(p, base.get(p, 0) if begun else first[p]) for p in end}
    start = {p: max(expected[p], first[p]) for p in end}
    lost = {p: start[p] - expected[p] for p in end if start[p] > expected[p]}
    counts = {p: end[p] - start[p] for p in end}
    total = sum(counts.values())
    if total <= limit:
        return OffsetRange(topic, start, dict(end), lost, base, total)
    shares = {p: limit * count // total for p, count in counts.items()}
    if not any(shares.values()):
        # The limit is smaller than the number of partitions with something to read: serve the fullest one.
        fullest = max(counts, key=lambda p: counts[p])
        shares[fullest] = min(limit, counts[fullest])
    return OffsetRange(topic, start, {p: start[p] + shares[p] for p in end}, lost, base, total)


def _what_to_do(topic: str) -> str:
    return (
        f"Nothing is read until somebody decides: `retail topics adopt {topic}` goes on with the topic as it is now "
        "and keeps all rows"
    )
