"""The streaming service as the benchmark starts, follows and ends it: a process of its own.

Does not belong here: what is measured (`streaming`).
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from retail_assets.bench.errors import BenchError
from retail_assets.bench.waiting import until
from retail_assets.settings import Settings, settings_of_children

#: The queries that share the messages among them.
LIVE_PICTURE: Final = ("sales", "inventory", "tills")
#: It reads all messages once more.
LETTERS: Final = ("dead_letters",)


@dataclass(frozen=True)
class Waited:
    """How long queries took to finish with all messages.

    Attributes:
        picture_s: those that make the live picture, seconds.
        letters_s: the query that looks for dead letters, seconds; it lets messages wait for some while they are few.
    """

    picture_s: float
    letters_s: float


@dataclass
class Service:
    """`retail-streaming run` in a folder of its own, followed by what it logs."""

    folder: Path
    settings: Settings
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def _log(self) -> Path:
        return self.folder / "service.log"

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self.process is not None  # noqa: S101 -- asked after the start
        return self.process.pid

    def start(self, checkpoints: str) -> None:
        """Start it, with checkpoints of its own."""
        own = {
            "var_dir": str(self.settings.var_dir),
            "kafka_port": str(self.settings.kafka_port),
            "clickhouse_port": str(self.settings.clickhouse_port),
            "stream_checkpoint_uri": (self.folder / checkpoints).as_uri(),
            # Another service may have the port.
            "stream_http_port": "0",
        }
        with self._log.open("wb") as out, (self.folder / "service.err").open("wb") as err, settings_of_children(own):
            self.process = subprocess.Popen(
                [sys.executable, "-m", "retail_streaming", "run"], cwd=self.folder, stdout=out, stderr=err
            )

    def stop(self) -> None:
        """End it well."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=90)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return its log lines of one kind.

        Raises:
            BenchError: it has ended.
        """
        if self.process is not None and self.process.poll() is not None:
            raise BenchError(f"the service ended: {(self.folder / 'service.err').read_text()[-2000:]}")
        text = self._log.read_text(encoding="utf-8")
        whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in map(json.loads, whole) if line["event"] == event]

    def messages_read(self, queries: tuple[str, ...] = LIVE_PICTURE) -> int:
        """Return how many messages some queries have finished with."""
        return sum(line["rows_in"] for line in self.lines("batch") if line["query"] in queries)

    def wait_until_started(self) -> None:
        """Wait until all queries run."""
        until(lambda: bool(self.lines("service started")), "the service doesn't start")

    def wait_for(self, messages: int) -> "Waited":
        """Wait until all queries have finished with so many messages; return how long that took."""
        began = time.monotonic()
        took = []
        for queries in (LIVE_PICTURE, LETTERS):
            until(
                lambda queries=queries: self.messages_read(queries) >= messages,  # type: ignore[misc]
                f"{', '.join(queries)}: the service doesn't get to {messages:,} messages",
            )
            took.append(time.monotonic() - began)
        return Waited(*took)


@contextmanager
def running_service(own: Settings) -> Iterator[Service]:
    """Start the service, yield it, and end it."""
    with tempfile.TemporaryDirectory(prefix="retail-bench-service-") as folder:
        service = Service(Path(os.path.realpath(folder)), own)
        service.start("checkpoints")
        try:
            yield service
        finally:
            service.stop()
