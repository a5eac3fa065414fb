"""Decoding of messages by contract, as Spark column expressions: what is accepted, what is refused, and why.

Serves the batch reader and the streaming service alike, so that both refuse the same messages for the same reasons.
Does not belong here: what happens to a refused message.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from retail_assets.contracts.events import EARLIEST_MS, GREATEST_LINE_VALUE, LATEST_MS, EventSchema
from retail_assets.contracts.types import TIMESTAMP, Column, ListType, spark_type

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn

_CORRUPT = "_corrupt"


def _wire_type(column: Column) -> T.DataType:
    """On the wire a timestamp is epoch milliseconds, as Avro's `timestamp-millis`."""
    return T.LongType() if column.type == TIMESTAMP else spark_type(column.type)


def decode_json(value: "SparkColumn", schema: EventSchema) -> "SparkColumn":
    """Parse a message's bytes.

    Args:
        value: the binary value of the message.
        schema: what it should be.

    Returns:
        A struct of the wire fields, for `rejection` and `event_fields`. Fields that the contract doesn't know are left
        out; a field of the wrong type is null.
    """
    wire = T.StructType([T.StructField(column.name, _wire_type(column)) for column in schema.columns])
    wire = wire.add(_CORRUPT, T.StringType())
    return F.from_json(value.cast("string"), wire, {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": _CORRUPT})


def rejection(decoded: "SparkColumn", schema: EventSchema) -> "SparkColumn":
    """Say why the contract refuses a decoded message.

    Returns:
        One sentence that names the field, or null where the message is accepted.
    """
    nothing = F.coalesce(*[decoded[column.name].cast("string") for column in schema.columns]).isNull()
    reasons = F.when(decoded.isNull() | nothing, F.lit("not a JSON object with any known field"))
    for column in schema.columns:
        field = decoded[column.name]
        lists = _wrong_lists(field, column) if isinstance(column.type, ListType) else ()
        for wrong, reason in (*_wrong_values(field, column), *lists):
            reasons = reasons.when(wrong, F.lit(reason))
    return reasons.when(decoded[_CORRUPT].isNotNull(), F.lit("an optional field has the wrong type"))


def _wrong_values(field: "SparkColumn", column: Column) -> "Iterator[tuple[SparkColumn, str]]":
    """Yield what can be wrong with a field of the event, each as a condition and the reason to give."""
    if not column.nullable:
        yield field.isNull(), f"{column.name} is missing or not {_described(column)}"
    if column.type == TIMESTAMP:
        yield ~field.between(EARLIEST_MS, LATEST_MS), f"{column.name} is not a time between 2000 and 2100"
    if column.minimum is not None:
        yield field < column.minimum, f"{column.name} is below {column.minimum:g}"
    if column.maximum is not None:
        yield field > column.maximum, f"{column.name} is above {column.maximum:g}"
    if column.allowed:
        yield ~field.isin(*column.allowed), f"{column.name} is not one of {', '.join(column.allowed)}"


def _wrong_lists(field: "SparkColumn", column: Column) -> "Iterator[tuple[SparkColumn, str]]":
    """Yield what can be wrong with the lines in a field: with one of them, or with all together."""
    assert isinstance(column.type, ListType)  # noqa: S101 - the caller looked
    yield F.size(field) == 0, f"{column.name} is empty"
    for inner in column.type.fields:
        name = f"{column.name}.{inner.name}"
        if not inner.nullable:
            missing = F.exists(field, _is_null(inner.name))
            yield missing, f"{name} is missing or not {_described(inner)} in a line"
        if inner.minimum is not None:
            yield F.exists(field, _is_below(inner.name, inner.minimum)), f"{name} is below {inner.minimum} in a line"
        if inner.maximum is not None:
            yield F.exists(field, _is_above(inner.name, inner.maximum)), f"{name} is above {inner.maximum} in a line"
    names = {inner.name for inner in column.type.fields}
    if "line_no" in names:
        numbers = F.transform(field, lambda line: line["line_no"])
        yield F.size(F.array_distinct(numbers)) < F.size(numbers), f"{column.name}.line_no is there twice"
    if {"quantity", "unit_price"} <= names:
        too_much = F.exists(field, lambda line: line["quantity"] * line["unit_price"] > GREATEST_LINE_VALUE)
        yield too_much, f"{column.name}: quantity x unit_price is above {GREATEST_LINE_VALUE} in a line"


def event_fields(decoded: "SparkColumn", schema: EventSchema) -> "list[SparkColumn]":
    """Return the event's fields as columns of the platform's types; an implausible time is null."""
    return [
        (plausible_time(decoded[c.name]) if c.type == TIMESTAMP else decoded[c.name]).alias(c.name)
        for c in schema.columns
    ]


def plausible_time(milliseconds: "SparkColumn") -> "SparkColumn":
    """Return epoch milliseconds as a timestamp, or null where a till's clock says what can't be (it would overflow)."""
    return F.timestamp_millis(F.when(milliseconds.between(EARLIEST_MS, LATEST_MS), milliseconds))


def _is_above(field: str, maximum: float) -> "Callable[[SparkColumn], SparkColumn]":
    return lambda item: item[field] > maximum


def _is_null(field: str) -> "Callable[[SparkColumn], SparkColumn]":
    return lambda item: item[field].isNull()


def _is_below(field: str, minimum: float) -> "Callable[[SparkColumn], SparkColumn]":
    return lambda item: item[field] < minimum


def _described(column: Column) -> str:
    if column.type == TIMESTAMP:
        return "epoch milliseconds"
    return spark_type(column.type).simpleString() if not isinstance(column.type, ListType) else "a list of lines"
