"""Runs clusters of stores through stretches of days, in this process or in several.

Belongs here: who simulates which cluster, and in which order their rows come. Does not belong here: what happens in a
cluster (`ledger`), and what the rows are for (`simulation`, `lake`).

Clusters know nothing of each other, and their rows come in an order that knows nothing of processes: stretch by
stretch, in it cluster by cluster, in that by business date, store and time. So the result is the same, byte for byte,
whatever the number of processes and however many days are made at a time. Nothing of earlier days is kept but each
cluster's state.
"""

import contextlib
import multiprocessing
import queue
import shutil
import signal
import tempfile
import traceback
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice, pairwise
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from retail_assets.contracts.topics import INVENTORY_UPDATES, POS_EVENTS, SALES_TRANSACTIONS
from retail_assets.simulator.clusters import Cluster, clusters_of
from retail_assets.simulator.demand.model import DemandModel
from retail_assets.simulator.events import Reporter
from retail_assets.simulator.runs import Ints
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.stock.daybook import DayBook
from retail_assets.simulator.stock.ledger import Ledger
from retail_assets.simulator.stock.stock_state import StockState
from retail_assets.simulator.world.world import World, build_world

# Results that a process may be ahead of who takes them: enough to keep it busy, few enough to bound memory.
_AHEAD: Final = 1
# Enough that little time is lost between, few enough that memory isn't.
_DAYS_AT_A_TIME: Final = 14
_ALIVE_EVERY_S: Final = 1.0
_JOIN_S: Final = 10.0


class EngineError(Exception):
    """A process that simulates stores failed or died. The message holds what it said last."""


class Feed(StrEnum):
    """What can be made of the books; the names of the topics, where there is one."""

    SALES = SALES_TRANSACTIONS.name
    INVENTORY = INVENTORY_UPDATES.name
    POS = POS_EVENTS.name
    ORDERS = "purchase-orders"
    TRUTH = "truth"


EVENT_FEEDS: Final = (Feed.SALES, Feed.INVENTORY, Feed.POS)


@dataclass(frozen=True)
class Stretch:
    """Days to be simulated in one go.

    Attributes:
        first: counted from the scenario's first date.
        after: the day behind the last.
        feeds: what to make of their books.
        keep_state: whether the state at the end is wanted.
    """

    first: int
    after: int
    feeds: tuple[Feed, ...]
    keep_state: bool = False

    def pieces(self) -> list["Stretch"]:
        """Split it into what is made at a time."""
        starts = range(self.first, self.after, _DAYS_AT_A_TIME)
        bounds = [*starts, self.after]
        return [
            replace(self, first=first, after=after, keep_state=self.keep_state and after == self.after)
            for first, after in pairwise(bounds)
        ]


@dataclass(frozen=True)
class Part:
    """What came of some days in one cluster, or in all.

    Attributes:
        stretch: the days.
        frames: rows of each feed, by business date, then store.
        rows: of each feed, the first row of each day, and one more.
        lines: lines that went over a till.
        states: by cluster, where they were asked for.
    """

    stretch: Stretch
    frames: dict[Feed, pl.DataFrame]
    rows: dict[Feed, Ints]
    lines: int
    states: list[StockState] = field(default_factory=list)


