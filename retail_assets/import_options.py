"""What the commands of `retail import` have in common: their arguments, and what they show.

Belongs here: options of all imports, and running one of them. Does not belong here: the commands themselves
(`import_data`, `import_transactions`), importing and reporting (`imports`).
"""

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlparse

import click

from retail_assets.imports.conventions import DECIMALS, SEPARATORS
from retail_assets.settings import Settings, SettingsError, load_settings
from retail_assets.simulate import lake_uri
from retail_assets.stopping import interruptible, uninterrupted
from retail_assets.tenants import keep_settings, tenant_option

if TYPE_CHECKING:
    from retail_assets.imports.columns import FileKind
    from retail_assets.imports.common import Outcome
    from retail_assets.imports.writing import Lake

    Note = Callable[[str], None]
    #: Takes the fields of its request, the settings, the lake, a folder to work in, and who is told how far it is.
    RunImport = Callable[[dict[str, Any], Settings, Lake, Path, Note], Outcome]

_TABLE_WIDTH: Final = 120
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


_SHARED: Final = (
    click.argument("files", metavar="FILE…", nargs=-1, required=True, type=_FILE),
    click.option("--products", type=_FILE, help="File of products."),
    click.option("--stores", type=_FILE, help="File of stores."),
    click.option("--events", type=_FILE, help="File of events."),
    click.option(
        "--map",
        "mapping",
        multiple=True,
        metavar="FIELD=COLUMN",
        help="Which column of the file holds a field, such as product_id=sku; products.name=title for --products "
        "and the like. May be given many times.",
    ),
    click.option("--dry-run", is_flag=True, help="Show what is understood and what would be rejected; write nothing."),
    click.option(
        "--max-rejected",
        type=click.FloatRange(0, 1),
        default=0.05,
        show_default=True,
        help="Greatest share of rejected rows; with more, nothing is imported.",
    ),
    click.option(
        "--rejected",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Where to write rejected rows, with reasons; beside you, as <first file>.rejected.csv, by default.",
    ),
    click.option("--date-format", metavar="FORMAT", help="Such as dd/mm/yyyy or %d.%m.%y; found out by default."),
    click.option("--decimal", type=click.Choice(list(DECIMALS)), help="Found out by default."),
    click.option(
        "--separator", type=click.Choice(list(SEPARATORS)), help="Between fields of CSV; found out by default."
    ),
    click.option("--encoding", help="Of CSV files, such as cp1252; UTF-8 by default."),
    click.option("--time-zone", help="IANA time zone of the stores; the setting RETAIL_TIME_ZONE by default."),
    click.option(
        "--country",
        help="Whose public holidays count, such as DE or DE-BY, or none; the time zone's country by default.",
    ),
    click.option(
        "--lake",
        metavar="URI",
        help="Another lake to write to: a folder, file:///… or s3a://…; the tenant's by default.",
    ),
)


