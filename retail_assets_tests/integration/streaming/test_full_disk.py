"""The service on a disk that fills up again and again. Needs root and Linux, so it only runs when it is asked for.

make test-full-disk
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retail_assets_tests.integration.streaming.conftest import Till, basket, figures_of
from retail_assets_tests.integration.streaming.test_outages import Operator, gateway, operator

__all__ = ["gateway", "operator"]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1_800),
    pytest.mark.skipif("FULL_DISK_TEST" not in os.environ, reason="mounts a small disk as root: make test-full-disk"),
]

#: Pages that are left, so that each time it is another file of the checkpoint that doesn't fit: each takes one or two.
LEFT = (0, 1, 2, 3, 5, 8, 13)
PAGE = 4096
NEWEST = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a small disk with the service's checkpoints and spilled rows."""
    small = tmp_path.resolve() / "var"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], check=True)
    try:
        yield small
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


def fill(disk: Path, pages: int) -> None:
    size = shutil.disk_usage(disk).free - pages * PAGE
    subprocess.run(["fallocate", "-l", str(size), str(disk / "filler")], check=True)


def test_when_there_is_room_again_the_queries_go_on_by_themselves_or_by_a_new_start_and_the_figures_are_right(
    disk: Path, operator: Operator, till: Till
) -> None:
    service, gateway = operator.service, operator.gateway
    service.environment |= {
        "RETAIL_STREAM_CHECKPOINT_URI": (disk / "checkpoints").as_uri(),
        # What Spark itself puts on a disk: its own copy of the state, and what it sorts.
        "SPARK_LOCAL_DIRS": str(disk / "spark"),
    }
    full = 'retail_stream_query_failures_total{query="sales",reason="disk_full"}'
    sold = [basket(0, "S1", NEWEST)]
    till.sell(sold)
    service.start()
    operator.wait_for(figures_of(sold))
    for number, pages in enumerate(LEFT, start=1):
        before = max(operator.metric(full), 0)
        fill(disk, pages)
        till.sell([basket(2 * number, "S1", NEWEST)])
        operator.wait(lambda before=before: operator.metric(full) > before)
        assert "a disk is full" in service.lines("starting query again")[-1]["error"]
        if number % 2 == 0:
            service.end(signal.SIGKILL)
        (disk / "filler").unlink()
        if number % 2 == 0:
            service.start()
        late = basket(2 * number + 1, "S2", NEWEST)
        till.sell([late])
        sold += [basket(2 * number, "S1", NEWEST), late]
        operator.wait_for(figures_of(sold))

    # Neither the warehouse nor the disk takes rows: they wait with the broker.
    gateway.signal(signal.SIGKILL)
    till.sell([basket(1000, "S1", NEWEST)])
    operator.wait(operator.waiting)
    fill(disk, 0)
    till.sell([basket(1001, "S1", NEWEST)])
    operator.wait(lambda: service.lines("spill is full: queries wait for the warehouse") or operator.metric(full) > 0)
    gateway.start()
    (disk / "filler").unlink()
    operator.wait_for(figures_of([*sold, basket(1000, "S1", NEWEST), basket(1001, "S1", NEWEST)]))
    operator.wait(lambda: not operator.waiting())
    assert not service.lines("query failed")
