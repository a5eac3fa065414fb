"""Ending within a bounded time: queries all at once, and what may hang in threads that nobody waits for.

Whatever is cut off is written by the next start, as after a crash; a supervisor that loses patience would do worse.
Does not belong here: when the service ends, and in what order (`service`).
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from threading import Event, Thread
from typing import Any, Final, Protocol

from retail_streaming import supervision
from retail_streaming.logs import log

#: How long the running batches may take to end; then they are cut off, and written by the next start.
BATCH_SECONDS: Final = 30.0
#: How long Spark may take for what is asked of it afterwards, each time.
STOP_SECONDS: Final = 4.0
#: Above all that the end may take.
CUT_OFF_SECONDS: Final = 45.0
_LOOK_SECONDS: Final = 0.25


class Stream(supervision.Stream, Protocol):
    """What is asked of Spark's `StreamingQuery` at the end, besides."""

    @property
    def lastProgress(self) -> Any:  # noqa: N802 -- Spark's name
        """The figures of the last batch that is over; None before that."""


def finish(
    streams: Mapping[str, Stream], *, batch_seconds: float = BATCH_SECONDS, stop_seconds: float = STOP_SECONDS
) -> None:
    """Let the running batches end, then stop the queries. All of them together have the time.

    Args:
        streams: by the name of their query.
        batch_seconds: for the batches.
        stop_seconds: for stopping what was cut off.

    Raises:
        Exception: what went wrong with one of them, after the others.
    """
    deadline = time.monotonic() + batch_seconds
    works = {
        name: (lambda name=name, stream=stream: _finish(name, stream, deadline)) for name, stream in streams.items()
    }
    for name in within(batch_seconds + stop_seconds, works):
        log(logging.WARNING, "query did not stop by itself", query=name)


def within(seconds: float, works: Mapping[str, Callable[[], object]]) -> list[str]:
    """Do some works side by side, and wait for them so long.

    Args:
        seconds: for all of them.
        works: by name.

    Returns:
        The names of those that are not done. They go on, and end with the process.

    Raises:
        Exception: what went wrong with one of them.
    """
    errors: list[Exception] = []

    def do(work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 -- raised again below
            errors.append(error)

    deadline = time.monotonic() + seconds
    threads = {name: Thread(target=do, args=(work,), name=f"end {name}", daemon=True) for name, work in works.items()}
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(deadline - time.monotonic(), 0))
    if errors:
        raise errors[0]
    return [name for name, thread in threads.items() if thread.is_alive()]


def cut_off_unless(ended: Event, stopping: Event, seconds: float) -> None:
    """End the process in any case, that long after it was told to stop: a call to a JVM that hangs never returns.

    Args:
        ended: set when it has ended well.
        stopping: set when it is told to stop.
        seconds: to wait in between.
    """

    def watch() -> None:
        stopping.wait()
        if not ended.wait(seconds):
            log(logging.ERROR, "service cut off", waited_seconds=seconds)
            # Nothing else gets past a main thread that waits for Java.
            os._exit(1)

    Thread(target=watch, name="cut off", daemon=True).start()


def _finish(name: str, stream: Stream, deadline: float) -> None:
    """Let the running batch end, then stop the query.

    A next batch that begins in between is cut off: it is in the checkpoint and is written by the next start.
    """
    before = _last_batch(stream)
    while stream.isActive and stream.status["isTriggerActive"] and _last_batch(stream) == before:
        if time.monotonic() > deadline:
            log(logging.WARNING, "batch cut off", query=name)
            break
        time.sleep(_LOOK_SECONDS)
    stream.stop()
    log(logging.INFO, "query stopped", query=name, batch=_last_batch(stream))


def _last_batch(stream: Stream) -> int:
    """Return the number of the last batch that is over; -1 when there is none since the start."""
    progress = stream.lastProgress
    return int(progress["batchId"]) if progress else -1
