"""The import of till lines, from files to baskets in the lake, or to whoever sends them.

Belongs here: the order of the steps, and what an import has to say at its end. Does not belong here: the steps.

Lines go to the disk twice: first by their transaction, so that all lines of a basket meet however far apart they lie in
the files; then, as baskets, by their day. Memory holds a few hundred thousand lines at a time. Everything that takes
time or can fail happens before the first commit.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from retail_assets.contracts.tables import RAW_SALES_TRANSACTIONS, REFERENCE_EVENTS
from retail_assets.contracts.topics import SALES_TRANSACTIONS, Topic
from retail_assets.contracts.types import polars_schema
from retail_assets.imports import reference
from retail_assets.imports.baskets import (
    BASKETS,
    LINES,
    BasketCounts,
    Clocks,
    LineJudge,
    assemble,
    base_id,
    sold_by_day,
    transaction_base,
)
from retail_assets.imports.buckets import BUCKET_ROWS, Buckets, Tally, plan_buckets
from retail_assets.imports.bulk import EARLIER, BulkTransactions
from retail_assets.imports.checking import Rejections, Understanding, checked_batches, understand
from retail_assets.imports.columns import TRANSACTIONS, FileKind
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
    refuse_wrong_zone,
    row_word,
    warnings_of,
    working_folder,
    write_rejected,
)
from retail_assets.imports.reference import Given
from retail_assets.imports.writing import Lake

_SEED: Final = 20_240_501
_FUTURE: Final = timedelta(days=1)
_DAY_COLUMNS: Final = (*BASKETS.items(), ("business_date", pl.Date()))


@dataclass(frozen=True)
class TransactionsRequest(Request):
    """What is asked of an import of till lines.

    Attributes:
        store: the store of all lines; None where the files say it.
        times_in: the zone of times that don't name one; None for each store's own.
        currency: ISO 4217 code of all money of the platform.
        now: the latest time that can have been; None for when the import begins.
    """

    store: str | None = None
    times_in: str | None = None
    currency: str = "EUR"
    now: datetime | None = None


class DayOfBaskets:
    """The baskets of one UTC date, as a stream wants them."""

    def __init__(self, baskets: pl.DataFrame) -> None:
        """Take the event's columns."""
        self._baskets = baskets

    def events(self, topic: Topic) -> pl.DataFrame:
        """Return the events of one topic; of topics other than that of the baskets there are none."""
        if topic.name == SALES_TRANSACTIONS.name:
            return self._baskets
        return pl.DataFrame(schema=polars_schema(topic.schema.columns))


class BasketDays:
    """All baskets of an import, on the disk, in the order of their time.

    It is what a stream of tills takes its days from: `simulator.tills.plan.DaySource`.
    """

    def __init__(self, folder: Path) -> None:
        """Begin with none.

        Args:
            folder: where to keep them.
        """
        self._folder = folder
        self._parts: list[tuple[date, date, Path]] = []
        self._digest = hashlib.sha256()
        folder.mkdir()

    def add(self, baskets: pl.DataFrame) -> None:
        """Add baskets that are all of later UTC dates than those before."""
        ordered = baskets.sort("occurred_at", "transaction_id")
        days = ordered["occurred_at"].dt.date()
        first, last = days.min(), days.max()
        if not isinstance(first, date) or not isinstance(last, date):
            return
        path = self._folder / f"{len(self._parts)}.parquet"
        ordered.write_parquet(path, compression="lz4", row_group_size=50_000)
        for name in ("transaction_id", "occurred_at", "lines"):
            self._digest.update(ordered.select(name).write_ipc(None, compression="uncompressed").getbuffer())
        self._parts.append((first, last, path))

    def parts(self) -> Iterator[pl.DataFrame]:
        """Return all of them, part by part."""
        for _, _, path in self._parts:
            yield pl.read_parquet(path)

    @property
    def digest(self) -> str:
        """What tells these baskets from others."""
        return self._digest.hexdigest()

    @property
    def first_date(self) -> date:
        """The first UTC date with a basket."""
        return self._parts[0][0]

    @property
    def last_date(self) -> date:
        """The last one."""
        return self._parts[-1][1]

    def approach(self, on: date) -> Iterator[date]:
        """Return the days that have to be lived through before another: none, since none follows from the others."""
        del on
        return iter(())

    def day(self, on: date) -> DayOfBaskets:
        """Return the baskets of a UTC date."""
        found = [
            pl.scan_parquet(path).filter(pl.col("occurred_at").dt.date() == on).collect()
            for first, last, path in self._parts
            if first <= on <= last
        ]
        return DayOfBaskets(pl.concat(found) if found else pl.DataFrame(schema=BASKETS))


