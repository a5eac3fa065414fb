"""The events of the tills, read from the Avro schema files that are their single source.

Belongs here: reading the schemas and turning them into columns. Does not belong here: decoding messages (Spark does
that, see `decoding`), and how an event is made (the simulator's work).
"""

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from retail_assets.contracts.types import (
    BOOLEAN,
    FLOAT64,
    INT32,
    INT64,
    STRING,
    TIMESTAMP,
    Column,
    ColumnType,
    DecimalType,
    ListType,
)

SCHEMA_VERSION: Final = 1
#: Headers on every message.
HEADER_SCHEMA: Final = "schema"
HEADER_SCHEMA_VERSION: Final = "schema_version"
HEADER_PRODUCED_AT: Final = "produced_at"
#: How the value is written; JSON where it is missing.
HEADER_CONTENT_TYPE: Final = "content_type"
CONTENT_JSON: Final = "application/json"
#: Avro's binary encoding of one record, without a container: the schema's name and version are in the headers.
CONTENT_AVRO: Final = "avro/binary"
#: The span of plausible event times, 2000-01-01 to 2100-01-01: outside of it a till's clock is wrong, and one such
#: message would open a lake partition of its own.
EARLIEST_MS: Final = 946_684_800_000
LATEST_MS: Final = 4_102_444_800_000
#: A line that is worth more is a till's mistake. Sums of such lines would fit no column of money, and since every run
#: reads them again, a handful would stop the platform for good.
GREATEST_LINE_VALUE: Final = 999_999

_PRIMITIVES: Final[dict[str, ColumnType]] = {
    "string": STRING,
    "int": INT32,
    "long": INT64,
    "double": FLOAT64,
    "boolean": BOOLEAN,
}


class SchemaError(Exception):
    """An Avro schema uses something that the platform has no column type for."""


@dataclass(frozen=True)
class EventSchema:
    """One event type.

    Attributes:
        name: the Avro record's name in snake case, as in the `schema` header.
        version: as in the `schema_version` header.
        description: what one event is.
        columns: the fields, in the order of the schema file.
        id_field: the field by which a repeated message is known.
    """

    name: str
    version: int
    description: str
    columns: tuple[Column, ...]
    id_field: str

    @property
    def required(self) -> tuple[Column, ...]:
        """The fields without which a message goes to the dead letters."""
        return tuple(column for column in self.columns if not column.nullable)


def _column(field: dict[str, Any]) -> Column:
    avro = field["type"]
    nullable = False
    if isinstance(avro, list):
        others = [branch for branch in avro if branch != "null"]
        if len(others) != 1 or len(others) == len(avro):
            raise SchemaError(f"field {field['name']}: a union must be of null and one other type")
        avro, nullable = others[0], True
    allowed: tuple[str, ...] | None = None
    column_type: ColumnType
    match avro:
        case str() if avro in _PRIMITIVES:
            column_type = _PRIMITIVES[avro]
        case {"type": "long", "logicalType": "timestamp-millis"}:
            column_type = TIMESTAMP
        case {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}:
            column_type = DecimalType(precision, scale)
        case {"type": "enum", "symbols": symbols}:
            column_type, allowed = STRING, tuple(symbols)
        case {"type": "array", "items": {"type": "record", "fields": fields}}:
            column_type = ListType(tuple(_column(inner) for inner in fields))
        case _:
            raise SchemaError(f"field {field['name']}: no column type for {avro!r}")
    return Column(
        field["name"],
        column_type,
        field.get("doc", ""),
        nullable=nullable,
        minimum=field.get("minimum"),
        maximum=field.get("maximum"),
        allowed=allowed,
    )


@functools.cache
def avro_schema(name: str) -> dict[str, Any]:
    """Return `schemas/<name>.avsc` as it stands."""
    text = resources.files("retail_assets.contracts").joinpath(f"schemas/{name}.avsc").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@functools.cache
def load_event_schema(name: str, id_field: str) -> EventSchema:
    """Read `schemas/<name>.avsc`.

    Raises:
        SchemaError: the file uses a type that the platform doesn't know.
    """
    avro = avro_schema(name)
    return EventSchema(name, SCHEMA_VERSION, avro["doc"], tuple(_column(field) for field in avro["fields"]), id_field)


SALES_TRANSACTION: Final = load_event_schema("sales_transaction", "transaction_id")
INVENTORY_UPDATE: Final = load_event_schema("inventory_update", "event_id")
POS_EVENT: Final = load_event_schema("pos_event", "event_id")
