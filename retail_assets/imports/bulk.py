"""The raw table of the sales transactions, as an import sees it: what earlier imports put there, and one commit of new.

Belongs here: Delta's log and files of `raw/sales_transactions`. Does not belong here: what baskets are (`baskets`).

Rows that came through Kafka are never touched. A transaction that is imported again takes the place of the earlier
one, wherever that lies, whatever its time was then; all others stay.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler
from pyarrow import fs

from retail_assets.contracts.tables import BULK_PARTITION, RAW_SALES_TRANSACTIONS
from retail_assets.contracts.topics import SALES_TRANSACTIONS
from retail_assets.contracts.types import arrow_schema, polars_schema
from retail_assets.imports.baskets import BASKETS, base_id
from retail_assets.imports.errors import ImportRefusedError
from retail_assets.imports.writing import IMPORT_APPLICATION, Lake
from retail_assets.simulator.bulk_rows import to_arrow, with_envelope
from retail_assets.simulator.delta_files import ConcurrentWriteError, DeltaFiles

_BATCH_ROWS = 50_000
_PARTITION = str(RAW_SALES_TRANSACTIONS.partition_by)
#: Which earlier row a basket is: `file` and `row` count from 0.
EARLIER = pl.Schema({"file": pl.UInt32(), "row": pl.Int64(), "base": pl.String()})
_NONE = pl.DataFrame(schema=EARLIER)


@dataclass(frozen=True)
class _RawFile:
    """A file of the table that may hold bulk rows.

    Attributes:
        path: below the table's folder.
        day: its partition.
        last_offset: the greatest offset in it; None where the log doesn't say.
    """

    path: str
    day: date
    last_offset: int | None


class BulkTransactions:
    """The table as it is when an import begins."""

    def __init__(self, lake: Lake) -> None:
        """Open the table, if there is one."""
        self._lake = lake
        self._uri = f"{lake.root}/{RAW_SALES_TRANSACTIONS.path}"
        there = DeltaTable.is_deltatable(self._uri, lake.storage_options)
        self._files: list[_RawFile] = []
        if there:
            delta = DeltaTable(self._uri, storage_options=lake.storage_options)
            for action in pa.table(delta.get_add_actions(flatten=True)).to_pylist():
                # The bulk rows' partition is below all others.
                least = action.get("min.kafka_partition")
                if least is None or least == BULK_PARTITION:
                    day = date.fromisoformat(str(action[f"partition.{_PARTITION}"]))
                    self._files.append(_RawFile(action["path"], day, action.get("max.kafka_offset")))

    def ids(self) -> Iterator[pl.DataFrame]:
        """Return which transactions earlier imports put where (`EARLIER`), part by part."""
        for number, file in enumerate(self._files):
            before = 0
            for part in self._batches(file, ["kafka_partition", "transaction_id"]):
                yield (
                    part.with_row_index("row", before)
                    .filter(pl.col("kafka_partition") == BULK_PARTITION)
                    .select(pl.lit(number).alias("file"), "row", base_id().alias("base"))
                    .cast(EARLIER)
                )
                before += part.height

    def baskets(self, replaced: pl.DataFrame = _NONE) -> Iterator[pl.DataFrame]:
        """Return the baskets (`BASKETS`) that stay, part by part.

        Args:
            replaced: `file` and `row` of those that don't; none by default.
        """
        gone = _by_file(replaced)
        for number, file in enumerate(self._files):
            before = 0
            for part in self._batches(file, ["kafka_partition", *BASKETS.names()]):
                kept = _without(part, before, gone.get(number))
                before += part.height
                found = kept.filter(pl.col("kafka_partition") == BULK_PARTITION).select(BASKETS.names())
                if not found.is_empty():
                    yield found

    def write(self, baskets: Iterable[pl.DataFrame], replaced: pl.DataFrame, now: datetime) -> int:
        """Put baskets in the place of earlier ones, in one commit, and return how many rows were written for them.

        Args:
            baskets: `BASKETS`, in parts sorted by time, of which no two share a UTC date.
            replaced: `file` and `row` of the earlier baskets that go.
            now: when they reach the lake.

        Raises:
            ImportRefusedError: another import wrote at the same time; nothing of this one is in the table.
        """
        gone = _by_file(replaced)
        target = DeltaFiles(self._lake.root, RAW_SALES_TRANSACTIONS, self._lake.storage_options, IMPORT_APPLICATION)
        offset = 1 + max((file.last_offset or 0 for file in self._files), default=-1)
        written = 0
        schema = arrow_schema(RAW_SALES_TRANSACTIONS.columns)
        try:
            # One date after another, so that one file is open at a time.
            for part in baskets:
                rows = with_envelope(part, SALES_TRANSACTIONS, offset + written, now)
                for (day,), of_day in rows.partition_by("event_date", as_dict=True, maintain_order=True).items():
                    assert isinstance(day, date)  # noqa: S101 - tells mypy
                    target.add(to_arrow(of_day, schema), day.toordinal())
                written += part.height
            for number in sorted(gone):
                file, before = self._files[number], 0
                for part in self._batches(file, None):
                    kept = _without(part, before, gone[number]).with_columns(pl.lit(file.day).alias(_PARTITION))
                    before += part.height
                    target.add(to_arrow(kept.select(schema.names), schema), -number - 1)
            with self._lake.committing():
                target.commit(replaced=[self._files[number].path for number in sorted(gone)])
        except ConcurrentWriteError:
            target.discard()
            raise ImportRefusedError(
                "another import wrote to the lake meanwhile, or its files were put together anew: nothing of this one "
                "was written; run it again"
            ) from None
        except BaseException:
            target.discard()
            raise
        return written

    def mark(self) -> None:
        """Note in the table that its retailer imports, without a row: the baskets themselves come through Kafka."""
        target = DeltaFiles(self._lake.root, RAW_SALES_TRANSACTIONS, self._lake.storage_options, IMPORT_APPLICATION)
        target.commit(replaced=[])

    def _batches(self, file: _RawFile, columns: list[str] | None) -> Iterator[pl.DataFrame]:
        """Return a file's rows in the contract's types, without the partition's column, batch by batch."""
        all_columns = tuple(c for c in RAW_SALES_TRANSACTIONS.columns if c.name != _PARTITION)
        schema = polars_schema(tuple(c for c in all_columns if columns is None or c.name in columns))
        store = fs.PyFileSystem(DeltaStorageHandler(self._uri, self._lake.storage_options))
        with pq.ParquetFile(store.open_input_file(file.path)) as parquet:
            there = [name for name in schema.names() if name in parquet.schema_arrow.names]
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=there):
                frame = pl.DataFrame(pa.table(batch))
                lacking = [pl.lit(None, schema[name]).alias(name) for name in schema.names() if name not in there]
                yield frame.with_columns(lacking).select(schema.names()).cast(schema)


def _by_file(replaced: pl.DataFrame) -> dict[int, pl.Series]:
    parts = replaced.partition_by("file", as_dict=True)
    return {int(number): part["row"] for (number,), part in parts.items()}


def _without(part: pl.DataFrame, before: int, gone: pl.Series | None) -> pl.DataFrame:
    if gone is None:
        return part
    rows = part.with_row_index("row_of_file", before).with_columns(pl.col("row_of_file").cast(pl.Int64))
    return rows.join(gone.rename("row_of_file").to_frame(), on="row_of_file", how="anti", maintain_order="left").drop(
        "row_of_file"
    )
