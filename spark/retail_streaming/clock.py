"""Noticing that this machine's clock was set, by a second clock that can't be.

Does not belong here: what is done about it (`service`).
"""

import time
from collections.abc import Callable
from typing import Final

#: Less isn't told from a clock that is being slowed or hurried, and does no harm.
_TOLERANCE_SECONDS: Final = 2.0


class ClockWatch:
    """Compares the machine's clock with one that only ever goes on."""

    def __init__(
        self, clock: Callable[[], float] = time.time, steady_clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the clocks, in seconds."""
        self._clock = clock
        self._steady_clock = steady_clock
        self._apart = clock() - steady_clock()

    def look(self) -> float:
        """Return by how many seconds the clock was set since the last look: below 0 it was set back, 0 if it wasn't."""
        before, self._apart = self._apart, self._clock() - self._steady_clock()
        set_by = self._apart - before
        return set_by if abs(set_by) > _TOLERANCE_SECONDS else 0.0