class Engine:
    """All clusters of a scenario, day by day."""

    def __init__(
        self, scenario: Scenario, world: World, demand: DemandModel, states: Sequence[StockState] | None = None
    ) -> None:
        """Open the stores.

        Args:
            scenario: what is simulated.
            world: its reference frames.
            demand: what customers want.
            states: by cluster, where to go on. They are copied. Without them, the first day comes next.
        """
        self._scenario, self._world, self._demand = scenario, world, demand
        self.clusters = clusters_of(scenario)
        self._states = None if states is None else [state.copied() for state in states]
        self.day = 0 if self._states is None else self._states[0].day
        self._ledgers: dict[int, _Cluster] = {}

    def run(self, stretches: Sequence[Stretch], workers: int = 1) -> Iterator[Part]:
        """Simulate days that follow each other, and yield what came of them piece by piece.

        Of each stretch come first all pieces of the first cluster, then those of the second, and so on.

        Args:
            stretches: the first begins with the day that comes next.
            workers: processes. With one, this one does the work, and goes on where the last run ended. Others take
                what they came to with them: behind them, only a new engine goes on.

        Raises:
            EngineError: a process failed or died.
            ValueError: the days don't follow each other, or not what the clusters' states are.
        """
        for before, stretch in zip([self.day, *(s.after for s in stretches)], stretches, strict=False):
            if stretch.first != before:
                raise ValueError(f"day {stretch.first} can't be simulated next: day {before} comes next")
        if workers == 1 or len(self.clusters) == 1:
            yield from self._run_here(stretches)
        else:
            yield from self._run_apart(stretches, min(workers, len(self.clusters)))

    def run_whole(self, stretches: Sequence[Stretch], workers: int = 1) -> Iterator[Part]:
        """Like `run`, but yield one part for each stretch, of all clusters: by business date, then store."""
        parts = self.run(stretches, workers)
        for stretch in stretches:
            pieces = len(stretch.pieces())
            yield merged(stretch, list(islice(parts, pieces * len(self.clusters))), pieces)
        # The run is over, and must hear of it, to know which day comes next.
        next(parts, None)

    def _run_here(self, stretches: Sequence[Stretch]) -> Iterator[Part]:
        for stretch in stretches:
            for cluster in self.clusters:
                if cluster.number not in self._ledgers:
                    state = None if self._states is None else self._states[cluster.number]
                    self._ledgers[cluster.number] = _Cluster(self._scenario, self._world, self._demand, cluster, state)
                for piece in stretch.pieces():
                    yield self._ledgers[cluster.number].live(piece)
            self.day = stretch.after

    def _run_apart(self, stretches: Sequence[Stretch], workers: int) -> Iterator[Part]:
        # Started afresh rather than forked: a fork of a process with threads (Polars has some) may hang.
        context = multiprocessing.get_context("spawn")
        results: list[Any] = [context.Queue(_AHEAD) for _ in range(workers)]
        with tempfile.TemporaryDirectory(prefix="retail-simulator-", ignore_cleanup_errors=True) as folder:
            processes = [
                context.Process(
                    target=_work,
                    args=(self._scenario, self.clusters[n::workers], self._states, stretches, folder, results[n]),
                    daemon=True,
                    name=f"simulator-{n}",
                )
                for n in range(workers)
            ]
            try:
                for process in processes:
                    process.start()
                for stretch in stretches:
                    for cluster in self.clusters:
                        number = cluster.number % workers
                        for _ in stretch.pieces():
                            yield _take(results[number], processes[number])
                    self.day = stretch.after
            finally:
                for process in processes:
                    if process.is_alive():
                        process.terminate()
                    if process.pid is not None:
                        process.join(_JOIN_S)


class _Cluster:
    """One cluster: its books, and what is made of them."""

    def __init__(
        self, scenario: Scenario, world: World, demand: DemandModel, cluster: Cluster, state: StockState | None
    ) -> None:
        self._ledger = Ledger(scenario, world, demand, cluster, state)
        self._reporter = Reporter(scenario, world, demand, cluster)

    def live(self, stretch: Stretch) -> Part:
        """Simulate some days.

        Raises:
            ValueError: another day comes next for the cluster, as it does in an engine whose last run was in processes.
        """
        if self._ledger.state.day != stretch.first:
            raise ValueError(
                f"day {stretch.first} can't be simulated next: the cluster's state is that before day "
                f"{self._ledger.state.day}; go on with an engine of the states that the last run kept"
            )
        days = [self._ledger.trade() for _ in range(stretch.first, stretch.after)]
        made = {feed: self._made(feed, days) for feed in stretch.feeds if days}
        return Part(
            stretch=stretch,
            frames={feed: frame for feed, (frame, _) in made.items()},
            rows={feed: rows for feed, (_, rows) in made.items()},
            lines=sum(int(np.count_nonzero(day.movements.basket >= 0)) for day in days),
            states=[self._ledger.state.copied()] if stretch.keep_state else [],
        )

    def _made(self, feed: Feed, days: list[DayBook]) -> tuple[pl.DataFrame, Ints]:
        match feed:
            case Feed.SALES:
                return self._reporter.sales_transactions(days), _bounds([day.baskets.at.size for day in days])
            case Feed.INVENTORY:
                return self._reporter.inventory_updates(days), _bounds([day.movements.at.size for day in days])
            case Feed.POS:
                events, counts = self._reporter.pos_events(days)
                return events, _bounds(counts)
            case Feed.ORDERS:
                return self._reporter.purchase_orders(days), _bounds([day.orders.series.size for day in days])
            case Feed.TRUTH:
                carried = [int(np.count_nonzero(day.truth.carried)) for day in days]
                return self._reporter.truth(days), _bounds(carried)


