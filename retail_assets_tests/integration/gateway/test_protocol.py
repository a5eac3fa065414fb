"""ClickHouse's HTTP protocol as plain requests see it."""

import base64
import gzip
import json
import subprocess
import zlib
from typing import Any

import lz4.frame
import pytest
import zstandard

pytestmark = pytest.mark.integration

COMPRESS = {
    "lz4": lambda data: lz4.frame.compress(data, content_checksum=True),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}
DECOMPRESS = {
    "lz4": lz4.frame.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}


@pytest.fixture
def table(gateway: Any) -> str:
    gateway.text("CREATE OR REPLACE TABLE retail.fill (a Int64, b String) ENGINE = MergeTree ORDER BY a")
    return "retail.fill"


@pytest.mark.parametrize("path", ["/", "/ping", "/replicas_status", "/healthz"])
def test_health_paths_answer_without_a_password(gateway: Any, path: str) -> None:
    answer = gateway.http.request("GET", gateway.url + path)
    assert (answer.status, answer.data) == (200, b"Ok.\n")


def test_a_query_can_come_in_the_body_the_url_or_both(gateway: Any) -> None:
    assert gateway.text("SELECT 1 + 1") == "2\n"
    assert gateway.text(b"", query="SELECT 1 + 1") == "2\n"
    assert gateway.text("+ 1", query="SELECT 1") == "2\n"


def test_credentials_are_taken_from_basic_headers_and_url(gateway: Any) -> None:
    password = "secret-of-etl"
    basic = {"Authorization": "Basic " + base64.b64encode(f"etl:{password}".encode()).decode()}
    assert gateway.ask("SELECT 1", None, headers=basic).data == b"1\n"
    assert gateway.ask("SELECT 1", "etl").data == b"1\n"
    answer = gateway.http.request("POST", f"{gateway.url}/?user=etl&password={password}", body=b"SELECT currentUser()")
    assert answer.status == 200


