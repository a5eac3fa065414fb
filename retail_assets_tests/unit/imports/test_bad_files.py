"""Files that are no good: a clear sentence, and nothing half imported."""

import gzip
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retail_assets.imports.errors import ImportRefusedError
from retail_assets.imports.reading import CsvOptions
from retail_assets_tests.unit.imports.conftest import Shop, Write

HEADER = "date,store_id,product_id,units"
ROWS = [f"2024-01-{day:02},S1,P{product},{day}" for day in range(1, 29) for product in range(20)]


def refused(shop: Shop, *sales: Path, **changes: object) -> str:
    with pytest.raises(ImportRefusedError) as error:
        shop.take(*sales, **changes)
    assert shop.is_empty()
    assert not list((shop.folder / "work").iterdir())
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty (0 bytes)"),
        (b"\n\n  \n", "nothing but blank lines"),
        (f"{HEADER}\n".encode(), "has column names, but no rows"),
        (b"2024-01-01,S1,P1,3\n2024-01-02,S1,P1,4\n", "has no column 'date'"),
        (b"PK\x03\x04anything", "an Excel workbook or a zip archive"),
        (b"\x00\x01\x02\x03\x00", "is no text"),
        (b"PAR1 and then nothing", "it is cut or damaged"),
        (b"\x1f\x8b\x08 and then nothing", "it is cut or damaged"),
        (f"{HEADER}\n2024-01-01,S1,Caf\xe9,3\n".encode("latin-1"), "--encoding cp1252"),
        (f"{HEADER}\n2024-01-01,S1,P1,3\n2024-01-02,S1".encode(), "ends in the middle of line 3 (2 of 4 fields)"),
        (f'{HEADER}\n2024-01-01,S1,"P1,3\n2024-01-02,S1,P1,4\n'.encode(), "line 2 is never closed"),
    ],
)
def test_a_file_that_is_no_table_is_refused(shop: Shop, write: Write, content: bytes, message: str) -> None:
    assert message in refused(shop, write(content))


def test_a_file_that_is_not_there_is_refused(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match="No such file"):
        shop.take(tmp_path / "none.csv")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_packed_file_that_is_cut_is_refused(shop: Shop, write: Write, share: float) -> None:
    packed = gzip.compress("\n".join([HEADER, *ROWS]).encode(), mtime=0)
    assert "it is cut or damaged" in refused(shop, write(packed[: int(len(packed) * share)]))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_a_parquet_file_that_is_cut_is_refused(shop: Shop, tmp_path: Path, share: float) -> None:
    whole = tmp_path / "whole.parquet"
    pl.DataFrame({"date": ["2024-01-01"] * 99, "store_id": "S1", "product_id": "P1", "units": 1}).write_parquet(whole)
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    assert "cut or damaged" in refused(shop, cut)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), form=st.sampled_from(["csv", "gzip", "parquet"]))
def test_a_damaged_file_is_refused_or_its_rows_are_all_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, form: str
) -> None:
    shop = Shop(tmp_path_factory.mktemp("shop"))
    path = shop.folder / "sales"
    if form == "parquet":
        pl.DataFrame([row.split(",") for row in ROWS[:99]], schema=HEADER.split(","), orient="row").write_parquet(path)
    else:
        text = "\n".join([HEADER, *ROWS[:99]]).encode()
        path.write_bytes(gzip.compress(text, mtime=0) if form == "gzip" else text)
    damaged = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at : at + data.draw(st.integers(0, 60))] = data.draw(st.binary(max_size=4))
    path.write_bytes(damaged)
    try:
        outcome = shop.take(path, max_rejected=1.0)
    except ImportRefusedError:
        assert shop.is_empty()
    else:
        assert outcome.tally.accepted + outcome.tally.repeated + outcome.rejections.total == outcome.read
        assert shop.is_empty() if not outcome.written else shop.table().height == outcome.tally.accepted


def test_bytes_of_another_encoding_far_into_a_file_are_found(shop: Shop, write: Write) -> None:
    lines = "\n".join([HEADER, *ROWS * 200]).encode()
    assert len(lines) > 1 << 20
    assert "isn't UTF-8" in refused(shop, write(lines, b"\n2024-02-01,S1,Caf\xe9,3\n"))


