"""The graph that the overhead benchmark runs, and the same work without Dagster.

The graph has the platform's shape: tables of the contracts, the platform's decorator, IO manager and contract checks.
The first table has no partitions and no input; each further one has a row of the day for every row of the table before
it. Rows are made up, small and valid. Does not belong here: running and timing.
"""

from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Final

import dagster as dg
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from retail_assets.assets.common import lake_asset
from retail_assets.bench.errors import BenchError
from retail_assets.checks.contracts import broken_rules, contract_checks
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    CORE_SALES_LINES,
    FEATURES_DEMAND,
    FORECASTS_DEMAND_7D,
    INVENTORY_REORDER_POINTS,
    REFERENCE_PRODUCTS,
    Table,
)
from retail_assets.contracts.types import Column, DecimalType, ScalarType, spark_type
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource

#: The day that is written; any day of the partitions below serves.
DAY: Final = date(2024, 6, 1)
#: A closed range of days in the past, so that what is measured doesn't depend on today.
PARTITIONS: Final = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2025-01-01")
MAX_PARTITIONS: Final = 366
FIRST_TABLE: Final = REFERENCE_PRODUCTS
#: In the order of a day of the platform.
DAILY_TABLES: Final = (
    CORE_SALES_LINES,
    CORE_INVENTORY_DAILY,
    CORE_DAILY_SALES,
    FEATURES_DEMAND,
    FORECASTS_DEMAND_7D,
    INVENTORY_REORDER_POINTS,
)
#: Under this name each asset says which Spark applications it met.
APPLICATIONS: Final = "spark_applications"

#: A day of a small retailer. Few rows: the overhead is what a step costs before rows matter.
_ROWS: Final = 1200
_SINGLE_RUN: Final = dg.BackfillPolicy.single_run()


def rows_for(table: Table, before: SparkFrame) -> SparkFrame:
    """Return valid rows of a table, one for each row of the frame before it.

    Columns that the frame has are taken from it, so that it is really read; the others are made up.

    Args:
        table: what the rows are of.
        before: rows of the table before, or plain numbers.

    Raises:
        BenchError: the table has a column of a type that can't be made up.
    """
    number = F.monotonically_increasing_id()
    return before.select(
        [
            F.lit(DAY).alias(column.name)
            if column.name == table.partition_by
            else F.col(column.name).cast(spark_type(column.type)).alias(column.name)
            if column.name in before.columns
            else _made_up(column, number).cast(spark_type(column.type)).alias(column.name)
            for column in table.columns
        ]
    )


def _made_up(column: Column, number: SparkColumn) -> SparkColumn:
    """Return a value that the contract accepts; strings differ from row to row, so that keys are unique."""
    low = 0.0 if column.minimum is None else column.minimum
    high = low + 100 if column.maximum is None else column.maximum
    match column.type:
        case ScalarType("string") if column.allowed:
            return F.lit(column.allowed[0])
        case ScalarType("string"):
            return F.concat(F.lit(f"{column.name} "), number.cast("string"))
        case ScalarType("date" | "timestamp"):
            return F.lit(DAY)
        case ScalarType("boolean"):
            return number % 2 == 0
        case ScalarType("int32" | "int64" | "float32" | "float64") | DecimalType():
            return F.lit(low) + F.lit(high - low) * F.pmod(number, F.lit(97)) / 97
        case _:
            raise BenchError(f"no values can be made up for the column {column.name}")


def _first_rows(spark: SparkSession) -> SparkFrame:
    return rows_for(FIRST_TABLE, spark.range(_ROWS).toDF("number"))


def chain(steps: int) -> list[dg.AssetsDefinition]:
    """Return the graph: the first asset, and a chain of daily ones, each with its contract check.

    Args:
        steps: how many daily assets.
    """

    @lake_asset(FIRST_TABLE, kinds={"spark", "deltalake"})
    def first(context: dg.AssetExecutionContext, spark: SparkResource) -> SparkFrame:
        _note_applications(context, spark.spark_session)
        return _first_rows(spark.spark_session)

    tables = DAILY_TABLES[:steps]
    assets = [_daily_asset(table, before) for before, table in zip((FIRST_TABLE, *tables), tables, strict=False)]
    keys = {dg.AssetKey(table.key) for table in tables}
    checks = [check for check in contract_checks() if {key.asset_key for key in check.check_keys} <= keys]
    return [first, *assets, *checks]


