"""Events from a real broker into the lake: every message once, whatever is repeated, refused, or raced for."""

import json
import re
import signal
import subprocess
import sys
from contextlib import closing
from typing import Any

import confluent_kafka
import dagster as dg
import polars as pl
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from retail_assets.assets.raw import _append
from retail_assets.contracts.tables import RAW_DEAD_LETTERS, RAW_POS_EVENTS
from retail_assets.contracts.topics import DEAD_LETTERS, POS_EVENTS, Topic
from retail_assets.resources.kafka import BrokerError, KafkaResource, Letter
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.offsets import Progress, TopicResetError, next_range
from retail_assets.resources.progress import ConcurrentIngestError, read_progress
from retail_assets.resources.repair import acknowledge, adopt
from retail_assets.resources.spark import SparkResource
from retail_assets.resources.topics import read_topic_settings
from retail_assets.settings import Mode, get_settings

pytestmark = pytest.mark.integration


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


def whole_topic(topic: Topic, kafka: KafkaResource) -> list[Any]:
    """Read a topic from its first message to its last, as the broker's offsets name them."""
    state = kafka.state(topic.name)
    first, end = state.first, state.end
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


def test_a_message_with_other_headers_alone_is_read_like_any_other(
    materialize: Any, kafka: KafkaResource, lake: LakeResource
) -> None:
    traced = event(1)
    bare = [Letter(traced.key, traced.value, headers) for headers in ([("traceparent", b"00-1")], [])]
    kafka.send(POS_EVENTS.name, [bare[0], event(2)])
    materialize()
    kafka.send(POS_EVENTS.name, [bare[1]])
    materialize()
    held = lake.read(RAW_POS_EVENTS, columns=["event_id", "rejection", "produced_at"])
    assert sorted(held.select("event_id", pl.col("produced_at").is_null()).rows()) == [
        ("E1", True),
        ("E1", True),
        ("E2", False),
    ]
    assert held["rejection"].is_null().all()


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


def test_a_run_without_a_cap_of_its_own_reads_all_that_waits_in_ranges(
    materialize: Any, kafka: KafkaResource, lake: LakeResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETAIL_KAFKA_MAX_EVENTS_PER_RUN", "3")
    get_settings.cache_clear()
    kafka.send(POS_EVENTS.name, [event(n) for n in range(7)])
    (written,) = materialize().get_asset_materialization_events()
    monkeypatch.undo()
    get_settings.cache_clear()
    numbers = {
        name: int(str(written.materialization.metadata[name].value)) for name in ("events_read", "events_waiting")
    }
    assert numbers == {"events_read": 7, "events_waiting": 0}
    assert held_events(lake) == sorted(f"E{n}" for n in range(7))
    delta = lake.delta(RAW_POS_EVENTS)
    assert delta is not None
    assert read_progress(delta).batch >= 3


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
    state = kafka.state(POS_EVENTS.name)
    span = next_range(POS_EVENTS.name, held={}, first=state.first, end=state.end, limit=100)
    spark, nothing = spark_resource.spark_session, Progress(0, {})
    _append(spark, lake, kafka, POS_EVENTS, RAW_POS_EVENTS, span, nothing.after(span, None))
    kafka.send(POS_EVENTS.name, [event(n) for n in range(5, 8)])
    state = kafka.state(POS_EVENTS.name)
    stale = next_range(POS_EVENTS.name, held={}, first=state.first, end=state.end, limit=100)
    with pytest.raises(ConcurrentIngestError, match="another run wrote batch 1 first"):
        _append(spark, lake, kafka, POS_EVENTS, RAW_POS_EVENTS, stale, nothing.after(stale, None))
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


def test_a_topic_that_was_made_anew_goes_on_once_it_is_adopted_and_no_offset_is_there_twice(
    materialize: Any, kafka: KafkaResource, lake: LakeResource
) -> None:
    kafka.send(POS_EVENTS.name, [event(n) for n in range(5)])
    materialize()
    kafka.delete_topics([POS_EVENTS.name])
    kafka.apply_topics({POS_EVENTS.name: read_topic_settings(Mode.LOCAL)[POS_EVENTS.name]})
    kafka.send(POS_EVENTS.name, [event(n) for n in range(5, 20)])
    with pytest.raises(TopicResetError, match="its id is"):
        materialize()
    adopt(POS_EVENTS, kafka, lake)
    assert refused(materialize(RAW_DEAD_LETTERS)) == 0
    kafka.send(POS_EVENTS.name, [event(20), Letter(b"S1", b"not json", [])])
    assert refused(materialize(RAW_DEAD_LETTERS)) == 1
    assert held_events(lake) == sorted(f"E{n}" for n in range(21))
    rows = lake.read(RAW_POS_EVENTS, columns=list(RAW_POS_EVENTS.grain))
    assert rows.is_unique().all()
    # No hole either: each partition counts from nothing to its last row.
    assert (
        rows.group_by("kafka_partition")
        .agg((pl.len() == pl.col("kafka_offset").max() + 1).alias("whole"))["whole"]
        .all()
    )


def refused(result: dg.ExecuteInProcessResult) -> int:
    (written,) = result.asset_materializations_for_node("raw__pos_events")
    return int(str(written.metadata["events_refused"].value))


def expire(kafka: KafkaResource) -> None:
    """Delete all that the topic holds, as retention does."""
    end = kafka.state(POS_EVENTS.name).end
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)) as admin:
        admin.delete_records({TopicPartition(POS_EVENTS.name, partition): offset for partition, offset in end.items()})


