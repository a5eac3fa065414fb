"""What the tills of a cluster say of themselves, day by day.

Belongs here: opening, closing, heartbeats, incidents, and the silence of a till that has failed. Does not belong here:
sales, and how an event looks (`events`). Times are milliseconds since local midnight.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from retail_assets.contracts.events import POS_EVENT
from retail_assets.simulator.clusters import Cluster
from retail_assets.simulator.demand.anomalies import AnomalyKind, AnomalyPlan
from retail_assets.simulator.randomness import Purpose, stream
from retail_assets.simulator.runs import Bools, Ints, place_in_run
from retail_assets.simulator.stock.shopping import HOUR_MS, MINUTE_MS, TradingHours

_HEARTBEAT_EVERY: Final = 4 * HOUR_MS
_AROUND_TRADE: Final = 15 * MINUTE_MS
#: What else a till reports: kind, mean times per till and day, what it says.
_INCIDENTS: Final = (
    ("no_sale", 0.15, "drawer opened without a sale"),
    ("price_override", 0.1, "price changed by hand"),
    ("scan_error", 0.25, "barcode not read"),
)

TILL_EVENTS: Final[tuple[str, ...]] = next(c.allowed or () for c in POS_EVENT.columns if c.name == "kind")
#: What goes with an event of each kind, in the order of `TILL_EVENTS`.
DETAILS: Final = tuple({kind: detail for kind, _, detail in _INCIDENTS}.get(kind) for kind in TILL_EVENTS)


@dataclass(frozen=True)
class TillEvents:
    """Events of one day, by store, time, till and kind; arrays of the same length.

    Attributes:
        store: where, counted within the cluster.
        register: the till, counted from 0 within the store.
        at: when.
        kind: index into `TILL_EVENTS`.
    """

    store: Ints
    register: Ints
    at: Ints
    kind: Ints


class TillTalk:
    """What the tills of one cluster say."""

    def __init__(self, seed: int, cluster: Cluster, hours: TradingHours, plan: AnomalyPlan) -> None:
        """Count the tills.

        Args:
            seed: the scenario's.
            cluster: whose stores.
            hours: when they trade, and with how many tills.
            plan: says when a till is silent.
        """
        self._seed, self._cluster, self._plan = seed, cluster, plan
        self._store = np.repeat(np.arange(cluster.stores), hours.registers)
        self._register = place_in_run(self._store)
        self._opens, self._closes = hours.opens[self._store], hours.closes[self._store]
        beats = -(-(self._closes - self._opens) // _HEARTBEAT_EVERY)
        self._beating = np.repeat(np.arange(self._store.size), beats)
        self._beat_at = self._opens[self._beating] + place_in_run(self._beating) * _HEARTBEAT_EVERY

    def on(self, day: int) -> TillEvents:
        """Return what the tills say on a day, counted from the first date."""
        rng = stream(self._seed, Purpose.TILLS, self._cluster.number, day)
        tills = np.arange(self._store.size)
        parts: list[tuple[Ints, Ints, str]] = [
            (tills, self._opens - rng.integers(MINUTE_MS, _AROUND_TRADE, size=tills.size), "open"),
            (tills, self._closes + rng.integers(MINUTE_MS, _AROUND_TRADE, size=tills.size), "close"),
            (self._beating, self._beat_at, "heartbeat"),
        ]
        for kind, mean, _ in _INCIDENTS:
            till = np.repeat(tills, rng.poisson(mean, size=tills.size))
            at = self._opens[till] + (rng.random(till.size) * (self._closes - self._opens)[till]).astype(np.int64)
            parts.append((till, at, kind))
        till = np.concatenate([part[0] for part in parts])
        at = np.concatenate([part[1] for part in parts])
        kinds = np.repeat([TILL_EVENTS.index(part[2]) for part in parts], [part[0].size for part in parts])
        heard = ~self._silent(day, till, at)
        till, at, kinds = till[heard], at[heard], kinds[heard]
        order = np.lexsort((kinds, till, at, self._store[till]))
        till = till[order]
        return TillEvents(self._store[till], self._register[till], at[order], kinds[order])

    def _silent(self, day: int, till: Ints, at: Ints) -> Bools:
        silent = np.zeros(till.size, dtype=np.bool_)
        for place, store in enumerate(self._cluster.store_numbers):
            for anomaly in self._plan.on(store, day):
                if anomaly.kind is AnomalyKind.SILENT_TILL:
                    first, after = anomaly.window_ms(day)
                    here = (self._store[till] == place) & (self._register[till] == anomaly.register)
                    silent |= here & (at >= first) & (at < after)
        return silent
