"""What an import of any kind of history asks, finds and does: files of master data, tables that follow, rejected rows.

Belongs here: the parts that the imports of daily sales and of till lines share. Does not belong here: their own steps
(`sales`, `transactions`).
"""

import csv
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final
from zoneinfo import available_timezones

import polars as pl
import psutil

from retail_assets.contracts.tables import (
    REFERENCE_ASSORTMENT,
    REFERENCE_CALENDAR,
    REFERENCE_EVENTS,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_PURCHASE_ORDERS,
    REFERENCE_STORES,
    REFERENCE_SUPPLIERS,
    REFERENCE_WEATHER,
    Table,
)
from retail_assets.contracts.types import polars_schema
from retail_assets.imports import defaults, reference
from retail_assets.imports.baskets import Clocks
from retail_assets.imports.buckets import Tally
from retail_assets.imports.checking import Conventions, Rejections, Understanding, understand
from retail_assets.imports.columns import EVENTS, PRODUCTS, STORES, FileKind
from retail_assets.imports.errors import ImportRefusedError
from retail_assets.imports.master import empty, read_master
from retail_assets.imports.reading import ROW, CsvOptions, SourceFile, open_file
from retail_assets.imports.reference import Given, Observed, Place
from retail_assets.imports.writing import Lake

_PREFIX: Final = "import-"
_SHOWN_IDS: Final = 3
_PROGRESS_S: Final = 2.0


@dataclass(frozen=True)
class Request:
    """What is asked of an import.

    Attributes:
        files: files of the main kind.
        place: where the retailer is.
        products: a file of products.
        stores: a file of stores.
        events: a file of events.
        mapping: by kind of file, the file's column of a field.
        csv_options: what the user says of CSV files.
        conventions: what the user says of values.
        max_rejected: greatest share of rejected rows with which the others are written.
        dry_run: find everything out, write nothing.
        rejected_file: where rejected rows are written, if there are any.
        today: the last date that can have happened.
    """

    files: Sequence[Path]
    place: Place
    products: Path | None = None
    stores: Path | None = None
    events: Path | None = None
    mapping: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    csv_options: CsvOptions = field(default_factory=CsvOptions)
    conventions: Conventions = field(default_factory=Conventions)
    max_rejected: float = 0.05
    dry_run: bool = False
    rejected_file: Path | None = None
    today: date = field(default_factory=lambda: datetime.now(UTC).date())


@dataclass
class Outcome:
    """What an import found and did.

    Attributes:
        understood: how each file was read, those of the main kind first.
        read: rows in the files of the main kind.
        tally: what became of the accepted ones.
        rejections: why the others were rejected.
        rejected_file: where those are; None if there are none or nothing was to be written.
        allowed: whether few enough were rejected for the others to be imported.
        written: whether anything was written to the lake.
        observed: what the lake shows, this import included; None where no row was accepted.
        warnings: what the user should look at.
        rows_by_table: rows of each table that was written, or would be.
        facts: what else there is to say of the accepted rows, in sentences.
    """

    understood: list[Understanding]
    read: int
    tally: Tally
    rejections: Rejections
    rejected_file: Path | None = None
    allowed: bool = True
    written: bool = False
    observed: Observed | None = None
    warnings: list[str] = field(default_factory=list)
    rows_by_table: dict[str, int] = field(default_factory=dict)
    facts: list[str] = field(default_factory=list)


