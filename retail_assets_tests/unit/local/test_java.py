"""Finding Java: versions as different makers print them, and the one line for each way to have none."""

from pathlib import Path

import pytest

from retail_assets.settings import Settings
from retail_local.java import JavaError, find_java, parse_version


def fake_java(folder: Path, version_line: str, exit_code: int = 0) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{version_line}' >&2\nexit {exit_code}\n", encoding="utf-8")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "22-ea" 2024-03-19', 22),
        ('openjdk version "21" 2023-09-19 LTS', 21),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "25.0.1" 2025-10-21', 25),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", None),
        ("", None),
    ],
)
def test_the_major_version_is_read_from_what_java_prints(output: str, version: int | None):
    assert parse_version(output) == version


def test_the_setting_goes_before_java_home_and_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ours = fake_java(tmp_path / "ours", 'openjdk version "21.0.2"')
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "theirs", 'openjdk version "17.0.1"')))
    found = find_java(Settings(java_home=ours))
    assert (found.version, found.source) == (21, "RETAIL_JAVA_HOME")
    assert find_java(Settings(java_home=None)).source == "JAVA_HOME"


def test_no_java_is_one_line_that_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JavaError) as caught:
        find_java(Settings(java_home=None))
    message = str(caught.value)
    assert "\n" not in message
    assert "Java was not found" in message
    assert "install a Java 17 or newer" in message
    assert "RETAIL_JAVA_HOME" in message


def test_a_java_that_is_too_old_is_named_with_its_version(tmp_path: Path):
    old = fake_java(tmp_path / "old", 'openjdk version "11.0.2" 2019-01-15')
    with pytest.raises(JavaError, match="is Java 11, and 17 or newer is needed"):
        find_java(Settings(java_home=old))


def test_a_java_that_does_not_start_is_not_taken_for_a_missing_one(tmp_path: Path):
    broken = fake_java(tmp_path / "broken", "Unable to locate a Java Runtime", exit_code=1)
    with pytest.raises(JavaError, match=r"does not work .*Unable to locate a Java Runtime"):
        find_java(Settings(java_home=broken))


def test_a_wrong_java_home_is_an_error_and_never_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    with pytest.raises(JavaError, match=r"JAVA_HOME is .*gone"):
        find_java(Settings(java_home=None))
