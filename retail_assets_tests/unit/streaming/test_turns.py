"""Queries take turns: in the order in which they asked, so many at a time, and none holds the others for ever."""

import time
from collections.abc import Callable, Iterator
from threading import Event, Thread

import pytest

from retail_streaming.turns import LONGEST_SECONDS, Turns

SOON = 5.0


class Queue:
    """Queries that wait in threads of their own, as Spark's do."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.stopping = Event()
        self.had_a_turn: list[str] = []
        self.waited: dict[str, float] = {}
        self._threads: list[Thread] = []

    def stands(self, *queries: str) -> None:
        for query in queries:
            thread = Thread(target=self._wait, args=(query,), daemon=True)
            thread.start()
            self._threads.append(thread)
            # So that the next one stands behind it.
            time.sleep(0.05)

    def _wait(self, query: str) -> None:
        self.waited[query] = self.turns.wait(query, self.stopping)
        self.had_a_turn.append(query)

    def ends(self) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join(SOON)
            assert not thread.is_alive()


class Clock:
    """A clock that goes on when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Iterator[Queue]:
    """Two at a time; both places are taken."""
    queue = Queue(Turns(2, grace=1, clock=clock))
    queue.turns.begun("sales")
    queue.turns.begun("inventory")
    yield queue
    queue.ends()


def becomes(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SOON
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_who_asked_first_is_next(queue: Queue) -> None:
    queue.stands("tills", "dead_letters")
    assert queue.had_a_turn == []
    queue.turns.over("sales")
    assert becomes(lambda: queue.had_a_turn == ["tills"])
    queue.turns.over("inventory")
    assert becomes(lambda: queue.had_a_turn == ["tills", "dead_letters"])


def test_no_more_than_the_number_have_a_turn(queue: Queue) -> None:
    queue.stands("tills", "dead_letters")
    queue.turns.over("sales")
    queue.turns.over("sales")
    assert becomes(lambda: queue.had_a_turn == ["tills"])
    queue.turns.begun("tills")
    time.sleep(0.5)
    assert queue.had_a_turn == ["tills"]


def test_waiting_is_measured(queue: Queue, clock: Clock) -> None:
    queue.stands("tills")
    clock.now += 7
    queue.turns.over("sales")
    assert becomes(lambda: queue.waited == {"tills": 7})


def test_nobody_waits_where_there_is_room(clock: Clock) -> None:
    assert Turns(1, grace=1, clock=clock).wait("sales", Event()) == 0


def test_a_turn_that_nothing_is_made_of_passes_on(queue: Queue, clock: Clock) -> None:
    queue.turns.over("sales")
    queue.stands("tills", "dead_letters")
    assert queue.had_a_turn == ["tills"]
    clock.now += 1.1
    assert becomes(lambda: queue.had_a_turn == ["tills", "dead_letters"])


def test_a_query_that_may_not_use_its_turn_for_long_keeps_none(queue: Queue) -> None:
    queue.turns.over("sales")
    assert queue.turns.wait("dead_letters", Event(), keeps=False) < SOON
    queue.stands("tills")
    assert queue.had_a_turn == ["tills"]


def test_a_batch_that_hangs_does_not_hold_the_others(queue: Queue, clock: Clock) -> None:
    queue.stands("tills")
    clock.now += LONGEST_SECONDS - 1
    time.sleep(0.4)
    assert queue.had_a_turn == []
    clock.now += 2
    assert becomes(lambda: queue.had_a_turn == ["tills"])


def test_nobody_waits_when_the_service_stops(queue: Queue) -> None:
    queue.stands("tills", "dead_letters")
    queue.stopping.set()
    assert becomes(lambda: sorted(queue.had_a_turn) == ["dead_letters", "tills"])
