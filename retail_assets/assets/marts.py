"""The marts: the star schema in the warehouse, which people and Power BI read, and the features that are served.

Facts carry integer keys; what a dimension doesn't know gets key 0. Column names and types are the DDL's. Does not
belong here: measures (views), and computing facts (the layers before).
"""

from datetime import date, timedelta
from typing import Any

import dagster as dg
import polars as pl
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from retail_assets.assets.common import OWNERS, POOL_WAREHOUSE, AssetDecorator, run_window
from retail_assets.assets.core import imported_days
from retail_assets.assets.serving import warehouse_metadata
from retail_assets.contracts.lineage import LINEAGE
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    CORE_SALES_LINES,
    FEATURES_DEMAND,
    FORECASTS_DEMAND_7D,
    INVENTORY_REORDER_POINTS,
    REFERENCE_CALENDAR,
    REFERENCE_PRODUCTS,
    REFERENCE_STORES,
    REFERENCE_SUPPLIERS,
    Table,
)
from retail_assets.domain.keys import UNKNOWN_KEY, assign_keys
from retail_assets.io_managers.delta import row_counts
from retail_assets.partitions import business_dates
from retail_assets.resources.clickhouse import ClickHouseResource
from retail_assets.resources.lake import LakeResource
from retail_assets.settings import get_settings

UNKNOWN = "unknown"
#: The hour of sales of which only the day is known.
HOUR_UNKNOWN = 24
_EPOCH = date(1970, 1, 1)


def _mart(name: str, description: str, **more: Any) -> AssetDecorator:
    decorator: AssetDecorator = dg.asset(
        key=dg.AssetKey(["marts", name]),
        group_name="marts",
        description=description,
        owners=OWNERS,
        metadata=warehouse_metadata(name, LINEAGE.get(f"marts/{name}", {})),
        io_manager_key="warehouse_io_manager",
        pool=POOL_WAREHOUSE,
        **more,
    )
    return decorator


def _in(table: Table) -> dg.AssetIn:
    return dg.AssetIn(key=dg.AssetKey(table.key))


def _dim(name: str) -> dg.AssetIn:
    return dg.AssetIn(key=dg.AssetKey(["marts", name]))


class EmptyReferenceError(Exception):
    """Master data are empty although the warehouse knows members: something upstream went wrong."""


def _existing(clickhouse: ClickHouseResource, dimension: str, key_column: str) -> pl.DataFrame:
    """Read the members that are known already: their keys never change, facts hold them."""
    with clickhouse.client(f"keys of {dimension}") as client:
        return pl.DataFrame(client.query_arrow(f"SELECT * FROM {dimension} WHERE {key_column} > 0", use_strings=True))


def keyed_members(current: pl.DataFrame, existing: pl.DataFrame, thing: str) -> pl.DataFrame:
    """Return the members of a dimension with their lasting integer keys.

    A member that has left the master data stays, as it was last known: its facts still refer to it, and its key must
    never go to another.

    Args:
        current: today's members, with the dimension's columns but for the key.
        existing: the dimension as it is, without the unknown member.
        thing: what it is of, such as `store`; gives `store_id` and `store_key`.

    Raises:
        EmptyReferenceError: there is nobody today, but there was somebody before.
    """
    id_column, key_column = f"{thing}_id", f"{thing}_key"
    if current.is_empty() and not existing.is_empty():
        raise EmptyReferenceError(
            f"the master data of {thing}s are empty, but the warehouse knows {existing.height}: load them again first"
        )
    keys = assign_keys(existing.select(id_column, key_column), current[id_column].to_list(), id_column, key_column)
    keyed = current.join(keys.select(id_column, pl.col(key_column).cast(pl.UInt32)), on=id_column, how="inner")
    left = existing.join(current, on=id_column, how="anti").select(keyed.columns).cast(keyed.schema)
    return pl.concat([keyed, left])


def _with_unknown(frame: pl.DataFrame) -> pl.DataFrame:
    """Put the row for what is unknown first: key 0, "unknown" and zeros."""
    blank: dict[str, object] = {
        name: UNKNOWN if kind == pl.String else _EPOCH if kind == pl.Date else 0 for name, kind in frame.schema.items()
    }
    return pl.concat([pl.DataFrame([blank], schema=frame.schema), frame])


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
    current = stores.select("store_id", "name", "region", "city", "format", "time_zone", "opened_on")
    return _with_unknown(keyed_members(current, _existing(clickhouse, "dim_store", "store_key"), "store"))


@_mart(
    "dim_supplier",
    "Suppliers. One row per supplier, key 0 for the unknown one.",
    kinds={"polars", "clickhouse"},
    ins={"suppliers": _in(REFERENCE_SUPPLIERS)},
)
def dim_supplier(clickhouse: ClickHouseResource, suppliers: pl.DataFrame) -> pl.DataFrame:
    """Give every supplier its lasting integer key."""
    current = suppliers.select(
        "supplier_id",
        "name",
        "lead_time_days_mean",
        "lead_time_days_sd",
        pl.col("review_period_days").cast(pl.UInt16),
    )
    return _with_unknown(keyed_members(current, _existing(clickhouse, "dim_supplier", "supplier_key"), "supplier"))


