"""What the tills and the stockroom report: a cluster's days as events of the contract.

Belongs here: ids, names, exact numbers. Does not belong here: what happened (`stock`), and how an event looks on the
wire (`messages`). Frames hold the event's fields in the contract's order and types, by business date, store and time.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from retail_assets.contracts.events import INVENTORY_UPDATE, POS_EVENT, SALES_TRANSACTION, EventSchema
from retail_assets.contracts.tables import REFERENCE_PURCHASE_ORDERS, Table
from retail_assets.contracts.types import (
    BOOLEAN,
    DATE,
    INT32,
    MONEY,
    QUANTITY,
    STRING,
    Column,
    ListType,
    arrow_field,
    arrow_type,
    polars_schema,
)
from retail_assets.simulator.clusters import Cluster
from retail_assets.simulator.columns import (
    Texts,
    decimals,
    exact,
    joined_texts,
    numbered,
    picked,
    picked_or_null,
    texts,
)
from retail_assets.simulator.demand.model import DemandModel
from retail_assets.simulator.runs import Ints, Whole, place_in_run
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.stock.daybook import MOVEMENTS, NONE, PAYMENT_METHODS, RECEIPT, TRANSACTION_KINDS, DayBook
from retail_assets.simulator.stock.shopping import HOUR_MS, TradingHours
from retail_assets.simulator.till_events import DETAILS, TILL_EVENTS, TillTalk
from retail_assets.simulator.world.world import World

#: Outside of the contract on purpose: no asset may read what no retailer knows.
TRUTH_DEMAND: Final = Table(
    layer="truth",
    name="demand",
    grain=("store_id", "product_id", "business_date"),
    columns=(
        Column("store_id", STRING, "Store."),
        Column("product_id", STRING, "Product."),
        Column("business_date", DATE, "Date in the store's own time zone."),
        Column("demand", INT32, "What customers came for, whether or not the shelf had it.", unit="units", minimum=0),
        Column("substituted", INT32, "Of what was sold, what replaced something else.", unit="units", minimum=0),
        Column("on_shelf", INT32, "What is really there at the end of the day.", unit="units", minimum=0),
        Column("ran_out", BOOLEAN, "Whether nothing was there at some time of trade, whatever the books say."),
    ),
    description="Uncensored demand and true stock of the synthetic retailer, to judge estimates by.",
)

_UNIT: Final = 1_000  # thousandths, the scale of quantities
_ID_DIGITS: Final = 6
# A line comes back within a fortnight: so far back lies the oldest sale that an id must be made for.
_LOOK_BACK_DAYS: Final = 15
_SHIFTS: Final = 2


class Reporter:
    """Turns days of one cluster's books into frames."""

    def __init__(self, scenario: Scenario, world: World, demand: DemandModel, cluster: Cluster) -> None:
        """Look up what events call by name.

        Args:
            scenario: what is simulated.
            world: its stores and products.
            demand: knows what goes wrong at the tills.
            cluster: whose books.
        """
        self._scenario, self._cluster = scenario, cluster
        stores = world.stores.slice(cluster.first_store, cluster.stores)
        self._stores = stores["store_id"]
        self._zones = [ZoneInfo(zone) for zone in stores["time_zone"]]
        self._products = world.products["product_id"]
        self._supplier_of = world.products["supplier_id"]
        self._promotions = world.promotions["promotion_id"]
        hours = TradingHours.of(world, cluster)
        self._talk = TillTalk(scenario.seed, cluster, hours, demand.anomalies)
        most = int(hours.registers.max())
        self._most_registers = most
        ids = self._stores.to_list()
        self._register_ids = pl.Series([f"{store}-R{number + 1:02d}" for store in ids for number in range(most)])
        self._cashier_ids = pl.Series(
            [f"{store}-C{number + 1:02d}" for store in ids for number in range(most * _SHIFTS)]
        )

    def sales_transactions(self, days: list[DayBook]) -> pl.DataFrame:
        """Return the baskets of consecutive days."""
        baskets = [day.baskets for day in days]
        store, register = _joined(b.store for b in baskets), _joined(b.register for b in baskets)
        shift, at = _joined(b.shift for b in baskets), _joined(b.at for b in baskets)
        day = _days(days, [b.at.size for b in baskets])
        ids = self._ids(days, "", _LOOK_BACK_DAYS)
        original_day = _joined(b.original_day for b in baskets)
        refers = np.flatnonzero(original_day != NONE)
        original = _joined(b.original_number for b in baskets)[refers]
        originals = ids(original_day[refers], store[refers], original)
        place = np.full(at.size, NONE, dtype=np.int64)
        place[refers] = np.arange(refers.size)
        return _event_frame(
            SALES_TRANSACTION,
            {
                "transaction_id": ids(day, store, place_in_run(day * self._cluster.stores + store)),
                "store_id": picked(self._stores, store),
                "register_id": picked(self._register_ids, store * self._most_registers + register),
                "cashier_id": picked(self._cashier_ids, (store * self._most_registers + register) * _SHIFTS + shift),
                "occurred_at": self._instants(days, day, store, at),
                "currency": pl.Series([self._scenario.currency]).new_from_index(0, at.size),
                "payment_method": picked(pl.Series(PAYMENT_METHODS), _joined(b.payment for b in baskets)),
                "kind": picked(pl.Series(TRANSACTION_KINDS), _joined(b.kind for b in baskets)),
                "original_transaction_id": picked_or_null(originals, place),
                "lines": self._lines(days),
            },
        )

    def inventory_updates(self, days: list[DayBook]) -> pl.DataFrame:
        """Return the movements of consecutive days."""
        moves = [day.movements for day in days]
        series, kind = _joined(m.series for m in moves), _joined(m.kind for m in moves)
        store, product = np.divmod(series, self._cluster.products)
        day = _days(days, [m.at.size for m in moves])
        receipts = np.flatnonzero(kind == RECEIPT)
        # Rows of the day's receipts become rows of all receipts.
        counts = [d.receipts.series.size for d in days]
        before = np.cumsum([0, *counts[:-1]])
        reference = _joined(m.reference for m in moves)[receipts] + before[day[receipts] - days[0].day]
        place = np.full(series.size, NONE, dtype=np.int64)
        place[receipts] = np.arange(receipts.size)
        ordered = _joined(d.receipts.ordered for d in days)[reference]
        number = _joined(d.receipts.number for d in days)[reference]
        suppliers = picked(self._supplier_of, product[receipts])
        return _event_frame(
            INVENTORY_UPDATE,
            {
                "event_id": self._ids(days, "I-")(day, store, place_in_run(day * self._cluster.stores + store)),
                "store_id": picked(self._stores, store),
                "product_id": picked(self._products, product),
                "occurred_at": self._instants(days, day, store, _joined(m.at for m in moves)),
                "movement": picked(pl.Series(MOVEMENTS), kind),
                "quantity_delta": exact(_joined(m.delta for m in moves) * _UNIT, QUANTITY),
                "on_hand_after": exact(_joined(m.after for m in moves) * _UNIT, QUANTITY),
                "supplier_id": picked_or_null(suppliers, place),
                "purchase_order_id": picked_or_null(self._order_ids(store[receipts], ordered, number), place),
            },
        )

    def pos_events(self, days: list[DayBook]) -> tuple[pl.DataFrame, list[int]]:
        """Return what the tills said of themselves on consecutive days, and how many events each day has."""
        said = [self._talk.on(day.day) for day in days]
        counts = [s.at.size for s in said]
        store, register = _joined(s.store for s in said), _joined(s.register for s in said)
        kind = _joined(s.kind for s in said)
        day = _days(days, counts)
        events = _event_frame(
            POS_EVENT,
            {
                "event_id": self._ids(days, "E-")(day, store, place_in_run(day * self._cluster.stores + store)),
                "store_id": picked(self._stores, store),
                "register_id": picked(self._register_ids, store * self._most_registers + register),
                "occurred_at": self._instants(days, day, store, _joined(s.at for s in said)),
                "kind": picked(pl.Series(TILL_EVENTS), kind),
                "detail": picked(pl.Series(DETAILS, dtype=pl.String), kind),
            },
        )
        return events, counts

    def purchase_orders(self, days: list[DayBook]) -> pl.DataFrame:
        """Return the orders of consecutive days, as rows of `reference/purchase_orders` at the end of the last date."""
        orders = [day.orders for day in days]
        series = _joined(o.series for o in orders)
        store, product = np.divmod(series, self._cluster.products)
        ordered = _days(days, [o.series.size for o in orders])
        arrives = _joined(o.arrives for o in orders)
        known = (arrives != NONE) & (arrives < self._scenario.days)
        first = self._scenario.first_date
        return pl.DataFrame(
            {
                "purchase_order_id": self._order_ids(store, ordered, _joined(o.number for o in orders)),
                "supplier_id": picked(self._supplier_of, product),
                "store_id": picked(self._stores, store),
                "product_id": picked(self._products, product),
                "ordered_on": _dates(first, ordered),
                "expected_on": _dates(first, _joined(o.expected for o in orders)),
                "received_on": _dates(first, np.where(known, arrives, 0)).set(pl.Series(~known), None),
                "quantity": exact(_joined(o.quantity for o in orders) * _UNIT, QUANTITY),
            },
            schema=polars_schema(REFERENCE_PURCHASE_ORDERS.columns),
        )

    def truth(self, days: list[DayBook]) -> pl.DataFrame:
        """Return what really happened on consecutive days, as rows of `truth/demand`."""
        carried = [np.flatnonzero(day.truth.carried) for day in days]
        store, product = np.divmod(_joined(carried), self._cluster.products)
        day = _days(days, [rows.size for rows in carried])

        def column(name: str) -> npt.NDArray[Any]:
            return np.concatenate([getattr(d.truth, name)[rows] for d, rows in zip(days, carried, strict=True)])

        return pl.DataFrame(
            {
                "store_id": picked(self._stores, store),
                "product_id": picked(self._products, product),
                "business_date": _dates(self._scenario.first_date, day),
                **{name: column(name) for name in ("demand", "substituted", "on_shelf", "ran_out")},
            },
            schema=polars_schema(TRUTH_DEMAND.columns),
        )

    def _lines(self, days: list[DayBook]) -> pa.Array:
        """Return the lines of each basket, as a list of records per basket."""
        at_till = [np.flatnonzero(day.movements.basket != NONE) for day in days]

        def column(name: str) -> Ints:
            return _joined(getattr(d.movements, name)[rows] for d, rows in zip(days, at_till, strict=True))

        counts = np.concatenate(
            [
                np.bincount(day.movements.basket[rows], minlength=day.baskets.at.size)
                for day, rows in zip(days, at_till, strict=True)
            ]
        )
        offsets = np.zeros(counts.size + 1, dtype=np.int64)
        np.cumsum(counts, out=offsets[1:])
        product = column("series") % self._cluster.products
        columns: dict[str, pa.Array] = {
            "line_no": pa.array((np.arange(product.size) - np.repeat(offsets[:-1], counts) + 1).astype(np.int32)),
            "product_id": picked(self._products, product).to_arrow(),
            "quantity": decimals(np.abs(column("delta")) * _UNIT, QUANTITY),
            "unit_price": decimals(column("price"), MONEY),
            "discount": decimals(column("discount"), MONEY),
            "promotion_id": picked_or_null(self._promotions, column("promotion")).to_arrow(),
        }
        line_type = SALES_TRANSACTION.columns[-1].type
        assert isinstance(line_type, ListType)  # noqa: S101 - the last field of the schema file
        records = pa.StructArray.from_arrays(
            [columns[field.name].cast(arrow_type(field.type)) for field in line_type.fields],
            fields=[arrow_field(field) for field in line_type.fields],
        )
        return pa.LargeListArray.from_arrays(pa.array(offsets), records)

    def _ids(self, days: list[DayBook], mark: str, look_back: int = 0) -> "_Ids":
        """Return what makes ids such as `S001-20260101-000001` for some days."""
        first = days[0].day - look_back
        dates = _date_texts(self._scenario.first_date, first, days[-1].day + 1)
        return _Ids(joined_texts(texts(self._stores), f"-{mark}", dates), first, dates.size)

    def _order_ids(self, store: Ints, ordered: Ints, number: Ints) -> pl.Series:
        """Return ids such as `PO-S001-20260101-000001`."""
        if store.size == 0:
            return pl.Series(dtype=pl.String)
        first = int(ordered.min())
        dates = _date_texts(self._scenario.first_date, first, int(ordered.max()) + 1)
        prefixes = joined_texts(texts("PO-" + self._stores), "-", dates)
        return _Ids(prefixes, first, dates.size)(ordered, store, number)

    def _instants(self, days: list[DayBook], day: Ints, store: Ints, at: Ints) -> Ints:
        """Return local times as milliseconds since the epoch."""
        dates = [self._scenario.first_date + timedelta(days=d.day) for d in days]
        zones = {zone: np.array([local_midnight_ms(on, zone) for on in dates]) for zone in dict.fromkeys(self._zones)}
        midnights = np.stack([zones[zone] for zone in self._zones])
        return np.asarray(midnights[store, day - days[0].day] + at)


