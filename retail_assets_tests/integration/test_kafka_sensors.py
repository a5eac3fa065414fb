"""The sensors' ticks against a real broker and a real table log: what they ask for, what they say, and how they end."""

import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import confluent_kafka
import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from retail_assets.build import build_defs
from retail_assets.cli import main
from retail_assets.contracts.tables import RAW_POS_EVENTS
from retail_assets.contracts.topics import POS_EVENTS
from retail_assets.contracts.types import arrow_schema
from retail_assets.resources.kafka import KafkaResource
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.offsets import Progress, TopicResetError, range_after
from retail_assets.resources.progress import ConcurrentIngestError, read_progress, record
from retail_assets.resources.repair import RepairError, acknowledge, adopt, standing
from retail_assets.resources.topics import read_topic_settings
from retail_assets.sensors.decision import BatchRule
from retail_assets.sensors.kafka import IngestRule, evaluate
from retail_assets.settings import Mode
from retail_local.stack import Stack

pytestmark = pytest.mark.integration

Tick = Callable[..., dg.RunRequest | dg.SkipReason]
NAME = POS_EVENTS.name
HOUR_MS = 3_600_000


@dg.job
def _nothing() -> None:
    """Stand for the job whose run is recorded; it is never executed."""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def tick(kafka: KafkaResource, lake: LakeResource, instance: dg.DagsterInstance, topics: None) -> Tick:
    def tick(events: int = 100, wait_s: float = 3600, tick_s: float = 20) -> dg.RunRequest | dg.SkipReason:
        rule = IngestRule(BatchRule(events, wait_s), max_events=1_000, tick_s=tick_s)
        return evaluate(dg.build_sensor_context(instance=instance), POS_EVENTS, kafka, lake, rule)

    return tick


def send(kafka: KafkaResource, count: int, *, partition: int = 0, age_ms: int = 0) -> None:
    # librdkafka finds back to a broker that was frozen a moment ago and fenced for it; kafka-python's producer waits
    # for ever once a broker list was empty.
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for _ in range(count):
        producer.produce(NAME, b"{}", partition=partition, timestamp=round(time.time() * 1000) - age_ms)
    assert producer.flush(60) == 0


def hold(kafka: KafkaResource, lake: LakeResource) -> Progress:
    """Let the raw table hold what the topic has, as a run does, but without the rows."""
    if lake.delta(RAW_POS_EVENTS) is None:
        lake.overwrite(RAW_POS_EVENTS, pl.DataFrame(arrow_schema(RAW_POS_EVENTS.columns).empty_table()))
    delta = lake.delta(RAW_POS_EVENTS)
    assert delta is not None
    state = kafka.state(NAME)
    before = read_progress(delta)
    record(delta, NAME, before.after(range_after(before, NAME, state, limit=1_000), state.topic_id))
    return read_progress(lake.delta(RAW_POS_EVENTS))


def expire(kafka: KafkaResource, partition: int, before: int) -> None:
    """Delete what lies before an offset, as retention does."""
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)) as admin:
        admin.delete_records({TopicPartition(NAME, partition): before})


def make_anew(kafka: KafkaResource) -> None:
    kafka.delete_topics([NAME])
    kafka.apply_topics({NAME: read_topic_settings(Mode.LOCAL)[NAME]})


def said(answer: dg.RunRequest | dg.SkipReason) -> str:
    assert isinstance(answer, dg.SkipReason)
    return str(answer.skip_message)


def test_few_events_wait_for_more_and_the_tick_says_how_long(tick: Tick, kafka: KafkaResource) -> None:
    assert said(tick()) == f"{NAME}: no new events"
    send(kafka, 2, age_ms=8_000)
    send(kafka, 1, partition=1)
    seconds = int(said(tick()).split("3 events waiting, oldest ")[1].split(" s, batch starts at 100 or 3600 s")[0])
    assert 8 <= seconds < 600


def test_many_events_or_old_ones_ask_for_a_run_of_the_table_and_the_dead_letters(
    tick: Tick, kafka: KafkaResource
) -> None:
    send(kafka, 3)
    many = tick(events=3)
    send(kafka, 1, partition=1, age_ms=HOUR_MS)
    old = tick(wait_s=1800)
    for request, waiting in ((many, "3"), (old, "4")):
        assert isinstance(request, dg.RunRequest)
        assert request.asset_selection == [dg.AssetKey(["raw", "pos_events"]), dg.AssetKey(["raw", "dead_letters"])]
        assert request.tags == {"retail/topic": NAME, "retail/events_waiting": waiting}


def test_the_oldest_event_is_found_in_whichever_partition_it_waits(kafka: KafkaResource, topics: None) -> None:
    send(kafka, 50)
    send(kafka, 50, partition=1, age_ms=HOUR_MS)
    send(kafka, 50, partition=1)
    stamped = kafka.oldest(NAME, {0: (0, 50), 1: (0, 100)}, within_s=20)
    assert stamped is not None
    assert time.time() - stamped.timestamp() > HOUR_MS / 1000
    later = kafka.oldest(NAME, {0: (49, 50), 1: (50, 100)}, within_s=20)
    assert later is not None
    assert later > stamped


