"""Which messages become dead letters, of whatever topic."""

import json

from pyspark.sql import SparkSession

from retail_assets.contracts.topics import EVENT_TOPICS
from retail_streaming.letters import DEAD_LETTERS, refused

SCHEMA = (
    "topic string, partition int, offset bigint, timestamp timestamp, value binary, "
    "headers array<struct<key: string, value: binary>>"
)
OPEN = {"event_id": "E1", "store_id": "S1", "register_id": "R1", "occurred_at": 1_767_268_800_000, "kind": "open"}


def test_each_message_is_judged_by_the_contract_of_its_own_topic(spark: SparkSession) -> None:
    good = json.dumps(OPEN).encode()
    of_the_future = [("schema_version", b"2")]
    rows = [
        ("pos-events", 0, 1, None, good, None),
        ("pos-events", 1, 2, None, good, of_the_future),
        ("pos-events", 1, 3, None, b"\xff\x00", None),
        ("sales-transactions", 0, 4, None, good, None),
        ("inventory-updates", 0, 5, None, None, None),
    ]
    letters = refused(spark.createDataFrame(rows, SCHEMA), EVENT_TOPICS)
    found = {row["kafka_offset"]: row for row in letters.collect()}
    assert {offset: row["rejection"] for offset, row in found.items()} == {
        2: "the header schema_version is not 1",
        3: "not a JSON object with any known field",
        4: "transaction_id is missing or not string",
        5: "not a JSON object with any known field",
    }
    assert bytes(found[3]["raw_value"]) == b"\xff\x00"
    assert found[2]["headers"][0]["key"] == "schema_version"
    assert letters.toArrow().select(DEAD_LETTERS.names).cast(DEAD_LETTERS).num_rows == 4
