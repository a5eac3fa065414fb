"""The core layer: cleansed facts by the store's local business date, each event once.

Does not belong here: which messages are a day's events (`assets.events`, `assets.filed`), which of them can be trusted
and the arithmetic of the stock ledger and of daily sales (`domain`).
"""

from datetime import UTC, date, datetime, timedelta
from functools import reduce
from typing import Final

import dagster as dg
import polars as pl
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from retail_assets.assets.common import lake_asset, per_store_pair, run_window
from retail_assets.assets.filed import (
    as_made,
    filed_baskets,
    filed_movements,
    judged_sales,
    judged_stock,
    limits,
    once_each,
)
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    CORE_LIST_PRICES,
    CORE_QUARANTINE,
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
from retail_assets.contracts.types import MONEY, spark_type
from retail_assets.domain.imported import (
    IMPORTED_PREFIX,
    IS_IMPORTED,
    apart,
    imported_daily_sales,
    inventory_with_imports,
)
from retail_assets.domain.ledger import inventory_daily as ledger_by_day
from retail_assets.domain.prices import with_price_changes
from retail_assets.domain.sales import daily_sales as sales_by_day
from retail_assets.domain.trust import judged_movements
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


_OF_LINES: Final = {
    "stores": dg.AssetIn(key=_key(REFERENCE_STORES)),
    "prices": dg.AssetIn(key=_key(CORE_LIST_PRICES)),
    "promotions": dg.AssetIn(key=_key(REFERENCE_PROMOTIONS)),
}


@lake_asset(
    CORE_LIST_PRICES,
    kinds={"polars", "deltalake"},
    ins={"products": dg.AssetIn(key=_key(REFERENCE_PRODUCTS))},
)
def list_prices(lake: LakeResource, products: pl.DataFrame) -> pl.DataFrame:
    """Keep since when each list price holds: the master data tell one price and no date."""
    return with_price_changes(lake.read(CORE_LIST_PRICES), products, _written_on(lake, REFERENCE_PRODUCTS))


def _written_on(lake: LakeResource, table: Table) -> date:
    """Return the retailer's date on which a table was last written; today, where it never was."""
    delta = lake.delta(table)
    now = datetime.now(UTC) if delta is None else datetime.fromtimestamp(delta.history(1)[0]["timestamp"] / 1000, UTC)
    return now.astimezone(get_settings().zone).date()


@lake_asset(
    CORE_SALES_LINES,
    kinds={"spark", "polars", "deltalake"},
    partitions_def=business_dates(get_settings()),
    backfill_policy=_BACKFILL,
    deps=[_key(RAW_SALES_TRANSACTIONS)],
    ins=_OF_LINES,
)
def sales_lines(
    context: dg.AssetExecutionContext,
    spark: SparkResource,
    lake: LakeResource,
    stores: pl.DataFrame,
    prices: pl.DataFrame,
    promotions: pl.DataFrame,
) -> SparkFrame:
    """Explode baskets into lines, once each, signed by kind, with list price and promotion as of their date."""
    made = _covered(context, lake, RAW_SALES_TRANSACTIONS, run_window(context))
    lines = judged_sales(filed_baskets(spark, lake, made, stores), stores, prices, promotions)
    return lines.where(F.col("reason").isNull()).select(*CORE_SALES_LINES.column_names)


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
    made = _covered(context, lake, RAW_INVENTORY_UPDATES, window)
    events = once_each(filed_movements(spark, lake, made, stores))
    bounds = limits()

    def trusted(movements: pl.DataFrame) -> pl.DataFrame:
        return judged_movements(movements, stores, bounds).filter(pl.col("reason").is_null())

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
            return ledger_by_day(trusted(store_movements), store_opening, stores, dates)

        return per_store_pair(events, opening, by_day, CORE_INVENTORY_DAILY)

    def with_imports(store_rows: pl.DataFrame, store_opening: pl.DataFrame) -> pl.DataFrame:
        movements, told = apart(store_rows)
        return inventory_with_imports(trusted(movements), told, store_opening, stores, dates)

    return per_store_pair(_together(events, imported), opening, with_imports, CORE_INVENTORY_DAILY)


