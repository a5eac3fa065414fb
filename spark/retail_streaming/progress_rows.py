"""`rt_query_progress`: how the queries get on, as rows in the warehouse, for people who look at dashboards.

A convenience: whatever becomes of these rows, no query waits for them or fails by them. Does not belong here: metrics
for machines (`metrics`).
"""

import logging
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Final

import pyarrow as pa

from retail_streaming.errors import StreamingError
from retail_streaming.events import VERDICTS
from retail_streaming.logs import log
from retail_streaming.progress import LATE, Batch
from retail_streaming.spill import Insert

TABLE: Final = "rt_query_progress"
#: What one row is about.
STRETCH: Final = timedelta(seconds=10)
#: While the warehouse is away as many rows are kept, the newest: half an hour of ten queries.
_MOST_ROWS: Final = 1800

_COUNT: Final = pa.uint64()
_INSTANT: Final = pa.timestamp("ms", tz="UTC")
#: What the table holds.
SCHEMA: Final = pa.schema(
    [
        pa.field("query", pa.string()),
        pa.field("at", pa.timestamp("s", tz="UTC")),
        pa.field("batch", _COUNT),
        pa.field("batches", pa.uint32()),
        pa.field("rows_in", _COUNT),
        *[pa.field(verdict, _COUNT) for verdict in (*VERDICTS, LATE)],
        pa.field("rows_out", _COUNT),
        pa.field("longest_batch_ms", pa.uint32()),
        pa.field("lag", _COUNT),
        pa.field("newest_event_at", _INSTANT),
        pa.field("watermark", _INSTANT),
        pa.field("state_rows", _COUNT),
        pa.field("state_bytes", _COUNT),
        pa.field("updated_at", _INSTANT),
    ]
)
_SUMS: Final = ("batches", "rows_in", *VERDICTS, LATE, "rows_out")


class ProgressRows:
    """Gathers batches into rows and writes those that are complete. An observer of batches."""

    def __init__(self) -> None:
        """Begin without rows."""
        self._lock = Lock()
        self._rows: dict[tuple[datetime, str], dict[str, Any]] = {}
        self._newest: dict[str, datetime] = {}
        self._fails = False

    def batch(self, batch: Batch) -> None:
        """Take note of a batch that ended well."""
        self.add(batch, datetime.now(UTC))

    def idle(self, query: str) -> None:
        """A stretch without a batch has no row."""

    def add(self, batch: Batch, now: datetime) -> None:
        """Add a batch that ended `now` to its stretch."""
        at = datetime.fromtimestamp(now.timestamp() // STRETCH.total_seconds() * STRETCH.total_seconds(), UTC)
        with self._lock:
            seen = [moment for moment in (batch.newest_event, self._newest.get(batch.query)) if moment is not None]
            if seen:
                self._newest[batch.query] = max(seen)
            row = self._rows.setdefault((at, batch.query), {**dict.fromkeys(_SUMS, 0), "longest_batch_ms": 0})
            added = {"batches": 1, "rows_in": batch.rows_in, "rows_out": batch.rows_out, **batch.left_out}
            row.update({name: row[name] + added[name] for name in _SUMS})
            row.update(
                query=batch.query,
                at=at,
                batch=batch.number,
                longest_batch_ms=max(row["longest_batch_ms"], batch.milliseconds),
                lag=batch.lag,
                newest_event_at=self._newest.get(batch.query),
                watermark=batch.watermark,
                state_rows=batch.state_rows,
                state_bytes=batch.state_bytes,
                updated_at=now,
            )
            while len(self._rows) > _MOST_ROWS:
                del self._rows[min(self._rows)]

    def write(self, insert: Insert, now: datetime, *, all_rows: bool = False) -> None:
        """Insert the rows that are complete.

        Args:
            insert: inserts rows into a table.
            now: rows whose stretch ended before it are complete.
            all_rows: also those that aren't, since no more batches come.

        Raises:
            StreamingError: the warehouse doesn't take them; said once until it does. They are kept for the next time.
        """
        with self._lock:
            ready = {key: row for key, row in self._rows.items() if all_rows or key[0] + STRETCH <= now}
        if not ready:
            return
        try:
            insert(TABLE, pa.Table.from_pylist(list(ready.values()), SCHEMA))
        except StreamingError as error:
            if not self._fails:
                self._fails = True
                log(logging.WARNING, "progress not written", table=TABLE, error=str(error))
            raise
        self._fails = False
        with self._lock:
            for key in ready:
                self._rows.pop(key, None)
