"""What goes wrong in the stores on purpose, with a label for each: what, where, from when to when, how much.

Belongs here: the plan. Does not belong here: carrying it out. `demand` applies spikes and drops; the stockroom and the
tills apply the others. The plan is part of the truth: no feature may read it.

Anomalies that begin in one store and block of days are drawn together, so that a day's anomalies don't depend on how
many days there are. None lasts longer than a block.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from retail_assets.contracts.tables import Table
from retail_assets.contracts.types import FLOAT64, STRING, TIMESTAMP, Column, polars_schema
from retail_assets.simulator.randomness import BLOCK_DAYS, Purpose, stream
from retail_assets.simulator.runs import Floats, Ints
from retail_assets.simulator.scenario import DAYS_PER_YEAR, Scenario
from retail_assets.simulator.world.world import World

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS


class AnomalyKind(StrEnum):
    """What goes wrong."""

    DEMAND_SPIKE = "demand_spike"
    DEMAND_DROP = "demand_drop"
    DOUBLE_SCAN = "double_scan"
    THEFT = "theft"
    PRICE_ERROR = "price_error"
    SILENT_TILL = "silent_till"
    MISSED_DELIVERY = "missed_delivery"


#: Kinds that change what customers want.
DEMAND_KINDS: Final = frozenset({AnomalyKind.DEMAND_SPIKE, AnomalyKind.DEMAND_DROP})

#: Outside of the contract on purpose: no asset may read what no retailer knows.
TRUTH_ANOMALIES: Final = Table(
    layer="truth",
    name="anomalies",
    grain=("anomaly_id",),
    columns=(
        Column("anomaly_id", STRING, "Anomaly."),
        Column("kind", STRING, "What goes wrong.", allowed=tuple(AnomalyKind)),
        Column("store_id", STRING, "Where."),
        Column("register_id", STRING, "At which till; null where none is to blame.", nullable=True),
        Column("category", STRING, "Which category, where it concerns a whole one.", nullable=True),
        Column("product_id", STRING, "Which product, where it concerns a single one.", nullable=True),
        Column("supplier_id", STRING, "Whose deliveries, where it concerns those.", nullable=True),
        Column("starts_at", TIMESTAMP, "First instant."),
        Column("ends_at", TIMESTAMP, "Last instant, exclusive."),
        Column("size", FLOAT64, "How much, in the unit of its kind.", minimum=0),
    ),
    description="What went wrong in the synthetic retailer, to judge alarms by.",
)


@dataclass(frozen=True)
class Anomaly:
    """One thing that goes wrong.

    Attributes:
        anomaly_id: unique in the scenario.
        kind: what it is.
        store: place in `world.stores`.
        register: which till of the store, counted from 0; None where none is to blame.
        category: which category, where it concerns a whole one.
        product: place in `world.products`, where it concerns a single one.
        supplier: place in `world.suppliers` of the one whose deliveries it concerns.
        first_day: counted from the scenario's first date.
        last_day: inclusive.
        from_ms: first instant on the first day, milliseconds since local midnight.
        until_ms: last instant on the last day, exclusive, milliseconds since local midnight.
        size: demand_spike, demand_drop: factor on mean demand. double_scan: share of the till's lines that are counted
            twice. theft: units a day, as a share of mean demand. price_error: factor on the price.
            missed_delivery: share of the deliveries that don't arrive. silent_till: 1.
    """

    anomaly_id: str
    kind: AnomalyKind
    store: int
    register: int | None
    category: str | None
    product: int | None
    supplier: int | None
    first_day: int
    last_day: int
    from_ms: int
    until_ms: int
    size: float

    def on(self, day: int) -> bool:
        """Return whether it is going on at some time of a day."""
        return self.first_day <= day <= self.last_day

    def window_ms(self, day: int) -> tuple[int, int]:
        """Return from when to when it goes on within a day, milliseconds since local midnight."""
        first = self.from_ms if day == self.first_day else 0
        after = self.until_ms if day == self.last_day else _DAY_MS
        return first, after


@dataclass(frozen=True)
class _Nature:
    """What anomalies of one kind are like: how long, how much, and of what."""

    days: tuple[int, int]
    size: tuple[float, float]
    category_share: float = 0.0
    of_supplier: bool = False
    at_till: bool = False


_NATURES: Final = {
    AnomalyKind.DEMAND_SPIKE: _Nature(days=(1, 5), size=(3.0, 7.0), category_share=0.25),
    AnomalyKind.DEMAND_DROP: _Nature(days=(4, 14), size=(0.0, 0.3), category_share=0.25),
    AnomalyKind.DOUBLE_SCAN: _Nature(days=(1, 1), size=(0.3, 1.0), at_till=True),
    AnomalyKind.THEFT: _Nature(days=(4, 14), size=(0.4, 1.2)),
    AnomalyKind.PRICE_ERROR: _Nature(days=(1, 6), size=(0.1, 10.0)),
    AnomalyKind.SILENT_TILL: _Nature(days=(1, 1), size=(1.0, 1.0), at_till=True),
    AnomalyKind.MISSED_DELIVERY: _Nature(days=(3, 12), size=(1.0, 1.0), of_supplier=True),
}


class AnomalyPlan:
    """The anomalies of every store and day, drawn when they are asked for."""

    def __init__(self, scenario: Scenario, world: World, base: Floats, starts: Ints, ends: Ints) -> None:
        """Look up what anomalies can befall.

        Args:
            scenario: how many anomalies of each kind.
            world: its stores and products.
            base: mean units per day, stores x products: what sells is what things happen to.
            starts: first day of each series, stores x products.
            ends: the day after the last of each series, stores x products.
        """
        rates = scenario.anomalies
        self._rates = {
            AnomalyKind.DEMAND_SPIKE: rates.demand_spikes,
            AnomalyKind.DEMAND_DROP: rates.demand_drops,
            AnomalyKind.DOUBLE_SCAN: rates.double_scans,
            AnomalyKind.THEFT: rates.thefts,
            AnomalyKind.PRICE_ERROR: rates.price_errors,
            AnomalyKind.SILENT_TILL: rates.silent_tills,
            AnomalyKind.MISSED_DELIVERY: rates.missed_deliveries,
        }
        self._scenario = scenario
        self._base, self._starts, self._ends = base, starts, ends
        self._formats = world.formats
        self._store_ids = world.stores["store_id"].to_list()
        self._zones = world.stores["time_zone"].to_list()
        self._product_ids = world.products["product_id"].to_list()
        self._supplier_ids = world.suppliers["supplier_id"].to_list()
        suppliers = [self._supplier_ids.index(supplier_id) for supplier_id in world.products["supplier_id"]]
        self._supplier_of = np.array(suppliers, dtype=np.int64)
        names = world.products["category"].to_list()
        self._categories = sorted(set(names))
        self._category_of = np.array([self._categories.index(name) for name in names], dtype=np.int64)
        # The engine asks store by store and day by day: a few blocks are asked for again and again.
        self._starting = lru_cache(maxsize=4 * scenario.stores)(self._draw)

    def starting(self, store: int, block: int) -> tuple[Anomaly, ...]:
        """Return the anomalies that begin in a store in a block of days, by first day."""
        return self._starting(store, block) if block >= 0 else ()

    def on(self, store: int, day: int) -> tuple[Anomaly, ...]:
        """Return the anomalies that go on in a store at some time of a day."""
        block = day // BLOCK_DAYS
        candidates = (*self.starting(store, block - 1), *self.starting(store, block))
        return tuple(anomaly for anomaly in candidates if anomaly.on(day))

    def products_of(self, anomaly: Anomaly) -> Ints:
        """Return the places in `world.products` of what an anomaly concerns; all, where it says nothing."""
        if anomaly.product is not None:
            return np.array([anomaly.product], dtype=np.int64)
        if anomaly.supplier is not None:
            return np.flatnonzero(self._supplier_of == anomaly.supplier).astype(np.int64)
        if anomaly.category is not None:
            return np.flatnonzero(self._category_of == self._categories.index(anomaly.category)).astype(np.int64)
        return np.arange(self._category_of.size, dtype=np.int64)

    def demand_factor(self, store: int, block: int) -> Floats | None:
        """Return what a block's anomalies multiply mean demand by, BLOCK_DAYS x products; None where there are none."""
        first = block * BLOCK_DAYS
        both = (*self.starting(store, block - 1), *self.starting(store, block))
        concerned = [a for a in both if a.kind in DEMAND_KINDS and a.last_day >= first]
        if not concerned:
            return None
        factor = np.ones((BLOCK_DAYS, self._category_of.size))
        for anomaly in concerned:
            days = slice(max(anomaly.first_day - first, 0), anomaly.last_day - first + 1)
            factor[days, self.products_of(anomaly)] *= anomaly.size
        return factor

    def labels(self, first: int, after: int) -> pl.DataFrame:
        """Return `truth/anomalies`: those that begin on the days from `first` to before `after`, by id."""
        blocks = range(first // BLOCK_DAYS, -(-after // BLOCK_DAYS))
        rows = [
            self._label(anomaly)
            for store in range(len(self._store_ids))
            for block in blocks
            for anomaly in self.starting(store, block)
            if first <= anomaly.first_day < after
        ]
        schema = polars_schema(TRUTH_ANOMALIES.columns)
        return pl.DataFrame(rows, schema=schema, orient="row").sort(TRUTH_ANOMALIES.grain)

    def _label(self, anomaly: Anomaly) -> dict[str, Any]:
        store_id = self._store_ids[anomaly.store]
        return {
            "anomaly_id": anomaly.anomaly_id,
            "kind": anomaly.kind.value,
            "store_id": store_id,
            "register_id": None if anomaly.register is None else f"{store_id}-R{anomaly.register + 1:02d}",
            "category": anomaly.category,
            "product_id": None if anomaly.product is None else self._product_ids[anomaly.product],
            "supplier_id": None if anomaly.supplier is None else self._supplier_ids[anomaly.supplier],
            "starts_at": self._instant(anomaly.store, anomaly.first_day, anomaly.from_ms),
            "ends_at": self._instant(anomaly.store, anomaly.last_day, anomaly.until_ms),
            "size": anomaly.size,
        }

    def _instant(self, store: int, day: int, ms: int) -> datetime:
        # From noon, so that it is right for all hours of trade on days on which the clocks change.
        noon = datetime.combine(self._scenario.first_date + timedelta(days=day), time(12), ZoneInfo(self._zones[store]))
        return noon.astimezone(UTC) + timedelta(milliseconds=ms - _DAY_MS // 2)

    def _draw(self, store: int, block: int) -> tuple[Anomaly, ...]:
        rng = stream(self._scenario.seed, Purpose.ANOMALIES, store, block)
        drawn = [
            anomaly
            for kind, rate in self._rates.items()
            for anomaly in self._draw_kind(kind, rng.poisson(rate * BLOCK_DAYS / DAYS_PER_YEAR), store, block, rng)
        ]
        return tuple(sorted(drawn, key=lambda anomaly: (anomaly.first_day, anomaly.anomaly_id)))

    def _draw_kind(
        self, kind: AnomalyKind, count: int, store: int, block: int, rng: np.random.Generator
    ) -> Iterator[Anomaly]:
        nature = _NATURES[kind]
        for number in range(count):
            first_day = block * BLOCK_DAYS + int(rng.integers(BLOCK_DAYS))
            length = int(rng.integers(nature.days[0], nature.days[1] + 1))
            category, product, supplier = self._draw_goods(nature, store, first_day, rng)
            from_ms, until_ms, register = 0, _DAY_MS, None
            if nature.at_till:
                from_ms, until_ms, register = self._draw_till(store, rng)
            yield Anomaly(
                anomaly_id=f"A-{self._store_ids[store]}-{block:03d}-{kind.value}-{number + 1}",
                kind=kind,
                store=store,
                register=register,
                category=category,
                product=product,
                supplier=supplier,
                first_day=first_day,
                last_day=first_day + length - 1,
                from_ms=from_ms,
                until_ms=until_ms,
                size=_draw_size(kind, nature, rng),
            )

    def _draw_goods(
        self, nature: _Nature, store: int, day: int, rng: np.random.Generator
    ) -> tuple[str | None, int | None, int | None]:
        """Draw a product that is on sale, the category or the supplier of one, or none of them."""
        chance, place = rng.random(2)
        if nature.at_till:
            return None, None, None
        on_sale = (self._starts[store] <= day) & (day < self._ends[store])
        # What hardly sells is as often hit in real stores, but nobody could tell.
        weights = np.cumsum(np.where(on_sale, self._base[store], 0.0))
        if weights[-1] == 0.0:
            return None, None, None
        product = int(np.searchsorted(weights, place * weights[-1], side="right"))
        if nature.of_supplier:
            return None, None, int(self._supplier_of[product])
        if chance > 1.0 - nature.category_share:
            return self._categories[self._category_of[product]], None, None
        return None, product, None

    def _draw_till(self, store: int, rng: np.random.Generator) -> tuple[int, int, int]:
        """Draw one to five hours of trade and a till."""
        store_format = self._formats[store]
        opens, closes = store_format.opens_at_hour * _HOUR_MS, store_format.closes_at_hour * _HOUR_MS
        length = int(rng.integers(_HOUR_MS, 5 * _HOUR_MS))
        begins = int(rng.integers(opens, closes - length))
        return begins, begins + length, int(rng.integers(store_format.registers))


def _draw_size(kind: AnomalyKind, nature: _Nature, rng: np.random.Generator) -> float:
    least, greatest = nature.size
    if kind is AnomalyKind.PRICE_ERROR:
        # A slipped decimal point, or another product's price.
        return float(rng.choice((least, greatest, 0.5, 0.8, 1.5, 2.0)))
    return float(rng.uniform(least, greatest))
