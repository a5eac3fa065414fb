"""Fixtures that several kinds of tests share. Spark and the stack are started once per test session, when needed.

The tests have folders and ports of their own, chosen before anything reads the settings, so that they run beside a
stack that is in use.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from clickhouse_connect.driver.client import Client
from pyspark.sql import SparkSession

from retail_assets.resources.clickhouse import connect
from retail_assets.resources.kafka import KafkaResource
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.migrations import migrate
from retail_assets.resources.spark import SparkResource, spark_config
from retail_assets.settings import Settings, get_settings
from retail_local.ports import free_ports
from retail_local.stack import Stack

_PORTS = ("KAFKA_PORT", "KAFKA_CONTROLLER_PORT", "CLICKHOUSE_PORT", "DAGSTER_PORT")


def pytest_configure() -> None:
    """Give the tests folders and ports of their own, and JVMs that start soon."""
    for name in [name for name in os.environ if name.startswith("RETAIL_")]:
        if name not in {"RETAIL_CACHE_DIR", "RETAIL_JAVA_HOME"}:
            del os.environ[name]
    os.environ["RETAIL_VAR_DIR"] = tempfile.mkdtemp(prefix="retail-tests-")
    for name, port in zip(_PORTS, free_ports(len(_PORTS)), strict=True):
        os.environ[f"RETAIL_{name}"] = str(port)
    # No JVM of the tests lives long enough to win back what optimising its code costs, on two cores twice over.
    own = os.environ.get("JAVA_TOOL_OPTIONS", "")
    os.environ["JAVA_TOOL_OPTIONS"] = f"{own} -XX:TieredStopAtLevel=1".strip()
    get_settings.cache_clear()
    # A slow machine is no failure.
    hypothesis.settings.register_profile("retail", deadline=None)
    hypothesis.settings.load_profile("retail")


@pytest.fixture(scope="session")
def settings() -> Settings:
    """Return the settings of the tests' own stack."""
    return get_settings()


@pytest.fixture(scope="session")
def spark_resource(settings: Settings) -> Iterator[SparkResource]:
    """Return the project's own Spark resource; its session lives as long as the tests."""
    resource = SparkResource(spark_config=spark_config(settings) | {"spark.sql.shuffle.partitions": "2"})
    yield resource
    resource.spark_session.stop()


@pytest.fixture(scope="session")
def spark(spark_resource: SparkResource) -> SparkSession:
    """Return the one Spark session of the tests."""
    return spark_resource.spark_session


@pytest.fixture
def lake(tmp_path: Path) -> LakeResource:
    """Return an empty lake."""
    return LakeResource(root=(tmp_path / "lake").as_uri())


@pytest.fixture(scope="session")
def stack(settings: Settings) -> Iterator[Stack]:
    """Start a real broker and a real warehouse for the tests; end them afterwards."""
    running = Stack(settings)
    running.up(["kafka", "warehouse"])
    yield running
    running.down()


@pytest.fixture(scope="session")
def kafka(stack: Stack, settings: Settings) -> KafkaResource:
    """Return the real broker."""
    return KafkaResource(bootstrap_servers=settings.bootstrap_servers)


@pytest.fixture(scope="session")
def migrated() -> dict[str, list[tuple[Any, ...]]]:
    """Return the schema of each database as it was after its migration; filled by `warehouse`."""
    return {}


@pytest.fixture
def warehouse(stack: Stack, settings: Settings, migrated: dict[str, list[tuple[Any, ...]]]) -> Iterator[Client]:
    """Return the writer of a warehouse with the newest schema and without rows."""
    client = connect(settings, database="")
    database = settings.clickhouse_database
    both = [database, f"{database}_staging"]
    # Making all tables anew takes seconds; where a test has left the schema alone, its rows are enough to remove.
    if _schema(client, both) == migrated.get(database, []) != []:
        client.database = database
        for place, name in client.query(
            "SELECT database, name FROM system.tables "
            "WHERE database IN {both:Array(String)} AND total_rows > 0 AND name != 'schema_migrations'",
            parameters={"both": both},
        ).result_rows:
            client.command(f"TRUNCATE TABLE {place}.{name}")
    else:
        for place in both:
            client.command(f"DROP DATABASE IF EXISTS {place} SYNC")
        migrate(client, database)
        migrated[database] = _schema(client, both)
    yield client
    client.close()


def _schema(client: Client, databases: list[str]) -> list[tuple[Any, ...]]:
    found = client.query(
        "SELECT database, name, create_table_query FROM system.tables "
        "WHERE database IN {databases:Array(String)} ORDER BY database, name",
        parameters={"databases": databases},
    )
    return [tuple(row) for row in found.result_rows]
