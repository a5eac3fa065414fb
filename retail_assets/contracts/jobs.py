"""The jobs of a day, in their order, by the names that they have everywhere: Dagster, Airflow, commands.

Does not belong here: what they select (`jobs`), and when they run (`schedules`).
"""

from typing import Final

DAILY_ETL: Final = "daily_etl"
FEATURE_ENGINEERING: Final = "feature_engineering"
MODEL_TRAINING: Final = "model_training"
BATCH_PREDICTIONS: Final = "batch_predictions"
JOBS: Final = (DAILY_ETL, FEATURE_ENGINEERING, MODEL_TRAINING, BATCH_PREDICTIONS)
#: What a person is told that a job does.
DOING: Final = {
    DAILY_ETL: "Kafka and imports to raw, raw to core, core to the warehouse",
    FEATURE_ENGINEERING: "what a forecast may know of each day",
    MODEL_TRAINING: "train the demand model, judge it on rolling origins",
    BATCH_PREDICTIONS: "forecasts, reorder points, and both to the warehouse",
}
