"""Launches jobs over Dagster's GraphQL API and follows them, as the UI does.

Belongs here: starting a run, waiting for it, and what it did. The demo and everything outside of Dagster go through
here, so that every run is a recorded one, in a process of its own. Does not belong here: which jobs there are (`jobs`).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import requests

LOCATION: Final = "retail_assets"
REPOSITORY: Final = "__repository__"
_TIMEOUT_SECONDS: Final = 30
_POLL_SECONDS: Final = 1.0
#: How long a run is followed while the webserver is away: a supervisor brings it back, and the run doesn't need it.
_PATIENCE_SECONDS: Final = 90.0
_DONE: Final = frozenset({"SUCCESS", "FAILURE", "CANCELED"})

_LAUNCH: Final = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PipelineNotFoundError { message }
    ... on UnauthorizedError { message }
  }
}
"""
_LEFT_OVER: Final = """
query LeftOver($filter: RunsFilter!) {
  runsOrError(filter: $filter) { __typename ... on Runs { results { runId } } ... on PythonError { message } }
}
"""
_END: Final = """
mutation End($runIds: [String!]!) {
  terminateRuns(runIds: $runIds, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) { __typename }
}
"""
_FOLLOW: Final = """
query Follow($runId: ID!, $cursor: String) {
  runOrError(runId: $runId) {
    __typename
    ... on Run {
      status startTime endTime
      eventConnection(afterCursor: $cursor, limit: 500) {
        cursor
        events {
          __typename
          ... on MaterializationEvent {
            timestamp stepKey assetKey { path } metadataEntries { label ... on IntMetadataEntry { intValue } }
          }
          ... on ExecutionStepStartEvent { timestamp stepKey }
          ... on ExecutionStepSuccessEvent { timestamp stepKey }
          ... on AssetCheckEvaluationEvent { evaluation { checkName assetKey { path } success severity description } }
          ... on ExecutionStepFailureEvent { stepKey error { message errorChain { error { message } } } }
          ... on RunFailureEvent { message }
        }
      }
    }
  }
}
"""


class LaunchError(Exception):
    """Dagster can't be reached, or refuses the run."""


class UnreachableError(LaunchError):
    """Dagster doesn't answer at all."""


class RunFailedError(Exception):
    """A run failed or was cancelled. The message names the step and the cause."""


@dataclass
class StepResult:
    """What one step of a run did.

    Attributes:
        name: asset or check, with slashes.
        seconds: from its start to its end.
        rows: rows of the asset afterwards; None where it has no such number.
        numbers: whole numbers that the asset tells of itself, by name.
    """

    name: str
    seconds: float = 0.0
    rows: int | None = None
    numbers: dict[str, int] = field(default_factory=dict)


@dataclass
class RunResult:
    """A run that ended well."""

    run_id: str
    job: str
    seconds: float
    steps: dict[str, StepResult] = field(default_factory=dict)

    def rows(self, asset: str) -> int:
        """Return the rows of an asset that the run made, such as `core/sales_lines`."""
        return next((step.rows or 0 for step in self.steps.values() if step.name == asset), 0)