def import_transactions(
    request: TransactionsRequest,
    lake: Lake,
    work: Path,
    on_progress: Callable[[str], None] = lambda _: None,
    send: Callable[[BasketDays], None] | None = None,
) -> Outcome:
    """Import files of till lines, and what is given of products, stores and events.

    Args:
        request: what is asked.
        lake: where it goes.
        work: a folder with room for a few times the files, unpacked.
        on_progress: called with a line of text now and then.
        send: takes the baskets instead of the lake's raw table, once the master data are written.

    Returns:
        What was found. If more rows are rejected than is allowed, nothing was written or sent and `allowed` is false.

    Raises:
        ImportRefusedError: a file can't be read or understood, a file of products, stores or events is wrong, or
            another import wrote at the same time. Nothing was written.
    """
    refuse_overwriting(request)
    refuse_wrong_zone(request.times_in)
    with working_folder(work) as folder:
        return _Import(request, lake, folder, on_progress).run(send)


class _Import:
    """One import while it runs."""

    def __init__(
        self, request: TransactionsRequest, lake: Lake, folder: Path, on_progress: Callable[[str], None]
    ) -> None:
        self.request, self.lake, self.folder, self.on_progress = request, lake, folder, on_progress
        self.began = datetime.now(UTC)
        self.counts = BasketCounts()

    def run(self, send: Callable[[BasketDays], None] | None) -> Outcome:
        request = self.request
        masters = open_masters(request)
        opened = open_main(request, TRANSACTIONS if request.store is None else _without_stores())
        given, understood_masters = read_given(request, masters, self.folder)
        clocks = clocks_of(self.lake, given, request.place.time_zone, request.times_in)
        now = request.now or self.began
        main = []
        for file in opened:
            self.on_progress(f"reading {file.name}")
            # What is in the future is decided by the time itself: somewhere it may be tomorrow already.
            main.append(understand(file, self.folder, request.conventions, (now + _FUTURE).date()))

        outcome = Outcome([*main, *understood_masters], sum(one.file.rows for one in main), Tally(), Rejections())
        raw = BulkTransactions(self.lake)
        baskets, gone = self._sorted_out(main, outcome, clocks, raw)
        share = outcome.rejections.total / outcome.read
        outcome.allowed = share <= request.max_rejected and outcome.tally.accepted > 0
        outcome.warnings += [note for one in outcome.understood for note in one.notes]
        outcome.warnings += self._warnings(clocks)
        outcome.facts += self._facts(gone)
        if outcome.rejections.total and not request.dry_run and request.rejected_file is not None:
            write_rejected(request.rejected_file, main, outcome.rejections)
            outcome.rejected_file = request.rejected_file
        if outcome.tally.accepted:
            self._derive_and_write(outcome, given, clocks, baskets, raw, gone, send)
        return outcome

    def _sorted_out(
        self, main: list[Understanding], outcome: Outcome, clocks: Clocks, raw: BulkTransactions
    ) -> tuple[BasketDays, pl.DataFrame]:
        """Return the baskets by day, and which earlier ones they replace (`file` and `row`)."""
        buckets = max(1, math.ceil(outcome.read / BUCKET_ROWS))
        self.on_progress(f"checking {outcome.read:,} rows")
        lines = Buckets(_by_hash(buckets, _of_lines), self.folder / "lines", LINES)
        now = self.request.now or self.began
        progress = Progress(self.on_progress)
        judge = LineJudge(clocks, self.request.currency, now, self.counts, self.request.store)
        for place, one in enumerate(main):
            note_broken(one, outcome.rejections)
            for batch in checked_batches(place, one, outcome.rejections, judge):
                lines.add(batch.with_columns(pl.lit(place).alias("file")))
                progress(f"checking {one.file.name}, {row_word(one)} {batch['row'][-1]:,}")
        progress.end()
        lines.close()
        earlier = Buckets(_by_hash(buckets, _of_baskets), self.folder / "earlier", EARLIER)
        for part in raw.ids():
            earlier.add(part)
        earlier.close()

        by_day = Buckets(_days_around(main), self.folder / "by_day", dict(_DAY_COLUMNS))
        places = [f"{one.file.name} {row_word(one)}" for one in main]
        gone = [pl.DataFrame(schema=EARLIER)]
        progress = Progress(self.on_progress)
        for bucket in range(buckets):
            made = assemble(
                lines.take(bucket), outcome.rejections, outcome.tally, self.counts, places, self.request.currency
            )
            before = earlier.take(bucket)
            gone.append(before.join(made.select(base_id().alias("base")).unique(), on="base", how="semi"))
            by_day.add(made.with_columns(pl.col("occurred_at").dt.date().alias("business_date")))
            progress(f"put {outcome.tally.accepted:,} lines together to baskets")
        progress.end()
        by_day.close()
        days = BasketDays(self.folder / "baskets")
        progress = Progress(self.on_progress)
        for bucket in range(_days_around(main)["bucket"].n_unique()):
            part = by_day.take(bucket)
            if not part.is_empty():
                days.add(part.select(BASKETS.names()))
                first, last = (part["business_date"].min(), part["business_date"].max())
                assert isinstance(first, date) and isinstance(last, date)  # noqa: S101, PT018 - tells mypy
                outcome.tally.first_date = outcome.tally.first_date or first
                outcome.tally.last_date = last
                progress(f"sorted the baskets up to {last}")
        progress.end()
        return days, pl.concat(gone).select("file", "row")

    def _derive_and_write(
        self,
        outcome: Outcome,
        given: Given,
        clocks: Clocks,
        baskets: BasketDays,
        raw: BulkTransactions,
        gone: pl.DataFrame,
        send: Callable[[BasketDays], None] | None,
    ) -> None:
        self.on_progress("deriving the assortment, promotions and master data")

        def sales() -> Iterator[pl.DataFrame]:
            for part in baskets.parts():
                yield sold_by_day(part, clocks)
            for part in raw.baskets(gone):
                yield sold_by_day(part, clocks)
            yield from self.lake.imported_days(reference.OBSERVED)

        observed = outcome.observed = reference.observe(sales())
        frames = reference_frames(self.lake, self.request.place, given, sales, observed)
        new = self.counts.kinds.total()
        rows = {RAW_SALES_TRANSACTIONS.path: new} if send is None else {}
        outcome.rows_by_table = rows | {one.path: frame.height for one, frame in frames.items()}
        outcome.warnings += warnings_of(outcome, given, frames[REFERENCE_EVENTS])
        if self.request.dry_run or not outcome.allowed:
            return
        self.on_progress("writing")
        if send is None:
            raw.write(baskets.parts(), gone, self.began)
        else:
            raw.mark()
        self.lake.finish(frames)
        outcome.written = True
        if send is not None:
            send(baskets)

    def _facts(self, gone: pl.DataFrame) -> list[str]:
        counts = self.counts
        kinds = ", ".join(
            f"{counts.kinds[kind]:,} {kind}s" for kind in ("sale", "return", "void") if counts.kinds[kind]
        )
        found = [f"Baskets: {counts.kinds.total():,} ({kinds or 'none'})."]
        if counts.mixed:
            found.append(f"{counts.mixed:,} transactions both sell and take back: each became a sale and a return.")
        if counts.spread:
            found.append(f"{counts.spread:,} transactions have lines at several times: the last one counts.")
        if not gone.is_empty():
            found.append(f"{gone.height:,} baskets of earlier imports are replaced.")
        return found

    def _warnings(self, clocks: Clocks) -> list[str]:
        counts = self.counts
        found = []
        if counts.unzoned:
            where = (
                f"{clocks.all_in}, as --times-in says"
                if clocks.all_in
                else f"the time zone of their store ({_zones(clocks)}); --times-in says another"
            )
            found.append(f"{counts.unzoned:,} times name no zone and are read in {where}")
        if counts.twice:
            found.append(f"{counts.twice:,} times came twice, because clocks were put back then: the first is taken")
        if counts.again:
            found.append(
                f"{counts.again:,} lines say exactly what another line of their transaction says (product, quantity, "
                "price, time) and count as sold again: if the export repeats lines, take them out or give it line_no"
            )
        if counts.free_returns:
            found.append(
                f"{counts.free_returns:,} lines return goods at the price 0 and lower what was sold: if they are "
                "write-offs rather than returns, leave them out"
            )
        if counts.free_sales:
            found.append(f"{counts.free_sales:,} lines sell goods at the price 0 and count as sold")
        if counts.other_payments:
            names = ", ".join(name for name, _ in counts.other_payments.most_common(3))
            found.append(
                f"{counts.other_payments.total():,} lines are paid in ways that count as cash here ({names}): the "
                "platform knows cash, card, mobile and voucher"
            )
        return found


