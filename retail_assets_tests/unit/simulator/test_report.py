"""The report and its charts, on a small lake written by hand."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import matplotlib.image as mpimg
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from rich.console import Console

from retail_assets.cli import main
from retail_assets.simulate import lake_uri
from retail_assets.simulator.realism import charts
from retail_assets.simulator.realism.charts import draw_charts
from retail_assets.simulator.realism.published import Figure
from retail_assets.simulator.realism.report import Findings, find, write_table
from retail_assets_tests.unit.simulator.lake_of_events import HandMadeLake, at

FIRST = date(2026, 3, 2)
DAYS = 84


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a lake of twelve weeks: two stores, three products, promotions, empty shelves and a holiday."""
    lake = HandMadeLake(tmp_path_factory.mktemp("report") / "lake")
    lake.store("S1")
    lake.store("S2", opens=7, closes=22)
    for product_id in ("P1", "P2", "P3"):
        lake.product(product_id)
    lake.holiday(FIRST + timedelta(days=10), "Founders' Day")
    lake.promotion(FIRST + timedelta(days=14), FIRST + timedelta(days=21), product_id="P1")
    for day in range(DAYS):
        today = FIRST + timedelta(days=day)
        promoted = 14 <= day < 22
        for store_id in ("S1", "S2"):
            lake.basket(at(f"{today} 10:15"), ("P1", 12 if promoted and store_id == "S1" else 4), store_id=store_id)
            if day % 3 == 0:
                lake.basket(at(f"{today} 17:45"), ("P2", 1 + day % 4), store_id=store_id)
            for product_id in ("P1", "P2"):
                lake.move(at(f"{today} 05:00"), 20, store_id=store_id, product_id=product_id)
            if day % 10 == 5:
                lake.move(at(f"{today} 15:30"), 0, store_id=store_id)
    return lake.write()


@pytest.fixture(scope="module")
def findings(uri: str) -> Findings:
    return find(uri)


def test_figures_are_those_of_the_lakes_events(findings: Findings) -> None:
    found = findings.statistics
    assert findings.counts["series"] == 4
    assert findings.counts["series_days"] == 4 * DAYS
    assert found.zero_share == pytest.approx(2 * 56 / (4 * DAYS))
    assert found.stockout_series_days_share == pytest.approx(2 * 8 / (4 * DAYS))
    # Empty from half past three till closing, in the shop that closes at eight and the one that closes at ten.
    assert found.stockout_time_share == pytest.approx(8 * (4.5 + 6.5) / (2 * DAYS * (12 + 15)))
    assert found.promotion_lift_median == pytest.approx(3.0)
    assert found.class_shares == {"intermittent": 0.5, "lumpy": 0.0, "erratic": 0.0, "smooth": 0.5}


def test_empty_shelves_rise_through_the_day_and_only_comparable_hours_are_marked(findings: Findings) -> None:
    hours = {row["hour"]: row for row in findings.stockouts_by_hour}
    assert list(hours) == list(range(7, 23))
    assert {hour for hour, row in hours.items() if not row["all_stores"]} == {7, 21, 22}
    assert hours[15]["share"] == 0
    assert hours[16]["share"] == hours[20]["share"] == pytest.approx(2 * 8 / (4 * DAYS))
    assert findings.stockout_share_when("opening") == 0
    assert findings.stockout_share_when("closing") == pytest.approx(2 * 8 / (4 * DAYS))


def test_an_average_week_adds_up_to_what_was_sold(findings: Findings) -> None:
    week = findings.by_hour
    assert week.select("weekday", "hour").unique().height == 14
    weeks, stores = DAYS / 7, 2
    assert float(week["units"].sum()) * weeks * stores == pytest.approx(findings.counts["units_sold"])
    assert findings.by_date["units"].sum() == findings.counts["units_sold"]
    assert findings.by_date.filter(pl.col("holiday_name") != "").rows() == [(date(2026, 3, 12), 8.0, "Founders' Day")]


def test_the_story_is_of_a_product_with_promotions_and_empty_shelves(findings: Findings) -> None:
    story = findings.story
    assert story is not None
    assert (story.store_id, story.product_id, story.name) == ("S1", "P1", "Name of P1")
    assert story.days["date"].to_list() == [FIRST + timedelta(days=day) for day in range(DAYS)]
    assert story.days["on_promotion"].sum() == 8
    assert story.on_hand.height == DAYS + 8


