"""The imported sales in the lake: which files an import touches, and the one commit that puts new ones in their place.

Belongs here: Delta's log and files. Does not belong here: which rows they hold (`buckets`).

Files are uploaded first and are nothing to anybody until the commit names them. A kill at any time leaves the table of
before or the new one, and at worst files that no version names.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlparse

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, create_table_with_add_actions
from pyarrow import fs

from retail_assets.contracts.tables import RAW_IMPORTED_SALES, RAW_SALES_TRANSACTIONS, REFERENCE_STORES, Table
from retail_assets.contracts.types import arrow_schema, polars_schema
from retail_assets.delta_log import added, removed
from retail_assets.imports.buckets import STORED_SCHEMA, SettledFile
from retail_assets.imports.errors import ImportRefusedError

_BATCH_ROWS: Final = 200_000
_BUFFER_BYTES: Final = 4 << 20
_BLOCK_BYTES: Final = 1 << 20
_PARTITION: Final = str(RAW_IMPORTED_SALES.partition_by)
_DATE: Final = "business_date"
#: Under which name the log of the raw transactions counts imports; a history that was simulated has another.
IMPORT_APPLICATION: Final = "retail-import-transactions"


class Reached(Enum):
    """How far an import has come with its lake."""

    NOTHING = "nothing"
    UNCLEAR = "a commit of the history that may be done"
    HISTORY = "the history"
    ALL = "the history and the tables that follow from it"


@dataclass(frozen=True)
class StoredFile:
    """One file of the table as it is.

    Attributes:
        path: below the table's folder.
        month: its partition.
        rows: how many rows it has.
        size: in bytes.
        first_date: the least business date in it.
        last_date: the greatest one.
    """

    path: str
    month: date
    rows: int
    size: int
    first_date: date
    last_date: date


class Lake:
    """The lake that an import goes to.

    Attributes:
        reached: what of the import is in it by now.
    """

    def __init__(
        self,
        uri: str,
        storage_options: dict[str, str] | None = None,
        undivided: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Open the lake.

        Args:
            uri: `file:///…`, `s3://…` or `s3a://…`, without the layer.
            storage_options: what delta-rs and Polars need to reach the store.
            undivided: surrounds the one commit of a history, so that an interrupt waits for its end and it is known
                whether it's done.

        Raises:
            ImportRefusedError: a file is where its folder should be, or it holds another retailer.
        """
        # Spark says s3a for what all others call s3.
        root = uri.rstrip("/").replace("s3a://", "s3://", 1)
        self.root = unquote(urlparse(root).path) if root.startswith("file://") else root
        self.storage_options = storage_options or None
        self.reached = Reached.NOTHING
        self._undivided = undivided
        self._refuse_file()
        self._sales = self._open(RAW_IMPORTED_SALES)
        self._version = None if self._sales is None else self._sales.version()
        self._refuse_other_retailer()

    def stored_files(self) -> list[StoredFile]:
        """Return the files of the imported sales as they are."""
        if self._sales is None:
            return []
        found = []
        for action in pa.table(self._sales.get_add_actions(flatten=True)).to_pylist():
            month = date.fromisoformat(str(action[f"partition.{_PARTITION}"]))
            first = action.get(f"min.{_DATE}") or month
            last = action.get(f"max.{_DATE}") or date(month.year + month.month // 12, month.month % 12 + 1, 1)
            found.append(StoredFile(action["path"], month, action["num_records"], action["size_bytes"], first, last))
        return found

    def rows_by_date(self, files: Sequence[StoredFile]) -> Counter[date]:
        """Return how many rows of each business date lie in some of the table's files."""
        counts: Counter[date] = Counter()
        for batch in self.rows(files, [_DATE]):
            for day, count in batch[_DATE].value_counts().iter_rows():
                counts[day] += count
        return counts

    def rows(self, files: Sequence[StoredFile], columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
        """Return the rows of some of the table's files, without the partition's column, batch by batch."""
        wanted = columns or STORED_SCHEMA.names
        schema = polars_schema(tuple(RAW_IMPORTED_SALES.column(name) for name in wanted))
        for file in files:
            with pq.ParquetFile(self._files(RAW_IMPORTED_SALES).open_input_file(file.path)) as parquet:
                # A file of an earlier release may lack an optional column.
                there = [name for name in wanted if name in parquet.schema_arrow.names]
                for part in parquet.iter_batches(_BATCH_ROWS, columns=there):
                    frame = pl.DataFrame(pa.table(part))
                    lacking = [pl.lit(None, schema[name]).alias(name) for name in wanted if name not in there]
                    yield frame.with_columns(lacking).select(wanted).cast(schema)

    def future_rows(
        self, settled: Sequence[SettledFile], kept: Sequence[StoredFile], columns: Sequence[str]
    ) -> Iterator[pl.DataFrame]:
        """Return the table as it will be, part by part: new files, which lie here still, and files that stay."""
        for file in settled:
            yield pl.read_parquet(file.path, columns=list(columns))
        yield from self.rows(kept, list(columns))

    def imported_days(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Return the imported daily sales as they are, part by part."""
        yield from self.rows(self.stored_files(), list(columns))

    def read(self, table: Table) -> pl.DataFrame:
        """Return a small table, empty where it was never written."""
        delta = self._open(table)
        schema = polars_schema(table.columns)
        if delta is None:
            return pl.DataFrame(schema=schema)
        return pl.DataFrame(pa.table(delta.to_pyarrow_table(columns=schema.names()))).cast(schema)

    def exists(self, table: Table) -> bool:
        """Say whether a table was ever written."""
        return self._open(table) is not None

    def commit_sales(
        self, settled: Sequence[SettledFile], replaced: Sequence[StoredFile], note: dict[str, Any]
    ) -> None:
        """Put new files in the place of earlier ones, in one commit.

        Args:
            settled: the new files.
            replaced: the files whose rows are in the new ones, or gone.
            note: what the log says of the commit.

        Raises:
            ImportRefusedError: somebody else wrote to the table since it was opened.
        """
        handler = self._files(RAW_IMPORTED_SALES)
        uploaded: list[str] = []
        try:
            adds = [self._upload(file, handler, uploaded) for file in settled]
            with self.committing():
                self._commit(adds, replaced, {key: str(value) for key, value in note.items()})
        except BaseException:
            # An interrupt may come right behind the commit, which needs the files.
            if self.reached is Reached.NOTHING:
                for path in uploaded:
                    _forget(handler, path)
            raise

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Surround the one commit of a history, and note whether it's done."""
        self.reached = Reached.UNCLEAR
        with self._undivided():
            try:
                yield
            except Exception:
                self.reached = Reached.NOTHING
                raise
            self.reached = Reached.HISTORY

    def finish(self, frames: Mapping[Table, pl.DataFrame]) -> None:
        """Replace the tables that follow from the history, each in one commit."""
        for table, frame in frames.items():
            self.overwrite(table, frame)
        self.reached = Reached.ALL

    def overwrite(self, table: Table, frame: pl.DataFrame) -> None:
        """Replace a small table, in one commit."""
        schema = arrow_schema(table.columns)
        rows = frame.select(table.column_names).cast(polars_schema(table.columns)).sort(table.grain)
        write_deltalake(
            f"{self.root}/{table.path}",
            rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema),
            mode="overwrite",
            schema_mode="overwrite",
            storage_options=self.storage_options,
        )

    def _commit(self, adds: list[AddAction], replaced: Sequence[StoredFile], note: dict[str, str]) -> None:
        uri = f"{self.root}/{RAW_IMPORTED_SALES.path}"
        schema = Schema.from_arrow(arrow_schema(RAW_IMPORTED_SALES.columns))
        if self._sales is None:
            if self._open(RAW_IMPORTED_SALES) is not None:
                raise _overtaken()
            create_table_with_add_actions(
                uri,
                schema,
                adds,
                mode="error",
                partition_by=[_PARTITION],
                storage_options=self.storage_options,
                commit_properties=CommitProperties(custom_metadata=note),
            )
            return
        self._sales.update_incremental()
        if self._sales.version() != self._version:
            raise _overtaken()
        removes = [removed(file.path, file.size, {_PARTITION: file.month.isoformat()}) for file in replaced]
        try:
            self._sales.create_write_transaction(
                [*adds, *removes],
                "append",
                self._sales.schema(),
                [_PARTITION],
                # Without retries: what was read may not be what lies there once another commit came first.
                commit_properties=CommitProperties(custom_metadata=note, max_commit_retries=0),
            )
        except DeltaError:
            self._sales.update_incremental()
            if self._sales.version() != self._version:
                raise _overtaken() from None
            raise

    def _upload(self, file: SettledFile, handler: fs.FileSystem, uploaded: list[str]) -> AddAction:
        path = f"{_PARTITION}={file.month.isoformat()}/part-{uuid.uuid4()}.parquet"
        uploaded.append(path)
        # delta-rs takes bytes alone, which only a buffer in between makes of the blocks, all smaller than itself.
        with file.path.open("rb") as source, handler.open_output_stream(path, buffer_size=_BUFFER_BYTES) as target:
            while block := source.read(_BLOCK_BYTES):
                target.write(block)
        return added(
            path,
            file.path.stat().st_size,
            file.rows,
            {_PARTITION: file.month.isoformat()},
            {_DATE: (file.first_date, file.last_date)},
        )

    def _files(self, table: Table) -> fs.FileSystem:
        if "://" not in self.root:
            # delta-rs opens no folder that isn't there; an object store has none.
            Path(self.root, table.path).mkdir(parents=True, exist_ok=True)
        return fs.PyFileSystem(DeltaStorageHandler(f"{self.root}/{table.path}", self.storage_options))

    def _open(self, table: Table) -> DeltaTable | None:
        uri = f"{self.root}/{table.path}"
        if not DeltaTable.is_deltatable(uri, self.storage_options):
            return None
        return DeltaTable(uri, storage_options=self.storage_options)

    def _has_transactions(self) -> bool:
        delta = self._open(RAW_SALES_TRANSACTIONS)
        return delta is not None and delta.transaction_version(IMPORT_APPLICATION) is not None

    def _refuse_file(self) -> None:
        """Refuse a lake whose folder is a file, or below one, before anything is read."""
        if "://" in self.root:
            return
        path = Path(self.root)
        there = next((one for one in (path, *path.parents) if one.exists()), path)
        if there.is_file():
            raise ImportRefusedError(
                f"the lake {self.root} can't be a folder, since {there} is a file: --lake names another"
            )

    def _refuse_other_retailer(self) -> None:
        """Refuse a lake whose stores came from elsewhere, such as the demo's: the import would mix two retailers."""
        # Sales are committed first, so an import that was killed halfway is not taken for another retailer.
        if self._sales is None and self.exists(REFERENCE_STORES) and not self._has_transactions():
            raise ImportRefusedError(
                f"the lake {self.root} holds another retailer (it has stores, but nothing imported): "
                "give this one a name of its own with --tenant NAME, or another place with --lake"
            )


def _forget(handler: fs.FileSystem, path: str) -> None:
    try:
        handler.delete_file(path)
    except OSError:
        return  # it was never there, or can't be reached: a file that no version names harms nobody


def _overtaken() -> ImportRefusedError:
    return ImportRefusedError(
        "another import wrote to the lake meanwhile: nothing of this one was written; run it again"
    )
