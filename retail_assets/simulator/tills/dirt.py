"""What goes wrong on the way from real tills: repeated, late, overtaken, mistimed, broken and unknown messages.

Belongs here: the faults, each at its own rate and counted. Does not belong here: the order of sending (`plan`) and the
fixed numbers of faults of the day that follows the history (`messages`).

Faults add messages or move them; no event is ever lost. So a consumer's books balance: messages are events, duplicates,
malformed messages and messages of an unknown version, and it should hold each event once.
"""

import json
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from enum import IntEnum, IntFlag
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from retail_assets.contracts.topics import EVENT_TOPICS, Topic
from retail_assets.simulator.randomness import Purpose, stream
from retail_assets.simulator.scenario import DirtRates
from retail_assets.simulator.tills.messages import MALFORMATIONS, break_value
from retail_assets.simulator.tills.wire import WireFormat

#: The version that messages of an unknown version say they have.
UNKNOWN_VERSION: Final = 99

_SECOND_MS: Final = 1_000
_MINUTE_MS: Final = 60 * _SECOND_MS
#: How long late events are on their way.
LATE_MS: Final = (15 * _MINUTE_MS, 6 * 60 * _MINUTE_MS)
#: How long after its original a duplicate is sent.
DUPLICATE_AFTER_MS: Final = (1, 10 * _MINUTE_MS)
#: How wrong a till's clock is, either way.
SKEW_MS: Final = (30 * _SECOND_MS, 10 * _MINUTE_MS)

_Bools = npt.NDArray[np.bool_]


class Label(IntFlag):
    """What a message is; an event may be late or overtaken, and be from a till with a wrong clock."""

    EVENT = 0
    DUPLICATE = 1
    MALFORMED = 2
    UNKNOWN_VERSION = 3
    LATE = 4
    OUT_OF_ORDER = 8
    CLOCK_SKEW = 16


#: The part of a label that says which kind of message it is; the rest are flags.
KIND_BITS: Final = 3


class _Fault(IntEnum):
    """Which random stream. The numbers are part of every scenario's data: add new ones, change none."""

    LATE = 0
    OUT_OF_ORDER = 1
    DUPLICATE = 2
    MALFORMED = 3
    UNKNOWN_VERSION = 4
    CLOCK = 5


