"""Checks that warn: what is usual by the days before, and how fresh each layer is.

Spark sums the days that are needed, `domain.quality` judges the sums. Does not belong here: rules that must hold
(`contracts`, `balance`), and thresholds (`contracts.thresholds`).
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

import dagster as dg
import polars as pl
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import functions as F

from retail_assets.checks.results import result
from retail_assets.checks.scope import held_dates, run_dates
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    CORE_QUARANTINE,
    CORE_SALES_LINES,
    FEATURES_DEMAND,
    FORECASTS_DEMAND_7D,
    INVENTORY_REORDER_POINTS,
    RAW_IMPORTED_SALES,
    RAW_INVENTORY_UPDATES,
    RAW_SALES_TRANSACTIONS,
    RAW_TABLES,
    REFERENCE_CALENDAR,
    Table,
)
from retail_assets.contracts.thresholds import Thresholds, load_thresholds
from retail_assets.contracts.types import DecimalType, ScalarType
from retail_assets.domain import quality
from retail_assets.io_managers.delta import days, read_table, row_counts
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource
from retail_assets.settings import get_settings

#: Of a longer run the last days are judged: what was unusual a year ago is no news.
MOST_DAYS: Final = 31
#: Tables whose shares of nulls and zeros are watched, and the column that tells a store's day with trade.
SHARES_OF: Final = {CORE_SALES_LINES: "units", CORE_DAILY_SALES: "units", CORE_INVENTORY_DAILY: "sold"}


def _thresholds() -> Thresholds:
    return load_thresholds(get_settings().thresholds_file)


def judged_days(context: dg.AssetCheckExecutionContext, lake: LakeResource, table: Table) -> Sequence[date]:
    """Return the last days of the run; of all days that the table holds, for a run without partitions."""
    window = run_dates(context) or held_dates(lake, table)
    return [] if window is None else days(window)[-MOST_DAYS:]


def _rows_of(spark: SparkResource, lake: LakeResource, table: Table, wanted: Sequence[date]) -> SparkFrame:
    return read_table(spark.spark_session, lake, table).where(F.col("business_date").isin(*wanted))


def _before(judged: Sequence[date], look_back: int) -> list[date]:
    """Return some consecutive days and so many before them."""
    first = judged[0] - timedelta(days=look_back)
    return [first + timedelta(days=number) for number in range((judged[-1] - first).days + 1)]


def _nothing_to_judge() -> dg.AssetCheckResult:
    return result(passed=True, sentence="there is no day to judge yet", warns=True)


def _told(found: pl.DataFrame, things: str, example: str, threshold: float) -> dg.AssetCheckResult:
    """Return what was found, with the numbers of what lies farthest from the usual.

    Args:
        found: what a function of `quality` returned, with the columns observed and expected.
        things: what a row is, in the plural.
        example: a sentence about a row, with its columns in braces.
        threshold: of the check.
    """
    worst = quality.worst(found)
    judged = quality.judged(found)
    farthest = judged.row(0, named=True) if judged.height else {}
    sentence = quality.summary(found, things)
    return result(
        passed=worst.is_empty(),
        sentence=f"{sentence}: {example.format(**farthest)}" if worst.height else sentence,
        warns=True,
        observed=farthest.get("observed"),
        expected=farthest.get("expected"),
        threshold=threshold,
        worst=worst,
    )


@dg.asset_check(
    asset=dg.AssetKey(CORE_DAILY_SALES.key),
    blocking=False,
    description=(
        "Each store sold as much as usual, by the same weekday of the weeks before. Days without trade and public "
        "holidays aside."
    ),
)
def usual_volume(
    context: dg.AssetCheckExecutionContext, spark: SparkResource, lake: LakeResource
) -> dg.AssetCheckResult:
    """Compare the units of each store with the weeks before."""
    judged, limits = judged_days(context, lake, CORE_DAILY_SALES), _thresholds().volume
    if not judged:
        return _nothing_to_judge()
    rows = _rows_of(spark, lake, CORE_DAILY_SALES, quality.weekdays_before(judged, limits.weeks))
    sums = rows.groupBy("store_id", "business_date").agg(F.sum("units").cast("double").alias("units"))
    calendar = lake.read(REFERENCE_CALENDAR, columns=["date", "is_holiday"]).filter("is_holiday")
    found = quality.unusual_volumes(pl.DataFrame(sums.toArrow()), judged, set(calendar["date"]), limits)
    return _told(
        found.rename({"units": "observed"}),
        "days of stores",
        "store {store_id} sold {observed:,.0f} units on {business_date}, usual are {expected:,.0f}",
        limits.score,
    )


def _watched(table: Table) -> list[str]:
    """Return the columns of which a share of nulls or zeros says something."""
    return [
        column.name
        for column in table.columns
        if column.name not in table.grain
        and (column.nullable or isinstance(column.type, DecimalType) or column.type == ScalarType("float64"))
    ]


def counted_shares(frame: SparkFrame, table: Table, trade: str) -> pl.DataFrame:
    """Count rows, nulls and zeros of each watched column by store and day, columns `quality.SHARES`.

    Args:
        frame: rows of the table.
        table: its contract.
        trade: the column that isn't nothing on a store's day with trade.
    """
    numbers = {column.name for column in table.columns if column.type != ScalarType("string")}
    names = _watched(table)
    zero = F.lit(0)
    counts = [
        *(F.count_if(F.col(name).isNull()).alias(f"nulls {name}") for name in names),
        *((F.count_if(F.col(name) == 0) if name in numbers else F.max(zero)).alias(f"zeros {name}") for name in names),
    ]
    wide = pl.DataFrame(
        frame.groupBy("store_id", "business_date")
        .agg(F.count(F.lit(1)).alias("rows"), (F.max(F.abs(trade)) > 0).alias("trade"), *counts)
        .toArrow()
    )
    return pl.concat(
        wide.select(
            "store_id",
            "business_date",
            "trade",
            pl.lit(name).alias("column"),
            "rows",
            pl.col(f"nulls {name}").alias("nulls"),
            pl.col(f"zeros {name}").alias("zeros"),
        ).cast(quality.SHARES)
        for name in names
    )


def _shares_check(table: Table, trade: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dg.AssetKey(table.key),
        name="usual_shares",
        blocking=False,
        description=(
            "In each column about as many rows are null, and as many zero, as on the same weekday before: "
            f"{', '.join(_watched(table))}. Days of stores without trade aside."
        ),
    )
    def usual_shares(
        context: dg.AssetCheckExecutionContext, spark: SparkResource, lake: LakeResource
    ) -> dg.AssetCheckResult:
        judged, limits = judged_days(context, lake, table), _thresholds().shares
        if not judged:
            return _nothing_to_judge()
        counts = counted_shares(
            _rows_of(spark, lake, table, quality.weekdays_before(judged, limits.weeks)), table, trade
        )
        found = quality.changed_shares(counts, judged, limits)
        example = "{observed:.1%} {kind} in {column} on {business_date}, usual are {expected:.1%}"
        return _told(found, "shares of columns", example, limits.least_change)

    return usual_shares


@dg.asset_check(
    asset=dg.AssetKey(CORE_DAILY_SALES.key),
    blocking=False,
    description="No product sold for far more or far less than on the days before, promotions taken out.",
)
def usual_prices(
    context: dg.AssetCheckExecutionContext, spark: SparkResource, lake: LakeResource
) -> dg.AssetCheckResult:
    """Compare the regular price of each product, the middle of its stores', with the days before."""
    judged, limits = judged_days(context, lake, CORE_DAILY_SALES), _thresholds().price_jumps
    if not judged:
        return _nothing_to_judge()
    rows = _rows_of(spark, lake, CORE_DAILY_SALES, _before(judged, limits.days)).where(
        "units > 0 AND discount_share < 1"
    )
    regular = F.col("unit_price") / (1 - F.col("discount_share"))
    middle = rows.groupBy("product_id", "business_date").agg(F.median(regular.cast("double")).alias("price"))
    found = quality.price_jumps(pl.DataFrame(middle.toArrow()), judged, limits)
    return _told(
        found.rename({"price": "observed"}),
        "prices of products",
        "product {product_id} sold for {observed:,.2f} on {business_date}, usual are {expected:,.2f}",
        limits.ratio,
    )


