"""Cleansed facts by the store's own date.

Belongs here: grain and columns of `core/*`. Does not belong here: how they are made (`domain.sales`, `domain.ledger`).
"""

from typing import Final

from retail_assets.contracts.tables.table import BUSINESS_DATE, PRODUCT_ID, STORE_ID, Table
from retail_assets.contracts.types import BOOLEAN, FLOAT64, INT32, MONEY, QUANTITY, STRING, TIMESTAMP, Column

CORE_SALES_LINES: Final = Table(
    layer="core",
    name="sales_lines",
    grain=("transaction_id", "line_no"),
    columns=(
        Column("transaction_id", STRING, "Basket."),
        Column("line_no", INT32, "Line of the basket.", minimum=1),
        STORE_ID,
        Column("register_id", STRING, "Till."),
        PRODUCT_ID,
        Column("occurred_at", TIMESTAMP, "When the basket was closed."),
        Column("business_hour", INT32, "Hour in the store's own time zone.", unit="hour of day", minimum=0, maximum=23),
        Column("kind", STRING, "sale, return or void.", allowed=("sale", "return", "void")),
        Column("units", QUANTITY, "Net units: negative for returns and voids.", unit="units"),
        Column("unit_price", MONEY, "Price of one unit before discount.", unit="money", minimum=0),
        Column("discount", MONEY, "Discount on the line.", unit="money", minimum=0),
        Column("revenue", MONEY, "Net revenue: negative for returns and voids.", unit="money"),
        Column("promotion_id", STRING, "Promotion that gave the discount.", nullable=True),
        BUSINESS_DATE,
    ),
    description="Every line of every basket, once however often its message came, signed by kind.",
    partition_by="business_date",
)

CORE_DAILY_SALES: Final = Table(
    layer="core",
    name="daily_sales",
    grain=("store_id", "product_id", "business_date"),
    columns=(
        STORE_ID,
        PRODUCT_ID,
        Column("units", QUANTITY, "Net units.", unit="units"),
        Column("revenue", MONEY, "Net revenue.", unit="money"),
        Column(
            "unit_price", MONEY, "What a unit sold for; the price asked, where none was sold.", unit="money", minimum=0
        ),
        Column("discount_share", FLOAT64, "Share of the list price taken off by promotion.", minimum=0, maximum=1),
        Column("on_promotion", BOOLEAN, "Whether a promotion ran."),
        Column(
            "stockout_hours", FLOAT64, "Hours of trade with nothing on the shelf.", unit="hours", minimum=0, maximum=24
        ),
        Column("open_hours", FLOAT64, "Hours of trade.", unit="hours", minimum=0, maximum=24),
        BUSINESS_DATE,
    ),
    description=(
        "Sales of every product that a store carries, on every day, zeros included. What features are made of."
    ),
    partition_by="business_date",
)

CORE_INVENTORY_DAILY: Final = Table(
    layer="core",
    name="inventory_daily",
    grain=("store_id", "product_id", "business_date"),
    columns=(
        STORE_ID,
        PRODUCT_ID,
        Column("opening", QUANTITY, "Units on hand before the first movement.", unit="units"),
        Column("received", QUANTITY, "Units received.", unit="units", minimum=0),
        Column("sold", QUANTITY, "Units sold, net of returns.", unit="units"),
        Column("transferred", QUANTITY, "Units in from other stores, less units out.", unit="units"),
        Column("adjusted", QUANTITY, "Corrections and counts.", unit="units"),
        Column("spoiled", QUANTITY, "Units written off.", unit="units", minimum=0),
        Column("closing", QUANTITY, "Units on hand after the last movement.", unit="units"),
        Column("stockout_hours", FLOAT64, "Hours of trade with nothing on hand.", unit="hours", minimum=0, maximum=24),
        BUSINESS_DATE,
    ),
    description=(
        "The stock ledger by day: opening + received - sold + transferred + adjusted - spoiled = closing. "
        "One row per store and product that was ever stocked."
    ),
    partition_by="business_date",
)
