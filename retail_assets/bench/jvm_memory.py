"""What the JVMs below a process really hold: their heap after a collection.

Resident memory alone can't tell a leak from a collector that takes what it may have. Does not belong here: resident
memory (`apart`), and what is measured.
"""

import re
import subprocess
from pathlib import Path
from typing import Final

import psutil

_USED: Final = re.compile(r"\bused (\d+)K")
_TIMEOUT_S: Final = 60


def live_heap_mb(root: psutil.Process) -> float | None:
    """Collect the garbage of every JVM that a process has started; return the megabytes of heap still in use.

    Returns:
        None when there is no JVM, or `jcmd` doesn't stand beside its `java`.

    Raises:
        psutil.NoSuchProcess: the process has ended.
    """
    heaps = [
        heap
        for process in root.children(recursive=True)
        if process.name() == "java" and (heap := _heap_mb(process)) is not None
    ]
    return sum(heaps) if heaps else None


def used_mb(heap_info: str) -> float | None:
    """Return the heap in use that `jcmd GC.heap_info` reports, in megabytes.

    The first figure is the heap's; those of metaspace and classes follow.
    """
    used = _USED.search(heap_info)
    return int(used[1]) / 1024 if used else None


def _heap_mb(process: psutil.Process) -> float | None:
    jcmd = Path(process.exe()).with_name("jcmd")
    if not jcmd.exists():
        return None
    for command in ("GC.run", "GC.heap_info"):
        said = subprocess.run(
            [str(jcmd), str(process.pid), command], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        if said.returncode:
            return None
    return used_mb(said.stdout)
