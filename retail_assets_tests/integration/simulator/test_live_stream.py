"""A live stream and a real broker: whoever is stopped or killed, every message is there once, in order, and counted."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition

from retail_assets.contracts.topics import EVENT_TOPICS, POS_EVENTS
from retail_assets.resources.kafka import BrokerError, KafkaResource
from retail_assets.resources.topics import TopicSettings
from retail_assets.settings import Settings
from retail_assets.simulator.tills.bookmarks import GROUP
from retail_assets.simulator.tills.dirt import DirtCounts
from retail_assets.simulator.tills.live import LiveStream, by_speed
from retail_assets.simulator.tills.live_report import LiveError, LiveProgress, LiveReport
from retail_assets.simulator.tills.pacing import AtOnce, ByRate, Pace
from retail_assets.simulator.tills.producers import EventProducer, ProducerError
from retail_assets_tests.integration.simulator.reading import on_topic
from retail_assets_tests.made_up_days import MadeUpDays
from retail_assets_tests.made_up_stream import FIRST, LAST, expected, plan_of, stream_of, topics_of
from retail_local.stack import Stack

pytestmark = pytest.mark.integration

PARTITIONS = 3
ROOT = Path(__file__).parents[3]
#: Run as a process of its own: what can be killed, and what gets signals.
CHILD = """
import sys
from retail_assets.stopping import stopped_by_signals
from retail_assets.simulator.tills.pacing import ByRate
from retail_assets_tests.made_up_stream import FIRST, stream_of
servers, tag, events, rate = sys.argv[1:]
with stopped_by_signals() as stop:
    stream = stream_of(servers, tag, int(events), lambda progress: print(progress.confirmed, flush=True))
    report = stream.run(FIRST, None, lambda _: ByRate(float(rate)), stop)
    print("ended", report.total.messages, report.unconfirmed, report.stopped, flush=True)
