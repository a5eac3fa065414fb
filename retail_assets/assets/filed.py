"""Lines of baskets and stock movements by business date: what facts, quarantine and the books of a day are made of.

Belongs here: reading them from a raw table as far as a day was made from it, once in a run for all that need them, and
judging them. Does not belong here: under which date an event is filed and which repeats (`assets.events`), what can be
trusted (`domain.trust`).
"""

from collections.abc import Callable

import polars as pl
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import functions as F

from retail_assets.assets.common import per_task
from retail_assets.assets.events import Clock, filed_events
from retail_assets.contracts.events import INVENTORY_UPDATE, SALES_TRANSACTION, EventSchema
from retail_assets.contracts.tables import RAW_INVENTORY_UPDATES, RAW_SALES_TRANSACTIONS, Table
from retail_assets.contracts.tables.core import FOREIGN_CURRENCY
from retail_assets.contracts.thresholds import Quarantine, load_thresholds
from retail_assets.domain.trust import JUDGED_LINES, JUDGED_MOVEMENTS, LINES, MOVEMENTS, judged_lines, judged_movements
from retail_assets.io_managers.delta import read_table
from retail_assets.io_managers.frames import DateWindow
from retail_assets.resources.coverage import Coverage, made_from, read_coverage
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource
from retail_assets.settings import get_settings


def filed_baskets(spark: SparkResource, lake: LakeResource, made: Coverage, stores: pl.DataFrame) -> SparkFrame:
    """Return the lines of the baskets of some business dates, repeats among them.

    Args:
        spark: of the run; what is read for one step is kept for the next.
        lake: that holds `raw/sales_transactions`.
        made: the dates, and up to which offsets they are made.
        stores: `reference/stores`.

    Returns:
        One row per line: columns `LINES` and `is_repeat`.
    """

    def lines(events: SparkFrame) -> SparkFrame:
        is_foreign = ~F.upper("currency").isin("", get_settings().currency)
        events = events.withColumn("event_reason", F.coalesce("event_reason", F.when(is_foreign, FOREIGN_CURRENCY)))
        exploded = events.withColumn("line", F.explode("lines"))
        for name in ("line_no", "product_id", "quantity", "unit_price", "discount"):
            exploded = exploded.withColumn(name, F.col(f"line.{name}"))
        return (
            exploded.withColumn("till_promotion_id", F.col("line.promotion_id"))
            .withColumn("business_hour", F.hour("local_time"))
            .select(*(column.name for column in LINES), "is_repeat")
        )

    return _filed(spark, lake, RAW_SALES_TRANSACTIONS, SALES_TRANSACTION, made, stores, lines)


def filed_movements(spark: SparkResource, lake: LakeResource, made: Coverage, stores: pl.DataFrame) -> SparkFrame:
    """Return the stock movements of some business dates, repeats among them.

    Args:
        spark: of the run; what is read for one step is kept for the next.
        lake: that holds `raw/inventory_updates`.
        made: the dates, and up to which offsets they are made.
        stores: `reference/stores`.

    Returns:
        One row per movement: columns `MOVEMENTS` and `is_repeat`.
    """

    def movements(events: SparkFrame) -> SparkFrame:
        return events.select(*(column.name for column in MOVEMENTS), "is_repeat")

    return _filed(spark, lake, RAW_INVENTORY_UPDATES, INVENTORY_UPDATE, made, stores, movements)


def _filed(
    spark: SparkResource,
    lake: LakeResource,
    raw: Table,
    schema: EventSchema,
    made: Coverage,
    stores: pl.DataFrame,
    shaped: Callable[[SparkFrame], SparkFrame],
) -> SparkFrame:
    """Return the events of a raw table under their business dates, shaped; read once in a run."""

    def filed() -> SparkFrame:
        rows = read_table(spark.spark_session, lake, raw).where(made.condition)
        return shaped(filed_events(rows, stores, DateWindow(made.first, made.last), schema, Clock.of(limits())))

    return spark.shared(f"{shaped.__name__} of {lake.uri(raw.path)}: {made.text()}", filed)


def once_each(events: SparkFrame) -> SparkFrame:
    """Return filed events without repeats."""
    return events.where(~F.col("is_repeat")).drop("is_repeat")


def judged_sales(lines: SparkFrame, stores: pl.DataFrame, prices: pl.DataFrame, promotions: pl.DataFrame) -> SparkFrame:
    """Return filed lines of baskets, each once and judged: columns `JUDGED_LINES`."""
    bounds = limits()

    def judged(lines: pl.DataFrame) -> pl.DataFrame:
        return judged_lines(lines, stores, prices, promotions, bounds)

    return per_task(once_each(lines), judged, JUDGED_LINES)


def judged_stock(movements: SparkFrame, stores: pl.DataFrame) -> SparkFrame:
    """Return filed stock movements, each once and judged: columns `JUDGED_MOVEMENTS`."""
    bounds = limits()

    def judged(movements: pl.DataFrame) -> pl.DataFrame:
        return judged_movements(movements, stores, bounds)

    return per_task(once_each(movements), judged, JUDGED_MOVEMENTS)


def limits() -> Quarantine:
    """Return from where on an event isn't plausible."""
    return load_thresholds(get_settings().thresholds_file).quarantine


def as_made(lake: LakeResource, core: Table, window: DateWindow) -> list[Coverage]:
    """Return what the days of a core table were made from, by stretches of days."""
    delta = lake.delta(core)
    return made_from([] if delta is None else read_coverage(delta), window.first, window.last)
