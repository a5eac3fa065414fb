"""The warehouse's IO manager, by round trips on the real engine: write twice, still the same rows."""

from datetime import date
from typing import Any

import dagster as dg
import polars as pl
import pytest
from clickhouse_connect.driver.client import Client
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import SparkSession

from retail_assets.io_managers import clickhouse as module
from retail_assets.io_managers.clickhouse import ClickHouseIOManager, WriteError, months
from retail_assets.io_managers.frames import DateWindow
from retail_assets.resources.clickhouse import ClickHouseResource
from retail_assets.resources.spark import SparkResource

pytestmark = pytest.mark.integration

DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-04-01")


@pytest.fixture
def manager(spark_resource: SparkResource, warehouse: Client) -> ClickHouseIOManager:
    return ClickHouseIOManager(spark=spark_resource, clickhouse=ClickHouseResource(database="retail"))


def sales(spark: SparkSession, *rows: tuple[str, int]) -> SparkFrame:
    """Return rows of fact_sales: date, units."""
    return spark.createDataFrame(
        [(date.fromisoformat(day), units) for day, units in rows], "business_date date, n int"
    ).selectExpr(
        "business_date",
        "9 AS business_hour",
        "1 AS store_key",
        "2 AS product_key",
        "CAST(n AS decimal(12,3)) AS units",
        "CAST(n * 2.5 AS decimal(12,2)) AS revenue",
        "CAST(0 AS decimal(12,2)) AS discount",
        "1 AS transactions",
    )


def materialize(manager: ClickHouseIOManager, frame: SparkFrame, first: str, last: str) -> Any:
    @dg.asset(key=["marts", "fact_sales"], partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
    def fact_sales() -> SparkFrame:
        return frame

    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    return dg.materialize([fact_sales], resources={"io_manager": manager}, tags=tags)


def stored(warehouse: Client) -> list[tuple[str, float]]:
    rows = warehouse.query("SELECT toString(business_date), toFloat64(units) FROM retail.fact_sales ORDER BY 1, 2")
    return [(str(day), float(units)) for day, units in rows.result_rows]


def test_a_range_over_two_months_written_twice_holds_the_same_rows(
    spark: SparkSession, manager: ClickHouseIOManager, warehouse: Client
) -> None:
    frame = sales(spark, ("2026-01-31", 1), ("2026-02-01", 2))
    materialize(manager, frame, "2026-01-31", "2026-02-01")
    materialize(manager, frame, "2026-01-31", "2026-02-01")
    assert stored(warehouse) == [("2026-01-31", 1.0), ("2026-02-01", 2.0)]


def test_a_day_written_again_leaves_the_month_around_it_alone(
    spark: SparkSession, manager: ClickHouseIOManager, warehouse: Client
) -> None:
    materialize(manager, sales(spark, ("2026-01-05", 1), ("2026-01-06", 2)), "2026-01-05", "2026-01-06")
    materialize(manager, sales(spark, ("2026-01-06", 9)), "2026-01-06", "2026-01-06")
    assert stored(warehouse) == [("2026-01-05", 1.0), ("2026-01-06", 9.0)]


def test_a_day_without_rows_empties_that_day_even_when_it_was_all_of_the_month(
    spark: SparkSession, manager: ClickHouseIOManager, warehouse: Client
) -> None:
    materialize(manager, sales(spark, ("2026-01-05", 1)), "2026-01-05", "2026-01-05")
    materialize(manager, sales(spark, ("2026-01-05", 1)).where("false"), "2026-01-05", "2026-01-05")
    assert stored(warehouse) == []


def test_a_row_of_another_day_is_refused_and_nothing_changes(
    spark: SparkSession, manager: ClickHouseIOManager, warehouse: Client
) -> None:
    materialize(manager, sales(spark, ("2026-01-05", 1)), "2026-01-05", "2026-01-05")
    with pytest.raises(WriteError, match="1 rows lie outside of 2026-01-05 to 2026-01-05"):
        materialize(manager, sales(spark, ("2026-01-05", 7), ("2026-01-06", 8)), "2026-01-05", "2026-01-05")
    assert stored(warehouse) == [("2026-01-05", 1.0)]


def test_rows_that_are_lost_on_the_way_are_noticed_and_nothing_changes(
    spark: SparkSession, manager: ClickHouseIOManager, warehouse: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialize(manager, sales(spark, ("2026-01-05", 1)), "2026-01-05", "2026-01-05")
    monkeypatch.setattr(module, "_insert_spark", lambda _database, _staging, frame: frame.count())
    with pytest.raises(WriteError, match="2 rows were sent, 0 arrived"):
        materialize(manager, sales(spark, ("2026-01-05", 3), ("2026-01-05", 4)), "2026-01-05", "2026-01-05")
    assert stored(warehouse) == [("2026-01-05", 1.0)]


def test_the_staging_table_of_a_run_that_died_is_removed_by_the_next_write(
    spark: SparkSession, manager: ClickHouseIOManager, warehouse: Client
) -> None:
    warehouse.command("CREATE TABLE retail_staging.fact_sales__dead0000 AS retail.fact_sales")
    materialize(manager, sales(spark, ("2026-01-05", 1)), "2026-01-05", "2026-01-05")
    left = warehouse.query("SELECT name FROM system.tables WHERE database = 'retail_staging'").result_rows
    assert list(left) == []


def test_a_dimension_is_replaced_whole_and_read_back_as_polars(manager: ClickHouseIOManager, warehouse: Client) -> None:
    def suppliers(*ids: str) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "supplier_key": range(len(ids)),
                "supplier_id": ids,
                "name": ids,
                "lead_time_days_mean": [1.0] * len(ids),
                "lead_time_days_sd": [0.0] * len(ids),
                "review_period_days": [1] * len(ids),
            }
        )

    def write(frame: pl.DataFrame) -> pl.DataFrame:
        seen: list[pl.DataFrame] = []

        @dg.asset(key=["marts", "dim_supplier"])
        def dim_supplier() -> pl.DataFrame:
            return frame

        @dg.asset(ins={"dim": dg.AssetIn(key=["marts", "dim_supplier"])}, io_manager_key="nothing")
        def reader(dim: pl.DataFrame) -> None:
            seen.append(dim)

        dg.materialize([dim_supplier, reader], resources={"io_manager": manager, "nothing": dg.mem_io_manager})
        return seen[0]

    write(suppliers("unknown", "A", "B"))
    again = write(suppliers("unknown", "A"))
    assert again.sort("supplier_key")["supplier_id"].to_list() == ["unknown", "A"]


