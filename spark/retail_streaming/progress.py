"""What there is to say of each batch, put together from what Spark reports and what the writer wrote.

Belongs here: the figures of a batch, and its log line. Does not belong here: what else is made of them (`metrics`,
`progress_rows`, `health`), and deciding anything by them.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Final, Protocol
from uuid import UUID

from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
)

from retail_streaming.events import AHEAD, COUNTS, VERDICTS
from retail_streaming.logs import log

#: Verdict on an event that is behind the watermark: Spark's, not ours.
LATE: Final = "late"
_NO_EVENT_YET: Final = "1970-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Written:
    """What only the writer knows of a batch.

    Attributes:
        rows: how many it wrote.
        waited: seconds that it was held up afterwards, for the next one's turn; Spark takes them for the batch's own.
    """

    rows: int = 0
    waited: float = 0


class WrittenBatches:
    """What each batch wrote: told by the writer, asked by the log."""

    def __init__(self) -> None:
        """Begin with no batch."""
        self._batches: dict[tuple[str, int], Written] = {}
        self._lock = Lock()

    def note(self, query: str, batch_id: int, written: Written) -> None:
        """Remember a batch. A batch that is written again replaces itself here as well."""
        with self._lock:
            self._batches[query, batch_id] = written

    def take(self, query: str, batch_id: int) -> Written:
        """Return what is known of a batch and forget it."""
        with self._lock:
            return self._batches.pop((query, batch_id), Written())


@dataclass(frozen=True)
class Batch:
    """The figures of one batch.

    Attributes:
        query: whose it is.
        number: of the batch.
        rows_in: messages read.
        left_out: messages that were not used, by verdict; `late` is one here.
        rows_out: rows written.
        milliseconds: from the look at the topics to the end of the batch, without waiting for the next one's turn.
        waited: seconds that it then stood in line for the next one's turn.
        lag: messages that waited in the topics when it began, and are not in it.
        newest_event: time of the newest event that was used; None where there was none.
        watermark: older events are late; None where the query has none, or no event yet.
        state_rows: keys in the query's state after it.
        state_bytes: memory that the state takes.
    """

    query: str
    number: int
    rows_in: int
    left_out: Mapping[str, int]
    rows_out: int
    milliseconds: int
    waited: float
    lag: int
    newest_event: datetime | None
    watermark: datetime | None
    state_rows: int
    state_bytes: int


def batch_of(progress: Mapping[str, Any], counts: Mapping[str, Any], written: Written) -> Batch:
    """Return the figures of a batch.

    Args:
        progress: what Spark reports of it.
        counts: its `COUNTS`.
        written: what the writer says of it.
    """
    operators = progress["stateOperators"]
    newest_ms = counts.get("max_event_ms")
    watermark = progress["eventTime"].get("watermark")
    return Batch(
        query=progress["name"],
        number=progress["batchId"],
        rows_in=progress["numInputRows"],
        left_out={
            **{verdict: counts.get(verdict) or 0 for verdict in VERDICTS},
            # An event that is late for the first operator with state never reaches the next.
            LATE: sum(operator["numRowsDroppedByWatermark"] for operator in operators),
        },
        rows_out=written.rows,
        milliseconds=max(progress["durationMs"].get("triggerExecution", 0) - round(written.waited * 1000), 0),
        waited=written.waited,
        lag=sum(_lag(source["endOffset"], source["latestOffset"]) for source in progress["sources"]),
        newest_event=None if newest_ms is None else datetime.fromtimestamp(newest_ms / 1000, UTC),
        watermark=None if watermark in {None, _NO_EVENT_YET} else datetime.fromisoformat(str(watermark)),
        state_rows=sum(operator["numRowsTotal"] for operator in operators),
        state_bytes=sum(operator["memoryUsedBytes"] for operator in operators),
    )


def batch_line(batch: Batch) -> dict[str, Any]:
    """Return the fields of a batch's log line."""
    return {
        "query": batch.query,
        "batch": batch.number,
        "rows_in": batch.rows_in,
        **batch.left_out,
        "rows_out": batch.rows_out,
        "ms": batch.milliseconds,
        "lag": batch.lag,
        "max_event_at": _instant(batch.newest_event),
        "watermark": _instant(batch.watermark),
    }


def batch_level(batch: Batch) -> int:
    """Return the level of a batch's log line: a warning when an event was left out for its time alone.

    Such an event is in no table here. Of what is refused there is a dead letter.
    """
    return logging.WARNING if batch.left_out[LATE] or batch.left_out[AHEAD] else logging.INFO


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def _lag(end: str, latest: str) -> int:
    """Return how many messages lie between two positions: by topic, by partition, the next offset."""
    reached = _offsets(end)
    return sum(
        max(offset - reached.get(topic, {}).get(partition, 0), 0)
        for topic, partitions in _offsets(latest).items()
        for partition, offset in partitions.items()
    )


def _offsets(text: str) -> dict[str, dict[str, int]]:
    # Java's null arrives as Python's word for it.
    return {} if text in {"None", "null"} else dict(json.loads(text))


class Observer(Protocol):
    """Is told how the queries get on. Called in the thread that Spark reports in, so it has to be quick."""

    def batch(self, batch: Batch) -> None:
        """Take note of a batch that ended well."""

    def idle(self, query: str) -> None:
        """Take note that a query looked into its topics and found nothing new."""


class ProgressReports(StreamingQueryListener):
    """Writes a line per batch, and tells the observers."""

    def __init__(self, written: WrittenBatches, observers: Sequence[Observer] = ()) -> None:
        """Take the writers' notes."""
        self._written = written
        self._observers = observers
        self._names: dict[UUID, str] = {}

    def onQueryStarted(self, event: QueryStartedEvent) -> None:  # noqa: N802 -- Spark's name
        """Say so."""
        self._names[event.runId] = str(event.name)
        log(logging.INFO, "query started", query=event.name, id=event.id, run=event.runId)

    def onQueryProgress(self, event: QueryProgressEvent) -> None:  # noqa: N802 -- Spark's name
        """Say how a batch went; one that only moved the watermark is not worth a line."""
        progress = event.progress
        observed = progress.observedMetrics.get(COUNTS)
        counts = observed.asDict() if observed is not None else {}
        batch = batch_of(progress, counts, self._written.take(str(progress.name), progress.batchId))
        if batch.rows_in or batch.rows_out:
            log(batch_level(batch), "batch", **batch_line(batch))
        for observer in self._observers:
            observer.batch(batch)

    def onQueryIdle(self, event: QueryIdleEvent) -> None:  # noqa: N802 -- Spark's name
        """Pass it on; an idle query is in order."""
        for observer in self._observers:
            observer.idle(self._names[event.runId])

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802 -- Spark's name
        """Leave it to the service, which knows why."""
        self._names.pop(event.runId, None)
