"""What lies in the stores: the books of each product in each store. Pure functions on frames, streaming or not.

Two accounts of the same stock are kept: what the store's books say after the newest movement, and what the movements
that arrived add up to. Where they part, a movement never arrived or one was booked twice. Does not belong here: how
long stock lasts (the warehouse's views know sales and forecasts).
"""

from typing import Final

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from retail_assets.contracts.events import INVENTORY_UPDATE
from retail_streaming.events import once_each

_QUANTITY: Final = pa.decimal128(18, 3)
_INSTANT: Final = pa.timestamp("ms", tz="UTC")

#: What the table holds, but for what the writer adds.
INVENTORY: Final = pa.schema(
    [
        pa.field("store_id", pa.string()),
        pa.field("product_id", pa.string()),
        pa.field("on_hand", _QUANTITY),
        pa.field("last_movement", pa.string()),
        pa.field("last_movement_at", _INSTANT),
        pa.field("first_movement_at", _INSTANT),
        pa.field("opening", _QUANTITY),
        pa.field("moved", _QUANTITY),
        pa.field("unexplained", _QUANTITY),
        pa.field("movements", pa.uint64()),
        pa.field("last_sale_at", _INSTANT),
        pa.field("last_receipt_at", _INSTANT),
        pa.field("last_count_at", _INSTANT),
        pa.field("last_count_correction", _QUANTITY),
    ]
)


def inventory(accepted_movements: DataFrame) -> DataFrame:
    """Keep the books of each product in each store, each movement once.

    The newest movement is the one that happened last, whenever it arrived; of two at one millisecond the later in its
    partition, where all movements of a stock are in order.

    Returns:
        The columns of `INVENTORY`. `opening` is the stock before the oldest movement that was seen, `unexplained` is
        `on_hand` less `opening` and all that `moved`. A time at which nothing of the kind has happened is null.
    """
    place = F.struct("occurred_at", "kafka_offset", "quantity_delta", "on_hand_after", "movement")
    books = (
        once_each(accepted_movements, INVENTORY_UPDATE.id_field)
        .groupBy("store_id", "product_id")
        .agg(
            F.max(place).alias("newest"),
            F.min(place).alias("oldest"),
            F.sum("quantity_delta").alias("moved"),
            F.count(F.lit(1)).alias("movements"),
            _last("sale").alias("sale"),
            _last("receipt").alias("receipt"),
            _last("count").alias("counted"),
        )
    )
    opening = F.col("oldest.on_hand_after") - F.col("oldest.quantity_delta")
    return books.select(
        "store_id",
        "product_id",
        F.col("newest.on_hand_after").alias("on_hand"),
        F.col("newest.movement").alias("last_movement"),
        F.col("newest.occurred_at").alias("last_movement_at"),
        F.col("oldest.occurred_at").alias("first_movement_at"),
        opening.alias("opening"),
        "moved",
        (F.col("newest.on_hand_after") - opening - F.col("moved")).alias("unexplained"),
        "movements",
        F.col("sale.occurred_at").alias("last_sale_at"),
        F.col("receipt.occurred_at").alias("last_receipt_at"),
        F.col("counted.occurred_at").alias("last_count_at"),
        F.col("counted.quantity_delta").alias("last_count_correction"),
    )


def _last(movement: str) -> Column:
    return F.max(F.when(F.col("movement") == movement, F.struct("occurred_at", "kafka_offset", "quantity_delta")))
