"""What the retailer could sell: plain facts that the catalogue is drawn from.

Belongs here: departments, categories, subcategories, names, sizes, price ranges, and what moves the demand for them.
Does not belong here: any draw; `products` chooses. The order matters: a short catalogue takes from the front.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Size:
    """One size that a product is sold in.

    Attributes:
        label: as on the pack.
        price_from: least price, units of money.
        price_to: greatest price, units of money.
        litres: room that one unit takes.
    """

    label: str
    price_from: float
    price_to: float
    litres: float


@dataclass(frozen=True)
class Subcategory:
    """The third level of the catalogue, with what products of it are like.

    Attributes:
        department: the first level.
        category: the second level.
        name: the third level.
        noun: what the products are called.
        styles: what comes before the noun.
        sizes: the sizes they are sold in.
        pull: how well such products sell beside others, in logs.
        season: amplitude of the yearly season, in logs; positive peaks in summer, negative in winter.
        shelf_life_days: from and to; (0, 0) where it keeps.
        pack_sizes: the sizes of pack that suppliers offer.
        elasticity: price elasticity of demand, without its sign.
        heat: change of demand for 5 degrees above the season's normal, in logs.
        rain: change of demand on a rainy day, in logs.
        holiday: change of demand on the last day before a public holiday, beyond that of all products, in logs.
        advent: change of demand at the height of Advent, in logs.
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
    elasticity: float = 3.0
    heat: float = 0.0
    rain: float = 0.0
    holiday: float = 0.0
    advent: float = 0.0

    @property
    def fresh(self) -> bool:
        """Whether it spoils."""
        return self.shelf_life_days[1] > 0


_KEEPS: Final = (0, 0)

