"""The warehouse's real-time tables: connecting, versions, and writing the rows that a batch changed.

A write may be repeated as often as need be: a row's key comes from the data, its version from the batch, and the engine
keeps the highest. Does not belong here: the tables' DDL (`infra/clickhouse/ddl`).
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error, OperationalError

from retail_assets.contracts.warehouse_errors import clickhouse_code, failed_on_the_way
from retail_streaming.errors import StreamingError, TransientError, first_line
from retail_streaming.settings import StreamingSettings

#: The engine's errors that pass by themselves, by code.
TRANSIENT_CODES: Final[dict[int, str]] = {
    159: "TIMEOUT_EXCEEDED",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    225: "NO_ZOOKEEPER",
    236: "ABORTED",
    241: "MEMORY_LIMIT_EXCEEDED",
    242: "TABLE_IS_READ_ONLY",
    243: "NOT_ENOUGH_SPACE",
    252: "TOO_MANY_PARTS",
    319: "UNKNOWN_STATUS_OF_INSERT",
    999: "KEEPER_EXCEPTION",
}
#: Room for batch numbers below the start time, in bits.
VERSION_BITS: Final = 22
# An insert is acknowledged when its rows are in the table; newer engines would queue it otherwise.
# A time at which nothing has happened yet is null here and the table's default there.
_INSERT_SETTINGS: Final = {"async_insert": 0, "wait_end_of_query": 1, "input_format_null_as_default": 1}
# The driver wraps what the network says in the names of three libraries.
_REASON: Final = re.compile(r"\[Errno -?\d+\] (?P<reason>[^'\")]+)")
_CONNECT_SECONDS: Final = 10
_ANSWER_SECONDS: Final = 60
_STATEMENT_SECONDS: Final = 45


def version_epoch(now_ms: int, newest_version: int) -> int:
    """Return the start time that goes into this run's versions.

    A fresh checkpoint begins with batch 0 again, so the batch number alone would lose against rows that are there
    already. Nor may a clock that was set back: the result is always above what the table holds.
    """
    return max(now_ms, (newest_version >> VERSION_BITS) + 1)


def version_of(epoch: int, batch_id: int) -> int:
    """Return the version of the rows of one batch: it rises from batch to batch and from start to start."""
    return (epoch << VERSION_BITS) + batch_id


@dataclass(frozen=True)
class Target:
    """A table of the warehouse that one query writes.

    Attributes:
        table: its name.
        rows: what the query gives.
        versioned: whether the writer adds a version; otherwise the rows bear one themselves.
    """

    table: str
    rows: pa.Schema
    versioned: bool

    def stamped(self, rows: pa.Table, version: int, now: datetime) -> pa.Table:
        """Return the rows in the table's types, with version and time of writing."""
        result = rows.select(self.rows.names).cast(self.rows)
        if self.versioned:
            result = result.append_column("version", pa.repeat(pa.scalar(version, pa.uint64()), len(rows)))
        return result.append_column("updated_at", pa.repeat(pa.scalar(now, pa.timestamp("ms", tz="UTC")), len(rows)))


@dataclass
class Warehouse:
    """One writer. Opens its connection when it is first needed, and again after an error."""

    settings: StreamingSettings
    _client: Client | None = field(default=None, init=False, repr=False)

    def require_tables(self, tables: Sequence[str]) -> None:
        """Make sure that the warehouse answers and has the tables.

        Raises:
            TransientError: it doesn't answer.
            StreamingError: it refuses, or a table is missing.
        """
        with self._explained() as client:
            found = client.query(
                "SELECT name FROM system.tables WHERE database = {database:String}",
                parameters={"database": self.settings.clickhouse_database},
            ).result_rows
        present = {str(name) for (name,) in found}
        missing = [table for table in tables if table not in present]
        if missing:
            raise StreamingError(
                f"the warehouse's database {self.settings.clickhouse_database} has no table {', '.join(missing)}: "
                "run `retail migrate`"
            )

    def epoch(self, targets: Sequence[Target]) -> int:
        """Return the start time that goes into this run's versions.

        Raises:
            TransientError: the warehouse doesn't answer.
        """
        newest = 0
        with self._explained() as client:
            for target in targets:
                if target.versioned:
                    newest = max(newest, int(str(client.command(f"SELECT max(version) FROM {target.table}"))))  # noqa: S608
        return version_epoch(time.time_ns() // 1_000_000, newest)

    def insert(self, table: str, rows: pa.Table) -> None:
        """Insert rows; when this returns, the table has them.

        Args:
            table: its name.
            rows: in its types, `Target.stamped`.

        Raises:
            TransientError: the warehouse is away or busy. Whether the rows arrived is not known; write them again.
            StreamingError: it refuses them.
        """
        with self._explained() as client:
            client.insert_arrow(table, rows, settings=_INSERT_SETTINGS)

    def command(self, statement: str, **parameters: float) -> None:
        """Run a statement that reads and writes by itself, and is given up where it takes too long: a connection that
        is lost wouldn't end it, and the next one would run beside it.

        Raises:
            TransientError: the warehouse is away or busy.
            StreamingError: it refuses.
        """
        with self._explained() as client:
            client.command(statement, parameters=parameters, settings={"max_execution_time": _STATEMENT_SECONDS})

    def rows(self, query: str) -> Sequence[Sequence[Any]]:
        """Return the rows of a query that gives few.

        Raises:
            TransientError: the warehouse is away or busy.
            StreamingError: it refuses.
        """
        with self._explained() as client:
            found: Sequence[Sequence[Any]] = client.query(query).result_rows
        return found

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    @contextmanager
    def _explained(self) -> Iterator[Client]:
        where = f"{self.settings.clickhouse_host}:{self.settings.clickhouse_port}"
        try:
            if self._client is None:
                self._client = self._connect()
            yield self._client
        except (Error, OSError) as error:
            self.close()
            code = clickhouse_code(error)
            unanswered = isinstance(error, OperationalError) and error.code is None
            away = isinstance(error, OSError) or unanswered or failed_on_the_way(error)
            if away or code in TRANSIENT_CODES:
                found = _REASON.search(str(error))
                raise TransientError(
                    f"the warehouse at {where} doesn't answer as it should "
                    f"({found['reason'] if found else first_line(error)}): start it with "
                    "`retail up`, or check RETAIL_CLICKHOUSE_HOST and RETAIL_CLICKHOUSE_PORT"
                ) from error
            raise StreamingError(
                f"the warehouse at {where} refuses {self.settings.clickhouse_user} ({first_line(error)}): check "
                "RETAIL_CLICKHOUSE_DATABASE, user and password, and run `retail migrate`"
            ) from error

    def _connect(self) -> Client:
        return clickhouse_connect.get_client(
            host=self.settings.clickhouse_host,
            port=self.settings.clickhouse_port,
            username=self.settings.clickhouse_user,
            password=self.settings.warehouse_password,
            database=self.settings.clickhouse_database,
            connect_timeout=_CONNECT_SECONDS,
            send_receive_timeout=_ANSWER_SECONDS,
            # Sessions would serialise the queries of one client; nothing here keeps state between queries.
            autogenerate_session_id=False,
            settings={"log_comment": "retail-streaming"},
        )
