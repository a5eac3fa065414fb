"""Which topics a checkpoint is about, and setting one aside."""

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from retail_assets.contracts.topics import POS_EVENTS, SALES_TRANSACTIONS
from retail_streaming import logs
from retail_streaming.__main__ import main
from retail_streaming.checkpoints import FORGET_FILE, TOPICS_FILE, HadoopFolder, TopicsOfCheckpoint, alone, set_aside
from retail_streaming.errors import CheckpointError, SettingsError, StreamingError, TopicRemadeError, TransientError
from retail_streaming.settings import StreamingSettings

SALES, TILLS = SALES_TRANSACTIONS.name, POS_EVENTS.name
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Place:
    """A checkpoint's folder, and a broker."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.ids = {SALES: "one", TILLS: "two"}
        self.away = False

    def read(self, name: str) -> str | None:
        return self.files.get(name)

    def write(self, name: str, text: str) -> None:
        self.files[name] = text

    def topics(self) -> TopicsOfCheckpoint:
        """Return what a new start of the service has."""
        return TopicsOfCheckpoint("letters", [SALES_TRANSACTIONS, POS_EVENTS], "file:///c", self, self._ask)

    def _ask(self) -> dict[str, str]:
        if self.away:
            raise TransientError("away")
        return dict(self.ids)


@pytest.fixture
def place() -> Place:
    return Place()


def test_the_same_topics_are_read_on_start_after_start(place: Place) -> None:
    for _ in range(2):
        topics = place.topics()
        topics.begin()
        topics.check()
        topics.begin()
    assert json.loads(place.files[TOPICS_FILE]) == place.ids


def test_a_topic_that_was_made_anew_is_not_read_in_the_old_ones_place(place: Place) -> None:
    topics = place.topics()
    topics.begin()
    place.ids[TILLS] = "three"
    said = r"^letters: topic pos-events \(id two then, three now\) was deleted and made anew .* begin-anew letters`"
    for compare in (topics.check, topics.begin, place.topics().begin, place.topics().begin):
        with pytest.raises(TopicRemadeError, match=said) as error:
            compare()
        assert "sales-transactions" not in str(error.value)


def test_a_checkpoint_that_was_set_aside_begins_anew_with_the_next_start_of_the_service_and_not_before(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    topics = place.topics()
    topics.begin()
    place.ids[TILLS] = "three"
    place.files.clear()
    with pytest.raises(CheckpointError, match="moved away while the service runs: start the service again"):
        topics.begin()
    with caplog.at_level(logging.INFO, logs.LOG.name):
        place.topics().begin()
    assert [record.getMessage() for record in caplog.records] == ["query begins anew"]
    assert json.loads(place.files[TOPICS_FILE]) == place.ids


def test_a_checkpoint_of_an_earlier_release_gets_the_ids_of_its_topics_and_that_is_said(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.files["metadata"] = "{}"
    with caplog.at_level(logging.INFO, logs.LOG.name):
        place.topics().begin()
    assert [record.getMessage() for record in caplog.records] == ["topics noted"]


def test_a_topic_that_a_query_did_not_read_before_is_noted_beside_the_others(place: Place) -> None:
    place.files[TOPICS_FILE] = json.dumps({SALES: "one"})
    place.topics().begin()
    assert json.loads(place.files[TOPICS_FILE]) == place.ids


def test_a_broker_without_ids_is_no_obstacle(place: Place) -> None:
    place.ids = {}
    topics = place.topics()
    topics.begin()
    topics.check()
    place.topics().begin()


def test_a_broker_that_is_away_says_nothing_about_topics(place: Place) -> None:
    topics = place.topics()
    topics.begin()
    place.away = True
    with pytest.raises(TransientError):
        topics.check()


def test_a_first_start_that_found_no_broker_is_no_start(place: Place) -> None:
    place.away = True
    topics = place.topics()
    with pytest.raises(TransientError):
        topics.begin()
    assert not place.files
    place.away = False
    topics.begin()
    topics.check()


@pytest.mark.parametrize("text", ["", "garbage", "[]"])
def test_ids_that_cannot_be_read_are_damage(place: Place, text: str) -> None:
    place.files[TOPICS_FILE] = text
    with pytest.raises(CheckpointError, match=r"file:///c/topics\.json is damaged"):
        place.topics().begin()


def test_a_file_in_a_checkpoints_folder_is_written_whole_and_read_back(spark: SparkSession, tmp_path: Path) -> None:
    folder = HadoopFolder(spark, (tmp_path / "checkpoint").as_uri())
    assert folder.read(TOPICS_FILE) is None
    for text in ('{"sales-transactions": "ß"}', "{}"):
        folder.write(TOPICS_FILE, text)
        assert folder.read(TOPICS_FILE) == text
    assert [path.name for path in (tmp_path / "checkpoint").iterdir() if not path.name.startswith(".")] == [TOPICS_FILE]


def test_checkpoints_are_one_process_s_at_a_time_until_that_ends_however(tmp_path: Path) -> None:
    settings = StreamingSettings(var_dir=tmp_path)
    holding = (
        "from retail_streaming.settings import StreamingSettings; from retail_streaming.checkpoints import alone; "
        f"hold = alone(StreamingSettings(var_dir={str(tmp_path)!r})); hold.__enter__(); print('held', flush=True); "
        "import time; time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", holding], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        refused = f"another retail-streaming works on the checkpoints in {tmp_path / 'checkpoints'}: end it first"
        with pytest.raises(StreamingError, match=refused), alone(settings):
            pass
        other.kill()
    with alone(settings):
        pass


def test_a_folder_for_checkpoints_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = StreamingSettings(stream_checkpoint_uri=(tmp_path / "file" / "checkpoints").as_uri())
    with pytest.raises(StreamingError, match="can't be written to"), alone(settings):
        pass


def test_a_checkpoint_is_set_aside_as_a_whole_and_nothing_is_deleted(tmp_path: Path) -> None:
    settings = StreamingSettings(stream_checkpoint_uri=tmp_path.as_uri())
    assert set_aside(settings, "sales", NOW) is None
    (tmp_path / "sales/offsets").mkdir(parents=True)
    aside = set_aside(settings, "sales", NOW)
    assert aside == str(tmp_path / "sales.set-aside-20260302T120000Z")
    assert (Path(aside) / "offsets").is_dir()
    assert not (tmp_path / "sales").exists()


def test_a_checkpoint_that_is_set_aside_to_forget_says_so_in_the_fresh_one_alone(tmp_path: Path) -> None:
    settings = StreamingSettings(stream_checkpoint_uri=tmp_path.as_uri())
    assert set_aside(settings, "sales", NOW, forget=True) is None
    assert [path.name for path in (tmp_path / "sales").iterdir()] == [FORGET_FILE]
    assert json.loads((tmp_path / "sales" / FORGET_FILE).read_text()) == {}
    assert set_aside(settings, "sales", NOW) is not None
    assert not (tmp_path / "sales").exists(), "what is asked for last counts"


def test_rows_without_a_version_cannot_be_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["begin-anew", "--forget", "dead_letters"]) == 2
    assert "dead_letters can't forget" in capsys.readouterr().err


def test_a_checkpoint_in_an_object_store_is_left_to_the_stores_own_tools() -> None:
    with pytest.raises(SettingsError, match="s3a://bucket/sales .*tools"):
        set_aside(StreamingSettings(stream_checkpoint_uri="s3a://bucket"), "sales", NOW)


def test_a_query_that_does_not_exist_cannot_begin_anew(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["begin-anew", "sale"]) == 2
    assert "the queries are sales, inventory, tills, dead_letters" in capsys.readouterr().err
