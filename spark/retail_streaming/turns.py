"""Whose batch is next: on few processors, batches one after another are each done sooner than all side by side.

A batch has the messages that were there when it began. Side by side, the batches of all queries share the processors
and each takes as long as all of them together; so messages wait in the topics for that long, then once more for as long
in a batch. In turns they wait in the topics alone. A query waits at the end of its batch before, when its rows are
written already: Spark reads the topics only after that.

Belongs here: the line that queries stand in. Does not belong here: what they do in their turn (`writer`).
"""

import time
from collections import deque
from collections.abc import Callable
from threading import Condition, Event
from typing import Final

#: A batch that takes longer no longer keeps the others from theirs.
LONGEST_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.25


class Turns:
    """Lets so many queries at a time have a batch, in the order in which they asked."""

    def __init__(self, at_once: int, *, grace: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nobody in line.

        Args:
            at_once: how many.
            grace: seconds that a turn is kept for a batch that hasn't begun: there may be nothing to read.
            clock: in seconds; only ever goes on.
        """
        self._at_once = at_once
        self._grace = grace
        self._clock = clock
        self._changed = Condition()
        self._line: deque[object] = deque()
        self._busy_until: dict[str, float] = {}

    def begun(self, query: str) -> None:
        """Take note that a query's batch has begun, in its turn or out of it."""
        with self._changed:
            self._busy_until[query] = self._clock() + LONGEST_SECONDS

    def over(self, query: str) -> None:
        """Take note that a query no longer needs the processors, well or not."""
        with self._changed:
            self._busy_until.pop(query, None)
            self._changed.notify_all()

    def wait(self, query: str, stopping: Event, *, keeps: bool = True) -> float:
        """Stand in line until it is a query's turn, or the service is told to stop.

        Args:
            query: that asks.
            stopping: set when the service is told to stop.
            keeps: keep the turn for it; not for a query whose next batch may be far off.

        Returns:
            How many seconds that took.
        """
        begun = self._clock()
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            try:
                while not stopping.is_set() and not self._is_turn_of(ticket):
                    # Nobody says so when time makes a turn free, or when the service stops.
                    self._changed.wait(_LOOK_SECONDS)
                if keeps:
                    self._busy_until[query] = self._clock() + self._grace
            finally:
                self._line.remove(ticket)
                self._changed.notify_all()
        return self._clock() - begun

    def _is_turn_of(self, ticket: object) -> bool:
        now = self._clock()
        return self._line[0] is ticket and sum(until > now for until in self._busy_until.values()) < self._at_once
