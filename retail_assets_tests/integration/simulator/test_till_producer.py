"""The tills' producer and a real broker: whoever dies in the middle, every message is there once and in order."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from retail_assets.contracts.topics import EVENT_TOPICS, Topic
from retail_assets.resources.kafka import KafkaResource
from retail_assets.resources.topics import TopicSettings, read_topic_settings
from retail_assets.settings import Mode, Settings
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.simulation import simulate
from retail_assets.simulator.tills import readback
from retail_assets.simulator.tills.day_producer import ProducerError, TillProducer
from retail_assets.simulator.tills.messages import Message
from retail_assets.simulator.tills.partitioning import partition_of
from retail_assets_tests.integration.simulator.made_up import MANY, PARTITIONS, made_up, topic_named
from retail_local.stack import Stack

pytestmark = pytest.mark.integration

SEND_UNTIL_KILLED = """
import os, signal, sys
from retail_assets_tests.integration.simulator.made_up import MANY, made_up, topic_named
from retail_assets.simulator.tills.day_producer import TillProducer

def die(there, _):
    if there >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

TillProducer(sys.argv[1]).send(topic_named(sys.argv[2]), made_up(MANY), die)
"""


def values_by_partition(servers: str, topic: Topic) -> dict[int, list[bytes]]:
    """Read a whole topic by the plainest means."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "tests",
            "enable.auto.commit": False,
            # Nothing more comes: at the end of a partition the broker needn't wait before it answers.
            "fetch.wait.max.ms": 10,
        }
    )
    found: dict[int, list[bytes]] = defaultdict(list)
    try:
        found_topic = consumer.list_topics(topic.name, timeout=20).topics[topic.name]
        for partition in sorted(found_topic.partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic.name, partition), timeout=20)
            consumer.assign([TopicPartition(topic.name, partition, low)])
            while len(found[partition]) < high - low:
                for message in consumer.consume(5_000, timeout=0.05):
                    assert message.error() is None
                    found[partition].append(message.value() or b"")
    finally:
        consumer.close()
    return found


def expected(messages: list[Message], partitions: int) -> dict[int, list[bytes]]:
    places: dict[int, list[bytes]] = {partition: [] for partition in range(partitions)}
    for message in messages:
        places[partition_of(message.key, partitions)].append(message.value)
    return places


def broker_pid(stack: Stack) -> int:
    pid = next(status.pid for status in stack.status(ask=False) if status.name == "kafka")
    assert pid is not None
    return pid


@pytest.fixture
def topic(kafka: KafkaResource) -> Topic:
    """A topic of its own for each test."""
    topic = topic_named(f"tills-{uuid.uuid4().hex[:8]}")
    kafka.apply_topics({topic.name: TopicSettings(PARTITIONS, 1, {})})
    return topic


@pytest.fixture
def servers(settings: Settings) -> str:
    return settings.bootstrap_servers


@pytest.fixture
def nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests in which no producer dies: what was sent before has long been written, and isn't waited for."""
    monkeypatch.setattr(readback, "_SETTLED_S", 0.01)


@pytest.fixture
def whole_stack(stack: Stack) -> Iterator[Stack]:
    """The stack, healthy again after the test whatever was done to its broker."""
    yield stack
    stack.up(["kafka"])


@pytest.mark.usefixtures("nobody_else")
def test_a_simulated_day_arrives_whole_and_in_order(kafka: KafkaResource, servers: str) -> None:
    kafka.apply_topics(read_topic_settings(Mode.LOCAL))
    day = simulate(Scenario(last_date=date(2026, 1, 31), stores=3, products=30, days=10)).today_messages()
    before = {topic.name: values_by_partition(servers, topic) for topic in EVENT_TOPICS}
    progress: list[tuple[int, int]] = []
    for topic, messages in day.items():
        sent = TillProducer(servers).send(topic, messages, lambda there, all_: progress.append((there, all_)))
        assert sent == len(messages)
        assert progress[-1] == (len(messages), len(messages))
        for partition, values in values_by_partition(servers, topic).items():
            new = values[len(before[topic.name][partition]) :]
            assert new == expected(messages, len(before[topic.name]))[partition]


@pytest.mark.usefixtures("nobody_else")
def test_sending_again_sends_nothing(servers: str, topic: Topic) -> None:
    messages = made_up(500)
    assert TillProducer(servers).send(topic, messages) == 500
    assert TillProducer(servers).send(topic, messages) == 500
    assert values_by_partition(servers, topic) == expected(messages, PARTITIONS)


def test_messages_carry_their_headers_and_the_time_of_sending(servers: str, topic: Topic) -> None:
    TillProducer(servers).send(topic, made_up(1))
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "tests", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic.name, partition_of(b"S000", PARTITIONS), 0)])
    (message,) = consumer.consume(1, timeout=20)
    consumer.close()
    headers = dict(message.headers() or [])
    assert headers["producer"] == b"tester"
    assert headers["sequence"] == b"0"
    assert abs(int(headers["produced_at"] or 0) / 1_000 - time.time()) < 120
    assert message.key() == b"S000"


def test_keys_go_where_kafkas_own_clients_would_send_them(servers: str, topic: Topic) -> None:
    placed: dict[bytes, int | None] = {}
    producer = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random"})
    for number in range(200):
        key = f"S{number:03d}:P{number * 7:04d}".encode()
        producer.produce(
            topic.name,
            key=key,
            value=b"{}",
            on_delivery=lambda _, message: placed.__setitem__(message.key() or b"", message.partition()),
        )
    producer.flush(20)
    assert len(placed) == 200
    assert all(partition_of(key, PARTITIONS) == partition for key, partition in placed.items())


