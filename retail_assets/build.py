"""The one place where the graph is put together: assets, checks, jobs, schedules, sensors and resources."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from retail_assets.assets.core import core_assets
from retail_assets.assets.features import feature_assets
from retail_assets.assets.forecasts import forecast_assets
from retail_assets.assets.housekeeping import housekeeping_assets
from retail_assets.assets.inventory import inventory_assets
from retail_assets.assets.marts import mart_assets
from retail_assets.assets.models import model_assets
from retail_assets.assets.raw import raw_assets
from retail_assets.assets.serving import serving_specs
from retail_assets.assets.sources import source_specs
from retail_assets.checks.balance import balance_checks
from retail_assets.checks.contracts import contract_checks
from retail_assets.checks.losses import losses_checks
from retail_assets.checks.reconciliation import reconciliation_checks
from retail_assets.checks.statistical import statistical_checks
from retail_assets.checks.unknown import known_products_and_stores
from retail_assets.io_managers.clickhouse import ClickHouseIOManager
from retail_assets.io_managers.delta import SparkDeltaIOManager
from retail_assets.jobs import build_jobs
from retail_assets.resources.clickhouse import ClickHouseResource
from retail_assets.resources.kafka import KafkaResource
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource, spark_config
from retail_assets.schedules import build_schedules
from retail_assets.sensors.decision import BatchRule
from retail_assets.sensors.kafka import IngestRule, kafka_sensors
from retail_assets.sensors.late_events import late_events_sensor
from retail_assets.sensors.quality_results import quality_results_sensor
from retail_assets.sensors.real_time import real_time_sensor
from retail_assets.settings import Mode, Settings, get_settings


def build_resources(settings: Settings) -> dict[str, Any]:
    """Return the resources that the settings describe. Nothing is connected or started."""
    spark = SparkResource(spark_config=spark_config(settings))
    lake = LakeResource(root=settings.lake)
    clickhouse = ClickHouseResource(database=settings.database)
    return {
        "spark": spark,
        "lake": lake,
        "kafka": KafkaResource.of(settings),
        "clickhouse": clickhouse,
        "lake_io_manager": SparkDeltaIOManager(spark=spark, lake=lake),
        "warehouse_io_manager": ClickHouseIOManager(spark=spark, clickhouse=clickhouse),
    }


def build_defs(*, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Put the graph together.

    Args:
        resource_overrides: resources that replace the ones of the settings, by key; for tests.

    Raises:
        SettingsError: a setting is missing or wrong.
    """
    settings = get_settings()
    jobs = build_jobs()
    return dg.Definitions(
        assets=[
            *source_specs(),
            *raw_assets(),
            *core_assets(),
            *feature_assets(),
            *model_assets(),
            *forecast_assets(),
            *inventory_assets(),
            *mart_assets(),
            *serving_specs(),
            *housekeeping_assets(),
        ],
        asset_checks=[
            *contract_checks(),
            *balance_checks(),
            *losses_checks(),
            *reconciliation_checks(),
            known_products_and_stores,
            *statistical_checks(),
        ],
        jobs=jobs.all(),
        schedules=build_schedules(jobs, settings),
        sensors=[
            *kafka_sensors(
                jobs.ingest_events,
                IngestRule(
                    BatchRule(settings.kafka_batch_events, settings.kafka_batch_wait_s),
                    max_events=settings.kafka_max_events_per_run,
                    tick_s=settings.kafka_tick_s,
                ),
                live=settings.mode is not Mode.LOCAL,
            ),
            quality_results_sensor(),
            real_time_sensor(),
            late_events_sensor(jobs.daily_etl, own_zone=settings.time_zone, live=settings.mode is not Mode.LOCAL),
        ],
        resources={**build_resources(settings), **(resource_overrides or {})},
        executor=dg.in_process_executor,
    )
