"""What a raw table holds: read from the table itself, and written with the rows in the same commit.

Each batch of events is one Delta commit that carries its offset range in the commit's metadata and its number as a
Delta transaction. So there is no cursor to lose, a repeated batch is left out by Delta, and two runs that read the same
range can't both commit it.
"""

import json
from dataclasses import dataclass
from typing import Final

import polars as pl
from deltalake import DeltaTable

from retail_assets.contracts.tables import BULK_PARTITION
from retail_assets.resources.offsets import OffsetRange

#: Name of the Delta transaction sequence that ingestion counts its batches with.
TRANSACTION_APP: Final = "kafka-ingest"
_METADATA_KEY: Final = "kafka_ingest"
#: How many commits are looked through for the last batch before the rows themselves are asked.
_HISTORY_LIMIT: Final = 100


@dataclass(frozen=True)
class Progress:
    """What a raw table holds of its topic.

    Attributes:
        batch: number of the last batch; 0 where there was none.
        held: one past the last offset held, by partition.
    """

    batch: int
    held: dict[int, int]


def read_progress(delta: DeltaTable | None) -> Progress:
    """Return what the table holds; nothing for a table that was never written."""
    if delta is None:
        return Progress(0, {})
    batch = delta.transaction_version(TRANSACTION_APP) or 0
    if batch == 0:
        return Progress(0, {})
    for commit in delta.history(_HISTORY_LIMIT):
        metadata = _parse(commit.get("userMetadata"))
        if metadata is not None and metadata.batch == batch:
            return metadata
    return Progress(batch, _held_by_rows(delta))


def commit_metadata(batch: int, done: OffsetRange, held: dict[int, int]) -> str:
    """Return the metadata of the commit that writes a batch.

    Args:
        batch: the batch's number.
        done: the range that it writes.
        held: what the table held before it.
    """
    return json.dumps({_METADATA_KEY: {"batch": batch, "topic": done.topic, "held": {**held, **done.end}}})


def _parse(text: object) -> Progress | None:
    if not isinstance(text, str) or _METADATA_KEY not in text:
        return None
    entry = json.loads(text)[_METADATA_KEY]
    return Progress(int(entry["batch"]), {int(partition): int(end) for partition, end in entry["held"].items()})


def _held_by_rows(delta: DeltaTable) -> dict[int, int]:
    """Ask the rows: slower, for a table whose log has been cleaned of the last batch's commit."""
    held = (
        pl.scan_delta(delta)
        .filter(pl.col("kafka_partition") != BULK_PARTITION)
        .group_by("kafka_partition")
        .agg(pl.col("kafka_offset").max() + 1)
        .collect()
    )
    return {int(partition): int(end) for partition, end in held.iter_rows()}
