"""A live stream of made-up days, as dirty as can be: what tests send, and processes that tests kill.

Imports little, because such a process should start quickly.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any

from retail_assets.contracts.topics import EVENT_TOPICS, Topic
from retail_assets.simulator.scenario import DirtRates
from retail_assets.simulator.tills.dirt import DirtCounts
from retail_assets.simulator.tills.live import LiveStream
from retail_assets.simulator.tills.live_report import LiveProgress
from retail_assets.simulator.tills.plan import StreamPlan
from retail_assets_tests.made_up_days import MadeUpDays

FIRST, LAST = date(2026, 1, 1), date(2026, 1, 3)
DIRT = DirtRates(
    duplicate_rate=0.05,
    late_rate=0.05,
    out_of_order_rate=0.05,
    clock_skew_rate=0.2,
    malformed_rate=0.05,
    unknown_version_rate=0.05,
)


def topics_of(tag: str) -> tuple[Topic, ...]:
    return tuple(dataclasses.replace(topic, name=f"{topic.name}-{tag}") for topic in EVENT_TOPICS)


def plan_of(tag: str, events: int) -> StreamPlan:
    return StreamPlan(MadeUpDays(FIRST, LAST, events), 7, DIRT, topics=topics_of(tag))


def expected(plan: StreamPlan, first: date, until_ms: int | None = None) -> dict[str, DirtCounts]:
    """Count what a stream that begins with `first` sends until a time, by topic: the books to balance against."""
    labels: dict[str, Counter[int]] = {topic.name: Counter() for topic in plan.topics}
    for stretch in plan.stretches(first):
        for due, place, label in stretch.select("due", "topic", "label").iter_rows():
            labels[plan.topics[place].name][label] += until_ms is None or due < until_ms
    return {name: DirtCounts.of(counts) for name, counts in labels.items()}


def stream_of(
    servers: str,
    tag: str,
    events: int = 400,
    on_progress: Callable[[LiveProgress], None] | None = None,
    **options: Any,
) -> LiveStream:
    return LiveStream(
        plan=plan_of(tag, events), name=f"live-{tag}", bootstrap_servers=servers, on_progress=on_progress, **options
    )
