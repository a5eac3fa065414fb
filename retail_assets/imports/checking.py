"""The rows of a file, taken apart into those that are right and those that are rejected, each with its reason.

Belongs here: surveying how a file writes its values, and the checks of a single row. Does not belong here: what only
shows beside other rows, such as a key that comes twice (`buckets`).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import polars as pl

from retail_assets.imports import dates, numbers
from retail_assets.imports.columns import Field, Kind
from retail_assets.imports.conventions import COMMA, POINT, SEPARATORS
from retail_assets.imports.dates import DateFormat
from retail_assets.imports.errors import ImportRefusedError
from retail_assets.imports.reading import ROW, SourceFile
from retail_assets.imports.times import NO_TIME, OFFSET, date_parts, read_times

_MOST_DATES: Final = 100_000
_DATED: Final = (Kind.DATE, Kind.TIME)
_EXAMPLES: Final = 3

MISSING: Final = "missing"
NO_NUMBER: Final = "no number"
NO_FLAG: Final = "neither yes nor no"
NEGATIVE: Final = "negative"
TOO_LARGE: Final = "too large"

_Convention = TypeVar("_Convention")
#: A field's name, what is wrong with it, and the rows in which it is.
Fault = tuple[str, str, pl.Series]


@dataclass(frozen=True)
class Conventions:
    """What the user says of how files of the main kind write values; None is inferred, file by file.

    Attributes:
        date_format: how dates are written.
        decimal: the sign before the decimals.
    """

    date_format: DateFormat | None = None
    decimal: str | None = None


@dataclass
class Understanding:
    """How a file is read, found out from all its rows.

    Attributes:
        file: the file.
        examples: the first different values of each field.
        date_format: how its dates are written; None if it has none.
        decimal: the sign before its decimals.
        dates: for each text of a date, without a time of day, the date, or why it is none.
        rows_by_date: rows of each date that can be read.
        notes: what the user should know of the choices.
    """

    file: SourceFile
    examples: dict[str, list[str]] = field(default_factory=dict)
    date_format: DateFormat | None = None
    decimal: str = POINT
    dates: dict[str, tuple[date | None, str | None]] = field(default_factory=dict)
    rows_by_date: Counter[date] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def read_as(self, wanted: Field) -> str:
        """Return in words how a field's values are read."""
        if wanted.kind is Kind.DATE and self.date_format is not None:
            return f"date, {self.date_format.name}"
        if wanted.kind is Kind.TIME and self.date_format is not None:
            return f"date, {self.date_format.name}, and time"
        if wanted.kind is Kind.NUMBER and self.file.is_text:
            return f"number, decimal {'comma' if self.decimal == COMMA else 'point'}"
        return wanted.kind.value


def understand(file: SourceFile, folder: Path, conventions: Conventions, today: date) -> Understanding:
    """Read a file for the first time and decide how it writes dates and numbers.

    Args:
        file: a file that was just opened.
        folder: where to keep what takes long to read again.
        conventions: what the user says.
        today: the last date that can have happened.

    Raises:
        ImportRefusedError: the file can't be read, or it is open what its dates or numbers mean.
    """
    found = Understanding(file)
    counts, signs = _survey(found, folder)
    points_group = file.separator == SEPARATORS["semicolon"]
    if any(file.kind.field(name).kind in _DATED for name in file.columns):
        infer_format = partial(dates.infer_format, counts, file.name)
        date_format, notes = _said_or_inferred(file, conventions.date_format, infer_format)
        found.notes += notes
        found.date_format = date_format
        found.dates = dates.read_dates(counts, date_format, today)
        for text, (day, _) in found.dates.items():
            if day is not None:
                found.rows_by_date[day] += counts[text]
    if COMMA in signs or (POINT in signs and points_group):
        signed = _signed_numbers(file, _written(file))
        infer_sign = partial(numbers.infer_decimal_sign, signed, file.name, points_group=points_group)
        found.decimal, notes = _said_or_inferred(file, conventions.decimal, infer_sign)
        found.notes += notes
    elif conventions.decimal is not None and file.kind.main:
        found.decimal = conventions.decimal
    found.notes += file.notes
    return found


