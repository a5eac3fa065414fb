"""Writing one day's file of a wide table, in a worker of Spark.

Belongs here: what workers run, without Dagster, which would take them a second to import. Does not belong here: which
rows come together, and the commit (`parcels`).
"""

import uuid
from collections.abc import Iterator
from datetime import date
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.fs import DeltaStorageHandler
from pyarrow import fs

from retail_assets.contracts.tables import Table
from retail_assets.io_managers.frames import ContractError

#: What a worker says of the file that it wrote.
FILES: Final = pa.schema(
    [
        pa.field("partition", pa.date32()),
        pa.field("path", pa.string()),
        pa.field("size", pa.int64()),
        pa.field("rows", pa.int64()),
        pa.field("least_store", pa.string()),
        pa.field("greatest_store", pa.string()),
    ]
)
_ROW_GROUP: Final = 1 << 20


def write_file(
    table: Table, schema: pa.Schema, day: date, parcels: pa.ChunkedArray, uri: str, options: dict[str, str]
) -> pa.Table:
    """Write one day's file in a worker, ordered by store, and return what there is to say of it."""
    batches = sorted(_unpacked(parcels, schema), key=lambda batch: str(batch["store_id"][0]))
    rows = pa.Table.from_batches(batches, schema)
    for field in schema:
        if not field.nullable and rows[field.name].null_count:
            raise ContractError(f"{table.path}: {field.name} must have a value, and {day} has rows without one")
    path = f"{table.partition_by}={day}/part-{uuid.uuid4()}.parquet"
    files = fs.PyFileSystem(DeltaStorageHandler(uri, options or None))
    # Fractions hardly repeat: a dictionary of them is built and thrown away.
    repeating = [field.name for field in schema if not pa.types.is_floating(field.type)]
    with files.open_output_stream(path) as sink:
        pq.write_table(rows, sink, compression="snappy", use_dictionary=repeating, row_group_size=_ROW_GROUP)
    bounds = pc.min_max(rows["store_id"]).as_py()
    size = files.get_file_info(path).size
    values = [day, path, size, rows.num_rows, bounds["min"], bounds["max"]]
    return pa.table([[value] for value in values], schema=FILES)


def _unpacked(parcels: pa.ChunkedArray, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for parcel in parcels:
        yield pa.ipc.read_record_batch(parcel.as_buffer(), schema)
