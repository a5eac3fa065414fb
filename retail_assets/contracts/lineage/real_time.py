"""The real-time tables, which the streaming service makes: where their columns come from, and who writes which.

Its queries make them from the topics alone; its looks, and the summaries that refresh themselves, from those, facts and
dimensions.
"""

from typing import Final

from retail_assets.contracts.origins import Lineage, of
from retail_assets.contracts.topics import EVENT_TOPICS, INVENTORY_UPDATES, POS_EVENTS, SALES_TRANSACTIONS

_BASKETS: Final = f"kafka/{SALES_TRANSACTIONS.table}"
_MOVES: Final = f"kafka/{INVENTORY_UPDATES.table}"
_TILLS: Final = f"kafka/{POS_EVENTS.table}"

#: The table that all queries write to, of themselves.
QUERY_PROGRESS: Final = "real_time/rt_query_progress"

#: The tables that each query of the service writes.
TABLES_OF_QUERIES: Final[dict[str, tuple[str, ...]]] = {
    "sales": ("real_time/rt_revenue_hourly", "real_time/rt_sales_velocity"),
    "inventory": ("real_time/rt_inventory",),
    "tills": ("real_time/rt_pos_hourly",),
    "dead_letters": ("real_time/rt_dead_letters",),
}

#: Tables that are made of messages as such, whatever fields these have: what they come from.
FROM_MESSAGES: Final[dict[str, tuple[str, ...]]] = dict.fromkeys(
    ("real_time/rt_dead_letters", QUERY_PROGRESS), tuple(f"kafka/{topic.table}" for topic in EVENT_TOPICS)
)

_OF_WRITER: Final[Lineage] = {"version": (), "updated_at": ()}
_FIGURES: Final[Lineage] = {
    "units": of(_BASKETS, "lines", "kind"),
    "revenue": of(_BASKETS, "lines", "kind"),
    "transactions": of(_BASKETS, "transaction_id"),
}
_TILL: Final[Lineage] = {name: of(_TILLS, name) for name in ("store_id", "register_id")}
_COUNTED: Final = ("price_overrides", "no_sales", "scan_errors", "offline_events")

_OF_QUERIES: Final[dict[str, Lineage]] = {
    "real_time/rt_revenue_hourly": {
        "store_id": of(_BASKETS, "store_id"),
        "hour_start": of(_BASKETS, "occurred_at"),
        **_FIGURES,
        **_OF_WRITER,
    },
    "real_time/rt_sales_velocity": {
        "store_id": of(_BASKETS, "store_id"),
        "product_id": of(_BASKETS, "lines"),
        "bucket_start": of(_BASKETS, "occurred_at"),
        **_FIGURES,
        "transactions": of(_BASKETS, "transaction_id", "lines"),
        **_OF_WRITER,
    },
    "real_time/rt_inventory": {
        "store_id": of(_MOVES, "store_id"),
        "product_id": of(_MOVES, "product_id"),
        "on_hand": of(_MOVES, "on_hand_after", "occurred_at"),
        "last_movement": of(_MOVES, "movement", "occurred_at"),
        "last_movement_at": of(_MOVES, "occurred_at"),
        "first_movement_at": of(_MOVES, "occurred_at"),
        "opening": of(_MOVES, "on_hand_after", "quantity_delta", "occurred_at"),
        "moved": of(_MOVES, "quantity_delta"),
        "unexplained": of(_MOVES, "on_hand_after", "quantity_delta", "occurred_at"),
        "movements": of(_MOVES, "event_id"),
        **dict.fromkeys(("last_sale_at", "last_receipt_at", "last_count_at"), of(_MOVES, "occurred_at", "movement")),
        "last_count_correction": of(_MOVES, "movement", "occurred_at", "quantity_delta"),
        **_OF_WRITER,
    },
    "real_time/rt_pos_hourly": {
        **_TILL,
        "hour_start": of(_TILLS, "occurred_at"),
        "last_event_at": of(_TILLS, "occurred_at"),
        "last_kind": of(_TILLS, "kind", "occurred_at"),
        "events": of(_TILLS, "event_id"),
        **dict.fromkeys(_COUNTED, of(_TILLS, "kind")),
        **_OF_WRITER,
    },
    "real_time/rt_dead_letters": dict.fromkeys(
        ("kafka_topic", "kafka_partition", "kafka_offset", "sent_at", "rejection", "raw_value", "updated_at"), ()
    ),
    QUERY_PROGRESS: dict.fromkeys(
        (
            *("query", "at", "batch", "batches", "rows_in", "refused", "ahead", "too_large", "late", "rows_out"),
            *("longest_batch_ms", "lag", "newest_event_at", "watermark", "state_rows", "state_bytes", "updated_at"),
        ),
        (),
    ),
}

