"""The reference tables that follow from imported sales and from what the retailer says of products, stores and events.

Belongs here: deriving whole tables. Does not belong here: the values that nobody gave (`defaults`), and writing.

What is given goes before what an earlier import was given, and that before the default.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import holidays
import polars as pl

from retail_assets.contracts.tables import (
    REFERENCE_ASSORTMENT,
    REFERENCE_CALENDAR,
    REFERENCE_EVENTS,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_STORES,
    REFERENCE_SUPPLIERS,
    Table,
)
from retail_assets.contracts.types import MONEY, polars_schema
from retail_assets.domain.frames import SERIES, conform
from retail_assets.imports import defaults
from retail_assets.imports.errors import ImportRefusedError

#: The columns of the sales that anything here looks at.
OBSERVED: Final = (*SERIES, "business_date", "units", "unit_price", "revenue", "on_promotion")

#: Rows on promotion that are put in order at once.
_PROMOTION_ROWS: Final = 2_000_000
_DISCOUNT_PLACES: Final = 4


@dataclass(frozen=True)
class Place:
    """Where the retailer is.

    Attributes:
        time_zone: IANA name.
        country: ISO code for the public holidays, with a part of the country behind a hyphen, such as `DE-BY`; None
            for no holidays.
    """

    time_zone: str
    country: str | None


@dataclass(frozen=True)
class Given:
    """What the retailer's files say, in the lake's columns; empty frames where there is no file.

    Attributes:
        products: product_id and any other columns of `reference/products`.
        stores: store_id and any other columns of `reference/stores`.
        events: date, name and any other columns of `reference/events`.
    """

    products: pl.DataFrame
    stores: pl.DataFrame
    events: pl.DataFrame


@dataclass(frozen=True)
class Observed:
    """What the whole of the imported sales shows, earlier imports included.

    Attributes:
        series: one row per store and product: first_date, last_date, rows, promoted (rows on promotion), closed_days
            (days in between on which the store has no row at all).
        trade: one row per store and date with any row: store_id, business_date, sorted by both.
        prices: one row per product: price, the median of what was asked without promotion; money per unit.
    """

    series: pl.DataFrame
    trade: pl.DataFrame
    prices: pl.DataFrame

    @property
    def first_date(self) -> date:
        """The first business date of all."""
        return _date(self.series["first_date"].min())

    @property
    def last_date(self) -> date:
        """The last business date of all."""
        return _date(self.series["last_date"].max())


def observe(sales: Iterable[pl.DataFrame]) -> Observed:
    """Return what the sales show.

    Args:
        sales: `raw/imported_sales` in parts, at least one row in all; at least the columns `OBSERVED`.
    """
    series = trade = pl.DataFrame()
    prices: list[pl.DataFrame] = []
    for part in sales:
        # What a part shows is merged at once: memory holds one part, and as many rows as there are series.
        rows = part.with_columns(pl.col("on_promotion").fill_null(value=False), _price().alias("price"))
        series = _merged(
            series,
            rows.group_by(SERIES).agg(
                pl.col("business_date").min().alias("first_date"),
                pl.col("business_date").max().alias("last_date"),
                pl.len().cast(pl.Int64).alias("rows"),
                pl.col("on_promotion").sum().cast(pl.Int64).alias("promoted"),
            ),
            SERIES,
            [pl.col("first_date").min(), pl.col("last_date").max(), pl.col("rows", "promoted").sum()],
        )
        trade = pl.concat([trade, rows.select("store_id", "business_date").unique()], how="diagonal").unique()
        prices.append(
            rows.filter(pl.col("price") > 0)
            .group_by("product_id", "on_promotion")
            .agg(pl.col("price").quantile(0.5, "lower"), pl.len().cast(pl.Int64).alias("rows"))
        )
    trade = trade.sort("store_id", "business_date")
    return Observed(_with_closed_days(series.sort(SERIES), trade), trade, _median_prices(pl.concat(prices)))


def _merged(so_far: pl.DataFrame, part: pl.DataFrame, key: Sequence[str], totals: list[pl.Expr]) -> pl.DataFrame:
    return part if so_far.is_empty() else pl.concat([so_far, part]).group_by(key).agg(totals)


def _median_prices(medians: pl.DataFrame) -> pl.DataFrame:
    """Return the median price of each product: outside of promotions, if it was ever sold so.

    Args:
        medians: product_id, on_promotion, the median price of some days, rows. The median of these by their rows is
            that of all days, as nearly as a default need be, without all prices at once.
    """
    regular = medians.filter(~pl.col("on_promotion"))
    only_promoted = medians.join(regular, on="product_id", how="anti")
    return (
        pl.concat([regular, only_promoted])
        .sort("product_id", "price")
        .with_columns(
            pl.col("rows").cum_sum().over("product_id").alias("up_to"),
            pl.col("rows").sum().over("product_id").alias("all"),
        )
        .filter(pl.col("up_to") * 2 >= pl.col("all"))
        .group_by("product_id", maintain_order=True)
        .agg(pl.col("price").first())
    )


def _with_closed_days(series: pl.DataFrame, trade: pl.DataFrame) -> pl.DataFrame:
    """Return the series with the number of days, between their first and last row, on which their store has no row."""
    nth = trade.with_columns(pl.int_range(pl.len()).over("store_id").alias("nth"))
    first, last = (nth.rename({"business_date": end, "nth": f"nth_{end}"}) for end in ("first_date", "last_date"))
    days = (pl.col("last_date") - pl.col("first_date")).dt.total_days()
    return (
        series.join(first, on=["store_id", "first_date"], how="left", maintain_order="left")
        .join(last, on=["store_id", "last_date"], how="left", maintain_order="left")
        .with_columns((days - pl.col("nth_last_date") + pl.col("nth_first_date")).alias("closed_days"))
        .drop("nth_first_date", "nth_last_date")
    )


def _price() -> pl.Expr:
    """Return what a unit sold for: as given, or revenue over units."""
    units, revenue = pl.col("units").cast(pl.Float64), pl.col("revenue").cast(pl.Float64)
    derived = pl.when((units > 0) & (revenue >= 0)).then(revenue / units)
    return pl.coalesce(pl.col("unit_price").cast(pl.Float64), derived).round(MONEY.scale)


def assortment(observed: Observed) -> pl.DataFrame:
    """Return `reference/assortment`: on sale from the first row to the last, or still.

    A series is still on sale where its last row is at most `defaults.LISTED_DAYS` before its store's last row.
    """
    store_end = pl.col("last_date").max().over("store_id")
    still = pl.col("last_date") >= store_end - timedelta(days=defaults.LISTED_DAYS)
    return conform(
        observed.series.select(
            *SERIES,
            pl.col("first_date").alias("listed_from"),
            pl.when(~still).then("last_date").alias("listed_until"),
        ),
        REFERENCE_ASSORTMENT,
    )


def stores(observed: Observed, given: pl.DataFrame, kept: pl.DataFrame, place: Place) -> pl.DataFrame:
    """Return `reference/stores`: every store that sold, was given or was there."""
    sold = observed.series.group_by("store_id").agg(pl.col("first_date").min().alias("opened_on"))
    standing = {
        "name": pl.col("store_id"),
        "region": pl.lit(defaults.UNKNOWN),
        "city": pl.lit(defaults.UNKNOWN),
        "format": pl.lit(defaults.STORE_FORMAT),
        "time_zone": pl.lit(place.time_zone),
        "opens_at_hour": pl.lit(defaults.OPENS_AT_HOUR),
        "closes_at_hour": pl.lit(defaults.CLOSES_AT_HOUR),
        "opened_on": pl.lit(observed.first_date),
        "size_m2": pl.lit(defaults.SIZE_M2),
        "storage_litres": pl.lit(defaults.STORAGE_LITRES),
        "customer_profile": pl.lit(defaults.UNKNOWN),
        "manager": pl.lit(defaults.UNKNOWN),
    }
    return _filled(REFERENCE_STORES, "store_id", [sold, given], kept, standing)


def products(observed: Observed, given: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    """Return `reference/products`: every product that sold, was given or was there."""
    sold = (
        observed.series.group_by("product_id")
        .agg(pl.col("first_date").min().alias("launched_on"))
        .join(observed.prices, on="product_id", how="left")
    )
    standing = {
        "name": pl.col("product_id"),
        **{name: pl.lit(defaults.UNKNOWN) for name in ("department", "category", "subcategory", "brand")},
        "list_price": pl.col("price").fill_null(0.0),
        "unit_cost": pl.col("list_price").cast(pl.Float64) * defaults.COST_SHARE,
        "pack_size": pl.lit(defaults.PACK_SIZE),
        "minimum_order_packs": pl.lit(defaults.MINIMUM_ORDER_PACKS),
        "shelf_life_days": pl.lit(defaults.SHELF_LIFE_DAYS),
        "supplier_id": pl.lit(defaults.SUPPLIER_ID),
        "launched_on": pl.lit(observed.first_date),
        "discontinued_on": pl.lit(None),
        "size_label": pl.lit(defaults.SIZE_LABEL),
        "volume_litres": pl.lit(defaults.VOLUME_LITRES),
    }
    return _filled(REFERENCE_PRODUCTS, "product_id", [sold, given], kept, standing)


def _filled(
    table: Table, key: str, said: list[pl.DataFrame], kept: pl.DataFrame, standing: dict[str, pl.Expr]
) -> pl.DataFrame:
    """Return a table of master data with every column filled.

    Args:
        table: the table.
        key: the column that identifies a row.
        said: what is derived, then what is given.
        kept: the table as it is.
        standing: the value of each column where nobody says one, in the order in which one may follow from another.
    """
    schema = polars_schema(table.columns)
    derived, given = said
    ids = pl.concat([frame.select(pl.col(key).cast(pl.String)) for frame in (derived, given, kept)]).unique()
    rows = (
        ids.join(derived, on=key, how="left")
        .join(given, on=key, how="left", suffix="_given")
        .join(
            kept.with_columns(_nothing(name, schema[name], key) for name in kept.columns),
            on=key,
            how="left",
            suffix="_kept",
        )
    )
    for name, otherwise in standing.items():
        sources = [f"{name}_given", name, f"{name}_kept"]
        there = [pl.col(source).cast(schema[name]) for source in sources if source in rows.columns]
        decimals = otherwise.round(MONEY.scale) if schema[name].is_decimal() else otherwise
        rows = rows.with_columns(pl.coalesce(*there, decimals.cast(schema[name])).alias(name))
    return conform(rows, table)


def _nothing(name: str, dtype: pl.DataType, key: str) -> pl.Expr:
    """Return a column of an earlier import as null where it was only a default that says nothing."""
    column = pl.col(name)
    if name == key:
        return column
    if dtype == pl.String:
        default = (column == defaults.UNKNOWN) | ((column == pl.col(key)) if name == "name" else False)
        return pl.when(~default).then(column).alias(name)
    if dtype.is_decimal():
        return pl.when(column != 0).then(column).alias(name)
    return column


def suppliers() -> pl.DataFrame:
    """Return `reference/suppliers`: the one that is assumed."""
    row = {
        "supplier_id": defaults.SUPPLIER_ID,
        "name": defaults.UNKNOWN,
        "lead_time_days_mean": defaults.LEAD_TIME_DAYS_MEAN,
        "lead_time_days_sd": defaults.LEAD_TIME_DAYS_SD,
        "review_period_days": defaults.REVIEW_PERIOD_DAYS,
        "lead_time_distribution": "gamma",
        "delivery_weekdays": defaults.DELIVERY_WEEKDAYS,
        "minimum_order_value": defaults.MINIMUM_ORDER_VALUE,
        "reliability": defaults.SUPPLIER_RELIABILITY,
    }
    return conform(pl.DataFrame([row]), REFERENCE_SUPPLIERS)


def events(given: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    """Return `reference/events`: what is given, and what was there under other keys."""
    schema = polars_schema(REFERENCE_EVENTS.columns)
    lacking = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in given.columns]
    new = given.with_columns(lacking).with_columns(pl.col("kind").fill_null(defaults.EVENT_KIND))
    new = new.select(schema.names()).cast(schema)
    return conform(
        pl.concat([kept, new]).unique(REFERENCE_EVENTS.grain, keep="last", maintain_order=True), REFERENCE_EVENTS
    )


def everywhere(held: pl.DataFrame) -> pl.DataFrame:
    """Return the events that are public holidays for all stores: of the kind holiday, and of no one place."""
    return held.filter(
        (pl.col("kind").str.to_lowercase() == defaults.HOLIDAY_KIND)
        & pl.col("store_id").is_null()
        & pl.col("region").is_null()
    )


def calendar(observed: Observed, held: pl.DataFrame, place: Place) -> pl.DataFrame:
    """Return `reference/calendar`, from the first day of the sales to a year after the last.

    Args:
        observed: of the sales.
        held: `reference/events`.
        place: whose public holidays hold.

    Raises:
        ImportRefusedError: the holidays of the country aren't known.
    """
    days = pl.DataFrame(
        {
            "date": pl.date_range(
                observed.first_date, observed.last_date + timedelta(days=defaults.CALENDAR_DAYS_AHEAD), eager=True
            )
        }
    )
    years = range(days["date"][0].year, days["date"][-1].year + 1)
    named = [(day, name) for day, name in public_holidays(place.country, years).items()]
    named += list(everywhere(held).select("date", "name").iter_rows())
    names = (
        pl.DataFrame(named, schema={"date": pl.Date, "name": pl.String}, orient="row")
        .unique(maintain_order=True)
        .group_by("date", maintain_order=True)
        .agg(pl.col("name").str.join(", ").alias("holiday_name"))
    )
    rows = days.join(names, on="date", how="left").with_columns(
        pl.col("holiday_name").is_not_null().alias("is_holiday"), pl.col("holiday_name").fill_null("")
    )
    return conform(rows, REFERENCE_CALENDAR)


def public_holidays(country: str | None, years: range) -> dict[date, str]:
    """Return the public holidays of a country, or of a part of it.

    Args:
        country: such as `DE` or `DE-BY`; None for none.
        years: calendar years.

    Raises:
        ImportRefusedError: the country or its part isn't known.
    """
    if country is None:
        return {}
    code, _, part = country.upper().partition("-")
    known = holidays.list_supported_countries(include_aliases=True)
    if code not in known or (part and part not in known[code]):
        raise ImportRefusedError(
            f"--country {country}: its holidays aren't known; give a code such as DE or DE-BY, or `none` and your own "
            "holidays with --events"
        )
    # Without a language the names would follow the machine's, and so would the tables.
    language = holidays.country_holidays(code).default_language
    return dict(holidays.country_holidays(code, subdiv=part or None, years=years, language=language).items())


def promotions(
    sales: Callable[[], Iterable[pl.DataFrame]], observed: Observed, catalogue: pl.DataFrame
) -> pl.DataFrame:
    """Return `reference/promotions`: stretches of days of trade on which a series' rows say that a promotion ran.

    A day on which its store has no row at all was no day of trade, and doesn't end a promotion.

    Args:
        sales: returns `raw/imported_sales` in parts, at least the columns `OBSERVED`; called once per some stores.
        observed: of the sales.
        catalogue: `reference/products`, for list prices.

    Returns:
        discount_share is list price less mean price, over list price, at least 0; 0 where either isn't known.
    """
    by_store = observed.series.group_by("store_id", maintain_order=True).agg(pl.col("promoted").sum())
    by_store = by_store.filter(pl.col("promoted") > 0)
    trade = observed.trade.with_columns(pl.int_range(pl.len()).over("store_id").alias("day_of_trade"))
    # Numbers of series rather than their names: a retailer may promote everything, always.
    series = observed.series.select(SERIES).with_row_index("series")
    parts = [pl.DataFrame(schema=polars_schema(REFERENCE_PROMOTIONS.columns))]
    chunk = ((pl.col("promoted").cum_sum() - pl.col("promoted")) // _PROMOTION_ROWS).alias("chunk")
    for some in by_store.with_columns(chunk).partition_by("chunk", maintain_order=True):
        wanted = pl.col("store_id").is_in(some["store_id"].to_list())
        rows = [
            part.filter(wanted & pl.col("on_promotion").fill_null(value=False))
            .with_columns(_price().alias("price"))
            .join(trade, on=["store_id", "business_date"])
            .join(series, on=SERIES)
            .select("series", "business_date", "day_of_trade", "price")
            for part in sales()
        ]
        parts.append(_stretches(pl.concat(rows), series, catalogue))
    return conform(pl.concat(parts), REFERENCE_PROMOTIONS)


def _stretches(rows: pl.DataFrame, series: pl.DataFrame, catalogue: pl.DataFrame) -> pl.DataFrame:
    discount = 1 - pl.col("price") / pl.col("list_price").cast(pl.Float64)
    stretch = pl.col("day_of_trade") - pl.int_range(pl.len()).over("series")
    stretches = (
        rows.sort("series", "business_date")
        .with_columns(stretch.alias("stretch"))
        .group_by("series", "stretch", maintain_order=True)
        .agg(
            pl.col("business_date").min().alias("starts_on"),
            pl.col("business_date").max().alias("ends_on"),
            pl.col("price").mean(),
        )
        .join(series, on="series", how="left")
        .join(catalogue.select("product_id", "list_price"), on="product_id", how="left")
    )
    return stretches.select(
        pl.format("{}-{}", "product_id", pl.col("starts_on").dt.strftime("%Y%m%d")).alias("promotion_id"),
        *SERIES,
        "starts_on",
        "ends_on",
        pl.when(pl.col("list_price") > 0)
        .then(discount)
        .fill_null(0.0)
        .clip(0.0, 1.0)
        .round(_DISCOUNT_PLACES)
        .alias("discount_share"),
        pl.lit(value=False).alias("on_display"),
    )


def _date(value: object) -> date:
    if not isinstance(value, date):
        raise TypeError(f"{value} is no date")
    return value
