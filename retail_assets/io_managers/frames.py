"""What the two IO managers share: partitions of a context, and frames that are of Spark or of Polars."""

from dataclasses import dataclass
from datetime import date

import dagster as dg
import polars as pl
from pyspark.sql import DataFrame as SparkFrame

from retail_assets.contracts.tables import Table

Frame = SparkFrame | pl.DataFrame


class ContractError(Exception):
    """A frame is not what its table's contract says. The message names table and columns."""


@dataclass(frozen=True)
class DateWindow:
    """The business dates that a run covers, both inclusive."""

    first: date
    last: date

    def where(self, column: str) -> str:
        """Return the window as a SQL condition that Delta, Spark and ClickHouse all understand."""
        return f"{column} >= '{self.first}' AND {column} <= '{self.last}'"


def date_window(context: dg.OutputContext | dg.InputContext) -> DateWindow | None:
    """Return the dates that the context's run reads or writes; None for an asset without partitions.

    Raises:
        dg.DagsterInvariantViolationError: the partitions are not a contiguous run of days.
    """
    if not context.has_asset_partitions:
        return None
    keys = sorted(context.asset_partition_keys)
    first, last = date.fromisoformat(keys[0]), date.fromisoformat(keys[-1])
    if (last - first).days + 1 != len(keys):
        raise dg.DagsterInvariantViolationError(
            f"the run covers {len(keys)} days from {first} to {last}, with gaps: start one run per gapless range"
        )
    return DateWindow(first, last)


def table_key(context: dg.OutputContext | dg.InputContext) -> tuple[str, str]:
    """Return `(layer, table)` of the context's asset."""
    layer, table = context.asset_key.path
    return layer, table


def partition_column(table: Table) -> str:
    """Return the table's partition column.

    Raises:
        ContractError: it has none.
    """
    if table.partition_by is None:
        raise ContractError(f"{table.path} has no partition column, but its asset has partitions")
    return table.partition_by
