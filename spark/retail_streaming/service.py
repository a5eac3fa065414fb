"""The life of the service: make sure that everything is there, start the queries, watch them, stop them well.

Belongs here: the order of things and signals. Does not belong here: what a query computes (`queries`), and what becomes
of one that ends (`supervision`).
"""

import logging
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from threading import Event
from types import FrameType
from typing import Any, Final

from py4j.protocol import Py4JError, Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from retail_assets.contracts.topics import Topic
from retail_streaming import looks, session
from retail_streaming.background import keep_doing
from retail_streaming.broker import TopicAdmin, read_topics, send_letters
from retail_streaming.checkpoints import HadoopFolder, TopicsOfCheckpoint
from retail_streaming.clock import ClockWatch
from retail_streaming.ending import CUT_OFF_SECONDS, STOP_SECONDS, cut_off_unless, finish, within
from retail_streaming.errors import MessagesLostError, StreamingError, UnknownError
from retail_streaming.failures import explain
from retail_streaming.forgetting import Forgetting
from retail_streaming.health import Health
from retail_streaming.http_server import HttpServer
from retail_streaming.logs import log
from retail_streaming.metrics import Metrics
from retail_streaming.patience import patiently
from retail_streaming.progress import ProgressReports, WrittenBatches
from retail_streaming.progress_rows import ProgressRows
from retail_streaming.queries import QUERIES, Query
from retail_streaming.settings import StreamingSettings
from retail_streaming.spill import Spill
from retail_streaming.store_clock import write_store_clock
from retail_streaming.supervision import State, SupervisedQuery
from retail_streaming.turns import Turns
from retail_streaming.warehouse import Warehouse, version_epoch
from retail_streaming.writer import BatchWriter

_LOOK_SECONDS: Final = 0.25
#: How long the last words may take: they are not worth waiting for a broker or a warehouse that is away.
_LAST_WORDS_SECONDS: Final = 3.0


