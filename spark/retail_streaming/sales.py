"""What sells: by store and hour, and by store, product and five minutes. Pure functions on frames, streaming or not.

The arithmetic is that of the batch pipeline: each line is rounded to the cent, returns and voids count against sales.
One aggregation gives both tables, since each further one costs its share of every second: a basket is taken apart into
a row for all of it and a row for each product. Figures over the last 15 minutes, hour or day are sums over five-minute
rows and belong to the warehouse's views: they change by time going by, not only by sales. Does not belong here:
reading, state settings and writing.
"""

from collections.abc import Callable
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from retail_assets.contracts.events import SALES_TRANSACTION
from retail_streaming.events import HOUR_SECONDS, TOO_LARGE, VERDICT, once_each, stretch

_MONEY: Final = "decimal(12,2)"
_QUANTITY: Final = "decimal(12,3)"
#: Length of the stretches that velocity is kept by.
BUCKET_SECONDS: Final = 300

_FIGURES: Final = (
    pa.field("units", pa.decimal128(18, 3)),
    pa.field("revenue", pa.decimal128(18, 2)),
    pa.field("transactions", pa.uint32()),
)
#: What the tables hold, but for what the writer adds.
REVENUE_HOURLY: Final = pa.schema(
    [pa.field("store_id", pa.string()), pa.field("hour_start", pa.timestamp("s", tz="UTC")), *_FIGURES]
)
SALES_VELOCITY: Final = pa.schema(
    [
        pa.field("store_id", pa.string()),
        pa.field("product_id", pa.string()),
        pa.field("bucket_start", pa.timestamp("s", tz="UTC")),
        *_FIGURES,
    ]
)


def baskets(events: DataFrame) -> DataFrame:
    """Sum the lines of each basket, all together and by product.

    Args:
        events: judged sales transactions.

    Returns:
        `transaction_id`, `store_id`, `occurred_at`, net `units`, net `revenue`, `products` (an array of `product_id`,
        net `units`, net `revenue` and `transactions`, one per line; of several lines with a product one bears the
        transaction), and `verdict`: a basket whose amounts no column of the platform can hold is left out, rather
        than end the query for good.
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
        F.when(usable, _by_product(sign)).alias("products"),
        VERDICT,
    ).withColumn(VERDICT, F.coalesce(VERDICT, F.when(too_large, F.lit(TOO_LARGE))))


def sales_by_time(accepted_baskets: DataFrame) -> DataFrame:
    """Sum baskets by store and hour (UTC), and their products by store, product and five minutes; each basket once.

    Returns:
        `store_id`, `is_basket` (whether the row is about whole baskets), `product_id` (empty for these), `starts_at`,
        `units`, `revenue`, `transactions` (baskets of any kind, as the batch counts them).
    """
    once = once_each(accepted_baskets, SALES_TRANSACTION.id_field)
    whole = F.struct(F.lit("").alias("product_id"), F.col("units"), F.col("revenue"), F.lit(1).alias("transactions"))
    parts = F.concat(_marked(F.array(whole), is_basket=True), _marked(F.col("products"), is_basket=False))
    rows = once.select("store_id", "occurred_at", F.explode(parts).alias("part"))
    seconds = F.when(F.col("part.is_basket"), HOUR_SECONDS).otherwise(BUCKET_SECONDS)
    return (
        rows.select("store_id", "part.*", *stretch(seconds))
        .groupBy("store_id", "is_basket", "product_id", "starts_at", "ends_at")
        .agg(
            F.sum("units").cast("decimal(18,3)").alias("units"),
            F.sum("revenue").cast("decimal(18,2)").alias("revenue"),
            F.sum("transactions").alias("transactions"),
        )
        .drop("ends_at")
    )


def revenue_hourly(rows: pa.Table) -> pa.Table:
    """Return the rows of `sales_by_time` that are about whole baskets, under the names of `rt_revenue_hourly`."""
    whole = rows.filter(rows["is_basket"])
    return whole.append_column("hour_start", whole["starts_at"])


def sales_velocity(rows: pa.Table) -> pa.Table:
    """Return the rows of `sales_by_time` that are about products, under the names of `rt_sales_velocity`."""
    products = rows.filter(pc.invert(rows["is_basket"]))
    return products.append_column("bucket_start", products["starts_at"])


def _by_product(sign: Column) -> Column:
    """Return the lines as parts of `sales_by_time`. Sorted, since looking for each among all would take a basket of ten
    thousand lines minutes.
    """

    def part(line: Column) -> Column:
        return F.struct(
            line["product_id"].alias("product_id"),
            (_line_units(line) * sign).try_cast(_QUANTITY).alias("units"),
            (_line_revenue(line) * sign).try_cast(_MONEY).alias("revenue"),
        )

    def counted(one: Column, before: Column) -> Column:
        is_first = ~one["product_id"].eqNullSafe(before)
        return F.struct(
            one["product_id"].alias("product_id"),
            one["units"].alias("units"),
            one["revenue"].alias("revenue"),
            is_first.cast("int").alias("transactions"),
        )

    ordered = F.array_sort(F.transform("lines", part))
    before = F.concat(F.array(F.lit(None).cast("string")), F.transform(ordered, lambda one: one["product_id"]))
    return F.slice(F.zip_with(ordered, before, counted), 1, F.size("lines"))


def _marked(parts: Column, *, is_basket: bool) -> Column:
    return F.transform(
        parts,
        lambda part: F.struct(
            F.lit(is_basket).alias("is_basket"),
            part["product_id"].alias("product_id"),
            part["units"].alias("units"),
            part["revenue"].alias("revenue"),
            part["transactions"].alias("transactions"),
        ),
    )


def _line_units(line: Column) -> Column:
    return line["quantity"]


def _line_revenue(line: Column) -> Column:
    return (line["quantity"] * line["unit_price"] - line["discount"]).try_cast(_MONEY)


def _total(amount: Callable[[Column], Column], kind: str) -> Column:
    """Add up the lines; null where the sum doesn't fit."""
    return F.aggregate("lines", F.lit(0).cast(kind), lambda total, line: (total + amount(line)).try_cast(kind))