class Progress:
    """Tells how far a long step is: now and then, and at its end what was left untold, if it told anything."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """Begin a step.

        Args:
            tell: called with a line of text.
        """
        self._tell = tell
        self._told_at = time.monotonic()
        self._has_told = False
        self._untold: str | None = None

    def __call__(self, text: str) -> None:
        """Tell a line, unless another was told a moment ago."""
        self._untold = text
        if time.monotonic() - self._told_at > _PROGRESS_S:
            self._tell(text)
            self._told_at, self._has_told, self._untold = time.monotonic(), True, None

    def end(self) -> None:
        """End the step: who saw a count should see the last one."""
        if self._has_told and self._untold is not None:
            self._tell(self._untold)


def open_masters(request: Request) -> list[SourceFile]:
    """Open the files of products, stores and events, before any file is read: a wrong name shouldn't show late.

    Raises:
        ImportRefusedError: one can't be opened, or lacks a column.
    """
    paths = ((PRODUCTS, request.products), (STORES, request.stores), (EVENTS, request.events))
    return [
        open_file(path, kind, request.mapping.get(kind.name, {}), request.csv_options)
        for kind, path in paths
        if path is not None
    ]


def open_main(request: Request, kind: FileKind) -> list[SourceFile]:
    """Open the files that an import is about.

    Raises:
        ImportRefusedError: one can't be opened, lacks a column, or is named twice.
    """
    twice = [path for path in request.files if [one.resolve() for one in request.files].count(path.resolve()) > 1]
    if twice:
        raise ImportRefusedError(f"{twice[0]} is named twice: each file should be named once")
    return [open_file(path, kind, request.mapping.get(kind.name, {}), request.csv_options) for path in request.files]


def read_given(request: Request, masters: Sequence[SourceFile], folder: Path) -> tuple[Given, list[Understanding]]:
    """Return what the files of products, stores and events say, and how each was read.

    Args:
        request: of the import.
        masters: the opened files.
        folder: where to keep what takes long to read again.

    Raises:
        ImportRefusedError: one of them is wrong.
    """
    found = [understand(file, folder, request.conventions, date.max) for file in masters]
    by_kind = {one.file.kind.name: read_master(one) for one in found}
    given = Given(
        by_kind.get(PRODUCTS.name, empty("product_id")),
        by_kind.get(STORES.name, empty("store_id")),
        by_kind.get(EVENTS.name, empty("date", "name", "kind", "store_id", "region")),
    )
    refuse_wrong_stores(given.stores, request.place)
    return given, found


def clocks_of(lake: Lake, given: Given, otherwise: str, times_in: str | None = None) -> Clocks:
    """Return the zones of the stores: as given, else as an earlier import was given, else the retailer's.

    Args:
        lake: for what is there already.
        given: what the retailer says of stores.
        otherwise: the retailer's time zone.
        times_in: the zone of all times that don't name one, whatever their store; None for the store's own.
    """
    zones: dict[str, str] = {}
    for frame in (lake.read(REFERENCE_STORES), given.stores):
        if "time_zone" in frame.columns:
            zones |= dict(frame.drop_nulls("time_zone").select("store_id", "time_zone").iter_rows())
    return Clocks(times_in, zones, otherwise)


def reference_frames(
    lake: Lake, place: Place, given: Given, sales: Callable[[], Iterator[pl.DataFrame]], observed: Observed
) -> dict[Table, pl.DataFrame]:
    """Return the tables that follow from a history.

    Args:
        lake: for what is there already.
        place: where the retailer is.
        given: what the retailer says of products, stores and events.
        sales: returns the sales in parts, with the columns `reference.OBSERVED`; may be called several times.
        observed: of these sales.

    Raises:
        ImportRefusedError: the holidays of the country aren't known.
    """
    catalogue = reference.products(observed, given.products, lake.read(REFERENCE_PRODUCTS))
    held = reference.events(given.events, lake.read(REFERENCE_EVENTS))
    frames = {
        REFERENCE_STORES: reference.stores(observed, given.stores, lake.read(REFERENCE_STORES), place),
        REFERENCE_SUPPLIERS: reference.suppliers(),
        REFERENCE_PRODUCTS: catalogue,
        REFERENCE_PROMOTIONS: reference.promotions(sales, observed, catalogue),
        REFERENCE_EVENTS: held,
        REFERENCE_CALENDAR: reference.calendar(observed, held, place),
        REFERENCE_ASSORTMENT: reference.assortment(observed),
    }
    for table in (REFERENCE_WEATHER, REFERENCE_PURCHASE_ORDERS):
        if not lake.exists(table):
            frames[table] = pl.DataFrame(schema=polars_schema(table.columns))
    return frames


def row_word(one: Understanding) -> str:
    """Return what a row of a file is called."""
    return "line" if one.file.is_text else "row"


def note_broken(one: Understanding, rejections: Rejections) -> None:
    """Note the lines of a file that can't be taken apart."""
    for line in one.file.broken:
        reason = _broken_reason(line.fields)
        rejections.count(reason, 1)
        rejections.example(reason, f"{one.file.name} line {line.line:,} {line.text[:40]!r}")


def _broken_reason(fields: int) -> str:
    return f"another number of fields than the first line: {fields}"


