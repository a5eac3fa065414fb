"""The tables of the lake: grain, columns, units and physical partitions of each.

The single source for Spark schemas, contract checks, asset metadata and documents. The warehouse's tables are stated
by the DDL in `infra/clickhouse/ddl`. Belongs here: which tables there are, one module per layer. Does not belong here:
how a table is computed.
"""

from typing import Final

from retail_assets.contracts.tables.core import (
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    CORE_LIST_PRICES,
    CORE_QUARANTINE,
    CORE_SALES_LINES,
)
from retail_assets.contracts.tables.predictions import (
    FEATURES_DEMAND,
    FORECAST_HORIZON_DAYS,
    FORECASTS_DEMAND_7D,
    INVENTORY_REORDER_POINTS,
    MODELS_DEMAND_FORECAST,
    QUANTILES,
)
from retail_assets.contracts.tables.raw import (
    BULK_PARTITION,
    ENVELOPE,
    RAW_DEAD_LETTERS,
    RAW_IMPORTED_SALES,
    RAW_INVENTORY_UPDATES,
    RAW_POS_EVENTS,
    RAW_SALES_TRANSACTIONS,
    raw_table,
)
from retail_assets.contracts.tables.reference import (
    REFERENCE_ASSORTMENT,
    REFERENCE_CALENDAR,
    REFERENCE_EVENTS,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_PURCHASE_ORDERS,
    REFERENCE_STORES,
    REFERENCE_SUPPLIERS,
    REFERENCE_WEATHER,
)
from retail_assets.contracts.tables.table import Table

__all__ = [
    "BULK_PARTITION",
    "CORE_DAILY_SALES",
    "CORE_INVENTORY_DAILY",
    "CORE_LIST_PRICES",
    "CORE_QUARANTINE",
    "CORE_SALES_LINES",
    "ENVELOPE",
    "FEATURES_DEMAND",
    "FORECASTS_DEMAND_7D",
    "FORECAST_HORIZON_DAYS",
    "IMPORTED_TABLES",
    "INVENTORY_REORDER_POINTS",
    "MODELS_DEMAND_FORECAST",
    "QUANTILES",
    "RAW_DEAD_LETTERS",
    "RAW_IMPORTED_SALES",
    "RAW_INVENTORY_UPDATES",
    "RAW_POS_EVENTS",
    "RAW_SALES_TRANSACTIONS",
    "RAW_TABLES",
    "REFERENCE_ASSORTMENT",
    "REFERENCE_CALENDAR",
    "REFERENCE_EVENTS",
    "REFERENCE_PRODUCTS",
    "REFERENCE_PROMOTIONS",
    "REFERENCE_PURCHASE_ORDERS",
    "REFERENCE_STORES",
    "REFERENCE_SUPPLIERS",
    "REFERENCE_TABLES",
    "REFERENCE_WEATHER",
    "TABLES",
    "Table",
    "raw_table",
]

REFERENCE_TABLES: Final = (
    REFERENCE_STORES,
    REFERENCE_SUPPLIERS,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_CALENDAR,
    REFERENCE_WEATHER,
    REFERENCE_PURCHASE_ORDERS,
)
#: What only an import of a retailer's own history writes.
IMPORTED_TABLES: Final = (RAW_IMPORTED_SALES, REFERENCE_ASSORTMENT, REFERENCE_EVENTS)
RAW_TABLES: Final = (RAW_SALES_TRANSACTIONS, RAW_INVENTORY_UPDATES, RAW_POS_EVENTS)
TABLES: Final = (
    *REFERENCE_TABLES,
    *RAW_TABLES,
    RAW_DEAD_LETTERS,
    *IMPORTED_TABLES,
    CORE_SALES_LINES,
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    CORE_QUARANTINE,
    CORE_LIST_PRICES,
    FEATURES_DEMAND,
    MODELS_DEMAND_FORECAST,
    FORECASTS_DEMAND_7D,
    INVENTORY_REORDER_POINTS,
)
