"""The verified jars of this machine: fetched once by the lock, checked, and given out as a classpath.

Belongs here: what may lie in `settings.jars_dir` and the check of every byte before it gets there. Which jars those
are is in `jars_lock`; how they are downloaded in `ivy`.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from retail_assets.settings import Settings
from retail_local import ivy
from retail_local.files import locked, write_atomically
from retail_local.jars_lock import (
    LOCK_FILE,
    Coordinates,
    JarsError,
    Lock,
    LockedJar,
    digest_of_declared,
    read_declared,
    read_lock,
    render_lock,
)

__all__ = [
    "Fetched",
    "JarsError",
    "Problem",
    "classpath",
    "default_groups",
    "fetch",
    "lock_jars",
    "problems",
    "spark_classpath",
    "verify",
]

_MARKER: Final = ".verified.json"
_STAGING: Final = ".staging-"
_CHUNK: Final = 1 << 20

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Fetched:
    """What one `fetch` did."""

    present: int
    downloaded: int
    bytes_downloaded: int


@dataclass(frozen=True)
class Problem:
    """A locked jar that is not there, or not as locked."""

    jar: LockedJar
    path: Path
    found_sha256: str | None

    def __str__(self) -> str:
        """Return the line to show."""
        if self.found_sha256 is None:
            return f"{self.path} is missing"
        return f"{self.path} is not the locked file: expected SHA-256 {self.jar.sha256}, found {self.found_sha256}"


def default_groups() -> list[str]:
    """Return the groups that every machine has: all but the optional ones."""
    return [name for name, group in read_declared().items() if not group.optional]


def classpath(settings: Settings, group: str) -> list[Path]:
    """Return the verified jars of `group`, in a steady order.

    A file that was changed after its check is hashed again, so that a damaged jar is never loaded.

    Raises:
        JarsError: a jar is missing or not the locked one; says to run `retail jars fetch`.
    """
    jars = read_lock().of(group)
    wrong = problems(settings, jars)
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise JarsError(f"{wrong[0]}{more}: run `retail jars fetch --group {group}`")
    return [_path(settings, jar) for jar in jars]


def spark_classpath(settings: Settings) -> list[Path]:
    """Return the verified jars of a Spark session: its own, and S3's where the lake lies there.

    Raises:
        JarsError: as `classpath`.
    """
    groups = ["spark", "s3"] if settings.lake.startswith("s3a://") else ["spark"]
    return [jar for group in groups for jar in classpath(settings, group)]


def problems(settings: Settings, jars: Iterable[LockedJar], *, rehash: bool = False) -> list[Problem]:
    """Return each jar that is missing or wrong. Without `rehash`, files unchanged since their check are trusted."""
    found = []
    markers: dict[str, dict[str, Any]] = {}
    for jar in jars:
        path = _path(settings, jar)
        marker = markers.setdefault(jar.group, _read_marker(path.parent))
        if not path.is_file():
            found.append(Problem(jar, path, None))
        elif rehash or marker.get(jar.file_name) != _fingerprint(path, jar.sha256):
            digest = _sha256(path)
            if digest != jar.sha256:
                found.append(Problem(jar, path, digest))
    return found


def fetch(
    settings: Settings,
    groups: Sequence[str] | None = None,
    *,
    lock: Lock | None = None,
    on_progress: Progress = lambda _: None,
) -> Fetched:
    """Bring the locked jars of `groups` onto this machine. Right ones are left alone and need no network.

    Args:
        settings: say where jars, cache and Java are.
        groups: names of groups; None for all but the optional ones.
        lock: the lock to go by; the project's own if None.
        on_progress: called with a line about each step.

    Raises:
        JarsError: a download failed, or a file's checksum is not the locked one. Nothing of such a run is used.
        JavaError: there is no Java to run Ivy on.
    """
    lock = lock or read_lock()
    jars = [jar for group in (groups or default_groups()) for jar in lock.of(group)]
    if not problems(settings, jars):
        return Fetched(len(jars), 0, 0)
    lock_file = settings.jars_dir / ".lock"
    with locked(lock_file, on_wait=lambda: on_progress("waiting for another `retail jars fetch` to end")):
        # Looked at again: another process may have fetched them while this one waited.
        missing = [problem.jar for problem in problems(settings, jars)]
        if missing:
            _download(settings, missing, on_progress)
        _mark(settings, jars)
    return Fetched(len(jars) - len(missing), len(missing), sum(jar.size for jar in missing))


def verify(settings: Settings, groups: Sequence[str] | None = None) -> list[Problem]:
    """Hash every jar of `groups` anew and return what is wrong."""
    lock = read_lock()
    return problems(settings, [jar for group in (groups or default_groups()) for jar in lock.of(group)], rehash=True)


def lock_jars(settings: Settings, path: Path = LOCK_FILE, on_progress: Progress = lambda _: None) -> Lock:
    """Resolve the declared coordinates with all that they need, and write the lock.

    Raises:
        JarsError: something could not be resolved or downloaded.
        JavaError: there is no Java to run Ivy on.
    """
    groups = read_declared()
    provided = [jar.name for jar in ivy.pyspark_jars_dir().glob("*.jar")]
    settings.jars_dir.mkdir(parents=True, exist_ok=True)
    jars = []
    with tempfile.TemporaryDirectory(dir=settings.jars_dir, prefix=".locking-") as folder:
        ivy.retrieve(
            settings,
            {name: group.dependencies for name, group in groups.items()},
            Path(folder),
            transitive=True,
            without={name: group.without for name, group in groups.items()},
            on_download=on_progress,
        )
        for name, group in groups.items():
            for one in ivy.resolved(settings, name):
                if group.from_pyspark and is_provided(one, provided):
                    continue
                file = Path(folder) / name / one.file_name
                jars.append(LockedJar(name, one, _sha256(file), file.stat().st_size))
    for jar in jars:
        _forget(settings, jar)
    lock = Lock(digest_of_declared(groups.values()), tuple(jars))
    write_atomically(path, render_lock(lock))
    return lock


def is_provided(one: Coordinates, provided: Iterable[str]) -> bool:
    """Whether a folder of jars with the file names `provided` has the artifact in any version.

    Two versions of one library on a class path are a matter of luck, so pyspark's own always wins.
    """
    prefix = f"{one.name}-"
    return any(name.startswith(prefix) and name[len(prefix) : len(prefix) + 1].isdigit() for name in provided)


def _download(settings: Settings, missing: Sequence[LockedJar], on_progress: Progress) -> None:
    for left_over in settings.jars_dir.glob(f"{_STAGING}*"):  # of a fetch that was killed; this one holds the lock
        shutil.rmtree(left_over, ignore_errors=True)
    wanted: dict[str, list[Coordinates]] = {}
    for jar in missing:
        wanted.setdefault(jar.group, []).append(jar.coordinates)
    megabytes = sum(jar.size for jar in missing) / 1e6
    on_progress(f"fetching {len(missing)} jars, {megabytes:.0f} MB ({', '.join(wanted)})")
    done = 0

    def report(file: str) -> None:
        nonlocal done
        done += 1
        on_progress(f"{done}/{len(missing)} {file}")

    with tempfile.TemporaryDirectory(dir=settings.jars_dir, prefix=_STAGING) as folder:
        staging = Path(folder)
        ivy.retrieve(settings, wanted, staging, transitive=False, on_download=report)
        for jar in missing:
            _check(settings, jar, staging / jar.group / jar.file_name)
        for jar in missing:
            target = _path(settings, jar)
            target.parent.mkdir(parents=True, exist_ok=True)
            (staging / jar.group / jar.file_name).replace(target)
            _forget(settings, jar)  # Ivy's copy would only take room


def _forget(settings: Settings, jar: LockedJar) -> None:
    for cached in (settings.cache_dir / "ivy" / "cache" / jar.coordinates.organisation).glob(f"**/{jar.file_name}"):
        cached.unlink(missing_ok=True)


def _check(settings: Settings, jar: LockedJar, file: Path) -> None:
    if not file.is_file():
        raise JarsError(f"{jar.coordinates} was not downloaded: run `retail jars fetch` again")
    digest = _sha256(file)
    if digest == jar.sha256:
        return
    _forget(settings, jar)  # or Ivy would hand out its cached copy again for ever
    raise JarsError(
        f"{jar.file_name} is not the locked file: expected SHA-256 {jar.sha256}, found {digest}. It was thrown away. "
        "Run `retail jars fetch` again; if it differs again, the mirror or proxy in between changes files: don't use it"
    )


def _mark(settings: Settings, jars: Iterable[LockedJar]) -> None:
    by_group: dict[str, list[LockedJar]] = {}
    for jar in jars:
        by_group.setdefault(jar.group, []).append(jar)
    for group, members in by_group.items():
        folder = settings.jars_dir / group
        marker = _read_marker(folder)
        marker.update({jar.file_name: _fingerprint(_path(settings, jar), jar.sha256) for jar in members})
        write_atomically(folder / _MARKER, json.dumps(marker, indent=1, sort_keys=True))


def _path(settings: Settings, jar: LockedJar) -> Path:
    return settings.jars_dir / jar.group / jar.file_name


def _read_marker(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # then every file is hashed
    return content if isinstance(content, dict) else {}


def _fingerprint(path: Path, sha256: str) -> list[Any]:
    status = path.stat()
    return [sha256, status.st_size, status.st_mtime_ns]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