class Service:
    """One run of the service."""

    def __init__(self, settings: StreamingSettings, queries: Sequence[Query] = QUERIES) -> None:
        """Say what to run."""
        self._settings = settings
        self._queries = queries
        self._stopping = Event()
        self._ended = Event()
        self._written = WrittenBatches()
        self._spill = Spill(settings.spill_dir, settings.stream_spill_max_mb)
        self._health = Health(self._spill)
        self._metrics = Metrics()
        self._progress_rows = ProgressRows()
        self._supervised: list[SupervisedQuery[StreamingQuery]] = []
        self._clock = ClockWatch()
        self._forgetting = Forgetting(Warehouse(settings), self._spill.holds)
        self._signal = ""

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, or until nothing is left to run.

        Raises:
            StreamingError: what failed: the start, Spark, all queries, or some of them before the signal came.
        """
        self._listen_to_signals()
        # Before Spark: a port that is taken should be said at once.
        server = self._serve()
        cut_off_unless(self._ended, self._stopping, CUT_OFF_SECONDS)
        try:
            spark = session.start(self._settings)
            # Spark has put its own handler of SIGINT in place, which would cut off the batch.
            self._listen_to_signals()
            try:
                self._run(spark)
            except Py4JJavaError:
                raise
            except (Py4JError, ConnectionError) as error:
                # Of a JVM that died in the middle of an answer py4j only says that the call failed.
                raise StreamingError(
                    "Spark's JVM has ended: its last words are above; start the service again"
                ) from error
            finally:
                self._end(spark)
        finally:
            if server is not None:
                server.close()
            self._ended.set()

    def _serve(self) -> HttpServer | None:
        host, port = self._settings.stream_http_host, self._settings.stream_http_port
        self._metrics.watch_spill(self._spill)
        return HttpServer(host, port, self._health, self._metrics) if port else None

    def _run(self, spark: SparkSession) -> None:
        patience = self._settings.stream_patience_seconds
        epoch = patiently(lambda: self._require_all(spark), what="start", seconds=patience, stopping=self._stopping)
        if self._stopping.is_set():
            return
        self._start_background_work()
        admin = TopicAdmin(spark, self._settings)
        at_once = self._settings.stream_at_once or spark.sparkContext.defaultParallelism
        turns = Turns(at_once, grace=self._settings.stream_trigger_seconds)
        observers = (self._health, self._metrics, self._progress_rows, self._forgetting)
        spark.streams.addListener(ProgressReports(self._written, observers))
        for query in self._queries:
            if self._stopping.is_set():
                break
            supervised = self._supervise(spark, query, epoch, admin, turns)
            self._supervised.append(supervised)
            supervised.start(time.monotonic())
        log(logging.INFO, "service started", queries=[query.name for query in self._queries], epoch=epoch)
        self._watch()
        log(logging.INFO, "stopping", signal=self._signal)
        self._health.stopping()
        finish({one.name: one.stream for one in self._supervised if one.stream is not None})
        within(_LAST_WORDS_SECONDS, {"broker": admin.close, "progress": self._write_last_progress})
        if failures := self._failures():
            raise StreamingError(f"some queries had failed: {failures}")

    def _watch(self) -> None:
        """Watch the queries and the clock until the service is told to stop.

        Raises:
            StreamingError: all queries have failed.
        """
        while not self._stopping.wait(_LOOK_SECONDS):
            self._look_at_the_clock()
            for supervised in self._supervised:
                supervised.look(time.monotonic())
            self._health.turned()
            if all(supervised.state is State.FAILED for supervised in self._supervised):
                raise StreamingError(f"all queries have failed: {self._failures()}")

    def _look_at_the_clock(self) -> None:
        set_by = self._clock.look()
        if set_by:
            log(logging.WARNING, "clock was set", seconds=round(set_by, 1))
            self._metrics.clock_was_set(set_by)
        if set_by < 0:
            # Spark would wait with the next batch until the clock is where it was.
            for supervised in self._supervised:
                supervised.start_anew()

    def _failures(self) -> str:
        return "; ".join(f"{one.name} ({one.error})" for one in self._supervised if one.state is State.FAILED)

    def _require_all(self, spark: SparkSession) -> int:
        """Return the start time for the versions: above those in the tables, and those that wait on the disk."""
        return max(require_all(spark, self._settings, self._queries), version_epoch(0, self._spill.newest_version()))

    def _start_background_work(self) -> None:
        for_spill, for_progress = Warehouse(self._settings), Warehouse(self._settings)
        keep_doing("spill", lambda: self._spill.drain(for_spill.insert), self._stopping)
        keep_doing(
            "progress", lambda: self._progress_rows.write(for_progress.insert, datetime.now(UTC)), self._stopping
        )
        keep_doing("forgetting", self._forgetting.turn, self._stopping)
        for_hours = Warehouse(self._settings)
        keep_doing("store clock", lambda: write_store_clock(for_hours), self._stopping)
        if self._settings.stream_look_seconds:
            look = looks.Looks(self._settings, Warehouse(self._settings), self._metrics, self._health.behind)
            keep_doing("looks", look.turn, self._stopping)

    def _write_last_progress(self) -> None:
        # Not worth waiting for a warehouse that is away.
        if not self._spill.active:
            with suppress(StreamingError):
                self._progress_rows.write(Warehouse(self._settings).insert, datetime.now(UTC), all_rows=True)

    def _supervise(
        self, spark: SparkSession, query: Query, epoch: int, admin: TopicAdmin, turns: Turns
    ) -> SupervisedQuery[StreamingQuery]:
        letters_to = query.letters_to
        checkpoint = self._settings.checkpoint_of(query.name)
        folder = HadoopFolder(spark, checkpoint)
        topics = TopicsOfCheckpoint(query.name, query.topics, checkpoint, folder, lambda: admin.ids(query.topics))

        def begin() -> None:
            topics.begin()
            self._forgetting.begin(query.name, query.targets, checkpoint, folder, epoch)

        writer = BatchWriter(
            query,
            Warehouse(self._settings),
            self._written,
            epoch=epoch,
            patience=self._settings.stream_patience_seconds,
            stopping=self._stopping,
            spill=self._spill,
            spill_after=self._settings.stream_spill_after_seconds,
            turns=turns,
            check_topics=topics.check,
            send_letters=None if letters_to is None else lambda rows: send_letters(rows, self._settings, letters_to),
            count_letters=self._metrics.count_letters,
        )
        supervised = SupervisedQuery(
            query.name,
            lambda: self._stream(spark, query, writer, begin),
            lambda stream: self._why(query, writer, stream, topics),
            restarts=self._settings.stream_restarts,
            on_restart=lambda: self._metrics.restarted(query.name),
            on_failure=lambda error: self._metrics.failed(query.name, error),
        )
        self._metrics.watch_query(supervised)
        self._health.watch_query(supervised, lambda: writer.waiting)
        return supervised

    def _stream(
        self, spark: SparkSession, query: Query, writer: BatchWriter, begin: Callable[[], None]
    ) -> StreamingQuery:
        writer.failure = None
        # Taken over by the query's own thread: jobs within a pool stand in line, pools take turns.
        spark.sparkContext.setLocalProperty("spark.scheduler.pool", query.name)
        pause_ms = round(self._settings.stream_trigger_seconds * 1000)
        try:
            begin()
            messages = read_topics(spark, self._settings, query.topics, every_triggers=query.every_triggers)
            return (
                query.plan(messages, self._settings)
                .writeStream.queryName(query.name)
                .outputMode("update")
                .option("checkpointLocation", self._settings.checkpoint_of(query.name))
                .trigger(processingTime=f"{pause_ms} milliseconds")
                .foreachBatch(writer)
                .start()
            )
        except (PySparkException, Py4JJavaError) as error:
            raise self._explained(query, str(error)) from error

    def _why(
        self, query: Query, writer: BatchWriter, stream: StreamingQuery, topics: TopicsOfCheckpoint
    ) -> StreamingError:
        if writer.failure is not None:
            return writer.failure
        exception = stream.exception()
        if exception is None:
            return UnknownError(f"{query.name} was stopped by someone else")
        error = self._explained(query, f"{exception}\n{causes(stream)}")
        if isinstance(error, MessagesLostError):
            try:
                topics.check()
            except StreamingError as better:
                return better
        return error

    def _explained(self, query: Query, text: str) -> StreamingError:
        topics = ", ".join(topic.name for topic in query.topics)
        return explain(text, query=query.name, topic=topics, checkpoint=self._settings.checkpoint_of(query.name))

    def _end(self, spark: SparkSession) -> None:
        def end() -> None:
            for supervised in self._supervised:
                if supervised.stream is not None:
                    supervised.stream.stop()
            spark.stop()

        try:
            hangs = within(STOP_SECONDS, {"Spark": end})
        except (Py4JError, ConnectionError):
            hangs = ["Spark"]
        if hangs:
            log(logging.WARNING, "Spark did not stop by itself")

    def _listen_to_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # Nothing is logged in here: it may interrupt a line that is being written.
        self._signal = signal.Signals(number).name
        self._stopping.set()


def causes(stream: StreamingQuery) -> str:
    """Return Java's exception that ended a query, with its causes and stacks: pyspark passes on the message alone."""
    java_query: Any = stream._jsq  # noqa: SLF001
    jvm: Any = SparkSession.active()._jvm  # noqa: SLF001
    return str(jvm.org.apache.commons.lang3.exception.ExceptionUtils.getStackTrace(java_query.exception().get()))


def require_all(spark: SparkSession, settings: StreamingSettings, queries: Sequence[Query] = QUERIES) -> int:
    """Make sure that the broker, the topics, the warehouse and its tables are there.

    Returns:
        The start time that goes into this run's versions.

    Raises:
        TransientError: the broker or the warehouse doesn't answer.
        StreamingError: something that doesn't pass.
    """
    with closing(TopicAdmin(spark, settings)) as admin:
        admin.require(topics_of(queries))
    warehouse = Warehouse(settings)
    try:
        targets = [target for query in queries for target in query.targets]
        warehouse.require_tables([*(target.table for target in targets), *looks.TABLES])
        return warehouse.epoch(targets)
    finally:
        warehouse.close()


def topics_of(queries: Sequence[Query]) -> list[Topic]:
    """Return the topics that queries read or write, each once."""
    named = [(*query.topics, *([query.letters_to] if query.letters_to else [])) for query in queries]
    return list({topic.name: topic for topics in named for topic in topics}.values())
