"""The real Ivy against a repository in a folder: what is fetched is checked, and what differs is thrown away."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retail_assets.settings import Settings, load_settings
from retail_local import jars
from retail_local.jars_lock import Coordinates, JarsError, Lock, LockedJar
from retail_local.java import JavaError, find_java

pytestmark = pytest.mark.integration

JARS = {Coordinates("org.example", f"part-{number}", "1.0"): f"jar {number}".encode() for number in range(3)}
LOCK = Lock(
    "0" * 64,
    tuple(LockedJar("kafka", one, hashlib.sha256(content).hexdigest(), len(content)) for one, content in JARS.items()),
)


def write_ivy_settings(settings: Settings, root: str) -> None:
    (settings.cache_dir / "ivysettings.xml").write_text(
        '<ivysettings><settings defaultResolver="only"/><resolvers>'
        f'<ibiblio name="only" m2compatible="true" root="{root}"/></resolvers></ivysettings>',
        encoding="utf-8",
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A Maven repository in a folder."""
    root = tmp_path / "repository"
    for one, content in JARS.items():
        folder = root / "org" / "example" / one.name / one.revision
        folder.mkdir(parents=True)
        (folder / one.file_name).write_bytes(content)
        (folder / f"{one.name}-{one.revision}.pom").write_text(
            f"<project><modelVersion>4.0.0</modelVersion><groupId>{one.organisation}</groupId>"
            f"<artifactId>{one.name}</artifactId><version>{one.revision}</version></project>",
            encoding="utf-8",
        )
    return root


@pytest.fixture
def settings(tmp_path: Path, repository: Path) -> Settings:
    """Settings with a cache of their own, whose `ivysettings.xml` names the repository."""
    found = load_settings().model_copy(update={"cache_dir": tmp_path / "cache", "var_dir": tmp_path / "var"})
    try:
        find_java(found)
    except JavaError as error:
        pytest.skip(str(error))
    found.cache_dir.mkdir()
    write_ivy_settings(found, repository.as_uri())
    return found


def test_what_is_locked_is_fetched_and_right_jars_need_no_repository(settings: Settings, repository: Path):
    assert jars.fetch(settings, ["kafka"], lock=LOCK).downloaded == 3
    repository.rename(repository.parent / "gone")
    assert jars.fetch(settings, ["kafka"], lock=LOCK).downloaded == 0
    assert {path.name for path in (settings.jars_dir / "kafka").glob("*.jar")} == {one.file_name for one in JARS}


def test_a_jar_that_differs_stops_everything_and_a_mended_repository_is_asked_anew(
    settings: Settings, repository: Path
):
    target = next(repository.rglob("part-1-1.0.jar"))
    right = target.read_bytes()
    target.write_bytes(b"not what was locked")
    with pytest.raises(JarsError, match=r"part-1-1.0.jar is not the locked file: expected SHA-256 \w+, found \w+"):
        jars.fetch(settings, ["kafka"], lock=LOCK)
    assert not list(settings.jars_dir.rglob("*.jar"))
    target.write_bytes(right)
    assert jars.fetch(settings, ["kafka"], lock=LOCK).downloaded == 3


def test_a_jar_that_does_not_exist_is_named(settings: Settings, repository: Path):
    next(repository.rglob("part-2-1.0.jar")).unlink()
    next(repository.rglob("part-2-1.0.pom")).unlink()
    with pytest.raises(JarsError, match=r"does not have org.example:part-2:1.0"):
        jars.fetch(settings, ["kafka"], lock=LOCK)


def test_without_a_connection_one_line_says_so(settings: Settings):
    write_ivy_settings(settings, "http://127.0.0.1:9/maven")
    with pytest.raises(JarsError, match="was not reached: check the network") as caught:
        jars.fetch(settings, ["kafka"], lock=LOCK)
    assert "\n" not in str(caught.value)


def test_two_fetches_at_once_both_end_with_right_jars(settings: Settings):
    code = (
        "from retail_assets_tests.integration.stack.test_jars_from_a_repository import LOCK\n"
        "from retail_assets.settings import Settings; from retail_local import jars; from pathlib import Path\n"
        f"settings = Settings(cache_dir=Path({str(settings.cache_dir)!r}))\n"
        "print(jars.fetch(settings, ['kafka'], lock=LOCK).downloaded)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ.copy())
        for _ in range(2)
    ]
    begun = time.monotonic()
    answers = sorted(process.communicate(timeout=60)[0].strip() for process in both)
    assert answers == ["0", "3"], f"after {time.monotonic() - begun:.0f} s"
