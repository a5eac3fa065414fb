"""Decoding of messages by contract, as Spark column expressions: what is accepted, what is refused, and why.

Serves the batch reader and the streaming service alike, so that both refuse the same messages for the same reasons.
Functions with a lambda (`filter`, `exists`) are kept away from what every message goes through: Spark compiles them to
no code, and reads each value through a look at its settings.
Does not belong here: what happens to a refused message.
"""

import functools
import json
from collections.abc import Iterator
from operator import and_
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.avro.functions import from_avro

from retail_assets.contracts.events import (
    CONTENT_AVRO,
    CONTENT_JSON,
    EARLIEST_MS,
    GREATEST_LINE_VALUE,
    HEADER_CONTENT_TYPE,
    HEADER_SCHEMA,
    HEADER_SCHEMA_VERSION,
    LATEST_MS,
    EventSchema,
    avro_schema,
)
from retail_assets.contracts.types import TIMESTAMP, Column, ListType, spark_type

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn

_CORRUPT = "_corrupt"


def _wire_type(column: Column) -> T.DataType:
    """On the wire a timestamp is epoch milliseconds, as Avro's `timestamp-millis`."""
    return T.LongType() if column.type == TIMESTAMP else spark_type(column.type)


def decode(value: "SparkColumn", headers: "SparkColumn", schema: EventSchema) -> "SparkColumn":
    """Read a message's bytes as its headers say: Avro's binary form or, where nothing else is said, JSON.

    Args:
        value: the binary value of the message.
        headers: as Spark's Kafka source gives them; null where there are none.
        schema: what it should be.

    Returns:
        A struct of the wire fields, for `rejection` and `event_fields`. Fields that the contract doesn't know are left
        out; a field of the wrong type is null. Null where nothing can be read.
    """
    is_avro = header(headers, HEADER_CONTENT_TYPE) == CONTENT_AVRO
    return F.when(is_avro, _from_avro(value, schema)).otherwise(_from_json(value, schema))


def header(headers: "SparkColumn", name: str) -> "SparkColumn":
    """Return the text of a message's header; null where it isn't there, and the first where it is there twice."""
    # `get`, since under ANSI mode an index that isn't there would fail the whole batch.
    return F.get(headers["value"], F.array_position(headers["key"], F.lit(name)) - 1).cast("string")


def _from_json(value: "SparkColumn", schema: EventSchema) -> "SparkColumn":
    wire = T.StructType([T.StructField(column.name, _wire_type(column)) for column in schema.columns])
    wire = wire.add(_CORRUPT, T.StringType())
    return F.from_json(value.cast("string"), wire, {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": _CORRUPT})


def _from_avro(value: "SparkColumn", schema: EventSchema) -> "SparkColumn":
    """Read Avro into the same struct as JSON: times as epoch milliseconds, and a place for what was corrupt."""
    written = json.loads(json.dumps(avro_schema(schema.name)))
    for field in written["fields"]:
        if isinstance(field["type"], dict) and field["type"].get("logicalType") == "timestamp-millis":
            field["type"] = "long"
    corrupt = {"name": _CORRUPT, "type": ["null", "string"], "default": None}
    read = {**written, "fields": [*written["fields"], corrupt]}
    return from_avro(value, json.dumps(written), {"mode": "PERMISSIVE", "avroSchema": json.dumps(read)})


def rejection(decoded: "SparkColumn", headers: "SparkColumn", schema: EventSchema) -> "SparkColumn":
    """Say why the contract refuses a message.

    Args:
        decoded: what `decode` made of it.
        headers: the same that it was decoded by.
        schema: what it should be.

    Returns:
        One sentence that names the field or header, or null where the message is accepted. There are as many sentences
        as the contract has rules, whatever the messages say, so they can be counted by.
    """
    content_type = header(headers, HEADER_CONTENT_TYPE)
    unreadable = functools.reduce(and_, [decoded[column.name].isNull() for column in schema.columns])
    reasons = (
        # A header that isn't there says nothing against the message.
        F.when(header(headers, HEADER_SCHEMA) != schema.name, f"the header {HEADER_SCHEMA} is not {schema.name}")
        .when(
            header(headers, HEADER_SCHEMA_VERSION) != str(schema.version),
            f"the header {HEADER_SCHEMA_VERSION} is not {schema.version}",
        )
        .when(
            ~content_type.isin(CONTENT_JSON, CONTENT_AVRO),
            f"the header {HEADER_CONTENT_TYPE} is neither {CONTENT_JSON} nor {CONTENT_AVRO}",
        )
        .when(unreadable & (content_type == CONTENT_AVRO), "not an Avro record of this schema")
        .when(unreadable, "not a JSON object with any known field")
    )
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
        name, values = f"{column.name}.{inner.name}", field[inner.name]
        if not inner.nullable:
            yield _has_null(values), f"{name} is missing or not {_described(inner)} in a line"
        if inner.minimum is not None:
            yield F.array_min(values) < inner.minimum, f"{name} is below {inner.minimum} in a line"
        if inner.maximum is not None:
            yield F.array_max(values) > inner.maximum, f"{name} is above {inner.maximum} in a line"
    names = {inner.name for inner in column.type.fields}
    if "line_no" in names:
        numbers = field["line_no"]
        yield F.size(F.array_distinct(numbers)) < F.size(numbers), f"{column.name}.line_no is there twice"
    if {"quantity", "unit_price"} <= names:
        # Each line is only looked at where the greatest amounts would be too much together.
        may_be = F.array_max(field["quantity"]) * F.array_max(field["unit_price"]) > GREATEST_LINE_VALUE
        too_much = F.exists(field, lambda line: line["quantity"] * line["unit_price"] > GREATEST_LINE_VALUE)
        yield may_be & too_much, f"{column.name}: quantity x unit_price is above {GREATEST_LINE_VALUE} in a line"


def _has_null(values: "SparkColumn") -> "SparkColumn":
    """Tell whether a list that isn't empty has a null in it: sorted, it would be the first."""
    return F.get(F.sort_array(values), 0).isNull()


def event_fields(decoded: "SparkColumn", schema: EventSchema) -> "list[SparkColumn]":
    """Return the event's fields as columns of the platform's types; an implausible time is null."""
    return [
        (plausible_time(decoded[c.name]) if c.type == TIMESTAMP else decoded[c.name]).alias(c.name)
        for c in schema.columns
    ]


def plausible_time(milliseconds: "SparkColumn") -> "SparkColumn":
    """Return epoch milliseconds as a timestamp, or null where a till's clock says what can't be (it would overflow)."""
    return F.timestamp_millis(F.when(milliseconds.between(EARLIEST_MS, LATEST_MS), milliseconds))


def _described(column: Column) -> str:
    if column.type == TIMESTAMP:
        return "epoch milliseconds"
    return spark_type(column.type).simpleString() if not isinstance(column.type, ListType) else "a list of lines"