@dg.asset_check(
    asset=dg.AssetKey(CORE_QUARANTINE.key),
    blocking=False,
    description="Few lines of baskets are kept out of the facts because nobody can trust them.",
)
def little_kept_out(
    context: dg.AssetCheckExecutionContext, spark: SparkResource, lake: LakeResource
) -> dg.AssetCheckResult:
    """Compare the lines in quarantine with those that are facts, over all days of the run."""
    window, facts = run_dates(context) or held_dates(lake, CORE_SALES_LINES), lake.delta(CORE_SALES_LINES)
    if window is None or facts is None:
        return _nothing_to_judge()
    limit = _thresholds().kept_out.most_share
    rows = _rows_of(spark, lake, CORE_QUARANTINE, days(window)).where("line_no > 0")
    counted = rows.groupBy("reason").agg(F.count(F.lit(1)).alias("lines"), F.sum(F.abs("revenue")).alias("revenue"))
    reasons = pl.DataFrame(counted.toArrow()).sort("lines", "reason", descending=[True, False])
    kept_out = int(reasons["lines"].sum())
    lines = kept_out + sum(row_counts(facts, CORE_SALES_LINES, window).values())
    share = kept_out / lines if lines else 0.0
    told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.select("reason", "lines").iter_rows())
    return result(
        passed=share <= limit,
        sentence=f"{kept_out:,} of {lines:,} lines of baskets are kept out{f': {told}' if told else ''}",
        warns=True,
        observed=share,
        expected=0,
        threshold=limit,
        worst=reasons,
    )


