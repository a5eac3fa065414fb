"""One sensor per event topic: asks for a run when enough events wait that the raw table doesn't hold yet.

A tick reads the table's log, the topic's offsets and at most one message per partition; what is read into the lake is
decided by the run. Does not belong here: the arithmetic (`resources.offsets`) and the rule (`sensors.decision`).

Requests carry no run key. Dagster would take a second request for the same range as done, and the range of a run that
was killed would never be read; that no range is written twice is what the table itself sees to.
"""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import dagster as dg

from retail_assets.assets.sources import topic_key
from retail_assets.contracts.tables import RAW_DEAD_LETTERS, raw_table
from retail_assets.contracts.topics import EVENT_TOPICS, Topic
from retail_assets.jobs import Job
from retail_assets.resources.kafka import BrokerError, KafkaResource
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.offsets import Progress, range_after
from retail_assets.resources.progress import read_progress
from retail_assets.sensors.active import active_run
from retail_assets.sensors.decision import Backlog, BatchRule, age_matters, decide

TOPIC_TAG: Final = "retail/topic"
WAITING_TAG: Final = "retail/events_waiting"


@dataclass(frozen=True)
class IngestRule:
    """The settings of the sensors.

    Attributes:
        batch: when to start a run.
        max_events: cap of one run.
        tick_s: seconds that one look at the broker may take.
    """

    batch: BatchRule
    max_events: int
    tick_s: float


def evaluate(
    context: dg.SensorEvaluationContext, topic: Topic, kafka: KafkaResource, lake: LakeResource, rule: IngestRule
) -> dg.RunRequest | dg.SkipReason:
    """Decide whether a topic needs a run now.

    Returns:
        A request for the topic's raw table and the dead letters, or the reason for waiting in words.

    Raises:
        TopicResetError: the topic was made anew, or has lost its end; the failed tick shows it in Dagster.
    """
    name = kafka.name_of(topic)
    active = active_run(context.instance, tags={TOPIC_TAG: name})
    if active is not None:
        return dg.SkipReason(f"{name}: run {active.run_id[:8]} is reading, the next batch follows it")
    table = raw_table(topic)
    progress = read_progress(lake.delta(table))
    deadline = time.monotonic() + rule.tick_s
    try:
        state = kafka.state(name, within_s=rule.tick_s)
        span = range_after(progress, name, state, limit=rule.max_events)
        backlog = Backlog(name, span.waiting, lost=span.losses())
        if age_matters(backlog, rule.batch):
            # What `state` left of the tick, which is nearly all of it unless the broker is slow.
            stamped = kafka.oldest(name, span.unread(), within_s=max(deadline - time.monotonic(), 0.1))
            backlog = replace(backlog, oldest_s=None if stamped is None else _seconds_since(stamped))
    except BrokerError as error:
        return dg.SkipReason(f"{name}: {error}")
    if span.lost:
        context.log.error("%s: the broker deleted events before they were read: %s", name, span.losses())
    decision = decide(backlog, rule.batch)
    if not decision.start:
        return dg.SkipReason(decision.reason + _reminder(progress))
    context.log.info(decision.reason)
    return dg.RunRequest(
        asset_selection=[dg.AssetKey(table.key), dg.AssetKey(RAW_DEAD_LETTERS.key)],
        tags={TOPIC_TAG: name, WAITING_TAG: str(span.waiting)},
    )


def _seconds_since(stamped: datetime) -> float:
    return (datetime.now(UTC) - stamped).total_seconds()


def _reminder(progress: Progress) -> str:
    count = len(progress.open_gaps)
    if not count:
        return ""
    return f"; {count} {'loss is' if count == 1 else 'losses are'} not acknowledged, see the check no_events_lost"


def _topic_sensor(topic: Topic, job: Job, rule: IngestRule, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{topic.table}_sensor",
        job=job,
        minimum_interval_seconds=30,
        default_status=status,
        description=(
            f"Reads {topic.name} into the raw layer when {rule.batch.events:,} events wait, or the oldest has waited "
            f"{rule.batch.wait_s:g} s."
        ),
        metadata={"topic": topic.name, "asset": topic_key(topic.table).to_user_string()},
    )
    def topic_sensor(
        context: dg.SensorEvaluationContext, kafka: KafkaResource, lake: LakeResource
    ) -> dg.RunRequest | dg.SkipReason:
        return evaluate(context, topic, kafka, lake, rule)

    return topic_sensor


def kafka_sensors(job: Job, rule: IngestRule, *, live: bool) -> list[dg.SensorDefinition]:
    """Return one sensor per event topic; switched on from the start where `live`."""
    status = dg.DefaultSensorStatus.RUNNING if live else dg.DefaultSensorStatus.STOPPED
    return [_topic_sensor(topic, job, rule, status) for topic in EVENT_TOPICS]
