"""The retailer's world: stores, suppliers, products, promotions, weather and the calendar, drawn from a scenario.

Belongs here: everything that is fixed before the first customer comes in, as the contract's reference frames. Does not
belong here: what sells (`demand`), what lies on the shelf (`ledger`).
"""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import holidays
import numpy as np
import numpy.typing as npt
import polars as pl
from faker import Faker

from retail_assets.contracts.tables import REFERENCE_CALENDAR, REFERENCE_STORES, REFERENCE_SUPPLIERS, Table
from retail_assets.contracts.types import polars_schema
from retail_assets.simulator.randomness import Purpose, stream
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.world.assortment import Subcategory
from retail_assets.simulator.world.catalogue import (
    CUSTOMER_PROFILES,
    REGIONS,
    STORE_FORMATS,
    CustomerProfile,
    StoreFormat,
)
from retail_assets.simulator.world.products import draw_catalogue
from retail_assets.simulator.world.promotions import PROMOTION_DAYS_AHEAD, PromotionIndex, draw_promotions
from retail_assets.simulator.world.weather import Weather

__all__ = ["CALENDAR_DAYS_AHEAD", "PROMOTION_DAYS_AHEAD", "World", "build_world", "public_holidays"]

CALENDAR_DAYS_AHEAD: Final = 366

_COUNTRY: Final = "DE"
_LOCALE: Final = "de_DE"
_PRODUCTS_PER_SUPPLIER: Final = 15
_FRESH_SUPPLIER_SHARE: Final = 0.25
_EVERY_WORKDAY: Final = "1,2,3,4,5,6"
_DELIVERY_WEEKDAYS: Final = ("1,4", "2,5", "1,3,5", "2,4,6", "3,6", "1,2,4")


@dataclass(frozen=True)
class World:
    """The reference frames, each in its contract's schema, and what the tables don't hold.

    Attributes:
        stores: `reference/stores`, by store_id.
        suppliers: `reference/suppliers`, by supplier_id.
        products: `reference/products`, by product_id.
        promotions: `reference/promotions`, by promotion_id, store_id, product_id.
        calendar: `reference/calendar`, by date.
        weather: `reference/weather`, by store_id, date.
        formats: the format of each store, in the order of `stores`.
        profiles: the customer profile of each store, in the order of `stores`.
        subcategories: the subcategory of each product, in the order of `products`.
        substitutes: what a customer takes instead of each product, nearest first: places in `products`; -1 where there
            is no further one.
        promotion_index: finds rows of `promotions`.
        climate: the weather of any day, also after the last date.
    """

    stores: pl.DataFrame
    suppliers: pl.DataFrame
    products: pl.DataFrame
    promotions: pl.DataFrame
    calendar: pl.DataFrame
    weather: pl.DataFrame
    formats: tuple[StoreFormat, ...]
    profiles: tuple[CustomerProfile, ...]
    subcategories: tuple[Subcategory, ...]
    substitutes: npt.NDArray[np.int32]
    promotion_index: PromotionIndex
    climate: Weather


def build_world(scenario: Scenario) -> World:
    """Draw the world of a scenario. The same scenario gives the same frames, byte for byte."""
    faker = Faker(_LOCALE)
    faker.seed_instance(int(stream(scenario.seed, Purpose.NAMES).integers(2**32)))
    stores, formats, profiles = _stores(scenario, faker)
    suppliers, fresh_suppliers = _suppliers(scenario, faker)
    ambient_suppliers = [s for s in suppliers["supplier_id"].to_list() if s not in fresh_suppliers]
    catalogue = draw_catalogue(scenario, faker, fresh_suppliers, ambient_suppliers)
    promotions = draw_promotions(scenario, stores, catalogue.table)
    climate = Weather(scenario, np.arange(scenario.stores) % len(REGIONS))
    return World(
        stores=stores,
        suppliers=suppliers,
        products=catalogue.table,
        promotions=promotions,
        calendar=_calendar(scenario),
        weather=climate.table(stores["store_id"]),
        formats=formats,
        profiles=profiles,
        subcategories=catalogue.subcategories,
        substitutes=catalogue.substitutes,
        promotion_index=PromotionIndex.of(scenario, promotions, stores, catalogue.table),
        climate=climate,
    )


def _frame(table: Table, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=polars_schema(table.columns), orient="row").sort(table.grain)


def _spread(shares: list[float], count: int) -> list[int]:
    """Give each of `count` places one of the shares' indices, as evenly as whole numbers allow.

    Each place goes to the share that lags furthest behind, so that even three stores show more than one format.
    """
    total = sum(shares)
    given = [0] * len(shares)
    places = []
    for place in range(1, count + 1):
        index = max(range(len(shares)), key=lambda i: shares[i] / total * place - given[i])
        given[index] += 1
        places.append(index)
    return places


