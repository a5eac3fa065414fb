"""What is known of a series at the end of a day.

Belongs here: features of a series' own past, point in time. Does not belong here: what is known of the future (the
calendar, planned promotions), which a forecast's inputs add.
"""

from datetime import date, timedelta
from typing import Final

import polars as pl

from retail_assets.contracts.tables import CORE_DAILY_SALES, FEATURES_DEMAND
from retail_assets.domain.demand import uncensored_demand
from retail_assets.domain.frames import SERIES, columns_of, conform, typed

#: Days before the first origin that `demand_features` must be given. Nothing that is older can change a feature.
LOOKBACK_DAYS: Final = 91

_WEEK: Final = 7
_MONTH: Final = 28
_QUARTER: Final = 91
_WEEKDAY_WINDOW: Final = 8 * _WEEK
_HALF_LIFE: Final = 14.0
#: Weight of each day of the window, oldest first.
_EWM_WEIGHTS: Final = [0.5 ** (age / _HALF_LIFE) for age in reversed(range(_QUARTER))]
#: Rolling sums add and take away the same numbers, and leave dust of the order 1e-15; a unit has three decimals.
_DIGITS: Final = 9

_DAILY_SALES: Final = columns_of(
    CORE_DAILY_SALES,
    *SERIES,
    "business_date",
    "units",
    "unit_price",
    "on_promotion",
    "stockout_hours",
    "open_hours",
)


def _mean(demand: pl.Expr, window: int) -> pl.Expr:
    """Return the mean of the known values among the last `window` days; null where none is known.

    Within a series, though the look-back already keeps windows apart: rolling sums must not carry one series'
    rounding into the next.
    """
    return demand.rolling_mean(window, min_samples=1).over("series").clip(lower_bound=0.0)


def _ratio(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    return pl.when(whole > 0).then(part / whole)


def demand_features(daily_sales: pl.DataFrame, first_date: date, last_date: date) -> pl.DataFrame:
    """Return the features of every series on every origin date.

    The row of a day uses rows of that day and earlier ones only, at most `LOOKBACK_DAYS` back. So a day computed alone
    gives what it gives within a range, and a partition can be made again at any time.

    Windows are of days, not of rows: a day that a series has no row for is a day of which nothing is known. Such days,
    and days whose demand is unknown because the shelf was empty, are left out of means rather than counted as zero; a
    window in which nothing is known is null. A series has a row on the days that `daily_sales` has one for.

    Two things that the bounded look-back costs: `days_on_sale` stops counting at `LOOKBACK_DAYS`, and
    `days_since_sale` is null where nothing sold in `LOOKBACK_DAYS`. `demand_ewm_14` weighs the last 91 days.

    `demand` itself must have a value: where it is unknown it is what the weekday is expected to bring (the mean of the
    last 8 such days, else the 28-day or 91-day mean, else 0). Judge forecasts by `uncensored_demand`, never by this.

    Args:
        daily_sales: `core/daily_sales` from `first_date` less `LOOKBACK_DAYS` to `last_date`; more is ignored.
        first_date: first origin.
        last_date: last origin, inclusive.

    Returns:
        `features/demand_features`, exactly: units, units per day, days or shares, as the contract says.
    """
    start = first_date - timedelta(days=LOOKBACK_DAYS)
    rows = typed(daily_sales, _DAILY_SALES).filter(pl.col("business_date").is_between(start, last_date))
    series = (
        rows.filter(pl.col("business_date") >= first_date).select(SERIES).unique().sort(SERIES).with_row_index("series")
    )
    if series.is_empty():
        return conform(pl.DataFrame(schema=dict.fromkeys(FEATURES_DEMAND.column_names, pl.Null)), FEATURES_DEMAND)

    days = pl.select(business_date=pl.date_range(start, last_date), day=pl.int_range(0, (last_date - start).days + 1))
    known = rows.join(series, on=SERIES).select(
        "series",
        "business_date",
        "on_promotion",
        known=True,
        sold=pl.col("units") > 0,
        demand=uncensored_demand("units", "stockout_hours", "open_hours"),
        # Price 0 stands for "not known" in the contract; as a number it would make a ratio of zero.
        price=pl.when(pl.col("unit_price") > 0).then(pl.col("unit_price").cast(pl.Float64)),
        stockout_hours=pl.min_horizontal("stockout_hours", "open_hours"),
        open_hours="open_hours",
    )
    grid = (
        series.select("series")
        .join(days, how="cross")
        .join(known, on=["series", "business_date"], how="left")
        .sort("series", "day")
    )
    demand, day, weekday = pl.col("demand"), pl.col("day"), pl.col("business_date").dt.weekday()
    weights = {"window_size": _QUARTER, "weights": _EWM_WEIGHTS, "min_samples": 1}
    last_sale = pl.when("sold").then(day).forward_fill().over("series")
    first_row = pl.when("known").then(day).rolling_min(LOOKBACK_DAYS + 1, min_samples=1).over("series")
    windows = grid.with_columns(
        _mean(demand, _WEEK).alias("demand_mean_7"),
        _mean(demand, _MONTH).alias("demand_mean_28"),
        _mean(demand, _QUARTER).alias("demand_mean_91"),
        _mean(pl.when(pl.col("on_promotion").not_()).then(demand), _MONTH).alias("base_mean_28"),
        _mean((demand == 0).cast(pl.Float64), _MONTH).clip(0.0, 1.0).alias("zero_share_28"),
        *(
            _mean(pl.when(weekday == number).then(demand), _WEEKDAY_WINDOW).alias(f"weekday_mean_{number}")
            for number in range(1, _WEEK + 1)
        ),
        demand_lag_7=demand.shift(_WEEK).over("series"),
        demand_sd_28=demand.rolling_std(_MONTH, min_samples=2).over("series"),
        demand_ewm_14=_ratio(
            demand.fill_null(0.0).rolling_sum(**weights).over("series"),  # type: ignore[arg-type]
            demand.is_not_null().cast(pl.Float64).rolling_sum(**weights).over("series"),  # type: ignore[arg-type]
        ),
        price_ratio_91=_ratio(pl.col("price"), pl.col("price").rolling_median(_QUARTER, min_samples=1).over("series")),
        days_since_sale=pl.when(day - last_sale <= LOOKBACK_DAYS).then(day - last_sale),
        days_on_sale=day - first_row,
        stockout_share_28=_ratio(
            pl.col("stockout_hours").rolling_sum(_MONTH, min_samples=1).over("series"),
            pl.col("open_hours").rolling_sum(_MONTH, min_samples=1).over("series"),
        ).clip(0.0, 1.0),
    )
    origins = windows.filter("known", pl.col("business_date") >= first_date).with_columns(
        demand=pl.coalesce(
            demand,
            *(pl.when(weekday == number).then(f"weekday_mean_{number}") for number in range(1, _WEEK + 1)),
            "demand_mean_28",
            "demand_mean_91",
            0.0,
        ),
        demand_trend=_ratio(pl.col("demand_mean_28"), pl.col("demand_mean_91")) - 1.0,
    )
    names = [column for column in FEATURES_DEMAND.column_names if column not in {*SERIES, "business_date"}]
    rounded = origins.with_columns(pl.col(names).cast(pl.Float64).round(_DIGITS))
    return conform(rounded.join(series, on="series"), FEATURES_DEMAND)