def newest_event(lake: LakeResource, table: Table, now: datetime) -> datetime | None:
    """Return the time of a raw table's newest event that has happened; None where there is none.

    Only the newest days are opened. Events of the future are left out: one till with a wrong clock would make the
    table look fresh for good.
    """
    delta = lake.delta(table)
    held = sorted(row_counts(delta, table, None), reverse=True) if delta is not None else []
    for day in held:
        if day > str(now.astimezone(UTC).date()):
            continue
        times = lake.read(table, on=date.fromisoformat(day), columns=["occurred_at"])["occurred_at"].drop_nulls()
        newest = times.filter(times <= now).max()
        if isinstance(newest, datetime):
            return newest
    return None


def _raw_freshness_check(table: Table) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dg.AssetKey(table.key),
        name="fresh",
        blocking=False,
        description="The newest event isn't older than a till may be silent.",
    )
    def fresh(lake: LakeResource) -> dg.AssetCheckResult:
        limit = _thresholds().freshness.raw_hours
        now = datetime.now(UTC)
        newest = newest_event(lake, table, now)
        age = quality.hours_since(newest, now)
        if age is None:
            return result(passed=True, sentence="there is no event yet: nothing to judge", warns=True)
        return result(
            passed=age <= limit,
            sentence=f"the newest event is {age:,.1f} hours old; {limit:g} are allowed",
            warns=True,
            observed=age,
            expected=0,
            threshold=limit,
            metadata={"newest_event": str(newest)},
        )

    return fresh


def _newest_day(lake: LakeResource, table: Table) -> date | None:
    window = held_dates(lake, table)
    return None if window is None else window.last


def newest_raw_day(lake: LakeResource, now: datetime) -> date | None:
    """Return the newest day that the core layer can hold: of events or of an import, and over by now."""
    zone = get_settings().zone
    events = [newest_event(lake, table, now) for table in (RAW_SALES_TRANSACTIONS, RAW_INVENTORY_UPDATES)]
    found = [event.astimezone(zone).date() for event in events if event is not None]
    months = held_dates(lake, RAW_IMPORTED_SALES)
    if months is not None:
        imported = lake.read(RAW_IMPORTED_SALES, on=months.last, columns=["business_date"])["business_date"].max()
        found += [imported] if isinstance(imported, date) else []
    yesterday = now.astimezone(zone).date() - timedelta(days=1)
    return min(max(found), yesterday) if found else None


def _layer_freshness_check(table: Table, source: Table | None, field: str) -> dg.AssetChecksDefinition:
    behind = "the raw layer" if source is None else source.path

    @dg.asset_check(
        asset=dg.AssetKey(table.key),
        name="fresh",
        blocking=False,
        description=f"The newest day doesn't lag far behind that of {behind}.",
    )
    def fresh(lake: LakeResource) -> dg.AssetCheckResult:
        limit: int = getattr(_thresholds().freshness, field)
        there = newest_raw_day(lake, datetime.now(UTC)) if source is None else _newest_day(lake, source)
        here = _newest_day(lake, table)
        if there is None:
            return result(passed=True, sentence=f"{behind} holds no day yet: nothing to judge", warns=True)
        if here is None:
            return result(passed=False, sentence=f"no day was made yet, though {behind} has {there}", warns=True)
        lag = (there - here).days
        return result(
            passed=lag <= limit,
            sentence=f"the newest day is {here}, that of {behind} {there}; a lag of {limit} days is allowed",
            warns=True,
            observed=lag,
            expected=0,
            threshold=limit,
            metadata={"newest_day": str(here), "newest_day_of_source": str(there)},
        )

    return fresh


def statistical_checks() -> list[dg.AssetChecksDefinition]:
    """Return the checks that warn."""
    layers = (
        (CORE_DAILY_SALES, None, "core_days"),
        (FEATURES_DEMAND, CORE_DAILY_SALES, "features_days"),
        (FORECASTS_DEMAND_7D, FEATURES_DEMAND, "forecasts_days"),
        (INVENTORY_REORDER_POINTS, FORECASTS_DEMAND_7D, "inventory_days"),
    )
    return [
        little_kept_out,
        usual_volume,
        usual_prices,
        *(_shares_check(table, trade) for table, trade in SHARES_OF.items()),
        *(_raw_freshness_check(table) for table in RAW_TABLES),
        *(_layer_freshness_check(table, source, field) for table, source, field in layers),
    ]
