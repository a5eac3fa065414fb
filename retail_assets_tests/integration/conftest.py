"""Fixtures of the tests on a real broker: its topics, and runs of the raw layer."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from retail_assets.assets.raw import raw_assets
from retail_assets.checks.losses import losses_checks
from retail_assets.contracts.tables import RAW_POS_EVENTS, Table
from retail_assets.contracts.topics import TOPICS
from retail_assets.io_managers.delta import SparkDeltaIOManager
from retail_assets.resources.kafka import KafkaResource
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource
from retail_assets.resources.topics import read_topic_settings
from retail_assets.settings import Mode


@pytest.fixture
def topics(kafka: KafkaResource) -> Iterator[None]:
    """Make the platform's own topics, empty, and take them away afterwards."""
    kafka.apply_topics(read_topic_settings(Mode.LOCAL))
    yield
    kafka.delete_topics([topic.name for topic in TOPICS])


@pytest.fixture
def materialize(spark_resource: SparkResource, lake: LakeResource, kafka: KafkaResource, topics: None) -> Any:
    """Return what reads `pos-events` into the lake, and makes further tables; keywords configure the reading."""

    def run(*also: Table, **config: Any) -> Any:
        resources = {
            "spark": spark_resource,
            "lake": lake,
            "kafka": kafka,
            "lake_io_manager": SparkDeltaIOManager(spark=spark_resource, lake=lake),
        }
        run_config = {"ops": {"raw__pos_events": {"config": config}}} if config else {}
        return dg.materialize(
            [*raw_assets(), *losses_checks()],
            selection=[dg.AssetKey(table.key) for table in (RAW_POS_EVENTS, *also)],
            resources=resources,
            run_config=run_config,
        )

    return run
