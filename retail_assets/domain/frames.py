"""Small helpers that every domain function starts and ends with: typed empty frames, and frames of a contract.

Belongs here: shapes and types of frames. Does not belong here: anything that knows what a column means.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl
import pyarrow as pa

from retail_assets.contracts.tables import Table
from retail_assets.contracts.types import Column, polars_schema

#: What identifies a series: one product in one store.
SERIES: Final = ("store_id", "product_id")


def typed(frame: pl.DataFrame, columns: Sequence[Column]) -> pl.DataFrame:
    """Return those of `columns` that a function reads, in the types of the contract.

    Engines hand over the same table in slightly different types (a wider decimal, a timestamp without its zone); the
    functions behind this door see only the contract's. A frame without any column is read as "no rows".

    Raises:
        polars.exceptions.ColumnNotFoundError: the frame lacks one of `columns`.
    """
    schema = polars_schema(tuple(columns))
    if frame.width == 0:
        return pl.DataFrame(schema=schema)
    return frame.select(schema.names()).cast(schema)


def columns_of(table: Table, *names: str) -> tuple[Column, ...]:
    """Return the named columns of a table."""
    return tuple(table.column(name) for name in names)


def conform(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Return `frame` with exactly the columns and types of `table`, sorted by its grain.

    Sorted, so that the same input gives the same bytes whichever engine called.
    """
    return frame.select(table.column_names).cast(polars_schema(table.columns)).sort(table.grain)


def to_arrow(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """Return a Polars frame as Arrow in exactly `schema`; strings in the layout that Spark's workers read."""
    return frame.select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)
