"""Which partition a key belongs to, as Kafka's own clients decide it.

Belongs here: the hash. The tills choose partitions themselves, because whoever takes up a stream must know where to
look for what was sent.
"""

from functools import lru_cache
from typing import Final

#: Hashing in Python takes many times as long as looking up; more keys than these are hashed again.
_KEYS_KEPT: Final = 100_000


@lru_cache(_KEYS_KEPT)
def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition that Kafka's own clients choose for a key: murmur2 without its sign, modulo partitions."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Return the 32-bit MurmurHash2 of bytes with the seed that Kafka uses (`org.apache.kafka.common.utils.Utils`)."""
    multiplier, mask = 0x5BD1E995, 0xFFFFFFFF
    value = 0x9747B28C ^ len(data)
    whole = len(data) - len(data) % 4
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * multiplier & mask
        word = (word ^ word >> 24) * multiplier & mask
        value = (value * multiplier & mask) ^ word
    if whole < len(data):
        value = (value ^ int.from_bytes(data[whole:], "little")) * multiplier & mask
    value = (value ^ value >> 13) * multiplier & mask
    return value ^ value >> 15
