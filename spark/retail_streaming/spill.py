"""Rows that wait on this machine's disk while the warehouse is away, so that the queries can go on.

One file for the rows of one batch and table, as they would have been inserted: with their version. So they can be
inserted later, in any order and more than once. A file is there whole or not at all, and goes when the warehouse has
acknowledged its rows. Belongs here: the files, their bound, and inserting them. Does not belong here: deciding when the
warehouse has been away for long enough (`writer`).
"""

import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

import pyarrow as pa

from retail_streaming.errors import StreamingError, TransientError
from retail_streaming.logs import log

_NAME: Final = re.compile(r"(?P<table>\w+)-(?P<version>\d{20})\.arrow")
_FILES: Final = "*/*.arrow"
_UNFINISHED: Final = ".tmp"
_CORRUPT: Final = ".corrupt"
_MEGABYTE: Final = 1024 * 1024
#: Files of one table are inserted together up to this size: the engine would rather have few large inserts.
_INSERT_BYTES: Final = 16 * _MEGABYTE

Insert = Callable[[str, pa.Table], None]


@dataclass(frozen=True, order=True)
class _File:
    table: str
    version: int
    path: Path


class Spill:
    """The folder of waiting files. Used by all queries at once."""

    def __init__(self, folder: Path, max_mb: int) -> None:
        """Take up the files that earlier runs have left.

        Args:
            folder: has a folder for each query; made when it is needed.
            max_mb: how much may wait, in megabytes; 0: nothing is ever spilled.
        """
        self._folder = folder
        self._max_bytes = max_mb * _MEGABYTE
        self._lock = Lock()
        self._active = False
        self._full = False
        self._refused: set[_File] = set()
        self._sizes: dict[_File, int] = {}
        for leftover in folder.glob(f"*/*{_UNFINISHED}"):
            # Its batch did not end, so it is computed again.
            leftover.unlink()
            log(logging.INFO, "unfinished spill file removed", file=str(leftover))
        for path in folder.glob(_FILES):
            if match := _NAME.fullmatch(path.name):
                self._sizes[_File(match["table"], int(match["version"]), path)] = path.stat().st_size
        if self._sizes:
            log(logging.WARNING, "spilled rows of an earlier run wait", files=self.files, bytes=self.bytes)

    @property
    def active(self) -> bool:
        """Whether the warehouse was away when it was last asked, and rows go to the disk at once."""
        return self._active

    @property
    def files(self) -> int:
        """How many files wait."""
        return len(self._sizes)

    @property
    def bytes(self) -> int:
        """How large they are together."""
        with self._lock:
            return sum(self._sizes.values())

    def waits_for(self, query: str) -> bool:
        """Return whether rows of a query wait that the warehouse hasn't refused."""
        with self._lock:
            return any(file.path.parent.name == query for file in self._sizes.keys() - self._refused)

    def holds(self, query: str) -> bool:
        """Return whether rows of a query wait, also those that the warehouse refuses."""
        with self._lock:
            return any(file.path.parent.name == query for file in self._sizes)

    def newest_version(self) -> int:
        """Return the highest version that waits; 0 for none."""
        with self._lock:
            return max((file.version for file in self._sizes), default=0)

    def save(self, query: str, table: str, version: int, rows: pa.Table) -> bool:
        """Write rows to the disk; when this returns true, they survive a crash.

        Args:
            query: whose rows.
            table: where they belong.
            version: of their batch. With the table it names the file: a batch that is written again replaces itself.
            rows: as they will be inserted.

        Returns:
            Whether they were written; not when the bound is reached or the disk doesn't take them.
        """
        if not self._max_bytes:
            return False
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, rows.schema) as stream:
            stream.write_table(rows)
        content = sink.getvalue()
        file = _File(table, version, self._folder / query / f"{table}-{version:020d}.arrow")
        with self._lock:
            others = sum(size for other, size in self._sizes.items() if other != file)
            if others + content.size > self._max_bytes:
                return self._refuse("RETAIL_STREAM_SPILL_MAX_MB is reached")
            try:
                _write_durably(file.path, content)
            except OSError as error:
                return self._refuse(f"{self._folder} can't be written: {error.strerror}")
            self._sizes[file] = content.size
            self._full = False
            if not self._active:
                self._active = True
                log(logging.WARNING, "spilling begins", folder=str(self._folder))
        return True

    def drain(self, insert: Insert) -> None:
        """Insert what waits, as long as the warehouse takes it, and delete what it has acknowledged.

        Args:
            insert: inserts rows into a table; when it returns, the table has them.

        Raises:
            TransientError: the warehouse is away. What is not inserted waits on.
            StreamingError: it refuses some of it, which waits on as well; the rest is inserted.
        """
        inserted = 0
        refusal: StreamingError | None = None
        for files, rows in self._together():
            try:
                insert(files[0].table, rows)
            except TransientError:
                raise
            except StreamingError as error:
                self._note_refused(files, error)
                refusal = error
            else:
                self._forget(files, delete=True)
                inserted += len(files)
            self._answered()
        if inserted:
            log(logging.INFO, "spilled rows written", files=inserted, files_left=self.files)
        if refusal is not None:
            raise refusal
        if not self._sizes:
            self._answered()

    def _together(self) -> Iterator[tuple[list[_File], pa.Table]]:
        """Read the files; yield those together that can be inserted at once, with their rows."""
        with self._lock:
            waiting = sorted(self._sizes.items())
        files: list[_File] = []
        parts: list[pa.Table] = []
        together = 0
        for file, size in waiting:
            rows = self._read(file)
            if rows is None:
                continue
            fits = together + size <= _INSERT_BYTES
            if files and not (fits and files[0].table == file.table and parts[0].schema == rows.schema):
                yield files, pa.concat_tables(parts)
                files, parts, together = [], [], 0
            files.append(file)
            parts.append(rows)
            together += size
        if files:
            yield files, pa.concat_tables(parts)

    def _read(self, file: _File) -> pa.Table | None:
        """Return a file's rows; none where there are none to be had, which is said once."""
        lost = "its rows are missing in the table until their keys change again; a fresh checkpoint brings them back"
        try:
            content = file.path.read_bytes()
        except FileNotFoundError:
            log(logging.ERROR, "spill file is gone", file=str(file.path), what_to_do=lost)
            self._forget([file])
            return None
        try:
            rows = pa.ipc.open_file(content).read_all()
            rows.validate(full=True)
        except (pa.ArrowInvalid, OSError) as error:
            aside = file.path.with_name(file.path.name + _CORRUPT)
            file.path.rename(aside)
            self._forget([file])
            log(logging.ERROR, "spill file is corrupt", file=str(aside), error=str(error), what_to_do=lost)
            return None
        return rows

    def _note_refused(self, files: list[_File], error: StreamingError) -> None:
        """Say once that the warehouse refuses files; they stay, and are tried again."""
        if not self._refused.issuperset(files):
            self._refused.update(files)
            log(logging.ERROR, "spilled rows refused", files=[str(file.path) for file in files], error=str(error))

    def _answered(self) -> None:
        with self._lock:
            if self._active:
                self._active = False
                log(logging.INFO, "spilling ends", files_left=len(self._sizes))

    def _forget(self, files: list[_File], *, delete: bool = False) -> None:
        # A batch that is written again meanwhile has the same name and the same rows, so nothing is lost with it.
        with self._lock:
            for file in files:
                if delete:
                    file.path.unlink(missing_ok=True)
                self._sizes.pop(file, None)
        self._refused.difference_update(files)

    def _refuse(self, reason: str) -> bool:
        """Say once that nothing more is spilled."""
        if not self._full:
            self._full = True
            log(logging.WARNING, "spill is full: queries wait for the warehouse", reason=reason, files=self.files)
        return False


def _write_durably(path: Path, content: pa.Buffer) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_suffix(_UNFINISHED)
    try:
        with unfinished.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    # The new name, too, has to be on the disk before the batch may end.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
