"""A dirty stream through a service, a broker and a warehouse that are killed -9: every figure is that of one pass.

A day of a small retailer, killed a few times; `make soak` sends a million events and kills twenty times.
"""

import os
import random
import signal
import threading
from datetime import date, timedelta

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error

from retail_assets.contracts.topics import DEAD_LETTERS
from retail_assets.resources.kafka import KafkaResource
from retail_assets.settings import Settings
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.simulation import simulate
from retail_assets.simulator.tills.live import LiveStream, SimulatedDays
from retail_assets.simulator.tills.pacing import ByRate
from retail_assets.simulator.tills.plan import StreamPlan
from retail_assets_tests.integration.streaming.conftest import ServiceProcess, eventually
from retail_assets_tests.integration.test_raw_ingest import whole_topic
from retail_assets_tests.live_picture import differences, expected, shown
from retail_assets_tests.made_up_stream import DIRT
from retail_local.stack import Stack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(14_400)]

#: Events at the least, and how often something is killed while they are sent.
EVENTS = int(os.environ.get("SOAK_EVENTS", "6000"))
KILLS = int(os.environ.get("SOAK_KILLS", "3"))
SEED = int(os.environ.get("SOAK_SEED", "7"))
#: How long the stream takes, seconds; the killing is spread over it.
SECONDS = max(60, (25 if KILLS < 10 else 45) * KILLS)
LAST = date(2026, 3, 1)


def stream_plan() -> tuple[StreamPlan, date, pl.DataFrame]:
    """Return a plan, its first date, and its messages, at least `EVENTS` of them."""
    stores, products, days_there = (3, 60, 30) if EVENTS < 100_000 else (20, 400, 30 + EVENTS // 25_000)
    scenario = Scenario(last_date=LAST, stores=stores, products=products, days=days_there, dirt=DIRT)
    plan = StreamPlan(SimulatedDays(simulate(scenario)), scenario.seed, DIRT)
    days = [plan.day(LAST)]
    while sum(map(len, days)) < EVENTS:
        days.append(plan.day(LAST - timedelta(days=len(days))))
    first = LAST - timedelta(days=len(days) - 1)
    return plan, first, pl.concat(list(plan.stretches(first)))


class Killer:
    """Kills the service, the broker and the warehouse in turn; what nobody supervises it starts again."""

    def __init__(self, service: ServiceProcess, settings: Settings) -> None:
        self._service = service
        self._stack = Stack(settings)
        self.killed: list[str] = []

    def kill(self, victim: str) -> None:
        self.killed.append(victim)
        if victim == "service":
            self._service.end(signal.SIGKILL)
            self._service.start()
            return
        (pid,) = (one.pid for one in self._stack.status(ask=False) if one.name == victim)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)


def test_every_figure_is_right_whoever_was_killed_meanwhile(
    warehouse: Client, topics: KafkaResource, service: ServiceProcess, settings: Settings
) -> None:
    plan, first, messages = stream_plan()
    draw = random.Random(SEED)  # noqa: S311 -- the same moments each time
    stream = LiveStream(
        plan=plan, name=f"soak-{os.getpid()}", bootstrap_servers=settings.bootstrap_servers, timeout_s=180
    )
    rate = len(messages) / SECONDS
    failures: list[BaseException] = []

    def send() -> None:
        try:
            stream.run(first, None, lambda _: ByRate(rate), threading.Event())
        except BaseException as error:  # noqa: BLE001 -- told to the test
            failures.append(error)

    service.environment |= {"RETAIL_STREAM_TRIGGER_SECONDS": "1", "RETAIL_STREAM_LATE_MINUTES": str(24 * 60)}
    service.start()
    sending = threading.Thread(target=send)
    sending.start()
    killer = Killer(service, settings)
    victims = [("service", "kafka", "warehouse")[number % 3] for number in range(KILLS)]
    for victim in victims:
        sending.join(draw.uniform(0.5, 1.5) * SECONDS / (KILLS + 1))
        killer.kill(victim)
    sending.join()
    assert not failures, failures
    wanted = expected(messages)

    def missing() -> dict[str, str]:
        try:
            return differences(shown(warehouse), wanted)
        except (Error, OSError) as error:
            return {"warehouse": str(error)}

    eventually(missing, lambda said: not said, service.story, seconds=180 + EVENTS / 500)
    assert service.end(signal.SIGTERM) == 0, service.story()
    assert missing() == {}
    letters = {message.key for message in whole_topic(DEAD_LETTERS, topics)}
    assert len(letters) == sum(int(str(row[-1])) for row in wanted["rt_dead_letters"])
    assert killer.killed == victims
