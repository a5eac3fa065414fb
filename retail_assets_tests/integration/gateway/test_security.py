"""What the reader can not do, whatever SQL it sends, and what even the writer can not do."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration

WRITING = [
    "INSERT INTO retail.stock VALUES (9, 'x', 9)",
    "INSERT INTO retail.stock SELECT * FROM retail.stock",
    "INSERT INTO FUNCTION file('{file}.csv', CSV, 'a Int32') VALUES (1)",
    "INSERT INTO FUNCTION null('a Int32') SELECT 1",
    "INSERT INTO retail.stock FROM INFILE '{file}' FORMAT CSV",
    "CREATE TABLE retail.mine (a Int32) ENGINE = MergeTree ORDER BY a",
    "CREATE TEMPORARY TABLE mine (a Int32)",
    "CREATE TEMPORARY TABLE mine (a String) ENGINE = File(LineAsString, '{file}')",
    "CREATE VIEW retail.mine AS SELECT * FROM file('{file}', LineAsString)",
    "CREATE MATERIALIZED VIEW retail.mine ENGINE = Memory AS SELECT 1",
    "CREATE DATABASE mine",
    "CREATE DATABASE mine ENGINE = Filesystem('/')",
    (
        "CREATE DICTIONARY retail.mine (a UInt64, b String) PRIMARY KEY a SOURCE(FILE(path '{file}' format 'TSV')) "
        "LAYOUT(FLAT()) LIFETIME(1)"
    ),
    "CREATE FUNCTION mine AS x -> x",
    "CREATE USER mine",
    "CREATE NAMED COLLECTION mine AS a = 1",
    "GRANT ALL ON *.* TO bi_reader",
    "ALTER TABLE retail.stock DELETE WHERE 1",
    "ALTER TABLE retail.stock ADD COLUMN z Int32",
    "ATTACH TABLE retail.mine FROM '/tmp' (a Int32) ENGINE = MergeTree ORDER BY a",
    "DETACH TABLE retail.stock",
    "DROP TABLE retail.stock",
    "DROP DATABASE retail",
    "TRUNCATE TABLE retail.stock",
    "RENAME TABLE retail.stock TO retail.gone",
    "EXCHANGE TABLES retail.stock AND retail.v_stock",
    "OPTIMIZE TABLE retail.stock FINAL",
    "DELETE FROM retail.stock WHERE 1",
    "UPDATE retail.stock SET units = 0 WHERE 1",
    "KILL QUERY WHERE 1",
    "SYSTEM SHUTDOWN",
    "SYSTEM STOP MERGES",
    "SYSTEM FLUSH LOGS",
    "BACKUP TABLE retail.stock TO File('{file}.zip')",
    "RESTORE TABLE retail.stock FROM File('{file}.zip')",
    "SET readonly = 0",
    "SET max_threads = 1",
    "USE system",
    "BEGIN TRANSACTION",
    "EXECUTE AS etl SELECT 1",
    "SELECT 1; DROP TABLE retail.stock",
    "SELECT 1 /* */; /* */ DROP TABLE retail.stock",
    "SELECT 1 -- x\n; DROP TABLE retail.stock",
    "EXPLAIN AST SELECT 1; DROP TABLE retail.stock",
    "/* SELECT 1 */ DROP TABLE retail.stock",
    "-- SELECT\nDROP/**/TABLE/**/retail.stock",
    "EXPLAIN INSERT INTO retail.stock SELECT * FROM retail.stock",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS dialect = 'kusto'",
    "PARALLEL WITH SELECT 1 DROP TABLE retail.stock",
]
READING_OUTSIDE = [
    "SELECT * FROM file('{file}', LineAsString)",
    "SELECT * FROM FILE('{file}', 'LineAsString', 'line String')",
    "SELECT * FROM `file`('{file}', LineAsString)",
    "SELECT * FROM /* x */ file /* y */ ('{file}', LineAsString)",
    "SELECT file('{file}')",
    "SELECT (SELECT * FROM file('{file}', LineAsString))",
    "SELECT * FROM (SELECT * FROM (FROM file('{file}', LineAsString)))",
    "WITH x AS (SELECT * FROM file('{file}', LineAsString)) SELECT * FROM x",
    "SELECT * FROM view(SELECT * FROM file('{file}', LineAsString))",
    "SELECT 1 WHERE '1' IN (SELECT * FROM file('{file}', LineAsString))",
    "SELECT 1 WHERE '1' IN file('{file}', LineAsString)",
    "SELECT arrayMap(x -> file(x), ['{file}'])",
    "SELECT * FROM numbers(1) JOIN file('{file}', LineAsString) AS f ON 1",
    "SELECT 1 UNION ALL SELECT * FROM file('{file}', LineAsString)",
    "SELECT 1 INTERSECT SELECT * FROM file('{file}', LineAsString)",
    "SELECT * FROM merge(view(SELECT * FROM file('{file}', LineAsString)))",
    "SELECT * FROM loop(file('{file}', LineAsString))",
    "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT * FROM file('{file}', LineAsString)))",
    "SELECT * FROM eval('SELECT * FROM file(\\'{file}\\', LineAsString)')",
    "SELECT * FROM filesystem('/')",
    "SELECT * FROM sqlite('{file}', 't')",
    "SELECT * FROM executable('cat {file}', 'LineAsString', 'a String')",
    "SELECT * FROM input('a Int32')",
    "SELECT * FROM Python(os)",
    "SELECT * FROM python(x)",
    "SELECT * FROM deltaLakeLocal('{file}')",
    "SELECT * FROM icebergLocal('{file}')",
    "SELECT * FROM fileCluster('default', '{file}', LineAsString)",
    "DESCRIBE TABLE file('{file}')",
    "DESCRIBE TABLE (SELECT * FROM file('{file}'))",
    "DESC file('{file}', LineAsString)",
    "EXPLAIN SELECT * FROM file('{file}')",
    "EXPLAIN QUERY TREE SELECT * FROM file('{file}')",
    "EXPLAIN ESTIMATE SELECT * FROM file('{file}')",
    "SELECT * FROM `{file}`",
    "SELECT * FROM '{file}'",
    "SELECT 1 INTO OUTFILE '{file}.out'",
    "EXPLAIN SELECT 1 INTO OUTFILE '{file}.out'",
    "SHOW TABLES INTO OUTFILE '{file}.out'",
    "DESCRIBE TABLE retail.stock INTO OUTFILE '{file}.out'",
    "SHOW CREATE TABLE retail.stock INTO OUTFILE '{file}.out'",
    "EXISTS retail.stock INTO OUTFILE '{file}.out' FORMAT CSV",
    "SHOW FUNCTIONS INTO OUTFILE '{file}.out'",
    "SELECT 1 INTO OUTFILE '{file}.out' TRUNCATE FORMAT CSV SETTINGS max_threads = 1",
    "SELECT filesystemAvailable()",
    "SELECT getServerSetting('path')",
    "SELECT showCertificate()",
    "SELECT structureToCapnProtoSchema('a Int32')",
    "SELECT aiGenerate('x', 'y')",
    "SELECT hasColumnInTable('127.0.0.1:{port}', 'system', 'one', 'dummy')",
    "SELECT addressToLine(1)",
    "SELECT catboostEvaluate('{file}', 1)",
    "SELECT sleep(1)",
    "SELECT * FROM url('http://127.0.0.1:{port}/', CSV, 'a String')",
    "SELECT * FROM urlCluster('default', 'http://127.0.0.1:{port}/', CSV, 'a String')",
    "SELECT * FROM s3('http://127.0.0.1:{port}/b/k', NOSIGN, 'CSV', 'a String')",
    "SELECT * FROM gcs('http://127.0.0.1:{port}/b/k', NOSIGN, 'CSV', 'a String')",
    "SELECT * FROM remote('127.0.0.1:{port}', system.one)",
    "SELECT * FROM remoteSecure('127.0.0.1:{port}', system.one)",
    "SELECT * FROM cluster('default', system.one)",
    "SELECT * FROM clusterAllReplicas('default', system.one)",
    "SELECT * FROM mysql('127.0.0.1:{port}', 'd', 't', 'u', 'p')",
    "SELECT * FROM postgresql('127.0.0.1:{port}', 'd', 't', 'u', 'p')",
    "SELECT * FROM mongodb('127.0.0.1:{port}', 'd', 't', 'u', 'p', 'a String')",
    "SELECT * FROM redis('127.0.0.1:{port}', 'k', 'k String')",
    "SELECT * FROM hdfs('hdfs://127.0.0.1:{port}/x', CSV, 'a String')",
    "SELECT * FROM azureBlobStorage('http://127.0.0.1:{port}/', 'c', 'p', 'n', 'k')",
    "SELECT * FROM jdbc('127.0.0.1:{port}', 't')",
    "SELECT * FROM odbc('DSN=x', 't')",
    "DESCRIBE TABLE url('http://127.0.0.1:{port}/', CSV)",
    "SELECT * FROM system.processes",
    "SELECT * FROM system.query_log",
    "SELECT * FROM `system`.`processes`",
    "SELECT 1 WHERE 1 IN system.processes",
    "SELECT * FROM system.named_collections",
    "SELECT * FROM system.server_settings",
    "SELECT * FROM system.dictionaries",
    "SELECT * FROM system.disks",
    "SELECT * FROM merge('system', 'processes')",
    "SELECT * FROM merge(REGEXP('.*'), 'processes')",
    "SHOW PROCESSLIST",
    "SHOW CREATE DICTIONARY retail.none",
    "SELECT 1 SETTINGS format_schema = '{file}'",
    "SELECT 1 AS a FORMAT CapnProto SETTINGS output_format_schema = '{file}.out'",
    "SELECT 1 AS a FORMAT AvroConfluent SETTINGS format_avro_schema_registry_url = 'http://127.0.0.1:{port}/'",
    "SELECT 1 FORMAT Template SETTINGS format_template_row = '{file}'",
]


class _Listener(BaseHTTPRequestHandler):
    calls = 0

    def do_GET(self) -> None:
        type(self).calls += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"reached\n")

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A file and a web server that no statement may reach."""
    _Listener.calls = 0
    server = HTTPServer(("127.0.0.1", 0), _Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    file = tmp_path_factory.mktemp("outside") / "private.txt"
    file.write_text("TOP-SECRET\n")
    yield {"file": str(file), "port": server.server_port}
    server.shutdown()


def _attack(gateway: Any, user: str, sql: str, outside: dict[str, Any], **params: Any) -> Any:
    text = sql.replace("{file}", outside["file"]).replace("{port}", str(outside["port"]))
    answer = gateway.ask(text, user, **params)
    assert b"TOP-SECRET" not in answer.data
    assert _Listener.calls == 0, "the network was reached"
    written = [path for path in Path(outside["file"]).parent.iterdir() if path.name != "private.txt"]
    for path in written:
        path.unlink()
    assert not written, "a file was written"
    return answer


@pytest.mark.parametrize("sql", WRITING)
def test_a_reader_can_not_write(gateway: Any, outside: dict[str, Any], sql: str) -> None:
    before = gateway.text("SELECT count(), sum(units) FROM retail.stock")
    tables = gateway.text("SELECT groupArray(name) FROM system.tables WHERE database = 'retail'")
    answer = _attack(gateway, "bi_reader", sql, outside, session_id="reader")
    assert answer.status != 200, answer.data
    assert gateway.text("SELECT count(), sum(units) FROM retail.stock") == before
    assert gateway.text("SELECT groupArray(name) FROM system.tables WHERE database = 'retail'") == tables


@pytest.mark.parametrize("sql", READING_OUTSIDE)
def test_a_reader_can_not_reach_outside_the_warehouse(gateway: Any, outside: dict[str, Any], sql: str) -> None:
    answer = _attack(gateway, "bi_reader", sql, outside)
    assert answer.status != 200, answer.data


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "params",
    [
        {"readonly": "0"}, {"dialect": "kusto"}, {"dialect": "prql"}, {"implicit_select": "1"},
        {"allow_introspection_functions": "1"}, {"allow_python_table_function": "1"}, {"format_schema": "x:x"},
        {"format_template_row": "/etc/passwd"}, {"allow_ddl": "1"}, {"max_memory_usage": "0"},
        {"max_execution_time": "100000"}, {"additional_table_filters": "{}"}, {"database": "system"},
        {"s3_base": "http://127.0.0.1/"}, {"url_base": "http://127.0.0.1/"}, {"log_queries": "0"},
        {"output_format_schema": "x/schema"},
        {"max_threads = 1, readonly": "0"},
    ],
)  # fmt: skip
def test_a_reader_can_not_open_doors_by_url_settings(gateway: Any, method: str, params: dict[str, str]) -> None:
    answer = gateway.ask(
        query="CREATE TABLE retail.mine (a Int32) ENGINE = Memory", user="bi_reader", method=method, **params
    )
    assert answer.status != 200
    if "readonly" not in params:
        assert gateway.ask(query="SELECT 1 FROM system.one", user="bi_reader", method=method, **params).status != 200
    assert gateway.text("EXISTS TABLE retail.mine") == "0\n"