SUBCATEGORIES: Final = (
    Subcategory(
        "Food", "Hot drinks", "Ground coffee", "Coffee",
        ("Barista Blend", "House Roast", "Morning Roast", "Highland", "Decaf"),
        (Size("250 g", 3.5, 5.5, 0.45), Size("500 g", 5.5, 9.0, 0.9), Size("1 kg", 10.0, 16.0, 1.5)),
        0.5, -0.12, _KEEPS, (6, 12),
        elasticity=3.4, heat=-0.06, rain=0.02, holiday=0.1, advent=0.15,
    ),
    Subcategory(
        "Fresh", "Dairy", "Milk", "Milk",
        ("Whole", "Semi-skimmed", "Organic Whole", "Lactose-free"),
        (Size("500 ml", 0.8, 1.1, 0.57), Size("1 l", 1.0, 1.7, 1.1)),
        1.0, -0.03, (9, 14), (6, 12),
        elasticity=2.2, holiday=0.05, advent=0.02,
    ),
    Subcategory(
        "Household", "Cleaning", "Surface cleaner", "Cleaner",
        ("Citrus", "Kitchen", "Bathroom", "All-purpose"),
        (Size("500 ml", 1.5, 3.0, 0.57), Size("1 l", 2.2, 4.2, 1.1)),
        -0.4, 0.05, _KEEPS, (6, 12),
        elasticity=2.8,
    ),
    Subcategory(
        "Beverages", "Soft drinks", "Cola", "Cola",
        ("Classic", "Zero", "Cherry", "Caffeine-free"),
        (Size("330 ml", 0.6, 1.0, 0.38), Size("1 l", 1.0, 1.6, 1.1), Size("1.5 l", 1.3, 2.0, 1.7)),
        0.8, 0.25, _KEEPS, (6, 12, 24),
        elasticity=3.4, heat=0.14, rain=-0.03, holiday=0.2, advent=0.1,
    ),
    Subcategory(
        "Fresh", "Bakery", "Bread", "Bread",
        ("Rye", "Wholegrain", "Farmhouse", "Sourdough", "Spelt"),
        (Size("500 g", 1.8, 3.2, 0.9), Size("750 g", 2.4, 4.2, 1.3)),
        0.9, -0.04, (5, 7), (6,),
        elasticity=2.0, heat=-0.02, rain=-0.03, holiday=0.15,
    ),
    Subcategory(
        "Personal care", "Hair", "Shampoo", "Shampoo",
        ("Repair", "Volume", "Sensitive", "Herbal"),
        (Size("250 ml", 1.5, 4.0, 0.29), Size("400 ml", 2.4, 5.5, 0.46)),
        -0.5, 0.03, _KEEPS, (6, 12),
        elasticity=3.0,
    ),
    Subcategory(
        "Food", "Sweets", "Chocolate", "Chocolate",
        ("Milk", "Dark 70 %", "Hazelnut", "White", "Caramel"),
        (Size("100 g", 0.9, 2.2, 0.18), Size("300 g", 2.6, 5.0, 0.54)),
        0.7, -0.3, _KEEPS, (12, 24),
        elasticity=3.4, heat=-0.12, rain=0.03, holiday=0.25, advent=0.55,
    ),
    Subcategory(
        "Food", "Pasta and rice", "Pasta", "Pasta",
        ("Spaghetti", "Penne", "Fusilli", "Wholegrain", "Farfalle"),
        (Size("500 g", 0.9, 2.2, 0.9), Size("1 kg", 1.6, 3.4, 1.5)),
        0.6, -0.08, _KEEPS, (12, 24),
        elasticity=3.2, heat=-0.05, rain=0.02,
    ),
    Subcategory(
        "Fresh", "Dairy", "Yoghurt", "Yoghurt",
        ("Natural", "Strawberry", "Vanilla", "Greek Style", "Blueberry"),
        (Size("150 g", 0.5, 0.9, 0.27), Size("500 g", 1.2, 2.4, 0.9)),
        0.8, 0.08, (18, 28), (6, 12),
        elasticity=3.0, heat=0.06,
    ),
    Subcategory(
        "Household", "Paper", "Kitchen towels", "Kitchen Towels",
        ("Strong", "Classic", "Recycled"),
        (Size("2 rolls", 1.6, 2.8, 6.0), Size("4 rolls", 2.6, 4.6, 12.0)),
        0.1, 0.0, _KEEPS, (6, 12),
        elasticity=3.2,
    ),
    Subcategory(
        "Beverages", "Water", "Mineral water", "Mineral Water",
        ("Sparkling", "Still", "Medium"),
        (Size("500 ml", 0.4, 0.9, 0.57), Size("1.5 l", 0.6, 1.3, 1.7)),
        0.9, 0.3, _KEEPS, (6, 12, 24),
        elasticity=2.8, heat=0.2, rain=-0.04, holiday=0.1,
    ),
    Subcategory(
        "Food", "Preserves", "Tinned tomatoes", "Tomatoes",
        ("Chopped", "Peeled", "Cherry", "Organic Chopped"),
        (Size("400 g", 0.8, 1.8, 0.72), Size("800 g", 1.5, 2.8, 1.4)),
        0.3, -0.05, _KEEPS, (12, 24),
        elasticity=3.0, heat=-0.04, rain=0.02,
    ),
    Subcategory(
        "Personal care", "Teeth", "Toothpaste", "Toothpaste",
        ("Fresh Mint", "Whitening", "Sensitive", "Junior"),
        (Size("75 ml", 1.0, 3.6, 0.086), Size("125 ml", 1.6, 4.6, 0.14)),
        -0.3, 0.0, _KEEPS, (6, 12, 24),
        elasticity=3.0,
    ),
    Subcategory(
        "Fresh", "Cheese", "Sliced cheese", "Cheese Slices",
        ("Gouda", "Emmental", "Tilsit", "Butter Cheese"),
        (Size("200 g", 1.9, 3.4, 0.36), Size("400 g", 3.4, 5.6, 0.72)),
        0.5, -0.03, (28, 42), (6, 12),
        elasticity=2.8, holiday=0.1, advent=0.05,
    ),
    Subcategory(
        "Food", "Breakfast", "Muesli", "Muesli",
        ("Crunchy", "Berry", "Nut", "Fruit", "Chocolate"),
        (Size("500 g", 2.2, 4.5, 0.9), Size("1 kg", 3.8, 7.0, 1.5)),
        0.0, 0.06, _KEEPS, (6, 12),
        elasticity=3.0,
    ),
    Subcategory(
        "Household", "Laundry", "Detergent", "Detergent",
        ("Colour", "Universal", "Sensitive", "Black"),
        (Size("20 washes", 3.8, 7.0, 1.8), Size("40 washes", 6.8, 12.0, 3.6)),
        -0.6, 0.0, _KEEPS, (6,),
        elasticity=3.8,
    ),
    Subcategory(
        "Beverages", "Juice", "Orange juice", "Orange Juice",
        ("With Pulp", "Smooth", "Organic", "Blood"),
        (Size("1 l", 1.6, 3.2, 1.1), Size("330 ml", 0.9, 1.6, 0.38)),
        0.3, 0.05, _KEEPS, (6, 12),
        elasticity=3.0, heat=0.08, holiday=0.1, advent=0.05,
    ),
    Subcategory(
        "Pet", "Cat food", "Wet cat food", "Cat Food",
        ("Chicken", "Salmon", "Beef", "Tuna"),
        (Size("100 g", 0.5, 1.1, 0.18), Size("4 x 100 g", 1.9, 3.8, 0.72)),
        -0.2, 0.0, _KEEPS, (12, 24),
        elasticity=3.0,
    ),
    Subcategory(
        "Fresh", "Meat", "Cold cuts", "Cold Cuts",
        ("Smoked Ham", "Salami", "Turkey Breast", "Bologna"),
        (Size("100 g", 1.4, 2.6, 0.18), Size("200 g", 2.4, 4.2, 0.36)),
        0.4, 0.04, (14, 24), (6, 12),
        elasticity=2.8, heat=0.02, rain=-0.02, holiday=0.15, advent=0.1,
    ),
    Subcategory(
        "Food", "Snacks", "Crisps", "Crisps",
        ("Paprika", "Sea Salt", "Sour Cream", "Chilli"),
        (Size("150 g", 1.3, 2.4, 0.27), Size("250 g", 1.9, 3.4, 0.45)),
        0.6, 0.12, _KEEPS, (6, 12, 24),
        elasticity=3.4, heat=0.04, holiday=0.3, advent=0.15,
    ),
    Subcategory(
        "Personal care", "Body", "Shower gel", "Shower Gel",
        ("Sport", "Almond Milk", "Sea Breeze", "Lemon"),
        (Size("250 ml", 0.9, 2.8, 0.29), Size("500 ml", 1.6, 4.0, 0.57)),
        -0.2, 0.1, _KEEPS, (6, 12),
        elasticity=3.2, heat=0.06,
    ),
    Subcategory(
        "Food", "Baking", "Flour", "Flour",
        ("Wheat 405", "Wheat 550", "Spelt 630", "Rye 1150"),
        (Size("1 kg", 0.7, 1.9, 1.5), Size("2.5 kg", 1.8, 3.9, 3.8)),
        0.1, -0.2, _KEEPS, (6, 12),
        elasticity=2.6, heat=-0.06, rain=0.02, holiday=0.05, advent=0.6,
    ),
    Subcategory(
        "Household", "Kitchen", "Bin bags", "Bin Bags",
        ("Strong", "Scented", "Compostable"),
        (Size("20 l", 0.9, 2.4, 23.0), Size("60 l", 1.4, 3.4, 69.0)),
        -0.7, 0.0, _KEEPS, (6, 12, 24),
        elasticity=2.6,
    ),
    Subcategory(
        "Beverages", "Beer", "Alcohol-free beer", "Beer Alcohol-free",
        ("Pils", "Wheat", "Lemon"),
        (Size("500 ml", 0.8, 1.4, 0.57), Size("6 x 330 ml", 4.2, 6.4, 2.3)),
        0.1, 0.35, _KEEPS, (6, 12, 24),
        elasticity=3.2, heat=0.18, rain=-0.06, holiday=0.25, advent=0.05,
    ),
    Subcategory(
        "Frozen", "Frozen meals", "Pizza", "Pizza",
        ("Margherita", "Salami", "Spinach", "Four Cheese", "Tuna"),
        (Size("350 g", 1.8, 3.6, 0.63), Size("2 x 350 g", 3.2, 5.8, 1.3)),
        0.4, -0.06, _KEEPS, (6, 12),
        elasticity=3.4, heat=-0.06, rain=0.04,
    ),
    Subcategory(
        "Fresh", "Eggs", "Eggs", "Eggs",
        ("Free-range", "Organic", "Barn"),
        (Size("6 pcs", 1.4, 2.4, 0.48), Size("10 pcs", 1.9, 3.8, 0.8)),
        0.7, -0.02, (18, 24), (6, 12),
        elasticity=2.0, heat=-0.02, holiday=0.2, advent=0.35,
    ),
    Subcategory(
        "Frozen", "Ice cream", "Ice cream tubs", "Ice Cream",
        ("Vanilla", "Strawberry", "Cookie", "Pistachio", "Stracciatella"),
        (Size("500 ml", 2.2, 5.0, 0.57), Size("900 ml", 2.6, 5.5, 1.0)),
        0.2, 0.45, _KEEPS, (6,),
        elasticity=3.4, heat=0.28, rain=-0.1, holiday=0.1, advent=-0.05,
    ),
    Subcategory(
        "Fresh", "Butter and fats", "Butter", "Butter",
        ("Mild", "Salted", "Organic", "Spreadable"),
        (Size("250 g", 1.7, 3.2, 0.45),),
        0.7, -0.05, (40, 60), (10, 20),
        elasticity=3.2, heat=-0.04, holiday=0.1, advent=0.45,
    ),
    Subcategory(
        "Household", "Paper", "Toilet paper", "Toilet Paper",
        ("Classic", "Soft", "Recycled"),
        (Size("8 rolls", 2.8, 5.0, 24.0), Size("10 rolls", 3.4, 6.0, 30.0)),
        0.3, 0.0, _KEEPS, (4, 8),
        elasticity=3.2, holiday=0.05,
    ),
    Subcategory(
        "Baby", "Nappies", "Nappies", "Nappies",
        ("Size 3", "Size 4", "Size 5", "Size 6"),
        (Size("40 pcs", 5.0, 9.5, 3.2), Size("80 pcs", 9.0, 16.0, 6.4)),
        -0.5, 0.0, _KEEPS, (4,),
        elasticity=3.6,
    ),
    Subcategory(
        "Food", "Hot drinks", "Tea", "Tea",
        ("Peppermint", "Earl Grey", "Rooibos", "Green", "Fennel"),
        (Size("20 bags", 1.2, 3.0, 0.24), Size("40 bags", 2.0, 4.8, 0.48)),
        -0.1, -0.3, _KEEPS, (6, 12),
        elasticity=2.8, heat=-0.12, rain=0.04, advent=0.15,
    ),
    Subcategory(
        "Fresh", "Convenience", "Salad bowls", "Salad",
        ("Caesar", "Greek", "Couscous", "Garden"),
        (Size("200 g", 2.2, 3.6, 0.36), Size("350 g", 3.0, 4.8, 0.63)),
        0.1, 0.25, (4, 6), (4, 6),
        elasticity=2.4, heat=0.16, rain=-0.08, holiday=0.05, advent=-0.05,
    ),
    Subcategory(
        "Food", "Spreads", "Jam", "Jam",
        ("Strawberry", "Apricot", "Raspberry", "Cherry", "Orange"),
        (Size("340 g", 1.4, 3.2, 0.61), Size("450 g", 1.8, 3.8, 0.81)),
        0.0, -0.04, _KEEPS, (6, 12),
        elasticity=2.8, holiday=0.05, advent=0.05,
    ),
    Subcategory(
        "Beverages", "Wine", "Red wine", "Red Wine",
        ("Merlot", "Dornfelder", "Tempranillo", "Primitivo"),
        (Size("750 ml", 2.6, 8.5, 0.86), Size("250 ml", 1.6, 3.2, 0.29)),
        0.1, -0.15, _KEEPS, (6, 12),
        elasticity=3.2, heat=-0.08, rain=0.02, holiday=0.35, advent=0.4,
    ),
    Subcategory(
        "Pet", "Dog food", "Dry dog food", "Dog Food",
        ("Beef", "Poultry", "Lamb", "Senior"),
        (Size("1 kg", 2.4, 6.0, 1.5), Size("3 kg", 6.0, 14.0, 4.5)),
        -0.6, 0.0, _KEEPS, (4, 6),
        elasticity=3.0,
    ),
    Subcategory(
        "Personal care", "Body", "Sun cream", "Sun Cream",
        ("SPF 30", "SPF 50", "Kids SPF 50", "Sensitive SPF 30"),
        (Size("100 ml", 3.0, 7.5, 0.11), Size("200 ml", 3.8, 9.5, 0.23)),
        -0.9, 0.85, _KEEPS, (6,),
        elasticity=3.0, heat=0.35, rain=-0.12, advent=-0.1,
    ),
    Subcategory(
        "Food", "Sweets", "Biscuits", "Biscuits",
        ("Butter", "Oat", "Chocolate Chip", "Wafer", "Almond"),
        (Size("200 g", 1.0, 2.4, 0.36), Size("400 g", 1.8, 3.8, 0.72)),
        0.5, -0.12, _KEEPS, (12, 24),
        elasticity=3.2, heat=-0.05, rain=0.02, holiday=0.15, advent=0.5,
    ),
    Subcategory(
        "Household", "Dishwashing", "Dishwasher tabs", "Dishwasher Tabs",
        ("All-in-one", "Classic", "Eco"),
        (Size("40 tabs", 3.2, 7.5, 1.2), Size("60 tabs", 5.0, 10.5, 1.8)),
        -0.4, 0.0, _KEEPS, (4, 6),
        elasticity=3.8, holiday=0.05, advent=0.05,
    ),
    Subcategory(
        "Fresh", "Meat", "Sausages", "Sausages",
        ("Bratwurst", "Vienna", "Chorizo", "Vegan"),
        (Size("300 g", 2.2, 4.0, 0.54), Size("500 g", 3.2, 5.6, 0.9)),
        0.4, 0.3, (12, 20), (6, 12),
        elasticity=3.2, heat=0.16, rain=-0.08, holiday=0.25, advent=0.05,
    ),
    Subcategory(
        "Food", "Condiments", "Ketchup", "Ketchup",
        ("Classic", "Hot", "Curry", "Less Sugar"),
        (Size("500 ml", 1.4, 2.8, 0.57), Size("875 ml", 2.0, 3.8, 1.0)),
        0.1, 0.25, _KEEPS, (6, 12),
        elasticity=3.2, heat=0.1, rain=-0.03, holiday=0.15, advent=-0.02,
    ),
)  # fmt: skip