def _zones(clocks: Clocks) -> str:
    zones = sorted({clocks.otherwise, *clocks.by_store.values()})
    return ", ".join(zones[:3]) + (" …" if len(zones) > 3 else "")  # noqa: PLR2004 - enough to see


def _without_stores() -> FileKind:
    """Return the kind of a file that is of one store, so that a column of stores is neither needed nor read."""
    return replace(TRANSACTIONS, fields=tuple(field for field in TRANSACTIONS.fields if field.name != "store_id"))


def _by_hash(buckets: int, key: Callable[[pl.DataFrame], pl.Series]) -> Callable[[pl.DataFrame], pl.Series]:
    def place(rows: pl.DataFrame) -> pl.Series:
        return (key(rows).hash(_SEED) % buckets).cast(pl.Int64)

    return place


def _of_lines(rows: pl.DataFrame) -> pl.Series:
    return rows.select(transaction_base()).to_series().fill_null("")


def _of_baskets(rows: pl.DataFrame) -> pl.Series:
    return rows["base"]


def _days_around(main: Sequence[Understanding]) -> pl.DataFrame:
    """Return the bucket of each UTC date that a basket may have: local dates, and one day more on each side."""
    rows: dict[date, int] = {}
    for one in main:
        for day, count in one.rows_by_date.items():
            rows[day] = rows.get(day, 0) + count
    for day in list(rows):
        for near in (day - timedelta(days=1), day + timedelta(days=1)):
            rows.setdefault(near, 0)
    return plan_buckets(rows)
