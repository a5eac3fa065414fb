"""What the platform is given: topics, and master data. External assets, so that lineage begins where data begins."""

import dagster as dg

from retail_assets.assets.common import OWNERS, description, table_schema
from retail_assets.contracts.tables import IMPORTED_TABLES, REFERENCE_TABLES
from retail_assets.contracts.topics import TOPICS


def topic_key(table: str) -> dg.AssetKey:
    """Return the key of a topic's external asset."""
    return dg.AssetKey(["kafka", table])


def source_specs() -> list[dg.AssetSpec]:
    """Return one spec per topic and per table of master data."""
    topics = [
        dg.AssetSpec(
            key=topic_key(topic.table),
            group_name="kafka",
            kinds={"kafka"},
            owners=OWNERS,
            description=topic.event.description if topic.event else "Messages that a contract refuses, byte for byte.",
            metadata={"topic": topic.name, "key": ":".join(topic.key_fields)},
        )
        for topic in TOPICS
        if topic.event is not None
    ]
    tables = [
        dg.AssetSpec(
            key=dg.AssetKey(table.key),
            group_name=table.layer,
            kinds={"deltalake"},
            owners=OWNERS,
            description=description(table),
            metadata={"dagster/column_schema": table_schema(table), "dagster/table_name": table.path},
        ).with_io_manager_key("lake_io_manager")
        for table in (*REFERENCE_TABLES, *IMPORTED_TABLES)
    ]
    return topics + tables
