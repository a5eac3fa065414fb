"""Tables of the contracts of which a test says only what it is about."""

from datetime import date
from typing import Any

import polars as pl

from retail_assets.contracts.tables import Table
from retail_assets.contracts.types import polars_schema

_DAY = date(2020, 1, 1)


def blank(table: Table, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Return rows of a table with harmless values where nothing is said."""
    harmless = {"string": "-", "int32": 1, "int64": 1, "float64": 0.0, "boolean": False, "date": _DAY}
    full = [
        {
            column.name: row.get(
                column.name, None if column.nullable else harmless.get(getattr(column.type, "name", ""), 0)
            )
            for column in table.columns
        }
        for row in rows
    ]
    return pl.DataFrame(full, schema=polars_schema(table.columns), strict=False)