@pytest.mark.parametrize("since", [0, 3])
def test_events_that_expired_unread_fail_a_check_until_they_are_acknowledged_and_the_rest_is_read(
    materialize: Any, kafka: KafkaResource, lake: LakeResource, since: int
) -> None:
    def lost(result: dg.ExecuteInProcessResult) -> str | None:
        assert result.success
        (evaluation,) = result.get_asset_check_evaluations()
        assert evaluation.severity is dg.AssetCheckSeverity.ERROR
        return None if evaluation.passed else evaluation.description

    kafka.send(POS_EVENTS.name, [event(0)])
    assert lost(materialize()) is None
    kafka.send(POS_EVENTS.name, [event(3), event(6)])
    expire(kafka)
    kafka.send(POS_EVENTS.name, [event(n) for n in range(10, 10 + since)])
    for _ in range(2):
        assert re.fullmatch(
            r"lost: partition \d, offsets 1 to 2 \(at most 2 events\), noticed \S+", lost(materialize()) or ""
        )
    assert held_events(lake) == sorted(["E0", *(f"E{n}" for n in range(10, 10 + since))])
    acknowledge(POS_EVENTS, lake, "known")
    assert lost(materialize()) is None


def test_transactions_leave_offsets_without_events_and_nothing_is_missed(
    materialize: Any, kafka: KafkaResource, lake: LakeResource
) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": "raw-test"})
    producer.init_transactions(30)
    for number in range(3):
        producer.begin_transaction()
        producer.produce(POS_EVENTS.name, event(number).value, event(number).key)
        producer.commit_transaction(30)
        materialize()
    assert held_events(lake) == ["E0", "E1", "E2"]
    assert read_progress(lake.delta(RAW_POS_EVENTS)).gaps == ()


_KILLED = """
import os, signal, sys
import dagster as dg
from retail_assets.assets import raw
from retail_assets.io_managers.delta import SparkDeltaIOManager
from retail_assets.resources.kafka import KafkaResource
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource, spark_config
from retail_assets.settings import get_settings

root, servers, moment = sys.argv[1:]
reads = []

def killed(read=raw.read_progress):
    def read_progress(delta):
        reads.append(read(delta))
        if len(reads) == 2:  # the second look at the table follows the commit
            os.kill(os.getpid(), signal.SIGKILL)
        return reads[-1]
    return read_progress

if moment == "after":
    raw.read_progress = killed()
else:
    raw.commit_metadata = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
spark, lake = SparkResource(spark_config=spark_config(get_settings())), LakeResource(root=root)
dg.materialize(
    raw.raw_assets(),
    selection=[dg.AssetKey(["raw", "pos_events"])],
    resources={
        "spark": spark,
        "lake": lake,
        "kafka": KafkaResource(bootstrap_servers=servers),
        "lake_io_manager": SparkDeltaIOManager(spark=spark, lake=lake),
    },
)
"""


@pytest.mark.parametrize(("moment", "held"), [("before", 0), ("after", 7)])
def test_a_run_that_is_killed_around_its_commit_leaves_neither_a_hole_nor_a_repetition(
    materialize: Any, kafka: KafkaResource, lake: LakeResource, moment: str, held: int
) -> None:
    kafka.send(POS_EVENTS.name, [event(n) for n in range(7)])
    program = [sys.executable, "-c", _KILLED, lake.root, kafka.bootstrap_servers, moment]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert sum(read_progress(lake.delta(RAW_POS_EVENTS)).held.values()) == held
    kafka.send(POS_EVENTS.name, [event(7)])
    materialize()
    assert held_events(lake) == sorted(f"E{n}" for n in range(8))


def test_a_broker_that_is_away_is_an_error_with_what_to_do() -> None:
    away = KafkaResource(bootstrap_servers="127.0.0.1:1", timeout_s=0.5)
    with pytest.raises(BrokerError, match="127.0.0.1:1 .*start it with `retail up`"):
        away.state("pos-events")
