"""What the two IO managers share: the dates of a run, and frames that are of Spark or of Polars.

Spark's workers import this. Does not belong here: what needs Dagster (`contexts`), which takes them a second to import.
"""

from dataclasses import dataclass
from datetime import date

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


def partition_column(table: Table) -> str:
    """Return the table's partition column.

    Raises:
        ContractError: it has none.
    """
    if table.partition_by is None:
        raise ContractError(f"{table.path} has no partition column, but its asset has partitions")
    return table.partition_by
