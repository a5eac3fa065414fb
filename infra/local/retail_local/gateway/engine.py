"""The embedded engine: connections, one statement at a time on each, results in files.

Belongs here: everything that touches chDB. Does not belong here: HTTP, and what a user may do.

Measured on chDB 4.4.0 and the reason for the design: connections of one process to one folder are cheap (0.4 ms), have
each their own settings, database and temporary tables, and run at the same time without the interpreter's lock, while
statements on one connection wait for each other. So each request gets a connection of its own and closes it: nothing
that a request sets can reach the next one.
"""

import contextlib
import json
import logging
import os
import re
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import chdb
from chdb.state import connect as connect_engine

from retail_local.gateway import errors
from retail_local.gateway.constants import CHUNK_BYTES, MAX_STATEMENT_BYTES
from retail_local.gateway.errors import GatewayError, from_engine
from retail_local.gateway.policy import Catalogue
from retail_local.gateway.statement import Statement, insert_target

_log = logging.getLogger(__name__)

# chDB's defaults that differ from a server's, or that the gateway must be able to rely on.
_BASE_SETTINGS: Final = (
    "SET implicit_select = 0, allow_introspection_functions = 0, allow_python_table_function = 0, async_insert = 0, "
    f"storage_file_read_method = 'pread', max_query_size = {2 * MAX_STATEMENT_BYTES}"
)
_SAFE_ID: Final = re.compile(r"[^A-Za-z0-9_.:-]")
_SETTING_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CANCELLED_CODE: Final = 394


@dataclass
class Outcome:
    """What a statement gave.

    Attributes:
        content: the result, or None if it is in a file.
        result_file: an open, already unlinked file with the result.
        written_rows: rows that an insertion wrote.
        written_bytes: their size in memory.
        read_rows: rows read from tables.
        read_bytes: their size in memory.
        result_rows: rows of the result.
        elapsed: seconds in the engine.
    """

    content: bytes | None = None
    result_file: BinaryIO | None = None
    written_rows: int = 0
    written_bytes: int = 0
    read_rows: int = 0
    read_bytes: int = 0
    result_rows: int = 0
    elapsed: float = 0.0

    def size(self) -> int:
        """Bytes of the result."""
        if self.result_file is None:
            return len(self.content or b"")
        return os.fstat(self.result_file.fileno()).st_size


@dataclass
class Connection:
    """One connection, with its own settings, database and temporary tables. Not for several threads at once."""

    inner: Any = field(repr=False)

    def ask(self, question: str, **values: str) -> str:
        """Return the raw text of a one-value answer.

        Raises:
            GatewayError: what the engine says.
        """
        with _translated():
            return str(self.inner.query(question, "TSVRaw", params=values).bytes().decode()).removesuffix("\n")

    def row(self, question: str, **values: str) -> list[str]:
        """Return the columns of a one-row answer, all of them texts.

        Raises:
            GatewayError: what the engine says.
        """
        with _translated():
            answer = self.inner.query(question, "JSONCompactEachRow", params=values).bytes()
        columns: list[str] = json.loads(answer)
        return columns

    def run(self, text: str) -> None:
        """Run a statement of the gateway's own.

        Raises:
            GatewayError: what the engine says.
        """
        with _translated():
            self.inner.query(text, "Null")

    def set(self, settings: Mapping[str, str]) -> None:
        """Change settings of this connection.

        Raises:
            GatewayError: a name or a value is wrong.
        """
        if not settings:
            return
        for name in settings:
            if not _SETTING_NAME.match(name):
                raise GatewayError(errors.UNKNOWN_SETTING, f"Unknown setting {name!r}")
        self.run("SET " + ", ".join(f"{name} = {_literal(value)}" for name, value in settings.items()))

    def set_parameters(self, params: Mapping[str, str]) -> None:
        """Bind query parameters to this connection; needed where the engine takes none with the statement."""
        self.set({f"param_{name}": value for name, value in params.items()})

    def use(self, database: str) -> None:
        """Change the database of unqualified names.

        Raises:
            GatewayError: there is no such database.
        """
        escaped = database.replace("\\", "\\\\").replace("`", "\\`")
        self.run(f"USE `{escaped}`")

    def close(self) -> None:
        """Give everything back."""
        self.inner.close()


