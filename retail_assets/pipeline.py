"""The four jobs in their order, over the days that the lake holds, through a running Dagster.

Belongs here: which days each job gets, and following the runs. Does not belong here: starting services (the commands),
and what the jobs do (`jobs`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import polars as pl

from retail_assets.contracts.jobs import DAILY_ETL, FEATURE_ENGINEERING, HOUSEKEEPING, MODEL_TRAINING
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    FEATURES_DEMAND,
    RAW_IMPORTED_SALES,
    RAW_TABLES,
    REFERENCE_STORES,
    Table,
)
from retail_assets.domain.recipe import Recipe
from retail_assets.domain.trading import with_business_date
from retail_assets.io_managers.delta import row_counts
from retail_assets.resources.lake import LakeResource
from retail_assets.runs import DagsterApi, RunResult, StepResult, partition_tags

#: Days of features that are of use: what training asks for by default, before the weeks that it is judged on. Earlier
#: ones would serve nobody.
FEATURE_DAYS: Final = timedelta(days=Recipe().training_days + 7 * (1 + Recipe().judged_origins))


class NothingToRunError(Exception):
    """The lake holds no day for a job. The message says what has to come first."""


@dataclass(frozen=True)
class Days:
    """Business dates, both inclusive."""

    first: date
    last: date

    def within(self, first: date | None, last: date | None) -> "Days":
        """Return the part that lies between two dates; None is no bound."""
        return Days(max(self.first, first or self.first), min(self.last, last or self.last))


def _days_of(lake: LakeResource, table: Table) -> Days | None:
    """Return the first and last day that a table holds, by its log alone; of a monthly one, by its rows."""
    delta = lake.delta(table)
    if delta is None:
        return None
    if table is RAW_IMPORTED_SALES:
        bounds = pl.scan_delta(delta).select(
            pl.col("business_date").min().alias("first"), pl.col("business_date").max().alias("last")
        )
        first, last = bounds.collect().row(0)
        return None if first is None else Days(first, last)
    dates = sorted(row_counts(delta, table, None))
    return Days(date.fromisoformat(dates[0]), date.fromisoformat(dates[-1])) if dates else None


def _days_of_events(lake: LakeResource, table: Table, own_zone: str) -> Days | None:
    """Return the first and last business date of a raw table's accepted events.

    A refused message lies at the day when it arrived, which may be long after the last event. Partitions are UTC dates;
    only the outermost ones that have an accepted event are read, for the stores' own dates.
    """
    delta = lake.delta(table)
    if delta is None:
        return None
    stores = lake.read(REFERENCE_STORES, columns=["store_id", "time_zone"])
    dates = sorted(row_counts(delta, table, None))

    def outermost(partitions: Iterable[str]) -> list[date]:
        for partition in partitions:
            events = pl.scan_delta(delta).filter(
                pl.col("event_date") == date.fromisoformat(partition), pl.col("rejection").is_null()
            )
            found = events.select("store_id", "occurred_at").collect()
            if not found.is_empty():
                return with_business_date(found, stores, own_zone)["business_date"].to_list()
        return []

    days = {*outermost(dates), *outermost(reversed(dates))}
    return Days(min(days), max(days)) if days else None


def days_for(job: str, lake: LakeResource, yesterday: date, own_zone: str) -> Days | None:
    """Return the days that a job can be run over; None for a job without days.

    Args:
        job: one of `JOBS`, or housekeeping.
        lake: the tenant's.
        yesterday: the newest day that is over.
        own_zone: time zone of stores that the master data lack.

    Raises:
        NothingToRunError: the lake holds no day for it yet.
    """
    if job in {MODEL_TRAINING, HOUSEKEEPING}:
        return None
    if job == DAILY_ETL:
        every = [*(_days_of_events(lake, table, own_zone) for table in RAW_TABLES), _days_of(lake, RAW_IMPORTED_SALES)]
        found = [days for days in every if days is not None]
        if not found:
            raise NothingToRunError(f"{lake.root} holds no events and no imported sales yet: import or send some first")
        whole = Days(min(days.first for days in found), max(days.last for days in found))
        return whole.within(None, yesterday)
    before, table = (
        (DAILY_ETL, CORE_DAILY_SALES) if job == FEATURE_ENGINEERING else (FEATURE_ENGINEERING, FEATURES_DEMAND)
    )
    days = _days_of(lake, table)
    if days is None:
        raise NothingToRunError(f"{table.path} is empty: run the job {before} first")
    if job == FEATURE_ENGINEERING:
        return days.within(days.last - FEATURE_DAYS, None)
    return Days(days.last, days.last)


def daily_sales_missing(lake: LakeResource, yesterday: date, own_zone: str) -> bool:
    """Return whether the lake has events or imported sales of days after its last daily sales.

    Args:
        lake: the tenant's.
        yesterday: the newest day that is over.
        own_zone: time zone of stores that the master data lack.

    Raises:
        NothingToRunError: the lake holds neither daily sales nor anything that they could be made of.
    """
    made = _days_of(lake, CORE_DAILY_SALES)
    try:
        there = days_for(DAILY_ETL, lake, yesterday, own_zone)
    except NothingToRunError:
        if made is None:
            raise
        return False
    return made is None or (there is not None and made.last < there.last)


def run_jobs(
    api: DagsterApi,
    jobs: Sequence[str],
    days_of: Callable[[str], Days | None],
    on_job: Callable[[str, Days | None], None],
    on_step: Callable[[StepResult], None],
    configs: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[RunResult]:
    """Run jobs one after another and return what each did.

    Args:
        api: the running Dagster.
        jobs: in the order in which they run.
        days_of: the days of a job, asked just before it runs.
        on_job: called before each job.
        on_step: called for each step that ended.
        configs: configuration of runs, by job; the jobs' own where none is given.

    Raises:
        LaunchError: Dagster doesn't answer or refuses.
        NothingToRunError: there are no days for a job.
        RunFailedError: a run failed; the later jobs weren't started.
    """
    results = []
    for job in jobs:
        days = days_of(job)
        on_job(job, days)
        tags = {} if days is None else partition_tags(days.first, days.last)
        run_id = api.launch(job, tags=tags, run_config=(configs or {}).get(job))
        results.append(api.wait(run_id, job, on_step))
    return results
