"""The retailer's world: stores, suppliers, products, promotions and the calendar, drawn from a scenario.

Belongs here: everything that is fixed before the first customer comes in, as the contract's reference frames. Does not
belong here: what sells (`demand`), what lies on the shelf (`ledger`).
"""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

import holidays
import numpy as np
import polars as pl
from faker import Faker

from retail_assets.contracts.tables import (
    REFERENCE_CALENDAR,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_STORES,
    REFERENCE_SUPPLIERS,
    Table,
)
from retail_assets.contracts.types import polars_schema
from retail_assets.simulator.catalogue import REGIONS, STORE_FORMATS, SUBCATEGORIES, StoreFormat, Subcategory
from retail_assets.simulator.randomness import Purpose, stream
from retail_assets.simulator.scenario import Scenario

CALENDAR_DAYS_AHEAD: Final = 366
#: Promotions are planned for whole weeks: at least this many days ahead are always known.
PROMOTION_DAYS_AHEAD: Final = 28

_COUNTRY: Final = "DE"
_LOCALE: Final = "de_DE"
_BRANDS_PER_DEPARTMENT: Final = 5
_PRODUCTS_PER_SUPPLIER: Final = 15
_FRESH_SUPPLIER_SHARE: Final = 0.25
_PROMOTED_SHARE: Final = 0.035
_PROMOTION_STORE_SHARE: Final = 0.8
_DISCOUNT_PERCENTS: Final = (10, 15, 20, 25, 30, 40)
_DISCOUNT_WEIGHTS: Final = (0.15, 0.2, 0.3, 0.15, 0.15, 0.05)
_LATE_LAUNCH_SHARE: Final = 0.04


@dataclass(frozen=True)
class World:
    """The reference frames, each in its contract's schema, and what the tables don't hold.

    Attributes:
        stores: `reference/stores`, by store_id.
        suppliers: `reference/suppliers`, by supplier_id.
        products: `reference/products`, by product_id.
        promotions: `reference/promotions`, by promotion_id, store_id, product_id.
        calendar: `reference/calendar`, by date.
        formats: the format of each store, in the order of `stores`.
        subcategories: the subcategory of each product, in the order of `products`.
    """

    stores: pl.DataFrame
    suppliers: pl.DataFrame
    products: pl.DataFrame
    promotions: pl.DataFrame
    calendar: pl.DataFrame
    formats: tuple[StoreFormat, ...]
    subcategories: tuple[Subcategory, ...]


def build_world(scenario: Scenario) -> World:
    """Draw the world of a scenario. The same scenario gives the same frames, byte for byte."""
    faker = Faker(_LOCALE)
    faker.seed_instance(int(stream(scenario.seed, Purpose.NAMES).integers(2**32)))
    stores, formats = _stores(scenario, faker)
    suppliers, fresh_suppliers = _suppliers(scenario, faker)
    products, subcategories = _products(scenario, faker, suppliers, fresh_suppliers)
    return World(
        stores=stores,
        suppliers=suppliers,
        products=products,
        promotions=_promotions(scenario, stores, products),
        calendar=_calendar(scenario),
        formats=formats,
        subcategories=subcategories,
    )


def _frame(table: Table, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=polars_schema(table.columns), orient="row").sort(table.grain)


def _spread(shares: list[float], count: int) -> list[int]:
    """Give each of `count` places one of the shares' indices, as evenly as whole numbers allow.

    Each place goes to the share that lags furthest behind, so that even three stores show more than one format.
    """
    given = [0] * len(shares)
    places = []
    for place in range(1, count + 1):
        index = max(range(len(shares)), key=lambda i: shares[i] * place - given[i])
        given[index] += 1
        places.append(index)
    return places


def _stores(scenario: Scenario, faker: Faker) -> tuple[pl.DataFrame, tuple[StoreFormat, ...]]:
    rng = stream(scenario.seed, Purpose.STORES)
    formats = tuple(STORE_FORMATS[i] for i in _spread([f.share for f in STORE_FORMATS], scenario.stores))
    rows = []
    for number, store_format in enumerate(formats):
        region, cities = REGIONS[number % len(REGIONS)]
        city = cities[int(rng.integers(len(cities)))]
        rows.append(
            {
                "store_id": f"S{number + 1:03d}",
                "name": f"{city} {faker.street_name()}",
                "region": region,
                "city": city,
                "format": store_format.name,
                "time_zone": scenario.time_zone,
                "opens_at_hour": store_format.opens_at_hour,
                "closes_at_hour": store_format.closes_at_hour,
                "opened_on": scenario.first_date - timedelta(days=int(rng.integers(200, 4_000))),
            }
        )
    return _frame(REFERENCE_STORES, rows), formats


