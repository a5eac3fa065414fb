"""Forecasts of the rivals that the model has to beat, made from one origin with nothing after it.

Belongs here: named methods as others would use them, untuned, with what they need around them. Does not belong here:
judging them (`domain.judgement`), and the model that the platform forecasts with (`assets.models`).

All rivals see the same history on a daily grid: a day without a row is a day on which the series was not carried, 0;
a day of unknown demand has the last known demand of the same weekday, because none of the libraries takes gaps. The
28-day mean alone leaves unknown days out.
"""

import warnings
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import polars as pl
from pyspark.sql import DataFrame as SparkFrame

from retail_assets.contracts.tables import QUANTILES
from retail_assets.domain import forecasting
from retail_assets.domain.forecasting import FORECAST_INPUTS
from retail_assets.domain.frames import SERIES

__all__ = ["RIVALS", "TRAINING_DAYS", "UNKNOWN_INPUT", "gbt_forecasts", "rival_forecasts", "sampled_series"]

#: Days of history that a rival is fitted on: a year with all its seasons and holidays, and lags before it.
TRAINING_DAYS: Final = 400
#: What `gbt_forecasts` gives MLlib's trees for an input that is not known.
UNKNOWN_INPUT: Final = -1e6

_WEEK: Final = 7
_LAGS: Final = (1, 7, 14, 28)
_WINDOWS: Final = (7, 28)
#: Shorter histories can not tell a weekday from chance: three of each.
_LEAST_DAYS: Final = 21
_LEVELS: Final = {50: ("q25", "q75"), 80: ("q10", "q90"), 90: ("q05", "q95"), 95: ("q025", "q975")}
_KNOWN_AHEAD: Final = ("on_promotion", "discount_share", "is_holiday")
_ID: Final = "unique_id"

_HISTORY_SCHEMA: Final = {
    "store_id": pl.String(),
    "product_id": pl.String(),
    "business_date": pl.Date(),
    "demand": pl.Float64(),
    "on_promotion": pl.Boolean(),
    "discount_share": pl.Float64(),
    "is_holiday": pl.Boolean(),
}
_AHEAD_SCHEMA: Final = {name: type_ for name, type_ in _HISTORY_SCHEMA.items() if name != "demand"}
_FORECAST_SCHEMA: Final = {
    "model": pl.String(),
    "origin": pl.Date(),
    "target_date": pl.Date(),
    "horizon": pl.Int32(),
    "store_id": pl.String(),
    "product_id": pl.String(),
    "mean": pl.Float64(),
    **dict.fromkeys(QUANTILES, pl.Float64()),
}


def sampled_series(products: pl.DataFrame, series: pl.DataFrame, limit: int, seed: int) -> pl.DataFrame:
    """Return about `limit` series: all those of categories of stores that are drawn at random.

    Whole groups, so that a rival too slow for all series competes at the grain of categories as well. Groups are drawn
    until `limit` is reached; the last one is left out if that comes closer to it, but there is always one.

    Args:
        products: product_id, category; other products are of the category `unknown`.
        series: store_id, product_id; repeats are ignored.
        limit: series wanted.
        seed: of the draw; the order of rows plays no part in it.

    Returns:
        store_id, product_id, sorted.

    Raises:
        ValueError: a limit below 1.
    """
    if limit < 1:
        raise ValueError(f"a sample of {limit} series is none")
    groups = ["store_id", "category"]
    of_category = (
        series.select(*SERIES)
        .unique()
        .join(products.select("product_id", "category").unique("product_id", keep="first"), on="product_id", how="left")
        .with_columns(pl.col("category").fill_null("unknown"))
    )
    sizes = of_category.group_by(groups).agg(size=pl.len().cast(pl.Int64)).sort(groups)
    drawn = sizes[np.random.default_rng(seed).permutation(sizes.height)].with_columns(total=pl.col("size").cum_sum())
    before = pl.col("total") - pl.col("size")
    taken = drawn.filter((before == 0) | (pl.col("total") - limit <= limit - before))
    return of_category.join(taken.select(groups), on=groups, how="semi").select(*SERIES).sort(*SERIES)


