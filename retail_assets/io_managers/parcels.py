"""Wide tables with daily partitions: computed by store, written by day, and never taken apart into Spark's rows.

Spark turns what a Python worker gives back into rows, sorts and shuffles those, and writes Parquet value by value. With
seventy columns that costs several times what computing them does. Here a row of Spark is a parcel: all rows of one
store and day, as Arrow's own bytes. Parcels of a day meet in one worker, which writes the day's file. The driver puts
all files into the table's log in one commit, and takes those of before out of it.

Belongs here: parcels, and their way into a Delta table. Does not belong here: frames of Spark, which Spark writes
(`delta`), what a worker writes (`day_files`), and what a table holds (`assets`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from retail_assets.contracts.tables import Table
from retail_assets.contracts.types import arrow_schema
from retail_assets.delta_log import added, removed
from retail_assets.io_managers.day_files import FILES, write_file
from retail_assets.io_managers.frames import ContractError, DateWindow, partition_column
from retail_assets.resources.lake import LakeResource

_PARCEL: Final = "parcel"
_PART: Final = "part_of_store"
#: How often a commit is tried when others, such as a compaction, commit first.
_ATTEMPTS: Final = 10


@dataclass(frozen=True)
class Parcels:
    """Rows of one table, to be made by Spark's workers.

    Attributes:
        frame: a lazy Spark frame: the partition column, and `parcel`, the rows without it as an Arrow record batch.
        table: the contract of the rows.
    """

    frame: SparkFrame
    table: Table


def parcels_by_store(
    frame: SparkFrame, function: Callable[[pl.DataFrame], pl.DataFrame], table: Table, *, parts: int = 1
) -> Parcels:
    """Run a domain function on each store's rows, and keep what it returns in parcels.

    Args:
        frame: rows with a `store_id`; with a `product_id` too, where there is more than one part.
        function: a pure function on Polars frames; its result has the table's columns.
        table: what the result is; it has daily partitions and a `store_id`.
        parts: how many parts, by product, a store's rows are given to the function in: what bounds a worker's memory.
    """
    day = partition_column(table)
    schema, inner = _schemas(table)
    order = [day, *(name for name in table.grain if name != day)]

    def run(rows: pa.Table) -> pa.Table:
        made = function(pl.DataFrame(rows)).select(schema.names).sort(order)
        lengths = made[day].rle().struct.unnest()
        whole = made.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema).drop_columns([day]).combine_chunks()
        batch = next(iter(whole.to_batches()), pa.RecordBatch.from_pylist([], inner))
        starts = lengths["len"].cum_sum() - lengths["len"]
        packed = [
            batch.slice(start, length).serialize().to_pybytes()
            for start, length in zip(starts.to_list(), lengths["len"].to_list(), strict=True)
        ]
        return pa.table({day: lengths["value"].to_arrow(), _PARCEL: pa.array(packed, pa.binary())})

    # Said how many: left to itself, Spark puts stores together by the size of what goes in, and what comes out of a
    # function can be twenty times as much. Three tasks on two cores would leave one idle for a third of the time.
    part = F.pmod(F.xxhash64("product_id"), F.lit(parts)) if parts > 1 else F.lit(0)
    split = frame.withColumn(_PART, part).repartition(_tasks(frame), "store_id", _PART).groupBy("store_id", _PART)
    return Parcels(split.applyInArrow(run, f"{day} date, {_PARCEL} binary"), table)


def write_parcels(parcels: Parcels, lake: LakeResource, window: DateWindow, note: str | None = None) -> None:
    """Replace a range of days of a table by parcels: a file for each day, and one commit.

    A file that was written and not committed, because a worker or the run died, is nothing to any reader.

    Args:
        parcels: the rows; a day of the window that has none becomes empty.
        lake: where the table lies.
        window: the days.
        note: what the commit says as `userMetadata`.

    Raises:
        ContractError: a row lies outside of the window, or a column that must have values lacks one.
    """
    table = parcels.table
    day = partition_column(table)
    uri, options = lake.local_path(table.path), lake.storage_options
    delta = _table_for(table, uri, options)
    schema = _schemas(table)[1]

    def write_day(key: tuple[pa.Scalar, ...], of_day: pa.Table) -> pa.Table:
        return write_file(table, schema, key[0].as_py(), of_day[_PARCEL], uri, options)

    frame = parcels.frame.repartition(_tasks(parcels.frame), day)
    files = frame.groupBy(day).applyInArrow(write_day, from_arrow_schema(FILES)).toArrow().to_pylist()
    strays = sorted(str(file["partition"]) for file in files if not window.first <= file["partition"] <= window.last)
    if strays:
        raise ContractError(
            f"{table.path}: the run covers {window.first} to {window.last}, but there are rows of {', '.join(strays)}"
        )
    adds = [
        added(
            file["path"],
            file["size"],
            file["rows"],
            {day: str(file["partition"])},
            {"store_id": (file["least_store"], file["greatest_store"])},
        )
        for file in files
    ]
    _commit(delta, day, window, adds, note)


def _commit(delta: DeltaTable, day: str, window: DateWindow, adds: Sequence[Any], note: str | None) -> None:
    """Put files in place of the window's earlier ones. Whoever commits first changes nothing but what is replaced."""
    properties = CommitProperties(custom_metadata={"userMetadata": note} if note else None, max_commit_retries=0)
    new = {add.path for add in adds}
    for attempt in range(_ATTEMPTS):
        delta.update_incremental()
        stored = pa.table(delta.get_add_actions(flatten=True)).to_pylist()
        if new and new <= {action["path"] for action in stored}:
            # An object store can take a commit and its answer get lost: what looked like another's is this one.
            return
        removes = [
            removed(action["path"], action["size_bytes"], {day: str(action[f"partition.{day}"])})
            for action in stored
            if window.first <= date.fromisoformat(str(action[f"partition.{day}"])) <= window.last
        ]
        try:
            delta.create_write_transaction(
                [*adds, *removes], "append", delta.schema(), [day], commit_properties=properties
            )
        except CommitFailedError:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return


