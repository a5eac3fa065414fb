"""A real gateway in a process of its own, on a free port and an empty data folder.

Belongs here: starting and stopping gateways, and speaking plain HTTP to them. Does not belong here: expectations.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import pytest
import urllib3
from clickhouse_connect.driver.client import Client

PASSWORDS = {"etl": "secret-of-etl", "bi_reader": "secret-of-the-reader"}
START_SECONDS = 30


@dataclass
class GatewayProcess:
    """A gateway to test, with the folders it runs on."""

    folder: Path
    port: int
    process: "subprocess.Popen[str] | None" = None
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(maxsize=64, retries=False))

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def secrets_dir(self) -> Path:
        return self.folder / "secrets"

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    def command(self, *more: str) -> list[str]:
        return [
            sys.executable, "-m", "retail_local.gateway", "--port", str(self.port), "--data-dir", str(self.data_dir),
            "--secrets-dir", str(self.secrets_dir), "--log-level", "debug", *more,
        ]  # fmt: skip

    def start(self, *more: str) -> None:
        with (self.folder / "gateway.log").open("a") as log:
            self.process = subprocess.Popen(self.command(*more), stderr=log, stdout=log, text=True)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the gateway stopped at once: {self.log}")
            try:
                if self.http.request("GET", f"{self.url}/ping").data == b"Ok.\n":
                    return
            except urllib3.exceptions.HTTPError:
                time.sleep(0.05)
        raise RuntimeError(f"the gateway did not come up: {self.log}")

    def signal(self, number: signal.Signals) -> int:
        assert self.process is not None
        os.kill(self.process.pid, number)
        return self.process.wait(timeout=40)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        sql: str | bytes = b"",
        user: str | None = "etl",
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> urllib3.BaseHTTPResponse:
        """Send one request without any help of a client library; the body is not decompressed."""
        credentials = {"X-ClickHouse-User": user, "X-ClickHouse-Key": PASSWORDS[user]} if user else {}
        return self.http.request(
            method,
            f"{self.url}/?{urlencode(params)}",
            body=sql.encode() if isinstance(sql, str) else sql,
            headers={**credentials, **(headers or {})},
            decode_content=False,
        )

    def text(self, sql: str | bytes, user: str = "etl", **params: Any) -> str:
        """Return the answer of a statement that must succeed."""
        answer = self.ask(sql, user, **params)
        assert answer.status == 200, answer.data.decode()
        return answer.data.decode()

    def client(self, user: str = "etl", **options: Any) -> Client:
        return clickhouse_connect.get_client(
            host="127.0.0.1", port=self.port, username=user, password=PASSWORDS[user], **options
        )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def new_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Make gateways on empty folders; all are stopped at the end."""
    made: list[GatewayProcess] = []

    def make() -> GatewayProcess:
        one = GatewayProcess(tmp_path_factory.mktemp("gateway"), free_port())
        one.secrets_dir.mkdir()
        for user, password in PASSWORDS.items():
            (one.secrets_dir / f"clickhouse_{user}").write_text(password + "\n")
        made.append(one)
        return one

    yield make
    for one in made:
        if one.process is not None and one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture(scope="session")
def gateway(new_gateway: Any) -> GatewayProcess:
    """One gateway for all tests that do not stop it, with a small table that the reader sees."""
    one: GatewayProcess = new_gateway()
    one.start()
    one.text("CREATE DATABASE retail")
    one.text("CREATE TABLE retail.stock (store UInt32, product String, units Int64) ENGINE = MergeTree ORDER BY store")
    one.text("INSERT INTO retail.stock VALUES (1, 'tea', 5), (1, 'milk', 7), (2, 'tea', 9)")
    one.text("CREATE VIEW retail.v_stock AS SELECT product, sum(units) AS units FROM retail.stock GROUP BY product")
    return one