def _suppliers(scenario: Scenario, faker: Faker) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the suppliers and the ids of those who deliver fresh goods: near, and often."""
    rng = stream(scenario.seed, Purpose.SUPPLIERS)
    count = max(2, -(-scenario.products // _PRODUCTS_PER_SUPPLIER))
    fresh_count = max(1, round(count * _FRESH_SUPPLIER_SHARE))
    rows: list[dict[str, Any]] = []
    for number in range(count):
        fresh = number < fresh_count
        mean = float(rng.uniform(1.0, 2.0) if fresh else rng.uniform(6.0, 12.0))
        spread = float(rng.uniform(0.2, 0.4) if fresh else rng.uniform(0.25, 0.45)) * mean
        rows.append(
            {
                "supplier_id": f"SUP{number + 1:02d}",
                "name": faker.company(),
                "lead_time_days_mean": round(mean, 1),
                "lead_time_days_sd": round(spread, 1),
                "review_period_days": int(rng.integers(1, 3) if fresh else rng.integers(3, 8)),
            }
        )
    return _frame(REFERENCE_SUPPLIERS, rows), tuple(row["supplier_id"] for row in rows[:fresh_count])


def _products(
    scenario: Scenario, faker: Faker, suppliers: pl.DataFrame, fresh_suppliers: tuple[str, ...]
) -> tuple[pl.DataFrame, tuple[Subcategory, ...]]:
    rng = stream(scenario.seed, Purpose.PRODUCTS)
    departments = sorted({subcategory.department for subcategory in SUBCATEGORIES})
    brands = {name: [faker.unique.last_name() for _ in range(_BRANDS_PER_DEPARTMENT)] for name in departments}
    ambient_suppliers = [s for s in suppliers["supplier_id"].to_list() if s not in fresh_suppliers]
    # The styles, sizes and brands of each subcategory in random order, so that names repeat only when all are used.
    variants = [
        [
            (brand, style, size)
            for brand in brands[subcategory.department]
            for style in subcategory.styles
            for size in subcategory.sizes
        ]
        for subcategory in SUBCATEGORIES
    ]
    orders = [rng.permutation(len(options)) for options in variants]
    rows = []
    subcategories = []
    for number in range(scenario.products):
        index, turn = number % len(SUBCATEGORIES), number // len(SUBCATEGORIES)
        subcategory = SUBCATEGORIES[index]
        brand, style, size = variants[index][orders[index][turn % len(orders[index])]]
        # Prices end in 9 cents, as on the shelf.
        price_cents = max(19, round(rng.uniform(size.price_from, size.price_to) * 10) * 10 - 1)
        life_from, life_to = subcategory.shelf_life_days
        pool = list(fresh_suppliers) if subcategory.fresh else ambient_suppliers
        launched = scenario.first_date - timedelta(days=int(rng.integers(30, 2_000)))
        if rng.random() < _LATE_LAUNCH_SHARE:
            launched = scenario.first_date + timedelta(days=int(rng.uniform(0.2, 0.8) * scenario.days))
        rows.append(
            {
                "product_id": f"P{number + 1:04d}",
                "name": f"{style} {subcategory.noun} {size.label}",
                "department": subcategory.department,
                "category": subcategory.category,
                "subcategory": subcategory.name,
                "brand": brand,
                "unit_cost": _money(max(1, round(price_cents * rng.uniform(0.55, 0.75)))),
                "list_price": _money(price_cents),
                "pack_size": int(rng.choice(subcategory.pack_sizes)),
                "minimum_order_packs": int(rng.choice([1, 1, 1, 2])),
                "shelf_life_days": int(rng.integers(life_from, life_to + 1)),
                "supplier_id": pool[turn % len(pool)] if subcategory.fresh else pool[number % len(pool)],
                "launched_on": launched,
            }
        )
        subcategories.append(subcategory)
    return _frame(REFERENCE_PRODUCTS, rows), tuple(subcategories)


def _money(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)


def _promotions(scenario: Scenario, stores: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
    """Draw promotions of whole weeks, Monday to Sunday, for a few products each, in most stores each.

    A product is on at most one promotion at a time, since each week draws its products once.
    """
    rng = stream(scenario.seed, Purpose.PROMOTIONS)
    store_ids = stores["store_id"].to_list()
    catalogue = list(zip(products["product_id"], products["launched_on"], strict=True))
    monday = scenario.first_date - timedelta(days=scenario.first_date.weekday())
    end = scenario.last_date + timedelta(days=PROMOTION_DAYS_AHEAD)
    rows: list[dict[str, Any]] = []
    number = 0
    while monday <= end:
        promoted = rng.random(len(catalogue)) < _PROMOTED_SHARE
        # Every week has one promotion at least, so that the smallest scenario shows some.
        promoted[int(rng.integers(len(catalogue)))] = True
        for product_index in np.flatnonzero(promoted):
            product_id, launched_on = catalogue[product_index]
            percent = int(rng.choice(_DISCOUNT_PERCENTS, p=_DISCOUNT_WEIGHTS))
            taking_part = rng.random(len(store_ids)) < _PROMOTION_STORE_SHARE
            if launched_on > monday or not taking_part.any():
                continue
            number += 1
            rows.extend(
                {
                    "promotion_id": f"PR{number:05d}",
                    "store_id": store_ids[store_index],
                    "product_id": product_id,
                    "starts_on": monday,
                    "ends_on": monday + timedelta(days=6),
                    "discount_share": percent / 100,
                }
                for store_index in np.flatnonzero(taking_part)
            )
        monday += timedelta(days=7)
    return _frame(REFERENCE_PROMOTIONS, rows)


def public_holidays(first: date, last: date) -> dict[date, str]:
    """Return the public holidays of the retailer's country between two days, both inclusive, by date."""
    found = holidays.country_holidays(_COUNTRY, years=range(first.year, last.year + 1), language="en_US")
    return {day: name for day, name in sorted(found.items()) if first <= day <= last}


def _calendar(scenario: Scenario) -> pl.DataFrame:
    first = scenario.first_date
    last = scenario.last_date + timedelta(days=CALENDAR_DAYS_AHEAD)
    names = public_holidays(first, last)
    rows = []
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        rows.append({"date": day, "holiday_name": names.get(day, ""), "is_holiday": day in names})
    return _frame(REFERENCE_CALENDAR, rows)
