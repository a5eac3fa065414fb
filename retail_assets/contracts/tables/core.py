"""Cleansed facts by the store's own date, what is kept out of them, and prices by day.

Belongs here: grain and columns of `core/*`. Does not belong here: how they are made (`domain.sales`, `domain.ledger`,
`domain.trust`, `domain.prices`).
"""

from typing import Final

from retail_assets.contracts.tables.table import BUSINESS_DATE, PRODUCT_ID, STORE_ID, Table
from retail_assets.contracts.types import (
    BOOLEAN,
    DATE,
    FLOAT64,
    INT32,
    INT64,
    MONEY,
    QUANTITY,
    STRING,
    TIMESTAMP,
    Column,
)

#: Why an event that its contract accepts is kept out of the facts; of several reasons the first counts.
FUTURE_DATE: Final = "future_date"
DATE_BEFORE_HISTORY: Final = "date_before_history"
CONFLICTING_DUPLICATE: Final = "conflicting_duplicate"
FOREIGN_CURRENCY: Final = "foreign_currency"
STORE_NOT_OPEN_YET: Final = "store_not_open_yet"
IMPLAUSIBLE_QUANTITY: Final = "implausible_quantity"
IMPLAUSIBLE_DISCOUNT: Final = "implausible_discount"
IMPLAUSIBLE_PRICE: Final = "implausible_price"
QUARANTINE_REASONS: Final = (
    FUTURE_DATE,
    DATE_BEFORE_HISTORY,
    CONFLICTING_DUPLICATE,
    FOREIGN_CURRENCY,
    STORE_NOT_OPEN_YET,
    IMPLAUSIBLE_QUANTITY,
    IMPLAUSIBLE_DISCOUNT,
    IMPLAUSIBLE_PRICE,
)

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
        Column("list_price", MONEY, "List price of the day; null where none is known.", unit="money", nullable=True),
        Column(
            "promotion_id",
            STRING,
            "Promotion of the product in the store on the business date, by the reference data; null where none ran.",
            nullable=True,
        ),
        Column("till_promotion_id", STRING, "Promotion as the till named it, right or wrong.", nullable=True),
        BUSINESS_DATE,
    ),
    description=(
        "Every line of every basket that can be trusted, once however often its message came, signed by kind."
    ),
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
        Column("list_price", MONEY, "List price of the day; null where none is known.", unit="money", nullable=True),
        Column("discount_share", FLOAT64, "Share of the list price taken off by promotion.", minimum=0, maximum=1),
        Column("on_promotion", BOOLEAN, "Whether a promotion ran."),
        Column("promotion_id", STRING, "The deepest promotion that ran; null where none did.", nullable=True),
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

CORE_QUARANTINE: Final = Table(
    layer="core",
    name="quarantine",
    grain=("kafka_topic", "kafka_partition", "kafka_offset", "line_no"),
    columns=(
        Column("kafka_topic", STRING, "Topic that the event came from."),
        Column("kafka_partition", INT32, "Partition, as in the raw table."),
        Column("kafka_offset", INT64, "Offset, as in the raw table.", minimum=0),
        Column("event_id", STRING, "transaction_id of a basket, event_id of a stock movement."),
        Column("line_no", INT32, "Line of the basket; 0 for a stock movement.", minimum=0),
        STORE_ID,
        PRODUCT_ID,
        Column("occurred_at", TIMESTAMP, "When it happened, by the till's clock."),
        Column("kind", STRING, "sale, return or void of a basket; movement of stock."),
        Column("units", QUANTITY, "What it would have counted: negative for returns, voids and stock taken.", "units"),
        Column("unit_price", MONEY, "Price of one unit; null for a stock movement.", unit="money", nullable=True),
        Column("discount", MONEY, "Discount on the line; null for a stock movement.", unit="money", nullable=True),
        Column("revenue", MONEY, "What it would have counted; null for a stock movement.", "money", nullable=True),
        Column("reason", STRING, "Why it can't be trusted.", allowed=QUARANTINE_REASONS),
        Column("explanation", STRING, "The reason in words, with the numbers."),
        Column(
            "business_date",
            DATE,
            "Date in the store's own time zone; that of its arrival, where the event's own lies in the future or "
            "before the history.",
        ),
    ),
    description=(
        "Lines of baskets and stock movements that the contracts accept and that are kept out of the facts all the "
        "same, with the reason. One row per line or movement; raw = core + repeats + quarantine."
    ),
    partition_by="business_date",
)

CORE_LIST_PRICES: Final = Table(
    layer="core",
    name="list_prices",
    grain=("product_id", "valid_from"),
    columns=(
        PRODUCT_ID,
        Column("valid_from", DATE, "First day of the price; the first price of a product holds for all days before."),
        Column("list_price", MONEY, "Price of one unit without promotion.", unit="money", minimum=0),
    ),
    description=(
        "List prices with the day since when they hold, kept from what the master data said day by day. One row per "
        "product and change."
    ),
)
