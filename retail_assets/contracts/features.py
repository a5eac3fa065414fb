"""The dictionary of features: name, meaning, unit and source of each, as known at the end of an origin date.

The single source for the table `features/demand_features`, for asset metadata and for `docs/feature_dictionary.md`.
Names say measure and window in days. Does not belong here: how a feature is computed (`domain.features`), and which of
them a forecast uses (`domain.forecasting`).
"""

from dataclasses import dataclass
from typing import Final

from retail_assets.contracts.origins import Origin, of
from retail_assets.contracts.types import BOOLEAN, FLOAT32, INT32, Column, ScalarType

#: The windows that levels and spreads of demand are given for, in days. The greatest is how far a feature looks back.
WINDOWS: Final = (7, 28, 30, 90, 364)
#: Days back to single days that stand in the features: yesterday, same weekday of the last weeks and of last year.
LAGS: Final = (1, 7, 14, 21, 28, 364)
#: How many days promotions, holidays and pay days are looked ahead for.
AHEAD_DAYS: Final = 7
#: A holiday or pay day that is further away than this says nothing more.
FAR_DAYS: Final = 28

_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_UNITS: Final = "units"
_RATE: Final = "units per day"

SALES: Final = "core/daily_sales"
PRODUCTS: Final = "reference/products"
STORES: Final = "reference/stores"
PROMOTIONS: Final = "reference/promotions"
CALENDAR: Final = "reference/calendar"
WEATHER: Final = "reference/weather"

_UNITS_SOLD: Final = of(SALES, "units")
#: Sales, corrected for the hours without stock.
_DEMAND: Final = of(SALES, "units", "stockout_hours", "open_hours")
_PLANNED: Final = of(PROMOTIONS, "starts_on", "ends_on")
_HOLIDAYS: Final = of(CALENDAR, "date", "is_holiday")


@dataclass(frozen=True)
class Feature:
    """One feature.

    Attributes:
        column: name, type, meaning, unit and limits.
        origins: the columns that it is made from.
    """

    column: Column
    origins: tuple[Origin, ...]

    @property
    def source(self) -> tuple[str, ...]:
        """The tables that it is made from."""
        return tuple(dict.fromkeys(origin.table for origin in self.origins))


