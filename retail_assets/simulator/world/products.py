"""The catalogue: which products there are, what they cost, who delivers them, and how long they are sold.

Belongs here: everything that is fixed about a product before the first customer comes in. Does not belong here: how
much of it sells (`demand`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
from faker import Faker

from retail_assets.contracts.tables import REFERENCE_PRODUCTS
from retail_assets.contracts.types import polars_schema
from retail_assets.simulator.randomness import Purpose, stream
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.world.assortment import SUBCATEGORIES, Size, Subcategory

#: How many substitutes a product has at most.
SUBSTITUTES: Final = 3

_BRANDS_PER_DEPARTMENT: Final = 5
# Launches and ends are spread over so many days after the first date; a product is on sale for so many at least.
_LAUNCH_DAYS: Final = (7, 730)
_END_DAYS: Final = (60, 790)
_LEAST_LIFE_DAYS: Final = 120
_LONGEST_ON_SALE_DAYS: Final = 2_000
_COST_SHARES: Final = (0.55, 0.75)  # of the list price


@dataclass(frozen=True)
class Catalogue:
    """The products.

    Attributes:
        table: `reference/products`, by product_id.
        subcategories: the subcategory of each product, in the order of the table.
        substitutes: what a customer takes instead, nearest first, products x `SUBSTITUTES`: places in the table; -1
            where there is no further one. All are of the product's own subcategory.
    """

    table: pl.DataFrame
    subcategories: tuple[Subcategory, ...]
    substitutes: npt.NDArray[np.int32]


def draw_catalogue(
    scenario: Scenario, faker: Faker, fresh_suppliers: list[str], ambient_suppliers: list[str]
) -> Catalogue:
    """Draw the products.

    Subcategories take turns, so that a short catalogue shows many of them.

    Args:
        scenario: how many products, and how the catalogue changes.
        faker: for the names of brands.
        fresh_suppliers: ids of those who deliver what spoils.
        ambient_suppliers: ids of the others.
    """
    rng = stream(scenario.seed, Purpose.PRODUCTS)
    variants = _Variants(scenario.products, faker, rng)
    lives = _lives(scenario)
    rows: list[dict[str, Any]] = []
    for number in range(scenario.products):
        turn = number // len(SUBCATEGORIES)
        subcategory, (brand, style, size) = variants.take(number)
        # Prices end in 9 cents, as on the shelf.
        price_cents = max(19, round(rng.uniform(size.price_from, size.price_to) * 10) * 10 - 1)
        life_from, life_to = subcategory.shelf_life_days
        launched_on, discontinued_on = next(lives)
        rows.append(
            {
                "product_id": f"P{number + 1:04d}",
                "name": f"{style} {subcategory.noun} {size.label}",
                "department": subcategory.department,
                "category": subcategory.category,
                "subcategory": subcategory.name,
                "brand": brand,
                "unit_cost": _money(max(1, round(price_cents * rng.uniform(*_COST_SHARES)))),
                "list_price": _money(price_cents),
                "pack_size": int(rng.choice(subcategory.pack_sizes)),
                "minimum_order_packs": int(rng.choice([1, 1, 1, 2])),
                "shelf_life_days": int(rng.integers(life_from, life_to + 1)),
                "supplier_id": (
                    fresh_suppliers[turn % len(fresh_suppliers)]
                    if subcategory.fresh
                    else ambient_suppliers[number % len(ambient_suppliers)]
                ),
                "launched_on": launched_on,
                "discontinued_on": discontinued_on,
                "size_label": size.label,
                "volume_litres": size.litres,
            }
        )
    # Ids are numbered in this order, so the rows lie in the order of the grain.
    table = pl.DataFrame(rows, schema=polars_schema(REFERENCE_PRODUCTS.columns), orient="row")
    subcategories = tuple(SUBCATEGORIES[number % len(SUBCATEGORIES)] for number in range(scenario.products))
    return Catalogue(table=table, subcategories=subcategories, substitutes=_substitutes(table))


class _Variants:
    """The brands, styles and sizes of each subcategory in random order: names repeat only when all are used."""

    def __init__(self, products: int, faker: Faker, rng: np.random.Generator) -> None:
        wanted = -(-products // len(SUBCATEGORIES))
        fewest = min(len(subcategory.styles) * len(subcategory.sizes) for subcategory in SUBCATEGORIES)
        count = max(_BRANDS_PER_DEPARTMENT, -(-wanted // fewest))
        departments = sorted({subcategory.department for subcategory in SUBCATEGORIES})
        brands = {department: _brands(faker, count) for department in departments}
        self._options: list[list[tuple[str, str, Size]]] = [
            [
                (brand, style, size)
                for brand in brands[subcategory.department]
                for style in subcategory.styles
                for size in subcategory.sizes
            ]
            for subcategory in SUBCATEGORIES
        ]
        self._orders = [rng.permutation(len(options)) for options in self._options]

    def take(self, number: int) -> tuple[Subcategory, tuple[str, str, Size]]:
        """Return the subcategory, and brand, style and size of a product by its number."""
        index, turn = number % len(SUBCATEGORIES), number // len(SUBCATEGORIES)
        order = self._orders[index]
        return SUBCATEGORIES[index], self._options[index][order[turn % len(order)]]


def _brands(faker: Faker, count: int) -> list[str]:
    """Return different names; a second product line of a name is told apart by a number."""
    names: dict[str, int] = {}
    brands = []
    for _ in range(count):
        name = faker.last_name()
        names[name] = names.get(name, 0) + 1
        brands.append(name if names[name] == 1 else f"{name} {names[name]}")
    return brands


def _lives(scenario: Scenario) -> Iterator[tuple[date, date | None]]:
    """Yield the first day on sale, and the last where one is planned, product by product.

    Counted from the first date, so that a longer scenario has the same products on the same days.
    """
    rng = stream(scenario.seed, Purpose.LAUNCHES)
    while True:
        on_sale_for, chance, launch_day, end_chance, end_day = rng.random(5)
        launch = -30 - int(on_sale_for * _LONGEST_ON_SALE_DAYS)
        if chance < scenario.catalogue.launched_later:
            launch = int(_LAUNCH_DAYS[0] + launch_day * (_LAUNCH_DAYS[1] - _LAUNCH_DAYS[0]))
        end: date | None = None
        if end_chance < scenario.catalogue.discontinued:
            after = int(_END_DAYS[0] + end_day * (_END_DAYS[1] - _END_DAYS[0]))
            end = scenario.first_date + timedelta(days=max(after, launch + _LEAST_LIFE_DAYS))
        yield scenario.first_date + timedelta(days=launch), end


def _substitutes(table: pl.DataFrame) -> npt.NDArray[np.int32]:
    """Return the products of the same subcategory that are nearest in price."""
    found = np.full((table.height, SUBSTITUTES), -1, dtype=np.int32)
    price = np.log(table["list_price"].cast(pl.Float64).to_numpy())
    for places in table.with_row_index("place").group_by("subcategory").agg("place")["place"]:
        members = places.to_numpy().astype(np.int64)
        distance = np.abs(price[members][:, None] - price[members][None, :])
        np.fill_diagonal(distance, np.inf)
        count = min(SUBSTITUTES, members.size - 1)
        nearest = np.argsort(distance, axis=1, kind="stable")[:, :count]
        found[members, :count] = members[nearest]
    return found


def _money(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)
