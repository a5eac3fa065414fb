"""The graph as a whole: what is in it, how it is explained, and which jobs run what."""

import dagster as dg
import pytest

from retail_assets.assets.sources import source_specs
from retail_assets.build import build_defs
from retail_assets.checks.reconciliation import reconciliation_checks
from retail_assets.contracts.tables import RAW_TABLES


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    return build_defs()


def test_the_graph_loads_and_every_input_has_a_source(defs: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(defs)


def test_every_asset_has_a_group_kinds_an_owner_and_a_description(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        assert spec.group_name not in {None, "default"}, spec.key
        assert spec.kinds, spec.key
        assert spec.owners, spec.key
        assert len(spec.description or "") > 20, spec.key


def test_every_layer_is_in_the_graph(defs: dg.Definitions) -> None:
    layers = {spec.key.path[0] for spec in defs.resolve_all_asset_specs()}
    made = {"raw", "core", "features", "models", "forecasts", "inventory", "marts", "housekeeping"}
    assert layers == {"kafka", "reference", "real_time", "monitoring", "views"} | made


def test_every_table_of_the_lake_that_is_written_has_a_blocking_contract_check(defs: dg.Definitions) -> None:
    checked = {
        key.asset_key
        for checks in defs.asset_checks or []
        for key in checks.check_keys
        if key.name == "contract" and next(iter(checks.check_specs)).blocking
    }
    given = {spec.key for spec in source_specs()}
    written = {
        spec.key
        for spec in defs.resolve_all_asset_specs()
        if spec.key.path[0] in {"raw", "core", "features", "forecasts", "inventory"} and spec.key not in given
    }
    assert checked == written


def test_the_jobs_have_their_names_and_schedules(defs: dg.Definitions) -> None:
    repository = defs.get_repository_def()
    schedules = {schedule.job_name: schedule.cron_schedule for schedule in repository.schedule_defs}
    assert schedules == {
        "daily_etl": "0 8 * * *",
        "feature_engineering": "0 9 * * *",
        "batch_predictions": "0 10 * * *",
        "model_training": "0 2 * * 0",
        "housekeeping": "0 1 * * *",
    }
    assert {schedule.execution_timezone for schedule in repository.schedule_defs} == {"Europe/Berlin"}


def test_every_event_topic_has_a_sensor(defs: dg.Definitions) -> None:
    sensors = {sensor.name for sensor in defs.get_repository_def().sensor_defs}
    assert {f"{table.name}_sensor" for table in RAW_TABLES} <= sensors


def test_every_raw_table_tells_of_lost_events_without_holding_up_those_that_are_there(defs: dg.Definitions) -> None:
    blocking = {
        spec.asset_key: spec.blocking
        for checks in defs.asset_checks or []
        for spec in checks.check_specs
        if spec.name == "no_events_lost"
    }
    assert blocking == {dg.AssetKey(table.key): False for table in RAW_TABLES}


def test_the_daily_job_compares_its_facts_with_the_streaming_service_and_is_not_held_up_by_it(
    defs: dg.Definitions,
) -> None:
    (check,) = reconciliation_checks()
    assert [spec.blocking for spec in check.check_specs] == [False]
    steps = {node.name for node in defs.resolve_job_def("daily_etl").nodes}
    assert {"marts__fact_sales", check.node_def.name} <= steps


def test_runs_are_one_process_so_that_one_run_is_one_spark_application(defs: dg.Definitions) -> None:
    for job in defs.get_repository_def().get_all_jobs():
        assert job.executor_def.name == "in_process", job.name
