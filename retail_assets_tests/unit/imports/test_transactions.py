"""Till lines become baskets of the raw table: each line once, each transaction whole, those of before replaced."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from click.testing import CliRunner
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retail_assets.cli import main
from retail_assets.contracts.tables import (
    RAW_SALES_TRANSACTIONS,
    REFERENCE_ASSORTMENT,
    REFERENCE_PRODUCTS,
    REFERENCE_STORES,
    Table,
)
from retail_assets.contracts.topics import INVENTORY_UPDATES, SALES_TRANSACTIONS
from retail_assets.contracts.types import arrow_schema
from retail_assets.imports import transactions
from retail_assets.imports.columns import MASTER_KINDS, TRANSACTIONS
from retail_assets.imports.common import Outcome
from retail_assets.imports.errors import ImportRefusedError
from retail_assets.imports.reference import Place
from retail_assets.imports.transactions import BasketDays, TransactionsRequest, import_transactions
from retail_assets.imports.writing import Lake
from retail_assets.resources.progress import TRANSACTION_APP, read_progress
from retail_assets.simulator.bulk_rows import to_arrow
from retail_assets.simulator.tills.wire import require_contract
from retail_assets_tests.unit.imports.conftest import Write

HEADER = "transaction_id,occurred_at,store_id,product_id,quantity,unit_price"
NOW = datetime(2025, 6, 30, 12, tzinfo=UTC)


def line(number: object, product: str, quantity: object = 1, at: str = "2024-05-01 08:30:00", store: str = "S1") -> str:
    return f"T{number},{at},{store},{product},{quantity},2.50"


class Tills:
    """A lake, and the import of till lines into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.request = TransactionsRequest(
            files=[],
            place=Place("Europe/Berlin", "DE"),
            now=NOW,
            rejected_file=folder / "rejected.csv",
            max_rejected=0.9,
        )

    def take(self, *files: Path, send: Callable[[BasketDays], None] | None = None, **changes: object) -> Outcome:
        asked = replace(self.request, files=files, **changes)  # type: ignore[arg-type]
        return import_transactions(asked, Lake((self.folder / "lake").as_uri()), self.folder / "work", send=send)

    def refused(self, *files: Path, **changes: object) -> str:
        with pytest.raises(ImportRefusedError) as error:
            self.take(*files, **changes)
        assert self.is_empty()
        return str(error.value)

    def table(self, table: Table = RAW_SALES_TRANSACTIONS) -> pl.DataFrame:
        return pl.read_delta(str(self.folder / "lake" / table.path)).sort(table.grain)

    def lines(self) -> list[tuple[str, str, float]]:
        """Return transaction, product and quantity of each line, in order."""
        rows = self.table().select("transaction_id", "lines").explode("lines").unnest("lines")
        return rows.select("transaction_id", "product_id", pl.col("quantity").cast(pl.Float64)).rows()

    def is_empty(self) -> bool:
        return not list((self.folder / "lake").rglob("_delta_log/*"))


@pytest.fixture
def tills(tmp_path: Path) -> Tills:
    return Tills(tmp_path)


def test_lines_of_a_transaction_meet_however_far_apart_they_lie(
    tills: Tills, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "BUCKET_ROWS", 50)
    first = [line(number, "P1") for number in range(300)]
    second = [line(number, "P2") for number in reversed(range(300))]
    outcome = tills.take(write(HEADER, *first, *second))
    assert outcome.tally.accepted == 600
    stored = tills.table()
    assert stored.height == stored["transaction_id"].n_unique() == stored["kafka_offset"].n_unique() == 300
    assert set(stored["lines"].list.eval(pl.element().struct.field("product_id")).list.join("+")) == {"P1+P2"}
    assert stored["lines"][0].to_list() == [
        {**row, "line_no": place, "product_id": f"P{place}"} for place, row in enumerate(stored["lines"][0], 1)
    ]


