"""A backtest as two pictures that a person looks at.

Belongs here: drawing, and choosing what is drawn. Does not belong here: measuring (`domain.judgement`).

Series are chosen by how they sell, never by how well they were forecast. Colours are those of Okabe and Ito, which
people with any kind of colour vision can tell apart; marks and lines differ in shape as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import matplotlib.dates as mdates
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, PercentFormatter, StrMethodFormatter

from retail_assets.chart_style import BLUE, DPI, FAINT, GREY, ORANGE, RED, STYLE
from retail_assets.domain.accuracy import GRAINS, wape
from retail_assets.domain.frames import SERIES

__all__ = ["ShownSeries", "chosen_series", "draw_charts", "series_chart", "skill_chart"]

_WEEK: Final = 7
_WEEKS_BEFORE: Final = 8
_DAYS_BETWEEN_TICKS: Final = 14
_FAST_QUANTILE: Final = 0.95
_SLOW_QUANTILE: Final = 0.25
#: A product that is always or hardly ever on promotion shows nothing of how promotions are forecast.
_PROMOTED_SHARE: Final = (0.05, 0.6)
_GRAIN_TITLES: Final = {
    "product_store_day": "product, store and day",
    "product_store_week": "product, store and week",
    "category_store_week": "category, store and week",
}


@dataclass(frozen=True)
class ShownSeries:
    """A series of the picture.

    Attributes:
        kind: what it is an example of.
        store_id: of the series.
        product_id: of the series.
    """

    kind: str
    store_id: str
    product_id: str


def draw_charts(
    forecasts: pl.DataFrame,
    days: pl.DataFrame,
    products: pl.DataFrame,
    report: Mapping[str, Any],
    folder: Path,
    *,
    model: str,
    rival: str = "lightgbm",
) -> list[Path]:
    """Draw `backtest_series.png` and `backtest_skill.png`.

    Args:
        forecasts: judged forecasts, as `domain.judgement.report` takes them.
        days: store_id, product_id, business_date, demand (units; null where unknown), on_promotion: the days that are
            forecast, and eight weeks before the first origin.
        products: product_id, and name where it is to be shown.
        report: of `domain.judgement.report`.
        folder: where the files go; made where it is missing.
        model: the model that is judged.
        rival: drawn as a thin line beside it, where it has forecast the series.

    Returns:
        The files.

    Raises:
        OSError: the folder can't be written to.
        ValueError: the model has no forecast at all.
    """
    shown = chosen_series(forecasts, days, model)
    if not shown:
        raise ValueError(f"nothing to draw: {model} has no forecast of a day whose demand is known")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        for name, figure in (
            ("backtest_series", series_chart(forecasts, days, products, shown, model=model, rival=rival)),
            ("backtest_skill", skill_chart(report, model=model)),
        ):
            path = folder / f"{name}.png"
            # Without the version of the library in it, the same data give the same file.
            figure.savefig(path, dpi=DPI, metadata={"Software": None})
            written.append(path)
    return written


def chosen_series(forecasts: pl.DataFrame, days: pl.DataFrame, model: str) -> list[ShownSeries]:
    """Return a fast seller, a slow seller and a product on promotion, as far as there are any.

    Of the series that the model has forecast from all origins and that sell at all on the days judged: the one that
    sells more than 95 % of them, the one that sells more than a quarter, and the best seller of those that are on
    promotion between a twentieth and six tenths of these days.

    Args:
        forecasts: judged forecasts.
        days: as `draw_charts`.
        model: whose forecasts.
    """
    judged = forecasts.lazy().filter(pl.col("model") == model).drop_nulls(["actual", "mean"])
    promoted = days.lazy().select(*SERIES, "on_promotion", target_date="business_date")
    selling = (
        judged.join(promoted, on=[*SERIES, "target_date"], how="left")
        .group_by(*SERIES)
        .agg(
            units=pl.col("actual").sum(),
            origins=pl.col("origin").n_unique(),
            promoted=pl.col("on_promotion").fill_null(value=False).mean(),
        )
        .filter((pl.col("units") > 0) & (pl.col("origins") == pl.col("origins").max()))
        .sort("units", *SERIES)
        .collect()
    )
    if selling.is_empty():
        return []
    last = selling.height - 1
    picks = [
        ("Fast seller", selling[round(last * _FAST_QUANTILE)]),
        ("Slow seller", selling[round(last * _SLOW_QUANTILE)]),
    ]
    taken = pl.concat([row for _, row in picks])
    on_promotion = selling.filter(pl.col("promoted").is_between(*_PROMOTED_SHARE)).join(
        taken, on=SERIES, how="anti", maintain_order="left"
    )
    if not on_promotion.is_empty():
        picks.append(("On promotion", on_promotion.tail(1)))
    found = [ShownSeries(kind, row["store_id"].item(), row["product_id"].item()) for kind, row in picks]
    # Of a single series there is but one picture.
    return [one for n, one in enumerate(found) if (one.store_id, one.product_id) not in _keys(found[:n])]


def _keys(shown: list[ShownSeries]) -> set[tuple[str, str]]:
    return {(one.store_id, one.product_id) for one in shown}


def _of(frame: pl.DataFrame, one: ShownSeries) -> pl.DataFrame:
    return frame.filter((pl.col("store_id") == one.store_id) & (pl.col("product_id") == one.product_id))


def series_chart(
    forecasts: pl.DataFrame,
    days: pl.DataFrame,
    products: pl.DataFrame,
    shown: list[ShownSeries],
    *,
    model: str,
    rival: str,
) -> Figure:
    """Draw what came to pass of each series against all that was forecast of it, one panel below the other.

    Args:
        forecasts: judged forecasts.
        days: as `draw_charts`.
        products: as `draw_charts`.
        shown: which series; one at least.
        model: with its bands of 50 and 95 %.
        rival: as a thin line.
    """
    figure = Figure(figsize=(14, 3.9 * len(shown) + 0.7), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.14)  # type: ignore[union-attr, call-arg]
    panels = figure.subplots(len(shown), 1, squeeze=False, sharex=True)[:, 0]
    names = dict(products.select("product_id", "name").iter_rows()) if "name" in products.columns else {}
    has_rival = False
    for axes, one in zip(panels, shown, strict=True):
        ours, theirs = (
            _of(forecasts.filter(pl.col("model") == name), one).drop_nulls("mean").sort("origin", "target_date")
            for name in (model, rival)
        )
        first, last = ours["origin"].min(), ours["target_date"].max()
        since = first - timedelta(days=_WEEK * _WEEKS_BEFORE)  # type: ignore[operator]
        past = _of(days, one).filter(pl.col("business_date").is_between(since, last)).sort("business_date")
        _promotions(axes, past)
        for origin in ours["origin"].unique().sort():
            axes.axvline(mdates.date2num(origin) + 0.5, color=FAINT, linewidth=1, zorder=0)  # type: ignore[no-untyped-call]
        for _, week in ours.group_by("origin", maintain_order=True):
            dates = week["target_date"].to_numpy()
            for low, high, alpha in (("q025", "q975", 0.16), ("q25", "q75", 0.32)):
                axes.fill_between(
                    dates, week[low].to_numpy(), week[high].to_numpy(), color=BLUE, alpha=alpha, linewidth=0
                )
            axes.plot(dates, week["mean"].to_numpy(), color=BLUE, linewidth=2.2)
        for _, week in theirs.group_by("origin", maintain_order=True):
            has_rival = True
            axes.plot(
                week["target_date"].to_numpy(),
                week["mean"].to_numpy(),
                color=RED,
                linewidth=1.1,
                linestyle=(0, (4, 2)),
            )
        demand = past["demand"].cast(pl.Float64).to_numpy()
        axes.plot(past["business_date"].to_numpy(), demand, color="black", linewidth=0.8, alpha=0.55, zorder=3)
        axes.scatter(past["business_date"].to_numpy(), demand, color="black", s=13, zorder=4, linewidths=0)
        said = f"{names.get(one.product_id, one.product_id)} in store {one.store_id}"
        axes.set_title(f"{one.kind}: {said}", loc="left")
        axes.set_title(_errors({model: ours, rival: theirs}), loc="right", fontsize=10.5, fontweight="normal")
        axes.set_ylabel("units per day")
        axes.set_ylim(bottom=0)
        axes.set_xlim(mdates.date2num(since), mdates.date2num(last) + 1)  # type: ignore[no-untyped-call]
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.tick_params(axis="x", labelbottom=True)
        locator = mdates.WeekdayLocator(byweekday=mdates.MO, interval=_DAYS_BETWEEN_TICKS // _WEEK)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(FuncFormatter(_date_with_year_where_it_begins))
    _legend_below(figure, model, rival if has_rival else None)
    return figure


def _date_with_year_where_it_begins(value: float, position: int | None) -> str:
    """Return a tick's date; with its year at the first tick, and at the first one of a year."""
    day: datetime = mdates.num2date(value)  # type: ignore[no-untyped-call]
    begins = position == 0 or day.timetuple().tm_yday <= _DAYS_BETWEEN_TICKS
    return f"{day.day} {day:%b}{f' {day:%Y}' if begins else ''}"


