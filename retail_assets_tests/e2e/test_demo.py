"""The demo as a user runs it, and what happens when parts of it are killed on the way."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from retail_assets_tests.e2e.demo_user import COUNTS, SMALL, Demo

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.timeout(900)]

README = Path(__file__).resolve().parents[2] / "README.md"
MARTS = (
    "dim_date",
    "dim_store",
    "dim_product",
    "dim_supplier",
    "v_sales",
    "v_inventory",
    "v_forecast",
    "v_reorder",
    "v_demand_features",
)


def rows_of_marts(client: Client) -> dict[str, int]:
    """Return how many rows each mart shows."""
    return {mart: int(str(client.command(f"SELECT count() FROM {mart}"))) for mart in MARTS}


def remove(demo: Demo, *pieces: str) -> None:
    """Remove what a user might from the folder of a demo that is down."""
    assert demo.retail("down").returncode == 0
    for piece in pieces:
        shutil.rmtree(demo.folder / piece)


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with tempfile.TemporaryDirectory(prefix="retail-demo-") as folder:
        user = Demo(Path(folder).resolve() / "var")
        yield user
        ended = user.retail("down")
        assert ended.returncode == 0, ended.stderr


@pytest.mark.long
def test_a_demo_whose_run_is_killed_fails_with_the_job_in_the_message(demo: Demo) -> None:
    process = demo.start()
    demo.wait_for("marts/dim_date", process)
    while (pid := demo.run_process()) is None:
        assert process.poll() is None, demo.log.read_text()
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    assert process.wait() == 1
    assert "Error: daily_etl ended with FAILURE" in demo.log.read_text()
    assert "Traceback" not in demo.log.read_text()


def test_a_demo_whose_broker_is_killed_goes_on_or_says_so_in_one_line(demo: Demo) -> None:
    process = demo.start()
    demo.wait_for("tills", process)
    os.kill(demo.pid_of("kafka"), signal.SIGKILL)
    # The message that names the job comes after the tills; the run then has nothing left to lose here.
    while process.poll() is None and "daily_etl" not in demo.log.read_text():
        time.sleep(0.1)
    process.terminate()
    assert process.wait() == 1
    assert "Traceback" not in demo.log.read_text()
    assert "Error:" in demo.log.read_text()


def test_a_second_demo_in_the_folder_is_refused_and_an_interrupted_one_says_how_to_go_on(demo: Demo) -> None:
    process = demo.start()
    demo.wait_for("daily_etl", process)
    second = demo.retail("demo", *SMALL)
    assert (second.returncode, "another `retail demo` runs in this folder" in second.stderr) == (1, True)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 1
    assert "Error: interrupted; the services, and a run that had begun, go on: `retail down`" in demo.log.read_text()


def test_after_all_that_the_books_balance(demo: Demo) -> None:
    remove(demo, "warehouse", "secrets")
    report = demo.run()
    assert report["events_produced"] == report["events_in_raw"] + report["dead_letters"]
    assert report["dead_letters"] == 5
    assert report["core_units"] == report["fact_sales_units"] > 0
    assert report["forecast_rows"] == report["series"] * 7
    # Two of the fifteen products are not on sale yet.
    assert report["reorder_rows"] == report["series"] == 26
    client = demo.reader()
    assert min(rows_of_marts(client).values()) > 0
    client.close()


@pytest.mark.long
def test_a_demo_whose_warehouse_is_killed_goes_on_or_says_so_in_one_line(demo: Demo) -> None:
    first = demo.run()
    process = demo.start()
    demo.wait_for("core/inventory_daily", process)
    os.kill(demo.pid_of("warehouse"), signal.SIGKILL)
    process.wait()
    assert "Traceback" not in demo.log.read_text()
    again = demo.run()
    assert {key: again[key] for key in COUNTS} == {key: first[key] for key in COUNTS}


@pytest.mark.long
def test_a_lake_in_pieces_is_made_again_with_the_same_counts_and_readers_notice_nothing(demo: Demo) -> None:
    first = demo.run()
    remove(demo, "lake/core", "lake/raw/pos_events", "dagster")
    process = demo.start()
    demo.wait_for("tills", process)
    client = demo.reader()
    before = rows_of_marts(client)
    assert min(before.values()) > 0
    readings = []
    # The demo writes every mart anew; a reader never sees one that is empty or half written.
    while process.poll() is None:
        readings.append(rows_of_marts(client))
        # Asking without a pause would take one of two cores from the demo.
        time.sleep(0.5)
    client.close()
    assert process.wait() == 0, demo.log.read_text()
    assert len(readings) > 50
    assert all(reading == before for reading in readings), [one for one in readings if one != before][:3]
    again = demo.report()
    assert {key: again[key] for key in COUNTS} == {key: first[key] for key in COUNTS}


def test_the_python_of_the_readme_shows_the_reorders_of_the_demo(demo: Demo) -> None:
    snippets = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(snippets) == 1, "README.md has not exactly one snippet of Python"
    snippet = snippets[0]
    # Two things differ between this demo and a reader's: its port, and where `var` lies.
    assert snippet.count("port=8123") == 1, "the README's snippet no longer says port=8123: mend this test"
    assert "var/secrets/" in snippet, "the README's snippet no longer reads its password below var: mend this test"
    shown = subprocess.run(
        [sys.executable, "-c", snippet.replace("port=8123", f"port={demo.environment['RETAIL_CLICKHOUSE_PORT']}")],
        cwd=demo.folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    heading, *rows = shown.stdout.splitlines()
    assert heading.split()[0] == "store"
    assert heading.split()[-1] == "reason"
    assert len(rows) == 5


def test_a_lake_that_the_demo_did_not_make_is_left_alone(demo: Demo) -> None:
    marker = demo.folder / "demo-scenario"
    fingerprint = marker.read_text()
    marker.unlink()
    try:
        refused = demo.retail("demo", *SMALL)
        assert refused.returncode == 1
        assert "holds data that the demo did not make" in refused.stderr
    finally:
        marker.write_text(fingerprint)
