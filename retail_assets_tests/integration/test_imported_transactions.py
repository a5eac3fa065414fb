"""Till lines end to end: in bulk or through Kafka, stopped and taken up again, they make the same days."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from retail_assets.assets.core import core_assets
from retail_assets.assets.raw import raw_assets
from retail_assets.assets.sources import source_specs
from retail_assets.checks.contracts import contract_checks
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    CORE_SALES_LINES,
    RAW_SALES_TRANSACTIONS,
    Table,
)
from retail_assets.contracts.topics import tenant_topics
from retail_assets.io_managers.delta import SparkDeltaIOManager
from retail_assets.resources.kafka import KafkaResource
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource
from retail_assets.resources.topics import read_topic_settings
from retail_assets.runs import partition_tags
from retail_assets.settings import Mode, Settings
from retail_assets_tests.integration.simulator.reading import on_topic

pytestmark = pytest.mark.integration

FIRST = datetime(2026, 1, 30, 8)  # noqa: DTZ001 - as tills write it
LAST = date(2026, 1, 31)
TENANT = "shop"
BASKETS = 240


@pytest.fixture
def tills(tmp_path: Path) -> Path:
    """Two days of two stores: every fifth transaction takes something back, P3 sells on the first day alone."""
    lines = ["transaction_id,occurred_at,store_id,product_id,quantity,unit_price"]
    for number in range(BASKETS):
        at = FIRST + timedelta(days=number % 2, minutes=number)
        store = f"S{number % 4 // 2 + 1}"
        lines.append(f"{number},{at},{store},P1,{1 + number % 3},2.50")
        lines.append(f"{number},{at},{store},{'P2' if number % 2 else 'P3'},{-1 if number % 5 == 0 else 2},1.25")
    path = tmp_path / "tills.csv"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


@pytest.fixture
def topics(kafka: KafkaResource) -> Iterator[KafkaResource]:
    own = KafkaResource(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=f"{TENANT}.")
    wanted = read_topic_settings(Mode.LOCAL)
    own.apply_topics({f"{TENANT}.{name}": one for name, one in wanted.items()})
    yield own
    own.delete_topics([f"{TENANT}.{name}" for name in wanted])


def begin(tills: Path, lake: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "retail_assets.cli", "import", "transactions", str(tills), "--lake", lake, *more]
    return subprocess.Popen(
        [*command, "--tenant", TENANT],
        env=os.environ | {"RETAIL_CACHE_DIR": str(tills.parent / "cache")},
        cwd=tills.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(run: subprocess.Popen[str]) -> str:
    output, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    return output


@pytest.mark.long
def test_till_lines_make_the_same_days_in_bulk_and_through_kafka(
    tills: Path, tmp_path: Path, settings: Settings, spark_resource: SparkResource, topics: KafkaResource
) -> None:
    bulk, sent = (LakeResource(root=(tmp_path / name).as_uri()) for name in ("bulk", "sent"))
    finished(begin(tills, bulk.root))

    first = begin(tills, sent.root, "--speed", "60")
    assert first.stderr is not None
    shown = []
    for line in first.stderr:
        shown.append(line)
        if " confirmed" in line:
            break
    assert " confirmed" in shown[-1], "".join(shown)
    first.send_signal(signal.SIGINT)
    assert "stopped; the same command goes on from here" in finished(first)
    assert "were there from an earlier run" in finished(begin(tills, sent.root, "--speed", "max"))

    sales = tenant_topics(f"{TENANT}.")[0]
    by_partition = on_topic(settings.bootstrap_servers, sales)
    messages = [message for partition in by_partition.values() for message in partition]
    events = [json.loads(value) for _, value, _, _ in messages]
    assert len(events) == len({event["transaction_id"] for event in events}) == BASKETS + BASKETS // 5
    assert all(key.decode() == json.loads(value)["store_id"] for key, value, _, _ in messages)
    for partition in by_partition.values():
        times = [json.loads(value)["occurred_at"] for _, value, _, _ in partition]
        assert times == sorted(times)
    assert {headers["schema"] for *_, headers in messages} == {b"sales_transaction"}
    assert all(headers["produced_at"].isdigit() for *_, headers in messages)

    contracts = [one for one in contract_checks() if next(iter(one.check_keys)).asset_key.path[0] == "core"]

    def materialize(lake: LakeResource, *tables: Table, last: date = LAST) -> None:
        resources = {
            "spark": spark_resource,
            "lake": lake,
            "kafka": topics,
            "lake_io_manager": SparkDeltaIOManager(spark=spark_resource, lake=lake),
        }
        first = FIRST.date() if last == LAST else last
        days = {} if RAW_SALES_TRANSACTIONS in tables else partition_tags(first, last)
        graph = [*source_specs(), *raw_assets(), *core_assets(), *contracts]
        keys = [dg.AssetKey(table.key) for table in tables]
        assert dg.materialize(graph, selection=keys, resources=resources, tags=days).success

    materialize(sent, RAW_SALES_TRANSACTIONS)
    for lake in (bulk, sent):
        materialize(lake, CORE_SALES_LINES, CORE_INVENTORY_DAILY, CORE_DAILY_SALES)
        # Tills that nobody opens tell of nothing, and nobody ever told of stock: a day without a row is no failure.
        materialize(lake, CORE_SALES_LINES, CORE_INVENTORY_DAILY, CORE_DAILY_SALES, last=LAST + timedelta(days=1))
    in_bulk, streamed = (lake.read(CORE_DAILY_SALES).sort(CORE_DAILY_SALES.grain) for lake in (bulk, sent))
    assert in_bulk.equals(streamed)
    lines = pl.read_csv(tills)
    assert float(in_bulk["units"].sum()) == lines["quantity"].sum()
    assert float(in_bulk["revenue"].sum()) == (lines["quantity"] * lines["unit_price"]).sum()
    # P3 sold nothing on the second day, in stores that were open.
    unsold = in_bulk.filter((pl.col("product_id") == "P3") & (pl.col("business_date") == LAST))
    assert unsold["units"].cast(pl.Float64).to_list() == [0.0, 0.0]
