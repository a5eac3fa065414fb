"""The import of sales at daily grain, from files to the lake.

Belongs here: the order of the steps, and what an import has to say at its end. Does not belong here: the steps.

Everything that takes time or can fail happens before the first commit. Then the sales are committed, then the tables
that follow from them; what is killed between the two is made right by the same import again.
"""

import csv
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Final
from zoneinfo import available_timezones

import polars as pl
import psutil

from retail_assets.contracts.tables import (
    RAW_IMPORTED_SALES,
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
from retail_assets.imports.buckets import STORED_SCHEMA, Buckets, SettledFile, Tally, plan_buckets, settle
from retail_assets.imports.checking import Conventions, Rejections, Understanding, checked_batches, understand
from retail_assets.imports.columns import EVENTS, PRODUCTS, SALES, STORES
from retail_assets.imports.errors import ImportRefusedError
from retail_assets.imports.master import empty, read_master
from retail_assets.imports.reading import ROW, CsvOptions, open_file
from retail_assets.imports.reference import Given, Observed, Place
from retail_assets.imports.writing import Lake, StoredFile

_PREFIX: Final = "import-"
_SHOWN_IDS: Final = 3
_PROGRESS_S: Final = 2.0


@dataclass(frozen=True)
class Request:
    """What is asked of an import.

    Attributes:
        sales: files of sales.
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

    sales: Sequence[Path]
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
        understood: how each file was read, the sales first.
        read: rows of sales in the files.
        tally: what became of the accepted ones.
        rejections: why the others were rejected.
        rejected_file: where those are; None if there are none or nothing was to be written.
        allowed: whether few enough were rejected for the others to be imported.
        written: whether anything was written to the lake.
        observed: what the lake shows, this import included; None where no row was accepted.
        warnings: what the user should look at.
        rows_by_table: rows of each table that was written, or would be.
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


def import_sales(
    request: Request, lake: Lake, work: Path, on_progress: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Import files of sales, and what is given of products, stores and events.

    Args:
        request: what is asked.
        lake: where it goes.
        work: a folder for some hundred megabytes that are needed meanwhile.
        on_progress: called with a line of text now and then.

    Returns:
        What was found. If more rows are rejected than is allowed, nothing was written and `allowed` is false.

    Raises:
        ImportRefusedError: a file can't be read or understood, a file of products, stores or events is wrong, or
            another import wrote at the same time. Nothing was written.
    """
    _refuse_overwriting(request)
    with _working_folder(work) as folder:
        return _Import(request, lake, folder, on_progress).run()


class _Import:
    """One import while it runs."""

    def __init__(self, request: Request, lake: Lake, folder: Path, on_progress: Callable[[str], None]) -> None:
        self.request, self.lake, self.folder, self.on_progress = request, lake, folder, on_progress
        self.began = datetime.now(UTC)
        self._told = time.monotonic()

    def run(self) -> Outcome:
        # All files are opened before the first one is read: a wrong name shouldn't show after minutes.
        masters = {
            kind.name: (path, open_file(path, kind, self.request.mapping.get(kind.name, {}), self.request.csv_options))
            for kind, path in (
                (PRODUCTS, self.request.products),
                (STORES, self.request.stores),
                (EVENTS, self.request.events),
            )
            if path is not None
        }
        opened = [
            open_file(path, SALES, self.request.mapping.get(SALES.name, {}), self.request.csv_options)
            for path in self.request.sales
        ]
        given_by_kind = {}
        understood_masters = []
        for name, (_, file) in masters.items():
            found = understand(file, self.folder, self.request.conventions, date.max)
            given_by_kind[name] = read_master(found)
            understood_masters.append(found)
        given = Given(
            given_by_kind.get(PRODUCTS.name, empty("product_id")),
            given_by_kind.get(STORES.name, empty("store_id")),
            given_by_kind.get(EVENTS.name, empty("date", "name", "kind", "store_id", "region")),
        )
        _refuse_wrong_stores(given.stores, self.request.place)
        sales = []
        for file in opened:
            self.on_progress(f"reading {file.name}")
            sales.append(understand(file, self.folder, self.request.conventions, self.request.today))

        outcome = Outcome([*sales, *understood_masters], sum(one.file.rows for one in sales), Tally(), Rejections())
        settled, replaced, kept = self._settle(sales, outcome)
        share = outcome.rejections.total / outcome.read
        outcome.allowed = share <= self.request.max_rejected and outcome.tally.accepted > 0
        outcome.warnings += [note for one in outcome.understood for note in one.notes]
        if outcome.rejections.total and not self.request.dry_run and self.request.rejected_file is not None:
            _write_rejected(self.request.rejected_file, sales, outcome.rejections)
            outcome.rejected_file = self.request.rejected_file
        if settled:
            self._derive_and_write(outcome, given, settled, replaced, kept)
        return outcome

    def _tell_date(self, day: date) -> None:
        if time.monotonic() - self._told > _PROGRESS_S:
            self._told = time.monotonic()
            self.on_progress(f"sorted the rows up to {day}")

    def _settle(
        self, sales: list[Understanding], outcome: Outcome
    ) -> tuple[list[SettledFile], list[StoredFile], list[StoredFile]]:
        """Return the new files, those of the lake that they replace, and those that stay."""
        rows_by_date: Counter[date] = Counter()
        for one in sales:
            rows_by_date.update(one.rows_by_date)
        stored = self.lake.stored_files()
        touched = [file for file in stored if any(file.first_date <= day <= file.last_date for day in rows_by_date)]
        kept = [file for file in stored if file not in touched]
        plan = plan_buckets(rows_by_date + self.lake.rows_by_date(touched))
        imported = Buckets(plan, self.folder / "imported")
        for place, one in enumerate(sales):
            self.on_progress(f"checking {one.file.name}: {one.file.rows:,} rows")
            _note_broken(one, outcome.rejections)
            for batch in checked_batches(place, one, outcome.rejections):
                imported.add(batch.with_columns(pl.lit(place).alias("file")))
        imported.close()
        stored_schema = polars_schema(tuple(RAW_IMPORTED_SALES.column(name) for name in STORED_SCHEMA.names))
        earlier = Buckets(plan, self.folder / "earlier", dict(stored_schema))
        for batch in self.lake.rows(touched):
            earlier.add(batch)
        earlier.close()
        settled = list(
            settle(
                plan,
                imported,
                earlier,
                outcome.rejections,
                outcome.tally,
                [one.file.name for one in sales],
                [f"{one.file.name} {_row_word(one)}" for one in sales],
                self.began,
                self.folder,
                self._tell_date,
            )
        )
        return settled, touched, kept

    def _derive_and_write(
        self,
        outcome: Outcome,
        given: Given,
        settled: list[SettledFile],
        replaced: list[StoredFile],
        kept: list[StoredFile],
    ) -> None:
        self.on_progress("deriving the assortment, promotions and master data")
        sales = partial(self.lake.future_rows, settled, kept, reference.OBSERVED)
        observed = outcome.observed = reference.observe(sales())
        frames = self._reference_frames(sales, observed, given)
        outcome.rows_by_table = {
            RAW_IMPORTED_SALES.path: sum(file.rows for file in settled) + sum(file.rows for file in kept),
            **{one.path: frame.height for one, frame in frames.items()},
        }
        outcome.warnings += _warnings(outcome, given, frames[REFERENCE_EVENTS])
        if self.request.dry_run or not outcome.allowed:
            return
        self.on_progress("writing")
        self.lake.commit_sales(
            settled,
            replaced,
            {
                "files": ", ".join(one.file.name for one in outcome.understood),
                "accepted": outcome.tally.accepted,
                "repeated": outcome.tally.repeated,
                "rejected": outcome.rejections.total,
            },
        )
        for one, frame in frames.items():
            self.lake.overwrite(one, frame)
        outcome.written = True

    def _reference_frames(
        self, sales: Callable[[], Iterator[pl.DataFrame]], observed: Observed, given: Given
    ) -> dict[Table, pl.DataFrame]:
        lake, place = self.lake, self.request.place
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


def _row_word(one: Understanding) -> str:
    return "line" if one.file.is_text else "row"


def _note_broken(one: Understanding, rejections: Rejections) -> None:
    for line in one.file.broken:
        reason = _broken_reason(line.fields)
        rejections.count(reason, 1)
        rejections.example(reason, f"{one.file.name} line {line.line:,} {line.text[:40]!r}")


def _broken_reason(fields: int) -> str:
    return f"another number of fields than the first line: {fields}"


def _write_rejected(target: Path, sales: list[Understanding], rejections: Rejections) -> None:
    """Write the rejected rows with their reasons, under names with which they can be imported when they are mended."""
    named = [field.name for field in SALES.fields if any(field.name in one.file.columns for one in sales)]
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["source_file", "line", "reason", *named, "whole_line"])
        for place, one in enumerate(sales):
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


def _warnings(outcome: Outcome, given: Given, events: pl.DataFrame) -> list[str]:
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


def _refuse_wrong_stores(stores: pl.DataFrame, place: Place) -> None:
    """Refuse time zones that don't exist, and trade past midnight, which has no place in the contract."""
    said = stores["time_zone"].drop_nulls().to_list() if "time_zone" in stores.columns else []
    wrong = sorted({place.time_zone, *said} - available_timezones())
    if wrong:
        raise ImportRefusedError(f"{wrong[0]} is no time zone: write it such as Europe/Berlin")
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


def _refuse_overwriting(request: Request) -> None:
    if request.rejected_file is None:
        return
    read = [*request.sales, request.products, request.stores, request.events]
    if any(path is not None and path.resolve() == request.rejected_file.resolve() for path in read):
        raise ImportRefusedError(f"--rejected {request.rejected_file} is one of the files to read: choose another name")


@contextmanager
def _working_folder(parent: Path) -> Iterator[Path]:
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
