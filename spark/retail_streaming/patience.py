"""Trying again what is known to pass by itself: longer and longer pauses, and an end.

Does not belong here: knowing what passes by itself; that is whoever raises `TransientError`.
"""

import logging
import time
from collections.abc import Callable
from threading import Event
from typing import Final, TypeVar

from retail_streaming.errors import TransientError
from retail_streaming.logs import log

_Result = TypeVar("_Result")
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 15.0


def patiently(
    attempt: Callable[[], _Result], *, what: str, seconds: float, stopping: Event, first_pause: float = FIRST_PAUSE
) -> _Result:
    """Return what `attempt` returns, trying again after transient errors.

    Args:
        attempt: what to do.
        what: its name, for the log.
        seconds: when this much time has passed, the last error is raised.
        stopping: when the service is told to stop, the last error is raised at once.
        first_pause: seconds before the second try; each later pause is twice as long, up to `LONGEST_PAUSE`.

    Raises:
        TransientError: it has not passed.
    """
    deadline = time.monotonic() + seconds
    pause = first_pause
    while True:
        try:
            return attempt()
        except TransientError as error:
            left = deadline - time.monotonic()
            if left <= 0 or stopping.is_set():
                raise
            log(logging.WARNING, "trying again", what=what, error=str(error), pause_seconds=round(min(pause, left), 1))
            stopping.wait(min(pause, left))
            pause = min(pause * 2, LONGEST_PAUSE)
