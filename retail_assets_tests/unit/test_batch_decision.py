"""A run starts for many events at once and for few after a while; whoever waits is told how long, in words."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retail_assets.sensors.decision import Backlog, BatchRule, age_matters, decide

RULE = BatchRule(5_000, 60)
AGES = st.none() | st.floats(-1e6, 1e6)
RULES = st.builds(BatchRule, st.integers(1, 10_000), st.floats(0, 1e5))
BACKLOGS = st.builds(Backlog, st.just("pos-events"), st.integers(0, 20_000), AGES, st.sampled_from(["", "offset 3"]))


@pytest.mark.parametrize(
    ("backlog", "start", "reason"),
    [
        (Backlog("t", 0), False, "t: no new events"),
        (Backlog("t", 412, 8.2), False, "t: 412 events waiting, oldest 8 s, batch starts at 5,000 or 60 s"),
        (Backlog("t", 1, 0), False, "t: 1 event waiting, oldest 0 s, batch starts at 5,000 or 60 s"),
        (Backlog("t", 412, 60), True, "t: 412 events waiting, oldest 60 s, batch starts at 5,000 or 60 s"),
        (Backlog("t", 5_000), True, "t: 5,000 events waiting"),
        (Backlog("t", 412), True, "t: 412 events waiting, of unknown age"),
        (Backlog("t", 0, lost="partition 0"), True, "t: 0 events waiting, events were lost: partition 0"),
    ],
)
def test_the_rule_and_its_words(backlog: Backlog, start: bool, reason: str) -> None:
    assert (decide(backlog, RULE).start, decide(backlog, RULE).reason) == (start, reason)


def test_a_clock_a_little_ahead_makes_an_event_new_and_one_far_ahead_is_not_waited_for() -> None:
    assert "oldest 0 s" in decide(Backlog("t", 1, -5), RULE).reason
    assert not decide(Backlog("t", 1, -60), RULE).start
    ahead = decide(Backlog("t", 1, -3_600), RULE)
    assert (ahead.start, ahead.reason) == (True, "t: 1 event waiting, stamped 3,600 s ahead of this clock")


@given(backlog=BACKLOGS, rule=RULES, more=st.integers(1, 10_000))
def test_what_starts_a_run_still_does_with_more_events(backlog: Backlog, rule: BatchRule, more: int) -> None:
    if decide(backlog, rule).start:
        assert decide(replace(backlog, events=backlog.events + more), rule).start


@given(events=st.integers(1, 20_000), age=st.floats(-1e6, 1e6), rule=RULES)
def test_an_event_that_is_there_is_asked_for_after_twice_the_waiting_time_at_most(
    events: int, age: float, rule: BatchRule
) -> None:
    later = age + 2 * rule.wait_s
    assert decide(Backlog("t", events, age), rule).start or decide(Backlog("t", events, later + 1e-3), rule).start


@given(backlog=BACKLOGS, rule=RULES, other=AGES)
def test_the_age_is_asked_for_whenever_it_changes_the_answer(
    backlog: Backlog, rule: BatchRule, other: float | None
) -> None:
    if decide(backlog, rule).start != decide(replace(backlog, oldest_s=other), rule).start:
        assert age_matters(backlog, rule)
