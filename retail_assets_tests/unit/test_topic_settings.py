"""The settings of topics: what ships is right in every mode, a wrong file is explained, a change is worked out."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retail_assets.contracts.letters import LARGEST_LETTER_BYTES
from retail_assets.contracts.topics import DEAD_LETTERS, EVENT_TOPICS, TOPICS
from retail_assets.resources.topic_admin import TopicChangeError, TopicState, plan_change
from retail_assets.resources.topics import MANAGED, TopicFileError, TopicSettings, read_topic_settings, topics_file
from retail_assets.settings import Mode

ROOT = Path(__file__).resolve().parents[2]
BROKERS_DEFAULT_BYTES = 1_048_588


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A copy of the file to spoil."""
    path = tmp_path / "topics.toml"
    path.write_text(topics_file().read_text(encoding="utf-8"), encoding="utf-8")
    return path


@pytest.mark.parametrize("mode", Mode)
def test_the_file_that_ships_has_every_topic_in_every_mode(mode: Mode) -> None:
    settings = read_topic_settings(mode)
    assert list(settings) == [topic.name for topic in TOPICS]
    for topic in settings.values():
        assert int(topic.config["min.insync.replicas"]) <= topic.replication
        assert set(topic.config) <= MANAGED


def test_one_broker_keeps_one_copy_and_a_cluster_survives_one_loss() -> None:
    assert {topic.replication for topic in read_topic_settings(Mode.LOCAL).values()} == {1}
    assert {topic.replication for topic in read_topic_settings(Mode.CLUSTER).values()} == {3}
    assert {topic.config["min.insync.replicas"] for topic in read_topic_settings(Mode.CLUSTER).values()} == {"2"}


def test_dead_letters_are_compacted_so_that_a_letter_sent_again_replaces_itself() -> None:
    assert read_topic_settings(Mode.LOCAL)[DEAD_LETTERS.name].config["cleanup.policy"] == "compact"


@pytest.mark.parametrize("mode", Mode)
def test_a_dead_letter_has_room_for_the_largest_message_of_every_topic_and_its_headers(mode: Mode) -> None:
    settings = read_topic_settings(mode)
    room = int(settings[DEAD_LETTERS.name].config["max.message.bytes"])
    for topic in EVENT_TOPICS:
        largest = int(settings[topic.name].config.get("max.message.bytes", BROKERS_DEFAULT_BYTES))
        assert largest + 64 * 1024 <= room <= LARGEST_LETTER_BYTES


