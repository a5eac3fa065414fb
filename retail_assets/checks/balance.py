"""Blocking checks that the books balance between layers: no event and no unit is lost or made on the way.

Does not belong here: whether the numbers are plausible (`statistical`).
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

import dagster as dg
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import Window
from pyspark.sql import functions as F

from retail_assets.assets.core import imported_days
from retail_assets.assets.filed import as_made, filed_baskets, filed_movements
from retail_assets.checks.results import result
from retail_assets.checks.scope import held_dates, run_dates
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    CORE_QUARANTINE,
    CORE_SALES_LINES,
    REFERENCE_STORES,
    Table,
)
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
    units, revenue = here
    return result(
        passed=here == there,
        sentence=f"{units} units and {revenue} of revenue, as in {source}"
        if here == there
        else f"units and revenue are {here}, but {there} in {source}",
        observed=float(units),
        expected=float(there[0]),
        threshold=0,
        metadata={"units": units, "revenue": revenue, f"{source}_units": there[0], f"{source}_revenue": there[1]},
    )


@dataclass(frozen=True)
class Count:
    """Events and the units that they move."""

    events: int
    units: Decimal

    @classmethod
    def of(cls, frame: SparkFrame, units: str, *conditions: str) -> "tuple[Count, ...]":
        """Count the rows for which each SQL condition holds, and sum an SQL expression over them, in one pass."""
        sums = [
            part
            for condition in conditions
            for part in (
                F.expr(f"count_if({condition})"),
                F.expr(f"coalesce(sum({units}) FILTER (WHERE {condition}), 0)"),
            )
        ]
        row = frame.agg(*sums).collect()[0]
        return tuple(cls(int(row[n]), Decimal(row[n + 1])) for n in range(0, len(row), 2))

    def __add__(self, other: "Count") -> "Count":
        """Add up both."""
        return Count(self.events + other.events, self.units + other.units)

    def __str__(self) -> str:
        """Return both as people read them."""
        return f"{self.events:,} with {self.units:,.3f} units"


_NOTHING: Final = Count(0, Decimal(0))


@dataclass(frozen=True)
class Books:
    """Where the events of some days went.

    Attributes:
        what: what is counted, in the plural.
        raw: what the raw table holds of the days, as far as the facts were made from it.
        core: what the facts hold; of stock movements the units alone are known there.
        repeats: what came again and was left out.
        quarantined: what was kept out.
    """

    what: str
    raw: Count
    core: Count
    repeats: Count
    quarantined: Count

    @property
    def balance(self) -> bool:
        """Whether nothing is missing and nothing too much."""
        there = self.core + self.repeats + self.quarantined
        return self.raw == there

    def __str__(self) -> str:
        """Return one line that tells all."""
        return (
            f"{self.what}: {self.raw} in raw, {self.core} in core, {self.repeats} came again, "
            f"{self.quarantined} in quarantine"
        )


def sales_books(spark: SparkResource, lake: LakeResource, window: DateWindow) -> Books:
    """Count where the lines of the baskets of some business dates went."""
    session = spark.spark_session
    raw = repeats = _NOTHING
    signed = "CASE kind WHEN 'sale' THEN quantity ELSE -quantity END"
    stores = lake.read(REFERENCE_STORES)
    for made in as_made(lake, CORE_SALES_LINES, window):
        filed = filed_baskets(spark, lake, made, stores)
        whole, again = Count.of(filed, signed, "true", "is_repeat")
        raw, repeats = raw + whole, repeats + again
    days = window.where("business_date")
    (core,) = Count.of(read_table(session, lake, CORE_SALES_LINES).where(days), "units", "true")
    (kept_out,) = Count.of(read_table(session, lake, CORE_QUARANTINE).where(days), "units", "line_no > 0")
    return Books("lines of baskets", raw, core, repeats, kept_out)


def stock_books(spark: SparkResource, lake: LakeResource, window: DateWindow) -> Books:
    """Count where the stock movements of some business dates went; without a store's days that an import tells of."""
    session = spark.spark_session
    imported = imported_days(session, lake, window)

    def of_tills(frame: SparkFrame) -> SparkFrame:
        if imported is None:
            return frame
        told = imported.select("store_id", "business_date").distinct()
        return frame.join(F.broadcast(told), ["store_id", "business_date"], "left_anti")

    raw = repeats = _NOTHING
    stores = lake.read(REFERENCE_STORES)
    for made in as_made(lake, CORE_INVENTORY_DAILY, window):
        filed = of_tills(filed_movements(spark, lake, made, stores))
        whole, again = Count.of(filed, "quantity_delta", "true", "is_repeat")
        raw, repeats = raw + whole, repeats + again
    days = window.where("business_date")
    (kept_out,) = Count.of(of_tills(read_table(session, lake, CORE_QUARANTINE).where(days)), "units", "line_no = 0")
    (ledger,) = Count.of(
        of_tills(read_table(session, lake, CORE_INVENTORY_DAILY).where(days)), "closing - opening", "true"
    )
    # The ledger has days, not movements: what isn't a repeat and isn't in quarantine must show in its units.
    booked = Count(raw.events - repeats.events - kept_out.events, ledger.units)
    return Books("stock movements", raw, booked, repeats, kept_out)


