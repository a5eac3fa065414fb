"""One sensor per event topic: asks for a run when events wait that the raw table doesn't hold yet.

A tick reads end offsets and the table's log, nothing else; what is read is decided by the run. Does not belong here:
the arithmetic (`resources.offsets`).
"""

import dagster as dg

from retail_assets.assets.sources import topic_key
from retail_assets.contracts.tables import RAW_DEAD_LETTERS, raw_table
from retail_assets.contracts.topics import EVENT_TOPICS, Topic
from retail_assets.jobs import Job
from retail_assets.resources.kafka import BrokerError, KafkaResource
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.offsets import next_range
from retail_assets.resources.progress import read_progress

_ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
_TOPIC_TAG = "retail/topic"


def evaluate(
    context: dg.SensorEvaluationContext, topic: Topic, kafka: KafkaResource, lake: LakeResource, *, max_events: int
) -> dg.RunRequest | dg.SkipReason:
    """Decide whether a topic needs a run now.

    Returns:
        A request for the topic's raw table and the dead letters, or the reason for waiting in words.

    Raises:
        TopicResetError: the topic was made anew; the failed tick shows it in Dagster.
    """
    active = context.instance.get_runs(dg.RunsFilter(tags={_TOPIC_TAG: topic.name}, statuses=_ACTIVE), limit=1)
    if active:
        return dg.SkipReason(f"run {active[0].run_id[:8]} is reading {topic.name}")
    table = raw_table(topic)
    try:
        first, end = kafka.offsets(topic.name)
        span = next_range(
            topic.name, held=read_progress(lake.delta(table)).held, first=first, end=end, limit=max_events
        )
    except BrokerError as error:
        return dg.SkipReason(str(error))
    if span.events == 0:
        return dg.SkipReason(f"{topic.name}: no new events, the table holds all {sum(end.values()):,}")
    return dg.RunRequest(
        asset_selection=[dg.AssetKey(table.key), dg.AssetKey(RAW_DEAD_LETTERS.key)],
        tags={_TOPIC_TAG: topic.name, "retail/events_waiting": str(span.events)},
    )


def _topic_sensor(topic: Topic, job: Job, max_events: int, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{topic.table}_sensor",
        job=job,
        minimum_interval_seconds=30,
        default_status=status,
        description=f"Reads {topic.name} into the raw layer as soon as events wait.",
        metadata={"topic": topic.name, "asset": topic_key(topic.table).to_user_string()},
    )
    def topic_sensor(
        context: dg.SensorEvaluationContext, kafka: KafkaResource, lake: LakeResource
    ) -> dg.RunRequest | dg.SkipReason:
        return evaluate(context, topic, kafka, lake, max_events=max_events)

    return topic_sensor


def kafka_sensors(job: Job, *, max_events: int, live: bool) -> list[dg.SensorDefinition]:
    """Return one sensor per event topic; switched on from the start where `live`."""
    status = dg.DefaultSensorStatus.RUNNING if live else dg.DefaultSensorStatus.STOPPED
    return [_topic_sensor(topic, job, max_events, status) for topic in EVENT_TOPICS]