_SALES: Final = "real_time/rt_sales_velocity"
_STOCK: Final = "real_time/rt_inventory"
_POS: Final = "real_time/rt_pos_hourly"
_HOURS: Final = "real_time/rt_revenue_hourly"
_PROFILE: Final = "real_time/rt_sales_profile"
_RISK: Final = "real_time/rt_stockout_risk"
_SETTLED: Final = "real_time/rt_stock_settled"
_STORES: Final = "marts/dim_store"
_PRODUCTS: Final = "marts/dim_product"
_AS_OF: Final = (*of(_STOCK, "last_movement_at"), *of(_POS, "last_event_at"))
_EXPECTED: Final = (*of(_SALES, "units"), *of("marts/fact_forecast", "mean"))
_PLACE: Final[Lineage] = {name: of(_STOCK, name) for name in ("store_id", "product_id")}

#: Tables that the service's looks write, of other tables of the warehouse.
OF_LOOKS: Final[dict[str, Lineage]] = {
    "real_time/rt_clock": {
        "time_zone": of(_STORES, "time_zone"),
        **dict.fromkeys(("hour_start", "local_date", "local_hour"), _AS_OF),
        "updated_at": (),
    },
    _SETTLED: {
        **_PLACE,
        "counted_at": of(_STOCK, "last_count_at"),
        "unexplained_then": of(_STOCK, "unexplained"),
        "first_movement_then": of(_STOCK, "first_movement_at"),
        **_OF_WRITER,
    },
    _RISK: {
        **_PLACE,
        "level": (*of(_STOCK, "on_hand"), *_EXPECTED),
        "previous_level": (*of(_STOCK, "on_hand"), *_EXPECTED),
        "changed_at": _AS_OF,
        "on_hand_then": of(_STOCK, "on_hand"),
        "hours_of_cover_then": (*of(_STOCK, "on_hand"), *_EXPECTED),
        "expected_units_then": _EXPECTED,
        **_OF_WRITER,
    },
    "real_time/rt_anomaly": {
        "kind": (),
        "store_id": (*of(_SALES, "store_id"), *of(_POS, "store_id"), *of(_STOCK, "store_id")),
        "subject": (*of(_PROFILE, "category"), *of(_POS, "register_id"), *of(_STOCK, "product_id")),
        **dict.fromkeys(("started_at", "ended_at"), _AS_OF),
        **dict.fromkeys(("score", "expected"), of(_PROFILE, "units", "units_scale", "revenue", "revenue_scale")),
        "observed": (
            *of(_SALES, "units", "revenue"),
            *of(_POS, "last_event_at", "price_overrides"),
            *of(_STOCK, "on_hand"),
        ),
        "sentence": (*of(_STORES, "name"), *of(_PRODUCTS, "name", "category")),
        **_OF_WRITER,
    },
}

#: Tables that the warehouse refreshes by itself.
REFRESHED: Final[dict[str, Lineage]] = {
    _PROFILE: {
        "store_id": of(_STORES, "store_id"),
        "category": of(_PRODUCTS, "category"),
        "weekday": of("marts/fact_sales", "business_date"),
        "local_hour": of("marts/fact_sales", "business_hour"),
        "weeks": of("marts/fact_sales", "business_date"),
        **dict.fromkeys(("units", "units_scale"), of("marts/fact_sales", "units")),
        "revenue": of("marts/fact_sales", "revenue"),
        "revenue_scale": of("marts/fact_sales", "units", "revenue"),
        "updated_at": (),
    },
    "real_time/rt_fact_hours": {
        "store_id": of(_STORES, "store_id"),
        **{name: of("marts/fact_sales", name) for name in ("business_date", "business_hour", "units", "revenue")},
        "updated_at": (),
    },
    "real_time/rt_revenue_today": {
        "region": of(_STORES, "region"),
        "as_of": _AS_OF,
        "stores": of(_HOURS, "store_id"),
        **{name: of(_HOURS, name) for name in ("units", "revenue", "transactions")},
        "revenue_last_week": (
            *of(_HOURS, "revenue"),
            *of("real_time/rt_fact_hours", "revenue"),
            *of("real_time/rt_clock", "local_date", "local_hour"),
        ),
        "updated_at": (),
    },
    "real_time/rt_top_movers": {
        "product_id": of(_SALES, "product_id"),
        "product": of(_PRODUCTS, "name"),
        "category": of(_PRODUCTS, "category"),
        "as_of": _AS_OF,
        "stores": of(_SALES, "store_id"),
        **dict.fromkeys(("units_1h", "units_24h"), of(_SALES, "units")),
        **dict.fromkeys(("revenue_1h", "revenue_24h"), of(_SALES, "revenue")),
        "updated_at": (),
    },
    "real_time/rt_stores_at_risk": {
        "store_id": of(_STOCK, "store_id"),
        "store": of(_STORES, "name"),
        "region": of(_STORES, "region"),
        "as_of": _AS_OF,
        **dict.fromkeys(("out_products", "critical_products", "low_products"), of(_RISK, "level")),
        "products": of(_STOCK, "product_id"),
        "revenue_at_risk": (*_EXPECTED, *of(_RISK, "level"), *of(_PRODUCTS, "list_price")),
        "updated_at": (),
    },
}

REAL_TIME: Final[dict[str, Lineage]] = {**_OF_QUERIES, **OF_LOOKS, **REFRESHED}
