"""Events from a real broker into the lake: every message once, whatever is repeated, refused, or raced for."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import dagster as dg
import polars as pl
import pytest
from kafka import KafkaConsumer, TopicPartition

from retail_assets.assets.raw import ConcurrentIngestError, _append, raw_assets
from retail_assets.contracts.tables import RAW_DEAD_LETTERS, RAW_POS_EVENTS, Table
from retail_assets.contracts.topics import DEAD_LETTERS, POS_EVENTS, TOPICS, Topic
from retail_assets.io_managers.delta import SparkDeltaIOManager
from retail_assets.resources.kafka import BrokerError, KafkaResource, Letter
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.offsets import TopicResetError, next_range
from retail_assets.resources.progress import read_progress
from retail_assets.resources.spark import SparkResource
from retail_assets.resources.topics import read_topic_settings
from retail_assets.sensors.kafka import evaluate
from retail_assets.settings import Mode

pytestmark = pytest.mark.integration


@pytest.fixture
def topics(kafka: KafkaResource) -> Iterator[None]:
    kafka.apply_topics(read_topic_settings(Mode.LOCAL))
    yield
    kafka.delete_topics([topic.name for topic in TOPICS])


def event(number: int, **changes: Any) -> Letter:
    value = {
        "event_id": f"E{number}",
        "store_id": f"S{number % 3}",
        "register_id": "R1",
        "occurred_at": 1_767_268_800_000 + number,
        "kind": "open",
        **changes,
    }
    return Letter(str(value["store_id"]).encode(), json.dumps(value).encode(), [("produced_at", b"1767268800000")])


@pytest.fixture
def materialize(spark_resource: SparkResource, lake: LakeResource, kafka: KafkaResource, topics: None) -> Any:
    def run(*also: Table, **config: Any) -> Any:
        resources = {
            "spark": spark_resource,
            "lake": lake,
            "kafka": kafka,
            "lake_io_manager": SparkDeltaIOManager(spark=spark_resource, lake=lake),
        }
        run_config = {"ops": {"raw__pos_events": {"config": config}}} if config else {}
        return dg.materialize(
            raw_assets(),
            selection=[dg.AssetKey(table.key) for table in (RAW_POS_EVENTS, *also)],
            resources=resources,
            run_config=run_config,
        )

    return run


def whole_topic(topic: Topic, kafka: KafkaResource) -> list[Any]:
    """Read a topic from its first message to its last, as the broker's offsets name them."""
    first, end = kafka.offsets(topic.name)
    messages: list[Any] = []
    with closing(KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest")) as consumer:
        consumer.assign([TopicPartition(topic.name, partition) for partition in end])
        while len(messages) < sum(end.values()) - sum(first.values()):
            messages += [message for batch in consumer.poll(timeout_ms=100).values() for message in batch]
    return messages


def held_events(lake: LakeResource) -> list[str]:
    frame = lake.read(RAW_POS_EVENTS, columns=["event_id", "rejection"])
    return sorted(frame.filter(pl.col("rejection").is_null())["event_id"].to_list())


def test_reading_again_adds_what_came_since(materialize: Any, kafka: KafkaResource, lake: LakeResource) -> None:
    kafka.send(POS_EVENTS.name, [event(n) for n in range(7)])
    materialize()
    materialize()
    assert held_events(lake) == sorted(f"E{n}" for n in range(7))
    kafka.send(POS_EVENTS.name, [event(n) for n in range(7, 9)])
    materialize()
    assert held_events(lake) == sorted(f"E{n}" for n in range(9))


def test_small_runs_under_a_cap_read_everything_once(
    materialize: Any, kafka: KafkaResource, lake: LakeResource
) -> None:
    kafka.send(POS_EVENTS.name, [event(n) for n in range(7)])
    read: list[int] = []
    while sum(read) < 7:
        (written,) = materialize(max_events=3).get_asset_materialization_events()
        read.append(int(str(written.materialization.metadata["events_read"].value)))
        assert 0 < read[-1] <= 3
    assert held_events(lake) == sorted(f"E{n}" for n in range(7))


def test_a_corrupt_message_is_kept_byte_for_byte_and_sent_to_the_dead_letters_once(
    materialize: Any, kafka: KafkaResource, lake: LakeResource
) -> None:
    kafka.send(POS_EVENTS.name, [event(1), Letter(b"S1", b"\x00\xffnot json", []), event(2, kind="dance")])
    materialize(RAW_DEAD_LETTERS)
    materialize(RAW_DEAD_LETTERS)
    assert held_events(lake) == ["E1"]
    letters = lake.read(RAW_DEAD_LETTERS)
    assert sorted(letters["rejection"].to_list())[1].startswith("not a JSON object")
    assert b"\x00\xffnot json" in letters["raw_value"].to_list()
    sent = whole_topic(DEAD_LETTERS, kafka)
    assert len(sent) == 2
    assert {message.value for message in sent} >= {b"\x00\xffnot json"}
    assert all(dict(message.headers)["topic"] == b"pos-events" for message in sent)


def test_of_two_runs_that_read_the_same_range_one_commits_and_the_other_says_so(
    materialize: Any, kafka: KafkaResource, lake: LakeResource, spark_resource: SparkResource
) -> None:
    kafka.send(POS_EVENTS.name, [event(n) for n in range(5)])
    first, end = kafka.offsets(POS_EVENTS.name)
    span = next_range(POS_EVENTS.name, held={}, first=first, end=end, limit=100)
    spark = spark_resource.spark_session
    _append(spark, lake, kafka, POS_EVENTS, RAW_POS_EVENTS, span, 1, {})
    kafka.send(POS_EVENTS.name, [event(n) for n in range(5, 8)])
    first, end = kafka.offsets(POS_EVENTS.name)
    stale = next_range(POS_EVENTS.name, held={}, first=first, end=end, limit=100)
    with pytest.raises(ConcurrentIngestError, match="another run wrote batch 1 first"):
        _append(spark, lake, kafka, POS_EVENTS, RAW_POS_EVENTS, stale, 1, {})
    materialize()
    assert held_events(lake) == sorted(f"E{n}" for n in range(8))


def test_progress_is_found_in_the_rows_when_the_log_no_longer_tells(
    materialize: Any, kafka: KafkaResource, lake: LakeResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka.send(POS_EVENTS.name, [event(n) for n in range(5)])
    materialize()
    by_log = read_progress(lake.delta(RAW_POS_EVENTS))
    monkeypatch.setattr("retail_assets.resources.progress._parse", lambda _text: None)
    by_rows = read_progress(lake.delta(RAW_POS_EVENTS))
    assert by_rows.held == {partition: end for partition, end in by_log.held.items() if end}


def test_a_topic_that_was_made_anew_stops_the_run_with_what_to_do(
    materialize: Any, kafka: KafkaResource, lake: LakeResource
) -> None:
    kafka.send(POS_EVENTS.name, [event(n) for n in range(5)])
    materialize()
    kafka.delete_topics([POS_EVENTS.name])
    kafka.apply_topics({POS_EVENTS.name: read_topic_settings(Mode.LOCAL)[POS_EVENTS.name]})
    with pytest.raises(TopicResetError, match="was deleted and made anew"):
        materialize()
    assert len(held_events(lake)) == 5


def test_a_sensor_asks_for_a_run_when_events_wait_and_says_why_when_not(
    materialize: Any, kafka: KafkaResource, lake: LakeResource
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance)
        quiet = evaluate(context, POS_EVENTS, kafka, lake, max_events=100)
        assert isinstance(quiet, dg.SkipReason)
        assert quiet.skip_message == "pos-events: no new events, the table holds all 0"
        kafka.send(POS_EVENTS.name, [event(1), event(2)])
        asked = evaluate(context, POS_EVENTS, kafka, lake, max_events=100)
        assert isinstance(asked, dg.RunRequest)
        assert asked.tags["retail/events_waiting"] == "2"
        materialize()
        assert isinstance(evaluate(context, POS_EVENTS, kafka, lake, max_events=100), dg.SkipReason)


def test_a_broker_that_is_away_is_a_reason_to_wait_with_what_to_do(lake: LakeResource) -> None:
    away = KafkaResource(bootstrap_servers="127.0.0.1:1", timeout_s=0.5)
    with pytest.raises(BrokerError, match="127.0.0.1:1 .*start it with `retail up`"):
        away.offsets("pos-events")
    with dg.DagsterInstance.ephemeral() as instance:
        answer = evaluate(dg.build_sensor_context(instance=instance), POS_EVENTS, away, lake, max_events=100)
    assert isinstance(answer, dg.SkipReason)
