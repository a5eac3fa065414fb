"""The Kafka topics: names, keys and what they carry.

Does not belong here: partitions, retention and the like, which an operator may change (`infra/kafka/topics.toml`),
creating topics (the Kafka resource's work) and the brokers' addresses (a setting).
"""

from dataclasses import dataclass, replace
from typing import Final

from retail_assets.contracts.events import INVENTORY_UPDATE, POS_EVENT, SALES_TRANSACTION, EventSchema


@dataclass(frozen=True)
class Topic:
    """One topic.

    Attributes:
        name: as on the broker.
        key_fields: the event's fields that make the message key, joined by a colon, so that order holds per key.
        event: what a message carries; None for the dead letters, which carry any bytes.
    """

    name: str
    key_fields: tuple[str, ...]
    event: EventSchema | None

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


SALES_TRANSACTIONS: Final = Topic("sales-transactions", ("store_id",), SALES_TRANSACTION)
INVENTORY_UPDATES: Final = Topic("inventory-updates", ("store_id", "product_id"), INVENTORY_UPDATE)
POS_EVENTS: Final = Topic("pos-events", ("store_id",), POS_EVENT)
#: Keyed by topic-partition-offset@time of the original, so that a letter sent again replaces itself; see `letters`.
DEAD_LETTERS: Final = Topic("dead-letters", (), None)

EVENT_TOPICS: Final = (SALES_TRANSACTIONS, INVENTORY_UPDATES, POS_EVENTS)
TOPICS: Final = (*EVENT_TOPICS, DEAD_LETTERS)


def command_that_makes(topic: str) -> str:
    """Return the command that makes a topic, by its name on the broker."""
    tenant = topic.rpartition(".")[0]
    return f"retail topics apply --tenant {tenant}" if tenant else "retail topics apply"


def tenant_topics(prefix: str) -> tuple[Topic, ...]:
    """Return the topics of events under the names that they have for a tenant.

    Args:
        prefix: what the tenant's names begin with; empty for the main ones.
    """
    return tuple(replace(topic, name=f"{prefix}{topic.name}") for topic in EVENT_TOPICS)
