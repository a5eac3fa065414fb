"""Dead letters on a real broker: what they say, and that a message is sent again once and then left alone."""

import json
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import confluent_kafka
import polars as pl
import pytest
from click.testing import CliRunner, Result
from pyspark.sql import SparkSession

from retail_assets.assets import raw
from retail_assets.cli import main
from retail_assets.contracts.letters import letter_key
from retail_assets.contracts.tables import RAW_DEAD_LETTERS, RAW_POS_EVENTS
from retail_assets.contracts.topics import DEAD_LETTERS, EVENT_TOPICS, POS_EVENTS
from retail_assets.resources.kafka import BrokerError, KafkaResource, Letter
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.repair import adopt
from retail_assets.resources.topics import read_topic_settings
from retail_assets.settings import Mode
from retail_assets_tests.integration.test_raw_ingest import event, held_events, whole_topic
from retail_streaming.broker import send_letters
from retail_streaming.errors import StreamingError, TopicMissingError, TransientError
from retail_streaming.letters import refused
from retail_streaming.settings import StreamingSettings

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def few_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands take the tests' Spark session as it is."""
    monkeypatch.setenv("RETAIL_SPARK_SHUFFLE_PARTITIONS", "2")


def retail(*words: str) -> Result:
    return CliRunner().invoke(main, ["dead-letters", *words])


def listed(*words: str) -> list[dict[str, str]]:
    result = retail("list", "--json", *words)
    assert result.exit_code == 0, result.output
    letters: list[dict[str, str]] = json.loads(result.output)["letters"]
    return letters


def only_place(kafka: KafkaResource) -> str:
    (message,) = whole_topic(POS_EVENTS, kafka)
    return f"{message.partition}-{message.offset}"


def send_as_the_service_does(spark: SparkSession, kafka: KafkaResource) -> None:
    messages = (
        spark.read.format("kafka")
        .option("kafka.bootstrap.servers", kafka.bootstrap_servers)
        .option("subscribe", POS_EVENTS.name)
        .option("includeHeaders", "true")
        .load()
    )
    settings = StreamingSettings(_env_file=None, kafka_bootstrap_servers=kafka.bootstrap_servers)
    send_letters(refused(messages, EVENT_TOPICS), settings, DEAD_LETTERS)


def test_the_raw_layer_sends_the_letter_that_the_streaming_service_has_sent_and_none_that_was_replayed(
    materialize: Any, kafka: KafkaResource, lake: LakeResource, spark: SparkSession, tmp_path: Path
) -> None:
    own = [("trace", b"\xff\x00"), ("topic", b"elsewhere"), ("trace", b"two"), ("empty", b"")]
    kafka.send(POS_EVENTS.name, [Letter(b"S1", b"not json", own), Letter(b"S1", b"\x00\xff", []), event(2)])
    send_as_the_service_does(spark, kafka)
    (service,) = [one for one in whole_topic(DEAD_LETTERS, kafka) if one.value == b"not json"]
    (message,) = [one for one in whole_topic(POS_EVENTS, kafka) if one.value == b"not json"]
    assert service.key.decode() == f"pos-events-{message.partition}-{message.offset}@{message.timestamp}"
    assert service.headers == [
        ("trace", b"\xff\x00"),
        ("trace", b"two"),
        ("empty", b""),
        ("reason", b"not a JSON object with any known field"),
        ("topic", b"pos-events"),
        ("partition", str(message.partition).encode()),
        ("offset", str(message.offset).encode()),
    ]
    (replayed,) = {letter["key"] for letter in listed()} - {service.key.decode()}
    file = tmp_path / "mended.json"
    file.write_bytes(event(3).value or b"")
    assert retail("replay", replayed, "--value", str(file)).exit_code == 0

    materialize(RAW_DEAD_LETTERS)
    assert lake.read(RAW_DEAD_LETTERS).height == 2
    (again,) = whole_topic(DEAD_LETTERS, kafka)[3:]
    assert (again.key, again.value, again.headers) == (service.key, service.value, service.headers)
    assert [letter["key"] for letter in listed()] == [service.key.decode()]
    held = lake.read(RAW_POS_EVENTS, columns=["rejection", "raw_headers"])
    assert held.filter(pl.col("rejection").is_null())["raw_headers"].to_list() == [None, None]


