"""Commits without rows: what a table's log should know, and nothing else.

Belongs here: writing one. Does not belong here: what it says (`progress`, `coverage`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from deltalake import CommitProperties, DeltaTable, Transaction


def commit_note(delta: DeltaTable, text: str, transactions: list[Transaction] | None = None) -> None:
    """Commit a note. It changes no file, so it is at odds with no other write.

    Args:
        delta: the table.
        text: the note; readers find it as `userMetadata`.
        transactions: the application's counts that the commit sets, if any: those it is at odds with.

    Raises:
        CommitFailedError: another commit set one of the counts.
    """
    delta.create_write_transaction(
        [],
        mode="append",
        schema=delta.schema(),
        partition_by=delta.metadata().partition_columns,
        commit_properties=CommitProperties(custom_metadata={"userMetadata": text}, app_transactions=transactions),
    )


def committed_at(commit: Mapping[str, Any]) -> datetime:
    """Return when a commit of `DeltaTable.history` was made, UTC."""
    return datetime.fromtimestamp(int(commit["timestamp"]) / 1_000, UTC)
