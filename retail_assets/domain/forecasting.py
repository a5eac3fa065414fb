"""What a demand forecast is made from, and what it is measured against.

Belongs here: model inputs, naive rivals, fallbacks. Does not belong here: the model itself, which is trained where the
data is, the distribution of its errors (`errors`, offered here by name as well), and how well it came true
(`accuracy`).
"""

import math
from datetime import date
from typing import Final

import polars as pl

from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    FEATURES_DEMAND,
    REFERENCE_CALENDAR,
    REFERENCE_PRODUCTS,
    REFERENCE_STORES,
)
from retail_assets.domain.demand import uncensored_demand
from retail_assets.domain.errors import DEFAULT_ERROR_MODEL, ErrorModel, add_quantiles, fit_error_model
from retail_assets.domain.frames import SERIES, columns_of, typed
from retail_assets.domain.promotions import discounts_by_day

__all__ = [
    "DEFAULT_ERROR_MODEL",
    "ENOUGH_HISTORY_DAYS",
    "FORECAST_INPUTS",
    "ErrorModel",
    "add_quantiles",
    "complete_forecasts",
    "enough_history",
    "fit_error_model",
    "known_fallback",
    "mean_28",
    "seasonal_naive",
    "supervised_frame",
]

_WEEK: Final = 7
_MONTH: Final = 28
_DAYS_OF_YEAR: Final = 365.25
_WEEKDAY_MEANS: Final = tuple(f"weekday_mean_{number}" for number in range(1, _WEEK + 1))

_ORIGIN_INPUTS: Final = (
    "demand",
    "demand_lag_1",
    "demand_lag_7",
    "demand_lag_14",
    "demand_lag_21",
    "demand_lag_28",
    "demand_mean_7",
    "demand_mean_28",
    "demand_mean_90",
    "demand_median_7",
    "demand_median_28",
    "demand_sd_7",
    "demand_sd_28",
    "demand_sd_90",
    "base_mean_28",
    "demand_ewm_14",
    "demand_trend",
    "zero_share_7",
    "zero_share_28",
    "zero_share_90",
    "yearly_index",
    "price_ratio_90",
    "on_promotion",
    "discount_share",
    "promotion_days_28",
    "promotion_days_ahead_7",
    "discount_share_ahead_7",
    "days_since_sale",
    "days_on_sale",
    "stockout_share_28",
    "store_category_mean_28",
    "store_category_trend",
    "category_mean_28",
    "category_trend",
    "store_mean_28",
    "store_trend",
    "store_cluster",
    "holidays_ahead_7",
    "days_to_pay_day",
    "days_since_pay_day",
)

#: What a model is given, in this order, all Float64 with NaN for "not known". The first ones are features of the
#: series at the origin; the others are known ahead of the target date. The horizon is here as `target_days_ahead`,
#: because `horizon` is the Int32 of the grain.
FORECAST_INPUTS: Final[tuple[str, ...]] = (
    *_ORIGIN_INPUTS,
    "target_weekday_mean",
    "target_days_ahead",
    "target_weekday",
    "target_day_of_year_sin",
    "target_day_of_year_cos",
    "target_is_holiday",
    "target_days_to_holiday",
    "target_days_after_holiday",
    "target_on_promotion",
    "target_discount_share",
    "list_price",
    "margin_share",
    "pack_size",
    "shelf_life_days",
    "store_open_hours",
)

#: Days on sale before a series has a history that a model can be asked about.
ENOUGH_HISTORY_DAYS: Final = 14

_CALENDAR: Final = columns_of(REFERENCE_CALENDAR, "date", "is_holiday")
_PRODUCTS: Final = columns_of(
    REFERENCE_PRODUCTS, "product_id", "unit_cost", "list_price", "pack_size", "shelf_life_days"
)
_CATEGORIES: Final = columns_of(REFERENCE_PRODUCTS, "product_id", "category")
_STORES: Final = columns_of(REFERENCE_STORES, "store_id", "opens_at_hour", "closes_at_hour")
_SALES: Final = columns_of(CORE_DAILY_SALES, *SERIES, "business_date", "units", "stockout_hours", "open_hours")

_GRAIN: Final = {
    "store_id": pl.String(),
    "product_id": pl.String(),
    "run_date": pl.Date(),
    "target_date": pl.Date(),
    "horizon": pl.Int32(),
}


