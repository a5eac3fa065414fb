"""When messages may be sent: by the time of what happened, or so many a second.

Belongs here: arithmetic on times. No clock: elapsed time is given, so that any clock will do.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

_MS: float = 1_000.0


class Pace(Protocol):
    """Says how many messages may be sent by now."""

    def ready(self, due: npt.NDArray[np.int64], sent: int, elapsed_s: float) -> int:
        """Return how many of the next messages may be sent.

        Args:
            due: when each is due, in epoch milliseconds, rising.
            sent: messages sent before them.
            elapsed_s: seconds since the start.
        """

    def wait_s(self, next_due: int, sent: int, elapsed_s: float) -> float:
        """Return in how many seconds the next message may be sent, 0 if now."""


@dataclass(frozen=True)
class BySpeed:
    """So many seconds of the stream in one second; 60 is an hour a minute. Never before its time.

    Attributes:
        speed: seconds of the stream in a second.
        start_ms: the stream's time at the start, in epoch milliseconds.
    """

    speed: float
    start_ms: int

    def ready(self, due: npt.NDArray[np.int64], sent: int, elapsed_s: float) -> int:  # noqa: ARG002 - the protocol's
        """Return how many are due by the stream's time."""
        now = self.start_ms + int(elapsed_s * self.speed * _MS)
        return int(np.searchsorted(due, now, side="right"))

    def wait_s(self, next_due: int, sent: int, elapsed_s: float) -> float:  # noqa: ARG002 - the protocol's
        """Return the seconds until the stream's time is there."""
        return max(0.0, (next_due - self.start_ms) / _MS / self.speed - elapsed_s)


@dataclass(frozen=True)
class ByRate:
    """So many messages a second, in their order, whatever their time.

    Attributes:
        rate: messages a second.
    """

    rate: float

    def ready(self, due: npt.NDArray[np.int64], sent: int, elapsed_s: float) -> int:
        """Return how many fit the time that has passed."""
        return min(due.size, max(0, int(elapsed_s * self.rate) - sent))

    def wait_s(self, next_due: int, sent: int, elapsed_s: float) -> float:  # noqa: ARG002 - the protocol's
        """Return the seconds until there is room for one more."""
        return max(0.0, (sent + 1) / self.rate - elapsed_s)


@dataclass(frozen=True)
class AtOnce:
    """As fast as the broker takes them."""

    def ready(self, due: npt.NDArray[np.int64], sent: int, elapsed_s: float) -> int:  # noqa: ARG002 - the protocol's
        """Return all of them."""
        return due.size

    def wait_s(self, next_due: int, sent: int, elapsed_s: float) -> float:  # noqa: ARG002 - the protocol's
        """Return no time."""
        return 0.0
