"""What the service measures of itself, for Prometheus.

Belongs here: names and meanings of the metrics. Does not belong here: serving them (`http_server`), judging by them.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from retail_streaming.errors import StreamingError
from retail_streaming.progress import Batch
from retail_streaming.spill import Spill
from retail_streaming.supervision import State, SupervisedQuery

_PREFIX: Final = "retail_stream"
_BY_QUERY: Final = ("query",)
_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """The metrics of one run of the service. An observer of batches."""

    def __init__(self) -> None:
        """Begin at nought."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

        def counter(name: str, about: str, labels: Sequence[str] = _BY_QUERY) -> Counter:
            return Counter(f"{_PREFIX}_{name}", about, labels, registry=self._registry)

        def gauge(name: str, about: str, labels: Sequence[str] = _BY_QUERY) -> Gauge:
            return Gauge(f"{_PREFIX}_{name}", about, labels, registry=self._registry)

        self._up = gauge("query_up", "1 while the query runs, 0 while it waits to be started again or has failed")
        self._restarts = counter("query_restarts", "How often the query was started again")
        self._failures = counter("query_failures", "How often the query ended, by reason", (*_BY_QUERY, "reason"))
        self._batches = counter("batches", "Batches that ended well")
        self._messages = counter("messages", "Messages read")
        self._left_out = counter(
            "messages_left_out", "Messages that were not used, by verdict", (*_BY_QUERY, "verdict")
        )
        self._rows = counter("rows_written", "Rows written to the warehouse, or to the disk for it")
        self._seconds = Histogram(
            f"{_PREFIX}_batch_seconds", "How long batches took", _BY_QUERY, buckets=_BUCKETS, registry=self._registry
        )
        self._last_seconds = gauge("last_batch_seconds", "How long the newest batch took")
        self._waited = counter("turn_wait_seconds", "Time that the query stood in line for its turns")
        self._since = gauge("seconds_since_last_batch", "Time since the newest batch, or since the start before any")
        self._lag = gauge("lag_messages", "Messages that waited in the topics when the newest batch began")
        self._newest = gauge("newest_event_timestamp_seconds", "Time of the newest event so far")
        self._watermark = gauge("watermark_timestamp_seconds", "Older events are late")
        self._state_rows = gauge("state_rows", "Keys in the query's state")
        self._state_bytes = gauge("state_bytes", "Memory that the query's state takes")
        self._letters = counter("dead_letters", "Messages that a contract refused", ("topic", "reason"))
        self._clock_set = counter("clock_set", "How often the machine's clock was set", ("direction",))
        self._spill_files = gauge("spill_files", "Files that wait for the warehouse", ())
        self._spill_bytes = gauge("spill_bytes", "Size of the files that wait for the warehouse", ())
        self._spilling = gauge("spilling", "1 while rows go to the disk because the warehouse is away", ())
        self._looked_at = time.monotonic()
        self._since_look = gauge("seconds_since_last_look", "Time since the newest look, or since the start", ())
        self._since_look.set_function(lambda: time.monotonic() - self._looked_at)
        self._failed_looks = counter("look_failures", "Looks that the warehouse did not answer as it should", ())
        self._failing_refreshes = gauge("failing_refreshes", "Summaries that the warehouse fails to refresh", ())
        self._looks = counter("looks", "Looks for levels of risk and anomalies", ())
        self._left_out_looks = counter(
            "looks_left_out", "Statements of a look that were left out because a query was behind", ("statement",)
        )
        self._look_seconds = gauge("last_look_seconds", "How long the newest look took", ())
        self._at_risk = gauge(
            "products_at_risk", "Products of stores by level of risk, of those ever at risk", ("level",)
        )
        self._anomalies = gauge("anomalies", "Anomalies that last, by kind", ("kind",))
        self._ended_at: dict[str, float] = {}
        self._newest_at: dict[str, float] = {}

    def watch_query(self, query: SupervisedQuery[Any]) -> None:
        """Have the figures of a query in the metrics, from before its first batch."""
        name = query.name
        self._ended_at[name] = time.monotonic()
        self._up.labels(name).set_function(lambda: float(query.state is State.RUNNING))
        self._since.labels(name).set_function(lambda: time.monotonic() - self._ended_at[name])
        for metric in (self._restarts, self._batches, self._messages, self._rows, self._seconds, self._lag):
            metric.labels(name)

    def restarted(self, query: str) -> None:
        """Take note that a query was started again."""
        self._restarts.labels(query).inc()

    def failed(self, query: str, error: StreamingError) -> None:
        """Take note that a query ended, or didn't start."""
        self._failures.labels(query, error.reason).inc()

    def clock_was_set(self, seconds: float) -> None:
        """Take note that the machine's clock was set; below 0 it was set back."""
        self._clock_set.labels("back" if seconds < 0 else "forward").inc()

    def watch_spill(self, spill: Spill) -> None:
        """Have the figures of the spilled rows in the metrics."""
        self._spill_files.set_function(lambda: spill.files)
        self._spill_bytes.set_function(lambda: spill.bytes)
        self._spilling.set_function(lambda: float(spill.active))

    def look_failed(self) -> None:
        """Take note that a look failed."""
        self._failed_looks.inc()

    def look_left_out(self, statement: str) -> None:
        """Take note that a statement was left out of a look."""
        self._left_out_looks.labels(statement).inc()

    def looked(
        self, seconds: float, products: dict[str, int], anomalies: dict[str, int], failing_refreshes: int
    ) -> None:
        """Take note of a look: its time, products by level of risk, anomalies that last by kind, and how many summaries
        the warehouse fails to refresh.
        """
        self._looked_at = time.monotonic()
        self._looks.inc()
        self._failing_refreshes.set(failing_refreshes)
        self._look_seconds.set(seconds)
        for metric, counts in ((self._at_risk, products), (self._anomalies, anomalies)):
            metric.clear()
            for name, count in counts.items():
                metric.labels(name).set(count)

    def batch(self, batch: Batch) -> None:
        """Take note of a batch that ended well."""
        name, seconds = batch.query, batch.milliseconds / 1000
        self._ended_at[name] = time.monotonic()
        self._batches.labels(name).inc()
        self._messages.labels(name).inc(batch.rows_in)
        for verdict, count in batch.left_out.items():
            self._left_out.labels(name, verdict).inc(count)
        self._rows.labels(name).inc(batch.rows_out)
        self._seconds.labels(name).observe(seconds)
        self._last_seconds.labels(name).set(seconds)
        self._waited.labels(name).inc(batch.waited)
        self._lag.labels(name).set(batch.lag)
        if batch.newest_event is not None:
            # A batch may have old events alone.
            self._newest_at[name] = max(self._newest_at.get(name, 0.0), batch.newest_event.timestamp())
            self._newest.labels(name).set(self._newest_at[name])
        if batch.watermark is not None:
            self._watermark.labels(name).set(batch.watermark.timestamp())
        self._state_rows.labels(name).set(batch.state_rows)
        self._state_bytes.labels(name).set(batch.state_bytes)

    def idle(self, query: str) -> None:
        """Nothing was waiting in the topics of a query."""
        self._lag.labels(query).set(0)

    def count_letters(self, letters: pa.Table) -> None:
        """Count the rows of `letters.refused` by topic and reason, of which there are as many as rules."""
        counts = letters.group_by(["kafka_topic", "rejection"]).aggregate([([], "count_all")])
        for row in counts.to_pylist():
            self._letters.labels(row["kafka_topic"], row["rejection"]).inc(row["count_all"])

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
