"""The partitions of the graph: one per business date, in the retailer's own time zone."""

import dagster as dg

from retail_assets.settings import Settings


def business_dates(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Return the daily partitions, from the first date of the history to yesterday."""
    return dg.DailyPartitionsDefinition(start_date=settings.history_start, timezone=settings.time_zone)