def test_a_mended_message_becomes_an_event_and_its_letter_is_gone_for_good(
    materialize: Any, kafka: KafkaResource, lake: LakeResource, tmp_path: Path
) -> None:
    broken = event(1, kind="dance")
    kafka.send(POS_EVENTS.name, [Letter(broken.key, broken.value, [("trace", b"T9"), ("produced_at", b"1")])])
    materialize(RAW_DEAD_LETTERS)
    (letter,) = listed("--topic", "pos-events", "--since", "2020-01-01")
    assert letter["reason"].startswith("kind is not one of")
    assert listed("--since", "2099-01-01") == []
    key, file = letter["key"], tmp_path / "message.json"

    shown = retail("show", key).output
    assert "trace: T9\n" in shown
    assert '  "kind": "dance"\n' in shown
    assert retail("show", key, "--value", str(file)).exit_code == 0
    assert file.read_bytes() == broken.value
    assert "is there already" in retail("show", key, "--value", str(file)).output
    assert retail("show", key, "--value", "-").stdout_bytes == broken.value

    file.write_bytes(broken.value.replace(b"dance", b"close"))  # type: ignore[union-attr]
    words = ("replay", key, "--value", str(file))
    assert "would send" in retail(*words, "--dry-run").output
    assert listed()
    assert retail(*words).output.endswith("sent again: 1\n")
    assert listed() == []
    again = retail(*words)
    assert again.exit_code == 1
    assert f"Error: dead-letters has no letter {key}" in again.output

    replayed = whole_topic(POS_EVENTS, kafka)[-1]
    assert replayed.key == b"S1"
    assert replayed.headers == [("trace", b"T9"), ("produced_at", b"1"), ("replay_of", key.encode())]
    materialize(RAW_DEAD_LETTERS)
    assert held_events(lake) == ["E1"]
    assert lake.read(RAW_DEAD_LETTERS).height == 1
    assert listed() == []


def test_what_would_be_refused_again_is_told_and_stays_and_the_rest_is_sent(
    kafka: KafkaResource, topics: None, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def letter(number: int, value: bytes | None, reason: bytes, topic: bytes = b"pos-events") -> Letter:
        said = [("reason", reason), ("topic", topic), ("partition", b"0"), ("offset", str(number).encode())]
        return Letter(b"%s-0-%d" % (topic, number), value, said)

    letters = [
        letter(12, event(12).value, b"an old rule"),
        letter(9, event(9).value, b"an old rule"),
        letter(2, b"\x00", b"no JSON"),
        letter(3, event(3).value, b"an old rule", b"inventory-updates"),
        letter(4, event(4).value, b"an old rule", b"elsewhere"),
        letter(5, event(5).value, b"forgotten"),
        letter(5, None, b"forgotten"),
        letter(2, b"\x01", b"no JSON object"),
    ]
    kafka.send(DEAD_LETTERS.name, letters)
    shown = retail("list", "--limit", "1").output.splitlines()
    assert shown[0] == "2 of pos-events: an old rule"
    assert len(shown) == 4 + 1 + 1
    assert shown[-1] == "… and 4 more"
    assert [one["value"] for one in listed("--reason", "json")] == ["\x01"]

    unknown = retail("replay", "--all")
    assert unknown.exit_code == 1
    assert "letter elsewhere-0-4 is about the topic 'elsewhere'" in unknown.output
    partly = retail("replay", "--topic", "pos-events")
    assert partly.exit_code == 1
    assert "pos-events-0-2 would be refused again: not a JSON object" in partly.stderr
    assert partly.stdout.endswith("sent again: 2\n")
    # In the order in which they came.
    assert [one.value for one in whole_topic(POS_EVENTS, kafka)] == [event(9).value, event(12).value]
    assert {one["key"] for one in listed()} == {"pos-events-0-2", "inventory-updates-0-3", "elsewhere-0-4"}
    assert "product_id is missing" in retail("replay", "inventory-updates-0-3").stderr
    assert len(listed()) == 3
    assert retail("replay", "--reason", "nobody says this").output == ("no such dead letters: nothing is to be sent\n")
    # A crash between the message and the tombstone: the letter is still there, and the message is sent once more.
    whole = KafkaResource.send

    def until_the_tombstones(self: KafkaResource, topic: str, letters: Iterable[Letter]) -> int:
        if topic == DEAD_LETTERS.name:
            raise BrokerError("the broker went away")
        return whole(self, topic, letters)

    monkeypatch.setattr(KafkaResource, "send", until_the_tombstones)
    assert retail("replay", "pos-events-0-2", "--anyway").exit_code == 1
    monkeypatch.setattr(KafkaResource, "send", whole)
    assert retail("replay", "pos-events-0-2", "--anyway").exit_code == 0
    sent = [(one.key, one.value) for one in whole_topic(POS_EVENTS, kafka)]
    assert sent.count((None, b"\x01")) == 2
    assert "pos-events-0-2" not in {one["key"] for one in listed()}


def test_a_topic_that_was_made_anew_has_letters_of_its_own_and_both_senders_call_them_the_same(
    materialize: Any, kafka: KafkaResource, lake: LakeResource, spark: SparkSession, tmp_path: Path
) -> None:
    kafka.send(POS_EVENTS.name, [Letter(b"S1", b"first", [])])
    send_as_the_service_does(spark, kafka)
    materialize(RAW_DEAD_LETTERS)
    kafka.delete_topics([POS_EVENTS.name])
    kafka.apply_topics({POS_EVENTS.name: read_topic_settings(Mode.LOCAL)[POS_EVENTS.name]})
    adopt(POS_EVENTS, kafka, lake)
    kafka.send(POS_EVENTS.name, [Letter(b"S1", b"second", []), Letter(b"S1", b"third", [])])
    send_as_the_service_does(spark, kafka)
    keys = {letter["value"]: letter["key"] for letter in listed()}
    assert set(keys) == {"first", "second", "third"}
    # The broker counts from 0 again.
    assert keys["first"].partition("@")[0] == keys["second"].partition("@")[0]

    file = tmp_path / "mended.json"
    file.write_bytes(event(1).value or b"")
    assert retail("replay", keys["second"], "--value", str(file)).exit_code == 0
    materialize(RAW_DEAD_LETTERS)
    assert lake.read(RAW_DEAD_LETTERS).height == 3
    left = {letter["value"]: letter["key"] for letter in listed()}
    assert left == {value: key for value, key in keys.items() if value != "second"}
    both = [(one.key, one.headers) for one in whole_topic(DEAD_LETTERS, kafka) if one.value == b"third"]
    assert len(both) == 2
    assert both[0] == both[1]


@pytest.mark.parametrize(
    ("value", "compression"),
    [(random.Random(1).randbytes(1_048_400), "none"), (b"x" * 8_000_000, "gzip")],  # noqa: S311 -- the same each time
    ids=["a mebibyte", "more, but compressed"],
)
@pytest.mark.parametrize("sender", ["raw layer", "service"])
def test_the_largest_message_that_its_topic_takes_becomes_a_letter_byte_for_byte(
    value: bytes, compression: str, sender: str, materialize: Any, kafka: KafkaResource, spark: SparkSession
) -> None:
    limits = {"message.max.bytes": 10_000_000, "compression.type": compression}
    till = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap_servers, **limits})
    till.produce(POS_EVENTS.name, value, b"S1")
    assert till.flush(30) == 0
    assert [one.value == value for one in whole_topic(POS_EVENTS, kafka)] == [True]
    if sender == "service":
        send_as_the_service_does(spark, kafka)
    else:
        materialize(RAW_DEAD_LETTERS)
    assert [one.value == value for one in whole_topic(DEAD_LETTERS, kafka)] == [True]


