"""Which rows a check looks at: those that its run wrote, so that a check costs what the run costs."""

from datetime import date
from typing import Final

import dagster as dg

from retail_assets.io_managers.frames import DateWindow

_PARTITION_TAG: Final = "dagster/partition"
_RANGE_START_TAG: Final = "dagster/asset_partition_range_start"
_RANGE_END_TAG: Final = "dagster/asset_partition_range_end"


def run_dates(context: dg.AssetCheckExecutionContext) -> DateWindow | None:
    """Return the business dates of the check's run; None for a run without partitions."""
    tags = context.run.tags
    if _PARTITION_TAG in tags:
        day = date.fromisoformat(tags[_PARTITION_TAG])
        return DateWindow(day, day)
    if _RANGE_START_TAG in tags and _RANGE_END_TAG in tags:
        return DateWindow(date.fromisoformat(tags[_RANGE_START_TAG]), date.fromisoformat(tags[_RANGE_END_TAG]))
    return None
