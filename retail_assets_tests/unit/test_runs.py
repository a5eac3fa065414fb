"""What is said of a run that ended badly, from what Dagster records of it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from retail_assets.runs import DagsterApi, LaunchError, RunFailedError

SPARK_SAYS = """
  An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "worker.py", line 7, in judge
    raise ValueError(...)
ValueError: 3 rows have no price
"""


class Webserver:
    """Answers each question about a run with the next of the prepared lists of events."""

    def __init__(self) -> None:
        """Listen on a free port."""
        self.events: list[list[dict[str, Any]]] = []
        self.status = "FAILURE"
        self.away = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                if owner.away:
                    owner.away -= 1
                    return
                events = owner.events.pop(0) if owner.events else []
                run = {"__typename": "Run", "status": owner.status, "startTime": 1.0, "endTime": 3.5}
                run["eventConnection"] = {"cursor": "c", "events": events}
                answer = json.dumps({"data": {"runOrError": run}}).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def webserver() -> Iterator[Webserver]:
    fake = Webserver()
    thread = threading.Thread(target=fake.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    fake.server.shutdown()
    thread.join()
    fake.server.server_close()


def failed_step(message: str) -> dict[str, Any]:
    error = {"message": "op failed", "errorChain": [{"error": {"message": message}}]}
    return {"__typename": "ExecutionStepFailureEvent", "stepKey": "core__sales_lines", "error": error}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("LakeError: the table is gone\nand more", "core__sales_lines: LakeError: the table is gone"),
        (SPARK_SAYS, "core__sales_lines: ValueError: 3 rows have no price"),
        ("", "core__sales_lines: an error without a text"),
    ],
)
def test_a_failed_step_is_named_with_the_line_that_tells(webserver: Webserver, message: str, said: str) -> None:
    webserver.events = [[failed_step(message), {"__typename": "RunFailureEvent", "message": "Steps failed."}]]
    with pytest.raises(RunFailedError) as error:
        DagsterApi(webserver.url).wait("abc", "daily_etl")
    assert str(error.value) == f"daily_etl ended with FAILURE: {said}. See {webserver.url}/runs/abc"


def test_a_run_whose_process_vanished_says_what_dagster_says(webserver: Webserver) -> None:
    webserver.events = [[{"__typename": "RunFailureEvent", "message": "run worker failed: process 77 is gone"}]]
    with pytest.raises(RunFailedError, match="run worker failed: process 77 is gone"):
        DagsterApi(webserver.url).wait("abc", "daily_etl")


def test_a_check_that_only_warns_is_no_cause_of_a_failure(webserver: Webserver) -> None:
    def check(name: str, severity: str) -> dict[str, Any]:
        said = {"checkName": name, "assetKey": {"path": ["core", "lines"]}, "description": f"{name} says no"}
        return {
            "__typename": "AssetCheckEvaluationEvent",
            "evaluation": said | {"success": False, "severity": severity},
        }

    webserver.events = [[check("fresh", "WARN"), check("contract", "ERROR")]]
    with pytest.raises(RunFailedError) as error:
        DagsterApi(webserver.url).wait("abc", "daily_etl")
    assert "FAILURE: check contract of core/lines: contract says no. See" in str(error.value)


def test_a_run_that_ended_well_tells_rows_and_seconds(webserver: Webserver) -> None:
    webserver.status = "SUCCESS"
    entries = [{"label": "dagster/row_count", "intValue": 12}, {"label": "files", "intValue": 3}, {"label": "note"}]
    made = {"__typename": "MaterializationEvent", "stepKey": "s", "assetKey": {"path": ["core", "lines"]}}
    webserver.events = [
        [{"__typename": "ExecutionStepStartEvent", "stepKey": "s", "timestamp": "1000"}],
        [{**made, "timestamp": "2000", "metadataEntries": entries}],
        [{"__typename": "ExecutionStepSuccessEvent", "stepKey": "s", "timestamp": "2500"}],
    ]
    result = DagsterApi(webserver.url).wait("abc", "daily_etl")
    assert (result.rows("core/lines"), result.seconds, result.steps["s"].seconds) == (12, 2.5, 1.5)
    assert result.steps["s"].numbers == {"files": 3}


def test_a_dagster_that_is_away_is_named_with_the_command_that_starts_it() -> None:
    with pytest.raises(LaunchError, match="start it with `retail up`"):
        DagsterApi("http://127.0.0.1:1", patience_seconds=0).wait("abc", "daily_etl")


def test_a_webserver_that_comes_back_is_waited_for(webserver: Webserver) -> None:
    webserver.status, webserver.away = "SUCCESS", 1
    assert DagsterApi(webserver.url).wait("abc", "daily_etl").seconds == 2.5