def test_a_reader_can_not_smuggle_a_table_name_in_a_parameter(gateway: Any) -> None:
    answer = gateway.ask(
        "SELECT * FROM {d:Identifier}.{t:Identifier}", "bi_reader", param_d="system", param_t="processes"
    )
    assert answer.status == 403


def test_the_settings_that_drivers_send_are_accepted_from_a_reader(gateway: Any) -> None:
    settings = {"max_result_rows": 1000, "max_block_size": 1000, "output_format_json_quote_64bit_integers": 1,
                "date_time_input_format": "best_effort", "max_execution_time": 30, "extremes": 0}  # fmt: skip
    assert gateway.text("SELECT count() FROM retail.v_stock", "bi_reader", **settings) == "2\n"


def test_a_reader_runs_in_the_read_only_mode_of_the_engine(gateway: Any) -> None:
    sql = "SELECT getSetting('readonly'), getSetting('max_execution_time'), getSetting('max_memory_usage')"
    assert gateway.text(sql, "bi_reader") == gateway.text(sql, "bi_reader", session_id="r") == "1\t300\t4294967296\n"
    assert gateway.text(sql).startswith("0\t")


def test_the_engine_alone_would_also_refuse_a_reader_to_write(gateway: Any, tmp_path: Path) -> None:
    """The first layer without the second: what `readonly=1` does when nobody looks at the statement."""
    from retail_local.gateway.engine import Engine
    from retail_local.gateway.errors import GatewayError

    engine = Engine(tmp_path / "data")
    try:
        connection = engine.connect()
        connection.set({"readonly": "1"})
        for sql in (
            "CREATE TABLE t (a Int32) ENGINE = Memory", "SET readonly = 0", "SET max_threads = 3", "SYSTEM FLUSH LOGS",
            "CREATE TEMPORARY TABLE t (a Int32)", "SELECT * FROM file('/etc/passwd', LineAsString)",
            "SELECT * FROM url('http://127.0.0.1:1/', CSV, 'a String')", "SELECT 1 SETTINGS readonly = 0",
        ):  # fmt: skip
            with pytest.raises(GatewayError, match="readonly"):
                connection.run(sql)
        connection.close()
    finally:
        engine.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('{file}', LineAsString)",
        "SELECT file('{file}')",
        "DESCRIBE TABLE file('{file}')",
        "INSERT INTO FUNCTION file('{file}.csv', CSV, 'a Int32') VALUES (1)",
        "INSERT INTO FUNCTION file('{file}.csv', CSV, 'a Int32') SELECT 1",
        "INSERT INTO retail.stock FROM INFILE '{file}' FORMAT CSV",
        "SELECT 1 INTO OUTFILE '{file}.out'",
        "SHOW CREATE TABLE retail.stock INTO OUTFILE '{file}.out'",
        "DESCRIBE TABLE retail.stock INTO OUTFILE '{file}.out'",
        "CREATE TABLE retail.mine (a String) ENGINE = File(LineAsString, '{file}')",
        "CREATE TABLE retail.mine AS file('{file}', LineAsString)",
        "CREATE TABLE retail.mine (a String) ENGINE = URL('http://127.0.0.1:{port}/', CSV)",
        "CREATE TABLE retail.mine ENGINE = Memory AS SELECT * FROM file('{file}', LineAsString)",
        "CREATE TABLE retail.mine (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local)",
        "CREATE DATABASE mine ENGINE = Filesystem('/')",
        (
            "CREATE DICTIONARY retail.mine (a UInt64, b String) PRIMARY KEY a SOURCE(HTTP(url "
            "'http://127.0.0.1:{port}/' format 'TSV')) LAYOUT(FLAT()) LIFETIME(1)"
        ),
        (
            "CREATE DICTIONARY retail.mine (a UInt64, b String) PRIMARY KEY a SOURCE(EXECUTABLE(command 'cat {file}' "
            "format 'TSV')) LAYOUT(FLAT()) LIFETIME(1)"
        ),
        (
            "CREATE DICTIONARY retail.mine (a UInt64) PRIMARY KEY a SOURCE(CLICKHOUSE(host '127.0.0.1' port {port} "
            "table 't')) LAYOUT(FLAT()) LIFETIME(1)"
        ),
        "ATTACH TABLE retail.mine FROM '/tmp' (a Int32) ENGINE = MergeTree ORDER BY a",
        "BACKUP TABLE retail.stock TO File('{file}.zip')",
        "SELECT * FROM url('http://127.0.0.1:{port}/', CSV, 'a String')",
        "SELECT * FROM remote('127.0.0.1:{port}', system.one)",
        "SELECT * FROM Python(os)",
        "SELECT * FROM executable('cat {file}', 'LineAsString', 'a String')",
        "SYSTEM SHUTDOWN",
        "CREATE USER mine",
        "SET dialect = 'kusto'",
        "SELECT 1 AS a FORMAT Protobuf SETTINGS output_format_schema = '{file}.out'",
        "SELECT 1 SETTINGS allow_python_table_function = 1",
    ],
)
def test_even_the_writer_reaches_no_file_network_or_program(gateway: Any, outside: dict[str, Any], sql: str) -> None:
    answer = _attack(gateway, "etl", sql, outside, session_id="writer")
    assert answer.status != 200, answer.data
    assert gateway.text("EXISTS TABLE retail.mine") == "0\n"
