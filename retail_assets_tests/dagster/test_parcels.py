"""Tables that Spark's workers write by day: written twice they hold the same rows, and others' commits stay."""

import threading
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from retail_assets.contracts.tables import CORE_DAILY_SALES, FEATURES_DEMAND, Table
from retail_assets.contracts.types import arrow_schema, polars_schema
from retail_assets.io_managers.frames import ContractError, DateWindow
from retail_assets.io_managers.parcels import Parcels, parcels_by_store, write_parcels
from retail_assets.resources.lake import LakeResource

Row = tuple[str, str, int, float]


def day(number: int) -> date:
    return date(2026, 1, number)


def frame_of(*rows: Row) -> pl.DataFrame:
    """Return daily sales: store, product, day of January, units."""
    frame = pl.DataFrame(
        {
            "store_id": [store for store, *_ in rows],
            "product_id": [product for _, product, *_ in rows],
            "units": [units for *_, units in rows],
            "revenue": [0.0] * len(rows),
            "unit_price": [2.5] * len(rows),
            "discount_share": [0.0] * len(rows),
            "on_promotion": [False] * len(rows),
            "stockout_hours": [0.0] * len(rows),
            "open_hours": [12.0] * len(rows),
            "business_date": [day(number) for _, _, number, _ in rows],
        }
    )
    unknown = [name for name in CORE_DAILY_SALES.column_names if name not in frame.columns]
    return (
        frame.with_columns(pl.lit(None).alias(name) for name in unknown)
        .select(CORE_DAILY_SALES.column_names)
        .cast(polars_schema(CORE_DAILY_SALES.columns))
    )


def parcels(spark: SparkSession, *rows: Row) -> Parcels:
    """Return parcels of rows that a function of each store makes: what it is given says only which stores there are."""
    made = frame_of(*rows)

    def of_store(stores: pl.DataFrame) -> pl.DataFrame:
        return made.filter(pl.col("store_id").is_in(stores["store_id"].implode()))

    stores = spark.createDataFrame([(store,) for store in sorted({row[0] for row in rows})], "store_id string")
    return parcels_by_store(stores, of_store, CORE_DAILY_SALES)


def write(lake: LakeResource, rows: Parcels, first: int, last: int, note: str | None = None) -> None:
    write_parcels(rows, lake, DateWindow(day(first), day(last)), note)


def stored(lake: LakeResource) -> list[Row]:
    rows = lake.read(CORE_DAILY_SALES).sort("business_date", "store_id", "product_id").iter_rows(named=True)
    return [(r["store_id"], r["product_id"], r["business_date"].day, float(r["units"])) for r in rows]


def test_a_range_of_days_written_twice_holds_the_same_rows(spark: SparkSession, lake: LakeResource) -> None:
    rows = (("S1", "A", 5, 1.0), ("S2", "A", 5, 2.0), ("S1", "B", 6, 3.0), ("S2", "B", 6, 4.0))
    write(lake, parcels(spark, *rows), 5, 6)
    write(lake, parcels(spark, *rows), 5, 6)
    assert stored(lake) == list(rows)


def test_spark_reads_the_rows_as_they_were_written(spark: SparkSession, lake: LakeResource) -> None:
    rows = (("S1", "A", 5, 1.25), ("S2", "A", 5, 0.0))
    write(lake, parcels(spark, *rows), 5, 5)
    read = spark.read.format("delta").load(lake.uri(CORE_DAILY_SALES.path)).orderBy("store_id")
    assert pl.DataFrame(read.toArrow()).cast(polars_schema(CORE_DAILY_SALES.columns)).equals(frame_of(*rows))


def test_a_day_written_again_leaves_the_other_days_alone_and_one_without_rows_becomes_empty(
    spark: SparkSession, lake: LakeResource
) -> None:
    write(lake, parcels(spark, ("S1", "A", 5, 1.0), ("S1", "A", 6, 2.0), ("S1", "A", 7, 3.0)), 5, 7)
    write(lake, parcels(spark, ("S1", "B", 6, 9.0)), 6, 7)
    assert stored(lake) == [("S1", "A", 5, 1.0), ("S1", "B", 6, 9.0)]


def test_a_day_is_one_file_in_order_of_stores_and_products(spark: SparkSession, lake: LakeResource) -> None:
    rows = [(f"S{store}", product, 5, 1.0) for store in range(9) for product in ("A", "B")]
    write(lake, parcels(spark, *reversed(rows)), 5, 5)
    delta = lake.delta(CORE_DAILY_SALES)
    assert delta is not None
    (file,) = delta.file_uris()
    assert pl.read_parquet(file).select("store_id", "product_id").rows() == [(row[0], row[1]) for row in rows]
    action = pl.DataFrame(delta.get_add_actions(flatten=True)).row(0, named=True)
    assert (action["num_records"], action["min.store_id"], action["max.store_id"]) == (18, "S0", "S8")


