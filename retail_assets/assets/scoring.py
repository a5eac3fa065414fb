"""How models are fed and asked, on Spark: shared by training and forecasting, so that both see the same inputs."""

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from retail_assets.contracts.tables import CORE_DAILY_SALES, FEATURES_DEMAND
from retail_assets.domain.forecasting import FORECAST_INPUTS, supervised_frame
from retail_assets.domain.frames import to_arrow
from retail_assets.io_managers.delta import read_table
from retail_assets.resources.lake import LakeResource

_KEYS = "store_id string, product_id string, run_date date, target_date date, horizon int"
_SUPERVISED = f"{_KEYS}, {', '.join(f'{name} double' for name in FORECAST_INPUTS)}, actual double, actual_units double"


def supervised_rows(
    session: SparkSession,
    lake: LakeResource,
    origins: list[date],
    horizons: list[int],
    *,
    calendar: pl.DataFrame,
    promotions: pl.DataFrame,
    products: pl.DataFrame,
    stores: pl.DataFrame,
) -> SparkFrame:
    """Return one row per series, origin and horizon: the inputs known at the origin, and the actual where it is known.

    Only the features of the origins and the sales of the target dates are read.
    """
    features = read_table(session, lake, FEATURES_DEMAND).where(F.col("business_date").isin(origins))
    targets = sorted({origin + timedelta(days=horizon) for origin in origins for horizon in horizons})
    sales = read_table(session, lake, CORE_DAILY_SALES).where(F.col("business_date").isin(targets))
    arrow = pa.schema(
        [
            pa.field(name, {"string": pa.string(), "date": pa.date32(), "int": pa.int32()}.get(kind, pa.float64()))
            for name, kind in (field.split() for field in _SUPERVISED.split(", "))
        ]
    )

    def of_store(feature_rows: pa.Table, sales_rows: pa.Table) -> pa.Table:
        rows = supervised_frame(
            pl.DataFrame(feature_rows),
            pl.DataFrame(sales_rows),
            calendar=calendar,
            promotions=promotions,
            products=products,
            stores=stores,
            origins=origins,
            horizons=horizons,
        )
        return to_arrow(rows, arrow)

    return features.groupBy("store_id").cogroup(sales.groupBy("store_id")).applyInArrow(of_store, _SUPERVISED)


def predict_mean(rows: SparkFrame, booster: bytes) -> SparkFrame:
    """Return the rows with a column `mean`: expected demand, never negative; computed in Spark's tasks."""

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from xgboost import Booster

        model = Booster(model_file=bytearray(booster))
        for batch in batches:
            inputs = np.column_stack([batch.column(name).to_numpy(zero_copy_only=False) for name in FORECAST_INPUTS])
            mean = model.inplace_predict(inputs) if batch.num_rows else np.empty(0)
            yield batch.append_column("mean", pa.array(np.maximum(mean, 0.0), type=pa.float64()))

    return rows.mapInArrow(score, T.StructType([*rows.schema.fields, T.StructField("mean", T.DoubleType())]))
