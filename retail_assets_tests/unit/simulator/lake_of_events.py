"""A lake written by hand, event by event, to test what is read from one.

Belongs here: rows of the contract's tables with all that a test doesn't care for filled in. Does not belong here:
anything of the simulator's own events.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
from deltalake import write_deltalake

from retail_assets.contracts.tables import (
    RAW_INVENTORY_UPDATES,
    RAW_SALES_TRANSACTIONS,
    REFERENCE_CALENDAR,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_STORES,
    Table,
)
from retail_assets.contracts.types import arrow_schema

BERLIN = ZoneInfo("Europe/Berlin")
_FILLING = {"string": "", "int32": 1, "int64": 1, "double": 1.0, "bool": False, "date32[day]": date(2020, 1, 1)}


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    """Return a local time such as `2026-03-02 14:30` in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


@dataclass
class HandMadeLake:
    """Events and reference rows, and the writing of them.

    Attributes:
        root: folder of the lake.
    """

    root: Path
    sales: list[dict[str, Any]] = field(default_factory=list)
    moves: list[dict[str, Any]] = field(default_factory=list)
    stores: list[dict[str, Any]] = field(default_factory=list)
    products: list[dict[str, Any]] = field(default_factory=list)
    promotions: list[dict[str, Any]] = field(default_factory=list)
    calendar: list[dict[str, Any]] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return self.root.as_uri()

    def store(self, store_id: str = "S1", *, zone: str = "Europe/Berlin", opens: int = 8, closes: int = 20) -> None:
        self.stores.append(
            {
                "store_id": store_id,
                "format": "supermarket",
                "time_zone": zone,
                "opens_at_hour": opens,
                "closes_at_hour": closes,
            }
        )

    def product(self, product_id: str = "P1", **values: Any) -> None:
        self.products.append({"product_id": product_id, "name": f"Name of {product_id}", **values})

    def promotion(self, first: date, last: date, *, store_id: str = "S1", product_id: str = "P1") -> None:
        self.promotions.append({"store_id": store_id, "product_id": product_id, "starts_on": first, "ends_on": last})

    def holiday(self, day: date, name: str) -> None:
        self.calendar.append({"date": day, "holiday_name": name, "is_holiday": True})

    def basket(
        self,
        when: datetime,
        *lines: tuple[str, float],
        kind: str = "sale",
        store_id: str = "S1",
        transaction_id: str | None = None,
        rejection: str | None = None,
    ) -> None:
        self.sales.append(
            {
                "transaction_id": transaction_id or f"T{len(self.sales)}",
                "store_id": store_id,
                "occurred_at": when,
                "event_date": when.date(),
                "kind": kind,
                "rejection": rejection,
                "lines": [
                    {
                        "line_no": number,
                        "product_id": product_id,
                        "quantity": Decimal(str(quantity)),
                        "unit_price": Decimal("1.00"),
                        "discount": Decimal("0.00"),
                    }
                    for number, (product_id, quantity) in enumerate(lines, 1)
                ],
            }
        )

    def move(
        self,
        when: datetime,
        on_hand: float,
        *,
        product_id: str = "P1",
        store_id: str = "S1",
        event_id: str | None = None,
    ) -> None:
        self.moves.append(
            {
                "event_id": event_id or f"I{len(self.moves)}",
                "store_id": store_id,
                "product_id": product_id,
                "occurred_at": when,
                "event_date": when.date(),
                "movement": "sale",
                "quantity_delta": Decimal(-1),
                "on_hand_after": Decimal(str(on_hand)),
            }
        )

    def write(self) -> str:
        """Write all tables and return the lake's address."""
        for table, rows in (
            (REFERENCE_STORES, self.stores),
            (REFERENCE_PRODUCTS, self.products),
            (REFERENCE_PROMOTIONS, self.promotions),
            (REFERENCE_CALENDAR, self.calendar),
            (RAW_SALES_TRANSACTIONS, self.sales),
            (RAW_INVENTORY_UPDATES, self.moves),
        ):
            write_table(self.uri, table, rows)
        return self.uri


def write_table(root: str, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    """Write one table; what a row doesn't say gets a value of its type, or null where the contract allows."""
    schema = arrow_schema(table.columns)
    filled = [
        {field.name: row.get(field.name, _filling(field, number)) for field in schema}
        for number, row in enumerate(rows)
    ]
    write_deltalake(
        f"{root}/{table.path}",
        pa.Table.from_pylist(filled, schema=schema),
        mode="overwrite",
        partition_by=table.partition_by,
    )


def _filling(column: pa.Field, number: int) -> Any:
    if column.name == "kafka_offset":
        return number
    if column.nullable:
        return None
    if pa.types.is_timestamp(column.type):
        return datetime(2026, 1, 1, tzinfo=UTC)
    if pa.types.is_decimal(column.type):
        return Decimal(1)
    return _FILLING[str(column.type)]