def test_a_run_that_reads_is_not_joined_by_a_second_and_one_that_was_killed_is_followed(
    tick: Tick, kafka: KafkaResource, instance: dg.DagsterInstance
) -> None:
    send(kafka, 3)
    first = tick(events=1)
    assert isinstance(first, dg.RunRequest)
    run = instance.create_run_for_job(_nothing, tags=first.tags, status=dg.DagsterRunStatus.STARTED)
    assert f"run {run.run_id[:8]} is reading" in said(tick(events=1))
    instance.report_run_failed(run)
    again = tick(events=1)
    # A key would make Dagster take the second request for the first, and nobody would read the events.
    assert isinstance(again, dg.RunRequest)
    assert (again.run_key, again.tags) == (None, first.tags)


def test_events_that_expired_unread_ask_for_a_run_at_once_and_are_named(
    tick: Tick, kafka: KafkaResource, lake: LakeResource, caplog: pytest.LogCaptureFixture
) -> None:
    send(kafka, 2)
    hold(kafka, lake)
    send(kafka, 5)
    expire(kafka, 0, before=6)
    with caplog.at_level(logging.ERROR):
        assert isinstance(tick(), dg.RunRequest)
    hold(kafka, lake)
    loss = "partition 0, offsets 2 to 5 (at most 4 events)"
    assert said(tick()).endswith("no new events; 1 loss is not acknowledged, see the check no_events_lost")
    (problem,) = standing(POS_EVENTS, kafka, lake).problems
    assert problem.startswith(f"lost: {loss}, noticed ")
    with pytest.raises(RepairError, match="the note is empty"):
        acknowledge(POS_EVENTS, lake, " ")
    assert loss in acknowledge(POS_EVENTS, lake, "a full disk, Ann")
    assert said(tick()) == f"{NAME}: no new events"
    with pytest.raises(RepairError, match="no loss that waits"):
        acknowledge(POS_EVENTS, lake, "a full disk, Ann")
    assert [gap.note for gap in hold(kafka, lake).gaps] == ["a full disk, Ann"]


def test_what_expires_after_it_was_read_is_no_loss(tick: Tick, kafka: KafkaResource, lake: LakeResource) -> None:
    send(kafka, 4)
    hold(kafka, lake)
    expire(kafka, 0, before=4)
    assert said(tick()) == f"{NAME}: no new events"
    assert hold(kafka, lake).gaps == ()


def test_the_marker_of_a_transaction_is_neither_an_event_that_waits_nor_a_loss(
    tick: Tick, kafka: KafkaResource, lake: LakeResource
) -> None:
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": "sensor-test"}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(NAME, b"{}", partition=0)
    producer.flush(30)
    hold(kafka, lake)
    producer.commit_transaction(30)
    # Only the run can say that nothing is there, and it moves on past the marker.
    assert kafka.oldest(NAME, {0: (1, 2)}, within_s=20) is None
    assert isinstance(tick(), dg.RunRequest)
    assert hold(kafka, lake).held[0] == 2
    expire(kafka, 0, before=2)
    assert said(tick()) == f"{NAME}: no new events"
    assert hold(kafka, lake).gaps == ()


@pytest.mark.parametrize("grown_to", [2, 9])
def test_a_topic_that_was_made_anew_fails_the_tick_however_far_it_has_grown_until_it_is_adopted(
    tick: Tick, kafka: KafkaResource, lake: LakeResource, grown_to: int
) -> None:
    send(kafka, 5)
    hold(kafka, lake)
    with pytest.raises(RepairError, match="there is nothing to adopt"):
        adopt(POS_EVENTS, kafka, lake)
    make_anew(kafka)
    send(kafka, grown_to)
    with pytest.raises(TopicResetError, match=rf"was deleted and made anew.*`retail topics adopt {NAME}`"):
        tick()
    assert re.match(rf"{NAME}: nothing is read\n  topic {NAME} was .*made anew", str(standing(POS_EVENTS, kafka, lake)))
    assert f"the next run reads the {grown_to} events" in adopt(POS_EVENTS, kafka, lake)
    assert isinstance(tick(events=grown_to), dg.RunRequest)
    assert hold(kafka, lake).held[0] == 5 + grown_to
    send(kafka, 1)
    assert "1 event waiting, oldest" in said(tick())


def test_a_sensor_of_the_graph_ticks_under_its_settings(
    kafka: KafkaResource, lake: LakeResource, topics: None, instance: dg.DagsterInstance
) -> None:
    repository = build_defs().get_repository_def()
    sensor = repository.get_sensor_def("pos_events_sensor")
    with dg.build_sensor_context(
        instance=instance, repository_def=repository, resources={"kafka": kafka, "lake": lake}
    ) as context:
        send(kafka, 2)
        quiet = sensor.evaluate_tick(context)
        send(kafka, 1, partition=1, age_ms=HOUR_MS)
        busy = sensor.evaluate_tick(context)
    assert not quiet.run_requests
    assert "2 events waiting, oldest" in str(quiet.skip_message)
    assert "batch starts at 5,000 or 60 s" in str(quiet.skip_message)
    (request,) = busy.run_requests or []
    assert request.asset_selection == [dg.AssetKey(["raw", "pos_events"]), dg.AssetKey(["raw", "dead_letters"])]