def test_a_row_of_another_day_is_refused_and_nothing_is_written(spark: SparkSession, lake: LakeResource) -> None:
    write(lake, parcels(spark, ("S1", "A", 5, 1.0)), 5, 5)
    with pytest.raises(ContractError, match=r"covers 2026-01-05 to 2026-01-05, but there are rows of 2026-01-06"):
        write(lake, parcels(spark, ("S1", "A", 5, 8.0), ("S1", "A", 6, 9.0)), 5, 5)
    assert stored(lake) == [("S1", "A", 5, 1.0)]


def test_a_row_without_a_value_that_it_must_have_is_refused_by_name(spark: SparkSession, lake: LakeResource) -> None:
    made = frame_of(("S1", "A", 5, 1.0)).with_columns(open_hours=pl.lit(None, pl.Float64))
    stores = spark.createDataFrame([("S1",)], "store_id string")
    with pytest.raises(Exception, match=r"open_hours"):
        write(lake, parcels_by_store(stores, lambda _: made, CORE_DAILY_SALES), 5, 5)
    assert stored(lake) == []


def test_a_store_in_parts_by_product_gives_the_same_rows(spark: SparkSession, lake: LakeResource) -> None:
    rows = [(store, f"P{number}", 5, float(number)) for store in ("S1", "S2") for number in range(9)]
    sales = spark.createDataFrame(frame_of(*rows).to_arrow(compat_level=pl.CompatLevel.oldest()))

    def of_part(part: pl.DataFrame) -> pl.DataFrame:
        if part.height == 9:
            raise AssertionError("the function was given a whole store")
        return part

    write(lake, parcels_by_store(sales, of_part, CORE_DAILY_SALES, parts=3), 5, 5)
    assert stored(lake) == rows


def earlier_table(lake: LakeResource, table: Table, lacking: str) -> None:
    """Make a table as a release wrote it that didn't know a column yet."""
    schema = arrow_schema(table.columns)
    path = lake.local_path(table.path)
    Path(path).mkdir(parents=True)
    DeltaTable.create(path, schema.remove(schema.get_field_index(lacking)), partition_by=table.partition_by)


def test_a_table_of_an_earlier_release_gets_the_columns_that_have_come_since(
    spark: SparkSession, lake: LakeResource
) -> None:
    earlier_table(lake, FEATURES_DEMAND, "demand_lag_364")
    values = {c.name: None if c.nullable else 0 for c in FEATURES_DEMAND.columns}
    made = pl.DataFrame([values | {"store_id": "S1", "product_id": "A", "business_date": day(5)}]).cast(
        polars_schema(FEATURES_DEMAND.columns)
    )
    stores = spark.createDataFrame([("S1",)], "store_id string")
    write(lake, parcels_by_store(stores, lambda _: made, FEATURES_DEMAND), 5, 5)
    assert lake.read(FEATURES_DEMAND).equals(made)


def test_a_table_that_lacks_a_column_which_must_have_values_is_refused_by_name(
    spark: SparkSession, lake: LakeResource
) -> None:
    earlier_table(lake, CORE_DAILY_SALES, "open_hours")
    with pytest.raises(ContractError, match=r"has open_hours otherwise than the contract says"):
        write(lake, parcels(spark, ("S1", "A", 5, 1.0)), 5, 5)


def test_runs_of_different_days_that_commit_at_once_lose_nothing(spark: SparkSession, lake: LakeResource) -> None:
    write(lake, parcels(spark, ("S1", "A", 1, 1.0)), 1, 1)
    failures: list[Exception] = []

    def run(number: int) -> None:
        try:
            write(lake, parcels(spark, ("S1", "A", number, float(number))), number, number)
        except Exception as error:  # noqa: BLE001 - a thread's error would be lost
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in (2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert stored(lake) == [("S1", "A", number, float(number)) for number in (1, 2, 3, 4)]


def test_what_a_commit_is_to_say_stands_in_the_log(spark: SparkSession, lake: LakeResource) -> None:
    write(lake, parcels(spark, ("S1", "A", 5, 1.0)), 5, 5, note="made from offsets 1 to 9")
    delta = lake.delta(CORE_DAILY_SALES)
    assert delta is not None
    assert delta.history(1)[0]["userMetadata"] == "made from offsets 1 to 9"
