"""Asks for days to be made again when events have come for them since.

A day that the core layer holds says which offsets it was made from (`resources.coverage`); an event of that day beyond
them is late. A tick reads ids and times of what came since the last tick that found nothing late, without Spark. The
cursor only saves reading: without it, everything is looked at once more and the same is found. Does not belong here:
reading from Kafka (`sensors.kafka`).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
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
from retail_assets.io_managers.delta import row_counts
from retail_assets.jobs import Job
from retail_assets.resources.coverage import ARRIVALS, read_coverage, stale_days
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.progress import read_progress
from retail_assets.runs import partition_tags
from retail_assets.sensors.active import active_run

LATE_TAG: Final = "retail/late_events"


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


_FOLLOWERS: Final = (
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
    events = pl.DataFrame(rows).join(stores.select("store_id", "time_zone"), on="store_id", how="left")
    parts = [
        part.with_columns(business_date=pl.col("occurred_at").dt.convert_time_zone(str(zone or own_zone)).dt.date())
        for (zone,), part in events.partition_by("time_zone", as_dict=True).items()
    ]
    if not parts:
        return pl.DataFrame(schema=ARRIVALS)
    return (
        pl.concat(parts)
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
    context: dg.SensorEvaluationContext, lake: LakeResource, own_zone: str, job_name: str
) -> dg.SensorResult | dg.SkipReason:
    """Decide which days have to be made again.

    Args:
        context: of the tick; its cursor holds, by raw table, the offsets below which nothing is late.
        lake: where raw and core lie.
        own_zone: the retailer's time zone.
        job_name: the job that makes days; while a run of it is active nothing is asked for.

    Returns:
        Requests, one per gapless range of days and table, or the reason for waiting in words.
    """
    active = active_run(context.instance, job_name=job_name)
    if active is not None:
        return dg.SkipReason(f"run {active.run_id[:8]} is making days; late events are looked for after it")
    seen: dict[str, dict[str, int]] = json.loads(context.cursor) if context.cursor else {}
    stores = lake.read(REFERENCE_STORES, columns=["store_id", "time_zone"])
    requests: list[dg.RunRequest] = []
    for follower in _FOLLOWERS:
        raw, core = lake.delta(follower.raw), lake.delta(follower.core)
        if raw is None or core is None:
            continue
        held = read_progress(raw).held
        after = {int(partition): offset for partition, offset in seen.get(follower.raw.name, {}).items()}
        if held == after:
            continue
        written = {date.fromisoformat(day) for day in row_counts(core, follower.core, None)}
        stale = stale_days(arrivals(raw, after, stores, own_zone), read_coverage(core), written)
        if not stale:
            seen[follower.raw.name] = {str(partition): offset for partition, offset in held.items()}
            continue
        days = [day for day in sorted(written) if day >= stale[0]] if follower.to_the_end else stale
        requests += [_request(follower, first, last, held) for first, last in gapless_ranges(days)]
    cursor = json.dumps(seen, sort_keys=True)
    if requests:
        return dg.SensorResult(run_requests=requests, cursor=cursor)
    return dg.SensorResult(skip_reason="no event came for a day that was made before", cursor=cursor)


def _request(follower: _Follower, first: date, last: date, held: Mapping[int, int]) -> dg.RunRequest:
    # The same days are asked for once per state of the raw table: a run that fails is repeated by people or by the
    # retry policy, not by every tick.
    state = ",".join(f"{partition}:{offset}" for partition, offset in sorted(held.items()))
    return dg.RunRequest(
        run_key=f"{follower.core.path} {first} {last} {state}",
        asset_selection=[dg.AssetKey(key) for key in (follower.core.key, *follower.also)],
        tags={LATE_TAG: "true", **partition_tags(first, last)},
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
        return evaluate(context, lake, own_zone, job.name)

    return sensor
