"""Topics that were made anew and a checkpoint that is damaged: what can't go on says so, the rest goes on, nothing is
mixed.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from clickhouse_connect.driver.client import Client

from retail_assets.contracts.topics import INVENTORY_UPDATES, SALES_TRANSACTIONS
from retail_assets_tests.asking import ask
from retail_assets_tests.integration.streaming.conftest import (
    ServiceProcess,
    Till,
    basket,
    eventually,
    make_anew,
)
from retail_local.ports import free_ports

pytestmark = pytest.mark.integration

NEWEST = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def sold(*numbers: int) -> list[dict[str, Any]]:
    return [basket(number, "S1", NEWEST) for number in numbers]


def moved(*numbers: int, product: str) -> list[dict[str, Any]]:
    return [
        {
            "event_id": f"E{number}",
            "store_id": "S1",
            "product_id": product,
            "occurred_at": int(NEWEST.timestamp() * 1000) + number,
            "movement": "receipt",
            "quantity_delta": 1,
            "on_hand_after": number,
        }
        for number in numbers
    ]


@contextmanager
def frozen(service: ServiceProcess) -> Iterator[None]:
    """Hold the service and its JVM still, so that it sees only what came of what happens meanwhile."""
    assert service.process is not None
    process = psutil.Process(service.process.pid)
    family = [process, *process.children(recursive=True)]
    for one in family:
        one.suspend()
    try:
        yield
    finally:
        for one in family:
            one.resume()


def failures(service: ServiceProcess, port: int) -> dict[str, str]:
    """Return why each query failed that did: its line in the log, when the metrics say the same."""
    lines = {line["query"]: str(line["error"]) for line in service.lines("query failed")}
    metrics = ask(port, "/metrics")[1]
    counted = [line for line in metrics.splitlines() if line.startswith("retail_stream_query_failures_total{")]
    assert sorted(line.rpartition(" ")[2] for line in counted) == ["1.0"] * len(lines), metrics
    return lines


def failed(service: ServiceProcess, port: int) -> Callable[[], set[str]]:
    def names() -> set[str]:
        try:
            return set(failures(service, port))
        except (OSError, AssertionError):  # not up yet, or between the line and the metric
            return set()

    return names


def retail_streaming(service: ServiceProcess, arguments: Sequence[str]) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "retail_streaming", *arguments],
        env={**os.environ, **service.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_what_was_made_anew_or_damaged_is_named_and_never_mixed_in_and_begins_anew_when_it_is_told(
    warehouse: Client, till: Till, service: ServiceProcess, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    service.environment["RETAIL_STREAM_HTTP_PORT"] = str(port)
    baskets = "SELECT sum(transactions) FROM retail.v_revenue_hourly"
    movements = "SELECT product_id, movements FROM retail.rt_inventory FINAL ORDER BY product_id"
    registers = "SELECT sum(events) FROM retail.v_pos_hourly"

    def shows(query: str, *rows: tuple[Any, ...]) -> None:
        eventually(lambda: list(warehouse.query(query).result_rows), lambda found: found == list(rows), service.story)

    till.sell(sold(*range(5)))
    till.move(moved(*range(5), product="old"))
    event = {"event_id": "E1", "store_id": "S1", "register_id": "R1", "kind": "open"}
    till.report([{**event, "occurred_at": int(NEWEST.timestamp() * 1000)}])
    service.start()
    shows(baskets, (5,))
    shows(movements, ("old", 5))
    shows(registers, (1,))

    # More than before, so that the offsets alone look as if it were the same topic.
    with frozen(service):
        make_anew(till.kafka, INVENTORY_UPDATES)
        till.move(moved(*range(5, 15), product="new"))
    # One reads nothing else, the other looks at all topics.
    eventually(failed(service, port), lambda names: names == {"inventory", "dead_letters"}, service.story)
    for error in failures(service, port).values():
        assert "topic inventory-updates" in error
        assert "deleted and made anew" in error
        assert "retail-streaming begin-anew" in error
    assert list(warehouse.query(movements).result_rows) == [("old", 5)]
    till.sell(sold(5))
    shows(baskets, (6,))
    assert service.end(signal.SIGTERM) == 1

    make_anew(till.kafka, SALES_TRANSACTIONS)
    till.sell(sold(*range(100, 120)))
    (newest, *_) = sorted((tmp_path / "checkpoints/tills/offsets").glob("[0-9]*"), key=lambda path: -int(path.name))
    newest.write_bytes(newest.read_bytes()[:100])
    newest.with_name(f".{newest.name}.crc").unlink()
    said = retail_streaming(service, ["begin-anew", "inventory", "dead_letters"])
    assert said.count("set-aside-") == 2
    service.out.unlink()
    service.start()
    shows(movements, ("new", 10), ("old", 5))
    eventually(failed(service, port), lambda names: names == {"sales", "tills"}, service.story)
    errors = failures(service, port)
    assert "topic sales-transactions" in errors["sales"]
    assert "deleted and made anew" in errors["sales"]
    assert f"set {(tmp_path / 'checkpoints/tills').as_uri()} aside" in errors["tills"]
    assert "damaged" in errors["tills"]
    assert not service.lines("starting query again")
    assert service.end(signal.SIGTERM) == 1
    assert list(warehouse.query(baskets).result_rows) == [(6,)]
    assert list(warehouse.query(registers).result_rows) == [(1,)]
