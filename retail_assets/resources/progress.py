"""What a raw table holds: read from the table itself, and written with the rows in the same commit.

Each batch of events is one Delta commit that carries what the table holds by then in the commit's metadata, and its
number as a Delta transaction. So there is no cursor to lose, a repeated batch is left out by Delta, and two runs that
read the same range can't both commit it. Does not belong here: what follows from it (`offsets`).
"""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

import polars as pl
from deltalake import DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError

from retail_assets.contracts.tables import BULK_PARTITION
from retail_assets.resources.commit_notes import commit_note, committed_at
from retail_assets.resources.offsets import Gap, Progress

#: Name of the Delta transaction sequence that ingestion counts its batches with.
TRANSACTION_APP: Final = "kafka-ingest"
_METADATA_KEY: Final = "kafka_ingest"
#: How many commits are looked through for the last batch before all of them are.
_HISTORY_LIMIT: Final = 100


class ConcurrentIngestError(Exception):
    """Another run wrote the same offsets first. Nothing is lost; run again for what came since."""


def read_progress(delta: DeltaTable | None) -> Progress:
    """Return what the table holds; nothing for a table that was never written."""
    if delta is None:
        return Progress(0, {})
    batch = delta.transaction_version(TRANSACTION_APP) or 0
    if batch == 0:
        return Progress(0, {})
    for limit in (_HISTORY_LIMIT, None):
        for commit in delta.history(limit):
            progress = _parse(commit.get("userMetadata"))
            if progress is not None and progress.batch == batch:
                return progress
    return Progress(batch, _held_by_rows(delta))


def commit_metadata(topic: str, progress: Progress) -> str:
    """Return the metadata of a commit after which the table holds `progress`."""
    return json.dumps({_METADATA_KEY: {"topic": topic, **asdict(progress)}})


def record(delta: DeltaTable, topic: str, progress: Progress) -> None:
    """Commit what the table holds without any rows.

    Args:
        delta: the table, as it was when the progress before this one was read.
        topic: the topic's name.
        progress: the next batch.

    Raises:
        ConcurrentIngestError: the table was written in the meantime; nothing was changed.
    """
    try:
        # Delta refuses it beside another batch since `delta`, and takes it beside any other commit.
        commit_note(delta, commit_metadata(topic, progress), [Transaction(TRANSACTION_APP, progress.batch)])
    except CommitFailedError:
        raise ConcurrentIngestError(
            f"the raw table of {topic} was written at the same moment: nothing was changed, try again"
        ) from None


def carry_progress(delta: DeltaTable, before: datetime) -> bool:
    """Say again what the table holds, if the commit that says it is old: a log is cleaned of old commits.

    The batch keeps its number. So a run that commits the next one at the same moment isn't at odds with this, and
    whoever reads then takes the run's word.

    Args:
        delta: a raw table.
        before: commits of before this time are old.

    Returns:
        Whether a commit was written.
    """
    batch = delta.transaction_version(TRANSACTION_APP) or 0
    for commit in delta.history() if batch else []:
        text = commit.get("userMetadata")
        progress = _parse(text)
        if progress is not None and progress.batch == batch:
            if committed_at(commit) >= before:
                return False
            commit_note(delta, str(text))
            return True
    return False


def _parse(text: object) -> Progress | None:
    if not isinstance(text, str) or _METADATA_KEY not in text:
        return None
    entry = json.loads(text)[_METADATA_KEY]
    return Progress(
        int(entry["batch"]),
        _offsets(entry["held"]),
        # Commits of earlier releases don't have the rest.
        entry.get("topic_id"),
        _offsets(entry.get("base", {})),
        tuple(Gap(**gap) for gap in entry.get("gaps", [])),
    )


def _offsets(entry: dict[str, Any]) -> dict[int, int]:
    return {int(partition): int(offset) for partition, offset in entry.items()}


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
