"""From messages to events, with a verdict on each: pure functions on frames, streaming or not.

What the contract refuses is decided by the contract; what can't be used in real time is decided here. Messages with a
verdict are counted and left out; what the contract refuses is a query of its own (`letters`). Nothing is lost by it:
the batch pipeline reads every message. Does not belong here: what is computed from the events.
"""

from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from retail_assets.contracts.decoding import decode, event_fields, rejection
from retail_assets.contracts.events import EventSchema

#: Why a message is left out; null where it is used.
VERDICT: Final = "verdict"
REFUSED: Final = "refused"
AHEAD: Final = "ahead"
TOO_LARGE: Final = "too_large"
VERDICTS: Final = (REFUSED, AHEAD, TOO_LARGE)
#: What Spark knows a column of event times by.
_WATERMARK_MARK: Final = "spark.watermarkDelayMs"
HOUR_SECONDS: Final = 3_600
_MINUTE: Final = "occurred_minute"
#: Name under which Spark reports the counts of each batch.
COUNTS: Final = "counts"


def judged(
    messages: DataFrame, schema: EventSchema, *, clock_skew_minutes: int, now: Column | None = None
) -> DataFrame:
    """Decode messages by contract.

    Args:
        messages: as Spark's Kafka source gives them, with headers.
        schema: what they should be.
        clock_skew_minutes: how far ahead of `now` an event may be. One till whose clock is a year ahead would move
            the watermark by a year, and every other till's events would be late from then on.
        now: the time to compare with; the batch's own time by default, which is the same when a batch is repeated.

    Returns:
        The event's fields, `kafka_offset`, and `verdict`.
    """
    now = F.current_timestamp() if now is None else now
    headers = F.col("headers")
    decoded = messages.select(decode(F.col("value"), headers, schema).alias("event"), "headers", "offset")
    rows = decoded.select(
        rejection(F.col("event"), headers, schema).alias("rejection"),
        *event_fields(F.col("event"), schema),
        F.col("offset").alias("kafka_offset"),
    )
    ahead = F.col("occurred_at") > now + F.make_dt_interval(mins=F.lit(clock_skew_minutes))
    verdict = F.when(F.col("rejection").isNotNull(), REFUSED).when(ahead, AHEAD)
    return rows.withColumn(VERDICT, verdict).drop("rejection")


def counted(events: DataFrame) -> DataFrame:
    """Have Spark report, with each batch, how many messages there were and how many had which verdict."""
    return events.observe(
        COUNTS,
        F.count(F.lit(1)).alias("rows"),
        *[F.count_if(F.col(VERDICT) == verdict).alias(verdict) for verdict in VERDICTS],
        # As a number: a timestamp would come to Python in the machine's time zone, without saying so.
        F.max(F.when(F.col(VERDICT).isNull(), F.unix_millis("occurred_at"))).alias("max_event_ms"),
    )


def accepted(events: DataFrame) -> DataFrame:
    """Return the events without a verdict."""
    return events.where(F.col(VERDICT).isNull()).drop(VERDICT)


def with_watermark(events: DataFrame, *, late_minutes: int) -> DataFrame:
    """Say how far behind the newest event one may be, to the minute.

    Spark compares with the watermark in code that has it as a number, and compiles that anew whenever it moves: once a
    minute instead of with each batch.
    """
    minute = F.timestamp_seconds(F.floor(F.unix_seconds("occurred_at") / 60) * 60)
    # An event counts as late from its minute's beginning on.
    return events.withColumn(_MINUTE, minute).withWatermark(_MINUTE, f"{late_minutes + 1} minutes")


def once_each(events: DataFrame, id_field: str) -> DataFrame:
    """Drop repeated events; in a stream, those within its watermark (what is older is dropped as late anyway)."""
    if events.isStreaming:
        return events.dropDuplicatesWithinWatermark([id_field])
    return events.dropDuplicates([id_field])


def stretch(seconds: Column | int) -> tuple[Column, Column]:
    """Return the stretch of time that an event is in: `starts_at`, and `ends_at`, which the watermark also holds for.

    `window` marks its own result in the same way. Without the mark, rows of a state that is kept by a computed time
    would never go. To be selected before rows are grouped by it: `groupBy` takes the mark off what it computes itself.

    Args:
        seconds: its length; stretches begin at whole multiples of it (UTC).
    """
    start = F.floor(F.unix_seconds("occurred_at") / seconds) * seconds
    # What matters to the operators with state is that there is a mark; how late events may be was said before.
    end = F.timestamp_seconds(start + seconds).alias("ends_at", metadata={_WATERMARK_MARK: 0})
    return F.timestamp_seconds(start).alias("starts_at"), end