@dataclass(frozen=True)
class DirtCounts:
    """Messages by what they are.

    Attributes:
        events: messages that carry an event for the first time.
        duplicates: messages that repeat one.
        malformed: messages that break the contract, made from no event.
        unknown_version: messages of a version that nobody knows, made from no event.
        late: events that were sent minutes to hours after they happened.
        out_of_order: events that were sent after a later one of the same store.
        clock_skew: events that bear the time of a wrong clock.
    """

    events: int = 0
    duplicates: int = 0
    malformed: int = 0
    unknown_version: int = 0
    late: int = 0
    out_of_order: int = 0
    clock_skew: int = 0

    @classmethod
    def of(cls, labels: Mapping[int, int]) -> Self:
        """Count messages by label.

        Args:
            labels: how many messages have each label.
        """
        kinds: Counter[int] = Counter()
        flags: Counter[int] = Counter()
        for label, count in labels.items():
            kinds[label & KIND_BITS] += count
            for flag in (Label.LATE, Label.OUT_OF_ORDER, Label.CLOCK_SKEW):
                flags[flag] += count if label & flag else 0
        return cls(
            events=kinds[Label.EVENT],
            duplicates=kinds[Label.DUPLICATE],
            malformed=kinds[Label.MALFORMED],
            unknown_version=kinds[Label.UNKNOWN_VERSION],
            late=flags[Label.LATE],
            out_of_order=flags[Label.OUT_OF_ORDER],
            clock_skew=flags[Label.CLOCK_SKEW],
        )

    @property
    def messages(self) -> int:
        """Messages in all."""
        return self.events + self.duplicates + self.malformed + self.unknown_version

    def __add__(self, other: "DirtCounts") -> "DirtCounts":
        """Add up field by field."""
        return DirtCounts(*(mine + others for mine, others in zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        """Return one line that tells all."""
        return (
            f"{self.messages:,} messages: {self.events:,} events ({self.late:,} late, {self.out_of_order:,} out of "
            f"order, {self.clock_skew:,} by a wrong clock), {self.duplicates:,} duplicates, {self.malformed:,} "
            f"malformed, {self.unknown_version:,} of an unknown version"
        )


class Dirt:
    """Makes the faults of a stream: the same for the same seed, rates, topic and day, whatever else is sent."""

    def __init__(self, seed: int, rates: DirtRates, wire: WireFormat = WireFormat.JSON) -> None:
        """Take what decides the faults.

        Args:
            seed: the scenario's.
            rates: shares of the events.
            wire: how values are written.
        """
        self._seed = seed
        self._rates = rates
        self._wire = wire
        self._clock_of: dict[str, int] = {}

    def skew(self, events: pl.DataFrame) -> tuple[pl.DataFrame, _Bools]:
        """Give the events of tills with a wrong clock the time of that clock.

        A till's clock is wrong by the same amount every day. What is reported without a till has the right time.

        Returns:
            The events, and which of them have the time of a wrong clock.
        """
        if self._rates.clock_skew_rate == 0 or "register_id" not in events.columns:
            return events, np.zeros(events.height, dtype=np.bool_)
        tills = events["register_id"].unique(maintain_order=True).to_list()
        wrong = pl.Series([self._clock(till) for till in tills], dtype=pl.Int64)
        by_till = pl.col("register_id").replace_strict(pl.Series(tills), wrong, return_dtype=pl.Int64)
        skews = events.select(by_till).to_series()
        skewed = events.with_columns(occurred_at=pl.col("occurred_at") + pl.duration(milliseconds=pl.lit(skews)))
        return skewed.cast({"occurred_at": events.schema["occurred_at"]}), (skews != 0).to_numpy()

    def soil(self, topic: Topic, day: int, messages: pl.DataFrame) -> pl.DataFrame:
        """Move some messages of one topic and day, and add others.

        Args:
            topic: what the messages are of: one of the contract's event topics.
            day: counted from the scenario's first date.
            messages: one for each event, in order of time: `due` (epoch ms), `label`, `store`, `key`, `value`.

        Returns:
            The same columns. Nobody is due earlier than before.
        """
        count = messages.height
        if count == 0 or not any(vars(self._rates).values()):
            return messages
        place = EVENT_TOPICS.index(topic)

        def drawn(fault: _Fault, rate: float, span: tuple[int, int]) -> tuple[_Bools, npt.NDArray[np.int64]]:
            rng = stream(self._seed, Purpose.FAULTS, day, place, int(fault))
            chosen = rng.random(count) < rate
            return chosen, rng.integers(span[0], span[1], size=count, endpoint=True)

        late, delay = drawn(_Fault.LATE, self._rates.late_rate, LATE_MS)
        overtaken, _ = drawn(_Fault.OUT_OF_ORDER, self._rates.out_of_order_rate, (0, 0))
        messages = messages.with_columns(
            due=pl.when(pl.Series(late)).then(pl.col("due") + pl.Series(delay)).otherwise("due"),
            label=pl.when(pl.Series(late)).then(pl.col("label") + int(Label.LATE)).otherwise("label"),
        )
        messages = _overtake(messages, overtaken & ~late, late)
        twice, after = drawn(_Fault.DUPLICATE, self._rates.duplicate_rate, DUPLICATE_AFTER_MS)
        parts = [
            messages,
            messages.with_columns(due=pl.col("due") + pl.Series(after), label=_labelled(Label.DUPLICATE)).filter(twice),
            self._made_up(topic, messages, drawn(_Fault.MALFORMED, self._rates.malformed_rate, (0, 0))[0], broken=True),
            self._made_up(topic, messages, drawn(_Fault.UNKNOWN_VERSION, self._rates.unknown_version_rate, (0, 0))[0]),
        ]
        return pl.concat(parts)

    def _clock(self, till: str) -> int:
        """Return by how many milliseconds a till's clock is wrong; 0 for most."""
        known = self._clock_of.get(till)
        if known is None:
            # By its name, so that it doesn't matter which tills there are besides.
            rng = stream(self._seed, Purpose.FAULTS, 0, 0, int(_Fault.CLOCK), zlib.crc32(till.encode()))
            is_wrong = rng.random() < self._rates.clock_skew_rate
            by = int(rng.integers(*SKEW_MS)) * int(rng.choice((-1, 1)))
            known = self._clock_of[till] = by if is_wrong else 0
        return known

    def _made_up(self, topic: Topic, messages: pl.DataFrame, chosen: _Bools, *, broken: bool = False) -> pl.DataFrame:
        """Return messages that no reader should accept, made from copies of the chosen ones."""
        rows = np.flatnonzero(chosen)
        copies = messages[rows]
        make = self._broken if broken else self._of_the_future
        values = [make(topic, value, int(row)) for row, value in zip(rows, copies["value"], strict=True)]
        label = Label.MALFORMED if broken else Label.UNKNOWN_VERSION
        return copies.with_columns(value=pl.Series("value", values, dtype=pl.Binary), label=_labelled(label))

    def _broken(self, topic: Topic, value: bytes, row: int) -> bytes:
        if self._wire is WireFormat.AVRO:
            return value[: len(value) // 2]
        ways = [how for how, where in MALFORMATIONS if where.schema is topic.schema and how != "not JSON"]
        ways.append("not JSON")
        return break_value(ways[row % len(ways)], topic, value, row)

    def _of_the_future(self, topic: Topic, value: bytes, row: int) -> bytes:
        """Return an event as a later version might say it: the time of what happened has another name."""
        if self._wire is WireFormat.AVRO:
            return b"\x01" + value
        event: dict[str, Any] = json.loads(value)
        event[topic.schema.id_field] += f"-V{row}"
        event["happened_at"] = event.pop("occurred_at")
        return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def _labelled(label: Label) -> pl.Expr:
    return pl.lit(int(label), dtype=pl.Int64)


def _overtake(messages: pl.DataFrame, chosen: _Bools, late: _Bools) -> pl.DataFrame:
    """Send chosen messages right after the next punctual one of the same store, where there is a later one."""
    punctual = pl.when(~pl.col("_chosen") & ~pl.col("_late")).then("due")
    following = pl.col("_following")
    moves = pl.col("_chosen") & following.is_not_null() & (following > pl.col("due"))
    return (
        messages.with_columns(_chosen=pl.Series(chosen), _late=pl.Series(late))
        .with_columns(_following=punctual.shift(-1).backward_fill().over("store"))
        # The lines of a basket share an instant, and are not overtaken by each other.
        .with_columns(_following=pl.col("_following").last().over("store", "due"))
        .with_columns(
            due=pl.when(moves).then(following + 1).otherwise("due"),
            label=pl.when(moves).then(pl.col("label") + int(Label.OUT_OF_ORDER)).otherwise("label"),
        )
        .drop("_chosen", "_late", "_following")
    )