def _targets(origins: list[date], horizons: list[int]) -> pl.DataFrame:
    """Return every origin with every horizon and its target date.

    Raises:
        ValueError: a horizon below one day: that would be a forecast of what is known.
    """
    if any(horizon < 1 for horizon in horizons):
        raise ValueError(f"horizons start at one day ahead, got {sorted(set(horizons))}")
    return (
        pl.DataFrame({"run_date": sorted(set(origins))}, schema={"run_date": pl.Date})
        .join(pl.DataFrame({"horizon": sorted(set(horizons))}, schema={"horizon": pl.Int32}), how="cross")
        .with_columns(target_date=pl.col("run_date") + pl.duration(days="horizon"))
    )


def _calendar_inputs(calendar: pl.DataFrame, dates: pl.Series) -> pl.DataFrame:
    """Return what the calendar says of each date; a date that it lacks is an ordinary day."""
    day = pl.DataFrame({"target_date": dates.unique().sort()}, schema={"target_date": pl.Date})
    holidays = (
        typed(calendar, _CALENDAR).filter("is_holiday").select(target_date="date", holiday="date").unique()
    ).sort("target_date")
    distance = {
        strategy: day.join_asof(holidays, on="target_date", strategy=strategy).select(
            (pl.col("target_date") - pl.col("holiday")).dt.total_days().abs().clip(0, _WEEK).fill_null(_WEEK)
        )["target_date"]
        for strategy in ("forward", "backward")
    }
    angle = 2.0 * math.pi * pl.col("target_date").dt.ordinal_day() / _DAYS_OF_YEAR
    return day.with_columns(
        target_weekday=pl.col("target_date").dt.weekday(),
        target_day_of_year_sin=angle.sin(),
        target_day_of_year_cos=angle.cos(),
        target_is_holiday=distance["forward"] == 0,
        target_days_to_holiday=distance["forward"],
        target_days_after_holiday=distance["backward"],
    )


def enough_history() -> pl.Expr:
    """Return whether a series can be given to a model: on features, or on a `supervised_frame`."""
    mean = pl.col("demand_mean_28")
    return (
        (pl.col("days_on_sale") >= ENOUGH_HISTORY_DAYS) & mean.is_not_null() & mean.is_not_nan().fill_null(value=False)
    )


def supervised_frame(
    features: pl.DataFrame,
    daily_sales: pl.DataFrame | None,
    calendar: pl.DataFrame,
    promotions: pl.DataFrame,
    products: pl.DataFrame,
    stores: pl.DataFrame,
    origins: list[date],
    horizons: list[int],
) -> pl.DataFrame:
    """Return model inputs, and what came to pass where it is known.

    One frame for training, backtests and the daily forecast, so that they can not drift apart. Inputs come from the
    features at the origin and from what is known ahead: calendar, planned promotions, catalogue. Nothing of
    `daily_sales` is an input.

    Args:
        features: `features/demand_features`, holding the origins.
        daily_sales: `core/daily_sales`, holding the target dates; None where they lie ahead.
        calendar: `reference/calendar`; a date that it lacks is an ordinary day.
        promotions: `reference/promotions`, as planned at the origin.
        products: `reference/products`; inputs of a product that it lacks are NaN.
        stores: `reference/stores`; the same.
        origins: last days whose sales are known.
        horizons: days ahead, from 1.

    Returns:
        One row per series with features at an origin, origin and horizon: store_id, product_id, run_date (the
        origin), target_date, horizon (Int32), `FORECAST_INPUTS` (Float64), then actual (demand of the target date,
        corrected for stock-outs; null if unknown, or not known yet) and actual_units (net units sold, Float64).

    Raises:
        ValueError: a horizon below 1.
    """
    targets = _targets(origins, horizons)
    known = typed(features, FEATURES_DEMAND.columns).rename({"business_date": "run_date"})
    rows = known.join(targets, on="run_date")
    first, last = targets["target_date"].min(), targets["target_date"].max()
    if isinstance(first, date) and isinstance(last, date):
        discounts = discounts_by_day(promotions, first, last)
    else:
        discounts = discounts_by_day(pl.DataFrame(), date.min, date.min)
    catalogue = (
        typed(products, _PRODUCTS)
        .unique("product_id", keep="first", maintain_order=True)
        .with_columns(pl.col("list_price", "unit_cost").cast(pl.Float64))
        .with_columns(
            margin_share=pl.when(pl.col("list_price") > 0).then(1.0 - pl.col("unit_cost") / pl.col("list_price"))
        )
        .drop("unit_cost")
    )
    hours = typed(stores, _STORES).select(
        "store_id", store_open_hours=pl.col("closes_at_hour") - pl.col("opens_at_hour")
    )
    inputs = (
        rows.join(_calendar_inputs(calendar, targets["target_date"]), on="target_date", how="left")
        .join(
            discounts.rename({"discount_share": "planned"}),
            left_on=(*SERIES, "target_date"),
            right_on=(*SERIES, "date"),
            how="left",
        )
        .join(catalogue, on="product_id", how="left")
        .join(hours, on="store_id", how="left")
        .with_columns(
            target_days_ahead="horizon",
            target_weekday_mean=pl.coalesce(
                pl.when(pl.col("target_weekday") == number).then(name) for number, name in enumerate(_WEEKDAY_MEANS, 1)
            ),
            target_on_promotion=pl.col("planned").is_not_null(),
            target_discount_share=pl.col("planned").fill_null(0.0),
        )
        .with_columns(pl.col(FORECAST_INPUTS).cast(pl.Float64).fill_null(math.nan))
    )
    actuals = typed(daily_sales if daily_sales is not None else pl.DataFrame(), _SALES).select(
        *SERIES,
        target_date="business_date",
        actual=uncensored_demand("units", "stockout_hours", "open_hours"),
        actual_units=pl.col("units").cast(pl.Float64),
    )
    return (
        inputs.join(actuals, on=[*SERIES, "target_date"], how="left")
        .select(*_GRAIN, *FORECAST_INPUTS, "actual", "actual_units")
        .cast(_GRAIN)  # type: ignore[arg-type]
        .sort("run_date", *SERIES, "horizon")
    )


