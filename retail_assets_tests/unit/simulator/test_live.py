"""A live stream's name, end and command line, without a broker."""

import socket
import threading
from dataclasses import replace
from datetime import date

import pytest
from click.testing import CliRunner

from retail_assets.cli import main
from retail_assets.simulator.scenario import DirtRates, Scenario
from retail_assets.simulator.tills.live import LiveStream, end_of, stream_name
from retail_assets.simulator.tills.pacing import AtOnce
from retail_assets.simulator.tills.plan import StreamPlan
from retail_assets.simulator.tills.producers import ProducerError
from retail_assets.simulator.tills.wire import WireFormat
from retail_assets_tests.made_up_days import MadeUpDays

SCENARIO = Scenario(last_date=date(2026, 1, 31), stores=2, products=20, days=31)
CLEAN = DirtRates()


def test_a_stream_keeps_its_name_when_the_scenario_gets_more_days() -> None:
    longer = replace(SCENARIO, last_date=date(2026, 2, 10), days=41)
    assert longer.first_date == SCENARIO.first_date
    assert stream_name(longer, CLEAN, WireFormat.JSON) == stream_name(SCENARIO, CLEAN, WireFormat.JSON)


def test_another_retailer_other_dirt_or_another_format_is_another_stream() -> None:
    names = {
        stream_name(SCENARIO, CLEAN, WireFormat.JSON),
        stream_name(SCENARIO, CLEAN, WireFormat.AVRO),
        stream_name(SCENARIO, DirtRates(late_rate=0.1), WireFormat.JSON),
        stream_name(replace(SCENARIO, seed=8), CLEAN, WireFormat.JSON),
        stream_name(replace(SCENARIO, stores=3), CLEAN, WireFormat.JSON),
        stream_name(replace(SCENARIO, days=30), CLEAN, WireFormat.JSON),
    }
    assert len(names) == 6


def test_a_stream_ends_by_itself_at_the_retailers_midnight() -> None:
    source = MadeUpDays(last_date=date(2026, 1, 3))
    assert end_of(source, "UTC") == 1_767_484_800_000
    assert end_of(source, "Europe/Berlin") == 1_767_484_800_000 - 3_600_000


def test_an_absent_broker_is_named_with_what_to_do() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        servers = f"127.0.0.1:{held.getsockname()[1]}"
    plan = StreamPlan(MadeUpDays(), 1, CLEAN)
    stream = LiveStream(plan=plan, name="live-test", bootstrap_servers=servers, timeout_s=1.0)
    with pytest.raises(ProducerError, match=rf"no Kafka broker answers at {servers}: is the stack up\?"):
        stream.run(None, None, lambda _: AtOnce(), threading.Event())


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--speed", "0"], "'--speed': 0.0 is not in the range 0<x<="),
        (["--rate", "-5"], "'--rate': -5.0 is not in the range 0<x<="),
        (["--speed", "2", "--rate", "5"], "--speed and --rate exclude each other"),
        (["--dirt", "mud=0.1"], "--dirt: 'mud' is none of duplicate, late"),
        (["--dirt", "late=often"], "--dirt: 'late=often' should be like late=0.01"),
        (["--dirt", "late=-0.1"], "dirt.late_rate should be a number from 0 to 1, not -0.1"),
        (["--preset", "moon"], "moon"),
        (["--until", "tomorrow"], "'tomorrow' does not match the formats"),
    ],
)
def test_a_wrong_argument_is_explained_before_anything_is_simulated(arguments: list[str], error: str) -> None:
    result = CliRunner().invoke(main, ["simulate", "live", "--preset", "tiny", *arguments])
    assert result.exit_code != 0
    assert error in result.output.replace("\n", " ")
    assert "Traceback" not in result.output
