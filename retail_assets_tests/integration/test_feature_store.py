"""Features in the warehouse: the last days, each once, unknown values as such, and the document's way to read them."""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from retail_assets.assets.core import core_assets
from retail_assets.assets.features import feature_assets
from retail_assets.assets.marts import feature_demand
from retail_assets.assets.sources import source_specs
from retail_assets.contracts.tables import FEATURES_DEMAND
from retail_assets.contracts.types import polars_schema
from retail_assets.io_managers.clickhouse import ClickHouseIOManager
from retail_assets.io_managers.delta import SparkDeltaIOManager
from retail_assets.resources.clickhouse import ClickHouseResource
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource
from retail_assets.resources.warehouse_schema import documented_columns
from retail_assets.runs import partition_tags
from retail_assets.settings import Settings, get_settings

pytestmark = pytest.mark.integration

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "features.md"
LAST = date(2025, 4, 2)


def ago(days: int) -> date:
    return LAST - timedelta(days=days)


def features(*days: date, demand: float = 3.0) -> pl.DataFrame:
    """Return the features of two series; all but a few values are unknown, where they may be."""
    given: dict[str, Any] = {"demand": demand, "demand_mean_28": 2.5, "store_cluster": 5, "is_holiday": True}
    series = [("S1", "P1"), ("S1", "P2")]
    rows = [
        {
            column.name: given.get(column.name, None if column.nullable else 0)
            for column in FEATURES_DEMAND.columns
            if column.name not in FEATURES_DEMAND.grain
        }
        | {"store_id": store, "product_id": product, "business_date": day}
        for day in days
        for store, product in series
    ]
    return pl.DataFrame(rows, schema=polars_schema(FEATURES_DEMAND.columns), strict=False)


@pytest.fixture
def serve(spark_resource: SparkResource, lake: LakeResource, warehouse: Client) -> Any:
    """Return the run of the mart over some days of a lake."""
    resources = {
        "spark": spark_resource,
        "lake": lake,
        "clickhouse": ClickHouseResource(database="retail"),
        "lake_io_manager": SparkDeltaIOManager(spark=spark_resource, lake=lake),
        "warehouse_io_manager": ClickHouseIOManager(
            spark=spark_resource, clickhouse=ClickHouseResource(database="retail")
        ),
    }

    def materialize(first: date, last: date) -> None:
        graph = [*source_specs(), *core_assets(), *feature_assets(), feature_demand]
        assert dg.materialize(
            graph, selection=[feature_demand], resources=resources, tags=partition_tags(first, last)
        ).success

    return materialize


