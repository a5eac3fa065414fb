"""The events of a business date: which messages of a raw table are its events, and which of them repeat or contradict.

Belongs here: filing a message under a business date, clocks that are wrong, ids that come twice. Does not belong here:
what an event says (`domain.trust`).

Every accepted message is filed under exactly one date: the store's local date of what happened, or that of its arrival
where a wrong clock dates it into the future or before the history. Whether it repeats another is decided by messages
near it alone. So a day is the same whichever run makes it, alone or with others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import functions as F

from retail_assets.contracts.events import EventSchema
from retail_assets.contracts.tables import BULK_PARTITION
from retail_assets.contracts.tables.core import CONFLICTING_DUPLICATE, DATE_BEFORE_HISTORY, FUTURE_DATE
from retail_assets.contracts.thresholds import Quarantine
from retail_assets.io_managers.frames import DateWindow
from retail_assets.settings import get_settings

#: A repeated message is known within so many UTC dates; one that comes again carries the same time.
_NEAR: Final = timedelta(days=1)


@dataclass(frozen=True)
class Clock:
    """Which times can be.

    Attributes:
        history_start: first date of the history.
        hours_ahead: hours after its arrival at which an event may say that it happened.
        own_zone: time zone of stores that nobody has described.
    """

    history_start: date
    hours_ahead: float
    own_zone: str

    @classmethod
    def of(cls, limits: Quarantine) -> "Clock":
        """Return the clock of the retailer."""
        settings = get_settings()
        return cls(date.fromisoformat(settings.history_start), limits.hours_ahead, settings.time_zone)


def filed_events(
    raw: SparkFrame, stores: pl.DataFrame, window: DateWindow, schema: EventSchema, clock: Clock
) -> SparkFrame:
    """Return the accepted messages that are filed under some business dates.

    Args:
        raw: a raw table.
        stores: master data of the stores, for their time zones.
        window: business dates, both inclusive.
        schema: of the table's events.
        clock: which times can be.

    Returns:
        The messages' rows with `business_date`; `local_time`, on the store's wall clock; `is_repeat`, whether a message
        that arrived before says the same; `event_reason`, why the whole event can't be trusted, or null. Of messages
        with one id the first to arrive counts, by partition and offset; rows that were loaded in bulk come before all.
    """
    accepted = raw.where(F.col("rejection").isNull())
    local = accepted.sparkSession.createDataFrame(
        list(stores.select("store_id", "time_zone").iter_rows()), "store_id string, zone string"
    )
    zones = stores["time_zone"].unique().sort().to_list()

    def dated(events: SparkFrame) -> SparkFrame:
        told = events.join(F.broadcast(local), "store_id", "left").withColumn(
            "local_time", _local_time("occurred_at", zones, clock.own_zone)
        )
        late = F.timestamp_seconds(F.unix_timestamp("ingested_at") + round(clock.hours_ahead * 3600))
        # What was loaded in bulk is history, and arrived when it was written; days before the partitions stay away.
        before = (F.col("kafka_partition") != BULK_PARTITION) & (F.to_date("local_time") < F.lit(clock.history_start))
        return told.withColumn(
            "event_reason", F.when(F.col("occurred_at") > late, FUTURE_DATE).when(before, DATE_BEFORE_HISTORY)
        )

    # A business date lies in at most two UTC dates, and a repeat within one more on either side. Each read has a
    # condition on the partition alone, so that the rest of the history isn't opened.
    near = F.col("event_date").between(F.lit(window.first - 2 * _NEAR), F.lit(window.last + 2 * _NEAR))
    in_time = dated(accepted.where(near)).where(F.col("event_reason").isNull())
    in_time = (
        _compared(in_time, schema)
        .withColumn("business_date", F.to_date("local_time"))
        .where(window.where("business_date"))
    )
    early = F.col("event_date") <= F.lit(clock.history_start + _NEAR)
    arrived = F.col("ingested_at").between(F.lit(window.first - _NEAR), F.lit(window.last + 2 * _NEAR))
    mistimed = (
        dated(accepted.where((F.col("event_date") >= F.lit(window.first - _NEAR)) | early).where(arrived))
        .where(F.col("event_reason").isNotNull())
        .withColumn("business_date", F.to_date(_local_time("ingested_at", zones, clock.own_zone)))
        .where(window.where("business_date"))
        # Such a message may come again on another day. Each is kept out by itself.
        .withColumn("is_repeat", F.lit(False))  # noqa: FBT003 - a literal column
    )
    return in_time.unionByName(mistimed).drop("zone")


def _local_time(instant: str, zones: Sequence[str], own_zone: str) -> SparkColumn:
    """Return an instant on the wall clock of the column `zone`; of the retailer's own zone where it is null.

    Spark looks a zone up by its name for every row, unless the name is a literal: a branch per zone takes half as long.
    """
    local = F.from_utc_timestamp(instant, own_zone)
    for zone in zones:
        local = F.when(F.col("zone") == zone, F.from_utc_timestamp(instant, zone)).otherwise(local)
    return local


def _compared(events: SparkFrame, schema: EventSchema) -> SparkFrame:
    """Say of each event whether a near one of the same id arrived before it, and whether that one says the same.

    Only ids are shuffled, and what the few that are there twice say goes to all workers: sorting whole events by id
    would cost more than everything else that is done with them.
    """
    content = F.to_json(F.struct(*[column.name for column in schema.columns]), {"ignoreNullFields": "false"})
    twice = events.groupBy(schema.id_field).agg(F.count(F.lit(1)).alias("copies")).where("copies > 1")
    copies = (
        events.join(F.broadcast(twice.drop("copies")), schema.id_field, "left_semi")
        .groupBy(schema.id_field)
        .agg(
            F.collect_list(F.struct("kafka_partition", "kafka_offset", "event_date", content.alias("content"))).alias(
                "copies"
            )
        )
    )

    def is_earlier(copy: SparkColumn) -> SparkColumn:
        arrived_before = (copy["kafka_partition"] < F.col("kafka_partition")) | (
            (copy["kafka_partition"] == F.col("kafka_partition")) & (copy["kafka_offset"] < F.col("kafka_offset"))
        )
        return arrived_before & (F.abs(F.date_diff(copy["event_date"], "event_date")) <= _NEAR.days)

    earlier = F.filter("copies", is_earlier)
    says_the_same = F.exists("earlier", lambda copy: copy["content"] == content)
    return (
        events.join(F.broadcast(copies), schema.id_field, "left")
        .withColumn("earlier", earlier)
        .withColumn("is_repeat", F.when(F.size("earlier") > 0, says_the_same).otherwise(F.lit(False)))  # noqa: FBT003
        .withColumn("event_reason", F.when((F.size("earlier") > 0) & ~F.col("is_repeat"), F.lit(CONFLICTING_DUPLICATE)))
        .drop("copies", "earlier")
    )
