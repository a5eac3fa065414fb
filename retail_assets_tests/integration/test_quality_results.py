"""Results of checks in the warehouse: each once, whatever is written twice, and none lost while it is away."""

from datetime import date
from typing import Any

import dagster as dg
import pytest
from clickhouse_connect.driver.client import Client

from retail_assets.checks.results import result
from retail_assets.io_managers.clickhouse import WriteError
from retail_assets.resources import clickhouse as module
from retail_assets.resources.clickhouse import ClickHouseResource, connect
from retail_assets.runs import partition_tags
from retail_assets.sensors.quality_results import evaluate
from retail_assets.settings import Settings
from retail_local.ports import free_ports

pytestmark = pytest.mark.integration

DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-04-01")
ASSET = dg.AssetKey(["core", "daily_sales"])
WAREHOUSE = ClickHouseResource(database="retail")


class Runs:
    """Runs of an asset with a check that blocks and one that warns, and ticks of the sensor behind them."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor: str | None = None

    def run(self, first: int, last: int, *, observed: float) -> str:
        @dg.asset(key=ASSET, partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
        def daily_sales() -> None: ...

        @dg.asset_check(asset=ASSET, blocking=True)
        def contract() -> dg.AssetCheckResult:
            return result(passed=observed == 0, sentence="counted", observed=observed, expected=0, threshold=0)

        @dg.asset_check(asset=ASSET)
        def usual() -> dg.AssetCheckResult:
            return result(passed=True, sentence="too short a history", warns=True, threshold=6)

        tags = partition_tags(date(2026, 3, first), date(2026, 3, last))
        graph: list[Any] = [daily_sales, contract, usual]
        return dg.materialize(graph, instance=self.instance, tags=tags, raise_on_error=False).run_id

    def tick(self) -> str:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        answer = evaluate(context, WAREHOUSE)
        self.cursor = answer.cursor
        assert answer.skip_reason is not None
        return answer.skip_reason.skip_message or ""


@pytest.fixture
def runs(tmp_path: Any) -> Any:
    # The instance of one machine, with a file per run: what a laptop has.
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield Runs(instance)


def shown(client: Client, what: str, relation: str = "v_quality_results") -> list[tuple[Any, ...]]:
    return [tuple(row) for row in client.query(f"SELECT {what} FROM retail.{relation} ORDER BY ALL").result_rows]


def test_results_are_read_in_the_warehouse_and_do_not_double_when_written_or_run_again(
    runs: Runs, warehouse: Client, settings: Settings
) -> None:
    first = runs.run(10, 10, observed=3)
    assert runs.tick() == "wrote 2 results of 1 runs"
    reader = connect(settings, user="bi_reader")
    everything = "asset, check_name, partition, run_id, passed, severity, is_blocking, is_measured, observed, sentence"
    expected = [
        ("core/daily_sales", "contract", "2026-03-10", first, False, "error", True, True, 3.0, "counted"),
        ("core/daily_sales", "usual", "2026-03-10", first, True, "warning", False, False, 0.0, "too short a history"),
    ]
    assert shown(reader, everything) == expected

    assert runs.tick() == "wrote 0 results of 0 runs"
    runs.cursor = None
    assert runs.tick() == "wrote 2 results of 1 runs", "without its cursor the sensor writes everything again"
    assert shown(reader, everything) == expected

    again = runs.run(10, 10, observed=0)
    runs.run(10, 12, observed=0)
    assert runs.tick() == "wrote 4 results of 2 runs"
    assert shown(reader, "check_name, partition, passed") == [
        ("contract", "2026-03-10", True),
        ("contract", "2026-03-10 to 2026-03-12", True),
        ("usual", "2026-03-10", True),
        ("usual", "2026-03-10 to 2026-03-12", True),
    ]
    assert {row[0] for row in shown(reader, "run_id")} >= {again}
    reader.close()
    assert len(shown(warehouse, "run_id", "quality_results FINAL")) == 6, "each run's results stay in the table"


def test_results_wait_while_the_warehouse_is_away_and_a_missing_table_is_named(
    runs: Runs, warehouse: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.run(10, 10, observed=0)
    away = settings.model_copy(update={"clickhouse_port": free_ports(1)[0]})
    with monkeypatch.context() as patch:
        patch.setattr(module, "get_settings", lambda: away)
        assert runs.tick().startswith("2 results of checks wait for the warehouse: the warehouse at")
    assert runs.tick() == "wrote 2 results of 1 runs"

    warehouse.command("DROP TABLE retail.quality_results SYNC")
    runs.cursor = None
    with pytest.raises(WriteError, match="retail migrate"):
        runs.tick()
