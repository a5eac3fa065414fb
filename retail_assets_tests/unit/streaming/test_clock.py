"""A clock that is set is noticed, one that goes on is not."""

import pytest

from retail_streaming.clock import ClockWatch


class Clocks:
    now = 1_772_000_000.0
    steady = 50.0

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.steady += seconds


@pytest.mark.parametrize("set_by", [-3600.0, 86_400.0])
def test_a_clock_that_was_set_is_told_once(set_by: float) -> None:
    clocks = Clocks()
    watch = ClockWatch(lambda: clocks.now, lambda: clocks.steady)
    clocks.pass_by(100)
    assert watch.look() == 0
    clocks.pass_by(0.25)
    clocks.now += set_by
    assert watch.look() == pytest.approx(set_by)
    clocks.pass_by(0.25)
    assert watch.look() == 0


def test_a_clock_that_is_slowed_for_hours_was_not_set() -> None:
    clocks = Clocks()
    watch = ClockWatch(lambda: clocks.now, lambda: clocks.steady)
    for _ in range(10_000):
        clocks.pass_by(1)
        clocks.now -= 0.0005
        assert watch.look() == 0
