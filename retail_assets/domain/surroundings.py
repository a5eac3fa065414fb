"""What happens around a series: in its category, its store, and stores that are alike; on which kind of day.

Belongs here: features that several series share, point in time. Does not belong here: features of a series' own past
(`features`).
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

from retail_assets.contracts.features import AHEAD_DAYS, FAR_DAYS
from retail_assets.contracts.tables import REFERENCE_CALENDAR, REFERENCE_PRODUCTS, REFERENCE_WEATHER
from retail_assets.contracts.types import DATE, FLOAT64, INT64, STRING, Column
from retail_assets.domain.frames import SERIES, columns_of, typed
from retail_assets.domain.promotions import discounts_by_day

#: Days before the first origin that `levels` must be given for.
LEVELS_LOOKBACK_DAYS: Final = 89
#: The category of products that the catalogue lacks.
UNKNOWN_CATEGORY: Final = ""
_MONTH: Final = 28
_QUARTER: Final = 90
_SATURDAY: Final = 6
_FRIDAY: Final = 5
_QUARTERS: Final = 4

#: Units and number of series by store, category and day: small, whatever the number of products.
LEVELS: Final = (
    Column("store_id", STRING, "Store."),
    Column("category", STRING, "Category of the catalogue; empty for products that it lacks."),
    Column("business_date", DATE, "Day."),
    Column("units", FLOAT64, "Units sold, net.", unit="units"),
    Column("series", INT64, "Products that the store carries.", minimum=0),
)
_PRODUCTS: Final = columns_of(REFERENCE_PRODUCTS, "product_id", "category", "launched_on")
_CALENDAR: Final = columns_of(REFERENCE_CALENDAR, "date", "is_holiday")
_WEATHER: Final = columns_of(REFERENCE_WEATHER, "store_id", "date", "mean_celsius", "rain_mm")


def _rolled(levels: pl.DataFrame, by: tuple[str, ...], name: str) -> pl.DataFrame:
    """Return mean units of a product and its trend, by the columns `by` and day."""
    daily = levels.group_by(*by, "business_date").agg(pl.col("units", "series").sum()).sort("business_date")
    means = [
        daily.rolling("business_date", period=f"{window}d", group_by=list(by) or None).agg(
            (pl.col("units").sum() / pl.col("series").sum()).alias(f"mean_{window}")
        )
        for window in (_MONTH, _QUARTER)
    ]
    mean, quarter = pl.col(f"mean_{_MONTH}"), pl.col(f"mean_{_QUARTER}")
    return (
        means[0]
        .join(means[1], on=[*by, "business_date"])
        .select(
            *by,
            "business_date",
            mean.alias(f"{name}_mean_{_MONTH}"),
            pl.when(quarter > 0).then(mean / quarter - 1.0).alias(f"{name}_trend"),
        )
    )


def _clusters(levels: pl.DataFrame) -> pl.DataFrame:
    """Return the cluster of each store on each day: its quarter by units, and whether its weekends are strong.

    Ranks rather than a fitted clustering, so that a cluster means the same on every day.
    """
    weekend = pl.when(pl.col("business_date").dt.weekday() >= _SATURDAY).then("units").otherwise(0.0)
    by_store = (
        levels.with_columns(weekend=weekend)
        .group_by("store_id", "business_date")
        .agg(pl.col("units", "weekend").sum())
        .sort("business_date")
        .rolling("business_date", period=f"{_QUARTER}d", group_by="store_id")
        .agg(pl.col("units", "weekend").sum())
        .with_columns(weekend_share=pl.when(pl.col("units") > 0).then(pl.col("weekend") / pl.col("units")))
    )
    # Ties, as between stores without sales, are broken by the store's name: the same on every run.
    rank = pl.col("units").rank("ordinal").over("business_date", order_by="store_id") - 1
    quarter = (rank * _QUARTERS) // pl.len().over("business_date")
    strong = pl.col("weekend_share") > pl.col("weekend_share").median().over("business_date")
    return by_store.select(
        "store_id",
        "business_date",
        store_cluster=(quarter + _QUARTERS * strong.fill_null(value=False).cast(pl.Int64)).cast(pl.Int32),
    )


def level_features(levels: pl.DataFrame, first_date: date, last_date: date) -> pl.DataFrame:
    """Return what happens around the series of each store and category, as known at the end of each day.

    Args:
        levels: `LEVELS` of all stores, from `first_date` less `LEVELS_LOOKBACK_DAYS`; more is ignored.
        first_date: first origin.
        last_date: last origin, inclusive.

    Returns:
        One row per store, category and day with a row in `levels`: store_id, category, business_date, and the means,
        trends and the cluster of the feature dictionary.
    """
    start = first_date - timedelta(days=LEVELS_LOOKBACK_DAYS)
    rows = typed(levels, LEVELS).filter(pl.col("business_date").is_between(start, last_date))
    frame = _rolled(rows, ("store_id", "category"), "store_category")
    for by, name in ((("category",), "category"), (("store_id",), "store")):
        frame = frame.join(_rolled(rows, by, name), on=[*by, "business_date"], how="left")
    return (
        frame.join(_clusters(rows), on=["store_id", "business_date"], how="left")
        .filter(pl.col("business_date") >= first_date)
        .sort("store_id", "category", "business_date")
    )


def calendar_features(calendar: pl.DataFrame, dates: list[date]) -> pl.DataFrame:
    """Return what the calendar says of each origin date and the days around it.

    The pay day is the last working day of a month (Monday to Friday and no public holiday).

    Args:
        calendar: `reference/calendar`; a date that it lacks is an ordinary day.
        dates: origin dates.

    Returns:
        One row per date: business_date, and the calendar features of the dictionary.
    """
    days = pl.DataFrame({"business_date": sorted(set(dates))}, schema={"business_date": pl.Date})
    holidays = typed(calendar, _CALENDAR).filter("is_holiday").select(date="date").unique().sort("date")
    around = days.select(
        pl.col("business_date").min() - pl.duration(days=62), end=pl.col("business_date").max() + pl.duration(days=62)
    )
    every = around.select(date=pl.date_ranges("business_date", "end")).explode("date").drop_nulls()
    pay_days = (
        every.join(holidays, on="date", how="anti")
        .filter(pl.col("date").dt.weekday() <= _FRIDAY)
        .group_by(pl.col("date").dt.truncate("1mo").alias("month"))
        .agg(pl.col("date").max())
        # The last month isn't there whole.
        .sort("month")
        .slice(0, -1)
        .select("date")
    )

    def distance(to: pl.DataFrame, strategy: str) -> pl.Series:
        found = days.join_asof(
            to.sort("date").with_columns(there="date"),
            left_on="business_date",
            right_on="date",
            strategy=strategy,  # type: ignore[arg-type]
        )
        gap = (pl.col("there") - pl.col("business_date")).dt.total_days().abs()
        return found.select(gap.clip(0, FAR_DAYS).fill_null(FAR_DAYS)).to_series()

    ahead = pl.sum_horizontal(
        (pl.col("business_date") + pl.duration(days=offset)).is_in(holidays["date"].implode()).cast(pl.Int64)
        for offset in range(1, AHEAD_DAYS + 1)
    )
    return days.with_columns(
        pl.col("business_date").is_in(holidays["date"].implode()).alias("is_holiday"),
        ahead.alias(f"holidays_ahead_{AHEAD_DAYS}"),
        days_to_holiday=distance(holidays, "forward"),
        days_since_holiday=distance(holidays, "backward"),
        days_to_pay_day=distance(pay_days, "forward"),
        days_since_pay_day=distance(pay_days, "backward"),
    )


def promotions_ahead(promotions: pl.DataFrame, first_date: date, last_date: date) -> pl.DataFrame:
    """Return what is planned in the days after each origin, for series of which something is planned.

    Args:
        promotions: `reference/promotions`.
        first_date: first origin.
        last_date: last origin, inclusive.

    Returns:
        One row per series and origin: store_id, product_id, business_date, and the two `ahead` features of the
        dictionary.
    """
    planned = discounts_by_day(promotions, first_date + timedelta(days=1), last_date + timedelta(days=AHEAD_DAYS))
    origins = pl.concat(
        planned.select(*SERIES, "discount_share", business_date=pl.col("date") - pl.duration(days=offset))
        for offset in range(1, AHEAD_DAYS + 1)
    )
    return (
        origins.filter(pl.col("business_date").is_between(first_date, last_date))
        .group_by(*SERIES, "business_date")
        .agg(
            pl.len().alias(f"promotion_days_ahead_{AHEAD_DAYS}"),
            pl.col("discount_share").max().alias(f"discount_share_ahead_{AHEAD_DAYS}"),
        )
    )


def weather_features(weather: pl.DataFrame, first_date: date, last_date: date) -> pl.DataFrame:
    """Return the weather of each store and origin date, and how unusual it is.

    Args:
        weather: `reference/weather`, from 27 days before `first_date`; days that it lacks have no row.
        first_date: first origin.
        last_date: last origin, inclusive.

    Returns:
        One row per store and day: store_id, business_date, and the weather features of the dictionary.
    """
    rows = typed(weather, _WEATHER).rename({"date": "business_date"}).sort("business_date")
    means = rows.rolling("business_date", period=f"{_MONTH}d", group_by="store_id").agg(
        pl.col("mean_celsius").mean().alias("usual")
    )
    return (
        rows.join(means, on=["store_id", "business_date"])
        .filter(pl.col("business_date").is_between(first_date, last_date))
        .select(
            "store_id",
            "business_date",
            "mean_celsius",
            "rain_mm",
            (pl.col("mean_celsius") - pl.col("usual")).alias(f"celsius_anomaly_{_MONTH}"),
        )
    )


@dataclass(frozen=True)
class Surroundings:
    """All that is known besides the sales of the series themselves, laid out by day; made once for all stores.

    Attributes:
        products: product_id, category (empty where not known), launched_on.
        levels: means, trends and clusters by store, category and day.
        days: calendar features by day.
        planned: promotions ahead by series and day.
        weather: weather features by store and day.
    """

    products: pl.DataFrame
    levels: pl.DataFrame
    days: pl.DataFrame
    planned: pl.DataFrame
    weather: pl.DataFrame


def surroundings(
    levels: pl.DataFrame,
    products: pl.DataFrame,
    promotions: pl.DataFrame,
    calendar: pl.DataFrame,
    weather: pl.DataFrame,
    first_date: date,
    last_date: date,
) -> Surroundings:
    """Lay out what is known around the series on the origin dates.

    Args:
        levels: `LEVELS` of all stores, from `first_date` less `LEVELS_LOOKBACK_DAYS` to `last_date`.
        products: `reference/products`.
        promotions: `reference/promotions`.
        calendar: `reference/calendar`.
        weather: `reference/weather`, from 27 days before `first_date`.
        first_date: first origin.
        last_date: last origin, inclusive.
    """
    dates = [first_date + timedelta(days=offset) for offset in range((last_date - first_date).days + 1)]
    return Surroundings(
        products=typed(products, _PRODUCTS).unique("product_id", keep="first", maintain_order=True),
        levels=level_features(levels, first_date, last_date),
        days=calendar_features(calendar, dates),
        planned=promotions_ahead(promotions, first_date, last_date),
        weather=weather_features(weather, first_date, last_date),
    )