def _stores(
    scenario: Scenario, faker: Faker
) -> tuple[pl.DataFrame, tuple[StoreFormat, ...], tuple[CustomerProfile, ...]]:
    rng = stream(scenario.seed, Purpose.STORES)
    kinds = scenario.store_settings
    shares = {
        "hypermarket": kinds.hypermarkets,
        "supermarket": kinds.supermarkets,
        "convenience": kinds.convenience_stores,
    }
    formats = tuple(STORE_FORMATS[i] for i in _spread([shares[f.name] for f in STORE_FORMATS], scenario.stores))
    zones = dict(kinds.time_zones)
    rows = []
    profiles = []
    for number, store_format in enumerate(formats):
        region = REGIONS[number % len(REGIONS)]
        city = region.cities[int(rng.integers(len(region.cities)))]
        opened = int(rng.integers(200, 4_000))
        profile = CUSTOMER_PROFILES[int(rng.choice(len(CUSTOMER_PROFILES), p=store_format.profiles))]
        size = int(rng.integers(store_format.size_m2[0] // 10, store_format.size_m2[1] // 10 + 1)) * 10
        rows.append(
            {
                "store_id": f"S{number + 1:03d}",
                "name": f"{city} {faker.street_name()}",
                "region": region.name,
                "city": city,
                "format": store_format.name,
                "time_zone": zones.get(region.name, scenario.time_zone),
                "opens_at_hour": store_format.opens_at_hour,
                "closes_at_hour": store_format.closes_at_hour,
                "opened_on": scenario.first_date - timedelta(days=opened),
                "size_m2": size,
                "storage_litres": round(size * store_format.storage_share),
                "customer_profile": profile.name,
                "manager": faker.name(),
            }
        )
        profiles.append(profile)
    return _frame(REFERENCE_STORES, rows), formats, tuple(profiles)


def _suppliers(scenario: Scenario, faker: Faker) -> tuple[pl.DataFrame, list[str]]:
    """Return the suppliers and the ids of those who deliver fresh goods: near, and often."""
    rng = stream(scenario.seed, Purpose.SUPPLIERS)
    count = max(2, -(-scenario.products // _PRODUCTS_PER_SUPPLIER))
    fresh_count = max(1, round(count * _FRESH_SUPPLIER_SHARE))
    rows: list[dict[str, Any]] = []
    for number in range(count):
        fresh = number < fresh_count
        mean = float(rng.uniform(1.0, 2.0) if fresh else rng.uniform(3.0, 8.0))
        spread = float(rng.uniform(0.2, 0.4) if fresh else rng.uniform(0.25, 0.45)) * mean
        rows.append(
            {
                "supplier_id": f"SUP{number + 1:0{max(2, len(str(count)))}d}",
                "name": faker.company(),
                "lead_time_days_mean": round(mean, 1),
                "lead_time_days_sd": round(spread, 1),
                "review_period_days": int(rng.integers(1, 3) if fresh else rng.integers(2, 5)),
                "lead_time_distribution": "gamma",
                "delivery_weekdays": _EVERY_WORKDAY if fresh else str(rng.choice(_DELIVERY_WEEKDAYS)),
                "minimum_order_value": Decimal(int(rng.integers(2, 6) if fresh else rng.integers(4, 25)) * 10),
                "reliability": round(float(rng.uniform(0.97, 0.998) if fresh else rng.uniform(0.92, 0.99)), 3),
            }
        )
    return _frame(REFERENCE_SUPPLIERS, rows), [row["supplier_id"] for row in rows[:fresh_count]]


@lru_cache(maxsize=64)
def _holidays_of(year: int) -> dict[date, str]:
    return dict(holidays.country_holidays(_COUNTRY, years=year, language="en_US"))


def public_holidays(first: date, last: date) -> dict[date, str]:
    """Return the public holidays of the retailer's country between two days, both inclusive, by date."""
    years = (_holidays_of(year) for year in range(first.year, last.year + 1))
    found = sorted(pair for year in years for pair in year.items())
    return {day: name for day, name in found if first <= day <= last}


def _calendar(scenario: Scenario) -> pl.DataFrame:
    first = scenario.first_date
    last = scenario.last_date + timedelta(days=CALENDAR_DAYS_AHEAD)
    names = public_holidays(first, last)
    rows = []
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        rows.append({"date": day, "holiday_name": names.get(day, ""), "is_holiday": day in names})
    return _frame(REFERENCE_CALENDAR, rows)
