"""Imports of sales into a lake: what is accepted, repeated, replaced and rejected."""

import gzip
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retail_assets.contracts.tables import (
    IMPORTED_TABLES,
    RAW_IMPORTED_SALES,
    REFERENCE_EVENTS,
    REFERENCE_PRODUCTS,
    REFERENCE_TABLES,
    Table,
)
from retail_assets.contracts.types import arrow_schema
from retail_assets.imports.checking import Conventions
from retail_assets.imports.common import Outcome
from retail_assets.imports.dates import named_format
from retail_assets.imports.errors import ImportRefusedError
from retail_assets_tests.unit.imports.conftest import Shop, Write

HEADER = "date,store_id,product_id,units"
FULL = f"{HEADER},price,promotion,on_hand,stockout_hours,revenue"


def reasons(shop: Shop, *sales: Path, **changes: object) -> dict[str, int]:
    outcome = shop.take(*sales, max_rejected=1.0, **changes)
    assert outcome.tally.accepted + outcome.tally.repeated + outcome.rejections.total == outcome.read
    return dict(outcome.rejections.counts)


def test_a_row_becomes_what_it_says(shop: Shop, write: Write) -> None:
    outcome = shop.take(write(FULL, "2024-02-29,S1,0042,1.2345,2.999,yes,-3,1.5,3.70"))
    assert (outcome.read, outcome.tally.accepted, outcome.written) == (1, 1, True)
    row = shop.table().row(0, named=True)
    imported_at = row.pop("imported_at")
    assert imported_at.tzinfo is not None
    assert row == {
        "store_id": "S1",
        "product_id": "0042",
        "business_date": date(2024, 2, 29),
        "units": Decimal("1.234"),
        "unit_price": Decimal("3.00"),
        "revenue": Decimal("3.70"),
        "on_promotion": True,
        "on_hand": Decimal("-3.000"),
        "stockout_hours": 1.5,
        "source_file": "sales.csv",
        "business_month": date(2024, 2, 1),
    }


@pytest.mark.parametrize("table", [*IMPORTED_TABLES, *REFERENCE_TABLES], ids=lambda table: table.path)
def test_every_table_is_written_with_exactly_the_contracts_columns(shop: Shop, write: Write, table: Table) -> None:
    shop.take(write(HEADER, "2024-01-01,S1,P1,3"))
    stored = pa.schema(DeltaTable(f"{shop.uri}/{table.path}").schema().to_arrow())
    expected = arrow_schema(table.columns)
    assert stored.names == expected.names
    for field in expected:
        assert (stored.field(field.name).type, stored.field(field.name).nullable) == (field.type, field.nullable)
    assert shop.table(table).columns == list(table.column_names)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",S1,P1,3,,,,,", "date: missing"),
        ("soon,S1,P1,3,,,,,", "date: no date"),
        ("2025-07-01,S1,P1,3,,,,,", "date: in the future"),
        ("1989-12-31,S1,P1,3,,,,,", "date: before 1990"),
        ("2024-01-02 10:30,S1,P1,3,,,,,", "date: has a time of day, where a row should be a whole day"),
        ("02.01.2024,S1,P1,3,,,,,", "date: not written as yyyy-mm-dd"),
        ("2024-01-02, ,P1,3,,,,,", "store_id: missing"),
        ("2024-01-02,S1,,3,,,,,", "product_id: missing"),
        ("2024-01-02,S1,P1,,,,,,", "units: missing"),
        ("2024-01-02,S1,P1,some,,,,,", "units: no number"),
        ("2024-01-02,S1,P1,-1,,,,,", "units: negative"),
        ("2024-01-02,S1,P1,1000000000,,,,,", "units: too large"),
        ("2024-01-02,S1,P1,1,-0.01,,,,", "price: negative"),
        ("2024-01-02,S1,P1,1,free,,,,", "price: no number"),
        ("2024-01-02,S1,P1,1,1e10,,,,", "price: too large"),
        ("2024-01-02,S1,P1,1,,perhaps,,,", "promotion: neither yes nor no"),
        ("2024-01-02,S1,P1,1,,,-1e9,,", "on_hand: too large"),
        ("2024-01-02,S1,P1,1,,,,24.5,", "stockout_hours: beyond 24"),
        ("2024-01-02,S1,P1,1,,,,-1,", "stockout_hours: negative"),
        ("2024-01-02,S1,P1,1,,,,,much", "revenue: no number"),
        ("2024-01-02,S1,P1,1,,,,,,9", "another number of fields than the first line: 10"),
        ("2024-01-02,S1,P1", "another number of fields than the first line: 3"),
    ],
)
def test_a_wrong_row_is_rejected_with_its_reason_and_its_line(shop: Shop, write: Write, row: str, reason: str) -> None:
    path = write(FULL, "2024-01-01,S1,P1,3,,,,,", "", row, "2024-01-03,S1,P1,3,,,,,")
    assert reasons(shop, path) == {reason: 1}
    assert shop.table()["business_date"].to_list() == [date(2024, 1, 1), date(2024, 1, 3)]
    rejected = pl.read_csv(shop.folder / "rejected.csv", infer_schema=False)
    assert rejected.select("source_file", "line", "reason").rows() == [("sales.csv", "4", reason)]


