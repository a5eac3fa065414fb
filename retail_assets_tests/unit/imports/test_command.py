"""`retail import sales` as a user sees it."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from retail_assets.cli import main
from retail_assets.imports.columns import MASTER_KINDS, SALES
from retail_assets_tests.unit.imports.conftest import Write

LINES = [
    "Tag;Filiale;Artikel;Menge;price;promotion;note",
    *[f"{day:02}.05.2024;S1;P{product};{product},5;1,99;nein;x" for day in range(1, 21) for product in range(1, 4)],
]
MAPS = ["--map", "date=Tag", "--map", "store_id=Filiale", "--map", "product_id=Artikel", "--map", "units=Menge"]
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("RETAIL_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.chdir(tmp_path)

    def run_command(*words: str) -> Result:
        lake = [] if "--lake" in words else ["--lake", "lake"]
        return CliRunner().invoke(main, ["import", "sales", *words, *lake])

    return run_command


def test_the_help_names_every_field_of_every_file() -> None:
    shown = CliRunner().invoke(main, ["import", "sales", "--help"]).output
    assert not [field.name for kind in (SALES, *MASTER_KINDS) for field in kind.fields if field.name not in shown]


@pytest.mark.parametrize("command", ["sales", "transactions"])
@pytest.mark.parametrize(
    ("currency", "said"), [("GBP", "RETAIL_CURRENCY, which is GBP now."), ("£", "RETAIL_CURRENCY.")]
)
def test_the_help_names_the_currency_of_all_amounts(
    monkeypatch: pytest.MonkeyPatch, command: str, currency: str, said: str
) -> None:
    monkeypatch.setenv("RETAIL_CURRENCY", currency)
    done = CliRunner().invoke(main, ["import", command, "--help"])
    assert done.exit_code == 0
    shown = " ".join(done.output.split())
    assert f"All amounts are taken to be in {said}" in shown
    assert "pounds, isn't recognised" in shown


def test_the_document_names_every_field_of_every_file() -> None:
    document = (Path(__file__).parents[3] / "docs" / "import.md").read_text(encoding="utf-8")
    assert not [
        field.name for kind in (SALES, *MASTER_KINDS) for field in kind.fields if f"`{field.name}`" not in document
    ]


def test_the_example_of_the_help_and_that_of_the_document_can_be_imported(run: Run, write: Write) -> None:
    shown = CliRunner().invoke(main, ["import", "sales", "--help"]).output
    document = (Path(__file__).parents[3] / "docs" / "import.md").read_text(encoding="utf-8")
    for text in (shown, document):
        lines = [line.strip() for line in text.splitlines()]
        start = next(n for n, line in enumerate(lines) if line.startswith("date,store_id,product_id,units"))
        example = lines[start : start + 2]
        assert run(str(write(*example))).exit_code == 0


def test_a_report_says_what_was_understood_and_what_became_of_the_rows(run: Run, write: Write) -> None:
    wrong = ["01.06.2024;S1;P1;-1;1,99;nein;x", "02.06.2024;S1;P1;ein paar;1,99;nein;x"]
    done = run(str(write(*LINES, LINES[-1], *wrong)), *MAPS)
    assert done.exit_code == 0, done.output
    shown = " ".join(done.output.split())
    for words in (
        "CSV, semicolon between fields, UTF-8, 63 rows",
        "date Tag date, dd.mm.yyyy 01.05.2024",
        "units Menge number, decimal comma 1,5 2,5 3,5",
        "Not in the file: on_hand, stockout_hours, revenue",
        "Left out of the file: note",
        "read 63",
        "accepted 60",
        "repeated, counted once 1 sales.csv line 62 (store S1, product P3, 2024-05-20)",
        "rejected 2",
        "units: negative 1 sales.csv line 63 '-1'",
        "units: no number 1 sales.csv line 64 'ein paar'",
        "Accepted: 2024-05-01 to 2024-05-20, 1 store, 3 products.",
        "The rejected rows are in sales.rejected.csv: mend and import that file, with --decimal comma.",
        "raw/imported_sales 60 rows",
        "3.17% of the rows were rejected",
    ):
        assert words in shown, words
    assert Path("sales.rejected.csv").exists()


def test_a_dry_run_says_that_nothing_was_written(run: Run, write: Write) -> None:
    done = run(str(write(*LINES)), *MAPS, "--dry-run")
    assert done.exit_code == 0
    assert "Dry run: nothing was written" in done.output
    assert not Path("lake").exists()


def test_too_many_rejected_rows_end_in_one_line_and_exit_code_1(run: Run, write: Write) -> None:
    done = run(str(write(*LINES, *["01.06.2024;S1;P1;-1;1,99;nein;x"] * 9)), *MAPS)
    assert done.exit_code == 1
    last = done.output.strip().splitlines()[-1]
    assert last.startswith("Error: 13.0% of the rows were rejected, 5.0% are allowed")
    assert "'units: negative'" in last
    assert not Path("lake").exists()


def test_a_refused_file_ends_in_one_line_and_exit_code_1(run: Run, write: Write) -> None:
    done = run(str(write(b"")))
    assert (done.exit_code, done.output) == (1, "Error: sales.csv is empty (0 bytes): export it again\n")


def test_brackets_in_a_file_are_no_markup(run: Run, write: Write) -> None:
    done = run(str(write("date,store_id,product_id,units,[/red]", "2024-01-01,[bold]S1,[/x],1,")))
    assert done.exit_code == 0, done.output
    assert "[bold]S1" in done.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--time-zone", "Berlin"], "no time zone"),
        (["--date-format", "german"], "--date-format german"),
        (["--map", "units"], "--map units"),
    ],
)
def test_a_wrong_option_is_explained(run: Run, write: Write, words: list[str], message: str) -> None:
    done = run(str(write(*LINES)), *MAPS, *words)
    assert done.exit_code == 1
    assert message in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize("lake", ["file", "file/below", "/proc/nowhere"])
def test_a_lake_that_can_be_no_folder_is_explained_in_one_line(run: Run, write: Write, lake: str) -> None:
    Path("file").write_text("x", encoding="utf-8")
    done = run(str(write(*LINES)), *MAPS, "--lake", lake)
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    last = done.output.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert lake in last
    assert last.endswith("--lake names another")


def test_a_lake_without_a_name_is_refused_rather_than_taken_for_the_main_one(run: Run, write: Write) -> None:
    done = run(str(write(*LINES)), *MAPS, "--lake", "")
    assert done.exit_code == 2
    assert "not nothing" in done.output
    assert not Path("var").exists()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], "Tag der Deutschen Einheit"),
        (["--time-zone", "Europe/Paris"], "Fête de la Victoire"),
        (["--country", "GB"], "May Day"),
        (["--country", "none"], None),
    ],
)
def test_holidays_are_those_of_the_time_zones_country_or_of_the_one_named(
    run: Run, write: Write, words: list[str], name: str | None
) -> None:
    assert run(str(write(*LINES)), *MAPS, *words).exit_code == 0
    names = pl.read_delta("lake/reference/calendar").filter("is_holiday")["holiday_name"].to_list()
    assert name in names if name else not names
