"""Whether the service is as it should be, in two questions that an orchestrator asks.

Is it alive: does the loop that watches the queries still turn? If not, only an end and a new start help. Is it ready:
do all queries run, and does the warehouse take their rows? If not, the answer says which and why, and the service may
well mend it by itself. Does not belong here: serving the answers (`http_server`).
"""

import time
from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Any, Final

from retail_streaming.errors import StreamingError
from retail_streaming.progress import Batch
from retail_streaming.spill import Spill
from retail_streaming.supervision import State, SupervisedQuery

#: A turn of the loop takes a fraction of a second; to start a query again, a few.
TURN_SECONDS: Final = 60.0

Answer = tuple[bool, dict[str, Any]]


class Phase(StrEnum):
    """Where in its life the service is."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Health:
    """Knows how the service is. An observer of batches; asked from other threads."""

    def __init__(self, spill: Spill, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin in the phase of starting, whose length is bounded by the service's patience."""
        self._spill = spill
        self._clock = clock
        self._phase = Phase.STARTING
        self._turned_at = clock()
        self._queries: dict[str, tuple[SupervisedQuery[Any], Callable[[], StreamingError | None]]] = {}
        self._lags: dict[str, int] = {}

    def watch_query(self, query: SupervisedQuery[Any], held_up: Callable[[], StreamingError | None]) -> None:
        """Take a query into account.

        Args:
            query: that is supervised.
            held_up: says why its running batch can't go on, if so.
        """
        self._queries[query.name] = (query, held_up)

    def turned(self) -> None:
        """Take note that the loop has turned."""
        self._phase, self._turned_at = Phase.RUNNING, self._clock()

    def stopping(self) -> None:
        """Take note that the service was told to stop."""
        self._phase = Phase.STOPPING

    def batch(self, batch: Batch) -> None:
        """Take note of a batch that ended well."""
        self._queries[batch.query][0].went_well(self._clock())
        self._lags[batch.query] = batch.lag

    def idle(self, query: str) -> None:
        """Take note that a query had nothing to do."""
        self._queries[query][0].went_well(self._clock())
        self._lags[query] = 0

    def alive(self) -> Answer:
        """Return whether the process works, and why not."""
        still = self._clock() - self._turned_at
        if self._phase is Phase.RUNNING and still > TURN_SECONDS:
            reason = f"the loop that watches the queries has not turned for {still:.0f} seconds: Spark's JVM hangs"
            return False, {"status": "hanging", "reason": reason}
        return True, {"status": self._phase.value}

    def ready(self) -> Answer:
        """Return whether all queries run and their rows arrive, and for each query how it is."""
        queries = {name: self._how(*entry) for name, entry in self._queries.items()}
        spilling = self._spill.active
        is_ready = (
            self._phase is Phase.RUNNING
            and self.alive()[0]
            and not spilling
            and all("why" not in one for one in queries.values())
        )
        status = "ready" if is_ready else "spilling" if spilling else "not ready"
        spill = {"files": self._spill.files, "bytes": self._spill.bytes}
        return is_ready, {"status": status, "phase": self._phase.value, "queries": queries, "spill": spill}

    def behind(self, names: Collection[str]) -> str | None:
        """Return why the tables of some queries are not what they should be by now; None if they are.

        Args:
            names: of the queries. How the others are doesn't matter.
        """
        if self._phase is not Phase.RUNNING:
            return f"the service is {self._phase.value}"
        if self._spill.active:
            return "the warehouse is away"
        reasons = []
        for name in sorted(names):
            entry = self._queries.get(name)
            if entry is None:
                reasons.append(f"{name} doesn't run")
            elif "why" in (how := self._how(*entry)):
                reasons.append(f"{name}: {how['why']}")
            elif self._spill.waits_for(name):
                reasons.append(f"rows of {name} wait on the disk")
            elif lag := self._lags.get(name):
                reasons.append(f"{name} has {lag} messages to read")
        return "; ".join(reasons) or None

    @staticmethod
    def _how(query: SupervisedQuery[Any], held_up: Callable[[], StreamingError | None]) -> dict[str, str]:
        why: object = query.error
        if query.state is State.RUNNING:
            why = held_up() or (None if query.in_order else "no batch has ended yet")
        return {"state": query.state.value} | ({"why": str(why)} if why is not None else {})