def test_the_wheel_and_the_images_contain_the_file() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["infra/kafka"] == "retail_assets/_infra/kafka"
    assert "!infra/kafka\n" in (ROOT / ".dockerignore").read_text(encoding="utf-8")
    for dockerfile in ("infra/docker/Dockerfile", "spark/Dockerfile"):
        assert "COPY infra/kafka/ infra/kafka/\n" in (ROOT / dockerfile).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        ("partitions = 2", "partitions = 0", r"topics\.pos-events\.partitions is 0: it should be greater than"),
        ("partitions = 2", 'partitions = "2"', r"topics\.pos-events\.partitions is '2': it should be a valid integer"),
        ("partitions = 2", "partitions = true", r"topics\.pos-events\.partitions is True"),
        ("partitions = 2", "", r"topics\.pos-events\.partitions is missing, and so is modes\.local\.partitions"),
        ("partitions = 2", "partition = 2", r"topics\.pos-events\.partition is not a known field"),
        ("[topics.pos-events]", "[topics.pos_events]", r"topics\.pos_events is not a topic of the contracts"),
        ("[modes.local]", "[modes.laptop]", r"modes\.laptop is 'laptop': it should be 'local', 'compose' or 'cluster'"),
        ("min_in_sync = 1", "min_in_sync = 2", r"min_in_sync is 2 in mode local: it should be at most replication"),
        ('cleanup = "compact"', 'cleanup = "shred"', r"topics\.dead-letters\.cleanup is 'shred': it should be"),
        ('cleanup = "compact"', 'cleanup = "delete"', r"topics\.dead-letters\.retention_days is missing"),
        (
            'cleanup = "compact"',
            'cleanup = "compact"\nretention_days = 3',
            r"topics\.dead-letters\.retention_days means nothing with cleanup 'compact'",
        ),
        ("[modes.local]", "[modes.local", r"is not TOML"),
    ],
)
def test_a_wrong_file_is_told_by_field(changed: Path, before: str, after: str, error: str) -> None:
    text = changed.read_text(encoding="utf-8")
    assert before in text
    changed.write_text(text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(TopicFileError, match=error):
        read_topic_settings(Mode.LOCAL, changed)


def test_a_missing_topic_and_a_missing_file_are_named(changed: Path) -> None:
    text = changed.read_text(encoding="utf-8")
    changed.write_text(text[: text.index("# Keyed by topic")], encoding="utf-8")
    with pytest.raises(TopicFileError, match=r"topics\.dead-letters is missing"):
        read_topic_settings(Mode.LOCAL, changed)
    with pytest.raises(TopicFileError, match=r"can't be read: No such file"):
        read_topic_settings(Mode.LOCAL, changed.with_name("none.toml"))


def test_zero_days_are_forever_and_a_topics_own_field_comes_before_the_modes(changed: Path) -> None:
    text = changed.read_text(encoding="utf-8")
    changed.write_text(text.replace("retention_days = 30", "retention_days = 0\nreplication = 1", 1), encoding="utf-8")
    first, second, *_ = read_topic_settings(Mode.CLUSTER, _with_min_one(changed)).values()
    assert first.config["retention.ms"] == "-1"
    assert (first.replication, second.replication) == (1, 3)


def _with_min_one(path: Path) -> Path:
    path.write_text(path.read_text(encoding="utf-8").replace("min_in_sync = 2", "min_in_sync = 1"), encoding="utf-8")
    return path


_CONFIG = st.dictionaries(st.sampled_from([*sorted(MANAGED), "segment.bytes"]), st.sampled_from(["1", "2", "x"]))


@given(_CONFIG, _CONFIG, st.integers(1, 6), st.integers(0, 6))
def test_a_plan_brings_the_managed_settings_to_the_file_and_leaves_all_others(
    now: dict[str, str], then: dict[str, str], partitions: int, more: int
) -> None:
    then = {key: value for key, value in then.items() if key in MANAGED}
    plan = plan_change("t", TopicState(partitions, 1, now), TopicSettings(partitions + more, 1, then))
    result = {key: value for key, value in (now | plan.config).items() if value is not None}
    assert result == then | {key: value for key, value in now.items() if key not in MANAGED}
    assert (plan.partitions or partitions) == partitions + more
    again = plan_change("t", TopicState(partitions + more, 1, result), TopicSettings(partitions + more, 1, then))
    assert not again.changes
    assert not again.config


def test_partitions_are_not_taken_away_and_copies_not_moved() -> None:
    with pytest.raises(TopicChangeError, match="has 3 partitions and should have 2: Kafka can't take"):
        plan_change("t", TopicState(3, 1, {}), TopicSettings(2, 1, {}))
    with pytest.raises(TopicChangeError, match="has 1 copy of each partition and should have 3"):
        plan_change("t", TopicState(2, 1, {}), TopicSettings(2, 3, {}))


def test_who_gave_a_file_of_their_own_is_told_to_correct_that_one(changed: Path) -> None:
    own = changed.rename(changed.with_name("own.toml"))
    settings = read_topic_settings(Mode.LOCAL, own)["pos-events"]
    for state in (TopicState(99, 1, {}), TopicState(settings.partitions, 3, {})):
        with pytest.raises(TopicChangeError, match=str(own)):
            plan_change("pos-events", state, settings)