def test_a_wrong_password_an_unknown_user_and_none_at_all_are_refused(gateway: Any) -> None:
    for headers in (
        {"X-ClickHouse-User": "etl", "X-ClickHouse-Key": "secret-of-etX"},
        {"X-ClickHouse-User": "default", "X-ClickHouse-Key": ""},
        {"X-ClickHouse-User": "etl"},
        {"X-ClickHouse-User": "bi_reader", "X-ClickHouse-Key": "secret-of-etl"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Bearer abc"},
    ):
        answer = gateway.ask("SELECT 1", None, headers=headers)
        assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (403, "516"), headers
    answer = gateway.ask("SELECT 1", None)
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (401, "194")
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_the_log_never_shows_a_password(gateway: Any) -> None:
    gateway.http.request("POST", f"{gateway.url}/?user=etl&password=wrong-secret-xyz", body=b"SELECT 1")
    gateway.text("SELECT 1")
    assert "secret" not in gateway.log


def test_answers_carry_the_headers_of_a_server(gateway: Any) -> None:
    answer = gateway.ask("SELECT number FROM numbers(7) FORMAT JSON", query_id="my-query-1")
    assert answer.headers["X-ClickHouse-Query-Id"] == "my-query-1"
    assert answer.headers["X-ClickHouse-Format"] == "JSON"
    assert answer.headers["X-ClickHouse-Timezone"] == "UTC"
    assert answer.headers["X-ClickHouse-Server-Display-Name"]
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["result_rows"] == "7"


@pytest.mark.parametrize(
    ("sql", "status", "code", "name"),
    [
        ("SELEC 1", 400, 62, "SYNTAX_ERROR"),
        ("", 400, 62, "SYNTAX_ERROR"),
        ("SELECT * FROM nothing_here", 404, 60, "UNKNOWN_TABLE"),
        ("SELECT nosuchfunction(1)", 404, 46, "UNKNOWN_FUNCTION"),
        ("SELECT nothing_here FROM retail.stock", 404, 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT * FROM nowhere.stock", 404, 81, "UNKNOWN_DATABASE"),
        ("SELECT 1 FORMAT Nonsense", 404, 73, "UNKNOWN_FORMAT"),
        ("SELECT throwIf(1)", 500, 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT toInt32('x')", 400, 6, "CANNOT_PARSE_TEXT"),
        ("SELECT 1 SETTINGS nonsense = 1", 404, 115, "UNKNOWN_SETTING"),
    ],
)
def test_errors_have_the_code_name_and_status_of_a_server(
    gateway: Any, sql: str, status: int, code: int, name: str
) -> None:
    answer = gateway.ask(sql)
    body = answer.data.decode()
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (status, str(code)), body
    assert body.startswith(f"Code: {code}. DB::Exception: ")
    assert f"({name}) (version 26." in body
    assert "formatQuery" not in body


def test_an_error_in_the_middle_of_a_large_result_does_not_look_like_success(gateway: Any) -> None:
    answer = gateway.ask("SELECT throwIf(number = 3000000), number FROM numbers(4000000)", max_block_size=65536)
    assert answer.status == 500
    assert answer.data.startswith(b"Code: 395.")


@pytest.mark.parametrize("sql", ["SELECT 1; SELECT 2", "SELECT 1; DROP TABLE retail.stock", "SELECT 1;;SELECT 2"])
def test_several_statements_in_one_request_are_refused(gateway: Any, sql: str) -> None:
    answer = gateway.ask(sql)
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (400, "62")
    assert gateway.text("SELECT count() FROM retail.stock") == "3\n"
    assert gateway.text("SELECT 1; -- that was all") == "1\n"


def test_get_only_reads(gateway: Any) -> None:
    assert gateway.ask(method="GET", query="SELECT 1").data == b"1\n"
    assert gateway.ask(method="GET", query="SELECT 1", max_threads=1).data == b"1\n"
    answer = gateway.ask(method="GET", query="CREATE TABLE retail.of_get (a Int8) ENGINE = Memory")
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (500, "164")
    answer = gateway.ask("1, 'x', 2", method="GET", query="INSERT INTO retail.stock FORMAT CSV")
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"
    assert gateway.text("SELECT count() FROM retail.stock") == "3\n"


def test_database_and_format_come_from_url_or_header(gateway: Any) -> None:
    assert gateway.text("SELECT count() FROM stock", database="retail") == "3\n"
    answer = gateway.ask(
        "SELECT count() AS n FROM stock",
        headers={"X-ClickHouse-Database": "retail", "X-ClickHouse-Format": "CSVWithNames"},
    )
    assert answer.data == b'"n"\n3\n'
    assert gateway.text("SELECT 1 AS n", default_format="JSONEachRow") == '{"n":1}\n'
    assert gateway.text("SELECT 1 AS n FORMAT CSV", default_format="JSONEachRow") == "1\n"
    assert gateway.ask("SELECT 1", database="nowhere").headers["X-ClickHouse-Exception-Code"] == "81"


def test_parameters_are_bound_by_the_engine(gateway: Any) -> None:
    assert gateway.text("SELECT {x:Int32} + 1, {s:String}", param_x=4, param_s="it's; DROP") == "5\tit\\'s; DROP\n"
    assert gateway.text("SELECT count() FROM {t:Identifier}", param_t="stock", database="retail") == "3\n"


def test_settings_of_a_request_do_not_reach_the_next_one(gateway: Any) -> None:
    read = "SELECT getSetting('max_block_size'), getSetting('log_comment')"
    before = gateway.text(read)
    for sql in (read, "SELECT throwIf(1)", "SELEC", "INSERT INTO retail.stock FORMAT CSV\nnonsense"):
        gateway.ask(sql, max_block_size=77, log_comment="mine")
    assert gateway.text(read, max_block_size=77, log_comment="mine") == "77\tmine\n"
    assert all(gateway.text(read) == before for _ in range(20))


def test_an_unknown_setting_is_named(gateway: Any) -> None:
    answer = gateway.ask("SELECT 1", max_thread=1)
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (404, "115")
    assert b"max_thread" in answer.data


@pytest.mark.parametrize("encoding", COMPRESS)
def test_bodies_come_compressed_also_as_several_frames(gateway: Any, table: str, encoding: str) -> None:
    pack = COMPRESS[encoding]
    body = pack(b"1\tone\n2\ttwo\n") + pack(b"3\tthree\n")
    answer = gateway.ask(body, headers={"Content-Encoding": encoding}, query=f"INSERT INTO {table} FORMAT TSV")
    assert answer.status == 200, answer.data
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"] == "3"
    assert gateway.text(f"SELECT sum(a) FROM {table}") == "6\n"


@pytest.mark.parametrize("encoding", COMPRESS)
@pytest.mark.parametrize("damage", ["cut", "broken"])
def test_a_damaged_body_inserts_nothing(gateway: Any, table: str, encoding: str, damage: str) -> None:
    rows = b"".join(b"%d\trow %d\n" % (i, i * i) for i in range(300_000))
    body = bytearray(COMPRESS[encoding](rows))
    if damage == "cut":
        body = body[: len(body) - 10]
    else:
        body[len(body) // 2] ^= 0xFF
        body[len(body) // 2 + 1] ^= 0xFF
    answer = gateway.ask(bytes(body), headers={"Content-Encoding": encoding}, query=f"INSERT INTO {table} FORMAT TSV")
    assert answer.status == 400, answer.data[:300]
    assert answer.headers["X-ClickHouse-Exception-Code"] == "117"
    assert gateway.text(f"SELECT count() FROM {table}") == "0\n"


def test_a_body_that_ends_before_its_announced_length_inserts_nothing(gateway: Any, table: str) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", gateway.port)) as raw:
        raw.sendall(
            b"POST /?query=INSERT+INTO+"
            + table.encode()
            + b"+FORMAT+TSV HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            b"X-ClickHouse-User: etl\r\nX-ClickHouse-Key: secret-of-etl\r\n\r\n1\tone\n2\ttwo\n"
        )
    assert gateway.text(f"SELECT count() FROM {table}") == "0\n"


@pytest.mark.parametrize("encoding", DECOMPRESS)
@pytest.mark.parametrize("rows", [3, 500_000])
def test_answers_are_compressed_as_asked(gateway: Any, encoding: str, rows: int) -> None:
    answer = gateway.ask(
        f"SELECT number FROM numbers({rows})", headers={"Accept-Encoding": encoding}, enable_http_compression=1
    )
    assert answer.headers["Content-Encoding"] == encoding
    assert DECOMPRESS[encoding](answer.data).count(b"\n") == rows
    plain = gateway.ask(f"SELECT number FROM numbers({rows})", headers={"Accept-Encoding": encoding})
    assert "Content-Encoding" not in plain.headers
    assert plain.data.count(b"\n") == rows


def test_an_unknown_encoding_is_refused(gateway: Any, table: str) -> None:
    answer = gateway.ask(b"x", headers={"Content-Encoding": "br"}, query=f"INSERT INTO {table} FORMAT TSV")
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (501, "48")


@pytest.mark.parametrize("option", ["compress", "decompress"])
def test_block_compression_is_refused_with_a_hint(gateway: Any, option: str) -> None:
    answer = gateway.ask("SELECT 1", **{option: 1})
    assert answer.status == 501
    assert b"Encoding" in answer.data


@pytest.mark.parametrize(
    "name",
    ["Native", "Arrow", "ArrowStream", "Parquet", "JSON", "JSONEachRow", "JSONCompact", "CSVWithNames", "TSV", "XML",
     "TabSeparatedWithNamesAndTypes", "RowBinaryWithNamesAndTypes", "ODBCDriver2", "Pretty", "Values", "Null"],
)  # fmt: skip
def test_every_format_gives_one_whole_document(gateway: Any, table: str, name: str) -> None:
    sql = "SELECT toInt64(number) AS a, toString(number) AS b FROM numbers(300000)"
    answer = gateway.ask(f"{sql} FORMAT {name}")
    assert (answer.status, answer.headers["X-ClickHouse-Format"]) == (200, name)
    if name == "JSON":
        assert len(json.loads(answer.data)["data"]) == 300_000
    if name in {
        "Native",
        "Arrow",
        "ArrowStream",
        "Parquet",
        "JSONEachRow",
        "CSVWithNames",
        "RowBinaryWithNamesAndTypes",
    }:
        gateway.text(answer.data, query=f"INSERT INTO {table} FORMAT {name}", max_insert_block_size=50_000)
        assert gateway.text(f"SELECT count(), sum(a) FROM {table}") == "300000\t44999850000\n"


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO retail.fill VALUES (1, 'a;b'), (2, 'FORMAT CSV')",
        "insert into retail.fill (a, b) values (1, upper('x')), (1 + 1, 'y')",
        "INSERT INTO retail.fill FORMAT CSV\n1,x\n2,y",
        '/* VALUES */ INSERT -- FORMAT TSV\n INTO retail.`fill` (`a`, b) FORMAT JSONEachRow {"a":1,"b":"x"}\n{"a":2}',
        "INSERT INTO retail.fill SETTINGS max_threads = 1 FORMAT TSV\n1\tx\n2\ty\n",
        "INSERT INTO retail.fill SELECT number + 1, 'FORMAT CSV' FROM numbers(2)",
        "INSERT INTO retail.fill SELECT * FROM values('a Int64, b String', (1, 'x'), (2, 'y'))",
    ],
)
def test_insertions_are_understood_in_all_spellings(gateway: Any, table: str, sql: str) -> None:
    gateway.text(sql)
    assert gateway.text(f"SELECT count(), sum(a) FROM {table}") == "2\t3\n"


def test_what_follows_inserted_values_is_data_and_never_a_statement(gateway: Any, table: str) -> None:
    gateway.ask(f"INSERT INTO {table} VALUES (1, 'x'); DROP TABLE {table}")
    assert gateway.text(f"EXISTS TABLE {table}") == "1\n"


def test_an_insertion_takes_parameters_and_query_and_data_apart(gateway: Any, table: str) -> None:
    gateway.text("INSERT INTO {t:Identifier} VALUES ({x:Int64}, {s:String})", param_t="fill", param_x=7, param_s="q",
                 database="retail")  # fmt: skip
    gateway.text("(8, 'r')", query=f"INSERT INTO {table} VALUES")
    gateway.text("", query=f"INSERT INTO {table} VALUES (9, 's')")
    assert gateway.text(f"SELECT groupArray(b) FROM (SELECT b FROM {table} ORDER BY a)") == "['q','r','s']\n"


def test_a_form_carries_query_and_parameters(gateway: Any) -> None:
    answer = gateway.http.request(
        "POST",
        gateway.url,
        fields={"query": "SELECT {x:Int32} + 1", "param_x": "41"},
        headers={"X-ClickHouse-User": "etl", "X-ClickHouse-Key": "secret-of-etl"},
    )
    assert (answer.status, answer.data) == (200, b"42\n")


def test_temporary_tables_and_set_live_in_a_session(gateway: Any) -> None:
    gateway.text("CREATE TEMPORARY TABLE basket (a Int32)", session_id="s1")
    gateway.text("INSERT INTO basket VALUES (1), (2)", session_id="s1", max_threads=1)
    gateway.text("SET max_block_size = 123", session_id="s1")
    assert gateway.text("SELECT sum(a) FROM basket", session_id="s1") == "3\n"
    gateway.text("SELECT 1", session_id="s1", max_block_size=99)
    assert gateway.text("SELECT getSetting('max_block_size')", session_id="s1") == "123\n"
    assert gateway.ask("SELECT * FROM basket", session_id="s2").status == 404
    assert gateway.ask("SELECT * FROM basket").status == 404
    assert gateway.ask("SELECT 1", session_id="s3", session_check=1).headers["X-ClickHouse-Exception-Code"] == "372"


def test_a_session_keeps_what_use_and_set_say_and_nothing_of_the_url(gateway: Any) -> None:
    read = "SELECT currentDatabase(), getSetting('max_block_size'), getSetting('log_comment')"
    gateway.text("SET max_block_size = 321", session_id="s5", database="retail", log_comment="once")
    assert gateway.text(read, session_id="s5") == "default\t321\t\n"
    gateway.text("USE retail", session_id="s5", max_block_size=77)
    gateway.ask("SELECT throwIf(1)", session_id="s5", database="system", max_block_size=78, log_comment="again")
    assert gateway.text(read, session_id="s5") == "retail\t321\t\n"


def test_get_makes_no_temporary_table(gateway: Any) -> None:
    answer = gateway.ask(method="GET", query="CREATE TEMPORARY TABLE basket (a Int32)", session_id="s6")
    assert answer.status != 200
    assert gateway.ask("SELECT * FROM basket", session_id="s6").status == 404


def test_a_temporary_table_without_a_session_is_refused(gateway: Any) -> None:
    assert b"session_id" in gateway.ask("CREATE TEMPORARY TABLE basket (a Int32)").data


def test_curl_works(gateway: Any) -> None:
    def curl(*more: str) -> str:
        done = subprocess.run(
            ["curl", "-sS", "--fail-with-body", "-u", "etl:secret-of-etl", *more],
            check=True, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        return done.stdout

    assert curl(gateway.url, "-d", "SELECT 6 * 7") == "42\n"
    assert curl(gateway.url + "/?query=SELECT+1") == "1\n"
    assert curl("--compressed", gateway.url + "/?enable_http_compression=1", "-d", "SELECT 6 * 7") == "42\n"
    assert curl(gateway.url, "-H", "Transfer-Encoding: chunked", "-d", "SELECT 6 * 7") == "42\n"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1::Decimal(12, 2) AS x, '2026-01-01'::Date + INTERVAL 1 DAY",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "SELECT 'FORMAT JSON' AS `\nFORMAT CSV`",
        "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x WHERE n < 5) SELECT max(n) FROM x",
        "SELECT number % 2 AS k, count() FROM numbers(10) GROUP BY k WITH TOTALS ORDER BY k",
        "SHOW TABLES FROM retail",
        "DESCRIBE TABLE retail.stock",
        "DESCRIBE (SELECT 1 AS x)",
        "EXISTS retail.stock",
        "SHOW CREATE TABLE retail.stock",
        "EXPLAIN PLAN indexes = 1 SELECT * FROM retail.stock WHERE store = 1",
        "SELECT count() FROM system.columns WHERE database = 'retail'",
    ],
)
def test_reading_statements_of_all_kinds_work_for_both_users(gateway: Any, sql: str) -> None:
    # Without ORDER BY the engine's threads decide which rows come first.
    writers, readers = gateway.text(sql), gateway.text(sql, "bi_reader")
    assert sorted(writers.splitlines()) == sorted(readers.splitlines()) != []


@pytest.mark.parametrize(
    "sql",
    [
        "(SELECT 1) UNION ALL (SELECT 2) SETTINGS max_threads = 1",
        "SELECT 1 FORMAT TSV SETTINGS max_threads = 1",
        "SELECT 1 SETTINGS max_threads = 1 FORMAT TSV",
    ],
)
def test_a_statement_carries_settings_of_its_own_for_the_writer(gateway: Any, sql: str) -> None:
    assert gateway.text(sql).startswith("1\n")


def test_warehouse_statements_work(gateway: Any) -> None:
    run = gateway.text
    run("CREATE DATABASE IF NOT EXISTS wh")
    create = "(d Date, n UInt64, v UInt64) ENGINE = ReplacingMergeTree(v) PARTITION BY toYYYYMM(d) ORDER BY n"
    run(f"CREATE OR REPLACE TABLE wh.fact {create}")
    run("CREATE OR REPLACE TABLE wh.stage AS wh.fact")
    run("INSERT INTO wh.fact SELECT '2026-01-01', number, 1 FROM numbers(10)")
    run("INSERT INTO wh.stage SELECT '2026-01-01', number, 2 FROM numbers(3)")
    run("ALTER TABLE wh.fact REPLACE PARTITION 202601 FROM wh.stage")
    assert run("SELECT count(), max(v) FROM wh.fact FINAL") == "3\t2\n"
    run("EXCHANGE TABLES wh.fact AND wh.stage")
    run("INSERT INTO wh.fact SELECT '2026-01-01', number, 3 FROM numbers(3)")
    run("OPTIMIZE TABLE wh.fact FINAL")
    assert run("SELECT count(), min(v) FROM wh.fact") == "3\t3\n"
    run("ALTER TABLE wh.fact DELETE WHERE n = 0", mutations_sync=2)
    run("DELETE FROM wh.fact WHERE n = 1")
    assert run("SELECT count() FROM wh.fact") == "1\n"
    run(
        "CREATE MATERIALIZED VIEW wh.totals REFRESH EVERY 1 HOUR ENGINE = MergeTree ORDER BY n "
        "AS SELECT sum(n) AS n FROM wh.fact"
    )
    run("SYSTEM REFRESH VIEW wh.totals")
    run("SYSTEM WAIT VIEW wh.totals")
    assert run("SELECT n FROM wh.totals") == "2\n"
    run(
        "CREATE DICTIONARY wh.names (store UInt64, product String) PRIMARY KEY store "
        "SOURCE(CLICKHOUSE(DB 'retail' TABLE 'stock')) LAYOUT(HASHED()) LIFETIME(300)"
    )
    assert run("SELECT dictGet('wh.names', 'product', toUInt64(2))") == "tea\n"
    assert run("SELECT count() > 0 FROM system.parts WHERE database = 'wh' AND active") == "1\n"
    run("DROP DATABASE wh")
