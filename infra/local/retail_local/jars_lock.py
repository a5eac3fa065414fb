"""Which jars the stack may use: the declared coordinates, and the lock with the checksum of every file.

Belongs here: the format of `jars.toml` (written by people) and of `jars.lock` (written by `retail jars lock`), read,
checked and rendered. No network, no Java. Fetching is in `jars`, resolving in `ivy`.
"""

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from retail_local.errors import StackError

_HERE: Final = Path(__file__).resolve().parent
DECLARED_FILE: Final = _HERE / "jars.toml"
LOCK_FILE: Final = _HERE / "jars.lock"
_FORMAT: Final = 1
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_COORDINATE_PARTS: Final = (3, 4)


class JarsError(StackError):
    """A jar is missing or wrong, or the lock is. The message says which, and what to run."""


@dataclass(frozen=True, order=True)
class Coordinates:
    """A Maven artifact: `group:artifact:version`, with a classifier as a fourth part where it has one."""

    organisation: str
    name: str
    revision: str
    classifier: str = ""

    @classmethod
    def parse(cls, text: str) -> "Coordinates":
        """Read `group:artifact:version[:classifier]`.

        Raises:
            JarsError: anything else, or a part with characters that don't belong into a file name.
        """
        parts = text.split(":")
        if len(parts) not in _COORDINATE_PARTS or not all(_PART.fullmatch(part) for part in parts):
            raise JarsError(f"{text!r} is not group:artifact:version: correct it in {DECLARED_FILE}")
        return cls(*parts)

    @property
    def file_name(self) -> str:
        """The jar's file name in Maven's layout."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.name}-{self.revision}{classifier}.jar"

    def __str__(self) -> str:
        """Return the form that `parse` reads."""
        return ":".join(part for part in (self.organisation, self.name, self.revision, self.classifier) if part)


@dataclass(frozen=True)
class Group:
    """Jars that are used together, as declared in `jars.toml`."""

    name: str
    about: str
    from_pyspark: bool
    optional: bool
    dependencies: tuple[Coordinates, ...]
    without: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class LockedJar:
    """One line of the lock: the only file that is ever accepted under this name."""

    group: str
    coordinates: Coordinates
    sha256: str
    size: int

    @property
    def file_name(self) -> str:
        """The jar's file name."""
        return self.coordinates.file_name


@dataclass(frozen=True)
class Lock:
    """The whole lock.

    Attributes:
        declared: the digest of the declaration that it was resolved from.
        jars: every jar of every group.
    """

    declared: str
    jars: tuple[LockedJar, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, in the lock's order."""
        return tuple(dict.fromkeys(jar.group for jar in self.jars))

    def of(self, group: str) -> tuple[LockedJar, ...]:
        """Return the jars of one group.

        Raises:
            JarsError: the lock has no such group.
        """
        jars = tuple(jar for jar in self.jars if jar.group == group)
        if not jars:
            raise JarsError(f"there is no group {group!r} of jars: choose from {', '.join(self.groups)}")
        return jars


def read_declared(path: Path = DECLARED_FILE) -> dict[str, Group]:
    """Return the declared groups by name.

    Raises:
        JarsError: the file is missing or wrong.
    """
    groups = {}
    for name, entry in _load(path).items():
        try:
            groups[name] = Group(
                name=name,
                about=str(entry["about"]),
                from_pyspark=bool(entry["from_pyspark"]),
                optional=bool(entry["optional"]),
                dependencies=tuple(Coordinates.parse(text) for text in entry["dependencies"]),
                without=tuple(_module(text) for text in entry.get("without", ())),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise JarsError(f"{path}: group {name!r} is not complete ({error})") from None
    return groups


def _module(text: str) -> tuple[str, str]:
    organisation, colon, name = text.partition(":")
    if not colon or not _PART.fullmatch(organisation) or not _PART.fullmatch(name):
        raise JarsError(f"{text!r} is not group:artifact: correct it in {DECLARED_FILE}")
    return organisation, name


def digest_of_declared(groups: Iterable[Group]) -> str:
    """Return a digest of what was asked for, comments and layout apart."""
    text = "\n".join(
        f"{group.name} {group.from_pyspark} {' '.join(sorted(map(str, group.dependencies)))}"
        + "".join(f" -{organisation}:{name}" for organisation, name in sorted(group.without))
        for group in sorted(groups, key=lambda group: group.name)
    )
    return hashlib.sha256(text.encode()).hexdigest()


def read_lock(path: Path = LOCK_FILE) -> Lock:
    """Return the checked lock.

    Raises:
        JarsError: the file is missing, or a line of it is wrong.
    """
    content = _load(path)
    if content.pop("format", None) != _FORMAT:
        raise JarsError(f"{path} has another format than this version reads: run `retail jars lock`")
    declared = str(content.pop("declared", ""))
    jars = []
    for group, entries in content.items():
        if not isinstance(entries, Mapping):
            raise JarsError(f"{path}: {group} is not a group of jars: run `retail jars lock`")
        for text, entry in entries.items():
            coordinates = Coordinates.parse(text)
            if (
                not isinstance(entry, Mapping)
                or entry.get("file") != coordinates.file_name
                or not _SHA256.fullmatch(str(entry.get("sha256")))
                or not isinstance(entry.get("size"), int)
            ):
                raise JarsError(f"{path}: the line of {text} has no right file, sha256 or size: run `retail jars lock`")
            jars.append(LockedJar(group, coordinates, str(entry["sha256"]), int(entry["size"])))
    return Lock(declared, tuple(jars))


def render_lock(lock: Lock) -> str:
    """Return the lock's text: one line for each jar, so that a change of version reads as one line in a diff."""
    lines = [
        "# Written by `retail jars lock` from jars.toml: don't edit. A jar whose bytes differ is never used.",
        f"format = {_FORMAT}",
        f'declared = "{lock.declared}"',
    ]
    for group in lock.groups:
        jars = sorted(lock.of(group), key=lambda jar: jar.coordinates)
        total = sum(jar.size for jar in jars) / 1e6
        lines += ["", f"[{group}]  # {len(jars)} jars, {total:.0f} MB"]
        lines += [
            f'"{jar.coordinates}" = {{ file = "{jar.file_name}", sha256 = "{jar.sha256}", size = {jar.size} }}'
            for jar in jars
        ]
    return "\n".join(lines) + "\n"


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise JarsError(f"{path} cannot be read ({error.strerror}): restore it from the repository") from None
    except tomllib.TOMLDecodeError as error:
        raise JarsError(f"{path} is damaged ({error}): restore it from the repository") from None
