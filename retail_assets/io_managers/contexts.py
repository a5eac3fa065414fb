"""What a context of Dagster says to an IO manager: which table it is about, and which dates.

Does not belong here: what needs no Dagster (`frames`).
"""

from datetime import date

import dagster as dg

from retail_assets.io_managers.frames import DateWindow


def date_window(context: dg.OutputContext | dg.InputContext) -> DateWindow | None:
    """Return the dates that the context's run reads or writes; None for an asset without partitions.

    Raises:
        dg.DagsterInvariantViolationError: the partitions are not a contiguous run of days.
    """
    if not context.has_asset_partitions:
        return None
    keys = sorted(context.asset_partition_keys)
    first, last = date.fromisoformat(keys[0]), date.fromisoformat(keys[-1])
    if (last - first).days + 1 != len(keys):
        raise dg.DagsterInvariantViolationError(
            f"the run covers {len(keys)} days from {first} to {last}, with gaps: start one run per gapless range"
        )
    return DateWindow(first, last)


def table_key(context: dg.OutputContext | dg.InputContext) -> tuple[str, str]:
    """Return `(layer, table)` of the context's asset."""
    layer, table = context.asset_key.path
    return layer, table
