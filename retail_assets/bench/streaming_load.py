"""The load of the streaming benchmark: a day of the synthetic retailer, sent as if it were happening now.

Belongs here: making messages, sending them at a rate, probes whose way can be followed, and the process that sends
them. Does not belong here: what is measured by it (`streaming`).

A message keeps its form and size; its time is the moment of sending, and each round through the day has ids of its own,
so that nothing is taken for a repetition.
"""

import itertools
import multiprocessing
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from confluent_kafka import Producer

from retail_assets.bench.errors import BenchError
from retail_assets.contracts.events import (
    CONTENT_JSON,
    HEADER_CONTENT_TYPE,
    HEADER_PRODUCED_AT,
    HEADER_SCHEMA,
    HEADER_SCHEMA_VERSION,
)
from retail_assets.contracts.topics import EVENT_TOPICS, INVENTORY_UPDATES, POS_EVENTS, SALES_TRANSACTIONS, Topic
from retail_assets.settings import Settings
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.simulation import simulate
from retail_assets.simulator.tills.live import SimulatedDays
from retail_assets.simulator.tills.plan import StreamPlan

#: The store that no retailer has, whose events are probes.
PROBE_STORE: Final = "PROBE"
#: Probes of each topic in a second.
PROBES_PER_S: Final = 5
_LAST: Final = date(2025, 11, 28)
#: Whose day it is.
SCENARIO: Final = Scenario(last_date=_LAST, stores=20, products=300, days=8)
_CHUNK: Final = 50
_TIME: Final = re.compile(rb'"occurred_at":(\d{13})')


@dataclass(frozen=True)
class Template:
    """A message but for its id's end and its time: `before` id `between` time `after`, in whichever order."""

    topic: str
    key: bytes
    parts: tuple[bytes, bytes, bytes]
    headers: list[tuple[str, bytes]]

    def value(self, ending: bytes, now: bytes) -> bytes:
        """Return the message's value; the id comes before the time in every schema."""
        before, between, after = self.parts
        return b"".join((before, ending, between, now, after))


def templates() -> list[Template]:
    """Return the messages of one day in the order of sending."""
    messages = StreamPlan(SimulatedDays(simulate(SCENARIO)), SCENARIO.seed, SCENARIO.dirt).day(_LAST)
    return [
        _template(EVENT_TOPICS[place], key, value)
        for place, key, value in messages.select("topic", "key", "value").iter_rows()
    ]


def _template(topic: Topic, key: bytes, value: bytes) -> Template:
    identity = re.search(rb'"%s":"[^"]*' % topic.schema.id_field.encode(), value)
    moment = _TIME.search(value)
    assert identity is not None  # noqa: S101 -- our own messages
    assert moment is not None  # noqa: S101
    parts = (value[: identity.end()], value[identity.end() : moment.start(1)], value[moment.end(1) :])
    return Template(topic.name, key, parts, headers_of(topic))


def headers_of(topic: Topic) -> list[tuple[str, bytes]]:
    """Return the headers that all messages of a topic share."""
    return [
        (HEADER_SCHEMA, topic.schema.name.encode()),
        (HEADER_SCHEMA_VERSION, str(topic.schema.version).encode()),
        (HEADER_CONTENT_TYPE, CONTENT_JSON.encode()),
    ]


def probe_name(number: int) -> str:
    """Return what a probe's product or register is called; the names are in the order of the numbers."""
    return f"probe-{number:07d}"


def probes(number: int, now_ms: int) -> Iterator[tuple[str, bytes, bytes, list[tuple[str, bytes]]]]:
    """Yield topic, key, value and headers of one probe for each topic."""
    name, key = probe_name(number), PROBE_STORE.encode()
    line = f'{{"line_no":1,"product_id":"{name}","quantity":1,"unit_price":1,"discount":0}}'
    base = f'"store_id":"{PROBE_STORE}","occurred_at":{now_ms}'
    till = f'"register_id":"{name}"'
    sale = (
        f'{{"transaction_id":"{name}",{base},{till},"cashier_id":"C","currency":"EUR","payment_method":"card",'
        f'"kind":"sale","lines":[{line}]}}'
    )
    movement = (
        f'{{"event_id":"{name}",{base},"product_id":"{name}","movement":"sale","quantity_delta":-1,"on_hand_after":1}}'
    )
    event = f'{{"event_id":"{name}",{base},{till},"kind":"heartbeat"}}'
    for topic, value in ((SALES_TRANSACTIONS, sale), (INVENTORY_UPDATES, movement), (POS_EVENTS, event)):
        full_key = f"{PROBE_STORE}:{name}".encode() if topic is INVENTORY_UPDATES else key
        yield topic.name, full_key, value.encode(), headers_of(topic)


