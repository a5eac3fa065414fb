"""The Kafka topics: names, keys, partitions and what they carry.

Does not belong here: creating topics (the Kafka resource's work) and the brokers' addresses (a setting).
"""

from dataclasses import dataclass
from typing import Final

from retail_assets.contracts.events import INVENTORY_UPDATE, POS_EVENT, SALES_TRANSACTION, EventSchema

_DAY_MS: Final = 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class Topic:
    """One topic.

    Attributes:
        name: as on the broker.
        key_fields: the event's fields that make the message key, joined by a colon, so that order holds per key.
        event: what a message carries; None for the dead letters, which carry any bytes.
        partitions: how many partitions it is created with.
        config: topic settings.
    """

    name: str
    key_fields: tuple[str, ...]
    event: EventSchema | None
    partitions: int
    config: dict[str, str]

    @property
    def schema(self) -> EventSchema:
        """What a message carries.

        Raises:
            TypeError: the topic carries any bytes.
        """
        if self.event is None:
            raise TypeError(f"{self.name} carries any bytes, it has no schema")
        return self.event

    @property
    def table(self) -> str:
        """Name of the topic's table in the lake's `raw` layer, and of its asset."""
        return self.name.replace("-", "_")


#: Long enough that a platform that was away for a fortnight has lost nothing.
_EVENT_CONFIG: Final = {"retention.ms": str(30 * _DAY_MS), "cleanup.policy": "delete"}

SALES_TRANSACTIONS: Final = Topic("sales-transactions", ("store_id",), SALES_TRANSACTION, 4, _EVENT_CONFIG)
INVENTORY_UPDATES: Final = Topic("inventory-updates", ("store_id", "product_id"), INVENTORY_UPDATE, 4, _EVENT_CONFIG)
POS_EVENTS: Final = Topic("pos-events", ("store_id",), POS_EVENT, 2, _EVENT_CONFIG)
#: Keyed by topic-partition-offset of the original and compacted: a letter sent again replaces itself.
DEAD_LETTERS: Final = Topic("dead-letters", (), None, 1, {"cleanup.policy": "compact"})

EVENT_TOPICS: Final = (SALES_TRANSACTIONS, INVENTORY_UPDATES, POS_EVENTS)
TOPICS: Final = (*EVENT_TOPICS, DEAD_LETTERS)
