"""How fast the live tills are: messages to a real broker, beside Kafka's own producer test in the same run.

Belongs here: the measurement. Does not belong here: starting a broker, and how the result is shown.

The live side is the whole way: days are simulated, checked against the contract, written as JSON, sent with headers and
confirmed. The rival, `kafka-producer-perf-test`, sends one made-up record again and again. Both wait for all copies
(acks=all), send idempotently and without compression, to as many partitions of the same broker.
"""

import dataclasses
import re
import subprocess
import threading
import uuid
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

from retail_assets.contracts.topics import EVENT_TOPICS, Topic
from retail_assets.resources.kafka import KafkaResource
from retail_assets.resources.topics import TopicSettings
from retail_assets.settings import Settings
from retail_assets.simulator.scenario import DirtRates, Scenario
from retail_assets.simulator.simulation import simulate
from retail_assets.simulator.tills.live import LiveStream, SimulatedDays, fixed_headers
from retail_assets.simulator.tills.messages import HEADER_SEQUENCE
from retail_assets.simulator.tills.pacing import AtOnce
from retail_assets.simulator.tills.plan import StreamPlan
from retail_local import jars
from retail_local.errors import StackError
from retail_local.java import find_java

_PARTITIONS: Final = (4, 4, 2)
_HISTORY_DAYS: Final = 7
_CLASS: Final = "org.apache.kafka.tools.ProducerPerformance"
_RESULT: Final = re.compile(r"(\d+) records sent, ([\d.]+) records/sec")
_PERF_SECONDS: Final = 600
_LINGER: Final = "linger.ms=5"


@dataclass(frozen=True)
class LiveBench:
    """One measurement.

    Attributes:
        messages: messages that the live side sent.
        seconds: how long that took, from the first day's making to the last confirmation.
        live_events_per_s: messages a second.
        value_bytes: mean size of a message's value.
        message_bytes: mean size of a message: value, key and headers. The rival's records have this size.
        perf_test_records_per_s: records a second of the rival; None where it couldn't run.
        live_ratio_to_perf_test: the live side's speed over the rival's; None where that couldn't run.
        note: why the rival couldn't run; empty otherwise.
    """

    messages: int
    seconds: float
    live_events_per_s: float
    value_bytes: float
    message_bytes: float
    perf_test_records_per_s: float | None
    live_ratio_to_perf_test: float | None
    note: str


def bench_live(
    settings: Settings, *, stores: int = 40, products: int = 600, days: int = 4, rates: DirtRates | None = None
) -> LiveBench:
    """Measure live tills and Kafka's own producer test, one after the other, on topics of their own.

    Args:
        settings: say which broker, and where Java and its jars are.
        stores: size of the retailer.
        products: size of the retailer.
        days: business dates that are streamed.
        rates: how dirty the stream is; clean by default.

    Raises:
        BrokerError: the broker is away.
        ProducerError: the broker went away meanwhile.
    """
    kafka = KafkaResource(bootstrap_servers=settings.bootstrap_servers)
    tag = uuid.uuid4().hex[:8]
    topics = tuple(dataclasses.replace(topic, name=f"bench-{tag}-{topic.name}") for topic in EVENT_TOPICS)
    rival = f"bench-{tag}-perf-test"
    partitions = {topic.name: count for topic, count in zip(topics, _PARTITIONS, strict=True)}
    partitions[rival] = sum(_PARTITIONS)
    kafka.apply_topics({name: TopicSettings(count, 1, {}) for name, count in partitions.items()})
    try:
        plan, since = _plan(topics, stores, products, days, rates or DirtRates())
        stream = LiveStream(plan=plan, name=f"bench-{tag}", bootstrap_servers=settings.bootstrap_servers)
        report = stream.run(since, None, lambda _: AtOnce(), threading.Event())
        value_bytes, message_bytes = _sizes(plan, since, stream.name)
        speed, note = _perf_test(settings, rival, report.total.messages, round(message_bytes))
        return LiveBench(
            messages=report.total.messages,
            seconds=report.seconds,
            live_events_per_s=report.events_per_s,
            value_bytes=value_bytes,
            message_bytes=message_bytes,
            perf_test_records_per_s=speed,
            live_ratio_to_perf_test=report.events_per_s / speed if speed else None,
            note=note,
        )
    finally:
        kafka.delete_topics(partitions)


def _plan(
    topics: tuple[Topic, ...], stores: int, products: int, days: int, rates: DirtRates
) -> tuple[StreamPlan, date]:
    """Return the order of messages of a retailer who has been open for a week, and its first date to stream."""
    scenario = Scenario(
        last_date=date(2025, 11, 30), stores=stores, products=products, days=_HISTORY_DAYS + days, dirt=rates
    )
    simulation = simulate(scenario)
    since = scenario.last_date - timedelta(days=days - 1)
    # The week before isn't live: it is lived through before the measurement begins.
    simulation.day_events(since - timedelta(days=1))
    return StreamPlan(SimulatedDays(simulation), scenario.seed, rates, topics=topics), since


def _sizes(plan: StreamPlan, day: date, name: str) -> tuple[float, float]:
    """Return the mean size of values, and of whole messages, of one day."""
    messages = plan.day(day)
    headers = {
        place: sum(len(key) + len(value) for key, value in fixed_headers(topic, name, plan.wire)[0])
        for place, topic in enumerate(plan.topics)
    }
    # Sequence and time of sending: their names, nineteen and thirteen digits.
    numbered = len(HEADER_SEQUENCE) + 19 + len("produced_at") + 13
    value = messages["value"].bin.size().cast(pl.Float64)
    whole = value + messages["key"].bin.size() + messages["topic"].replace_strict(headers) + numbered
    return float(value.sum() / messages.height), float(whole.sum() / messages.height)


def _perf_test(settings: Settings, topic: str, records: int, size: int) -> tuple[float | None, str]:
    """Run Kafka's own producer test; return records a second, or why there are none."""
    try:
        classpath = ":".join(map(str, jars.classpath(settings, "kafka-perf")))
        java = find_java(settings).path
    except StackError as error:
        return None, str(error)
    answer = subprocess.run(
        [
            *(str(java), "-Xmx256m", "-cp", classpath, _CLASS),
            *("--bootstrap-server", settings.bootstrap_servers, "--topic", topic),
            *("--num-records", str(records), "--record-size", str(size), "--throughput", "-1"),
            *("--command-property", "acks=all", "enable.idempotence=true", _LINGER),
        ],
        capture_output=True,
        text=True,
        timeout=_PERF_SECONDS,
        check=False,
    )
    found = _RESULT.findall(answer.stdout)
    if answer.returncode != 0 or not found or int(found[-1][0]) != records:
        lines = (answer.stderr or answer.stdout).strip().splitlines()
        return None, f"kafka-producer-perf-test ended with {answer.returncode}: {lines[-1] if lines else 'no output'}"
    return float(found[-1][1]), ""
