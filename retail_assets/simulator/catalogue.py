"""What the retailer could sell and where it could trade: plain facts that the world is drawn from.

Belongs here: names, sizes, price ranges, cities, opening hours. Does not belong here: any draw; `world` chooses.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class StoreFormat:
    """One kind of store.

    Attributes:
        name: as in the contract.
        share: of all stores.
        volume: sales of a product relative to a supermarket's.
        opens_at_hour: first hour of trade, local.
        closes_at_hour: hour at which trade ends, local.
        registers: how many tills.
        hour_weights: how trade spreads over the hours of the day, from the first hour of trade on.
    """

    name: str
    share: float
    volume: float
    opens_at_hour: int
    closes_at_hour: int
    registers: int
    hour_weights: tuple[float, ...]


STORE_FORMATS: Final = (
    StoreFormat(
        "hypermarket", 0.2, 1.9, 8, 22, 6, (2.0, 4.0, 6.5, 8.5, 8.5, 8.0, 7.5, 8.0, 9.5, 11.0, 10.5, 8.0, 5.0, 3.0)
    ),
    StoreFormat(
        "supermarket", 0.5, 1.0, 7, 21, 4, (2.5, 4.0, 6.0, 8.0, 9.5, 8.5, 6.5, 6.5, 8.0, 10.5, 12.0, 9.5, 5.5, 3.0)
    ),
    StoreFormat(
        "convenience",
        0.3,
        0.5,
        6,
        23,
        2,
        (4.5, 8.5, 8.5, 5.0, 4.0, 4.5, 7.0, 5.5, 4.0, 4.5, 6.0, 8.0, 9.0, 7.5, 6.0, 4.5, 3.0),
    ),
)

REGIONS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("North", ("Hamburg", "Bremen", "Kiel", "Lübeck", "Rostock", "Oldenburg")),
    ("East", ("Berlin", "Leipzig", "Dresden", "Potsdam", "Erfurt", "Magdeburg")),
    ("West", ("Köln", "Düsseldorf", "Dortmund", "Essen", "Bonn", "Münster")),
    ("South", ("München", "Stuttgart", "Nürnberg", "Augsburg", "Ulm", "Freiburg")),
)


@dataclass(frozen=True)
class Size:
    """One size that a product is sold in, and the price range of that size in units of money."""

    label: str
    price_from: float
    price_to: float


@dataclass(frozen=True)
class Subcategory:
    """The third level of the catalogue, with what products of it are like.

    Attributes:
        pull: how well such products sell beside others, in logs.
        season: amplitude of the yearly season, in logs; positive peaks in summer, negative in winter.
        shelf_life_days: from and to; (0, 0) where it keeps.
        pack_sizes: the sizes of pack that suppliers offer.
    """

    department: str
    category: str
    name: str
    noun: str
    styles: tuple[str, ...]
    sizes: tuple[Size, ...]
    pull: float
    season: float
    shelf_life_days: tuple[int, int]
    pack_sizes: tuple[int, ...]

    @property
    def fresh(self) -> bool:
        """Whether it spoils."""
        return self.shelf_life_days[1] > 0


_KEEPS: Final = (0, 0)

SUBCATEGORIES: Final = (
    Subcategory(
        "Food", "Hot drinks", "Ground coffee", "Coffee",
        ("Barista Blend", "House Roast", "Morning Roast", "Highland", "Decaf"),
        (Size("250 g", 3.5, 5.5), Size("500 g", 5.5, 9.0), Size("1 kg", 10.0, 16.0)), 0.5, -0.12, _KEEPS, (6, 12),
    ),
    Subcategory(
        "Fresh", "Dairy", "Milk", "Milk", ("Whole", "Semi-skimmed", "Organic Whole", "Lactose-free"),
        (Size("500 ml", 0.8, 1.1), Size("1 l", 1.0, 1.7)), 1.0, -0.03, (9, 14), (6, 12),
    ),
    Subcategory(
        "Household", "Cleaning", "Surface cleaner", "Cleaner", ("Citrus", "Kitchen", "Bathroom", "All-purpose"),
        (Size("500 ml", 1.5, 3.0), Size("1 l", 2.2, 4.2)), -0.4, 0.05, _KEEPS, (6, 12),
    ),
    Subcategory(
        "Beverages", "Soft drinks", "Cola", "Cola", ("Classic", "Zero", "Cherry", "Caffeine-free"),
        (Size("330 ml", 0.6, 1.0), Size("1 l", 1.0, 1.6), Size("1.5 l", 1.3, 2.0)), 0.8, 0.25, _KEEPS, (6, 12, 24),
    ),
    Subcategory(
        "Fresh", "Bakery", "Bread", "Bread", ("Rye", "Wholegrain", "Farmhouse", "Sourdough", "Spelt"),
        (Size("500 g", 1.8, 3.2), Size("750 g", 2.4, 4.2)), 0.9, -0.04, (5, 7), (6,),
    ),
    Subcategory(
        "Personal care", "Hair", "Shampoo", "Shampoo", ("Repair", "Volume", "Sensitive", "Herbal"),
        (Size("250 ml", 1.5, 4.0), Size("400 ml", 2.4, 5.5)), -0.5, 0.03, _KEEPS, (6, 12),
    ),
    Subcategory(
        "Food", "Sweets", "Chocolate", "Chocolate", ("Milk", "Dark 70 %", "Hazelnut", "White", "Caramel"),
        (Size("100 g", 0.9, 2.2), Size("300 g", 2.6, 5.0)), 0.7, -0.30, _KEEPS, (12, 24),
    ),
    Subcategory(
        "Food", "Pasta and rice", "Pasta", "Pasta", ("Spaghetti", "Penne", "Fusilli", "Wholegrain", "Farfalle"),
        (Size("500 g", 0.9, 2.2), Size("1 kg", 1.6, 3.4)), 0.6, -0.08, _KEEPS, (12, 24),
    ),
    Subcategory(
        "Fresh", "Dairy", "Yoghurt", "Yoghurt", ("Natural", "Strawberry", "Vanilla", "Greek Style", "Blueberry"),
        (Size("150 g", 0.5, 0.9), Size("500 g", 1.2, 2.4)), 0.8, 0.08, (18, 28), (6, 12),
    ),
    Subcategory(
        "Household", "Paper", "Kitchen towels", "Kitchen Towels", ("Strong", "Classic", "Recycled"),
        (Size("2 rolls", 1.6, 2.8), Size("4 rolls", 2.6, 4.6)), 0.1, 0.0, _KEEPS, (6, 12),
    ),
    Subcategory(
        "Beverages", "Water", "Mineral water", "Mineral Water", ("Sparkling", "Still", "Medium"),
        (Size("500 ml", 0.4, 0.9), Size("1.5 l", 0.6, 1.3)), 0.9, 0.30, _KEEPS, (6, 12, 24),
    ),
    Subcategory(
        "Food", "Preserves", "Tinned tomatoes", "Tomatoes", ("Chopped", "Peeled", "Cherry", "Organic Chopped"),
        (Size("400 g", 0.8, 1.8), Size("800 g", 1.5, 2.8)), 0.3, -0.05, _KEEPS, (12, 24),
    ),
    Subcategory(
        "Personal care", "Teeth", "Toothpaste", "Toothpaste", ("Fresh Mint", "Whitening", "Sensitive", "Junior"),
        (Size("75 ml", 1.0, 3.6), Size("125 ml", 1.6, 4.6)), -0.3, 0.0, _KEEPS, (6, 12, 24),
    ),
    Subcategory(
        "Fresh", "Cheese", "Sliced cheese", "Cheese Slices", ("Gouda", "Emmental", "Tilsit", "Butter Cheese"),
        (Size("200 g", 1.9, 3.4), Size("400 g", 3.4, 5.6)), 0.5, -0.03, (28, 42), (6, 12),
    ),
    Subcategory(
        "Food", "Breakfast", "Muesli", "Muesli", ("Crunchy", "Berry", "Nut", "Fruit", "Chocolate"),
        (Size("500 g", 2.2, 4.5), Size("1 kg", 3.8, 7.0)), 0.0, 0.06, _KEEPS, (6, 12),
    ),
    Subcategory(
        "Household", "Laundry", "Detergent", "Detergent", ("Colour", "Universal", "Sensitive", "Black"),
        (Size("20 washes", 3.8, 7.0), Size("40 washes", 6.8, 12.0)), -0.6, 0.0, _KEEPS, (6,),
    ),
    Subcategory(
        "Beverages", "Juice", "Orange juice", "Orange Juice", ("With Pulp", "Smooth", "Organic", "Blood"),
        (Size("1 l", 1.6, 3.2), Size("330 ml", 0.9, 1.6)), 0.3, 0.05, _KEEPS, (6, 12),
    ),
    Subcategory(
        "Pet", "Cat food", "Wet cat food", "Cat Food", ("Chicken", "Salmon", "Beef", "Tuna"),
        (Size("100 g", 0.5, 1.1), Size("4 x 100 g", 1.9, 3.8)), -0.2, 0.0, _KEEPS, (12, 24),
    ),
    Subcategory(
        "Fresh", "Meat", "Cold cuts", "Cold Cuts", ("Smoked Ham", "Salami", "Turkey Breast", "Bologna"),
        (Size("100 g", 1.4, 2.6), Size("200 g", 2.4, 4.2)), 0.4, 0.04, (14, 24), (6, 12),
    ),
    Subcategory(
        "Food", "Snacks", "Crisps", "Crisps", ("Paprika", "Sea Salt", "Sour Cream", "Chilli"),
        (Size("150 g", 1.3, 2.4), Size("250 g", 1.9, 3.4)), 0.6, 0.12, _KEEPS, (6, 12, 24),
    ),
    Subcategory(
        "Personal care", "Body", "Shower gel", "Shower Gel", ("Sport", "Almond Milk", "Sea Breeze", "Lemon"),
        (Size("250 ml", 0.9, 2.8), Size("500 ml", 1.6, 4.0)), -0.2, 0.10, _KEEPS, (6, 12),
    ),
    Subcategory(
        "Food", "Baking", "Flour", "Flour", ("Wheat 405", "Wheat 550", "Spelt 630", "Rye 1150"),
        (Size("1 kg", 0.7, 1.9), Size("2.5 kg", 1.8, 3.9)), 0.1, -0.20, _KEEPS, (6, 12),
    ),
    Subcategory(
        "Household", "Kitchen", "Bin bags", "Bin Bags", ("Strong", "Scented", "Compostable"),
        (Size("20 l", 0.9, 2.4), Size("60 l", 1.4, 3.4)), -0.7, 0.0, _KEEPS, (6, 12, 24),
    ),
    Subcategory(
        "Beverages", "Beer", "Alcohol-free beer", "Beer Alcohol-free", ("Pils", "Wheat", "Lemon"),
        (Size("500 ml", 0.8, 1.4), Size("6 x 330 ml", 4.2, 6.4)), 0.1, 0.35, _KEEPS, (6, 12, 24),
    ),
)  # fmt: skip
