"""The next offset range follows from what the table holds: no hole, no repeat, whatever happened before."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retail_assets.resources.offsets import (
    OffsetRange,
    Progress,
    TopicResetError,
    TopicState,
    next_range,
    range_after,
)
from retail_assets.resources.progress import _parse, commit_metadata

PARTITIONS = st.dictionaries(st.integers(0, 5), st.integers(0, 300), min_size=1)


def test_a_new_table_starts_at_the_first_event_that_the_broker_has() -> None:
    span = next_range("t", held={}, first={0: 3, 1: 0}, end={0: 10, 1: 5}, limit=100)
    assert (span.start, span.end, span.events, span.lost) == ({0: 3, 1: 0}, {0: 10, 1: 5}, 12, {})


def test_the_next_range_starts_where_the_table_ends() -> None:
    span = next_range("t", held={0: 7}, first={0: 0}, end={0: 10}, limit=100)
    assert (span.start, span.end) == ({0: 7}, {0: 10})


def test_a_partition_that_was_added_is_read_from_its_start() -> None:
    span = next_range("t", held={0: 7}, first={0: 0, 1: 0}, end={0: 7, 1: 4}, limit=100)
    assert (span.start, span.end, span.events) == ({0: 7, 1: 0}, {0: 7, 1: 4}, 4)


def test_events_that_the_broker_deleted_unread_are_counted() -> None:
    span = next_range("t", held={0: 7}, first={0: 9}, end={0: 10}, limit=100)
    assert (span.start, span.lost) == ({0: 9}, {0: 2})


def test_a_topic_that_was_made_anew_is_refused_with_what_to_do() -> None:
    with pytest.raises(TopicResetError, match="ends at 2, but the raw table holds it up to 7"):
        next_range("t", held={0: 7}, first={0: 0}, end={0: 2}, limit=100)


@given(end=PARTITIONS, limit=st.integers(1, 500))
@example(end={0: 1, 1: 1, 2: 1}, limit=2)
def test_ranges_under_a_limit_follow_each_other_without_gap_until_all_is_read(end: dict[int, int], limit: int) -> None:
    held: dict[int, int] = {}
    first = dict.fromkeys(end, 0)
    read = 0
    for _ in range(sum(end.values()) + 1):
        span = next_range("t", held=held, first=first, end=end, limit=limit)
        if not span.events:
            break
        assert span.events <= limit
        assert all(span.start[p] == held.get(p, 0) for p in end)
        held = span.end
        read += span.events
    assert read == sum(end.values())


def test_what_a_broker_deleted_before_the_first_reading_is_no_loss() -> None:
    assert next_range("t", held={}, first={0: 500}, end={0: 600}, limit=1000).lost == {}


def test_what_it_deleted_of_a_partition_that_was_added_since_is_one() -> None:
    span = next_range("t", held={0: 7}, first={0: 0, 1: 3}, end={0: 7, 1: 4}, limit=100)
    assert (span.start, span.lost) == ({0: 7, 1: 3}, {1: 3})


def test_a_loss_is_named_with_partition_offsets_and_count() -> None:
    span = next_range("t", held={0: 7, 1: 2}, first={0: 9, 1: 1002}, end={0: 10, 1: 2000}, limit=9)
    assert span.losses() == (
        "partition 0, offsets 7 to 8 (at most 2 events); partition 1, offsets 2 to 1001 (at most 1,000 events)"
    )


def test_a_loss_is_remembered_once_and_acknowledging_it_keeps_it_with_the_note() -> None:
    state = TopicState({0: 9}, {0: 10}, "id")
    progress = Progress(3, {0: 7}, "id")
    progress = progress.after(range_after(progress, "t", state, limit=100), "id")
    progress = progress.after(range_after(progress, "t", state, limit=100), "id")
    (gap,) = progress.open_gaps
    assert (gap.partition, gap.start, gap.end, gap.offsets) == (0, 7, 9, 2)
    known = progress.acknowledged("disk was full, Ann")
    assert known.open_gaps == ()
    assert [(gap.start, gap.note) for gap in known.gaps] == [(7, "disk was full, Ann")]
    assert known.acknowledged("later").gaps == known.gaps


def test_a_topic_that_was_made_anew_and_has_outgrown_the_old_one_is_refused_by_its_id() -> None:
    with pytest.raises(TopicResetError, match="its id is new, the raw table was read from old.*retail topics adopt t"):
        range_after(Progress(1, {0: 7}, "old"), "t", TopicState({0: 0}, {0: 900}, "new"), limit=100)


def test_a_broker_or_a_table_without_ids_is_judged_by_offsets_alone() -> None:
    state = TopicState({0: 0}, {0: 9})
    assert range_after(Progress(1, {0: 7}, "old"), "t", state, limit=100).events == 2
    assert range_after(Progress(1, {0: 7}), "t", replace(state, topic_id="new"), limit=100).events == 2
    with pytest.raises(TopicResetError, match="partition 1 ends at nothing"):
        range_after(Progress(1, {0: 7, 1: 1}), "t", state, limit=100)


def test_an_adopted_topic_is_read_from_its_start_and_counted_on() -> None:
    progress = Progress(4, {0: 7, 1: 5}, "old")
    state = TopicState({0: 0, 1: 0}, {0: 3, 1: 900}, "new")
    span = range_after(progress.adopting(state), "t", state, limit=10_000)
    assert (span.start, span.end, span.lost) == ({0: 7, 1: 5}, {0: 10, 1: 905}, {})
    assert json.loads(span.starting_offsets()) == {"t": {"0": 0, "1": 0}}
    assert json.loads(span.ending_offsets()) == {"t": {"0": 3, "1": 900}}
    assert span.unread() == {0: (0, 3), 1: (0, 900)}


def test_what_an_adopted_topic_has_deleted_already_is_a_loss() -> None:
    state = TopicState({0: 2}, {0: 3}, "new")
    span = range_after(Progress(4, {0: 7}, "old").adopting(state), "t", state, limit=100)
    assert (span.start, span.lost) == ({0: 9}, {0: 2})


def test_an_adopted_topic_may_have_fewer_partitions_and_get_them_back() -> None:
    progress = Progress(4, {0: 7, 1: 5}, "old").adopting(TopicState({0: 0}, {0: 3}, "new"))
    span = range_after(progress, "t", TopicState({0: 0}, {0: 3}, "new"), limit=100)
    assert span.end == {0: 10}
    grown = TopicState({0: 0, 1: 0}, {0: 3, 1: 2}, "new")
    span = range_after(progress.after(span, "new"), "t", grown, limit=100)
    assert (span.start, span.end, span.lost) == ({0: 10, 1: 5}, {0: 10, 1: 7}, {})


def test_a_partition_that_lost_its_end_is_read_again_and_the_others_go_on() -> None:
    progress = Progress(4, {0: 7, 1: 5}, "id")
    state = TopicState({0: 1, 1: 8}, {0: 4, 1: 9}, "id")
    with pytest.raises(TopicResetError, match="or the broker lost its newest events"):
        range_after(progress, "t", state, limit=100)
    span = range_after(progress.adopting(state), "t", state, limit=100)
    assert (span.start, span.end) == ({0: 7, 1: 8}, {0: 10, 1: 9})
    assert json.loads(span.starting_offsets()) == {"t": {"0": 1, "1": 8}}
    assert span.lost == {1: 3}


STATES = st.dictionaries(
    st.integers(0, 3), st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=4
).map(lambda rows: ({p: low for p, (low, _) in rows.items()}, {p: low + more for p, (low, more) in rows.items()}))


@given(topics=st.lists(STATES, min_size=1, max_size=5), limit=st.integers(1, 100))
def test_however_often_a_topic_is_made_anew_no_offset_of_the_table_is_given_out_twice(
    topics: list[tuple[dict[int, int], dict[int, int]]], limit: int
) -> None:
    progress = Progress(0, {})
    given_out: dict[int, list[range]] = {}
    for number, (first, end) in enumerate(topics):
        state = TopicState(first, end, f"id-{number}")
        if progress.batch:
            progress = progress.adopting(state)
        spans: list[OffsetRange] = []
        while not spans or spans[-1].events:
            spans.append(range_after(progress, "t", state, limit=limit))
            progress = progress.after(spans[-1], state.topic_id)
            for partition in state.end:
                given_out.setdefault(partition, []).append(range(spans[-1].start[partition], spans[-1].end[partition]))
        assert sum(span.events for span in spans) == sum(end.values()) - sum(first.values())
    for stretches in given_out.values():
        assert all(before.stop <= after.start for before, after in pairwise(stretches))
    for gap in progress.gaps:
        assert not any(set(range(gap.start, gap.end)) & set(one) for one in given_out[gap.partition])


@given(topics=st.lists(STATES, min_size=2, max_size=4))
def test_what_a_commit_says_is_read_back_as_it_was(topics: list[tuple[dict[int, int], dict[int, int]]]) -> None:
    progress = Progress(0, {})
    for number, (first, end) in enumerate(topics):
        state = TopicState(first, end, f"id-{number}")
        progress = progress.adopting(state) if progress.batch else progress
        progress = progress.after(range_after(progress, "t", state, limit=10), state.topic_id)
    assert _parse(commit_metadata("t", progress)) == progress
    assert _parse(commit_metadata("t", progress.acknowledged("Ann"))) == progress.acknowledged("Ann")


def test_a_commit_of_an_earlier_release_is_understood() -> None:
    old = '{"kafka_ingest": {"batch": 3, "topic": "t", "held": {"0": 7}}}'
    assert _parse(old) == Progress(3, {0: 7})
