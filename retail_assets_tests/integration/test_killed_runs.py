"""Runs of each layer that are killed -9 with all that they started, and run again: nothing missing, nothing twice.

Each layer's run is killed when it has just begun to write. `make test-kills` kills it at random moments instead.
"""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import polars as pl
import psutil
import pytest
from clickhouse_connect.driver.client import Client
from deltalake import write_deltalake

from retail_assets.contracts.tables import RAW_DEAD_LETTERS, RAW_SALES_TRANSACTIONS, RAW_TABLES
from retail_assets.contracts.topics import DEAD_LETTERS, EVENT_TOPICS, TOPICS
from retail_assets.resources.clickhouse import connect
from retail_assets.resources.kafka import KafkaResource
from retail_assets.resources.lake import LakeResource, contract_arrow
from retail_assets.resources.migrations import migrate
from retail_assets.resources.progress import read_progress
from retail_assets.resources.spark import SparkResource
from retail_assets.resources.topics import read_topic_settings
from retail_assets.settings import Mode, Settings
from retail_assets.simulator.lake import write_history
from retail_assets.simulator.simulation import simulate
from retail_assets.simulator.tills.day_producer import TillProducer
from retail_assets_tests.integration.test_raw_ingest import whole_topic
from retail_assets_tests.steps import BEGUN, Step, here, start
from retail_assets_tests.stored import differences, lake_tables, warehouse_tables
from retail_assets_tests.tiny_retailer import TODAY, tiny_retailer
from retail_local.stack import Stack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(7_200)]

#: Random moments at which each layer's run is killed; without any, it is when it begins to write.
MOMENTS = int(os.environ.get("KILL_TEST_MOMENTS", "0"))
SEED = os.environ.get("KILL_TEST_SEED", "7")

FIRST = TODAY - timedelta(days=2)
YESTERDAY = TODAY - timedelta(days=1)
DAYS = 14
#: The run of each layer: today's for the first time, and the two days before again, since late events came for them.
RUNS = {
    "raw": Step("ingest_events"),
    "core": Step("daily_etl", ("core",), str(FIRST), str(TODAY)),
    "features": Step("feature_engineering", (), str(FIRST), str(TODAY)),
    "marts": Step("daily_etl", ("marts",), str(FIRST), str(TODAY)),
}
LAYERS = list(RUNS)


@dataclass
class Place:
    """A lake and a database."""

    folder: Path
    database: str

    @property
    def lake(self) -> LakeResource:
        return LakeResource(root=self.folder.as_uri())


@dataclass
class Platform:
    """Makes places: as they are before a layer's run, and after one that nobody disturbed."""

    folder: Path
    client: Client
    kafka: KafkaResource
    spark: SparkResource
    _before: dict[str, Place] = field(default_factory=dict)
    _after: dict[str, Place] = field(default_factory=dict)

    def before(self, layer: str) -> Place:
        if layer not in self._before:
            place = self.copy(self.after(LAYERS[LAYERS.index(layer) - 1]), f"before_{layer}")
            if layer == "core":
                late_sales(place.lake)
            self._before[layer] = place
        return self._before[layer]

    def after(self, layer: str) -> Place:
        if layer not in self._after:
            self._after[layer] = place = self.copy(self.before(layer), f"after_{layer}")
            self.run(layer, place)
        return self._after[layer]

    def run(self, layer: str, place: Place) -> None:
        RUNS[layer].run(here(self.spark, self.kafka, place.lake.root, place.database))

    def make(self, name: str) -> Place:
        """Return a place without rows."""
        self.remove(Place(self.folder / name, name))
        migrate(self.client, name)
        self.client.database = None
        return Place(self.folder / name, name)

    def copy(self, other: Place, name: str) -> Place:
        place = self.make(name)
        shutil.copytree(other.folder, place.folder)
        tables = self.client.query(
            f"SELECT name FROM system.tables WHERE database = '{other.database}' AND total_rows > 0"
        )
        for (table,) in tables.result_rows:
            if table != "schema_migrations":
                self.client.command(f"INSERT INTO {name}.{table} SELECT * FROM {other.database}.{table}")
        return place

    def remove(self, place: Place) -> None:
        shutil.rmtree(place.folder, ignore_errors=True)
        for database in (place.database, f"{place.database}_staging"):
            self.client.command(f"DROP DATABASE IF EXISTS {database} SYNC")

    def staged(self, place: Place) -> list[str]:
        """Return the staging tables that a write has made and not removed yet."""
        found = self.client.query(f"SELECT name FROM system.tables WHERE database = '{place.database}_staging'")
        return [str(name) for (name,) in found.result_rows]


