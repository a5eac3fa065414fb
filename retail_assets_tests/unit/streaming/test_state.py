"""State goes when the watermark has passed it, also where it is kept by a time that was computed."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from retail_streaming.sales import sales_by_time

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SCHEMA = (
    "transaction_id string, store_id string, occurred_at timestamp, units decimal(12,3), revenue decimal(12,2), "
    "products array<struct<product_id: string, units: decimal(12,3), revenue: decimal(12,2), transactions: int>>"
)


def test_hours_and_five_minutes_leave_the_state_when_no_event_can_change_them_any_more(
    spark: SparkSession, tmp_path: Path
) -> None:
    arriving, checkpoint = tmp_path / "arriving", tmp_path / "checkpoint"
    arriving.mkdir()
    last: dict[tuple[bool, datetime], int] = {}

    def sell(number: int, at: datetime) -> int:
        """Let a basket arrive, and return how many keys the sums' state holds when all is done."""
        basket = {
            "transaction_id": f"T{number}",
            "store_id": "S1",
            "occurred_at": at.isoformat(),
            "units": 1,
            "revenue": 2,
            "products": [{"product_id": "P1", "units": 1, "revenue": 2, "transactions": 1}],
        }
        (arriving / f"{number}.json").write_text(json.dumps(basket), encoding="utf-8")
        events = spark.readStream.schema(SCHEMA).json(str(arriving)).withWatermark("occurred_at", "30 minutes")

        def keep(batch: DataFrame, _: int) -> None:
            last.update({(row["is_basket"], row["starts_at"]): row["transactions"] for row in batch.collect()})

        query = (
            sales_by_time(events)
            .writeStream.outputMode("update")
            .option("checkpointLocation", str(checkpoint))
            .trigger(availableNow=True)
            .foreachBatch(keep)
            .start()
        )
        query.awaitTermination()
        newest = query.lastProgress
        assert newest is not None
        (sums,) = [one for one in newest["stateOperators"] if one["operatorName"] == "stateStoreSave"]
        return int(sums["numRowsTotal"])

    assert sell(1, NOON) == 2
    # Within the watermark: the hour goes on, the five minutes are others.
    assert sell(2, NOON + timedelta(minutes=20)) == 3
    assert sorted(last.values()) == [1, 1, 2]
    # An hour and a half later the hour is over for everyone, and all its five minutes.
    assert sell(3, NOON + timedelta(minutes=95)) == 2
