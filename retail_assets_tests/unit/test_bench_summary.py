"""The overhead benchmark's arithmetic."""

import pytest

from retail_assets.bench.summary import (
    Span,
    StepSeconds,
    charged_seconds,
    milliseconds_per_partition,
    overhead_of,
    overhead_of_all,
)

WRITE = StepSeconds("write", "asset", dagster=(1.5, 1.2, 1.9), bare=(1.0, 1.0, 1.0))
CHECK = StepSeconds("write_contract", "check", dagster=(0.5, 0.5, 0.5), bare=(0.6, 0.4, 0.5))


def test_a_step_is_charged_with_the_pause_before_it() -> None:
    spans = [Span("second", 13.5, 15.0), Span("first", 10.0, 13.0)]
    assert charged_seconds(spans) == {"first": 3.0, "second": 2.0}


def test_no_time_between_the_first_start_and_the_last_end_is_lost() -> None:
    spans = [Span("a", 1.0, 2.0), Span("b", 2.5, 2.5), Span("c", 4.0, 7.25)]
    assert sum(charged_seconds(spans).values()) == 6.25


def test_steps_that_ran_at_the_same_time_are_refused() -> None:
    with pytest.raises(ValueError, match="second began before"):
        charged_seconds([Span("first", 1.0, 3.0), Span("second", 2.0, 4.0)])


def test_the_overhead_is_the_difference_of_each_round() -> None:
    assert WRITE.overheads == pytest.approx((0.5, 0.2, 0.9))
    figures = overhead_of(WRITE)
    assert figures.overhead_median == pytest.approx(0.5)
    assert figures.overhead_max == pytest.approx(0.9)
    assert figures.ratio == pytest.approx(1.5)


def test_all_steps_together_are_judged_by_every_round_of_every_step() -> None:
    figures = overhead_of_all([WRITE, CHECK])
    assert (figures.dagster_seconds, figures.bare_seconds) == pytest.approx((2.0, 1.5))
    # The rounds in order: -0.1, 0, 0.1, 0.2, 0.5, 0.9.
    assert figures.overhead_median == pytest.approx(0.15)
    assert figures.overhead_max == pytest.approx(0.9)


def test_a_step_that_was_not_timed_as_often_on_both_sides_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        overhead_of(StepSeconds("write", "asset", dagster=(1.0, 1.0), bare=(1.0,)))
    with pytest.raises(ValueError, match="nothing was timed"):
        overhead_of_all([])


def test_a_further_partition_costs_the_difference_over_those_that_are_further() -> None:
    assert milliseconds_per_partition([1.3, 1.2, 9.0], [0.1, 0.1, 0.4], 101) == pytest.approx(12.0)
    with pytest.raises(ValueError, match="one partition and runs with more"):
        milliseconds_per_partition([1.0], [1.0], 1)