"""


def send(stream: LiveStream, pace: Pace | None = None, stop: threading.Event | None = None) -> LiveReport:
    return stream.run(FIRST, None, lambda _: pace or AtOnce(), stop or threading.Event())


def assert_all_there(servers: str, tag: str, events: int = 400) -> None:
    """Hold the topics against the plan: the same messages, each once, in the order of sending."""
    plan = plan_of(tag, events)
    planned = [row for stretch in plan.stretches(FIRST) for row in stretch.iter_rows(named=True)]
    for place, topic in enumerate(plan.topics):
        wanted = [(row["key"], row["value"], row["sequence"]) for row in planned if row["topic"] == place]
        found = on_topic(servers, topic)
        for messages in found.values():
            sequences = [sequence for _, _, sequence, _ in messages]
            assert sequences == sorted(set(sequences))
        assert sorted(wanted) == sorted((key, value, seq) for part in found.values() for key, value, seq, _ in part)


def broker_of(stack: Stack) -> psutil.Process:
    pid = next(status.pid for status in stack.status(ask=False) if status.name == "kafka")
    assert pid is not None
    return psutil.Process(pid)


@dataclass
class StoppedAfter:
    """A pace at which some messages go at once, and then somebody stops the stream."""

    messages: int
    stop: threading.Event = field(default_factory=threading.Event)

    def ready(self, due: npt.NDArray[np.int64], sent: int, elapsed_s: float) -> int:  # noqa: ARG002 - the protocol's
        if sent == self.messages:
            self.stop.set()
        return min(due.size, self.messages - sent)

    def wait_s(self, next_due: int, sent: int, elapsed_s: float) -> float:  # noqa: ARG002 - the protocol's
        return 0.0


def send_some(stream: LiveStream, messages: int) -> LiveReport:
    pace = StoppedAfter(messages)
    report = send(stream, pace, pace.stop)
    assert report.total.messages == messages
    return report


@pytest.fixture
def servers(settings: Settings) -> str:
    return settings.bootstrap_servers


@pytest.fixture
def tag(kafka: KafkaResource) -> Iterator[str]:
    """Topics of their own for each test."""
    tag = uuid.uuid4().hex[:8]
    names = [topic.name for topic in topics_of(tag)]
    kafka.apply_topics({name: TopicSettings(PARTITIONS, 1, {}) for name in names})
    yield tag
    kafka.delete_topics(names)


@pytest.fixture
def whole_stack(stack: Stack) -> Iterator[Stack]:
    """The stack, healthy again after the test whatever was done to its broker."""
    yield stack
    stack.up(["kafka"])


def start(servers: str, tag: str, events: int, rate: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, servers, tag, str(events), str(rate)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(child: subprocess.Popen[str], confirmed: int) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        assert not line.startswith("ended")
        if int(line) >= confirmed:
            return
    raise AssertionError(f"ended with {child.wait()} before it had {confirmed}")


def test_a_stream_arrives_whole_and_its_counts_balance_a_consumers_books(servers: str, tag: str) -> None:
    report = send(stream_of(servers, tag))
    assert_all_there(servers, tag)
    plan = plan_of(tag, 400)
    assert report.sent == expected(plan, FIRST)
    for topic in plan.topics:
        counts, ids = report.sent[topic.name], Counter[str]()
        refused = unknown = 0
        known = MadeUpDays(FIRST, LAST, 400).expected_ids(EVENT_TOPICS[plan.topics.index(topic)], FIRST, LAST)
        for messages in on_topic(servers, topic).values():
            for _, value, _, headers in messages:
                if headers["schema_version"] != b"1":
                    unknown += 1
                    continue
                try:
                    identity = json.loads(value)[topic.schema.id_field]
                except ValueError:
                    identity = ""
                refused += identity not in known
                ids[identity] += identity in known
        assert (refused, unknown) == (counts.malformed, counts.unknown_version)
        assert ids.total() == counts.events + counts.duplicates
        assert {name for name, count in ids.items() if count} == known


def test_headers_say_schema_version_content_stream_and_number(servers: str, tag: str) -> None:
    send(stream_of(servers, tag))
    topic = topics_of(tag)[0]
    _, _, sequence, headers = on_topic(servers, topic)[0][0]
    assert headers["schema"] == b"sales_transaction"
    assert headers["content_type"] == b"application/json"
    assert headers["producer"] == f"live-{tag}".encode()
    assert headers["sequence"] == str(sequence).encode()
    assert abs(int(headers["produced_at"]) / 1_000 - time.time()) < 120


@pytest.mark.long
def test_a_stream_that_is_stopped_and_started_again_and_again_has_no_gap_and_no_repetition(
    servers: str, tag: str
) -> None:
    reports = [send_some(stream_of(servers, tag), messages) for messages in (600, 1, 1_300)]
    reports.append(send(stream_of(servers, tag)))
    assert not any(report.unconfirmed for report in reports)
    assert [report.stopped for report in reports] == [True, True, True, False]
    sent = [report.total for report in reports]
    planned = expected(plan_of(tag, 400), FIRST).values()
    assert sum(sent, DirtCounts()) == sum(planned, DirtCounts())
    assert_all_there(servers, tag)
    assert send(stream_of(servers, tag)).total.messages == 0


def test_nothing_is_sent_before_its_time(servers: str, tag: str) -> None:
    stop = threading.Event()
    threading.Timer(2.0, stop.set).start()
    speed, started = 7_200.0, time.time()
    stream_of(servers, tag).run(FIRST, None, by_speed(speed), stop)
    plan = plan_of(tag, 400)
    first_due = int(next(plan.stretches(FIRST))["due"][0])
    count = 0
    for topic in plan.topics:
        for messages in on_topic(servers, topic).values():
            for _, _, sequence, headers in messages:
                due, sent = sequence // 1_000_000, int(headers["produced_at"]) / 1_000
                assert (due - first_due) / 1_000 / speed <= sent - started
                count += 1
    assert count > 20


def test_an_end_leaves_the_rest_to_a_later_run(servers: str, tag: str) -> None:
    noon = int(datetime(2026, 1, 2, 12, tzinfo=UTC).timestamp() * 1_000)
    stream = stream_of(servers, tag)
    report = stream.run(FIRST, noon, lambda _: AtOnce(), threading.Event())
    assert report.sent == expected(plan_of(tag, 400), FIRST, noon)
    assert report.to_come > 0
    assert report.stream_time is not None
    assert report.stream_time < datetime(2026, 1, 2, 12, tzinfo=UTC)
    send(stream)
    assert_all_there(servers, tag)


@dataclass(frozen=True)
class BrokenAfter:
    """A pace with an error in it."""

    messages: int

    def ready(self, due: npt.NDArray[np.int64], sent: int, elapsed_s: float) -> int:  # noqa: ARG002 - the protocol's
        if sent == self.messages:
            raise RuntimeError("something else broke")
        return min(due.size, self.messages - sent)

    def wait_s(self, next_due: int, sent: int, elapsed_s: float) -> float:  # noqa: ARG002 - the protocol's
        return 0.0


def test_any_other_error_leaves_what_was_offered_confirmed_and_bookmarked(servers: str, tag: str) -> None:
    stream = stream_of(servers, tag)
    with pytest.raises(RuntimeError, match="something else broke"):
        send(stream, BrokenAfter(900))
    found = {topic.name: on_topic(servers, topic) for topic in topics_of(tag)}
    assert sum(len(messages) for parts in found.values() for messages in parts.values()) == 900
    for name, parts in found.items():
        consumer = Consumer({"bootstrap.servers": servers, "group.id": GROUP.format(stream.name)})
        kept = consumer.committed([TopicPartition(name, partition) for partition in parts], timeout=20)
        consumer.close()
        assert {place.partition: place.offset for place in kept} == {part: len(rows) for part, rows in parts.items()}
    send(stream)
    assert_all_there(servers, tag)


@pytest.mark.parametrize("confirmed", [1, pytest.param(4_000, marks=pytest.mark.long)])
def test_a_killed_stream_is_taken_up_where_it_ended(servers: str, tag: str, confirmed: int) -> None:
    child = start(servers, tag, 3_000, rate=6_000)
    wait_for(child, confirmed)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert send(stream_of(servers, tag, 3_000)).total.messages > 0
    assert_all_there(servers, tag, 3_000)


@pytest.mark.long
def test_a_stream_that_was_killed_many_times_has_no_gap_and_no_repetition(servers: str, tag: str) -> None:
    for _ in range(2):
        child = start(servers, tag, 3_000, rate=3_000)
        wait_for(child, 500)
        child.kill()
        child.wait()
    send(stream_of(servers, tag, 3_000))
    assert_all_there(servers, tag, 3_000)


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGTERM])
def test_a_signal_ends_a_stream_with_everything_confirmed(servers: str, tag: str, number: signal.Signals) -> None:
    child = start(servers, tag, 3_000, rate=2_000)
    wait_for(child, 1_000)
    child.send_signal(number)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    word, messages, unconfirmed, stopped = output.splitlines()[-1].split()
    assert (word, unconfirmed, stopped) == ("ended", "0", "True")
    there = sum(len(part) for topic in topics_of(tag) for part in on_topic(servers, topic).values())
    assert there == int(messages)
    send(stream_of(servers, tag, 3_000))
    assert_all_there(servers, tag, 3_000)


def test_a_killed_broker_loses_and_repeats_nothing(servers: str, tag: str, whole_stack: Stack) -> None:
    victims = [broker_of(whole_stack)]

    def kill_once(progress: LiveProgress) -> None:
        if progress.confirmed >= 2_000 and victims:
            victims.pop().kill()

    stream = stream_of(servers, tag, 3_000, kill_once, timeout_s=20)
    try:  # the supervisor may bring the broker back in time, or not
        send(stream, ByRate(4_000))
    except LiveError as error:
        assert "Start the stream again to go on" in str(error)  # noqa: PT017 - either way is right
    assert not victims
    whole_stack.up(["kafka"])
    send(stream_of(servers, tag, 3_000))
    assert_all_there(servers, tag, 3_000)


@pytest.mark.long
def test_a_broker_that_stops_answering_ends_in_one_error_with_counts(
    servers: str, tag: str, whole_stack: Stack
) -> None:
    broker = broker_of(whole_stack)

    def stop_once(progress: LiveProgress) -> None:
        if progress.confirmed >= 1_000 and broker.status() != psutil.STATUS_STOPPED:
            broker.suspend()

    stream = stream_of(servers, tag, 3_000, stop_once, timeout_s=3, buffered_messages=200)
    try:
        with pytest.raises(LiveError, match=r"then: nothing for 3 s\. Confirmed in all: [\d,]+ messages") as caught:
            send(stream, ByRate(3_000))
    finally:
        broker.resume()
    report = caught.value.report
    assert report.total.messages >= 1_000
    assert report.unconfirmed > 0
    assert report.waits > 0  # the buffer was full, and the tills waited
    send(stream_of(servers, tag, 3_000))
    assert_all_there(servers, tag, 3_000)


def test_a_full_buffer_makes_the_tills_wait_and_drops_nothing(servers: str, tag: str) -> None:
    report = send(stream_of(servers, tag, 3_000, buffered_messages=100))
    assert 0 < report.waits < report.total.messages
    assert_all_there(servers, tag, 3_000)


def test_without_bookmarks_the_topic_itself_says_where_to_go_on(
    servers: str, tag: str, kafka: KafkaResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_some(stream_of(servers, tag), 700)
    # As after a week, when the broker forgets the offsets of a group.
    monkeypatch.setattr("retail_assets.simulator.tills.bookmarks.GROUP", "retail-live-forgotten-{}")
    # Without the date, days between could be left out for good.
    with pytest.raises(ProducerError, match="forgotten with which date it began"):
        stream_of(servers, tag).run(None, None, lambda _: AtOnce(), threading.Event())
    stream_of(servers, tag).run(FIRST, None, lambda _: AtOnce(), threading.Event())
    assert_all_there(servers, tag)


@pytest.mark.long
def test_more_partitions_between_two_runs_do_no_harm_where_nothing_is_missing(
    servers: str, tag: str, kafka: KafkaResource
) -> None:
    send_some(stream_of(servers, tag), 700)
    kafka.apply_topics({topic.name: TopicSettings(PARTITIONS + 2, 1, {}) for topic in topics_of(tag)})
    send(stream_of(servers, tag))
    assert_all_there(servers, tag)


def test_another_beginning_than_the_streams_own_is_refused_until_its_topics_are_made_anew(
    servers: str, tag: str, kafka: KafkaResource
) -> None:
    noon = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp() * 1_000)
    stream_of(servers, tag).run(FIRST, noon, lambda _: AtOnce(), threading.Event())
    names = [topic.name for topic in topics_of(tag)]
    with pytest.raises(ProducerError, match=rf"began with {FIRST}, not {LAST}: leave out --from .* {names[0]}, "):
        stream_of(servers, tag).run(LAST, None, lambda _: AtOnce(), threading.Event())
    kafka.delete_topics(names)
    while True:
        with contextlib.suppress(BrokerError):  # deletion goes on in the background
            kafka.apply_topics({name: TopicSettings(PARTITIONS, 1, {}) for name in names})
            break
    assert stream_of(servers, tag).run(LAST, None, lambda _: AtOnce(), threading.Event()).since == LAST


def test_a_run_that_sent_nothing_binds_no_later_one_to_its_beginning(servers: str, tag: str) -> None:
    stop = threading.Event()
    stop.set()
    for since in (LAST, FIRST, LAST, None):
        assert stream_of(servers, tag).run(since, None, lambda _: AtOnce(), stop).total.messages == 0
    send(stream_of(servers, tag))
    assert_all_there(servers, tag)


def test_a_message_that_the_broker_refuses_is_an_error_that_names_topic_and_counts(
    servers: str, kafka: KafkaResource, tag: str
) -> None:
    topic = dataclasses.replace(POS_EVENTS, name=f"small-{tag}")
    kafka.apply_topics({topic.name: TopicSettings(PARTITIONS, 1, {"max.message.bytes": "1000"})})
    producer = EventProducer(servers, topic)
    producer.offer(b"S001", b"small", [], 1)
    producer.flush()
    producer.offer(b"S001", b"x" * 5_000, [], 2)
    with pytest.raises(ProducerError, match=rf"confirmed 1 of 2 messages for {topic.name}, then: .*too large"):
        producer.flush()
