"""`rt_clock`: which date and hour it is on the stores' own clocks, as rows in the warehouse.

ClickHouse converts times only to time zones that a query names, not to those in a column; a table of hours per time
zone does the same by a join. Does not belong here: what is made of it (views).
"""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa

from retail_streaming.logs import log
from retail_streaming.warehouse import Warehouse

#: What the table holds.
CLOCK: Final = pa.schema(
    [
        pa.field("time_zone", pa.string()),
        pa.field("hour_start", pa.timestamp("s", tz="UTC")),
        pa.field("local_date", pa.date32()),
        pa.field("local_hour", pa.uint8()),
        pa.field("updated_at", pa.timestamp("ms", tz="UTC")),
    ]
)
_HOUR: Final = timedelta(hours=1)
#: Last week's hours have to be known too, and those that come soon.
_BEFORE: Final = timedelta(days=8)
_AHEAD: Final = timedelta(days=3)
#: Nobody compares with hours that are older than this; of a time far off, a year of hours is enough.
_LONGEST: Final = timedelta(days=400)

_EVERY_SECONDS: Final = 30.0

# From the first hour that revenue is known of to the newest event; no row while nothing has happened.
_NEEDED: Final = """
SELECT toUnixTimestamp(min(at)), toUnixTimestamp(max(at))
FROM (SELECT toDateTime(as_of, 'UTC') AS at FROM v_store_clock UNION ALL SELECT hour_start AS at FROM rt_revenue_hourly)
HAVING count() > 0
"""
_ZONES: Final = """
SELECT s.time_zone, toUnixTimestamp(min(k.hour_start)), toUnixTimestamp(max(k.hour_start))
FROM (SELECT DISTINCT time_zone FROM dim_store WHERE store_key != 0) AS s
LEFT JOIN rt_clock AS k ON k.time_zone = s.time_zone
GROUP BY s.time_zone
"""


def hours_of(time_zone: str, first: datetime, last: datetime) -> pa.Table:
    """Return an hour's row for each hour from `first` to `last`, both aware: the columns of `CLOCK`.

    Where a zone is half an hour off, an hour of UTC counts for the local hour that it begins in.

    Raises:
        ZoneInfoNotFoundError, ValueError: there is no such time zone.
    """
    zone = ZoneInfo(time_zone)
    starts = list(_hours(first.astimezone(UTC).replace(minute=0, second=0, microsecond=0), last))
    local = [start.astimezone(zone) for start in starts]
    now = datetime.now(UTC)
    columns = [
        [time_zone] * len(starts),
        starts,
        [at.date() for at in local],
        [at.hour for at in local],
        [now] * len(starts),
    ]
    return pa.Table.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, CLOCK, strict=True)], schema=CLOCK
    )


def _hours(first: datetime, last: datetime) -> Iterator[datetime]:
    while first <= last:
        yield first
        first += _HOUR


def write_store_clock(warehouse: Warehouse) -> float:
    """Write the hours around the live picture that are missing, for each time zone of a store.

    Returns:
        How long to wait before it is worth looking again, seconds.

    Raises:
        StreamingError: the warehouse doesn't answer, or refuses.
    """
    for oldest, newest in warehouse.rows(_NEEDED):
        last = datetime.fromtimestamp(newest, UTC)
        first = max(datetime.fromtimestamp(oldest, UTC) - _BEFORE, last - _LONGEST)
        for time_zone, known_from, known_to in warehouse.rows(_ZONES):
            if known_to and known_from <= first.timestamp() and known_to >= newest:
                continue
            try:
                rows = hours_of(str(time_zone), first, last + _AHEAD)
            except (ZoneInfoNotFoundError, ValueError):
                _say_unknown(str(time_zone))
                continue
            warehouse.insert("rt_clock", rows)
    return _EVERY_SECONDS


@cache
def _say_unknown(time_zone: str) -> None:
    """Say it once, not at every look."""
    log(logging.WARNING, "unknown time zone", time_zone=time_zone, table="dim_store")
