"""What the demo may remove: only what its marker says is its own. No service is needed to refuse."""

from pathlib import Path

import pytest

from retail_assets.demo.area import prepare_area, require_place
from retail_assets.demo.errors import DemoError
from retail_assets.settings import Settings


def settings_of(folder: Path, **more: str) -> Settings:
    return Settings(_env_file=None, var_dir=folder / "var", **more)  # type: ignore[call-arg, arg-type]


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    """A folder whose marker says that a demo was here, with its own lake and database."""
    (tmp_path / "var").mkdir()
    place = f"lake {tmp_path / 'var' / 'lake'}, database retail"
    (tmp_path / "var" / "demo-scenario").write_text(f"abc\n{place}\n")
    return tmp_path


def test_data_of_the_same_scenario_in_the_same_place_stay(marked: Path) -> None:
    assert prepare_area(settings_of(marked), "abc") is False


@pytest.mark.parametrize("fingerprint", ["abc", "another"])
def test_another_lake_than_the_marker_names_is_refused_and_kept(marked: Path, fingerprint: str) -> None:
    precious = marked / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(DemoError, match="belongs to a demo with lake"):
        prepare_area(settings_of(marked, lake_uri=precious.as_uri()), fingerprint)
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_another_database_than_the_marker_names_is_refused(marked: Path) -> None:
    with pytest.raises(DemoError, match="database sales"):
        prepare_area(settings_of(marked, clickhouse_database="sales"), "another")


def test_a_lake_that_is_the_whole_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="names no folder"):
        prepare_area(settings_of(tmp_path, lake_uri="file:///"), "abc")


def test_a_lake_in_an_object_store_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="keeps its lake in a folder"):
        require_place(settings_of(tmp_path, lake_uri="s3a://bucket/lake"))


def test_a_broker_elsewhere_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="services of its own on this machine"):
        require_place(settings_of(tmp_path, kafka_bootstrap_servers="broker.example:9092"))
