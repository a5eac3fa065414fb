"""Dagster's event log in batches: it holds what Dagster's own holds, and no partition is stored by itself."""

from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from retail_assets.settings import load_settings
from retail_local.event_log import BatchedEventLog
from retail_local.services import find_service

DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-02-10")
KEYS = DAYS.get_partition_keys()


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def lines(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"dagster/row_count": len(context.partition_keys)}, tags={"kind": "line"})


@pytest.fixture
def batched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    """The instance of `retail up`, by the file that it writes."""
    settings = load_settings().model_copy(update={"var_dir": tmp_path / "a folder: with 'signs'"})
    find_service("dagster").prepare(settings)
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "16")
    return dg.DagsterInstance.from_config(str(settings.dagster_home))


def test_a_range_of_partitions_is_stored_as_dagster_stores_it(
    batched: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one: list[str] = []
    store = SqliteEventLogStorage.store_event

    def spied(self: SqliteEventLogStorage, event: dg.EventLogEntry) -> None:
        if isinstance(self, BatchedEventLog):
            one_by_one.append(str(event.dagster_event_type))
        store(self, event)

    monkeypatch.setattr(SqliteEventLogStorage, "store_event", spied)
    tags = {"dagster/asset_partition_range_start": KEYS[0], "dagster/asset_partition_range_end": KEYS[-1]}
    found = []
    for instance in (batched, dg.DagsterInstance.local_temp(str(tmp_path))):
        with instance:
            run = dg.materialize([lines], instance=instance, tags=tags)
            logs = instance.all_logs(run.run_id)
            records = instance.fetch_materializations(lines.key, limit=1_000).records
            found.append(
                (
                    Counter(str(entry.dagster_event_type) for entry in logs),
                    instance.get_materialized_partitions(lines.key),
                    [record.partition_key for record in records],
                    [record.asset_materialization.tags["kind"] for record in records if record.asset_materialization],
                    instance.event_log_storage.get_latest_storage_id_by_partition(
                        lines.key, dg.DagsterEventType.ASSET_MATERIALIZATION
                    ).keys(),
                )
            )
    assert isinstance(batched.event_log_storage, BatchedEventLog)
    assert found[0] == found[1]
    assert found[0][1] == set(KEYS)
    assert "DagsterEventType.ASSET_MATERIALIZATION" not in one_by_one