@_mart(
    "dim_product",
    "The catalogue. One row per product, key 0 for the unknown one.",
    kinds={"polars", "clickhouse"},
    ins={"products": _in(REFERENCE_PRODUCTS), "suppliers": _dim("dim_supplier")},
)
def dim_product(clickhouse: ClickHouseResource, products: pl.DataFrame, suppliers: pl.DataFrame) -> pl.DataFrame:
    """Give every product its lasting integer key, and its supplier's."""
    current = products.join(
        suppliers.filter(pl.col("supplier_key") != UNKNOWN_KEY).select(
            pl.col("supplier_id").cast(pl.String), "supplier_key"
        ),
        on="supplier_id",
        how="left",
    ).select(
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
    return _with_unknown(keyed_members(current, _existing(clickhouse, "dim_product", "product_key"), "product"))


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
            # The unknown member's id is a word, and somebody may have a product of that name.
            if key != UNKNOWN_KEY
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
    "Sales. One row per store, product, date and hour with a sale or return; hour 24 where only the day is known.",
    **_DAILY,
    ins={"lines": _in(CORE_SALES_LINES), "daily_sales": _in(CORE_DAILY_SALES), **_STORE_AND_PRODUCT},
)
def fact_sales(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    lines: SparkFrame,
    daily_sales: SparkFrame,
    stores: pl.DataFrame,
    products: pl.DataFrame,
) -> SparkFrame:
    """Sum the lines by hour, and carry over the days that an import tells of."""
    sign = F.when(F.col("kind") == "sale", 1).otherwise(-1)
    imported = imported_days(lines.sparkSession, lake, run_window(context))
    told = None if imported is None else F.broadcast(imported.select("store_id", "business_date").distinct())
    if told is not None:
        lines = lines.join(told, ["store_id", "business_date"], "left_anti")
    hourly = lines.groupBy("business_date", "business_hour", "store_id", "product_id").agg(
        F.sum("units").cast("decimal(12,3)").alias("units"),
        F.sum("revenue").cast("decimal(12,2)").alias("revenue"),
        F.sum(F.col("discount") * sign).cast("decimal(12,2)").alias("discount"),
        F.countDistinct("transaction_id").cast("int").alias("transactions"),
    )
    if told is not None:
        hourly = hourly.unionByName(
            daily_sales.join(told, ["store_id", "business_date"], "left_semi")
            .where("units <> 0 OR revenue <> 0")
            .select(
                "business_date",
                F.lit(HOUR_UNKNOWN).alias("business_hour"),
                "store_id",
                "product_id",
                "units",
                "revenue",
                F.lit(0).cast("decimal(12,2)").alias("discount"),
                F.lit(0).alias("transactions"),
            )
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


def served_from(lake: LakeResource, served_days: int) -> date | None:
    """Return the first day whose features are served; None while there are no features.

    Counted back from the newest day of the features, not from today: an imported history may have ended long ago.
    """
    delta = lake.delta(FEATURES_DEMAND)
    kept = row_counts(delta, FEATURES_DEMAND, None) if delta is not None else {}
    return date.fromisoformat(max(kept)) - timedelta(days=served_days - 1) if kept else None


def drop_months_before(clickhouse: ClickHouseResource, mart: str, day: date) -> None:
    """Remove the months of a mart that end before a day."""
    with clickhouse.client(f"old months of {mart}") as client:
        month = "toYYYYMM(business_date)"
        old = client.query(
            f"SELECT DISTINCT {month} FROM {mart} WHERE {month} < toYYYYMM({{day:Date}})", parameters={"day": day}
        )
        for (number,) in old.result_rows:
            client.command(f"ALTER TABLE {mart} DROP PARTITION {number}")


@_mart(
    "feature_demand",
    "The last days of the features, for serving. One row per store, product and date; NaN where a value is not known.",
    **_DAILY,
    ins={"features": _in(FEATURES_DEMAND)},
)
def feature_demand(lake: LakeResource, clickhouse: ClickHouseResource, features: SparkFrame) -> SparkFrame:
    """Carry over the run's days, as far as they are served, and let go of months that no longer are."""
    first = served_from(lake, get_settings().features_served_days)
    if first is not None:
        drop_months_before(clickhouse, "feature_demand", first)
        features = features.where(F.col("business_date") >= F.lit(first))
    return features


def mart_assets() -> list[dg.AssetsDefinition]:
    """Return the assets of the marts."""
    return [
        dim_date,
        dim_store,
        dim_supplier,
        dim_product,
        fact_sales,
        fact_inventory,
        fact_forecast,
        fact_reorder,
        feature_demand,
    ]