def test_rejected_rows_can_be_mended_and_imported_as_they_are(shop: Shop, write: Write) -> None:
    shop.take(
        write("Tag;store_id;product_id;qty", "01.02.2024;S1;P1;3", "02.02.2024;S1;P1;3x"),
        max_rejected=1.0,
        mapping={"sales": {"date": "Tag", "units": "qty"}},
    )
    path = shop.folder / "rejected.csv"
    path.write_text(path.read_text().replace("3x", "4"))
    shop.take(path, rejected_file=None)
    assert shop.table()["units"].to_list() == [3, 4]


def test_identical_rows_count_once_and_are_named(shop: Shop, write: Write) -> None:
    outcome = shop.take(write(HEADER, "2024-01-01,S1,P1,3", "2024-01-01,S1,P1,3.0", "2024-01-01,S1,P1, 3"))
    assert (outcome.tally.accepted, outcome.tally.repeated, outcome.rejections.total) == (1, 2, 0)
    assert "sales.csv line 3 (store S1, product P1, 2024-01-01)" in outcome.tally.repeated_examples


def test_rows_that_contradict_each_other_are_all_rejected(shop: Shop, write: Write) -> None:
    first = write(HEADER, "2024-01-01,S1,P1,3", "2024-01-01,S1,P1,3", "2024-01-01,S1,P2,1", name="a.csv")
    second = write(HEADER, "2024-01-01,S1,P1,4", name="b.csv")
    found = reasons(shop, first, second)
    assert found == {"same store, product and date as another row, with other values": 3}
    assert shop.table()["product_id"].to_list() == ["P2"]
    rejected = pl.read_csv(shop.folder / "rejected.csv")
    assert rejected.select("source_file", "line").rows() == [("a.csv", 2), ("a.csv", 3), ("b.csv", 2)]


def gaps_of(outcome: Outcome) -> list[str]:
    return [warning for warning in outcome.warnings if "count as nothing sold" in warning]


def test_days_that_count_as_nothing_sold_because_their_row_was_rejected_are_told(shop: Shop, write: Write) -> None:
    every_day = [f"2024-01-0{day},S1,P0,1" for day in range(1, 8)]
    others = [f"2024-01-0{day},S1,P{product},1" for day in (1, 7) for product in (1, 2, 3)]
    wrong = ["2024-01-02,S1,P1,-1", "2024-01-03, S1 ,P1,x", "2024-01-02,S1,P2,1", "2024-01-02,S1,P2,2"]
    outcome = shop.take(write(HEADER, *every_day, *others, *wrong), max_rejected=0.5)
    [told] = gaps_of(outcome)
    assert told.startswith("3 days of 2 series have no other row than a rejected one and count as nothing sold")
    assert "such as store S1, product P1, 2024-01-02" in told
    outcome = shop.take(write(HEADER, *wrong, "2024-01-08,S1,P0,1"), max_rejected=0.9, dry_run=True)
    assert gaps_of(outcome) == [told]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param("2024-01-01,S1,P1,-1", id="before the first row"),
        pytest.param("2024-01-03,S1,P1,-1", id="on a day on which the store was closed"),
        pytest.param("2024-01-02,S1,P1,-1", id="beside a row of an earlier import"),
        pytest.param("2024-01-04,S1,P1,-1", id="beside a row that is right"),
        pytest.param("2024-01-05,S1,P9,-1", id="of a product that was never sold"),
        pytest.param("someday,S1,P1,1", id="without a date"),
    ],
)
def test_a_rejected_row_that_makes_no_day_one_of_nothing_sold_is_not_told(shop: Shop, write: Write, wrong: str) -> None:
    shop.take(write(HEADER, *[f"2024-01-0{day},S1,P0,1" for day in (1, 2, 4, 5)], "2024-01-02,S1,P1,3"))
    outcome = shop.take(write(HEADER, "2024-01-04,S1,P1,1", "2024-01-05,S1,P1,1", wrong), max_rejected=0.5)
    assert outcome.rejections.total == 1
    assert gaps_of(outcome) == []