class ImportCommand(click.Command):
    """A command whose help says in which currency amounts are taken to be, by the settings as they are."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own text, and a paragraph on money."""
        super().format_help_text(ctx, formatter)
        now = ""
        with suppress(SettingsError):  # help has to be there with wrong settings too
            now = f", which is {load_settings().currency} now"
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(
                f"All amounts are taken to be in RETAIL_CURRENCY{now}. That a file holds other money, such as pounds, "
                "isn't recognised: set it before the first import."
            )


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the arguments that all imports have."""
    command = tenant_option(command)
    for option in reversed(_SHARED):
        command = option(command)
    return command


def import_files(given: dict[str, Any], kind: "FileKind", run: "RunImport") -> None:
    """Import files, and show what became of them; answer Ctrl-C and SIGTERM with what is imported by then.

    Args:
        given: the command's arguments: those of `shared_options`.
        kind: what the files are.
        run: does it.

    Raises:
        click.ClickException: too many rows are rejected, the lake can't be written to, or a signal came.
        ImportRefusedError: a file is wrong.
    """
    opened: list[Lake] = []
    try:
        with interruptible():
            _import_files(given, kind, run, opened.append)
    except KeyboardInterrupt:
        raise click.ClickException(f"interrupted: {_left_by(opened)}") from None


def _left_by(opened: "Sequence[Lake]") -> str:
    """Return in words what an import that was interrupted has left, and what to do."""
    from retail_assets.imports.writing import Reached

    reached = opened[0].reached if opened else Reached.NOTHING
    if reached is Reached.NOTHING:
        return "nothing was imported; the same command can be run again"
    if reached is Reached.UNCLEAR:
        return "either all rows were imported or none; run the same command again, which makes it right"
    if reached is Reached.HISTORY:
        return "the rows were imported, but not all tables that follow from them; run the same command again"
    return "everything was imported; the same command can be run again for its report"


def _import_files(given: dict[str, Any], kind: "FileKind", run: "RunImport", on_open: "Callable[[Lake], None]") -> None:
    from deltalake.exceptions import DeltaError
    from rich.console import Console

    from retail_assets.imports.checking import Conventions
    from retail_assets.imports.columns import parse_mapping
    from retail_assets.imports.common import Request
    from retail_assets.imports.dates import named_format
    from retail_assets.imports.reading import CsvOptions
    from retail_assets.imports.reference import Place
    from retail_assets.imports.report import refusal, write_report
    from retail_assets.imports.writing import Lake
    from retail_assets.resources.lake import storage_options

    settings = load_settings()
    files: tuple[Path, ...] = given["files"]
    zone: str = given["time_zone"] or settings.time_zone
    lake: str | None = given["lake"]
    uri = settings.lake if lake is None else lake_uri(lake)
    fields: dict[str, Any] = {
        "files": files,
        "place": Place(zone, _country(given["country"], zone)),
        "mapping": parse_mapping(given["mapping"], kind),
        "csv_options": CsvOptions(SEPARATORS[given["separator"]] if given["separator"] else None, given["encoding"]),
        "conventions": Conventions(
            named_format(given["date_format"]) if given["date_format"] else None,
            DECIMALS[given["decimal"]] if given["decimal"] else None,
        ),
        "rejected_file": given["rejected"] or Path(f"{files[0].name.partition('.')[0]}.rejected.csv"),
        **{name: given[name] for name in ("products", "stores", "events", "max_rejected", "dry_run")},
    }

    def note(text: str) -> None:
        click.echo(text, err=True)

    def report(outcome: "Outcome") -> None:
        console = Console()
        # The table isn't cut to a narrow terminal, nor to the 80 columns of a pipe.
        console.width = max(console.width, _TABLE_WIDTH)
        write_report(outcome, request, lake or uri, console)

    request = Request(**fields)
    try:
        target = Lake(uri, storage_options(uri), uninterrupted)
        on_open(target)
        outcome = run(fields, settings, target, settings.var_dir / "imports", note)
    except (DeltaError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and not _refused_by(uri, error):
            raise  # of this machine's disk, which `explained` knows
        cause = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise click.ClickException(f"{uri} can't be reached or written to ({cause}): --lake names another") from None
    report(outcome)
    if not outcome.allowed:
        raise click.ClickException(refusal(outcome, request))
    if outcome.written and lake is None and outcome.observed is not None:
        _make_known(settings, outcome.observed.first_date, zone)


def _refused_by(uri: str, error: OSError) -> bool:
    """Say whether it is the lake's folder that an error of this machine's disk is about, and not that it is full."""
    parts = urlparse(uri)
    if parts.scheme != "file" or not isinstance(error.filename, str) or error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return False
    return Path(error.filename).is_relative_to(unquote(parts.path))


def _make_known(settings: Settings, first_date: date, time_zone: str) -> None:
    """Let the tenant's days begin with its history, and say what comes next."""
    begin = min(first_date, date.fromisoformat(settings.history_start))
    if settings.tenant:
        keep_settings(settings, {"history_start": str(begin), "time_zone": time_zone})
    elif begin != date.fromisoformat(settings.history_start):
        click.echo(f"Set RETAIL_HISTORY_START={begin} in .env: the platform's days begin later than this history.")
    command = f"retail run --tenant {settings.tenant}" if settings.tenant else "retail run"
    click.echo(f"Next: `{command}` makes forecasts and reorder points of it.")


def _country(asked: str | None, time_zone: str) -> str | None:
    """Return whose public holidays count: as asked, or those of the country that a time zone is of."""
    if asked is not None:
        return None if asked.lower() == "none" else asked
    zones = resources.files("tzdata") / "zoneinfo" / "zone.tab"
    for line in zones.read_text(encoding="utf-8").splitlines():
        parts = line.split("\t")
        if not line.startswith("#") and len(parts) > 2 and parts[2] == time_zone:  # noqa: PLR2004 - the third is the zone
            return parts[0]
    return None
