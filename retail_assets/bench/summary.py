"""The arithmetic of the overhead benchmark: from seconds of single steps to the figures that are reported.

Pure functions. Does not belong here: how anything is timed, and how it is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Span:
    """When a step of a run began and ended, in seconds of any one clock."""

    step: str
    start: float
    end: float


@dataclass(frozen=True)
class StepSeconds:
    """One step, timed in the same rounds with and without Dagster.

    Attributes:
        step: key of the step.
        kind: `asset` or `check`.
        dagster: seconds in each round, as a step of a run.
        bare: seconds in each round of the same work alone.
    """

    step: str
    kind: str
    dagster: tuple[float, ...]
    bare: tuple[float, ...]

    @property
    def overheads(self) -> tuple[float, ...]:
        """What the step cost beyond its work, in each round."""
        return tuple(whole - work for whole, work in zip(self.dagster, self.bare, strict=True))


@dataclass(frozen=True)
class Overhead:
    """What one step, or many, cost beyond their own work.

    Attributes:
        step: key of the step, or what the steps are called together.
        kind: `asset`, `check` or `all`.
        dagster_seconds: median with Dagster; the sum of the steps' medians for many.
        bare_seconds: the same for the work alone.
        overhead_median: median of the differences of all rounds.
        overhead_max: the greatest of them.
        ratio: `dagster_seconds` over `bare_seconds`.
    """

    step: str
    kind: str
    dagster_seconds: float
    bare_seconds: float
    overhead_median: float
    overhead_max: float
    ratio: float


def charged_seconds(spans: Sequence[Span]) -> dict[str, float]:
    """Charge each step with its own time and with the pause before it, so that no time between steps is lost.

    Args:
        spans: the steps of one run, of which only one ran at a time.

    Returns:
        Seconds by step; the first is charged from its own start.

    Raises:
        ValueError: two steps ran at the same time.
    """
    seconds: dict[str, float] = {}
    before: float | None = None
    for span in sorted(spans, key=lambda one: (one.start, one.end)):
        if before is not None and span.start < before:
            raise ValueError(f"{span.step} began before the step in front of it ended")
        seconds[span.step] = span.end - (span.start if before is None else before)
        before = span.end
    return seconds


def overhead_of(step: StepSeconds) -> Overhead:
    """Return the figures of one step.

    Raises:
        ValueError: the step was never timed, or not as often with Dagster as without.
    """
    return _overhead(step.step, step.kind, [step])


def overhead_of_all(steps: Sequence[StepSeconds]) -> Overhead:
    """Return the figures of all steps together; median and maximum are over every step of every round.

    Raises:
        ValueError: nothing was timed.
    """
    return _overhead("all steps", "all", steps)


def milliseconds_per_partition(many: Sequence[float], one: Sequence[float], partitions: int) -> float:
    """Return what each further partition of a run costs.

    Args:
        many: seconds of runs with `partitions` partitions.
        one: seconds of runs with one partition.
        partitions: how many the long runs had.

    Raises:
        ValueError: the long runs had no further partition, or nothing was timed.
    """
    if partitions <= 1 or not many or not one:
        raise ValueError("needs runs with one partition and runs with more")
    return (median(many) - median(one)) / (partitions - 1) * 1000


def _overhead(name: str, kind: str, steps: Sequence[StepSeconds]) -> Overhead:
    overheads = [overhead for step in steps for overhead in step.overheads]
    if not overheads:
        raise ValueError(f"{name}: nothing was timed")
    whole = sum(median(step.dagster) for step in steps)
    work = sum(median(step.bare) for step in steps)
    return Overhead(
        step=name,
        kind=kind,
        dagster_seconds=whole,
        bare_seconds=work,
        overhead_median=median(overheads),
        overhead_max=max(overheads),
        ratio=whole / work,
    )
