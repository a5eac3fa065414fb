"""The command that judges forecasts on a retailer's own past: `retail backtest`.

Belongs here: its arguments, making the daily sales that it needs, and writing what it found. Does not belong here: the
backtest (`backtest`).
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retail_assets.backtest.names import OURS, RIVALS
from retail_assets.contracts.jobs import DAILY_ETL
from retail_assets.explained import explained
from retail_assets.settings import Settings, load_settings
from retail_assets.tenants import tenant_option

if TYPE_CHECKING:
    from retail_assets.backtest.run import Backtest


@click.command("backtest")
@click.option("--origins", type=click.IntRange(1, 60), default=8, show_default=True, help="Weekly origins, at the end.")
@click.option("--horizon", type=click.IntRange(1, 28), default=7, show_default=True, help="Days ahead.")
@click.option(
    "--rival",
    "rivals",
    multiple=True,
    type=click.Choice([*RIVALS, "none"]),
    help="This rival alone; can be repeated. All by default.",
)
@click.option(
    "--rival-series",
    type=click.IntRange(min=1),
    default=2_000,
    show_default=True,
    help="For about so many series the slow rivals are asked (auto_ets, croston_sba, mllib_gbt).",
)
@click.option(
    "--forecasts",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write every forecast of every model to this Parquet file.",
)
@click.option(
    "--charts", type=click.Path(path_type=Path, file_okay=False), help="Folder for the charts; with the reports else."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, and nothing else.")
@tenant_option
@explained
def backtest(
    origins: int,
    horizon: int,
    rivals: tuple[str, ...],
    rival_series: int,
    forecasts: Path | None,
    charts: Path | None,
    as_json: bool,
) -> None:
    """Forecast the last weeks as if they weren't known, beside named rivals in the same run, and judge.

    The model is trained anew at each origin, on what was known then. Daily sales that the lake lacks are made first
    (retail run daily_etl).

    The Parquet file holds model, origin, target_date, horizon, store_id, product_id, actual, mean, q025 to q975: enough
    to judge with tools of your own.
    """
    from retail_assets.backtest.run import Plan, run_backtest
    from retail_assets.resources.lake import LakeResource
    from retail_assets.resources.spark import SparkResource, spark_config

    settings = load_settings()
    if forecasts is not None and not forecasts.absolute().parent.is_dir():
        raise click.UsageError(f"--forecasts: there is no folder {forecasts.absolute().parent}")
    lake = LakeResource(root=settings.lake)
    _make_daily_sales(lake, settings)
    chosen = tuple(name for name in RIVALS if name in rivals) if rivals else RIVALS
    spark = SparkResource(spark_config=spark_config(settings))
    try:
        result = run_backtest(
            spark,
            lake,
            Plan(origins=origins, horizon=horizon, rivals=chosen, rival_series=rival_series),
            lambda text: click.echo(text, err=True),
        )
    finally:
        spark.spark_session.stop()
    _write(settings, result, forecasts, charts, as_json=as_json)


def _make_daily_sales(lake: "LakeResource", settings: Settings) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Run the job that makes daily sales, where the lake has events or imported sales that are newer."""
    from datetime import datetime, timedelta

    from retail_assets.pipeline import daily_sales_missing
    from retail_assets.run_jobs import run_over

    yesterday = datetime.now(settings.zone).date() - timedelta(days=1)
    if daily_sales_missing(lake, yesterday, settings.time_zone):
        click.echo("the lake has sales that aren't daily sales yet: making them first", err=True)
        run_over([DAILY_ETL], (None, None), clean=False, err=True)


def _write(
    settings: Settings, result: "Backtest", forecasts: Path | None, charts: Path | None, *, as_json: bool
) -> None:
    from dataclasses import asdict

    from rich.console import Console

    from retail_assets.backtest.charts import draw_charts
    from retail_assets.backtest.show import show
    from retail_assets.bench.report import describe_machine, write_report

    reports = settings.var_dir / "reports"
    name = f"backtest_{settings.tenant}" if settings.tenant else "backtest"
    report = {"tenant": settings.tenant, "machine": asdict(describe_machine(settings)), **result.report}
    write_report(reports / f"{name}.json", report)
    if forecasts is not None:
        draft = forecasts.with_name(f".{forecasts.name}.tmp")
        result.forecasts.write_parquet(draft)
        draft.replace(forecasts)
    drawn = draw_charts(
        result.forecasts, result.history, result.products, result.report, charts or reports / name, model=OURS
    )
    if as_json:
        click.echo(json.dumps(report, indent=2))
    console = Console(stderr=as_json, soft_wrap=True, highlight=False)
    show(report, console)
    console.print(f"Report: {reports / f'{name}.json'}; charts: {', '.join(str(path) for path in drawn)}")
