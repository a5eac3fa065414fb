"""The service on a real broker and a real warehouse: whatever happens to it, the figures are right in the end."""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psutil
import pytest
from clickhouse_connect.driver.client import Client

from retail_assets.contracts.topics import POS_EVENTS
from retail_assets.resources.kafka import BrokerError
from retail_assets_tests.integration.streaming.conftest import (
    Figures,
    ServiceProcess,
    Till,
    basket,
    eventually,
    figures_of,
)
from retail_streaming.warehouse import version_of

pytestmark = pytest.mark.integration

STORES = ("S001", "S002", "S003", "S004", "S005")
#: The newest event of the first part; not ahead of anyone's clock.
NEWEST = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def shown(warehouse: Client) -> Figures:
    rows = warehouse.query("SELECT store_id, hour_start, units, revenue, transactions FROM retail.v_revenue_hourly")
    found = [
        ((str(store), hour.replace(tzinfo=UTC)), (units, revenue, int(count)))
        for store, hour, units, revenue, count in rows.result_rows
    ]
    assert len(dict(found)) == len(found), "the view shows a store's hour twice"
    return dict(found)


def wait_for(figures: Figures, warehouse: Client, service: ServiceProcess) -> None:
    def differences(found: Figures) -> dict[Any, Any]:
        keys = set(found) | set(figures)
        return {key: (found.get(key), figures.get(key)) for key in keys if found.get(key) != figures.get(key)}

    eventually(lambda: differences(shown(warehouse)), lambda differing: not differing, service.story)


def five_hours_of_sales(count: int) -> list[dict[str, Any]]:
    """Return baskets in time order up to `NEWEST`, every ninth of them a return."""
    draw = random.Random(7)  # noqa: S311 -- the same sales each time
    minutes = sorted((draw.uniform(0, 300) for _ in range(count)), reverse=True)
    return [
        basket(
            number,
            draw.choice(STORES),
            NEWEST - timedelta(minutes=before),
            kind="return" if number % 9 == 0 else "sale",
            lines=1 + number % 3,
        )
        for number, before in enumerate(minutes)
    ]


@pytest.mark.long
def test_figures_are_exact_through_repetitions_nonsense_late_events_and_a_kill(
    warehouse: Client, till: Till, service: ServiceProcess
) -> None:
    sold = five_hours_of_sales(400)
    first, second = sold[:250], sold[250:]
    service.environment["RETAIL_STREAM_MAX_OFFSETS_PER_TRIGGER"] = "60"
    till.sell([one for number, one in enumerate(first) for _ in range(2 if number % 10 == 0 else 1)])
    till.babble(b"not json", b'{"transaction_id": "T1"}')
    # Slow enough that there is a middle to kill it in.
    service.start(RETAIL_STREAM_TRIGGER_SECONDS="4")
    eventually(lambda: shown(warehouse), bool, service.story)
    assert service.end(signal.SIGKILL) == -signal.SIGKILL
    assert shown(warehouse) != figures_of(first), "it was killed too late to prove anything"

    till.sell(second)
    service.start()
    wait_for(figures_of(sold), warehouse, service)

    repeated = second[-1]
    late = basket(1000, "S001", NEWEST - timedelta(minutes=40))
    too_late = basket(1001, "S001", NEWEST - timedelta(minutes=200))
    ahead = basket(1002, "S001", datetime.now(UTC) + timedelta(days=30))
    newest = basket(1003, "S002", NEWEST + timedelta(minutes=1), kind="void")
    till.sell([repeated, late, too_late, ahead])
    eventually(lambda: service.total("ahead", "sales"), lambda count: count == 1, service.story)
    till.sell([newest])
    wait_for(figures_of([*sold, late, newest]), warehouse, service)
    assert service.end(signal.SIGTERM) == 0, service.story()
    assert shown(warehouse) == figures_of([*sold, late, newest])
    assert service.total("late", "sales") == 1
    # The batch that was killed may have been logged before it was killed, and is logged again.
    assert service.total("refused", "sales") >= 2
    assert service.lines("service stopped")


@pytest.mark.long
def test_a_fresh_checkpoint_begins_anew_and_its_rows_win_over_the_old_ones(
    warehouse: Client, till: Till, service: ServiceProcess
) -> None:
    sold = five_hours_of_sales(60)
    till.sell(sold)
    at = int(NEWEST.timestamp() * 1000)
    event = {"event_id": "E1", "store_id": "S001", "register_id": "R1", "occurred_at": at, "kind": "open"}
    till.report([event, {**event, "event_id": "E2", "occurred_at": at + 1, "kind": "offline"}])
    till.report([{**event, "event_id": "E3", "occurred_at": at - 1, "kind": "heartbeat"}])
    service.start()
    wait_for(figures_of(sold), warehouse, service)
    health = "SELECT store_id, register_id, last_kind FROM retail.v_pos_health"
    wanted = [("S001", "R1", "offline")]
    eventually(lambda: list(warehouse.query(health).result_rows), lambda rows: rows == wanted, service.story)
    assert service.end(signal.SIGTERM) == 0, service.story()

    newest = int(str(warehouse.command("SELECT max(version) FROM retail.rt_revenue_hourly")))
    lowest = "SELECT min(version) FROM (SELECT version FROM retail.rt_revenue_hourly FINAL)"
    service.start(RETAIL_STREAM_CHECKPOINT_URI=(service.folder / "another").as_uri())
    eventually(lambda: int(str(warehouse.command(lowest))), lambda version: version > newest, service.story)
    wait_for(figures_of(sold), warehouse, service)
    assert list(warehouse.query(health).result_rows) == wanted
    assert service.end(signal.SIGTERM) == 0, service.story()


