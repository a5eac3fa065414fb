"""What a dead letter is: its key, and the headers that it has besides those of the message that was refused.

Said here once, because two producers send letters, the raw layer and the streaming service. The topic is compacted: of
two letters with one key the second replaces the first, so they must say the same. Does not belong here: what is refused
(`decoding`), and sending and reading letters.
"""

import re
from typing import TYPE_CHECKING, Final

from retail_assets.contracts.types import BINARY, STRING, Column, ListType

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn

#: Headers that a letter has besides the message's own: why it was refused, and where it was. They win over headers of
#: the message with these names.
LETTER_HEADERS: Final = ("reason", "topic", "partition", "offset")
#: Header of a message that was sent again: key of the letter that it was sent again from.
HEADER_REPLAY_OF: Final = "replay_of"

#: Headers as Spark's Kafka source gives them. A list, since names may come twice, and bytes, since nothing says that
#: they are text: so nothing is lost.
HEADERS: Final = ListType(
    (
        Column("key", STRING, "Name of the header.", nullable=True),
        Column("value", BINARY, "What it says, byte for byte.", nullable=True),
    )
)


_KEY: Final = re.compile(r"[^\s-]\S*-[0-9]+-[0-9]+")


def letter_key(text: str) -> str:
    """Return a text that has the shape of a letter's key: topic, partition and offset of the message.

    The offset is the broker's own, as the streaming service knows it. The raw layer says its table's, which counts on
    where the topic was made anew: of a message of such a topic there are two letters, under two keys.

    Raises:
        ValueError: it has another shape.
    """
    if not _KEY.fullmatch(text):
        raise ValueError(f"{text!r} is no key of a letter: they look like pos-events-0-17 (topic-partition-offset)")
    return text


def letter_columns(headers: str) -> "list[SparkColumn]":
    """Return the letter of each row of refused messages.

    Args:
        headers: the column with the message's own headers, of type `HEADERS`; null where nobody kept them.

    Returns:
        Expressions of the columns `key`, `value` and `headers`, as Spark's Kafka sink takes them, on a frame with
        `kafka_topic`, `kafka_partition`, `kafka_offset`, `rejection` and `raw_value`.
    """
    from pyspark.sql import functions as F

    nothing = F.lit(b"")
    where = ("kafka_topic", "kafka_partition", "kafka_offset")
    added = [
        F.struct(F.lit(name).alias("key"), F.col(column).cast("string").cast("binary").alias("value"))
        for name, column in zip(LETTER_HEADERS, ("rejection", *where), strict=True)
    ]
    own = F.transform(
        F.filter(headers, lambda one: ~one["key"].isin(*LETTER_HEADERS)),
        # Not every Kafka client can write a header without a value.
        lambda one: F.struct(one["key"].alias("key"), F.coalesce(one["value"], nothing).alias("value")),
    )
    none = F.array().cast("array<struct<key:string,value:binary>>")
    return [
        F.concat_ws("-", *where).alias("key"),
        # Null would be a tombstone, and the compacted topic would forget the letter.
        F.coalesce("raw_value", nothing).alias("value"),
        F.concat(F.coalesce(own, none), F.array(*added)).alias("headers"),
    ]