def late_sales(lake: LakeResource) -> None:
    """Add baskets of yesterday and the day before, so that those days' tables are to change too."""
    rows = lake.read(RAW_SALES_TRANSACTIONS).filter(pl.col("event_date").is_between(FIRST, YESTERDAY))
    late = rows.with_columns(pl.col("transaction_id") + "-late", pl.col("kafka_offset") + 1_000_000_000)
    write_deltalake(
        lake.local_path(RAW_SALES_TRANSACTIONS.path), contract_arrow(RAW_SALES_TRANSACTIONS, late), mode="append"
    )


@pytest.fixture(scope="module")
def platform(
    stack: Stack,
    settings: Settings,
    kafka: KafkaResource,
    spark_resource: SparkResource,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """Build a retailer's days up to yesterday; today's events wait in Kafka."""
    client = connect(settings, database="")
    platform = Platform(tmp_path_factory.mktemp("lakes"), client, kafka, spark_resource)
    kafka.apply_topics(read_topic_settings(Mode.LOCAL))
    simulation = simulate(tiny_retailer(DAYS))
    messages = simulation.today_messages()
    for topic in EVENT_TOPICS:
        TillProducer(settings.bootstrap_servers).send(topic, messages[topic])
    base = platform.make("before_raw")
    write_history(simulation, base.lake.root)
    earlier = str(simulation.scenario.first_date), str(YESTERDAY)
    definitions = here(spark_resource, kafka, base.lake.root, base.database)
    Step("daily_etl", ("core", "marts"), *earlier).run(definitions)
    Step("feature_engineering", (), str(FIRST), str(YESTERDAY)).run(definitions)
    platform._before["raw"] = base
    yield platform
    for place in (*platform._before.values(), *platform._after.values()):
        platform.remove(place)
    client.close()
    kafka.delete_topics([topic.name for topic in TOPICS])


@pytest.fixture(scope="module")
def reader(stack: Stack, settings: Settings) -> Iterator[Client]:
    client = connect(settings, user="bi_reader", database="")
    yield client
    client.close()


def begin(platform: Platform, layer: str, place: Place) -> subprocess.Popen[bytes]:
    """Start a layer's run in a process of its own and wait until its first step begins."""
    log = platform.folder / "run.log"
    where = {"RETAIL_LAKE_URI": place.lake.root, "RETAIL_CLICKHOUSE_DATABASE": place.database}
    process = start([RUNS[layer]], where, log)
    while BEGUN not in log.read_text():
        assert process.poll() is None, log.read_text()
        time.sleep(0.01)
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a run: the driver, its Java and Java's Python workers, all at once."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in family:
        one.kill()
    process.wait()
    psutil.wait_procs(family, timeout=30)


def files_of(place: Place, layer: str) -> set[Path]:
    return set((place.folder / layer).rglob("*.parquet"))


def facts_staged(platform: Platform, place: Place) -> list[str]:
    return [name for name in platform.staged(place) if name.startswith("fact_")]


def killed_when_it_writes(platform: Platform, layer: str, place: Place) -> float:
    """Kill a layer's run as soon as something of it can be found that isn't committed; return the moment."""
    there = files_of(place, layer)
    process = begin(platform, layer, place)
    began = time.monotonic()
    while not (facts_staged(platform, place) if layer == "marts" else files_of(place, layer) - there):
        assert process.poll() is None, (platform.folder / "run.log").read_text()
    kill(process)
    return time.monotonic() - began


def killed_at(platform: Platform, layer: str, place: Place, moment: float) -> bool:
    """Kill a layer's run so many seconds after its beginning; return whether it still ran."""
    process = begin(platform, layer, place)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        kill(process)
        return True
    assert process.returncode == 0, (platform.folder / "run.log").read_text()
    return False


def seconds_undisturbed(platform: Platform, layer: str) -> float:
    """Return how long a layer's run takes in a process of its own, from the beginning of its first step."""
    place = platform.copy(platform.before(layer), f"undisturbed_{layer}")
    process = begin(platform, layer, place)
    began = time.monotonic()
    assert process.wait() == 0, (platform.folder / "run.log").read_text()
    platform.remove(place)
    return time.monotonic() - began


def shown_to_readers(reader: Client, place: Place) -> dict[str, pl.DataFrame]:
    """Return what a reader sees, in the pieces that a write replaces in one step.

    A table of the lake is one piece, since a write is one commit; a table of days in the warehouse is one per month.
    """
    pieces = lake_tables(place.lake)
    for name, frame in warehouse_tables(reader, place.database).items():
        date = next((column for column in ("business_date", "run_date") if column in frame.columns), None)
        if date is None:
            pieces[name] = frame
            continue
        for (month,), rows in frame.group_by(pl.col(date).dt.strftime("%Y-%m"), maintain_order=True):
            pieces[f"{name} {month}"] = rows
    return pieces


def classify(
    seen: Mapping[str, pl.DataFrame], before: Mapping[str, pl.DataFrame], after: Mapping[str, pl.DataFrame]
) -> dict[str, str]:
    """Say of each piece that the run changes whether it is as before or as after; nothing else may be seen."""
    assert not set(seen) - set(before) - set(after)
    shown = {}
    # A view joins tables that are swapped one after the other, so it can lie between; its tables are judged instead.
    for name in sorted(name for name in {*before, *after} if not name.startswith("v_")):
        same_before, same_after = (
            one.get(name) is None if seen.get(name) is None else name in one and one[name].equals(seen[name])
            for one in (before, after)
        )
        assert same_before or same_after, f"{name} is neither as before the run nor as after it"
        if same_before != same_after:
            shown[name] = "before" if same_before else "after"
    return shown


@pytest.mark.long
@pytest.mark.parametrize("layer", LAYERS)
def test_a_run_that_is_killed_and_run_again_leaves_the_tables_of_one_that_nobody_disturbed(
    platform: Platform, reader: Client, layer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = shown_to_readers(reader, platform.before(layer))
    after = shown_to_readers(reader, platform.after(layer))
    expected = lake_tables(platform.after(layer).lake), warehouse_tables(reader, platform.after(layer).database)
    held = held_offsets(platform.after(layer))
    assert differences(before, after) != []

    def note(text: str) -> None:
        with capsys.disabled() if MOMENTS else nullcontext():
            print(f"\n{layer}: {text}", flush=True)

    def again(place: Place, moment: float) -> None:
        shown = classify(shown_to_readers(reader, place), before, after)
        unknown = len(files_of(place, layer)) - len(files_of(platform.before(layer), layer))
        note(f"killed at {moment:.2f} s, {unknown} new files, staged {platform.staged(place)}, {shown}")
        platform.run(layer, place)
        assert differences(lake_tables(place.lake), expected[0]) == []
        assert differences(warehouse_tables(reader, place.database), expected[1]) == []
        assert held_offsets(place) == held
        assert platform.staged(place) == []
        if layer == "raw":
            assert letters_sent(platform.kafka) == letters_in(place.lake)
        platform.remove(place)

    if not MOMENTS:
        place = platform.copy(platform.before(layer), f"killed_{layer}")
        again(place, killed_when_it_writes(platform, layer, place))
        return
    seconds = seconds_undisturbed(platform, layer)
    note(f"{seconds:.2f} s undisturbed, seed {SEED}")
    for n in range(MOMENTS):
        moment = random.Random(f"{SEED} {layer} {n}").random() * seconds  # noqa: S311
        place = platform.copy(platform.before(layer), f"killed_{layer}")
        while not killed_at(platform, layer, place, moment):
            note(f"over before {moment:.2f} s, so it is killed earlier")
            moment *= 0.8
            place = platform.copy(platform.before(layer), f"killed_{layer}")
        again(place, moment)


def held_offsets(place: Place) -> dict[str, dict[int, int]]:
    """Return up to which offset of its topic each raw table says that it holds."""
    return {table.path: dict(read_progress(place.lake.delta(table)).held) for table in RAW_TABLES}


def letters_sent(kafka: KafkaResource) -> set[bytes]:
    return {message.key for message in whole_topic(DEAD_LETTERS, kafka)}


def letters_in(lake: LakeResource) -> set[bytes]:
    rows = lake.read(RAW_DEAD_LETTERS, columns=list(RAW_DEAD_LETTERS.grain)).rows()
    return {"-".join(map(str, row)).encode() for row in rows}
