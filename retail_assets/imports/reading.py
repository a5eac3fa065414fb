"""Files as batches of rows: CSV, with what it is separated by and encoded in found out, and Parquet.

Belongs here: formats of files, and everything that makes a whole file unreadable. Does not belong here: what a value
means (`dates`, `numbers`).

A CSV file is read once, as text, into a Parquet file of its own, since dates and numbers can only be judged by all
rows: reading columns back takes a fraction of parsing lines again. A Parquet file is read where it lies.
"""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from retail_assets.imports.columns import FileKind, match_columns
from retail_assets.imports.conventions import SEPARATORS
from retail_assets.imports.errors import ImportRefusedError

#: The column of a batch that says where in the file a row is: the line of a CSV file, the row of a Parquet file.
ROW: Final = "row"

_BLOCK_BYTES: Final = 8 << 20
_BATCH_ROWS: Final = 200_000
_SAMPLE_BYTES: Final = 1 << 20
_SAMPLE_LINES: Final = 200
#: More lines with a wrong number of fields than this are a wrong separator, not wrong lines.
_MOST_BROKEN_LINES: Final = 10_000
_GZIP: Final = b"\x1f\x8b"
_PARQUET: Final = b"PAR1"
_NOT_TABLES: Final = {
    b"PK\x03\x04": "an Excel workbook or a zip archive: save or unpack it as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save it as CSV",
    b"%PDF": "a PDF document",
    b"BZh": "packed with bzip2: unpack it, or pack it with gzip",
    b"\xfd7zX": "packed with xz: unpack it, or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "packed with zstd: unpack it, or pack it with gzip",
}
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class CsvOptions:
    """What the user says of CSV files; None is found out.

    Attributes:
        separator: the character between two fields.
        encoding: how text is stored, by Python's name of it; UTF-8 where nothing else is said.
    """

    separator: str | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class BrokenLine:
    """A line of a CSV file that has another number of fields than the header.

    Attributes:
        line: its number; the header is line 1.
        fields: how many it has.
        text: the line itself.
    """

    line: int
    fields: int
    text: str


@dataclass
class SourceFile:
    """One file of an import.

    Attributes:
        path: where it lies.
        kind: what it is taken for.
        columns: the file's column by field.
        ignored: columns of the file that mean nothing here.
        form: how it is stored, in words.
        separator: what stands between the fields of a CSV file; None for Parquet.
        rows: how many rows it has, broken lines among them; known after `stage`.
        broken: lines that can't be taken apart.
        notes: what the user should know of it.
    """

    path: Path
    kind: FileKind
    columns: dict[str, str]
    ignored: list[str]
    form: str
    _open: Callable[["SourceFile"], Iterator[pl.DataFrame]]
    rows: int = 0
    broken: list[BrokenLine] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    separator: str | None = None
    _staged: Path | None = None

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.name

    @property
    def is_text(self) -> bool:
        """Whether it has lines rather than rows."""
        return not self.form.startswith("Parquet")

    def stage(self, folder: Path) -> Iterator[pl.DataFrame]:
        """Read the file for the first time, and keep what takes long to read again.

        Args:
            folder: where to keep it.

        Returns:
            Batches with `row` and a column per field that the file has; those of a CSV file are text.

        Raises:
            ImportRefusedError: the file is cut, damaged or in another encoding, or has no rows.
        """
        rows = 0
        if not self.is_text:
            for batch in self._open(self):
                rows += batch.height
                yield batch
        else:
            target = folder / f"{len(list(folder.glob('*.rows')))}.rows"
            with _text_writer(target, self.columns) as writer:
                for batch in self._open(self):
                    writer.write_table(batch.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(writer.schema))
                    rows += batch.height
                    yield batch
            self._staged = target
        self.rows = rows + len(self.broken)
        if not self.rows:
            raise ImportRefusedError(f"{self.name} has column names, but no rows")

    def batches(self, only: list[str] | None = None) -> Iterator[pl.DataFrame]:
        """Return the rows again, after `stage`.

        Args:
            only: the fields that are wanted, all by default.
        """
        if self._staged is None:
            for batch in self._open(self):
                yield batch if only is None else batch.select(ROW, *only)
            return
        with pq.ParquetFile(self._staged) as file:
            for part in file.iter_batches(_BATCH_ROWS, columns=None if only is None else [ROW, *only]):
                yield pl.DataFrame(pa.table(part))


