"""The backtest: from each of the last weeks, forecast what came next as if it weren't known, and put rivals beside it.

At every origin the model is trained anew, by the procedure and the recipe of every week's training, on what was known
then. Belongs here: what is forecast in which order, and what is written. Does not belong here: the model (`training`),
the rivals (`rivals`), the measures (`domain.judgement`), and what is shown (`show`).
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import functions as F

from retail_assets.backtest.errors import BacktestError
from retail_assets.backtest.names import OURS, QUICK, RIVALS
from retail_assets.backtest.rivals import gbt_forecasts, rival_forecasts, sampled_series
from retail_assets.contracts.tables import CORE_DAILY_SALES, QUANTILES
from retail_assets.domain.demand import uncensored_demand
from retail_assets.domain.errors import add_quantiles, fit_error_model
from retail_assets.domain.forecasting import complete_forecasts
from retail_assets.domain.judgement import report
from retail_assets.domain.promotions import discounts_by_day
from retail_assets.domain.recipe import Recipe
from retail_assets.domain.scales import naive_scales
from retail_assets.domain.series_classes import abc_classes, demand_classes
from retail_assets.io_managers.delta import read_table
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource
from retail_assets.training.procedure import Trained, origins_needed, rows_to_learn, train_and_judge, weeks_before
from retail_assets.training.rows import Masters, rows_from_sales
from retail_assets.training.trees import predict_mean

#: What a row of the written forecasts holds.
COLUMNS: Final = (
    "model",
    "origin",
    "target_date",
    "horizon",
    "store_id",
    "product_id",
    "actual",
    "mean",
    *QUANTILES,
)
_SOLD: Final = ("store_id", "product_id", "business_date", "units", "stockout_hours", "open_hours")
_KEYS: Final = ("origin", "target_date", "horizon", "store_id", "product_id")
_ASKED: Final = (*_KEYS[1:], "run_date", "mean", "days_on_sale", "demand_mean_28")
_DIGITS: Final = 9
_SLOW_SELLERS: Final = ("intermittent", "lumpy")


@dataclass(frozen=True)
class Plan:
    """What is asked of a backtest.

    Attributes:
        origins: weekly origins at the end of the history.
        horizon: days ahead.
        rivals: of `RIVALS`.
        rival_series: for about so many series the slow rivals are asked.
        recipe: of the model.
    """

    origins: int = 8
    horizon: int = 7
    rivals: tuple[str, ...] = RIVALS
    rival_series: int = 2_000
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True)
class Backtest:
    """What came of it.

    Attributes:
        forecasts: every forecast of every model: `COLUMNS`.
        report: the measures (`domain.judgement.report`), the origins, and how long each model took.
        products: `reference/products`, for charts.
        history: demand of the days before the first origin and after, for charts: store_id, product_id,
            business_date, demand.
    """

    forecasts: pl.DataFrame
    report: dict[str, Any]
    products: pl.DataFrame
    history: pl.DataFrame


def run_backtest(
    spark: SparkResource, lake: LakeResource, plan: Plan, on_progress: Callable[[str], None] = lambda _: None
) -> Backtest:
    """Forecast from each origin and judge.

    The demand of a day with empty shelves is corrected as everywhere (`domain.demand`), for the model and its rivals
    alike, and days of which nothing is known are judged for nobody.

    Args:
        spark: the session.
        lake: holds `core/daily_sales` and the reference tables.
        plan: how many origins, which rivals.
        on_progress: is told what was done.

    Raises:
        BacktestError: there are no daily sales, or too few.
    """
    session = spark.spark_session
    masters = Masters.of(lake)
    sold = lake.read(CORE_DAILY_SALES, columns=list(_SOLD))
    if sold.is_empty():
        raise BacktestError(f"{CORE_DAILY_SALES.path} is empty: run `retail run daily_etl` first")
    first, last = _span(sold["business_date"])
    daily_sales = read_table(session, lake, CORE_DAILY_SALES)
    origins = weeks_before(last - timedelta(days=plan.horizon - 7), plan.origins)
    needed = first + timedelta(days=7 * plan.recipe.judged_origins + plan.horizon)
    if origins[0] <= needed:
        raise BacktestError(
            f"the sales of {first} to {last} are too few: a backtest of {plan.origins} weeks begins on {origins[0]}, "
            f"and a model needs sales before {needed}: ask for fewer --origins"
        )
    days = _days(sold, masters.promotions, masters.calendar)
    series = days.filter(business_date=origins[0]).height
    recipe = plan.recipe.for_series(max(series, 1), plan.horizon)
    asked_for = sorted({*origins, *(day for o in origins for day in origins_needed(first, o, recipe, plan.horizon))})
    horizons = list(range(1, plan.horizon + 1))
    on_progress(f"{series:,} series, origins {origins[0]} to {origins[-1]}, sales since {first}")
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="retail-backtest-") as folder:
        began = time.perf_counter()
        path = f"{Path(folder).as_uri()}/rows"
        rows_from_sales(daily_sales, asked_for, horizons, masters).write.parquet(path)
        rows = session.read.parquet(path)
        seconds["inputs"] = time.perf_counter() - began
        on_progress(f"{rows.count():,} rows of inputs in {seconds['inputs']:.0f} s")
        sample = sampled_series(
            masters.products,
            days.filter(business_date=origins[0]).select("store_id", "product_id"),
            plan.rival_series,
            recipe.seed,
        )
        slow_sellers = demand_classes(days.filter(pl.col("business_date") <= origins[0])).filter(
            pl.col("demand_class").is_in(_SLOW_SELLERS)
        )
        parts: list[pl.DataFrame] = []
        coarser: dict[str, list[pl.DataFrame]] = {"product_store_week": [], "category_store_week": []}
        for origin in origins:
            began = time.perf_counter()
            trained = train_and_judge(rows, origin, recipe, plan.horizon)
            ours = _ours(rows, trained, days, masters.products)
            _count(seconds, OURS, began)
            for grain, frame in _sums(ours, trained, masters.products).items():
                coarser[grain].append(frame)
            keys = ours.select(*_KEYS)
            parts.append(ours)
            for name in plan.rivals:
                began = time.perf_counter()
                rival = _rival(name, origin, days, rows, recipe, keys, sample, slow_sellers)
                # Every model is judged on the forecasts that were asked of ours.
                parts.append(rival.join(keys, on=list(_KEYS), how="semi"))
                _count(seconds, name, began)
            on_progress(f"{origin}: " + ", ".join(f"{name} {took:.0f} s" for name, took in seconds.items()))
    return _judged(parts, coarser, days, masters.products, origins, recipe, plan, seconds)


def _judged(
    parts: Sequence[pl.DataFrame],
    coarser: dict[str, list[pl.DataFrame]],
    days: pl.DataFrame,
    products: pl.DataFrame,
    origins: list[date],
    recipe: Recipe,
    plan: Plan,
    seconds: dict[str, float],
) -> Backtest:
    actual = days.select("store_id", "product_id", target_date="business_date", actual="demand")
    forecasts = (
        pl.concat([part.select(*COLUMNS[:6], "mean", *QUANTILES) for part in parts])
        .join(actual, on=["store_id", "product_id", "target_date"], how="left")
        .filter(pl.col("mean").is_not_null())
        .select(COLUMNS)
        .sort(COLUMNS[:6])
    )
    before = days.filter(pl.col("business_date") <= origins[0])
    measures = report(
        forecasts,
        OURS,
        products=products,
        scales=naive_scales(days, products, origins),
        demand=demand_classes(before),
        abc=abc_classes(before),
        quantiles={grain: pl.concat(frames) for grain, frames in coarser.items()},
    )
    # The report needs to know of the days that can't be judged: quantiles of a week are of all its days.
    return Backtest(
        forecasts=forecasts.filter(pl.col("actual").is_not_null()),
        report={
            "origins": [str(origin) for origin in origins],
            "horizon_days": plan.horizon,
            "series": forecasts.filter(model=OURS).select("store_id", "product_id").n_unique(),
            "recipe": asdict(recipe),
            "seconds": {name: round(took, 1) for name, took in seconds.items()},
            **_rounded(measures),
        },
        products=products,
        history=days.select("store_id", "product_id", "business_date", "demand", "on_promotion"),
    )


def _rounded(figures: Any) -> Any:
    """Return figures without the last digits, which depend on the order in which threads have added."""
    if isinstance(figures, dict):
        return {name: _rounded(value) for name, value in figures.items()}
    return round(figures, _DIGITS) if isinstance(figures, float) else figures


def _span(days: pl.Series) -> tuple[date, date]:
    """Return the first and last of some days; there is at least one."""
    first, last = days.min(), days.max()
    assert isinstance(first, date) and isinstance(last, date)  # noqa: S101, PT018 -- the caller has looked
    return first, last


def _days(sold: pl.DataFrame, promotions: pl.DataFrame, calendar: pl.DataFrame) -> pl.DataFrame:
    """Return what all models are told of a series' days: demand, and what is planned and known ahead of each.

    Promotions are as planned, for the past too: what was sold at a discount without a plan is no knowledge of the day
    before.
    """
    planned = discounts_by_day(promotions, *_span(sold["business_date"])).rename(
        {"date": "business_date", "discount_share": "planned"}
    )
    holidays = calendar.filter("is_holiday")["date"].unique() if calendar.width else pl.Series(dtype=pl.Date)
    return (
        sold.join(planned, on=["store_id", "product_id", "business_date"], how="left")
        .with_columns(
            demand=uncensored_demand("units", "stockout_hours", "open_hours"),
            on_promotion=pl.col("planned").is_not_null(),
            discount_share=pl.col("planned").cast(pl.Float64).fill_null(0.0),
            is_holiday=pl.col("business_date").is_in(holidays.implode()),
        )
        .drop("planned")
        .sort("store_id", "product_id", "business_date")
    )


def _ours(rows: SparkFrame, trained: Trained, days: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
    """Return the model's forecasts from the last day that it knows, as every morning's job makes them."""
    asked = pl.DataFrame(
        predict_mean(rows.where(F.col("run_date") == F.lit(trained.known_through)), trained.trees)
        .select(
            "store_id", "product_id", "run_date", "target_date", "horizon", "mean", "days_on_sale", "demand_mean_28"
        )
        .toArrow()
    )
    forecasts = complete_forecasts(asked, _until(days, trained.known_through), products, trained.errors, OURS)
    return forecasts.rename({"run_date": "origin"}).with_columns(model=pl.lit(OURS))


def _until(days: pl.DataFrame, origin: date, history_days: int = 28) -> pl.DataFrame:
    return days.filter(pl.col("business_date").is_between(origin - timedelta(days=history_days), origin))


def _sums(ours: pl.DataFrame, trained: Trained, products: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return quantiles of the whole horizon's demand, by product and by category.

    Learnt from the same judged forecasts as those of a day, summed in the same way.
    """
    categories = products.select("product_id", pl.col("category").fill_null("unknown")).unique("product_id")
    result = {}
    for grain, what in (("product_store_week", "product_id"), ("category_store_week", "category")):

        def summed(frame: pl.DataFrame, origin: str, *values: str, by: str = what) -> pl.DataFrame:
            known = frame.join(categories, on="product_id", how="left").with_columns(
                pl.col("category").fill_null("unknown")
            )
            return known.group_by("store_id", by, origin).agg(pl.col(*values).sum()).sort("store_id", by, origin)

        judged = summed(trained.judged.filter(pl.col("actual").is_not_null()), "run_date", "mean", "actual")
        sums = summed(ours, "origin", "mean")
        result[grain] = (
            add_quantiles(sums, fit_error_model(judged))
            .select("store_id", what, "origin", *QUANTILES)
            .with_columns(model=pl.lit(OURS))
        )
    return result