def _feature(
    name: str,
    description: str,
    unit: str | None = None,
    *,
    origins: tuple[Origin, ...] = _DEMAND,
    kind: ScalarType = FLOAT32,
    nullable: bool = True,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Feature:
    column = Column(name, kind, description, unit, nullable=nullable, minimum=minimum, maximum=maximum)
    return Feature(column, origins)


def _share(name: str, description: str, *, origins: tuple[Origin, ...] = _DEMAND, nullable: bool = True) -> Feature:
    return _feature(name, description, "share", origins=origins, nullable=nullable, minimum=0, maximum=1)


def _days(name: str, description: str, *, origins: tuple[Origin, ...], nullable: bool = True) -> Feature:
    return _feature(name, description, "days", origins=origins, nullable=nullable, minimum=0)


_SERIES: Final = (
    _feature("demand", "Units sold, corrected upwards for hours without stock.", _UNITS, nullable=False, minimum=0),
    *(
        _feature(
            f"demand_lag_{lag}", f"Demand {lag} day{'s' if lag > 1 else ''} before the origin date.", _UNITS, minimum=0
        )
        for lag in LAGS
    ),
    *(_feature(f"demand_mean_{w}", f"Mean demand of the last {w} days.", _RATE, minimum=0) for w in WINDOWS),
    *(_feature(f"demand_median_{w}", f"Median demand of the last {w} days.", _RATE, minimum=0) for w in WINDOWS),
    *(_feature(f"demand_sd_{w}", f"Spread of demand over the last {w} days.", _RATE, minimum=0) for w in WINDOWS),
    *(_share(f"zero_share_{w}", f"Share of the last {w} days without demand.") for w in WINDOWS),
    _feature(
        "base_mean_28",
        "Mean demand of the last 28 days without promotion.",
        _RATE,
        origins=_DEMAND + of(SALES, "on_promotion"),
        minimum=0,
    ),
    _feature("demand_ewm_14", "Mean demand with weights that halve every 14 days.", _RATE, minimum=0),
    _feature("demand_trend", "28-day mean over 90-day mean, less one.", "ratio", minimum=-1),
    *(
        _feature(f"weekday_mean_{number}", f"Mean demand of the last 8 {name}s.", _UNITS, minimum=0)
        for number, name in enumerate(_WEEKDAYS, 1)
    ),
    _feature(
        "yearly_index",
        "Mean demand of the seven days ahead, a year ago, over the mean of 364 days.",
        "ratio",
        minimum=0,
    ),
    _share(
        "stockout_share_28",
        "Share of trading hours without stock, 28 days.",
        origins=of(SALES, "stockout_hours", "open_hours"),
    ),
)

_PRICE: Final = (
    _feature(
        "unit_price", "Price of one unit on the origin date.", "money", origins=of(SALES, "unit_price"), minimum=0
    ),
    _feature("price_ratio_90", "Price over its 90-day median.", "ratio", origins=of(SALES, "unit_price"), minimum=0),
)

_PROMOTION: Final = (
    _feature(
        "on_promotion",
        "Whether a promotion ran on the origin date.",
        origins=of(SALES, "on_promotion"),
        kind=BOOLEAN,
        nullable=False,
    ),
    _share(
        "discount_share",
        "Share of the list price taken off on the origin date.",
        origins=of(SALES, "discount_share"),
        nullable=False,
    ),
    _feature(
        "promotion_days_28",
        "Days with a promotion among the last 28.",
        "days",
        origins=of(SALES, "on_promotion"),
        nullable=False,
        minimum=0,
        maximum=28,
    ),
    _feature(
        f"promotion_days_ahead_{AHEAD_DAYS}",
        f"Days with a planned promotion among the next {AHEAD_DAYS}.",
        "days",
        origins=_PLANNED,
        nullable=False,
        minimum=0,
        maximum=AHEAD_DAYS,
    ),
    _share(
        f"discount_share_ahead_{AHEAD_DAYS}",
        f"Deepest planned discount of the next {AHEAD_DAYS} days.",
        origins=of(PROMOTIONS, "discount_share") + _PLANNED,
        nullable=False,
    ),
)

_LIFE: Final = (
    _days("days_since_launch", "Days since the catalogue's launch date.", origins=of(PRODUCTS, "launched_on")),
    _days(
        "days_on_sale",
        "Days since the first row of the series in the last 364.",
        origins=of(SALES, "business_date"),
        nullable=False,
    ),
    _days(
        "days_since_sale",
        "Days since a unit was last sold; null where none was in the last 364.",
        origins=_UNITS_SOLD,
    ),
)

_SURROUNDINGS: Final = (
    _feature(
        "store_category_mean_28",
        "Mean units of a product of the category in the store, 28 days.",
        _RATE,
        origins=_UNITS_SOLD + of(PRODUCTS, "category"),
    ),
    _feature(
        "store_category_trend",
        "That mean over the one of 90 days, less one.",
        "ratio",
        origins=_UNITS_SOLD + of(PRODUCTS, "category"),
    ),
    _feature(
        "category_mean_28",
        "Mean units of a product of the category in a store, all stores, 28 days.",
        _RATE,
        origins=_UNITS_SOLD + of(PRODUCTS, "category"),
    ),
    _feature(
        "category_trend",
        "That mean over the one of 90 days, less one.",
        "ratio",
        origins=_UNITS_SOLD + of(PRODUCTS, "category"),
    ),
    _feature("store_mean_28", "Mean units of a product in the store, 28 days.", _RATE, origins=_UNITS_SOLD),
    _feature("store_trend", "That mean over the one of 90 days, less one.", "ratio", origins=_UNITS_SOLD),
    _feature(
        "store_cluster",
        "Stores that are alike: quarter of the stores by units of 90 days (0 to 3), plus 4 where its weekends sell "
        "more than those of half the stores.",
        "cluster number",
        origins=_UNITS_SOLD,
        kind=INT32,
        nullable=False,
        minimum=0,
        maximum=7,
    ),
)

_CALENDAR: Final = (
    _feature(
        "is_holiday", "Whether the origin date is a public holiday.", origins=_HOLIDAYS, kind=BOOLEAN, nullable=False
    ),
    _feature(
        f"holidays_ahead_{AHEAD_DAYS}",
        f"Public holidays among the next {AHEAD_DAYS} days.",
        "days",
        origins=_HOLIDAYS,
        nullable=False,
        minimum=0,
        maximum=AHEAD_DAYS,
    ),
    _days(
        "days_to_holiday",
        f"Days to the next public holiday, {FAR_DAYS} where it is further away.",
        origins=_HOLIDAYS,
        nullable=False,
    ),
    _days(
        "days_since_holiday",
        f"Days since the last public holiday, {FAR_DAYS} where it is longer ago.",
        origins=_HOLIDAYS,
        nullable=False,
    ),
    _days("days_to_pay_day", "Days to the next last working day of a month.", origins=_HOLIDAYS, nullable=False),
    _days("days_since_pay_day", "Days since the last working day of a month.", origins=_HOLIDAYS, nullable=False),
)

_WEATHER: Final = (
    _feature(
        "mean_celsius", "Mean temperature of the origin date.", "degrees Celsius", origins=of(WEATHER, "mean_celsius")
    ),
    _feature(
        "celsius_anomaly_28",
        "That temperature less its mean of 28 days.",
        "degrees Celsius",
        origins=of(WEATHER, "mean_celsius"),
    ),
    _feature("rain_mm", "Rain of the origin date.", "millimetres", origins=of(WEATHER, "rain_mm"), minimum=0),
)

DEMAND_FEATURES: Final = (
    *_SERIES,
    *_PRICE,
    *_PROMOTION,
    *_LIFE,
    *_SURROUNDINGS,
    *_CALENDAR,
    *_WEATHER,
)


def dictionary() -> str:
    """Return the dictionary of features as Markdown, for `docs/feature_dictionary.md`."""
    rows = [
        f"| `{feature.column.name}` | {feature.column.description} | {feature.column.unit or '-'} "
        f"| {', '.join(f'`{table}`' for table in feature.source)} |"
        for feature in DEMAND_FEATURES
    ]
    return "\n".join(
        [
            "# Dictionary of features",
            "",
            "What is known of a store's product at the end of a day (the origin date), and nothing later: the columns",
            "of `features/demand_features`, one row per store, product and day. Unknown values are null. How they are",
            "kept and read stands in [features](features.md). This page is written by `make docs` from",
            "`retail_assets/contracts/features.py`.",
            "",
            "| feature | meaning | unit | source |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )
