"""Entries of a Delta table's log: files that have come, and files that are gone.

Belongs here: what an entry says. Does not belong here: which files those are, and the commit that holds the entries
(whoever writes them).
"""

import json
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from deltalake.transaction import AddAction, RemoveAction


def added(
    path: str,
    size: int,
    rows: int,
    partition: Mapping[str, str] | None = None,
    bounds: Mapping[str, tuple[Any, Any]] | None = None,
    nulls: Mapping[str, int] | None = None,
) -> AddAction:
    """Return the entry of a file that has come.

    Args:
        path: below the table's folder.
        size: in bytes.
        rows: how many it has.
        partition: partition column and value.
        bounds: least and greatest value of columns without nulls, for readers to pass the file by.
        nulls: how many nulls other columns have. A reader that asks for a column whose nulls nobody has counted opens
            every file, whatever else it asks for.
    """
    bounds = bounds or {}
    statistics = {
        "numRecords": rows,
        "minValues": {name: _plain(low) for name, (low, _) in bounds.items()},
        "maxValues": {name: _plain(high, up=True) for name, (_, high) in bounds.items()},
        "nullCount": {**dict.fromkeys(bounds, 0), **(nulls or {})},
    }
    return AddAction(
        path=path,
        size=size,
        partition_values=dict(partition or {}),
        modification_time=_now_ms(),
        data_change=True,
        stats=json.dumps(statistics),
    )


def removed(path: str, size: int, partition: Mapping[str, str | None]) -> RemoveAction:
    """Return the entry of a file that is gone.

    Args:
        path: below the table's folder.
        size: in bytes.
        partition: partition column and value.
    """
    return RemoveAction(path, True, _now_ms(), size, dict(partition))  # noqa: FBT003 - positional in delta-rs's own examples


def _plain(value: Any, *, up: bool = False) -> Any:
    """Return a value as the log has it; times are cut to milliseconds there, or rounded `up`."""
    if isinstance(value, datetime):
        late = up and value.microsecond % 1_000 > 0
        whole = value.astimezone(UTC).replace(tzinfo=None) + timedelta(milliseconds=1 if late else 0)
        return f"{whole.isoformat(timespec='milliseconds')}Z"
    return value.isoformat() if isinstance(value, date) else value


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
