"""What a dead letter is: its key, and the headers that it has besides those of the message that was refused.

Said here once, because two producers send letters, the raw layer and the streaming service. The topic is compacted: of
two letters with one key the second replaces the first, so they must say the same. Does not belong here: what is refused
(`decoding`), and sending and reading letters.

**The key** is topic-partition-offset@time of the message: the offset as the broker counts, and the message's own Kafka
timestamp in milliseconds since 1970. Where a topic is made anew, the broker counts from 0 again: the time tells the two
messages with one offset apart, and both senders read it with the message. Letters of earlier releases have no time.
"""

import re
from dataclasses import dataclass
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


#: Letters of nearly a mebibyte come of messages that a topic just takes, and what tills have compressed may be larger
#: than that. So senders compress as well, and take up to so many bytes before that; the topic's own limit is in
#: `infra/kafka/topics.toml`.
LARGEST_LETTER_BYTES: Final = 64 * 1024 * 1024
#: Of the codecs of Kafka the one that every client has.
LETTER_COMPRESSION: Final = "gzip"

# A time before 1970 is negative, and Kafka says -1 where a message has none.
_KEY: Final = re.compile(
    r"(?P<topic>[^\s@-][^\s@]*)-(?P<partition>[0-9]+)-(?P<offset>[0-9]+)(?:@(?P<time>-?[0-9]+))?", re.ASCII
)


@dataclass(frozen=True)
class Place:
    """Where a message was.

    Attributes:
        topic: by its name on the broker.
        partition: of the topic.
        offset: within the partition.
        time: Kafka's timestamp of the message in milliseconds since 1970; None where the letter is of an earlier
            release.
    """

    topic: str
    partition: int
    offset: int
    time: int | None


def place_of(key: str) -> Place | None:
    """Return where the message of a letter was, by the letter's key; None where that isn't one."""
    found = _KEY.fullmatch(key)
    if not found:
        return None
    time = found["time"]
    return Place(found["topic"], int(found["partition"]), int(found["offset"]), None if time is None else int(time))


def letter_key(text: str) -> str:
    """Return a text that has the shape of a letter's key, with or without a time.

    Raises:
        ValueError: it has another shape.
    """
    if place_of(text) is None:
        raise ValueError(
            f"{text!r} is no key of a letter: they look like pos-events-0-17@1767268800000 "
            "(topic-partition-offset@time)"
        )
    return text


def letter_columns(headers: str, offset: "SparkColumn", time: "SparkColumn") -> "list[SparkColumn]":
    """Return the letter of each row of refused messages.

    Args:
        headers: the column with the message's own headers, of type `HEADERS`; null where nobody kept them.
        offset: of the message, as the broker counts.
        time: Kafka's timestamp of the message; null where nobody kept it: then the key has none.

    Returns:
        Expressions of the columns `key`, `value` and `headers`, as Spark's Kafka sink takes them, on a frame with
        `kafka_topic`, `kafka_partition`, `rejection` and `raw_value`.
    """
    from pyspark.sql import functions as F

    nothing = F.lit(b"")
    where = (F.col("kafka_topic"), F.col("kafka_partition"), offset)
    added = [
        F.struct(F.lit(name).alias("key"), column.cast("string").cast("binary").alias("value"))
        for name, column in zip(LETTER_HEADERS, (F.col("rejection"), *where), strict=True)
    ]
    own = F.transform(
        F.filter(headers, lambda one: ~one["key"].isin(*LETTER_HEADERS)),
        # Not every Kafka client can write a header without a value.
        lambda one: F.struct(one["key"].alias("key"), F.coalesce(one["value"], nothing).alias("value")),
    )
    none = F.array().cast("array<struct<key:string,value:binary>>")
    return [
        # What is null is left out, and the @ before it.
        F.concat_ws("@", F.concat_ws("-", *where), F.unix_millis(time).cast("string")).alias("key"),
        # Null would be a tombstone, and the compacted topic would forget the letter.
        F.coalesce("raw_value", nothing).alias("value"),
        F.concat(F.coalesce(own, none), F.array(*added)).alias("headers"),
    ]
