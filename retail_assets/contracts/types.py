"""The column types of the platform, and what each is in Arrow, Polars and Spark.

A small vocabulary on purpose: a type that is not in here can not reach the lake. Does not belong here: ClickHouse
types, which the DDL states; a test holds the two together.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import polars as pl
    from pyspark.sql.types import DataType, StructType


@dataclass(frozen=True)
class ScalarType:
    """A type without parts: `string`, `int32`, `int64`, `float32`, `float64`, `boolean`, `binary`, `date`,
    `timestamp`.
    """

    name: str


@dataclass(frozen=True)
class DecimalType:
    """An exact number with `scale` digits behind the point."""

    precision: int
    scale: int


@dataclass(frozen=True)
class ListType:
    """A list of records, as the lines of a basket."""

    fields: "tuple[Column, ...]"


ColumnType = ScalarType | DecimalType | ListType

STRING = ScalarType("string")
INT32 = ScalarType("int32")
INT64 = ScalarType("int64")
#: Seven digits, for measures that come in tens of columns: half the room, and half the way through Spark.
FLOAT32 = ScalarType("float32")
FLOAT64 = ScalarType("float64")
BOOLEAN = ScalarType("boolean")
BINARY = ScalarType("binary")
DATE = ScalarType("date")
#: Microseconds, UTC, in every engine.
TIMESTAMP = ScalarType("timestamp")
MONEY = DecimalType(12, 2)
QUANTITY = DecimalType(12, 3)


@dataclass(frozen=True)
class Column:
    """One column of a table or field of an event.

    Attributes:
        name: the one name it has everywhere.
        type: what it holds.
        description: what it means.
        unit: units, hours, days, EUR …, where it has one.
        nullable: whether "not known" is a possible answer.
        minimum: the least value that makes sense, inclusive.
        maximum: the greatest value that makes sense, inclusive.
        allowed: the only values it may take.
    """

    name: str
    type: ColumnType
    description: str
    unit: str | None = None
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] | None = None


_ARROW_SCALARS: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "boolean": pa.bool_(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


def arrow_type(column_type: ColumnType) -> pa.DataType:
    """Return the Arrow type of a column type."""
    match column_type:
        case ScalarType(name):
            return _ARROW_SCALARS[name]
        case DecimalType(precision, scale):
            return pa.decimal128(precision, scale)
        case ListType(fields):
            return pa.list_(pa.struct([arrow_field(field) for field in fields]))


def arrow_field(column: Column) -> pa.Field:
    """Return the Arrow field of a column."""
    return pa.field(column.name, arrow_type(column.type), nullable=column.nullable)


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Return the Arrow schema of a row of `columns`."""
    return pa.schema([arrow_field(column) for column in columns])


def polars_schema(columns: tuple[Column, ...]) -> "pl.Schema":
    """Return the Polars schema of a row of `columns`."""
    import polars as pl

    return pl.Schema(arrow_schema(columns))


def spark_type(column_type: ColumnType) -> "DataType":
    """Return the Spark type of a column type."""
    from pyspark.sql import types as spark

    scalars: dict[str, DataType] = {
        "string": spark.StringType(),
        "int32": spark.IntegerType(),
        "int64": spark.LongType(),
        "float32": spark.FloatType(),
        "float64": spark.DoubleType(),
        "boolean": spark.BooleanType(),
        "binary": spark.BinaryType(),
        "date": spark.DateType(),
        "timestamp": spark.TimestampType(),
    }
    match column_type:
        case ScalarType(name):
            return scalars[name]
        case DecimalType(precision, scale):
            return spark.DecimalType(precision, scale)
        case ListType(fields):
            return spark.ArrayType(spark_schema(fields))


def spark_schema(columns: tuple[Column, ...]) -> "StructType":
    """Return the Spark schema of a row of `columns`.

    Every field is nullable: Spark can not promise otherwise for what it reads from files, and a declared promise that
    it doesn't keep breaks the plan. Nullability is a contract check's work.
    """
    from pyspark.sql import types as spark

    return spark.StructType(
        [
            spark.StructField(
                column.name, spark_type(column.type), nullable=True, metadata={"comment": column.description}
            )
            for column in columns
        ]
    )
