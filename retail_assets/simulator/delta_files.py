"""One Delta table's new rows: written as files while they are being made, committed at once at the end.

Belongs here: files, their statistics, and the one commit that puts them in place of earlier ones. Does not belong here:
which rows those are (`lake`).

delta-rs's own writer keeps a file open for every partition until the last row, in memory, so that a history takes more
memory the more days it has. Here the caller says when a group of rows is complete, and its files are closed.
"""

import contextlib
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction
from pyarrow import fs

from retail_assets.contracts.tables import BULK_PARTITION, Table
from retail_assets.contracts.types import arrow_schema
from retail_assets.delta_log import added, removed

_SOURCE: Final = "kafka_partition"
#: Columns whose least and greatest values are noted in the log: what readers of the raw tables filter by.
_NOTED: Final = (_SOURCE, "kafka_offset", "ingested_at")
#: Columns whose nulls are counted there.
_COUNTED: Final = ("rejection",)
#: Names a history's commits in the log. Two that only add rows would not be at odds for Delta, and double them.
_APPLICATION: Final = "retail-simulate-history"


class ConcurrentWriteError(Exception):
    """Somebody else wrote the same rows in the meantime; the table has theirs, and nothing of these."""


@dataclass
class _OpenFile:
    """A file that rows are still put into."""

    path: str
    partition: str | None
    writer: pq.ParquetWriter
    sink: Any
    rows: int = 0
    bounds: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    nulls: dict[str, int] = field(default_factory=dict)


