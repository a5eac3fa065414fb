"""Training, forecasting and the backtest on Spark: nothing of the future, the same twice, and odd histories."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from pyspark.sql import SparkSession

from retail_assets.backtest.errors import BacktestError
from retail_assets.backtest.names import OURS
from retail_assets.backtest.run import Backtest, Plan, run_backtest
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    QUANTILES,
    REFERENCE_CALENDAR,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_STORES,
    REFERENCE_WEATHER,
    Table,
)
from retail_assets.contracts.types import polars_schema
from retail_assets.domain.recipe import Recipe
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource
from retail_assets.training.procedure import rows_to_learn, train_and_judge
from retail_assets.training.rows import Masters, rows_from_sales
from retail_assets.training.trees import fit

LAST = date(2025, 6, 29)
SMALL = Recipe(rounds=20, max_depth=3, training_days=120, origin_stride_days=5, judged_origins=2)
SMALL_PLAN = Plan(origins=3, rivals=("seasonal_naive", "mean_28"), recipe=SMALL)


def table(of: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of a table; what isn't given is null, or nothing where null isn't allowed."""
    schema = polars_schema(of.columns)
    fill = {pl.String: "", pl.Boolean: False}
    missing = [
        pl.lit(None if column.nullable else fill.get(type(schema[column.name]), 0)).alias(column.name)
        for column in of.columns
        if column.name not in rows.columns
    ]
    return rows.with_columns(missing).select(of.column_names).cast(schema, strict=False)


def sales(units: Callable[[int, int, np.random.Generator], float], *, series: int = 6, days: int = 200) -> pl.DataFrame:
    """Return daily sales of a store up to `LAST`; `units` gives those of a series and day."""
    rng = np.random.default_rng(3)
    first = LAST - timedelta(days=days - 1)
    return pl.DataFrame(
        [
            {
                "store_id": "S1",
                "product_id": f"P{number}",
                "business_date": first + timedelta(days=day),
                "units": units(number, day, rng),
                "unit_price": 2.0,
                "list_price": 2.0,
                "open_hours": 12.0,
                "stockout_hours": 0.0,
            }
            for number in range(series)
            for day in range(days)
        ]
    )


def steady(number: int, day: int, rng: np.random.Generator) -> float:
    return float(rng.poisson((1 + number) * (2.0 if day % 7 == 5 else 1.0)))


@pytest.fixture
def judge(spark_resource: SparkResource, lake: LakeResource) -> Callable[..., Backtest]:
    """Return what puts sales into a lake and runs a backtest on it."""

    def run(daily_sales: pl.DataFrame, plan: Plan = SMALL_PLAN) -> Backtest:
        fill(lake, daily_sales)
        return run_backtest(spark_resource, lake, plan)

    return run


def fill(lake: LakeResource, daily_sales: pl.DataFrame) -> None:
    products = (
        daily_sales.select("product_id")
        .unique(maintain_order=True)
        .with_columns(category=pl.concat_str(pl.lit("C"), pl.col("product_id").str.slice(1).cast(pl.Int64) % 2))
    )
    lake.overwrite(CORE_DAILY_SALES, table(CORE_DAILY_SALES, daily_sales))
    lake.overwrite(REFERENCE_PRODUCTS, table(REFERENCE_PRODUCTS, products))
    lake.overwrite(REFERENCE_STORES, table(REFERENCE_STORES, daily_sales.select("store_id").unique()))
    for empty in (REFERENCE_PROMOTIONS, REFERENCE_CALENDAR, REFERENCE_WEATHER):
        lake.overwrite(empty, pl.DataFrame(schema=polars_schema(empty.columns)))


def ours(backtest: Backtest) -> pl.DataFrame:
    return backtest.forecasts.filter(model=OURS)


def test_a_shuffled_future_changes_no_forecast(judge: Callable[..., Backtest]) -> None:
    """Sales after an origin, in whatever order, are nothing that a forecast from it could know."""
    history = sales(steady)
    first_origin = LAST - timedelta(days=21)
    future = history.filter(pl.col("business_date") > first_origin)
    shuffled = future.with_columns(units=future["units"].shuffle(seed=1) * 3)
    before = judge(history)
    after = judge(pl.concat([history.filter(pl.col("business_date") <= first_origin), shuffled]))
    columns = ["store_id", "product_id", "target_date", "mean", *QUANTILES]
    known = [run.forecasts.filter(origin=first_origin).select("model", *columns) for run in (before, after)]
    assert known[0].height == 3 * 6 * 7
    assert known[0].equals(known[1])
    assert not before.forecasts["actual"].equals(after.forecasts["actual"])


def test_a_backtest_run_twice_gives_the_same_forecasts_and_figures(judge: Callable[..., Backtest]) -> None:
    history = sales(steady)
    first, second = judge(history), judge(history.sample(fraction=1.0, shuffle=True, seed=5))
    assert first.forecasts.equals(second.forecasts)
    figures = [{**run.report, "seconds": None} for run in (first, second)]
    assert json.dumps(figures[0]) == json.dumps(figures[1])


def test_every_series_and_day_ahead_is_forecast_once_by_each_model(judge: Callable[..., Backtest]) -> None:
    forecasts = judge(sales(steady)).forecasts
    keys = ["model", "origin", "store_id", "product_id", "target_date"]
    assert forecasts.height == 3 * 3 * 6 * 7
    assert forecasts.select(keys).is_unique().all()
    assert (forecasts["target_date"] - forecasts["origin"]).dt.total_days().equals(forecasts["horizon"].cast(pl.Int64))


