"""One log line per batch, put together from what Spark reports and what the writer wrote.

Does not belong here: deciding anything by it.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from pyspark.sql.streaming.listener import (
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
)

from retail_streaming.events import COUNTS, VERDICTS
from retail_streaming.logs import log


class RowsWritten:
    """How many rows each batch wrote: told by the writer, asked by the log."""

    def __init__(self) -> None:
        """Begin with no batch."""
        self._rows: dict[tuple[str, int], int] = {}
        self._lock = Lock()

    def note(self, query: str, batch_id: int, rows: int) -> None:
        """Remember a batch. A batch that is written again replaces itself here as well."""
        with self._lock:
            self._rows[query, batch_id] = rows

    def take(self, query: str, batch_id: int) -> int:
        """Return a batch's rows and forget it."""
        with self._lock:
            return self._rows.pop((query, batch_id), 0)


def batch_line(progress: Mapping[str, Any], counts: Mapping[str, Any], rows_out: int) -> dict[str, Any]:
    """Return the fields of a batch's line.

    Args:
        progress: what Spark reports of a batch.
        counts: the batch's `COUNTS`.
        rows_out: rows written.
    """
    newest_ms = counts.get("max_event_ms")
    return {
        "query": progress["name"],
        "batch": progress["batchId"],
        "rows_in": progress["numInputRows"],
        **{verdict: counts.get(verdict) or 0 for verdict in VERDICTS},
        # An event that is late for the first operator with state never reaches the next.
        "late": sum(operator["numRowsDroppedByWatermark"] for operator in progress["stateOperators"]),
        "rows_out": rows_out,
        "ms": progress["durationMs"].get("triggerExecution", 0),
        "max_event_at": None if newest_ms is None else _instant(newest_ms),
        "watermark": progress["eventTime"].get("watermark"),
    }


def _instant(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


class ProgressLog(StreamingQueryListener):
    """Writes the lines."""

    def __init__(self, written: RowsWritten) -> None:
        """Take the writers' notes."""
        self._written = written

    def onQueryStarted(self, event: QueryStartedEvent) -> None:  # noqa: N802 -- Spark's name
        """Say so."""
        log(logging.INFO, "query started", query=event.name, id=event.id, run=event.runId)

    def onQueryProgress(self, event: QueryProgressEvent) -> None:  # noqa: N802 -- Spark's name
        """Say how a batch went; one that only moved the watermark is not worth a line."""
        progress = event.progress
        observed = progress.observedMetrics.get(COUNTS)
        counts = observed.asDict() if observed is not None else {}
        rows_out = self._written.take(str(progress.name), progress.batchId)
        line = batch_line(progress, counts, rows_out)
        if line["rows_in"] or rows_out:
            log(logging.WARNING if line["late"] else logging.INFO, "batch", **line)

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802 -- Spark's name
        """Leave it to the service, which knows why."""