def _survey(found: Understanding, folder: Path) -> tuple[Counter[str], set[str]]:
    """Read all rows, and return how many have each text of a date, and which of comma and point any number has."""
    file = found.file
    days = {name: kind for name in file.columns if (kind := file.kind.field(name).kind) in _DATED}
    written = _written(file)
    counts: Counter[str] = Counter()
    signs: set[str] = set()
    for batch in file.stage(folder):
        for name in file.columns:
            _note_examples(found.examples.setdefault(name, []), batch[name])
        for name, kind in days.items():
            texts = date_parts(batch[name]) if kind is Kind.TIME else batch[name].fill_null("")
            counts.update(dict(texts.value_counts().iter_rows()))
            if len(counts) > _MOST_DATES:
                mend = (
                    "it should hold a date and a time, such as 2024-05-01 08:30:00"
                    if kind is Kind.TIME
                    else "a row should be a day; sum the sales of each day first"
                )
                raise ImportRefusedError(
                    f"{file.name}: the column {file.columns[name]!r} has more than {_MOST_DATES:,} different "
                    f"{'dates' if kind is Kind.TIME else 'values'}, such as {next(iter(counts))!r}: {mend}"
                )
        texts_of_numbers = [batch[name] for name in written if batch[name].dtype == pl.String]
        for sign in {COMMA, POINT} - signs:
            if any(values.str.contains(sign, literal=True).any() for values in texts_of_numbers):
                signs.add(sign)
    return counts, signs


def _written(file: SourceFile) -> list[str]:
    return [name for name in file.columns if file.kind.field(name).kind is Kind.NUMBER]


def _said_or_inferred(
    file: SourceFile, said: _Convention | None, infer: Callable[[], tuple[_Convention, list[str]]]
) -> tuple[_Convention, list[str]]:
    """Return a convention of a file: what the user says of the sales, which other files follow only if in doubt."""
    if said is not None and file.kind.main:
        return said, []
    try:
        return infer()
    except ImportRefusedError:
        if said is None:
            raise
        return said, []


def _note_examples(examples: list[str], values: pl.Series) -> None:
    if len(examples) < _EXAMPLES:
        for value in values.head(1000).unique(maintain_order=True).drop_nulls().to_list():
            text = str(value).strip()
            if text and text not in examples and len(examples) < _EXAMPLES:
                examples.append(text)


def _signed_numbers(file: SourceFile, written: list[str]) -> set[str]:
    """Return the different numbers of a file that have a comma or a point."""
    found: set[str] = set()
    for batch in file.batches(written):
        for name in written:
            if batch[name].dtype == pl.String:
                different = batch[name].unique()
                found.update(different.filter(different.str.contains(r"[.,]")).to_list())
    return found


