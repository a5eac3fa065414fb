"""The topics, and what the platform is given: master data, imports. External assets, so that lineage begins where data
begins.
"""

import dagster as dg

from retail_assets.assets.common import OWNERS, column_type_name, description, table_metadata
from retail_assets.contracts.tables import IMPORTED_TABLES, RAW_DEAD_LETTERS, REFERENCE_TABLES
from retail_assets.contracts.topics import DEAD_LETTERS, EVENT_TOPICS, Topic


def topic_key(table: str) -> dg.AssetKey:
    """Return the key of a topic's external asset."""
    return dg.AssetKey(["kafka", table])


def _fields(topic: Topic) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                field.name,
                type=column_type_name(field.type),
                description=field.description,
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in topic.schema.columns
        ]
    )


def source_specs() -> list[dg.AssetSpec]:
    """Return one spec per topic and per table of master data."""
    topics = [
        dg.AssetSpec(
            key=topic_key(topic.table),
            group_name="kafka",
            kinds={"kafka"},
            owners=OWNERS,
            description=topic.schema.description,
            metadata={
                "topic": topic.name,
                "key": ":".join(topic.key_fields),
                "dagster/column_schema": _fields(topic),
            },
        )
        for topic in EVENT_TOPICS
    ]
    dead_letters = dg.AssetSpec(
        key=topic_key(DEAD_LETTERS.table),
        group_name="kafka",
        kinds={"kafka"},
        owners=OWNERS,
        description="Messages that a contract refuses, byte for byte, for whoever mends the till.",
        deps=[dg.AssetKey(RAW_DEAD_LETTERS.key)],
        metadata={"topic": DEAD_LETTERS.name},
    )
    tables = [
        dg.AssetSpec(
            key=dg.AssetKey(table.key),
            group_name=table.layer,
            kinds={"deltalake"},
            owners=OWNERS,
            description=description(table),
            metadata=table_metadata(table),
        ).with_io_manager_key("lake_io_manager")
        for table in (*REFERENCE_TABLES, *IMPORTED_TABLES)
    ]
    return [*topics, dead_letters, *tables]