def _rival(
    name: str,
    origin: date,
    days: pl.DataFrame,
    rows: SparkFrame,
    recipe: Recipe,
    keys: pl.DataFrame,
    sample: pl.DataFrame,
    slow_sellers: pl.DataFrame,
) -> pl.DataFrame:
    """Return a rival's forecasts from an origin, of all series or of those that it competes for."""
    series = ["store_id", "product_id"]
    asked = keys if name in QUICK else keys.join(sample, on=series, how="semi")
    if name == "croston_sba":
        asked = asked.join(slow_sellers, on=series, how="semi")
    if name == "mllib_gbt":
        here = rows.sparkSession.createDataFrame(sample.select(series).to_pandas())
        of_sample = rows.join(F.broadcast(here), series, "left_semi")
        made = pl.DataFrame(
            gbt_forecasts(
                rows_to_learn(of_sample, origin, recipe),
                of_sample.where(F.col("run_date") == F.lit(origin)),
                recipe.seed,
            )
            .select("store_id", "product_id", "run_date", "target_date", "horizon", "mean")
            .toArrow()
        ).rename({"run_date": "origin"})
        return made.with_columns(pl.lit(None, dtype=pl.Float64).alias(quantile) for quantile in QUANTILES).with_columns(
            model=pl.lit(name)
        )
    competing = asked.select(series).unique()
    columns = [*series, "business_date", "on_promotion", "discount_share", "is_holiday"]
    # What is planned for the days ahead is known; which days a series will have rows for is not.
    ahead = _ahead(asked, days).select(columns)
    history = days.filter(pl.col("business_date") <= origin).join(competing, on=series, how="semi")
    return rival_forecasts(
        history.select(*columns, "demand"),
        ahead,
        origin=origin,
        names=[name],
        seed=recipe.seed,
        n_jobs=rows.sparkSession.sparkContext.defaultParallelism,
    )


def _ahead(asked: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    dates = asked.select("store_id", "product_id", business_date="target_date").unique()
    of_day = days.select("business_date", "is_holiday").unique("business_date")
    planned = days.select("store_id", "product_id", "business_date", "on_promotion", "discount_share")
    return (
        dates.join(of_day, on="business_date", how="left")
        .join(planned, on=["store_id", "product_id", "business_date"], how="left")
        .with_columns(
            pl.col("is_holiday", "on_promotion").fill_null(value=False), pl.col("discount_share").fill_null(0.0)
        )
        .sort("store_id", "product_id", "business_date")
    )


def _count(seconds: dict[str, float], name: str, began: float) -> None:
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began