@dg.asset_check(
    asset=dg.AssetKey(CORE_QUARANTINE.key),
    blocking=True,
    description=(
        "Every accepted event of the run's days is a fact, a repeat that was dropped, or in quarantine: lines of "
        "baskets by number and units, stock movements by units. Imported days aside."
    ),
)
def every_event_is_accounted_for(
    context: dg.AssetCheckExecutionContext, spark: SparkResource, lake: LakeResource
) -> dg.AssetCheckResult:
    """Compare the raw tables with facts and quarantine."""
    window = run_dates(context) or held_dates(lake, CORE_SALES_LINES)
    if window is None:
        return result(passed=True, sentence="no day was made yet", observed=0, expected=0, threshold=0)
    books = [sales_books(spark, lake, window), stock_books(spark, lake, window)]
    wrong = [one for one in books if not one.balance]
    kept_out = sum(one.quarantined.events for one in books)
    there = [one.core + one.repeats + one.quarantined for one in books]
    return result(
        passed=not wrong,
        sentence="; ".join(str(one) for one in wrong or books)
        + (
            ": materialize the days of core/sales_lines, core/inventory_daily and core/quarantine together"
            * bool(wrong)
        ),
        observed=sum(one.events for one in there),
        expected=sum(one.raw.events for one in books),
        threshold=0,
        metadata={
            "quarantined": kept_out,
            **{
                f"{one.what.replace(' ', '_')}_{name}": f"{getattr(one, name)}"
                for one in books
                for name in ("raw", "core", "repeats", "quarantined")
            },
        },
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
        "day, with the one after the run's last, opens with what the day before closed with: no series ends."
    ),
)
def ledger_balances(
    context: dg.AssetCheckExecutionContext, spark: SparkResource, lake: LakeResource
) -> dg.AssetCheckResult:
    """Count the rows of the stock ledger that don't add up."""
    frame = read_table(spark.spark_session, lake, CORE_INVENTORY_DAILY)
    held = held_dates(lake, CORE_INVENTORY_DAILY)
    window = run_dates(context) or held
    if window is None or held is None:
        return result(passed=True, sentence="no day was made yet", observed=0, expected=0, threshold=0)
    last = min(held.last, window.last + timedelta(days=1))
    nearby = DateWindow(window.first - timedelta(days=1), window.last + timedelta(days=1))
    frame = frame.where(nearby.where("business_date"))
    off = "opening + received - sold + transferred + adjusted - spoiled != closing"
    series = Window.partitionBy("store_id", "product_id").orderBy("business_date")
    split = (F.lag("business_date").over(series) == F.date_sub("business_date", 1)) & (
        F.lag("closing").over(series) != F.col("opening")
    )
    # What lies in a store goes on lying there: a series without a row on the next day has lost its stock.
    next_day = F.lead("business_date").over(series)
    ends = (F.col("business_date") < F.lit(last)) & ~next_day.eqNullSafe(F.date_add("business_date", 1))
    rows_off, days_split, series_ended = (
        frame.select(F.expr(off).alias("off"), split.alias("split"), ends.alias("ends"))
        .agg(F.count_if("off"), F.count_if(F.coalesce("split", F.lit(0) == 1)), F.count_if("ends"))
        .collect()[0]
    )
    sentences = [f"{rows_off} rows don't add up"] * bool(rows_off)
    if days_split:
        sentences.append(
            f"{days_split} rows don't open with what the day before closed with: materialize the later days too"
        )
    if series_ended:
        sentences.append(f"{series_ended} series have no row on the next day: materialize the later days too")
    return result(
        passed=not sentences,
        sentence="; ".join(sentences) or "every row adds up and opens with what the day before closed with",
        observed=rows_off + days_split + series_ended,
        expected=0,
        threshold=0,
        metadata={
            "rows_off": rows_off,
            "rows_that_do_not_follow_the_day_before": days_split,
            "series_that_end": series_ended,
        },
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
    return [every_event_is_accounted_for, balances_with_sales_lines, ledger_balances, balances_with_lake]
