"""The lake's IO manager, by round trips on a real Spark: write twice, still the same rows."""

from datetime import date
from decimal import Decimal
from typing import Any

import dagster as dg
import polars as pl
import pytest
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import SparkSession

from retail_assets.contracts.tables import CORE_DAILY_SALES, REFERENCE_SUPPLIERS, Table
from retail_assets.contracts.types import polars_schema
from retail_assets.io_managers.delta import SparkDeltaIOManager, contract_frame
from retail_assets.io_managers.frames import ContractError
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource

DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-02-01")


def sales(*rows: tuple[str, str, int], price: str = "2.50") -> pl.DataFrame:
    """Return rows of daily sales: product, date, units."""
    return pl.DataFrame(
        {
            "store_id": ["S001"] * len(rows),
            "product_id": [product for product, _, _ in rows],
            "units": [units for _, _, units in rows],
            "revenue": [units * 2.5 for _, _, units in rows],
            "unit_price": [price] * len(rows),
            "list_price": [price] * len(rows),
            "promotion_id": ["PR1"] * len(rows),
            "discount_share": [0.0] * len(rows),
            "on_promotion": [False] * len(rows),
            "stockout_hours": [0.0] * len(rows),
            "open_hours": [12.0] * len(rows),
            "business_date": [date.fromisoformat(day) for _, day, _ in rows],
        }
    )


@pytest.fixture
def manager(spark_resource: SparkResource, lake: LakeResource) -> SparkDeltaIOManager:
    return SparkDeltaIOManager(spark=spark_resource, lake=lake)


def write(manager: SparkDeltaIOManager, table: Table, frame: SparkFrame | pl.DataFrame, **partitions: Any) -> None:
    context = dg.build_output_context(asset_key=dg.AssetKey(table.key), **partitions)
    manager.handle_output(context, frame)


def spark_rows(spark: SparkSession, *rows: tuple[str, str, int], price: str = "2.50") -> SparkFrame:
    return spark.createDataFrame(sales(*rows, price=price).to_pandas())


def materialize(manager: SparkDeltaIOManager, frame: SparkFrame, first: str, last: str) -> None:
    """Write a frame as a run over a range of days does."""

    @dg.asset(
        key=dg.AssetKey(CORE_DAILY_SALES.key), partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run()
    )
    def daily_sales() -> SparkFrame:
        return frame

    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    dg.materialize([daily_sales], resources={"io_manager": manager}, tags=tags)


def stored(lake: LakeResource) -> list[tuple[str, str, float]]:
    frame = lake.read(CORE_DAILY_SALES).sort("business_date", "product_id")
    return [(r["product_id"], str(r["business_date"]), float(r["units"])) for r in frame.iter_rows(named=True)]


def test_a_table_of_an_earlier_release_gets_the_columns_that_the_contract_has_got_since(
    spark: SparkSession, manager: SparkDeltaIOManager, lake: LakeResource
) -> None:
    old = contract_frame(spark_rows(spark, ("A", "2026-01-05", 1)), CORE_DAILY_SALES)
    old.drop("list_price", "promotion_id").write.format("delta").partitionBy("business_date").save(
        lake.uri(CORE_DAILY_SALES.path)
    )
    materialize(manager, spark_rows(spark, ("A", "2026-01-06", 2)), "2026-01-06", "2026-01-06")
    found = lake.read(CORE_DAILY_SALES).sort("business_date")
    assert found["promotion_id"].to_list() == [None, "PR1"]


def test_a_range_of_days_written_twice_holds_the_same_rows(
    spark: SparkSession, manager: SparkDeltaIOManager, lake: LakeResource
) -> None:
    frame = spark_rows(spark, ("A", "2026-01-05", 1), ("B", "2026-01-05", 2), ("A", "2026-01-06", 3))
    materialize(manager, frame, "2026-01-05", "2026-01-06")
    materialize(manager, frame, "2026-01-05", "2026-01-06")
    assert stored(lake) == [("A", "2026-01-05", 1.0), ("B", "2026-01-05", 2.0), ("A", "2026-01-06", 3.0)]