def test_more_rejected_rows_than_allowed_leave_the_lake_untouched(shop: Shop, write: Write) -> None:
    path = write(HEADER, "2024-01-01,S1,P1,3", "2024-01-02,S1,P1,x")
    outcome = shop.take(path, max_rejected=0.49)
    assert not outcome.allowed
    assert not outcome.written
    assert shop.is_empty()
    assert (shop.folder / "rejected.csv").exists()
    assert shop.take(path, max_rejected=0.5).written


def test_a_dry_run_finds_the_same_and_writes_nothing(shop: Shop, write: Write) -> None:
    path = write(HEADER, "2024-01-01,S1,P1,3", "2024-01-01,S1,P1,3", "2024-01-02,S1,P1,x")
    dry, real = (shop.take(path, max_rejected=0.5, dry_run=dry_run) for dry_run in (True, False))
    assert dry.tally == real.tally
    assert dry.rejections.counts == real.rejections.counts
    assert dry.rows_by_table == real.rows_by_table
    assert not dry.written


def test_a_dry_run_leaves_no_file_behind(shop: Shop, write: Write) -> None:
    path = write(HEADER, "2024-01-01,S1,P1,3", "2024-01-02,S1,P1,x")
    shop.take(path, max_rejected=0.5, dry_run=True)
    assert not [one for one in shop.folder.rglob("*") if one.is_file() and one != path]


def test_importing_twice_gives_the_same_rows(shop: Shop, write: Write) -> None:
    path = write(HEADER, *[f"2024-0{month}-0{day},S1,P1,{day}" for month in range(1, 5) for day in range(1, 10)])
    shop.take(path)
    first = shop.table().drop("imported_at")
    outcome = shop.take(path)
    assert shop.table().drop("imported_at").equals(first)
    assert outcome.tally.replaced == outcome.tally.accepted == 36


def test_importing_again_replaces_the_same_keys_and_keeps_all_others(shop: Shop, write: Write) -> None:
    shop.take(write(HEADER, "2024-01-01,S1,P1,1", "2024-01-01,S1,P2,2", "2024-01-31,S1,P1,3", "2024-02-01,S1,P1,4"))
    outcome = shop.take(write(HEADER, "2024-01-01,S1,P1,10", "2024-01-02,S1,P1,20", name="more.csv"))
    assert outcome.tally.replaced == 1
    rows = shop.table().select("product_id", "business_date", "units", "source_file").rows()
    assert rows == [
        ("P1", date(2024, 1, 1), 10, "more.csv"),
        ("P1", date(2024, 1, 2), 20, "more.csv"),
        ("P1", date(2024, 1, 31), 3, "sales.csv"),
        ("P1", date(2024, 2, 1), 4, "sales.csv"),
        ("P2", date(2024, 1, 1), 2, "sales.csv"),
    ]


def test_months_that_an_import_does_not_touch_keep_their_files(shop: Shop, write: Write) -> None:
    shop.take(write(HEADER, "2024-01-01,S1,P1,1", "2024-02-01,S1,P1,2"))
    before = set(DeltaTable(f"{shop.uri}/{RAW_IMPORTED_SALES.path}").file_uris())
    shop.take(write(HEADER, "2024-02-01,S1,P1,3"))
    after = set(DeltaTable(f"{shop.uri}/{RAW_IMPORTED_SALES.path}").file_uris())
    assert {Path(path).parent.name for path in before & after} == {"business_month=2024-01-01"}


def test_the_sales_are_one_commit_that_says_what_was_imported(shop: Shop, write: Write) -> None:
    shop.take(write(HEADER, "2024-01-01,S1,P1,1", "2024-02-01,S1,P1,2"))
    history = DeltaTable(f"{shop.uri}/{RAW_IMPORTED_SALES.path}").history()
    assert [(entry["files"], entry["accepted"]) for entry in history] == [("sales.csv", "2")]