def test_a_better_seller_to_which_nothing_happened_makes_no_story(tmp_path: Path) -> None:
    lake = HandMadeLake(tmp_path / "lake")
    lake.store("S1")
    lake.store("S2")
    lake.product("P1")
    lake.product("P2")
    lake.promotion(FIRST, FIRST + timedelta(days=6), product_id="P1")
    for day in range(28):
        today = FIRST + timedelta(days=day)
        lake.basket(at(f"{today} 10:00"), ("P1", 2), ("P2", 50))
        lake.basket(at(f"{today} 10:00"), ("P2", 80), store_id="S2")
        lake.move(at(f"{today} 05:00"), 9)
        if day in {3, 10, 20}:
            lake.move(at(f"{today} 18:00"), 0)
    story = find(lake.write()).story
    assert story is not None
    assert (story.store_id, story.product_id) == ("S1", "P1")


def test_the_json_has_every_figure_and_survives_a_round_trip(findings: Findings) -> None:
    said = json.loads(json.dumps(findings.as_json()))
    assert set(said) >= {"made_on", "lake", "first_date", "last_date", "counts", "statistics", "stockouts_by_hour"}
    statistics = said["statistics"]
    assert set(statistics) == {
        "zero_share",
        "class_shares",
        "taylor_exponent",
        "variance_to_mean_median",
        "weekday_index",
        "top20_share",
        "autocorrelation",
        "promotion_lift_median",
        "stockout_series_days_share",
        "stockout_time_share",
    }
    assert set(statistics["class_shares"]) == {"intermittent", "lumpy", "erratic", "smooth"}
    assert set(statistics["autocorrelation"]) == {"1", "7", "28"}
    assert len(statistics["weekday_index"]) == 7
    assert all(figure["inside"] in {True, False, None} for figure in said["figures"])
    assert (said["first_date"], said["last_date"]) == ("2026-03-02", "2026-05-24")


def test_every_figure_of_the_json_is_judged(findings: Findings) -> None:
    judged = {figure.name.split(".")[0] for figure in findings.figures()}
    assert judged == {*findings.as_json()["statistics"], "stockout_rise"}


@pytest.mark.parametrize(
    ("measured", "greatest", "inside"),
    [(1.0, 2.0, True), (2.0, 2.0, True), (0.99, 2.0, False), (2.01, 2.0, False), (99.0, None, True), (None, 2.0, None)],
)
def test_a_figure_lies_inside_its_range_or_not_or_is_not_known(
    measured: float | None, greatest: float | None, inside: bool | None
) -> None:
    assert Figure("x", "x", measured, 1.0, greatest, "", "").inside is inside


