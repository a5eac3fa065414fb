"""`retail simulate live` as a user runs it: a process, a small simulation and a real broker."""

import json
import os
import re
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from retail_assets.cli import main
from retail_assets.contracts.topics import EVENT_TOPICS, tenant_topics
from retail_assets.resources.kafka import KafkaResource
from retail_assets.resources.topics import read_topic_settings
from retail_assets.settings import Mode, Settings
from retail_assets.simulator.scenario_file import load_scenario
from retail_assets.simulator.simulation import simulate
from retail_assets.simulator.tills.live import SimulatedDays
from retail_assets.simulator.tills.plan import StreamPlan
from retail_assets_tests.integration.simulator.reading import on_topic
from retail_assets_tests.made_up_stream import DIRT

pytestmark = pytest.mark.integration

SCENARIO = """
[retailer]
last_date = 2026-01-31
days = {days}
seed = {seed}

[stores]
count = {stores}

[catalogue]
products = {products}
"""


@pytest.fixture
def topics(kafka: KafkaResource) -> Iterator[None]:
    """The platform's own topics, empty."""
    names = [topic.name for topic in EVENT_TOPICS]
    wanted = read_topic_settings(Mode.LOCAL)
    kafka.apply_topics({name: wanted[name] for name in names})
    yield
    kafka.delete_topics(names)


@pytest.fixture
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A retailer whose stream has a name of its own, and the same in every run of the test."""
    seed = zlib.crc32(request.node.name.encode())
    return written(tmp_path / "shop.toml", seed=seed, days=20, stores=2, products=30)


def written(path: Path, **fields: int) -> Path:
    path.write_text(SCENARIO.format(**fields), encoding="utf-8")
    return path


def begin(shop: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "retail_assets.cli", "simulate", "live", "--scenario", str(shop), *arguments],
        env=os.environ | {"RETAIL_CACHE_DIR": str(shop.parent / "cache"), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(run: subprocess.Popen[str], words: str) -> str:
    """Read what a run shows until a line has these words; return that line."""
    assert run.stderr is not None
    shown = []
    for line in run.stderr:
        shown.append(line)
        if words in line:
            return line
    raise AssertionError(f"ended with {run.wait()} and never said {words!r}: {''.join(shown)}")


def finished(shop: Path, *arguments: str) -> str:
    """Run to the end and return what was shown."""
    run = begin(shop, *arguments)
    output, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    return output


def identity_of(value: bytes, field: str) -> str | None:
    try:
        return str(json.loads(value)[field])
    except ValueError:
        return None


def on_topics(settings: Settings) -> list[tuple[bytes, str, int]]:
    """Return stream, topic and number of every message."""
    return [
        (headers["producer"], topic.name, sequence)
        for topic in EVENT_TOPICS
        for messages in on_topic(settings.bootstrap_servers, topic).values()
        for _, _, sequence, headers in messages
    ]


@pytest.mark.long
@pytest.mark.usefixtures("topics")
def test_a_stream_that_is_being_sent_is_refused_to_a_second_run_until_the_first_is_gone(
    settings: Settings, shop: Path
) -> None:
    first = begin(shop, "--rate", "1")
    try:
        wait_for(first, " confirmed")
        second = begin(shop, "--rate", "1e9")
        output, errors = second.communicate(timeout=120)
        assert second.returncode == 1
        assert f"is being sent to {settings.bootstrap_servers} by process {first.pid}: stop that one" in errors
        assert not output
        assert "Traceback" not in errors
        other = finished(shop, "--rate", "1e9", "--dirt", "late=0.5")  # another stream goes its own way
        assert "all confirmed by the broker" in other
    finally:
        first.kill()
        first.communicate()
    assert first.returncode == -signal.SIGKILL
    # Nothing is left of a killed run that would have to be cleared away.
    assert "were there from an earlier run" in finished(shop, "--rate", "1e9")
    found = on_topics(settings)
    assert len({stream for stream, _, _ in found}) == 2
    assert len(found) == len(set(found))


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize("has_state", [False, True])
def test_what_arrives_is_the_simulated_days_and_their_dirt_with_a_saved_state_and_without(
    settings: Settings, shop: Path, tmp_path: Path, has_state: bool
) -> None:
    arguments = [f"--dirt={kind}={share}" for kind, share in vars(DIRT).items()]
    if has_state:
        state = str(tmp_path / "state.npz")
        history = ["history", "--scenario", str(shop), "--lake", str(tmp_path / "lake"), "--state", state]
        result = CliRunner().invoke(main, ["simulate", *history])
        assert f"{state} holds the state before 2026-01-31" in result.output
        arguments += ["--state", state]
    else:
        arguments += ["--from", "2026-01-30"]
    output = finished(
        shop, "--rate", "1e9", "--until", "2026-02-01T12:00", *(a.replace("_rate", "") for a in arguments)
    )

    simulation = simulate(load_scenario(shop))
    plan = StreamPlan(SimulatedDays(simulation), simulation.scenario.seed, DIRT)
    dates = [date(2026, 1, 31)] if has_state else [date(2026, 1, 30), date(2026, 1, 31)]
    planned = pl.concat([plan.day(on) for on in dates])
    for place, topic in enumerate(EVENT_TOPICS):
        found = [row[:3] for part in on_topic(settings.bootstrap_servers, topic).values() for row in part]
        wanted = planned.filter(topic=place)
        assert sorted(found) == sorted(wanted.select("key", "value", "sequence").iter_rows())
        # What the run said, beside what a consumer makes of it who knows the events.
        known = set[str]().union(*(simulation.day_events(on).events(topic)[topic.schema.id_field] for on in dates))
        ids = [identity_of(value, topic.schema.id_field) for _, value, _ in found]
        repeated = sum(name in known for name in ids) - len(known)
        assert known <= set(ids)
        said = re.search(rf"{topic.name}: ([\d,]+) messages: ([\d,]+) events .*, ([\d,]+) duplicates", output)
        assert said is not None
        assert [int(text.replace(",", "")) for text in said.groups()] == [len(found), len(known), repeated]
        assert repeated > 0


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heard_while_the_days_before_the_stream_are_lived_through(
    settings: Settings, tmp_path: Path, number: signal.Signals
) -> None:
    run = begin(written(tmp_path / "large.toml", seed=number, days=731, stores=40, products=1_000))
    line = wait_for(run, "living through 202")
    lived = re.fullmatch(r"living through ([\d-]+), (\d+) of 730 days before the stream\n", line)
    assert lived is not None
    assert date.fromisoformat(lived[1]) == date(2026, 1, 31) - timedelta(days=731 - int(lived[2]))
    run.send_signal(number)
    output, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    assert "sent 0 messages" in output
    assert "stopped" in output
    # Not heard at the end of all those days.
    assert " of 730 days" not in errors or int(errors.split(" of 730")[-2].split(", ")[-1]) < 600
    assert on_topics(settings) == []


@pytest.mark.usefixtures("topics")
def test_a_tenants_stream_goes_to_the_tenants_topics_and_to_no_others(
    settings: Settings, shop: Path, kafka: KafkaResource
) -> None:
    wanted = read_topic_settings(Mode.LOCAL)
    own = tenant_topics("corner.")
    kafka.apply_topics({topic.name: wanted[contract.name] for topic, contract in zip(own, EVENT_TOPICS, strict=True)})
    try:
        finished(shop, "--rate", "1e9", "--until", "2026-01-31T09:00", "--tenant", "corner")
        assert on_topics(settings) == []
        for topic in own:
            assert any(on_topic(settings.bootstrap_servers, topic).values())
    finally:
        kafka.delete_topics([topic.name for topic in own])