FORMS = ["csv", "semicolon", "tab", "gzip", "bom", "utf-16", "crlf", "parquet", "typed parquet"]


@pytest.mark.parametrize("form", FORMS)
def test_a_file_says_the_same_in_every_form(shop: Shop, tmp_path: Path, form: str) -> None:
    frame = pl.DataFrame(
        {
            "date": ["2024-01-30", "2024-01-31"],
            "store_id": ["1", "2"],
            "product_id": ["Käse, jung", "7"],
            "units": ["1.5", "2"],
            "promotion": ["true", "false"],
        }
    )
    path = tmp_path / "sales"
    text = frame.write_csv(separator={"semicolon": ";", "tab": "\t"}.get(form, ","))
    match form:
        case "gzip":
            path.write_bytes(gzip.compress(text.encode()))
        case "bom":
            path.write_bytes(b"\xef\xbb\xbf" + text.encode())
        case "utf-16":
            path.write_bytes(text.encode("utf-16"))
        case "crlf":
            path.write_bytes(text.replace("\n", "\r\n").encode())
        case "parquet":
            frame.write_parquet(path)
        case "typed parquet":
            typed = frame.with_columns(
                pl.col("date").str.to_date(),
                pl.col("units").cast(pl.Float32),
                pl.col("promotion") == "true",
                pl.col("store_id").cast(pl.Int16),
            )
            typed.write_parquet(path)
        case _:
            path.write_text(text, encoding="utf-8")
    shop.take(path)
    assert shop.table().select("store_id", "product_id", "business_date", "units", "on_promotion").rows() == [
        ("1", "Käse, jung", date(2024, 1, 30), Decimal("1.5"), True),
        ("2", "7", date(2024, 1, 31), 2, False),
    ]


