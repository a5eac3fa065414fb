"""What happens to each batch of a query: its rows are fetched and written to their tables, once or more.

Belongs here: the step from a batch to inserts and letters, and when rows are spilled instead. Does not belong here: the
insert itself (`warehouse`) and the files (`spill`).
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from threading import Event
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame

from retail_streaming.errors import StreamingError, TransientError
from retail_streaming.patience import patiently
from retail_streaming.progress import Written, WrittenBatches
from retail_streaming.queries import Output, Query
from retail_streaming.spill import Spill
from retail_streaming.turns import Turns
from retail_streaming.warehouse import Warehouse, version_of

#: An insert that takes longer is not in order.
_SILENT_SECONDS: Final = 10.0


class BatchWriter:
    """Writes the batches of one query; Spark calls it.

    Attributes:
        failure: why the last batch failed. Spark only passes on a text of it.
    """

    def __init__(
        self,
        query: Query,
        warehouse: Warehouse,
        written: WrittenBatches,
        *,
        epoch: int,
        patience: float,
        stopping: Event,
        spill: Spill,
        spill_after: float,
        turns: Turns,
        check_topics: Callable[[], None] = lambda: None,
        send_letters: Callable[[DataFrame], None] | None = None,
        count_letters: Callable[[pa.Table], None] = lambda _: None,
    ) -> None:
        """Say what to write where.

        Args:
            query: whose batches.
            warehouse: this query's own connection.
            written: told what each batch wrote.
            epoch: start time for the versions.
            patience: seconds that the warehouse or the broker may be away.
            stopping: set when the service is told to stop.
            spill: takes the rows while the warehouse is away.
            spill_after: seconds that the warehouse has to be away for that.
            turns: says when the next batch may begin.
            check_topics: makes sure that what was read is of the topics that the checkpoint is about.
            send_letters: sends rows to the topic of dead letters as well; may be done again.
            count_letters: told the rows that were sent there.
        """
        self._query = query
        self._warehouse = warehouse
        self._written = written
        self._epoch = epoch
        self._patience = patience
        self._stopping = stopping
        self._spill = spill
        self._spill_after = spill_after
        self._turns = turns
        self._check_topics = check_topics
        self._send_letters = send_letters
        self._count_letters = count_letters
        self.failure: StreamingError | None = None
        self._waiting: TransientError | None = None
        self._asked_at: float | None = None

    @property
    def waiting(self) -> TransientError | None:
        """Why the running batch is held up; None when it isn't. A warehouse that hangs says nothing for a long time."""
        asked_at = self._asked_at
        if asked_at is not None and (silent := time.monotonic() - asked_at) > _SILENT_SECONDS:
            return TransientError(f"the warehouse has not answered for {silent:.0f} seconds")
        return self._waiting

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Write one batch.

        The rows come to this process: they are as many as keys that changed, not as many as messages.

        Raises:
            StreamingError: the warehouse or the broker refuses, or is away for too long. The query ends; its checkpoint
                has the batch still, and the next start writes it.
        """
        name = self._query.name
        self.failure = None
        self._turns.begun(name)
        # Read twice when letters go to two places.
        kept = batch.persist() if self._send_letters else batch
        try:
            rows = kept.toArrow()
            # What is left to do is the broker's and the warehouse's.
            self._turns.over(name)
            self._patiently(self._check_topics, "topics' ids from the broker")
            if rows.num_rows and self._send_letters is not None:
                self._patiently(partial(self._send_letters, kept), "dead letters to the broker")
            written = sum(self._write(output, rows, batch_id) for output in self._query.outputs)
        except StreamingError as error:
            self.failure = error
            raise
        finally:
            if self._send_letters:
                kept.unpersist()
            self._turns.over(name)
            self._waiting = None
        if self._send_letters:
            self._count_letters(rows)
        waited = self._turns.wait(name, self._stopping, keeps=self._query.every_triggers == 1)
        self._written.note(name, batch_id, Written(written, waited))

    def _write(self, output: Output, changed: pa.Table, batch_id: int) -> int:
        rows = output.rows(changed)
        if len(rows):
            target, version = output.target, version_of(self._epoch, batch_id)
            stamped = target.stamped(rows, version, datetime.now(UTC))
            begun = time.monotonic()
            self._patiently(
                lambda: self._insert_or_spill(target.table, stamped, version, begun), f"write to {target.table}"
            )
        return len(rows)

    def _insert_or_spill(self, table: str, rows: pa.Table, version: int, begun: float) -> None:
        """Insert rows, or put them on the disk: at once while others wait there, else when it has taken too long."""
        save = partial(self._spill.save, self._query.name, table, version, rows)
        if self._spill.active and save():
            return
        self._asked_at = time.monotonic()
        try:
            self._warehouse.insert(table, rows)
        except TransientError:
            if time.monotonic() - begun >= self._spill_after and save():
                return
            raise
        finally:
            self._asked_at = None

    def _patiently(self, attempt: Callable[[], None], what: str) -> None:
        def once() -> None:
            try:
                attempt()
            except TransientError as error:
                self._waiting = error
                raise
            self._waiting = None

        patiently(once, what=what, seconds=self._patience, stopping=self._stopping)
