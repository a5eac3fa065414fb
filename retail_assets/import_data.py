"""The commands that bring a retailer's own history into the lake: `retail import`.

Belongs here: arguments of the commands, and their help. Does not belong here: importing and reporting (`imports`).
"""

from datetime import date
from importlib import resources
from pathlib import Path
from typing import Final

import click

from retail_assets.explained import explained
from retail_assets.imports.conventions import DECIMALS, SEPARATORS
from retail_assets.settings import Settings, load_settings
from retail_assets.simulate import lake_uri
from retail_assets.tenants import keep_settings, tenant_option

_TABLE_WIDTH: Final = 120
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@click.group("import")
def import_data() -> None:
    """Your own history, from CSV or Parquet files into the lake."""


@import_data.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=_FILE)
@click.option("--products", type=_FILE, help="File of products.")
@click.option("--stores", type=_FILE, help="File of stores.")
@click.option("--events", type=_FILE, help="File of events.")
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="FIELD=COLUMN",
    help="Which column of the file holds a field, such as units=qty_sold; products.name=title for another file than "
    "the sales. May be given many times.",
)
@click.option("--dry-run", is_flag=True, help="Show what is understood and what would be rejected; write nothing.")
@click.option(
    "--max-rejected",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Greatest share of rejected rows; with more, nothing is imported.",
)
@click.option(
    "--rejected",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write rejected rows, with reasons; beside you, as <first file>.rejected.csv, by default.",
)
@click.option("--date-format", metavar="FORMAT", help="Such as dd/mm/yyyy or %d.%m.%y; found out by default.")
@click.option("--decimal", type=click.Choice(list(DECIMALS)), help="Found out by default.")
@click.option("--separator", type=click.Choice(list(SEPARATORS)), help="Between fields of CSV; found out by default.")
@click.option("--encoding", help="Of CSV files, such as cp1252; UTF-8 by default.")
@click.option("--time-zone", help="IANA time zone of the stores; the setting RETAIL_TIME_ZONE by default.")
@click.option(
    "--country",
    help="Whose public holidays count, such as DE or DE-BY, or none; the time zone's country by default.",
)
@tenant_option
@click.option(
    "--lake", metavar="URI", help="Another lake to write to: a folder, file:///… or s3a://…; the tenant's by default."
)
@explained
def sales(
    files: tuple[Path, ...],
    products: Path | None,
    stores: Path | None,
    events: Path | None,
    mapping: tuple[str, ...],
    dry_run: bool,
    max_rejected: float,
    rejected: Path | None,
    date_format: str | None,
    decimal: str | None,
    separator: str | None,
    encoding: str | None,
    time_zone: str | None,
    country: str | None,
    lake: str | None,
) -> None:
    """Import sales at daily grain: one row per store, product and day.

    FILE is CSV (also packed with gzip) or Parquet; the first line of CSV names the columns. Importing the same days
    again replaces them. On days without a row, between a product's first row in a store and its last, nothing counts
    as sold.

    \b
    Sales     date, store_id, product_id, units
              optional: price, promotion (yes or no), on_hand, stockout_hours, revenue
    Products  product_id
              optional: name, department, category, subcategory, brand, cost, price, pack_size, shelf_life_days
    Stores    store_id
              optional: name, region, city, format, time_zone, opens_at_hour, closes_at_hour
    Events    date, name
              optional: kind (holiday makes it a public holiday), store_id, region

    \b
    Units may be fractions (kilograms). Price is of one unit. For example:
      date,store_id,product_id,units,price
      2024-05-01,S1,4011,12.5,1.99

    \b
    Look first, then import:
      retail import sales sales.csv --map units=qty_sold --dry-run
      retail import sales sales.csv --map units=qty_sold --tenant my_shop
      retail run --tenant my_shop
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from deltalake.exceptions import DeltaError
    from rich.console import Console

    from retail_assets.imports.checking import Conventions
    from retail_assets.imports.columns import SALES, parse_mapping
    from retail_assets.imports.common import Request
    from retail_assets.imports.dates import named_format
    from retail_assets.imports.reading import CsvOptions
    from retail_assets.imports.reference import Place
    from retail_assets.imports.report import refusal, write_report
    from retail_assets.imports.sales import import_sales
    from retail_assets.imports.writing import Lake
    from retail_assets.resources.lake import storage_options

    settings = load_settings()
    zone = time_zone or settings.time_zone
    uri = lake_uri(lake) if lake else settings.lake
    request = Request(
        files=files,
        place=Place(zone, _country(country, zone)),
        products=products,
        stores=stores,
        events=events,
        mapping=parse_mapping(mapping, SALES),
        csv_options=CsvOptions(SEPARATORS[separator] if separator else None, encoding),
        conventions=Conventions(
            named_format(date_format) if date_format else None, DECIMALS[decimal] if decimal else None
        ),
        max_rejected=max_rejected,
        dry_run=dry_run,
        rejected_file=rejected or Path(f"{files[0].name.partition('.')[0]}.rejected.csv"),
    )

    def note(text: str) -> None:
        click.echo(text, err=True)

    try:
        outcome = import_sales(request, Lake(uri, storage_options(uri)), settings.var_dir / "imports", note)
    except (DeltaError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of this machine's disk, which `explained` knows
        raise click.ClickException(f"{uri} can't be reached or written to: {' '.join(str(error).split())}") from None
    console = Console()
    # The table isn't cut to a narrow terminal, nor to the 80 columns of a pipe.
    console.width = max(console.width, _TABLE_WIDTH)
    write_report(outcome, request, lake or uri, console)
    if not outcome.allowed:
        raise click.ClickException(refusal(outcome, request))
    if outcome.written and lake is None and outcome.observed is not None:
        _make_known(settings, outcome.observed.first_date, zone)


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
