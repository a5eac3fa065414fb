"""Revenue by store and hour: pure functions on frames, streaming or not.

The arithmetic is that of the batch pipeline: each line is rounded to the cent, returns and voids count against sales.
Does not belong here: reading, state settings and writing.
"""

from collections.abc import Callable
from typing import Final

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from retail_assets.contracts.events import SALES_TRANSACTION
from retail_streaming.events import TOO_LARGE, VERDICT, once_each

_MONEY: Final = "decimal(12,2)"
_QUANTITY: Final = "decimal(12,3)"

#: What the table holds, but for what the writer adds.
ROWS: Final = pa.schema(
    [
        pa.field("store_id", pa.string()),
        pa.field("hour_start", pa.timestamp("s", tz="UTC")),
        pa.field("units", pa.decimal128(18, 3)),
        pa.field("revenue", pa.decimal128(18, 2)),
        pa.field("transactions", pa.uint32()),
    ]
)


def baskets(events: DataFrame) -> DataFrame:
    """Sum the lines of each basket.

    Args:
        events: judged sales transactions.

    Returns:
        `transaction_id`, `store_id`, `occurred_at`, net `units`, net `revenue`, and `verdict`: a basket whose amounts
        no column of the platform can hold is left out, rather than end the query for good.
    """
    usable = F.col(VERDICT).isNull()
    sign = F.when(F.col("kind") == "sale", 1).otherwise(-1)
    units = F.when(usable, (_total(_line_units, _QUANTITY) * sign).try_cast(_QUANTITY))
    revenue = F.when(usable, (_total(_line_revenue, _MONEY) * sign).try_cast(_MONEY))
    too_large = F.col("units").isNull() | F.col("revenue").isNull()
    return events.select(
        "transaction_id",
        "store_id",
        "occurred_at",
        units.alias("units"),
        revenue.alias("revenue"),
        VERDICT,
    ).withColumn(VERDICT, F.coalesce(VERDICT, F.when(too_large, F.lit(TOO_LARGE))))


def hourly_revenue(accepted_baskets: DataFrame) -> DataFrame:
    """Sum baskets by store and hour (UTC), each basket once.

    Returns:
        `store_id`, `hour_start`, `units`, `revenue`, `transactions` (baskets of any kind, as the batch counts them).
    """
    hour = F.window("occurred_at", "1 hour").alias("hour")
    return (
        once_each(accepted_baskets, SALES_TRANSACTION.id_field)
        .groupBy("store_id", hour)
        .agg(
            F.sum("units").cast("decimal(18,3)").alias("units"),
            F.sum("revenue").cast("decimal(18,2)").alias("revenue"),
            F.count(F.lit(1)).alias("transactions"),
        )
        .select("store_id", F.col("hour.start").alias("hour_start"), "units", "revenue", "transactions")
    )


def _line_units(line: Column) -> Column:
    return line["quantity"]


def _line_revenue(line: Column) -> Column:
    return (line["quantity"] * line["unit_price"] - line["discount"]).try_cast(_MONEY)


def _total(amount: Callable[[Column], Column], kind: str) -> Column:
    """Add up the lines; null where the sum doesn't fit."""
    return F.aggregate("lines", F.lit(0).cast(kind), lambda total, line: (total + amount(line)).try_cast(kind))
