"""Live tills: a stream of days, sent at its own pace until somebody stops it, and taken up where it was stopped.

Belongs here: the loop that sends, stopping, and taking up. Does not belong here: the order of messages (`plan`), the
clock's arithmetic (`pacing`), what is known of earlier runs (`bookmarks`), the client (`producers`), and what is said
at the end (`live_report`).
"""

import contextlib
import dataclasses
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from retail_assets.contracts.events import (
    HEADER_CONTENT_TYPE,
    HEADER_PRODUCED_AT,
    HEADER_SCHEMA,
    HEADER_SCHEMA_VERSION,
)
from retail_assets.contracts.topics import EVENT_TOPICS, Topic
from retail_assets.simulator.scenario import SIMULATOR_VERSION, DirtRates, Scenario
from retail_assets.simulator.tills.bookmarks import Bookmarks, Progress
from retail_assets.simulator.tills.dirt import (
    DUPLICATE_AFTER_MS,
    KIND_BITS,
    LATE_MS,
    UNKNOWN_VERSION,
    DirtCounts,
    Label,
)
from retail_assets.simulator.tills.live_report import LiveError, LiveProgress, LiveReport
from retail_assets.simulator.tills.messages import HEADER_PRODUCER, HEADER_SEQUENCE
from retail_assets.simulator.tills.pacing import BySpeed, Pace
from retail_assets.simulator.tills.plan import SEQUENCES_PER_MS, DayEvents, DaySource, StreamPlan
from retail_assets.simulator.tills.producers import (
    TIMEOUT_S,
    EventProducer,
    InventoryProducer,
    PosProducer,
    ProducerError,
    SalesProducer,
)
from retail_assets.simulator.tills.wire import WireFormat

_CHUNK: Final = 5_000
#: Messages between two looks at delivery reports and at the wish to stop.
_STRIDE: Final = 250
_NAP_S: Final = 0.1
_BOOKMARK_S: Final = 5.0
_PROGRESS_S: Final = 1.0
_SECOND_MS: Final = 1_000


class Days(Protocol):
    """The part of a `Simulation` that a stream needs."""

    @property
    def scenario(self) -> Scenario:
        """What is simulated."""

    @property
    def first_day(self) -> int:
        """The first day that can be asked for, counted from the scenario's first date."""

    def approach(self, on: date) -> Iterator[date]:
        """Live through the days before a business date; yield each when it is over."""

    def day_events(self, on: date) -> DayEvents:
        """Return the events of one business date."""


@dataclass(frozen=True)
class SimulatedDays:
    """The days of a simulation, as a source of a stream.

    Attributes:
        days: the simulation.
    """

    days: Days

    @property
    def first_date(self) -> date:
        """The scenario's first date."""
        return self.days.scenario.first_date

    @property
    def last_date(self) -> date:
        """The scenario's last date."""
        return self.days.scenario.last_date

    def approach(self, on: date) -> Iterator[date]:
        """Live through the days before a business date; yield each when it is over.

        Raises:
            ProducerError: the date lies before the saved state that the simulation goes on from.
        """
        earliest = self.first_date + timedelta(days=self.days.first_day)
        if on < earliest:
            raise ProducerError(
                f"the stream needs {on}, but the saved state goes on with {earliest}: leave out --state to live "
                "through all days before"
            )
        return self.days.approach(on)

    def day(self, on: date) -> DayEvents:
        """Return the events of a business date."""
        return self.days.day_events(on)


def stream_name(scenario: Scenario, rates: DirtRates, wire: WireFormat) -> str:
    """Return the name under which a stream's messages are known: the same for a scenario with further days."""
    fields = dataclasses.asdict(scenario)
    for name in ("last_date", "days", "malformed", "duplicates", "dirt"):
        fields.pop(name, None)
    fields |= {
        "first_date": scenario.first_date.isoformat(),
        "rates": dataclasses.asdict(rates),
        "wire": wire.value,
        "simulator": SIMULATOR_VERSION,
    }
    return f"live-{hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]}"


def end_of(source: DaySource, time_zone: str) -> int:
    """Return the midnight after a source's last date, in epoch milliseconds: where its stream ends by itself."""
    after = source.last_date + timedelta(days=1)
    midnight = datetime(after.year, after.month, after.day, tzinfo=ZoneInfo(time_zone))
    return int(midnight.timestamp() * _SECOND_MS)


