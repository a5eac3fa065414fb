"""What an orchestrator is told, over HTTP."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from retail_assets_tests.asking import ask
from retail_local.ports import free_ports
from retail_streaming.errors import StreamingError, TransientError
from retail_streaming.health import TURN_SECONDS, Health
from retail_streaming.http_server import HttpServer
from retail_streaming.metrics import Metrics
from retail_streaming.progress import Batch
from retail_streaming.spill import Spill
from retail_streaming.supervision import SupervisedQuery


class FakeStream:
    isActive = True  # noqa: N815 -- Spark's name


class Site:
    """A service of two queries as its operator sees it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.now = 1000.0
        self.held_up: StreamingError | None = None
        self.spill = Spill(folder, 1)
        self.health = Health(self.spill, lambda: self.now)
        self.metrics = Metrics()
        self.metrics.watch_spill(self.spill)
        self.queries = {name: self._query(name) for name in ("sales", "tills")}
        self.server = HttpServer("127.0.0.1", port, self.health, self.metrics)

    def _query(self, name: str) -> SupervisedQuery[FakeStream]:
        query = SupervisedQuery(name, FakeStream, lambda _: StreamingError("messages were lost"), restarts=1)
        self.health.watch_query(query, lambda: self.held_up)
        self.metrics.watch_query(query)
        query.start(self.now)
        return query

    def ask(self, path: str) -> tuple[int, dict[str, Any]]:
        status, text = self.get(path)
        return status, json.loads(text)

    def get(self, path: str) -> tuple[int, str]:
        return ask(self.port, path)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, free_ports(1)[0])
    yield made
    made.server.close()


def in_order(site: Site) -> None:
    site.health.turned()
    for name in site.queries:
        site.health.idle(name)


def test_it_is_alive_while_it_starts_but_not_ready(site: Site) -> None:
    site.now += 10 * TURN_SECONDS
    assert site.ask("/healthz") == (200, {"status": "starting"})
    assert site.ask("/readyz")[0] == 503


def test_it_is_ready_when_each_query_has_had_a_batch_or_nothing_to_do(site: Site) -> None:
    site.health.turned()
    status, body = site.ask("/readyz")
    assert status == 503
    assert body["queries"]["tills"] == {"state": "running", "why": "no batch has ended yet"}
    in_order(site)
    assert site.ask("/readyz") == (
        200,
        {
            "status": "ready",
            "phase": "running",
            "queries": {"sales": {"state": "running"}, "tills": {"state": "running"}},
            "spill": {"files": 0, "bytes": 0},
        },
    )


def test_a_failed_query_is_named_with_the_reason_and_the_service_is_still_alive(site: Site) -> None:
    in_order(site)
    stream = site.queries["tills"].stream
    assert stream is not None
    stream.isActive = False
    site.queries["tills"].look(site.now)
    status, body = site.ask("/readyz")
    assert status == 503
    assert body["queries"] == {"sales": {"state": "running"}, "tills": {"state": "failed", "why": "messages were lost"}}
    assert site.ask("/healthz") == (200, {"status": "running"})
    assert 'retail_stream_query_up{query="tills"} 0.0' in site.get("/metrics")[1]


def test_a_batch_that_waits_for_the_warehouse_is_not_ready_and_says_why(site: Site) -> None:
    in_order(site)
    site.held_up = TransientError("the warehouse doesn't answer")
    status, body = site.ask("/readyz")
    assert status == 503
    assert body["queries"]["sales"]["why"] == "the warehouse doesn't answer"


BOTH = ("sales", "tills")


def test_tables_are_what_they_should_be_when_their_queries_keep_up(site: Site) -> None:
    assert site.health.behind(BOTH) == "the service is starting"
    site.health.turned()
    assert site.health.behind(BOTH) == "sales: no batch has ended yet; tills: no batch has ended yet"
    in_order(site)
    assert site.health.behind(BOTH) is None
    batch = Batch(
        query="sales",
        number=1,
        rows_in=9,
        left_out={},
        rows_out=3,
        milliseconds=120,
        waited=0.5,
        lag=7,
        newest_event=None,
        watermark=None,
        state_rows=0,
        state_bytes=0,
    )
    site.health.batch(batch)
    assert site.health.behind(BOTH) == "sales has 7 messages to read"
    site.health.batch(replace(batch, lag=0))
    assert site.health.behind(BOTH) is None
    site.held_up = TransientError("away")
    assert site.health.behind(BOTH) == "sales: away; tills: away"
    assert site.health.behind(["stock"]) == "stock doesn't run"


def test_a_query_that_failed_puts_only_its_own_tables_behind(site: Site) -> None:
    in_order(site)
    stream = site.queries["tills"].stream
    assert stream is not None
    stream.isActive = False
    site.queries["tills"].look(site.now)
    assert site.health.behind(["sales"]) is None
    assert site.health.behind(["tills"]) == "tills: messages were lost"


def test_rows_that_wait_on_the_disk_are_missing_in_the_tables_also_when_the_warehouse_answers_again(site: Site) -> None:
    in_order(site)
    rows = pa.table({"n": [1]})
    assert site.spill.save("sales", "rt_revenue_hourly", 1, rows)
    assert site.spill.save("sales", "rt_sales_velocity", 1, rows)
    assert site.health.behind(["tills"]) == "the warehouse is away"
    inserted: list[str] = []

    def one_alone(table: str, _: pa.Table) -> None:
        if inserted:
            raise TransientError("away again")
        inserted.append(table)

    with pytest.raises(TransientError):
        site.spill.drain(one_alone)
    assert not site.spill.active
    assert site.health.behind(["sales"]) == "rows of sales wait on the disk"
    assert site.health.behind(["tills"]) is None
    site.spill.drain(lambda _table, _rows: None)
    assert site.health.behind(BOTH) is None


def test_spilling_is_said(site: Site) -> None:
    in_order(site)
    assert site.spill.save("sales", "rt_revenue_hourly", 1, pa.table({"n": [1]}))
    status, body = site.ask("/readyz")
    assert status == 503
    assert body["status"] == "spilling"
    assert body["spill"] == {"files": 1, "bytes": site.spill.bytes}
    metrics = site.get("/metrics")[1]
    assert "retail_stream_spilling 1.0" in metrics
    assert "retail_stream_spill_files 1.0" in metrics


def test_a_loop_that_no_longer_turns_is_not_alive(site: Site) -> None:
    in_order(site)
    site.now += TURN_SECONDS + 1
    status, body = site.ask("/healthz")
    assert status == 503
    assert "has not turned for 61 seconds" in body["reason"]
    site.health.stopping()
    assert site.ask("/healthz") == (200, {"status": "stopping"})


def test_another_path_is_told_which_there_are(site: Site) -> None:
    status, body = site.ask("/")
    assert status == 404
    assert body["paths"] == ["/healthz", "/readyz", "/metrics"]


def test_a_port_that_is_taken_is_one_line_that_names_the_setting(site: Site) -> None:
    with pytest.raises(StreamingError, match=rf"127\.0\.0\.1:{site.port} .*RETAIL_STREAM_HTTP_PORT") as caught:
        HttpServer("127.0.0.1", site.port, site.health, site.metrics)
    assert "\n" not in str(caught.value)
