"""What a live stream sends, and when: one endless order of messages that depends on the scenario and nothing else.

Belongs here: making messages of days, numbering them, and putting days together. Does not belong here: the clock
(`pacing`), sending (`live`), and the faults themselves (`dirt`).

Every message has a number within its topic that rises in the order of sending and that anybody can work out again: the
time when it is due, the day that it is from, and its place among those of the same millisecond. So a run that takes up
a stream needs to make no earlier days than the one that it goes on with.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Protocol

import polars as pl

from retail_assets.contracts.topics import EVENT_TOPICS, Topic
from retail_assets.simulator.scenario import DirtRates
from retail_assets.simulator.tills.dirt import Dirt, Label
from retail_assets.simulator.tills.wire import WireFormat, encode_frame

#: Numbers that each millisecond has room for, shared by so many days: a late event and those of the days after it may
#: be due in the same one.
SEQUENCES_PER_MS: Final = 1_000_000
_DAYS_AT_ONCE: Final = 4
_ROOM: Final = SEQUENCES_PER_MS // _DAYS_AT_ONCE

#: Columns of a plan. `topic` counts the stream's topics; `label` is a `Label`.
PLAN: Final = pl.Schema(
    {
        "due": pl.Int64(),
        "topic": pl.Int32(),
        "sequence": pl.Int64(),
        "label": pl.Int64(),
        "key": pl.Binary(),
        "value": pl.Binary(),
    }
)


class DayEvents(Protocol):
    """The events of one business date, as `HistoryBatch` has them."""

    def events(self, topic: Topic) -> pl.DataFrame:
        """Return the events of one topic."""


class DaySource(Protocol):
    """Who knows what happens on a day. A day's events don't depend on which days were asked for before."""

    @property
    def first_date(self) -> date:
        """The first business date that there is."""

    @property
    def last_date(self) -> date:
        """The last business date that there is, for now."""

    def approach(self, on: date) -> Iterator[date]:
        """Live through the days before a business date, as far as it follows from them; yield each when it is over.

        Raises:
            ProducerError: the source has forgotten that date.
        """

    def day(self, on: date) -> DayEvents:
        """Return the events of a business date."""


@dataclass(frozen=True)
class StreamPlan:
    """The order of messages of one stream.

    Attributes:
        source: gives the days.
        seed: the scenario's.
        rates: how dirty the stream is.
        wire: how values are written.
        topics: where to, in the order of the contracts' event topics; others of the same kinds for measurements.
    """

    source: DaySource
    seed: int
    rates: DirtRates
    wire: WireFormat = WireFormat.JSON
    topics: tuple[Topic, ...] = EVENT_TOPICS

    def day(self, on: date) -> pl.DataFrame:
        """Return the messages that a business date gives rise to, some of them due on the next.

        Returns:
            `PLAN`, in the order of sending.

        Raises:
            ContractError: an event breaks the contract.
        """
        number = (on - self.source.first_date).days
        events = self.source.day(on)
        dirt = Dirt(self.seed, self.rates, self.wire)
        parts = [
            self._messages(dirt, place, number, events.events(contract)) for place, contract in enumerate(EVENT_TOPICS)
        ]
        return pl.concat(parts).sort("due", "topic", "sequence")

    def _messages(self, dirt: Dirt, place: int, number: int, events: pl.DataFrame) -> pl.DataFrame:
        topic = self.topics[place]
        events = events.sort("occurred_at", topic.schema.id_field)
        due = events["occurred_at"].dt.epoch("ms")
        events, skewed = dirt.skew(events)
        messages = encode_frame(topic, events, self.wire).with_columns(
            due=due, store=events["store_id"], label=pl.Series(skewed).cast(pl.Int64) * int(Label.CLOCK_SKEW)
        )
        messages = dirt.soil(EVENT_TOPICS[place], number, messages)
        within = pl.int_range(pl.len()).over("due")
        if messages.height and messages.select(within.max()).item() >= _ROOM:
            raise OverflowError(f"more than {_ROOM:,} messages for {topic.name} are due in one millisecond")
        first = pl.col("due") * SEQUENCES_PER_MS + (number % _DAYS_AT_ONCE) * _ROOM
        return messages.select(
            "due", pl.lit(place, dtype=pl.Int32).alias("topic"), (first + within).alias("sequence"), *PLAN.names()[3:]
        ).cast(PLAN)

    def stretches(self, first: date, stop: threading.Event | None = None) -> Iterator[pl.DataFrame]:
        """Yield the messages of `first` and the days after it in the order of sending, about a day at a time.

        The next day is made while one is sent. What the days before `first` left to be sent later is not among them.

        Args:
            first: the first business date.
            stop: once it is set, no further day is begun, and there is nothing more to send.
        """
        days = (self.source.last_date - first).days + 1
        held = pl.DataFrame(schema=PLAN)
        with ThreadPoolExecutor(1) as ahead:
            coming: Future[pl.DataFrame] | None = ahead.submit(self.day, first) if days > 0 else None
            for number in range(1, days + 1):
                assert coming is not None  # noqa: S101 - submitted above or by the turn before
                new = coming.result()
                if stop is not None and stop.is_set():
                    return
                coming = ahead.submit(self.day, first + timedelta(days=number)) if number < days else None
                # Whoever is due before anything of the new day has nobody to wait for.
                if new.height and held.height:
                    bound = new["due"][0]
                    yield held.filter(pl.col("due") < bound)
                    held = held.filter(pl.col("due") >= bound)
                held = pl.concat([held, new]).sort("due", "topic", "sequence")
        yield held
