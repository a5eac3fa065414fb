"""What lake and warehouse hold, as frames that can be compared row by row."""

from collections.abc import Mapping
from typing import Final

import polars as pl
from clickhouse_connect.driver.client import Client

from retail_assets.contracts.tables import TABLES
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.warehouse_schema import documented_views

#: When a row was read from Kafka; all other columns follow from what was read.
TIME_OF_WRITING: Final = "ingested_at"


def lake_tables(lake: LakeResource) -> dict[str, pl.DataFrame]:
    """Return the tables that a lake has by their path, each in the order of its grain."""
    return {
        table.path: lake.read(table).drop(TIME_OF_WRITING, strict=False).sort(table.grain)
        for table in TABLES
        if lake.delta(table) is not None
    }


def warehouse_tables(client: Client, database: str) -> dict[str, pl.DataFrame]:
    """Return the batch layers' tables and views of a database, as their reader sees them, in a steady order.

    Not those of the live picture: some of them refresh themselves by the clock, whoever runs meanwhile.
    """
    live = _live_views()
    names = client.query(
        "SELECT name FROM system.tables WHERE database = {database:String} ORDER BY name",
        parameters={"database": database},
    ).result_columns[0]
    frames = {
        str(name): pl.DataFrame(client.query_arrow(f"SELECT * FROM {database}.{name}", use_strings=True))
        for name in names
        # Which migrations a database has, and when it got them, is no mart.
        if name != "schema_migrations" and not str(name).startswith("rt_") and name not in live
    }
    return {name: frame.sort(frame.columns) for name, frame in frames.items()}


def _live_views() -> set[str]:
    """Return the views that read a real-time table, themselves or by way of another view."""
    views, live = documented_views(), set[str]()
    while True:
        found = {
            name
            for name, view in views.items()
            if any(table.startswith("rt_") or table in live for table in view.tables)
        }
        if found == live:
            return live
        live = found


def differences(here: Mapping[str, pl.DataFrame], there: Mapping[str, pl.DataFrame]) -> list[str]:
    """Return a line for each table that isn't the same in both, with the first rows that differ."""
    lines = [f"{name} is only in one of them" for name in sorted(set(here) ^ set(there))]
    for name in sorted(set(here) & set(there)):
        left, right = here[name], there[name]
        if left.schema != right.schema:
            lines.append(f"{name}: the columns are {left.schema} and {right.schema}")
        elif left.height != right.height:
            lines.append(f"{name}: {left.height} and {right.height} rows")
        elif not left.equals(right):
            off = [column for column in left.columns if not left[column].equals(right[column])]
            lines.append(f"{name}: {', '.join(off)} differ")
    return lines
