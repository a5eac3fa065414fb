"""Housekeeping on real Delta tables: what may go goes, nothing else changes, and logs forget nothing that is needed."""

import os
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from retail_assets.contracts.tables import (
    BULK_PARTITION,
    CORE_SALES_LINES,
    RAW_POS_EVENTS,
    RAW_SALES_TRANSACTIONS,
    Table,
)
from retail_assets.contracts.types import arrow_schema, polars_schema
from retail_assets.resources.coverage import ARRIVALS, Coverage, carry_coverage, read_coverage, stale_days
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.offsets import Gap, Progress
from retail_assets.resources.progress import TRANSACTION_APP, commit_metadata, read_progress, record
from retail_assets.resources.retention import first_whole_day, keep_of
from retail_assets.resources.upkeep import CARRY_AFTER, LOG_KEPT, REMOVABLE_AFTER, Keep, TableKeeper
from retail_assets.settings import Settings
from retail_assets.simulator.bulk_rows import to_arrow

NOW = datetime.now(UTC)
FIRST = NOW.date() - timedelta(days=30)
GAP = Gap(0, 2, 5, "2026-01-01T00:00:00+00:00")


def on(day: int) -> date:
    return FIRST + timedelta(days=day)


def events(table: Table, day: int, start: int, rows: int = 3, **changes: Any) -> pl.DataFrame:
    """Return rows of a raw table as they come from Kafka; columns that don't matter are null."""
    schema = polars_schema(table.columns)
    moment = datetime(on(day).year, on(day).month, on(day).day, 9, tzinfo=UTC)
    values = {
        "kafka_topic": "t",
        "kafka_partition": 0,
        "ingested_at": moment,
        "event_date": on(day),
        "rejection": None,
        **changes,
    }
    return pl.DataFrame(
        [
            {name: start + n if name == "kafka_offset" else values.get(name) for name in schema.names()}
            for n in range(rows)
        ],
        schema=schema,
    )


def ingest(lake: LakeResource, table: Table, frame: pl.DataFrame, progress: Progress) -> None:
    """Append a batch as a run does."""
    write_deltalake(
        lake.local_path(table.path),
        to_arrow(frame, arrow_schema(table.columns)),
        mode="append",
        partition_by="event_date",
        commit_properties=CommitProperties(
            custom_metadata={"userMetadata": commit_metadata("t", progress)},
            app_transactions=[Transaction(TRANSACTION_APP, progress.batch)],
        ),
    )


@pytest.fixture
def raw(lake: LakeResource) -> LakeResource:
    """Ten batches of a topic that was adopted and has lost events: two days of five small files each."""
    for batch in range(1, 11):
        held = {0: batch * 3, 1: 0}
        progress = Progress(batch, held, "topic-id", {0: 7}, (GAP,))
        ingest(lake, RAW_POS_EVENTS, events(RAW_POS_EVENTS, batch % 2, (batch - 1) * 3), progress)
    return lake


def keeper(lake: LakeResource, table: Table = RAW_POS_EVENTS, keep: Keep = Keep(), **more: Any) -> TableKeeper:  # noqa: B008
    return TableKeeper(lake, table, keep, NOW, **more)


def delta_of(lake: LakeResource, table: Table = RAW_POS_EVENTS) -> DeltaTable:
    delta = lake.delta(table)
    assert delta is not None
    return delta


def rows_of(lake: LakeResource, table: Table = RAW_POS_EVENTS) -> list[tuple[Any, ...]]:
    return lake.read(table).sort("kafka_partition", "kafka_offset").rows()


def age(folder: Path, days: float) -> None:
    """Make everything in a folder look as if it had been written some days ago."""
    before = time.time() - days * 86_400
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (before, before))


