"""Starting, stopping and being killed."""

import contextlib
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import urllib3

pytestmark = pytest.mark.integration


def _start_and_fail(command: list[str]) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stderr


def test_a_missing_or_empty_password_file_is_one_clear_line(new_gateway: Any) -> None:
    one = new_gateway()
    (one.secrets_dir / "clickhouse_bi_reader").unlink()
    status, error = _start_and_fail(one.command())
    assert status == 2
    assert error.count("\n") == 1
    assert "clickhouse_bi_reader" in error
    (one.secrets_dir / "clickhouse_bi_reader").write_text("\n")
    assert "empty" in _start_and_fail(one.command())[1]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "::", "example.org"])  # noqa: S104
def test_only_loopback_addresses_are_served(new_gateway: Any, host: str) -> None:
    status, error = _start_and_fail(new_gateway().command("--host", host))
    assert status == 2
    assert "loopback" in error


def test_a_port_in_use_is_one_clear_line_that_names_the_setting(gateway: Any, new_gateway: Any) -> None:
    other = new_gateway()
    other.port = gateway.port
    status, error = _start_and_fail(other.command())
    assert status == 1
    assert error.count("\n") == 1
    assert str(gateway.port) in error
    assert "RETAIL_CLICKHOUSE_PORT" in error


def test_a_second_gateway_on_the_same_data_is_refused(gateway: Any, new_gateway: Any) -> None:
    other = new_gateway()
    status, error = _start_and_fail(other.command("--data-dir", str(gateway.data_dir)))
    assert status == 1
    assert error.count("\n") == 1
    assert "already" in error


def test_acknowledged_rows_survive_kill_9_and_leftovers_are_cleared(new_gateway: Any) -> None:
    one = new_gateway()
    one.start()
    one.text("CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n")
    acknowledged = 0
    stop = threading.Event()

    def write() -> None:
        nonlocal acknowledged
        while not stop.is_set():
            try:
                one.text(f"INSERT INTO kept SELECT number + {acknowledged * 1000} FROM numbers(1000)")
            except Exception:  # noqa: BLE001 - the gateway is killed under it
                return
            acknowledged += 1

    thread = threading.Thread(target=write)
    thread.start()
    while acknowledged < 20:
        time.sleep(0.01)
    (one.data_dir / "gateway-spool" / "leftover").write_bytes(b"x")
    one.signal(signal.SIGKILL)
    stop.set()
    thread.join()
    one.start()
    rows = int(one.text(f"SELECT count() FROM kept WHERE n < {acknowledged * 1000}"))
    assert rows == acknowledged * 1000
    assert list((one.data_dir / "gateway-spool").iterdir()) == []
    assert one.signal(signal.SIGTERM) == 0


def test_sigterm_lets_a_running_request_finish(new_gateway: Any, tmp_path: Path) -> None:
    one = new_gateway()
    one.start()
    one.text("CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n")
    answers: list[Any] = []
    sql = "INSERT INTO kept SELECT number + sleepEachRow(0.01) FROM numbers(150) SETTINGS max_block_size = 10"
    thread = threading.Thread(target=lambda: answers.append(one.ask(sql)))
    thread.start()
    time.sleep(0.4)
    begin = time.monotonic()
    one.signal(signal.SIGTERM)
    thread.join()
    assert answers[0].status == 200, answers[0].data
    assert time.monotonic() - begin < 20
    assert "secret" not in one.log
    assert "Traceback" not in one.log
    one.start()
    assert one.text("SELECT count() FROM kept") == "150\n"
    one.signal(signal.SIGTERM)


def test_sigterm_ends_what_does_not_finish_in_time(new_gateway: Any) -> None:
    one = new_gateway()
    one.start("--stop-seconds", "1")
    one.text("CREATE TABLE endless (n UInt64) ENGINE = Null")
    source = "FROM numbers(1000000000000) WHERE sipHash64(number) = 1"

    def run(sql: str) -> None:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            one.ask(sql)

    statements = (f"SELECT number {source}", f"INSERT INTO endless SELECT number {source}")
    threads = [threading.Thread(target=run, args=(sql,), daemon=True) for sql in statements]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    begin = time.monotonic()
    assert one.signal(signal.SIGTERM) == 0
    assert time.monotonic() - begin < 10
