"""Blocking checks that the books balance between layers: no unit is lost or made on the way to the warehouse."""

from datetime import timedelta

import dagster as dg
from pyspark.sql import Window
from pyspark.sql import functions as F

from retail_assets.assets.core import imported_days
from retail_assets.checks.scope import run_dates
from retail_assets.contracts.tables import CORE_DAILY_SALES, CORE_INVENTORY_DAILY, CORE_SALES_LINES, Table
from retail_assets.io_managers.delta import read_table
from retail_assets.io_managers.frames import DateWindow
from retail_assets.resources.clickhouse import ClickHouseResource
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource


def _totals(
    context: dg.AssetCheckExecutionContext,
    spark: SparkResource,
    lake: LakeResource,
    table: Table,
    *,
    of_tills: bool = False,
) -> tuple[str, str]:
    """Return units and revenue of the run's days as text; without imported days, where `of_tills`."""
    frame = read_table(spark.spark_session, lake, table)
    window = run_dates(context)
    if window is not None:
        frame = frame.where(window.where("business_date"))
        imported = imported_days(spark.spark_session, lake, window) if of_tills else None
        if imported is not None:
            days = imported.select("store_id", "business_date").distinct()
            frame = frame.join(F.broadcast(days), ["store_id", "business_date"], "left_anti")
    units, revenue = frame.agg(F.coalesce(F.sum("units"), F.lit(0)), F.coalesce(F.sum("revenue"), F.lit(0))).collect()[
        0
    ]
    return f"{units:.3f}", f"{revenue:.2f}"


def _compared(here: tuple[str, str], there: tuple[str, str], source: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=here == there,
        metadata={"units": here[0], "revenue": here[1], f"{source}_units": there[0], f"{source}_revenue": there[1]},
        description=None if here == there else f"units and revenue are {here}, but {there} in {source}",
    )


@dg.asset_check(
    asset=dg.AssetKey(CORE_DAILY_SALES.key),
    blocking=True,
    description=(
        "Units and revenue of the run's days equal those of the sales lines, to the unit and the cent; imported days "
        "aside."
    ),
)
def balances_with_sales_lines(
    context: dg.AssetCheckExecutionContext, spark: SparkResource, lake: LakeResource
) -> dg.AssetCheckResult:
    """Compare daily sales with the lines that they sum."""
    return _compared(
        _totals(context, spark, lake, CORE_DAILY_SALES, of_tills=True),
        _totals(context, spark, lake, CORE_SALES_LINES, of_tills=True),
        "sales_lines",
    )


@dg.asset_check(
    asset=dg.AssetKey(CORE_INVENTORY_DAILY.key),
    blocking=True,
    description=(
        "opening + received - sold + transferred + adjusted - spoiled = closing on each of the run's days, and each "
        "day, with the one after the run's last, opens with what the day before closed with."
    ),
)
def ledger_balances(
    context: dg.AssetCheckExecutionContext, spark: SparkResource, lake: LakeResource
) -> dg.AssetCheckResult:
    """Count the rows of the stock ledger that don't add up."""
    frame = read_table(spark.spark_session, lake, CORE_INVENTORY_DAILY)
    window = run_dates(context)
    if window is not None:
        nearby = DateWindow(window.first - timedelta(days=1), window.last + timedelta(days=1))
        frame = frame.where(nearby.where("business_date"))
    off = "opening + received - sold + transferred + adjusted - spoiled != closing"
    series = Window.partitionBy("store_id", "product_id").orderBy("business_date")
    split = (F.lag("business_date").over(series) == F.date_sub("business_date", 1)) & (
        F.lag("closing").over(series) != F.col("opening")
    )
    rows_off, days_split = (
        frame.select(F.expr(off).alias("off"), split.alias("split"))
        .agg(F.count_if("off"), F.count_if(F.coalesce("split", F.lit(0) == 1)))
        .collect()[0]
    )
    return dg.AssetCheckResult(
        passed=rows_off == 0 and days_split == 0,
        metadata={"rows_off": rows_off, "rows_that_do_not_follow_the_day_before": days_split},
        description=None
        if not days_split
        else f"{days_split} rows don't open with what the day before closed with: materialize the later days too",
    )


@dg.asset_check(
    asset=dg.AssetKey(["marts", "fact_sales"]),
    blocking=True,
    description="Units and revenue of the run's days in the warehouse equal those in the lake.",
)
def balances_with_lake(
    context: dg.AssetCheckExecutionContext, spark: SparkResource, lake: LakeResource, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """Compare the warehouse with the days of the lake."""
    window = run_dates(context)
    condition = window.where("business_date") if window is not None else "1"
    with clickhouse.client(f"check of fact_sales {context.run.run_id}") as client:
        row = client.query(f"SELECT toString(sum(units)), toString(sum(revenue)) FROM fact_sales WHERE {condition}")
    units, revenue = row.result_rows[0]
    return _compared(
        (f"{float(units):.3f}", f"{float(revenue):.2f}"), _totals(context, spark, lake, CORE_DAILY_SALES), "daily_sales"
    )


def balance_checks() -> list[dg.AssetChecksDefinition]:
    """Return the checks that compare layers."""
    return [balances_with_sales_lines, ledger_balances, balances_with_lake]
