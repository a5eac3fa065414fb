"""What is known of stores, products, suppliers, prices and days: small tables without partitions.

Belongs here: grain and columns of `reference/*`. Does not belong here: facts (`raw`, `core`).
"""

from typing import Final

from retail_assets.contracts.tables.table import PRODUCT_ID, STORE_ID, Table
from retail_assets.contracts.types import BOOLEAN, DATE, FLOAT64, INT32, MONEY, QUANTITY, STRING, Column

REFERENCE_STORES: Final = Table(
    layer="reference",
    name="stores",
    grain=("store_id",),
    columns=(
        STORE_ID,
        Column("name", STRING, "Name people use."),
        Column("region", STRING, "Sales region."),
        Column("city", STRING, "City."),
        Column("format", STRING, "hypermarket, supermarket or convenience."),
        Column("time_zone", STRING, "IANA time zone; gives the business date."),
        Column("opens_at_hour", INT32, "First hour of trade, local.", unit="hour of day", minimum=0, maximum=23),
        Column("closes_at_hour", INT32, "Hour at which trade ends, local.", unit="hour of day", minimum=1, maximum=24),
        Column("opened_on", DATE, "First day of trade."),
        Column("size_m2", INT32, "Sales area.", unit="square metres", minimum=1),
        Column("storage_litres", INT32, "Room for stock, on the shelves and behind.", unit="litres", minimum=1),
        Column("customer_profile", STRING, "Who shops there for the most part."),
        Column("manager", STRING, "Who runs it."),
    ),
    description="The stores of the retailer. One row per store.",
)

REFERENCE_SUPPLIERS: Final = Table(
    layer="reference",
    name="suppliers",
    grain=("supplier_id",),
    columns=(
        Column("supplier_id", STRING, "Supplier."),
        Column("name", STRING, "Name people use."),
        Column("lead_time_days_mean", FLOAT64, "Mean time from order to delivery.", unit="days", minimum=0),
        Column("lead_time_days_sd", FLOAT64, "Spread of the lead time.", unit="days", minimum=0),
        Column("review_period_days", INT32, "Days between two chances to order.", unit="days", minimum=1),
        Column("lead_time_distribution", STRING, "Shape of the lead time.", allowed=("gamma",)),
        Column("delivery_weekdays", STRING, "Days of delivery by ISO number, Monday first, such as `1,3,5`."),
        Column("minimum_order_value", MONEY, "Least value of one delivery to a store.", unit="money", minimum=0),
        Column("reliability", FLOAT64, "Share of the deliveries that come in full.", minimum=0, maximum=1),
    ),
    description="Who delivers, and how fast. One row per supplier.",
)

REFERENCE_PRODUCTS: Final = Table(
    layer="reference",
    name="products",
    grain=("product_id",),
    columns=(
        PRODUCT_ID,
        Column("name", STRING, "Name people use."),
        Column("department", STRING, "Top level of the catalogue."),
        Column("category", STRING, "Second level."),
        Column("subcategory", STRING, "Third level."),
        Column("brand", STRING, "Brand."),
        Column("unit_cost", MONEY, "What one unit costs the retailer.", unit="money", minimum=0),
        Column("list_price", MONEY, "Price of one unit without promotion.", unit="money", minimum=0),
        Column("pack_size", INT32, "Units in one pack of the supplier.", unit="units", minimum=1),
        Column("minimum_order_packs", INT32, "Fewest packs in one order.", unit="packs", minimum=1),
        Column("shelf_life_days", INT32, "Days until it spoils; 0 where it keeps.", unit="days", minimum=0),
        Column("supplier_id", STRING, "Who delivers it."),
        Column("launched_on", DATE, "First day on sale."),
        Column("discontinued_on", DATE, "Last day on sale; null while no end is planned.", nullable=True),
        Column("size_label", STRING, "Content of one unit, as on the pack."),
        Column("volume_litres", FLOAT64, "Room that one unit takes.", unit="litres", minimum=0),
    ),
    description="The catalogue. One row per product.",
)

REFERENCE_PROMOTIONS: Final = Table(
    layer="reference",
    name="promotions",
    grain=("promotion_id", "store_id", "product_id"),
    columns=(
        Column("promotion_id", STRING, "Promotion."),
        STORE_ID,
        PRODUCT_ID,
        Column("starts_on", DATE, "First day."),
        Column("ends_on", DATE, "Last day, inclusive."),
        Column("discount_share", FLOAT64, "Share of the list price that is taken off.", minimum=0, maximum=1),
        Column("on_display", BOOLEAN, "Whether the product has a display of its own."),
    ),
    description="Promotions, past and planned: what is known ahead of the forecast. One row per store and product.",
)

REFERENCE_CALENDAR: Final = Table(
    layer="reference",
    name="calendar",
    grain=("date",),
    columns=(
        Column("date", DATE, "Day."),
        Column("holiday_name", STRING, "Name of the public holiday; empty on other days."),
        Column("is_holiday", BOOLEAN, "Whether it is a public holiday."),
    ),
    description="Days with what is known of them in advance, to one year ahead. One row per day.",
)

REFERENCE_WEATHER: Final = Table(
    layer="reference",
    name="weather",
    grain=("store_id", "date"),
    columns=(
        STORE_ID,
        Column("date", DATE, "Day."),
        Column("mean_celsius", FLOAT64, "Mean temperature of the day.", unit="degrees Celsius"),
        Column("rain_mm", FLOAT64, "Rain of the day.", unit="millimetres", minimum=0),
    ),
    description="The weather that it was, to the last date. One row per store and day.",
)

REFERENCE_PURCHASE_ORDERS: Final = Table(
    layer="reference",
    name="purchase_orders",
    grain=("purchase_order_id",),
    columns=(
        Column("purchase_order_id", STRING, "Order."),
        Column("supplier_id", STRING, "Who delivers."),
        STORE_ID,
        PRODUCT_ID,
        Column("ordered_on", DATE, "Day of the order."),
        Column("expected_on", DATE, "Day on which the supplier promised it."),
        Column("received_on", DATE, "Day on which it came; null while it is open.", nullable=True),
        Column("quantity", QUANTITY, "Units ordered.", unit="units", minimum=0),
    ),
    description="Orders to suppliers, open and received. One row per order.",
)

REFERENCE_EVENTS: Final = Table(
    layer="reference",
    name="events",
    grain=("date", "name", "store_id", "region"),
    columns=(
        Column("date", DATE, "Day."),
        Column("name", STRING, "What happens."),
        Column("kind", STRING, "What sort of event it is: holiday, or the retailer's own word."),
        Column("store_id", STRING, "The one store that it concerns; null for more than one.", nullable=True),
        Column("region", STRING, "The one region that it concerns; null for all.", nullable=True),
    ),
    description="Events that a retailer named with its imported history. One row per day, name and place.",
)

REFERENCE_ASSORTMENT: Final = Table(
    layer="reference",
    name="assortment",
    grain=("store_id", "product_id"),
    columns=(
        STORE_ID,
        PRODUCT_ID,
        Column("listed_from", DATE, "First day on sale in the store."),
        Column("listed_until", DATE, "Last day on sale; null while it is still sold.", nullable=True),
    ),
    description=(
        "When a product is on sale in a store, by the imported history: on days of trade in between without a row, "
        "nothing was sold. "
        "One row per store and product."
    ),
)
