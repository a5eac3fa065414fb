"""What the service's JVM is started with."""

from pathlib import Path

import pytest

from retail_streaming import installation, session
from retail_streaming.settings import StreamingSettings

JARS = [Path("/jars/one.jar"), Path("/jars/two.jar")]


def config(master: str) -> dict[str, str]:
    settings = StreamingSettings(spark_master=master)
    return session.with_jars(session.spark_config(settings), settings, JARS)


def test_one_process_has_the_jars_on_its_class_path_and_maps_the_archive_that_set_up_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(installation, "class_archive", lambda *_: Path("/cache/spark.jsa"))
    found = config("local[2]")
    assert found["spark.driver.extraClassPath"] == "/jars/one.jar:/jars/two.jar"
    options = found["spark.driver.extraJavaOptions"].split()
    assert options == ["-XX:+ExitOnOutOfMemoryError", "-XX:SharedArchiveFile=/cache/spark.jsa"]


def test_without_an_archive_the_jvm_starts_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "class_archive", lambda *_: None)
    assert config("local[2]")["spark.driver.extraJavaOptions"] == "-XX:+ExitOnOutOfMemoryError"


def test_a_cluster_is_sent_the_jars() -> None:
    found = config("spark://somewhere:7077")
    assert found["spark.jars"] == "/jars/one.jar,/jars/two.jar"
    assert "spark.driver.extraClassPath" not in found
