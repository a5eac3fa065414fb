"""Core: from messages, imported days and master data."""

from typing import Final

from retail_assets.contracts.origins import Lineage, of
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    CORE_LIST_PRICES,
    CORE_QUARANTINE,
    CORE_SALES_LINES,
    RAW_IMPORTED_SALES,
    RAW_INVENTORY_UPDATES,
    RAW_SALES_TRANSACTIONS,
    REFERENCE_ASSORTMENT,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_STORES,
)

_BASKETS: Final = RAW_SALES_TRANSACTIONS.path
_MOVES: Final = RAW_INVENTORY_UPDATES.path
_IMPORTED: Final = RAW_IMPORTED_SALES.path
_STORES: Final = REFERENCE_STORES.path
_PRODUCTS: Final = REFERENCE_PRODUCTS.path
_PROMOTIONS: Final = REFERENCE_PROMOTIONS.path
_ASSORTMENT: Final = REFERENCE_ASSORTMENT.path
_LINES: Final = CORE_SALES_LINES.path
_LEDGER: Final = CORE_INVENTORY_DAILY.path
_LIST_PRICES: Final = CORE_LIST_PRICES.path

_LOCAL_TIME_OF_BASKET: Final = of(_BASKETS, "occurred_at") + of(_STORES, "time_zone")
_TRADING_HOURS: Final = of(_STORES, "opens_at_hour", "closes_at_hour", "time_zone")

_RUNNING: Final = of(_PROMOTIONS, "starts_on", "ends_on")
_CUT: Final = of(_PROMOTIONS, "discount_share") + _RUNNING
_LIST_PRICE: Final = of(_LIST_PRICES, "list_price", "valid_from")
_PROMOTION: Final = of(_PROMOTIONS, "promotion_id", "store_id", "product_id") + _CUT

_SALES_LINES: Final[Lineage] = {
    "transaction_id": of(_BASKETS, "transaction_id"),
    "line_no": of(_BASKETS, "lines"),
    "store_id": of(_BASKETS, "store_id"),
    "register_id": of(_BASKETS, "register_id"),
    "product_id": of(_BASKETS, "lines"),
    "occurred_at": of(_BASKETS, "occurred_at"),
    "business_hour": _LOCAL_TIME_OF_BASKET,
    "kind": of(_BASKETS, "kind"),
    "units": of(_BASKETS, "lines", "kind"),
    "unit_price": of(_BASKETS, "lines"),
    "discount": of(_BASKETS, "lines"),
    "revenue": of(_BASKETS, "lines", "kind"),
    "list_price": _LIST_PRICE,
    "promotion_id": _PROMOTION + of(_BASKETS, "lines"),
    "till_promotion_id": of(_BASKETS, "lines"),
    "business_date": _LOCAL_TIME_OF_BASKET,
}

_BOOKED: Final = of(_MOVES, "movement", "quantity_delta")
#: An import tells stock and sales; what else moved follows from the two.
_TOLD: Final = of(_IMPORTED, "on_hand", "units")
_ON_HAND: Final = of(_MOVES, "quantity_delta") + _TOLD

_INVENTORY_DAILY: Final[Lineage] = {
    "store_id": of(_MOVES, "store_id") + of(_IMPORTED, "store_id"),
    "product_id": of(_MOVES, "product_id") + of(_IMPORTED, "product_id"),
    "opening": _ON_HAND,
    "received": _BOOKED + _TOLD,
    "sold": _BOOKED + of(_IMPORTED, "units"),
    "transferred": _BOOKED,
    "adjusted": _BOOKED + _TOLD,
    "spoiled": _BOOKED,
    "closing": _ON_HAND,
    "stockout_hours": of(_MOVES, "quantity_delta", "occurred_at") + _TRADING_HOURS + of(_IMPORTED, "stockout_hours"),
    "business_date": of(_MOVES, "occurred_at") + of(_STORES, "time_zone") + of(_IMPORTED, "business_date"),
}

_DAILY_SALES: Final[Lineage] = {
    **{
        name: of(_LINES, name) + of(_LEDGER, name) + of(_IMPORTED, name) + of(_ASSORTMENT, name)
        for name in ("store_id", "product_id")
    },
    "units": of(_LINES, "units") + of(_IMPORTED, "units"),
    "revenue": of(_LINES, "revenue") + of(_IMPORTED, "revenue", "units", "unit_price"),
    "unit_price": of(_LINES, "revenue", "units") + of(_IMPORTED, "unit_price", "revenue", "units") + _LIST_PRICE + _CUT,
    "list_price": _LIST_PRICE,
    "discount_share": _CUT + of(_IMPORTED, "on_promotion"),
    "on_promotion": _RUNNING + of(_IMPORTED, "on_promotion"),
    "promotion_id": _PROMOTION,
    "stockout_hours": of(_LEDGER, "stockout_hours") + of(_IMPORTED, "stockout_hours"),
    "open_hours": _TRADING_HOURS,
    "business_date": of(_LINES, "business_date")
    + of(_LEDGER, "business_date")
    + of(_IMPORTED, "business_date")
    + of(_PRODUCTS, "discontinued_on"),
}

_BOTH_ENVELOPES: Final = {
    name: of(_BASKETS, name) + of(_MOVES, name) for name in ("kafka_topic", "kafka_partition", "kafka_offset")
}

_QUARANTINE: Final[Lineage] = {
    **_BOTH_ENVELOPES,
    "event_id": of(_BASKETS, "transaction_id") + of(_MOVES, "event_id"),
    "line_no": of(_BASKETS, "lines"),
    "store_id": of(_BASKETS, "store_id") + of(_MOVES, "store_id"),
    "product_id": of(_BASKETS, "lines") + of(_MOVES, "product_id"),
    "occurred_at": of(_BASKETS, "occurred_at") + of(_MOVES, "occurred_at"),
    "kind": of(_BASKETS, "kind") + of(_MOVES, "movement"),
    "units": of(_BASKETS, "lines", "kind") + of(_MOVES, "quantity_delta"),
    **dict.fromkeys(("unit_price", "discount"), of(_BASKETS, "lines")),
    "revenue": of(_BASKETS, "lines", "kind"),
    **dict.fromkeys(
        ("reason", "explanation"),
        of(_BASKETS, "lines", "occurred_at", "ingested_at")
        + of(_MOVES, "quantity_delta", "occurred_at", "ingested_at")
        + of(_STORES, "opened_on")
        + _LIST_PRICE,
    ),
    # The days of the facts say which messages were read for them.
    "business_date": of(_LINES, "business_date")
    + of(_LEDGER, "business_date")
    + of(_BASKETS, "occurred_at", "ingested_at")
    + of(_MOVES, "occurred_at", "ingested_at")
    + of(_STORES, "time_zone"),
}

_LIST_PRICES_KEPT: Final[Lineage] = {
    "product_id": of(_PRODUCTS, "product_id"),
    **dict.fromkeys(("valid_from", "list_price"), of(_PRODUCTS, "list_price")),
}

CORE: Final[dict[str, Lineage]] = {
    CORE_SALES_LINES.path: _SALES_LINES,
    CORE_INVENTORY_DAILY.path: _INVENTORY_DAILY,
    CORE_DAILY_SALES.path: _DAILY_SALES,
    CORE_QUARANTINE.path: _QUARANTINE,
    CORE_LIST_PRICES.path: _LIST_PRICES_KEPT,
}
