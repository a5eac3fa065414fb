"""Which rows a check looks at: those that its run wrote, so that a check costs what the run costs."""

from collections.abc import Mapping
from datetime import date
from typing import Final

import dagster as dg

from retail_assets.contracts.tables import Table
from retail_assets.io_managers.delta import row_counts
from retail_assets.io_managers.frames import DateWindow
from retail_assets.resources.lake import LakeResource

_PARTITION_TAG: Final = "dagster/partition"
_RANGE_START_TAG: Final = "dagster/asset_partition_range_start"
_RANGE_END_TAG: Final = "dagster/asset_partition_range_end"


def run_dates(context: dg.AssetCheckExecutionContext) -> DateWindow | None:
    """Return the business dates of the check's run; None for a run without partitions."""
    return dates_of_run(context.run.tags)


def dates_of_run(tags: Mapping[str, str]) -> DateWindow | None:
    """Return the business dates of a run by its tags; None for a run without partitions."""
    if _PARTITION_TAG in tags:
        day = date.fromisoformat(tags[_PARTITION_TAG])
        return DateWindow(day, day)
    if _RANGE_START_TAG in tags and _RANGE_END_TAG in tags:
        return DateWindow(date.fromisoformat(tags[_RANGE_START_TAG]), date.fromisoformat(tags[_RANGE_END_TAG]))
    return None


def held_dates(lake: LakeResource, table: Table) -> DateWindow | None:
    """Return the first to the last day that a table with daily partitions holds; None where it holds none."""
    delta = lake.delta(table)
    kept = sorted(row_counts(delta, table, None)) if delta is not None else []
    return DateWindow(date.fromisoformat(kept[0]), date.fromisoformat(kept[-1])) if kept else None
