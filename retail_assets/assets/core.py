"""The core layer: cleansed facts by the store's local business date, each event once.

Does not belong here: the arithmetic of the stock ledger and of daily sales (`domain`).
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

import dagster as dg
import polars as pl
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from retail_assets.assets.common import lake_asset, per_store_pair, run_window
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    CORE_SALES_LINES,
    RAW_IMPORTED_SALES,
    RAW_INVENTORY_UPDATES,
    RAW_SALES_TRANSACTIONS,
    REFERENCE_ASSORTMENT,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_STORES,
    Table,
)
from retail_assets.domain.imported import imported_daily_sales, inventory_with_imports
from retail_assets.domain.ledger import inventory_daily as ledger_by_day
from retail_assets.domain.sales import daily_sales as sales_by_day
from retail_assets.io_managers.delta import COMMIT_METADATA, days, read_table, row_counts
from retail_assets.io_managers.frames import DateWindow
from retail_assets.partitions import business_dates
from retail_assets.resources.coverage import Coverage
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.progress import read_progress
from retail_assets.resources.retention import first_whole_day
from retail_assets.resources.spark import SparkResource
from retail_assets.settings import get_settings

_BACKFILL = dg.BackfillPolicy.single_run()


def _key(table: Table) -> dg.AssetKey:
    return dg.AssetKey(table.key)


def accepted_events(raw: SparkFrame, stores: pl.DataFrame, window: DateWindow, id_field: str) -> SparkFrame:
    """Return the accepted events of some business dates, each once.

    Args:
        raw: a raw table.
        stores: master data of the stores, for their time zones.
        window: business dates, both inclusive.
        id_field: the field by which a repeated message is known; the first one to arrive counts.

    Returns:
        The event's rows with `business_date` and `local_time`.
    """
    # A business date lies in at most two UTC dates; reading one day more on each side prunes the rest of the history.
    nearby = F.col("event_date").between(
        F.lit(window.first - timedelta(days=1)), F.lit(window.last + timedelta(days=1))
    )
    accepted = once_each(raw.where(nearby & F.col("rejection").isNull()), id_field)
    zones = accepted.sparkSession.createDataFrame(
        list(stores.select("store_id", "time_zone").iter_rows()), "store_id string, zone string"
    )
    return (
        accepted.join(F.broadcast(zones), "store_id", "left")
        .withColumn("local_time", _local_time(stores["time_zone"].unique().sort().to_list()))
        .withColumn("business_date", F.to_date("local_time"))
        .where(F.col("business_date").between(F.lit(window.first), F.lit(window.last)))
        .drop("zone")
    )


def _local_time(zones: Sequence[str]) -> SparkColumn:
    """Return `occurred_at` on the wall clock of the column `zone`; of the retailer's own zone where it is null.

    Spark looks a zone up by its name for every row, unless the name is a literal: a branch per zone takes half as long.
    """
    local = F.from_utc_timestamp("occurred_at", get_settings().time_zone)
    for zone in zones:
        local = F.when(F.col("zone") == zone, F.from_utc_timestamp("occurred_at", zone)).otherwise(local)
    return local


def once_each(events: SparkFrame, id_field: str) -> SparkFrame:
    """Return the events without those that arrived before under the same id.

    Only the ids are shuffled, and the few that are there twice go to all workers: sorting whole events by id would cost
    more than everything else that is done with them.
    """
    arrival = F.struct("kafka_partition", "kafka_offset")
    repeated = (events.groupBy(id_field).agg(F.count(F.lit(1)).alias("copies"), F.min(arrival).alias("first"))).where(
        "copies > 1"
    )
    return (
        events.join(F.broadcast(repeated), id_field, "left")
        .where(F.col("first").isNull() | (arrival == F.col("first")))
        .drop("copies", "first")
    )


@lake_asset(
    CORE_SALES_LINES,
    kinds={"spark", "deltalake"},
    partitions_def=business_dates(get_settings()),
    backfill_policy=_BACKFILL,
    deps=[_key(RAW_SALES_TRANSACTIONS)],
    ins={"stores": dg.AssetIn(key=_key(REFERENCE_STORES))},
)
def sales_lines(
    context: dg.AssetExecutionContext, spark: SparkResource, lake: LakeResource, stores: pl.DataFrame
) -> SparkFrame:
    """Explode baskets into lines, once each, signed by kind."""
    window = run_window(context)
    transactions = _covered(context, spark, lake, RAW_SALES_TRANSACTIONS, window)
    events = accepted_events(transactions, stores, window, "transaction_id")
    lines = events.select("*", F.explode("lines").alias("line"))
    sign = F.when(F.col("kind") == "sale", 1).otherwise(-1)
    gross = F.col("line.quantity") * F.col("line.unit_price")
    return lines.select(
        "transaction_id",
        F.col("line.line_no").alias("line_no"),
        "store_id",
        "register_id",
        F.col("line.product_id").alias("product_id"),
        "occurred_at",
        F.hour("local_time").alias("business_hour"),
        "kind",
        (F.col("line.quantity") * sign).alias("units"),
        F.col("line.unit_price").alias("unit_price"),
        F.col("line.discount").alias("discount"),
        ((gross - F.col("line.discount")) * sign).alias("revenue"),
        F.col("line.promotion_id").alias("promotion_id"),
        "business_date",
    )


@lake_asset(
    CORE_INVENTORY_DAILY,
    kinds={"spark", "polars", "deltalake"},
    partitions_def=business_dates(get_settings()),
    backfill_policy=_BACKFILL,
    deps=[_key(RAW_INVENTORY_UPDATES), _key(RAW_IMPORTED_SALES)],
    ins={"stores": dg.AssetIn(key=_key(REFERENCE_STORES))},
)
def inventory_daily(
    context: dg.AssetExecutionContext,
    spark: SparkResource,
    lake: LakeResource,
    stores: pl.DataFrame,
) -> SparkFrame:
    """Keep the stock ledger by day, from the movements and the closing stock of the day before."""
    window = run_window(context)
    dates = list(days(window))
    movements = _covered(context, spark, lake, RAW_INVENTORY_UPDATES, window)
    events = accepted_events(movements, stores, window, "event_id").select(
        "store_id",
        "product_id",
        "occurred_at",
        "business_date",
        "movement",
        "quantity_delta",
        "on_hand_after",
        "event_id",
    )
    before = window.first - timedelta(days=1)
    _require_day_before(lake, before)
    opening = (
        read_table(spark.spark_session, lake, CORE_INVENTORY_DAILY)
        .where(F.col("business_date") == F.lit(before))
        .select("store_id", "product_id", F.col("closing").alias("on_hand"))
    )

    imported = imported_days(spark.spark_session, lake, window)
    if imported is None:

        def by_day(store_movements: pl.DataFrame, store_opening: pl.DataFrame) -> pl.DataFrame:
            return ledger_by_day(store_movements, store_opening, stores, dates)

        return per_store_pair(events, opening, by_day, CORE_INVENTORY_DAILY)

    def with_imports(store_rows: pl.DataFrame, store_opening: pl.DataFrame) -> pl.DataFrame:
        movements, told = _apart(store_rows)
        return inventory_with_imports(movements, told, store_opening, stores, dates)

    return per_store_pair(_together(events, imported), opening, with_imports, CORE_INVENTORY_DAILY)


@lake_asset(
    CORE_DAILY_SALES,
    kinds={"spark", "polars", "deltalake"},
    partitions_def=business_dates(get_settings()),
    backfill_policy=_BACKFILL,
    ins={
        "lines": dg.AssetIn(key=_key(CORE_SALES_LINES)),
        "inventory": dg.AssetIn(key=_key(CORE_INVENTORY_DAILY)),
        "products": dg.AssetIn(key=_key(REFERENCE_PRODUCTS)),
        "promotions": dg.AssetIn(key=_key(REFERENCE_PROMOTIONS)),
        "stores": dg.AssetIn(key=_key(REFERENCE_STORES)),
        "assortment": dg.AssetIn(key=_key(REFERENCE_ASSORTMENT)),
    },
    deps=[_key(RAW_IMPORTED_SALES)],
)
def daily_sales(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    lines: SparkFrame,
    inventory: SparkFrame,
    products: pl.DataFrame,
    promotions: pl.DataFrame,
    stores: pl.DataFrame,
    assortment: pl.DataFrame,
) -> SparkFrame:
    """Sum the lines by day, with a row for every product that the store carries, sold or not.

    A day that an import tells of is the import's, whatever tills say of it.
    """
    sold = lines.select("store_id", "product_id", "business_date", "units", "revenue")
    carried = inventory.select("store_id", "product_id", "business_date", "stockout_hours")
    imported = imported_days(lines.sparkSession, lake, run_window(context))
    if imported is None:

        def by_day(store_lines: pl.DataFrame, store_inventory: pl.DataFrame) -> pl.DataFrame:
            return sales_by_day(store_lines, store_inventory, products, promotions, stores, assortment)

        return per_store_pair(sold, carried, by_day, CORE_DAILY_SALES)

    def with_imports(store_rows: pl.DataFrame, store_inventory: pl.DataFrame) -> pl.DataFrame:
        tills, told = _apart(store_rows)
        of_tills = pl.col("business_date").is_in(told["business_date"].unique().implode()).not_()
        return pl.concat(
            [
                sales_by_day(
                    tills.filter(of_tills), store_inventory.filter(of_tills), products, promotions, stores, assortment
                ),
                imported_daily_sales(told, assortment, products, promotions, stores),
            ]
        )

    return per_store_pair(_together(sold, imported), carried, with_imports, CORE_DAILY_SALES)


def imported_days(spark: SparkSession, lake: LakeResource, window: DateWindow) -> SparkFrame | None:
    """Return the imported rows of some business dates; None in a lake into which nothing was imported."""
    if lake.delta(RAW_IMPORTED_SALES) is None:
        return None
    return (
        read_table(spark, lake, RAW_IMPORTED_SALES)
        .where(F.col("business_month").between(F.lit(window.first.replace(day=1)), F.lit(window.last)))
        .where(window.where("business_date"))
        .drop("business_month", "source_file", "imported_at")
    )


_IMPORTED: Final = "is_imported"


def _together(tills: SparkFrame, imported: SparkFrame) -> SparkFrame:
    """Put what tills and what an import say of a store into one frame, since Spark pairs two frames, not three."""
    renamed = imported.select([F.col(name).alias(f"imported_{name}") for name in imported.columns]).withColumn(
        "store_id", F.col("imported_store_id")
    )
    return tills.withColumn(_IMPORTED, F.lit(False)).unionByName(  # noqa: FBT003 - a literal column
        renamed.withColumn(_IMPORTED, F.lit(True)),  # noqa: FBT003
        allowMissingColumns=True,
    )


def _apart(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Undo `_together`, for the rows of one store."""
    prefix = "imported_"
    names = [name for name in rows.columns if name.startswith(prefix)]
    told = rows.filter(_IMPORTED).select(names).rename(lambda name: name.removeprefix(prefix))
    return rows.filter(~pl.col(_IMPORTED)).drop(names, _IMPORTED), told


