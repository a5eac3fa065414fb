"""The service while the warehouse is away, and while one of its queries can't go on, with a gateway of its own."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from clickhouse_connect.driver.client import Client

from retail_assets.resources.migrations import migrate
from retail_assets_tests.asking import ask
from retail_assets_tests.integration.gateway.conftest import PASSWORDS, GatewayProcess
from retail_assets_tests.integration.streaming.conftest import (
    Figures,
    ServiceProcess,
    Till,
    basket,
    eventually,
    figures_of,
)
from retail_local.ports import free_ports

pytestmark = pytest.mark.integration

NEWEST = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
SOLD = [basket(number, f"S{number % 3}", NEWEST - timedelta(seconds=10 * number)) for number in range(200)]

OPEN = {"event_id": "E1", "store_id": "S1", "register_id": "R1", "kind": "open"}


@pytest.fixture
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Return a warehouse that may be killed, with the newest schema."""
    folder = tmp_path_factory.mktemp("warehouse")
    one = GatewayProcess(folder, free_ports(1)[0])
    one.secrets_dir.mkdir()
    for user, password in PASSWORDS.items():
        (one.secrets_dir / f"clickhouse_{user}").write_text(password + "\n")
    one.start()
    client = one.client()
    migrate(client, "retail")
    client.close()
    yield one
    if one.process is not None and one.process.poll() is None:
        one.signal(signal.SIGTERM)


class Operator:
    """Starts the service on the gateway, and asks both how they are."""

    def __init__(self, service: ServiceProcess, gateway: GatewayProcess, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self.service = service
        self.gateway = gateway
        self.spill = folder / "spill"
        service.environment |= {
            "RETAIL_VAR_DIR": str(folder),
            "RETAIL_CLICKHOUSE_PORT": str(gateway.port),
            "RETAIL_CLICKHOUSE_PASSWORD": PASSWORDS["etl"],
            "RETAIL_STREAM_HTTP_PORT": str(self.port),
            "RETAIL_STREAM_SPILL_AFTER_SECONDS": "1",
        }

    def ask(self, path: str) -> tuple[int, str]:
        try:
            return ask(self.port, path)
        except OSError as error:
            return 0, str(error)

    def ready(self) -> tuple[int, dict[str, Any]]:
        status, body = self.ask("/readyz")
        return status, json.loads(body) if status else {"status": body}

    def metric(self, name: str) -> float:
        lines = self.ask("/metrics")[1].splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), -1.0)

    def wait(self, look: Callable[[], Any]) -> None:
        eventually(look, bool, self.service.story)

    def wait_for(self, figures: Figures) -> None:
        client = self.gateway.client(database="retail")
        eventually(lambda: shown(client), lambda found: found == figures, self.service.story)
        client.close()

    def kill_spark(self) -> int:
        """Kill the service's JVM, and return the exit code that the service ends with by itself."""
        assert self.service.process is not None
        children = psutil.Process(self.service.process.pid).children(recursive=True)
        (jvm,) = (child for child in children if child.name() == "java")
        jvm.kill()
        return self.service.process.wait(timeout=60)

    def waiting(self) -> list[Path]:
        return sorted(self.spill.glob("*/*"))


def shown(client: Client) -> Figures:
    rows = client.query("SELECT store_id, hour_start, units, revenue, transactions FROM v_revenue_hourly").result_rows
    return {
        (store, hour.replace(tzinfo=UTC)): (units, revenue, int(count)) for store, hour, units, revenue, count in rows
    }


@pytest.fixture
def operator(service: ServiceProcess, gateway: GatewayProcess, tmp_path: Path) -> Operator:
    return Operator(service, gateway, tmp_path / "var")


