"""Rows that wait on the disk: what is there survives, nothing is bent, and nothing vanishes in silence."""

import errno
import logging
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any

import pyarrow as pa
import pytest

from retail_streaming.errors import StreamingError, TransientError
from retail_streaming.progress import WrittenBatches
from retail_streaming.queries import Output, Query
from retail_streaming.sales import REVENUE_HOURLY
from retail_streaming.spill import Spill
from retail_streaming.turns import LONGEST_SECONDS, Turns
from retail_streaming.warehouse import Target, Warehouse, version_of
from retail_streaming.writer import BatchWriter

TARGET = Target("rt_revenue_hourly", REVENUE_HOURLY, versioned=True)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EPOCH = 1_772_000_000_000


def changed(*stores: str) -> pa.Table:
    rows = [
        {"store_id": one, "hour_start": NOON, "units": Decimal("1.500"), "revenue": Decimal("9.99"), "transactions": 2}
        for one in stores
    ]
    return pa.Table.from_pylist(rows, REVENUE_HOURLY)


def stamped(*stores: str, version: int = 1) -> pa.Table:
    return TARGET.stamped(changed(*stores), version, NOON)


class FakeWarehouse:
    """The warehouse at the edge: takes rows, is away, or refuses."""

    def __init__(self) -> None:
        self.inserts: list[tuple[str, pa.Table]] = []
        self.error: StreamingError | None = None
        self.asked = 0

    def insert(self, table: str, rows: pa.Table) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        self.inserts.append((table, rows))

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for _, table in self.inserts for row in table.to_pylist()]

    @property
    def stores(self) -> list[str]:
        return [row["store_id"] for row in self.rows]


@pytest.fixture
def warehouse() -> FakeWarehouse:
    return FakeWarehouse()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*/*"))


def test_rows_come_out_of_the_disk_as_they_went_in_and_their_file_goes(
    tmp_path: Path, warehouse: FakeWarehouse
) -> None:
    spill = Spill(tmp_path, 1)
    rows = stamped("S1", "S2", version=version_of(EPOCH, 7))
    assert spill.save("sales", TARGET.table, version_of(EPOCH, 7), rows)
    assert files(tmp_path) == [f"rt_revenue_hourly-{version_of(EPOCH, 7):020d}.arrow"]
    assert spill.bytes == sum(path.stat().st_size for path in tmp_path.glob("*/*"))
    spill.drain(warehouse.insert)
    ((table, found),) = warehouse.inserts
    assert table == TARGET.table
    assert found.equals(rows)
    assert files(tmp_path) == []
    assert (spill.files, spill.bytes) == (0, 0)


def test_a_restarted_service_finds_what_waits_and_numbers_its_own_rows_above(
    tmp_path: Path, warehouse: FakeWarehouse
) -> None:
    before = Spill(tmp_path, 1)
    for batch in (3, 4):
        assert before.save("sales", TARGET.table, version_of(EPOCH, batch), stamped(f"S{batch}"))
    after = Spill(tmp_path, 1)
    assert (after.files, after.bytes) == (2, before.bytes)
    assert after.newest_version() == version_of(EPOCH, 4)
    after.drain(warehouse.insert)
    assert warehouse.stores == ["S3", "S4"]
    assert files(tmp_path) == []


def test_a_batch_that_is_written_again_replaces_its_file(tmp_path: Path, warehouse: FakeWarehouse) -> None:
    spill = Spill(tmp_path, 1)
    for _ in range(2):
        assert spill.save("sales", TARGET.table, 1, stamped("S1"))
    spill.drain(warehouse.insert)
    assert warehouse.stores == ["S1"]


def test_many_files_of_a_table_become_few_inserts_and_tables_are_kept_apart(
    tmp_path: Path, warehouse: FakeWarehouse
) -> None:
    spill = Spill(tmp_path, 10)
    for version in range(20):
        assert spill.save("sales", TARGET.table, version, stamped(f"S{version}", version=version))
        assert spill.save("sales", "rt_revenue_daily", version, stamped(f"S{version}", version=version))
    spill.drain(warehouse.insert)
    assert [(table, len(rows)) for table, rows in warehouse.inserts] == [
        ("rt_revenue_daily", 20),
        ("rt_revenue_hourly", 20),
    ]


class KilledError(BaseException):
    """Ends a process in the middle of whatever it does: nobody cleans up."""


