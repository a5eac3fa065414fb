"""The mark: processes that carry just this stack's are ended, and no other."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from retail_local.sweep import SERVICE_MARK, STACK_MARK, find_marked, sweep

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP


class Processes:
    """Starts dummies, and ends at last whichever the test left."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._all: list[subprocess.Popen[str]] = []

    def start(self, stack: str, code: str = SLEEP, service: str = "dummy") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, STACK_MARK: stack, SERVICE_MARK: service},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._all.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    def end(self) -> None:
        for process in self._all:
            process.kill()
            process.communicate()


@pytest.fixture
def processes() -> Iterator[Processes]:
    started = Processes()
    yield started
    started.end()


def test_only_the_exact_mark_is_swept(processes: Processes, tmp_path: Path):
    ours = processes.start(str(tmp_path))
    others = [processes.start(f"{tmp_path}2"), processes.start(str(tmp_path.parent))]
    assert [one.pid for one in find_marked(str(tmp_path))] == [ours.pid]
    assert sweep(str(tmp_path)) == 1
    assert ours.wait(5) is not None
    assert [other.poll() for other in others] == [None, None]


def test_a_process_that_ignores_the_polite_signal_is_killed(processes: Processes, tmp_path: Path):
    stubborn = processes.start(str(tmp_path), STUBBORN)
    begun = time.monotonic()
    assert sweep(str(tmp_path), grace_seconds=0.3) == 1
    assert stubborn.wait(5) is not None
    assert time.monotonic() - begun < 5


def test_one_service_can_be_swept_without_the_others(processes: Processes, tmp_path: Path):
    first, second = processes.start(str(tmp_path), service="a"), processes.start(str(tmp_path), service="b")
    assert sweep(str(tmp_path), service="a") == 1
    assert first.wait(5) is not None
    assert second.poll() is None


def test_who_sweeps_and_runs_under_a_mark_survives(processes: Processes, tmp_path: Path):
    inside = f"from retail_local.sweep import sweep; print('up', flush=True); print(sweep({str(tmp_path)!r}))"
    process = processes.start(str(tmp_path), inside)
    assert process.communicate(timeout=20)[0] == "0\n"
    assert process.returncode == 0
