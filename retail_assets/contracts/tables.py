"""The tables of the lake: grain, columns, units and physical partitions of each.

The single source for Spark schemas, contract checks, asset metadata and documents. The warehouse's tables are stated
by the DDL in `infra/clickhouse/ddl`. Does not belong here: how a table is computed.
"""

from dataclasses import dataclass
from typing import Final

from retail_assets.contracts.features import DEMAND_FEATURES
from retail_assets.contracts.topics import EVENT_TOPICS, Topic
from retail_assets.contracts.types import (
    BINARY,
    BOOLEAN,
    DATE,
    FLOAT64,
    INT32,
    INT64,
    MONEY,
    QUANTITY,
    STRING,
    TIMESTAMP,
    Column,
)

#: The quantiles of every forecast, and the columns that hold them.
QUANTILES: Final[dict[str, float]] = {
    "q025": 0.025,
    "q05": 0.05,
    "q10": 0.1,
    "q25": 0.25,
    "q50": 0.5,
    "q75": 0.75,
    "q90": 0.9,
    "q95": 0.95,
    "q975": 0.975,
}

FORECAST_HORIZON_DAYS: Final = 7

#: What the contract says of a message that it refuses, and rows that were loaded in bulk rather than from a topic.
BULK_PARTITION: Final = -1


@dataclass(frozen=True)
class Table:
    """One table of the lake.

    Attributes:
        layer: `raw`, `reference`, `core`, `features`, `models`, `forecasts`, `inventory`.
        name: unique within the layer.
        grain: the columns that identify one row.
        columns: all columns, in order.
        description: what one row is, and who uses it.
        partition_by: physical partition column, if any; in a date-partitioned asset the asset's partition as well.
    """

    layer: str
    name: str
    grain: tuple[str, ...]
    columns: tuple[Column, ...]
    description: str
    partition_by: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The asset key, `(layer, name)`."""
        return (self.layer, self.name)

    @property
    def path(self) -> str:
        """Where the table lies below the lake's root."""
        return f"{self.layer}/{self.name}"

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return one column.

        Raises:
            KeyError: the table has no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.path} has no column {name}")


_STORE_ID: Final = Column("store_id", STRING, "Store.")
_PRODUCT_ID: Final = Column("product_id", STRING, "Product.")
_BUSINESS_DATE: Final = Column("business_date", DATE, "Date in the store's own time zone.")

ENVELOPE: Final = (
    Column("kafka_topic", STRING, "Topic that the message came from; for bulk loads the topic it would have had."),
    Column("kafka_partition", INT32, f"Partition; {BULK_PARTITION} for rows that were loaded in bulk."),
    Column(
        "kafka_offset",
        INT64,
        "Offset within the partition, counted on where the topic was made anew; a running number for bulk loads.",
        minimum=0,
    ),
    Column("produced_at", TIMESTAMP, "When the till sent it, by its header.", nullable=True),
    Column("ingested_at", TIMESTAMP, "When it reached the lake."),
    Column("event_date", DATE, "UTC date of the event; of arrival, where the message is refused."),
    Column("rejection", STRING, "Why the contract refuses the message; null where it accepts it.", nullable=True),
    Column("raw_value", BINARY, "The message byte for byte, where it is refused.", nullable=True),
)


def raw_table(topic: Topic) -> Table:
    """Return the raw table of an event topic: every message, accepted or refused, with where it came from."""
    fields = tuple(
        Column(c.name, c.type, c.description, c.unit, nullable=True, allowed=c.allowed) for c in topic.schema.columns
    )
    return Table(
        layer="raw",
        name=topic.table,
        grain=("kafka_topic", "kafka_partition", "kafka_offset"),
        columns=ENVELOPE + fields,
        description=(
            f"Every message of `{topic.name}`, as it arrived: {topic.schema.description} The table itself says which "
            "offsets it holds. Messages that the contract refuses are rows with a `rejection`; readers take the others."
        ),
        partition_by="event_date",
    )


