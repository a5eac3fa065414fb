"""Lineage: every column says where it comes from, truly, and the graph leads from topics to what people read."""

from collections import defaultdict

import dagster as dg
import pytest

from retail_assets.build import build_defs
from retail_assets.contracts.lineage import LINEAGE
from retail_assets.contracts.lineage.real_time import (
    FROM_MESSAGES,
    OF_LOOKS,
    QUERY_PROGRESS,
    REFRESHED,
    TABLES_OF_QUERIES,
)
from retail_assets.contracts.tables import TABLES
from retail_assets.contracts.topics import EVENT_TOPICS
from retail_assets.resources.warehouse_schema import documented_columns, documented_tables, documented_views
from retail_streaming.looks import TABLES as LOOKED_AT
from retail_streaming.queries import QUERIES

#: Layers of which every column has an entry, and of which every upstream table is the origin of something.
TOLD = {"core", "features", "marts", "real_time"}
#: What has to be made first, though nothing is taken from it.
GATES = {"core/daily_sales": {"core/quarantine"}}
#: What messages as such become, whatever their fields say.
GATES |= {path: set(topics) for path, topics in FROM_MESSAGES.items()}
LIVE_VIEWS = (
    "v_store_clock",
    "v_recent_sales",
    "v_sales_velocity",
    "v_inventory_now",
    "v_pos_hourly",
    "v_pos_health",
    "v_dead_letters",
)
IN_WAREHOUSE = {"marts", "real_time", "monitoring", "views"}


@pytest.fixture(scope="module")
def specs() -> dict[str, dg.AssetSpec]:
    """Return the specs of all assets by `layer/name`."""
    return {spec.key.to_user_string(): spec for spec in build_defs().resolve_all_asset_specs()}


def columns_by_table() -> dict[str, list[str]]:
    """Return the columns of every topic, table and view, as contracts and DDL state them."""
    columns = {table.path: list(table.column_names) for table in TABLES}
    columns |= {f"kafka/{topic.table}": [field.name for field in topic.schema.columns] for topic in EVENT_TOPICS}
    for name in documented_tables():
        layer = "real_time" if name.startswith("rt_") else "monitoring" if name == "quality_results" else "marts"
        columns[f"{layer}/{name}"] = [column for column, _, _ in documented_columns(name)]
    return columns | {f"views/{name}": list(view.columns) for name, view in documented_views().items()}


COLUMNS = columns_by_table()


def parents(spec: dg.AssetSpec) -> set[str]:
    return {dep.asset_key.to_user_string() for dep in spec.deps}


def lineage(spec: dg.AssetSpec) -> dict[str, set[tuple[str, str]]]:
    """Return what Dagster is told: by column, upstream tables and columns."""
    told = spec.metadata.get("dagster/column_lineage")
    assert told is None or isinstance(told, dg.TableColumnLineage)
    deps = told.deps_by_column if told is not None else {}
    return {
        column: {(dep.asset_key.to_user_string(), dep.column_name) for dep in sources}
        for column, sources in deps.items()
    }


def test_every_column_of_core_features_and_marts_has_an_entry(specs: dict[str, dg.AssetSpec]) -> None:
    tables = {path for path in specs if path.split("/")[0] in TOLD}
    assert {path.split("/")[0] for path in tables} == TOLD
    wrong = {path: set(lineage(specs[path])) ^ set(COLUMNS[path]) for path in tables}
    assert not {path: columns for path, columns in wrong.items() if columns}


def test_a_column_of_core_features_and_marts_comes_from_somewhere() -> None:
    told = {path: stated for path, stated in LINEAGE.items() if path.split("/")[0] in TOLD - {"real_time"}}
    assert not [(path, column) for path, stated in told.items() for column, origins in stated.items() if not origins]


def test_what_a_column_comes_from_exists_and_lies_upstream_in_the_graph(specs: dict[str, dg.AssetSpec]) -> None:
    named = [
        (path, column, *origin)
        for path, spec in specs.items()
        for column, origins in lineage(spec).items()
        for origin in origins
    ]
    assert len(named) > 500
    assert not [one for one in named if one[3] not in COLUMNS.get(one[2], [])]
    assert not [one for one in named if one[2] not in parents(specs[one[0]])]


def test_an_upstream_table_is_the_origin_of_some_column(specs: dict[str, dg.AssetSpec]) -> None:
    for path, spec in specs.items():
        if path.split("/")[0] in TOLD:
            used = {table for origins in lineage(spec).values() for table, _ in origins}
            assert parents(spec) - GATES.get(path, set()) == used, path


def test_every_table_and_view_of_the_warehouse_is_in_the_graph(specs: dict[str, dg.AssetSpec]) -> None:
    in_warehouse = {path for path in COLUMNS if path.split("/")[0] in IN_WAREHOUSE}
    assert in_warehouse == {path for path in specs if path.split("/")[0] in IN_WAREHOUSE}