def test_a_fact_is_read_back_as_a_spark_frame_of_the_asked_days(
    spark: SparkSession, manager: ClickHouseIOManager, warehouse: Client
) -> None:
    materialize(manager, sales(spark, ("2026-01-31", 1), ("2026-02-01", 2)), "2026-01-31", "2026-02-01")
    seen: list[Any] = []

    @dg.asset(key=["marts", "fact_sales"], partitions_def=DAYS)
    def fact_sales() -> SparkFrame:
        return sales(spark, ("2026-02-01", 5))

    @dg.asset(ins={"fact": dg.AssetIn(key=["marts", "fact_sales"])}, partitions_def=DAYS, io_manager_key="nothing")
    def reader(fact: SparkFrame) -> None:
        seen.extend((str(row.business_date), float(row.units)) for row in fact.collect())

    dg.materialize(
        [fact_sales, reader],
        resources={"io_manager": manager, "nothing": dg.mem_io_manager},
        partition_key="2026-02-01",
    )
    assert seen == [("2026-02-01", 5.0)]


def test_a_frame_with_other_columns_is_refused(
    spark: SparkSession, manager: ClickHouseIOManager, warehouse: Client
) -> None:
    with pytest.raises(WriteError, match="add a migration"):
        materialize(manager, sales(spark, ("2026-01-05", 1)).drop("discount"), "2026-01-05", "2026-01-05")


def test_months_are_counted_over_the_turn_of_the_year() -> None:
    assert months(DateWindow(date(2025, 11, 30), date(2026, 2, 1))) == [202511, 202512, 202601, 202602]
