"""Where the retailer could trade, and for whom: plain facts that the stores are drawn from.

Belongs here: formats, opening hours, regions, cities, customer profiles. Does not belong here: any draw (`stores`
chooses), and goods (`assortment`).
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class StoreFormat:
    """One kind of store.

    Attributes:
        name: as in the contract.
        volume: sales of a product relative to a supermarket's.
        opens_at_hour: first hour of trade, local.
        closes_at_hour: hour at which trade ends, local.
        registers: how many tills.
        size_m2: sales area, from and to, square metres.
        storage_share: room for stock per square metre of sales area, litres.
        week: how strongly the week shapes trade; 1 as in the average store.
        on_holidays: demand on a public holiday over that of an ordinary day.
        profiles: weights of the customer profiles, in the order of `CUSTOMER_PROFILES`.
        hour_weights: how trade spreads over the hours of the day, from the first hour of trade on.
    """

    name: str
    volume: float
    opens_at_hour: int
    closes_at_hour: int
    registers: int
    size_m2: tuple[int, int]
    storage_share: float
    week: float
    on_holidays: float
    profiles: tuple[float, ...]
    hour_weights: tuple[float, ...]


@dataclass(frozen=True)
class CustomerProfile:
    """Who shops in a store, for the most part.

    Attributes:
        name: as in the contract.
        week: how strongly the week shapes their shopping; 1 as on average.
        pay_day: how much more they buy after pay-day, in logs.
        price: their price elasticity over the average customer's.
        leanings: what they buy more or less of, in logs, by department.
    """

    name: str
    week: float
    pay_day: float
    price: float
    leanings: tuple[tuple[str, float], ...]


CUSTOMER_PROFILES: Final = (
    CustomerProfile("families", 1.1, 0.06, 1.0, (("Baby", 0.4), ("Fresh", 0.1), ("Household", 0.1), ("Pet", 0.1))),
    CustomerProfile("commuters", 0.8, 0.04, 0.85, (("Beverages", 0.2), ("Fresh", 0.1), ("Household", -0.3))),
    CustomerProfile("students", 0.95, 0.12, 1.15, (("Frozen", 0.3), ("Beverages", 0.2), ("Baby", -0.6), ("Pet", -0.4))),
    CustomerProfile("retirees", 0.9, 0.08, 1.1, (("Food", 0.1), ("Pet", 0.2), ("Baby", -0.5), ("Frozen", -0.2))),
)

STORE_FORMATS: Final = (
    StoreFormat(
        "hypermarket",
        1.9,
        8,
        22,
        6,
        (4_000, 9_000),
        60.0,
        1.1,
        0.5,
        (0.6, 0.1, 0.1, 0.2),
        (2.0, 4.0, 6.5, 8.5, 8.5, 8.0, 7.5, 8.0, 9.5, 11.0, 10.5, 8.0, 5.0, 3.0),
    ),
    StoreFormat(
        "supermarket",
        1.0,
        7,
        21,
        4,
        (900, 2_200),
        90.0,
        1.0,
        0.6,
        (0.4, 0.15, 0.15, 0.3),
        (2.5, 4.0, 6.0, 8.0, 9.5, 8.5, 6.5, 6.5, 8.0, 10.5, 12.0, 9.5, 5.5, 3.0),
    ),
    StoreFormat(
        "convenience",
        0.5,
        6,
        23,
        2,
        (120, 350),
        160.0,
        0.8,
        0.9,
        (0.1, 0.5, 0.3, 0.1),
        (4.5, 8.5, 8.5, 5.0, 4.0, 4.5, 7.0, 5.5, 4.0, 4.5, 6.0, 8.0, 9.0, 7.5, 6.0, 4.5, 3.0),
    ),
)


@dataclass(frozen=True)
class Region:
    """One sales region, with its climate.

    Attributes:
        name: as in the contract.
        cities: where stores can be.
        mean_celsius: mean temperature of the year.
        swing_celsius: how far midsummer lies above the mean.
        rainy_days: share of the days with rain.
    """

    name: str
    cities: tuple[str, ...]
    mean_celsius: float
    swing_celsius: float
    rainy_days: float


REGIONS: Final = (
    Region("North", ("Hamburg", "Bremen", "Kiel", "Lübeck", "Rostock", "Oldenburg"), 9.6, 8.2, 0.40),
    Region("East", ("Berlin", "Leipzig", "Dresden", "Potsdam", "Erfurt", "Magdeburg"), 10.1, 9.8, 0.30),
    Region("West", ("Köln", "Düsseldorf", "Dortmund", "Essen", "Bonn", "Münster"), 10.8, 8.4, 0.38),
    Region("South", ("München", "Stuttgart", "Nürnberg", "Augsburg", "Ulm", "Freiburg"), 9.9, 9.6, 0.34),
)