def open_file(path: Path, kind: FileKind, mapping: Mapping[str, str], options: CsvOptions) -> SourceFile:
    """Open a CSV file (also packed with gzip) or a Parquet file, whatever its name ends in.

    Raises:
        ImportRefusedError: there is no such file, it is empty or no table, or lacks a column that is needed.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
            size = path.stat().st_size
    except OSError as error:
        raise ImportRefusedError(f"{path} can't be read: {error.strerror}") from None
    if not size:
        raise ImportRefusedError(f"{path.name} is empty (0 bytes): export it again")
    for mark, what in _NOT_TABLES.items():
        if start.startswith(mark):
            raise ImportRefusedError(f"{path.name} is neither CSV nor Parquet, but {what}")
    if start == _PARQUET:
        return _open_parquet(path, kind, mapping)
    return _open_csv(path, kind, mapping, options, packed=start.startswith(_GZIP))


def _open_parquet(path: Path, kind: FileKind, mapping: Mapping[str, str]) -> SourceFile:
    try:
        with pq.ParquetFile(path) as file:
            header, rows = list(file.schema_arrow.names), file.metadata.num_rows
            types = {one.name: one.type for one in file.schema_arrow}
    except (pa.ArrowException, OSError, UnicodeError):
        raise ImportRefusedError(
            f"{path.name} begins as Parquet but has no end that fits: it is cut or damaged; copy or export it again"
        ) from None
    columns = match_columns(kind, header, mapping, path.name)
    for name, column in columns.items():
        if pa.types.is_nested(types[column]) or pa.types.is_binary(types[column]):
            raise ImportRefusedError(f"{path.name}: the column {column!r} ({name}) holds {types[column]}, not values")
    if not rows:
        raise ImportRefusedError(f"{path.name} has columns, but no rows")

    def read(_: SourceFile) -> Iterator[pl.DataFrame]:
        before = 0
        try:
            with pq.ParquetFile(path) as file:
                for part in file.iter_batches(_BATCH_ROWS, columns=list(dict.fromkeys(columns.values()))):
                    frame = pl.DataFrame(pa.table(part))
                    yield _plain(
                        frame.select(pl.col(column).alias(name) for name, column in columns.items())
                    ).with_columns(pl.int_range(before + 1, before + 1 + frame.height, dtype=pl.Int64).alias(ROW))
                    before += frame.height
        except (pa.ArrowException, OSError, UnicodeError) as error:
            raise ImportRefusedError(
                f"{path.name} can't be read after row {before:,} ({_first_line(error)}): export it again"
            ) from None

    return SourceFile(path, kind, columns, _ignored(header, columns), "Parquet", read)


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a Parquet file's rows with dates and names as text, as a CSV file would have them; numbers stay."""
    return frame.with_columns(
        pl.col(name).cast(pl.Int64).cast(pl.String)
        if dtype.is_float() and name.endswith("_id") and _whole(frame[name])
        else pl.col(name).cast(pl.String)
        for name, dtype in frame.schema.items()
        if (not dtype.is_numeric() and dtype not in {pl.Boolean, pl.String})
        or (dtype.is_numeric() and (name.endswith("_id") or name in {"date", "occurred_at"}))
    )


def _whole(values: pl.Series) -> bool:
    """Say whether all numbers are whole: pandas makes floats of ids of which one is missing."""
    return bool((values.drop_nulls().drop_nans() % 1 == 0).all()) and not values.is_nan().any()


