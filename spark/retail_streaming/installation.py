"""What is installed on this machine: Java, the verified jars, and where a checkout keeps its data by default.

The one door to the platform's local tooling, which speaks in the platform's settings. Only the two fields that it reads
for our purposes are filled in, so that a setting which is none of this service's business can't stop it. Does not
belong here: Spark.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from retail_assets.settings import Settings as PlatformSettings
from retail_local import jars
from retail_local.class_data import archive_file
from retail_local.java import JavaError, find_java
from retail_streaming.errors import StreamingError


def default_var_dir() -> Path:
    """Return where a checkout keeps its data."""
    return PlatformSettings.model_construct().var_dir


def default_cache_dir() -> Path:
    """Return where downloads are kept, shared by checkouts."""
    return PlatformSettings.model_construct().cache_dir


def java_home(chosen: Path | None) -> Path:
    """Return the home of a Java that Spark runs on.

    Raises:
        StreamingError: there is none, or it is too old.
    """
    try:
        return find_java(PlatformSettings.model_construct(java_home=chosen)).home
    except JavaError as error:
        raise StreamingError(str(error)) from None


def classpath(cache_dir: Path, groups: Sequence[str]) -> list[Path]:
    """Return the jars of some groups of the lock, each checked against it.

    Raises:
        StreamingError: a jar is missing or not the locked one.
    """
    platform = PlatformSettings.model_construct(cache_dir=cache_dir)
    try:
        return [jar for group in groups for jar in jars.classpath(platform, group)]
    except jars.JarsError as error:
        raise StreamingError(f"{error}, or `retail-streaming fetch-jars`") from None


def class_archive(cache_dir: Path, chosen_java: Path | None, class_path: Sequence[Path]) -> Path | None:
    """Return the archive of Spark's classes that set-up made for this Java and class path, if it did.

    Raises:
        StreamingError: there is no Java, or it is too old.
    """
    platform = PlatformSettings.model_construct(cache_dir=cache_dir, java_home=chosen_java)
    try:
        archive = archive_file(platform, find_java(platform), class_path)
    except JavaError as error:
        raise StreamingError(str(error)) from None
    return archive if archive.is_file() else None


def fetch(cache_dir: Path, chosen_java: Path | None, groups: Sequence[str], say: Callable[[str], None]) -> None:
    """Bring the locked jars of some groups onto this machine.

    Raises:
        StreamingError: a download failed, or its checksum is not the locked one.
    """
    platform = PlatformSettings.model_construct(cache_dir=cache_dir, java_home=chosen_java)
    try:
        fetched = jars.fetch(platform, groups, on_progress=say)
    except (jars.JarsError, JavaError) as error:
        raise StreamingError(str(error)) from None
    say(f"{fetched.present + fetched.downloaded} jars are there, {fetched.downloaded} of them new")
