"""Which messages are the events of a business date: the same ones, whichever run asks."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from pyspark.sql import SparkSession

from retail_assets.assets.events import Clock, filed_events
from retail_assets.contracts.events import INVENTORY_UPDATE
from retail_assets.contracts.tables import RAW_INVENTORY_UPDATES
from retail_assets.io_managers.frames import DateWindow
from retail_assets.resources.lake import contract_arrow
from retail_assets_tests.made_up_tables import blank

pytestmark = pytest.mark.integration

DAY = date(2026, 3, 10)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
CLOCK = Clock(date(2026, 1, 1), 24.0, "Europe/Berlin")
STORES = pl.DataFrame({"store_id": ["S1", "S2"], "time_zone": ["Europe/Berlin", "America/New_York"]})


def filed(spark: SparkSession, rows: list[dict[str, Any]], *windows: tuple[int, int]) -> list[tuple[Any, ...]]:
    """Return offset, days after `DAY`, whether it repeats, and reason of each message, in the order of its offset.

    Args:
        spark: the session.
        rows: messages in the order of their arrival.
        windows: first and last day that are asked for at once, counted from `DAY`.
    """
    full = [
        {
            "kafka_topic": "inventory-updates",
            "kafka_offset": number,
            "kafka_partition": 0,
            "store_id": "S1",
            "product_id": "P1",
            "movement": "sale",
            "quantity_delta": Decimal(-1),
            "ingested_at": row["occurred_at"],
            "event_date": row["occurred_at"].date(),
            **row,
        }
        for number, row in enumerate(rows)
    ]
    raw = spark.createDataFrame(contract_arrow(RAW_INVENTORY_UPDATES, blank(RAW_INVENTORY_UPDATES, full)))
    found: list[tuple[Any, ...]] = []
    for first, last in windows:
        window = DateWindow(DAY + timedelta(days=first), DAY + timedelta(days=last))
        events = filed_events(raw, STORES, window, INVENTORY_UPDATE, CLOCK)
        picked = events.select("kafka_offset", "business_date", "is_repeat", "event_reason").collect()
        found += [(row[0], (row[1] - DAY).days, row[2], row[3]) for row in picked]
    return sorted(found)


def test_of_copies_the_first_to_arrive_counts_and_a_day_is_the_same_made_alone_or_with_others(
    spark: SparkSession,
) -> None:
    days = [NOON + timedelta(days=number) for number in range(5)]
    rows: list[dict[str, Any]] = [
        *({"event_id": "each day", "occurred_at": day} for day in days),
        {"event_id": "twice", "occurred_at": days[0]},
        {"event_id": "twice", "occurred_at": days[0]},
        {"event_id": "contradicted", "occurred_at": days[1]},
        {"event_id": "contradicted", "occurred_at": days[1], "quantity_delta": Decimal(-2)},
        {"event_id": "contradicted", "occurred_at": days[1], "quantity_delta": Decimal(-2)},
        {"event_id": "used again", "occurred_at": days[0]},
        {"event_id": "used again", "occurred_at": days[4]},
        {"event_id": "only once said", "occurred_at": days[2], "supplier_id": "A"},
        {"event_id": "only once said", "occurred_at": days[2], "purchase_order_id": "A"},
        {"event_id": "in bulk", "occurred_at": days[3]},
        {"event_id": "in bulk", "occurred_at": days[3], "kafka_partition": -1},
    ]
    together = filed(spark, rows, (0, 4))
    conflict = "conflicting_duplicate"
    assert together == [
        (0, 0, False, None),
        *((day, day, False, conflict) for day in range(1, 5)),
        (5, 0, False, None),
        (6, 0, True, None),
        (7, 1, False, None),
        (8, 1, False, conflict),
        (9, 1, True, None),
        (10, 0, False, None),
        (11, 4, False, None),
        (12, 2, False, None),
        (13, 2, False, conflict),
        (14, 3, True, None),
        (15, 3, False, None),
    ]
    assert filed(spark, rows, (0, 0), (1, 1), (2, 2), (3, 3), (4, 4)) == together


def test_every_accepted_message_is_filed_under_exactly_one_date_whatever_its_clock_says(spark: SparkSession) -> None:
    arrived = NOON + timedelta(days=2)
    rows: list[dict[str, Any]] = [
        {"event_id": "ahead", "occurred_at": arrived + timedelta(days=400), "ingested_at": arrived},
        {"event_id": "ahead", "occurred_at": arrived + timedelta(days=400), "ingested_at": arrived},
        {"event_id": "soon", "occurred_at": arrived + timedelta(hours=25), "ingested_at": arrived},
        {"event_id": "a little ahead", "occurred_at": arrived + timedelta(hours=23), "ingested_at": arrived},
        {"event_id": "before", "occurred_at": datetime(2025, 12, 31, 22, tzinfo=UTC), "ingested_at": arrived},
        # Local midnight of the first day in Berlin.
        {"event_id": "first", "occurred_at": datetime(2025, 12, 31, 23, tzinfo=UTC), "ingested_at": arrived},
        {"event_id": "in bulk", "occurred_at": datetime(2025, 6, 1, tzinfo=UTC), "kafka_partition": -1},
        {"event_id": "evening", "occurred_at": datetime(2026, 3, 11, 3, tzinfo=UTC), "store_id": "S2"},
        {"event_id": "nobody's", "occurred_at": datetime(2026, 3, 10, 23, 30, tzinfo=UTC), "store_id": "S9"},
        {"event_id": "refused", "occurred_at": NOON, "rejection": "no reason"},
    ]
    start = (CLOCK.history_start - DAY).days
    found = filed(spark, rows, (start, 1), (2, 2), (3, 3), (4, 500))
    assert found == [
        (0, 2, False, "future_date"),
        (1, 2, False, "future_date"),
        (2, 2, False, "future_date"),
        (3, 3, False, None),
        (4, 2, False, "date_before_history"),
        (5, start, False, None),
        (7, 0, False, None),
        (8, 1, False, None),
    ]
