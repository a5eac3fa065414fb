"""The checks that warn, over weeks in the lake: quiet on usual days and closed ones, and clear about the others."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest

from retail_assets.checks.statistical import newest_event, newest_raw_day, statistical_checks
from retail_assets.contracts.tables import CORE_DAILY_SALES, RAW_IMPORTED_SALES, RAW_POS_EVENTS, RAW_SALES_TRANSACTIONS
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource
from retail_assets.runs import partition_tags
from retail_assets_tests.made_up_tables import blank

pytestmark = pytest.mark.integration

LAST = date(2026, 3, 10)
DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-04-01")
DAILY_SALES = dg.AssetKey(CORE_DAILY_SALES.key)


def day_of(store: str, day: date, *, units: float = 100, price: float = 2.0, **more: Any) -> list[dict[str, Any]]:
    """Return a store's day with thirty products that sell alike."""
    return [
        {
            "store_id": store,
            "product_id": product,
            "business_date": day,
            "units": Decimal(f"{units:.0f}"),
            "revenue": Decimal(f"{units * price:.2f}"),
            "unit_price": Decimal(f"{price:.2f}"),
            "list_price": Decimal(2),
            **more,
        }
        for product in (f"P{number}" for number in range(30))
    ]


@pytest.fixture
def checked(lake: LakeResource, spark_resource: SparkResource) -> Any:
    """Return a function that checks the last day over ten weeks of usual ones, and gives the results by name."""

    def run(*last_day: dict[str, Any]) -> dict[str, dg.AssetCheckEvaluation]:
        rows: list[dict[str, Any]] = list(last_day)
        for number in range(1, 70):
            # On Sundays both stores are closed, and the second one on Mondays too.
            day = LAST - timedelta(days=number)
            rows += day_of("S1", day, units=0 if day.weekday() == 6 else 100 + number % 5)
            rows += day_of("S2", day, units=0 if day.weekday() in {6, 0} else 50)
        lake.overwrite(CORE_DAILY_SALES, blank(CORE_DAILY_SALES, rows))

        @dg.asset(key=DAILY_SALES, partitions_def=DAYS)
        def daily_sales() -> None: ...

        checks = [one for one in statistical_checks() if next(iter(one.check_keys)).asset_key == DAILY_SALES]
        resources = {"spark": spark_resource, "lake": lake}
        result = dg.materialize([daily_sales, *checks], resources=resources, tags=partition_tags(LAST, LAST))
        return {one.check_name: one for one in result.get_asset_check_evaluations()}

    return run


def test_a_usual_day_with_a_closed_store_passes_and_an_unusual_one_warns_with_its_numbers(checked: Any) -> None:
    quiet = checked(*day_of("S1", LAST), *day_of("S2", LAST, units=0))
    assert {name: one.passed for name, one in quiet.items()} == dict.fromkeys(
        ("usual_volume", "usual_prices", "usual_shares", "fresh"), True
    )
    assert quiet["usual_volume"].description == "1 days of stores judged, all as usual; not judged: 1 without trade"

    found = checked(*day_of("S1", LAST, units=900, price=9), *day_of("S2", LAST, units=50, list_price=None))
    assert {name for name, one in found.items() if not one.passed} == {"usual_volume", "usual_prices", "usual_shares"}
    assert {one.severity for one in found.values()} == {dg.AssetCheckSeverity.WARN}
    volume = found["usual_volume"]
    assert volume.description == (
        "1 of 2 days of stores unusual: store S1 sold 27,000 units on 2026-03-10, usual are 3,060"
    )
    assert (volume.metadata["observed"].value, volume.metadata["threshold"].value) == (27000.0, 6.0)
    assert "| S1 | 2026-03-10 |" in str(volume.metadata["worst"].value)
    assert "sold for 5.50 on 2026-03-10, usual are 2.00" in (found["usual_prices"].description or "")
    assert "50.0% nulls in list_price on 2026-03-10, usual are 0.0%" in (found["usual_shares"].description or "")


def test_the_newest_event_is_one_that_has_happened_and_an_import_counts_as_raw(lake: LakeResource) -> None:
    now = datetime(2026, 3, 12, 12, tzinfo=UTC)
    assert newest_event(lake, RAW_SALES_TRANSACTIONS, now) is None
    assert newest_raw_day(lake, now) is None
    times = [now - timedelta(hours=30), now + timedelta(minutes=5), now + timedelta(days=300)]
    rows = [
        {"kafka_topic": "t", "kafka_offset": n, "occurred_at": at, "event_date": at.date(), "ingested_at": now}
        for n, at in enumerate(times)
    ]
    rows.append({**rows[0], "kafka_offset": 9, "occurred_at": None, "event_date": now.date(), "rejection": "broken"})
    for table in (RAW_SALES_TRANSACTIONS, RAW_POS_EVENTS):
        lake.overwrite(table, blank(table, rows))
    assert newest_event(lake, RAW_POS_EVENTS, now) == times[0]
    assert newest_raw_day(lake, now) == date(2026, 3, 11)
    imported = {"business_date": date(2026, 3, 12), "business_month": date(2026, 3, 1), "imported_at": now}
    lake.overwrite(RAW_IMPORTED_SALES, blank(RAW_IMPORTED_SALES, [imported]))
    assert newest_raw_day(lake, now) == date(2026, 3, 11), "today is not over"
    assert newest_raw_day(lake, now + timedelta(days=1)) == date(2026, 3, 12)
