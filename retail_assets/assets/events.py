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
#: Of messages that a wrong clock dates, by columns that say how.
_MISTIMED: Final = "(is_ahead OR is_early)"


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
        latest = F.timestamp_seconds(F.unix_timestamp("ingested_at") + round(clock.hours_ahead * 3600))
        is_early = F.to_date("local_time") < F.lit(clock.history_start)
        # What was loaded in bulk is history, and arrived when it was written; days before the partitions stay away.
        return told.withColumns(
            {
                "is_ahead": F.col("occurred_at") > latest,
                "is_early": is_early & (F.col("kafka_partition") != BULK_PARTITION),
            }
        )

    # A business date lies in at most two UTC dates, and a repeat within one more on either side.
    near = F.col("event_date").between(F.lit(window.first - 2 * _NEAR), F.lit(window.last + 2 * _NEAR))
    # What a wrong clock dates far away is read by a condition on the partitions alone, so that the rest of the history
    # isn't opened; of days after these, only files with something that arrived in the window are.
    far = (F.col("event_date") > F.lit(window.last + 2 * _NEAR)) | (
        F.col("event_date") <= F.lit(min(clock.history_start + _NEAR, window.first - 3 * _NEAR))
    )
    arrived = F.col("ingested_at").between(F.lit(window.first - _NEAR), F.lit(window.last + 2 * _NEAR))
    elsewhere = dated(accepted.where(far).where(arrived)).where(_MISTIMED)
    compared = _compared(dated(accepted.where(near)), schema)
    events = compared.unionByName(elsewhere.withColumns(dict.fromkeys(("is_repeat", "is_conflict"), F.lit(False))))  # noqa: FBT003
    arrival = F.to_date(_local_time("ingested_at", zones, clock.own_zone))
    return (
        events.withColumns(
            {
                "business_date": F.when(F.expr(_MISTIMED), arrival).otherwise(F.to_date("local_time")),
                "event_reason": F.when(F.col("is_ahead"), FUTURE_DATE)
                .when(F.col("is_early"), DATE_BEFORE_HISTORY)
                .when(F.col("is_conflict"), CONFLICTING_DUPLICATE),
            }
        )
        .where(window.where("business_date"))
        .drop("zone", "is_ahead", "is_early", "is_conflict")
    )


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

    What a wrong clock dates counts for neither side: it may come again on another day, and is kept out by itself.

    Only ids are shuffled, and what the few that are there twice say goes to all workers: sorting whole events by id
    would cost more than everything else that is done with them.
    """
    # A table of an earlier release lacks the optional fields that the contract has got since.
    fields = [column.name for column in schema.columns if column.name in events.columns]
    content = F.to_json(F.struct(*fields), {"ignoreNullFields": "false"})
    in_time = events.where(f"NOT {_MISTIMED}")
    twice = in_time.groupBy(schema.id_field).agg(F.count(F.lit(1)).alias("copies")).where("copies > 1")
    copy = F.struct("kafka_partition", "kafka_offset", "event_date", content.alias("content"))
    copies = (
        in_time.join(F.broadcast(twice.drop("copies")), schema.id_field, "left_semi")
        .groupBy(schema.id_field)
        .agg(F.collect_list(copy).alias("copies"))
    )

    def is_earlier(copy: SparkColumn) -> SparkColumn:
        arrived_before = (copy["kafka_partition"] < F.col("kafka_partition")) | (
            (copy["kafka_partition"] == F.col("kafka_partition")) & (copy["kafka_offset"] < F.col("kafka_offset"))
        )
        return arrived_before & (F.abs(F.date_diff(copy["event_date"], "event_date")) <= _NEAR.days)

    # An id that is there once has no copies, not even itself.
    follows = ~F.expr(_MISTIMED) & F.coalesce(F.size("earlier") > 0, F.lit(False))  # noqa: FBT003 - a literal column
    same = F.exists("earlier", lambda copy: copy["content"] == content)
    return (
        events.join(F.broadcast(copies), schema.id_field, "left")
        .withColumn("earlier", F.filter("copies", is_earlier))
        .withColumns({"is_repeat": F.when(follows, same).otherwise(F.lit(False)), "follows": follows})  # noqa: FBT003
        .withColumn("is_conflict", F.col("follows") & ~F.col("is_repeat"))
        .drop("copies", "earlier", "follows")
    )