@pytest.mark.usefixtures("nobody_else")
@pytest.mark.parametrize("read_back", [30, 5_000], ids=["in many steps", "in one step"])
def test_a_part_that_was_sent_is_found_among_foreign_and_corrupt_messages(
    servers: str, topic: Topic, monkeypatch: pytest.MonkeyPatch, read_back: int
) -> None:
    monkeypatch.setattr(readback, "_READ_BACK", read_back)
    messages = made_up(300)
    noise = Producer({"bootstrap.servers": servers})
    chance = random.Random(5)  # noqa: S311 - noise for a test
    headers: list[list[tuple[str, str | bytes | None]] | None] = [
        None,
        [("producer", b"tester"), ("sequence", b"many")],
        [("producer", b"tester")],
        [("producer", b"another"), ("sequence", b"299")],
        [("sequence", b"1")],
        [("producer", None), ("sequence", b"\xff")],
    ]

    def make_noise() -> None:
        for _ in range(150):
            noise.produce(
                topic.name, value=b"\x00?", partition=chance.randrange(PARTITIONS), headers=chance.choice(headers)
            )
        noise.flush(20)

    make_noise()
    for end in (40, 41, 200):
        TillProducer(servers).send(topic, messages[:end])
        make_noise()
    assert TillProducer(servers).send(topic, messages) == 300
    own = {
        partition: [value for value in values if value != b"\x00?"]
        for partition, values in values_by_partition(servers, topic).items()
    }
    assert own == expected(messages, PARTITIONS)


@pytest.mark.usefixtures("nobody_else")
def test_two_producers_do_not_see_each_other(servers: str, topic: Topic) -> None:
    TillProducer(servers).send(topic, made_up(100, b"one"))
    assert TillProducer(servers).send(topic, made_up(120, b"two")) == 120
    assert sum(len(values) for values in values_by_partition(servers, topic).values()) == 220


@pytest.mark.usefixtures("nobody_else")
def test_a_topic_that_holds_something_twice_is_reported(servers: str, topic: Topic) -> None:
    messages = made_up(3)
    producer = Producer({"bootstrap.servers": servers})
    for _ in range(2):
        producer.produce(topic.name, value=b"", partition=0, headers=list(messages[0].headers))
    producer.flush(20)
    with pytest.raises(ProducerError, match="1 are repeated"):
        TillProducer(servers).send(topic, messages)


def test_a_missing_topic_is_named_and_not_created(servers: str, kafka: KafkaResource) -> None:
    for _ in range(2):
        with pytest.raises(ProducerError, match="topic no-such-topic doesn't exist"):
            TillProducer(servers).send(topic_named("no-such-topic"), made_up(1))


def test_a_broker_that_does_not_lead_its_partitions_yet_is_waited_for_but_not_for_ever(
    servers: str, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE]

    class Starting(Consumer):
        def get_watermark_offsets(self, *args: Any, **named: Any) -> tuple[int, int]:
            if refusals:
                raise KafkaException(KafkaError(refusals.pop()))
            return super().get_watermark_offsets(*args, **named)

    monkeypatch.setattr(readback, "Consumer", Starting)
    assert TillProducer(servers).send(topic, made_up(3)) == 3
    assert not refusals
    refusals.extend([KafkaError.NOT_LEADER_FOR_PARTITION] * 1_000)
    with pytest.raises(ProducerError, match="can't be read back"):
        TillProducer(servers, timeout_s=0.1).send(topic, made_up(3))


@pytest.mark.parametrize("confirmed", [0, 1, 5_000, 15_000])
def test_a_killed_producer_is_taken_up_where_it_ended(servers: str, topic: Topic, confirmed: int) -> None:
    root = Path(__file__).parents[3]
    child = subprocess.run(
        [sys.executable, "-c", SEND_UNTIL_KILLED, servers, topic.name, str(confirmed)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    messages = made_up(MANY)
    there = sum(len(values) for values in values_by_partition(servers, topic).values())
    assert confirmed <= there < MANY
    assert TillProducer(servers).send(topic, messages) == MANY
    assert values_by_partition(servers, topic) == expected(messages, PARTITIONS)


def test_a_killed_broker_loses_and_repeats_nothing(servers: str, topic: Topic, whole_stack: Stack) -> None:
    messages = made_up(MANY)
    victims = [broker_pid(whole_stack)]

    def kill_once(there: int, _: int) -> None:
        if there >= 5_000 and victims:
            os.kill(victims.pop(), signal.SIGKILL)

    with contextlib.suppress(ProducerError):  # the supervisor may bring the broker back in time, or not
        TillProducer(servers, timeout_s=20).send(topic, messages, kill_once)
    assert not victims
    whole_stack.up(["kafka"])
    assert TillProducer(servers).send(topic, messages) == MANY
    assert values_by_partition(servers, topic) == expected(messages, PARTITIONS)


def test_a_broker_that_stops_answering_ends_in_a_clear_error_and_can_be_gone_on_with(
    servers: str, topic: Topic, whole_stack: Stack
) -> None:
    messages = made_up(MANY)
    broker = psutil.Process(broker_pid(whole_stack))

    def stop_at_once(there: int, _: int) -> None:
        if there == 0:
            broker.suspend()

    try:
        with pytest.raises(ProducerError, match="send again to go on"):
            TillProducer(servers, timeout_s=3).send(topic, messages, stop_at_once)
    finally:
        broker.resume()
    assert TillProducer(servers).send(topic, messages) == MANY
    assert values_by_partition(servers, topic) == expected(messages, PARTITIONS)