def _rival_rows(sales: pl.DataFrame, origins: list[date], horizons: list[int]) -> pl.DataFrame:
    """Return the grain of a rival's forecast: series with a row on the origin, times horizons."""
    return (
        sales.select(*SERIES, run_date="business_date").join(_targets(origins, horizons), on="run_date").select(*_GRAIN)
    )


def seasonal_naive(daily_sales: pl.DataFrame, origins: list[date], horizons: list[int]) -> pl.DataFrame:
    """Return the forecast that next week is like last week: the rival that any model has to beat.

    Args:
        daily_sales: `core/daily_sales` with at least the week up to each origin.
        origins: last days whose sales are known.
        horizons: days ahead, from 1.

    Returns:
        One row per series with a row on an origin, origin and horizon: store_id, product_id, run_date, target_date,
        horizon, mean: units of the same weekday of the last week up to the origin; 0 where that day has no row, or
        more was returned than sold.

    Raises:
        ValueError: a horizon below 1.
    """
    sales = typed(daily_sales, _SALES)
    last_week = sales.select(*SERIES, same_day="business_date", mean=pl.col("units").cast(pl.Float64))
    weeks_back = (pl.col("horizon") - 1) // _WEEK + 1
    return (
        _rival_rows(sales, origins, horizons)
        .with_columns(same_day=pl.col("target_date") - pl.duration(days=_WEEK * weeks_back))
        .join(last_week, on=[*SERIES, "same_day"], how="left")
        .select(*_GRAIN, pl.col("mean").fill_null(0.0).clip(lower_bound=0.0))
        .sort("run_date", *SERIES, "horizon")
    )


def mean_28(daily_sales: pl.DataFrame, origins: list[date], horizons: list[int]) -> pl.DataFrame:
    """Return the forecast that every day is like the mean of the last 28: hard to beat for slow sellers.

    Args:
        daily_sales: `core/daily_sales` with at least the 28 days up to each origin.
        origins: last days whose sales are known.
        horizons: days ahead, from 1.

    Returns:
        As `seasonal_naive`; mean is the mean of net units over those of the 28 days that have a row, at least 0.

    Raises:
        ValueError: a horizon below 1.
    """
    sales = typed(daily_sales, _SALES)
    windows = pl.DataFrame({"run_date": sorted(set(origins))}, schema={"run_date": pl.Date}).with_columns(
        business_date=pl.date_ranges(pl.col("run_date") - pl.duration(days=_MONTH - 1), "run_date")
    )
    means = (
        sales.join(windows.explode("business_date"), on="business_date")
        .group_by(*SERIES, "run_date")
        .agg(mean=pl.col("units").cast(pl.Float64).mean().clip(lower_bound=0.0))
    )
    return (
        _rival_rows(sales, origins, horizons)
        .join(means, on=[*SERIES, "run_date"], how="left")
        .select(*_GRAIN, "mean")
        .sort("run_date", *SERIES, "horizon")
    )


