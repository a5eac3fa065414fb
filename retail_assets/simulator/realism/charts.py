"""The report as pictures that a person looks at.

Belongs here: drawing. Does not belong here: working anything out beyond what a picture needs (`report`).

Colours are those of Okabe and Ito, which people with any kind of colour vision can tell apart; where there are two
kinds of mark, they differ in shape or place as well.
"""

from collections.abc import Callable
from datetime import timedelta
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
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, StrMethodFormatter

from retail_assets.chart_style import BLUE, DPI, FAINT, GREEN, GREY, ORANGE, PINK, RED, STYLE
from retail_assets.simulator.realism.report import Findings, Story
from retail_assets.simulator.realism.statistics import ADI_CUT, CLASSES, CV2_CUT, SERIES, class_shares

_CYCLE: Final = (BLUE, RED, GREEN, PINK, ORANGE)
_LINE_STYLES: Final = ("-", "--", "-.", ":")
_CLASS_MARKS: Final = {
    "intermittent": (BLUE, "o"),
    "lumpy": (RED, "^"),
    "erratic": (PINK, "s"),
    "smooth": (GREEN, "D"),
}
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HOURS: Final = 24
_MOST_DOTS: Final = 20_000
_LEAST_CV2: Final = 0.01
_DECADES_WITH_FIVES: Final = 3.3  # more decades leave no room for the ticks between them


