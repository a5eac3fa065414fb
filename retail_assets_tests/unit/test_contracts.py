"""The contracts agree with each other, and the warehouse's DDL agrees with them."""

import re
from pathlib import Path

import pytest

from retail_assets.contracts.events import INVENTORY_UPDATE, POS_EVENT, SALES_TRANSACTION, EventSchema
from retail_assets.contracts.features import DEMAND_FEATURES
from retail_assets.contracts.tables import (
    CORE_INVENTORY_DAILY,
    FORECASTS_DEMAND_7D,
    INVENTORY_REORDER_POINTS,
    QUANTILES,
    REFERENCE_PRODUCTS,
    REFERENCE_STORES,
    REFERENCE_SUPPLIERS,
    TABLES,
    Table,
)
from retail_assets.contracts.topics import EVENT_TOPICS
from retail_assets.contracts.types import BOOLEAN, FLOAT32, INT32, arrow_schema, spark_schema
from retail_assets.resources.migrations import Migration, MigrationError, read_migrations
from retail_assets.resources.warehouse_schema import documented_columns


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.path)
def test_a_table_has_its_grain_and_its_partition_among_its_columns(table: Table) -> None:
    assert set(table.grain) <= set(table.column_names)
    assert table.partition_by is None or table.partition_by in table.column_names
    assert len(set(table.column_names)) == len(table.column_names)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.path)
def test_a_table_explains_itself_and_each_of_its_columns(table: Table) -> None:
    assert table.description.endswith(".")
    assert all(column.description for column in table.columns)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.path)
def test_spark_and_arrow_see_the_same_columns(table: Table) -> None:
    assert spark_schema(table.columns).names == arrow_schema(table.columns).names == list(table.column_names)


@pytest.mark.parametrize("schema", [SALES_TRANSACTION, INVENTORY_UPDATE, POS_EVENT], ids=lambda schema: schema.name)
def test_an_event_has_an_identity_a_store_and_a_time(schema: EventSchema) -> None:
    names = [column.name for column in schema.required]
    assert {schema.id_field, "store_id", "occurred_at"} <= set(names)


def test_the_key_of_a_topic_is_made_of_required_fields() -> None:
    for topic in EVENT_TOPICS:
        assert set(topic.key_fields) <= {column.name for column in topic.schema.required}


def test_the_quantiles_of_a_forecast_are_in_order_and_have_columns() -> None:
    assert list(QUANTILES.values()) == sorted(QUANTILES.values())
    assert set(QUANTILES) <= set(FORECASTS_DEMAND_7D.column_names)


def warehouse_columns(table: str) -> set[str]:
    """Return the columns of a warehouse table by its DDL."""
    ddl = "\n".join(migration.sql for migration in read_migrations())
    body = re.search(rf"CREATE TABLE IF NOT EXISTS {table}\n\((.*?)\n\)\n", ddl, re.DOTALL)
    assert body is not None, f"no DDL for {table}"
    return {line.split()[0] for line in body[1].strip().splitlines()}


@pytest.mark.parametrize(
    ("mart", "table"),
    [
        ("fact_inventory", CORE_INVENTORY_DAILY),
        ("fact_forecast", FORECASTS_DEMAND_7D),
        ("fact_reorder", INVENTORY_REORDER_POINTS),
    ],
)
def test_a_fact_has_the_columns_of_its_table_with_keys_for_ids(mart: str, table: Table) -> None:
    keyed = {re.sub(r"^(store|product|supplier)_id$", r"\1_key", name) for name in table.column_names}
    assert warehouse_columns(mart) == keyed


@pytest.mark.parametrize(
    ("dimension", "table"),
    [("dim_store", REFERENCE_STORES), ("dim_product", REFERENCE_PRODUCTS), ("dim_supplier", REFERENCE_SUPPLIERS)],
)
def test_a_dimension_uses_the_names_of_its_master_data(dimension: str, table: Table) -> None:
    own_key = f"{dimension.removeprefix('dim_')}_key"
    assert warehouse_columns(dimension) - {own_key, "supplier_key"} <= set(table.column_names)


#: Of features; the DDL's other types are held to the contracts by name alone.
WAREHOUSE_TYPES = {FLOAT32: "Float32", INT32: "Int32", BOOLEAN: "Bool"}


def test_the_features_in_the_warehouse_are_those_of_the_dictionary_with_their_words() -> None:
    expected = []
    for column in (feature.column for feature in DEMAND_FEATURES):
        words = column.description.removesuffix(".") + (f", {column.unit}" if column.unit else "")
        expected.append((column.name, WAREHOUSE_TYPES[column.type], words))
    ids_and_date = 3
    assert documented_columns("feature_demand")[ids_and_date:] == expected, "write a migration, see docs/features.md"
    # NaN stands for what is not known, and only numbers with a fraction have one.
    assert {feature.column.type for feature in DEMAND_FEATURES if feature.column.nullable} == {FLOAT32}


def test_columns_and_comments_that_later_migrations_bring_are_documented() -> None:
    made = "CREATE TABLE IF NOT EXISTS t\n(\n    a  UInt8 COMMENT 'One',\n    b  UInt8 COMMENT 'Two'\n)\nORDER BY a;\n"
    altered = (
        "ALTER TABLE t\n    ADD COLUMN IF NOT EXISTS c Float32 DEFAULT nan COMMENT 'It''s new' AFTER a,\n"
        "    COMMENT COLUMN b 'Second';\nALTER TABLE other\n    COMMENT COLUMN a 'Not ours';\n"
    )
    migrations = [Migration(1, "made", made), Migration(2, "altered", altered)]
    assert documented_columns("t", migrations) == [
        ("a", "UInt8", "One"),
        ("c", "Float32", "It's new"),
        ("b", "UInt8", "Second"),
    ]


def test_every_column_of_the_warehouse_has_a_comment() -> None:
    for migration in read_migrations():
        for body in re.findall(r"CREATE TABLE IF NOT EXISTS \w+\n\((.*?)\n\)\n", migration.sql, re.DOTALL):
            for line in body.strip().splitlines():
                assert "COMMENT" in line, f"{migration.name}: {line.strip()}"


def test_a_gap_between_migrations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_first.sql").write_text("SELECT 1;\n")
    (tmp_path / "0003_third.sql").write_text("SELECT 1;\n")
    with pytest.raises(MigrationError, match="without gap"):
        read_migrations(tmp_path)
