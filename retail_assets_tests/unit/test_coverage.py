"""Which days of the core layer are made again: those that events came for since, and no others."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from retail_assets.resources.commit_notes import committed_at
from retail_assets.resources.coverage import ARRIVALS, Coverage, made_at, made_from, stale_days

DAY = date(2026, 3, 10)
NEXT = DAY + timedelta(days=1)


def arrived(*rows: tuple[date, int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=ARRIVALS, orient="row")


def test_an_event_beyond_what_a_day_was_made_from_makes_the_day_stale() -> None:
    coverage = [Coverage(DAY, DAY, {0: 100})]
    assert stale_days(arrived((DAY, 0, 100)), coverage, {DAY}) == [DAY]


def test_an_event_that_the_day_was_made_from_does_not() -> None:
    coverage = [Coverage(DAY, DAY, {0: 100})]
    assert stale_days(arrived((DAY, 0, 99)), coverage, {DAY}) == []


def test_an_event_of_a_partition_that_is_new_since_makes_the_day_stale() -> None:
    coverage = [Coverage(DAY, DAY, {0: 100})]
    assert stale_days(arrived((DAY, 1, 0)), coverage, {DAY}) == [DAY]


def test_a_day_that_was_never_made_is_left_to_its_own_run() -> None:
    assert stale_days(arrived((NEXT, 0, 500)), [Coverage(DAY, DAY, {0: 100})], {DAY}) == []


def test_the_newest_commit_of_a_day_counts() -> None:
    coverage = [Coverage(DAY, DAY, {0: 200}), Coverage(DAY - timedelta(days=5), NEXT, {0: 100})]
    assert stale_days(arrived((DAY, 0, 150), (NEXT, 0, 150)), coverage, {DAY, NEXT}) == [NEXT]


def test_a_day_whose_commit_is_no_longer_known_is_made_again() -> None:
    assert stale_days(arrived((DAY, 0, 1)), [], {DAY}) == [DAY]


def test_a_day_was_made_when_the_newest_commit_that_covers_it_was(tmp_path: Path) -> None:
    for covers in (Coverage(DAY, NEXT, {0: 7}), Coverage(DAY, DAY, {0: 9}), None):
        note = CommitProperties(custom_metadata={"userMetadata": covers.text()} if covers else {})
        write_deltalake(tmp_path, pa.table({"n": [1]}), mode="append", commit_properties=note)
    delta = DeltaTable(tmp_path)
    newer, older = (committed_at(commit) for commit in delta.history()[1:])
    assert older < newer
    assert made_at(delta) == {DAY: newer, NEXT: older}


def test_what_a_commit_covers_is_read_back_from_its_metadata() -> None:
    assert '"held": {"0": 7}' in Coverage(DAY, NEXT, {0: 7}).text()


@given(
    held=st.dictionaries(st.integers(0, 3), st.integers(0, 50), max_size=4),
    rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 60)), max_size=20),
)
def test_a_day_is_stale_just_when_one_of_its_events_lies_beyond_what_was_read(
    held: dict[int, int], rows: list[tuple[int, int, int]]
) -> None:
    days = [DAY + timedelta(days=offset) for offset in range(6)]
    events = [(days[day], partition, offset) for day, partition, offset in rows]
    expected = sorted({day for day, partition, offset in events if offset >= held.get(partition, 0)})
    assert stale_days(arrived(*events), [Coverage(days[0], days[-1], held)], set(days)) == expected


def test_days_that_one_commit_wrote_are_one_stretch_and_a_day_made_again_is_its_own() -> None:
    coverage = [Coverage(NEXT, NEXT, {0: 200}), Coverage(DAY, DAY + timedelta(days=3), {0: 100})]
    stretches = made_from(coverage, DAY - timedelta(days=1), DAY + timedelta(days=3))
    assert [(made.first, made.last, dict(made.held)) for made in stretches] == [
        (DAY - timedelta(days=1), DAY - timedelta(days=1), {}),
        (DAY, DAY, {0: 100}),
        (NEXT, NEXT, {0: 200}),
        (NEXT + timedelta(days=1), DAY + timedelta(days=3), {0: 100}),
    ]


def test_a_day_was_made_from_the_offsets_below_its_bounds_and_from_everything_that_has_none() -> None:
    rows = pl.DataFrame({"kafka_partition": [-1, 0, 0, 1, 2], "kafka_offset": [999, 99, 100, 5, 7]})
    made = Coverage(DAY, DAY, {0: 100, 1: 5})
    assert rows.sql(f"SELECT * FROM self WHERE {made.condition}").rows() == [(-1, 999), (0, 99), (2, 7)]
    assert rows.sql(f"SELECT * FROM self WHERE {Coverage(DAY, DAY, {}).condition}").height == 5