def _daily_asset(table: Table, before: Table) -> dg.AssetsDefinition:
    @lake_asset(
        table,
        kinds={"spark", "deltalake"},
        partitions_def=PARTITIONS,
        backfill_policy=_SINGLE_RUN,
        ins={"upstream": dg.AssetIn(key=dg.AssetKey(before.key))},
    )
    def daily(context: dg.AssetExecutionContext, spark: SparkResource, upstream: SparkFrame) -> SparkFrame:
        # Two ways lead to the session: the IO manager's resource, and the step's own, which the checks use too.
        _note_applications(context, upstream.sparkSession, spark.spark_session)
        return rows_for(table, upstream)

    return daily


def _note_applications(context: dg.AssetExecutionContext, *sessions: SparkSession) -> None:
    ids = sorted({str(session.sparkContext.applicationId) for session in sessions})
    context.add_output_metadata({APPLICATIONS: dg.MetadataValue.json(ids)})


def asset_step(table: Table) -> str:
    """Return the key of the step that writes a table."""
    return "__".join(table.key)


def check_step(table: Table) -> str:
    """Return the key of the step that checks a table against its contract."""
    return f"{asset_step(table)}_contract"


def bare_work(spark: SparkSession, lake: LakeResource, steps: int) -> dict[str, Callable[[], None]]:
    """Return the same work as plain Spark, by the key of the step that does it in the graph, in the graph's order.

    It leaves the same rows in the same partitions, replaced in the same way. What the IO manager does beyond that
    (looks at the log, casts to the contract, shuffles by day, counts for Dagster's UI) is not in here, and so counts
    as overhead.

    Args:
        spark: the session that the graph used.
        lake: where the tables go; not the graph's lake.
        steps: how many daily tables.
    """
    tables = DAILY_TABLES[:steps]
    work: dict[str, Callable[[], None]] = {asset_step(FIRST_TABLE): partial(_write_first, spark, lake)}
    for before, table in zip((FIRST_TABLE, *tables), tables, strict=False):
        work[asset_step(table)] = partial(_write_daily, spark, lake, table, before)
        work[check_step(table)] = partial(_check, spark, lake, table)
    return work


def _write_first(spark: SparkSession, lake: LakeResource) -> None:
    _first_rows(spark).write.format("delta").mode("overwrite").save(lake.uri(FIRST_TABLE.path))


def _write_daily(spark: SparkSession, lake: LakeResource, table: Table, before: Table) -> None:
    (
        rows_for(table, _read(spark, lake, before))
        .write.format("delta")
        .mode("overwrite")
        .partitionBy(table.partition_by or [])
        .option("replaceWhere", f"{table.partition_by} = '{DAY}'")
        .save(lake.uri(table.path))
    )


def _check(spark: SparkSession, lake: LakeResource, table: Table) -> None:
    rows, broken = broken_rules(_read(spark, lake, table), table)
    if rows != _ROWS or broken:
        raise BenchError(f"{table.path} has {rows} rows instead of {_ROWS}, and breaks {broken or 'no rule'}")


def _read(spark: SparkSession, lake: LakeResource, table: Table) -> SparkFrame:
    frame = spark.read.format("delta").load(lake.uri(table.path))
    return frame.where(f"{table.partition_by} = '{DAY}'") if table.partition_by else frame


@dg.asset(key=dg.AssetKey(["bench", "no_work"]), partitions_def=PARTITIONS, backfill_policy=_SINGLE_RUN)
def no_work() -> dg.MaterializeResult[None]:
    """An asset that does nothing, for what Dagster alone does with each partition of a run.

    Returns:
        As much metadata as the IO manager adds to every partition's event.
    """
    return dg.MaterializeResult(
        metadata={"dagster/row_count": 0, "delta_version": 0, "dagster/uri": "file:///lake/bench/no_work"}
    )