def test_the_table_marks_what_lies_outside(findings: Findings) -> None:
    console = Console(width=120, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115, PTH123
    write_table(findings, console)
    text = console.export_text()
    (line,) = [line for line in text.splitlines() if line.startswith("lumpy series")]
    assert line.split()[2:4] == ["0.0", "%"]
    assert line.rstrip().endswith("outside")
    (lift,) = [line for line in text.splitlines() if line.startswith("promotion lift")]
    assert "3.00" in lift
    assert "outside" not in lift
    assert max(map(len, text.splitlines()[:-1])) <= 120


def test_a_small_lake_is_told_that_its_figures_mean_little(findings: Findings) -> None:
    def shown(found: Findings) -> str:
        console = Console(width=120, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        write_table(found, console)
        return console.export_text()

    enough = replace(
        findings, counts=findings.counts | {"series": 500}, first_date=findings.last_date.replace(year=2025)
    )
    assert "mean little" not in shown(enough)
    assert not enough.as_json()["too_small"]
    for few in (findings, replace(enough, first_date=FIRST), replace(enough, counts=findings.counts)):
        assert "mean little" in shown(few)
        assert few.as_json()["too_small"]


def test_every_chart_is_a_picture_of_some_size_with_something_on_it(findings: Findings, tmp_path: Path) -> None:
    written = draw_charts(findings, tmp_path / "new" / "charts")
    assert [path.name for path in written] == [
        "week_by_hour.png",
        "year_by_day.png",
        "product_story.png",
        "stockouts_by_hour.png",
        "demand_classes.png",
    ]
    for path in written:
        pixels = mpimg.imread(path)
        assert pixels.shape[0] >= 600
        assert pixels.shape[1] >= 1_000
        assert 0.01 < float((pixels[..., :3].min(axis=2) < 0.9).mean()) < 0.7


def test_charts_leave_out_what_the_data_can_not_tell(tmp_path: Path) -> None:
    lake = HandMadeLake(tmp_path / "lake")
    lake.store()
    lake.product()
    lake.basket(at("2026-03-02 10:00"), ("P1", 1))
    found = find(lake.write())
    assert found.stockouts_by_hour == []
    assert found.statistics.autocorrelation == {1: None, 7: None, 28: None}
    names = [path.stem for path in draw_charts(found, tmp_path)]
    assert "stockouts_by_hour" not in names
    assert len(names) == 4


def test_many_series_are_drawn_as_a_sample(monkeypatch: pytest.MonkeyPatch, findings: Findings) -> None:
    monkeypatch.setattr(charts, "_MOST_DOTS", 2)
    figure = charts.demand_classes(findings.series)
    left = figure.axes[0]
    assert sum(len(np.asarray(dots.get_offsets())) for dots in left.collections) == 2
    # The shares are of all series.
    assert "smooth 50 %" in [str(text.get_text()) for text in left.get_legend().get_texts()]  # type: ignore[union-attr]


def test_the_command_prints_json_alone_and_draws(uri: str, tmp_path: Path) -> None:
    folder = uri.removeprefix("file://")
    done = CliRunner().invoke(main, ["simulate", "report", "--lake", folder, "--json", "--charts", str(tmp_path / "c")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"]["stores"] == 2
    assert len(list((tmp_path / "c").glob("*.png"))) == 5


def test_the_command_ends_well_though_figures_lie_outside(uri: str) -> None:
    done = CliRunner().invoke(main, ["simulate", "report", "--lake", uri])
    assert done.exit_code == 0
    assert "outside" in done.stdout


def test_what_can_not_be_reported_is_said_in_one_line(tmp_path: Path, uri: str) -> None:
    run = CliRunner().invoke
    nothing = run(main, ["simulate", "report", "--lake", str(tmp_path / "nothing")])
    assert nothing.exit_code == 1
    assert nothing.stderr.count("\n") == 1
    assert "has no table reference/stores" in nothing.stderr
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    assert run(main, ["simulate", "report", "--lake", uri, "--charts", str(in_the_way / "x")]).exit_code == 1
    wrong = run(main, ["simulate", "report", "--lake", "http://lake"])
    assert "should be a folder, file:///" in wrong.stderr


def test_a_history_can_be_written_and_reported_on_by_commands_alone(tmp_path: Path) -> None:
    run = CliRunner().invoke
    lake = str(tmp_path / "lake")
    written = run(
        main,
        [
            "simulate",
            "history",
            "--preset",
            "tiny",
            "--stores",
            "1",
            "--products",
            "12",
            "--days",
            "15",
            "--lake",
            lake,
        ],
    )
    assert written.exit_code == 0, written.output
    assert "rows in file:///" in written.output
    said = json.loads(run(main, ["simulate", "report", "--lake", lake, "--json"]).stdout)
    assert (said["counts"]["stores"], said["last_date"]) == (1, "2025-12-30")


def test_a_history_is_of_one_scenario_that_makes_sense(tmp_path: Path) -> None:
    run = CliRunner().invoke
    file = tmp_path / "own.toml"
    file.write_text("[stores]\ncount = 0\n")
    both = run(main, ["simulate", "history", "--preset", "tiny", "--scenario", str(file), "--lake", str(tmp_path)])
    assert both.exit_code == 2
    assert "exclude each other" in both.stderr
    wrong = run(
        main, ["simulate", "history", "--scenario", str(file), "--last-date", "2025-12-31", "--lake", str(tmp_path)]
    )
    assert wrong.exit_code == 1
    assert "stores.count" in wrong.stderr or "stores should be" in wrong.stderr
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    blocked = run(main, ["simulate", "history", "--preset", "tiny", "--lake", str(in_the_way / "lake")])
    assert blocked.exit_code == 1
    assert "can't be written to" in blocked.stderr


def test_a_lake_is_a_folder_or_an_address(tmp_path: Path) -> None:
    assert lake_uri(str(tmp_path)) == tmp_path.as_uri()
    assert lake_uri("s3://bucket/lake") == "s3a://bucket/lake"
    assert lake_uri("s3a://bucket/lake") == "s3a://bucket/lake"
    assert lake_uri("file:///lake") == "file:///lake"
