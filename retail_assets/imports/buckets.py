"""Accepted rows, sorted out a few days at a time: repeated, contradicting and replaced ones.

Belongs here: everything about a row that only shows beside the rows of the same day, of all files and of the lake. Does
not belong here: checks of a single row (`checking`), and what is done with the result (`writing`).

A bucket is a stretch of days within one month that holds no more rows than memory should; a month in the lake is one
or more buckets. Rows of the same key have the same date, so they meet in one bucket.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from retail_assets.contracts.tables import RAW_IMPORTED_SALES
from retail_assets.contracts.types import arrow_schema, polars_schema
from retail_assets.imports.checking import Rejections
from retail_assets.imports.reading import ROW

#: Rows that are sorted at once. Twice as many take twice the memory and are no faster.
BUCKET_ROWS: Final = 400_000
_ROW_GROUP: Final = 200_000

CONTRADICTION: Final = "same store, product and date as another row, with other values"

_KEY: Final = ("store_id", "product_id", "business_date")
_VALUES: Final = ("units", "unit_price", "revenue", "on_promotion", "on_hand", "stockout_hours")
_PARTITION: Final = str(RAW_IMPORTED_SALES.partition_by)
_FILE: Final = "file"
_BUCKET: Final = "bucket"

#: The lake's rows without the partition's column, which is in the name of their folder.
STORED_SCHEMA: Final = arrow_schema(tuple(c for c in RAW_IMPORTED_SALES.columns if c.name != _PARTITION))
_STAGED_SCHEMA: Final = {
    _FILE: pl.UInt16(),
    ROW: pl.Int64(),
    "store_id": pl.String(),
    "product_id": pl.String(),
    "business_date": pl.Date(),
    "units": pl.Float64(),
    "unit_price": pl.Float64(),
    "revenue": pl.Float64(),
    "on_promotion": pl.Boolean(),
    "on_hand": pl.Float64(),
    "stockout_hours": pl.Float64(),
}


@dataclass(frozen=True)
class SettledFile:
    """The rows of one bucket, as they will be in the lake.

    Attributes:
        path: a Parquet file of `STORED_SCHEMA`, sorted by store, product and date.
        month: the partition that it belongs to.
        rows: how many rows it has.
        first_date: the least business date in it.
        last_date: the greatest one.
    """

    path: Path
    month: date
    rows: int
    first_date: date
    last_date: date


@dataclass
class Tally:
    """What became of the accepted rows.

    Attributes:
        accepted: rows that go into the lake.
        repeated: rows that say the same as another one; they count once.
        replaced: of the accepted, those whose key is in the lake already.
        repeated_examples: the first repeated rows.
        stores: the stores of the accepted rows.
        products: the products of the accepted rows.
        first_date: the least date of the accepted rows.
        last_date: the greatest one.
        without: accepted rows by column in which they have no value.
    """

    accepted: int = 0
    repeated: int = 0
    replaced: int = 0
    repeated_examples: list[str] = field(default_factory=list)
    stores: set[str] = field(default_factory=set)
    products: set[str] = field(default_factory=set)
    first_date: date | None = None
    last_date: date | None = None
    without: Counter[str] = field(default_factory=Counter)


def plan_buckets(rows_by_date: Mapping[date, int], most_rows: int = BUCKET_ROWS) -> pl.DataFrame:
    """Return the bucket of each date: `business_date`, `bucket`.

    Args:
        rows_by_date: how many rows each date has.
        most_rows: that one bucket should have. A day is never divided.
    """
    bucket, rows, month = -1, 0, None
    placed = []
    for day in sorted(rows_by_date):
        if month != (day.year, day.month) or rows + rows_by_date[day] > most_rows:
            bucket, rows, month = bucket + 1, 0, (day.year, day.month)
        rows += rows_by_date[day]
        placed.append((day, bucket))
    return pl.DataFrame(placed, schema={"business_date": pl.Date, _BUCKET: pl.Int32}, orient="row")


class Buckets:
    """Rows on the disk, by their bucket."""

    def __init__(
        self,
        place: pl.DataFrame | Callable[[pl.DataFrame], pl.Series],
        folder: Path,
        schema: Mapping[str, pl.DataType] | None = None,
    ) -> None:
        """Prepare empty buckets.

        Args:
            place: which row belongs where: of `plan_buckets`, or what gives each row's bucket.
            folder: where to keep the rows.
            schema: of the rows; of imported ones by default.
        """
        self._place = _by_date(place) if isinstance(place, pl.DataFrame) else place
        self._folder = folder
        self._schema = dict(schema or _STAGED_SCHEMA)
        self._writers: dict[int, Any] = {}
        folder.mkdir()

    def add(self, rows: pl.DataFrame) -> None:
        """Put rows away, each into its bucket; a column that they lack is null."""
        lacking = [pl.lit(None, dtype).alias(name) for name, dtype in self._schema.items() if name not in rows.columns]
        complete = rows.with_columns(lacking).select(pl.col(name).cast(dtype) for name, dtype in self._schema.items())
        placed = complete.with_columns(self._place(complete).alias(_BUCKET))
        for (bucket,), part in placed.partition_by(
            _BUCKET, as_dict=True, include_key=False, maintain_order=True
        ).items():
            table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
            if bucket not in self._writers:
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self._writers[bucket] = pa.ipc.new_stream(
                    str(self._folder / str(bucket)), table.schema, options=options
                )
            self._writers[bucket].write_table(table)

    def close(self) -> None:
        """Close the files; nothing can be added any more."""
        for writer in self._writers.values():
            writer.close()

    def take(self, bucket: int) -> pl.DataFrame:
        """Return the rows of one bucket, and forget them."""
        path = self._folder / str(bucket)
        if not path.exists():
            return pl.DataFrame(schema=self._schema)
        with pa.ipc.open_stream(str(path)) as reader:
            frame = pl.DataFrame(reader.read_all(), schema_overrides=self._schema)
        path.unlink()
        return frame


def _by_date(plan: pl.DataFrame) -> Callable[[pl.DataFrame], pl.Series]:
    def place(rows: pl.DataFrame) -> pl.Series:
        return rows.select("business_date").join(plan, on="business_date", how="left", maintain_order="left")[_BUCKET]

    return place


def settle(
    plan: pl.DataFrame,
    imported: Buckets,
    earlier: Buckets,
    rejections: Rejections,
    tally: Tally,
    files: Sequence[str],
    places: Sequence[str],
    imported_at: datetime,
    folder: Path,
    on_bucket: Callable[[date], None],
) -> Iterator[SettledFile]:
    """Settle bucket after bucket: repeated rows count once, contradicting ones are rejected, earlier ones replaced.

    Args:
        plan: of `plan_buckets`.
        imported: the checked rows.
        earlier: the lake's rows of the same days, in the lake's types.
        rejections: where contradicting rows are noted.
        tally: where everything else is counted.
        files: names of the import's files.
        places: how a row of each file is called, such as `sales.csv line`.
        imported_at: when this import began.
        folder: where the result is written.
        on_bucket: called with the last date of each bucket.
    """
    names = pl.DataFrame(
        {_FILE: range(len(files)), "source_file": list(files)}, schema={_FILE: pl.UInt16, "source_file": pl.String}
    )
    for (bucket,), days in plan.partition_by(_BUCKET, as_dict=True, maintain_order=True).items():
        rows = imported.take(int(bucket)).sort(*_KEY)
        rows = _without_duplicates(rows, rejections, tally, places)
        _count(rows, tally)
        new = rows.join(names, on=_FILE, how="left", maintain_order="left").with_columns(
            pl.lit(imported_at).alias("imported_at")
        )
        schema = polars_schema(tuple(RAW_IMPORTED_SALES.column(name) for name in STORED_SCHEMA.names))
        new = new.select(schema.names()).cast(schema)
        before = earlier.take(int(bucket))
        if not before.is_empty():
            kept = before.join(new, on=_KEY, how="anti")
            tally.replaced += before.height - kept.height
            new = pl.concat([kept.select(schema.names()).cast(schema), new]).sort(*_KEY)
        on_bucket(days["business_date"][-1])
        if not new.is_empty():
            path = folder / f"settled-{bucket}.parquet"
            table = new.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(STORED_SCHEMA)
            pq.write_table(table, path, row_group_size=_ROW_GROUP, compression="snappy")
            dates = new["business_date"]
            first, last = dates.min(), dates.max()
            assert isinstance(first, date) and isinstance(last, date)  # noqa: S101, PT018 - tells mypy
            yield SettledFile(path, first.replace(day=1), new.height, first, last)


def _without_duplicates(
    rows: pl.DataFrame, rejections: Rejections, tally: Tally, places: Sequence[str]
) -> pl.DataFrame:
    """Return sorted rows with each key once: the same said twice counts once, contradicting rows don't count."""
    if rows.height < 2:  # noqa: PLR2004 - one row has no other
        return rows
    same = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in reversed(_KEY)).fill_null(value=False)
    marked = rows.with_columns(same.alias("same"))
    if not marked["same"].any():
        return rows
    in_group = marked["same"] | marked["same"].shift(-1).fill_null(value=False)
    groups = (
        rows.filter(in_group)
        .sort(*_KEY, _FILE, ROW)
        .with_columns(pl.struct(_VALUES).rle_id().alias("values"))
        .with_columns(
            (pl.col("values").n_unique().over(_KEY) > 1).alias("contradicting"),
            pl.int_range(pl.len()).over(_KEY).alias("place"),
        )
    )
    contradicting = groups.filter("contradicting")
    if not contradicting.is_empty():
        number = rejections.number(CONTRADICTION)
        for (file,), part in contradicting.partition_by(_FILE, as_dict=True).items():
            rejections.add(int(file), part.select(ROW, pl.lit(number).alias("reason")))
        for row in contradicting.head(3).iter_rows(named=True):
            rejections.example(CONTRADICTION, f"{places[row[_FILE]]} {row[ROW]:,} ({_named(row)})")
    repeated = groups.filter(~pl.col("contradicting") & (pl.col("place") > 0))
    tally.repeated += repeated.height
    for row in repeated.head(3 - len(tally.repeated_examples)).iter_rows(named=True):
        tally.repeated_examples.append(f"{places[row[_FILE]]} {row[ROW]:,} ({_named(row)})")
    first = groups.filter(~pl.col("contradicting") & (pl.col("place") == 0)).select(rows.columns)
    return pl.concat([rows.filter(~in_group), first]).sort(*_KEY)


def _named(row: Mapping[str, Any]) -> str:
    return f"store {row['store_id']}, product {row['product_id']}, {row['business_date']}"


def _count(rows: pl.DataFrame, tally: Tally) -> None:
    if rows.is_empty():
        return
    tally.accepted += rows.height
    tally.stores.update(rows["store_id"].unique().to_list())
    tally.products.update(rows["product_id"].unique().to_list())
    dates = [day for day in (rows["business_date"].min(), tally.first_date) if isinstance(day, date)]
    tally.first_date = min(dates)
    dates = [day for day in (rows["business_date"].max(), tally.last_date) if isinstance(day, date)]
    tally.last_date = max(dates)
    for name in _VALUES:
        tally.without[name] += rows[name].null_count()