def known_fallback(
    series: pl.DataFrame, daily_sales: pl.DataFrame, products: pl.DataFrame, origins: list[date], horizons: list[int]
) -> pl.DataFrame:
    """Return a forecast for series that a model can not be asked about, from what the store sells otherwise.

    The first of these that is known, per origin, over the 28 days up to it and per series and day:

    - `series_mean`: mean demand of the series itself, where at least a week of it is known.
    - `category_mean`: mean demand of the products of the same category in the same store.
    - `store_mean`: mean demand of all products in the store.
    - `zero`: nothing is known; the row says so rather than being missing.

    Args:
        series: store_id, product_id; repeats are ignored.
        daily_sales: `core/daily_sales` of the stores, of the 28 days up to each origin.
        products: `reference/products`.
        origins: last days whose sales are known.
        horizons: days ahead, from 1.

    Returns:
        One row per series, origin and horizon: store_id, product_id, run_date, target_date, horizon, mean (units per
        day), method.

    Raises:
        ValueError: a horizon below 1.
    """
    categories = typed(products, _CATEGORIES).unique("product_id", keep="first", maintain_order=True)
    windows = pl.DataFrame({"run_date": sorted(set(origins))}, schema={"run_date": pl.Date}).with_columns(
        business_date=pl.date_ranges(pl.col("run_date") - pl.duration(days=_MONTH - 1), "run_date")
    )
    demand = (
        typed(daily_sales, _SALES)
        .join(windows.explode("business_date"), on="business_date")
        .join(categories, on="product_id", how="left")
        .with_columns(demand=uncensored_demand("units", "stockout_hours", "open_hours"))
    )
    of_series = (
        demand.group_by(*SERIES, "run_date")
        .agg(series_mean=pl.col("demand").mean(), known=pl.col("demand").count())
        .filter(pl.col("known") >= _WEEK)
        .drop("known")
    )
    of_category = demand.group_by("store_id", "category", "run_date").agg(category_mean=pl.col("demand").mean())
    of_store = demand.group_by("store_id", "run_date").agg(store_mean=pl.col("demand").mean())
    means = ("series_mean", "category_mean", "store_mean")
    return (
        typed(series, columns_of(CORE_DAILY_SALES, *SERIES))
        .unique()
        .join(_targets(origins, horizons), how="cross")
        .join(categories, on="product_id", how="left")
        .join(of_series, on=[*SERIES, "run_date"], how="left")
        .join(of_category, on=["store_id", "category", "run_date"], how="left")
        .join(of_store, on=["store_id", "run_date"], how="left")
        .select(
            *_GRAIN,
            mean=pl.coalesce(*means, 0.0),
            method=pl.coalesce(
                *(pl.when(pl.col(name).is_not_null()).then(pl.lit(name)) for name in means), pl.lit("zero")
            ),
        )
        .sort("run_date", *SERIES, "horizon")
    )


def complete_forecasts(
    asked: pl.DataFrame, daily_sales: pl.DataFrame, products: pl.DataFrame, error_model: ErrorModel, method: str
) -> pl.DataFrame:
    """Return forecasts of all series that were asked for: the model's, the fallback's where it knows too little.

    Args:
        asked: one row per series, origin and horizon: store_id, product_id, run_date, target_date, horizon, mean (what
            the model says; null where it says nothing), days_on_sale, demand_mean_28.
        daily_sales: `core/daily_sales` of their stores, of the 28 days up to each origin.
        products: `reference/products`.
        error_model: of the model.
        method: the model's name.

    Returns:
        The grain of `asked`, mean, method (`known_fallback`'s where that made the row) and a column for each quantile.
    """
    told = enough_history() & pl.col("mean").is_not_null()
    model = asked.filter(told).select(*_GRAIN, "mean", method=pl.lit(method))
    others = asked.filter(~told).select(*SERIES, "run_date").unique()
    horizons = asked["horizon"].unique().sort().to_list()
    fallbacks = [
        known_fallback(of_origin, daily_sales, products, [origin], horizons).select(model.columns)
        for (origin,), of_origin in others.partition_by("run_date", as_dict=True).items()
    ]
    return add_quantiles(pl.concat([model, *fallbacks]), error_model).sort("run_date", *SERIES, "horizon")