def rival_forecasts(
    history: pl.DataFrame,
    ahead: pl.DataFrame,
    *,
    origin: date,
    names: Sequence[str],
    seed: int,
    n_jobs: int = 1,
    training_days: int = TRAINING_DAYS,
) -> pl.DataFrame:
    """Return what named rivals forecast from one origin.

    - `seasonal_naive`: the same weekday of the last week (`domain.forecasting`).
    - `mean_28`: the mean of the last 28 days (`domain.forecasting`).
    - `auto_ets`: statsforecast's AutoETS with a season of a week, which chooses among exponential smoothing models by
      AICc; its intervals give the quantiles, and its mean the median.
    - `croston_sba`: statsforecast's CrostonSBA, Syntetos and Boylan's method for slow sellers. Asked of others it is no
      worthy rival: give it slow series alone.
    - `lightgbm`: one LightGBM for all series of the history, through mlforecast, with default parameters: lags of 1,
      7, 14 and 28 days, means of 7 and 28 days, day of the week, month, and what is known ahead. Forecasts of a day
      are the lags of the next. It learns from all series in `history`, whether or not they are asked for.

    AutoETS and CrostonSBA of series with less than three weeks, or where fitting fails, and LightGBM of series without
    any, are the 28-day mean; with no history at all that is 0.

    Args:
        history: store_id, product_id, business_date, demand (units per day; null where unknown), on_promotion,
            discount_share (of the list price), is_holiday; no day after the origin.
        ahead: the same without demand, for days after the origin: the series and days that are to be forecast, with
            what is planned for them. Series whose days are not complete up to the last one asked for take gaps as
            ordinary days.
        origin: last day whose demand is known.
        names: of `RIVALS`.
        seed: of LightGBM; the others draw nothing, or the same each time.
        n_jobs: processes of statsforecast, threads of LightGBM.
        training_days: days up to the origin that AutoETS, CrostonSBA and LightGBM are fitted on.

    Returns:
        One row per name and row of `ahead`: model, origin, target_date, horizon (Int32), store_id, product_id, mean
        (units, at least 0) and the columns of `contracts.tables.QUANTILES` (null but for `auto_ets`), in the order of
        names and sorted. The same inputs and seed give the same forecasts.

    Raises:
        ValueError: history reaches beyond the origin, ahead begins before it ends, or a name is not known.
    """
    unknown = sorted(set(names) - set(RIVALS))
    if unknown:
        raise ValueError(f"no rival {', '.join(unknown)}; there are {', '.join(RIVALS)}")
    latest, soonest = history["business_date"].max(), ahead["business_date"].min()
    if isinstance(latest, date) and latest > origin:
        raise ValueError(f"history reaches {latest}, the origin is {origin}: a rival may not see the future")
    if isinstance(soonest, date) and soonest <= origin:
        raise ValueError(f"{soonest} is to be forecast from {origin}, when it is past")
    asked = (
        ahead.select(*_AHEAD_SCHEMA)
        .cast(_AHEAD_SCHEMA)  # type: ignore[arg-type]
        .rename({"business_date": "target_date"})
        .with_columns(horizon=(pl.col("target_date") - origin).dt.total_days().cast(pl.Int32))
        .sort(*SERIES, "target_date")
    )
    # More than a month is needed by nobody but those that are fitted.
    past = history.select(*_HISTORY_SCHEMA).cast(_HISTORY_SCHEMA)  # type: ignore[arg-type]
    grid = _grid(past.filter(pl.col("business_date") > origin - timedelta(days=max(training_days, 28))), origin)
    plain = _mean_28(grid, asked, origin)
    made = []
    for name in names:
        found = plain if name == "mean_28" else RIVALS[name](grid, asked, origin, seed, n_jobs)
        missing = [q for q in QUANTILES if q not in found.columns]
        made.append(
            asked.select("target_date", "horizon", *SERIES)
            .join(found, on=[*SERIES, "target_date"], how="left")
            .join(plain.rename({"mean": "fallback"}), on=[*SERIES, "target_date"], how="left")
            .with_columns(pl.lit(None, dtype=pl.Float64).alias(q) for q in missing)
            .with_columns(
                pl.lit(name).alias("model"),
                pl.lit(origin).alias("origin"),
                pl.coalesce(pl.col("mean").fill_nan(None), "fallback", 0.0).clip(lower_bound=0.0).alias("mean"),
                pl.col(*QUANTILES).fill_nan(None).clip(lower_bound=0.0),
            )
            .select(*_FORECAST_SCHEMA)
            .cast(_FORECAST_SCHEMA)  # type: ignore[arg-type]
        )
    return pl.concat(made) if made else pl.DataFrame(schema=_FORECAST_SCHEMA)


