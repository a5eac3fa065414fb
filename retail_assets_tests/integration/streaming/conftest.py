"""The service as a process of its own, with a real broker, a real warehouse, and messages that tills might send."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest

from retail_assets.contracts.topics import DEAD_LETTERS, INVENTORY_UPDATES, POS_EVENTS, SALES_TRANSACTIONS, Topic
from retail_assets.resources.kafka import BrokerError, KafkaResource, Letter
from retail_assets.resources.topics import read_topic_settings
from retail_assets.settings import Mode

_Found = TypeVar("_Found")

#: Store and hour, to units, revenue and baskets.
Figures = dict[tuple[str, datetime], tuple[Decimal, Decimal, int]]


def eventually(
    look: Callable[[], _Found], wanted: Callable[[_Found], bool], explain: Callable[[], str], seconds: float = 240
) -> _Found:
    """Look again and again until what is found is wanted; generous, since the machine may be busy."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if wanted(found):
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"still {found!r}\n{explain()}")
        time.sleep(0.3)


def basket(number: int, store: str, at: datetime, *, kind: str = "sale", lines: int = 2) -> dict[str, Any]:
    """Return a sales transaction; amounts follow from its number."""
    return {
        "transaction_id": f"T{number}",
        "store_id": store,
        "register_id": "R1",
        "cashier_id": "C1",
        "occurred_at": int(at.timestamp() * 1000),
        "currency": "EUR",
        "payment_method": "card",
        "kind": kind,
        "lines": [
            {
                "line_no": line,
                "product_id": f"P{number % 7}",
                "quantity": round(0.5 + number % 5 + 0.333 * line, 3),
                "unit_price": round(0.99 + number % 13, 2),
                "discount": 0.1 if number % 3 else 0,
                "promotion_id": None,
            }
            for line in range(1, lines + 1)
        ],
    }


def figures_of(baskets: Sequence[dict[str, Any]]) -> Figures:
    """Compute independently, in exact decimals, what the warehouse should show; repetitions may be among them."""
    cent = Decimal("0.01")
    sums: dict[tuple[str, datetime], list[Any]] = defaultdict(lambda: [Decimal(0), Decimal(0), 0])
    for one in {basket["transaction_id"]: basket for basket in baskets}.values():
        at = datetime.fromtimestamp(one["occurred_at"] / 1000, UTC)
        entry = sums[one["store_id"], at.replace(minute=0, second=0, microsecond=0)]
        sign = 1 if one["kind"] == "sale" else -1
        for line in one["lines"]:
            quantity, price, discount = (Decimal(str(line[name])) for name in ("quantity", "unit_price", "discount"))
            entry[0] += sign * quantity
            entry[1] += sign * (quantity * price - discount).quantize(cent, ROUND_HALF_UP)
        entry[2] += 1
    return {key: (units, revenue, count) for key, (units, revenue, count) in sums.items()}


@dataclass
class Till:
    """Sends messages to the real broker."""

    kafka: KafkaResource

    def sell(self, baskets: Sequence[dict[str, Any]]) -> None:
        self._send(SALES_TRANSACTIONS.name, baskets)

    def move(self, movements: Sequence[dict[str, Any]]) -> None:
        self._send(INVENTORY_UPDATES.name, movements)

    def report(self, events: Sequence[dict[str, Any]]) -> None:
        self._send(POS_EVENTS.name, events)

    def babble(self, *values: bytes) -> None:
        """Send what is no event to the sales topic."""
        self.kafka.send(SALES_TRANSACTIONS.name, [Letter(b"?", value, []) for value in values])

    def _send(self, topic: str, events: Sequence[dict[str, Any]]) -> None:
        letters = [Letter(event["store_id"].encode(), json.dumps(event).encode(), []) for event in events]
        assert self.kafka.send(topic, letters) == len(events)


@dataclass
class ServiceProcess:
    """`retail-streaming run` as a user would start it, again and again."""

    folder: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def out(self) -> Path:
        return self.folder / "out.log"

    def start(self, **environment: str) -> None:
        with self.out.open("ab") as out, (self.folder / "err.log").open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "retail_streaming", "run"],
                cwd=self.folder,
                env={**os.environ, **self.environment, **environment},
                stdout=out,
                stderr=err,
            )

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=90)

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return its log lines of one kind, of all starts; every whole line must be JSON."""
        text = self.out.read_text(encoding="utf-8") if self.out.exists() else ""
        found = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in found if line["event"] == event]

    def total(self, name: str, query: str) -> int:
        return sum(line[name] for line in self.lines("batch") if line["query"] == query)

    def story(self) -> str:
        """Return the end of what it said, for a failed test."""
        ends = [(self.folder / name).read_text(errors="replace")[-3000:] for name in ("out.log", "err.log")]
        return "\n--- standard error:\n".join(ends)


def make_anew(kafka: KafkaResource, *wanted: Topic) -> None:
    """Delete topics, if they are there, and make them anew, empty."""
    settings_of = read_topic_settings(Mode.LOCAL)
    kafka.delete_topics([topic.name for topic in wanted])

    def empty() -> bool:
        try:
            kafka.apply_topics({topic.name: settings_of[topic.name] for topic in wanted})
            return not any(sum(kafka.state(topic.name).end.values()) for topic in wanted)
        except BrokerError:  # deletion goes on in the background
            return False

    eventually(empty, bool, lambda: "the topics don't get empty")


@pytest.fixture
def topics(kafka: KafkaResource) -> KafkaResource:
    """Return the broker with empty topics: other tests of the session may have used them."""
    make_anew(kafka, SALES_TRANSACTIONS, INVENTORY_UPDATES, POS_EVENTS, DEAD_LETTERS)
    return kafka


@pytest.fixture
def till(topics: KafkaResource) -> Till:
    return Till(topics)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    """Return the service, not started; it is ended with the test."""
    process = ServiceProcess(
        tmp_path,
        {
            "RETAIL_SPARK_MASTER": "local[2]",
            "RETAIL_SPARK_DRIVER_MEMORY": "1g",
            "RETAIL_STREAM_CHECKPOINT_URI": (tmp_path / "checkpoints").as_uri(),
            "RETAIL_STREAM_STATE_PARTITIONS": "2",
            "RETAIL_STREAM_TRIGGER_SECONDS": "0.2",
            "RETAIL_STREAM_LATE_MINUTES": "60",
            # The port may be in use on this machine.
            "RETAIL_STREAM_HTTP_PORT": "0",
            # A service that lives for seconds is not worth an optimising compiler.
            "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        },
    )
    yield process
    if process.process is not None and process.process.poll() is None:
        process.process.kill()
        process.process.wait(timeout=30)
