"""`retail topics apply` and a real broker: it makes, it changes, it tells, and a second time it does nothing."""

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from kafka import KafkaAdminClient

from retail_assets.resources.kafka import BrokerError, KafkaResource
from retail_assets.resources.topic_admin import TopicChangeError
from retail_assets.resources.topics import TopicSettings

pytestmark = pytest.mark.integration

WANTED = TopicSettings(2, 1, {"cleanup.policy": "delete", "retention.ms": "86400000", "min.insync.replicas": "1"})


@pytest.fixture
def name(kafka: KafkaResource) -> Iterator[str]:
    name = f"apply-{uuid.uuid4().hex[:8]}"
    yield name
    kafka.delete_topics([name])


def told(kafka: KafkaResource, wanted: dict[str, TopicSettings]) -> list[str]:
    return [str(change) for change in kafka.apply_topics(wanted)]


def test_what_is_missing_is_made_and_the_second_time_nothing_is_done(kafka: KafkaResource, name: str) -> None:
    (line,) = told(kafka, {name: WANTED})
    assert line.startswith(f"{name}: created with 2 partitions, replication 1, cleanup.policy delete")
    assert told(kafka, {name: WANTED}) == []


def test_what_differs_is_changed_and_told_and_what_the_file_leaves_out_goes_back(
    kafka: KafkaResource, name: str
) -> None:
    kafka.apply_topics({name: WANTED})
    grown = replace(WANTED, partitions=3, config=WANTED.config | {"retention.ms": "1000", "max.message.bytes": "9000"})
    assert told(kafka, {name: grown}) == [
        f"{name}: partitions 2 -> 3 (keys move to other partitions)",
        f"{name}: max.message.bytes default -> 9000",
        f"{name}: retention.ms 86400000 -> 1000",
    ]
    assert told(kafka, {name: grown}) == []
    assert len(kafka.state(name).end) == 3
    assert told(kafka, {name: replace(WANTED, partitions=3)}) == [
        f"{name}: max.message.bytes 9000 -> default",
        f"{name}: retention.ms 1000 -> 86400000",
    ]


def test_an_impossible_wish_for_one_topic_changes_no_other(kafka: KafkaResource, name: str) -> None:
    kafka.apply_topics({name: WANTED})
    other = f"{name}-new"
    for impossible, error in [
        (replace(WANTED, partitions=1), "can't take partitions away"),
        (replace(WANTED, replication=2), "should have 2"),
        (replace(WANTED, config=WANTED.config | {"max.message.bytes": "-5"}), "refuses max.message.bytes"),
    ]:
        with pytest.raises(TopicChangeError, match=error):
            kafka.apply_topics({other: WANTED, name: impossible})
    for unheard, error in [
        (replace(WANTED, replication=3), "refuses to create it: .* Correct my.toml"),
        (replace(WANTED, config={"retention.ms": "-7"}), "refuses to create it: .*retention.ms.* Correct my.toml"),
        (replace(WANTED, partitions=100_000), "refuses to create it"),
    ]:
        with pytest.raises(TopicChangeError, match=error):
            kafka.apply_topics({name: replace(WANTED, partitions=3), other: replace(unheard, source="my.toml")})
    with pytest.raises(TopicChangeError, match="refuses to grow it to 100000 partitions"):
        kafka.apply_topics({other: WANTED, name: replace(WANTED, partitions=100_000)})
    assert kafka.topics_with_events([other]) == []
    assert told(kafka, {name: WANTED}) == []
    assert [line.split(":")[0] for line in told(kafka, {other: WANTED})] == [other]
    kafka.delete_topics([other])


def test_a_topic_counts_as_deleted_when_the_broker_shows_it_no_more(
    kafka: KafkaResource, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka.apply_topics({name: WANTED})
    look = KafkaAdminClient.list_topics
    stale = [[name], [name], [name]]

    def behind(admin: KafkaAdminClient) -> list[str]:
        return stale.pop() if stale else look(admin)

    monkeypatch.setattr(KafkaAdminClient, "list_topics", behind)
    kafka.delete_topics([name])
    assert stale == []
    assert len(told(kafka, {name: WANTED})) == 1

    monkeypatch.setattr(KafkaAdminClient, "list_topics", lambda _: [name])
    with pytest.raises(BrokerError, match=f"shows {name} still, 1 s after they were deleted; run the same command"):
        kafka.model_copy(update={"timeout_s": 1}).delete_topics([name])
