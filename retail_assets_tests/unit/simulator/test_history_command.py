"""`retail simulate history` has a lake to itself, and ends without leaving files, whoever ends it."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from retail_assets.cli import main
from retail_assets.simulator.realism.observation import cause_of
from retail_local.files import locked

_PATIENCE_S = 120


def written_files(lake: Path) -> list[Path]:
    """Return what a write has put into a lake, half-written files among them."""
    return [path for path in lake.rglob("part-*") if "_delta_log" not in path.parts]


def test_a_second_history_of_the_same_lake_is_refused_in_one_line(tmp_path: Path) -> None:
    with locked(tmp_path / ".history.lock"):
        result = CliRunner().invoke(main, ["simulate", "history", "--preset", "tiny", "--lake", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: another history is being written to {tmp_path.as_uri()}: ")
    assert result.output.count("\n") == 1
    assert not written_files(tmp_path)


def test_a_lake_that_is_no_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    result = CliRunner().invoke(main, ["simulate", "history", "--preset", "tiny", "--lake", str(file)])
    assert result.exit_code == 1
    assert result.output == f"Error: {file.as_uri()} can't be written to: File exists\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_history_that_is_ended_leaves_no_file_and_no_process(
    tmp_path: Path, number: signal.Signals, workers: int
) -> None:
    command = [sys.executable, "-m", "retail_assets.cli", "simulate", "history", "--preset", "city"]
    with subprocess.Popen(
        [*command, "--workers", str(workers), "--lake", str(tmp_path)], stderr=subprocess.PIPE, text=True
    ) as history:
        wait_for_files(history, tmp_path)
        helpers = children_of(history.pid)
        assert len(helpers) >= workers - 1
        history.send_signal(number)
        _, said = history.communicate(timeout=_PATIENCE_S)
    assert history.returncode == 1
    assert said.startswith("Error: interrupted: ")
    assert said.count("\n") == 1
    assert not written_files(tmp_path)
    wait_for_the_end_of(helpers)


def test_workers_end_themselves_when_a_kill_leaves_them_nobody_to_work_for(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "retail_assets.cli", "simulate", "history", "--preset", "city"]
    with subprocess.Popen([*command, "--workers", "2", "--lake", str(tmp_path)], stderr=subprocess.DEVNULL) as history:
        wait_for_files(history, tmp_path)
        helpers = children_of(history.pid)
        history.kill()
    wait_for_the_end_of(helpers)
    with locked(tmp_path / ".history.lock", on_wait=lambda: pytest.fail("the lock outlived its holder")):
        pass


def wait_for_files(history: subprocess.Popen[Any], lake: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not written_files(lake):
        assert history.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started and that are still there."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


def wait_for_the_end_of(pids: list[int]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_running(pid: int) -> bool:
    """Return whether a process runs; one that has ended may still be listed until somebody asks for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_store_that_cannot_be_reached_is_named_with_its_cause_alone() -> None:
    arrow = "\x1b[31m↳\x1b[0m"
    told = f"Generic S3 error\n  {arrow} Error performing GET\n   {arrow} Connection refused (os error 111)\n"
    assert cause_of(RuntimeError(told)) == "Generic S3 error: Connection refused (os error 111)"
    assert cause_of(RuntimeError("no table")) == "no table"
    assert cause_of(RuntimeError()) == "RuntimeError"
