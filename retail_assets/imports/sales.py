"""The import of sales at daily grain, from files to the lake.

Belongs here: the order of the steps, and what an import has to say at its end. Does not belong here: the steps.

Everything that takes time or can fail happens before the first commit. Then the sales are committed, then the tables
that follow from them; what is killed between the two is made right by the same import again.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from retail_assets.contracts.tables import (
    RAW_IMPORTED_SALES,
    REFERENCE_ASSORTMENT,
    REFERENCE_EVENTS,
)
from retail_assets.contracts.types import polars_schema
from retail_assets.domain.frames import SERIES
from retail_assets.imports import reference
from retail_assets.imports.baskets import sold_by_day
from retail_assets.imports.buckets import STORED_SCHEMA, Buckets, SettledFile, Tally, plan_buckets, settle
from retail_assets.imports.bulk import BulkTransactions
from retail_assets.imports.checking import Rejections, Understanding, checked_batches, understand
from retail_assets.imports.columns import SALES
from retail_assets.imports.common import (
    Outcome,
    Progress,
    Request,
    clocks_of,
    note_broken,
    open_main,
    open_masters,
    read_given,
    reference_frames,
    refuse_overwriting,
    row_word,
    warnings_of,
    working_folder,
    write_rejected,
)
from retail_assets.imports.gaps import rejected_days, without_sales
from retail_assets.imports.reference import Given
from retail_assets.imports.writing import Lake, StoredFile


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
    refuse_overwriting(request)
    with working_folder(work) as folder:
        return _Import(request, lake, folder, on_progress).run()


class _Import:
    """One import while it runs."""

    def __init__(self, request: Request, lake: Lake, folder: Path, on_progress: Callable[[str], None]) -> None:
        self.request, self.lake, self.folder, self.on_progress = request, lake, folder, on_progress
        self.began = datetime.now(UTC)

    def run(self) -> Outcome:
        masters = open_masters(self.request)
        opened = open_main(self.request, SALES)
        given, understood_masters = read_given(self.request, masters, self.folder)
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
            write_rejected(self.request.rejected_file, sales, outcome.rejections)
            outcome.rejected_file = self.request.rejected_file
        if settled:
            self._derive_and_write(outcome, given, settled, replaced, kept)
        return outcome

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
            note_broken(one, outcome.rejections)
            for batch in checked_batches(place, one, outcome.rejections):
                imported.add(batch.with_columns(pl.lit(place).alias("file")))
        imported.close()
        stored_schema = polars_schema(tuple(RAW_IMPORTED_SALES.column(name) for name in STORED_SCHEMA.names))
        earlier = Buckets(plan, self.folder / "earlier", dict(stored_schema))
        for batch in self.lake.rows(touched):
            earlier.add(batch)
        earlier.close()
        progress = Progress(self.on_progress)
        settled = list(
            settle(
                plan,
                imported,
                earlier,
                outcome.rejections,
                outcome.tally,
                [one.file.name for one in sales],
                [f"{one.file.name} {row_word(one)}" for one in sales],
                self.began,
                self.folder,
                lambda day: progress(f"sorted the rows up to {day}"),
            )
        )
        progress.end()
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
        raw = BulkTransactions(self.lake)
        clocks = clocks_of(self.lake, given, self.request.place.time_zone)

        def sales() -> Iterator[pl.DataFrame]:
            yield from self.lake.future_rows(settled, kept, reference.OBSERVED)
            for part in raw.baskets():
                yield sold_by_day(part, clocks)

        observed = outcome.observed = reference.observe(sales())
        frames = reference_frames(self.lake, self.request.place, given, sales, observed)
        outcome.rows_by_table = {
            RAW_IMPORTED_SALES.path: sum(file.rows for file in settled) + sum(file.rows for file in kept),
            **{one.path: frame.height for one, frame in frames.items()},
        }
        outcome.warnings += warnings_of(outcome, given, frames[REFERENCE_EVENTS])
        rejected = rejected_days(outcome.understood[: len(self.request.files)], outcome.rejections)
        gaps = without_sales(rejected, frames[REFERENCE_ASSORTMENT], observed.trade, sales())
        if not gaps.is_empty():
            outcome.warnings.append(_said_of_gaps(gaps))
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
        self.lake.finish(frames)
        outcome.written = True


def _said_of_gaps(gaps: pl.DataFrame) -> str:
    store, product, day = gaps.row(0)
    return (
        f"{gaps.height:,} days of {gaps.select(SERIES).unique().height:,} series have no other row than a rejected one "
        f"and count as nothing sold (such as store {store}, product {product}, {day}): mend and import them"
    )
