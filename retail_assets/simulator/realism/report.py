"""The statistics of a lake's retailer beside those of real ones.

Belongs here: putting the stores' figures together, the table, the JSON, and the rows that charts are drawn from. Does
not belong here: how a figure is counted (`statistics`), what it should be (`published`), how the lake is read
(`observation`), drawing (`charts`).

It is a report, not a gate: what lies outside is marked, and nothing fails.
"""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
from rich.console import Console
from rich.table import Table as Grid

from retail_assets.simulator.realism.observation import Observation, observe
from retail_assets.simulator.realism.published import Figure, figures_of_sales, figures_of_stock
from retail_assets.simulator.realism.statistics import Statistics, added, series_statistics, summarise, weekday_totals
from retail_assets.simulator.realism.store_days import StoreDays, days_by_store

#: How far back the story of one product goes.
STORY_DAYS: Final = 182
#: With fewer series, the share of a class has a standard error of over two points, and single products decide; with
#: fewer days than a year, seasons and holidays aren't all there.
LEAST_SERIES: Final = 500
LEAST_DAYS: Final = 365

# A product whose story is worth a chart: promoted for a week, out of stock at times, but not most of the time.
_STORY_PROMOTION_DAYS: Final = 7
_STORY_STOCKOUT_DAYS: Final = 3
_STORY_STOCKOUT_SHARE: Final = 0.2


@dataclass(frozen=True)
class Story:
    """One product in one store, day by day.

    Attributes:
        store_id: which store.
        product_id: which product.
        name: what people call the product.
        days: its frame of days, see `statistics`.
        on_hand: stock after each movement: `at` (UTC), `on_hand`.
    """

    store_id: str
    product_id: str
    name: str
    days: pl.DataFrame
    on_hand: pl.DataFrame


@dataclass(frozen=True)
class Findings:
    """What a lake says of its retailer.

    Attributes:
        lake_uri: which lake.
        first_date: the first local date with a sale.
        last_date: the last.
        counts: how much was read, see `Observation.counts`; also `stores`, `series`, `series_days`.
        statistics: the figures.
        series: of `series_statistics`, one row per series.
        by_date: units of all stores: `date`, `units`, `holiday_name` (empty on other days).
        by_hour: units of a format's average store in an average week: `format`, `weekday` (1 to 7), `hour`, `units`.
        clock: shelves at each full hour of trade: `format`, `hour`, `opening`, `closing`, `series_days`, `empty`.
        story: a product with promotions and empty shelves; None where no series lasted.
    """

    lake_uri: str
    first_date: date
    last_date: date
    counts: dict[str, int]
    statistics: Statistics
    series: pl.DataFrame
    by_date: pl.DataFrame
    by_hour: pl.DataFrame
    clock: pl.DataFrame
    story: Story | None

    @property
    def too_small(self) -> bool:
        """Whether there are too few series or days for the figures to mean much."""
        return self.counts["series"] < LEAST_SERIES or (self.last_date - self.first_date).days + 1 < LEAST_DAYS

    @property
    def stockouts_by_hour(self) -> list[dict[str, Any]]:
        """The share of series whose shelf is empty at each full hour of the stores' clocks, all formats together.

        `all_stores` marks the hours that can be compared: at the others some formats are closed.
        """
        hours = self.clock.group_by("hour").agg(pl.col("series_days", "empty").sum()).sort("hour")
        return hours.select(
            "hour",
            "series_days",
            share=pl.col("empty") / pl.col("series_days"),
            all_stores=pl.col("series_days") == pl.col("series_days").max(),
        ).to_dicts()

    def stockout_share_when(self, moment: str) -> float | None:
        """Return the share of series whose shelf is empty when trade begins (`opening`) or ends (`closing`)."""
        then = self.clock.filter(moment)
        series_days = int(then["series_days"].sum())
        return int(then["empty"].sum()) / series_days if series_days else None

    def figures(self) -> list[Figure]:
        """Return every figure beside what it should be."""
        opening, closing = self.stockout_share_when("opening"), self.stockout_share_when("closing")
        rise = closing / opening if opening and closing is not None else None
        return [*figures_of_sales(self.statistics), *figures_of_stock(self.statistics, rise)]

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON knows it; what the data can't tell is null."""
        return {
            "made_on": datetime.now(UTC).date().isoformat(),
            "lake": self.lake_uri,
            "first_date": self.first_date.isoformat(),
            "last_date": self.last_date.isoformat(),
            "counts": self.counts,
            "too_small": self.too_small,
            "statistics": asdict(self.statistics),
            "stockouts_by_hour": self.stockouts_by_hour,
            "stockout_share_at_opening": self.stockout_share_when("opening"),
            "stockout_share_at_closing": self.stockout_share_when("closing"),
            "figures": [asdict(figure) | {"inside": figure.inside} for figure in self.figures()],
        }


