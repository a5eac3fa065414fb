"""Whose error it is that comes over HTTP: ClickHouse's own, or that of a proxy before it, which passes."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import clickhouse_connect
import dagster as dg
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError

from retail_assets.contracts.warehouse_errors import clickhouse_code
from retail_assets.resources.clickhouse import ClickHouseResource, passes
from retail_assets.sensors.real_time import evaluate
from retail_streaming.errors import StreamingError, TransientError
from retail_streaming.settings import StreamingSettings
from retail_streaming.warehouse import Warehouse

HTML = "<html><h1>Bad Gateway</h1>Error code: 502</html>"
NO_TABLE = "Code: 60. DB::Exception: Unknown table expression identifier 't'. (UNKNOWN_TABLE) (version 26.4)"
TOO_MANY = "Code: 202. DB::Exception: Too many simultaneous queries. (TOO_MANY_SIMULTANEOUS_QUERIES) (version 26.4)"
CODE_HEADER = "X-ClickHouse-Exception-Code"

#: Status, header with ClickHouse's code, body; whether the streaming service takes it for something that passes.
ANSWERS = [
    (500, None, "", True),
    (502, None, HTML, True),
    (503, None, "", True),
    (520, None, "web server is returning an unknown error", True),
    (404, None, "not found", False),
    (403, None, "forbidden", False),
    (404, "60", NO_TABLE, False),
    (500, "241", "Code: 241. DB::Exception: memory", True),
    (500, "47", "Code: 47. DB::Exception: unknown identifier", False),
    # A proxy has taken the header away.
    (500, None, NO_TABLE, False),
    (500, None, TOO_MANY, True),
]


@contextmanager
def answering(status: int, code: str | None, body: str) -> Iterator[int]:
    """Answer everything that is asked in one way; gives the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            if code is not None:
                self.send_header(CODE_HEADER, code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST  # noqa: N815 -- the library's name

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "code", "body", "transient"), ANSWERS)
def test_a_failure_on_the_way_to_the_warehouse_passes_and_an_error_of_its_own_is_told_by_its_code(
    status: int, code: str | None, body: str, transient: bool
) -> None:
    with answering(status, code, body) as port:
        warehouse = Warehouse(StreamingSettings(clickhouse_port=port, clickhouse_password="x"))  # type: ignore[arg-type]
        with pytest.raises(StreamingError, match=f"the warehouse at 127.0.0.1:{port} ") as caught:
            warehouse.rows("SELECT 1")
    assert type(caught.value) is (TransientError if transient else StreamingError)


@pytest.mark.parametrize(
    ("status", "code", "body", "away"),
    [(502, None, HTML, True), (503, None, "", True), (404, None, "not found", False), (500, None, NO_TABLE, False)],
)
def test_the_platform_takes_the_same_for_a_warehouse_that_is_away(
    status: int, code: str | None, body: str, away: bool
) -> None:
    with answering(status, code, body) as port, pytest.raises(ClickHouseError) as caught:
        clickhouse_connect.get_client(host="127.0.0.1", port=port)
    assert passes(caught.value) is away


def test_a_code_is_the_drivers_or_else_the_one_in_the_text() -> None:
    assert clickhouse_code(DatabaseError("x", code=7)) == 7
    assert clickhouse_code(DatabaseError(f"HTTP driver received HTTP status 500, server response: {NO_TABLE}")) == 60
    assert clickhouse_code(OSError("refused")) is None
    assert passes(OperationalError("Network Error"))


@pytest.mark.parametrize(("status", "skips"), [(502, True), (404, False)])
def test_a_tick_during_a_failure_on_the_way_says_that_the_warehouse_is_away(
    status: int, skips: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def client(self: ClickHouseResource, comment: str = "") -> Iterator[Client]:
        raise DatabaseError(f"HTTP driver received HTTP status {status}, server response: {HTML}")
        yield

    monkeypatch.setattr(ClickHouseResource, "client", client)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, cursor="{}")
        if not skips:
            with pytest.raises(DatabaseError):
                evaluate(context, ClickHouseResource(database="retail"))
            return
        said = evaluate(context, ClickHouseResource(database="retail")).skip_reason
    assert said is not None
    assert "the warehouse is away" in (said.skip_message or "")