class DeltaFiles:
    """The files of one table's new rows."""

    def __init__(
        self,
        root: str,
        table: Table,
        storage_options: dict[str, str] | None = None,
        application: str = _APPLICATION,
    ) -> None:
        """Create the table, if there is none yet.

        Args:
            root: the lake's, `file:///…` or `s3://…`.
            table: what is written. If it has partitions, only rows that were loaded in bulk are replaced, otherwise
                all.
            storage_options: what delta-rs needs to reach the store.
            application: under which the log counts the commits of this kind, which take turns.
        """
        self.table = table
        self._application = application
        self.rows = 0
        self._schema = arrow_schema(table.columns)
        self._uri, self._options = f"{root}/{table.path}", storage_options
        if DeltaTable.is_deltatable(self._uri, storage_options):
            self._delta = DeltaTable(self._uri, storage_options=storage_options)
        else:
            self._delta = DeltaTable.create(
                self._uri,
                self._schema,
                partition_by=table.partition_by,
                storage_options=storage_options,
                # Only housekeeping cleans the log, since it says which offsets the table holds.
                configuration={"delta.enableExpiredLogCleanup": "false"},
            )
        self._histories = self._delta.transaction_version(self._application)
        self._files = fs.PyFileSystem(DeltaStorageHandler(self._uri, storage_options))
        self._begun: set[str] = set()
        self._open: dict[str | None, _OpenFile] = {}
        self._group: int | None = None
        self._adds: list[AddAction] = []

    def add(self, rows: pa.Table, group: int) -> None:
        """Write rows. The files of the group before are closed when another one begins.

        Args:
            rows: of the table's schema.
            group: what belongs together, such as a block of days.
        """
        if rows.num_rows == 0:
            return
        if group != self._group:
            self._close_files()
            self._group = group
        self.rows += rows.num_rows
        for partition, of_partition in self._split(rows):
            file = self._open.get(partition)
            if file is None:
                file = self._open[partition] = self._new_file(partition)
            self._write(file, of_partition)

    def refuse_if_overtaken(self) -> None:
        """Look whether another history was committed since this object was made, which can be hours ago.

        Raises:
            ConcurrentWriteError: one was.
        """
        self._delta.update_incremental()
        if self._delta.transaction_version(self._application) != self._histories:
            raise ConcurrentWriteError(self._uri)

    def commit(self, replaced: Collection[str] | None = None) -> int:
        """Put the rows in place of the earlier ones, and return how many there are.

        Args:
            replaced: paths of the files in whose place they are put; by default those of all rows that were loaded in
                bulk.

        Raises:
            ConcurrentWriteError: another history was committed since this object was made, or a file that is to be
                replaced is gone.
        """
        self._close_files()
        self.refuse_if_overtaken()
        if self.table.partition_by is None:
            self._transact([*self._adds], "overwrite", Schema.from_arrow(self._schema))
            return self.rows
        self._add_missing_columns()
        removes = self._earlier() if replaced is None else self._named(replaced)
        self._transact([*self._adds, *removes], "append", self._delta.schema())
        return self.rows

    def discard(self) -> None:
        """Delete what was written and not committed; the table stays as it was.

        An interrupt may have come between any two steps: what can't be closed or deleted holds nobody else up, and what
        turns out to be committed stays.
        """
        if not self._begun:
            return
        for file in self._open.values():
            for part in (file.writer, file.sink):
                with contextlib.suppress(OSError, ValueError):  # Arrow's own errors are ValueErrors
                    part.close()
        with contextlib.suppress(DeltaError, OSError):
            self._delta.update_incremental()
            committed = pa.table(self._delta.get_add_actions(flatten=True))["path"].to_pylist()
            for path in self._begun.difference(committed):
                with contextlib.suppress(OSError):
                    self._files.delete_file(path)
        self._open, self._adds, self._begun = {}, [], set()

    def _split(self, rows: pa.Table) -> list[tuple[str | None, pa.Table]]:
        """Return the rows of each partition, without the partition's column."""
        column = self.table.partition_by
        if column is None:
            return [(None, rows)]
        values = rows[column].combine_chunks()
        rest = rows.drop_columns([column])
        # Dates change seldom from row to row, since rows come by date and store: stretches are sliced, not filtered.
        ends = pc.indices_nonzero(pc.not_equal(values[1:], values[:-1])).to_pylist() if len(values) else []
        bounds = [0, *(end + 1 for end in ends), len(values)]
        stretches: dict[str, list[pa.Table]] = {}
        for start, after in pairwise(bounds):
            if after > start:
                stretches.setdefault(str(values[start].as_py()), []).append(rest.slice(start, after - start))
        return [(partition, pa.concat_tables(parts)) for partition, parts in stretches.items()]

    def _new_file(self, partition: str | None) -> _OpenFile:
        folder = "" if partition is None else f"{self.table.partition_by}={partition}/"
        path = f"{folder}part-{uuid.uuid4()}.parquet"
        schema = self._schema
        if self.table.partition_by is not None:
            schema = schema.remove(schema.get_field_index(self.table.partition_by))
        self._begun.add(path)  # before it is there, so that an interrupt right behind leaves none
        sink = self._files.open_output_stream(path)
        return _OpenFile(path, partition, pq.ParquetWriter(sink, schema, compression="snappy"), sink)

    def _write(self, file: _OpenFile, rows: pa.Table) -> None:
        file.writer.write_table(rows)
        file.rows += rows.num_rows
        for name in _NOTED:
            if name in rows.column_names and rows.num_rows:
                found = pc.min_max(rows[name]).as_py()
                low, high = file.bounds.get(name, (found["min"], found["max"]))
                file.bounds[name] = (min(low, found["min"]), max(high, found["max"]))
        for name in _COUNTED:
            if name in rows.column_names:
                file.nulls[name] = file.nulls.get(name, 0) + rows[name].null_count

    def _close_files(self) -> None:
        for file in list(self._open.values()):
            file.writer.close()
            file.sink.close()
            size = self._files.get_file_info(file.path).size
            partition = None if file.partition is None else {str(self.table.partition_by): file.partition}
            self._adds.append(added(file.path, size, file.rows, partition, file.bounds, file.nulls))
            del self._open[file.partition]

    def _transact(self, actions: "list[AddAction | RemoveAction]", mode: str, schema: Schema) -> None:
        partition_by = None if self.table.partition_by is None else [self.table.partition_by]
        mark = Transaction(self._application, (self._histories or 0) + 1)
        try:
            self._delta.create_write_transaction(
                actions, mode, schema, partition_by, commit_properties=CommitProperties(app_transactions=[mark])
            )
        except CommitFailedError:
            raise ConcurrentWriteError(self._uri) from None
        self._adds, self._begun = [], set()

    def _add_missing_columns(self) -> None:
        """Give a table of an earlier release the optional fields that the contract has got since."""
        known = {stored.name for stored in self._delta.schema().fields}
        missing = [wanted for wanted in Schema.from_arrow(self._schema).fields if wanted.name not in known]
        if missing:
            self._delta.alter.add_columns(missing)

    def _earlier(self) -> list[RemoveAction]:
        """Return what takes away earlier bulk rows. Rows from Kafka in the same file get a file of their own."""
        removes = []
        actions = pa.table(self._delta.get_add_actions(flatten=True)).to_pylist()
        for action in actions:
            # The bulk rows' partition is below all others.
            least = action.get(f"min.{_SOURCE}")
            if least is not None and least > BULK_PARTITION:
                continue
            day = str(action[f"partition.{self.table.partition_by}"])
            if action.get(f"max.{_SOURCE}") != BULK_PARTITION and not self._keep_others(action["path"], day):
                continue
            removes.append(self._removed(action, day))
        return removes

    def _named(self, paths: Collection[str]) -> list[RemoveAction]:
        actions = {action["path"]: action for action in pa.table(self._delta.get_add_actions(flatten=True)).to_pylist()}
        if not actions.keys() >= set(paths):
            raise ConcurrentWriteError(self._uri)
        column = str(self.table.partition_by)
        return [self._removed(actions[path], str(actions[path][f"partition.{column}"])) for path in paths]

    def _removed(self, action: Mapping[str, Any], day: str) -> RemoveAction:
        return removed(action["path"], action["size_bytes"], {str(self.table.partition_by): day})

    def _keep_others(self, path: str, partition: str) -> bool:
        """Copy a file's rows from Kafka into a new one; return whether it has any bulk rows, and so must go."""
        rows = pq.read_table(path, filesystem=self._files, partitioning=None)
        others = rows.filter(pc.greater(rows[_SOURCE], BULK_PARTITION))
        if others.num_rows == rows.num_rows:
            return False
        if others.num_rows:
            target = self._new_file(partition)
            columns = [
                others[wanted.name].cast(wanted.type)
                if wanted.name in others.column_names
                else pa.nulls(others.num_rows, wanted.type)
                for wanted in target.writer.schema
            ]
            self._open[partition] = target
            self._write(target, pa.Table.from_arrays(columns, schema=target.writer.schema))
            self._close_files()
        return True