def test_the_last_count_of_a_step_is_told(tills: Tills, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "BUCKET_ROWS", 50)
    clock = count(step=0.7)  # seconds; each look at it takes that long
    monkeypatch.setattr("retail_assets.imports.common.time", SimpleNamespace(monotonic=lambda: next(clock)))
    told: list[str] = []
    path = write(HEADER, *[line(number, "P1") for number in range(1000)])
    asked = replace(tills.request, files=[path])
    import_transactions(asked, Lake((tills.folder / "lake").as_uri()), tills.folder / "work", told.append)
    counts = [text for text in told if text.endswith("lines together to baskets")]
    assert 1 < len(counts) < 20
    assert counts[-1] == "put 1,000 lines together to baskets"
    assert len(set(counts)) == len(counts)


def test_what_is_stored_is_what_the_contract_demands(tills: Tills, write: Write) -> None:
    tills.take(write(HEADER, line(1, "P1", -2), line(1, "P2", "0.25"), line(2, "P1")))
    stored = tills.table()
    require_contract(SALES_TRANSACTIONS.schema, stored.select(c.name for c in SALES_TRANSACTIONS.schema.columns))
    assert stored["kafka_partition"].unique().to_list() == [-1]
    assert stored["event_date"].unique().to_list() == [date(2024, 5, 1)]
    assert read_progress(DeltaTable(str(tills.folder / "lake" / RAW_SALES_TRANSACTIONS.path))).batch == 0


def test_a_negative_quantity_is_a_return_and_a_transaction_with_both_signs_becomes_two_baskets(
    tills: Tills, write: Write
) -> None:
    outcome = tills.take(write(HEADER, line(1, "P1", -2), line(2, "P1", 3), line(2, "P2", -1), line(3, "P9", 4)))
    kinds = {row["transaction_id"]: row["kind"] for row in tills.table().iter_rows(named=True)}
    assert kinds == {"S1:T1:return": "return", "S1:T2:sale": "sale", "S1:T2:return": "return", "S1:T3:sale": "sale"}
    assert ("S1:T2:return", "P2", 1.0) in tills.lines()
    assert "1 transactions both sell and take back: each became a sale and a return." in outcome.facts


def test_the_same_number_in_two_stores_is_two_baskets(tills: Tills, write: Write) -> None:
    tills.take(
        write(HEADER, line(1, "P1"), line(1, "P1", store="S2"), "1:S2,2024-05-01,S,P1,1,1", "S2,2024-05-01,S:1,P1,1,1")
    )
    assert tills.table()["transaction_id"].n_unique() == 4


def test_the_last_time_of_a_transaction_counts_and_one_that_begins_anew_after_a_day_is_rejected(
    tills: Tills, write: Write
) -> None:
    outcome = tills.take(
        write(
            HEADER,
            line(1, "P1", at="2024-05-01 23:59:30"),
            line(1, "P2", at="2024-05-02 00:01:00"),
            line(2, "P1"),
            line(2, "P1", at="2024-05-02 08:31:00"),
        )
    )
    assert tills.table()["occurred_at"].to_list() == [datetime(2024, 5, 1, 22, 1, tzinfo=UTC)]
    assert outcome.rejections.counts == {"transaction_id: the same store has it again more than a day apart": 2}


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-05-01 08:30:00", "2024-05-01 06:30:00"),
        ("2024-05-01T08:30:00.250Z", "2024-05-01 08:30:00.250"),
        ("2024-05-01 08:30+02:00", "2024-05-01 06:30:00"),
        ("2024-05-01 08:30:00 -0330", "2024-05-01 12:00:00"),
        ("5/31/2024 12:05 AM", "2024-05-30 22:05:00"),
        ("31.05.2024 12:05:06 pm", "2024-05-31 10:05:06"),
        ("2024-05-01", "2024-04-30 22:00:00"),
        ("2024-10-27 02:30:00", "2024-10-27 00:30:00"),
    ],
)
def test_times_are_read_in_the_zone_that_they_name_or_in_that_of_their_store(
    tills: Tills, write: Write, text: str, utc: str
) -> None:
    tills.take(write(HEADER, line(1, "P1", at=text)))
    assert tills.table()["occurred_at"].dt.replace_time_zone(None).to_list() == [datetime.fromisoformat(utc)]