def _table_for(table: Table, uri: str, options: dict[str, str]) -> DeltaTable:
    """Open the table, or make it; give one of an earlier release the columns that the contract has got since.

    Raises:
        ContractError: a column has another type than the contract says, or isn't in the contract.
    """
    wanted = arrow_schema(table.columns)
    if not DeltaTable.is_deltatable(uri, options or None):
        if "://" not in uri:
            Path(uri).mkdir(parents=True, exist_ok=True)
        day = partition_column(table)
        return DeltaTable.create(uri, wanted, mode="ignore", partition_by=day, storage_options=options or None)
    delta = DeltaTable(uri, storage_options=options or None)
    known = {field.name: field.type for field in delta.schema().fields}
    fields = Schema.from_arrow(wanted).fields
    others = [field.name for field in fields if field.name in known and field.type != known[field.name]]
    others += [name for name in known if name not in table.column_names]
    missing = [field for field in fields if field.name not in known]
    others += [field.name for field in missing if not field.nullable]
    if others:
        raise ContractError(
            f"{table.path}: the stored table has {', '.join(others)} otherwise than the contract says: move the "
            "table's folder away and make its days again"
        )
    if missing:
        delta.alter.add_columns(missing)
    return delta


def _schemas(table: Table) -> tuple[pa.Schema, pa.Schema]:
    """Return the Arrow schema of a table's rows, and that of its files, which lack the partition column."""
    schema = arrow_schema(table.columns)
    return schema, schema.remove(schema.get_field_index(partition_column(table)))


def _tasks(frame: SparkFrame) -> int:
    return int(frame.sparkSession.conf.get("spark.sql.shuffle.partitions") or 1)