class Engine:
    """The engine on one data folder, and the statements that run in it."""

    def __init__(self, data_dir: Path) -> None:
        """Open the engine; makes the folder if there is none.

        Raises:
            GatewayError: the engine can't open it.
        """
        self._path = str(data_dir)
        self._spool = data_dir / "gateway-spool"
        self._spool.mkdir(parents=True, exist_ok=True)
        for leftover in self._spool.iterdir():  # of a gateway that was killed
            leftover.unlink(missing_ok=True)
        # Holds the engine open between requests: with its last connection the engine stops, and merges with it.
        self._keeper = self.connect()
        self.version = self._keeper.ask("SELECT version()")
        self.timezone = self._keeper.ask("SELECT timezone()")
        self.catalogue = self._read_catalogue()

    def connect(self) -> Connection:
        """Open a connection with the gateway's base settings.

        Raises:
            GatewayError: the engine refuses.
        """
        with _translated():
            connection = Connection(connect_engine(self._path))
        try:
            connection.run(_BASE_SETTINGS)
        except GatewayError:
            connection.close()
            raise
        return connection

    def new_result_path(self) -> Path:
        """Return a path for a result that nobody else uses."""
        return self._spool / uuid.uuid4().hex

    def new_body_file(self) -> BinaryIO:
        """Return an unnamed file for a request body."""
        return tempfile.TemporaryFile(dir=self._spool)

    def query_to_file(
        self, connection: Connection, statement: Statement, path: Path, params: Mapping[str, str], job: "Job"
    ) -> Outcome:
        """Run a query that writes its result to `path`.

        Raises:
            GatewayError: what the engine says.
        """
        try:
            outcome = self._query(connection, statement.canonical, "Null", params, job)
            try:
                file = path.open("rb")
            except FileNotFoundError:  # a format without any output
                return outcome
            return Outcome(
                None, file, 0, 0, outcome.read_rows, outcome.read_bytes, outcome.result_rows, outcome.elapsed
            )
        finally:
            path.unlink(missing_ok=True)

    def query(
        self, connection: Connection, text: str, output_format: str, params: Mapping[str, str], job: "Job"
    ) -> Outcome:
        """Run any statement with its result in memory.

        Raises:
            GatewayError: what the engine says.
        """
        return self._query(connection, text, output_format, params, job)

    def insert(self, connection: Connection, statement: Statement, body: BinaryIO, job: "Job") -> Outcome:
        """Insert what `body` holds from its position on.

        Raises:
            GatewayError: what the engine says.
        """
        job.check()
        with _translated():
            inserter = connection.inner.send_insert(insert_target(statement), statement.format)
            try:
                while chunk := body.read(CHUNK_BYTES):
                    inserter.append(chunk)
                result = inserter.finish()
            except BaseException:
                with contextlib.suppress(RuntimeError):
                    inserter.cancel()
                raise
        return Outcome(
            b"", None, written_rows=result.rows_written, written_bytes=result.bytes_written, elapsed=result.elapsed
        )

    def cancel(self, job: "Job", *, also_writes: bool = False) -> None:
        """Stop a job: one that waits never starts, one that reads is killed.

        Args:
            job: what to stop.
            also_writes: kill a writing statement too, rather than let it go on to its end.
        """
        job.cancelled.set()
        if not (job.killable or also_writes):
            return
        connection = self.connect()
        try:
            connection.run(f"KILL QUERY WHERE startsWith(query, '{job.mark}') ASYNC")
        except GatewayError as error:
            _log.warning("a statement could not be cancelled: %s", error.text)
        finally:
            connection.close()

    def close(self) -> None:
        """Stop the engine once the last connection is closed."""
        self._keeper.close()

    def _query(
        self, connection: Connection, text: str, output_format: str, params: Mapping[str, str], job: "Job"
    ) -> Outcome:
        job.check()
        with _translated():
            result = connection.inner.query(f"{job.mark} {text}", output_format, params=dict(params))
            return Outcome(
                bytes(result.bytes()),
                None,
                written_rows=result.rows_written(),
                written_bytes=result.bytes_written(),
                read_rows=result.storage_rows_read(),
                read_bytes=result.storage_bytes_read() if hasattr(result, "storage_bytes_read") else 0,
                result_rows=result.rows_read(),
                elapsed=result.elapsed(),
            )

    def _read_catalogue(self) -> Catalogue:
        rows = self._keeper.ask(
            "SELECT lower(f.name), if(f.alias_to = '', f.categories, a.categories), "
            "lower(if(f.alias_to = '', f.name, f.alias_to)) FROM system.functions AS f LEFT JOIN system.functions AS a "
            "ON lower(a.name) = lower(f.alias_to) AND a.alias_to = '' WHERE f.origin = 'System' AND NOT f.is_aggregate"
        )
        functions = {}
        for line in rows.splitlines():
            name, category, real_name = line.split("\t")
            functions[name] = (category, real_name)
        tables = self._keeper.ask("SELECT lower(name) FROM system.table_functions").splitlines()
        return Catalogue(functions, frozenset(tables))


class Job:
    """One request's work, so that it can be stopped from outside."""

    def __init__(self, query_id: str) -> None:
        """Take the client's name of the query."""
        self.query_id = query_id
        self.cancelled = threading.Event()
        self.killable = False
        # The engine makes its own query ids; a comment is how the statement is found again.
        self.mark = f"/* query_id={_SAFE_ID.sub('_', query_id)[:128]} job={uuid.uuid4().hex} */"

    def check(self) -> None:
        """Raise if the job was stopped.

        Raises:
            GatewayError: it was.
        """
        if self.cancelled.is_set():
            raise GatewayError((_CANCELLED_CODE, "QUERY_WAS_CANCELLED"), "Query was cancelled")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except GatewayError:
        raise
    except (RuntimeError, chdb.ChdbError, UnicodeError, ValueError, TypeError) as error:
        raise from_engine(error) from error


def _literal(value: str) -> str:
    table = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}
    return "'" + "".join(table.get(char, char) for char in value) + "'"
