"""How long rows are kept, and what follows from it for days that can't be made again.

Belongs here: which setting holds for which layer, and the first day whose events are all there. Does not belong here:
deleting (`upkeep`).
"""

from datetime import date, timedelta

from retail_assets.contracts.tables import RAW_TABLES, Table
from retail_assets.resources.upkeep import Keep
from retail_assets.settings import Settings


def keep_of(table: Table, settings: Settings) -> Keep:
    """Return how long a table's rows are kept; for ever, where no setting says otherwise."""
    if table in RAW_TABLES:
        return Keep(settings.keep_raw_days, settings.keep_dead_letters_days)
    days = {
        "core": settings.keep_core_days,
        "features": settings.keep_features_days,
        "forecasts": settings.keep_forecasts_days,
        "inventory": settings.keep_forecasts_days,
    }
    return Keep(days.get(table.layer, 0))


def first_whole_day(settings: Settings, today: date) -> date | None:
    """Return the first business date of which the raw layer still has all events; None if it keeps them for ever.

    An earlier day can't be made again: it would be made of what is left, and the core layer would lose the rest.

    Args:
        settings: how long raw rows are kept.
        today: UTC date.
    """
    if not settings.keep_raw_days:
        return None
    # A business date lies in two UTC dates.
    return today - timedelta(days=settings.keep_raw_days - 1)
