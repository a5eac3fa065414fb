"""The unmodified clickhouse-connect client against the gateway."""

import datetime as dt
import io
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

pytestmark = pytest.mark.integration

NOON = dt.datetime(2026, 3, 4, 12, 0, 0, 123000, tzinfo=dt.UTC)
SALES = (
    "(id Int64, product LowCardinality(String), day Date, at DateTime64(3, 'UTC'), price Decimal(12, 2), "
    "n Nullable(Float64))"
)


@pytest.fixture(params=["lz4", "zstd", "gzip", False], scope="module")
def client(gateway: Any, request: pytest.FixtureRequest) -> Client:
    """A client per compression, used both ways."""
    return gateway.client(compress=request.param, database="retail")


@pytest.fixture
def sales(client: Client) -> str:
    client.command(f"CREATE OR REPLACE TABLE retail.cc {SALES} ENGINE = MergeTree ORDER BY id")
    return "cc"


def frame(rows: int) -> pd.DataFrame:
    return pd.DataFrame({
        "id": np.arange(rows), "product": ["tea", "milk"] * (rows // 2), "day": [dt.date(2026, 3, 4)] * rows,
        "at": [NOON] * rows, "price": [Decimal("1.25")] * rows, "n": [1.5, None] * (rows // 2),
    })  # fmt: skip


def test_a_client_starts_and_knows_version_and_time_zone(client: Client) -> None:
    assert client.server_version.startswith("26.9")
    assert str(client.server_tz) == "UTC"
    assert client.ping()


def test_commands_return_scalars(client: Client) -> None:
    assert client.command("SELECT 40 + 2") == 42
    assert client.command("SELECT 'a', 'b'") == ["a", "b"]
    assert client.command("EXISTS TABLE retail.stock") == 1


def test_rows_make_a_round_trip(client: Client, sales: str) -> None:
    rows = [
        (1, "tea", dt.date(2026, 3, 4), NOON, Decimal("1.25"), None),
        (2, "milk", dt.date(1990, 1, 1), NOON, Decimal("-3.50"), 2.5),
    ]
    summary = client.insert(sales, rows, column_names=["id", "product", "day", "at", "price", "n"])
    assert summary.written_rows == 2
    result = client.query(f"SELECT * FROM {sales} ORDER BY id")
    assert result.column_names == ("id", "product", "day", "at", "price", "n")
    assert [row[:3] for row in result.result_rows] == [row[:3] for row in rows]
    assert [row[4:] for row in result.result_rows] == [row[4:] for row in rows]
    assert result.result_rows[0][3].replace(tzinfo=dt.UTC) == NOON


def test_pandas_frames_make_a_round_trip(client: Client, sales: str) -> None:
    client.insert_df(sales, frame(1000))
    back = client.query_df(f"SELECT * FROM {sales} ORDER BY id")
    assert len(back) == 1000
    assert back["n"].isna().sum() == 500
    assert back["price"].sum() == Decimal("1250.00")


def test_arrow_and_polars_make_a_round_trip(client: Client, sales: str) -> None:
    polars = pl.from_pandas(frame(1000).drop(columns=["price", "at"]))
    assert client.insert_arrow(sales, polars.to_arrow(compat_level=pl.CompatLevel.oldest())).written_rows == 1000
    client.insert_df_arrow(sales, polars)
    table = client.query_arrow(f"SELECT id, product, n FROM {sales}")
    assert isinstance(table, pa.Table)
    assert table.num_rows == 2000
    back = client.query_df_arrow(
        f"SELECT product, sum(id) AS ids FROM {sales} GROUP BY product", dataframe_library="polars"
    )
    assert isinstance(back, pl.DataFrame)
    assert back["ids"].sum() == 2 * sum(range(1000))


def test_numpy_and_all_streams_give_all_rows(client: Client) -> None:
    sql = "SELECT number, toString(number) AS text FROM numbers(150000)"
    assert client.query_np("SELECT number FROM numbers(1000)").sum() == 499500
    with client.query_row_block_stream(sql) as blocks:
        assert sum(len(block) for block in blocks) == 150_000
    with client.query_column_block_stream(sql) as blocks:
        assert sum(len(block[0]) for block in blocks) == 150_000
    with client.query_rows_stream(sql) as rows:
        assert sum(1 for _ in rows) == 150_000
    with client.query_df_stream(sql) as blocks:
        assert sum(len(block) for block in blocks) == 150_000
    with client.query_arrow_stream(sql) as batches:
        assert sum(batch.num_rows for batch in batches) == 150_000


def test_raw_calls_pass_bytes_through(client: Client, sales: str) -> None:
    client.raw_insert(sales, ["id", "product"], insert_block=b"1,tea\n2,milk\n", fmt="CSV")
    client.raw_insert(sales, ["id", "product"], insert_block=io.BytesIO(b"3,tea\n"), fmt="CSV")
    assert client.raw_query(f"SELECT id FROM {sales} ORDER BY id", fmt="CSV") == b"1\n2\n3\n"
    with client.raw_stream("SELECT number FROM numbers(500000)", fmt="TSV") as stream:
        assert stream.read().count(b"\n") == 500_000


def test_parameters_and_settings_belong_to_one_call(client: Client) -> None:
    sql = "SELECT {x:Int32}, {s:String}, {d:Date}, {l:Array(String)}, getSetting('max_block_size')"
    values = {"x": -7, "s": 'it\'s\t"q"\n\\ ü', "d": dt.date(2026, 1, 2), "l": ["a'b", "c\\d"]}
    row = client.query(sql, parameters=values, settings={"max_block_size": 4242}).result_rows[0]
    assert row == (-7, values["s"], values["d"], values["l"], 4242)
    assert client.query("SELECT getSetting('max_block_size')").result_rows[0][0] != 4242
    assert client.query("SELECT number FROM numbers(5) WHERE number > %(low)s", parameters={"low": 2}).row_count == 2


def test_empty_results_keep_their_columns(client: Client) -> None:
    assert client.query("SELECT store, product FROM stock LIMIT 0").column_names == ("store", "product")
    assert client.query("SELECT store FROM stock WHERE store = 999").result_rows == []
    assert client.query_arrow("SELECT store FROM stock WHERE store = 999").num_rows == 0


def test_errors_carry_the_code_of_the_engine(client: Client) -> None:
    for sql, code in (("SELECT * FROM nope", 60), ("SELEC 1", 62), ("SELECT throwIf(1)", 395)):
        with pytest.raises(DatabaseError) as caught:
            client.query(sql)
        assert caught.value.code == code
    with pytest.raises(DatabaseError):
        client.insert("nope", [[1]], column_names=["a"], column_type_names=["Int32"])


def test_two_million_rows_arrive_complete(gateway: Any) -> None:
    client = gateway.client(database="retail")
    client.command("CREATE OR REPLACE TABLE retail.big (id Int64, text String) ENGINE = MergeTree ORDER BY id")
    rows = 2_000_000
    table = pa.table({"id": np.arange(rows), "text": pa.array(["sold"] * rows)})
    assert client.insert_arrow("big", table).written_rows == rows
    assert client.command("SELECT sum(id) FROM retail.big") == sum(range(rows))
    assert client.query_arrow("SELECT id FROM retail.big").num_rows == rows
    client.command("DROP TABLE retail.big")


def test_the_reader_has_a_client_too(gateway: Any) -> None:
    client = gateway.client("bi_reader", database="retail")
    assert sorted(client.query("SELECT product, units FROM v_stock").result_rows) == [("milk", 7), ("tea", 14)]
    with pytest.raises(DatabaseError) as caught:
        client.command("DROP TABLE retail.stock")
    assert caught.value.code == 164
    with pytest.raises(DatabaseError):
        client.insert("stock", [[1, "x", 1]])


def test_a_wrong_password_is_an_error_of_its_own(gateway: Any) -> None:
    import clickhouse_connect

    with pytest.raises(DatabaseError) as caught:
        clickhouse_connect.get_client(host="127.0.0.1", port=gateway.port, username="etl", password="guess")
    assert caught.value.code == 516