def _grid(history: pl.DataFrame, origin: date) -> pl.DataFrame:
    """Return each series day by day from its first row to the origin, ordered: demand without gaps, and `known`."""
    day = pl.col("business_date")
    spans = history.group_by(*SERIES).agg(first=day.min(), days=day.n_unique(), rows=pl.len())
    whole = (pl.lit(origin) - pl.col("first")).dt.total_days() + 1
    if spans.select(((pl.col("days") == whole) & (pl.col("rows") == whole)).all()).item():
        complete = history.with_columns(listed=pl.lit(value=True))
    else:
        complete = (
            spans.select(*SERIES, business_date=pl.date_ranges("first", pl.lit(origin)))
            .explode("business_date")
            .join(
                history.unique([*SERIES, "business_date"], keep="first", maintain_order=True).with_columns(
                    listed=pl.lit(value=True)
                ),
                on=[*SERIES, "business_date"],
                how="left",
            )
        )
    demand = pl.col("demand").fill_nan(None).clip(lower_bound=0.0)
    return (
        complete.with_columns(
            demand=pl.when(pl.col("listed").is_null()).then(0.0).otherwise(demand),
            on_promotion=pl.col("on_promotion").fill_null(value=False),
            discount_share=pl.col("discount_share").fill_null(0.0),
            # A holiday is one for the whole store, also for series that have no row on it.
            is_holiday=pl.col("is_holiday").fill_null(value=False).any().over("store_id", "business_date"),
        )
        .drop("listed")
        .sort(*SERIES, "business_date")
        .with_columns(known="demand", weekday=day.dt.weekday())
        .with_columns(pl.col("demand").forward_fill().over(*SERIES, "weekday").fill_null(0.0))
        .drop("weekday")
    )


