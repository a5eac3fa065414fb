"""What arrived, as it arrived: messages by topic, and imported history.

Belongs here: grain and columns of `raw/*`. Does not belong here: the fields of an event (`contracts.schemas`).
"""

from typing import Final

from retail_assets.contracts.letters import HEADERS
from retail_assets.contracts.tables.table import BUSINESS_DATE, PRODUCT_ID, STORE_ID, Table
from retail_assets.contracts.topics import EVENT_TOPICS, Topic
from retail_assets.contracts.types import (
    BINARY,
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

#: What the contract says of a message that it refuses, and rows that were loaded in bulk rather than from a topic.
BULK_PARTITION: Final = -1

ENVELOPE: Final = (
    Column("kafka_topic", STRING, "Topic that the message came from; for bulk loads the topic it would have had."),
    Column("kafka_partition", INT32, f"Partition; {BULK_PARTITION} for rows that were loaded in bulk."),
    Column(
        "kafka_offset",
        INT64,
        "Offset within the partition, counted on where the topic was made anew; a running number for bulk loads.",
        minimum=0,
    ),
    Column("produced_at", TIMESTAMP, "When the till sent it, by its header.", nullable=True),
    Column("ingested_at", TIMESTAMP, "When it reached the lake."),
    Column("event_date", DATE, "UTC date of the event; of arrival, where the message is refused."),
    Column("rejection", STRING, "Why the contract refuses the message; null where it accepts it.", nullable=True),
    Column("raw_value", BINARY, "The message byte for byte, where it is refused.", nullable=True),
    Column(
        "raw_headers",
        HEADERS,
        "The message's headers byte for byte, where it is refused and has any; null in rows of earlier releases.",
        nullable=True,
    ),
    Column(
        "broker_offset",
        INT64,
        "The message's offset as the broker counts, where it is refused; null in rows of earlier releases.",
        nullable=True,
        minimum=0,
    ),
    Column(
        "broker_time",
        TIMESTAMP,
        "Kafka's timestamp of the message, where it is refused; null in rows of earlier releases.",
        nullable=True,
    ),
)

#: What `raw/dead_letters` says in words of its own.
_OF_REFUSED: Final = frozenset({"rejection", "raw_value", "raw_headers", "broker_offset", "broker_time"})


def raw_table(topic: Topic) -> Table:
    """Return the raw table of an event topic: every message, accepted or refused, with where it came from."""
    fields = tuple(
        Column(c.name, c.type, c.description, c.unit, nullable=True, allowed=c.allowed) for c in topic.schema.columns
    )
    return Table(
        layer="raw",
        name=topic.table,
        grain=("kafka_topic", "kafka_partition", "kafka_offset"),
        columns=ENVELOPE + fields,
        description=(
            f"Every message of `{topic.name}`, as it arrived: {topic.schema.description} The table itself says which "
            "offsets it holds. Messages that the contract refuses are rows with a `rejection`; readers take the others."
        ),
        partition_by="event_date",
    )


RAW_SALES_TRANSACTIONS, RAW_INVENTORY_UPDATES, RAW_POS_EVENTS = (raw_table(topic) for topic in EVENT_TOPICS)

RAW_DEAD_LETTERS: Final = Table(
    layer="raw",
    name="dead_letters",
    grain=("kafka_topic", "kafka_partition", "kafka_offset"),
    columns=(
        *(column for column in ENVELOPE if column.name not in _OF_REFUSED),
        Column("rejection", STRING, "Why the contract refuses the message."),
        Column("raw_value", BINARY, "The message, byte for byte.", nullable=True),
        Column("raw_headers", HEADERS, "Its headers, byte for byte; null where it had none.", nullable=True),
        Column(
            "broker_offset",
            INT64,
            "Its offset as the broker counts, as in the letter's key; null in rows of earlier releases.",
            nullable=True,
            minimum=0,
        ),
        Column(
            "broker_time",
            TIMESTAMP,
            "Kafka's timestamp of it, as in the letter's key; null in rows of earlier releases.",
            nullable=True,
        ),
    ),
    description="Every refused message of every topic, once, with the reason; the same go to the `dead-letters` topic.",
)

RAW_IMPORTED_SALES: Final = Table(
    layer="raw",
    name="imported_sales",
    grain=("store_id", "product_id", "business_date"),
    columns=(
        STORE_ID,
        PRODUCT_ID,
        BUSINESS_DATE,
        Column("units", QUANTITY, "Units sold, net; fractions for weighed goods.", unit="units", minimum=0),
        Column("unit_price", MONEY, "Price of one unit.", unit="money", nullable=True, minimum=0),
        Column("revenue", MONEY, "Net revenue.", unit="money", nullable=True),
        Column("on_promotion", BOOLEAN, "Whether a promotion ran.", nullable=True),
        Column("on_hand", QUANTITY, "Units on hand at the end of the day.", unit="units", nullable=True),
        Column(
            "stockout_hours",
            FLOAT64,
            "Hours of trade with nothing on the shelf.",
            unit="hours",
            nullable=True,
            minimum=0,
            maximum=24,
        ),
        Column("source_file", STRING, "Name of the file that the row came from."),
        Column("imported_at", TIMESTAMP, "When it reached the lake."),
        Column("business_month", DATE, "First day of the business date's month."),
    ),
    description=(
        "A retailer's own history at daily grain, as it was imported: what the files say and no day more. Null where a "
        "file doesn't say."
    ),
    partition_by="business_month",
)
