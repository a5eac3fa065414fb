"""The first program of the Dagster service: ends what the last Dagster left open, and becomes `dagster dev`.

Runs are processes below Dagster's code server, and the launcher ends all that are left of them before it starts this
program. A run that Dagster still takes for running is therefore lost: it would keep its place in the queue, and with it
every later run, for hours. Belongs here: that, and nothing that `dagster dev` does itself.
"""

import logging
import os
import sys
from typing import Final

import dagster as dg

_IN_PROGRESS: Final = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_LOST: Final = "Its process ended when Dagster was stopped, killed, or the machine was. Launching it again is safe."


def end_lost_runs(instance: dg.DagsterInstance) -> int:
    """Record every run that was in progress as failed, and return how many there were. Queued ones stay queued."""
    lost = instance.get_runs(dg.RunsFilter(statuses=_IN_PROGRESS))
    for run in lost:
        instance.report_run_failed(run, _LOST)
    return len(lost)


def main() -> None:
    """Become `dagster` with the arguments given."""
    try:
        with dg.DagsterInstance.get() as instance:
            count = end_lost_runs(instance)
        if count:
            print(f"{count} runs that an earlier Dagster had begun are recorded as failed", flush=True)
    except Exception:
        # Dagster itself will say what is wrong with its storage; without a webserver nobody would see it.
        logging.getLogger(__name__).exception("runs of an earlier Dagster could not be ended")
    os.execv(sys.executable, [sys.executable, "-m", "dagster", *sys.argv[1:]])  # noqa: S606 -- as the launcher does


if __name__ == "__main__":
    main()
