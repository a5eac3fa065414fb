"""Events that come after their day was made: the day, and only that day, is made again."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest

from retail_assets.assets.core import core_assets
from retail_assets.assets.raw import raw_assets
from retail_assets.assets.sources import source_specs
from retail_assets.contracts.tables import (
    CORE_INVENTORY_DAILY,
    CORE_SALES_LINES,
    RAW_DEAD_LETTERS,
    REFERENCE_STORES,
    Table,
)
from retail_assets.contracts.topics import INVENTORY_UPDATES, SALES_TRANSACTIONS
from retail_assets.io_managers.delta import SparkDeltaIOManager
from retail_assets.resources.kafka import KafkaResource, Letter
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource
from retail_assets.runs import partition_tags
from retail_assets.sensors import late_events
from retail_assets.sensors.late_events import evaluate

pytestmark = pytest.mark.integration

DAYS = [date(2026, 3, day) for day in (10, 11, 12)]
BERLIN = "Europe/Berlin"


@pytest.fixture
def stores(lake: LakeResource) -> None:
    lake.overwrite(
        REFERENCE_STORES,
        pl.DataFrame(
            {
                "store_id": ["S1", "S2"],
                "name": ["Berlin", "New York"],
                "region": ["Europe", "America"],
                "city": ["Berlin", "New York"],
                "format": ["supermarket", "supermarket"],
                "time_zone": [BERLIN, "America/New_York"],
                "opens_at_hour": [8, 8],
                "closes_at_hour": [20, 20],
                "opened_on": [date(2020, 1, 1)] * 2,
                "size_m2": [500, 500],
                "storage_litres": [1000, 1000],
                "customer_profile": ["families", "families"],
                "manager": ["Ada", "Grace"],
            },
            schema_overrides={"opens_at_hour": pl.Int32, "closes_at_hour": pl.Int32, "size_m2": pl.Int32}
            | {"storage_litres": pl.Int32},
        ),
    )


def basket(number: int, store_id: str, at: datetime) -> Letter:
    value = {
        "transaction_id": f"T{number}",
        "store_id": store_id,
        "register_id": "R1",
        "cashier_id": "C1",
        "occurred_at": round(at.timestamp() * 1000),
        "currency": "EUR",
        "payment_method": "cash",
        "kind": "sale",
        "lines": [{"line_no": 1, "product_id": "P1", "quantity": "2.000", "unit_price": "1.50", "discount": "0.00"}],
    }
    return Letter(store_id.encode(), json.dumps(value).encode(), [("produced_at", b"1773100000000")])


def movement(number: int, store_id: str, at: datetime, delta: int) -> Letter:
    value = {
        "event_id": f"M{number}",
        "store_id": store_id,
        "product_id": "P1",
        "occurred_at": round(at.timestamp() * 1000),
        "movement": "receipt" if delta > 0 else "sale",
        "quantity_delta": f"{delta}.000",
        "on_hand_after": "0.000",
    }
    return Letter(f"{store_id}:P1".encode(), json.dumps(value).encode(), [("produced_at", b"1773100000000")])


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


class Platform:
    """The raw and the core layer on the real components, and the sensor's ticks with a cursor that is kept."""

    def __init__(self, resources: dict[str, Any], lake: LakeResource) -> None:
        self.resources = resources
        self.lake = lake
        self.cursor: str | None = None
        self.instance = dg.DagsterInstance.ephemeral()
        self.run_keys: list[str] = []

    def ingest(self) -> None:
        keys = [dg.AssetKey(("raw", topic.table)) for topic in (SALES_TRANSACTIONS, INVENTORY_UPDATES)]
        result = dg.materialize(
            raw_assets(), selection=[*keys, dg.AssetKey(RAW_DEAD_LETTERS.key)], resources=self.resources
        )
        assert result.success

    def make(self, table: Table, first: str, last: str) -> None:
        tags = partition_tags(date.fromisoformat(first), date.fromisoformat(last))
        result = dg.materialize(
            [*source_specs(), *core_assets()], selection=[dg.AssetKey(table.key)], resources=self.resources, tags=tags
        )
        assert result.success

    def tick(self, earliest: date | None = None) -> list[tuple[str, str, str]]:
        """Return core table, first and last day of each request."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        answer = evaluate(context, self.lake, BERLIN, "daily_etl", earliest)
        assert isinstance(answer, dg.SensorResult)
        self.cursor = answer.cursor
        requests = answer.run_requests or []
        self.run_keys = [str(one.run_key) for one in requests]
        return [((one.asset_selection or [])[0].path[1], *_days_of(one.tags)) for one in requests]

    def end_runs(self, *, failing: bool) -> None:
        """Let a run for each of the last tick's requests end, as the daemon would have started it."""

        @dg.op
        def last_step() -> None:
            if failing:
                raise RuntimeError("the warehouse is away")

        @dg.job
        def daily_etl() -> None:
            last_step()

        for run_key in self.run_keys:
            daily_etl.execute_in_process(
                instance=self.instance, tags={"dagster/run_key": run_key}, raise_on_error=False
            )


def _days_of(tags: Mapping[str, str]) -> tuple[str, str]:
    day = tags.get("dagster/partition", "")
    return (
        tags.get("dagster/asset_partition_range_start", day),
        tags.get("dagster/asset_partition_range_end", day),
    )


