"""Many clients at once, clients that leave, and queries that are killed."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest

pytestmark = pytest.mark.integration

SLOW = "SELECT sum(sipHash64(number)) FROM numbers(100000000000)"


def test_32_readers_see_whole_inserts_while_rows_are_inserted(gateway: Any) -> None:
    gateway.text("CREATE OR REPLACE TABLE retail.flow (batch UInt32, n UInt32) ENGINE = MergeTree ORDER BY batch")
    batch_rows, batches, readers, reads = 50_000, 12, 32, 6

    def write() -> None:
        client = gateway.client(database="retail")
        for batch in range(batches):
            columns = {
                "batch": np.full(batch_rows, batch, dtype=np.uint32),
                "n": np.arange(batch_rows, dtype=np.uint32),
            }
            client.insert_arrow("flow", pa.table(columns))

    def read(number: int) -> list[int]:
        client = gateway.client("bi_reader" if number % 2 else "etl", database="retail")
        return [int(client.command("SELECT count() FROM retail.flow")) for _ in range(reads)]

    with ThreadPoolExecutor(readers + 1) as pool:
        writing = pool.submit(write)
        seen = [pool.submit(read, number) for number in range(readers)]
        counts = [count for one in seen for count in one.result()]
        writing.result()
    assert len(counts) == readers * reads
    assert all(count % batch_rows == 0 for count in counts)
    assert gateway.text("SELECT count() FROM retail.flow") == f"{batch_rows * batches}\n"


def _running(gateway: Any) -> int:
    return int(
        gateway.text(
            "SELECT count() FROM system.processes "
            "WHERE query LIKE '%sipHash64(number)%' AND query NOT LIKE '%processes%'"
        )
    )


def _until(condition: Any) -> bool:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_a_query_stops_when_its_client_leaves(gateway: Any) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as raw:
        raw.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nX-ClickHouse-User: etl\r\nX-ClickHouse-Key: secret-of-etl\r\n"
            + f"Content-Length: {len(SLOW)}\r\n\r\n{SLOW}".encode()
        )
        assert _until(lambda: _running(gateway) == 1)
    assert _until(lambda: _running(gateway) == 0)


def test_kill_query_stops_a_query_by_its_query_id(gateway: Any) -> None:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(gateway.ask(SLOW, query_id="long-one")))
    thread.start()
    assert _until(lambda: _running(gateway) == 1)
    gateway.text("KILL QUERY WHERE query LIKE '%query_id=long-one %' AND query NOT LIKE '%processes%' ASYNC")
    thread.join(15)
    assert answers[0].headers["X-ClickHouse-Exception-Code"] == "394"


def test_a_time_limit_of_the_request_is_kept(gateway: Any) -> None:
    answer = gateway.ask(SLOW, "bi_reader", max_execution_time=1)
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (408, "159")


def test_one_session_takes_one_request_at_a_time(gateway: Any) -> None:
    thread = threading.Thread(target=lambda: gateway.ask(SLOW, session_id="busy", max_execution_time=2))
    thread.start()
    assert _until(lambda: _running(gateway) == 1)
    answer = gateway.ask("SELECT 1", session_id="busy")
    assert answer.headers["X-ClickHouse-Exception-Code"] == "373"
    thread.join(15)


def test_a_large_result_is_not_held_in_memory(gateway: Any) -> None:
    process = psutil.Process(gateway.process.pid)
    gateway.text("SELECT 1")
    before = process.memory_info().rss
    size = 0
    with gateway.http.request(
        "POST", gateway.url, body=b"SELECT number, randomPrintableASCII(200) FROM numbers(2000000) FORMAT TSV",
        headers={"X-ClickHouse-User": "etl", "X-ClickHouse-Key": "secret-of-etl"}, preload_content=False,
    ) as answer:  # fmt: skip
        most = before
        for chunk in answer.stream(1024 * 1024):
            size += len(chunk)
            most = max(most, process.memory_info().rss)
    assert size > 400_000_000
    assert most - before < 300_000_000


def test_nothing_is_left_in_the_spool(gateway: Any) -> None:
    assert _until(lambda: not list((gateway.data_dir / "gateway-spool").iterdir()))


def test_readers_can_not_keep_the_writer_waiting(gateway: Any) -> None:
    with ThreadPoolExecutor(20) as pool:
        slow = [pool.submit(gateway.ask, SLOW, "bi_reader", max_execution_time=3) for _ in range(14)]
        assert _until(lambda: _running(gateway) >= 8)
        assert _running(gateway) == 8
        assert sum(one.done() for one in slow) == 0
        for one in slow:
            assert one.result().headers["X-ClickHouse-Exception-Code"] == "159"