def draw_charts(findings: Findings, folder: Path) -> list[Path]:
    """Draw every chart that the findings have data for.

    Args:
        findings: of a lake.
        folder: where the PNG files go; made where it is missing.

    Returns:
        The files, in the order in which one would look at them.

    Raises:
        OSError: the folder can't be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures: list[tuple[str, Callable[[], Figure] | None]] = [
        ("week_by_hour", lambda: week_by_hour(findings.by_hour)),
        ("year_by_day", lambda: year_by_day(findings.by_date)),
        ("product_story", None if findings.story is None else lambda: product_story(_some(findings.story))),
        ("stockouts_by_hour", None if findings.clock.is_empty() else lambda: stockouts_by_hour(findings.clock)),
        ("demand_classes", lambda: demand_classes(findings.series)),
    ]
    written = []
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        for name, draw in pictures:
            if draw is None:
                continue
            path = folder / f"{name}.png"
            draw().savefig(path, dpi=DPI, metadata={"Software": None})
            written.append(path)
    return written


def week_by_hour(by_hour: pl.DataFrame) -> Figure:
    """Draw units per hour of an average store of each format, Monday to Sunday.

    Args:
        by_hour: `Findings.by_hour`.
    """
    figure = Figure(figsize=(12, 5.4), layout="constrained")
    axes = figure.add_subplot()
    place = (pl.col("weekday") - 1) * _HOURS + pl.col("hour")
    # The busiest first, so that the legend reads as the lines lie.
    totals = by_hour.group_by("format").agg(pl.col("units").sum()).sort("units", "format", descending=True)
    for number, store_format in enumerate(totals["format"]):
        rows = by_hour.filter(pl.col("format") == store_format).select("units", place=place)
        units = np.zeros(len(_WEEKDAYS) * _HOURS)
        units[rows["place"].to_numpy()] = rows["units"].to_numpy()
        axes.stairs(
            units,
            np.arange(units.size + 1),
            label=store_format,
            color=_CYCLE[number % len(_CYCLE)],
            linewidth=1.6,
            baseline=None,
        )
    axes.set_title("A week by hour: units sold in an average store of each format")
    axes.set_ylabel("units per hour")
    axes.set_xlabel("local time")
    axes.set_xlim(0, len(_WEEKDAYS) * _HOURS)
    axes.set_ylim(bottom=0)
    axes.set_xticks(np.arange(len(_WEEKDAYS)) * _HOURS + _HOURS / 2, _WEEKDAYS)
    axes.tick_params(axis="x", which="major", length=0, pad=18)
    quarters = [hour for hour in range(len(_WEEKDAYS) * _HOURS) if hour % _HOURS in {6, 12, 18}]
    axes.set_xticks(quarters, [f"{hour % _HOURS}:00" for hour in quarters], minor=True)
    axes.tick_params(axis="x", which="minor", labelsize=8, labelcolor=GREY)
    for midnight in range(_HOURS, len(_WEEKDAYS) * _HOURS, _HOURS):
        axes.axvline(midnight, color=FAINT, linewidth=1, zorder=0)
    _legend_above(axes)
    return figure


def year_by_day(by_date: pl.DataFrame) -> Figure:
    """Draw units per day of the last year, its weekends and holidays marked, over a mean of seven days.

    Args:
        by_date: `Findings.by_date`.
    """
    year = by_date.sort("date").with_columns(week=pl.col("units").rolling_mean(7, center=True)).tail(366)
    dates, units = year["date"].to_numpy(), year["units"].to_numpy()
    figure = Figure(figsize=(14, 5.6), layout="constrained")
    axes = figure.add_subplot()
    weekend = year["date"].dt.weekday().to_numpy() >= 6  # noqa: PLR2004 - Saturday is the sixth day
    axes.bar(dates[~weekend], units[~weekend], width=0.9, color="#9CC4E0", label="Monday to Friday")
    axes.bar(dates[weekend], units[weekend], width=0.9, color=BLUE, label="Saturday, Sunday")
    (week,) = axes.plot(dates, year["week"].to_numpy(), color="black", linewidth=1.8, label="mean of seven days")
    top = float(units.max()) if units.size else 1.0
    off = year.filter(pl.col("holiday_name") != "")
    axes.scatter(
        off["date"].to_numpy(),
        np.full(off.height, top * 1.04),
        marker="v",
        s=45,
        color=RED,
        label="public holiday",
        zorder=3,
    )
    _name_holidays(axes, off, top * 1.08)
    axes.set_title("A year by day: units sold in all stores")
    axes.set_ylabel("units per day")
    axes.set_ylim(0, top * 1.5)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlim(dates[0] - np.timedelta64(1, "D"), dates[-1] + np.timedelta64(1, "D"))
    _months(axes)
    bars = list(axes.containers)
    marks = axes.collections[0]
    _legend_above(axes, handles=[*bars, week, marks])
    return figure


def product_story(story: Story) -> Figure:
    """Draw one product in one store: units per day, promotions shaded, empty shelves marked, stock below.

    Args:
        story: whose days.
    """
    figure = Figure(figsize=(14, 7), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(3, 2))
    sales = figure.add_subplot(grid[0])
    stock = figure.add_subplot(grid[1], sharex=sales)
    days = story.days.sort("date")
    dates, units = days["date"].to_numpy(), days["units"].to_numpy()
    empty = days["stocked_out"].fill_null(value=False).to_numpy()
    sales.bar(dates, units, width=0.85, color=BLUE)
    top = max(float(units.max()), 1.0)
    sales.scatter(
        dates[empty],
        np.full(int(empty.sum()), -0.05 * top),
        marker="x",
        s=32,
        color=RED,
        linewidths=1.8,
        clip_on=False,
    )
    for first, last in _runs(days.filter("on_promotion")["date"]):
        for axes in (sales, stock):
            axes.axvspan(first, last, color=ORANGE, alpha=0.28, linewidth=0, zorder=0)
    sales.set_ylim(-0.1 * top, top * 1.08)
    sales.set_yticks([tick for tick in sales.get_yticks() if 0 <= tick <= top * 1.08])
    sales.set_ylabel("units sold per day")
    sales.set_title(f"One product, day by day: {story.name} ({story.product_id}) in store {story.store_id}", pad=34)
    sales.tick_params(axis="x", labelbottom=False)
    sales.legend(
        handles=[
            Patch(color=BLUE, label="units sold"),
            Patch(color=ORANGE, alpha=0.28, label="promotion"),
            Line2D(
                [],
                [],
                color=RED,
                marker="x",
                linestyle="",
                markeredgewidth=1.8,
                label="shelf empty at some time of trade",
            ),
            Line2D([], [], color=GREEN, label="stock by the books"),
        ],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=4,
        columnspacing=1.6,
        borderaxespad=0.2,
        borderpad=0,
    )
    stock.step(
        story.on_hand["at"].to_numpy(), story.on_hand["on_hand"].to_numpy(), where="post", color=GREEN, linewidth=1.4
    )
    stock.set_ylabel("units on hand")
    stock.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    stock.set_ylim(bottom=0)
    stock.set_xlim(dates[0] - np.timedelta64(1, "D"), dates[-1] + np.timedelta64(1, "D"))
    _months(stock)
    figure.align_ylabels()
    return figure


def stockouts_by_hour(clock: pl.DataFrame) -> Figure:
    """Draw the share of series whose shelf is empty at each full hour of trade, by format.

    Args:
        clock: `Findings.clock`.
    """
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    axes = figure.add_subplot()
    hours = (
        clock.group_by("format", "hour")
        .agg(share=100 * pl.col("empty").sum() / pl.col("series_days").sum())
        .sort("format", "hour")
    )
    for number, store_format in enumerate(hours["format"].unique().sort()):
        rows = hours.filter(pl.col("format") == store_format)
        axes.plot(
            rows["hour"].to_numpy(),
            rows["share"].to_numpy(),
            color=_CYCLE[number % len(_CYCLE)],
            linestyle=_LINE_STYLES[number % len(_LINE_STYLES)],
            marker="osD^"[number % 4],
            markersize=5,
            linewidth=1.8,
            label=store_format,
        )
    axes.set_title("Empty shelves through the day")
    axes.set_ylabel("series with an empty shelf, %")
    axes.set_xlabel("time of day, local; from opening to closing")
    axes.set_ylim(bottom=0)
    first, last = int(hours["hour"].min()), int(hours["hour"].max())  # type: ignore[arg-type]
    ticks = [hour for hour in range(0, _HOURS + 1, 2) if first <= hour <= last]
    axes.set_xticks(ticks, [f"{hour}:00" for hour in ticks])
    _legend_above(axes)
    return figure


def demand_classes(series: pl.DataFrame) -> Figure:
    """Draw every series by how seldom and how unevenly it sells, and its share of days without a sale by its mean.

    Args:
        series: of `series_statistics`.
    """
    figure = Figure(figsize=(14, 6.2), layout="constrained")
    classes, zeros = figure.subplots(1, 2)
    sold = series.drop_nulls("demand_class")
    shares = class_shares(series) or {}
    if sold.height > _MOST_DOTS:
        # More dots would be one blot; the same ones each time.
        sold = sold.sort(SERIES).sample(_MOST_DOTS, seed=0)
    for name in CLASSES:
        colour, mark = _CLASS_MARKS[name]
        rows = sold.filter(pl.col("demand_class") == name)
        label = f"{name} {100 * shares.get(name, 0):.0f} %"
        style = {"color": colour, "marker": mark, "s": 14, "alpha": 0.55, "linewidths": 0}
        # A logarithm has no place for series that sell the same each time: they lie on the lowest line.
        classes.scatter(rows["adi"].to_numpy(), rows["size_cv2"].clip(_LEAST_CV2).to_numpy(), label=label, **style)
        share = 100 * (1 - rows["sale_days"] / rows["days"])
        zeros.scatter(rows["mean"].to_numpy(), share.to_numpy(), **style)
    classes.axvline(ADI_CUT, color="black", linewidth=1)
    classes.axhline(CV2_CUT, color="black", linewidth=1)
    classes.set_title("Classes of demand: each dot one product in one store")
    classes.set_xlabel(f"mean days from sale to sale (border {ADI_CUT})")
    classes.set_ylabel(f"squared variation of units per sale day (border {CV2_CUT})")
    classes.legend(loc="upper right", markerscale=2, frameon=True, framealpha=0.9, edgecolor="white")
    zeros.set_title("Days without a sale, against how much is sold")
    zeros.set_xlabel("mean units per day")
    zeros.set_ylabel("days without a sale, %")
    zeros.set_ylim(-2, 102)
    # What the plainest chance would give: where the dots lie above, sales come in bursts.
    mean = np.geomspace(*_extent(sold["mean"]), num=100)
    zeros.plot(mean, 100 * np.exp(-mean), color="black", linewidth=1.2, linestyle="--", label="if sales were Poisson")
    zeros.legend(loc="upper right")
    for axes, scales in ((classes, "xy"), (zeros, "x")):
        axes.grid(visible=True, which="major", axis="both")
        for axis in scales:
            _logarithmic(axes, axis)
    return figure


def _some(story: Story | None) -> Story:
    assert story is not None  # noqa: S101 - only drawn where there is one
    return story


def _extent(values: pl.Series) -> tuple[float, float]:
    least, greatest = values.min(), values.max()
    if isinstance(least, float) and isinstance(greatest, float) and 0 < least < greatest:
        return least, greatest
    return 0.01, 10.0


def _logarithmic(axes: Axes, axis: str) -> None:
    """Make an axis logarithmic, with plain numbers at as many ticks as there is room for."""
    getattr(axes, f"set_{axis}scale")("log")
    least, greatest = getattr(axes, f"get_{axis}lim")()
    ruler = getattr(axes, f"{axis}axis")
    few = np.log10(greatest / least) > _DECADES_WITH_FIVES
    ruler.set_major_locator(LogLocator(subs=(1.0,) if few else (1.0, 2.0, 5.0)))
    ruler.set_minor_locator(NullLocator())
    ruler.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _legend_above(axes: Axes, handles: list[Any] | None = None) -> None:
    """Put the legend above the right end of the chart, where no data are.

    Args:
        axes: whose legend.
        handles: what it names, in order; all that has a label, in the order of drawing, by default.
    """
    shown = axes.get_legend_handles_labels()[0] if handles is None else handles
    axes.legend(handles=shown, loc="lower right", bbox_to_anchor=(1, 1), ncols=5, columnspacing=1.4, borderaxespad=0.2)


def _months(axes: Axes) -> None:
    locator = mdates.MonthLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _name_holidays(axes: Axes, off: pl.DataFrame, height: float) -> None:
    """Write the names of holidays upright above their marks; of days that lie together the first one is named."""
    before = None
    for row in off.sort("date").iter_rows(named=True):
        if before is None or row["date"] - before > timedelta(days=6):
            axes.text(
                row["date"],
                height,
                row["holiday_name"],
                rotation=90,
                ha="center",
                va="bottom",
                fontsize=8.5,
                color=GREY,
            )
            before = row["date"]


def _runs(dates: pl.Series) -> list[tuple[float, float]]:
    """Return where on the time axis each run of days that follow each other begins and ends, half a bar around it."""
    runs = pl.DataFrame({"date": dates.sort()}).with_columns(
        run=(pl.col("date").diff() > timedelta(days=1)).fill_null(value=False).cum_sum()
    )
    # Matplotlib counts days since the epoch, and so does a date's own number.
    number = pl.col("date").cast(pl.Int32).cast(pl.Float64)
    return list(
        runs.group_by("run").agg(number.min() - 0.5, last=number.max() + 0.5).sort("run").drop("run").iter_rows()
    )
