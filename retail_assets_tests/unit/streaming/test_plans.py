"""What Spark makes of the queries."""

import pytest
from pyspark.sql import DataFrame, SparkSession

from retail_streaming.queries import QUERIES, Query
from retail_streaming.settings import StreamingSettings

MESSAGES = (
    "key binary, value binary, topic string, partition int, offset bigint, timestamp timestamp, "
    "headers array<struct<key: string, value: binary>>"
)


def optimized(frame: DataFrame) -> str:
    return str(frame._jdf.queryExecution().optimizedPlan().toString())


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_each_message_is_decoded_once_and_not_for_every_rule_of_the_contract(spark: SparkSession, query: Query) -> None:
    plan = optimized(query.plan(spark.createDataFrame([], MESSAGES), StreamingSettings()))
    assert plan.count("from_json") == len(query.topics)