def test_another_encoding_is_read_where_the_user_says_it(shop: Shop, write: Write) -> None:
    path = write(f"{HEADER}\n2024-01-01,S1,Café,3\n".encode("latin-1"))
    shop.take(path, csv_options=CsvOptions(encoding="latin-1"))
    assert shop.table()["product_id"].to_list() == ["Café"]


def test_a_quotation_mark_that_is_never_closed_is_found_in_a_large_file(shop: Shop, write: Write) -> None:
    path = write(HEADER, '2024-01-01,"S1,P1,3', *ROWS * 2000)
    assert "is never closed" in refused(shop, path)


def test_an_unknown_encoding_is_refused(shop: Shop, write: Write) -> None:
    path = write(HEADER, ROWS[0])
    assert "--encoding martian is unknown" in refused(shop, path, csv_options=CsvOptions(encoding="martian"))


def test_a_decimal_comma_between_commas_is_named_as_the_likely_cause(shop: Shop, write: Write) -> None:
    path = write(HEADER, "2024-01-01,S1,P1,3", *[f"{row},5" for row in ROWS * 20])
    assert "is a decimal comma taken for a separator?" in refused(shop, path)


def test_times_instead_of_days_are_refused_as_a_whole_where_there_are_very_many(shop: Shop, write: Write) -> None:
    times = [f"2024-01-{s // 86400 + 1:02} {s // 3600 % 24:02}:{s // 60 % 60:02}:{s % 60:02}" for s in range(100_001)]
    path = write(HEADER, *[f"{time},S1,P1,1" for time in times])
    assert "a row should be a day" in refused(shop, path)


def test_dates_that_no_row_decides_are_an_error_that_asks(shop: Shop, write: Write) -> None:
    assert "--date-format" in refused(shop, write(HEADER, "03/04/2024,S1,P1,3", "05/04/2024,S1,P1,3"))


def test_the_file_of_rejected_rows_may_not_be_one_that_is_read(shop: Shop, write: Write) -> None:
    path = write(HEADER, ROWS[0])
    with pytest.raises(ImportRefusedError, match="--rejected"):
        shop.take(path, rejected_file=path)


@pytest.mark.parametrize("name", ["file/rejected.csv", "folder"])
def test_a_file_of_rejected_rows_that_cannot_be_written_is_named_with_its_option(
    shop: Shop, write: Write, name: str
) -> None:
    write("", name="file")
    (shop.folder / "folder").mkdir()
    path = write(HEADER, ROWS[0], "2024-01-02,S1,P1,-1")
    message = refused(shop, path, rejected_file=shop.folder / name, max_rejected=0.9)
    assert str(shop.folder / name) in message
    assert "name another file with --rejected" in message
    assert "RETAIL_VAR_DIR" not in message


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["product_id,cost", "P1,much"], "products.csv line 2 'much': cost: no number"),
        (["product_id,cost", "P1,-1"], "cost: negative"),
        (["product_id,cost", ",1"], "product_id: missing"),
        (["product_id,cost", "P1,1", "P1,2"], "lines 2 and 3: P1 is there twice, with different values"),
        (["product_id,pack_size", "P1,0"], "pack_size: below 1"),
        (["name,cost", "Milk,1"], "--map products.product_id=COLUMN"),
    ],
)
def test_products_must_be_right_as_a_whole(shop: Shop, write: Write, lines: list[str], message: str) -> None:
    sales = write(HEADER, *ROWS)
    assert message in refused(shop, sales, products=write(*lines, name="products.csv"))


def test_a_time_zone_that_does_not_exist_is_refused(shop: Shop, write: Write) -> None:
    stores = write("store_id,time_zone", "S1,Berlin", name="stores.csv")
    assert "Berlin is no time zone" in refused(shop, write(HEADER, *ROWS), stores=stores)


def test_a_store_that_closes_before_it_opens_is_refused(shop: Shop, write: Write) -> None:
    stores = write("store_id,opens_at_hour", "S1,21", name="stores.csv")
    assert "store S1 closes before it opens" in refused(shop, write(HEADER, *ROWS), stores=stores)


def test_a_lake_of_another_retailer_is_refused(shop: Shop, write: Write) -> None:
    pl.DataFrame({"store_id": ["X"]}).write_delta(f"{shop.uri}/reference/stores")
    with pytest.raises(ImportRefusedError, match="holds another retailer .* with --tenant NAME, or"):
        shop.take(write(HEADER, *ROWS))