def test_a_stores_own_zone_goes_before_the_retailers_and_a_zone_for_all_times_before_both(
    tills: Tills, write: Write
) -> None:
    stores = write("store_id,time_zone", "S1,Asia/Tokyo", name="stores.csv")
    path = write(HEADER, line(1, "P1"), line(2, "P1", store="S2"))

    def hours(**changes: object) -> list[int]:
        tills.take(path, **changes)
        return tills.table().sort("store_id")["occurred_at"].dt.hour().to_list()

    assert hours(stores=stores) == [23, 6]
    assert hours() == [23, 6]  # as it was given before
    assert hours(times_in="UTC") == [8, 8]


WRONG = {
    "quantity: zero, neither sold nor returned": line(1, "P1", 0),
    "quantity: beyond 99999": line(1, "P1", 100_000),
    "quantity: missing": line(1, "P1", ""),
    "unit_price: negative": "T1,2024-05-01,S1,P1,1,-2",
    "unit_price: quantity x unit_price is above 999,999": "T1,2024-05-01,S1,P1,9999,9999",
    "store_id: missing": line(1, "P1", store=""),
    "occurred_at: in the future": line(1, "P1", at="2025-06-30 14:01:00"),
    "occurred_at: before 2000": line(1, "P1", at="1999-12-31 23:00:00"),
    "occurred_at: no time of day": line(1, "P1", at="2024-05-01 25:10:00"),
    "occurred_at: not written as yyyy-mm-dd": line(1, "P1", at="31/05/2024 10:00:00"),
    "occurred_at: a time that doesn't exist, because clocks were put forward then": line(
        1, "P1", at="2024-03-31 02:30:00"
    ),
}


@pytest.mark.parametrize("reason", WRONG)
def test_a_wrong_line_takes_its_transaction_with_it_and_no_other(tills: Tills, write: Write, reason: str) -> None:
    others = [line(number, "P1") for number in range(5, 9)]
    outcome = tills.take(write(HEADER, WRONG[reason], *others))
    assert outcome.rejections.counts == {reason: 1}
    assert outcome.tally.accepted == tills.table().height == 4
    if "store_id" not in reason:
        outcome = tills.take(write(HEADER, line(1, "P2", at="2024-05-01"), WRONG[reason], *others))
        assert outcome.rejections.total == 2
        assert outcome.tally.accepted == 4
        assert (tills.folder / "rejected.csv").read_text(encoding="utf-8").count("another line of the same") == 1


def test_rejected_rows_can_be_mended_and_imported_by_themselves(tills: Tills, write: Write) -> None:
    path = write(HEADER, line(1, "P1", "many"), line(1, "P2"), line(2, "P3"))
    tills.take(path)
    text = (tills.folder / "rejected.csv").read_text(encoding="utf-8").replace("many", "3")
    tills.take(write(*text.splitlines(), name="mended.csv"))
    assert tills.lines() == [("S1:T2:sale", "P3", 1.0), ("S1:T1:sale", "P1", 3.0), ("S1:T1:sale", "P2", 1.0)]


def test_a_line_number_that_comes_twice_counts_once_or_contradicts(tills: Tills, write: Write) -> None:
    numbered = [f"{one},{number}" for one, number in ((line(1, "P1"), 1), (line(1, "P1"), 1), (line(1, "P1"), 2))]
    wrong = [f"{line(2, 'P1')},1", f"{line(2, 'P1', 5)},1"]
    outcome = tills.take(write(f"{HEADER},line_no", *numbered, *wrong))
    assert (outcome.tally.accepted, outcome.tally.repeated) == (2, 1)
    assert outcome.rejections.counts == {"line_no: twice in the same transaction, with other values": 2}


