"""Finding and ending the processes of one stack by the mark that each of them carries in its environment.

Belongs here: the mark, who carries it, and how such processes end. A process without exactly this stack's mark, or of
another user, is never touched. Imports no settings: the launcher uses it at each start of a service.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import psutil

STACK_MARK: Final = "RETAIL_STACK"
SERVICE_MARK: Final = "RETAIL_STACK_SERVICE"
_GRACE_SECONDS: Final = 10.0
_KILL_SECONDS: Final = 5.0
_ROUNDS: Final = 3


@dataclass(frozen=True)
class Marked:
    """A living process of a stack. `process` knows its start time, so a number used anew is never taken for it."""

    process: psutil.Process
    service: str

    @property
    def pid(self) -> int:
        """The process id."""
        return int(self.process.pid)


def find_marked(stack: str, service: str | None = None) -> list[Marked]:
    """Return the living processes that carry the mark of `stack`, without this one and those that it runs under.

    Args:
        stack: the mark's exact value.
        service: only processes of this service.
    """
    own = _own_line()
    found = []
    for process in psutil.process_iter():
        if process.pid in own:
            continue
        # Other users' processes, and such as end just now, don't show their environment.
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            if environment.get(STACK_MARK) != stack or process.uids().real != os.getuid():
                continue
            name = environment.get(SERVICE_MARK, "")
            if process.status() != psutil.STATUS_ZOMBIE and service in (None, name):
                found.append(Marked(process, name))
    return found


def sweep(stack: str, service: str | None = None, grace_seconds: float = _GRACE_SECONDS) -> int:
    """End every process that `find_marked` finds: politely first, then for sure. Returns how many there were."""
    ended: set[int] = set()
    for _ in range(_ROUNDS):  # a process may start another one while it ends
        marked = find_marked(stack, service)
        if not marked:
            break
        ended.update(one.pid for one in marked)
        _end([one.process for one in marked], grace_seconds)
    return len(ended)


def _end(processes: Iterable[psutil.Process], grace_seconds: float) -> None:
    waiting = list(processes)
    for process in waiting:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, waiting = psutil.wait_procs(waiting, timeout=grace_seconds)
    for process in waiting:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(waiting, timeout=_KILL_SECONDS)


def _own_line() -> set[int]:
    # `retail down` may be typed in a shell that a Dagster run opened, and such a shell carries the mark.
    own = psutil.Process()
    return {own.pid, *(parent.pid for parent in own.parents())}
