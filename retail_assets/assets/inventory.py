"""The inventory layer: when and how much to order.

Does not belong here: the formulas and the rules (`domain.inventory_policy`).
"""

import dagster as dg
import polars as pl
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import functions as F

from retail_assets.assets.common import lake_asset, per_store_pair, run_window
from retail_assets.contracts.tables import (
    CORE_INVENTORY_DAILY,
    FORECASTS_DEMAND_7D,
    INVENTORY_REORDER_POINTS,
    MODELS_DEMAND_FORECAST,
    REFERENCE_PRODUCTS,
    REFERENCE_PURCHASE_ORDERS,
    REFERENCE_SUPPLIERS,
)
from retail_assets.domain.forecasting import ErrorModel
from retail_assets.domain.inventory_policy import reorder_points as reorder_points_of
from retail_assets.io_managers.delta import days
from retail_assets.partitions import business_dates
from retail_assets.settings import get_settings


class PolicyConfig(dg.Config):
    """What the reorder points aim at.

    Attributes:
        service_level: probability that a product does not run out before the next delivery.
    """

    service_level: float = 0.95


@lake_asset(
    INVENTORY_REORDER_POINTS,
    kinds={"spark", "polars", "deltalake"},
    partitions_def=business_dates(get_settings()),
    backfill_policy=dg.BackfillPolicy.single_run(),
    ins={
        "forecasts": dg.AssetIn(key=dg.AssetKey(FORECASTS_DEMAND_7D.key)),
        "inventory": dg.AssetIn(key=dg.AssetKey(CORE_INVENTORY_DAILY.key)),
        "model": dg.AssetIn(key=dg.AssetKey(MODELS_DEMAND_FORECAST.key)),
        "products": dg.AssetIn(key=dg.AssetKey(REFERENCE_PRODUCTS.key)),
        "suppliers": dg.AssetIn(key=dg.AssetKey(REFERENCE_SUPPLIERS.key)),
        "orders": dg.AssetIn(key=dg.AssetKey(REFERENCE_PURCHASE_ORDERS.key)),
    },
)
def reorder_points(
    context: dg.AssetExecutionContext,
    config: PolicyConfig,
    forecasts: SparkFrame,
    inventory: SparkFrame,
    model: pl.DataFrame,
    products: pl.DataFrame,
    suppliers: pl.DataFrame,
    orders: pl.DataFrame,
) -> SparkFrame:
    """Decide, for every series that is forecast, from stock on hand, stock on order and demand to come."""
    run_dates = list(days(run_window(context)))
    errors = ErrorModel.from_json(model["error_model"].item())
    service_level = config.service_level
    stock = inventory.select("store_id", "product_id", "business_date", F.col("closing").alias("on_hand"))

    def decide(store_forecasts: pl.DataFrame, store_stock: pl.DataFrame) -> pl.DataFrame:
        return pl.concat(
            reorder_points_of(
                store_forecasts.filter(run_date=run_date),
                store_stock.filter(business_date=run_date).drop("business_date"),
                orders,
                products,
                suppliers,
                errors,
                run_date,
                service_level,
            )
            for run_date in run_dates
        )

    return per_store_pair(forecasts, stock, decide, INVENTORY_REORDER_POINTS)


def inventory_assets() -> list[dg.AssetsDefinition]:
    """Return the assets of the inventory layer."""
    return [reorder_points]
