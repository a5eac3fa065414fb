"""Keeps assets as Delta tables in the lake.

A write replaces exactly the run's partitions in one commit, so that it is all or nothing, and twice gives the same.
Frames of Spark never pass through the driver. Every write is held to the table's contract: its columns, in order, in
its types.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final

import dagster as dg
import polars as pl
from deltalake import DeltaTable
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from retail_assets.contracts.tables import TABLES, Table
from retail_assets.contracts.types import spark_schema, spark_type
from retail_assets.io_managers.contexts import date_window, table_key
from retail_assets.io_managers.frames import (
    ContractError,
    DateWindow,
    Frame,
    partition_column,
)
from retail_assets.io_managers.parcels import Parcels, write_parcels
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource

_BY_KEY: Final = {table.key: table for table in TABLES}
#: Partitions of which rows are counted one by one in the metadata of a materialisation.
_MANY_PARTITIONS: Final = 31
#: Output metadata under this name becomes the metadata of the Delta commit, all or nothing with the rows.
COMMIT_METADATA: Final = "commit_metadata"


def contract_frame(frame: SparkFrame, table: Table) -> SparkFrame:
    """Return the frame with exactly the contract's columns, in order and type.

    Raises:
        ContractError: a column is missing, or one is there that the contract doesn't know.
    """
    missing = [name for name in table.column_names if name not in frame.columns]
    unknown = [name for name in frame.columns if name not in table.column_names]
    if missing or unknown:
        raise ContractError(
            f"{table.path}: the frame lacks [{', '.join(missing)}] and has [{', '.join(unknown)}], which the contract "
            "doesn't know: mend the asset, or state the columns in contracts/tables"
        )
    # ANSI mode is on: a value that doesn't fit its type fails the write rather than turning into null.
    return frame.select(
        [F.col(column.name).cast(spark_type(column.type)).alias(column.name) for column in table.columns]
    )


def read_table(spark: SparkSession, lake: LakeResource, table: Table) -> SparkFrame:
    """Return a table of the lake as a lazy Spark frame; without rows where it was never written.

    Columns that may be null, and that a table of an earlier release lacks, are null.
    """
    if lake.delta(table) is None:
        return spark.createDataFrame([], spark_schema(table.columns))
    frame = spark.read.format("delta").load(lake.uri(table.path))
    lacking = [column for column in table.columns if column.nullable and column.name not in frame.columns]
    return frame.withColumns({one.name: F.lit(None).cast(spark_type(one.type)) for one in lacking})


class SparkDeltaIOManager(dg.ConfigurableIOManager):
    """Writes and reads the lake's tables, as Spark frames or, for small tables, Polars frames.

    The asset's key is `[layer, table]` and names a table of `contracts.tables`. An asset with daily partitions replaces
    the rows of the run's days in the table's partition column; an asset without replaces the whole table.
    """

    spark: SparkResource
    lake: LakeResource

    def handle_output(self, context: dg.OutputContext, obj: Frame | Parcels) -> None:
        """Replace the run's partitions by `obj`, in one commit.

        Raises:
            ContractError: `obj` is not what the table's contract says.
        """
        table = _BY_KEY[table_key(context)]
        window = date_window(context)
        if isinstance(obj, pl.DataFrame):
            if window is not None:
                raise ContractError(f"{table.path} has partitions: give a Spark frame")
            self.lake.overwrite(table, obj)
        elif isinstance(obj, Parcels):
            if window is None:
                raise ContractError(f"{table.path} comes in parcels of a day, but its asset has no partitions")
            write_parcels(obj, self.lake, window, _commit_metadata(context))
        else:
            self._write_spark(contract_frame(obj, table), table, window, _commit_metadata(context))
        context.add_output_metadata(self._metadata(table, window))

    def load_input(self, context: dg.InputContext) -> Frame:
        """Return the upstream table; only the run's partitions, where the upstream asset has partitions.

        A Spark frame is lazy. An input that is annotated as a Polars frame is read without starting Spark.
        """
        table = _BY_KEY[table_key(context)]
        window = date_window(context)
        if context.dagster_type.typing_type is pl.DataFrame:
            return self.lake.read(table, on=_single(window))
        frame = read_table(self.spark.spark_session, self.lake, table)
        return frame if window is None else frame.where(window.where(partition_column(table)))

    def _write_spark(
        self, frame: SparkFrame, table: Table, window: DateWindow | None, commit_metadata: str | None
    ) -> None:
        if table.partition_by:
            # One file per day: without this each task would write its own small file into every day.
            frame = frame.repartition(F.col(table.partition_by))
        writer = frame.write.format("delta").mode("overwrite")
        if commit_metadata is not None:
            writer = writer.option("userMetadata", commit_metadata)
        if table.partition_by:
            writer = writer.partitionBy(table.partition_by)
        if window is not None:
            # Delta refuses rows outside of the condition, so a day can't be written by another day's run.
            # A table of an earlier release lacks the columns that the contract has got since; they are null there.
            writer = writer.option("replaceWhere", window.where(partition_column(table))).option("mergeSchema", "true")
        else:
            writer = writer.option("overwriteSchema", "true")
        writer.save(self.lake.uri(table.path))

    def _metadata(self, table: Table, window: DateWindow | None) -> dict[str, Any]:
        delta = self.lake.delta(table)
        if delta is None:
            return {}
        rows = row_counts(delta, table, window)
        metadata: dict[str, Any] = {
            "dagster/row_count": sum(rows.values()),
            "delta_version": delta.version(),
            "dagster/uri": self.lake.uri(table.path),
        }
        if window is not None and 1 < len(rows) <= _MANY_PARTITIONS:
            metadata["rows_by_date"] = dg.MetadataValue.json({str(day): count for day, count in sorted(rows.items())})
        return metadata


def row_counts(delta: DeltaTable, table: Table, window: DateWindow | None) -> dict[str, int]:
    """Return the rows per partition from the table's log alone, without reading data.

    Returns:
        Rows by partition value; by "" for a table without partitions; nothing where there are no rows.
    """
    actions = pl.DataFrame(delta.get_add_actions(flatten=True))
    if actions.is_empty():
        return {}
    if table.partition_by is None:
        return {"": int(actions["num_records"].sum())}
    column = f"partition.{table.partition_by}"
    actions = actions.select(pl.col(column).cast(pl.String).alias("partition"), "num_records")
    if window is not None:
        actions = actions.filter(pl.col("partition").is_between(pl.lit(str(window.first)), pl.lit(str(window.last))))
    counts = actions.group_by("partition").agg(pl.col("num_records").sum())
    return {str(partition): int(count) for partition, count in counts.iter_rows()}


def days(window: DateWindow) -> Sequence[date]:
    """Return the dates of a window, in order."""
    return [window.first + timedelta(days=offset) for offset in range((window.last - window.first).days + 1)]


def _commit_metadata(context: dg.OutputContext) -> str | None:
    """Return what the asset wants to stand in the commit itself."""
    entry = context.output_metadata.get(COMMIT_METADATA)
    if entry is None:
        return None
    return str(entry.value if isinstance(entry, dg.MetadataValue) else entry)


def _single(window: DateWindow | None) -> date | None:
    if window is not None and window.first != window.last:
        raise ContractError(f"a Polars frame holds one partition, the run covers {window.first} to {window.last}")
    return None if window is None else window.first
