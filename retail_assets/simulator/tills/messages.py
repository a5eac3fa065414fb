"""One day's events as the tills send them: values, keys, headers, and the faults of a real network of tills.

Belongs here: messages of the day that follows the history, with repeated and broken ones. Does not belong here: the
wire format (`wire`), streams that go on from day to day (`plan`), and the broker (`day_producer`).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from retail_assets.contracts.events import (
    CONTENT_JSON,
    HEADER_CONTENT_TYPE,
    HEADER_SCHEMA,
    HEADER_SCHEMA_VERSION,
)
from retail_assets.contracts.topics import INVENTORY_UPDATES, POS_EVENTS, SALES_TRANSACTIONS, Topic
from retail_assets.simulator.randomness import Purpose, stream
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.tills.wire import encode_frame

#: Whose message it is, and its running number within that producer's topic: what a resumed run goes by.
HEADER_PRODUCER: Final = "producer"
HEADER_SEQUENCE: Final = "sequence"

#: The ways in which messages are broken, each with the topic that it happens on. Taken in turn.
MALFORMATIONS: Final[tuple[tuple[str, Topic], ...]] = (
    ("missing store", SALES_TRANSACTIONS),
    ("quantity as text", INVENTORY_UPDATES),
    ("not JSON", POS_EVENTS),
    ("no lines", SALES_TRANSACTIONS),
    ("unknown movement", INVENTORY_UPDATES),
)


@dataclass(frozen=True)
class Message:
    """One message as a till sends it.

    Attributes:
        key: what keeps messages of one store, or of one stock, in order.
        value: the JSON document.
        headers: all but the time of sending, which the producer adds.
        sequence: running number within the topic, from 0.
    """

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    sequence: int


@dataclass(frozen=True)
class _Draft:
    """A message before it has its place in the topic; `place` is that among the topic's events."""

    place: float
    key: bytes
    value: bytes


def encode(topic: Topic, events: pl.DataFrame) -> list[tuple[bytes, bytes]]:
    """Return key and JSON value of each event, in the frame's order.

    Raises:
        ContractError: an event breaks the contract.
    """
    return list(encode_frame(topic, events).iter_rows())


class DayMessages(Mapping[Topic, list[Message]]):
    """The messages of one day by topic, each topic's in the order in which they are sent.

    A dictionary won't do: a topic has settings and can not be hashed. Topics are told apart by name.
    """

    def __init__(self, messages: list[tuple[Topic, list[Message]]]) -> None:
        """Take pairs of topic and messages."""
        self._messages = {topic.name: (topic, sent) for topic, sent in messages}

    def __getitem__(self, topic: Topic) -> list[Message]:
        """Return a topic's messages."""
        return self._messages[topic.name][1]

    def __iter__(self) -> Iterator[Topic]:
        """Iterate over the topics."""
        return (topic for topic, _ in self._messages.values())

    def __len__(self) -> int:
        """Count the topics."""
        return len(self._messages)


def draft_day(scenario: Scenario, topics: tuple[Topic, ...], events: list[pl.DataFrame]) -> DayMessages:
    """Return the messages of one day.

    Args:
        scenario: gives the numbers of repeated and broken messages, and the seed that places them.
        topics: the event topics.
        events: each topic's events, in time order.
    """
    encoded = {topic.name: encode(topic, frame) for topic, frame in zip(topics, events, strict=True)}
    drafts = {
        name: [_Draft(float(place), key, value) for place, (key, value) in enumerate(pairs)]
        for name, pairs in encoded.items()
    }
    rng = stream(scenario.seed, Purpose.FAULTS)
    _repeat(scenario.duplicates, encoded, drafts, rng)
    _break(scenario.malformed, encoded, drafts, rng)
    return DayMessages([(topic, _numbered(scenario, topic, drafts[topic.name])) for topic in topics])


def _repeat(
    count: int, encoded: dict[str, list[tuple[bytes, bytes]]], drafts: dict[str, list[_Draft]], rng: np.random.Generator
) -> None:
    """Add exact repetitions somewhere behind their originals, to sales and stock movements in turn."""
    preferred = [topic.name for topic in (SALES_TRANSACTIONS, INVENTORY_UPDATES) if encoded[topic.name]]
    # A shop so small that it neither sells nor moves anything today still opens its tills.
    names = preferred or [POS_EVENTS.name]
    for number in range(count):
        name = names[number % len(names)]
        original = int(rng.integers(len(encoded[name])))
        behind = float(rng.integers(original, len(encoded[name]))) + 0.5
        drafts[name].append(_Draft(behind, *encoded[name][original]))


def _break(
    count: int, encoded: dict[str, list[tuple[bytes, bytes]]], drafts: dict[str, list[_Draft]], rng: np.random.Generator
) -> None:
    """Add broken copies of events; the events themselves stay whole."""
    for number in range(count):
        how, topic = MALFORMATIONS[number % len(MALFORMATIONS)]
        if not encoded[topic.name]:
            how, topic = "not JSON", POS_EVENTS
        original = int(rng.integers(len(encoded[topic.name])))
        key, value = encoded[topic.name][original]
        drafts[topic.name].append(_Draft(original + 0.75, key, break_value(how, topic, value, number)))


def break_value(how: str, topic: Topic, value: bytes, number: int) -> bytes:
    """Return a broken copy of a JSON value.

    Args:
        how: one of `MALFORMATIONS`.
        topic: whose value it is.
        value: a good one.
        number: makes the copy's id one of its own.
    """
    if how == "not JSON":
        return b"\xff" + value[: len(value) // 2]
    event: dict[str, Any] = json.loads(value)
    # An id of its own, so that nobody takes it for a repetition of a good message.
    event[topic.schema.id_field] += f"-X{number}"
    match how:
        case "missing store":
            del event["store_id"]
        case "quantity as text":
            event["quantity_delta"] = "three"
        case "no lines":
            event["lines"] = []
        case "unknown movement":
            event["movement"] = "teleport"
    return _json(event)


def _numbered(scenario: Scenario, topic: Topic, drafts: list[_Draft]) -> list[Message]:
    fixed = (
        (HEADER_SCHEMA, topic.schema.name.encode()),
        (HEADER_SCHEMA_VERSION, str(topic.schema.version).encode()),
        (HEADER_CONTENT_TYPE, CONTENT_JSON.encode()),
        (HEADER_PRODUCER, scenario.fingerprint.encode()),
    )
    # Sorting is stable: what has the same place keeps the order in which it was drawn.
    ordered = sorted(drafts, key=lambda draft: draft.place)
    return [
        Message(draft.key, draft.value, (*fixed, (HEADER_SEQUENCE, str(number).encode())), number)
        for number, draft in enumerate(ordered)
    ]


def _json(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
