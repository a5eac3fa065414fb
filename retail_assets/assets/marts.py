"""The marts: the star schema in the warehouse, which people and Power BI read.

Facts carry integer keys; what a dimension doesn't know gets key 0. Column names and types are the DDL's. Does not
belong here: measures (views), and computing facts (the layers before).
"""

from datetime import date
from typing import Any

import dagster as dg
import polars as pl
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from retail_assets.assets.common import OWNERS, POOL_WAREHOUSE, AssetDecorator
from retail_assets.contracts.tables import (
    CORE_INVENTORY_DAILY,
    CORE_SALES_LINES,
    FORECASTS_DEMAND_7D,
    INVENTORY_REORDER_POINTS,
    REFERENCE_CALENDAR,
    REFERENCE_PRODUCTS,
    REFERENCE_STORES,
    REFERENCE_SUPPLIERS,
    Table,
)
from retail_assets.domain.keys import assign_keys
from retail_assets.partitions import business_dates
from retail_assets.resources.clickhouse import ClickHouseResource
from retail_assets.resources.migrations import documented_columns
from retail_assets.settings import get_settings

UNKNOWN = "unknown"
_EPOCH = date(1970, 1, 1)


def _mart(name: str, description: str, **more: Any) -> AssetDecorator:
    decorator: AssetDecorator = dg.asset(
        key=dg.AssetKey(["marts", name]),
        group_name="marts",
        description=description,
        owners=OWNERS,
        metadata={"dagster/column_schema": _schema(name), "dagster/table_name": f"retail.{name}"},
        io_manager_key="warehouse_io_manager",
        pool=POOL_WAREHOUSE,
        **more,
    )
    return decorator


def _schema(name: str) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(column, type=kind, description=comment) for column, kind, comment in documented_columns(name)
        ]
    )


def _in(table: Table) -> dg.AssetIn:
    return dg.AssetIn(key=dg.AssetKey(table.key))


def _dim(name: str) -> dg.AssetIn:
    return dg.AssetIn(key=dg.AssetKey(["marts", name]))


def _existing_keys(clickhouse: ClickHouseResource, dimension: str, id_column: str, key_column: str) -> pl.DataFrame:
    """Read the keys that were given out before: they never change, facts hold them."""
    with clickhouse.client(f"keys of {dimension}") as client:
        rows = client.query(f"SELECT {id_column}, {key_column} FROM {dimension} WHERE {key_column} > 0").result_rows
    return pl.DataFrame(rows, schema={id_column: pl.String, key_column: pl.Int64}, orient="row")


def _keyed(frame: pl.DataFrame, existing: pl.DataFrame, id_column: str, key_column: str) -> pl.DataFrame:
    keys = assign_keys(existing, frame[id_column].to_list(), id_column, key_column)
    return frame.join(keys.select(id_column, pl.col(key_column).cast(pl.UInt32)), on=id_column, how="inner")


def _with_unknown(frame: pl.DataFrame) -> pl.DataFrame:
    """Put the row for what is unknown first: key 0, "unknown" and zeros."""
    blank: dict[str, object] = {
        name: UNKNOWN if kind == pl.String else _EPOCH if kind == pl.Date else 0 for name, kind in frame.schema.items()
    }
    return pl.concat([pl.DataFrame([blank], schema=frame.schema), frame.sort(frame.columns[0])])


@_mart(
    "dim_date",
    "Days and what is known of them. One row per day.",
    kinds={"polars", "clickhouse"},
    ins={"calendar": _in(REFERENCE_CALENDAR)},
)
def dim_date(calendar: pl.DataFrame) -> pl.DataFrame:
    """Derive the date dimension from the calendar."""
    day = pl.col("date")
    return calendar.sort("date").select(
        day,
        day.dt.year().cast(pl.UInt16).alias("year"),
        day.dt.quarter().cast(pl.UInt8).alias("quarter"),
        day.dt.month().cast(pl.UInt8).alias("month"),
        day.dt.week().cast(pl.UInt8).alias("week"),
        day.dt.weekday().cast(pl.UInt8).alias("weekday"),
        (day.dt.weekday() >= 6).alias("is_weekend"),  # noqa: PLR2004 - Saturday and Sunday
        "is_holiday",
        "holiday_name",
    )


@_mart(
    "dim_store",
    "Stores. One row per store, key 0 for the unknown one.",
    kinds={"polars", "clickhouse"},
    ins={"stores": _in(REFERENCE_STORES)},
)
def dim_store(clickhouse: ClickHouseResource, stores: pl.DataFrame) -> pl.DataFrame:
    """Give every store its lasting integer key."""
    keyed = _keyed(stores, _existing_keys(clickhouse, "dim_store", "store_id", "store_key"), "store_id", "store_key")
    return _with_unknown(
        keyed.select("store_key", "store_id", "name", "region", "city", "format", "time_zone", "opened_on")
    )


@_mart(
    "dim_supplier",
    "Suppliers. One row per supplier, key 0 for the unknown one.",
    kinds={"polars", "clickhouse"},
    ins={"suppliers": _in(REFERENCE_SUPPLIERS)},
)
def dim_supplier(clickhouse: ClickHouseResource, suppliers: pl.DataFrame) -> pl.DataFrame:
    """Give every supplier its lasting integer key."""
    existing = _existing_keys(clickhouse, "dim_supplier", "supplier_id", "supplier_key")
    keyed = _keyed(suppliers, existing, "supplier_id", "supplier_key")
    return _with_unknown(
        keyed.select(
            "supplier_key",
            "supplier_id",
            "name",
            "lead_time_days_mean",
            "lead_time_days_sd",
            pl.col("review_period_days").cast(pl.UInt16),
        )
    )


