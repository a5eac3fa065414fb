"""What is known of a series at the end of a day.

Belongs here: features of a series' own past, and putting all features together, point in time. Does not belong here:
what several series have in common (`surroundings`), and the names and meanings (`contracts.features`).
"""

from datetime import date, timedelta
from typing import Final

import polars as pl

from retail_assets.contracts.features import AHEAD_DAYS, DEMAND_FEATURES, LAGS, WINDOWS
from retail_assets.contracts.tables import CORE_DAILY_SALES, FEATURES_DEMAND
from retail_assets.contracts.types import FLOAT32
from retail_assets.domain.demand import uncensored_demand
from retail_assets.domain.frames import SERIES, columns_of, conform, typed
from retail_assets.domain.surroundings import UNKNOWN_CATEGORY, Surroundings

#: Days before the first origin that `demand_features` must be given. Nothing that is older can change a feature.
LOOKBACK_DAYS: Final = max(*WINDOWS, *LAGS)

_WEEK: Final = 7
_MONTH: Final = 28
_QUARTER: Final = 90
_YEAR: Final = 364
_WEEKDAY_WINDOW: Final = 8 * _WEEK
_HALF_LIFE: Final = 14.0
#: Weight of each day of the window, oldest first.
_EWM_WEIGHTS: Final = [0.5 ** (age / _HALF_LIFE) for age in reversed(range(_QUARTER))]
#: Rolling sums add and take away the same numbers, and leave dust of the order 1e-15; a unit has three decimals.
_DIGITS: Final = 9

#: The features that are numbers with a fraction; the others are whole or true and false.
_FRACTIONS: Final = [feature.column.name for feature in DEMAND_FEATURES if feature.column.type == FLOAT32]

