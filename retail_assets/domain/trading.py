"""When a store trades, in absolute time.

Belongs here: opening hours turned into UTC intervals, and instants into business dates. Does not belong here: what
happened in those hours.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from retail_assets.contracts.tables import CORE_DAILY_SALES, REFERENCE_STORES
from retail_assets.contracts.types import DATE, FLOAT64, STRING, TIMESTAMP, Column, polars_schema
from retail_assets.domain.frames import columns_of, typed

_STORES: Final = columns_of(REFERENCE_STORES, "store_id", "time_zone", "opens_at_hour", "closes_at_hour")
_HOURS: Final = (
    Column("store_id", STRING, "Store."),
    Column("business_date", DATE, "Local date."),
    Column("opens_at", TIMESTAMP, "Start of trade."),
    Column("closes_at", TIMESTAMP, "End of trade."),
    Column("open_hours", FLOAT64, "Hours of trade."),
)

#: A store that never closes trades 25 hours when the clock goes back; the contract's day has 24.
MAX_HOURS: Final = CORE_DAILY_SALES.column("open_hours").maximum or 24.0

_MIDNIGHT_HOUR: Final = 24


def _instant(day: date, hour: int, zone: ZoneInfo) -> datetime:
    """Return the UTC instant of a local full hour; 24 is the next day's midnight.

    An hour that the clock skips is read by the offset before the change, as `zoneinfo` does.
    """
    if hour == _MIDNIGHT_HOUR:
        day, hour = day + timedelta(days=1), 0
    return datetime.combine(day, time(hour), tzinfo=zone).astimezone(UTC)


def trading_hours(stores: pl.DataFrame, dates: list[date]) -> pl.DataFrame:
    """Return when each store opens and closes on each date.

    Hours are counted in absolute time, so a day on which the clock changes during trade is an hour shorter or longer.

    Args:
        stores: `reference/stores`, at least `store_id`, `time_zone`, `opens_at_hour`, `closes_at_hour`.
        dates: local dates.

    Returns:
        One row per store and date: store_id, business_date, opens_at, closes_at (UTC), open_hours (at most
        `MAX_HOURS`).

    Raises:
        ValueError: a store closes before it opens: trade past midnight has no place in the contract.
        zoneinfo.ZoneInfoNotFoundError: a time zone doesn't exist.
    """
    known = typed(stores, _STORES)
    wrong = known.filter(pl.col("closes_at_hour") <= pl.col("opens_at_hour"))
    if not wrong.is_empty():
        raise ValueError(f"store {wrong['store_id'][0]} closes before it opens")
    plans = known.select("time_zone", "opens_at_hour", "closes_at_hour").unique()
    rows = []
    for zone_name, opens, closes in plans.iter_rows():
        zone = ZoneInfo(zone_name)
        for day in sorted(set(dates)):
            start, end = _instant(day, opens, zone), _instant(day, closes, zone)
            hours = min((end - start) / timedelta(hours=1), MAX_HOURS)
            rows.append((zone_name, opens, closes, day, start, end, hours))
    schema = polars_schema((*_STORES[1:], *_HOURS[1:]))
    hours_of_plan = pl.DataFrame(rows, schema=schema, orient="row")
    return known.join(hours_of_plan, on=["time_zone", "opens_at_hour", "closes_at_hour"]).select(
        column.name for column in _HOURS
    )


def with_business_date(events: pl.DataFrame, stores: pl.DataFrame, own_zone: str) -> pl.DataFrame:
    """Return events with the date in their store's time zone as `business_date`, in any order.

    Args:
        events: at least `store_id` and `occurred_at`, in UTC.
        stores: `reference/stores`, at least `store_id` and `time_zone`.
        own_zone: time zone of stores that it lacks.
    """
    placed = events.join(stores.select("store_id", "time_zone"), on="store_id", how="left")
    local = pl.col("occurred_at").dt.convert_time_zone
    parts = [
        part.with_columns(business_date=local(str(zone or own_zone)).dt.date())
        for (zone,), part in placed.partition_by("time_zone", as_dict=True).items()
    ]
    empty = placed.clear().with_columns(business_date=pl.lit(None, pl.Date))
    return pl.concat([empty, *parts]).drop("time_zone")
