"""One user of the demo, with folders and ports of their own: what the tests of the demo share."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import clickhouse_connect
import psutil
from clickhouse_connect.driver.client import Client

from retail_local.ports import free_ports

SMALL = ["--stores", "2", "--products", "15", "--days", "120"]
COUNTS = (
    "events_produced",
    "events_in_raw",
    "dead_letters",
    "sales_lines_in_core",
    "core_units",
    "fact_sales_units",
    "series",
    "forecast_rows",
    "reorder_rows",
)


class Demo:
    """One user's demo, with folders and ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = ("RETAIL_KAFKA_PORT", "RETAIL_KAFKA_CONTROLLER_PORT", "RETAIL_CLICKHOUSE_PORT", "RETAIL_DAGSTER_PORT")
        ports = dict(zip(names, map(str, free_ports(len(names))), strict=True))
        self.environment = {**os.environ, **ports, "RETAIL_VAR_DIR": str(folder)}
        self.log = folder.parent / "demo.log"

    def retail(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "retail_assets.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "retail_assets.cli", "demo", *SMALL]
        with self.log.open("wb") as log:
            return subprocess.Popen(command, env=self.environment, stdout=log, stderr=subprocess.STDOUT)

    def run(self) -> dict[str, Any]:
        ended = self.start().wait()
        assert ended == 0, self.log.read_text()
        return self.report()

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.folder / "reports" / "demo.json").read_text())
        return report

    def reader(self) -> Client:
        """Return a connection of the reader's, from outside of the platform."""
        return clickhouse_connect.get_client(
            host="127.0.0.1",
            port=int(self.environment["RETAIL_CLICKHOUSE_PORT"]),
            username="bi_reader",
            password=(self.folder / "secrets" / "clickhouse_bi_reader").read_text().strip(),
            database="retail",
        )

    def wait_for(self, text: str, process: subprocess.Popen[bytes]) -> None:
        while text not in self.log.read_text():
            assert process.poll() is None, self.log.read_text()
            time.sleep(0.1)

    def pid_of(self, service: str) -> int:
        status = json.loads(self.retail("status", "--json").stdout)
        services = status["services"] if isinstance(status, dict) else status
        return int(next(one["pid"] for one in services if one["name"] == service))

    def run_process(self) -> int | None:
        """Return the process of the Dagster run in progress."""
        marker = f"RETAIL_STACK={self.folder}"
        for process in psutil.process_iter(["pid", "cmdline"]):
            try:
                line = " ".join(process.info["cmdline"] or [])
                spark_driver = "java" in line and "pyspark-shell" in line
                if spark_driver and process.environ().get("RETAIL_STACK") == marker.split("=", 1)[1]:
                    return int(process.ppid())
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return None