class DagsterApi:
    """One Dagster webserver."""

    def __init__(self, url: str, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        """Say where.

        Args:
            url: such as `http://127.0.0.1:3000`.
            patience_seconds: how long a run is followed while the webserver doesn't answer.
        """
        self.url = url
        self._patience_seconds = patience_seconds

    def launch(self, job: str, *, tags: Mapping[str, str], run_config: Mapping[str, Any] | None = None) -> str:
        """Start a run and return its id.

        Raises:
            LaunchError: Dagster doesn't answer or refuses.
        """
        params = {
            "selector": {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY, "jobName": job},
            "runConfigData": dict(run_config or {}),
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        answer = self._ask(_LAUNCH, {"params": params})["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            why = answer.get("message") or "; ".join(error["message"] for error in answer.get("errors", []))
            raise LaunchError(f"Dagster refuses to start {job}: {why or answer['__typename']}")
        return str(answer["run"]["runId"])

    def end_left_over(self, tags: Mapping[str, str]) -> int:
        """End the runs with these tags that are not over, and return how many there were.

        After a crash of the whole stack nobody else ends them, and they would hold their place in the queue.

        Raises:
            LaunchError: Dagster doesn't answer.
        """
        chosen = {
            "statuses": ["QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"],
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        runs = self._ask(_LEFT_OVER, {"filter": chosen})["runsOrError"].get("results", [])
        if runs:
            self._ask(_END, {"runIds": [run["runId"] for run in runs]})
        return len(runs)

    def wait(self, run_id: str, job: str, on_step: Callable[[StepResult], None] = lambda _: None) -> RunResult:
        """Follow a run to its end.

        Args:
            run_id: the run.
            job: its job, for messages.
            on_step: called for each asset that was made.

        Raises:
            LaunchError: Dagster doesn't answer any more.
            RunFailedError: the run failed or was cancelled.
        """
        result = RunResult(run_id, job, 0.0)
        started: dict[str, float] = {}
        causes: list[str] = []
        cursor: str | None = None
        while True:
            run = self._ask_patiently(_FOLLOW, {"runId": run_id, "cursor": cursor})["runOrError"]
            if run["__typename"] != "Run":
                raise LaunchError(f"Dagster doesn't know run {run_id} of {job}")
            events = run["eventConnection"]["events"]
            cursor = run["eventConnection"]["cursor"]
            for event in events:
                self._note(event, result, started, causes, on_step)
            if run["status"] in _DONE and not events:
                break
            if not events:
                time.sleep(_POLL_SECONDS)
        if run["status"] != "SUCCESS":
            raise RunFailedError(
                f"{job} ended with {run['status']}: {'; '.join(causes) or 'no cause was recorded'}. "
                f"See {self.url}/runs/{run_id}"
            )
        result.seconds = (run["endTime"] or 0) - (run["startTime"] or 0)
        return result

    def _note(
        self,
        event: dict[str, Any],
        result: RunResult,
        started: dict[str, float],
        causes: list[str],
        on_step: Callable[[StepResult], None],
    ) -> None:
        match event["__typename"]:
            case "ExecutionStepStartEvent":
                started[event["stepKey"]] = float(event["timestamp"]) / 1000
            case "MaterializationEvent" if event["stepKey"] not in result.steps:
                # A run over many partitions records one event each, all with the same row count.
                numbers = {e["label"]: e["intValue"] for e in event["metadataEntries"] if e.get("intValue") is not None}
                name = "/".join(event["assetKey"]["path"])
                step = StepResult(name, rows=numbers.pop("dagster/row_count", None), numbers=numbers)
                result.steps[event["stepKey"]] = step
            case "ExecutionStepSuccessEvent":
                key = event["stepKey"]
                step = result.steps.setdefault(key, StepResult(key))
                step.seconds = float(event["timestamp"]) / 1000 - started.get(key, float(event["timestamp"]) / 1000)
                on_step(step)
            # A warning fails no run, so it is no cause.
            case "AssetCheckEvaluationEvent" if _is_error(event["evaluation"]):
                found = event["evaluation"]
                causes.append(
                    f"check {found['checkName']} of {'/'.join(found['assetKey']['path'])}: {found['description']}"
                )
            case "ExecutionStepFailureEvent":
                chain = [link["error"]["message"] for link in event["error"]["errorChain"]] or [
                    event["error"]["message"]
                ]
                causes.append(f"{event['stepKey']}: {_telling_line(chain[-1])}")
            case "RunFailureEvent" if not causes:
                # No step failed: the run's process is gone, or never came to life.
                causes.append(_telling_line(event["message"]))

    def _ask_patiently(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                return self._ask(query, variables)
            except UnreachableError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)

    def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        try:
            response = requests.post(
                f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=_TIMEOUT_SECONDS
            )
            answer = response.json()
        except (requests.RequestException, ValueError) as error:
            raise UnreachableError(
                f"Dagster at {self.url} doesn't answer ({type(error).__name__}): run `retail status`, "
                "start it with `retail up`"
            ) from error
        if answer.get("errors"):
            raise LaunchError(
                f"Dagster at {self.url} refuses the question ({_telling_line(answer['errors'][0]['message'])}): "
                "`retail doctor` looks for the cause, such as a full disk"
            )
        data: dict[str, Any] = answer["data"]
        return data


def _is_error(evaluation: Mapping[str, Any]) -> bool:
    return not evaluation["success"] and evaluation["severity"] == "ERROR"


def _telling_line(message: str) -> str:
    """Return the line of an error's text that says what is wrong: of a Python worker's traceback, the last."""
    lines = [line.strip() for line in message.splitlines() if line.strip()] or ["an error without a text"]
    return lines[-1] if any(line.startswith("Traceback") for line in lines) else lines[0]


def partition_tags(first: date, last: date) -> dict[str, str]:
    """Return the tags of a run over business dates `first` to `last`, both inclusive."""
    if first == last:
        return {"dagster/partition": str(first)}
    return {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