def _errors(found: Mapping[str, pl.DataFrame]) -> str:
    """Return how far forecasts of a series were off, in words."""
    words = []
    for name, frame in found.items():
        known = frame.drop_nulls(["actual", "mean"])
        error = wape(known["actual"], known["mean"])
        if np.isfinite(error):
            words.append(f"{name} {error:.0%}")
    return f"WAPE by day: {', '.join(words)}" if words else ""


def _promotions(axes: Axes, past: pl.DataFrame) -> None:
    for day in past.filter(pl.col("on_promotion"))["business_date"]:
        middle = mdates.date2num(day)  # type: ignore[no-untyped-call]
        axes.axvspan(middle - 0.5, middle + 0.5, color=ORANGE, alpha=0.25, linewidth=0, zorder=0)


def _legend_below(figure: Figure, model: str, rival: str | None) -> None:
    handles: list[Any] = [
        Line2D([], [], color="black", marker="o", markersize=4, linewidth=0.8, label="demand"),
        Line2D([], [], color=BLUE, linewidth=2.2, label=f"forecast ({model})"),
        Patch(color=BLUE, alpha=0.45, linewidth=0, label="50 % band"),
        Patch(color=BLUE, alpha=0.16, linewidth=0, label="95 % band"),
    ]
    if rival is not None:
        handles.append(Line2D([], [], color=RED, linewidth=1.3, linestyle=(0, (4, 2)), label=rival))
    handles += [
        Patch(color=ORANGE, alpha=0.25, linewidth=0, label="promotion"),
        Line2D([], [], color=FAINT, linewidth=1.4, label="origin: nothing after it was known"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.4)


def skill_chart(report: Mapping[str, Any], *, model: str) -> Figure:
    """Draw the WAPE of each model at each grain, and below it the model's skill against each rival.

    Models are in order of their WAPE at the finest grain, the best one on top. A hollow dot has judged fewer rows than
    the model: skill compares on rows that both have.

    Args:
        report: of `domain.judgement.report`.
        model: the model that is judged.
    """
    finest = report["grains"][next(iter(GRAINS))]
    order = sorted(finest, key=lambda name: (finest[name]["wape"] is None, finest[name]["wape"], name), reverse=True)
    rivals = [name for name in order if name != model]
    figure = Figure(figsize=(14, 2.6 + 0.42 * (len(order) + len(rivals))), layout="constrained")
    rows = figure.subplots(2, len(GRAINS), sharey="row", height_ratios=(len(order) + 0.5, len(rivals) + 0.5))
    sampled = False
    for number, grain in enumerate(GRAINS):
        sampled = _wape_dots(rows[0, number], report["grains"][grain], order, model) or sampled
        rows[0, number].set_title(f"By {_GRAIN_TITLES[grain]}")
        _skill_dots(rows[1, number], report["skill"][grain], rivals)
    handles: list[Any] = [
        Line2D([], [], color=BLUE, marker="o", markersize=9, linestyle="", label=model),
        Line2D([], [], color=GREY, marker="o", markersize=7, linestyle="", label="rival"),
    ]
    if sampled:
        handles.append(
            Line2D(
                [],
                [],
                color=GREY,
                marker="o",
                markersize=7,
                markerfacecolor="white",
                linestyle="",
                label="rival on a part of the series: compare by skill",
            )
        )
    handles.append(
        Line2D([], [], color=BLUE, marker="|", markersize=9, linewidth=1.6, label="95 % interval over origins")
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.6)
    return figure


def _wape_dots(axes: Axes, found: Mapping[str, Any], order: list[str], model: str) -> bool:
    """Draw a row for each model; return whether some have forecast fewer rows than the model."""
    sampled, most = False, found.get(model, {}).get("rows", 0)
    for place, name in enumerate(order):
        measures = found.get(name)
        if measures is None or measures["wape"] is None:
            continue
        value, own = measures["wape"], name == model
        colour, part = (BLUE if own else GREY), measures["rows"] < most
        sampled = sampled or part
        axes.plot([0, value], [place, place], color=FAINT, linewidth=1.2, zorder=1)
        axes.plot(
            value,
            place,
            marker="o",
            markersize=10 if own else 8,
            color=colour,
            markerfacecolor="white" if part else colour,
            markeredgewidth=1.6,
            zorder=3,
        )
        axes.annotate(
            f"{value:.1%}",
            (value, place),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
            color=colour,
            fontweight="bold" if own else "normal",
        )
    values = [found[name]["wape"] for name in order if found.get(name, {}).get("wape") is not None]
    axes.set_xlim(0, max(values, default=1.0) * 1.22)
    axes.set_xlabel("WAPE (less is better)")
    _rows(axes, order, bold=model)
    return sampled


def _skill_dots(axes: Axes, found: Mapping[str, Any], rivals: list[str]) -> None:
    axes.axvline(0, color="black", linewidth=1, zorder=1)
    for place, name in enumerate(rivals):
        one = found.get(name)
        if one is None or one["skill"] is None:
            continue
        if one["low"] is not None:
            axes.plot(
                [one["low"], one["high"]],
                [place, place],
                color=BLUE,
                linewidth=1.6,
                marker="|",
                markersize=9,
                zorder=2,
            )
        axes.plot(one["skill"], place, marker="o", markersize=8, color=BLUE, zorder=3)
        axes.annotate(
            f"{one['skill']:+.1%}".replace("-", "\N{MINUS SIGN}"),
            (one["skill"], place),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=9.5,
            color=BLUE,
            # Legible where it lies over the line at nought.
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -0.05), max(high, 0.05))
    axes.set_xlabel("error less than the rival's, on the same rows")
    _rows(axes, [f"against {name}" for name in rivals])


def _rows(axes: Axes, names: list[str], bold: str | None = None) -> None:
    axes.set_yticks(range(len(names)), names)
    for label in axes.get_yticklabels():
        if label.get_text() == bold:
            label.set_fontweight("bold")
    axes.set_ylim(-0.6, len(names) - 0.3)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.spines["left"].set_visible(False)
