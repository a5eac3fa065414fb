"""The overhead benchmark at its smallest. What is asked of its times is only that they are times."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

SMALLEST = ["--steps", "1", "--repeats", "1", "--warm-ups", "1", "--partitions", "2"]


@pytest.mark.long
def test_the_benchmark_reports_every_step_and_one_spark_application(tmp_path: Path) -> None:
    # A process of its own: it brings its own Spark session, and the tests' session stays as it is.
    done = subprocess.run(
        [sys.executable, "-m", "retail_assets.cli", "bench", "overhead", *SMALLEST],
        env={**os.environ, "RETAIL_VAR_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Spark applications in a run: 1" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["reports"], "it leaves nothing but its report"

    report = json.loads((tmp_path / "reports" / "bench_overhead.json").read_text())
    assert report["spark_applications_per_run"] == 1
    assert {step["step"]: step["kind"] for step in report["steps"]} == {
        "reference__products": "asset",
        "core__sales_lines": "asset",
        "core__sales_lines_contract": "check",
    }
    for figures in (*report["steps"], report["all_steps"]):
        assert figures["dagster_seconds"] > 0
        assert figures["bare_seconds"] > 0
        assert figures["overhead_max"] >= figures["overhead_median"]
    assert report["run_seconds_outside_steps"] > 0
    assert isinstance(report["event_log_ms_per_partition_in_step"], float)
    assert isinstance(report["event_log_ms_per_partition_in_run"], float)
    assert report["machine"]["cores"] >= 1
    assert report["machine"]["memory_gb"] > 0
    assert "version" in report["machine"]["java"]
    assert report["sizes"] == {"steps": 1, "repeats": 1, "warm_ups": 1, "partitions": 2}
