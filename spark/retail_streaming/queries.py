"""The queries of the service: which topics, which computation, which tables.

Each is on its own: it has its checkpoint, and when it fails the others go on. They are as few as that allows, since
each query with state takes its share of every second. Belongs here: the plan of a query. Does not belong here: the
computations (`sales`, `inventory`, `tills`, `letters`), and running them (`service`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame

from retail_assets.contracts.topics import (
    DEAD_LETTERS,
    EVENT_TOPICS,
    INVENTORY_UPDATES,
    POS_EVENTS,
    SALES_TRANSACTIONS,
    Topic,
)
from retail_streaming import inventory, letters, sales, tills
from retail_streaming.events import accepted, counted, judged, with_watermark
from retail_streaming.settings import StreamingSettings
from retail_streaming.warehouse import Target

_Step = Callable[[DataFrame], DataFrame]


def _unchanged(frame: DataFrame) -> DataFrame:
    return frame


def _as_they_are(rows: pa.Table) -> pa.Table:
    return rows


@dataclass(frozen=True)
class Output:
    """One table that a query writes.

    Attributes:
        target: the table.
        rows: its rows, of those that a batch changed.
    """

    target: Target
    rows: Callable[[pa.Table], pa.Table] = _as_they_are


@dataclass(frozen=True)
class Query:
    """One streaming query.

    Attributes:
        name: in the log, and the name of its checkpoint; never changed, or it begins anew.
        topics: what it reads.
        plan: from messages to changed rows.
        outputs: what it writes.
        letters_to: the topic that rows also go to as dead letters; None for none.
        every_triggers: it has a batch each so many triggers, and each one only while a whole batch of messages waits.
    """

    name: str
    topics: tuple[Topic, ...]
    plan: Callable[[DataFrame, StreamingSettings], DataFrame]
    outputs: tuple[Output, ...]
    letters_to: Topic | None = None
    every_triggers: int = 1

    @property
    def targets(self) -> list[Target]:
        """The tables that it writes."""
        return [output.target for output in self.outputs]


def _of_events(
    topic: Topic, changed_rows: _Step, prepare: _Step = _unchanged
) -> Callable[[DataFrame, StreamingSettings], DataFrame]:
    """Return the plan of a query over one topic's events.

    Args:
        topic: whose contract decides what is accepted.
        changed_rows: from accepted rows to the rows to write; may keep state.
        prepare: from judged events to judged rows; may add verdicts.
    """

    def plan(messages: DataFrame, settings: StreamingSettings) -> DataFrame:
        events = judged(messages, topic.schema, clock_skew_minutes=settings.stream_clock_skew_minutes)
        rows = accepted(counted(prepare(events)))
        return changed_rows(with_watermark(rows, late_minutes=settings.stream_late_minutes))

    return plan


def _letters(messages: DataFrame, _: StreamingSettings) -> DataFrame:
    return letters.refused(messages, EVENT_TOPICS)


QUERIES: Final = (
    Query(
        name="sales",
        topics=(SALES_TRANSACTIONS,),
        plan=_of_events(SALES_TRANSACTIONS, sales.sales_by_time, sales.baskets),
        outputs=(
            Output(Target("rt_revenue_hourly", sales.REVENUE_HOURLY, versioned=True), sales.revenue_hourly),
            Output(Target("rt_sales_velocity", sales.SALES_VELOCITY, versioned=True), sales.sales_velocity),
        ),
    ),
    Query(
        name="inventory",
        topics=(INVENTORY_UPDATES,),
        plan=_of_events(INVENTORY_UPDATES, inventory.inventory),
        outputs=(Output(Target("rt_inventory", inventory.INVENTORY, versioned=True)),),
    ),
    Query(
        name="tills",
        topics=(POS_EVENTS,),
        plan=_of_events(POS_EVENTS, tills.hours_of_tills),
        outputs=(Output(Target("rt_pos_hourly", tills.POS_HOURLY, versioned=True)),),
        every_triggers=2,
    ),
    Query(
        name="dead_letters",
        topics=EVENT_TOPICS,
        plan=_letters,
        outputs=(Output(Target("rt_dead_letters", letters.DEAD_LETTERS, versioned=False)),),
        letters_to=DEAD_LETTERS,
        # It decodes every message of every topic once more, and nobody waits for a letter by the second.
        every_triggers=15,
    ),
)