class _Ids:
    """Makes ids from a store, a date and a number."""

    def __init__(self, prefixes: Texts, first: int, days: int) -> None:
        self._prefixes, self._first, self._days = prefixes, first, days

    def __call__(self, day: Ints, store: Ints, place: Ints) -> pl.Series:
        """Return one id for each place, counted from 0, among those of its store and day."""
        dashed = np.char.add(self._prefixes, b"-")
        return numbered(dashed, store * self._days + day - self._first, place + 1, _ID_DIGITS)


def local_midnight_ms(day: date, zone: ZoneInfo) -> int:
    """Return what to add to milliseconds since local midnight to get milliseconds since the epoch.

    Taken from noon, so that it is right for all hours of trade on days on which the clocks change.
    """
    noon = datetime.combine(day, time(12), tzinfo=zone)
    return int(noon.astimezone(UTC).timestamp()) * 1_000 - 12 * HOUR_MS


def _date_texts(first_date: date, first: int, after: int) -> Texts:
    days = [(first_date + timedelta(days=day)).strftime("%Y%m%d").encode() for day in range(first, after)]
    return np.array(days)


def _dates(first_date: date, day: Whole) -> pl.Series:
    """Return days, counted from the first date, as dates."""
    since_epoch = (first_date - date(1970, 1, 1)).days
    return pl.Series((day + since_epoch).astype(np.int32)).cast(pl.Date)


def _event_frame(schema: EventSchema, columns: dict[str, Any]) -> pl.DataFrame:
    target = polars_schema(schema.columns)
    series = []
    for column in schema.columns:
        values = columns[column.name]
        if column.name == "occurred_at":
            made = pl.Series(values * 1_000)
        elif isinstance(values, pl.Series):
            made = values
        else:
            made = pl.Series(pl.from_arrow(values))
        series.append(made.alias(column.name).cast(target[column.name]))
    return pl.DataFrame(series)


def _joined(parts: Any) -> Ints:
    return np.concatenate(list(parts)).astype(np.int64)


def _days(days: list[DayBook], counts: list[int]) -> Ints:
    """Return the day of each row, where each day has so many."""
    return np.repeat([day.day for day in days], counts)