RAW_SALES_TRANSACTIONS, RAW_INVENTORY_UPDATES, RAW_POS_EVENTS = (raw_table(topic) for topic in EVENT_TOPICS)

RAW_DEAD_LETTERS: Final = Table(
    layer="raw",
    name="dead_letters",
    grain=("kafka_topic", "kafka_partition", "kafka_offset"),
    columns=(
        *(column for column in ENVELOPE if column.name not in {"rejection", "raw_value"}),
        Column("rejection", STRING, "Why the contract refuses the message."),
        Column("raw_value", BINARY, "The message, byte for byte.", nullable=True),
    ),
    description="Every refused message of every topic, once, with the reason; the same go to the `dead-letters` topic.",
)

REFERENCE_STORES: Final = Table(
    layer="reference",
    name="stores",
    grain=("store_id",),
    columns=(
        _STORE_ID,
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
        _PRODUCT_ID,
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
        _STORE_ID,
        _PRODUCT_ID,
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
        _STORE_ID,
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
        _STORE_ID,
        _PRODUCT_ID,
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
        _STORE_ID,
        _PRODUCT_ID,
        Column("listed_from", DATE, "First day on sale in the store."),
        Column("listed_until", DATE, "Last day on sale; null while it is still sold.", nullable=True),
    ),
    description=(
        "When a product is on sale in a store, by the imported history: on days of trade in between without a row, "
        "nothing was sold. "
        "One row per store and product."
    ),
)

RAW_IMPORTED_SALES: Final = Table(
    layer="raw",
    name="imported_sales",
    grain=("store_id", "product_id", "business_date"),
    columns=(
        _STORE_ID,
        _PRODUCT_ID,
        _BUSINESS_DATE,
        Column("units", QUANTITY, "Units sold, net; fractions for weighed goods.", unit="units", minimum=0),
        Column("unit_price", MONEY, "Price of one unit.", unit="money", nullable=True, minimum=0),
        Column("revenue", MONEY, "Net revenue.", unit="money", nullable=True),
        Column("on_promotion", BOOLEAN, "Whether a promotion ran.", nullable=True),
        Column("on_hand", QUANTITY, "Units on hand at the end of the day.", unit="units", nullable=True),
        Column(
            "stockout_hours",
            FLOAT64,
            "Hours of trade with nothing on the shelf.",
            unit="hours",
            nullable=True,
            minimum=0,
            maximum=24,
        ),
        Column("source_file", STRING, "Name of the file that the row came from."),
        Column("imported_at", TIMESTAMP, "When it reached the lake."),
        Column("business_month", DATE, "First day of the business date's month."),
    ),
    description=(
        "A retailer's own history at daily grain, as it was imported: what the files say and no day more. Null where a "
        "file doesn't say."
    ),
    partition_by="business_month",
)

CORE_SALES_LINES: Final = Table(
    layer="core",
    name="sales_lines",
    grain=("transaction_id", "line_no"),
    columns=(
        Column("transaction_id", STRING, "Basket."),
        Column("line_no", INT32, "Line of the basket.", minimum=1),
        _STORE_ID,
        Column("register_id", STRING, "Till."),
        _PRODUCT_ID,
        Column("occurred_at", TIMESTAMP, "When the basket was closed."),
        Column("business_hour", INT32, "Hour in the store's own time zone.", unit="hour of day", minimum=0, maximum=23),
        Column("kind", STRING, "sale, return or void.", allowed=("sale", "return", "void")),
        Column("units", QUANTITY, "Net units: negative for returns and voids.", unit="units"),
        Column("unit_price", MONEY, "Price of one unit before discount.", unit="money", minimum=0),
        Column("discount", MONEY, "Discount on the line.", unit="money", minimum=0),
        Column("revenue", MONEY, "Net revenue: negative for returns and voids.", unit="money"),
        Column("promotion_id", STRING, "Promotion that gave the discount.", nullable=True),
        _BUSINESS_DATE,
    ),
    description="Every line of every basket, once however often its message came, signed by kind.",
    partition_by="business_date",
)

