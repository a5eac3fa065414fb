"""Which events a day of the core layer was made from: written with the day, in the same commit.

A day covers, by partition of its topic, all offsets below a bound. So an event that came later is known by its offset
alone, however late it is and whatever became of the run that should have read it. Does not belong here: asking for
runs (`sensors`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Final

import polars as pl
from deltalake import DeltaTable

from retail_assets.resources.commit_notes import commit_note, committed_at

_METADATA_KEY: Final = "covers"
#: How many commits are looked through. A day whose commit is older counts as one that covers nothing.
_HISTORY_LIMIT: Final = 1_000

#: A late event, as `stale_days` wants it: the greatest offset by business date and partition.
ARRIVALS: Final = pl.Schema({"business_date": pl.Date(), "kafka_partition": pl.Int32(), "kafka_offset": pl.Int64()})


@dataclass(frozen=True)
class Coverage:
    """What one commit wrote, and from what.

    Attributes:
        first: first business date written.
        last: last business date written, inclusive.
        held: one past the last offset that the days were made from, by partition.
    """

    first: date
    last: date
    held: Mapping[int, int]

    @property
    def condition(self) -> str:
        """What holds of the rows of the raw table that it was made from, in SQL; rows loaded in bulk always count."""
        beyond = [f"(kafka_partition = {number} AND kafka_offset >= {end})" for number, end in self.held.items()]
        return f"NOT ({' OR '.join(beyond)})" if beyond else "true"

    def text(self) -> str:
        """Return it as the metadata of a commit."""
        return json.dumps(
            {_METADATA_KEY: {"first": str(self.first), "last": str(self.last), "held": dict(self.held)}},
            sort_keys=True,
        )


def read_coverage(delta: DeltaTable) -> list[Coverage]:
    """Return what a core table's commits cover, newest first."""
    return [cover for _, cover in _covers(delta)]


def made_at(delta: DeltaTable) -> dict[date, datetime]:
    """Return when each day of a core table was last made, UTC; of days that `carry_coverage` told of, when it did."""
    made: dict[date, datetime] = {}
    for at, cover in _covers(delta):
        for offset in range((cover.last - cover.first).days + 1):
            made.setdefault(cover.first + timedelta(days=offset), at)
    return made


def carry_coverage(delta: DeltaTable, written: set[date], before: datetime) -> bool:
    """Say again what the table's days were made from, if a commit that says it is old: a log is cleaned of old commits.

    Args:
        delta: a core table.
        written: days that it holds.
        before: commits of before this time are old.

    Returns:
        Whether a commit was written.

    Raises:
        CommitFailedError: a day was made again since `delta`; what is said of it would be out of date.
    """
    newest: dict[date, tuple[datetime, Coverage]] = {}
    for at, cover in _covers(delta):
        for offset in range((cover.last - cover.first).days + 1):
            day = cover.first + timedelta(days=offset)
            if day in written:
                newest.setdefault(day, (at, cover))
    if all(at >= before for at, _ in newest.values()):
        return False
    ranges = []
    # Days in a row that were made from the same offsets are one range.
    days = enumerate(sorted(newest))
    for (held, _), group in groupby(
        days, key=lambda one: (json.dumps(dict(newest[one[1]][1].held), sort_keys=True), one[1].toordinal() - one[0])
    ):
        dates = [day for _, day in group]
        ranges.append({"first": str(dates[0]), "last": str(dates[-1]), "held": json.loads(held)})
    commit_note(delta, json.dumps({_METADATA_KEY: ranges}))
    return True


def _covers(delta: DeltaTable) -> list[tuple[datetime, Coverage]]:
    """Return what a core table's commits cover, and when they were made, newest first."""
    found = []
    for commit in delta.history(_HISTORY_LIMIT):
        text = commit.get("userMetadata")
        if isinstance(text, str) and _METADATA_KEY in text:
            entries = json.loads(text)[_METADATA_KEY]
            for entry in entries if isinstance(entries, list) else [entries]:
                held = {int(partition): int(end) for partition, end in entry["held"].items()}
                cover = Coverage(date.fromisoformat(entry["first"]), date.fromisoformat(entry["last"]), held)
                found.append((committed_at(commit), cover))
    return found


def made_from(coverage: list[Coverage], first: date, last: date) -> list[Coverage]:
    """Return what days were made from, in order: one entry for each stretch of days that one commit wrote.

    Args:
        coverage: of the core table's commits, newest first; of several that wrote a day the newest counts.
        first: first business date.
        last: last business date, inclusive.

    Returns:
        Stretches without gap from `first` to `last`. Days that no commit tells of have no bounds: all events count.
    """
    stretches: list[Coverage] = []
    for day in (first + timedelta(days=number) for number in range((last - first).days + 1)):
        held = next((cover.held for cover in coverage if cover.first <= day <= cover.last), {})
        before = stretches[-1] if stretches else None
        if before is not None and before.held == held:
            stretches[-1] = replace(before, last=day)
        else:
            stretches.append(Coverage(day, day, held))
    return stretches


def stale_days(arrivals: pl.DataFrame, coverage: list[Coverage], written: set[date]) -> list[date]:
    """Return the written days that events have come for since.

    Args:
        arrivals: one row per business date and partition, `kafka_offset` the greatest that arrived (`ARRIVALS`).
        coverage: of the core table's commits, newest first; of several that wrote a day the newest counts.
        written: days that the core table holds. Others are not late: their own run will read what is there.

    Returns:
        The days, in order.
    """
    stale = set()
    for day, partition, offset in arrivals.select(ARRIVALS.names()).iter_rows():
        if day in written and day not in stale:
            newest = next((cover.held for cover in coverage if cover.first <= day <= cover.last), {})
            if offset >= newest.get(partition, 0):
                stale.add(day)
    return sorted(stale)
