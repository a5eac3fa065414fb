"""The simulated history, written to the lake as Delta tables without a Java machine.

Belongs here: bulk loads of `reference/*`, `raw/*` and the truth. Does not belong here: anything that came through
Kafka; its rows in the same tables are never touched.

Days are simulated once; each piece of them goes into the files of its tables and is forgotten. A table's files are
committed together when all are there.
"""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import polars as pl

from retail_assets.contracts.tables import (
    REFERENCE_CALENDAR,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_PURCHASE_ORDERS,
    REFERENCE_STORES,
    REFERENCE_SUPPLIERS,
    REFERENCE_WEATHER,
    Table,
    raw_table,
)
from retail_assets.contracts.topics import EVENT_TOPICS
from retail_assets.contracts.types import arrow_schema
from retail_assets.simulator.bulk_rows import to_arrow, with_envelope
from retail_assets.simulator.delta_files import DeltaFiles
from retail_assets.simulator.demand.anomalies import TRUTH_ANOMALIES
from retail_assets.simulator.engine import Feed
from retail_assets.simulator.events import TRUTH_DEMAND
from retail_assets.simulator.randomness import BLOCK_DAYS
from retail_assets.simulator.simulation import Simulation

_PROGRESS_S: Final = 2.0
TRUTH_TABLES: Final = (TRUTH_DEMAND, TRUTH_ANOMALIES)

_TOPICS: Final = {Feed(topic.name): topic for topic in EVENT_TOPICS}
_TABLES: Final = {feed: raw_table(topic) for feed, topic in _TOPICS.items()} | {
    Feed.ORDERS: REFERENCE_PURCHASE_ORDERS,
    Feed.TRUTH: TRUTH_DEMAND,
}


class HistoryStoppedError(Exception):
    """A history was stopped before any of it was committed."""


def write_history(
    simulation: Simulation,
    lake_uri: str,
    storage_options: dict[str, str] | None = None,
    on_progress: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> dict[str, int]:
    """Write the reference tables, the truth and the history of every event topic.

    Each table is one commit: whoever reads meanwhile sees the rows of before, and a write that is killed leaves them.
    Writing again replaces earlier bulk rows and no others.

    Args:
        simulation: what to write.
        lake_uri: `file:///…`, `s3://…` or `s3a://…`, without the layer.
        storage_options: what delta-rs needs to reach the store.
        on_progress: called with one line of text per table, and every other second in between.
        stop: ends the write when it's set. Only between two pieces: an exception that a signal raises while a file is
            being opened would leave one that nobody knows.

    Returns:
        Rows written, by the path of the table below the lake's root.

    Raises:
        ConcurrentWriteError: another history was written to the lake in the meantime; it is left as it is.
        HistoryStoppedError: it was stopped; the lake is as it was.
    """
    # Spark says s3a for what all others call s3.
    root = lake_uri.rstrip("/").replace("s3a://", "s3://", 1)
    written: dict[str, int] = {}

    def note(table: Table, rows: int) -> None:
        written[table.path] = rows
        if on_progress is not None:
            on_progress(f"{table.path}: {rows:,} rows")

    files = {feed: DeltaFiles(root, table, storage_options) for feed, table in _TABLES.items()}
    whole = [(DeltaFiles(root, table, storage_options), frame) for table, frame in _whole_tables(simulation)]
    open_tables = [*(of_table for of_table, _ in whole), *files.values()]
    told = time.monotonic()
    try:
        for part in simulation.feeds():
            _heed(stop)
            if on_progress is not None and time.monotonic() - told > _PROGRESS_S:
                told = time.monotonic()
                until = simulation.scenario.first_date + timedelta(days=part.stretch.after - 1)
                on_progress(f"simulated to {until} of {simulation.scenario.last_date}")
            for feed, frame in part.frames.items():
                rows = with_envelope(frame, _TOPICS[feed], files[feed].rows) if feed in _TOPICS else frame
                files[feed].add(to_arrow(rows, arrow_schema(_TABLES[feed].columns)), part.stretch.first // BLOCK_DAYS)
        for of_table, frame in whole:
            of_table.add(to_arrow(frame, arrow_schema(of_table.table.columns)), 0)
        _heed(stop)
        _commit(open_tables, note)
    except BaseException:
        for of_table in open_tables:
            of_table.discard()
        raise
    return written


def _heed(stop: threading.Event | None) -> None:
    if stop is not None and stop.is_set():
        raise HistoryStoppedError


def _commit(tables: list[DeltaFiles], note: Callable[[Table, int], None]) -> None:
    """Commit all tables: only when all are ready, so that a history that is broken off leaves those of before."""
    for table in tables:
        table.refuse_if_overtaken()
    for table in tables:
        note(table.table, table.commit())


def _whole_tables(simulation: Simulation) -> list[tuple[Table, pl.DataFrame]]:
    world = simulation.world
    return [
        (REFERENCE_STORES, world.stores),
        (REFERENCE_SUPPLIERS, world.suppliers),
        (REFERENCE_PRODUCTS, world.products),
        (REFERENCE_PROMOTIONS, world.promotions),
        (REFERENCE_CALENDAR, world.calendar),
        (REFERENCE_WEATHER, world.weather),
        (TRUTH_ANOMALIES, simulation.anomalies),
    ]