_DAILY_SALES: Final = columns_of(
    CORE_DAILY_SALES,
    *SERIES,
    "business_date",
    "units",
    "unit_price",
    "discount_share",
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


def demand_features(daily_sales: pl.DataFrame, around: Surroundings, first_date: date, last_date: date) -> pl.DataFrame:
    """Return the features of every series on every origin date.

    The row of a day uses sales of that day and earlier ones only, at most `LOOKBACK_DAYS` back, and of the days ahead
    what is planned (promotions, calendar). So a day computed alone gives what it gives within a range, and a partition
    can be made again at any time.

    Windows are of days, not of rows: a day that a series has no row for is a day of which nothing is known. Such days,
    and days whose demand is unknown because the shelf was empty, are left out of means rather than counted as zero; a
    window in which nothing is known is null. A series has a row on the days that `daily_sales` has one for.

    Two things that the bounded look-back costs: `days_on_sale` stops counting at `LOOKBACK_DAYS`, and
    `days_since_sale` is null where nothing sold in `LOOKBACK_DAYS`. `demand_ewm_14` weighs the last 90 days.

    `demand` itself must have a value: where it is unknown it is what the weekday is expected to bring (the mean of the
    last 8 such days, else the 28-day or 90-day mean, else 0). Judge forecasts by `uncensored_demand`, never by this.

    Args:
        daily_sales: `core/daily_sales` from `first_date` less `LOOKBACK_DAYS` to `last_date`; more is ignored.
        around: what is known besides, for the origins; what is of other series is ignored.
        first_date: first origin.
        last_date: last origin, inclusive.

    Returns:
        `features/demand_features`, exactly: units, units per day, days or shares, as the contract says.
    """
    rows = typed(daily_sales, _DAILY_SALES).filter(
        pl.col("business_date").is_between(first_date - timedelta(days=LOOKBACK_DAYS), last_date)
    )
    series = (
        rows.filter(pl.col("business_date") >= first_date).select(SERIES).unique().sort(SERIES).with_row_index("series")
    )
    if series.is_empty():
        return conform(pl.DataFrame(schema=dict.fromkeys(FEATURES_DEMAND.column_names, pl.Null)), FEATURES_DEMAND)
    origins = _own_past(rows, series, first_date, last_date).join(series, on="series")
    together = _joined(origins, around)
    rounded = together.with_columns(pl.col(_FRACTIONS).cast(pl.Float64).round(_DIGITS))
    return conform(rounded, FEATURES_DEMAND)


def _own_past(rows: pl.DataFrame, series: pl.DataFrame, first_date: date, last_date: date) -> pl.DataFrame:
    """Return what the series' own sales say, by number of the series and day."""
    start = first_date - timedelta(days=LOOKBACK_DAYS)
    days = pl.select(business_date=pl.date_range(start, last_date), day=pl.int_range(0, (last_date - start).days + 1))
    known = rows.join(series, on=SERIES).select(
        "series",
        "business_date",
        "on_promotion",
        "discount_share",
        known=True,
        sold=pl.col("units") > 0,
        demand=uncensored_demand("units", "stockout_hours", "open_hours"),
        # Price 0 stands for "not known" in the contract; as a number it would make a ratio of zero.
        unit_price=pl.when(pl.col("unit_price") > 0).then(pl.col("unit_price").cast(pl.Float64)),
        stockout_hours=pl.min_horizontal("stockout_hours", "open_hours"),
        open_hours="open_hours",
    )
    grid = (
        series.select("series")
        .join(days, how="cross")
        .join(known, on=["series", "business_date"], how="left")
        .sort("series", "day")
    )
    demand, day, price = pl.col("demand"), pl.col("day"), pl.col("unit_price")
    weekday = pl.col("business_date").dt.weekday()
    weights = {"window_size": _QUARTER, "weights": _EWM_WEIGHTS, "min_samples": 1}
    last_sale = pl.when("sold").then(day).forward_fill().over("series")
    first_row = pl.when("known").then(day).rolling_min(LOOKBACK_DAYS + 1, min_samples=1).over("series")
    # The days that lie ahead of the origin, a year ago.
    year_ago = demand.shift(_YEAR - _WEEK).rolling_mean(_WEEK, min_samples=1).over("series").clip(lower_bound=0.0)
    windows = grid.with_columns(
        *(demand.shift(lag).over("series").alias(f"demand_lag_{lag}") for lag in LAGS),
        *(_mean(demand, window).alias(f"demand_mean_{window}") for window in WINDOWS),
        *(
            demand.rolling_median(window, min_samples=1).over("series").alias(f"demand_median_{window}")
            for window in WINDOWS
        ),
        *(demand.rolling_std(window, min_samples=2).over("series").alias(f"demand_sd_{window}") for window in WINDOWS),
        *(
            _mean((demand == 0).cast(pl.Float64), window).clip(0.0, 1.0).alias(f"zero_share_{window}")
            for window in WINDOWS
        ),
        *(
            _mean(pl.when(weekday == number).then(demand), _WEEKDAY_WINDOW).alias(f"weekday_mean_{number}")
            for number in range(1, _WEEK + 1)
        ),
        _mean(pl.when(pl.col("on_promotion").not_()).then(demand), _MONTH).alias("base_mean_28"),
        year_ago=year_ago,
        demand_ewm_14=_ratio(
            demand.fill_null(0.0).rolling_sum(**weights).over("series"),  # type: ignore[arg-type]
            demand.is_not_null().cast(pl.Float64).rolling_sum(**weights).over("series"),  # type: ignore[arg-type]
        ),
        price_ratio_90=_ratio(price, price.rolling_median(_QUARTER, min_samples=1).over("series")),
        promotion_days_28=pl.col("on_promotion").cast(pl.Float64).rolling_sum(_MONTH, min_samples=1).over("series"),
        days_since_sale=pl.when(day - last_sale <= LOOKBACK_DAYS).then(day - last_sale),
        days_on_sale=day - first_row,
        stockout_share_28=_ratio(
            pl.col("stockout_hours").rolling_sum(_MONTH, min_samples=1).over("series"),
            pl.col("open_hours").rolling_sum(_MONTH, min_samples=1).over("series"),
        ).clip(0.0, 1.0),
    )
    return windows.filter("known", pl.col("business_date") >= first_date).with_columns(
        demand=pl.coalesce(
            demand,
            *(pl.when(weekday == number).then(f"weekday_mean_{number}") for number in range(1, _WEEK + 1)),
            f"demand_mean_{_MONTH}",
            f"demand_mean_{_QUARTER}",
            0.0,
        ),
        demand_trend=_ratio(pl.col(f"demand_mean_{_MONTH}"), pl.col(f"demand_mean_{_QUARTER}")) - 1.0,
        yearly_index=_ratio(pl.col("year_ago"), pl.col(f"demand_mean_{_YEAR}")),
    )


def _joined(origins: pl.DataFrame, around: Surroundings) -> pl.DataFrame:
    """Put what is known besides next to the series' own past."""
    ahead = [f"promotion_days_ahead_{AHEAD_DAYS}", f"discount_share_ahead_{AHEAD_DAYS}"]
    return (
        origins.join(around.products, on="product_id", how="left")
        .with_columns(
            pl.col("category").fill_null(UNKNOWN_CATEGORY),
            days_since_launch=(pl.col("business_date") - pl.col("launched_on")).dt.total_days().clip(lower_bound=0),
        )
        .join(around.levels, on=["store_id", "category", "business_date"], how="left")
        .join(around.days, on="business_date", how="left")
        .join(around.planned, on=[*SERIES, "business_date"], how="left")
        .join(around.weather, on=["store_id", "business_date"], how="left")
        .with_columns(pl.col(ahead).fill_null(0), pl.col("store_cluster").fill_null(0))
    )