def test_the_same_line_twice_without_numbers_was_scanned_twice_and_is_told(tills: Tills, write: Write) -> None:
    others = [line(1, "P2"), line(1, "P1", 2), line(2, "P1"), line(1, "P1", at="2024-05-01 08:31:00")]
    outcome = tills.take(write(HEADER, *[line(1, "P1")] * 3, *others))
    assert outcome.tally.accepted == 7
    assert [one for one in outcome.warnings if one.startswith("2 lines say exactly what another line of their")]


def test_lines_that_repeat_under_other_numbers_or_in_overlapping_files_are_not_told(tills: Tills, write: Write) -> None:
    numbered = write(f"{HEADER},line_no", f"{line(1, 'P1')},1", f"{line(1, 'P1')},2", name="numbered.csv")
    may, june = (write(HEADER, line(2, "P1"), name=f"{name}.csv") for name in ("may", "june"))
    outcome = tills.take(numbered, may, june)
    assert (outcome.tally.accepted, outcome.tally.repeated) == (3, 1)
    assert not [one for one in outcome.warnings if "say exactly" in one]


def test_exports_that_overlap_count_once_and_those_that_contradict_are_rejected(tills: Tills, write: Write) -> None:
    may = write(HEADER, line(1, "P1"), line(1, "P1"), line(2, "P1"), name="may.csv")
    june = write(HEADER, line(1, "P1"), line(1, "P1"), line(2, "P2"), line(3, "P1"), name="june.csv")
    outcome = tills.take(may, june)
    assert (outcome.tally.accepted, outcome.tally.repeated) == (3, 2)
    assert outcome.rejections.counts == {"the same transaction is in another file, with other lines": 2}
    assert sorted(tills.lines()) == [("S1:T1:sale", "P1", 1.0), ("S1:T1:sale", "P1", 1.0), ("S1:T3:sale", "P1", 1.0)]


def test_importing_again_replaces_whatever_the_time_was_and_leaves_all_others(tills: Tills, write: Write) -> None:
    tills.take(write(HEADER, line(1, "P1"), line(2, "P1", -1), line(3, "P1", at="2024-05-02 09:00:00")))
    tills.take(write(HEADER, line(1, "P1", at="2024-04-30 09:00:00"), line(2, "P7", 4)))
    assert sorted(tills.lines()) == [("S1:T1:sale", "P1", 1.0), ("S1:T2:sale", "P7", 4.0), ("S1:T3:sale", "P1", 1.0)]
    stored = tills.table()
    assert stored["kafka_offset"].n_unique() == 3
    assert set(tills.table(REFERENCE_ASSORTMENT)["product_id"]) == {"P1", "P7"}


