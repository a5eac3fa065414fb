"""The check that facts and streaming service agree, in the real warehouse."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest
from clickhouse_connect.driver.client import Client
from deltalake import CommitProperties, write_deltalake

from retail_assets.checks.reconciliation import reconciliation_checks
from retail_assets.contracts.tables import CORE_QUARANTINE, CORE_SALES_LINES
from retail_assets.resources.clickhouse import ClickHouseResource
from retail_assets.resources.coverage import Coverage
from retail_assets.resources.lake import LakeResource, contract_arrow
from retail_assets.runs import partition_tags
from retail_assets_tests.made_up_tables import blank

pytestmark = pytest.mark.integration

DAY = date(2026, 3, 10)
DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-04-01")
#: Rows live for some time after they were written, so it has to be a short while ago.
WRITTEN = datetime.now(UTC) - timedelta(hours=1)
FACT_SALES = dg.AssetKey(["marts", "fact_sales"])


def at(hour: float) -> datetime:
    return datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(hours=hour)


class Sides:
    """What both sides have of a store in Berlin, which is an hour ahead, and the check of the day."""

    def __init__(self, client: Client, lake: LakeResource) -> None:
        self.client, self.lake = client, lake
        store = (1, "S1", "One", "North", "Town", "supermarket", "Europe/Berlin", date(2020, 1, 1))
        client.insert("retail.dim_store", [(0, *["unknown"] * 6, date(1970, 1, 1)), store])
        made = CommitProperties(custom_metadata={"userMetadata": Coverage(DAY - timedelta(days=1), DAY, {0: 9}).text()})
        lines = blank(CORE_SALES_LINES, [{"business_date": DAY, "occurred_at": at(9), "kind": "sale"}])
        write_deltalake(
            lake.local_path(CORE_SALES_LINES.path),
            contract_arrow(CORE_SALES_LINES, lines),
            partition_by=["business_date"],
            commit_properties=made,
        )

    def counted(self, *hours: tuple[float, int], version: int = 1) -> None:
        """Have the stream tell of hours and units."""
        rows = [("S1", at(hour), Decimal(n), Decimal(2 * n), n, version, WRITTEN) for hour, n in hours]
        self.client.insert("retail.rt_revenue_hourly", rows)

    def sold(self, *rows: tuple[int, int, int], store: int = 1, day: date = DAY) -> None:
        """Have the facts tell of local hours, products and units."""
        facts = [(day, hour, store, product, Decimal(n), Decimal(2 * n), Decimal(0), 1) for hour, product, n in rows]
        self.client.insert("retail.fact_sales", facts)

    def said(self, *rows: tuple[float, int, int, int], query: str = "sales") -> None:
        """Have the stream tell of ten seconds each: hour, the newest batch's number, batches, and late events."""
        columns = ["query", "at", "batch", "batches", "late", "watermark", "newest_event_at", "updated_at"]
        full = [
            (query, at(hour), batch, batches, late, at(hour - 24), at(hour), WRITTEN)
            for hour, batch, batches, late in rows
        ]
        self.client.insert("retail.rt_query_progress", full, column_names=columns)

    def check(self) -> dg.AssetCheckEvaluation:
        @dg.asset(key=FACT_SALES, partitions_def=DAYS)
        def fact_sales() -> None: ...

        resources = {"lake": self.lake, "clickhouse": ClickHouseResource(database="retail")}
        done = dg.materialize(
            [fact_sales, *reconciliation_checks()], resources=resources, tags=partition_tags(DAY, DAY)
        )
        (evaluation,) = done.get_asset_check_evaluations()
        assert not evaluation.blocking
        return evaluation


@pytest.fixture
def sides(warehouse: Client, lake: LakeResource) -> Sides:
    return Sides(warehouse, lake)


def test_a_service_that_never_ran_is_passed_over(sides: Sides) -> None:
    sides.sold((10, 1, 4))
    found = sides.check()
    assert found.passed
    assert (found.description or "").startswith("nothing to compare")


