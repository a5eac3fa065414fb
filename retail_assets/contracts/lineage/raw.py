"""Raw: an event's fields come from its topic; the rest is of the broker and of the platform itself."""

from typing import Final

from retail_assets.contracts.origins import Lineage, of
from retail_assets.contracts.tables import ENVELOPE, RAW_DEAD_LETTERS, RAW_TABLES
from retail_assets.contracts.topics import EVENT_TOPICS, Topic


def _messages(topic: Topic) -> Lineage:
    source = f"kafka/{topic.table}"
    return {
        **{column.name: () for column in ENVELOPE},
        "event_date": of(source, "occurred_at"),
        **{field.name: of(source, field.name) for field in topic.schema.columns},
    }


RAW: Final[dict[str, Lineage]] = {
    **{table.path: _messages(topic) for topic, table in zip(EVENT_TOPICS, RAW_TABLES, strict=True)},
    RAW_DEAD_LETTERS.path: {
        name: tuple(origin for table in RAW_TABLES for origin in of(table.path, name))
        for name in RAW_DEAD_LETTERS.column_names
    },
}