def test_a_topic_that_is_not_there_is_a_reason_that_names_the_command(kafka: KafkaResource, lake: LakeResource) -> None:
    rule = IngestRule(BatchRule(1, 0), max_events=10, tick_s=20)
    with dg.DagsterInstance.ephemeral() as instance:
        answer = evaluate(dg.build_sensor_context(instance=instance), POS_EVENTS, kafka, lake, rule)
    assert said(answer).endswith(f"has no topic {NAME}: run `retail topics apply`")
    (problem,) = standing(POS_EVENTS, kafka, lake).problems
    assert problem.endswith("run `retail topics apply`")


@pytest.fixture
def silent_broker() -> Iterator[str]:
    """Return the address of something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("away", ["127.0.0.1:1", "silent"])
def test_a_broker_that_is_away_or_silent_is_a_reason_to_wait_and_leaves_nothing_behind(
    away: str, silent_broker: str, lake: LakeResource, instance: dg.DagsterInstance
) -> None:
    kafka = KafkaResource(bootstrap_servers=silent_broker if away == "silent" else away)
    rule = IngestRule(BatchRule(1, 0), max_events=10, tick_s=2)
    before = set(threading.enumerate())
    started = time.monotonic()
    for _ in range(2):
        reason = said(evaluate(dg.build_sensor_context(instance=instance), POS_EVENTS, kafka, lake, rule))
        assert f"the Kafka broker at {kafka.bootstrap_servers} doesn't answer as it should" in reason
        assert "(KafkaTimeoutError: Unable to bootstrap" in reason
        assert "start it with `retail up`" in reason
    assert time.monotonic() - started < 30
    assert {thread for thread in threading.enumerate() if thread.name.startswith("kafka")} <= before


@pytest.fixture
def freeze(topics: None, stack: Stack) -> Iterator[Callable[[], None]]:
    """Return what makes the broker keep its connections and fall silent, until the test has ended."""
    pid = next(service.pid for service in stack.status(ask=False) if service.name == "kafka")
    assert pid is not None
    yield lambda: os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("client", "call"),
    [(KafkaAdminClient, "__init__"), (KafkaAdminClient, "describe_topics"), (KafkaConsumer, "seek")],
)
def test_a_broker_that_falls_silent_in_the_middle_of_a_tick_does_not_hold_it(
    tick: Tick,
    kafka: KafkaResource,
    freeze: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    client: Any,
    call: str,
) -> None:
    original = getattr(client, call)

    def frozen(*args: Any, **options: Any) -> Any:
        answer = original(*args, **options)
        freeze()
        return answer

    send(kafka, 1)
    monkeypatch.setattr(client, call, frozen)
    before = set(threading.enumerate())
    started = time.monotonic()
    assert kafka.bootstrap_servers in said(tick(tick_s=4))
    # Any of the limits that the client would have by itself is longer.
    assert time.monotonic() - started < 9
    assert {thread for thread in threading.enumerate() if thread.name.startswith("kafka")} <= before


def test_a_decision_that_meets_a_batch_changes_nothing_and_says_so(
    kafka: KafkaResource, lake: LakeResource, topics: None
) -> None:
    send(kafka, 1)
    hold(kafka, lake)
    stale = lake.delta(RAW_POS_EVENTS)
    assert stale is not None
    send(kafka, 1)
    meanwhile = hold(kafka, lake)
    with pytest.raises(ConcurrentIngestError, match=f"raw table of {NAME} was written at the same moment"):
        record(stale, NAME, read_progress(stale).acknowledged("too late"))
    assert read_progress(lake.delta(RAW_POS_EVENTS)) == meanwhile


def test_the_commands_show_and_refuse_in_one_line(kafka: KafkaResource, topics: None) -> None:
    send(kafka, 2)
    shown = CliRunner().invoke(main, ["topics", "status"])
    assert (shown.exit_code, shown.output.splitlines()[-1]) == (0, f"{NAME}: 2 events waiting")
    for command, answer in [
        (["adopt", NAME], "Error: pos-events is the topic that the raw table was read from: there is nothing to adopt"),
        (["acknowledge", NAME, "--note", "Ann"], "Error: pos-events has no loss that waits to be acknowledged"),
        (["adopt", "pos"], "Error: pos is no topic of events: choose one of sales-transactions, inventory-updates, "),
    ]:
        refused = CliRunner().invoke(main, ["topics", *command])
        assert (refused.exit_code, refused.output.startswith(answer), refused.output.count("\n")) == (1, True, 1)


def test_every_sensor_leaves_no_client_behind_when_the_broker_answers(kafka: KafkaResource, tick: Tick) -> None:
    before = set(threading.enumerate())
    send(kafka, 1)
    tick()
    assert {thread for thread in threading.enumerate() if thread.name.startswith("kafka")} <= before