@pytest.fixture
def served_days(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the means to set for how many days features are served."""

    def choose(days: int) -> None:
        monkeypatch.setenv("RETAIL_FEATURES_SERVED_DAYS", str(days))
        get_settings.cache_clear()

    yield choose
    monkeypatch.undo()
    get_settings.cache_clear()


def stored(warehouse: Client) -> list[tuple[str, str, float]]:
    rows = warehouse.query("SELECT toString(business_date), product_id, demand FROM retail.feature_demand ORDER BY ALL")
    return [(day, product, demand) for day, product, demand in rows.result_rows]


def test_the_engine_has_the_columns_and_comments_that_the_ddl_states(warehouse: Client) -> None:
    found: dict[str, list[tuple[str, str, str]]] = {}
    for table, *column in warehouse.query(
        "SELECT table, name, type, comment FROM system.columns WHERE database = 'retail' AND table NOT LIKE 'v\\_%' "
        "AND table <> 'schema_migrations' AND NOT endsWith(table, '_refresh') ORDER BY table, position"
    ).result_rows:
        found.setdefault(str(table), []).append((column[0], column[1], column[2]))
    assert found == {table: documented_columns(table) for table in found}
    assert "feature_demand" in found


def test_the_view_shows_every_feature_under_its_name_and_unknown_ones_as_null(warehouse: Client) -> None:
    rows = warehouse.query(
        "SELECT name, startsWith(type, 'Nullable') FROM system.columns WHERE database = 'retail' "
        "AND table = 'v_demand_features' ORDER BY position"
    ).result_rows
    shown = {str(name): bool(nullable) for name, nullable in rows}
    expected = {
        column.name: column.nullable for column in FEATURES_DEMAND.columns if column.name not in FEATURES_DEMAND.grain
    }
    assert list(expected) == [name for name in shown if name in expected]
    assert expected == {name: nullable for name, nullable in shown.items() if name in expected}
    assert set(shown) - set(expected) == {
        "date", "region", "city", "store", "store_id", "category", "product", "product_id",
    }  # fmt: skip


def test_only_the_last_days_are_served_and_older_months_are_let_go(
    serve: Any, served_days: Any, lake: LakeResource, warehouse: Client
) -> None:
    served_days(3)
    lake.overwrite(FEATURES_DEMAND, features(ago(40), ago(39)))
    serve(ago(40), ago(39))
    assert [day for day, _, _ in stored(warehouse)] == [str(ago(40))] * 2 + [str(ago(39))] * 2
    # March and April 2025: the range's older days are in the lake alone, February's are dropped.
    lake.overwrite(FEATURES_DEMAND, features(*(ago(days) for days in (40, 39, 4, 3, 2, 1, 0))))
    serve(ago(4), LAST)
    assert [day for day, product, _ in stored(warehouse) if product == "P1"] == [str(ago(days)) for days in (2, 1, 0)]


def test_a_day_that_is_run_again_leaves_the_others_alone(serve: Any, lake: LakeResource, warehouse: Client) -> None:
    lake.overwrite(FEATURES_DEMAND, features(ago(2), ago(1), LAST))
    serve(ago(2), LAST)
    lake.overwrite(FEATURES_DEMAND, features(ago(2), ago(1), LAST, demand=7.0))
    serve(ago(1), ago(1))
    assert [demand for _, product, demand in stored(warehouse) if product == "P1"] == [3.0, 7.0, 3.0]


def test_a_lake_without_features_serves_none(serve: Any, lake: LakeResource, warehouse: Client) -> None:
    serve(ago(1), LAST)
    assert stored(warehouse) == []


def test_what_is_not_known_is_nan_in_the_table_and_null_in_the_view_and_never_zero(
    serve: Any, lake: LakeResource, warehouse: Client
) -> None:
    lake.overwrite(FEATURES_DEMAND, features(LAST))
    serve(LAST, LAST)
    (row,) = warehouse.query("SELECT * FROM retail.feature_demand WHERE product_id = 'P1'").named_results()
    unknown = {name for name, value in row.items() if isinstance(value, float) and value != value}  # noqa: PLR0124
    assert unknown == {column.name for column in FEATURES_DEMAND.columns if column.nullable} - {"demand_mean_28"}
    assert (row["demand"], row["demand_mean_28"], row["store_cluster"], row["is_holiday"]) == (3.0, 2.5, 5, True)
    (seen,) = warehouse.query("SELECT * FROM retail.v_demand_features WHERE product_id = 'P1'").named_results()
    assert {name for name, value in seen.items() if value is None} == unknown
    assert (seen["store"], seen["category"]) == ("S1", "unknown")


def test_a_store_and_a_day_asked_of_the_view_are_found_by_the_tables_index(warehouse: Client) -> None:
    for day in (ago(5), LAST):
        warehouse.command(f"INSERT INTO retail.feature_demand (business_date, store_id) VALUES ('{day}', 'S1')")
    plan = warehouse.command(
        "EXPLAIN indexes = 1 SELECT * FROM retail.v_demand_features WHERE store_id = 'S1' AND date = '2025-04-02'"
    )
    text = "".join(plan if isinstance(plan, list) else str(plan)).replace("\\", "")
    assert "Condition: and((business_date in [20180, 20180]), (store_id in ['S1', 'S1']))" in text
    assert "Parts: 1/2" in text


def test_the_python_of_the_document_reads_a_store_and_what_was_known_before_each_day(
    warehouse: Client, settings: Settings
) -> None:
    for day in (ago(3), ago(1), LAST):
        warehouse.command(
            "INSERT INTO retail.feature_demand (business_date, store_id, product_id, demand, demand_mean_28) VALUES "
            f"('{day}', 'S1', 'P1', 3, 2.5)"
        )
    warehouse.command("INSERT INTO retail.dim_store (store_key, store_id) VALUES (1, 'S1')")
    warehouse.command("INSERT INTO retail.dim_product (product_key, product_id) VALUES (1, 'P1')")
    warehouse.command(
        "INSERT INTO retail.fact_sales (business_date, store_key, product_key, units) VALUES "
        f"('{ago(3)}', 1, 1, 9), ('{ago(1)}', 1, 1, 4), ('{LAST}', 1, 1, 5)"
    )
    code = "\n".join(
        re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    )
    for shown, here in (
        ("port=8123", f"port={settings.clickhouse_port}"),
        ('"var/secrets/', f'"{settings.secrets_dir}/'),
    ):
        assert code.count(shown) == 1, f"docs/features.md no longer says {shown}: mend this test"
        code = code.replace(shown, here)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["P1", "3.0", "2.5", "NaN"] in lines
    # The day's own row is never taken; the first day has nothing before it.
    assert [
        (line[0], line[3], line[4]) for line in lines if line[:1] in ([str(ago(3))], [str(ago(1))], [str(LAST)])
    ] == [
        (str(ago(1)), "4.000", str(ago(3))),
        (str(LAST), "5.000", str(ago(1))),
    ]