def test_rows_wait_on_the_disk_while_the_warehouse_is_away_and_the_figures_are_right_afterwards(
    operator: Operator, till: Till
) -> None:
    service, gateway = operator.service, operator.gateway
    till.sell(SOLD[:50])
    service.start()
    operator.wait_for(figures_of(SOLD[:50]))
    operator.wait(lambda: operator.ready()[0] == 200)
    assert operator.ask("/healthz")[0] == 200

    gateway.signal(signal.SIGKILL)
    for end in (80, 110):
        till.sell(SOLD[end - 30 : end])
        read = 'retail_stream_messages_total{query="sales"}'
        operator.wait(lambda read=read, end=end: operator.metric(read) == end)
    status, body = operator.ready()
    assert (status, body["status"]) == (503, "spilling")
    assert operator.ask("/healthz")[0] == 200
    assert len(operator.waiting()) == operator.metric("retail_stream_spill_files") >= 4

    gateway.start()
    operator.wait_for(figures_of(SOLD[:110]))
    operator.wait(lambda: not operator.waiting() and operator.ready()[0] == 200)

    gateway.signal(signal.SIGKILL)
    till.sell(SOLD[110:150])
    operator.wait(operator.waiting)
    assert operator.kill_spark() == 1, service.story()
    assert "Spark's JVM has ended" in service.lines("service failed")[0]["error"]
    till.sell(SOLD[150:])
    gateway.start()
    service.start()
    operator.wait_for(figures_of(SOLD))
    operator.wait(lambda: not operator.waiting())
    client = gateway.client(database="retail")
    told = "SELECT uniqExact(query), sum(rows_in) > 0 FROM rt_query_progress FINAL WHERE query = 'sales'"
    eventually(lambda: client.query(told).result_rows[0], lambda row: row == (1, 1), service.story)
    client.close()

    gateway.signal(signal.SIGKILL)
    till.sell([basket(999, "S1", NEWEST)])
    operator.wait(operator.waiting)
    begun = time.monotonic()
    assert service.end(signal.SIGTERM) == 0, service.story()
    assert time.monotonic() - begun < 60
    assert operator.waiting(), "what waits is for the next start"


@pytest.mark.long
def test_a_query_that_ends_is_started_again_and_one_that_cannot_go_on_is_named_while_the_others_do(
    operator: Operator, till: Till
) -> None:
    service, gateway = operator.service, operator.gateway
    service.environment |= {
        "RETAIL_STREAM_PATIENCE_SECONDS": "1",
        "RETAIL_STREAM_SPILL_MAX_MB": "0",
        "RETAIL_STREAM_RESTARTS": "1000",
    }
    till.sell(SOLD[:20])
    service.start()
    operator.wait_for(figures_of(SOLD[:20]))
    gateway.signal(signal.SIGKILL)
    till.sell(SOLD[20:40])
    operator.wait(lambda: operator.metric('retail_stream_query_restarts_total{query="sales"}') >= 1)
    assert service.lines("starting query again")[0]["query"] == "sales"
    gateway.start()
    operator.wait_for(figures_of(SOLD[:40]))
    operator.wait(lambda: operator.ready()[0] == 200)

    gateway.text("DROP TABLE retail.rt_inventory SYNC")
    movement = {
        "event_id": "E1",
        "store_id": "S1",
        "product_id": "P1",
        "occurred_at": int(NEWEST.timestamp() * 1000),
        "movement": "receipt",
        "quantity_delta": 5,
        "on_hand_after": 5,
    }
    till.move([movement])
    operator.wait(lambda: service.lines("query failed"))
    status, body = operator.ready()
    assert status == 503
    assert {name for name, one in body["queries"].items() if one["state"] == "failed"} == {"inventory"}
    assert "retail migrate" in body["queries"]["inventory"]["why"]
    assert operator.metric('retail_stream_query_up{query="inventory"}') == 0
    assert operator.ask("/healthz")[0] == 200
    till.sell(SOLD[40:])
    operator.wait_for(figures_of(SOLD))
    assert [line["query"] for line in service.lines("query failed")] == ["inventory"]

    for table in ("rt_revenue_hourly", "rt_pos_hourly", "rt_dead_letters"):
        gateway.text(f"DROP TABLE retail.{table} SYNC")
    till.sell([basket(999, "S1", NEWEST)])
    till.report([{**OPEN, "occurred_at": int(NEWEST.timestamp() * 1000)}])
    till.babble(b"not json")
    assert service.process is not None
    assert service.process.wait(timeout=120) == 1, service.story()
    (line,) = service.lines("service failed")
    assert line["error"].startswith("all queries have failed")
