"""The real-time tables, which the streaming service makes from the topics alone."""

from typing import Final

from retail_assets.contracts.origins import Lineage, of
from retail_assets.contracts.topics import POS_EVENTS, SALES_TRANSACTIONS

_BASKETS: Final = f"kafka/{SALES_TRANSACTIONS.table}"
_TILLS: Final = f"kafka/{POS_EVENTS.table}"

REAL_TIME: Final[dict[str, Lineage]] = {
    "real_time/rt_revenue_hourly": {
        "store_id": of(_BASKETS, "store_id"),
        "hour_start": of(_BASKETS, "occurred_at"),
        "units": of(_BASKETS, "lines", "kind"),
        "revenue": of(_BASKETS, "lines", "kind"),
        "transactions": of(_BASKETS, "transaction_id"),
        "version": (),
        "updated_at": (),
    },
    "real_time/rt_pos_health": {
        "store_id": of(_TILLS, "store_id"),
        "register_id": of(_TILLS, "register_id"),
        "last_event_at": of(_TILLS, "occurred_at"),
        "last_kind": of(_TILLS, "kind"),
        "updated_at": (),
    },
}