def test_the_real_time_tables_come_from_the_topics_that_the_streaming_service_reads(
    specs: dict[str, dg.AssetSpec],
) -> None:
    topics = {query.name: {f"kafka/{topic.table}" for topic in query.topics} for query in QUERIES}
    tables = {query.name: tuple(f"real_time/{target.table}" for target in query.targets) for query in QUERIES}
    assert tables == TABLES_OF_QUERIES
    written = {path: topics[query] for query, paths in tables.items() for path in paths}
    written[QUERY_PROGRESS] = set.union(*topics.values())
    derived = OF_LOOKS.keys() | REFRESHED.keys()
    assert {f"real_time/{table}" for table in LOOKED_AT} == OF_LOOKS.keys()
    real_time = {path: parents(spec) for path, spec in specs.items() if path.startswith("real_time/")}
    assert {path: above for path, above in real_time.items() if path not in derived} == written


def test_what_looks_and_summaries_make_hangs_on_the_tables_that_the_service_writes(
    specs: dict[str, dg.AssetSpec],
) -> None:
    of_facts = {"real_time/rt_sales_profile", "real_time/rt_fact_hours"}
    for path in (OF_LOOKS.keys() | REFRESHED.keys()) - of_facts:
        assert any(above.startswith("real_time/") for above in parents(specs[path])), path
    assert parents(specs["real_time/rt_sales_profile"]) == {
        "marts/fact_sales",
        "marts/dim_store",
        "marts/dim_product",
    }


def test_the_live_views_hang_on_the_real_time_tables(specs: dict[str, dg.AssetSpec]) -> None:
    clock = {"views/v_store_clock"}
    dimensions = {"marts/dim_store", "marts/dim_product"}
    assert {name: parents(specs[f"views/{name}"]) for name in LIVE_VIEWS} == {
        "v_store_clock": {"real_time/rt_inventory", "real_time/rt_pos_hourly"},
        "v_recent_sales": {"real_time/rt_sales_velocity"} | clock,
        "v_sales_velocity": {"views/v_recent_sales"} | dimensions,
        "v_inventory_now": {"real_time/rt_inventory", "real_time/rt_stock_settled"} | dimensions,
        "v_pos_hourly": {"real_time/rt_pos_hourly", "marts/dim_store"},
        "v_pos_health": {"real_time/rt_pos_hourly", "marts/dim_store"},
        "v_dead_letters": {"real_time/rt_dead_letters"},
    }
    unexplained = lineage(specs["views/v_inventory_now"])["unexplained"]
    assert ("real_time/rt_inventory", "unexplained") in unexplained
    assert lineage(specs["views/v_pos_health"])["last_kind"] == {("real_time/rt_pos_hourly", "last_kind")}


def test_the_graph_leads_from_the_tills_baskets_to_the_views_that_people_read(specs: dict[str, dg.AssetSpec]) -> None:
    below = defaultdict(set)
    for path, spec in specs.items():
        for parent in parents(spec):
            below[parent].add(path)
    reached, waiting = set[str](), ["kafka/sales_transactions"]
    while waiting:
        here = waiting.pop()
        reached.add(here)
        waiting += below[here] - reached
    ends = {path for path in reached if not below[path]}
    # What a contract refuses goes back to Kafka, a sensor reads how the service is; all else ends where people read.
    assert {end for end in ends if not end.startswith("views/")} == {"kafka/dead_letters", QUERY_PROGRESS}
    assert {"views/v_sales", "views/v_reorder", "views/v_demand_features", "views/v_revenue_hourly"} <= ends


def test_a_columns_way_can_be_followed_from_a_view_back_to_the_baskets_lines(specs: dict[str, dg.AssetSpec]) -> None:
    way, waiting = set[tuple[str, str]](), [("views/v_demand_features", "demand_mean_28")]
    while waiting:
        table, column = waiting.pop()
        way.add((table, column))
        waiting += [origin for origin in lineage(specs[table]).get(column, ()) if origin not in way]
    assert {
        ("marts/feature_demand", "demand_mean_28"),
        ("features/demand_features", "demand_mean_28"),
        ("core/daily_sales", "units"),
        ("core/sales_lines", "units"),
        ("raw/sales_transactions", "lines"),
        ("kafka/sales_transactions", "lines"),
    } <= way


def test_the_words_of_a_column_say_where_it_comes_from(specs: dict[str, dg.AssetSpec]) -> None:
    schema = specs["marts/fact_sales"].metadata["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema)
    words = {column.name: column.description for column in schema.columns}
    assert words["revenue"] == "Net revenue, money. From core/sales_lines: revenue; core/daily_sales: revenue."
