"""The real-time tables, which the streaming service makes from the topics alone: where their columns come from, and
which of its queries writes which.
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
    "tills": ("real_time/rt_pos_hourly", "real_time/rt_pos_health"),
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

REAL_TIME: Final[dict[str, Lineage]] = {
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
    "real_time/rt_pos_health": {
        **_TILL,
        "last_event_at": of(_TILLS, "occurred_at"),
        "last_kind": of(_TILLS, "kind"),
        "updated_at": (),
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
