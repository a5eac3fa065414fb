"""What the Dagster service does before it becomes Dagster."""

import dagster as dg

from retail_local.dagster_dev import end_lost_runs


@dg.job
def nothing() -> None:
    """Do nothing."""


def test_runs_whose_process_is_lost_are_recorded_as_failed_and_others_stay() -> None:
    status = dg.DagsterRunStatus
    with dg.DagsterInstance.ephemeral() as instance:
        ids = {
            before: instance.create_run_for_job(nothing, status=before).run_id
            for before in (status.NOT_STARTED, status.STARTING, status.STARTED, status.CANCELING, status.SUCCESS)
        }
        assert end_lost_runs(instance) == 3
        after = {before: instance.get_run_by_id(run_id).status for before, run_id in ids.items()}
        assert after == {
            status.NOT_STARTED: status.NOT_STARTED,
            status.STARTING: status.FAILURE,
            status.STARTED: status.FAILURE,
            status.CANCELING: status.FAILURE,
            status.SUCCESS: status.SUCCESS,
        }
        assert end_lost_runs(instance) == 0
