"""When jobs run, in the retailer's own time zone.

Exactly one orchestrator is live: with `RETAIL_ORCHESTRATOR=airflow` these schedules stay off, and Airflow's DAGs of the
same names start the jobs.
"""

from typing import Any

import dagster as dg

from retail_assets.jobs import Job, Jobs
from retail_assets.settings import Mode, Orchestrator, Settings

Schedule = Any  # dagster does not export the class of a partitioned asset job's schedule


def build_schedules(jobs: Jobs, settings: Settings) -> list[Schedule]:
    """Return the four schedules.

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
    ]
