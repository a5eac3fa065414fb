"""The service's own loop and its end, with stand-ins for Spark's queries."""

import time
from collections.abc import Callable
from threading import Event, Timer
from threading import enumerate as enumerate_threads
from typing import Any

import pytest

from retail_streaming.clock import ClockWatch
from retail_streaming.ending import finish
from retail_streaming.errors import UnknownError
from retail_streaming.service import Service
from retail_streaming.settings import StreamingSettings
from retail_streaming.supervision import SupervisedQuery


class FakeStream:
    """A query as Spark runs it."""

    isActive = True  # noqa: N815 -- Spark's name

    def __init__(self, *, busy: bool = False, stop: Callable[[], None] = lambda: None) -> None:
        self.status = {"isTriggerActive": busy}
        self.lastProgress: dict[str, Any] | None = None  # Spark's name
        self._stop = stop

    def stop(self) -> None:
        self._stop()
        self.isActive = False


class Clocks:
    """A machine whose clock is set between two looks."""

    def __init__(self, *jumps: float) -> None:
        self.jumps = list(jumps)
        self.ahead = 0.0

    def now(self) -> float:
        self.ahead += self.jumps.pop(0) if self.jumps else 0.0
        return self.ahead

    @staticmethod
    def steady() -> float:
        return 0.0


def starts_in_three_turns(*jumps: float) -> tuple[int, str]:
    """Return how often a query was started, and the metrics, after the loop has turned three times."""
    service = Service(StreamingSettings())
    streams: list[FakeStream] = []

    def begin() -> FakeStream:
        streams.append(FakeStream())
        return streams[-1]

    query: SupervisedQuery[Any] = SupervisedQuery("tills", begin, lambda _: UnknownError("?"), restarts=3)
    query.start(0)
    clocks = Clocks(0, *jumps)
    service._supervised.append(query)
    service._clock = ClockWatch(clocks.now, clocks.steady)
    turns: list[float | None] = []

    class Stopping(Event):
        def wait(self, timeout: float | None = None) -> bool:
            turns.append(timeout)
            return len(turns) > 3

    service._stopping = Stopping()
    service._watch()
    assert [stream.isActive for stream in streams] == [False] * (len(streams) - 1) + [True]
    return len(streams), service._metrics.text().decode()


def test_when_the_clock_was_set_back_queries_are_started_anew_once() -> None:
    starts, metrics = starts_in_three_turns(0, -3600)
    assert starts == 2
    assert 'retail_stream_clock_set_total{direction="back"} 1.0' in metrics


def test_when_the_clock_was_set_forward_it_is_counted_and_no_query_is_held_up() -> None:
    starts, metrics = starts_in_three_turns(3600)
    assert starts == 1
    assert 'retail_stream_clock_set_total{direction="forward"} 1.0' in metrics


def test_while_nobody_sets_the_clock_queries_are_left_alone() -> None:
    assert starts_in_three_turns()[0] == 1


def test_a_batch_may_end_before_its_query_is_stopped() -> None:
    stream = FakeStream(busy=True)

    def end_of_batch() -> None:
        assert stream.isActive
        stream.lastProgress = {"batchId": 0}

    Timer(0.4, end_of_batch).start()
    finish({"sales": stream}, batch_seconds=60, stop_seconds=60)
    assert (stream.isActive, stream.lastProgress) == (False, {"batchId": 0})


def test_batches_that_do_not_end_are_cut_off_together_and_none_waits_for_another(
    seen: pytest.LogCaptureFixture,
) -> None:
    never = Event()
    hanging = FakeStream(busy=True, stop=lambda: never.wait(60) and None)
    streams = {"tills": hanging, "inventory": FakeStream(busy=True), "sales": FakeStream()}
    # One after another, the second would wait for the first for a minute, and each have its own time.
    finish(streams, batch_seconds=1, stop_seconds=5)
    said = [(record.getMessage(), vars(record)["fields"]["query"]) for record in seen.records]
    assert said[0] == ("query stopped", "sales")
    assert sorted(said[1:-1]) == [
        ("batch cut off", "inventory"),
        ("batch cut off", "tills"),
        ("query stopped", "inventory"),
    ]
    assert said[-1] == ("query did not stop by itself", "tills")
    # What it says in the end belongs to this test.
    never.set()
    (thread,) = (one for one in enumerate_threads() if one.name == "end tills")
    thread.join(60)


def test_what_goes_wrong_with_one_is_said_after_the_others_have_ended() -> None:
    def fail() -> None:
        raise ConnectionError("the JVM has ended")

    slow = FakeStream(stop=lambda: time.sleep(0.3))
    with pytest.raises(ConnectionError):
        finish({"tills": FakeStream(stop=fail), "sales": slow}, batch_seconds=60, stop_seconds=60)
    assert not slow.isActive
