"""What the warehouse serves besides the marts: real-time tables, what the platform says of itself, and the views.

External assets, so that lineage goes on to where people read. Views are the end of the graph: Power BI, services and
people read them and nothing below. Does not belong here: the streaming service itself (`spark/`).
"""

from typing import Any, Final

import dagster as dg

from retail_assets.assets.common import OWNERS, column_lineage, from_where
from retail_assets.contracts.lineage import LINEAGE
from retail_assets.contracts.lineage.real_time import FROM_MESSAGES, OF_LOOKS, REAL_TIME, REFRESHED
from retail_assets.contracts.origins import Lineage, Origin
from retail_assets.resources.warehouse_schema import View, documented_columns, documented_tables, documented_views

VIEWS: Final = "views"
#: Tables of what the platform says of itself; a sensor writes them from Dagster's own log.
MONITORING: Final = "monitoring"
_MONITORED: Final = ("quality_results",)


def warehouse_metadata(table: str, lineage: Lineage) -> dict[str, Any]:
    """Return what a warehouse table's definition tells Dagster: the DDL's columns, their origins, and its name."""
    columns = [
        dg.TableColumn(name, type=kind, description=comment + "." + from_where(lineage.get(name, ())))
        for name, kind, comment in documented_columns(table)
    ]
    return {
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "dagster/table_name": f"retail.{table}",
        **column_lineage(lineage),
    }


def _path(table: str) -> str:
    """Return `layer/name` of a table or view of the warehouse."""
    if f"real_time/{table}" in LINEAGE:
        return f"real_time/{table}"
    if table in _MONITORED:
        return f"{MONITORING}/{table}"
    return f"{VIEWS}/{table}" if table.startswith("v_") else f"marts/{table}"


def _types(view: View) -> dict[tuple[Origin, ...], str]:
    """Return the types of what a view shows, by what it is made from: known where that is one column of a table."""
    tables = set(view.tables) & set(documented_tables())
    return {(Origin(table, name),): kind for table in tables for name, kind, _ in documented_columns(table)}


def _view_spec(name: str, view: View) -> dg.AssetSpec:
    lineage = {
        column: tuple(Origin(_path(origin.table), origin.column) for origin in origins)
        for column, origins in view.columns.items()
    }
    types = _types(view)
    columns = [
        dg.TableColumn(column, type=types.get(view.columns[column], ""), description=from_where(origins).strip())
        for column, origins in lineage.items()
    ]
    return dg.AssetSpec(
        key=dg.AssetKey([VIEWS, name]),
        group_name=VIEWS,
        kinds={"clickhouse", "view"},
        owners=OWNERS,
        description=f"For Power BI, services and people: final rows of {', '.join(view.tables)} under plain names.",
        deps=[dg.AssetKey(_path(table).split("/")) for table in view.tables],
        metadata={
            "dagster/column_schema": dg.TableSchema(columns=columns),
            "dagster/table_name": f"retail.{name}",
            **column_lineage(lineage),
        },
    )


def _table_spec(layer: str, name: str, writer: str, kinds: set[str], lineage: Lineage) -> dg.AssetSpec:
    """Return a table that something outside of the graph writes; `writer` is said of it after the DDL's own words."""
    path = f"{layer}/{name}"
    upstream = sorted(
        {origin.table for origins in lineage.values() for origin in origins} | {*FROM_MESSAGES.get(path, ())}
    )
    return dg.AssetSpec(
        key=dg.AssetKey([layer, name]),
        group_name=layer,
        kinds=kinds,
        owners=OWNERS,
        description=f"{documented_tables()[name]}. {writer}",
        deps=[dg.AssetKey(table.split("/")) for table in upstream],
        metadata=warehouse_metadata(name, lineage),
    )


def _real_time_spec(path: str, lineage: Lineage) -> dg.AssetSpec:
    layer, name = path.split("/")
    writer = "Written by the streaming service, a few seconds behind the tills."
    if path in OF_LOOKS:
        writer = "Written by the streaming service, which looks at the live picture again and again."
    if path in REFRESHED:
        writer = "Refreshed by the warehouse itself."
    kinds = {"clickhouse"} if path in OF_LOOKS or path in REFRESHED else {"spark", "clickhouse"}
    return _table_spec(layer, name, writer, kinds, lineage)


def _monitoring_spec(name: str) -> dg.AssetSpec:
    writer = f"Written by the sensor `{name}_sensor` from Dagster's event log."
    return _table_spec(MONITORING, name, writer, {"clickhouse"}, {})


def serving_specs() -> list[dg.AssetSpec]:
    """Return one spec per real-time table, per table of the platform's own health, and per view."""
    tables = [_real_time_spec(path, lineage) for path, lineage in REAL_TIME.items()]
    tables += [_monitoring_spec(name) for name in _MONITORED]
    return tables + [_view_spec(name, view) for name, view in documented_views().items()]
