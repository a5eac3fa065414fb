"""Imports that are killed or overtaken: the table is as it was or as it should be, and a second try makes all right."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from retail_assets.cli import main
from retail_assets.contracts.tables import REFERENCE_ASSORTMENT, REFERENCE_PRODUCTS
from retail_assets.imports import report, sales
from retail_assets.imports.errors import ImportRefusedError
from retail_assets.imports.writing import Lake
from retail_assets_tests.unit.imports.conftest import Shop, Write

HEADER = "date,store_id,product_id,units"
BEFORE = [f"2024-0{month}-10,S1,P1,1" for month in range(1, 7)]
AFTER = [f"2024-0{month}-1{day},S1,P{day + 1},2" for month in range(1, 7) for day in (0, 1)]

#: Ends its own process, without a chance to clean up, at the n-th call of a function of the lake.
KILLED = """
import os, signal, sys
from pathlib import Path
from retail_assets.imports import writing
from retail_assets_tests.unit.imports.conftest import Shop

folder, function, calls = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
original = getattr(writing.Lake, function)
made = []

def counted(self, *arguments):
    made.append(function)
    if len(made) > calls:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *arguments)

setattr(writing.Lake, function, counted)
Shop(folder).take(folder / "after.csv")
"""


def killed(folder: Path, function: str, calls: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), function, str(calls)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize(
    ("is_first", "function", "calls", "is_new"),
    [
        (True, "_upload", 3, False),
        (True, "_commit", 0, False),
        (True, "overwrite", 0, True),
        (False, "future_rows", 0, False),
        (False, "_upload", 3, False),
        (False, "_commit", 0, False),
        (False, "overwrite", 0, True),
        (False, "overwrite", 3, True),
    ],
)
def test_a_killed_import_leaves_the_old_table_or_the_new_one(
    shop: Shop, write: Write, is_first: bool, function: str, calls: int, is_new: bool
) -> None:
    after = write(HEADER, *AFTER, name="after.csv")
    if not is_first:
        shop.take(write(HEADER, *BEFORE, name="before.csv"))
    killed(shop.folder, function, calls)
    if is_new:
        assert shop.table()["units"].to_list() == [2] * len(AFTER)
    elif is_first:
        assert shop.is_empty()
    else:
        assert shop.table()["units"].to_list() == [1] * len(BEFORE)
    shop.take(after)
    assert shop.table()["units"].to_list() == [2] * len(AFTER)
    assert shop.table(REFERENCE_PRODUCTS).height == shop.table(REFERENCE_ASSORTMENT).height == 2


def test_what_a_killed_import_left_is_cleared_away_by_the_next(shop: Shop, write: Write) -> None:
    after = write(HEADER, *AFTER, name="after.csv")
    killed(shop.folder, "_commit", 0)
    work = shop.folder / "work"
    assert list(work.iterdir())
    shop.take(after)
    assert not list(work.iterdir())


def test_an_import_that_fails_takes_its_files_away_again(
    shop: Shop, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.take(write(HEADER, *BEFORE, name="before.csv"))
    there = set(shop.folder.rglob("*.parquet"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Lake, "_commit", full)
    with pytest.raises(OSError, match="No space left"):
        shop.take(write(HEADER, *AFTER, name="after.csv"))
    assert set(shop.folder.rglob("*.parquet")) == there


@pytest.mark.parametrize("is_first", [True, False], ids=["first import", "later import"])
def test_of_two_imports_at_once_the_second_is_refused_rather_than_mixed_in(
    shop: Shop, write: Write, monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    if not is_first:
        shop.take(write(HEADER, *BEFORE, name="before.csv"))
    slow, quick = write(HEADER, *AFTER, name="slow.csv"), write(HEADER, "2024-01-10,S1,P1,7", name="quick.csv")
    original = Lake.commit_sales
    overtaking = [quick]

    def overtaken(lake: Lake, *arguments: object) -> None:
        while overtaking:
            shop.take(overtaking.pop())
        original(lake, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Lake, "commit_sales", overtaken)
    with pytest.raises(ImportRefusedError, match="run it again"):
        shop.take(slow)
    assert 7 in shop.table()["units"].to_list()
    assert 2 not in shop.table()["units"].to_list()
    shop.take(slow)
    assert shop.table()["units"].to_list() == [2] * len(AFTER)


RIGHT_BEHIND = [
    ("understand", "nothing was imported; the same command can be run again"),
    ("_upload", "nothing was imported; the same command can be run again"),
    ("_commit", "the rows were imported, but not all tables that follow from them; run the same command again"),
    ("overwrite", "the rows were imported, but not all tables that follow from them; run the same command again"),
    ("write_report", "everything was imported; the same command can be run again for its report"),
]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize(("function", "said"), RIGHT_BEHIND)
def test_an_interrupted_command_says_in_one_line_what_was_imported(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, function: str, said: str
) -> None:
    monkeypatch.setenv("RETAIL_VAR_DIR", str(tmp_path / "var"))
    command = ["import", "sales", str(write(HEADER, *AFTER)), "--lake", str(tmp_path / "lake")]
    owner = {"understand": sales, "write_report": report}.get(function, Lake)
    original = getattr(owner, function)

    def interrupted(*arguments: object) -> object:
        done = original(*arguments)
        signal.raise_signal(number)
        return done

    with monkeypatch.context() as patched:
        patched.setattr(owner, function, interrupted)
        done = CliRunner().invoke(main, command)
    assert done.exit_code == 1
    assert done.output.splitlines()[-1] == f"Error: interrupted: {said}"
    lake = Lake((tmp_path / "lake").as_uri())
    is_there = sum(part.height for part in lake.imported_days(["units"])) == len(AFTER)
    assert is_there == ("were imported" in said or "everything" in said)
    assert is_there or not list((tmp_path / "lake").rglob("*.parquet"))
    assert CliRunner().invoke(main, command).exit_code == 0
    assert sum(part.height for part in Lake(lake.root).imported_days(["units"])) == len(AFTER)