@_mart(
    "dim_product",
    "The catalogue. One row per product, key 0 for the unknown one.",
    kinds={"polars", "clickhouse"},
    ins={"products": _in(REFERENCE_PRODUCTS), "suppliers": _dim("dim_supplier")},
)
def dim_product(clickhouse: ClickHouseResource, products: pl.DataFrame, suppliers: pl.DataFrame) -> pl.DataFrame:
    """Give every product its lasting integer key, and its supplier's."""
    existing = _existing_keys(clickhouse, "dim_product", "product_id", "product_key")
    keyed = _keyed(products, existing, "product_id", "product_key").join(
        suppliers.select(pl.col("supplier_id").cast(pl.String), "supplier_key"), on="supplier_id", how="left"
    )
    return _with_unknown(
        keyed.select(
            "product_key",
            "product_id",
            "name",
            "department",
            "category",
            "subcategory",
            "brand",
            "unit_cost",
            "list_price",
            pl.col("pack_size").cast(pl.UInt32),
            pl.col("shelf_life_days").cast(pl.UInt32),
            pl.col("supplier_key").fill_null(0).cast(pl.UInt32),
        )
    )


def with_keys(frame: SparkFrame, dimensions: dict[str, pl.DataFrame]) -> SparkFrame:
    """Replace the ids of a fact by the keys of its dimensions; 0 for what a dimension doesn't know.

    Args:
        frame: a fact with columns such as `store_id`.
        dimensions: by the name of the thing, such as `store`, the dimension with `store_id` and `store_key`.
    """
    session: SparkSession = frame.sparkSession
    for thing, dimension in dimensions.items():
        pairs = [
            (str(identifier), int(key))
            for identifier, key in dimension.select(f"{thing}_id", f"{thing}_key").iter_rows()
        ]
        keys = session.createDataFrame(pairs, f"{thing}_id string, {thing}_key int")
        frame = (
            frame.join(F.broadcast(keys), f"{thing}_id", "left")
            .withColumn(f"{thing}_key", F.coalesce(f"{thing}_key", F.lit(0)))
            .drop(f"{thing}_id")
        )
    return frame


_STORE_AND_PRODUCT = {"stores": _dim("dim_store"), "products": _dim("dim_product")}
_DAILY = {
    "kinds": {"spark", "clickhouse"},
    "partitions_def": business_dates(get_settings()),
    "backfill_policy": dg.BackfillPolicy.single_run(),
}


@_mart(
    "fact_sales",
    "Sales. One row per store, product, date and hour with a sale or return.",
    **_DAILY,
    ins={"lines": _in(CORE_SALES_LINES), **_STORE_AND_PRODUCT},
)
def fact_sales(lines: SparkFrame, stores: pl.DataFrame, products: pl.DataFrame) -> SparkFrame:
    """Sum the lines by hour."""
    sign = F.when(F.col("kind") == "sale", 1).otherwise(-1)
    hourly = lines.groupBy("business_date", "business_hour", "store_id", "product_id").agg(
        F.sum("units").cast("decimal(12,3)").alias("units"),
        F.sum("revenue").cast("decimal(12,2)").alias("revenue"),
        F.sum(F.col("discount") * sign).cast("decimal(12,2)").alias("discount"),
        F.countDistinct("transaction_id").cast("int").alias("transactions"),
    )
    return with_keys(hourly, {"store": stores, "product": products})


@_mart(
    "fact_inventory",
    "The stock ledger. One row per store, product and date.",
    **_DAILY,
    ins={"inventory": _in(CORE_INVENTORY_DAILY), **_STORE_AND_PRODUCT},
)
def fact_inventory(inventory: SparkFrame, stores: pl.DataFrame, products: pl.DataFrame) -> SparkFrame:
    """Carry the stock ledger over."""
    return with_keys(inventory, {"store": stores, "product": products})


@_mart(
    "fact_forecast",
    "Forecasts. One row per run date, store, product and target date.",
    **_DAILY,
    ins={"forecasts": _in(FORECASTS_DEMAND_7D), **_STORE_AND_PRODUCT},
)
def fact_forecast(forecasts: SparkFrame, stores: pl.DataFrame, products: pl.DataFrame) -> SparkFrame:
    """Carry the forecasts over."""
    return with_keys(forecasts, {"store": stores, "product": products})


@_mart(
    "fact_reorder",
    "Reorder points and proposals. One row per run date, store and product.",
    **_DAILY,
    ins={"reorders": _in(INVENTORY_REORDER_POINTS), "suppliers": _dim("dim_supplier"), **_STORE_AND_PRODUCT},
)
def fact_reorder(
    reorders: SparkFrame, stores: pl.DataFrame, products: pl.DataFrame, suppliers: pl.DataFrame
) -> SparkFrame:
    """Carry the reorder points over."""
    return with_keys(reorders, {"store": stores, "product": products, "supplier": suppliers})


def mart_assets() -> list[dg.AssetsDefinition]:
    """Return the assets of the marts."""
    return [dim_date, dim_store, dim_supplier, dim_product, fact_sales, fact_inventory, fact_forecast, fact_reorder]
