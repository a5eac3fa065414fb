"""What every check says: the same numbers under the same names, and a sentence.

`quality_results` in the warehouse has a column for each of them. Does not belong here: what is checked.
"""

from collections.abc import Mapping
from typing import Any, Final

import dagster as dg
import polars as pl

OBSERVED: Final = "observed"
EXPECTED: Final = "expected"
THRESHOLD: Final = "threshold"
#: How many of the worst offenders are named; the rest is counted.
NAMED: Final = 20


def result(
    *,
    passed: bool,
    sentence: str,
    warns: bool = False,
    observed: float | None = None,
    expected: float | None = None,
    threshold: float | None = None,
    worst: pl.DataFrame | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dg.AssetCheckResult:
    """Return a check's result.

    Args:
        passed: whether all is well.
        sentence: what was found, in words, also when all is well.
        warns: whether a failure is a warning; else it is an error.
        observed: the number that was looked at.
        expected: what it should be.
        threshold: how far it may stray, or what it may reach.
        worst: the worst offenders, worst first; the first ones are shown.
        metadata: what else people want to see.
    """
    numbers = {OBSERVED: observed, EXPECTED: expected, THRESHOLD: threshold}
    shown: dict[str, Any] = {name: float(value) for name, value in numbers.items() if value is not None}
    if worst is not None and not worst.is_empty():
        shown["worst"] = dg.MetadataValue.md(_as_markdown(worst.head(NAMED)))
        shown["offenders"] = worst.height
    return dg.AssetCheckResult(
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        metadata={**shown, **(metadata or {})},
        description=sentence,
    )


def _as_markdown(frame: pl.DataFrame) -> str:
    rows = [[f"{value:,.4g}" if isinstance(value, float) else str(value) for value in row] for row in frame.iter_rows()]
    lines = [frame.columns, ["---"] * frame.width, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
