"""The four jobs in their order, over the days that the lake holds, through a running Dagster.

Belongs here: which days each job gets, and following the runs. Does not belong here: starting services (the commands),
and what the jobs do (`jobs`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

from retail_assets.assets.models import TrainingConfig
from retail_assets.contracts.jobs import DAILY_ETL, FEATURE_ENGINEERING, MODEL_TRAINING
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    FEATURES_DEMAND,
    RAW_IMPORTED_SALES,
    RAW_TABLES,
    Table,
)
from retail_assets.io_managers.delta import row_counts
from retail_assets.resources.lake import LakeResource
from retail_assets.runs import DagsterApi, RunResult, StepResult, partition_tags

#: Days of features that are of use: what training asks for by default, and a week. Earlier ones would serve nobody.
FEATURE_DAYS: Final = timedelta(days=TrainingConfig().training_days + 7)


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


def days_for(job: str, lake: LakeResource, yesterday: date) -> Days | None:
    """Return the days that a job can be run over; None for a job without days.

    Args:
        job: one of `JOBS`.
        lake: the tenant's.
        yesterday: the newest day that is over.

    Raises:
        NothingToRunError: the lake holds no day for it yet.
    """
    if job == MODEL_TRAINING:
        return None
    if job == DAILY_ETL:
        found = [days for table in (*RAW_TABLES, RAW_IMPORTED_SALES) if (days := _days_of(lake, table)) is not None]
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


def run_jobs(
    api: DagsterApi,
    jobs: Sequence[str],
    days_of: Callable[[str], Days | None],
    on_job: Callable[[str, Days | None], None],
    on_step: Callable[[StepResult], None],
) -> list[RunResult]:
    """Run jobs one after another and return what each did.

    Args:
        api: the running Dagster.
        jobs: in the order in which they run.
        days_of: the days of a job, asked just before it runs.
        on_job: called before each job.
        on_step: called for each step that ended.

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
        results.append(api.wait(api.launch(job, tags=tags), job, on_step))
    return results
