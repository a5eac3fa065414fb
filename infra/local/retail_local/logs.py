"""Reading the services' logs: their last lines, the one that tells why, and following them.

Belongs here: log files as text. Where they are is in `supervision`.
"""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_TAIL_BYTES: Final = 64 * 1024
_TROUBLE: Final = re.compile(r"\b(?:FATAL|ERROR|CRITICAL|[A-Za-z.]*(?:Error|Exception))\b")
_CONTINUED: Final = re.compile(r"^\s+(?:at |\.\.\. |File |\^)")
_LONGEST: Final = 300
_FOLLOW_SECONDS: Final = 0.3


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last lines of a log, at most `count`; none where the file isn't there."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return []
    return text.splitlines()[-count:]


def telling_line(path: Path) -> str:
    """Return the line of a log that most likely says what went wrong: the last with an error, else the last at all."""
    lines = [line.strip() for line in last_lines(path, 400) if line.strip() and not _CONTINUED.match(line)]
    trouble = [line for line in lines if _TROUBLE.search(line)]
    chosen = trouble or lines
    return chosen[-1][:_LONGEST] if chosen else "the log is empty"


def follow(paths: dict[str, Path], poll_seconds: float = _FOLLOW_SECONDS) -> Iterator[tuple[str, str]]:
    """Yield new lines of several logs as they come, as (name, line), through rotations, until the caller stops."""
    places = {name: (_identity(path), _size(path)) for name, path in paths.items()}
    while True:
        idle = True
        for name, path in paths.items():
            identity, place = places[name]
            if _identity(path) != identity or _size(path) < place:
                identity, place = _identity(path), 0  # rotated
            if _size(path) > place:
                with path.open("rb") as stream:
                    stream.seek(place)
                    whole = stream.read().rpartition(b"\n")
                if whole[1]:
                    place += len(whole[0]) + 1
                    idle = False
                    for line in whole[0].decode("utf-8", "replace").splitlines():
                        yield name, line
            places[name] = (identity, place)
        if idle:
            time.sleep(poll_seconds)


def _identity(path: Path) -> int:
    try:
        return os.stat(path).st_ino  # noqa: PTH116 -- one call for one number
    except OSError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