def test_both_sides_agree_over_products_that_are_unknown_rows_that_came_again_and_lines_in_quarantine(
    sides: Sides,
) -> None:
    sides.counted((-60, 1), (9, 1), (10, 5), (-1, 2), (30, 1))
    sides.counted((9, 7), version=2)
    sides.sold((10, 0, 3), (10, 1, 4), (11, 1, 2))
    # Before midnight in Greenwich is the new day in Berlin; of a store that nobody knows nothing is compared.
    sides.sold((0, 1, 2))
    sides.sold((15, 1, 9), store=0)
    kept_out = {"store_id": "S1", "occurred_at": at(10.5), "line_no": 1, "units": 3, "revenue": 6}
    rows = [{**kept_out, "reason": "foreign_currency", "business_date": DAY}, {**kept_out, "line_no": 0}]
    sides.lake.overwrite(CORE_QUARANTINE, blank(CORE_QUARANTINE, rows))
    found = sides.check()
    assert found.description == "3 of 3 hours of 1 stores agree with the streaming service"
    assert found.passed
    assert found.metadata["lines_kept_out"].value == 1


def test_a_difference_is_an_error_that_names_hour_and_store_and_both_figures(sides: Sides) -> None:
    sides.counted((-60, 1), *((hour, 1) for hour in range(7, 13)), (30, 1))
    sides.sold(*((hour + 1, 1, hour) for hour in range(7, 13)))
    found = sides.check()
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.ERROR
    assert found.metadata["observed"].value == 6
    assert "6 of 6 hours of 1 stores differ" in (found.description or "")
    assert "store S1, 2026-03-10 12:00 UTC: 1.000 units and 2.00 in real time, 12.000 and 24.00 in the facts" in (
        found.description or ""
    )
    assert (found.description or "").endswith("; and 3 more")
    table: Any = found.metadata["differences"]
    assert len(table.records) == 6


def test_hours_of_which_the_service_says_that_it_left_events_out_may_differ(sides: Sides) -> None:
    sides.counted((-60, 1), (9, 1), (12, 1), (30, 1))
    sides.sold((10, 1, 2), (13, 1, 1))
    assert not sides.check().passed
    sides.said((-200, 4, 5, 0), (35, 9, 5, 1))
    found = sides.check()
    assert found.passed
    assert "1 of 2 hours of 1 stores agree" in (found.description or "")
    assert "1 hours may rightly differ" in (found.description or "")


def test_a_jump_in_the_numbers_of_the_batches_is_a_gap_in_which_anything_may_have_been_left_out(sides: Sides) -> None:
    sides.counted((-60, 1), (9, 1), (12, 1), (30, 1))
    sides.sold((10, 1, 20), (13, 1, 20))
    # One goes on; a batch came again; a fresh checkpoint began. The numbers of other queries are their own.
    sides.said((-200, 4, 5, 0), (-199, 9, 5, 0), (-198, 11, 3, 0), (-197, 2, 3, 0), (32, 12, 10, 0))
    sides.said((-198.5, 70, 1, 0), (31, 90, 1, 0), query="tills")
    found = sides.check()
    assert not found.passed
    assert "2 of 2 hours" in (found.description or "")
    sides.said((34, 31, 5, 0))
    found = sides.check()
    assert found.passed
    assert "2 hours may rightly differ" in (found.description or "")


def test_more_hours_than_baskets_that_were_left_out_are_an_error_that_names_them(sides: Sides) -> None:
    sides.counted((-60, 1), *((hour, 1) for hour in range(7, 10)), (40, 1))
    sides.sold(*((hour + 1, 1, 50) for hour in range(7, 10)))
    sides.said((-200, 4, 5, 0), (35, 9, 5, 2))
    found = sides.check()
    assert not found.passed
    assert "store S1, 2026-03-10 07:00 UTC" in (found.description or "")
    assert (found.description or "").endswith(
        "; events were left out that may lie in 3 of these, but fewer than so many"
    )
    sides.said((36, 14, 5, 1))
    assert sides.check().passed