def _open_csv(
    path: Path, kind: FileKind, mapping: Mapping[str, str], options: CsvOptions, *, packed: bool
) -> SourceFile:
    sample = _sample(path, packed=packed)
    if b"\x00" in sample and not sample.startswith(_UTF16_MARKS):
        raise ImportRefusedError(f"{path.name} is no text: export it as CSV or Parquet")
    encoding = options.encoding or ("utf-16" if sample.startswith(_UTF16_MARKS) else "utf-8-sig")
    lines = re.split(r"\r\n|\r|\n", _decoded(sample, encoding, path.name))
    filled = [line for line in lines[:_SAMPLE_LINES] if line.strip()]
    if not filled:
        raise ImportRefusedError(f"{path.name} is empty: it holds nothing but blank lines")
    separator = options.separator or _separator(filled)
    header = [name.strip() for name in next(csv.reader([filled[0]], delimiter=separator))]
    columns = match_columns(kind, header, mapping, path.name)
    word = next((word for word, sign in SEPARATORS.items() if sign == separator), repr(separator))
    shown = "UTF-8" if encoding == "utf-8-sig" else encoding
    form = f"CSV, {word} between fields, {shown}{', gzip' if packed else ''}"

    def read(source: SourceFile) -> Iterator[pl.DataFrame]:
        yield from _csv_batches(source, header, separator, encoding, skip=lines.index(filled[0]), packed=packed)

    source = SourceFile(path, kind, columns, _ignored(header, columns), form, read, separator=separator)
    if not packed and not _ends_with_line_break(path):
        source.notes.append(f"{path.name} doesn't end with a line break: if it was cut, its last row may be wrong")
    return source


def _csv_batches(
    source: SourceFile, header: list[str], separator: str, encoding: str, *, skip: int, packed: bool
) -> Iterator[pl.DataFrame]:
    name = source.name
    broken: list[BrokenLine] = []

    def note(row: Any) -> str:
        # Arrow calls this while it parses; an error raised here would end the process' parsing without a trace.
        if len(broken) <= _MOST_BROKEN_LINES:
            broken.append(BrokenLine(int(row.number), int(row.actual_columns), str(row.text)))
        return "skip"

    # Numbers instead of names: columns that nobody asked for may have the same name, or none.
    names = [f"f{index}" for index in range(len(header))]
    fields = {of: names[header.index(column)] for of, column in source.columns.items()}
    numbers = _LineNumbers(first=skip + 2)
    last = 0
    with _explained(name, encoding, packed=packed), path_stream(source.path, packed=packed) as stream:
        reader = pa_csv.open_csv(
            stream,
            read_options=pa_csv.ReadOptions(
                # One thread, since only then Arrow tells the numbers of broken lines.
                use_threads=False,
                block_size=_BLOCK_BYTES,
                column_names=names,
                skip_rows=skip + 1,
                encoding="utf8" if encoding == "utf-8-sig" else encoding,
            ),
            parse_options=pa_csv.ParseOptions(delimiter=separator, invalid_row_handler=note, ignore_empty_lines=False),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(dict.fromkeys(fields.values())),
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
            ),
        )
        for part in reader:
            frame = pl.DataFrame(pa.table(part)).select(pl.col(at).alias(of) for of, at in fields.items())
            rows = numbers.take(frame.height, broken)
            last = int(rows[-1]) if frame.height else last
            _refuse_wrong_shape(broken, header, name)
            # A blank line is a row without a single value; it isn't worth a word.
            yield frame.with_columns(pl.Series(ROW, rows)).filter(pl.any_horizontal(pl.col(of) != "" for of in fields))
    broken[:] = [line for line in broken if line.text.strip()]
    _refuse_wrong_shape(broken, header, name)
    if broken and broken[-1].line > last and broken[-1].fields < len(header):
        raise ImportRefusedError(
            f"{name} ends in the middle of line {broken[-1].line:,} ({broken[-1].fields} of {len(header)} fields): it "
            "seems to be cut; copy or export it again"
        )
    source.broken = broken


@contextmanager
def _explained(name: str, encoding: str, *, packed: bool) -> Iterator[None]:
    """Turn what Arrow says of a file that it can't read into the import's own error."""
    try:
        yield
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return
        if "UTF8" in str(error):
            raise ImportRefusedError(_other_encoding(name, encoding)) from None
        if "straddling" in str(error) or "out of sync" in str(error):
            raise ImportRefusedError(
                f"{name}: a quotation mark is never closed, or a line is endless: the file is cut or damaged"
            ) from None
        raise ImportRefusedError(f"{name} can't be read as CSV: {_first_line(error)}") from None
    except UnicodeError:
        raise ImportRefusedError(_other_encoding(name, encoding)) from None
    except (OSError, EOFError, zlib.error) as error:
        if packed:
            raise ImportRefusedError(
                f"{name} ends in the middle of its packed data: it is cut or damaged; copy or export it again"
            ) from None
        raise ImportRefusedError(f"{name} can't be read: {_first_line(error)}") from None