def _covered(
    context: dg.AssetExecutionContext, spark: SparkResource, lake: LakeResource, raw: Table, window: DateWindow
) -> SparkFrame:
    """Return a raw table, and note in the day's commit up to which offsets it was read.

    The offsets are asked for first: what is appended meanwhile may be read, but doesn't count as read.

    Raises:
        dg.Failure: the raw layer no longer has all events of a day; made of the others, the day would lose them.
    """
    first = first_whole_day(get_settings(), datetime.now(UTC).date())
    if first is not None and window.first < first:
        raise dg.Failure(
            f"the events before {first} are no longer kept (RETAIL_KEEP_RAW_DAYS), so {window.first} can't be made "
            "again; what the core layer has of it stays as it is"
        )
    held = read_progress(lake.delta(raw)).held
    context.add_output_metadata({COMMIT_METADATA: Coverage(window.first, window.last, held).text()})
    return read_table(spark.spark_session, lake, raw)


def _require_day_before(lake: LakeResource, before: date) -> None:
    """Refuse to start a ledger in the middle of its history: stock would begin at nothing."""
    delta = lake.delta(CORE_INVENTORY_DAILY)
    kept = row_counts(delta, CORE_INVENTORY_DAILY, None) if delta is not None else {}
    if str(before) not in kept and any(day < str(before) for day in kept):
        raise dg.Failure(
            f"{CORE_INVENTORY_DAILY.path} holds earlier days, but not {before}: materialize the missing days first"
        )


def core_assets() -> list[dg.AssetsDefinition]:
    """Return the assets of the core layer."""
    return [sales_lines, inventory_daily, daily_sales]
