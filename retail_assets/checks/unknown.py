"""Warns of products and stores that the master data lack: their sales count, under the "unknown" member of a dimension.

Non-blocking: a product that is sold before it is in the catalogue is a clerk's delay, no reason to stop the day.
"""

import dagster as dg
import polars as pl
from pyspark.sql import functions as F

from retail_assets.checks.results import NAMED, result
from retail_assets.checks.scope import run_dates
from retail_assets.contracts.tables import CORE_DAILY_SALES, REFERENCE_PRODUCTS, REFERENCE_STORES
from retail_assets.io_managers.delta import read_table
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource


def unknown_ids(sales: pl.DataFrame, known: pl.DataFrame, id_column: str) -> pl.DataFrame:
    """Return the ids that master data lack, those with most rows first.

    Args:
        sales: one row per id: the id, rows and units.
        known: master data with the same id.
        id_column: name of the id.

    Returns:
        The rows of `sales` whose id is unknown.
    """
    return sales.join(known.select(id_column).unique(), on=id_column, how="anti").sort(
        "rows", id_column, descending=[True, False]
    )


@dg.asset_check(
    asset=dg.AssetKey(CORE_DAILY_SALES.key),
    blocking=False,
    description="Every product and store that sold is in the master data; what isn't counts as unknown in the marts.",
)
def known_products_and_stores(
    context: dg.AssetCheckExecutionContext, spark: SparkResource, lake: LakeResource
) -> dg.AssetCheckResult:
    """Count the rows of the run's days whose product or store nobody has described."""
    frame = read_table(spark.spark_session, lake, CORE_DAILY_SALES)
    window = run_dates(context)
    if window is not None:
        frame = frame.where(window.where("business_date"))
    sums = frame.groupBy("store_id", "product_id").agg(
        F.count(F.lit(1)).alias("rows"), F.sum("units").cast("double").alias("units")
    )
    by_series = pl.DataFrame(sums.toArrow())
    metadata: dict[str, dg.MetadataValue] = {}
    sentences = []
    found = 0
    for table, id_column in ((REFERENCE_PRODUCTS, "product_id"), (REFERENCE_STORES, "store_id")):
        by_id = by_series.group_by(id_column).agg(pl.col("rows", "units").sum())
        unknown = unknown_ids(by_id, lake.read(table, columns=[id_column]), id_column)
        rows, units = int(unknown["rows"].sum()), float(unknown["units"].sum())
        metadata[f"unknown_{table.name}"] = dg.MetadataValue.int(unknown.height)
        metadata[f"rows_of_unknown_{table.name}"] = dg.MetadataValue.int(rows)
        found += unknown.height
        if not unknown.is_empty():
            named = ", ".join(unknown[id_column].head(NAMED))
            more = f" and {unknown.height - NAMED:,} more" if unknown.height > NAMED else ""
            sentences.append(
                f"{unknown.height:,} unknown {table.name} with {rows:,} rows and {units:,.0f} units: {named}{more}"
            )
    return result(
        passed=not sentences,
        sentence="; ".join(sentences) or "every product and store is in the master data",
        warns=True,
        observed=found,
        expected=0,
        threshold=0,
        metadata=metadata,
    )