@pytest.mark.long
def test_dead_letters_that_are_more_than_a_batch_are_read_without_a_pause(
    warehouse: Client, till: Till, service: ServiceProcess
) -> None:
    till.babble(*(b"not json %d" % number for number in range(100)))
    # In batches of ten a minute apart it would take nine minutes.
    service.start(RETAIL_STREAM_MAX_OFFSETS_PER_TRIGGER="10", RETAIL_STREAM_TRIGGER_SECONDS="4")
    count = "SELECT count() FROM retail.v_dead_letters"
    eventually(lambda: int(str(warehouse.command(count))), lambda rows: rows == 100, service.story)
    assert service.end(signal.SIGTERM) == 0, service.story()
    batches = [line["rows_in"] for line in service.lines("batch") if line["query"] == "dead_letters"]
    assert max(batches) == 10
    assert sum(batches) == 100


@pytest.mark.long
def test_rows_that_a_wrong_clock_left_are_forgotten_when_a_query_begins_anew_to_forget(
    warehouse: Client, till: Till, service: ServiceProcess
) -> None:
    sold = five_hours_of_sales(60)
    till.sell(sold)
    event = {"event_id": "E1", "store_id": "S001", "register_id": "R1", "kind": "offline"}
    till.report([{**event, "occurred_at": int(NEWEST.timestamp() * 1000)}])
    # What a run of the service left whose clock was ahead by 40 days.
    ahead = datetime.now(UTC) + timedelta(days=40)
    hour, version = ahead.replace(minute=0, second=0, microsecond=0), version_of(round(ahead.timestamp() * 1000), 3)
    warehouse.insert("retail.rt_revenue_hourly", [("S009", hour, Decimal(1), Decimal(2), 1, version, ahead)])
    warehouse.insert("retail.rt_pos_hourly", [("S001", "R9", hour, ahead, "heartbeat", 1, 0, 0, 0, 0, version, ahead)])
    registers = "SELECT register_id, last_kind FROM retail.rt_pos_hourly FINAL ORDER BY register_id"

    def rows() -> list[Any]:
        return list(warehouse.query(registers).result_rows)

    service.start()
    eventually(rows, lambda found: found == [("R1", "offline"), ("R9", "heartbeat")], service.story)
    eventually(lambda: len(shown(warehouse)), lambda count: count == len(figures_of(sold)) + 1, service.story)
    assert service.end(signal.SIGTERM) == 0, service.story()

    environment = {**os.environ, **service.environment}
    command = [sys.executable, "-m", "retail_streaming", "begin-anew", "--forget", "sales", "tills"]
    subprocess.run(command, env=environment, check=True, timeout=120)
    for start in (2, 3):
        service.start()
        eventually(lambda: len(service.lines("service started")), start.__eq__, service.story)
        forgotten = eventually(lambda: service.lines("rows forgotten"), lambda lines: len(lines) == 2, service.story)
        wait_for(figures_of(sold), warehouse, service)
        assert service.end(signal.SIGTERM) == 0, service.story()
    assert {line["query"]: line["rows"] for line in forgotten} == {
        "sales": {"rt_revenue_hourly": 1, "rt_sales_velocity": 0},
        "tills": {"rt_pos_hourly": 1},
    }
    assert rows() == [("R1", "offline")]


@pytest.mark.long
def test_the_service_ends_when_it_is_told_to_though_spark_hangs(
    warehouse: Client, till: Till, service: ServiceProcess
) -> None:
    till.sell(five_hours_of_sales(10))
    service.start()
    eventually(lambda: service.lines("batch"), bool, service.story)
    assert service.process is not None
    machines = psutil.Process(service.process.pid).children(recursive=True)
    for machine in machines:
        machine.suspend()
    try:
        # By now the loop that watches the queries waits for an answer.
        time.sleep(3)
        assert service.end(signal.SIGTERM) == 1
    finally:
        for machine in machines:
            if machine.is_running():
                machine.resume()
    assert service.lines("service cut off")


def test_check_says_what_is_there_and_a_missing_topic_is_one_line(
    warehouse: Client, till: Till, service: ServiceProcess
) -> None:
    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "retail_streaming", "check"],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    good = check()
    assert good.returncode == 0, good.stderr
    assert "has sales-transactions, inventory-updates, pos-events, dead-letters" in good.stdout

    def gone() -> bool:
        try:
            till.kafka.state(POS_EVENTS.name)
        except BrokerError:
            return True
        return False

    till.kafka.delete_topics([POS_EVENTS.name])
    eventually(gone, bool, lambda: "the topic is still there")
    bad = check()
    assert bad.returncode == 1
    assert "has no topic pos-events: run `retail topics apply`" in bad.stderr
    assert "Traceback" not in bad.stderr
