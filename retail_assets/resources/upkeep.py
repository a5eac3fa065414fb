"""Keeping one table of the lake in order: what may go, what should be put together, and doing it beside running jobs.

Belongs here: Delta's files, log and old rows. Does not belong here: which tables there are and how long their rows are
kept (`assets.housekeeping`), and what a log has to know (`progress`, `coverage`).

Nothing here stops a job. Files are deleted only a week after nobody names them any more, which is longer than any run
may last. Only days that are over are put together. A commit that another one came before is given up, to be tried again
the next time.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from deltalake.fs import DeltaStorageHandler
from pyarrow import fs

from retail_assets.contracts.tables import (
    CORE_INVENTORY_DAILY,
    CORE_SALES_LINES,
    RAW_TABLES,
    Table,
)
from retail_assets.resources.coverage import carry_coverage
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.progress import carry_progress

#: How long a file stays that nobody names: longer than a run may last (`max_runtime_seconds` in dagster.yaml), and than
#: an import or a history takes.
REMOVABLE_AFTER: Final = timedelta(days=7)
#: A commit that says what a table holds is said again when it is so old; logs are kept for a month.
CARRY_AFTER: Final = timedelta(days=7)
LOG_KEPT: Final = timedelta(days=30)
#: Days that events may still be appended to are left alone.
_HOT_DAYS: Final = 2
_TARGET_BYTES: Final = 128 << 20
#: A file of at least this size is not worth being written again.
_LARGE_BYTES: Final = _TARGET_BYTES // 2
_DAY_COLUMNS: Final = ("event_date", "business_date", "run_date")
_COVERED: Final = (CORE_SALES_LINES, CORE_INVENTORY_DAILY)


@dataclass
class Figures:
    """A table at one moment.

    Attributes:
        rows: in the table.
        files: that the table consists of.
        bytes: in these files.
        log_files: commits and checkpoints.
    """

    rows: int
    files: int
    bytes: int
    log_files: int


@dataclass
class TableUpkeep:
    """What there is to do at a table, and what was done.

    Attributes:
        table: its path below the lake's root.
        before: as it was found.
        after: as it was left; the same in a dry run.
        small_files: that are to be put together, or were.
        expired_rows: rows older than they are kept.
        removable: files that nobody names any more, and nobody can be reading.
        removable_bytes: in them.
        old_log_files: commits older than a log is kept; they go as soon as a checkpoint stands for them.
        notes: what was left to the next time, and why.
    """

    table: str
    before: Figures
    after: Figures
    small_files: int = 0
    expired_rows: int = 0
    removable: int = 0
    removable_bytes: int = 0
    old_log_files: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Keep:
    """How long rows of a table are kept.

    Attributes:
        days: 0 for ever.
        refused_days: rows of a raw table that the contract refused; 0 as long as the others.
    """

    days: int = 0
    refused_days: int = 0


class TableKeeper:
    """Looks after one table."""

    def __init__(self, lake: LakeResource, table: Table, keep: Keep, now: datetime, *, is_busy: bool = False) -> None:
        """Say which table.

        Args:
            lake: where it lies.
            table: its contract.
            keep: how long its rows are kept.
            now: the time, UTC.
            is_busy: whether other runs are working: then tables that runs write anew are left as they are.
        """
        self._lake, self._table, self._keep, self._now = lake, table, keep, now
        self._uri, self._options = lake.local_path(table.path), lake.storage_options
        self._rewritten = table not in RAW_TABLES
        self._is_busy = is_busy

    def look(self) -> TableUpkeep | None:
        """Return what there is to do; None where the table was never written."""
        delta = self._lake.delta(self._table)
        if delta is None:
            return None
        actions = _actions(delta)
        figures = self._figures(actions)
        removable = self._removable(delta)
        return TableUpkeep(
            self._table.path,
            figures,
            figures,
            small_files=sum(files for _, files in self._scattered(actions)),
            expired_rows=self._expired_rows(delta, actions),
            removable=len(removable),
            removable_bytes=sum(info.size or 0 for info in self._infos(removable)),
            old_log_files=len(self._old_log_files(delta)),
        )

    def clean(self) -> TableUpkeep | None:
        """Do it, and return what there was to do; None where the table was never written."""
        found = self.look()
        delta = self._lake.delta(self._table)
        if found is None or delta is None:
            return found
        steps: list[tuple[str, Callable[[DeltaTable], None]]] = [
            ("old commits stay", self._clean_log),
            ("old rows stay", self._expire),
            ("small files stay", self._compact),
            ("files that nobody names stay", self._vacuum),
        ]
        for what, step in steps:
            if self._is_busy and self._rewritten and step in (self._expire, self._compact):
                if found.expired_rows or found.small_files:
                    found.notes.append(f"{what}, because other runs are working: the next time")
                continue
            try:
                delta.update_incremental()
                step(delta)
            except CommitFailedError:
                # Somebody else's commit came first, and theirs counts.
                found.notes.append(f"{what}, because another write came in between: the next time")
        self._remove_empty_folders()
        delta = self._lake.delta(self._table)
        if delta is not None:
            found.after = self._figures(_actions(delta))
        return found

    def _clean_log(self, delta: DeltaTable) -> None:
        """Say again what a cleaned log would forget, then clean it, as far as a checkpoint stands for what goes."""
        before = self._now - CARRY_AFTER
        if self._table in RAW_TABLES:
            carry_progress(delta, before)
        elif self._table in _COVERED:
            days = {date.fromisoformat(str(day)) for day in _actions(delta)["day"].drop_nulls()}
            carry_coverage(delta, days, before)
        if self._old_log_files(delta):
            delta.update_incremental()
            delta.create_checkpoint()
            delta.cleanup_metadata()

    def _expire(self, delta: DeltaTable) -> None:
        for predicate in self._expired():
            delta.delete(predicate)

    def _compact(self, delta: DeltaTable) -> None:
        days = [day for day, _ in self._scattered(_actions(delta))]
        if days:
            delta.optimize.compact(
                partition_filters=[(str(self._table.partition_by), "in", days)], target_size=_TARGET_BYTES
            )

    def _vacuum(self, delta: DeltaTable) -> None:
        if self._removable(delta):
            delta.vacuum(retention_hours=_hours(REMOVABLE_AFTER), dry_run=False, full=True)

    def _removable(self, delta: DeltaTable) -> list[str]:
        """Return the files that no version of the last week names, orphans of killed writes among them."""
        return delta.vacuum(retention_hours=_hours(REMOVABLE_AFTER), dry_run=True, full=True)

    def _scattered(self, actions: pl.DataFrame) -> list[tuple[str, int]]:
        """Return the days whose small files should be one, and how many each has."""
        if self._table.partition_by not in _DAY_COLUMNS or actions.is_empty():
            return []
        hot = str((self._now - timedelta(days=_HOT_DAYS)).date())
        small = actions.filter((pl.col("bytes") < _LARGE_BYTES) & (pl.col("day") < hot))
        several = small.group_by("day").agg(pl.len().alias("files")).filter(pl.col("files") > 1).sort("day")
        return [(str(day), int(files)) for day, files in several.iter_rows()]

    def _expired(self) -> list[str]:
        """Return what is true of the rows that are older than they are kept."""
        column = self._table.partition_by
        found = []
        if self._keep.days and column in _DAY_COLUMNS:
            found.append(f"{column} < '{self._cut(self._keep.days)}'")
        if self._keep.refused_days and self._table in RAW_TABLES:
            found.append(f"rejection IS NOT NULL AND {column} < '{self._cut(self._keep.refused_days)}'")
        return found

    def _expired_rows(self, delta: DeltaTable, actions: pl.DataFrame) -> int:
        rows = 0
        cut = ""
        if self._keep.days and self._table.partition_by in _DAY_COLUMNS and not actions.is_empty():
            cut = self._cut(self._keep.days)
            rows = int(actions.filter(pl.col("day") < cut)["rows"].sum())
        if self._keep.refused_days and self._table in RAW_TABLES:
            day = pl.col(str(self._table.partition_by)).cast(pl.String)
            refused = pl.scan_delta(delta).filter(
                pl.col("rejection").is_not_null(), day < self._cut(self._keep.refused_days), day >= cut
            )
            rows += int(refused.select(pl.len()).collect().item())
        return rows

    def _cut(self, days: int) -> str:
        return str((self._now - timedelta(days=days)).date())

    def _figures(self, actions: pl.DataFrame) -> Figures:
        return Figures(int(actions["rows"].sum()), actions.height, int(actions["bytes"].sum()), len(self._log_files()))

    def _files(self) -> fs.FileSystem:
        return fs.PyFileSystem(DeltaStorageHandler(self._uri, self._options or None))

    def _infos(self, paths: list[str]) -> list[Any]:
        return list(self._files().get_file_info(paths)) if paths else []

    def _log_files(self) -> list[Any]:
        found = self._files().get_file_info(fs.FileSelector("_delta_log", allow_not_found=True))
        return [info for info in found if info.type == fs.FileType.File]

    def _old_log_files(self, delta: DeltaTable) -> list[str]:
        before = self._now - LOG_KEPT
        return [
            info.base_name
            for info in self._log_files()
            if info.extension == "json"
            and info.base_name[:20].isdigit()
            and int(info.base_name[:20]) < delta.version()
            and info.mtime is not None
            and info.mtime < before
        ]

    def _remove_empty_folders(self) -> None:
        """Remove days' folders without a file; an object store has no folders."""
        if "://" in self._uri:
            return
        before = time.time() - REMOVABLE_AFTER.total_seconds()
        for folder in sorted(Path(self._uri).rglob("*"), reverse=True):
            if folder.is_dir() and "_delta_log" not in folder.parts and folder.stat().st_mtime < before:
                with contextlib.suppress(OSError):  # it isn't empty
                    folder.rmdir()