def test_ids_that_pandas_made_floats_are_whole_again(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "sales.parquet"
    pl.DataFrame({"date": [date(2024, 1, 1)], "store_id": [7.0], "product_id": [4011], "units": [1]}).write_parquet(
        path
    )
    shop.take(path)
    assert shop.table().select("store_id", "product_id").rows() == [("7", "4011")]


def test_a_file_without_a_last_line_break_is_read_and_named(shop: Shop, write: Write) -> None:
    outcome = shop.take(write(f"{HEADER}\n2024-01-01,S1,P1,3".encode()))
    assert outcome.tally.accepted == 1
    assert "doesn't end with a line break" in outcome.warnings[0]


def test_a_named_date_format_decides_what_no_row_does(shop: Shop, write: Write) -> None:
    path = write(HEADER, "03/04/2024,S1,P1,3")
    shop.take(path, conventions=Conventions(date_format=named_format("mm/dd/yyyy")))
    assert shop.table()["business_date"].to_list() == [date(2024, 3, 4)]


@pytest.mark.parametrize(("decimal", "units", "price"), [(",", 1500, 1250), (".", Decimal("1.5"), Decimal("1.25"))])
def test_three_digits_behind_each_point_are_a_question_between_semicolons(
    shop: Shop, write: Write, decimal: str, units: object, price: object
) -> None:
    path = write("date;store_id;product_id;units;price", *[f"2024-01-0{day};S1;P1;1.500;1.250" for day in range(1, 5)])
    with pytest.raises(ImportRefusedError, match="can be decimal or stand between thousands"):
        shop.take(path)
    assert shop.is_empty()
    shop.take(path, conventions=Conventions(decimal=decimal))
    assert shop.table().select("units", "unit_price").unique().rows() == [(units, price)]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_three_digits_behind_each_point_are_decimals_in_other_files(shop: Shop, tmp_path: Path, form: str) -> None:
    path = tmp_path / "sales"
    frame = pl.DataFrame({"date": ["2024-01-01"], "store_id": ["S1"], "product_id": ["P1"], "units": ["1.500"]})
    if form == "csv":
        frame.write_csv(path)
    else:
        frame.cast({"units": pl.Float64}).write_parquet(path)
    shop.take(path)
    assert shop.table()["units"].to_list() == [Decimal("1.5")]


def test_columns_without_names_and_lines_before_the_header_do_no_harm(shop: Shop, write: Write) -> None:
    path = write("", "  ", f",{HEADER},", "0,2024-01-01,S1,P1,3,", "1,2024-01-02,S1,P1,x,")
    outcome = shop.take(path, max_rejected=1.0)
    assert outcome.tally.accepted == 1
    assert outcome.rejections.examples == {"units: no number": ["sales.csv line 5 'x'"]}


def test_what_is_said_of_the_sales_holds_for_other_files_only_where_they_are_in_doubt(shop: Shop, write: Write) -> None:
    sales = write(HEADER, "03/04/2024,S1,P1,3")
    said = Conventions(date_format=named_format("mm/dd/yyyy"), decimal=",")
    products = write("product_id,price", "P1,1.99", name="p.csv")
    events = write("date,name", "2024-03-04,Fair", name="e.csv")
    shop.take(sales, products=products, events=events, conventions=said)
    assert shop.table(REFERENCE_PRODUCTS)["list_price"].to_list() == [Decimal("1.99")]
    events = write("date,name", "03/05/2024,Fair", name="e.csv")
    shop.take(sales, events=events, conventions=said)
    assert shop.table(REFERENCE_EVENTS)["date"].to_list() == [date(2024, 3, 4), date(2024, 3, 5)]


def test_ten_thousand_unknown_products_are_one_warning(shop: Shop, write: Write) -> None:
    path = write(HEADER, *[f"2024-01-01,S1,N{number:05},1" for number in range(10_000)], "2024-01-01,S1,P1,1")
    products = write("product_id,name", "P1,Milk", "P2,Bread", name="products.csv")
    outcome = shop.take(path, products=products)
    assert outcome.tally.accepted == 10_001
    assert [w for w in outcome.warnings if "10,000 of 10,001 products" in w and "N00000, N00001, N00002 …" in w]
    assert [w for w in outcome.warnings if "1 products of the file have no sales" in w]
    assert max(map(len, outcome.warnings)) < 300


def test_line_numbers_are_right_behind_broken_and_blank_lines_across_blocks(
    shop: Shop, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retail_assets.imports.reading._BLOCK_BYTES", 1000)
    lines = [HEADER]
    wrong = {}
    for number in range(2, 500):
        day = (date(2020, 1, 1) + timedelta(number)).isoformat()
        if number % 37 == 0:
            lines.append(f"{day},S1,P1,1,9")
            wrong[number] = "another number of fields than the first line: 5"
        elif number % 41 == 0:
            lines.append("")
        elif number % 43 == 0:
            lines.append(f"{day},S1,P1,x")
            wrong[number] = "units: no number"
        else:
            lines.append(f"{day},S1,P1,1")
    shop.take(write(*lines), max_rejected=1.0)
    rejected = pl.read_csv(shop.folder / "rejected.csv")
    assert dict(rejected.select("line", "reason").sort("line").iter_rows()) == wrong


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["2024-01-01", "2024-01-02", "2024-02-01", "soon", ""]),
        st.sampled_from(["S1", "S2", ""]),
        st.sampled_from(["P1", "P2"]),
        st.sampled_from(["1", "2", "1.0", "-1", "x"]),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, more=ROWS)
def test_every_row_is_accepted_rejected_or_repeated_and_every_key_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]], more: list[tuple[str, ...]]
) -> None:
    shop = Shop(tmp_path_factory.mktemp("shop"))
    kept: dict[tuple[str, ...], float] = {}
    for name, part in (("a.csv", rows), ("b.csv", more)):
        path = shop.folder / name
        # The first row lets the format of dates be inferred, whatever follows.
        lines = [("2024-03-01", "S1", "P1", "1"), *part]
        path.write_text("\n".join([HEADER, *map(",".join, lines)]) + "\n")
        outcome = shop.take(path, max_rejected=1.0)
        assert outcome.read == len(lines)
        assert outcome.tally.accepted + outcome.tally.repeated + outcome.rejections.total == outcome.read
        said: dict[tuple[str, ...], set[float]] = {}
        for day, store, product, units in lines:
            if day.startswith("2024") and store and units in {"1", "2", "1.0"}:
                said.setdefault((store, product, day), set()).add(float(units))
        kept |= {key: min(values) for key, values in said.items() if len(values) == 1}
    table = shop.table()
    found = {
        (store, product, str(day)): float(units)
        for store, product, day, units in table.select("store_id", "product_id", "business_date", "units").iter_rows()
    }
    assert found == kept
    assert table.height == len(kept)
