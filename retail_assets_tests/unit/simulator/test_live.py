"""A live stream's name, end and command line, without a broker."""

import socket
import threading
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from retail_assets.cli import main
from retail_assets.simulator.scenario import DirtRates, Scenario
from retail_assets.simulator.simulation import simulate
from retail_assets.simulator.tills.live import LiveStream, SimulatedDays, end_of, stream_name
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


def test_a_saved_state_that_lies_after_what_a_stream_needs_is_refused_with_both_dates(tmp_path: Path) -> None:
    saved = tmp_path / "state.npz"
    simulate(SCENARIO).save_state(saved)
    days = SimulatedDays(simulate(SCENARIO, state=saved))
    assert list(days.approach(SCENARIO.last_date)) == []
    with pytest.raises(
        ProducerError, match=r"needs 2026-01-30, but the saved state goes on with 2026-01-31: leave out"
    ):
        days.approach(date(2026, 1, 30))


def test_a_state_of_another_scenario_or_a_damaged_one_is_explained_in_one_line(tmp_path: Path) -> None:
    saved = tmp_path / "state.npz"
    simulate(SCENARIO).save_state(saved)
    for content, error in [(saved.read_bytes(), "was saved for scenario"), (b"no state", "holds no saved state")]:
        saved.write_bytes(content)
        result = CliRunner().invoke(main, ["simulate", "live", "--preset", "tiny", "--state", str(saved)])
        assert result.exit_code == 1
        assert result.output.startswith(f"Error: {saved} {error}")
        assert result.output.count("\n") == 1


def test_a_history_says_before_it_begins_that_its_state_has_nowhere_to_go(tmp_path: Path) -> None:
    lake, state = tmp_path / "lake", tmp_path / "nowhere" / "state.npz"
    result = CliRunner().invoke(
        main, ["simulate", "history", "--preset", "tiny", "--lake", str(lake), "--state", str(state)]
    )
    assert result.exit_code == 2
    assert f"--state: the folder {state.parent} doesn't exist" in result.output
    assert not lake.exists()


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
        (["--state", "nowhere.npz"], "nowhere.npz holds no saved state"),
    ],
)
def test_a_wrong_argument_is_explained_before_anything_is_simulated(arguments: list[str], error: str) -> None:
    result = CliRunner().invoke(main, ["simulate", "live", "--preset", "tiny", *arguments])
    assert result.exit_code != 0
    assert error in result.output.replace("\n", " ")
    assert "Traceback" not in result.output
