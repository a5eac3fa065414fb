"""The queries of the service: which topic, which computation, which table.

A new analysis is one more entry in `QUERIES`. Belongs here: the plan of a query. Does not belong here: the computations
(`revenue`, `pos_health`), and running them (`service`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pyspark.sql import DataFrame

from retail_assets.contracts.topics import POS_EVENTS, SALES_TRANSACTIONS, Topic
from retail_streaming import pos_health, revenue
from retail_streaming.events import accepted, counted, judged
from retail_streaming.settings import StreamingSettings
from retail_streaming.warehouse import Target

_Step = Callable[[DataFrame], DataFrame]


def _unchanged(frame: DataFrame) -> DataFrame:
    return frame


@dataclass(frozen=True)
class Query:
    """One streaming query.

    Attributes:
        name: in the log, and the name of its checkpoint; never changed, or it begins anew.
        topic: what it reads.
        target: what it writes.
        prepare: from judged events to judged rows; may add verdicts.
        changed_rows: from accepted rows to the rows to write; may keep state.
        batch_rows: from the rows of one batch to the rows to write; an ordinary frame, without state.
    """

    name: str
    topic: Topic
    target: Target
    prepare: _Step = _unchanged
    changed_rows: _Step = _unchanged
    batch_rows: _Step = _unchanged

    def plan(self, messages: DataFrame, settings: StreamingSettings) -> DataFrame:
        """Return what the query computes, from messages to changed rows."""
        events = judged(messages, self.topic.schema, clock_skew_minutes=settings.stream_clock_skew_minutes)
        rows = accepted(counted(self.prepare(events)))
        return self.changed_rows(rows.withWatermark("occurred_at", f"{settings.stream_late_minutes} minutes"))


QUERIES: Final = (
    Query(
        name="revenue_hourly",
        topic=SALES_TRANSACTIONS,
        target=Target("rt_revenue_hourly", revenue.ROWS, versioned=True),
        prepare=revenue.baskets,
        changed_rows=revenue.hourly_revenue,
    ),
    Query(
        name="pos_health",
        topic=POS_EVENTS,
        target=Target("rt_pos_health", pos_health.ROWS, versioned=False),
        batch_rows=pos_health.last_events,
    ),
)
