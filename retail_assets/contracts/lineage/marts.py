"""Marts: carried over from the lake, with keys for ids. The columns are the DDL's (`infra/clickhouse/ddl`)."""

from typing import Final

from retail_assets.contracts.origins import Lineage, Origin, of
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    CORE_SALES_LINES,
    FEATURES_DEMAND,
    FORECASTS_DEMAND_7D,
    INVENTORY_REORDER_POINTS,
    REFERENCE_CALENDAR,
    REFERENCE_PRODUCTS,
    REFERENCE_STORES,
    REFERENCE_SUPPLIERS,
    Table,
)

_LINES: Final = CORE_SALES_LINES.path
_DAILY: Final = CORE_DAILY_SALES.path
_PRODUCTS: Final = REFERENCE_PRODUCTS.path


def _carried(table: Table, *columns: str) -> Lineage:
    """Return columns that bear the same name in a table of the lake."""
    return {name: of(table.path, name) for name in columns}


def _key(thing: str, *tables: str) -> tuple[Origin, ...]:
    """Return what a fact's key comes from: the id in the tables of the lake, and the dimension that numbers it."""
    ids = tuple(origin for table in tables for origin in of(table, f"{thing}_id"))
    return ids + of(f"marts/dim_{thing}", f"{thing}_key")


def _fact(table: Table, *things: str) -> Lineage:
    """Return a fact that is a table of the lake, with a key for the id of each thing."""
    ids = {f"{thing}_id" for thing in things}
    return {
        **_carried(table, *(name for name in table.column_names if name not in ids)),
        **{f"{thing}_key": _key(thing, table.path) for thing in things},
    }


_FROM_DATE: Final = ("year", "quarter", "month", "week", "weekday", "is_weekend")

MARTS: Final[dict[str, Lineage]] = {
    "marts/dim_date": {
        **_carried(REFERENCE_CALENDAR, "date", "is_holiday", "holiday_name"),
        **dict.fromkeys(_FROM_DATE, of(REFERENCE_CALENDAR.path, "date")),
    },
    "marts/dim_store": {
        "store_key": of(REFERENCE_STORES.path, "store_id"),
        **_carried(REFERENCE_STORES, "store_id", "name", "region", "city", "format", "time_zone", "opened_on"),
    },
    "marts/dim_supplier": {
        "supplier_key": of(REFERENCE_SUPPLIERS.path, "supplier_id"),
        **_carried(
            REFERENCE_SUPPLIERS, "supplier_id", "name", "lead_time_days_mean", "lead_time_days_sd", "review_period_days"
        ),
    },
    "marts/dim_product": {
        "product_key": of(_PRODUCTS, "product_id"),
        "supplier_key": _key("supplier", _PRODUCTS),
        **_carried(REFERENCE_PRODUCTS, "product_id", "name", "department", "category", "subcategory", "brand"),
        **_carried(REFERENCE_PRODUCTS, "unit_cost", "list_price", "pack_size", "shelf_life_days"),
    },
    # Lines of the tills, and days that an import tells of.
    "marts/fact_sales": {
        "business_date": of(_LINES, "business_date") + of(_DAILY, "business_date"),
        "business_hour": of(_LINES, "business_hour"),
        "store_key": _key("store", _LINES, _DAILY),
        "product_key": _key("product", _LINES, _DAILY),
        "units": of(_LINES, "units") + of(_DAILY, "units"),
        "revenue": of(_LINES, "revenue") + of(_DAILY, "revenue"),
        "discount": of(_LINES, "discount", "kind"),
        "transactions": of(_LINES, "transaction_id"),
    },
    "marts/fact_inventory": _fact(CORE_INVENTORY_DAILY, "store", "product"),
    "marts/fact_forecast": _fact(FORECASTS_DEMAND_7D, "store", "product"),
    "marts/fact_reorder": _fact(INVENTORY_REORDER_POINTS, "store", "product", "supplier"),
    "marts/feature_demand": _fact(FEATURES_DEMAND),
}
