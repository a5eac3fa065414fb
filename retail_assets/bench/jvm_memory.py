"""What the JVMs below a process really hold: their heap after a collection, and how much of it they have taken.

Resident memory alone can't tell a leak from a collector that takes what it may have. Does not belong here: resident
memory (`apart`), and what is measured.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_HEAP: Final = re.compile(r"\btotal (\d+)K, used (\d+)K")
_TIMEOUT_S: Final = 60
_KB: Final = 1024


@dataclass(frozen=True)
class Heap:
    """The heap of one or more JVMs, in megabytes.

    Attributes:
        used_mb: in use.
        taken_mb: taken from the system, in use or not.
    """

    used_mb: float
    taken_mb: float


def collected_heap(root: psutil.Process) -> Heap | None:
    """Collect the garbage of every JVM that a process has started, and return their heaps together.

    Returns:
        None when there is no JVM, or `jcmd` doesn't stand beside its `java`.

    Raises:
        psutil.NoSuchProcess: the process has ended.
    """
    heaps = [
        heap
        for process in root.children(recursive=True)
        if process.name() == "java" and (heap := _collected(process)) is not None
    ]
    return Heap(sum(heap.used_mb for heap in heaps), sum(heap.taken_mb for heap in heaps)) if heaps else None


def heap_of(heap_info: str) -> Heap | None:
    """Return the heap that `jcmd GC.heap_info` reports; metaspace and classes, which follow, are no part of it."""
    found = _HEAP.search(heap_info)
    return Heap(used_mb=int(found[2]) / _KB, taken_mb=int(found[1]) / _KB) if found else None


def _collected(process: psutil.Process) -> Heap | None:
    jcmd = Path(process.exe()).with_name("jcmd")
    if not jcmd.exists():
        return None
    for command in ("GC.run", "GC.heap_info"):
        said = subprocess.run(
            [str(jcmd), str(process.pid), command], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        if said.returncode:
            return None
    return heap_of(said.stdout)