def write_rejected(target: Path, main: list[Understanding], rejections: Rejections) -> None:
    """Write the rejected rows with their reasons, under names with which they can be imported when they are mended.

    Raises:
        ImportRefusedError: that file can't be written.
    """
    named = [field.name for field in main[0].file.kind.fields if any(field.name in one.file.columns for one in main)]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        opened = target.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise ImportRefusedError(
            f"the rejected rows can't be written to {target} ({error.strerror}), so nothing was imported: name another "
            "file with --rejected"
        ) from None
    with opened as stream:
        writer = csv.writer(stream)
        writer.writerow(["source_file", "line", "reason", *named, "whole_line"])
        for place, one in enumerate(main):
            for line in one.file.broken:
                writer.writerow([one.file.name, line.line, _broken_reason(line.fields), *[""] * len(named), line.text])
            of_file = rejections.of(place)
            if of_file.is_empty():
                continue
            for batch in one.file.batches():
                found = batch.join(of_file, on=ROW, how="inner", maintain_order="left")
                lacking = [name for name in named if name not in found.columns]
                rows = found.with_columns(pl.lit(None).alias(name) for name in lacking)
                for row in rows.select(ROW, "reason", *named).iter_rows():
                    writer.writerow([one.file.name, row[0], rejections.reasons[row[1] - 1], *row[2:], ""])


def warnings_of(outcome: Outcome, given: Given, events: pl.DataFrame) -> list[str]:
    """Return what looks wrong without being it."""
    found = []
    tally = outcome.tally
    for kind, key, sold, frame in (
        (PRODUCTS, "product_id", tally.products, given.products),
        (STORES, "store_id", tally.stores, given.stores),
    ):
        if frame.width <= 1 and frame.is_empty():
            continue
        known = set(frame[key].to_list())
        unknown, unsold = sorted(sold - known), sorted(known - sold)
        if unknown:
            found.append(
                f"{len(unknown):,} of {len(sold):,} {kind.name} with sales aren't in the file of {kind.name} and get "
                f"defaults: {_some(unknown)}"
            )
        if unsold:
            found.append(f"{len(unsold):,} {kind.name} of the file have no sales in this import: {_some(unsold)}")
    limited = events.filter(pl.col("kind").str.to_lowercase() == "holiday").height - reference.everywhere(events).height
    if limited:
        found.append(f"{limited:,} holidays of single stores or regions are kept as events, not in the calendar")
    if tally.without["unit_price"] == tally.without["revenue"] == tally.accepted:
        found.append("there is neither price nor revenue: list prices are 0 where no file of products gives them")
    return found


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:_SHOWN_IDS]) + (" …" if len(ids) > _SHOWN_IDS else "")


def refuse_wrong_zone(zone: str | None) -> None:
    """Refuse a time zone that doesn't exist; none is right."""
    if zone is not None and zone not in available_timezones():
        raise ImportRefusedError(f"{zone} is no time zone: write it such as Europe/Berlin")


def refuse_wrong_stores(stores: pl.DataFrame, place: Place) -> None:
    """Refuse time zones that don't exist, and trade past midnight, which has no place in the contract."""
    said = stores["time_zone"].drop_nulls().to_list() if "time_zone" in stores.columns else []
    for zone in sorted({place.time_zone, *said}):
        refuse_wrong_zone(zone)
    hours = {
        name: pl.col(name).fill_null(default) if name in stores.columns else pl.lit(default)
        for name, default in (
            ("opens_at_hour", defaults.OPENS_AT_HOUR),
            ("closes_at_hour", defaults.CLOSES_AT_HOUR),
        )
    }
    closed = stores.filter(hours["closes_at_hour"] <= hours["opens_at_hour"])
    if not closed.is_empty():
        raise ImportRefusedError(
            f"store {closed['store_id'][0]} closes before it opens: give opens_at_hour and closes_at_hour within one "
            f"day, from 0 to 24 (by default {defaults.OPENS_AT_HOUR} and {defaults.CLOSES_AT_HOUR})"
        )


def refuse_overwriting(request: Request) -> None:
    """Refuse to write rejected rows over a file that is read."""
    if request.rejected_file is None:
        return
    read = [*request.files, request.products, request.stores, request.events]
    if any(path is not None and path.resolve() == request.rejected_file.resolve() for path in read):
        raise ImportRefusedError(f"--rejected {request.rejected_file} is one of the files to read: choose another name")


@contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """Make a folder for one import, and clear away those of imports that were killed."""
    parent.mkdir(parents=True, exist_ok=True)
    for old in parent.glob(f"{_PREFIX}*"):
        owner = old.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        dir=parent, prefix=f"{_PREFIX}{psutil.Process().pid}-", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)
