"""When jobs run, in the retailer's own time zone.

Exactly one orchestrator is live: with `RETAIL_ORCHESTRATOR=airflow` the schedules of the jobs that make data stay off,
and Airflow's DAGs of the same names start them.
"""

from typing import Any

import dagster as dg

from retail_assets.jobs import Job, Jobs, housekeeping_config
from retail_assets.settings import Mode, Orchestrator, Settings

Schedule = Any  # dagster does not export the class of a partitioned asset job's schedule


def build_schedules(jobs: Jobs, settings: Settings) -> list[Schedule]:
    """Return the schedules of the four jobs that make data, and that of housekeeping.

    They run by themselves where the platform is installed to stay (compose, cluster); on a laptop they wait to be
    switched on in the UI, so that trying things out starts nothing at eight in the morning.
    """
    live = settings.orchestrator is Orchestrator.DAGSTER and settings.mode is not Mode.LOCAL
    status = dg.DefaultScheduleStatus.RUNNING if live else dg.DefaultScheduleStatus.STOPPED

    def daily(job: Job, hour: int) -> Schedule:
        return dg.build_schedule_from_partitioned_job(job, hour_of_day=hour, minute_of_hour=0, default_status=status)

    return [
        daily(jobs.daily_etl, 8),
        daily(jobs.feature_engineering, 9),
        daily(jobs.batch_predictions, 10),
        dg.ScheduleDefinition(
            name="model_training_schedule",
            job=jobs.model_training,
            cron_schedule="0 2 * * 0",
            execution_timezone=settings.time_zone,
            default_status=status,
        ),
        dg.ScheduleDefinition(
            name="housekeeping_schedule",
            job=jobs.housekeeping,
            # Before the night's training on Sundays, and long before the day's first job.
            cron_schedule="0 1 * * *",
            execution_timezone=settings.time_zone,
            run_config=housekeeping_config(dry_run=False),
            # Airflow has no such job: whoever starts the others, Dagster keeps its own house.
            default_status=dg.DefaultScheduleStatus.STOPPED
            if settings.mode is Mode.LOCAL
            else dg.DefaultScheduleStatus.RUNNING,
        ),
    ]
