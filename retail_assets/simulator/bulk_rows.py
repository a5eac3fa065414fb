"""Events as rows of a raw table that were loaded in bulk, rather than read from a topic.

Belongs here: the columns that say where a row came from, and Arrow tables of exactly the contract's schema. Does not
belong here: files (`delta_files`), and which events there are.
"""

from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from retail_assets.contracts.tables import BULK_PARTITION, ENVELOPE
from retail_assets.contracts.topics import Topic
from retail_assets.contracts.types import polars_schema


def to_arrow(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """Return a frame as an Arrow table of exactly this schema, declared nullability included."""
    return pa.Table.from_arrays([_as(frame[field.name].to_arrow(), field.type) for field in schema], schema=schema)


def _as(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Cast an array, rebuilding lists and records: Arrow won't cast a field that may be null to one that may not."""
    if pa.types.is_list(target):
        offsets = pc.subtract(array.offsets, array.offsets[0]).cast(pa.int32())
        values = _as(array.flatten(), target.value_type)
        return pa.ListArray.from_arrays(offsets, values, type=target, mask=array.is_null())
    if pa.types.is_struct(target):
        fields = [target.field(index) for index in range(target.num_fields)]
        return pa.StructArray.from_arrays([_as(array.field(f.name), f.type) for f in fields], fields=fields)
    return array.cast(target)


def with_envelope(events: pl.DataFrame, topic: Topic, offset: int, ingested_at: datetime | None = None) -> pl.DataFrame:
    """Return events with the columns that say where a message came from.

    Args:
        events: of one topic.
        topic: that topic.
        offset: running number of the first one.
        ingested_at: when they reach the lake; the end of each event's day by default, so that the same events give the
            same rows.
    """
    envelope = polars_schema(ENVELOPE)
    occurred = pl.col("occurred_at")
    values: dict[str, Any] = {
        "kafka_topic": pl.lit(topic.name),
        "kafka_partition": pl.lit(BULK_PARTITION),
        "kafka_offset": pl.int_range(offset, offset + pl.len()),
        "produced_at": occurred,
        "ingested_at": occurred.dt.truncate("1d").dt.offset_by("1d") if ingested_at is None else pl.lit(ingested_at),
        "event_date": occurred.dt.date(),
        "rejection": pl.lit(None),
        "raw_value": pl.lit(None),
        "raw_headers": pl.lit(None),
        "broker_offset": pl.lit(None),
        "broker_time": pl.lit(None),
    }
    return events.with_columns(**{name: value.cast(envelope[name]) for name, value in values.items()})
