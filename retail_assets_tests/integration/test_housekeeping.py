"""Housekeeping beside the real writers: Spark goes on where it was, left-overs of killed writes go, old runs go."""

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from clickhouse_connect.driver.client import Client

from retail_assets.assets import housekeeping
from retail_assets.assets.housekeeping import housekeeping_assets
from retail_assets.assets.raw import raw_assets
from retail_assets.contracts.tables import RAW_POS_EVENTS
from retail_assets.contracts.topics import POS_EVENTS
from retail_assets.io_managers.delta import SparkDeltaIOManager
from retail_assets.jobs import housekeeping_config
from retail_assets.resources.clickhouse import ClickHouseResource
from retail_assets.resources.kafka import KafkaResource, Letter
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.progress import read_progress
from retail_assets.resources.spark import SparkResource
from retail_assets.resources.topics import read_topic_settings
from retail_assets.settings import Mode, Settings, get_settings

pytestmark = pytest.mark.integration


@pytest.fixture
def topic(kafka: KafkaResource) -> Iterator[KafkaResource]:
    kafka.apply_topics({POS_EVENTS.name: read_topic_settings(Mode.LOCAL)[POS_EVENTS.name]})
    yield kafka
    kafka.delete_topics([POS_EVENTS.name])


def letter(number: int) -> Letter:
    value = {
        "event_id": f"E{number}",
        "store_id": "S1",
        "register_id": "R1",
        "occurred_at": 1_767_268_800_000 + number,
        "kind": "open",
    }
    return Letter(b"S1", json.dumps(value).encode(), [("produced_at", b"1767268800000")])


def clean(resources: dict[str, Any], *, dry_run: bool, instance: dg.DagsterInstance | None = None) -> dict[str, Any]:
    """Run the whole of housekeeping and return its metadata."""
    result = dg.materialize(
        housekeeping_assets(),
        resources=resources,
        run_config=housekeeping_config(dry_run=dry_run),
        instance=instance or dg.DagsterInstance.ephemeral(),
    )
    assert result.success
    return {
        f"{event.asset_key.path[-1]}.{name}": value.value
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None
        for name, value in event.materialization.metadata.items()
    }


def test_spark_reads_on_after_its_table_was_put_in_order(
    spark_resource: SparkResource, lake: LakeResource, topic: KafkaResource, warehouse: Client, settings: Settings
) -> None:
    clickhouse = ClickHouseResource(database=settings.clickhouse_database)
    resources = {
        "spark": spark_resource,
        "lake": lake,
        "kafka": topic,
        "clickhouse": clickhouse,
        "lake_io_manager": SparkDeltaIOManager(spark=spark_resource, lake=lake),
    }

    def ingest(first: int, after: int) -> None:
        topic.send(POS_EVENTS.name, [letter(number) for number in range(first, after)])
        key = dg.AssetKey(RAW_POS_EVENTS.key)
        assert dg.materialize(raw_assets(), selection=[key], resources=resources).success

    for start in range(0, 9, 3):
        ingest(start, start + 3)
    folder = Path(lake.local_path(RAW_POS_EVENTS.path))
    delta = lake.delta(RAW_POS_EVENTS)
    assert delta is not None
    assert delta.metadata().configuration["delta.enableExpiredLogCleanup"] == "false"
    known = read_progress(delta)
    assert known.topic_id is not None
    before = time.time() - 40 * 86_400
    for path in (folder / "_delta_log").glob("*.json"):
        text = path.read_text(encoding="utf-8")
        stamp = json.loads(next(line for line in text.splitlines() if "commitInfo" in line))["commitInfo"]["timestamp"]
        path.write_text(text.replace(str(stamp), str(int(before * 1_000))), encoding="utf-8")
    for path in (folder / "_delta_log").iterdir():
        os.utime(path, (before, before))
        # Hadoop's checksums are of the text before.
        if path.suffix == ".crc" and path.name.startswith("."):
            path.unlink()
    left_over = f"{clickhouse.staging_database}.fact_sales__dead"
    warehouse.command(f"CREATE TABLE {left_over} (x Int32) ENGINE = MergeTree ORDER BY x")

    looked = clean(resources, dry_run=True)
    assert looked["lake_files.small_files"] == 3
    assert looked["lake_files.files_after"] == looked["lake_files.files_before"] == 3
    done = clean(resources, dry_run=False)
    assert (done["lake_files.files_after"], done["lake_files.rows_after"]) == (1, 9)
    assert done["warehouse_staging.left_over_tables"] == 0  # it is as young as one that is being written

    delta = lake.delta(RAW_POS_EVENTS)
    assert delta is not None
    assert read_progress(delta) == known
    ingest(9, 12)
    ids = lake.read(RAW_POS_EVENTS, columns=["event_id"])["event_id"].to_list()
    assert sorted(ids) == sorted(f"E{number}" for number in range(12))
    assert spark_resource.spark_session.read.format("delta").load(lake.uri(RAW_POS_EVENTS.path)).count() == 12


def test_staging_tables_of_yesterday_are_dropped_and_no_others(
    lake: LakeResource, warehouse: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clickhouse = ClickHouseResource(database=settings.clickhouse_database)
    for name in ("fact_sales__dead", "keep"):
        warehouse.command(
            f"CREATE TABLE {clickhouse.staging_database}.{name} (x Int32) ENGINE = MergeTree ORDER BY x AS SELECT 1"
        )
    monkeypatch.setattr(housekeeping, "_STAGING_LIVES", timedelta(seconds=-60))
    resources = {"lake": lake, "clickhouse": clickhouse}
    tables = f"SELECT name FROM system.tables WHERE database = '{clickhouse.staging_database}' ORDER BY name"
    looked = clean(resources, dry_run=True)
    assert (looked["warehouse_staging.left_over_tables"], looked["warehouse_staging.left_over_rows"]) == (1, 1)
    assert str(warehouse.command(tables)).split() == ["fact_sales__dead", "keep"]
    assert clean(resources, dry_run=False)["warehouse_staging.dropped"] == 1
    assert str(warehouse.command(tables)).split() == ["keep"]


def test_old_runs_go_but_for_the_newest_of_each_asset(
    lake: LakeResource, warehouse: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = dg.DagsterInstance.ephemeral()
    resources = {"lake": lake, "clickhouse": ClickHouseResource(database=settings.clickhouse_database)}

    @dg.asset
    def made() -> None: ...

    runs = [dg.materialize([made], instance=instance).run_id for _ in range(3)]
    assert clean(resources, dry_run=False, instance=instance)["dagster_runs.old_runs"] == 0
    monkeypatch.setattr(housekeeping, "get_settings", lambda: get_settings().model_copy(update={"keep_runs_days": 1}))

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz or UTC) + timedelta(days=2)

    monkeypatch.setattr(housekeeping, "datetime", Later)
    assert clean(resources, dry_run=True, instance=instance)["dagster_runs.old_runs"] == 2
    assert instance.get_run_by_id(runs[0]) is not None
    clean(resources, dry_run=False, instance=instance)
    left = {run_id for run_id in runs if instance.get_run_by_id(run_id) is not None}
    assert left == {runs[-1]}
    assert instance.get_latest_materialization_event(dg.AssetKey("made")) is not None