@dataclass(frozen=True, kw_only=True)
class LiveStream:
    """One stream to one cluster.

    Attributes:
        plan: the order of messages.
        name: what the stream is called, see `stream_name`.
        bootstrap_servers: `host:port,…`.
        timeout_s: give up after so long without an answer or any progress.
        buffered_messages: messages of a topic that may wait for the broker.
        on_progress: called about every second while messages are sent.
        on_approach: called about every second while days before the stream are lived through: the date that is over,
            how many days are, and how many there are before the stream.
    """

    plan: StreamPlan
    name: str
    bootstrap_servers: str
    timeout_s: float = TIMEOUT_S
    buffered_messages: int = 20_000
    on_progress: Callable[[LiveProgress], None] | None = None
    on_approach: Callable[[date, int, int], None] | None = None

    def run(
        self,
        since: date | None,
        until_ms: int | None,
        pace_from: Callable[[int], Pace],
        stop: threading.Event,
    ) -> LiveReport:
        """Send what isn't there yet, and return when all is sent and confirmed, or after a stop.

        Args:
            since: the business date that the stream begins with; None for the date that it began with earlier, or the
                source's last. Once something is sent, it can't be another.
            until_ms: messages that are due at or after this time are left to a later run; None for no such time.
            pace_from: gives the pace, by the time when the first message is due, in epoch milliseconds.
            stop: set by whoever wants the run to end; what is offered by then is still confirmed.

        Raises:
            LiveError: the broker went away for too long, or refuses a message.
            ProducerError: no broker, no such topic, or the topics don't hold what they should.
            ContractError: an event breaks the contract; nothing of its day was sent. What was offered before this or
                any other error that isn't the broker's is confirmed.
        """
        marks: list[Bookmarks] = []
        try:
            for topic in self.plan.topics:
                marks.append(Bookmarks(self.bootstrap_servers, topic.name, self.name, self.timeout_s))  # noqa: PERF401 - closed
            there = [mark.find() for mark in marks]
            begun = self._since(since, there)
            run = _Run(self, marks, there, begun, stop)
            return run.to_the_end(until_ms, pace_from)
        finally:
            for mark in marks:
                mark.close()

    def _since(self, wanted: date | None, there: list[Progress]) -> date:
        # Who has sent nothing is bound to nothing, whatever an earlier run had in mind.
        is_begun = any(max(progress.sequences) >= 0 for progress in there)
        known = next((progress.since for progress in there if is_begun and progress.since is not None), None)
        anew = (
            f"to begin anew, delete the topics {', '.join(topic.name for topic in self.plan.topics)} and run "
            "`retail topics apply`, or send another stream: other --dirt, another --format or another seed"
        )
        if known is not None and wanted is not None and wanted != known:
            raise ProducerError(
                f"stream {self.name} began with {known}, not {wanted}: leave out --from to go on with it; {anew}"
            )
        if is_begun and known is None and wanted is None:
            raise ProducerError(
                f"the topics hold a part of stream {self.name}, but the broker has forgotten with which date it began: "
                f"say it with --from; {anew}"
            )
        begun = known or wanted or self.plan.source.last_date
        if not self.plan.source.first_date <= begun <= self.plan.source.last_date:
            raise ProducerError(
                f"a stream of this scenario can begin between {self.plan.source.first_date} and "
                f"{self.plan.source.last_date}, not with {begun}"
            )
        return begun


