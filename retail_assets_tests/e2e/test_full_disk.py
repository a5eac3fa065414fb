"""The demo on a disk that fills up while its jobs run. Needs root and Linux, so it only runs when it is asked for.

make test-full-disk
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from retail_assets_tests.e2e.demo_user import Demo

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.integration,
    pytest.mark.timeout(1_800),
    pytest.mark.skipif("FULL_DISK_TEST" not in os.environ, reason="mounts a small disk as root: make test-full-disk"),
]

#: Room for the demo, and little more than `retail up` asks for.
SIZE = "3500m"
LEFT_KB = 200


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    disk = tmp_path.resolve() / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)], check=True)
    user = Demo(disk / "var")
    user.log = tmp_path / "demo.log"  # a log on the full disk would say nothing
    try:
        yield user
    finally:
        user.retail("down")
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_disk_that_fills_up_ends_the_demo_in_one_line_and_with_room_again_the_books_balance(demo: Demo) -> None:
    disk = demo.folder.parent
    process = demo.start()
    demo.wait_for("raw/pos_events  ", process)
    free_kb = shutil.disk_usage(disk).free // 1024
    subprocess.run(["fallocate", "-l", f"{free_kb - LEFT_KB}K", str(disk / "filler")], check=True)
    assert process.wait() == 1
    said = demo.log.read_text()
    assert "Traceback" not in said
    assert sum(line.startswith("Error:") for line in said.splitlines()) == 1

    # The services were left running, and some of them hurt: nobody needs to know which.
    (disk / "filler").unlink()
    report = demo.run()
    assert report["events_produced"] == report["events_in_raw"] + report["dead_letters"]
    assert report["core_units"] == report["fact_sales_units"] > 0
    assert report["forecast_rows"] == report["series"] * 7
    assert report["reorder_rows"] == report["series"]