@pytest.fixture
def platform(
    spark_resource: SparkResource, lake: LakeResource, kafka: KafkaResource, topics: None, stores: None
) -> Platform:
    manager = SparkDeltaIOManager(spark=spark_resource, lake=lake)
    return Platform({"spark": spark_resource, "lake": lake, "kafka": kafka, "lake_io_manager": manager}, lake)


def test_a_late_basket_makes_its_own_day_again_and_no_other(platform: Platform, kafka: KafkaResource) -> None:
    kafka.send(SALES_TRANSACTIONS.name, [basket(n, "S1", noon(day)) for n, day in enumerate(DAYS)])
    platform.ingest()
    platform.make(CORE_SALES_LINES, "2026-03-10", "2026-03-12")
    assert platform.tick() == []

    # 03:30 UTC of the 12th is still the evening of the 11th in New York.
    kafka.send(SALES_TRANSACTIONS.name, [basket(9, "S2", datetime(2026, 3, 12, 3, 30, tzinfo=UTC))])
    platform.ingest()
    asked = [("sales_lines", "2026-03-11", "2026-03-11")]
    assert platform.tick() == asked
    assert platform.tick() == asked, "a run that died has to be asked for again"

    platform.make(CORE_SALES_LINES, "2026-03-11", "2026-03-11")
    platform.end_runs(failing=False)
    assert platform.tick() == []
    lines = platform.lake.read(CORE_SALES_LINES)
    assert sorted(lines["transaction_id"]) == ["T0", "T1", "T2", "T9"]
    assert lines.filter(transaction_id="T9")["business_date"].to_list() == [date(2026, 3, 11)]


@pytest.mark.long
def test_without_its_cursor_the_sensor_finds_the_same(platform: Platform, kafka: KafkaResource) -> None:
    kafka.send(SALES_TRANSACTIONS.name, [basket(n, "S1", noon(day)) for n, day in enumerate(DAYS)])
    platform.ingest()
    platform.make(CORE_SALES_LINES, "2026-03-10", "2026-03-12")
    assert platform.tick() == []
    platform.cursor = None
    assert platform.tick() == []
    kafka.send(SALES_TRANSACTIONS.name, [basket(9, "S1", noon(DAYS[0]))])
    platform.ingest()
    platform.cursor = None
    assert platform.tick() == [("sales_lines", "2026-03-10", "2026-03-10")]
    # A day whose events are no longer kept can't be made again.
    platform.cursor = None
    assert platform.tick(earliest=DAYS[1]) == []


def test_a_late_movement_makes_the_ledger_again_from_its_day_to_the_end(
    platform: Platform, kafka: KafkaResource
) -> None:
    kafka.send(INVENTORY_UPDATES.name, [movement(n, "S1", noon(day), 10) for n, day in enumerate(DAYS)])
    platform.ingest()
    platform.make(CORE_INVENTORY_DAILY, "2026-03-10", "2026-03-12")
    assert platform.tick() == []

    kafka.send(INVENTORY_UPDATES.name, [movement(9, "S1", noon(DAYS[1]) + timedelta(minutes=1), -4)])
    platform.ingest()
    assert platform.tick() == [("inventory_daily", "2026-03-11", "2026-03-12")]
    platform.make(CORE_INVENTORY_DAILY, "2026-03-11", "2026-03-12")
    platform.end_runs(failing=False)
    assert platform.tick() == []
    closing = platform.lake.read(CORE_INVENTORY_DAILY).sort("business_date")["closing"].cast(pl.Int64).to_list()
    assert closing == [10, 16, 26]


def test_a_day_that_is_not_over_asks_for_nothing(platform: Platform, kafka: KafkaResource) -> None:
    kafka.send(SALES_TRANSACTIONS.name, [basket(1, "S1", noon(DAYS[0]))])
    platform.ingest()
    platform.make(CORE_SALES_LINES, "2026-03-10", "2026-03-10")
    kafka.send(SALES_TRANSACTIONS.name, [basket(2, "S1", noon(DAYS[1]))])
    platform.ingest()
    assert platform.tick() == []


def test_a_run_that_dies_after_its_first_table_is_asked_for_until_one_succeeds(
    platform: Platform, kafka: KafkaResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka.send(SALES_TRANSACTIONS.name, [basket(1, "S1", noon(DAYS[0]))])
    platform.ingest()
    platform.make(CORE_SALES_LINES, "2026-03-10", "2026-03-10")
    assert platform.tick() == []
    kafka.send(SALES_TRANSACTIONS.name, [basket(2, "S1", noon(DAYS[0]))])
    platform.ingest()
    asked = [("sales_lines", "2026-03-10", "2026-03-10")]
    assert platform.tick() == asked

    platform.make(CORE_SALES_LINES, "2026-03-10", "2026-03-10")
    platform.end_runs(failing=True)
    assert platform.tick() == [], "it pauses after a failure"
    monkeypatch.setattr(late_events, "_PAUSE_S", 0.0)
    assert platform.tick() == asked
    platform.end_runs(failing=True)
    assert platform.tick() == asked
    platform.end_runs(failing=False)
    assert platform.tick() == []
    assert platform.tick() == []