class _Run:
    """One run of a stream: its producers and where it is."""

    def __init__(
        self, stream: LiveStream, marks: list[Bookmarks], there: list[Progress], since: date, stop: threading.Event
    ) -> None:
        self._stream = stream
        self._plan = stream.plan
        self._marks = marks
        self._there = there
        self._since = since
        self._stop = stop
        self._fixed = [fixed_headers(topic, stream.name, self._plan.wire) for topic in self._plan.topics]
        self._started = time.monotonic()
        self._marked_at = self._told_at = self._started
        self._due = -1
        self._last = [-1] * len(marks)
        self._found = 0
        self._to_come = 0
        kinds = (SalesProducer, InventoryProducer, PosProducer)
        self._producers: list[EventProducer] = [
            kind(
                stream.bootstrap_servers,
                topic,
                timeout_s=stream.timeout_s,
                buffered_messages=stream.buffered_messages,
                on_wait=self._tell,
            )
            for kind, topic in zip(kinds, self._plan.topics, strict=True)
        ]

    def to_the_end(self, until_ms: int | None, pace_from: Callable[[int], Pace]) -> LiveReport:
        """Send until the end or a stop; see `LiveStream.run`."""
        if not self._approach():
            return self._report()
        for mark, progress in zip(self._marks, self._there, strict=True):
            mark.begin(progress, self._since)
        try:
            self._send_all(until_ms, pace_from)
            self._flush(self._tell)
        except ProducerError as error:
            for producer in self._producers:
                producer.give_up()
            report = self._report()
            text = str(error).removesuffix("; send again to go on")
            raise LiveError(
                f"{text}. Confirmed in all: {report.total}. Of {report.unconfirmed:,} more nobody knows. Start the "
                "stream again to go on: it sends what is missing and nothing twice",
                report,
            ) from error
        except Exception:
            # It isn't the broker's fault, so what was offered can still be confirmed, and the next run told of it.
            with contextlib.suppress(ProducerError):
                self._flush(None)
            self._mark(wait=True)
            raise
        self._mark(wait=True)
        return self._report()

    def _approach(self) -> bool:
        """Live through the days before the first that something is missing of; return False if somebody stopped it."""
        first = self._first_day()
        begun: date | None = None
        for over in self._plan.source.approach(first):
            begun = begun or over
            now = time.monotonic()
            if self._stream.on_approach is not None and now - self._told_at >= _PROGRESS_S:
                self._told_at = now
                self._stream.on_approach(over, (over - begun).days + 1, (first - begun).days)
            if self._stop.is_set():
                return False
        return True

    def _send_all(self, until_ms: int | None, pace_from: Callable[[int], Pace]) -> None:
        pace: Pace | None = None
        sent = 0
        started = 0.0
        for stretch in self._plan.stretches(self._first_day(), self._stop):
            wanted = stretch if until_ms is None else stretch.filter(pl.col("due") < until_ms)
            self._to_come += stretch.height - wanted.height
            for chunk in self._missing(wanted).iter_slices(_CHUNK):
                if pace is None:
                    pace, started = pace_from(int(chunk["due"][0])), time.monotonic()
                sent = self._send(chunk, pace, sent, started)
                if self._stop.is_set():
                    return
            if self._to_come:
                return

    def _send(self, chunk: pl.DataFrame, pace: Pace, sent: int, started: float) -> int:
        """Send a chunk at its pace, as far as nobody stops; return messages sent in all."""
        due = chunk["due"].to_numpy()
        rows = list(zip(*(chunk[name].to_list() for name in chunk.columns), strict=True))
        at = 0
        while at < len(rows) and not self._stop.is_set():
            elapsed = time.monotonic() - started
            count = min(pace.ready(due[at : at + _STRIDE], sent, elapsed), _STRIDE)
            if count == 0:
                self._nap(min(pace.wait_s(int(due[at]), sent, elapsed), _NAP_S))
                continue
            self._offer(rows[at : at + count])
            at += count
            sent += count
            self._serve()
        return sent

    def _offer(self, rows: list[tuple[Any, ...]]) -> None:
        fixed, producers, last = self._fixed, self._producers, self._last
        produced_at = (HEADER_PRODUCED_AT, str(time.time_ns() // 1_000_000).encode())
        for due, topic, sequence, label, key, value in rows:
            headers = [*fixed[topic][label & KIND_BITS], (HEADER_SEQUENCE, b"%d" % sequence), produced_at]
            producers[topic].offer(key, value, headers, sequence, label)
            last[topic] = sequence
            self._due = due

    def _missing(self, stretch: pl.DataFrame) -> pl.DataFrame:
        """Leave out what the topics hold already."""
        lowest = [progress.lowest for progress in self._there]
        highest = max(max(progress.sequences) for progress in self._there)
        if stretch.is_empty() or stretch["due"][0] > highest // SEQUENCES_PER_MS:
            return stretch
        parts = []
        for place, producer in enumerate(self._producers):
            part = stretch.filter(pl.col("topic") == place)
            bounds = np.array(self._there[place].sequences)
            if part.height and part["sequence"][0] <= bounds.max():
                if lowest[place] == bounds.max():
                    part = part.filter(pl.col("sequence") > lowest[place])
                else:
                    partitions = np.array([producer.partition(key) for key in part["key"]])
                    part = part.filter(part["sequence"].to_numpy() > bounds[partitions])
            parts.append(part)
        missing = pl.concat(parts).sort("due", "topic", "sequence")
        self._found += stretch.height - missing.height
        return missing

    def _first_day(self) -> date:
        """Return the first business date that something may be missing of."""
        lowest = min(progress.lowest for progress in self._there)
        if lowest < 0:
            return self._since
        # A late event, or its repetition, of the day before may be missing, and a business date may lie a day back in
        # UTC.
        due = datetime.fromtimestamp(
            (lowest // SEQUENCES_PER_MS - LATE_MS[1] - DUPLICATE_AFTER_MS[1]) / _SECOND_MS, UTC
        ).date()
        return min(max(self._since, due - timedelta(days=1)), self._plan.source.last_date)

    def _position(self, place: int) -> int:
        """Return up to which number all messages for a topic were offered."""
        return max(self._last[place], self._due * SEQUENCES_PER_MS - 1)

    def _nap(self, seconds: float) -> None:
        self._stop.wait(seconds)
        self._serve()

    def _serve(self) -> None:
        for producer in self._producers:
            producer.serve()
        now = time.monotonic()
        if now - self._marked_at > _BOOKMARK_S:
            self._marked_at = now
            self._mark(wait=False)
        self._tell()

    def _mark(self, *, wait: bool) -> None:
        if self._due >= 0:
            for place, (mark, producer) in enumerate(zip(self._marks, self._producers, strict=True)):
                mark.update(producer, self._position(place), wait=wait)

    def _flush(self, on_progress: Callable[[], None] | None) -> None:
        for producer in self._producers:
            producer.flush(on_progress)

    def _tell(self) -> None:
        now = time.monotonic()
        if self._stream.on_progress is None or now - self._told_at < _PROGRESS_S:
            return
        self._told_at = now
        self._stream.on_progress(
            LiveProgress(
                stream_time=self._stream_time(),
                offered=sum(producer.offered for producer in self._producers),
                confirmed=sum(producer.confirmed.total() for producer in self._producers),
                waits=sum(producer.waits for producer in self._producers),
            )
        )

    def _stream_time(self) -> datetime | None:
        return datetime.fromtimestamp(self._due / _SECOND_MS, UTC) if self._due >= 0 else None

    def _report(self) -> LiveReport:
        return LiveReport(
            producer=self._stream.name,
            since=self._since,
            sent={p.topic.name: DirtCounts.of(p.confirmed) for p in self._producers},
            unconfirmed=sum(producer.outstanding for producer in self._producers),
            found=self._found,
            waits=sum(producer.waits for producer in self._producers),
            seconds=time.monotonic() - self._started,
            stream_time=self._stream_time(),
            stopped=self._stop.is_set(),
            to_come=self._to_come,
        )


def by_speed(speed: float) -> Callable[[int], Pace]:
    """Return a pace of so many seconds of the stream in a second, from the first message on."""
    return lambda start_ms: BySpeed(speed, start_ms)


def fixed_headers(topic: Topic, name: str, wire: WireFormat) -> dict[int, tuple[tuple[str, bytes], ...]]:
    """Return the headers that all messages of a kind have, by kind."""

    def headers(version: int) -> tuple[tuple[str, bytes], ...]:
        return (
            (HEADER_SCHEMA, topic.schema.name.encode()),
            (HEADER_SCHEMA_VERSION, str(version).encode()),
            (HEADER_CONTENT_TYPE, wire.content_type.encode()),
            (HEADER_PRODUCER, name.encode()),
        )

    known, unknown = headers(topic.schema.version), headers(UNKNOWN_VERSION)
    return {
        int(kind): unknown if kind == Label.UNKNOWN_VERSION else known
        for kind in (Label.EVENT, Label.DUPLICATE, Label.MALFORMED, Label.UNKNOWN_VERSION)
    }


assert len(EVENT_TOPICS) == 3  # noqa: S101, PLR2004 - one producer for each
