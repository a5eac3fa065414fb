"""Whether a run is under way, asked in one way by all sensors."""

from collections.abc import Mapping
from typing import Final

import dagster as dg

_ACTIVE: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def active_run(
    instance: dg.DagsterInstance, *, job_name: str | None = None, tags: Mapping[str, str] | None = None
) -> dg.DagsterRun | None:
    """Return a run of a job, or with all of some tags, that waits or works; None where there is none."""
    found = instance.get_runs(dg.RunsFilter(job_name=job_name, tags=dict(tags or {}), statuses=_ACTIVE), limit=1)
    return found[0] if found else None
