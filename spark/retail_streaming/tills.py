"""How the tills are: what each reported in an hour, and its last sign of life then. Pure functions on frames.

Does not belong here: judging from silence that a till is down, or from many price overrides that something is wrong.
"""

from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from retail_assets.contracts.events import POS_EVENT
from retail_streaming.events import HOUR_SECONDS, once_each, stretch

#: What is counted by register and hour: the column, and the kind of event.
COUNTED: Final = {
    "price_overrides": "price_override",
    "no_sales": "no_sale",
    "scan_errors": "scan_error",
    "offline_events": "offline",
}
_TILL: Final = (pa.field("store_id", pa.string()), pa.field("register_id", pa.string()))
_LAST: Final = (pa.field("last_event_at", pa.timestamp("ms", tz="UTC")), pa.field("last_kind", pa.string()))

#: What the table holds, but for what the writer adds.
POS_HOURLY: Final = pa.schema(
    [
        *_TILL,
        pa.field("hour_start", pa.timestamp("s", tz="UTC")),
        *_LAST,
        pa.field("events", pa.uint32()),
        *(pa.field(name, pa.uint32()) for name in COUNTED),
    ]
)


def hours_of_tills(accepted_events: DataFrame) -> DataFrame:
    """Sum up what each register reported by hour (UTC), each event once.

    Returns:
        The columns of `POS_HOURLY`. Of two events at the same millisecond the one with the greater id is the last.
    """
    return (
        once_each(accepted_events, POS_EVENT.id_field)
        .select("*", *stretch(HOUR_SECONDS))
        .groupBy("store_id", "register_id", "starts_at", "ends_at")
        .agg(
            F.max(F.struct("occurred_at", "event_id", "kind")).alias("newest"),
            F.count(F.lit(1)).alias("events"),
            *[F.count_if(F.col("kind") == kind).alias(name) for name, kind in COUNTED.items()],
        )
        .select(
            "store_id",
            "register_id",
            F.col("starts_at").alias("hour_start"),
            F.col("newest.occurred_at").alias("last_event_at"),
            F.col("newest.kind").alias("last_kind"),
            "events",
            *COUNTED,
        )
    )
