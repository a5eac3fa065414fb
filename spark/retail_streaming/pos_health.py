"""The last sign of life of each register: pure functions on frames.

Needs no state: within a batch the newest event of a register is picked here, between batches the warehouse keeps the
newest by its time. Does not belong here: judging from silence that a register is down.
"""

from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

ROWS: Final = pa.schema(
    [
        pa.field("store_id", pa.string()),
        pa.field("register_id", pa.string()),
        pa.field("last_event_at", pa.timestamp("ms", tz="UTC")),
        pa.field("last_kind", pa.string()),
    ]
)


def last_events(events: DataFrame) -> DataFrame:
    """Return the newest event of each register; of two at the same millisecond, always the same one."""
    newest = F.max(F.struct("occurred_at", "event_id", "kind")).alias("newest")
    return (
        events.groupBy("store_id", "register_id")
        .agg(newest)
        .select(
            "store_id",
            "register_id",
            F.col("newest.occurred_at").alias("last_event_at"),
            F.col("newest.kind").alias("last_kind"),
        )
    )
