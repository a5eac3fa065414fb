"""What sells: by store and hour, and by store, product and five minutes. Pure functions on frames, streaming or not.

The arithmetic is that of the batch pipeline: each line is rounded to the cent, returns and voids count against sales.
One aggregation gives both tables, since each further one costs its share of every second: each line of a basket becomes
a row for its store and a row for its product. Figures over the last 15 minutes, hour or day are sums over five-minute
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
#: The most lines whose amounts fit the columns, whatever the contract lets them be.
_LINES_THAT_FIT: Final = 10_000
#: What is kept of a line; they are sorted by the first.
_OF_LINES: Final = ("product_id", "quantity", "unit_price", "discount")
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
    """Keep of baskets what is summed, and judge their amounts.

    Args:
        events: judged sales transactions.

    Returns:
        `transaction_id`, `store_id`, `occurred_at`, `sign` (-1 for what counts against sales), `lines` (in order of
        their products), `products` (the `product_id` of each line) and `verdict`: a basket whose amounts no column of
        the platform can hold is left out, rather than end the query for good.
    """
    # Added up only where it could be too much: a lambda reads each value through a look at Spark's settings.
    too_many = F.size("lines") > _LINES_THAT_FIT
    too_large = _total(_line_units, _QUANTITY).isNull() | _total(_line_revenue, _MONEY).isNull()
    lines = F.sort_array(F.arrays_zip(*[F.col("lines")[name].alias(name) for name in _OF_LINES]))
    return events.select(
        "transaction_id",
        "store_id",
        "occurred_at",
        F.when(F.col("kind") == "sale", 1).otherwise(-1).alias("sign"),
        lines.alias("lines"),
        lines["product_id"].alias("products"),
        F.coalesce(VERDICT, F.when(too_many & too_large, F.lit(TOO_LARGE))).alias(VERDICT),
    )


def sales_by_time(accepted_baskets: DataFrame) -> DataFrame:
    """Sum baskets by store and hour (UTC), and their products by store, product and five minutes; each basket once.

    Returns:
        `store_id`, `is_basket` (whether the row is about whole baskets), `product_id` (empty for these), `starts_at`,
        `units`, `revenue`, `transactions` (baskets of any kind, as the batch counts them).
    """
    lines = once_each(accepted_baskets, SALES_TRANSACTION.id_field).select(
        "store_id", "occurred_at", "sign", "products", F.posexplode("lines").alias("place", "line")
    )
    line, place = F.col("line"), F.col("place")
    units = (_line_units(line) * F.col("sign")).try_cast(_QUANTITY).alias("units")
    revenue = (_line_revenue(line) * F.col("sign")).try_cast(_MONEY).alias("revenue")
    # Of several lines with a product, which stand side by side, the first bears the transaction.
    is_first = ~line["product_id"].eqNullSafe(F.get("products", place - 1))
    whole = F.struct(
        F.lit(True).alias("is_basket"),  # noqa: FBT003 -- a value, no option
        F.lit("").alias("product_id"),
        units,
        revenue,
        (place == 0).cast("int").alias("transactions"),
    )
    product = F.struct(
        F.lit(False).alias("is_basket"),  # noqa: FBT003
        line["product_id"].alias("product_id"),
        units,
        revenue,
        is_first.cast("int").alias("transactions"),
    )
    seconds = F.when(F.col("part.is_basket"), HOUR_SECONDS).otherwise(BUCKET_SECONDS)
    return (
        lines.select("store_id", "occurred_at", F.explode(F.array(whole, product)).alias("part"))
        .select("store_id", "part.*", *stretch(seconds))
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


def _line_units(line: Column) -> Column:
    return line["quantity"]


def _line_revenue(line: Column) -> Column:
    return (line["quantity"] * line["unit_price"] - line["discount"]).try_cast(_MONEY)


def _total(amount: Callable[[Column], Column], kind: str) -> Column:
    """Add up the lines; null where the sum doesn't fit."""
    return F.aggregate("lines", F.lit(0).cast(kind), lambda total, line: (total + amount(line)).try_cast(kind))