def test_what_a_crash_left_unfinished_is_never_taken_for_rows(
    tmp_path: Path, warehouse: FakeWarehouse, monkeypatch: pytest.MonkeyPatch, seen: pytest.LogCaptureFixture
) -> None:
    def fsync(_: int) -> None:
        raise KilledError

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(KilledError):
        Spill(tmp_path, 1).save("sales", TARGET.table, 1, stamped("S1"))
    assert len(files(tmp_path)) == 1
    spill = Spill(tmp_path, 1)
    spill.drain(warehouse.insert)
    assert warehouse.inserts == []
    assert files(tmp_path) == []
    assert seen.messages == ["unfinished spill file removed"]


def test_a_write_that_fails_in_the_middle_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    spill = Spill(tmp_path, 1)
    monkeypatch.setattr(os, "fsync", fsync)
    assert not spill.save("sales", TARGET.table, 1, stamped("S1"))
    assert files(tmp_path) == []
    assert not spill.active


@pytest.mark.parametrize("damage", ["cut off", "empty", "overwritten"])
def test_a_corrupt_file_is_moved_aside_and_said_and_the_others_are_written(
    tmp_path: Path, warehouse: FakeWarehouse, seen: pytest.LogCaptureFixture, damage: str
) -> None:
    Spill(tmp_path, 1).save("sales", TARGET.table, 1, stamped("S1"))
    Spill(tmp_path, 1).save("sales", TARGET.table, 2, stamped("S2"))
    path = tmp_path / "sales" / f"rt_revenue_hourly-{1:020d}.arrow"
    content = path.read_bytes()
    path.write_bytes({"cut off": content[:-20], "empty": b"", "overwritten": b"\0" * len(content)}[damage])
    Spill(tmp_path, 1).drain(warehouse.insert)
    assert warehouse.stores == ["S2"]
    assert files(tmp_path) == [f"{path.name}.corrupt"]
    assert [r.getMessage() for r in seen.records if r.levelno == logging.ERROR] == ["spill file is corrupt"]


def test_while_the_warehouse_is_away_everything_waits_on(tmp_path: Path, warehouse: FakeWarehouse) -> None:
    spill = Spill(tmp_path, 1)
    spill.save("sales", TARGET.table, 1, stamped("S1"))
    warehouse.error = TransientError("away")
    with pytest.raises(TransientError):
        spill.drain(warehouse.insert)
    assert spill.active
    assert spill.files == 1
    warehouse.error = None
    spill.drain(warehouse.insert)
    assert not spill.active
    assert warehouse.stores == ["S1"]


def test_rows_that_the_warehouse_refuses_stay_and_that_is_said_once(
    tmp_path: Path, warehouse: FakeWarehouse, seen: pytest.LogCaptureFixture
) -> None:
    spill = Spill(tmp_path, 1)
    spill.save("sales", TARGET.table, 1, stamped("S1"))
    warehouse.error = StreamingError("no such table: run `retail migrate`")
    for _ in range(2):
        with pytest.raises(StreamingError):
            spill.drain(warehouse.insert)
    assert spill.files == 1
    assert (spill.holds("sales"), spill.holds("tills")) == (True, False)
    assert seen.messages.count("spilled rows refused") == 1
    assert not spill.active, "it answers, so the queries can write"


def test_the_bound_is_kept_and_reaching_it_is_said_once(tmp_path: Path, seen: pytest.LogCaptureFixture) -> None:
    spill = Spill(tmp_path, 1)
    large = stamped(*(f"a store with a long name {number}" for number in range(5000)))
    taken = [spill.save("sales", TARGET.table, version, large) for version in range(5)]
    assert taken[0]
    assert not taken[-1]
    assert spill.bytes <= 1024 * 1024
    assert seen.messages.count("spill is full: queries wait for the warehouse") == 1


def test_a_bound_of_nought_means_that_nothing_is_spilled(tmp_path: Path) -> None:
    assert not Spill(tmp_path, 0).save("sales", TARGET.table, 1, stamped("S1"))


class FakeBatch:
    """A batch as Spark hands it over."""

    def toArrow(self) -> pa.Table:  # noqa: N802 -- Spark's name
        return changed("S1")


