"""Dead letters: what the contracts refuse, byte for byte, with the reason. Pure functions on frames, streaming or not.

A query of its own over all topics: refused messages never reach the queries with state, and a flood of them must not
hold these up. Does not belong here: deciding what is refused (the contracts do).
"""

from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from retail_assets.contracts.decoding import decode, rejection
from retail_assets.contracts.topics import Topic
from retail_streaming.events import COUNTS, REFUSED

#: What the table holds, but for what the writer adds.
DEAD_LETTERS: Final = pa.schema(
    [
        pa.field("kafka_topic", pa.string()),
        pa.field("kafka_partition", pa.int32()),
        pa.field("kafka_offset", pa.int64()),
        pa.field("sent_at", pa.timestamp("ms", tz="UTC")),
        pa.field("rejection", pa.string()),
        pa.field("raw_value", pa.binary()),
    ]
)


def refused(messages: DataFrame, topics: tuple[Topic, ...]) -> DataFrame:
    """Return the messages that the contract of their topic refuses.

    Args:
        messages: as Spark's Kafka source gives them, with headers, from any of the topics.
        topics: with their schemas.

    Returns:
        The columns of `DEAD_LETTERS`, and the message's `headers`.
    """
    headers = F.col("headers")
    # The events as columns of their own: within the reasons each would be decoded again for every rule.
    events = {
        f"event_{place}": F.when(F.col("topic") == topic.name, decode(F.col("value"), headers, topic.schema))
        for place, topic in enumerate(topics)
    }
    decoded = messages.select("*", *[event.alias(name) for name, event in events.items()])
    reasons = [
        F.when(F.col("topic") == topic.name, rejection(F.col(name), headers, topic.schema))
        for name, topic in zip(events, topics, strict=True)
    ]
    judged = decoded.withColumn("rejection", F.coalesce(*reasons))
    # Counting is also a barrier: Spark would move the condition below the decoding, and decode once for each rule.
    counted = judged.observe(
        COUNTS, F.count(F.lit(1)).alias("rows"), F.count_if(F.col("rejection").isNotNull()).alias(REFUSED)
    )
    return counted.where(F.col("rejection").isNotNull()).select(
        F.col("topic").alias("kafka_topic"),
        F.col("partition").alias("kafka_partition"),
        F.col("offset").alias("kafka_offset"),
        F.col("timestamp").alias("sent_at"),
        "rejection",
        F.col("value").alias("raw_value"),
        "headers",
    )
