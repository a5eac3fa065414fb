"""What becomes of a query that ends: it is started again after a pause, or given up; the other queries go on.

Belongs here: the states of a query, pauses and limits. Does not belong here: why a query ended (`failures`), and
starting one (`service`).
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, Generic, Protocol, TypeVar

from retail_streaming.errors import StreamingError, TransientError, UnknownError
from retail_streaming.logs import log

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 300.0
_MOST_DOUBLINGS: Final = 20
#: Failures that are older don't count any more.
WINDOW_SECONDS: Final = 3600.0
#: A batch that ends well so long after the last failure wipes out all of them.
CALM_SECONDS: Final = 600.0


class State(StrEnum):
    """How a query is."""

    RUNNING = "running"
    RESTARTING = "restarting"
    FAILED = "failed"


class Stream(Protocol):
    """What is asked of Spark's `StreamingQuery` here."""

    @property
    def isActive(self) -> bool:  # noqa: N802 -- Spark's name
        """Whether it runs."""

    @property
    def status(self) -> Mapping[str, Any]:
        """Whether a batch is on its way (`isTriggerActive`), among other things."""

    def stop(self) -> None:
        """End it."""


_Running = TypeVar("_Running", bound=Stream)


class SupervisedQuery(Generic[_Running]):
    """One query, from its first start until it is given up.

    Attributes:
        name: of the query.
        state: how it is.
        error: why it isn't running; None while it is.
        in_order: whether a batch went well, or there was none to run, since the last start.
        stream: what runs, or ran last; None before the first start.
    """

    def __init__(
        self,
        name: str,
        begin: Callable[[], _Running],
        why: Callable[[_Running], StreamingError],
        *,
        restarts: int,
        on_restart: Callable[[], None] = lambda: None,
        on_failure: Callable[[StreamingError], None] = lambda _: None,
    ) -> None:
        """Say how to run it; `start` does.

        Args:
            name: of the query.
            begin: starts it. Raises StreamingError when it can't.
            why: says why it ended.
            restarts: how often it may be started again within `WINDOW_SECONDS` after a failure that nothing is known
                about. What is known to pass is tried for ever.
            on_restart: called each time that it is started again.
            on_failure: told why, each time that it ended or didn't start.
        """
        self.name = name
        self.state = State.RESTARTING
        self.error: StreamingError | None = None
        self.in_order = False
        self.stream: _Running | None = None
        self._begin = begin
        self._why = why
        self._limit = restarts
        self._on_restart = on_restart
        self._on_failure = on_failure
        self._failures: deque[float] = deque()
        self._unknown: deque[float] = deque()
        self._start_at = 0.0
        self._anew = False

    def start(self, now: float) -> None:
        """Start it. What goes wrong with that is a failure like any other.

        Args:
            now: of a clock that is never set.
        """
        self.in_order = False
        self._anew = False
        try:
            self.stream = self._begin()
        except StreamingError as error:
            self._failed(error, now)
        else:
            self.state, self.error = State.RUNNING, None

    def look(self, now: float) -> None:
        """See to it that it runs; to be called several times a second. Doesn't wait."""
        if self.state is State.RUNNING and self.stream is not None and not self.stream.isActive:
            self._failed(self._why(self.stream), now)
        elif self.state is State.RESTARTING and now >= self._start_at:
            self._on_restart()
            self.start(now)
        elif self._anew and self.stream is not None and not self.stream.status["isTriggerActive"]:
            self.stream.stop()
            self.start(now)

    def start_anew(self) -> None:
        """Have it stopped and started again as soon as no batch is on its way; no failure."""
        self._anew = self.state is State.RUNNING

    def went_well(self, now: float) -> None:
        """Take note that a batch ended well, or that there was nothing to do."""
        self.in_order = True
        if self._failures and now - self._failures[-1] >= CALM_SECONDS:
            self._failures.clear()
            self._unknown.clear()

    def _failed(self, error: StreamingError, now: float) -> None:
        self.error = error
        self._on_failure(error)
        passes = isinstance(error, TransientError)
        # An outage may last: only failures that nothing is known about use up the limit.
        for failures in (self._failures,) if passes else (self._failures, self._unknown):
            while failures and now - failures[0] > WINDOW_SECONDS:
                failures.popleft()
            failures.append(now)
        if not passes and not isinstance(error, UnknownError):
            self._give_up("it doesn't pass by itself")
        elif not passes and len(self._unknown) > self._limit:
            self._give_up(f"{len(self._unknown)} failures within an hour")
        else:
            self.state = State.RESTARTING
            # What is known to pass is never given up: there may be an hour of failures.
            doublings = min(len(self._failures) - 1, _MOST_DOUBLINGS)
            pause = min(FIRST_PAUSE * 2**doublings, LONGEST_PAUSE)
            self._start_at = now + pause
            log(logging.WARNING, "starting query again", query=self.name, error=str(error), pause_seconds=pause)

    def _give_up(self, reason: str) -> None:
        self.state = State.FAILED
        log(
            logging.ERROR,
            "query failed",
            query=self.name,
            error=str(self.error),
            reason=None if self.error is None else self.error.reason,
            given_up=reason,
            what_to_do="mend it and start the service again; the query goes on where it was, the others run meanwhile",
        )