def writer(
    warehouse: FakeWarehouse,
    spill: Spill,
    *,
    spill_after: float = 0,
    patience: float = 0,
    turns: Turns | None = None,
    stopping: Event | None = None,
) -> BatchWriter:
    query = Query(name="sales", topics=(), plan=lambda frame, _: frame, outputs=(Output(TARGET),))
    edge: Warehouse = warehouse  # type: ignore[assignment]
    return BatchWriter(
        query,
        edge,
        WrittenBatches(),
        epoch=EPOCH,
        patience=patience,
        stopping=stopping or Event(),
        spill=spill,
        spill_after=spill_after,
        turns=turns or Turns(1, grace=0),
    )


def write(writer: BatchWriter, number: int) -> None:
    batch: Any = FakeBatch()
    writer(batch, number)


def test_a_batch_ends_well_while_the_warehouse_is_away_and_its_rows_arrive_later(
    tmp_path: Path, warehouse: FakeWarehouse
) -> None:
    spill = Spill(tmp_path, 1)
    sales = writer(warehouse, spill)
    warehouse.error = TransientError("away")
    write(sales, 1)
    write(sales, 2)
    assert spill.files == 2
    assert warehouse.asked == 1, "once rows go to the disk, batches don't ask first"
    warehouse.error = None
    spill.drain(warehouse.insert)
    write(sales, 3)
    assert [row["version"] for row in warehouse.rows] == [version_of(EPOCH, batch) for batch in (1, 2, 3)]


def test_a_short_absence_is_waited_for(tmp_path: Path, warehouse: FakeWarehouse) -> None:
    warehouse.error = TransientError("away")
    with pytest.raises(TransientError):
        write(writer(warehouse, Spill(tmp_path, 1), spill_after=30), 1)
    assert files(tmp_path) == []


def test_when_the_disk_takes_no_more_the_query_waits_for_the_warehouse_until_its_patience_ends(
    tmp_path: Path, warehouse: FakeWarehouse
) -> None:
    warehouse.error = TransientError("away")
    sales = writer(warehouse, Spill(tmp_path, 0), patience=0.2)
    with pytest.raises(TransientError):
        write(sales, 1)
    assert warehouse.asked >= 2
    assert isinstance(sales.failure, TransientError)


def test_what_the_warehouse_refuses_is_not_spilled(tmp_path: Path, warehouse: FakeWarehouse) -> None:
    warehouse.error = StreamingError("no such table")
    with pytest.raises(StreamingError):
        write(writer(warehouse, Spill(tmp_path, 1)), 1)
    assert files(tmp_path) == []


def test_a_batch_that_fails_gives_up_its_turn(tmp_path: Path, warehouse: FakeWarehouse) -> None:
    turns = Turns(1, grace=0)
    warehouse.error = StreamingError("no such table")
    with pytest.raises(StreamingError):
        write(writer(warehouse, Spill(tmp_path, 1), turns=turns), 1)
    assert turns.wait("inventory", Event()) < 0.1


def test_a_batch_that_waits_for_the_warehouse_leaves_its_turn_to_others(
    tmp_path: Path, warehouse: FakeWarehouse
) -> None:
    turns = Turns(1, grace=0)
    waited: list[float] = []
    taken = warehouse.insert

    def insert(table: str, rows: pa.Table) -> None:
        waited.append(turns.wait("inventory", Event()))
        taken(table, rows)

    warehouse.insert = insert  # type: ignore[method-assign]
    write(writer(warehouse, Spill(tmp_path, 1), turns=turns), 1)
    assert waited[0] < LONGEST_SECONDS / 2


def test_a_warehouse_that_hangs_is_told_before_it_has_failed(
    tmp_path: Path, warehouse: FakeWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    sales = writer(warehouse, Spill(tmp_path, 1))
    assert sales.waiting is None

    def insert(_table: str, _rows: pa.Table) -> None:
        assert sales.waiting is None, "it has only just been asked"
        monkeypatch.setattr("retail_streaming.writer._SILENT_SECONDS", -1)
        said.append(str(sales.waiting))

    warehouse.insert = insert  # type: ignore[method-assign]
    write(sales, 1)
    assert said == ["the warehouse has not answered for 0 seconds"]
    assert sales.waiting is None


def test_rows_are_written_before_a_query_waits_for_its_turn(tmp_path: Path, warehouse: FakeWarehouse) -> None:
    turns = Turns(1, grace=0)
    turns.begun("inventory")
    seen: list[int] = []

    class Looks(Event):
        def is_set(self) -> bool:
            seen.append(len(warehouse.rows))
            return True

    write(writer(warehouse, Spill(tmp_path, 1), turns=turns, stopping=Looks()), 1)
    assert seen == [1]
