"""How fast history is made, and how much memory that takes.

Belongs here: the measurement of the simulator's history. Does not belong here: live production to a broker
(`simulator_live`), and what is made of the figures (`simulator`).

What is measured is the whole way from the scenario to finished event frames of the contract, ids and exact decimals
included, handed over to this process. Writing them to a lake can be measured on top, and is a figure of its own.
"""

import os
import time
from dataclasses import dataclass

from retail_assets.bench.apart import Memory
from retail_assets.simulator.engine import EVENT_FEEDS
from retail_assets.simulator.lake import write_history
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.simulation import Simulation


@dataclass(frozen=True)
class HistoryFigures:
    """What making a history took.

    Attributes:
        lines: sale lines, those of returns and voids among them.
        events: events of all topics.
        days: business dates.
        workers: processes.
        seconds: from the scenario to the last frame, the drawing of the world and the start of processes included.
        lines_per_s: sale lines a second.
        processor_seconds: of all processes.
        seconds_per_million_lines: of processor time; what a larger retailer's history costs.
        peak_memory_mb: resident memory of all processes together, at its highest.
        lake_seconds: the same history again, made and written to a lake; None where that wasn't asked for.
        lake_lines_per_s: sale lines a second of that; None likewise.
    """

    lines: int
    events: int
    days: int
    workers: int
    seconds: float
    lines_per_s: float
    processor_seconds: float
    seconds_per_million_lines: float
    peak_memory_mb: float
    lake_seconds: float | None = None
    lake_lines_per_s: float | None = None


def bench_history(scenario: Scenario, workers: int = 2, lake_uri: str | None = None) -> HistoryFigures:
    """Make a scenario's history, and measure.

    Args:
        scenario: what to simulate; a few million lines give steady figures.
        workers: processes.
        lake_uri: a lake to write to as well, in a second go.
    """
    with Memory() as memory:
        busy, began = _processor_seconds(), time.perf_counter()
        simulation = Simulation(scenario, workers=workers)
        lines = events = 0
        for part in simulation.feeds():
            lines += part.lines if part.frames.keys() >= set(EVENT_FEEDS) else 0
            events += sum(part.frames[feed].height for feed in EVENT_FEEDS if feed in part.frames)
        seconds = time.perf_counter() - began
    busy = _processor_seconds() - busy
    lake_seconds = None
    if lake_uri is not None:
        began = time.perf_counter()
        write_history(Simulation(scenario, workers=workers), lake_uri)
        lake_seconds = time.perf_counter() - began
    return HistoryFigures(
        lines=lines,
        events=events,
        days=scenario.days - 1,
        workers=workers,
        seconds=seconds,
        lines_per_s=lines / seconds,
        processor_seconds=busy,
        seconds_per_million_lines=busy * 1_000_000 / max(lines, 1),
        peak_memory_mb=memory.peak_mb,
        lake_seconds=lake_seconds,
        lake_lines_per_s=None if lake_seconds is None else lines / lake_seconds,
    )


def _processor_seconds() -> float:
    """Return the processor time of this process and of those that it started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
