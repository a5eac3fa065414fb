"""Pictures of a backtest: which series they show, and what is drawn of them."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes

from retail_assets.backtest.charts import chosen_series, draw_charts, series_chart, skill_chart
from retail_assets.contracts.tables import QUANTILES
from retail_assets.domain.judgement import report
from retail_assets.domain.scales import naive_scales
from retail_assets.domain.series_classes import abc_classes, demand_classes

ORIGINS = [date(2024, 6, 2) + timedelta(days=7 * n) for n in range(3)]
LAST = ORIGINS[-1] + timedelta(days=7)
NUMBERS = range(1, 41)
PRODUCTS = pl.DataFrame(
    {"product_id": [f"P{n:02d}" for n in NUMBERS], "name": [f"Thing {n}" for n in NUMBERS], "category": "things"}
)


def days_of() -> pl.DataFrame:
    """Return products that sell as many units a day as their number says; P20 and P30 are on promotion for a week."""
    dates = [LAST - timedelta(days=n) for n in range(100)]
    promoted = pl.col("business_date").is_between(ORIGINS[1], ORIGINS[1] + timedelta(days=6))
    return (
        PRODUCTS.select(
            pl.lit("S1").alias("store_id"), "product_id", demand=pl.col("product_id").str.slice(1).cast(pl.Float64)
        )
        .join(pl.DataFrame({"business_date": dates}), how="cross")
        .with_columns(
            on_promotion=pl.col("product_id").is_in(["P20", "P30"]) & promoted,
            demand=pl.when(pl.col("business_date").dt.weekday() == 7).then(0.0).otherwise("demand"),
        )
    )


def forecasts_of(days: pl.DataFrame) -> pl.DataFrame:
    targets = (
        pl.DataFrame({"origin": ORIGINS})
        .join(pl.DataFrame({"horizon": range(1, 8)}, schema={"horizon": pl.Int32}), how="cross")
        .with_columns(target_date=pl.col("origin") + pl.duration(days="horizon"))
    )
    ours = days.rename({"business_date": "target_date", "demand": "actual"}).join(targets, on="target_date")
    ours = ours.with_columns(
        pl.lit("ours").alias("model"),
        *((pl.col("actual") + number - 3.0).clip(lower_bound=0.0).alias(name) for number, name in enumerate(QUANTILES)),
        mean=pl.col("actual") + 1.0,
    )
    sample = ours.filter(pl.col("product_id") > "P10")
    rival = sample.with_columns(
        pl.lit("lightgbm").alias("model"),
        *(pl.lit(None, dtype=pl.Float64).alias(name) for name in QUANTILES),
        mean=pl.col("actual") + 2.0,
    )
    return pl.concat([ours, rival])


def report_of(days: pl.DataFrame, forecasts: pl.DataFrame) -> dict[str, Any]:
    return report(
        forecasts,
        "ours",
        products=PRODUCTS,
        scales=naive_scales(days, PRODUCTS, ORIGINS),
        demand=demand_classes(days),
        abc=abc_classes(days),
    )


def text_of(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_series_are_chosen_by_how_they_sell():
    days = days_of()
    found = chosen_series(forecasts_of(days), days, "ours")
    assert [(one.kind, one.product_id) for one in found] == [
        ("Fast seller", "P38"),
        ("Slow seller", "P11"),
        ("On promotion", "P30"),
    ]


def test_how_well_a_series_is_forecast_has_no_part_in_whether_it_is_shown():
    days = days_of()
    forecasts = forecasts_of(days)
    generator = np.random.default_rng(1)
    worse = forecasts.with_columns(mean=pl.Series(generator.random(forecasts.height) * 100))
    assert chosen_series(worse, days, "ours") == chosen_series(forecasts, days, "ours")


def test_one_series_is_shown_once_and_none_is_refused(tmp_path: Path):
    days = days_of()
    forecasts = forecasts_of(days)
    assert len(chosen_series(forecasts.filter(pl.col("product_id") == "P20"), days, "ours")) == 1
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_charts(forecasts, days, PRODUCTS, report_of(days, forecasts), tmp_path, model="theirs")


def test_a_panel_shows_eight_weeks_of_history_and_the_forecasts_of_all_origins():
    days = days_of()
    forecasts = forecasts_of(days)
    shown = chosen_series(forecasts, days, "ours")
    figure = series_chart(forecasts, days, PRODUCTS, shown, model="ours", rival="lightgbm")
    assert len(figure.axes) == 3
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "Fast seller: Thing 38 in store S1"
    assert axes.get_title(loc="right").startswith("WAPE by day: ours 3")
    lengths = sorted(len(np.asarray(line.get_xdata())) for line in axes.lines)
    # An origin's line has two ends; two models forecast a week from each of three origins; demand is of 11 weeks.
    assert lengths == [2] * 3 + [7] * 6 + [11 * 7 + 1]
    # Bands of 50 and 95 %, and the dots of demand.
    assert len(axes.collections) == 2 * 3 + 1


def test_the_skill_chart_names_each_model_and_its_wape_at_each_grain_and_marks_samples():
    days = days_of()
    forecasts = forecasts_of(days)
    found = report_of(days, forecasts)
    figure = skill_chart(found, model="ours")
    assert len(figure.axes) == 6
    for axes, grain in zip(figure.axes, found["grains"], strict=False):
        wanted = [f"{found['grains'][grain][name]['wape']:.1%}" for name in ("lightgbm", "ours")]
        assert text_of(axes) == wanted
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["lightgbm", "ours"]
    assert text_of(figure.axes[3]) == ["+50.0%"]
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == 1
    assert "compare by skill" in " ".join(text.get_text() for text in figure.legends[0].get_texts())


def test_both_pictures_are_written_the_same_each_time(tmp_path: Path):
    days = days_of()
    forecasts = forecasts_of(days)
    written = draw_charts(forecasts, days, PRODUCTS, report_of(days, forecasts), tmp_path / "a", model="ours")
    assert [path.name for path in written] == ["backtest_series.png", "backtest_skill.png"]
    again = draw_charts(forecasts, days, PRODUCTS, report_of(days, forecasts), tmp_path / "b", model="ours")
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in again]
