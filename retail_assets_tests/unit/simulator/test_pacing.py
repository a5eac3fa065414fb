"""Paces: never early, never out of order, and no slower than they say."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retail_assets.simulator.tills.pacing import AtOnce, ByRate, BySpeed, Pace

START = 1_767_225_600_000
gaps = st.lists(st.integers(0, 90_000), min_size=1, max_size=60)
naps = st.lists(st.floats(0.001, 5), min_size=1, max_size=200)


def run(pace: Pace, due: np.ndarray, naps: list[float]) -> list[float]:
    """Send by a pace on a made-up clock; return when each message was sent, in seconds."""
    sent_at: list[float] = []
    elapsed, turn = 0.0, 0
    while len(sent_at) < due.size:
        count = pace.ready(due[len(sent_at) :], len(sent_at), elapsed)
        assert 0 <= count <= due.size - len(sent_at)
        sent_at += [elapsed] * count
        if len(sent_at) < due.size:
            wait = pace.wait_s(int(due[len(sent_at)]), len(sent_at), elapsed)
            assert wait >= 0
            # Sleeping may end early or late.
            elapsed += max(1e-3, min(wait, naps[turn % len(naps)]))
            turn += 1
    return sent_at


@given(gaps, st.floats(0.5, 10_000), naps)
def test_by_speed_nothing_is_sent_before_its_time(gaps: list[int], speed: float, naps: list[float]) -> None:
    due = START + np.cumsum(np.array(gaps, dtype=np.int64))
    sent_at = run(BySpeed(speed, int(due[0])), due, naps)
    assert sent_at == sorted(sent_at)
    for at, when in zip(sent_at, due, strict=True):
        assert int(due[0]) + at * speed * 1_000 >= when


@given(gaps, st.floats(0.5, 500), naps)
def test_by_rate_there_are_never_more_than_the_rate_allows(gaps: list[int], rate: float, naps: list[float]) -> None:
    due = START + np.cumsum(np.array(gaps, dtype=np.int64))
    sent_at = run(ByRate(rate), due, naps)
    assert sent_at == sorted(sent_at)
    for number, at in enumerate(sent_at):
        assert number + 1 <= at * rate + 1e-6


def test_a_pace_that_was_held_up_catches_up() -> None:
    due = START + np.arange(1_000, dtype=np.int64) * 1_000
    assert BySpeed(60.0, START).ready(due, 0, 10.0) == 601
    assert ByRate(50.0).ready(due, 100, 10.0) == 400
    assert AtOnce().ready(due, 0, 0.0) == 1_000


def test_sixty_is_an_hour_a_minute() -> None:
    pace = BySpeed(60.0, START)
    assert pace.wait_s(START + 60 * 60 * 1_000, 0, 0.0) == 60.0
    assert pace.ready(np.array([START + 60 * 60 * 1_000]), 0, 59.9) == 0
    assert pace.ready(np.array([START + 60 * 60 * 1_000]), 0, 60.0) == 1