@dataclass
class Rejections:
    """Which rows are rejected, and why.

    Attributes:
        reasons: the reasons so far; a row notes the number of its reason.
        counts: rows by reason.
        examples: for the first rows of each reason, the file, the line and the value.
    """

    reasons: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    _rows: dict[int, list[pl.DataFrame]] = field(default_factory=dict)

    def number(self, reason: str) -> int:
        """Return the number of a reason, from 1."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason) + 1

    def add(self, file: int, rows: pl.DataFrame) -> None:
        """Note rejected rows.

        Args:
            file: the place of their file among those of the import.
            rows: `row` and `reason`, the reason's number.
        """
        self._rows.setdefault(file, []).append(
            rows.select(pl.col(ROW).cast(pl.Int64), pl.col("reason").cast(pl.UInt16))
        )
        for number, count in rows["reason"].value_counts().iter_rows():
            self.counts[self.reasons[number - 1]] += count

    def count(self, reason: str, rows: int) -> None:
        """Note rows that have no place in a batch, such as broken lines."""
        self.counts[reason] += rows

    def example(self, reason: str, text: str) -> None:
        """Note an example, unless there are enough."""
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(text)

    def of(self, file: int) -> pl.DataFrame:
        """Return the rejected rows of a file, `row` and `reason`."""
        empty = pl.DataFrame(schema={ROW: pl.Int64, "reason": pl.UInt16})
        return pl.concat([empty, *self._rows.get(file, [])])

    @property
    def total(self) -> int:
        """How many rows are rejected."""
        return self.counts.total()


def checked_batches(
    place: int,
    understanding: Understanding,
    rejections: Rejections,
    judge: Callable[[pl.DataFrame], tuple[pl.DataFrame, list[Fault]]] | None = None,
) -> Iterator[pl.DataFrame]:
    """Return the accepted rows of a file, batch by batch, and note the others.

    Args:
        place: the place of the file among those of the import.
        understanding: of the file.
        rejections: where the others are noted, each with the first of its faults.
        judge: finds faults that show in several fields of a row together, and may add columns.

    Returns:
        Frames with `row` and the lake's column of each field of the file: text, date, a time without a zone (and
        `offset_minutes`), Float64 (rounded to what the lake's column keeps) or Boolean. With a `judge` the rejected
        rows too, and `reason`: the number of the reason, 0 for accepted ones.
    """
    file = understanding.file
    fields = [file.kind.field(name) for name in file.columns]
    where = "line" if file.is_text else "row"
    lookup = _date_lookup(understanding, rejections)
    for batch in file.batches():
        columns: list[pl.Series] = [batch[ROW]]
        faults: list[Fault] = []
        reason = pl.Series("reason", [0], dtype=pl.UInt16).new_from_index(0, batch.height)
        for one in fields:
            if one.kind is Kind.TIME:
                times = read_times(batch[one.name], lookup)
                columns += [times["local"].alias(one.column), times[OFFSET]]
                reason = times["reason"]
                faults.append((one.name, NO_TIME, (reason == 0) & times["local"].is_null()))
                continue
            if one.kind is Kind.DATE:
                joined = batch.select(pl.col(one.name).fill_null("").alias("text")).join(
                    lookup, on="text", how="left", maintain_order="left"
                )
                columns.append(joined["day"].alias(one.column))
                reason = joined["reason"].rename("reason")
            else:
                values, wrong = _read(one, batch[one.name], understanding.decimal)
                columns.append(values.alias(one.column))
                faults += wrong
        checked = pl.DataFrame(columns)
        if judge is not None:
            checked, more = judge(checked)
            faults += more
        for name, fault, rows in faults:
            if rows.any():
                number = rejections.number(f"{name}: {fault}")
                reason = reason.set((reason == 0) & rows, number)
        bad = reason > 0
        if bad.any():
            _note_rejected(place, file, batch.with_columns(reason).filter(bad), rejections, where)
        yield checked.with_columns(reason) if judge is not None else checked.filter(~bad)


def _date_lookup(understanding: Understanding, rejections: Rejections) -> pl.DataFrame:
    """Return each text of a date with its date, or with the number of the reason for which its rows are rejected."""
    texts, days, reasons = [], [], []
    file = understanding.file
    name = next((name for name in file.columns if file.kind.field(name).kind in _DATED), "")
    for text, (day, reason) in understanding.dates.items():
        texts.append(text)
        days.append(day)
        if day is None:
            said = MISSING if reason is None else reason
            if said == dates.OTHER_FORMAT and understanding.date_format is not None:
                said = f"not written as {understanding.date_format.name}"
            reasons.append(rejections.number(f"{name}: {said}"))
        else:
            reasons.append(0)
    return pl.DataFrame(
        {"text": texts, "day": days, "reason": reasons},
        schema={"text": pl.String, "day": pl.Date, "reason": pl.UInt16},
    )


def _read(one: Field, raw: pl.Series, decimal: str) -> tuple[pl.Series, list[Fault]]:
    """Return a field's values, and the rows with each fault."""
    faults: list[Fault] = []
    if one.kind is Kind.NUMBER:
        values, wrong = numbers.read_numbers(raw, decimal)
        faults.append((one.name, NO_NUMBER, wrong))
        if one.places is not None:
            values = values.round(one.places)
        if one.minimum is not None:
            low = NEGATIVE if one.minimum == 0 else f"below {one.minimum:g}"
            faults.append((one.name, low, (values < one.minimum).fill_null(value=False)))
        if one.maximum is not None:
            high = TOO_LARGE if one.maximum > 1e6 else f"beyond {one.maximum:g}"  # noqa: PLR2004 - what types can hold
            beyond = values.abs() if one.minimum is None else values
            faults.append((one.name, high, (beyond > one.maximum).fill_null(value=False)))
    elif one.kind is Kind.FLAG:
        values, wrong = numbers.read_flags(raw)
        faults.append((one.name, NO_FLAG, wrong))
    else:
        values = raw.cast(pl.String).str.strip_chars()
        values = values.set(values == "", None)
    if one.required:
        absent = values.is_null()
        if absent.any():
            for _, _, wrong in faults:
                absent = absent & ~wrong
            faults.append((one.name, MISSING, absent))
    return values, faults


def _note_rejected(place: int, file: SourceFile, rows: pl.DataFrame, rejections: Rejections, where: str) -> None:
    rejections.add(place, rows)
    for number in rows["reason"].unique().to_list():
        reason = rejections.reasons[number - 1]
        if len(rejections.examples.get(reason, [])) >= _EXAMPLES:
            continue
        name = reason.partition(":")[0]
        for row in rows.filter(pl.col("reason") == number).head(_EXAMPLES).iter_rows(named=True):
            value = row.get(name)
            shown = "" if value is None or not str(value).strip() else f" {str(value)[:40]!r}"
            rejections.example(reason, f"{file.name} {where} {row[ROW]:,}{shown}")