CORE_DAILY_SALES: Final = Table(
    layer="core",
    name="daily_sales",
    grain=("store_id", "product_id", "business_date"),
    columns=(
        _STORE_ID,
        _PRODUCT_ID,
        Column("units", QUANTITY, "Net units.", unit="units"),
        Column("revenue", MONEY, "Net revenue.", unit="money"),
        Column(
            "unit_price", MONEY, "What a unit sold for; the price asked, where none was sold.", unit="money", minimum=0
        ),
        Column("discount_share", FLOAT64, "Share of the list price taken off by promotion.", minimum=0, maximum=1),
        Column("on_promotion", BOOLEAN, "Whether a promotion ran."),
        Column(
            "stockout_hours", FLOAT64, "Hours of trade with nothing on the shelf.", unit="hours", minimum=0, maximum=24
        ),
        Column("open_hours", FLOAT64, "Hours of trade.", unit="hours", minimum=0, maximum=24),
        _BUSINESS_DATE,
    ),
    description=(
        "Sales of every product that a store carries, on every day, zeros included. What features are made of."
    ),
    partition_by="business_date",
)

CORE_INVENTORY_DAILY: Final = Table(
    layer="core",
    name="inventory_daily",
    grain=("store_id", "product_id", "business_date"),
    columns=(
        _STORE_ID,
        _PRODUCT_ID,
        Column("opening", QUANTITY, "Units on hand before the first movement.", unit="units"),
        Column("received", QUANTITY, "Units received.", unit="units", minimum=0),
        Column("sold", QUANTITY, "Units sold, net of returns.", unit="units"),
        Column("transferred", QUANTITY, "Units in from other stores, less units out.", unit="units"),
        Column("adjusted", QUANTITY, "Corrections and counts.", unit="units"),
        Column("spoiled", QUANTITY, "Units written off.", unit="units", minimum=0),
        Column("closing", QUANTITY, "Units on hand after the last movement.", unit="units"),
        Column("stockout_hours", FLOAT64, "Hours of trade with nothing on hand.", unit="hours", minimum=0, maximum=24),
        _BUSINESS_DATE,
    ),
    description=(
        "The stock ledger by day: opening + received - sold + transferred + adjusted - spoiled = closing. "
        "One row per store and product that was ever stocked."
    ),
    partition_by="business_date",
)

FEATURES_DEMAND: Final = Table(
    layer="features",
    name="demand_features",
    grain=("store_id", "product_id", "business_date"),
    columns=(_STORE_ID, _PRODUCT_ID, *(feature.column for feature in DEMAND_FEATURES), _BUSINESS_DATE),
    description=(
        "What is known of a series at the end of a day, and nothing later. One row per store, product and day; "
        "the forecast's input."
    ),
    partition_by="business_date",
)

MODELS_DEMAND_FORECAST: Final = Table(
    layer="models",
    name="demand_forecast",
    grain=("model_version",),
    columns=(
        Column("model_version", STRING, "Date of the last day learned from, and a hash of the trees."),
        Column("trained_through", DATE, "Last day learned from."),
        Column("training_rows", INT64, "Rows learned from: series, origins and horizons.", minimum=1),
        Column("backtest_origins", INT32, "Rolling origins that it was judged on.", minimum=1),
        Column("wape", FLOAT64, "WAPE on those origins, store x product x day.", minimum=0),
        Column("wape_seasonal_naive", FLOAT64, "WAPE of the seasonal naive forecast on the same rows.", minimum=0),
        Column("bias", FLOAT64, "Sum of errors over sum of actuals on those origins."),
        Column("inputs", STRING, "Names of the inputs, in order, as JSON."),
        Column("error_model", STRING, "How far actuals stray from the mean, as JSON."),
        Column("booster", BINARY, "The trees, in XGBoost's own format."),
    ),
    description="The demand model in force: one row. Earlier versions are earlier versions of the Delta table.",
)

