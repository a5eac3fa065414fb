"""Keeps marts in the warehouse.

A write is staged out of sight, counted, and swapped in by one `REPLACE PARTITION` per ClickHouse partition: a reader
sees a month (or a whole dimension) before the write or after it. A run that dies leaves the old rows, and a staging
table that the next write of the same table removes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import dagster as dg
import polars as pl
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from retail_assets.io_managers.contexts import date_window, table_key
from retail_assets.io_managers.frames import DateWindow, Frame
from retail_assets.resources.clickhouse import ClickHouseResource, connect
from retail_assets.resources.spark import SparkResource
from retail_assets.settings import Settings, get_settings

#: Rows of one insert; ClickHouse wants few and large ones.
_ROWS_PER_INSERT: Final = 200_000
#: Spark tasks that insert at the same time.
_WRITERS: Final = 2


class WriteError(Exception):
    """A batch write did not arrive whole. The old rows are untouched."""


@dataclass(frozen=True)
class Mart:
    """A warehouse table as the database describes it.

    Attributes:
        name: the table.
        columns: names in order.
        date_column: the date that its months are made of; None for a table without partitions.
    """

    name: str
    columns: tuple[str, ...]
    date_column: str | None


def describe(client: Client, database: str, name: str) -> Mart:
    """Ask the database for a table.

    Raises:
        WriteError: there is no such table.
    """
    parameters = {"database": database, "name": name}
    columns = client.query(
        "SELECT name FROM system.columns WHERE database = {database:String} AND table = {name:String} "
        "ORDER BY position",
        parameters=parameters,
    ).result_columns
    if not columns:
        raise WriteError(f"the warehouse has no table {database}.{name}: run `retail migrate`")
    key = str(
        client.command(
            "SELECT partition_key FROM system.tables WHERE database = {database:String} AND name = {name:String}",
            parameters=parameters,
        )
    )
    date_column = key.removeprefix("toYYYYMM(").removesuffix(")") if key.startswith("toYYYYMM(") else None
    return Mart(name, tuple(str(column) for column in columns[0]), date_column)


class ClickHouseIOManager(dg.ConfigurableIOManager):
    """Writes and reads the warehouse's tables, as Spark frames or, for small tables, Polars frames.

    The asset's key is `[marts, table]`. An asset with daily partitions replaces the rows of the run's days; an asset
    without replaces the whole table.
    """

    spark: SparkResource
    clickhouse: ClickHouseResource

    def handle_output(self, context: dg.OutputContext, obj: Frame) -> None:
        """Replace the run's days, or the table, by `obj`.

        Raises:
            WriteError: the frame's columns are not the table's, or not every row arrived; nothing is changed then.
        """
        _, name = table_key(context)
        window = date_window(context)
        staging = f"{self.clickhouse.staging_database}.{name}__{context.run_id[:8]}"
        with self.clickhouse.client(f"{context.asset_key.to_user_string()} {context.run_id}") as client:
            mart = describe(client, self.clickhouse.database, name)
            if sorted(obj.columns) != sorted(mart.columns):
                raise WriteError(
                    f"{name}: the frame has columns {sorted(obj.columns)}, the table {sorted(mart.columns)}: "
                    "mend the asset, or add a migration"
                )
            self._drop_leftovers(client, name)
            client.command(f"CREATE TABLE {staging} AS {self.clickhouse.database}.{name}")
            try:
                rows = (
                    _insert_polars(client, staging, obj)
                    if isinstance(obj, pl.DataFrame)
                    else _insert_spark(self.clickhouse.database, staging, obj)
                )
                self._swap_in(client, mart, staging, rows, window)
            finally:
                client.command(f"DROP TABLE IF EXISTS {staging}")
            context.add_output_metadata(
                {"dagster/row_count": rows, "warehouse_table": f"{self.clickhouse.database}.{name}"}
            )

    def load_input(self, context: dg.InputContext) -> Frame:
        """Return the upstream table; only the run's days, where the upstream asset has partitions.

        Polars frames come directly; Spark frames are fetched by Spark's own tasks, a month each.
        """
        _, name = table_key(context)
        window = date_window(context)
        with self.clickhouse.client(f"read {context.asset_key.to_user_string()}") as client:
            mart = describe(client, self.clickhouse.database, name)
            condition = window.where(mart.date_column) if window and mart.date_column else "1"
            select = f"SELECT {', '.join(mart.columns)} FROM {self.clickhouse.database}.{name} WHERE {condition}"
            if context.dagster_type.typing_type is pl.DataFrame:
                return pl.DataFrame(client.query_arrow(select, use_strings=True))
            schema = _signed(client.query_arrow(f"{select} LIMIT 0", use_strings=True).schema)
            slices = ["1"]
            if mart.date_column:
                found = client.query(
                    f"SELECT DISTINCT toYYYYMM({mart.date_column}) FROM {self.clickhouse.database}.{name}"
                )
                slices = [f"toYYYYMM({mart.date_column}) = {month}" for (month,) in found.result_rows] or ["0"]
        spark = self.spark.spark_session
        queries = spark.createDataFrame([(f"{select} AND {part}",) for part in slices], "query string")
        rows: SparkFrame = queries.repartition(len(slices)).mapInArrow(
            _fetcher(_carried(get_settings()), self.clickhouse.database), from_arrow_schema(schema)
        )
        return rows

    def _drop_leftovers(self, client: Client, name: str) -> None:
        """Remove staging tables of runs that died; writes of one table never overlap (the assets share a pool)."""
        left = client.query(
            "SELECT name FROM system.tables WHERE database = {database:String} AND startsWith(name, {prefix:String})",
            parameters={"database": self.clickhouse.staging_database, "prefix": f"{name}__"},
        )
        for (table,) in left.result_rows:
            client.command(f"DROP TABLE IF EXISTS {self.clickhouse.staging_database}.{table}")

    def _swap_in(self, client: Client, mart: Mart, staging: str, rows: int, window: DateWindow | None) -> None:
        arrived = int(str(client.command(f"SELECT count() FROM {staging}")))
        if arrived != rows:
            raise WriteError(
                f"{mart.name}: {rows} rows were sent, {arrived} arrived; nothing was changed. Run the asset again"
            )
        target = f"{self.clickhouse.database}.{mart.name}"
        if mart.date_column is None or window is None:
            if mart.date_column is not None:
                raise WriteError(f"{mart.name} has months, but its asset has no partitions")
            _replace(client, target, staging, "tuple()", rows)
            return
        stray = int(str(client.command(f"SELECT countIf(NOT ({window.where(mart.date_column)})) FROM {staging}")))
        if stray:
            raise WriteError(
                f"{mart.name}: {stray} rows lie outside of {window.first} to {window.last}; nothing was changed"
            )
        for month in months(window):
            # The month's other days are carried over, since ClickHouse swaps whole partitions.
            client.command(
                f"INSERT INTO {staging} SELECT * FROM {target} "
                f"WHERE toYYYYMM({mart.date_column}) = {month} AND NOT ({window.where(mart.date_column)})"
            )
            kept = int(
                str(client.command(f"SELECT count() FROM {staging} WHERE toYYYYMM({mart.date_column}) = {month}"))
            )
            _replace(client, target, staging, str(month), kept)


def _replace(client: Client, target: str, staging: str, partition: str, rows: int) -> None:
    """Swap one partition; ClickHouse refuses to take over an empty one, which is what dropping is for."""
    if rows:
        client.command(f"ALTER TABLE {target} REPLACE PARTITION {partition} FROM {staging}")
    else:
        client.command(f"ALTER TABLE {target} DROP PARTITION {partition}")


def months(window: DateWindow) -> list[int]:
    """Return the months that a window touches, as ClickHouse's `toYYYYMM` numbers them."""
    first = window.first.year * 12 + window.first.month - 1
    last = window.last.year * 12 + window.last.month - 1
    return [month // 12 * 100 + month % 12 + 1 for month in range(first, last + 1)]


def _insert_polars(client: Client, staging: str, frame: pl.DataFrame) -> int:
    if frame.height:
        client.insert_arrow(staging, frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
    return frame.height


def _insert_spark(database: str, staging: str, frame: SparkFrame) -> int:
    """Insert from Spark's own tasks and return how many rows the successful ones sent."""
    settings = _carried(get_settings())

    def insert(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        client = connect(settings, database=database, comment=f"staging {staging}")
        sent = 0
        waiting: list[pa.RecordBatch] = []

        def flush() -> None:
            if waiting:
                client.insert_arrow(staging, pa.Table.from_batches(waiting))
                waiting.clear()

        try:
            for batch in batches:
                waiting.append(batch)
                sent += batch.num_rows
                if sum(part.num_rows for part in waiting) >= _ROWS_PER_INSERT:
                    flush()
            flush()
        finally:
            client.close()
        yield pa.RecordBatch.from_pydict({"rows": [sent]})

    counts = frame.coalesce(_WRITERS).mapInArrow(insert, "rows long")
    total = counts.agg(F.sum("rows")).first()
    return int(total[0] or 0) if total is not None else 0


def _signed(schema: pa.Schema) -> pa.Schema:
    """Widen the unsigned integers of ClickHouse, which Spark doesn't have."""
    wider = {
        pa.uint8(): pa.int16(),
        pa.uint16(): pa.int32(),
        pa.uint32(): pa.int64(),
        pa.uint64(): pa.decimal128(20, 0),
    }
    return pa.schema([field.with_type(wider.get(field.type, field.type)) for field in schema])


def _fetcher(settings: Settings, database: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def fetch(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        client = connect(settings, database=database)
        try:
            for batch in batches:
                for query in batch.column("query").to_pylist():
                    table = client.query_arrow(query, use_strings=True)
                    yield from table.cast(_signed(table.schema)).to_batches()
        finally:
            client.close()

    return fetch


def _carried(settings: Settings) -> Settings:
    """Return the settings as they travel to Spark's workers, which have neither the environment nor the secrets."""
    password = SecretStr(settings.password_of(settings.clickhouse_user))
    return settings.model_copy(update={"clickhouse_password": password})
