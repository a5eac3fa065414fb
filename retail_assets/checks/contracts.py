"""Blocking checks that follow from the tables' contracts: keys unique, values known, ranges kept.

One check and one Spark job per table, and a second one where a rule is broken, to count by rule.
"""

from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import Final

import dagster as dg
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import functions as F

from retail_assets.checks.results import result
from retail_assets.checks.scope import run_dates
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    CORE_LIST_PRICES,
    CORE_QUARANTINE,
    CORE_SALES_LINES,
    FEATURES_DEMAND,
    FORECASTS_DEMAND_7D,
    INVENTORY_REORDER_POINTS,
    RAW_DEAD_LETTERS,
    RAW_IMPORTED_SALES,
    RAW_INVENTORY_UPDATES,
    RAW_TABLES,
    Table,
)
from retail_assets.contracts.types import ListType
from retail_assets.io_managers.delta import read_table, row_counts
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource

CHECKED_TABLES: Final = (
    *RAW_TABLES,
    RAW_DEAD_LETTERS,
    CORE_SALES_LINES,
    CORE_INVENTORY_DAILY,
    CORE_QUARANTINE,
    CORE_LIST_PRICES,
    CORE_DAILY_SALES,
    FEATURES_DEMAND,
    FORECASTS_DEMAND_7D,
    INVENTORY_REORDER_POINTS,
)


#: Tables that have rows on every day, also when the stores are closed; none means that nothing came from upstream.
NEVER_EMPTY: Final = (
    CORE_INVENTORY_DAILY,
    CORE_DAILY_SALES,
    FEATURES_DEMAND,
    FORECASTS_DEMAND_7D,
    INVENTORY_REORDER_POINTS,
)


def violations(table: Table) -> dict[str, SparkColumn]:
    """Return, by name, the condition under which a row breaks the contract."""
    broken: dict[str, SparkColumn] = {}
    for column in table.columns:
        if isinstance(column.type, ListType):
            continue
        value = F.col(column.name)
        if not column.nullable:
            broken[f"{column.name} is null"] = value.isNull()
        if column.minimum is not None:
            broken[f"{column.name} < {column.minimum:g}"] = value < column.minimum
        if column.maximum is not None:
            broken[f"{column.name} > {column.maximum:g}"] = value > column.maximum
        if column.allowed:
            broken[f"{column.name} not in {column.allowed}"] = ~value.isin(*column.allowed)
    return broken


def broken_rules(frame: SparkFrame, table: Table) -> tuple[int, dict[str, int]]:
    """Count the rows, and those that break each rule of the contract.

    Returns:
        Rows looked at, and rows per broken rule; a rule that holds is not among them.
    """
    rules = violations(table)
    # One condition for all rules, since they mostly hold: a sum for each of a wide table's rules is a program too large
    # for Java to compile, and takes more than twice as long.
    breaks = reduce(or_, (F.coalesce(rule, F.lit(False)) for rule in rules.values()), F.lit(False))  # noqa: FBT003
    # Distinct hashes cost a fraction of distinct keys. Two keys with one hash only ever raise a false suspicion, which
    # the exact count below settles.
    hashes = F.countDistinct(F.xxhash64(*table.grain))
    row = frame.agg(F.count(F.lit(1)).alias("rows"), hashes.alias("keys"), F.count_if(breaks).alias("breaking")).first()
    if row is None:
        return 0, {}
    broken: dict[str, int] = {}
    if row["breaking"]:
        counts = frame.where(breaks).agg(
            *(F.count_if(rule).alias(f"rule_{n}") for n, rule in enumerate(rules.values()))
        )
        found = counts.collect()[0]
        broken = {name: int(found[n]) for n, name in enumerate(rules) if found[n]}
    if row["keys"] != row["rows"]:
        repeated = int(row["rows"]) - frame.select(*table.grain).distinct().count()
        if repeated:
            broken[f"repeated {' x '.join(table.grain)}"] = repeated
    return int(row["rows"]), broken


def _scope(context: dg.AssetCheckExecutionContext, table: Table) -> SparkColumn:
    """Return the rows that the run wrote: its partitions, or what was ingested since it began."""
    if table.layer == "raw":
        stats = context.instance.get_run_stats(context.run.run_id)
        return F.col("ingested_at") >= F.lit(datetime.fromtimestamp(stats.start_time or 0, tz=UTC))
    window = run_dates(context)
    if window is None or table.partition_by is None:
        return F.lit(1) == 1
    return F.expr(window.where(table.partition_by))


def _may_be_closed(lake: LakeResource, table: Table) -> bool:
    """Return whether a day can be empty: only stock lies there on every day, and nobody may have told of any.

    Tills alone say nothing of days without trade, and neither does an imported history.
    """
    if table.layer not in {"core", "features"}:
        return False
    stock = lake.delta(RAW_INVENTORY_UPDATES)
    tells_of_stock = stock is not None and any(row_counts(stock, RAW_INVENTORY_UPDATES, None).values())
    return not tells_of_stock or lake.delta(RAW_IMPORTED_SALES) is not None


def _contract_check(table: Table) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dg.AssetKey(table.key),
        name="contract",
        blocking=True,
        description=(
            f"Keys ({', '.join(table.grain)}) are unique, required columns are filled, values lie within their ranges; "
            "for the rows that the run wrote."
        ),
    )
    def contract(
        context: dg.AssetCheckExecutionContext, spark: SparkResource, lake: LakeResource
    ) -> dg.AssetCheckResult:
        frame = read_table(spark.spark_session, lake, table).where(_scope(context, table))
        rows, broken = broken_rules(frame, table)
        if rows == 0 and table in NEVER_EMPTY and not _may_be_closed(lake, table):
            broken["a day has no rows at all: what it is made from is missing"] = 1
        return result(
            passed=not broken,
            sentence="; ".join(f"{rule}: {count} rows" for rule, count in broken.items())
            or f"{rows:,} rows keep the contract",
            observed=sum(broken.values()),
            expected=0,
            threshold=0,
            metadata={"rows_checked": rows, "broken_rules": dg.MetadataValue.json(broken)},
        )

    return contract


def contract_checks() -> list[dg.AssetChecksDefinition]:
    """Return one blocking check per table of the lake that the graph writes."""
    return [_contract_check(table) for table in CHECKED_TABLES]
