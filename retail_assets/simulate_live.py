"""The command of live tills: `retail simulate live`.

Belongs here: its arguments, signals, and what it shows. Does not belong here: sending (`simulator.tills.live`).
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import click

from retail_assets.explained import explained
from retail_assets.settings import load_settings
from retail_assets.stopping import stopped_by_signals
from retail_assets.tenants import tenant_option
from retail_local.files import locked

if TYPE_CHECKING:
    from retail_assets.simulator.scenario import DirtRates, Scenario
    from retail_assets.simulator.tills.live import LiveStream
    from retail_assets.simulator.tills.live_report import LiveProgress

_DIRT_KINDS: Final = ("duplicate", "late", "out_of_order", "clock_skew", "malformed", "unknown_version")
_MS: Final = 1_000
_DEFAULT_PRESET: Final = "demo"
#: A greater speed or rate is "at once" as well, and would run out of the range of numbers.
_FASTEST: Final = 1e9


@click.command()
@click.option("--preset", help="A scenario of the package: tiny, demo, city, chain; demo by default.")
@click.option(
    "--scenario",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A scenario of your own (TOML), instead of a preset.",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True, max=_FASTEST),
    help="Seconds of the stream in a second: 60 is an hour a minute, 1 is real time. 60 where nothing is said.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True, max=_FASTEST),
    help="Messages a second, whatever their time, instead.",
)
@click.option(
    "--from",
    "first",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The business date to begin with: the scenario's last date by default. A stream that was begun goes on.",
)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]),
    help="The time to end at, in the retailer's time zone: the midnight after the last date by default.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="What retail simulate history --state wrote for this scenario: spares living through the days before, and "
    "changes nothing of what is sent.",
)
@click.option(
    "--dirt",
    multiple=True,
    metavar="KIND=SHARE",
    help=f"How much goes wrong, instead of what the scenario says: {', '.join(_DIRT_KINDS)}. Can be repeated.",
)
@click.option("--format", "wire", type=click.Choice(["json", "avro"]), default="json", show_default=True)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1, max=86_400),
    default=60.0,
    show_default=True,
    help="Seconds without a broker.",
)
@tenant_option
@explained
def live(
    preset: str | None,
    file: Path | None,
    speed: float | None,
    rate: float | None,
    first: datetime | None,
    until: datetime | None,
    state: Path | None,
    dirt: tuple[str, ...],
    wire: str,
    timeout: float,
) -> None:
    """Send the tills' events to Kafka as they happen, until the end or until it is stopped (Ctrl-C, SIGTERM).

    A stopped stream has lost nothing: the same command goes on where it ended, without gap or repetition.
    """
    from retail_assets.contracts.topics import tenant_topics
    from retail_assets.simulator.simulation import simulate
    from retail_assets.simulator.tills.live import LiveStream, SimulatedDays, by_speed, end_of, stream_name
    from retail_assets.simulator.tills.pacing import ByRate
    from retail_assets.simulator.tills.plan import StreamPlan
    from retail_assets.simulator.tills.wire import WireFormat

    if speed is not None and rate is not None:
        raise click.UsageError("--speed and --rate exclude each other")
    if any(number is not None and math.isnan(number) for number in (speed, rate, timeout)):
        raise click.UsageError("--speed, --rate and --timeout should be numbers, not nan")
    if first is not None and until is not None and until <= first:
        raise click.UsageError(f"--until {until} should lie behind --from {first:%Y-%m-%d}")
    settings = load_settings()
    scenario = chosen_scenario(preset, file)
    rates = _rates(scenario.dirt, dirt)
    source = SimulatedDays(simulate(scenario, state=state))
    end = (
        int(until.replace(tzinfo=ZoneInfo(scenario.time_zone)).timestamp() * _MS)
        if until
        else end_of(source, scenario.time_zone)
    )
    stream = LiveStream(
        plan=StreamPlan(source, scenario.seed, rates, WireFormat(wire), tenant_topics(settings.topic_prefix)),
        name=stream_name(scenario, rates, WireFormat(wire)),
        bootstrap_servers=settings.bootstrap_servers,
        timeout_s=timeout,
        on_progress=show_progress,
        on_approach=_show_approach,
    )
    whose = f" for the tenant {settings.tenant}" if settings.tenant else ""
    click.echo(f"stream {stream.name} to {settings.bootstrap_servers}{whose}; Ctrl-C stops it without loss", err=True)
    begin: date | None = first.date() if first else None
    pace = (lambda _: ByRate(rate)) if rate is not None else by_speed(speed or 60.0)
    with stopped_by_signals() as stop, alone(settings.cache_dir, stream, timeout):
        report = stream.run(begin, end, pace, stop)
    for line in report.lines():
        click.echo(line)
    if report.stopped:
        click.echo("stopped; the same command goes on from here")


def chosen_scenario(preset: str | None, file: Path | None, **overrides: Any) -> "Scenario":
    """Return the scenario that was asked for by `--preset` or `--scenario`; the preset `demo` by default.

    Args:
        preset: name of a scenario of the package.
        file: a scenario of the user's own.
        overrides: fields instead of the scenario's own.

    Raises:
        click.UsageError: both were given.
        ScenarioError: there is none such, or something in it isn't as it should be.
    """
    from retail_assets.simulator.scenario_file import load_scenario

    if preset and file:
        raise click.UsageError("--preset and --scenario exclude each other")
    # A preset's money is the platform's; baskets in another one would be no facts.
    currency = None if file else load_settings().currency
    return load_scenario(file or preset or _DEFAULT_PRESET, currency=currency, **overrides)


def _rates(scenarios: "DirtRates", wishes: tuple[str, ...]) -> "DirtRates":
    """Return the scenario's rates with those that were asked for in their place.

    Raises:
        click.BadParameter: a kind is unknown, or a share is no number.
        ScenarioError: a share is out of its limits.
    """
    changes: dict[str, Any] = {}
    for wish in wishes:
        kind, _, share = wish.partition("=")
        name = kind.strip().replace("-", "_")
        if name not in _DIRT_KINDS:
            raise click.BadParameter(f"{kind!r} is none of {', '.join(_DIRT_KINDS)}", param_hint="--dirt")
        try:
            changes[f"{name}_rate"] = float(share)
        except ValueError:
            raise click.BadParameter(
                f"{wish!r} should be like {name}=0.01, the share of the events", param_hint="--dirt"
            ) from None
    return replace(scenarios, **(asdict(scenarios) | changes))


@contextmanager
def alone(folder: Path, stream: "LiveStream", timeout_s: float) -> Iterator[None]:
    """Hold a stream for this process: two runs of it would each send what they find missing, and so everything twice.

    The kernel lets go of it however this process ends. Other machines, and other users of this one, don't see it.

    Raises:
        ProducerError: another process holds it, or no broker answers.
    """
    from retail_assets.simulator.tills.producers import ProducerError, cluster_of

    # The same scenario may go to several tenants at the same time: to topics of their own.
    where = f"{cluster_of(stream.bootstrap_servers, timeout_s)}-{stream.plan.topics[0].name}"
    path = folder / "live" / f"{where}-{stream.name}.lock"

    def refuse() -> None:
        holder = path.read_text(encoding="utf-8") or "of unknown number"
        raise ProducerError(
            f"stream {stream.name} is being sent to {stream.bootstrap_servers} by process {holder}: stop that one "
            "(Ctrl-C or SIGTERM) or wait for its end; other --dirt, another --format or another seed is another stream"
        )

    with locked(path, on_wait=refuse):
        path.write_text(str(os.getpid()), encoding="utf-8")
        yield


def show_progress(progress: "LiveProgress") -> None:
    """Show how a stream is doing."""
    at = f"{progress.stream_time:%Y-%m-%d %H:%M:%S} UTC" if progress.stream_time else "nothing due yet"
    waited = f", {progress.waits:,} had to wait for room in the buffer" if progress.waits else ""
    click.echo(f"{at}: {progress.offered:,} sent, {progress.confirmed:,} confirmed{waited}", err=True)


def _show_approach(over: date, done: int, days: int) -> None:
    click.echo(f"living through {over}, {done} of {days} days before the stream", err=True)