def test_a_day_written_again_leaves_the_other_days_alone(
    spark: SparkSession, manager: SparkDeltaIOManager, lake: LakeResource
) -> None:
    materialize(manager, spark_rows(spark, ("A", "2026-01-05", 1), ("A", "2026-01-06", 3)), "2026-01-05", "2026-01-06")
    materialize(manager, spark_rows(spark, ("B", "2026-01-06", 9)), "2026-01-06", "2026-01-06")
    assert stored(lake) == [("A", "2026-01-05", 1.0), ("B", "2026-01-06", 9.0)]


def test_a_day_without_rows_empties_that_day(
    spark: SparkSession, manager: SparkDeltaIOManager, lake: LakeResource
) -> None:
    materialize(manager, spark_rows(spark, ("A", "2026-01-05", 1), ("A", "2026-01-06", 3)), "2026-01-05", "2026-01-06")
    materialize(manager, spark_rows(spark, ("A", "2026-01-06", 3)).where("false"), "2026-01-06", "2026-01-06")
    assert stored(lake) == [("A", "2026-01-05", 1.0)]


def test_a_row_of_another_day_is_refused_and_nothing_is_written(
    spark: SparkSession, manager: SparkDeltaIOManager, lake: LakeResource
) -> None:
    materialize(manager, spark_rows(spark, ("A", "2026-01-05", 1)), "2026-01-05", "2026-01-05")
    with pytest.raises(Exception, match=r"replaceWhere|REPLACE_WHERE|does not conform"):
        materialize(
            manager, spark_rows(spark, ("A", "2026-01-06", 3), ("B", "2026-01-05", 7)), "2026-01-06", "2026-01-06"
        )
    assert stored(lake) == [("A", "2026-01-05", 1.0)]


def test_a_value_that_does_not_fit_its_type_is_refused_rather_than_turned_into_null(
    spark: SparkSession, manager: SparkDeltaIOManager, lake: LakeResource
) -> None:
    with pytest.raises(Exception, match=r"CAST_INVALID_INPUT|cannot be cast"):
        materialize(manager, spark_rows(spark, ("A", "2026-01-05", 1), price="cheap"), "2026-01-05", "2026-01-05")
    assert lake.delta(CORE_DAILY_SALES) is None


def test_a_frame_with_a_column_too_few_or_too_many_is_refused_by_name(
    spark: SparkSession, manager: SparkDeltaIOManager
) -> None:
    frame = spark_rows(spark, ("A", "2026-01-05", 1)).drop("revenue").withColumnRenamed("units", "pieces")
    with pytest.raises(ContractError, match=r"lacks \[units, revenue\] and has \[pieces\]"):
        materialize(manager, frame, "2026-01-05", "2026-01-05")


def test_a_small_table_is_written_and_read_as_polars_without_spark(lake: LakeResource) -> None:
    manager = SparkDeltaIOManager(spark=SparkResource(spark_config={"spark.master": "no such master"}), lake=lake)
    suppliers = pl.DataFrame(
        {
            "supplier_id": ["SUP01"],
            "name": ["North"],
            "lead_time_days_mean": [3.0],
            "lead_time_days_sd": [1.0],
            "review_period_days": [2],
            "lead_time_distribution": ["gamma"],
            "delivery_weekdays": ["1,4"],
            "minimum_order_value": [Decimal("50.00")],
            "reliability": [0.97],
        },
        schema=polars_schema(REFERENCE_SUPPLIERS.columns),
    )
    write(manager, REFERENCE_SUPPLIERS, suppliers)
    write(manager, REFERENCE_SUPPLIERS, suppliers)
    assert lake.read(REFERENCE_SUPPLIERS).to_dicts() == suppliers.to_dicts()


def test_the_row_count_of_a_run_is_read_from_the_log(
    spark: SparkSession, manager: SparkDeltaIOManager, lake: LakeResource
) -> None:
    materialize(manager, spark_rows(spark, ("A", "2026-01-05", 1), ("A", "2026-01-06", 3)), "2026-01-05", "2026-01-06")

    @dg.asset(key=dg.AssetKey(CORE_DAILY_SALES.key), partitions_def=DAYS)
    def daily_sales() -> SparkFrame:
        return spark_rows(spark, ("A", "2026-01-06", 3), ("B", "2026-01-06", 4))

    result = dg.materialize([daily_sales], resources={"io_manager": manager}, partition_key="2026-01-06")
    event = result.get_asset_materialization_events()[0].materialization
    assert event.metadata["dagster/row_count"].value == 2