def merged(stretch: Stretch, parts: Sequence[Part], pieces: int) -> Part:
    """Put the rows of all clusters into the order of business date, then store.

    Args:
        stretch: the days.
        parts: of each cluster, as many as `pieces`.
        pieces: how many pieces the stretch was made in.
    """
    if len(parts) == 1:
        return parts[0]
    frames, rows = {}, {}
    for feed in stretch.feeds:
        days = [
            [_of_day(part, feed, day) for part in parts[piece::pieces]]
            for piece in range(pieces)
            for day in range(parts[piece].stretch.after - parts[piece].stretch.first)
        ]
        frames[feed] = pl.concat([frame for day in days for frame in day], rechunk=True)
        rows[feed] = _bounds([sum(frame.height for frame in day) for day in days])
    return Part(
        stretch=stretch,
        frames=frames,
        rows=rows,
        lines=sum(part.lines for part in parts),
        states=[state for part in parts for state in part.states],
    )


@dataclass(frozen=True)
class _Parcel:
    """A part whose frames lie in files: through a pipe, they would be copied five times.

    Attributes:
        part: all but the frames.
        files: the frames.
    """

    part: Part
    files: dict[Feed, str]

    @classmethod
    def packed(cls, part: Part, folder: str) -> "_Parcel":
        """Put a part's frames into files, in Arrow's own format."""
        files = {}
        for feed, frame in part.frames.items():
            files[feed] = f"{folder}/{uuid.uuid4()}.arrow"
            table = frame.to_arrow(compat_level=pl.CompatLevel.newest())
            with pa.OSFile(files[feed], "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
        return cls(replace(part, frames={}), files)

    def unpacked(self) -> Part:
        """Return the part. Its frames are the files' memory, which is given back when they are forgotten."""
        frames = {}
        for feed, file in self.files.items():
            with pa.memory_map(file) as source:
                frames[feed] = pl.DataFrame(pa.ipc.open_file(source).read_all())
            Path(file).unlink()
        return replace(self.part, frames=frames)


def _of_day(part: Part, feed: Feed, day: int) -> pl.DataFrame:
    start, after = part.rows[feed][day : day + 2]
    return part.frames[feed].slice(int(start), int(after - start))


def _bounds(counts: Any) -> Ints:
    """Return the first row of each day, and one more."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def _work(
    scenario: Scenario,
    clusters: Collection[Cluster],
    states: Sequence[StockState] | None,
    stretches: Sequence[Stretch],
    folder: str,
    results: Any,
) -> None:
    """Simulate some clusters, in a process of their own, and put what comes of them into a folder and a queue."""
    # Ctrl-C reaches every process of the terminal; the one that waits for results ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        world = build_world(scenario)
        demand = DemandModel(scenario, world)
        own = [
            _Cluster(scenario, world, demand, cluster, None if states is None else states[cluster.number])
            for cluster in clusters
        ]
        for stretch in stretches:
            for cluster in own:
                for piece in stretch.pieces():
                    if not _given(results, _Parcel.packed(cluster.live(piece), folder)):
                        shutil.rmtree(folder, ignore_errors=True)
                        return
    except Exception:  # noqa: BLE001 - whatever it is, who waits for the results must hear of it
        _given(results, traceback.format_exc())


def _given(results: Any, result: "_Parcel | str") -> bool:
    """Put a result into a queue as soon as there is room; false if who should take it was killed."""
    taker = multiprocessing.parent_process()
    while taker is not None and taker.is_alive():
        with contextlib.suppress(queue.Full):
            results.put(result, timeout=_ALIVE_EVERY_S)
            return True
    results.cancel_join_thread()  # there is nobody to read what is left in it
    return False


def _take(results: Any, process: BaseProcess) -> Part:
    """Wait for a process's next result."""
    while True:
        with contextlib.suppress(queue.Empty):
            result = results.get(timeout=_ALIVE_EVERY_S)
            if isinstance(result, str):
                raise EngineError(f"{process.name} failed:\n{result}")
            parcel: _Parcel = result
            return parcel.unpacked()
        if not process.is_alive() and results.empty():
            raise EngineError(f"{process.name} died with exit code {process.exitcode}")
