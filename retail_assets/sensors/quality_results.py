"""Brings what checks found to the warehouse, for people who don't open Dagster.

Results are read from Dagster's event log when a run has ended, however it ended. The alternative, a helper through
which each check writes its own row, would need the warehouse in jobs that have no other use for it, and would lose
rows: those of a run that is killed between check and write, and all of them while the warehouse is away. Here a
warehouse that is away fails nothing. The tick says so, the cursor stays, and the next tick writes what has waited. A
tick that dies after writing writes the same rows again, and they replace themselves.

Does not belong here: what a check says (`checks.results`), and the table (`infra/clickhouse/ddl`).
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

from retail_assets.checks.results import EXPECTED, OBSERVED, THRESHOLD
from retail_assets.checks.scope import dates_of_run
from retail_assets.io_managers.clickhouse import describe
from retail_assets.resources.clickhouse import ClickHouseError, ClickHouseResource, WarehouseError, passes

TABLE: Final = "quality_results"
#: In the order of the table.
COLUMNS: Final = (
    "asset",
    "check_name",
    "partition",
    "run_id",
    "job",
    "passed",
    "severity",
    "is_blocking",
    "is_measured",
    "observed",
    "expected",
    "threshold",
    "sentence",
    "evaluated_at",
)
_ENDS: Final = (dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED)
#: Runs of each kind of end that one tick takes, and results that are read at once.
_RUNS_PER_TICK: Final = 25
_PAGE: Final = 500


def result_row(run: dg.DagsterRun, evaluation: dg.AssetCheckEvaluation, at: datetime) -> tuple[Any, ...]:
    """Return a check's result as a row of the warehouse, in the order of `COLUMNS`.

    Args:
        run: that the check belongs to.
        evaluation: what it found.
        at: when.
    """
    window = dates_of_run(run.tags)
    partition = "" if window is None else str(window.first)
    if window is not None and window.last != window.first:
        partition = f"{window.first} to {window.last}"
    numbers = [_number(evaluation.metadata, name) for name in (OBSERVED, EXPECTED, THRESHOLD)]
    is_measured = all(number is not None for number in numbers)
    return (
        "/".join(evaluation.asset_key.path),
        evaluation.check_name,
        partition,
        run.run_id,
        run.job_name,
        evaluation.passed,
        "warning" if evaluation.severity is dg.AssetCheckSeverity.WARN else "error",
        bool(evaluation.blocking),
        is_measured,
        *(number if is_measured and number is not None else 0.0 for number in numbers),
        evaluation.description or "",
        at,
    )


def _number(metadata: Mapping[str, Any], name: str) -> float | None:
    value = getattr(metadata.get(name), "value", None)
    return float(value) if isinstance(value, int | float) else None


def results_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Iterator[tuple[Any, ...]]:
    """Yield the row of each check that a run evaluated."""
    cursor: str | None = None
    while True:
        page = instance.get_records_for_run(
            run.run_id, cursor=cursor, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION, limit=_PAGE
        )
        for record in page.records:
            event = record.event_log_entry.dagster_event
            if event is not None:
                at = datetime.fromtimestamp(record.event_log_entry.timestamp, tz=UTC)
                yield result_row(run, event.asset_check_evaluation_data, at)
        if not page.has_more:
            return
        cursor = page.cursor


def evaluate(context: dg.SensorEvaluationContext, clickhouse: ClickHouseResource) -> dg.SensorResult:
    """Write the results of the runs that have ended since the last tick.

    Args:
        context: of the tick; its cursor holds how far the log was read, by kind of end. Without it everything is
            written once more.
        clickhouse: where to.

    Raises:
        WriteError: the warehouse lacks the table.
        ClickHouseError: the warehouse answers and refuses.
    """
    seen: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
    runs: dict[str, dg.DagsterRun] = {}
    for end in _ENDS:
        found = context.instance.fetch_run_status_changes(
            end, cursor=seen.get(end.value), ascending=True, limit=_RUNS_PER_TICK
        )
        for record in found.records:
            run = context.instance.get_run_by_id(record.run_id)
            if run is not None:
                runs[run.run_id] = run
        seen[end.value] = found.cursor
    rows = [row for run in runs.values() for row in results_of(context.instance, run)]
    if rows:
        try:
            with clickhouse.client(f"{len(rows)} results of checks") as client:
                describe(client, clickhouse.database, TABLE)
                client.insert(TABLE, rows, column_names=COLUMNS)
        except (WarehouseError, ClickHouseError) as error:
            if not passes(error):
                raise
            return dg.SensorResult(
                skip_reason=f"{len(rows)} results of checks wait for the warehouse: {str(error).splitlines()[0]}",
                cursor=context.cursor,
            )
    cursor = json.dumps(seen, sort_keys=True)
    return dg.SensorResult(skip_reason=f"wrote {len(rows)} results of {len(runs)} runs", cursor=cursor)


def quality_results_sensor() -> dg.SensorDefinition:
    """Return the sensor. It starts no runs, so it is on from the start in every mode."""

    @dg.sensor(
        name="quality_results_sensor",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Writes what the checks of ended runs found to {TABLE} in the warehouse. Starts nothing.",
    )
    def sensor(context: dg.SensorEvaluationContext, clickhouse: ClickHouseResource) -> dg.SensorResult:
        return evaluate(context, clickhouse)

    return sensor