def _daily_sales(grid: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return a grid as `domain.forecasting` reads daily sales; there shelves are taken as full."""
    return grid.select(*SERIES, "business_date", units=column, stockout_hours=pl.lit(0.0), open_hours=pl.lit(0.0))


def _recent(grid: pl.DataFrame, days: int, origin: date) -> pl.DataFrame:
    return grid.filter(pl.col("business_date") > origin - timedelta(days=days))


def _horizons(asked: pl.DataFrame) -> list[int]:
    """Return the horizons that are asked for, ascending."""
    return asked["horizon"].unique().sort().to_list()


def _seasonal_naive(grid: pl.DataFrame, asked: pl.DataFrame, origin: date, _seed: int, _n_jobs: int) -> pl.DataFrame:
    sales = _daily_sales(_recent(grid, _WEEK, origin), "demand")
    return forecasting.seasonal_naive(sales, [origin], _horizons(asked)).select(*SERIES, "target_date", "mean")


def _mean_28(grid: pl.DataFrame, asked: pl.DataFrame, origin: date, _seed: int = 0, _n_jobs: int = 1) -> pl.DataFrame:
    sales = _daily_sales(_recent(grid, 28, origin), "known")
    return forecasting.mean_28(sales, [origin], _horizons(asked)).select(*SERIES, "target_date", "mean")


def _numbered(grid: pl.DataFrame, asked: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return grid and asked rows with a number for each series of the grid, in its order, instead of its names.

    The libraries copy and sort by the identifier: a number costs a tenth of a name. `asked` has rows of series that the
    grid has.
    """
    numbers = grid.select(*SERIES).unique().sort(*SERIES).with_row_index(_ID).cast({_ID: pl.Int64})
    return grid.join(numbers, on=SERIES, how="left", maintain_order="left"), asked.join(numbers, on=SERIES, how="inner")


def _statsforecast(
    model: Callable[[], Any], grid: pl.DataFrame, asked: pl.DataFrame, n_jobs: int, *, level: list[int] | None
) -> pl.DataFrame:
    """Return a statsforecast model's forecasts under its own names of columns, of series that are asked for."""
    from statsforecast import StatsForecast
    from statsforecast.models import HistoricAverage

    wanted = grid.join(asked.select(*SERIES).unique(), on=SERIES, how="semi")
    long_enough = wanted.filter(pl.len().over(*SERIES) >= _LEAST_DAYS)
    if long_enough.is_empty():
        return pl.DataFrame(schema={**dict.fromkeys(SERIES, pl.String), "target_date": pl.Date, "mean": pl.Float64})
    numbered, targets = _numbered(long_enough, asked)
    runner = StatsForecast(models=[model()], freq="1d", n_jobs=n_jobs, fallback_model=HistoricAverage())
    made = pl.DataFrame(
        runner.forecast(
            df=numbered.select(_ID, "business_date", "demand"),
            h=_horizons(asked)[-1],
            time_col="business_date",
            target_col="demand",
            level=level,
        )
    )
    return targets.select(*SERIES, _ID, "target_date").join(
        made.rename({"business_date": "target_date"}).cast({"target_date": pl.Date}), on=[_ID, "target_date"]
    )


def _auto_ets(grid: pl.DataFrame, asked: pl.DataFrame, _origin: date, _seed: int, n_jobs: int) -> pl.DataFrame:
    from statsforecast.models import AutoETS

    made = _statsforecast(lambda: AutoETS(season_length=_WEEK, alias="mean"), grid, asked, n_jobs, level=[*_LEVELS])
    if made.is_empty():
        return made
    quantiles = {
        quantile: pl.col(f"mean-{side}-{level}")
        for level, pair in _LEVELS.items()
        for quantile, side in zip(pair, ("lo", "hi"), strict=True)
    }
    return made.select(*SERIES, "target_date", "mean", q50="mean", **quantiles)


def _croston_sba(grid: pl.DataFrame, asked: pl.DataFrame, _origin: date, _seed: int, n_jobs: int) -> pl.DataFrame:
    from statsforecast.models import CrostonSBA

    return _statsforecast(lambda: CrostonSBA(alias="mean"), grid, asked, n_jobs, level=None).select(
        *SERIES, "target_date", "mean"
    )


def _lightgbm(grid: pl.DataFrame, asked: pl.DataFrame, origin: date, seed: int, n_jobs: int) -> pl.DataFrame:
    from lightgbm import LGBMRegressor
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import RollingMean

    numbered, targets = _numbered(grid, asked)
    if targets.is_empty():
        return targets.select(*SERIES, "target_date", mean=pl.lit(None, dtype=pl.Float64))
    features = [pl.col(name).cast(pl.Float32) for name in _KNOWN_AHEAD]
    model = MLForecast(
        models={
            "mean": LGBMRegressor(
                random_state=seed, n_jobs=n_jobs, verbosity=-1, deterministic=True, force_row_wise=True
            )
        },
        freq="1d",
        lags=list(_LAGS),
        lag_transforms={1: [RollingMean(window_size=days) for days in _WINDOWS]},
        date_features=["weekday", "month"],
        num_threads=n_jobs,
    )
    with warnings.catch_warnings():
        # Series too young to be learnt from are forecast like the others.
        warnings.filterwarnings("ignore", message=".*", category=UserWarning, module="mlforecast")
        model.fit(
            numbered.select(_ID, "business_date", pl.col("demand").cast(pl.Float32), *features),
            id_col=_ID,
            time_col="business_date",
            target_col="demand",
            static_features=[],
            as_numpy=True,
            # The grid has no gaps and no repeats; and nobody asks for fitted values.
            validate_data=False,
            cache_train_df=False,
        )
    days = pl.DataFrame({"horizon": range(1, _horizons(asked)[-1] + 1)}, schema={"horizon": pl.Int32})
    planned = (
        targets.select(_ID)
        .unique()
        .join(days, how="cross")
        .with_columns(business_date=pl.lit(origin) + pl.duration(days="horizon"))
        .join(
            targets.select(_ID, "horizon", *_KNOWN_AHEAD),
            on=[_ID, "horizon"],
            how="left",
        )
        .select(_ID, "business_date", *(feature.fill_null(0.0) for feature in features))
        .sort(_ID, "business_date")
    )
    made = model.predict(h=days.height, X_df=planned, ids=planned[_ID].unique().sort().to_list())
    return (
        targets.select(*SERIES, _ID, "target_date")
        .join(made.rename({"business_date": "target_date"}).cast({"target_date": pl.Date}), on=[_ID, "target_date"])
        .select(*SERIES, "target_date", "mean")
    )


_Rival = Callable[[pl.DataFrame, pl.DataFrame, date, int, int], pl.DataFrame]

#: The rivals of `rival_forecasts`, by name.
RIVALS: Final[dict[str, _Rival]] = {
    "seasonal_naive": _seasonal_naive,
    "mean_28": _mean_28,
    "auto_ets": _auto_ets,
    "croston_sba": _croston_sba,
    "lightgbm": _lightgbm,
}


def gbt_forecasts(training: SparkFrame, asked: SparkFrame, seed: int) -> SparkFrame:
    """Return what MLlib's own gradient-boosted trees forecast from the same inputs as the model, untuned.

    MLlib takes no unknown values. They become `UNKNOWN_INPUT`, far below any that is known, so that one split sets
    them apart; a mean or median would make series of which nothing is known look like ordinary ones, and to a tree the
    distance is nothing.

    Args:
        training: the columns `domain.forecasting.FORECAST_INPUTS` (NaN or null for "not known") and `actual`, units of
            the target date; rows whose actual is unknown are left out. Its order and partitions decide which rows MLlib
            draws: the same ones give the same trees.
        asked: `FORECAST_INPUTS` and whatever else.
        seed: of the trees.

    Returns:
        `asked` with `mean` (units, at least 0).
    """
    from pyspark.ml.feature import VectorAssembler
    from pyspark.ml.regression import GBTRegressor
    from pyspark.sql import functions as F

    inputs = [f"_input_{number}" for number in range(len(FORECAST_INPUTS))]
    unknown = F.lit(UNKNOWN_INPUT)

    def assembled(frame: SparkFrame) -> SparkFrame:
        known = [
            F.coalesce(F.nanvl(F.col(name).cast("double"), unknown), unknown).alias(column)
            for name, column in zip(FORECAST_INPUTS, inputs, strict=True)
        ]
        return (
            VectorAssembler(inputCols=inputs, outputCol="_features").transform(frame.select("*", *known)).drop(*inputs)
        )

    actual = F.col("actual").cast("double")
    rows = assembled(training.where(actual.isNotNull() & ~F.isnan(actual)).withColumn("actual", actual))
    trees = GBTRegressor(featuresCol="_features", labelCol="actual", predictionCol="_forecast", seed=seed)
    forecast: SparkFrame = trees.fit(rows.select("_features", "actual")).transform(assembled(asked))
    return forecast.withColumn("mean", F.greatest(F.col("_forecast"), F.lit(0.0))).drop("_features", "_forecast")