def _refuse_wrong_shape(broken: list[BrokenLine], header: list[str], name: str) -> None:
    """Refuse a file whose lines don't fit its header as a whole."""
    for line in broken:
        if "\n" in line.text.strip():
            raise ImportRefusedError(
                f"{name}: a quotation mark in line {line.line:,} is never closed: the file is cut or damaged"
            )
    if len(broken) > _MOST_BROKEN_LINES:
        first = broken[0]
        raise ImportRefusedError(
            f"{name}: more than {_MOST_BROKEN_LINES:,} lines don't have the {len(header)} fields of the first line "
            f"(line {first.line:,} has {first.fields}): is a decimal comma taken for a separator? "
            "--separator says which it is"
        )


class _LineNumbers:
    """The line numbers of the rows that a reader gives, where it leaves out broken lines."""

    def __init__(self, first: int) -> None:
        self._next = first

    def take(self, count: int, broken: list[BrokenLine]) -> npt.NDArray[np.int64]:
        """Return the numbers of the next `count` rows."""
        ahead = np.array([line.line for line in broken if line.line >= self._next], dtype=np.int64)
        candidates = np.arange(self._next, self._next + count + len(ahead), dtype=np.int64)
        numbers = candidates if not len(ahead) else np.setdiff1d(candidates, ahead, assume_unique=True)
        taken = numbers[:count]
        if count:
            self._next = int(taken[-1]) + 1
        return taken


def path_stream(path: Path, *, packed: bool) -> Any:
    """Open a file for Arrow, unpacking it on the way."""
    return pa.input_stream(str(path), compression="gzip" if packed else None)


def _text_writer(target: Path, columns: Mapping[str, str]) -> pq.ParquetWriter:
    schema = pa.schema([*(pa.field(name, pa.large_string()) for name in columns), pa.field(ROW, pa.int64())])
    return pq.ParquetWriter(target, schema, compression="lz4")


def _sample(path: Path, *, packed: bool) -> bytes:
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as stream:
            return bytes(stream.read(_SAMPLE_BYTES))
    except (OSError, EOFError, zlib.error):
        raise ImportRefusedError(
            f"{path.name} ends in the middle of its packed data: it is cut or damaged; copy or export it again"
        ) from None


def _decoded(sample: bytes, encoding: str, name: str) -> str:
    try:
        # Not final: the sample may end within a character.
        return codecs.getincrementaldecoder(encoding)().decode(sample)
    except LookupError:
        raise ImportRefusedError(f"--encoding {encoding} is unknown: try utf-8, cp1252 or latin-1") from None
    except UnicodeError:
        raise ImportRefusedError(_other_encoding(name, encoding)) from None


def _other_encoding(name: str, encoding: str) -> str:
    said = "UTF-8" if encoding in {"utf-8-sig", "utf8", "utf-8"} else encoding
    return f"{name} isn't {said}: say what it is, such as --encoding cp1252 for Windows or latin-1, or save it as UTF-8"


def _separator(lines: list[str]) -> str:
    """Return what the fields are separated by: the sign that takes the lines apart into most equal rows."""

    def fit(sign: str) -> tuple[float, int]:
        counts = [len(row) for row in csv.reader(lines, delimiter=sign)]
        if counts[0] == 1:
            return (0.0, 1)
        return (sum(count == counts[0] for count in counts) / len(counts), counts[0])

    return max(SEPARATORS.values(), key=fit)


def _ends_with_line_break(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, io.SEEK_END)
        return stream.read(1) in {b"\n", b"\r", b"\x00"}


def _ignored(header: list[str], columns: Mapping[str, str]) -> list[str]:
    used = set(columns.values())
    return [name for name in header if name not in used]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
