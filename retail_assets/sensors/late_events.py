"""Asks for days to be made again when events have come for them since.

A day that the core layer holds says which offsets it was made from (`resources.coverage`); an event of that day beyond
them is late. A tick reads ids and times of what came since the last tick that found nothing late, without Spark.

The cursor holds two things. How far was looked: that only saves reading. And what was asked for: a run writes the core
table first and what follows from it later, so that one which died in between has left a day that looks whole. Until a
run has succeeded, its days are asked for again, after pauses that double. Does not belong here: reading from Kafka
(`sensors.kafka`).
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Final

import dagster as dg
import polars as pl
import pyarrow.dataset as ds
from deltalake import DeltaTable

from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    CORE_QUARANTINE,
    CORE_SALES_LINES,
    RAW_INVENTORY_UPDATES,
    RAW_SALES_TRANSACTIONS,
    REFERENCE_STORES,
    Table,
)
from retail_assets.domain.trading import with_business_date
from retail_assets.io_managers.delta import row_counts
from retail_assets.jobs import Job
from retail_assets.resources.coverage import ARRIVALS, read_coverage, stale_days
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.progress import read_progress
from retail_assets.resources.retention import first_whole_day
from retail_assets.runs import partition_tags
from retail_assets.sensors.active import active_run
from retail_assets.settings import get_settings

LATE_TAG: Final = "retail/late_events"
#: Dagster's own tag of a run that a sensor asked for.
_RUN_KEY_TAG: Final = "dagster/run_key"
#: How long to wait after a first failure; twice as long after each further one.
_PAUSE_S: Final = 60.0
_LONGEST_PAUSE_S: Final = 6 * 3600.0
_ENDED_BADLY: Final = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dataclass(frozen=True)
class _Follower:
    """A core table, and what is made again with it.

    Attributes:
        raw: where its events come from.
        core: the table.
        also: asset keys that follow from the same days.
        to_the_end: whether a late event changes all later days too, as a movement changes all later stock.
    """

    raw: Table
    core: Table
    also: tuple[tuple[str, str], ...]
    to_the_end: bool


#: By name of the core table.
_FOLLOWERS: Final = {
    follower.core.name: follower
    for follower in (
        _Follower(
            RAW_SALES_TRANSACTIONS,
            CORE_SALES_LINES,
            (CORE_QUARANTINE.key, CORE_DAILY_SALES.key, ("marts", "fact_sales")),
            to_the_end=False,
        ),
        _Follower(
            RAW_INVENTORY_UPDATES,
            CORE_INVENTORY_DAILY,
            (CORE_QUARANTINE.key, CORE_DAILY_SALES.key, ("marts", "fact_inventory")),
            to_the_end=True,
        ),
    )
}


@dataclass(frozen=True)
class _Asked:
    """Days that were asked for and not made yet.

    Attributes:
        table: name of the core table.
        first: first day, as ISO 8601.
        last: last day, inclusive.
        state: what the raw table held: the same days are asked for anew when more has come.
        attempt: how often it was asked for before.
    """

    table: str
    first: str
    last: str
    state: str
    attempt: int = 0

    @property
    def run_key(self) -> str:
        """Return what Dagster knows the request by; it never starts two runs for one."""
        return f"core/{self.table} {self.first} {self.last} {self.state} #{self.attempt}"

    def same_as(self, other: "_Asked") -> bool:
        """Say whether these are the same days on the same grounds, however often they were asked for."""
        return self == replace(other, attempt=self.attempt)

    def covers(self, other: "_Asked") -> bool:
        """Say whether these days, made now, make the other request needless."""
        return self.table == other.table and self.first <= other.first and other.last <= self.last


@dataclass(frozen=True)
class _Cursor:
    """What a tick leaves to the next one.

    Attributes:
        seen: by raw table and partition, the offsets below which nothing is late.
        asked: what has no run that succeeded yet.
    """

    seen: dict[str, dict[str, int]]
    asked: tuple[_Asked, ...]

    @classmethod
    def read(cls, text: str | None) -> "_Cursor":
        entry = json.loads(text) if text else {}
        return cls(entry.get("seen", {}), tuple(_Asked(**one) for one in entry.get("asked", [])))

    def text(self) -> str:
        return json.dumps({"seen": self.seen, "asked": [asdict(one) for one in self.asked]}, sort_keys=True)


def arrivals(raw: DeltaTable, after: Mapping[int, int], stores: pl.DataFrame, own_zone: str) -> pl.DataFrame:
    """Return what arrived from Kafka at or after some offsets, by business date and partition.

    Args:
        raw: a raw table.
        after: by partition, the first offset of interest; all, where a partition isn't named.
        stores: `reference/stores`, for their time zones.
        own_zone: time zone of stores that it lacks.

    Returns:
        `coverage.ARRIVALS`: the greatest offset of each.
    """
    partition, offset = ds.field("kafka_partition"), ds.field("kafka_offset")
    known = offset >= 0
    for number, first in after.items():
        known &= (partition != number) | (offset >= first)
    rows = raw.to_pyarrow_dataset().to_table(
        columns=["kafka_partition", "kafka_offset", "store_id", "occurred_at"],
        filter=(partition >= 0) & ds.field("rejection").is_null() & known,
    )
    return (
        with_business_date(pl.DataFrame(rows), stores, own_zone)
        .group_by("business_date", "kafka_partition")
        .agg(pl.col("kafka_offset").max())
        .select(ARRIVALS.names())
        .cast(ARRIVALS)
    )


def gapless_ranges(days: list[date]) -> Iterator[tuple[date, date]]:
    """Yield first and last of each run of consecutive days."""
    if not days:
        return
    ordered = sorted(days)
    first = ordered[0]
    for before, after in pairwise(ordered):
        if after - before > timedelta(days=1):
            yield first, before
            first = after
    yield first, ordered[-1]


def evaluate(
    context: dg.SensorEvaluationContext,
    lake: LakeResource,
    own_zone: str,
    job_name: str,
    earliest: date | None = None,
) -> dg.SensorResult | dg.SkipReason:
    """Decide which days have to be made again.

    Args:
        context: of the tick, with the cursor of the one before.
        lake: where raw and core lie.
        own_zone: the retailer's time zone.
        job_name: the job that makes days; while a run of it is active nothing is asked for.
        earliest: the first day that can be made again; None if all can.

    Returns:
        Requests, one per gapless range of days and table, or the reason for waiting in words.
    """
    active = active_run(context.instance, job_name=job_name)
    if active is not None:
        return dg.SkipReason(f"run {active.run_id[:8]} is making days; late events are looked for after it")
    before = _Cursor.read(context.cursor)
    seen = dict(before.seen)
    stores = lake.read(REFERENCE_STORES, columns=["store_id", "time_zone"])
    found: list[_Asked] = []
    for name, follower in _FOLLOWERS.items():
        raw, core = lake.delta(follower.raw), lake.delta(follower.core)
        if raw is None or core is None:
            continue
        held = {str(partition): offset for partition, offset in sorted(read_progress(raw).held.items())}
        after = seen.get(follower.raw.name, {})
        if held == after:
            continue
        written = {date.fromisoformat(day) for day in row_counts(core, follower.core, None)}
        written = {day for day in written if earliest is None or day >= earliest}
        came = arrivals(raw, {int(partition): offset for partition, offset in after.items()}, stores, own_zone)
        stale = stale_days(came, read_coverage(core), written)
        if not stale:
            seen[follower.raw.name] = held
            continue
        days = [day for day in sorted(written) if day >= stale[0]] if follower.to_the_end else stale
        state = ",".join(f"{partition}:{offset}" for partition, offset in held.items())
        found += [_Asked(name, str(first), str(last), state) for first, last in gapless_ranges(days)]
    new = [one for one in found if not any(one.same_as(asked) for asked in before.asked)]
    older = [asked for asked in before.asked if not any(one.covers(asked) for one in new)]
    unfinished = [again for asked in older if (again := _asked_again(context.instance, asked)) is not None]
    asked_for = [*unfinished, *new]
    cursor = _Cursor(seen, tuple(asked_for)).text()
    requests = [_request(one) for one in asked_for if _run_of(context.instance, one) is None]
    if requests:
        return dg.SensorResult(run_requests=requests, cursor=cursor)
    reason = (
        f"{len(asked_for)} runs over days with late events failed; they are tried again after a pause"
        if asked_for
        else "no event came for a day that was made before"
    )
    return dg.SensorResult(skip_reason=reason, cursor=cursor)


def _asked_again(instance: dg.DagsterInstance, asked: _Asked) -> _Asked | None:
    """Return what is still to be asked for: nothing once a run has succeeded, a further attempt once it has failed."""
    record = _run_of(instance, asked)
    if record is None:
        return asked
    if record.dagster_run.status not in _ENDED_BADLY:
        return None
    pause = min(_PAUSE_S * 2**asked.attempt, _LONGEST_PAUSE_S)
    ended = record.end_time or record.update_timestamp.timestamp()
    return asked if time.time() - ended < pause else replace(asked, attempt=asked.attempt + 1)


def _run_of(instance: dg.DagsterInstance, asked: _Asked) -> dg.RunRecord | None:
    records = instance.get_run_records(dg.RunsFilter(tags={_RUN_KEY_TAG: asked.run_key}), limit=1)
    return records[0] if records else None


def _request(asked: _Asked) -> dg.RunRequest:
    follower = _FOLLOWERS[asked.table]
    return dg.RunRequest(
        run_key=asked.run_key,
        asset_selection=[dg.AssetKey(key) for key in (follower.core.key, *follower.also)],
        tags={LATE_TAG: "true", **partition_tags(date.fromisoformat(asked.first), date.fromisoformat(asked.last))},
    )


def late_events_sensor(job: Job, *, own_zone: str, live: bool) -> dg.SensorDefinition:
    """Return the sensor; switched on from the start where `live`."""

    @dg.sensor(
        name="late_events_sensor",
        job=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING if live else dg.DefaultSensorStatus.STOPPED,
        description="Makes days of the core layer again for which events have come since: just those days.",
    )
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
        earliest = first_whole_day(get_settings(), datetime.now(UTC).date())
        return evaluate(context, lake, own_zone, job.name, earliest)

    return sensor
