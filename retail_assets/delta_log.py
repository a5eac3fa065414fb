"""Entries of a Delta table's log: files that have come, and files that are gone.

Belongs here: what an entry says. Does not belong here: which files those are, and the commit that holds the entries
(whoever writes them).
"""

import json
import time
from collections.abc import Mapping
from datetime import date
from typing import Any

from deltalake.transaction import AddAction, RemoveAction


def added(
    path: str,
    size: int,
    rows: int,
    partition: Mapping[str, str] | None = None,
    bounds: Mapping[str, tuple[Any, Any]] | None = None,
) -> AddAction:
    """Return the entry of a file that has come.

    Args:
        path: below the table's folder.
        size: in bytes.
        rows: how many it has.
        partition: partition column and value.
        bounds: least and greatest value of columns without nulls, for readers to pass the file by.
    """
    bounds = bounds or {}
    statistics = {
        "numRecords": rows,
        "minValues": {name: _plain(low) for name, (low, _) in bounds.items()},
        "maxValues": {name: _plain(high) for name, (_, high) in bounds.items()},
        "nullCount": dict.fromkeys(bounds, 0),
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


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
