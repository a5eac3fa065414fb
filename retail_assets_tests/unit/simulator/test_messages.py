"""Messages carry the day's events, and just as many faults as were asked for."""

import json
from collections import Counter
from typing import Any

import polars as pl
import pytest

from retail_assets.contracts.topics import EVENT_TOPICS, INVENTORY_UPDATES, POS_EVENTS, SALES_TRANSACTIONS, Topic
from retail_assets.contracts.types import TIMESTAMP, Column, DecimalType, ListType
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.simulation import Simulation
from retail_assets.simulator.tills.messages import DayMessages, Message


@pytest.fixture(scope="module")
def sent(simulation: Simulation) -> DayMessages:
    return simulation.today_messages()


def refusal(topic: Topic, value: bytes) -> str | None:
    """Say why the contract refuses a value, by the simplest reading of the contract; None if it doesn't."""
    try:
        event = json.loads(value)
    except ValueError:
        return "not JSON"
    return next((reason for column in topic.schema.columns for reason in faults(column, event)), None)


def faults(column: Column, event: dict[str, Any]) -> list[str]:
    value = event.get(column.name)
    if value is None:
        return [] if column.nullable else [f"{column.name} missing"]
    if column.allowed:
        return [] if value in column.allowed else [f"{column.name} unknown"]
    if isinstance(column.type, ListType):
        inner = [reason for item in value for field in column.type.fields for reason in faults(field, item)]
        return inner or ([] if value else [f"{column.name} empty"])
    if column.type == TIMESTAMP:
        return [] if isinstance(value, int) else [f"{column.name} no number"]
    if isinstance(column.type, DecimalType):
        return [] if isinstance(value, int | float) else [f"{column.name} no number"]
    return []


@pytest.mark.parametrize("topic", EVENT_TOPICS, ids=lambda topic: topic.name)
def test_every_event_of_today_is_sent_and_reads_back(simulation: Simulation, sent: DayMessages, topic: Topic) -> None:
    events = simulation.today_events().events(topic)
    good = {message.value: None for message in sent[topic] if refusal(topic, message.value) is None}
    decoded = pl.DataFrame([json.loads(value) for value in good], infer_schema_length=None)
    assert decoded.height == events.height
    both = decoded.join(events, on=topic.schema.id_field, how="left", suffix="_event")
    assert (both["occurred_at"] == both["occurred_at_event"].dt.epoch("ms")).all()
    assert (both["store_id"] == both["store_id_event"]).all()
    assert (both["occurred_at"].diff().drop_nulls() >= 0).all()


def test_amounts_survive_the_wire_exactly(simulation: Simulation, sent: DayMessages) -> None:
    wire = {
        event["transaction_id"]: event
        for event in (json.loads(m.value) for m in sent[SALES_TRANSACTIONS])
        if event.get("lines")
    }
    for row in simulation.today_events().sales_transactions.iter_rows(named=True):
        for line, on_wire in zip(row["lines"], wire[row["transaction_id"]]["lines"], strict=True):
            assert f"{on_wire['unit_price']:.2f}" == str(line["unit_price"])
            assert f"{on_wire['discount']:.2f}" == str(line["discount"])
            assert f"{on_wire['quantity']:.3f}" == str(line["quantity"])


def test_exactly_as_many_messages_are_broken_as_were_asked_for(scenario: Scenario, sent: DayMessages) -> None:
    refused = {topic.name: [m for m in sent[topic] if refusal(topic, m.value)] for topic in EVENT_TOPICS}
    assert sum(len(messages) for messages in refused.values()) == scenario.malformed
    assert all(refused.values())
    reasons = {refusal(topic, message.value) for topic in EVENT_TOPICS for message in refused[topic.name]}
    assert len(reasons) == 5


def test_exactly_as_many_messages_are_repeated_as_were_asked_for(scenario: Scenario, sent: DayMessages) -> None:
    extra = {topic.name: len(sent[topic]) - len({m.value for m in sent[topic]}) for topic in EVENT_TOPICS}
    assert sum(extra.values()) == scenario.duplicates
    assert extra[POS_EVENTS.name] == 0
    assert extra[SALES_TRANSACTIONS.name] > 0
    assert extra[INVENTORY_UPDATES.name] > 0


def test_repetitions_have_their_originals_key_and_a_number_of_their_own(sent: DayMessages) -> None:
    for topic in EVENT_TOPICS:
        keys: dict[bytes, set[bytes]] = {}
        for message in sent[topic]:
            keys.setdefault(message.value, set()).add(message.key)
        assert all(len(found) == 1 for found in keys.values())
        assert [message.sequence for message in sent[topic]] == list(range(len(sent[topic])))


def test_headers_say_schema_producer_and_number(scenario: Scenario, sent: DayMessages) -> None:
    for topic in EVENT_TOPICS:
        for message in sent[topic]:
            assert dict(message.headers) == {
                "schema": topic.schema.name.encode(),
                "schema_version": b"1",
                "content_type": b"application/json",
                "producer": scenario.fingerprint.encode(),
                "sequence": str(message.sequence).encode(),
            }


def test_keys_are_the_contracts(sent: DayMessages) -> None:
    for topic in EVENT_TOPICS:
        for message in sent[topic]:
            if refusal(topic, message.value) is None:
                event = json.loads(message.value)
                assert message.key.decode() == ":".join(event[field] for field in topic.key_fields)


def test_broken_messages_are_extra_and_take_nothing_away(simulation: Simulation, sent: DayMessages) -> None:
    scenario = simulation.scenario
    today = simulation.today_events()
    events = sum(today.events(topic).height for topic in EVENT_TOPICS)
    assert sum(len(sent[topic]) for topic in sent) == events + scenario.malformed + scenario.duplicates


def test_stock_movements_of_one_series_are_sent_in_time_order(sent: DayMessages) -> None:
    after: dict[bytes, int] = {}
    seen: Counter[bytes] = Counter()
    for message in sent[INVENTORY_UPDATES]:
        if refusal(INVENTORY_UPDATES, message.value) is not None or seen[message.value]:
            continue
        seen[message.value] += 1
        at = json.loads(message.value)["occurred_at"]
        assert after.get(message.key, 0) < at
        after[message.key] = at


def test_a_message_is_bytes_through_and_through(sent: DayMessages) -> None:
    message = sent[SALES_TRANSACTIONS][0]
    assert isinstance(message, Message)
    assert isinstance(message.key, bytes)
    assert isinstance(message.value, bytes)
    assert all(isinstance(value, bytes) for _, value in message.headers)
