"""Which assets run together. The same four daily and weekly jobs exist as Airflow DAGs of the same names."""

from dataclasses import dataclass
from typing import Any, Final

import dagster as dg

from retail_assets.contracts.jobs import BATCH_PREDICTIONS, DAILY_ETL, FEATURE_ENGINEERING, MODEL_TRAINING
from retail_assets.contracts.tables import RAW_DEAD_LETTERS
from retail_assets.contracts.topics import EVENT_TOPICS

INGEST_JOB: Final = "ingest_events"

Job = Any  # dagster does not export the class that define_asset_job returns


@dataclass(frozen=True)
class Jobs:
    """The jobs of the platform, in the order of a day."""

    ingest_events: Job
    daily_etl: Job
    feature_engineering: Job
    model_training: Job
    batch_predictions: Job

    def all(self) -> list[Job]:
        """Return them as a list."""
        return [
            self.ingest_events,
            self.daily_etl,
            self.feature_engineering,
            self.model_training,
            self.batch_predictions,
        ]


def build_jobs() -> Jobs:
    """Return the jobs. Their partitions follow from their assets; one run is one process and one Spark application."""
    raw = dg.AssetSelection.assets(*(["raw", topic.table] for topic in EVENT_TOPICS), list(RAW_DEAD_LETTERS.key))
    etl_marts = dg.AssetSelection.assets(
        *(
            ["marts", name]
            for name in ("dim_date", "dim_store", "dim_supplier", "dim_product", "fact_sales", "fact_inventory")
        )
    )
    prediction_marts = dg.AssetSelection.assets(["marts", "fact_forecast"], ["marts", "fact_reorder"])

    def job(name: str, selection: dg.AssetSelection, description: str) -> Job:
        return dg.define_asset_job(
            name, selection=selection, description=description, executor_def=dg.in_process_executor
        )

    return Jobs(
        ingest_events=job(INGEST_JOB, raw, "Append what waits in Kafka to the raw layer."),
        daily_etl=job(
            DAILY_ETL,
            raw | dg.AssetSelection.groups("core") | etl_marts,
            "Read what waits in Kafka, cleanse the day, and load it into the warehouse.",
        ),
        feature_engineering=job(
            FEATURE_ENGINEERING, dg.AssetSelection.groups("features"), "Compute what a forecast may know of the day."
        ),
        model_training=job(
            MODEL_TRAINING,
            dg.AssetSelection.groups("models"),
            "Train the demand model and judge it on rolling origins.",
        ),
        batch_predictions=job(
            BATCH_PREDICTIONS,
            dg.AssetSelection.groups("forecasts", "inventory") | prediction_marts,
            "Forecast seven days, decide what to order, and load both into the warehouse.",
        ),
    )
