"""Looking over everything that the local stack needs, and saying in one line each what is wrong and how to mend it.

Belongs here: the list of checks. Nothing here changes anything.
"""

import functools
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from retail_assets.settings import Settings
from retail_local import jars
from retail_local.class_data import archive_file
from retail_local.errors import StackError
from retail_local.jars_lock import digest_of_declared, read_declared, read_lock
from retail_local.java import find_java
from retail_local.passwords import loose_permissions
from retail_local.ports import PortInUseError, require_free
from retail_local.services import default_services, find_service
from retail_local.stack import MIN_FREE_BYTES, ServiceStatus, Stack

_OLDEST_PYTHON: Final = (3, 11)
_PYTHON_TOO_NEW: Final = (3, 14)


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        name: what was looked at.
        ok: whether it is as it should be.
        text: what was found; where it is wrong, with what to do.
    """

    name: str
    ok: bool
    text: str


def examine(settings: Settings) -> list[Finding]:
    """Make every check, also after one that found something."""
    findings = [
        _checked("python", _python),
        _checked("java", lambda: find_java(settings).text),
        _checked("disk", lambda: _disk(settings)),
        _checked("lock of jars", _lock_is_current),
    ]
    findings.extend(
        _checked(f"jars of {group}", functools.partial(_jars, settings, group)) for group in jars.default_groups()
    )
    findings.append(_checked("class data", lambda: _class_data(settings)))
    findings.append(_secrets(settings))
    findings += _services(settings)
    return findings


def _class_data(settings: Settings) -> str:
    if archive_file(settings, find_java(settings), jars.spark_classpath(settings)).is_file():
        return "Spark's classes are archived"
    return "Spark's classes are not archived: `retail class-data` lets Spark start some seconds sooner"


def _checked(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, ok=True, text=check())
    except StackError as error:
        return Finding(name, ok=False, text=str(error))


def _python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    if not _OLDEST_PYTHON <= sys.version_info[:2] < _PYTHON_TOO_NEW:
        raise StackError(f"this is Python {version}, and 3.11 to 3.13 is needed: run `make setup PYTHON=python3.13`")
    return f"{version} ({sys.executable})"


def _disk(settings: Settings) -> str:
    existing = next(path for path in (settings.var_dir, *settings.var_dir.parents) if path.is_dir())
    free = shutil.disk_usage(existing).free
    text = f"{free / 1e9:.1f} GB free for {settings.var_dir}"
    if free < MIN_FREE_BYTES:
        raise StackError(f"only {text}: free some, or set RETAIL_VAR_DIR to a folder on another disk")
    return text


def _lock_is_current() -> str:
    lock = read_lock()
    if lock.declared != digest_of_declared(read_declared().values()):
        raise StackError("jars.toml was changed after jars.lock was written: run `retail jars lock`")
    return f"{len(lock.jars)} jars"


def _jars(settings: Settings, group: str) -> str:
    return f"{len(jars.classpath(settings, group))} verified"


def _secrets(settings: Settings) -> Finding:
    loose = loose_permissions(settings)
    if loose:
        paths = " ".join(map(str, loose))
        return Finding("secrets", ok=False, text=f"others can read {paths}: run `chmod go-rwx {paths}`")
    made = settings.secrets_dir.is_dir()
    return Finding("secrets", ok=True, text="readable by you alone" if made else "not made yet; `retail up` makes them")


def _services(settings: Settings) -> Iterator[Finding]:
    wanted = default_services(settings)
    for status in Stack(settings).status():
        if status.state != "stopped":
            yield _running(status)
        elif status.name in wanted:
            yield _stopped(settings, status)


def _running(status: ServiceStatus) -> Finding:
    if status.state == "orphaned":
        text = f"runs as pid {status.pid} without its supervisor: run `retail up` to start it anew, or `retail down`"
        return Finding(status.name, ok=False, text=text)
    if not status.healthy:
        text = f"{status.state}: {status.health}; see `retail logs {status.name}`"
        return Finding(status.name, ok=False, text=text)
    return Finding(status.name, ok=True, text=f"{status.health}, answered in {status.latency_ms or 0:.0f} ms")


def _stopped(settings: Settings, status: ServiceStatus) -> Finding:
    service = find_service(status.name)
    try:
        for port in service.ports(settings):
            require_free(service.name, port)
    except PortInUseError as error:
        return Finding(status.name, ok=False, text=str(error))
    numbers = ", ".join(map(str, status.ports))
    return Finding(status.name, ok=True, text=f"stopped, and port {numbers} is free; `retail up` starts it")