def test_quantiles_stand_in_order_around_no_less_than_nothing(judge: Callable[..., Backtest]) -> None:
    rows = ours(judge(sales(steady)))
    levels = rows.select(*QUANTILES).to_numpy()
    assert (levels >= 0).all()
    assert (np.diff(levels, axis=1) >= 0).all()


def test_the_trees_do_not_depend_on_the_order_of_rows(spark: SparkSession, lake: LakeResource) -> None:
    fill(lake, sales(steady))
    rows = learnable(spark, lake)
    backwards = rows.orderBy("product_id", "run_date", ascending=False).repartition(3)
    assert fit(rows, SMALL) == fit(backwards, SMALL)


def test_trees_that_many_workers_make_forecast_as_those_of_the_driver(spark: SparkSession, lake: LakeResource) -> None:
    fill(lake, sales(steady))
    rows = learnable(spark, lake)
    from retail_assets.training.trees import predict_mean

    here, there = fit(rows, SMALL), fit(rows, SMALL, rows_in_driver=0)
    assert there == fit(rows, SMALL, rows_in_driver=0)
    means = [predict_mean(rows, trees).groupBy().avg("mean").head() for trees in (here, there)]
    assert means[0] is not None
    assert means[1] is not None
    assert means[0][0] == pytest.approx(means[1][0], rel=0.05)


def learnable(spark: SparkSession, lake: LakeResource):
    origins = SMALL.training_origins(LAST - timedelta(days=150), LAST)
    daily = spark.read.format("delta").load(lake.uri(CORE_DAILY_SALES.path))
    rows = rows_from_sales(daily, origins, list(range(1, 8)), Masters.of(lake))
    return rows_to_learn(rows, LAST, SMALL).cache()


def test_one_product_with_thirty_days_gets_its_own_mean(spark: SparkSession, lake: LakeResource) -> None:
    fill(lake, sales(lambda *_: 4.0, series=1, days=30))
    forecasts = forecast_last(spark, lake)
    assert forecasts["method"].unique().to_list() == ["series_mean"]
    assert forecasts["mean"].to_list() == [4.0] * 7


def test_nothing_ever_sold_is_forecast_as_nothing(spark: SparkSession, lake: LakeResource) -> None:
    fill(lake, sales(lambda *_: 0.0))
    forecasts = forecast_last(spark, lake)
    assert forecasts["mean"].max() == 0
    assert forecasts["method"].unique().to_list() == ["series_mean"]


def test_a_slip_of_a_million_units_spoils_no_other_forecast(spark: SparkSession, lake: LakeResource) -> None:
    def slip(number: int, day: int, rng: np.random.Generator) -> float:
        return 1e6 if (number, day) == (2, 120) else steady(number, day, rng)

    fill(lake, sales(slip))
    forecasts = forecast_last(spark, lake)
    assert forecasts.filter(pl.col("product_id") != "P2")["mean"].max() < 40


def test_a_product_that_stopped_is_forecast_as_next_to_nothing(spark: SparkSession, lake: LakeResource) -> None:
    def stopped(number: int, day: int, rng: np.random.Generator) -> float:
        return 0.0 if number in {1, 3, 5} and day > 100 + 10 * number else steady(number, day, rng)

    fill(lake, sales(stopped))
    forecasts = forecast_last(spark, lake)
    assert forecasts.filter(product_id="P1")["mean"].mean() < 0.3
    assert forecasts.filter(product_id="P4")["mean"].mean() > 3


def test_missing_weeks_and_prices_leave_forecasts_sensible(spark: SparkSession, lake: LakeResource) -> None:
    gaps = sales(steady).filter(
        ~(
            (pl.col("product_id") == "P4")
            & pl.col("business_date").is_between(LAST - timedelta(60), LAST - timedelta(30))
        )
    )
    fill(lake, gaps.with_columns(unit_price=pl.lit(0.0), list_price=pl.lit(0.0)))
    forecasts = forecast_last(spark, lake)
    assert forecasts.height == 6 * 7
    assert forecasts.filter(product_id="P4")["mean"].is_between(2, 12).all()


def forecast_last(spark: SparkSession, lake: LakeResource) -> pl.DataFrame:
    """Train on what a lake holds, and return the forecasts from its last day as the daily job makes them."""
    from retail_assets.domain.forecasting import complete_forecasts
    from retail_assets.training.procedure import origins_needed
    from retail_assets.training.trees import predict_mean

    history = lake.read(CORE_DAILY_SALES)
    first = history["business_date"].min()
    assert isinstance(first, date)
    origins = [*origins_needed(first, LAST, SMALL, 7), LAST]
    daily = spark.read.format("delta").load(lake.uri(CORE_DAILY_SALES.path))
    rows = rows_from_sales(daily, origins, list(range(1, 8)), Masters.of(lake)).cache()
    trained = train_and_judge(rows, LAST, replace(SMALL, rounds=100), 7)
    asked = pl.DataFrame(predict_mean(rows.where(rows["run_date"] == LAST), trained.trees).toArrow())
    recent = history.filter(pl.col("business_date") > LAST - timedelta(days=28))
    return complete_forecasts(asked, recent, lake.read(REFERENCE_PRODUCTS), trained.errors, "xgboost")


def test_too_few_days_for_the_origins_asked_for_are_said(judge: Callable[..., Backtest]) -> None:
    with pytest.raises(BacktestError, match="ask for fewer --origins"):
        judge(sales(steady, days=40), replace(SMALL_PLAN, origins=8))


def test_an_empty_lake_says_what_comes_first(spark_resource: SparkResource, lake: LakeResource) -> None:
    with pytest.raises(BacktestError, match="retail run daily_etl"):
        run_backtest(spark_resource, lake, SMALL_PLAN)
