"""Jars: the lock's format, and that no byte is used that the lock doesn't know."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retail_assets.settings import Settings
from retail_local import ivy, jars
from retail_local.jars_lock import (
    Coordinates,
    JarsError,
    Lock,
    LockedJar,
    digest_of_declared,
    read_declared,
    read_lock,
    render_lock,
)

CONTENT = b"the bytes of a jar"
JAR = LockedJar(
    "kafka", Coordinates("org.example", "thing_2.13", "1.2"), hashlib.sha256(CONTENT).hexdigest(), len(CONTENT)
)
LOCK = Lock("0" * 64, (JAR,))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(var_dir=tmp_path / "var", cache_dir=tmp_path / "cache", lake_uri="")


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], list[str]]:
    """A hand-written Ivy: puts the given bytes where the real one would, and notes each call."""

    def serve(content: bytes) -> list[str]:
        calls: list[str] = []

        def retrieve(_settings: Settings, wanted: Any, into: Path, **_options: Any) -> None:
            for group, coordinates in wanted.items():
                for one in coordinates:
                    calls.append(str(one))
                    (into / group).mkdir(exist_ok=True)
                    (into / group / one.file_name).write_bytes(content)

        monkeypatch.setattr(ivy, "retrieve", retrieve)
        return calls

    return serve


def test_the_projects_lock_is_what_its_declaration_asks_for():
    lock, declared = read_lock(), read_declared()
    assert lock.declared == digest_of_declared(declared.values()), "run `retail jars lock`"
    assert set(lock.groups) == set(declared)
    for name, group in declared.items():
        assert {str(one) for one in group.dependencies} <= {str(jar.coordinates) for jar in lock.of(name)}


def test_the_lock_names_no_address():
    assert "://" not in render_lock(read_lock())


def test_what_is_rendered_is_read_back(tmp_path: Path):
    path = tmp_path / "jars.lock"
    path.write_text(render_lock(LOCK), encoding="utf-8")
    assert read_lock(path) == LOCK


@pytest.mark.parametrize(
    "damage",
    [
        ("sha256 = ", "sha = "),
        ("thing_2.13-1.2.jar", "../../evil.jar"),
        (f"size = {len(CONTENT)}", 'size = "big"'),
        ("org.example:thing_2.13:1.2", "org.example:../thing:1.2"),
        ("format = 1", "format = 2"),
        ("[kafka]", "[kafka"),
    ],
)
def test_a_damaged_lock_is_refused(tmp_path: Path, damage: tuple[str, str]):
    path = tmp_path / "jars.lock"
    path.write_text(render_lock(LOCK).replace(*damage), encoding="utf-8")
    with pytest.raises(JarsError):
        read_lock(path)


def test_a_jar_is_fetched_once_and_then_trusted_without_hashing(
    settings: Settings, repository: Callable[[bytes], list[str]], monkeypatch: pytest.MonkeyPatch
):
    calls = repository(CONTENT)
    assert jars.fetch(settings, ["kafka"], lock=LOCK).downloaded == 1
    monkeypatch.setattr(jars, "_sha256", lambda _: pytest.fail("a trusted file was hashed again"))
    assert jars.fetch(settings, ["kafka"], lock=LOCK).downloaded == 0
    assert calls == ["org.example:thing_2.13:1.2"]


def test_a_jar_with_another_checksum_is_not_used(settings: Settings, repository: Callable[[bytes], list[str]]):
    repository(b"something else")
    with pytest.raises(JarsError) as caught:
        jars.fetch(settings, ["kafka"], lock=LOCK)
    message = str(caught.value)
    assert "thing_2.13-1.2.jar" in message
    assert JAR.sha256 in message
    assert hashlib.sha256(b"something else").hexdigest() in message
    assert not list(settings.jars_dir.rglob("*.jar"))
    assert not list(settings.jars_dir.glob(".staging-*"))


def test_a_jar_that_was_changed_on_disk_is_found_and_replaced(
    settings: Settings, repository: Callable[[bytes], list[str]], monkeypatch: pytest.MonkeyPatch
):
    repository(CONTENT)
    jars.fetch(settings, ["kafka"], lock=LOCK)
    monkeypatch.setattr(jars, "read_lock", lambda: LOCK)
    path = jars.classpath(settings, "kafka")[0]
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(JarsError, match=r"is not the locked file.*run `retail jars fetch --group kafka`"):
        jars.classpath(settings, "kafka")
    assert jars.fetch(settings, ["kafka"], lock=LOCK).downloaded == 1
    assert jars.classpath(settings, "kafka")[0].read_bytes() == CONTENT


def test_a_missing_jar_says_which_command_fetches_it(settings: Settings):
    with pytest.raises(JarsError, match=r"is missing \(and \d+ more\): run `retail jars fetch --group kafka`"):
        jars.classpath(settings, "kafka")


def test_verify_hashes_even_what_is_trusted(
    settings: Settings, repository: Callable[[bytes], list[str]], monkeypatch: pytest.MonkeyPatch
):
    repository(CONTENT)
    jars.fetch(settings, ["kafka"], lock=LOCK)
    monkeypatch.setattr(jars, "read_lock", lambda: LOCK)
    assert jars.verify(settings, ["kafka"]) == []
    monkeypatch.setattr(jars, "_sha256", lambda _: "f" * 64)
    assert [problem.found_sha256 for problem in jars.verify(settings, ["kafka"])] == ["f" * 64]


def test_an_optional_group_is_only_fetched_by_its_name():
    assert jars.default_groups() == ["kafka", "spark", "s3"]
    assert read_declared()["kafka-perf"].optional


def test_what_a_group_does_without_is_left_out_of_it_alone():
    wanted = {"a": [JAR.coordinates], "b": [JAR.coordinates]}
    text = ivy.module_file(wanted, transitive=True, without={"a": [("org.example", "large")]})
    assert text.count("<exclude ") == 1
    assert '<exclude org="org.example" module="large" conf="a"/>' in text


@pytest.mark.parametrize(
    ("name", "provided"),
    [("jackson-core", True), ("jackson", False), ("scala-library", True), ("delta-storage", False)],
)
def test_pysparks_own_libraries_win_in_any_version(name: str, *, provided: bool):
    files = ["jackson-core-2.21.2.jar", "scala-library-2.13.18.jar", "jackson-core-asl-1.9.jar"]
    assert jars.is_provided(Coordinates("any", name, "9.9"), files) is provided


def test_groups_are_resolved_apart_and_only_the_lock_follows_dependencies():
    wanted = {"a": [JAR.coordinates], "b": [Coordinates("org.example", "thing_2.13", "2.0", "linux")]}
    exact, followed = (ivy.module_file(wanted, transitive=transitive) for transitive in (False, True))
    assert 'conf="a-&gt;master" transitive="false"' in exact
    assert 'm:classifier="linux"' in exact
    assert 'conf="b-&gt;default" transitive="true"' in followed
