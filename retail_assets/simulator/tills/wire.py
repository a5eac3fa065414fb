"""The wire format as the simulator writes it: frames of events, checked against the contract, as keys and values.

Belongs here: encoding and the check of our own events before they are sent, whole frames at a time. Does not belong
here: reading messages (`contracts.decoding`), headers and order (`messages`, `plan`), and deliberate faults (`dirt`).
"""

import io
from enum import StrEnum
from typing import Any, Final

import fastavro
import polars as pl

from retail_assets.contracts.events import (
    CONTENT_AVRO,
    CONTENT_JSON,
    EARLIEST_MS,
    GREATEST_LINE_VALUE,
    LATEST_MS,
    EventSchema,
    avro_schema,
)
from retail_assets.contracts.topics import Topic
from retail_assets.contracts.types import TIMESTAMP, Column, ListType, polars_schema


class ContractError(Exception):
    """Our own events break the contract: an error in the simulator. Names the field, and the first event that does."""


class WireFormat(StrEnum):
    """How values are written. The platform reads JSON unless a message's header says otherwise."""

    JSON = "json"
    AVRO = "avro"

    @property
    def content_type(self) -> str:
        """The `content_type` header."""
        return _CONTENT_TYPES[self]


_CONTENT_TYPES: Final = {WireFormat.JSON: CONTENT_JSON, WireFormat.AVRO: CONTENT_AVRO}


def encode_frame(topic: Topic, events: pl.DataFrame, wire: WireFormat = WireFormat.JSON) -> pl.DataFrame:
    """Return key and value of each event, in the frame's order.

    In JSON, timestamps are epoch milliseconds, decimals are numbers, and fields without a value are null.

    Args:
        topic: gives the contract and the fields of the key.
        events: frames with the contract's fields.
        wire: how to write values.

    Returns:
        Columns `key` and `value`, both binary.

    Raises:
        ContractError: an event breaks the contract.
    """
    require_contract(topic.schema, events)
    key = pl.concat_str(*topic.key_fields, separator=":").cast(pl.Binary).alias("key")
    events = events.select(column.name for column in topic.schema.columns)
    if wire is WireFormat.AVRO:
        return events.select(key).with_columns(_avro(topic.schema, events))
    return events.select(key).with_columns(_json(events))


def require_contract(schema: EventSchema, events: pl.DataFrame) -> None:
    """Check a frame of events against their contract.

    Raises:
        ContractError: a field is missing or has another type; an event lacks a required value, or has one that is not
            allowed or out of its limits; or an id comes twice.
    """
    expected = polars_schema(schema.columns)
    for name, dtype in expected.items():
        if name not in events.columns:
            raise ContractError(f"{schema.name}: the field {name} is missing")
        if events.schema[name] != dtype:
            raise ContractError(f"{schema.name}: {name} is {events.schema[name]} and should be {dtype}")
    for column in schema.columns:
        if isinstance(column.type, ListType):
            empty = pl.col(column.name).list.len() == 0
            _refuse(schema, events, empty, f"{column.name} is empty")
            lines = events.lazy().select(pl.col(schema.id_field).alias("event"), column.name)
            lines = lines.explode(column.name, empty_as_null=False).unnest(column.name)
            all_lines = lines.collect()
            for inner in column.type.fields:
                _check(schema, all_lines, inner, f"{column.name}.{inner.name}", "event")
            _check_lines(schema, all_lines, column.name)
        _check(schema, events, column, column.name, schema.id_field)
    ids = events[schema.id_field]
    if ids.n_unique() < ids.len():
        raise ContractError(f"{schema.name}: {schema.id_field} {ids.filter(ids.is_duplicated())[0]} comes twice")


def _check(schema: EventSchema, frame: pl.DataFrame, column: Column, name: str, id_field: str) -> None:
    value = pl.col(column.name)
    if not column.nullable:
        _refuse(schema, frame, value.is_null(), f"{name} has no value", id_field)
    if column.allowed:
        wrong = ~value.is_in(list(column.allowed))
        _refuse(schema, frame, wrong, f"{name} is not one of {', '.join(column.allowed)}", id_field)
    if column.type == TIMESTAMP:
        wrong = ~value.dt.epoch("ms").is_between(EARLIEST_MS, LATEST_MS)
        _refuse(schema, frame, wrong, f"{name} is not between 2000 and 2100", id_field)
    if column.minimum is not None:
        _refuse(schema, frame, value.cast(pl.Float64) < column.minimum, f"{name} is below {column.minimum}", id_field)
    if column.maximum is not None:
        _refuse(schema, frame, value.cast(pl.Float64) > column.maximum, f"{name} is above {column.maximum}", id_field)


def _check_lines(schema: EventSchema, lines: pl.DataFrame, name: str) -> None:
    """Check what one line's fields say together, and what an event's lines do."""
    if {"quantity", "unit_price"} <= set(lines.columns):
        worth = pl.col("quantity").cast(pl.Float64) * pl.col("unit_price").cast(pl.Float64)
        reason = f"{name}: quantity x unit_price is above {GREATEST_LINE_VALUE}"
        _refuse(schema, lines, worth > GREATEST_LINE_VALUE, reason, "event")
    if "line_no" in lines.columns:
        _refuse(schema, lines, pl.struct("event", "line_no").is_duplicated(), f"{name}.line_no comes twice", "event")


def _refuse(schema: EventSchema, frame: pl.DataFrame, wrong: pl.Expr, reason: str, id_field: str = "") -> None:
    found = frame.filter(wrong).select(id_field or schema.id_field).to_series()
    if found.len():
        raise ContractError(f"{schema.name}: {reason} in {found.len()} events, the first is {found[0]}")


def _json(events: pl.DataFrame) -> pl.Series:
    # Written by Polars, row by row but not in Python. It writes decimals as text, so they go through floats: at most
    # twelve digits, which a float's shortest form gives back exactly.
    columns = [_as_number(name, dtype) for name, dtype in events.schema.items()]
    text = events.select(pl.struct(columns).struct.json_encode().alias("value")).to_series()
    return text.cast(pl.Binary)


def _as_number(name: str, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        return pl.col(name).dt.epoch("ms")
    return pl.col(name).cast(_with_floats(dtype))


def _with_floats(dtype: Any) -> Any:
    """Return a type with floats in the place of decimals, at any depth."""
    if isinstance(dtype, pl.List):
        return pl.List(_with_floats(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _with_floats(field.dtype) for field in dtype.fields})
    return pl.Float64() if isinstance(dtype, pl.Decimal) else dtype


def _avro(schema: EventSchema, events: pl.DataFrame) -> pl.Series:
    parsed = fastavro.parse_schema(avro_schema(schema.name))
    times = [pl.col(column.name).dt.epoch("ms") for column in schema.columns if column.type == TIMESTAMP]
    values: list[bytes] = []
    for row in events.with_columns(times).iter_rows(named=True):
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, parsed, row)
        values.append(buffer.getvalue())
    return pl.Series("value", values, dtype=pl.Binary)
