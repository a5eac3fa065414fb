"""The class-data archive: which file belongs to which Java and jars."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from retail_assets.settings import Settings
from retail_local.class_data import archive_file
from retail_local.java import Java

JAVA = Java(Path("/usr/lib/jvm/java-17/bin/java"), 17, 'openjdk version "17.0.15"', "PATH")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(var_dir=tmp_path / "var", cache_dir=tmp_path / "cache", lake_uri="")


@pytest.fixture
def jar(tmp_path: Path) -> Path:
    file = tmp_path / "delta-spark.jar"
    file.write_bytes(b"classes")
    return file


def test_the_same_java_and_jars_have_the_same_archive(settings: Settings, jar: Path) -> None:
    file = archive_file(settings, JAVA, [jar])
    assert file == archive_file(settings, JAVA, [jar])
    assert file.is_relative_to(settings.cache_dir)


def test_another_java_has_an_archive_of_its_own(settings: Settings, jar: Path) -> None:
    newer = replace(JAVA, text='openjdk version "17.0.16"')
    assert archive_file(settings, newer, [jar]) != archive_file(settings, JAVA, [jar])


def test_a_jar_that_was_written_anew_asks_for_another_archive(settings: Settings, jar: Path) -> None:
    before = archive_file(settings, JAVA, [jar])
    os.utime(jar, (1_000_000_000, 1_000_000_000))
    assert archive_file(settings, JAVA, [jar]) != before
    assert archive_file(settings, JAVA, []) != before
