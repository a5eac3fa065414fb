"""The command that runs the platform's jobs over the days that the lake holds: `retail run`.

Belongs here: its arguments, starting what it needs, and what it shows. Does not belong here: which days a job gets
(`pipeline`).
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import click

from retail_assets.contracts.jobs import DAILY_ETL, DOING, HOUSEKEEPING, JOBS
from retail_assets.explained import explained
from retail_assets.settings import Mode, load_settings
from retail_assets.tenants import tenant_option

if TYPE_CHECKING:
    from retail_assets.pipeline import Days
    from retail_assets.runs import StepResult

_DAY = click.DateTime(["%Y-%m-%d"])


@click.command("run")
@click.argument("jobs", nargs=-1, type=click.Choice([*JOBS, HOUSEKEEPING]))
@click.option("--from", "first", type=_DAY, help="First business date; the first that the lake holds by default.")
@click.option("--to", "last", type=_DAY, help="Last business date; the last that the lake holds by default.")
@click.option("--clean", is_flag=True, help="Let housekeeping clean; without it, it only looks what there is to do.")
@tenant_option
@explained
def run(jobs: tuple[str, ...], first: datetime | None, last: datetime | None, clean: bool) -> None:
    """Run JOBS over the days that the lake holds; all but housekeeping, from events to reorder points, by default.

    On one machine the services that are needed are started first, and Dagster serves the tenant from then on.
    """
    if first is not None and last is not None and last < first:
        raise click.UsageError(f"--to {last:%Y-%m-%d} lies before --from {first:%Y-%m-%d}")
    run_over(jobs or JOBS, (first.date() if first else None, last.date() if last else None), clean=clean)


def run_over(jobs: Sequence[str], bounds: tuple[date | None, date | None], *, clean: bool, err: bool = False) -> None:
    """Run jobs one after another, starting what they need, and show what they do.

    Args:
        jobs: in the order in which they run.
        bounds: first and last business date; None is that of the lake.
        clean: let housekeeping clean.
        err: show it on standard error.

    Raises:
        NothingToRunError: the lake holds no days for the first of them.
        RunFailedError: one failed; the later ones weren't started.
    """
    from retail_assets.jobs import housekeeping_config
    from retail_assets.pipeline import Days, NothingToRunError, days_for, run_jobs
    from retail_assets.resources.clickhouse import connect
    from retail_assets.resources.lake import LakeResource
    from retail_assets.resources.migrations import migrate
    from retail_assets.resources.retention import first_whole_day
    from retail_assets.runs import DagsterApi
    from retail_local.stack import Stack

    settings = load_settings()
    if settings.tenant and settings.mode is not Mode.LOCAL:
        raise click.ClickException(
            f"Dagster can serve a tenant on one machine alone so far: with RETAIL_MODE={settings.mode.value} "
            f"its jobs would run on other data than {settings.tenant}'s"
        )
    lake = LakeResource(root=settings.lake)
    yesterday = datetime.now(settings.zone).date() - timedelta(days=1)
    kept = first_whole_day(settings, datetime.now(UTC).date())

    def days_of(job: str) -> Days | None:
        whole = days_for(job, lake, yesterday, settings.time_zone)
        if whole is None:
            return None
        days = whole.within(*bounds).within(kept if job == DAILY_ETL else None, None)
        if days.first > days.last:
            raise NothingToRunError(
                f"{job}: the lake holds {whole.first} to {whole.last}, nothing of the days asked for"
            )
        if days.first < date.fromisoformat(settings.history_start):
            raise NothingToRunError(
                f"{job}: the lake's days begin with {days.first}, but partitions with RETAIL_HISTORY_START "
                f"{settings.history_start}: set it, or give a later --from"
            )
        return days

    days_of(jobs[0])  # before anything is started
    if settings.mode is Mode.LOCAL:
        Stack(settings).up(on_progress=lambda service, text: click.echo(f"  {service}: {text}", err=True))
    client = connect(settings, database="")
    migrate(client, settings.database)
    client.close()
    api = DagsterApi(f"http://127.0.0.1:{settings.dagster_port}")
    results = run_jobs(
        api,
        jobs,
        days_of,
        partial(_show_job, err=err),
        partial(_show_step, err=err),
        {HOUSEKEEPING: housekeeping_config(dry_run=not clean)},
    )
    click.echo(f"{len(results)} runs in {sum(result.seconds for result in results):.0f} s, see {api.url}/runs", err=err)


def _show_job(job: str, days: "Days | None", *, err: bool) -> None:
    over = f", {days.first} to {days.last}" if days else ""
    click.echo(f"{job}: {DOING[job]}{over}", err=err)


def _show_step(step: "StepResult", *, err: bool) -> None:
    rows = "" if step.rows is None else f"{step.rows:>12,} rows"
    click.echo(f"  {step.name:<44}{rows:>18} {step.seconds:>8.1f} s", err=err)
    if step.name.startswith(f"{HOUSEKEEPING}/"):
        told = [f"{name.replace('_', ' ')} {value:,}" for name, value in step.numbers.items() if value]
        click.echo(f"    {', '.join(told) or 'nothing to do'}", err=err)
