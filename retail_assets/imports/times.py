"""How a file writes points in time: a date as in `dates`, a time of day behind it, and perhaps a zone.

Belongs here: taking such texts apart, and reading what stands behind the date. Does not belong here: formats of dates
(`dates`), and which zone a time without one is of (`baskets`).
"""

from typing import Final

import polars as pl

#: Column of a batch that says how many minutes a time is ahead of UTC; null where the file doesn't say.
OFFSET: Final = "offset_minutes"
NO_TIME: Final = "no time of day"

_PARTS: Final = (
    r"^\s*(?P<date>.*?\d)(?:[T ]\s*(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?)"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?)?\s*$"
)
_TIME: Final = r"^(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d+))?)?$"
_ZONE: Final = r"^(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?$"
_NOON: Final = 12
_HOURS: Final = 24
_SIXTY: Final = 60


def date_parts(texts: pl.Series) -> pl.Series:
    """Return the part of each text that should be a date; the whole text where nothing like one is found."""
    # A basket's lines have the same time: far fewer texts are taken apart than there are rows.
    different = texts.fill_null("").alias("text").unique()
    parts = pl.DataFrame({"text": different, "date": different.str.extract(_PARTS, 1).fill_null(different)})
    return pl.DataFrame({"text": texts.fill_null("")}).join(parts, on="text", how="left", maintain_order="left")["date"]


def read_times(texts: pl.Series, days: pl.DataFrame) -> pl.DataFrame:
    """Return the time on the clock that each text says.

    Args:
        texts: of one column.
        days: `text`, `day`, `reason`: for each part that should be a date, the date, or the number of the reason for
            which its rows are rejected.

    Returns:
        `local` (milliseconds, without a zone; null where there is none), `offset_minutes`, `reason` of the date.
    """
    different = texts.fill_null("").alias("whole").unique()
    parts = (
        pl.DataFrame({"whole": different, "text": date_parts(different), "parts": different.str.extract_groups(_PARTS)})
        .unnest("parts")
        .with_columns(pl.col("time").str.extract_groups(_TIME).alias("clock"), pl.col("zone").str.extract_groups(_ZONE))
        .unnest("clock")
        .with_columns(
            pl.col("half").str.slice(0, 1).str.to_lowercase(), zoned=different.str.contains(r"(Z|UTC|GMT)\s*$")
        )
        .with_columns(pl.col("hour", "minute", "second").cast(pl.Int64))
    )
    hour = (
        pl.when(pl.col("half").is_null())
        .then("hour")
        .when(pl.col("hour").is_between(1, _NOON))
        .then(pl.col("hour") % _NOON + pl.when(pl.col("half") == "p").then(_NOON).otherwise(0))
    )
    fraction = pl.col("fraction").str.pad_end(3, "0").str.slice(0, 3).cast(pl.Int64).fill_null(0)
    second = pl.col("second").fill_null(0)
    right = (hour < _HOURS) & (pl.col("minute") < _SIXTY) & (second < _SIXTY)
    of_day = pl.when(right).then(((hour * _SIXTY + pl.col("minute")) * _SIXTY + second) * 1_000 + fraction)
    ahead = pl.col("zone").struct.field("hours").cast(pl.Int32) * _SIXTY + pl.col("zone").struct.field("minutes").cast(
        pl.Int32
    ).fill_null(0)
    signed = pl.when(pl.col("zone").struct.field("sign") == "-").then(-ahead).otherwise(ahead)
    read = parts.join(days, on="text", how="left", maintain_order="left").select(
        "whole",
        # A file may have days without times.
        (
            pl.col("day").cast(pl.Datetime("ms"))
            + pl.duration(milliseconds=pl.when(pl.col("time").is_null()).then(0).otherwise(of_day))
        ).alias("local"),
        pl.when("zoned").then(0).otherwise(signed).cast(pl.Int32).alias(OFFSET),
        "reason",
    )
    return (
        pl.DataFrame({"whole": texts.fill_null("")})
        .join(read, on="whole", how="left", maintain_order="left")
        .drop("whole")
    )
