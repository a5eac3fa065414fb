"""The wire format: exact values, in JSON and in Avro, and nothing of our own that breaks the contract."""

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import fastavro
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retail_assets.contracts.events import avro_schema
from retail_assets.contracts.topics import EVENT_TOPICS, INVENTORY_UPDATES, SALES_TRANSACTIONS, Topic
from retail_assets.contracts.types import polars_schema
from retail_assets.simulator.tills.wire import ContractError, WireFormat, encode_frame, require_contract
from retail_assets_tests.made_up_days import MadeUpDays

DAY = MadeUpDays().day(date(2026, 1, 2))


def plainly(value: Any) -> Any:
    """Write a value as the contract says, by the simplest means."""
    match value:
        case datetime():
            return round(value.timestamp() * 1_000)
        case Decimal():
            return float(value)
        case list():
            return [plainly(item) for item in value]
        case dict():
            return {name: plainly(item) for name, item in value.items()}
    return value


@pytest.mark.parametrize("topic", EVENT_TOPICS, ids=lambda topic: topic.name)
def test_json_says_the_same_as_the_standard_library_would(topic: Topic) -> None:
    events = DAY.events(topic)
    encoded = encode_frame(topic, events)
    for row, value in zip(events.iter_rows(named=True), encoded["value"], strict=True):
        assert value.decode() == json.dumps(plainly(row), separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize("topic", EVENT_TOPICS, ids=lambda topic: topic.name)
def test_avro_reads_back_to_the_same_event(topic: Topic) -> None:
    events = DAY.events(topic)
    schema = fastavro.parse_schema(avro_schema(topic.schema.name))
    for row, value in zip(
        events.iter_rows(named=True), encode_frame(topic, events, WireFormat.AVRO)["value"], strict=True
    ):
        read = fastavro.schemaless_reader(io.BytesIO(value), schema, None)
        assert isinstance(read, dict)
        row["occurred_at"] = row["occurred_at"].replace(microsecond=row["occurred_at"].microsecond // 1_000 * 1_000)
        assert read == row


@pytest.mark.parametrize("topic", EVENT_TOPICS, ids=lambda topic: topic.name)
def test_keys_are_the_contracts(topic: Topic) -> None:
    events = DAY.events(topic)
    keys = [":".join(row[field] for field in topic.key_fields) for row in events.iter_rows(named=True)]
    assert [key.decode() for key in encode_frame(topic, events)["key"]] == keys


@given(st.integers(-99_999_000, 99_999_000), st.text(max_size=20))
def test_amounts_and_texts_survive_json_exactly(thousandths: int, text: str) -> None:
    quantity = Decimal(thousandths) / 1_000
    events = DAY.events(INVENTORY_UPDATES)[:1].with_columns(
        quantity_delta=pl.Series([quantity], dtype=pl.Decimal(12, 3)), supplier_id=pl.lit(text)
    )
    read = json.loads(encode_frame(INVENTORY_UPDATES, events)["value"][0], parse_float=Decimal)
    assert read["quantity_delta"] == quantity
    assert read["supplier_id"] == text


def line(**changes: Any) -> pl.Expr:
    """Put one line into every basket."""
    values = {
        "line_no": 1,
        "product_id": "P1",
        "quantity": Decimal(1),
        "unit_price": Decimal(1),
        "discount": Decimal(0),
        "promotion_id": None,
    } | changes
    dtype = polars_schema(SALES_TRANSACTIONS.schema.columns)["lines"]
    return pl.lit(pl.Series([[values]], dtype=dtype)).alias("lines")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (pl.lit(None, dtype=pl.String).alias("store_id"), "store_id has no value in 1 events, the first is S-20260102"),
        (pl.lit("gold").alias("payment_method"), "payment_method is not one of cash, card"),
        (pl.lit(3).alias("currency"), "currency is Int32 and should be String"),
        (pl.lit(datetime(1999, 1, 1, tzinfo=UTC)).alias("occurred_at"), "occurred_at is not between 2000 and 2100"),
        (line(quantity=Decimal(1000), unit_price=Decimal(1000)), "quantity x unit_price is above 999999"),
        (pl.concat_list(line(), line()).alias("lines"), r"lines\.line_no comes twice"),
        (line(quantity=Decimal(0)), r"lines\.quantity is below 0\.001"),
        (line(unit_price=Decimal(100_000)), r"lines\.unit_price is above 99999"),
        (line(product_id=None), r"lines\.product_id has no value"),
        (pl.col("lines").list.head(0).alias("lines"), "lines is empty"),
    ],
)
def test_our_own_events_that_break_the_contract_are_an_error(change: pl.Expr, error: str) -> None:
    events = DAY.events(SALES_TRANSACTIONS)[:1]
    require_contract(SALES_TRANSACTIONS.schema, events)
    with pytest.raises(ContractError, match=error):
        encode_frame(SALES_TRANSACTIONS, events.with_columns(change))


def test_a_missing_field_and_a_repeated_id_are_errors_too() -> None:
    events = DAY.events(INVENTORY_UPDATES)
    with pytest.raises(ContractError, match="the field movement is missing"):
        encode_frame(INVENTORY_UPDATES, events.drop("movement"))
    with pytest.raises(ContractError, match="event_id I-20260102-000003 comes twice"):
        encode_frame(INVENTORY_UPDATES, pl.concat([events, events[3:4]]))


@pytest.mark.parametrize("wire", WireFormat)
def test_a_day_without_events_is_no_error(wire: WireFormat) -> None:
    for topic in EVENT_TOPICS:
        assert encode_frame(topic, DAY.events(topic)[:0], wire).height == 0