@lake_asset(
    CORE_QUARANTINE,
    kinds={"spark", "polars", "deltalake"},
    partitions_def=business_dates(get_settings()),
    backfill_policy=_BACKFILL,
    deps=[_key(table) for table in (RAW_SALES_TRANSACTIONS, RAW_INVENTORY_UPDATES, CORE_SALES_LINES)]
    + [_key(CORE_INVENTORY_DAILY)],
    ins={name: _OF_LINES[name] for name in ("stores", "prices")},
)
def quarantine(
    context: dg.AssetExecutionContext,
    spark: SparkResource,
    lake: LakeResource,
    stores: pl.DataFrame,
    prices: pl.DataFrame,
) -> SparkFrame:
    """Keep what the facts of the days left out because it can't be trusted, and why.

    Made from the very offsets that the facts were made from, so that the books of a day close whatever arrives
    meanwhile.
    """
    window = run_window(context)
    # No promotion makes a line more or less to be trusted.
    promotions = pl.DataFrame()
    parts = []
    for made in as_made(lake, CORE_SALES_LINES, window):
        lines = judged_sales(filed_baskets(spark, lake, made, stores), stores, prices, promotions)
        parts.append(lines.withColumn("event_id", F.col("transaction_id")))
    for made in as_made(lake, CORE_INVENTORY_DAILY, window):
        movements = judged_stock(filed_movements(spark, lake, made, stores), stores)
        nothing = F.lit(None).cast(spark_type(MONEY))
        parts.append(
            movements.withColumns(
                {
                    "line_no": F.lit(0),
                    "kind": F.col("movement"),
                    "units": F.col("quantity_delta"),
                    **dict.fromkeys(("unit_price", "discount", "revenue"), nothing),
                }
            )
        )
    kept_out = [part.where(F.col("reason").isNotNull()).select(*CORE_QUARANTINE.column_names) for part in parts]
    return reduce(SparkFrame.unionByName, kept_out)


@lake_asset(
    CORE_DAILY_SALES,
    kinds={"spark", "polars", "deltalake"},
    partitions_def=business_dates(get_settings()),
    backfill_policy=_BACKFILL,
    ins={
        "lines": dg.AssetIn(key=_key(CORE_SALES_LINES)),
        "inventory": dg.AssetIn(key=_key(CORE_INVENTORY_DAILY)),
        "products": dg.AssetIn(key=_key(REFERENCE_PRODUCTS)),
        "prices": dg.AssetIn(key=_key(CORE_LIST_PRICES)),
        "promotions": dg.AssetIn(key=_key(REFERENCE_PROMOTIONS)),
        "stores": dg.AssetIn(key=_key(REFERENCE_STORES)),
        "assortment": dg.AssetIn(key=_key(REFERENCE_ASSORTMENT)),
    },
    # Nothing is summed before it is known that every event is either a fact or in quarantine.
    deps=[_key(RAW_IMPORTED_SALES), _key(CORE_QUARANTINE)],
)
def daily_sales(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    lines: SparkFrame,
    inventory: SparkFrame,
    products: pl.DataFrame,
    prices: pl.DataFrame,
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
            return sales_by_day(store_lines, store_inventory, products, prices, promotions, stores, assortment)

        return per_store_pair(sold, carried, by_day, CORE_DAILY_SALES)

    def with_imports(store_rows: pl.DataFrame, store_inventory: pl.DataFrame) -> pl.DataFrame:
        tills, told = apart(store_rows)
        of_tills = pl.col("business_date").is_in(told["business_date"].unique().implode()).not_()
        return pl.concat(
            [
                sales_by_day(
                    tills.filter(of_tills),
                    store_inventory.filter(of_tills),
                    products,
                    prices,
                    promotions,
                    stores,
                    assortment,
                ),
                imported_daily_sales(told, assortment, prices, promotions, stores),
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


def _together(tills: SparkFrame, imported: SparkFrame) -> SparkFrame:
    """Put what tills and what an import say of a store into one frame, since Spark pairs two frames, not three."""
    renamed = imported.select([F.col(name).alias(f"{IMPORTED_PREFIX}{name}") for name in imported.columns]).withColumn(
        "store_id", F.col(f"{IMPORTED_PREFIX}store_id")
    )
    return tills.withColumn(IS_IMPORTED, F.lit(False)).unionByName(  # noqa: FBT003 - a literal column
        renamed.withColumn(IS_IMPORTED, F.lit(True)),  # noqa: FBT003
        allowMissingColumns=True,
    )


def _covered(context: dg.AssetExecutionContext, lake: LakeResource, raw: Table, window: DateWindow) -> Coverage:
    """Return what a raw table holds now of some days, and note it in their commit.

    What is appended meanwhile isn't read, so that the commit says exactly what the day was made from.

    Raises:
        dg.Failure: the raw layer no longer has all events of a day; made of the others, the day would lose them.
    """
    first = first_whole_day(get_settings(), datetime.now(UTC).date())
    if first is not None and window.first < first:
        raise dg.Failure(
            f"the events before {first} are no longer kept (RETAIL_KEEP_RAW_DAYS), so {window.first} can't be made "
            "again; what the core layer has of it stays as it is"
        )
    coverage = Coverage(window.first, window.last, read_progress(lake.delta(raw)).held)
    context.add_output_metadata({COMMIT_METADATA: coverage.text()})
    return coverage


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
    return [list_prices, sales_lines, inventory_daily, quarantine, daily_sales]
