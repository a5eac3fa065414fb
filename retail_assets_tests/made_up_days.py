"""Days of events without a simulation behind them: as many as a test wants, quick to make, right by the contract."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from retail_assets.contracts.topics import EVENT_TOPICS, INVENTORY_UPDATES, POS_EVENTS, SALES_TRANSACTIONS, Topic
from retail_assets.contracts.types import polars_schema
from retail_assets.simulator.tills.plan import DayEvents

_DAY_MS = 24 * 60 * 60 * 1_000


@dataclass(frozen=True)
class MadeUpDay:
    """One day's frames."""

    frames: dict[str, pl.DataFrame]

    def events(self, topic: Topic) -> pl.DataFrame:
        return self.frames[topic.name]


@dataclass(frozen=True)
class MadeUpDays:
    """A source of days with `events` events of each kind a day, the same whenever they are asked for."""

    first_date: date = date(2026, 1, 1)
    last_date: date = date(2026, 1, 3)
    events: int = 200
    stores: int = 5

    def approach(self, on: date) -> Iterator[date]:  # noqa: ARG002 - its days don't follow from each other
        return iter(())

    def day(self, on: date) -> DayEvents:
        return MadeUpDay({topic.name: self._frame(topic, on) for topic in EVENT_TOPICS})

    def expected_ids(self, topic: Topic, first: date, last: date) -> set[str]:
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        return {name for on in days for name in self.day(on).events(topic)[topic.schema.id_field]}

    def _frame(self, topic: Topic, on: date) -> pl.DataFrame:
        rng = np.random.default_rng([on.toordinal(), EVENT_TOPICS.index(topic)])
        midnight = datetime(on.year, on.month, on.day, tzinfo=UTC)
        rows: list[dict[str, Any]] = []
        for number in range(self.events):
            store = f"S{rng.integers(self.stores):03d}"
            row: dict[str, Any] = {
                topic.schema.id_field: f"{topic.name[0].upper()}-{on:%Y%m%d}-{number:06d}",
                "store_id": store,
                "occurred_at": midnight + timedelta(milliseconds=int(rng.integers(_DAY_MS))),
            }
            match topic.name:
                case SALES_TRANSACTIONS.name:
                    row |= {
                        "register_id": f"{store}-R{rng.integers(3)}",
                        "cashier_id": "C1",
                        "currency": "EUR",
                        "payment_method": "card",
                        "kind": "sale",
                        "lines": [_line(no + 1, int(rng.integers(1, 99_999))) for no in range(rng.integers(1, 4))],
                    }
                case INVENTORY_UPDATES.name:
                    delta = Decimal(int(rng.integers(-9_000, 9_000))) / 1_000
                    row |= {
                        "product_id": f"P{rng.integers(9):04d}",
                        "movement": "adjustment",
                        "quantity_delta": delta,
                        "on_hand_after": Decimal(7),
                    }
                case POS_EVENTS.name:
                    row |= {"register_id": f"{store}-R{rng.integers(3)}", "kind": "heartbeat", "detail": 'says "é"\n'}
            rows.append(row)
        return pl.DataFrame(rows, schema=polars_schema(topic.schema.columns), strict=False)


def _line(number: int, cents: int) -> dict[str, Any]:
    return {
        "line_no": number,
        "product_id": f"P{cents % 50:04d}",
        "quantity": Decimal(cents % 7 + 1),
        "unit_price": Decimal(cents) / 100,
        "discount": Decimal(0),
        "promotion_id": None,
    }