def find(
    lake_uri: str,
    storage_options: dict[str, str] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Findings:
    """Read a lake and work out the figures of its retailer.

    Args:
        lake_uri: `file:///…`, `s3://…` or `s3a://…`, without the layer.
        storage_options: what delta-rs needs to reach the store.
        on_progress: called with one line of text per step.

    Raises:
        ObservationError: a table is missing or can't be read, or there are no sales.
    """
    # What is read is kept for one pass; the system's own folder may be memory, so it is a few bytes per series-day.
    with tempfile.TemporaryDirectory(prefix="retail-report-") as folder:
        observation = observe(lake_uri, Path(folder), storage_options, on_progress)
        series, weekdays, dates, clocks = [], [], [], []
        best: tuple[float, StoreDays, str] | None = None
        for store in days_by_store(observation):
            series.append(series_statistics(store.days))
            weekdays.append(weekday_totals(store.days))
            dates.append(store.days.group_by("date").agg(pl.col("units").sum()))
            clocks.append(store.clock.with_columns(format=pl.lit(store.format)))
            found = _worth_telling(store, observation.last_date)
            if found is not None and (best is None or found[0] > best[0]):
                best = (found[0], store, found[1])
            if on_progress is not None:
                on_progress(f"{store.store_id}: {store.days.height:,} series-days")
        table = pl.concat(series)
        return Findings(
            lake_uri=lake_uri,
            first_date=observation.first_date,
            last_date=observation.last_date,
            counts={
                "stores": len(series),
                "series": table.height,
                "series_days": int(table["days"].sum()),
                **observation.counts,
            },
            statistics=summarise(table, added(weekdays, ["weekday"])),
            series=table,
            by_date=_with_holidays(added(dates, ["date"]), observation.calendar),
            by_hour=_average_week(observation),
            clock=added(clocks, ["format", "hour", "opening", "closing"]),
            story=None if best is None else _story(observation, best[1], best[2]),
        )


def write_table(findings: Findings, console: Console) -> None:
    """Show every figure beside what was asked for and what was published."""
    counts = findings.counts
    grid = Grid(
        title=f"{findings.first_date} to {findings.last_date}: {counts['stores']:,} stores, "
        f"{counts['series']:,} series, {counts['series_days']:,} series-days, {counts['sale_lines']:,} sale lines",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for heading in ("figure", "here", "asked for", "published", "source", ""):
        right = heading in {"here", "asked for", "published"}
        grid.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for figure in findings.figures():
        mark = {None: "[yellow]not known[/yellow]", True: "", False: "[red]outside[/red]"}[figure.inside]
        grid.add_row(
            figure.label, _shown(figure.measured, figure), _range(figure), figure.published, figure.source, mark
        )
    console.print(grid)
    if findings.too_small:
        console.print(
            f"\nWith under {LEAST_SERIES} series or {LEAST_DAYS} days, the figures mean little; the preset demo has "
            "enough.",
            highlight=False,
            soft_wrap=True,
        )
    hours = [f"{row['hour']} h {row['share'] * 100:.1f}" for row in findings.stockouts_by_hour if row["all_stores"]]
    console.print(
        f"\nEmpty shelves while all stores trade, per cent: {', '.join(hours) or 'none'}",
        highlight=False,
        soft_wrap=True,
    )


def _shown(value: float | None, figure: Figure) -> str:
    if value is None:
        return "-"
    # Without the addition, a little less than nothing would be shown as -0.00.
    return f"{value * 100:.1f} %" if figure.percent else f"{round(value, 2) + 0.0:.2f}"


def _range(figure: Figure) -> str:
    if figure.greatest is None:
        return f"over {figure.least:.0f}"
    if figure.percent:
        return f"{figure.least * 100:.0f}-{figure.greatest * 100:.0f} %"
    return f"{figure.least:.2f}-{figure.greatest:.2f}"


def _with_holidays(by_date: pl.DataFrame, calendar: pl.DataFrame) -> pl.DataFrame:
    names = calendar.filter("is_holiday").select("date", "holiday_name")
    return by_date.join(names, on="date", how="left", maintain_order="left").with_columns(
        pl.col("holiday_name").fill_null("")
    )


def _average_week(observation: Observation) -> pl.DataFrame:
    """Return the units of a format's average store by weekday and hour."""
    dates = pl.date_range(observation.first_date, observation.last_date, eager=True)
    times = dates.dt.weekday().cast(pl.Int64).value_counts(name="times").rename({dates.name: "weekday"})
    formats = observation.stores.select("store_id", "format").with_columns(stores=pl.len().over("format"))
    return (
        observation.by_hour.join(formats, on="store_id")
        .join(times, on="weekday")
        .group_by("format", "weekday", "hour")
        .agg(units=(pl.col("units") / (pl.col("times") * pl.col("stores"))).sum())
        .sort("format", "weekday", "hour")
    )


def _worth_telling(store: StoreDays, last_date: date) -> tuple[float, str] | None:
    """Return how good a story the store's best product makes, and which it is."""
    recent = store.days.filter(pl.col("date") > last_date - timedelta(days=STORY_DAYS))
    promoted, empty = pl.col("on_promotion").sum(), pl.col("stocked_out").sum()
    eventful = (
        (promoted >= _STORY_PROMOTION_DAYS)
        & (empty >= _STORY_STOCKOUT_DAYS)
        & (empty <= pl.len() * _STORY_STOCKOUT_SHARE)
    )
    # Among the eventful the one that sells best: its bars can be read. Where none is eventful, the best seller.
    ranked = (
        recent.group_by("product_id")
        .agg(units=pl.col("units").sum(), eventful=eventful)
        .sort("eventful", "units", "product_id", descending=True)
    )
    if ranked.is_empty():
        return None
    first = ranked.row(0, named=True)
    return first["units"] + (1e12 if first["eventful"] else 0.0), first["product_id"]


def _story(observation: Observation, store: StoreDays, product_id: str) -> Story:
    first = observation.last_date - timedelta(days=STORY_DAYS - 1)
    days = store.days.filter((pl.col("product_id") == product_id) & (pl.col("date") >= first)).sort("date")
    names = observation.products.filter(pl.col("product_id") == product_id)["name"]
    return Story(
        store_id=store.store_id,
        product_id=product_id,
        name=names[0],
        days=days,
        on_hand=observation.on_hand(store.store_id, product_id, first, observation.last_date),
    )