def test_rows_from_kafka_in_the_same_file_stay_and_what_is_read_meanwhile_too(
    tills: Tills, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    tills.take(write(HEADER, line(1, "P1"), line(2, "P1")))
    uri = str(tills.folder / "lake" / RAW_SALES_TRANSACTIONS.path)
    from_kafka = tills.table().head(1).with_columns(pl.lit(0, pl.Int32).alias("kafka_partition"))
    stored = to_arrow(from_kafka, arrow_schema(RAW_SALES_TRANSACTIONS.columns))
    write_deltalake(uri, stored, mode="append")
    DeltaTable(uri).optimize.compact()
    assert len(DeltaTable(uri).file_uris()) == 1
    original = transactions.BulkTransactions.write

    def write_late(self: transactions.BulkTransactions, *arguments: object) -> int:
        batch = CommitProperties(app_transactions=[Transaction(TRANSACTION_APP, 1)])
        write_deltalake(uri, stored, mode="append", commit_properties=batch)
        return original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(transactions.BulkTransactions, "write", write_late)
    tills.take(write(HEADER, line(1, "P5"), line(2, "P1")))
    rows = tills.table()
    assert rows.filter(pl.col("kafka_partition") == 0).height == 2
    assert rows.filter(pl.col("kafka_partition") == -1).height == 2


def test_files_that_were_put_together_meanwhile_refuse_the_import_and_nothing_of_it_is_there(
    tills: Tills, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    tills.take(write(HEADER, line(1, "P1")))
    tills.take(write(HEADER, line(2, "P1")))
    uri = str(tills.folder / "lake" / RAW_SALES_TRANSACTIONS.path)
    before = tills.lines()
    original = transactions.BulkTransactions.write

    def compact_first(self: transactions.BulkTransactions, *arguments: object) -> int:
        assert DeltaTable(uri).optimize.compact()["numFilesRemoved"] == 2
        return original(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(transactions.BulkTransactions, "write", compact_first)
        with pytest.raises(ImportRefusedError, match="run it again"):
            tills.take(write(HEADER, line(1, "P9")))
    assert tills.lines() == before
    tills.take(write(HEADER, line(1, "P9")))
    assert sorted(tills.lines()) == [("S1:T1:sale", "P9", 1.0), ("S1:T2:sale", "P1", 1.0)]


def test_other_money_is_rejected_and_unknown_words_are_explained(tills: Tills, write: Write) -> None:
    header = f"{HEADER},currency,payment_method,kind,register_id"
    outcome = tills.take(
        write(
            header,
            f"{line(1, 'P1')},USD,card,sale,R1",
            f"{line(2, 'P1')},eur,VISA,,R2",
            f"{line(3, 'P1')},,Card,void,",
            f"{line(4, 'P1')},EUR,,gift,",
        )
    )
    assert outcome.rejections.counts == {
        "currency: not EUR, the currency of all money here (RETAIL_CURRENCY)": 1,
        "kind: none of sale, return, void": 1,
    }
    stored = tills.table().sort("transaction_id").select("payment_method", "kind", "register_id").rows()
    assert stored == [("cash", "sale", "R2"), ("card", "void", "unknown")]
    assert any("VISA" in warning for warning in outcome.warnings)


def test_products_and_stores_are_taken_and_unknown_ones_are_told(tills: Tills, write: Write) -> None:
    products = write("product_id,name", "P1,Milk", name="products.csv")
    outcome = tills.take(write(HEADER, line(1, "P1"), line(2, "P2")), products=products)
    assert any("1 of 2 products with sales aren't in the file" in warning for warning in outcome.warnings)
    assert dict(tills.table(REFERENCE_PRODUCTS).select("product_id", "name").iter_rows()) == {"P1": "Milk", "P2": "P2"}
    assert tills.table(REFERENCE_PRODUCTS)["list_price"].cast(pl.Float64).to_list() == [2.5, 2.5]


def test_one_store_can_be_named_for_files_without_a_column_of_stores(tills: Tills, write: Write) -> None:
    path = write("transaction_id,occurred_at,product_id,quantity,unit_price", "T1,2024-05-01,P1,1,1")
    assert "--store ID" in tills.refused(path)
    tills.take(path, store="UK")
    assert tills.table(REFERENCE_STORES)["store_id"].to_list() == ["UK"]


def test_bad_files_are_refused_whole(tills: Tills, write: Write) -> None:
    good = "\n".join([HEADER, *[line(number, "P1") for number in range(500)]]).encode()
    packed = gzip.compress(good)
    assert "is empty (0 bytes)" in tills.refused(write(b""))
    assert "cut or damaged" in tills.refused(write(packed[: len(packed) // 2], name="a.csv.gz"))
    assert "ends in the middle of line" in tills.refused(write(good[:-14]))
    assert "named twice" in tills.refused(*[write(good)] * 2)
    assert "no date is in a format" in tills.refused(write(HEADER, line(1, "P1", at="yesterday")))
    assert "--date-format" in tills.refused(write(HEADER, line(1, "P1", at="03/04/2024 10:00")))
    assert "is no time zone" in tills.refused(write(good), times_in="Berlin")
    assert not tills.take(write(HEADER, line(1, "P1", "x")), max_rejected=1.0).written
    assert tills.is_empty()


def test_a_lake_of_another_retailer_is_refused(tills: Tills, write: Write) -> None:
    write_deltalake(str(tills.folder / "lake" / REFERENCE_STORES.path), pl.DataFrame({"store_id": ["S1"]}).to_arrow())
    with pytest.raises(ImportRefusedError, match="holds another retailer .* with --tenant NAME, or"):
        tills.take(write(HEADER, line(1, "P1")))


def test_a_dry_run_writes_nothing(tills: Tills, write: Write) -> None:
    outcome = tills.take(write(HEADER, line(1, "P1"), line(2, "P1", 0)), dry_run=True)
    assert outcome.rows_by_table[RAW_SALES_TRANSACTIONS.path] == 1
    assert tills.is_empty()
    assert not (tills.folder / "rejected.csv").exists()


def test_a_parquet_file_with_zoned_times_is_read(tills: Tills, tmp_path: Path) -> None:
    moment = datetime(2024, 5, 1, 8, 30, tzinfo=UTC)
    row = {"transaction_id": 7, "occurred_at": moment, "store_id": 1, "product_id": 4, "quantity": 2, "unit_price": 1.5}
    path = tmp_path / "tills.parquet"
    pl.DataFrame([row]).with_columns(pl.col("occurred_at").dt.convert_time_zone("Asia/Tokyo")).write_parquet(path)
    tills.take(path)
    assert tills.table().select("transaction_id", "occurred_at").rows() == [("1:7:sale", moment)]


def test_a_stream_gets_every_basket_in_order_by_day_and_the_same_name_for_the_same_baskets(
    tills: Tills, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retail_assets.imports.buckets.BUCKET_ROWS", 1)
    rows = [line(n, "P1", at=f"2024-05-{1 + n % 3:02} 0{n}:00:00") for n in range(9)]
    digests = []

    def look(days: BasketDays) -> None:
        digests.append(days.digest)
        frames = [days.day(date(2024, 4, 30 - 0)), *(days.day(date(2024, 5, day)) for day in range(1, 5))]
        sent = pl.concat([frame.events(SALES_TRANSACTIONS) for frame in frames])
        assert sent["occurred_at"].is_sorted()
        assert sent.height == 9
        assert all(frame.events(INVENTORY_UPDATES).is_empty() for frame in frames)

    tills.take(write(HEADER, *rows), send=look)
    assert tills.table().is_empty()
    assert tills.table(REFERENCE_STORES).height == 1
    tills.take(write(HEADER, *reversed(rows)), send=look)
    assert len(digests) == 2
    assert len(set(digests)) == 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from(["P1", "P2", ""]), st.integers(-2, 3), st.integers(0, 40)),
        min_size=1,
        max_size=30,
    )
)
def test_every_row_is_accepted_repeated_or_rejected_and_accepted_units_are_stored(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, int, int]]
) -> None:
    tills = Tills(tmp_path_factory.mktemp("tills"))
    path = tills.folder / "tills.csv"
    lines = [line(n, p, q, at=f"2024-05-{1 + h // 24:02} {h % 24:02}:00:00") for n, p, q, h in rows]
    path.write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")
    outcome = tills.take(path, max_rejected=1.0)
    assert outcome.tally.accepted + outcome.tally.repeated + outcome.rejections.total == len(rows)
    if outcome.written:
        assert len(tills.lines()) == outcome.tally.accepted


def test_the_help_and_the_document_name_every_field_and_their_example_can_be_imported(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETAIL_VAR_DIR", str(tmp_path / "var"))
    shown = CliRunner().invoke(main, ["import", "transactions", "--help"]).output
    document = (Path(__file__).parents[3] / "docs" / "import.md").read_text(encoding="utf-8")
    for number, text in enumerate((shown, document)):
        assert not [f.name for kind in (TRANSACTIONS, *MASTER_KINDS) for f in kind.fields if f.name not in text]
        lines = [one.strip() for one in text.splitlines()]
        start = next(n for n, one in enumerate(lines) if one.startswith("transaction_id,occurred_at"))
        done = CliRunner().invoke(
            main,
            ["import", "transactions", str(write(*lines[start : start + 3])), "--lake", str(tmp_path / str(number))],
        )
        assert done.exit_code == 0, done.output
        assert "Baskets: 2 (1 sales, 1 returns)." in done.output
