"""The life of the service: make sure that everything is there, start the queries, watch them, stop them well.

Belongs here: the order of things and signals. Does not belong here: what a query computes (`queries`).
"""

import logging
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from types import FrameType
from typing import Any, Final

from py4j.protocol import Py4JError, Py4JNetworkError  # type: ignore[import-untyped]
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from retail_streaming import session
from retail_streaming.broker import read_topic, require_topics
from retail_streaming.errors import StreamingError, TransientError
from retail_streaming.failures import explain
from retail_streaming.logs import log
from retail_streaming.patience import FIRST_PAUSE, LONGEST_PAUSE, patiently
from retail_streaming.progress import ProgressLog, RowsWritten
from retail_streaming.queries import QUERIES, Query
from retail_streaming.settings import StreamingSettings
from retail_streaming.warehouse import Warehouse
from retail_streaming.writer import BatchWriter

_LOOK_SECONDS: Final = 0.25
#: How long a running batch may take to end after SIGTERM; then it is cut off, and written by the next start.
_FINISH_SECONDS: Final = 30.0


@dataclass
class _Running:
    """A query with what is needed to watch it and to start it again."""

    query: Query
    writer: BatchWriter
    stream: StreamingQuery
    checkpoint: str
    #: When it last failed for a passing reason, without a good batch since; None after a good batch.
    failing_since: float | None = None
    pause: float = FIRST_PAUSE

    def last_batch(self) -> int:
        """Return the number of the last batch that is over; -1 when there is none since the start."""
        progress: Any = self.stream.lastProgress
        return int(progress["batchId"]) if progress else -1


class Service:
    """One run of the service."""

    def __init__(self, settings: StreamingSettings, queries: Sequence[Query] = QUERIES) -> None:
        """Say what to run."""
        self._settings = settings
        self._queries = queries
        self._stopping = Event()
        self._written = RowsWritten()
        self._running: list[_Running] = []
        self._signal = ""

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, or until something fails that doesn't pass.

        Raises:
            StreamingError: what failed.
        """
        self._listen_to_signals()
        spark = session.start(self._settings)
        # Spark has put its own handler of SIGINT in place, which would cut off the batch.
        self._listen_to_signals()
        try:
            self._run(spark)
        except (Py4JNetworkError, ConnectionError) as error:
            raise StreamingError("Spark's JVM has ended: its last words are above; start the service again") from error
        finally:
            self._end(spark)

    def _run(self, spark: SparkSession) -> None:
        patience = self._settings.stream_patience_seconds
        epoch = patiently(lambda: self._require_all(spark), what="start", seconds=patience, stopping=self._stopping)
        if self._stopping.is_set():
            return
        spark.streams.addListener(ProgressLog(self._written))
        for query in self._queries:
            self._running.append(self._start(spark, query, epoch))
        log(logging.INFO, "service started", queries=[query.name for query in self._queries], epoch=epoch)
        while not self._stopping.wait(_LOOK_SECONDS):
            for running in self._running:
                self._watch(spark, running)
        log(logging.INFO, "stopping", signal=self._signal)
        for running in self._running:
            self._finish(running)

    def _require_all(self, spark: SparkSession) -> int:
        return require_all(spark, self._settings, self._queries)

    def _start(self, spark: SparkSession, query: Query, epoch: int) -> _Running:
        writer = BatchWriter(
            query,
            Warehouse(self._settings),
            self._written,
            epoch=epoch,
            patience=self._settings.stream_patience_seconds,
            stopping=self._stopping,
        )
        checkpoint = self._settings.checkpoint_of(query.name)
        return _Running(query, writer, self._stream(spark, query, writer, checkpoint), checkpoint)

    def _stream(self, spark: SparkSession, query: Query, writer: BatchWriter, checkpoint: str) -> StreamingQuery:
        return (
            query.plan(read_topic(spark, self._settings, query.topic), self._settings)
            .writeStream.queryName(query.name)
            .outputMode("update")
            .option("checkpointLocation", checkpoint)
            .trigger(processingTime=f"{round(self._settings.stream_trigger_seconds * 1000)} milliseconds")
            .foreachBatch(writer)
            .start()
        )

    def _watch(self, spark: SparkSession, running: _Running) -> None:
        """Start a query again that ended for a passing reason; raise what doesn't pass.

        Raises:
            StreamingError: the query ended and will not go on by itself.
        """
        if running.stream.isActive:
            if running.failing_since is not None and running.last_batch() >= 0:
                running.failing_since, running.pause = None, FIRST_PAUSE
            return
        error = self._why(running)
        now = time.monotonic()
        running.failing_since = running.failing_since or now
        passed = now - running.failing_since
        # The writer has been patient already.
        if running.writer.failure or not isinstance(error, TransientError):
            raise error
        if passed > self._settings.stream_patience_seconds:
            raise error
        log(logging.WARNING, "starting query again", query=running.query.name, error=str(error), pause=running.pause)
        self._stopping.wait(running.pause)
        running.pause = min(running.pause * 2, LONGEST_PAUSE)
        if not self._stopping.is_set():
            running.stream = self._stream(spark, running.query, running.writer, running.checkpoint)

    def _why(self, running: _Running) -> StreamingError:
        if running.writer.failure is not None:
            return running.writer.failure
        name = running.query.name
        exception = running.stream.exception()
        if exception is None:
            return StreamingError(f"{name} was stopped by someone else")
        return explain(str(exception), query=name, topic=running.query.topic.name, checkpoint=running.checkpoint)

    def _finish(self, running: _Running) -> None:
        """Let the running batch end, then stop the query.

        A next batch that begins in between is cut off: it is in the checkpoint and is written by the next start.
        """
        before = running.last_batch()
        deadline = time.monotonic() + _FINISH_SECONDS
        while running.stream.isActive and running.stream.status["isTriggerActive"] and running.last_batch() == before:
            if time.monotonic() > deadline:
                log(logging.WARNING, "batch cut off", query=running.query.name, waited_seconds=_FINISH_SECONDS)
                break
            time.sleep(_LOOK_SECONDS)
        running.stream.stop()
        log(logging.INFO, "query stopped", query=running.query.name, batch=running.last_batch())

    def _end(self, spark: SparkSession) -> None:
        try:
            for running in self._running:
                running.stream.stop()
            spark.stop()
        except (Py4JError, ConnectionError):
            log(logging.WARNING, "Spark did not stop by itself")

    def _listen_to_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # Nothing is logged in here: it may interrupt a line that is being written.
        self._signal = signal.Signals(number).name
        self._stopping.set()


def require_all(spark: SparkSession, settings: StreamingSettings, queries: Sequence[Query] = QUERIES) -> int:
    """Make sure that the broker, the topics, the warehouse and its tables are there.

    Returns:
        The start time that goes into this run's versions.

    Raises:
        TransientError: the broker or the warehouse doesn't answer.
        StreamingError: something that doesn't pass.
    """
    require_topics(spark, settings, [query.topic for query in queries])
    warehouse = Warehouse(settings)
    try:
        targets = [query.target for query in queries]
        warehouse.require_tables(targets)
        return warehouse.epoch(targets)
    finally:
        warehouse.close()