@dataclass(frozen=True)
class Sent:
    """What a load sent.

    Attributes:
        messages: by topic, probes among them.
        seconds: from the first to the confirmation of the last.
        probes_ms: when each probe was sent, in epoch milliseconds, by its number.
    """

    messages: dict[str, int]
    seconds: float
    probes_ms: dict[int, int]


def send(servers: str, rate: float | None, messages: int, tag: str, *, with_probes: bool) -> Sent:
    """Send messages and wait until the broker has them.

    Args:
        servers: `host:port,…`.
        rate: messages a second; None for as fast as the broker takes them.
        messages: how many, without probes.
        tag: makes the ids of this load its own.
        with_probes: send probes as well.
    """
    producer = Producer(
        {"bootstrap.servers": servers, "acks": "all", "enable.idempotence": True, "linger.ms": 5, "log_level": 0}
    )
    day = templates()
    counts: dict[str, int] = dict.fromkeys((topic.name for topic in EVENT_TOPICS), 0)
    probes_ms: dict[int, int] = {}
    began = time.monotonic()
    endings = (f"-{tag}{round_}".encode() for round_ in itertools.count() for _ in day)
    for number, (template, ending) in enumerate(zip(itertools.cycle(day), endings, strict=False)):
        if number >= messages:
            break
        if number % _CHUNK == 0:
            _wait(producer, began, number, rate)
            elapsed = time.monotonic() - began
            while with_probes and len(probes_ms) < elapsed * PROBES_PER_S:
                now_ms = time.time_ns() // 1_000_000
                for topic, key, value, headers in probes(len(probes_ms), now_ms):
                    producer.produce(topic, value, key, headers=[*headers, (HEADER_PRODUCED_AT, b"%d" % now_ms)])
                    counts[topic] += 1
                probes_ms[len(probes_ms)] = now_ms
        now = b"%d" % (time.time_ns() // 1_000_000)
        _produce(producer, template, template.value(ending, now), now)
        counts[template.topic] += 1
    producer.flush()
    return Sent(counts, time.monotonic() - began, probes_ms)


def _produce(producer: Producer, template: Template, value: bytes, now: bytes) -> None:
    headers: list[tuple[str, str | bytes | None]] = [*template.headers, (HEADER_PRODUCED_AT, now)]
    while True:
        try:
            producer.produce(template.topic, value, template.key, headers=headers)
        except BufferError:
            producer.poll(0.05)
        else:
            return


def _wait(producer: Producer, began: float, number: int, rate: float | None) -> None:
    producer.poll(0)
    if rate is None:
        return
    ahead = number / rate - (time.monotonic() - began)
    if ahead > 0:
        time.sleep(ahead)


@dataclass
class Load:
    """A load in a process of its own, so that it doesn't take the measuring one's time."""

    process: Any
    receiver: Any
    result: Sent | None = None

    @property
    def done(self) -> bool:
        """Whether all is sent."""
        if self.result is None and self.receiver.poll():
            self.result = self.receiver.recv()
        return self.result is not None

    def sent(self) -> Sent:
        """Return what was sent.

        Raises:
            BenchError: the process failed.
        """
        try:
            self.result = self.result or self.receiver.recv()
        except EOFError:
            raise BenchError("the load failed, see above") from None
        self.process.join()
        assert self.result is not None  # noqa: S101 -- just received
        return self.result


def _send_apart(sender: Any, servers: str, rate: float | None, messages: int, tag: str, with_probes: bool) -> None:
    sender.send(send(servers, rate, messages, tag, with_probes=with_probes))


@contextmanager
def load_process(
    own: Settings, rate: float | None, messages: int, tag: str, *, with_probes: bool = True
) -> Iterator[Load]:
    """Have a process send messages while the caller goes on; the arguments are those of `send`."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (sender, own.bootstrap_servers, rate, messages, tag, with_probes)
    process = context.Process(target=_send_apart, args=arguments)
    process.start()
    sender.close()
    yield Load(process, receiver)


def load(own: Settings, rate: float | None, messages: int, tag: str, *, with_probes: bool) -> Sent:
    """Have a process send messages, and wait until it has."""
    with load_process(own, rate, messages, tag, with_probes=with_probes) as running:
        return running.sent()
