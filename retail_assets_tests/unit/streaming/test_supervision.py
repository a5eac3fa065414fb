"""What becomes of a query that ends, with a stand-in for Spark's."""

import logging

import pytest

from retail_streaming.errors import StreamingError, TransientError, UnknownError
from retail_streaming.supervision import CALM_SECONDS, LONGEST_PAUSE, WINDOW_SECONDS, State, SupervisedQuery

AWAY = TransientError("the broker is away")
LOST = StreamingError("messages were lost: move the checkpoint away")

UNKNOWN = UnknownError("something else")


class FakeStream:
    """A query as Spark runs it: active until it is ended."""

    isActive = True  # noqa: N815 -- Spark's name

    def __init__(self) -> None:
        self.error: StreamingError | None = None
        self.status = {"isTriggerActive": False}

    def stop(self) -> None:
        self.isActive = False

    def end(self, error: StreamingError) -> None:
        self.isActive, self.error = False, error


class Till:
    """A query under supervision, and what starts it."""

    def __init__(self, restarts: int = 3) -> None:
        self.starts: list[float] = []
        self.refuses: StreamingError | None = None
        self.now = 0.0
        self.restarted = 0
        self.failures: list[StreamingError] = []
        self.query = SupervisedQuery(
            "tills",
            self._begin,
            self._why,
            restarts=restarts,
            on_restart=self._count,
            on_failure=self.failures.append,
        )
        self.query.start(self.now)

    def _begin(self) -> FakeStream:
        self.starts.append(self.now)
        if self.refuses:
            raise self.refuses
        return FakeStream()

    @staticmethod
    def _why(stream: FakeStream) -> StreamingError:
        assert stream.error is not None
        return stream.error

    def _count(self) -> None:
        self.restarted += 1

    def end(self, error: StreamingError = AWAY) -> None:
        assert self.query.stream is not None
        self.query.stream.end(error)
        self.query.look(self.now)

    def wait(self, seconds: float) -> None:
        """Let time go by, with a look every quarter of a second."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 0.25, end)
            self.query.look(self.now)


def test_a_query_that_runs_is_left_alone() -> None:
    till = Till()
    till.wait(60)
    assert till.query.state is State.RUNNING
    assert till.starts == [0]


@pytest.mark.parametrize("error", [AWAY, UnknownError("no space left on the device")])
def test_a_query_that_ends_for_what_may_pass_is_started_again_after_a_pause(error: StreamingError) -> None:
    till = Till()
    till.end(error)
    assert till.query.state is State.RESTARTING
    assert till.query.error is error
    till.wait(1)
    assert till.query.state is State.RUNNING
    assert till.query.error is None
    assert till.starts == [0, 0.5]
    assert till.restarted == 1
    assert till.failures == [error]


def test_an_outage_does_not_use_up_what_unknown_failures_are_allowed() -> None:
    till = Till(restarts=2)
    for _ in range(9):
        till.end(AWAY)
        till.wait(LONGEST_PAUSE)
    for _ in range(2):
        till.end(UnknownError("a bug"))
        till.wait(LONGEST_PAUSE)
    assert till.query.state is State.RUNNING
    till.end(UnknownError("a bug"))
    assert till.query.state is State.FAILED


def test_the_pauses_grow_but_not_without_end() -> None:
    till, pauses = Till(restarts=12), []
    for _ in range(12):
        ended_at = till.now
        till.end()
        till.wait(LONGEST_PAUSE)
        pauses.append(till.starts[-1] - ended_at)
    assert pauses[:4] == [0.5, 1, 2, 4]
    assert pauses[-1] == LONGEST_PAUSE


def test_a_query_that_ends_too_often_within_an_hour_has_failed_and_that_is_said_once(
    seen: pytest.LogCaptureFixture,
) -> None:
    till = Till(restarts=2)
    for _ in range(3):
        till.wait(10)
        till.end(UNKNOWN)
    till.wait(WINDOW_SECONDS * 2)
    assert till.query.state is State.FAILED
    assert len(till.starts) == 3
    errors = [record for record in seen.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in errors] == ["query failed"]
    assert errors[0].fields["error"] == str(UNKNOWN)  # type: ignore[attr-defined]


def test_what_is_known_to_pass_is_never_given_up() -> None:
    till = Till(restarts=2)
    for _ in range(40):
        till.end(AWAY)
        assert till.query.state is State.RESTARTING
        till.wait(LONGEST_PAUSE)
    assert till.query.state is State.RUNNING


def test_failures_that_are_older_than_an_hour_do_not_count() -> None:
    till = Till(restarts=1)
    for _ in range(3):
        till.end(UNKNOWN)
        till.wait(WINDOW_SECONDS + 1)
    assert till.query.state is State.RUNNING


def test_a_good_batch_some_time_after_a_failure_wipes_it_out_and_one_soon_after_does_not() -> None:
    till = Till(restarts=1)
    till.end(UNKNOWN)
    till.wait(CALM_SECONDS + 1)
    till.query.went_well(till.now)
    till.end(UNKNOWN)
    assert till.query.state is State.RESTARTING
    till.wait(5)
    till.query.went_well(till.now)
    till.end(UNKNOWN)
    assert till.query.state is State.FAILED


def test_what_does_not_pass_is_not_tried_again(seen: pytest.LogCaptureFixture) -> None:
    till = Till()
    till.end(LOST)
    till.wait(60)
    assert till.query.state is State.FAILED
    assert till.query.error is LOST
    assert till.starts == [0]
    assert [record.levelname for record in seen.records] == ["ERROR"]


def test_a_query_that_cannot_be_started_is_a_failure_like_any_other() -> None:
    till = Till()
    till.end(UNKNOWN)
    till.refuses = LOST
    till.wait(1)
    assert till.query.state is State.FAILED


def test_after_a_new_start_a_query_is_in_order_only_with_a_batch_that_went_well() -> None:
    till = Till()
    till.query.went_well(till.now)
    assert till.query.in_order
    till.end(UNKNOWN)
    till.wait(1)
    assert not till.query.in_order


def test_a_query_that_is_to_start_anew_ends_its_batch_first_and_that_is_no_failure() -> None:
    till = Till()
    before = till.query.stream
    assert before is not None
    before.status = {"isTriggerActive": True}
    till.query.start_anew()
    till.wait(5)
    assert till.query.stream is before
    before.status = {"isTriggerActive": False}
    till.wait(1)
    assert till.query.stream is not before
    assert not before.isActive
    assert till.starts == [0, 5.25]
    assert (till.query.state, till.restarted, till.failures) == (State.RUNNING, 0, [])


def test_a_query_that_waits_to_be_started_again_is_not_started_anew_as_well() -> None:
    till = Till()
    till.end(UNKNOWN)
    till.query.start_anew()
    till.wait(10)
    assert till.starts == [0, 0.5]
