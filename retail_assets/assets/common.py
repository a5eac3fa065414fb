"""What the asset modules share: specs derived from contracts, and domain functions run by Spark store by store."""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, Final

import dagster as dg
import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame as SparkFrame

from retail_assets.contracts.lineage import LINEAGE
from retail_assets.contracts.origins import Lineage, Origin
from retail_assets.contracts.tables import Table
from retail_assets.contracts.types import Column, DecimalType, ListType, ScalarType, arrow_schema, spark_schema
from retail_assets.domain.frames import to_arrow
from retail_assets.io_managers.frames import DateWindow

OWNERS: Final = ["team:inventory-platform"]
#: All runs that write one layer take turns: ingestion counts batches, the warehouse swaps months.
POOL_INGEST: Final = "ingest"
POOL_WAREHOUSE: Final = "warehouse"

AssetDecorator = Callable[[Callable[..., Any]], dg.AssetsDefinition]


def column_type_name(column_type: ScalarType | DecimalType | ListType) -> str:
    """Return a column type as people read it in Dagster's UI."""
    match column_type:
        case ScalarType(name):
            return name
        case DecimalType(precision, scale):
            return f"decimal({precision},{scale})"
        case ListType(fields):
            return f"list<{', '.join(field.name for field in fields)}>"


def from_where(origins: tuple[Origin, ...]) -> str:
    """Return the origins of a column as people read them: ` From core/daily_sales: units, revenue.`"""
    columns: dict[str, list[str]] = {}
    for origin in origins:
        columns.setdefault(origin.table, []).append(origin.column)
    told = "; ".join(f"{table}: {', '.join(names)}" for table, names in columns.items())
    return f" From {told}." if told else ""


def column_lineage(lineage: Lineage) -> dict[str, dg.TableColumnLineage]:
    """Return the metadata that tell Dagster where a table's columns come from; none where nothing is stated."""
    deps = {
        column: [dg.TableColumnDep(dg.AssetKey(origin.table.split("/")), origin.column) for origin in origins]
        for column, origins in lineage.items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)} if deps else {}


def table_metadata(table: Table) -> dict[str, Any]:
    """Return what a table's definition tells Dagster: its columns, where they come from, and its name."""
    return {
        "dagster/column_schema": table_schema(table),
        "dagster/table_name": table.path,
        **column_lineage(LINEAGE.get(table.path, {})),
    }


def table_schema(table: Table) -> dg.TableSchema:
    """Return a table's columns for Dagster's UI, with unit, key and origins in the words."""
    lineage = LINEAGE.get(table.path, {})
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column_type_name(column.type),
                description=column.description
                + (f" [{column.unit}]" if column.unit else "")
                + from_where(lineage.get(column.name, ())),
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=table.grain == (column.name,)),
            )
            for column in table.columns
        ]
    )


def description(table: Table) -> str:
    """Return what Dagster's UI says of a table: what a row is, and by what it is known."""
    return f"{table.description}\n\nGrain: {' x '.join(f'`{name}`' for name in table.grain)}."


def lake_asset(table: Table, *, kinds: set[str], **more: Any) -> AssetDecorator:
    """Return the decorator of an asset that is kept in the lake: `@dg.asset` with what follows from its contract.

    Args:
        table: the contract.
        kinds: technologies, shown as tags in Dagster's UI.
        more: further arguments of `@dg.asset`.
    """
    decorator: AssetDecorator = dg.asset(
        key=dg.AssetKey(table.key),
        group_name=table.layer,
        description=description(table),
        kinds=kinds,
        owners=OWNERS,
        metadata=table_metadata(table),
        io_manager_key="lake_io_manager",
        **more,
    )
    return decorator


def run_window(context: dg.AssetExecutionContext) -> DateWindow:
    """Return the business dates of the run, both inclusive."""
    keys = sorted(context.partition_keys)
    return DateWindow(date.fromisoformat(keys[0]), date.fromisoformat(keys[-1]))


def per_task(
    frame: SparkFrame, function: Callable[[pl.DataFrame], pl.DataFrame], columns: tuple[Column, ...]
) -> SparkFrame:
    """Run a domain function that looks at each row alone, on all rows of a task at once, without a shuffle.

    Args:
        frame: what the function takes.
        function: a pure function on Polars frames.
        columns: what it returns.
    """
    schema = arrow_schema(columns)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = list(batches)
        if rows:
            yield from to_arrow(function(pl.DataFrame(pa.Table.from_batches(rows))), schema).to_batches()

    return frame.mapInArrow(run, spark_schema(columns))


def per_store_pair(
    left: SparkFrame,
    right: SparkFrame,
    function: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame],
    table: Table,
) -> SparkFrame:
    """Run a domain function on each store's rows of two frames; either side may be empty."""
    schema = arrow_schema(table.columns)

    def run(left_rows: pa.Table, right_rows: pa.Table) -> pa.Table:
        return to_arrow(function(pl.DataFrame(left_rows), pl.DataFrame(right_rows)), schema)

    return left.groupBy("store_id").cogroup(right.groupBy("store_id")).applyInArrow(run, spark_schema(table.columns))