FORECASTS_DEMAND_7D: Final = Table(
    layer="forecasts",
    name="demand_7d",
    grain=("run_date", "store_id", "product_id", "horizon"),
    columns=(
        _STORE_ID,
        _PRODUCT_ID,
        Column("target_date", DATE, "Day that is forecast."),
        Column("horizon", INT32, "Days ahead of the run date.", unit="days", minimum=1),
        Column("mean", FLOAT64, "Expected demand.", unit="units", minimum=0),
        *(
            Column(name, FLOAT64, f"Demand stays below this with probability {level}.", unit="units", minimum=0)
            for name, level in QUANTILES.items()
        ),
        Column("method", STRING, "Which model, or which fallback, made the row."),
        Column("model_version", STRING, "Version of the model."),
        Column("run_date", DATE, "Last day whose sales were known."),
    ),
    description="Demand of the next seven days, mean and quantiles. Series times seven rows per run date.",
    partition_by="run_date",
)

INVENTORY_REORDER_POINTS: Final = Table(
    layer="inventory",
    name="reorder_points",
    grain=("run_date", "store_id", "product_id"),
    columns=(
        _STORE_ID,
        _PRODUCT_ID,
        Column("supplier_id", STRING, "Who would deliver."),
        Column("on_hand", FLOAT64, "Units on hand at the end of the run date.", unit="units"),
        Column("on_order", FLOAT64, "Units ordered and not yet received.", unit="units", minimum=0),
        Column("lead_time_days", FLOAT64, "Mean time from order to delivery.", unit="days", minimum=0),
        Column("review_period_days", FLOAT64, "Days between two chances to order.", unit="days", minimum=0),
        Column("service_level", FLOAT64, "Probability of no stock-out that is aimed at.", minimum=0, maximum=1),
        Column("expected_demand", FLOAT64, "Demand over lead time and review period.", unit="units", minimum=0),
        Column("safety_stock", FLOAT64, "Reorder point less expected demand.", unit="units"),
        Column("reorder_point", FLOAT64, "Order when on hand and on order fall to this.", unit="units", minimum=0),
        Column("order_up_to", FLOAT64, "Order up to this level.", unit="units", minimum=0),
        Column("order_quantity", FLOAT64, "Proposed order, in whole packs.", unit="units", minimum=0),
        Column("days_of_cover", FLOAT64, "On hand over mean daily demand.", unit="days", minimum=0),
        Column(
            "stockout_risk",
            FLOAT64,
            "Probability that stock runs out before a delivery ordered now.",
            minimum=0,
            maximum=1,
        ),
        Column("reason", STRING, "The proposal in words."),
        Column("run_date", DATE, "Last day whose sales and stock were known."),
    ),
    description="When and how much to order. One row per store and product that is forecast.",
    partition_by="run_date",
)

REFERENCE_TABLES: Final = (
    REFERENCE_STORES,
    REFERENCE_SUPPLIERS,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_CALENDAR,
    REFERENCE_WEATHER,
    REFERENCE_PURCHASE_ORDERS,
)
#: What only an import of a retailer's own history writes.
IMPORTED_TABLES: Final = (RAW_IMPORTED_SALES, REFERENCE_ASSORTMENT, REFERENCE_EVENTS)
RAW_TABLES: Final = (RAW_SALES_TRANSACTIONS, RAW_INVENTORY_UPDATES, RAW_POS_EVENTS)
TABLES: Final = (
    *REFERENCE_TABLES,
    *RAW_TABLES,
    RAW_DEAD_LETTERS,
    *IMPORTED_TABLES,
    CORE_SALES_LINES,
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    FEATURES_DEMAND,
    MODELS_DEMAND_FORECAST,
    FORECASTS_DEMAND_7D,
    INVENTORY_REORDER_POINTS,
)
