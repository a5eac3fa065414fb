"""The commands of the synthetic retailer: `retail simulate`.

Belongs here: arguments of the simulator's commands, and what they show. Does not belong here: simulating and reporting
(`simulator`).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import unquote, urlparse

import click

from retail_assets.explained import explained
from retail_assets.settings import load_settings
from retail_assets.simulate_live import chosen_scenario, live
from retail_assets.stopping import stopped_by_signals
from retail_local.files import locked

_FIELDS_HELP: Final = "instead of the scenario's own"
_TABLE_WIDTH: Final = 120
_LOCK: Final = ".history.lock"


@click.group()
def simulate() -> None:
    """The synthetic retailer: history, live tills, and how real its data are."""


simulate.add_command(live)


@simulate.command()
@click.option("--preset", help="A scenario of the package: tiny, demo, city, chain; demo by default.")
@click.option(
    "--scenario",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A scenario of your own (TOML), instead of a preset.",
)
@click.option("--stores", type=int, help=f"Stores, {_FIELDS_HELP}.")
@click.option("--products", type=int, help=f"Products, {_FIELDS_HELP}.")
@click.option("--days", type=int, help=f"Days, the last date among them, {_FIELDS_HELP}.")
@click.option("--seed", type=int, help=f"Chooses one of many like retailers, {_FIELDS_HELP}.")
@click.option("--last-date", type=click.DateTime(["%Y-%m-%d"]), help=f"The day after the history, {_FIELDS_HELP}.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes; their number changes the time that it takes, never the result.",
)
@click.option("--lake", required=True, metavar="URI", help="Where to write: a folder, file:///… or s3a://….")
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the state at the history's end to this file: retail simulate live --state goes on from there.",
)
@explained
def history(
    preset: str | None,
    file: Path | None,
    last_date: datetime | None,
    workers: int,
    lake: str,
    state: Path | None,
    **overrides: int | None,
) -> None:
    """Write a retailer's history to a lake: the reference tables, every event before the last date, and the truth."""
    if state is not None and not state.absolute().parent.is_dir():
        raise click.BadParameter(f"the folder {state.absolute().parent} doesn't exist", param_hint="--state")
    from deltalake.exceptions import DeltaError

    from retail_assets.resources.lake import storage_options
    from retail_assets.simulator.delta_files import ConcurrentWriteError
    from retail_assets.simulator.lake import HistoryStoppedError, write_history
    from retail_assets.simulator.realism.observation import cause_of
    from retail_assets.simulator.simulation import simulate as run

    uri = lake_uri(lake)
    scenario = chosen_scenario(preset, file, last_date=last_date.date() if last_date else None, **overrides)
    simulation = run(scenario, workers=workers)
    try:
        with _sole_writer(uri), stopped_by_signals() as stop:
            rows = write_history(simulation, uri, storage_options(uri), on_progress=click.echo, stop=stop)
    except ConcurrentWriteError:
        _refuse_a_second(uri)
    except (HistoryStoppedError, KeyboardInterrupt):
        raise click.ClickException(
            f"interrupted: of this history, {uri} holds the tables named above and no other file; run it again"
        ) from None
    except (DeltaError, OSError) as error:
        raise click.ClickException(f"{uri} can't be written to: {cause_of(error)}") from None
    click.echo(f"{sum(rows.values()):,} rows in {uri}; retail simulate report --lake {lake} shows how real they are")
    if state is not None:
        try:
            simulation.save_state(state)
        except OSError as error:
            raise click.ClickException(f"the lake is written, but {state} can't be: {error.strerror}") from None
        click.echo(f"{state} holds the state before {scenario.last_date}; retail simulate live --state goes on from it")


@contextmanager
def _sole_writer(uri: str) -> Iterator[None]:
    """Keep other histories out of a lake that is a folder. In an object store, Delta refuses the one that ends last."""
    parts = urlparse(uri)
    if parts.scheme != "file":
        yield
        return
    with locked(Path(unquote(parts.path)) / _LOCK, on_wait=lambda: _refuse_a_second(uri)):
        yield


def _refuse_a_second(uri: str) -> NoReturn:
    raise click.ClickException(
        f"another history is being written to {uri}: nothing of this one was; wait for that one's end, then run this "
        "one again to replace it"
    )


@simulate.command()
@click.option("--lake", metavar="URI", help="Which lake: a folder, file:///… or s3a://…; the platform's by default.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, and nothing else.")
@click.option(
    "--charts",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Draw charts into this folder, as PNG.",
)
@explained
def report(lake: str | None, as_json: bool, charts: Path | None) -> None:
    """Show the statistics of a lake's sales and stock beside those of real retailers.

    Figures outside of what was asked for are marked; the exit code is 0 either way.
    """
    from rich.console import Console

    from retail_assets.resources.lake import storage_options
    from retail_assets.simulator.realism.report import find, write_table

    uri = load_settings().lake if lake is None else lake_uri(lake)

    def note(text: str) -> None:
        click.echo(text, err=True)

    findings = find(uri, storage_options(uri), on_progress=note)
    if as_json:
        click.echo(json.dumps(findings.as_json(), indent=2))
    else:
        console = Console()
        # The table isn't cut to a narrow terminal, nor to the 80 columns of a pipe.
        console.width = max(console.width, _TABLE_WIDTH)
        write_table(findings, console)
    if charts is not None:
        for path in _draw(findings, charts):
            note(f"drew {path}")


def _draw(findings: Any, folder: Path) -> list[Path]:
    from retail_assets.simulator.realism.charts import draw_charts

    try:
        return draw_charts(findings, folder)
    except OSError as error:
        raise click.ClickException(f"{folder} can't be written to: {error.strerror}") from None


def lake_uri(lake: str) -> str:
    """Return the address of a lake that was given as a folder or an address.

    Raises:
        click.BadParameter: it is neither.
    """
    if not lake.strip():
        raise click.BadParameter("should be a folder, file:///… or s3a://…, not nothing", param_hint="--lake")
    if "://" not in lake:
        return Path(lake).expanduser().resolve().as_uri()
    if lake.startswith("s3://"):
        return lake.replace("s3://", "s3a://", 1)
    if not lake.startswith(("file:///", "s3a://")):
        raise click.BadParameter(f"should be a folder, file:///… or s3a://…, not {lake}", param_hint="--lake")
    return lake
