"""The history in the lake: the contract's columns, written twice and still the same, beside rows from Kafka."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from retail_assets.contracts.tables import (
    BULK_PARTITION,
    RAW_INVENTORY_UPDATES,
    RAW_SALES_TRANSACTIONS,
    RAW_TABLES,
    REFERENCE_STORES,
    REFERENCE_TABLES,
    REFERENCE_WEATHER,
    Table,
)
from retail_assets.contracts.types import arrow_schema, polars_schema
from retail_assets.simulator import lake
from retail_assets.simulator.bulk_rows import to_arrow
from retail_assets.simulator.delta_files import ConcurrentWriteError, DeltaFiles
from retail_assets.simulator.demand.anomalies import TRUTH_ANOMALIES
from retail_assets.simulator.engine import Part
from retail_assets.simulator.events import TRUTH_DEMAND
from retail_assets.simulator.lake import write_history
from retail_assets.simulator.scenario import AnomalyRates, Scenario
from retail_assets.simulator.simulation import Simulation, simulate

TABLES = (*REFERENCE_TABLES, *RAW_TABLES, TRUTH_DEMAND, TRUTH_ANOMALIES)


@pytest.fixture(scope="module")
def written(scenario: Scenario) -> Simulation:
    anomalies = AnomalyRates(thefts=40.0, price_errors=40.0)
    return simulate(Scenario(last_date=scenario.last_date, stores=2, products=30, days=14, anomalies=anomalies))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, written: Simulation) -> str:
    uri = (tmp_path_factory.mktemp("written") / "lake").as_uri()
    write_history(written, uri)
    return uri


def read(root: str, table: Table) -> pl.DataFrame:
    return pl.read_delta(f"{root}/{table.path}")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.path)
def test_columns_have_exactly_the_contracts_types(root: str, table: Table) -> None:
    stored = pa.schema(DeltaTable(f"{root}/{table.path}").schema().to_arrow())
    expected = arrow_schema(table.columns)
    assert stored.names == expected.names
    for field in expected:
        found = stored.field(field.name)
        assert (found.type, found.nullable) == (field.type, field.nullable), field.name
    assert read(root, table).schema == polars_schema(table.columns)


def test_what_is_read_back_is_what_was_simulated(root: str, written: Simulation) -> None:
    for table, frame in (
        (TRUTH_DEMAND, written.truth),
        (TRUTH_ANOMALIES, written.anomalies),
        *((t, getattr(written.world, t.name, written.purchase_orders)) for t in REFERENCE_TABLES),
    ):
        assert read(root, table).sort(table.grain).equals(frame.sort(table.grain)), table.path
    for table in RAW_TABLES:
        # A single cluster of stores, so that both are in the order of business dates.
        made = pl.concat([getattr(batch, table.name) for batch in written.history_batches()])
        stored = read(root, table).sort("kafka_offset")
        assert stored.select(made.columns).equals(made), table.path


@pytest.mark.parametrize("table", RAW_TABLES, ids=lambda table: table.path)
def test_bulk_rows_say_where_they_would_have_come_from(root: str, table: Table) -> None:
    rows = read(root, table).sort("kafka_offset")
    assert rows["kafka_topic"].unique().to_list() == [table.name.replace("_", "-")]
    assert rows["kafka_partition"].unique().to_list() == [BULK_PARTITION]
    assert rows["kafka_offset"].to_list() == list(range(rows.height))
    assert (rows["event_date"] == rows["occurred_at"].dt.date()).all()
    assert (rows["produced_at"] == rows["occurred_at"]).all()
    assert (rows["ingested_at"] > rows["occurred_at"]).all()
    of_refused = ("rejection", "raw_value", "raw_headers", "broker_offset", "broker_time")
    assert all(rows[name].null_count() == rows.height for name in of_refused)
    assert DeltaTable(f"{root}/{table.path}").metadata().partition_columns == ["event_date"]


def test_today_is_not_in_the_lake(root: str, written: Simulation) -> None:
    for table in RAW_TABLES:
        last = read(root, table)["occurred_at"].dt.convert_time_zone("Europe/Berlin").dt.date().max()
        assert last < written.scenario.last_date  # type: ignore[operator]


def test_writing_twice_still_gives_the_same_rows(tmp_path: Path, written: Simulation) -> None:
    uri = (tmp_path / "lake").as_uri()
    first = write_history(written, uri)
    before = {table.path: read(uri, table).sort(table.grain) for table in TABLES}
    assert write_history(written, uri) == first
    for table in TABLES:
        again = read(uri, table).sort(table.grain)
        assert again.height == first[table.path]
        assert again.equals(before[table.path])


@pytest.mark.parametrize("nullable", [False, True], ids=["as we declare it", "as Spark declares it"])
def test_rows_from_kafka_are_left_alone(tmp_path: Path, written: Simulation, *, nullable: bool) -> None:
    uri = (tmp_path / "lake").as_uri()
    table = RAW_INVENTORY_UPDATES
    schema = arrow_schema(table.columns)
    row = dict.fromkeys(schema.names) | {
        "kafka_topic": "inventory-updates",
        "kafka_partition": 2,
        "kafka_offset": 17,
        "ingested_at": datetime(2026, 4, 1, tzinfo=UTC),
        "event_date": datetime(2026, 4, 1, tzinfo=UTC).date(),
        "rejection": "not JSON",
        "raw_value": b"\xff",
        "raw_headers": [{"key": "trace", "value": b"\xfe"}],
    }
    declared = pa.schema([field.with_nullable(nullable or field.nullable) for field in schema])
    from_kafka = pa.Table.from_pylist([row], schema=declared)
    write_deltalake(f"{uri}/{table.path}", from_kafka, partition_by=table.partition_by)
    rows = write_history(written, uri)[table.path]
    write_history(written, uri)
    stored = read(uri, table)
    assert stored.height == rows + 1
    assert stored.filter(pl.col("kafka_partition") == 2).to_dicts() == pl.DataFrame(from_kafka).to_dicts()


def test_another_scenario_replaces_the_earlier_bulk_rows(tmp_path: Path, written: Simulation) -> None:
    uri = (tmp_path / "lake").as_uri()
    write_history(written, uri)
    other = simulate(Scenario(last_date=written.scenario.last_date, stores=1, products=10, days=20))
    rows = write_history(other, uri)
    assert all(read(uri, table).height == rows[table.path] for table in TABLES)


def test_a_write_that_breaks_off_leaves_the_rows_of_before_and_no_files(
    tmp_path: Path, written: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = (tmp_path / "lake").as_uri()
    rows = write_history(written, uri)
    files = set(tmp_path.rglob("*.parquet"))
    whole = Simulation.feeds

    def broken(self: Simulation) -> Iterator[Part]:
        yield next(whole(self))
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(Simulation, "feeds", broken)
    with pytest.raises(RuntimeError, match="on fire"):
        write_history(written, uri)
    for table in (*RAW_TABLES, TRUTH_DEMAND):
        assert read(uri, table).height == rows[table.path]
    assert set(tmp_path.rglob("*.parquet")) == files


@pytest.mark.parametrize("table", [REFERENCE_WEATHER, RAW_INVENTORY_UPDATES], ids=lambda table: table.path)
def test_of_two_histories_written_at_once_one_is_refused_and_leaves_nothing(
    tmp_path: Path, written: Simulation, monkeypatch: pytest.MonkeyPatch, table: Table
) -> None:
    uri = (tmp_path / "lake").as_uri()
    write_history(written, uri)
    rows = DeltaTable(f"{uri}/{table.path}").to_pyarrow_table().cast(arrow_schema(table.columns))
    for root in (uri, (tmp_path / "new").as_uri()):
        first, late, at_once = (DeltaFiles(root, table) for _ in range(3))
        for writer in (first, late, at_once):
            writer.add(rows, 0)
        # As if both had looked at the log at the same instant: only Delta itself can tell them apart.
        monkeypatch.setattr(DeltaTable, "update_incremental", lambda _: None)
        first.commit()
        with pytest.raises(ConcurrentWriteError):
            at_once.commit()
        monkeypatch.undo()
        with pytest.raises(ConcurrentWriteError):
            late.commit()
        for writer in (first, late, at_once):
            writer.discard()
        assert DeltaTable(f"{root}/{table.path}").to_pyarrow_table().num_rows == rows.num_rows
        DeltaTable(f"{root}/{table.path}").vacuum(0, dry_run=False, enforce_retention_duration=False)
        stored = {str(path) for path in (tmp_path / root.rsplit("/", 1)[1] / table.path).rglob("*.parquet")}
        assert len(stored) == len(DeltaTable(f"{root}/{table.path}").file_uris())


def test_a_history_that_began_while_another_was_being_committed_changes_no_table(
    tmp_path: Path, written: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = (tmp_path / "lake").as_uri()
    write_history(written, uri)
    versions = {table: DeltaTable(f"{uri}/{table.path}").version() for table in TABLES}
    whole = Simulation.feeds

    def overtaken(self: Simulation) -> Iterator[Part]:
        yield from whole(self)
        last = DeltaFiles(uri, TRUTH_DEMAND)
        last.add(
            DeltaTable(f"{uri}/{TRUTH_DEMAND.path}").to_pyarrow_table().cast(arrow_schema(TRUTH_DEMAND.columns)), 0
        )
        last.commit()

    monkeypatch.setattr(Simulation, "feeds", overtaken)
    with pytest.raises(ConcurrentWriteError):
        write_history(written, uri)
    changed = {table for table in TABLES if DeltaTable(f"{uri}/{table.path}").version() != versions[table]}
    assert changed == {TRUTH_DEMAND}


def test_an_interrupt_right_behind_a_commit_deletes_nothing_of_it(
    tmp_path: Path, written: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = (tmp_path / "lake").as_uri()
    commit = DeltaTable.create_write_transaction

    def interrupted(self: DeltaTable, *arguments: Any, **options: Any) -> None:
        commit(self, *arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(DeltaTable, "create_write_transaction", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_history(written, uri)
    assert read(uri, REFERENCE_STORES).height == written.world.stores.height
    assert len(list(tmp_path.rglob("*.parquet"))) == 1


def test_a_table_whose_columns_have_changed_since_is_replaced_with_its_schema(
    tmp_path: Path, written: Simulation
) -> None:
    uri = (tmp_path / "lake").as_uri()
    write_deltalake(f"{uri}/{TRUTH_ANOMALIES.path}", pa.table({"anomaly_id": ["old"], "gone": [1]}))
    write_history(written, uri)
    assert read(uri, TRUTH_ANOMALIES).equals(written.anomalies)


def test_a_day_is_one_file_whatever_the_number_of_days(root: str, written: Simulation) -> None:
    for table in RAW_TABLES:
        actions = pl.DataFrame(DeltaTable(f"{root}/{table.path}").get_add_actions(flatten=True))
        assert actions["num_records"].sum() == read(root, table).height
        assert actions["partition.event_date"].is_unique().all()
        assert set(actions["min.kafka_partition"]) == set(actions["max.kafka_partition"]) == {BULK_PARTITION}


@pytest.mark.parametrize("table", RAW_TABLES, ids=lambda table: table.path)
def test_the_log_says_what_readers_pass_a_file_by_for(root: str, table: Table) -> None:
    delta = DeltaTable(f"{root}/{table.path}")
    noted = pl.DataFrame(delta.get_add_actions(flatten=True))
    arrived = pl.scan_delta(delta).select(first=pl.col("ingested_at").min(), last=pl.col("ingested_at").max()).collect()
    assert noted["null_count.rejection"].to_list() == noted["num_records"].to_list()
    # Times are kept to the millisecond, and nothing may lie outside of its file's bounds.
    millisecond = timedelta(milliseconds=1)
    first, last = arrived["first"][0], arrived["last"][0]
    assert first - millisecond < noted["min.ingested_at"].min() <= first
    assert last <= noted["max.ingested_at"].max() < last + millisecond


def test_rows_from_kafka_in_the_same_file_as_bulk_rows_are_kept(tmp_path: Path, written: Simulation) -> None:
    uri = (tmp_path / "lake").as_uri()
    table = RAW_INVENTORY_UPDATES
    rows = write_history(written, uri)[table.path]
    stored = read(uri, table).with_columns(
        kafka_partition=pl.when(pl.col("kafka_offset") % 3 == 0).then(1).otherwise(BULK_PARTITION).cast(pl.Int32)
    )
    # As a compaction would leave them.
    write_deltalake(
        f"{uri}/{table.path}",
        to_arrow(stored, arrow_schema(table.columns)),
        mode="overwrite",
        partition_by="event_date",
    )
    kafka = stored.filter(pl.col("kafka_partition") == 1)
    assert write_history(written, uri)[table.path] == rows
    after = read(uri, table)
    assert after.height == rows + kafka.height
    kept = after.filter(pl.col("kafka_partition") == 1)
    assert kept.sort("kafka_offset").equals(kafka.sort("kafka_offset"))


def test_a_table_of_an_earlier_release_gets_the_fields_that_came_since(tmp_path: Path, written: Simulation) -> None:
    uri = (tmp_path / "lake").as_uri()
    table = RAW_SALES_TRANSACTIONS
    schema = arrow_schema(table.columns)
    old = schema.remove(schema.get_field_index("original_transaction_id"))
    DeltaTable.create(f"{uri}/{table.path}", old, partition_by=table.partition_by)
    rows = write_history(written, uri)[table.path]
    stored = read(uri, table)
    assert stored.height == rows
    assert stored["original_transaction_id"].drop_nulls().len() > 0


def test_s3a_is_read_as_s3(monkeypatch: pytest.MonkeyPatch, written: Simulation) -> None:
    seen: list[tuple[str, object]] = []

    class NoFiles:
        """Takes rows and forgets them."""

        def __init__(self, root: str, table: Table, storage_options: object) -> None:
            seen.append((f"{root}/{table.path}", storage_options))
            self.table, self.rows = table, 0

        def add(self, rows: pa.Table, _group: int) -> None:
            self.rows += rows.num_rows

        def refuse_if_overtaken(self) -> None:
            pass

        def commit(self) -> int:
            return self.rows

    monkeypatch.setattr(lake, "DeltaFiles", NoFiles)
    lines: list[str] = []
    write_history(written, "s3a://bucket/lake/", {"aws_region": "x"}, lines.append)
    assert ("s3://bucket/lake/reference/stores", {"aws_region": "x"}) in seen
    assert all(options == {"aws_region": "x"} for _, options in seen)
    assert len(lines) == len(seen) == len(TABLES)
    assert "reference/stores: 2 rows" in lines