def _actions(delta: DeltaTable) -> pl.DataFrame:
    """Return path, bytes, rows and day (the partition, as text; null without) of each file of a table."""
    found = pl.DataFrame(delta.get_add_actions(flatten=True))
    columns = delta.metadata().partition_columns
    day = pl.col(f"partition.{columns[0]}").cast(pl.String) if columns else pl.lit(None, pl.String)
    if found.is_empty():
        return pl.DataFrame(schema={"path": pl.String, "bytes": pl.Int64, "rows": pl.Int64, "day": pl.String})
    return found.select(
        "path", pl.col("size_bytes").alias("bytes"), pl.col("num_records").alias("rows"), day.alias("day")
    )


def _hours(span: timedelta) -> int:
    return int(span.total_seconds() // 3_600)


def totals(found: list[TableUpkeep]) -> Mapping[str, int]:
    """Return the sums over tables, by what Dagster shows them under."""
    return {
        "rows_before": sum(one.before.rows for one in found),
        "rows_after": sum(one.after.rows for one in found),
        "files_before": sum(one.before.files for one in found),
        "files_after": sum(one.after.files for one in found),
        "bytes_before": sum(one.before.bytes for one in found),
        "bytes_after": sum(one.after.bytes for one in found),
        "small_files": sum(one.small_files for one in found),
        "expired_rows": sum(one.expired_rows for one in found),
        "removable_files": sum(one.removable for one in found),
        "removable_bytes": sum(one.removable_bytes for one in found),
        "old_log_files": sum(one.old_log_files for one in found),
    }
