"""Messages without meaning, and a topic for them. Imports little: each producer that is killed imports it first."""

from retail_assets.contracts.topics import SALES_TRANSACTIONS, Topic
from retail_assets.simulator.tills.messages import Message

PARTITIONS = 3
MANY = 40_000


def topic_named(name: str) -> Topic:
    return Topic(name, ("store_id",), SALES_TRANSACTIONS.event)


def made_up(count: int, producer: bytes = b"tester") -> list[Message]:
    """Return messages that are large enough that sending them takes a while."""
    return [
        Message(
            key=f"S{number % 97:03d}".encode(),
            value=f'{{"number":{number},"filler":"{"x" * 900}"}}'.encode(),
            headers=(("producer", producer), ("sequence", str(number).encode())),
            sequence=number,
        )
        for number in range(count)
    ]
