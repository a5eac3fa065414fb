"""The next offset range follows from what the table holds: no hole, no repeat, whatever happened before."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retail_assets.resources.offsets import TopicResetError, next_range

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
