"""What features, models, forecasts and reorder points hold.

Belongs here: grain and columns of what is computed for decisions. Does not belong here: a feature's meaning
(`contracts.features`).
"""

from typing import Final

from retail_assets.contracts.features import DEMAND_FEATURES
from retail_assets.contracts.tables.table import BUSINESS_DATE, PRODUCT_ID, STORE_ID, Table
from retail_assets.contracts.types import BINARY, DATE, FLOAT64, INT32, INT64, STRING, Column

#: The quantiles of every forecast, and the columns that hold them.
QUANTILES: Final[dict[str, float]] = {
    "q025": 0.025,
    "q05": 0.05,
    "q10": 0.1,
    "q25": 0.25,
    "q50": 0.5,
    "q75": 0.75,
    "q90": 0.9,
    "q95": 0.95,
    "q975": 0.975,
}

FORECAST_HORIZON_DAYS: Final = 7

FEATURES_DEMAND: Final = Table(
    layer="features",
    name="demand_features",
    grain=("store_id", "product_id", "business_date"),
    columns=(STORE_ID, PRODUCT_ID, *(feature.column for feature in DEMAND_FEATURES), BUSINESS_DATE),
    description=(
        "What is known of a series at the end of a day, and nothing later. One row per store, product and day; "
        "the forecast's input."
    ),
    partition_by="business_date",
)

MODELS_DEMAND_FORECAST: Final = Table(
    layer="models",
    name="demand_forecast",
    grain=("model_version",),
    columns=(
        Column("model_version", STRING, "Date of the last day learned from, and a hash of the trees."),
        Column("trained_through", DATE, "Last day learned from."),
        Column("training_rows", INT64, "Rows learned from: series, origins and horizons.", minimum=0),
        Column("backtest_origins", INT32, "Rolling origins that it was judged on.", minimum=0),
        Column("wape", FLOAT64, "WAPE on those origins, store x product x day.", nullable=True, minimum=0),
        Column(
            "wape_seasonal_naive",
            FLOAT64,
            "WAPE of the seasonal naive forecast on the same rows.",
            nullable=True,
            minimum=0,
        ),
        Column("bias", FLOAT64, "Sum of errors over sum of actuals on those origins.", nullable=True),
        Column("inputs", STRING, "Names of the inputs, in order, as JSON."),
        Column("error_model", STRING, "How far actuals stray from the mean, as JSON."),
        Column("booster", BINARY, "The trees, in XGBoost's own format; empty where there was too little to learn."),
    ),
    description="The demand model in force: one row. Earlier versions are earlier versions of the Delta table.",
)

FORECASTS_DEMAND_7D: Final = Table(
    layer="forecasts",
    name="demand_7d",
    grain=("run_date", "store_id", "product_id", "horizon"),
    columns=(
        STORE_ID,
        PRODUCT_ID,
        Column("target_date", DATE, "Day that is forecast."),
        Column("horizon", INT32, "Days ahead of the run date.", unit="days", minimum=1),
        Column("mean", FLOAT64, "Expected demand.", unit="units", minimum=0),
        *(
            Column(name, FLOAT64, f"Demand stays below this with probability {level}.", unit="units", minimum=0)
            for name, level in QUANTILES.items()
        ),
        Column("method", STRING, "Which model, or which fallback, made the row."),
        Column("model_version", STRING, "Version of the model."),
        Column("run_date", DATE, "Last day whose sales were known."),
    ),
    description="Demand of the next seven days, mean and quantiles. Series times seven rows per run date.",
    partition_by="run_date",
)

INVENTORY_REORDER_POINTS: Final = Table(
    layer="inventory",
    name="reorder_points",
    grain=("run_date", "store_id", "product_id"),
    columns=(
        STORE_ID,
        PRODUCT_ID,
        Column("supplier_id", STRING, "Who would deliver."),
        Column("on_hand", FLOAT64, "Units on hand at the end of the run date.", unit="units"),
        Column("on_order", FLOAT64, "Units ordered and not yet received.", unit="units", minimum=0),
        Column("lead_time_days", FLOAT64, "Mean time from order to delivery.", unit="days", minimum=0),
        Column("review_period_days", FLOAT64, "Days between two chances to order.", unit="days", minimum=0),
        Column("service_level", FLOAT64, "Probability of no stock-out that is aimed at.", minimum=0, maximum=1),
        Column("expected_demand", FLOAT64, "Demand over lead time and review period.", unit="units", minimum=0),
        Column("safety_stock", FLOAT64, "Reorder point less expected demand.", unit="units"),
        Column("reorder_point", FLOAT64, "Order when on hand and on order fall to this.", unit="units", minimum=0),
        Column("order_up_to", FLOAT64, "Order up to this level.", unit="units", minimum=0),
        Column("order_quantity", FLOAT64, "Proposed order, in whole packs.", unit="units", minimum=0),
        Column("days_of_cover", FLOAT64, "On hand over mean daily demand.", unit="days", minimum=0),
        Column(
            "stockout_risk",
            FLOAT64,
            "Probability that stock runs out before a delivery ordered now.",
            minimum=0,
            maximum=1,
        ),
        Column("reason", STRING, "The proposal in words."),
        Column("run_date", DATE, "Last day whose sales and stock were known."),
    ),
    description="When and how much to order. One row per store and product that is forecast.",
    partition_by="run_date",
)
