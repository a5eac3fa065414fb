"""A measurement in a process of its own, with the memory of that process and all that it starts.

Spark, Polars and the page of one measurement don't stand in another's memory then. Does not belong here: what is
measured.
"""

import multiprocessing
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import psutil

from retail_assets.bench.errors import BenchError

_SAMPLE_S: Final = 0.05
_MB: Final = 1 << 20


class Memory:
    """Watches the resident memory of a process and those that it started.

    Attributes:
        peak_mb: the highest so far, of all of them together.
    """

    def __init__(self, pid: int | None = None) -> None:
        """Say which process; this one by default."""
        self.peak_mb = 0.0
        self._pid = pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Watch no longer."""
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            root = psutil.Process(self._pid)
        except psutil.NoSuchProcess:
            return
        while not self._done.wait(_SAMPLE_S):
            try:
                self.peak_mb = max(self.peak_mb, resident_mb(root))
            except psutil.NoSuchProcess:
                return


def resident_mb(root: psutil.Process) -> float:
    """Return the resident memory of a process and of all that it started.

    Raises:
        psutil.NoSuchProcess: it has ended.
    """
    total = 0
    for process in (root, *root.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:  # it has just ended
            continue
    return total / _MB


@dataclass(frozen=True)
class Measured:
    """What a measurement gave.

    Attributes:
        value: what its function returned.
        seconds: of the whole process, its start included.
        peak_memory_mb: of the process and all that it started.
    """

    value: Any
    seconds: float
    peak_memory_mb: float


def _call(sender: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    sender.send(function(*arguments))


def measure_apart(function: Callable[..., Any], *arguments: Any) -> Measured:
    """Run a function of a module in a new process and measure it.

    Args:
        function: can be imported by its name; returns plain values.
        arguments: plain values.

    Raises:
        BenchError: the process failed; its error stands on standard error.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(sender, function, arguments))
    began = time.perf_counter()
    process.start()
    sender.close()
    with Memory(process.pid) as memory:
        try:
            value = receiver.recv()
        except EOFError:
            process.join()
            raise BenchError(f"{function.__name__} failed, see above") from None
        process.join()
    return Measured(value, time.perf_counter() - began, memory.peak_mb)
