"""Imported days through the core layer on Spark: next to till days, and the same in one run or in several."""

from datetime import date, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest

from retail_assets.assets.core import core_assets
from retail_assets.assets.sources import source_specs
from retail_assets.checks.unknown import known_products_and_stores
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    CORE_LIST_PRICES,
    CORE_SALES_LINES,
    RAW_IMPORTED_SALES,
    REFERENCE_ASSORTMENT,
)
from retail_assets.io_managers.delta import SparkDeltaIOManager
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource
from retail_assets.runs import partition_tags
from retail_assets_tests.made_up_tables import blank

pytestmark = pytest.mark.integration

TABLES = (CORE_LIST_PRICES, CORE_SALES_LINES, CORE_INVENTORY_DAILY, CORE_DAILY_SALES)
FIRST = date(2026, 1, 30)  # so that the days lie in two months


def on(day: int) -> date:
    return FIRST + timedelta(days=day)


def imported(store: str, product: str, day: int, units: int, **more: Any) -> dict[str, Any]:
    return {
        "store_id": store,
        "product_id": product,
        "business_date": on(day),
        "business_month": on(day).replace(day=1),
        "units": units,
        "imported_at": None,
        **more,
    }


@pytest.fixture
def run(spark_resource: SparkResource, lake: LakeResource) -> Any:
    from retail_assets.contracts.tables import REFERENCE_PRODUCTS, REFERENCE_STORES

    hours = {"opens_at_hour": 8, "closes_at_hour": 20, "time_zone": "Europe/Berlin"}
    lake.overwrite(REFERENCE_STORES, blank(REFERENCE_STORES, [{"store_id": name, **hours} for name in ("S1", "S2")]))
    lake.overwrite(REFERENCE_PRODUCTS, blank(REFERENCE_PRODUCTS, [{"product_id": "P1", "list_price": 4}]))
    manager = SparkDeltaIOManager(spark=spark_resource, lake=lake)
    resources = {"spark": spark_resource, "lake": lake, "lake_io_manager": manager}

    def materialize(first: int, last: int) -> dg.ExecuteInProcessResult:
        keys = [dg.AssetKey(table.key) for table in TABLES]
        graph = [*source_specs(), *core_assets(), known_products_and_stores]
        result = dg.materialize(graph, selection=keys, resources=resources, tags=partition_tags(on(first), on(last)))
        assert result.success
        return result

    return materialize


def test_an_import_becomes_daily_sales_and_a_ledger_whether_made_in_one_run_or_two(
    run: Any, lake: LakeResource
) -> None:
    rows = [
        imported("S1", "P1", 0, 3, on_hand=10),
        imported("S1", "P1", 3, 2, on_hand=5),
        *(imported("S1", "P2", day, 1) for day in range(4)),
        imported("S2", "P1", 1, 7, unit_price=2, on_promotion=True),
    ]
    lake.overwrite(
        RAW_IMPORTED_SALES,
        blank(RAW_IMPORTED_SALES, rows).with_columns(imported_at=pl.datetime(2026, 2, 9, time_zone="UTC")),
    )
    listed = [("S1", "P1"), ("S1", "P2"), ("S2", "P1")]
    lake.overwrite(
        REFERENCE_ASSORTMENT,
        blank(REFERENCE_ASSORTMENT, [{"store_id": s, "product_id": p, "listed_from": on(0)} for s, p in listed]),
    )
    result = run(0, 3)
    sales = lake.read(CORE_DAILY_SALES).sort("store_id", "product_id", "business_date")
    units = {
        (row["store_id"], row["product_id"], (row["business_date"] - FIRST).days): float(row["units"])
        for row in sales.iter_rows(named=True)
    }
    assert units == {
        ("S1", "P1", 0): 3,
        ("S1", "P1", 1): 0,
        ("S1", "P1", 2): 0,
        ("S1", "P1", 3): 2,
        **{("S1", "P2", day): 1 for day in range(4)},
        ("S2", "P1", 1): 7,
    }
    ledger = lake.read(CORE_INVENTORY_DAILY).sort("business_date")
    assert ledger["closing"].cast(pl.Float64).to_list() == [10, 10, 10, 5]

    (warning,) = result.get_asset_check_evaluations()
    assert not warning.passed
    assert warning.severity is dg.AssetCheckSeverity.WARN
    assert warning.description == "1 unknown products with 4 rows and 4 units: P2"

    run(0, 1)
    run(2, 3)
    assert lake.read(CORE_DAILY_SALES).sort("store_id", "product_id", "business_date").rows() == sales.rows()
    assert lake.read(CORE_INVENTORY_DAILY).sort("business_date").rows() == ledger.rows()
