"""Where the processors' time goes while something is measured: on a busy machine, latency says more of the machine.

Does not belong here: what is measured, and memory (`apart`).
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import psutil

#: Threads of a JVM that compile, as Linux knows them.
_COMPILERS: Final = ("C1 Compiler", "C2 Compiler")


@dataclass(frozen=True)
class _Seconds:
    """Seconds since some moment: of the clock, of the process and those it started, of all, and of none."""

    clock: float
    own: float
    compiling: float
    idle: float
    all_busy: float


class Processors:
    """Adds up the processors' time of a process and all that it starts, between entering and leaving."""

    def __init__(self, pid: int) -> None:
        """Say which process. What it starts later, and ends before the end, does not count."""
        self._root = psutil.Process(pid)
        self._begun: _Seconds | None = None
        self._ended: _Seconds | None = None

    def __enter__(self) -> Self:
        """Begin."""
        self._begun = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ended = self._now()

    @property
    def cores(self) -> dict[str, float]:
        """Cores that were busy on average: `own`, `compiling` (a part of it), `others`, and `idle`.

        `compiling` is what the JVM's compilers took, which a service does less and less of; 0 where the system doesn't
        tell.
        """
        assert self._begun is not None and self._ended is not None  # noqa: S101, PT018 -- asked after it
        seconds = max(self._ended.clock - self._begun.clock, 1e-9)
        own = self._ended.own - self._begun.own
        busy = {
            "own": own,
            "compiling": self._ended.compiling - self._begun.compiling,
            "others": self._ended.all_busy - self._begun.all_busy - own,
            "idle": self._ended.idle - self._begun.idle,
        }
        return {name: round(max(value, 0.0) / seconds, 2) for name, value in busy.items()}

    def _now(self) -> _Seconds:
        own = compiling = 0.0
        for process in (self._root, *self._root.children(recursive=True)):
            try:
                times = process.cpu_times()
                own += times.user + times.system
                compiling += _compiling(process)
            except psutil.NoSuchProcess:
                continue
        every = psutil.cpu_times()
        idle = every.idle + getattr(every, "iowait", 0.0)
        return _Seconds(time.monotonic(), own, compiling, idle, every.user + every.system)


def _compiling(process: psutil.Process) -> float:
    return sum(
        thread.user_time + thread.system_time
        for thread in process.threads()
        if _name(process.pid, thread.id).startswith(_COMPILERS)
    )


def _name(pid: int, thread: int) -> str:
    try:
        return Path(f"/proc/{pid}/task/{thread}/comm").read_text(encoding="utf-8")
    except OSError:
        return ""