def test_a_letter_that_the_topic_does_not_take_is_one_clear_error_and_not_tried_again(
    topics: None, kafka: KafkaResource, spark: SparkSession
) -> None:
    wanted = read_topic_settings(Mode.LOCAL)[DEAD_LETTERS.name]
    small = replace(wanted, config=wanted.config | {"max.message.bytes": "10000"})
    kafka.apply_topics({DEAD_LETTERS.name: small})
    kafka.send(POS_EVENTS.name, [Letter(b"S1", random.Random(1).randbytes(50_000), [])])  # noqa: S311
    with pytest.raises(StreamingError, match="too large for the topic dead-letters .*RecordTooLarge") as caught:
        send_as_the_service_does(spark, kafka)
    assert not isinstance(caught.value, TransientError)


@pytest.mark.long
def test_letters_to_a_topic_that_is_not_there_are_not_tried_again(
    topics: None, kafka: KafkaResource, spark: SparkSession
) -> None:
    kafka.send(POS_EVENTS.name, [Letter(b"S1", b"not json", [])])
    kafka.delete_topics([DEAD_LETTERS.name])
    with pytest.raises(TopicMissingError, match="no topic dead-letters: run `retail topics apply`"):
        send_as_the_service_does(spark, kafka)


def test_a_table_of_an_earlier_release_has_letters_too(
    materialize: Any, kafka: KafkaResource, lake: LakeResource, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = raw.decoded
    kafka.send(POS_EVENTS.name, [Letter(b"S1", b"not json", [("trace", b"T")])])
    later = ("raw_headers", "broker_offset", "broker_time")
    monkeypatch.setattr(raw, "decoded", lambda *args: whole(*args).drop(*later))
    materialize()
    monkeypatch.setattr(raw, "decoded", whole)
    assert not {*later} & {*spark.read.format("delta").load(lake.uri(RAW_POS_EVENTS.path)).columns}
    materialize(RAW_DEAD_LETTERS)
    assert lake.read(RAW_DEAD_LETTERS)["raw_headers"].to_list() == [None]
    # Under the key that the earlier release made, so that a tombstone of that time still holds.
    assert [letter_key(one["key"]) for one in listed()] == [f"pos-events-{only_place(kafka)}"]


def test_a_broker_without_the_topic_is_an_error_with_the_command_that_makes_it(kafka: KafkaResource) -> None:
    kafka.delete_topics([DEAD_LETTERS.name])
    result = retail("list")
    assert result.exit_code == 1
    assert "has no topic dead-letters: run `retail topics apply`" in result.output
