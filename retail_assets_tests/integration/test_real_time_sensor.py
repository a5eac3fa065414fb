"""How the streaming service is, as Dagster hears of it: by observations of the tables it writes, each word once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from clickhouse_connect.driver.client import Client

from retail_assets.io_managers.clickhouse import WriteError
from retail_assets.resources import clickhouse as module
from retail_assets.resources.clickhouse import ClickHouseResource
from retail_assets.sensors.real_time import News, due, evaluate, observations, told
from retail_assets.settings import Settings
from retail_local.ports import free_ports

BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
NOTHING = "nothing new of the streaming service"


class Service:
    """What the service says of itself, and ticks of the sensor behind it."""

    def __init__(self, client: Client, instance: dg.DagsterInstance) -> None:
        self.client, self.instance = client, instance
        self.cursor: str | None = None

    def says(self, query: str, second: int, **more: Any) -> None:
        at = BEGAN + timedelta(seconds=second)
        row = {"query": query, "at": at, "newest_event_at": at, "updated_at": at, **more}
        self.client.insert("retail.rt_query_progress", [list(row.values())], column_names=list(row))

    def tick(self) -> tuple[str, dict[str, dict[str, Any]]]:
        """Return the tick's sentence, and the metadata of its observations by asset."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        answer = evaluate(context, ClickHouseResource(database="retail"))
        self.cursor = answer.cursor
        assert answer.skip_reason is not None
        observed = {
            event.asset_key.to_user_string(): {name: value.value for name, value in event.metadata.items()}
            for event in answer.asset_events
        }
        return answer.skip_reason.skip_message or "", observed


@pytest.fixture
def service(warehouse: Client, tmp_path: Path) -> Iterator[Service]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield Service(warehouse, instance)


@pytest.mark.integration
def test_each_table_is_observed_with_what_its_query_said_since_the_last_tick(service: Service) -> None:
    assert service.tick() == (NOTHING, {})
    service.says("sales", 0, rows_in=90, refused=9, rows_out=20, longest_batch_ms=2500, lag=70)
    service.says("sales", 10, rows_in=10, refused=1, rows_out=5, longest_batch_ms=900, lag=3, late=2, ahead=1)
    service.says("dead_letters", 10, rows_in=4, refused=4, rows_out=4)
    sentence, observed = service.tick()
    assert sentence == "sales: 25 rows written, 3 messages waiting; dead_letters: 4 rows written, 0 messages waiting"
    sales = {
        "query": "sales",
        "lag": 3,
        "longest_batch_seconds": 2.5,
        "messages": 100,
        "refused_share": 0.1,
        "left_out": 3,
        "rows_written": 25,
        "dagster/last_updated_timestamp": (BEGAN + timedelta(seconds=10)).timestamp(),
        "newest_event": (BEGAN + timedelta(seconds=10)).timestamp(),
    }
    assert observed.keys() == {
        "real_time/rt_revenue_hourly",
        "real_time/rt_sales_velocity",
        "real_time/rt_dead_letters",
    }
    assert observed["real_time/rt_revenue_hourly"] == observed["real_time/rt_sales_velocity"] == sales

    assert service.tick() == (NOTHING, {})
    # The queries don't wait for each other: what one said before the other's newest word is news all the same.
    service.says("inventory", 5, rows_out=1)
    service.says("sales", 20, rows_in=2, rows_out=1)
    _, observed = service.tick()
    assert {table: told["rows_written"] for table, told in observed.items()} == {
        "real_time/rt_inventory": 1,
        "real_time/rt_revenue_hourly": 1,
        "real_time/rt_sales_velocity": 1,
    }


@pytest.mark.integration
def test_a_table_is_observed_every_ten_minutes_at_most_and_nothing_is_left_out_by_it(service: Service) -> None:
    now = datetime.now(UTC)
    service.says("inventory", 0, at=now - timedelta(seconds=90), rows_out=1)
    assert len(service.tick()[1]) == 1
    service.says("inventory", 0, at=now - timedelta(seconds=60), rows_out=2)
    assert service.tick() == ("inventory: 2 rows written, 0 messages waiting", {})
    assert service.tick()[1] == {}
    news = News("inventory", 1_090, 0, 0, 0, 2, 0, 0, 0)
    assert due([news], {"inventory": 1_000}, now=1_599) == []
    assert due([news], {"inventory": 1_000}, now=1_600) == [news]


@pytest.mark.integration
def test_ten_seconds_that_are_not_over_wait_and_a_word_that_is_said_again_counts_once(service: Service) -> None:
    service.says("tills", 0, rows_out=3)
    service.says("tills", 0, rows_out=7, updated_at=BEGAN + timedelta(seconds=1))
    service.says("tills", 0, rows_out=9, at=datetime.now(UTC))
    _, observed = service.tick()
    assert {table: told["rows_written"] for table, told in observed.items()} == {
        "real_time/rt_pos_hourly": 7,
    }


@pytest.mark.integration
def test_a_warehouse_that_is_away_is_no_failure_and_a_missing_table_is_named(
    service: Service, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.says("sales", 0, rows_out=1)
    service.tick()
    before = service.cursor
    away = settings.model_copy(update={"clickhouse_port": free_ports(1)[0]})
    with monkeypatch.context() as patch:
        patch.setattr(module, "get_settings", lambda: away)
        sentence, observed = service.tick()
    assert sentence.startswith("the warehouse is away: the warehouse at")
    assert (observed, service.cursor) == ({}, before)
    service.client.command("DROP TABLE retail.rt_query_progress SYNC")
    with pytest.raises(WriteError, match="retail migrate"):
        service.tick()


def test_a_query_that_read_nothing_has_refused_nothing_and_tells_of_no_event() -> None:
    (one,) = observations(News("inventory", 10, 0, 0, 0, 0, 5, 0, 0))
    assert one.metadata["refused_share"].value == 0
    assert "newest_event" not in one.metadata
    assert told([]) == NOTHING
