"""The streaming benchmark's rival: a plain consumer that decodes messages and inserts them as they are, and no more.

It validates nothing, drops no repetition, keeps no state and survives nothing: what the service does beyond it is the
difference. Does not belong here: what is measured (`streaming`).
"""

import contextlib
import json
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer

from retail_assets.contracts.topics import EVENT_TOPICS
from retail_assets.resources.clickhouse import connect
from retail_assets.settings import Settings

RIVAL_TABLE: Final = "bench_rival"
_CREATE: Final = f"""
CREATE TABLE IF NOT EXISTS {RIVAL_TABLE}
(topic LowCardinality(String), store_id LowCardinality(String), name String, occurred_at Int64, value String)
ENGINE = MergeTree ORDER BY (store_id, name, occurred_at)
"""
_INSERT_EVERY_S: Final = 1.0
_POLL_MESSAGES: Final = 5_000


def consume(settings: Settings, group: str, ready: Any, stop: Any) -> None:
    """Insert what comes, about once a second, until told to stop.

    Args:
        settings: say which broker and warehouse.
        group: of the consumer; a new one begins with the oldest message.
        ready: an event that is set when it reads.
        stop: an event.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": settings.bootstrap_servers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    warehouse = connect(settings, database=settings.clickhouse_database)
    consumer.subscribe([topic.name for topic in EVENT_TOPICS])
    rows: list[tuple[str, str, str, int, str]] = []
    last = time.monotonic()
    try:
        while not stop.is_set():
            for message in consumer.consume(_POLL_MESSAGES, timeout=0.1):
                ready.set()
                value = message.value() or b""
                with contextlib.suppress(ValueError, KeyError):
                    event = json.loads(value)
                    name = event.get("product_id") or event.get("register_id")
                    rows.append((str(message.topic()), event["store_id"], name, event["occurred_at"], value.decode()))
            if rows and time.monotonic() - last >= _INSERT_EVERY_S:
                last = time.monotonic()
                names = ("topic", "store_id", "name", "occurred_at", "value")
                columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
                warehouse.insert_arrow(RIVAL_TABLE, pa.table(columns), settings={"async_insert": 0})
                rows = []
    finally:
        consumer.close()
        warehouse.close()


@contextmanager
def running_rival(own: Settings, warehouse: Client, group: str) -> Iterator[None]:
    """Start the rival in a process of its own, with an empty table and a consumer group of that name, and end it."""
    warehouse.command(f"DROP TABLE IF EXISTS {RIVAL_TABLE}")
    warehouse.command(_CREATE)
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    process = context.Process(target=consume, args=(own, f"rival-{group}", ready, stop))
    process.start()
    try:
        yield
    finally:
        stop.set()
        process.join(timeout=30)
