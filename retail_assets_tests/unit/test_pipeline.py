"""Which days each job gets: those that the lake holds, and no day that isn't over."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import deltalake
import polars as pl
import pytest

from retail_assets.contracts.jobs import JOBS
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    FEATURES_DEMAND,
    RAW_IMPORTED_SALES,
    RAW_POS_EVENTS,
    Table,
)
from retail_assets.contracts.types import polars_schema
from retail_assets.jobs import build_jobs
from retail_assets.pipeline import FEATURE_DAYS, Days, NothingToRunError, days_for, run_jobs
from retail_assets.resources.lake import LakeResource
from retail_assets.runs import DagsterApi, RunResult, StepResult

YESTERDAY = date(2026, 3, 31)


def put(lake: LakeResource, table: Table, *days: date) -> None:
    """Write a row of a table for each day; only its date matters here."""
    column = "business_date" if table is RAW_IMPORTED_SALES else table.partition_by or ""
    frame = pl.DataFrame({column: days}).with_columns(
        pl.lit(None).alias(name) for name in table.column_names if name != column
    )
    if table is RAW_IMPORTED_SALES:
        frame = frame.with_columns(business_month=pl.col("business_date").dt.truncate("1mo"))
    deltalake.write_deltalake(
        lake.local_path(table.path),
        frame.select(table.column_names)
        .cast(polars_schema(table.columns))
        .to_arrow(compat_level=pl.CompatLevel.oldest()),
        partition_by=[table.partition_by] if table.partition_by else None,
    )


def test_the_jobs_are_those_of_the_platform() -> None:
    names = [job.name for job in build_jobs().all()]
    assert [name for name in names if name in JOBS] != []
    assert set(JOBS) <= set(names)


def test_the_etl_goes_over_events_and_imports_up_to_yesterday(lake: LakeResource) -> None:
    put(lake, RAW_IMPORTED_SALES, date(2024, 1, 15), date(2024, 2, 3))
    put(lake, RAW_POS_EVENTS, date(2026, 3, 30), date(2026, 4, 1))
    assert days_for("daily_etl", lake, YESTERDAY) == Days(date(2024, 1, 15), YESTERDAY)


def test_features_go_over_the_days_that_training_looks_at(lake: LakeResource) -> None:
    put(lake, CORE_DAILY_SALES, date(2024, 1, 1), YESTERDAY)
    assert days_for("feature_engineering", lake, YESTERDAY) == Days(YESTERDAY - FEATURE_DAYS, YESTERDAY)


def test_predictions_are_made_for_the_last_day_with_features(lake: LakeResource) -> None:
    put(lake, FEATURES_DEMAND, date(2026, 3, 1), YESTERDAY)
    assert days_for("batch_predictions", lake, YESTERDAY) == Days(YESTERDAY, YESTERDAY)
    assert days_for("model_training", lake, YESTERDAY) is None


@pytest.mark.parametrize(
    ("job", "first"),
    [
        ("daily_etl", "holds no events and no imported sales yet"),
        ("feature_engineering", "run the job daily_etl first"),
        ("batch_predictions", "run the job feature_engineering first"),
    ],
)
def test_an_empty_lake_says_what_has_to_come_first(lake: LakeResource, job: str, first: str) -> None:
    with pytest.raises(NothingToRunError, match=first):
        days_for(job, lake, YESTERDAY)


class Recorder(DagsterApi):
    """A Dagster that remembers what it was asked for, and fails where it is told to."""

    def __init__(self, fails: str = "") -> None:
        super().__init__("http://nowhere")
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.fails = fails

    def launch(self, job: str, *, tags: Mapping[str, str], **_: Any) -> str:
        self.asked.append((job, tags))
        return job

    def wait(self, run_id: str, job: str, *_: Any) -> RunResult:
        if job == self.fails:
            raise RuntimeError(job)
        return RunResult(run_id, job, 1.0, {})


def ignore(*_: object) -> None:
    """Do nothing with what is told."""


def ignore_step(_: StepResult) -> None:
    """Do nothing with a step."""


def test_jobs_run_one_after_another_and_a_failure_ends_them() -> None:
    day = date(2026, 3, 1)
    api = Recorder(fails="feature_engineering")
    with pytest.raises(RuntimeError):
        run_jobs(api, JOBS, lambda job: None if job == "model_training" else Days(day, day), ignore, ignore_step)
    assert api.asked == [(job, {"dagster/partition": "2026-03-01"}) for job in ("daily_etl", "feature_engineering")]