def contents(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def folder_of(lake: LakeResource, table: Table = RAW_POS_EVENTS) -> Path:
    return Path(lake.local_path(table.path))


def test_small_files_of_days_that_are_over_become_one_with_the_same_rows(raw: LakeResource) -> None:
    before = rows_of(raw)
    ingest(raw, RAW_POS_EVENTS, events(RAW_POS_EVENTS, 30, 30), Progress(11, {0: 33}))
    ingest(raw, RAW_POS_EVENTS, events(RAW_POS_EVENTS, 30, 33), Progress(12, {0: 36}))
    found = keeper(raw).clean()
    assert found is not None
    assert (found.small_files, found.before.files, found.after.files) == (10, 12, 4)
    assert found.before.rows == found.after.rows == 36
    assert rows_of(raw)[:30] == before
    again = keeper(raw).clean()
    assert again is not None
    assert (again.small_files, again.after) == (0, again.before)


def test_a_dry_run_says_the_same_and_changes_nothing(raw: LakeResource) -> None:
    folder = folder_of(raw)
    (folder / "event_date=x.parquet").write_bytes(b"left behind")
    age(folder, 40)
    before = contents(folder)
    looked = keeper(raw, keep=Keep(days=29)).look()
    assert contents(folder) == before
    cleaned = keeper(raw, keep=Keep(days=29)).clean()
    assert looked is not None
    assert cleaned is not None
    assert looked.after == looked.before == cleaned.before
    for name in ("small_files", "expired_rows", "removable", "removable_bytes", "old_log_files"):
        assert getattr(looked, name) == getattr(cleaned, name), name
    assert looked.expired_rows == 15
    assert looked.old_log_files == 9
    assert contents(folder) != before


def test_files_that_nobody_names_go_when_they_are_old_and_stay_while_they_are_young(raw: LakeResource) -> None:
    folder = folder_of(raw)
    rows = rows_of(raw)
    keeper(raw).clean()
    named = {Path(path).name for path in delta_of(raw).file_uris()}
    replaced = [path for path in folder.rglob("*.parquet") if path.name not in named and "_delta_log" not in path.parts]
    assert len(replaced) == 10  # by the compaction, a moment ago: somebody may be reading them
    day = folder / f"event_date={on(0)}"
    old, young = day / "part-old.parquet", day / "part-young.parquet"
    old.write_bytes(b"x" * 100)
    age(old, REMOVABLE_AFTER.days + 1)
    young.write_bytes(b"y")
    (folder / "empty").mkdir()
    age(folder / "empty", REMOVABLE_AFTER.days + 1)
    found = keeper(raw).clean()
    assert found is not None
    assert (found.removable, found.removable_bytes) == (1, 100)
    assert not old.exists()
    assert young.exists()
    assert all(path.exists() for path in replaced)
    assert not (folder / "empty").exists()
    assert rows_of(raw) == rows


def test_what_a_raw_table_holds_is_known_after_its_log_was_cleaned(raw: LakeResource) -> None:
    known = read_progress(delta_of(raw))
    rows = rows_of(raw)
    assert known == Progress(10, {0: 30, 1: 0}, "topic-id", {0: 7}, (GAP,))
    age(folder_of(raw) / "_delta_log", LOG_KEPT.days + 5)
    _backdate(folder_of(raw), LOG_KEPT.days + 5)
    found = keeper(raw).clean()
    assert found is not None
    assert found.old_log_files == 9
    assert len(list((folder_of(raw) / "_delta_log").glob("*0000[0-9].json"))) == 0
    assert read_progress(delta_of(raw)) == known
    assert rows_of(raw) == rows
    record(delta_of(raw), "t", known.acknowledged("known"))
    assert read_progress(delta_of(raw)).batch == 11


def test_without_saying_it_again_a_cleaned_log_would_forget(raw: LakeResource) -> None:
    age(folder_of(raw) / "_delta_log", LOG_KEPT.days + 5)
    delta = delta_of(raw)
    delta.optimize.compact()
    delta.create_checkpoint()
    delta.cleanup_metadata()
    assert read_progress(delta_of(raw)).base == {}


def test_a_batch_that_comes_in_between_counts_and_not_what_is_said_again(
    raw: LakeResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    _backdate(folder_of(raw), CARRY_AFTER.days + 1)
    newer = Progress(11, {0: 33, 1: 0}, "topic-id", {0: 7}, (GAP,))
    from retail_assets.resources import progress as module

    original = module.commit_note

    def late(delta: DeltaTable, text: str, *more: Any) -> None:
        ingest(raw, RAW_POS_EVENTS, events(RAW_POS_EVENTS, 1, 30), newer)
        original(delta, text, *more)

    monkeypatch.setattr(module, "commit_note", late)
    keeper(raw).clean()
    assert read_progress(delta_of(raw)) == newer
    assert len(rows_of(raw)) == 33


def _backdate(folder: Path, days: float) -> None:
    """Let the log say that its commits were made some days ago."""
    import json

    before = int((NOW - timedelta(days=days)).timestamp() * 1_000)
    for path in (folder / "_delta_log").glob("*.json"):
        lines = [json.loads(one) for one in path.read_text(encoding="utf-8").splitlines()]
        for one in lines:
            if "commitInfo" in one:
                one["commitInfo"]["timestamp"] = before
        path.write_text("\n".join(json.dumps(one) for one in lines), encoding="utf-8")
    age(folder / "_delta_log", days)


def core_day(day: int) -> pl.DataFrame:
    schema = polars_schema(CORE_SALES_LINES.columns)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    values: dict[str, Any] = {"business_date": on(day), "line_no": 1, "occurred_at": moment, "business_hour": 9}
    text = {name: "x" for name, dtype in schema.items() if dtype == pl.String}
    return pl.DataFrame([{**dict.fromkeys(schema.names(), 0), **text, **values}], schema=schema, strict=False)


def make_day(lake: LakeResource, first: int, last: int, held: dict[int, int]) -> None:
    """Replace days of the core layer as a run does."""
    frame = pl.concat([core_day(day) for day in range(first, last + 1)])
    write_deltalake(
        lake.local_path(CORE_SALES_LINES.path),
        to_arrow(frame, arrow_schema(CORE_SALES_LINES.columns)),
        mode="overwrite",
        partition_by="business_date",
        predicate=f"business_date >= '{on(first)}' AND business_date <= '{on(last)}'",
        commit_properties=CommitProperties(
            custom_metadata={"userMetadata": Coverage(on(first), on(last), held).text()}
        ),
    )


@pytest.fixture
def core(lake: LakeResource) -> LakeResource:
    write_deltalake(
        lake.local_path(CORE_SALES_LINES.path),
        to_arrow(core_day(0).clear(), arrow_schema(CORE_SALES_LINES.columns)),
        partition_by="business_date",
    )
    make_day(lake, 0, 5, {0: 10, 1: 4})
    make_day(lake, 6, 6, {0: 20, 1: 4})
    make_day(lake, 2, 2, {0: 30, 1: 4})
    return lake


def stale(lake: LakeResource, offset: int) -> list[date]:
    """Return the days for which an event at an offset is late."""
    arrived = pl.DataFrame([(on(day), 0, offset) for day in range(7)], schema=ARRIVALS, orient="row")
    return stale_days(arrived, read_coverage(delta_of(lake, CORE_SALES_LINES)), {on(day) for day in range(7)})


def test_what_days_were_made_from_is_known_after_the_log_was_cleaned(core: LakeResource) -> None:
    known = [stale(core, offset) for offset in (9, 10, 19, 20, 29, 30)]
    assert known[1] == [on(day) for day in (0, 1, 3, 4, 5)]
    _backdate(folder_of(core, CORE_SALES_LINES), LOG_KEPT.days + 5)
    found = keeper(core, CORE_SALES_LINES).clean()
    assert found is not None
    assert found.old_log_files == 3
    log = sorted(path.name for path in (folder_of(core, CORE_SALES_LINES) / "_delta_log").glob("*.json"))
    assert [int(name[:20]) for name in log] == [4]
    assert [stale(core, offset) for offset in (9, 10, 19, 20, 29, 30)] == known
    make_day(core, 3, 3, {0: 99})
    assert stale(core, 50) == [on(day) for day in (0, 1, 2, 4, 5, 6)]


def test_what_is_said_again_gives_way_to_a_day_that_was_made_meanwhile(core: LakeResource) -> None:
    _backdate(folder_of(core, CORE_SALES_LINES), CARRY_AFTER.days + 1)
    old = delta_of(core, CORE_SALES_LINES)
    make_day(core, 1, 1, {0: 77})
    with pytest.raises(CommitFailedError):
        carry_coverage(old, {on(day) for day in range(7)}, NOW - CARRY_AFTER)
    assert on(1) not in stale(core, 76)
    assert on(0) in stale(core, 76)


def test_young_commits_are_not_said_again(core: LakeResource, raw: LakeResource) -> None:
    versions = [delta_of(core, CORE_SALES_LINES).version(), None]
    keeper(core, CORE_SALES_LINES).clean()
    assert delta_of(core, CORE_SALES_LINES).version() == versions[0]


def test_old_rows_go_as_far_as_the_settings_say_and_none_by_default(raw: LakeResource) -> None:
    ingest(
        raw,
        RAW_POS_EVENTS,
        events(RAW_POS_EVENTS, 20, 30, 2, rejection="wrong", raw_value=b"?"),
        Progress(11, {0: 32}),
    )
    ingest(raw, RAW_POS_EVENTS, events(RAW_POS_EVENTS, 20, 32, 1), Progress(12, {0: 33}))
    keeper(raw).clean()
    assert len(rows_of(raw)) == 33
    found = keeper(raw, keep=Keep(days=29, refused_days=5)).clean()
    assert found is not None
    assert found.expired_rows == 15 + 2
    assert found.after.rows == 33 - 17
    left = raw.read(RAW_POS_EVENTS)
    assert left["event_date"].unique().sort().to_list() == [on(1), on(20)]
    assert left["rejection"].null_count() == left.height
    assert read_progress(delta_of(raw)).held == {0: 33}


def test_the_lines_of_baskets_survive_being_put_together_and_rewritten(lake: LakeResource) -> None:
    lines = [[{"line_no": 1, "product_id": "P", "quantity": 2, "unit_price": 3, "discount": 0, "promotion_id": None}]]
    for batch in range(1, 4):
        frame = events(RAW_SALES_TRANSACTIONS, 0, batch * 2, 1, transaction_id=f"T{batch}", kind="sale")
        frame = frame.with_columns(pl.Series("lines", lines, dtype=frame.schema["lines"], strict=False))
        refused = events(RAW_SALES_TRANSACTIONS, 0, batch * 2 + 1, 1, rejection="wrong")
        bulk = frame.with_columns(pl.lit(BULK_PARTITION, pl.Int32).alias("kafka_partition"))
        ingest(lake, RAW_SALES_TRANSACTIONS, pl.concat([frame, refused, bulk]), Progress(batch, {0: batch * 2}))
    before = lake.read(RAW_SALES_TRANSACTIONS).filter(pl.col("rejection").is_null())
    found = keeper(lake, RAW_SALES_TRANSACTIONS, Keep(refused_days=1)).clean()
    assert found is not None
    assert (found.after.files, found.after.rows) == (1, 6)
    grain = list(RAW_SALES_TRANSACTIONS.grain)
    assert lake.read(RAW_SALES_TRANSACTIONS).sort(grain).equals(before.sort(grain))


@pytest.fixture
def overtaken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every compaction find that another commit came first."""
    from deltalake.table import TableOptimizer

    calls: list[str] = []

    def refused(*_: Any, **__: Any) -> None:
        calls.append("compact")
        raise CommitFailedError("a concurrent transaction deleted data this operation read")

    monkeypatch.setattr(TableOptimizer, "compact", refused)
    return calls


def test_housekeeping_that_is_overtaken_gives_way_with_a_sentence(raw: LakeResource, overtaken: list[str]) -> None:
    found = keeper(raw).clean()
    assert overtaken == ["compact"]
    assert found is not None
    assert found.notes == ["small files stay, because another write came in between: the next time"]
    assert found.after.rows == 30


def test_a_write_during_a_compaction_is_there_afterwards(raw: LakeResource, monkeypatch: pytest.MonkeyPatch) -> None:
    original = TableKeeper._scattered

    def write_late(self: TableKeeper, actions: pl.DataFrame) -> list[tuple[str, int]]:
        found = original(self, actions)
        ingest(raw, RAW_POS_EVENTS, events(RAW_POS_EVENTS, 0, 90), Progress(11, {0: 93}))
        monkeypatch.setattr(TableKeeper, "_scattered", original)
        return found

    looked = keeper(raw).look()
    assert looked is not None
    keeping = keeper(raw)
    monkeypatch.setattr(keeping, "look", lambda: looked)
    monkeypatch.setattr(TableKeeper, "_scattered", write_late)
    found = keeping.clean()
    assert found is not None
    assert found.after.rows == 33
    assert read_progress(delta_of(raw)).held == {0: 93}


def test_tables_that_runs_write_anew_are_left_alone_while_runs_work(core: LakeResource, raw: LakeResource) -> None:
    found = keeper(core, CORE_SALES_LINES, Keep(days=27), is_busy=True).clean()
    assert found is not None
    assert found.notes[0] == "old rows stay, because other runs are working: the next time"
    assert found.after.rows == 7
    of_raw = keeper(raw, is_busy=True).clean()
    assert of_raw is not None
    assert of_raw.after.files == 2


def test_settings_say_how_long_a_layer_is_kept_and_which_days_can_be_made_again() -> None:
    default = Settings(_env_file=None)
    assert {keep_of(table, default) for table in (RAW_POS_EVENTS, CORE_SALES_LINES)} == {Keep()}
    assert first_whole_day(default, FIRST) is None
    short = Settings(_env_file=None, keep_raw_days=10, keep_dead_letters_days=5, keep_core_days=100)
    assert keep_of(RAW_POS_EVENTS, short) == Keep(10, 5)
    assert keep_of(CORE_SALES_LINES, short) == Keep(100)
    # Rows of before the 21st are gone. A business date may have begun on the UTC date before.
    assert first_whole_day(short, date(2026, 1, 31)) == date(2026, 1, 22)
