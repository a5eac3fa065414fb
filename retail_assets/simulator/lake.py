"""The simulated history, written to the lake as Delta tables without a Java machine.

Belongs here: bulk loads of `reference/*`, `raw/*` and the truth. Does not belong here: anything that came through
Kafka; its rows in the same tables are never touched.
"""

from collections.abc import Callable, Iterator
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import write_deltalake

from retail_assets.contracts.tables import (
    BULK_PARTITION,
    ENVELOPE,
    REFERENCE_CALENDAR,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_PURCHASE_ORDERS,
    REFERENCE_STORES,
    REFERENCE_SUPPLIERS,
    Table,
    raw_table,
)
from retail_assets.contracts.topics import EVENT_TOPICS, Topic
from retail_assets.contracts.types import DATE, INT32, STRING, Column, arrow_schema, polars_schema
from retail_assets.simulator.simulation import Simulation

#: Outside of the contract on purpose: no asset may read what no retailer knows.
TRUTH_DEMAND: Final = Table(
    layer="truth",
    name="demand",
    grain=("store_id", "product_id", "business_date"),
    columns=(
        Column("store_id", STRING, "Store."),
        Column("product_id", STRING, "Product."),
        Column("business_date", DATE, "Date in the store's own time zone."),
        Column("demand", INT32, "What customers wanted, whether or not the shelf had it.", unit="units", minimum=0),
    ),
    description="Uncensored demand of the synthetic retailer, to judge estimates by.",
)

_BULK_ROWS: Final = f"kafka_partition = {BULK_PARTITION}"


def write_history(
    simulation: Simulation,
    lake_uri: str,
    storage_options: dict[str, str] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> dict[str, int]:
    """Write the reference tables, the truth and the history of every event topic.

    Each table is one commit: whoever reads meanwhile sees the rows of before, and a write that is killed leaves them.
    Writing again replaces earlier bulk rows and no others.

    Args:
        simulation: what to write.
        lake_uri: `file:///…`, `s3://…` or `s3a://…`, without the layer.
        storage_options: what delta-rs needs to reach the store.
        on_progress: called with one line of text per table.

    Returns:
        Rows written, by the path of the table below the lake's root.
    """
    # Spark says s3a for what all others call s3.
    root = lake_uri.rstrip("/").replace("s3a://", "s3://", 1)
    written: dict[str, int] = {}

    def note(table: Table, rows: int) -> None:
        written[table.path] = rows
        if on_progress is not None:
            on_progress(f"{table.path}: {rows:,} rows")

    for table, frame in _whole_tables(simulation):
        write_deltalake(
            f"{root}/{table.path}",
            to_arrow(frame, arrow_schema(table.columns)),
            mode="overwrite",
            schema_mode="overwrite",
            storage_options=storage_options,
        )
        note(table, frame.height)
    for topic in EVENT_TOPICS:
        table = raw_table(topic)
        bulk = _BulkRows(simulation, topic)
        write_deltalake(
            f"{root}/{table.path}",
            pa.RecordBatchReader.from_batches(arrow_schema(table.columns), bulk.batches()),
            mode="overwrite",
            predicate=_BULK_ROWS,
            partition_by=table.partition_by,
            storage_options=storage_options,
        )
        note(table, bulk.rows)
    return written


def to_arrow(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """Return a frame as an Arrow table of exactly this schema, declared nullability included."""
    return pa.Table.from_arrays([_as(frame[field.name].to_arrow(), field.type) for field in schema], schema=schema)


def _as(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Cast an array, rebuilding lists and records: Arrow won't cast a field that may be null to one that may not."""
    if pa.types.is_list(target):
        offsets = pc.subtract(array.offsets, array.offsets[0]).cast(pa.int32())
        return pa.ListArray.from_arrays(offsets, _as(array.flatten(), target.value_type), type=target)
    if pa.types.is_struct(target):
        fields = [target.field(index) for index in range(target.num_fields)]
        return pa.StructArray.from_arrays([_as(array.field(f.name), f.type) for f in fields], fields=fields)
    return array.cast(target)


def _whole_tables(simulation: Simulation) -> list[tuple[Table, pl.DataFrame]]:
    world = simulation.world
    return [
        (REFERENCE_STORES, world.stores),
        (REFERENCE_SUPPLIERS, world.suppliers),
        (REFERENCE_PRODUCTS, world.products),
        (REFERENCE_PROMOTIONS, world.promotions),
        (REFERENCE_CALENDAR, world.calendar),
        (REFERENCE_PURCHASE_ORDERS, simulation.purchase_orders),
        (TRUTH_DEMAND, simulation.truth),
    ]


class _BulkRows:
    """The raw rows of one topic's history, made month by month as they are asked for."""

    def __init__(self, simulation: Simulation, topic: Topic) -> None:
        self._simulation = simulation
        self._topic = topic
        self.rows = 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows; `rows` counts those yielded so far."""
        schema = arrow_schema(raw_table(self._topic).columns)
        for events in self._simulation.history_events(self._topic):
            rows = to_arrow(self._with_envelope(events), schema)
            self.rows += rows.num_rows
            yield from rows.to_batches()

    def _with_envelope(self, events: pl.DataFrame) -> pl.DataFrame:
        envelope = polars_schema(ENVELOPE)
        occurred = pl.col("occurred_at")
        values = {
            "kafka_topic": pl.lit(self._topic.name),
            "kafka_partition": pl.lit(BULK_PARTITION),
            "kafka_offset": pl.int_range(self.rows, self.rows + pl.len()),
            "produced_at": occurred,
            # The end of the event's day rather than now, so that the same scenario gives the same rows.
            "ingested_at": occurred.dt.truncate("1d").dt.offset_by("1d"),
            "event_date": occurred.dt.date(),
            "rejection": pl.lit(None),
            "raw_value": pl.lit(None),
        }
        return events.with_columns(**{name: value.cast(envelope[name]) for name, value in values.items()})
