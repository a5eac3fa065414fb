"""Events that contracts accept and nobody can trust: kept out of the facts, kept in quarantine, and counted."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import dagster as dg
import polars as pl
import pytest
from deltalake import CommitProperties, Transaction, write_deltalake
from pyspark.sql import functions as F

from retail_assets.assets.core import core_assets
from retail_assets.assets.sources import source_specs
from retail_assets.checks.balance import balances_with_sales_lines, every_event_is_accounted_for, ledger_balances
from retail_assets.checks.contracts import contract_checks
from retail_assets.checks.statistical import little_kept_out
from retail_assets.contracts.tables import (
    CORE_DAILY_SALES,
    CORE_INVENTORY_DAILY,
    CORE_LIST_PRICES,
    CORE_QUARANTINE,
    CORE_SALES_LINES,
    RAW_INVENTORY_UPDATES,
    RAW_SALES_TRANSACTIONS,
    REFERENCE_PRODUCTS,
    REFERENCE_PROMOTIONS,
    REFERENCE_STORES,
    Table,
)
from retail_assets.contracts.types import polars_schema
from retail_assets.domain.reconciliation import MADE as DATES
from retail_assets.domain.reconciliation import SAME, UNCLEAR, compared_stretches, left_out_by_stream
from retail_assets.io_managers.delta import SparkDeltaIOManager, read_table
from retail_assets.resources.lake import LakeResource, contract_arrow
from retail_assets.resources.offsets import Progress
from retail_assets.resources.progress import TRANSACTION_APP, commit_metadata
from retail_assets.resources.spark import SparkResource
from retail_assets.runs import partition_tags
from retail_assets_tests.made_up_tables import blank
from retail_streaming.events import VERDICT
from retail_streaming.sales import baskets, revenue_hourly, sales_by_time

pytestmark = pytest.mark.integration

DAY = date(2026, 3, 10)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
MADE = (CORE_LIST_PRICES, CORE_SALES_LINES, CORE_INVENTORY_DAILY, CORE_QUARANTINE, CORE_DAILY_SALES)


def line(
    product: str = "P1", quantity: float = 2, price: float = 4, discount: float = 0, **more: Any
) -> dict[str, Any]:
    amounts = {"quantity": Decimal(f"{quantity:.3f}"), "unit_price": Decimal(f"{price:.2f}")}
    return {"line_no": 1, "product_id": product, **amounts, "discount": Decimal(f"{discount:.2f}"), **more}


class Raw:
    """Raw tables that a test fills message by message, without a broker."""

    def __init__(self, lake: LakeResource) -> None:
        self.lake = lake
        self.offsets: dict[str, int] = {}
        self.batches: dict[str, int] = {}

    def add(self, table: Table, rows: list[dict[str, Any]]) -> None:
        """Append messages in the order of their arrival."""
        first = self.offsets.get(table.name, 0)
        self.offsets[table.name] = first + len(rows)
        full = [
            {
                "kafka_topic": table.name,
                "kafka_partition": 0,
                "kafka_offset": first + number,
                "ingested_at": row["occurred_at"] + timedelta(minutes=1),
                "event_date": row["occurred_at"].date(),
                **row,
            }
            for number, row in enumerate(rows)
        ]
        batch = self.batches[table.name] = self.batches.get(table.name, 0) + 1
        progress = Progress(batch, {0: self.offsets[table.name]})
        write_deltalake(
            self.lake.local_path(table.path),
            contract_arrow(table, blank(table, full)),
            mode="append",
            partition_by=["event_date"],
            commit_properties=CommitProperties(
                custom_metadata={"userMetadata": commit_metadata(table.name, progress)},
                app_transactions=[Transaction(TRANSACTION_APP, batch)],
            ),
        )

    def baskets(self, *rows: dict[str, Any]) -> None:
        given = {"store_id": "S1", "register_id": "R1", "occurred_at": NOON, "kind": "sale", "lines": [line()]}
        self.add(RAW_SALES_TRANSACTIONS, [{**given, **row} for row in rows])

    def movements(self, *rows: dict[str, Any]) -> None:
        given = {"store_id": "S1", "product_id": "P1", "occurred_at": NOON, "movement": "sale", "on_hand_after": 0}
        self.add(RAW_INVENTORY_UPDATES, [{**given, **row} for row in rows])


@pytest.fixture
def raw(lake: LakeResource) -> Raw:
    hours = {"opens_at_hour": 8, "closes_at_hour": 20, "opened_on": date(2020, 1, 1)}
    stores = [
        {"store_id": "S1", "time_zone": "Europe/Berlin", **hours},
        {"store_id": "S2", "time_zone": "America/New_York", **hours},
        {"store_id": "S3", "time_zone": "Europe/Berlin", **hours, "opened_on": date(2026, 6, 1)},
    ]
    lake.overwrite(REFERENCE_STORES, blank(REFERENCE_STORES, stores))
    lake.overwrite(REFERENCE_PRODUCTS, blank(REFERENCE_PRODUCTS, [{"product_id": "P1", "list_price": Decimal(4)}]))
    promotion = {"store_id": "S2", "product_id": "P1", "starts_on": DAY, "ends_on": DAY, "discount_share": 0.25}
    lake.overwrite(REFERENCE_PROMOTIONS, blank(REFERENCE_PROMOTIONS, [{"promotion_id": "PR1", **promotion}]))
    return Raw(lake)


class Core:
    """The core layer with its blocking checks."""

    def __init__(self, spark: SparkResource, lake: LakeResource) -> None:
        manager = SparkDeltaIOManager(spark=spark, lake=lake)
        self.resources = {"spark": spark, "lake": lake, "lake_io_manager": manager}
        contracts = [one for one in contract_checks() if next(iter(one.check_keys)).asset_key.path[0] == "core"]
        self.checks = [*contracts, little_kept_out, every_event_is_accounted_for]
        self.checks += [balances_with_sales_lines, ledger_balances]

    def make(self, day: date, *tables: Table) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [*source_specs(), *core_assets(), *self.checks],
            selection=dg.AssetSelection.assets(*(list(table.key) for table in tables)),
            resources=self.resources,
            tags=partition_tags(day, day),
            raise_on_error=False,
        )


@pytest.fixture
def core(spark_resource: SparkResource, lake: LakeResource) -> Core:
    return Core(spark_resource, lake)


def balance(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (found,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "every_event_is_accounted_for"]
    return found


def compared_with_stream(spark: SparkResource, lake: LakeResource) -> pl.DataFrame:
    """Return store, beginning, verdict and lines in quarantine of each stretch of the day."""
    near = F.col("occurred_at").between(F.lit(NOON - timedelta(days=1)), F.lit(NOON + timedelta(days=1)))
    events = read_table(spark.spark_session, lake, RAW_SALES_TRANSACTIONS).where(near & F.col("rejection").isNull())
    counted = sales_by_time(baskets(events.withColumn(VERDICT, F.lit(None).cast("string")))).toArrow()
    instant = pl.Datetime("us", "UTC")
    stream = pl.DataFrame(revenue_hourly(counted)).select(
        "store_id", pl.col("hour_start").cast(instant), "units", "revenue", updated_at=pl.lit(NOON)
    )
    # The service began days before and goes on days after.
    around = [
        stream.unique("store_id").with_columns(
            pl.lit(when).cast(instant).alias(name) for name in ("hour_start", "updated_at")
        )
        for when in (NOON - timedelta(hours=72), NOON + timedelta(hours=48))
    ]
    facts = lake.read(CORE_SALES_LINES).group_by("store_id", "business_date", "business_hour")
    return compared_stretches(
        pl.concat([stream, *around]),
        facts.agg(pl.col("units", "revenue").sum()),
        lake.read(REFERENCE_STORES),
        pl.DataFrame([(DAY, NOON)], schema=polars_schema(DATES), orient="row"),
        lake.read(CORE_QUARANTINE).filter(pl.col("line_no") > 0),
        left_out_by_stream(pl.DataFrame(), 24),
        NOON + timedelta(hours=48),
    ).select("store_id", "begins", "verdict", "kept_out")


def test_what_nobody_can_trust_lands_in_quarantine_and_the_books_balance(
    raw: Raw, core: Core, lake: LakeResource, spark_resource: SparkResource
) -> None:
    raw.baskets(
        {"transaction_id": "good"},
        {"transaction_id": "good"},  # the same message again
        {"transaction_id": "good", "lines": [line(quantity=3)]},  # the same id, something else
        {"transaction_id": "future", "occurred_at": NOON + timedelta(days=90), "ingested_at": NOON},
        {"transaction_id": "early", "occurred_at": datetime(2005, 1, 1, tzinfo=UTC), "ingested_at": NOON},
        {"transaction_id": "closed", "store_id": "S3"},
        {"transaction_id": "dollars", "occurred_at": NOON + timedelta(hours=1), "currency": "USD"},
        {
            "transaction_id": "mixed",
            "occurred_at": NOON + timedelta(hours=2),
            "lines": [line(quantity=5000), {**line(price=99), "line_no": 2}],
        },
        {
            "transaction_id": "mixed2",
            "occurred_at": NOON + timedelta(hours=3),
            "kind": "return",
            "lines": [line(discount=9), {**line(), "line_no": 2}],
        },
        {"transaction_id": "unknown", "store_id": "S9", "lines": [line(product="P9", price=5000)]},
        {"transaction_id": "lonely", "kind": "return", "original_transaction_id": "never seen"},
        {"transaction_id": "refused", "rejection": "no reason", "lines": None},
        # 02:30 UTC of the 11th is the evening of the 10th in New York, when the promotion still runs.
        {"transaction_id": "New York", "occurred_at": datetime(2026, 3, 11, 2, 30, tzinfo=UTC), "store_id": "S2"},
        {"transaction_id": "Berlin", "lines": [line(promotion_id="PR1")]},
    )
    raw.movements(
        {"event_id": "in", "movement": "receipt", "quantity_delta": 10},
        {"event_id": "out", "quantity_delta": -2},
        {"event_id": "out", "quantity_delta": -2},
        {"event_id": "out", "quantity_delta": -3},
        {"event_id": "much", "quantity_delta": -2000},
    )
    result = core.make(DAY, *MADE)
    assert result.success, balance(result).description
    warned = [one for one in result.get_asset_check_evaluations() if not one.passed]
    assert [one.check_name for one in warned] == ["little_kept_out"]
    assert warned[0].description == (
        "8 of 14 lines of baskets are kept out: 1 conflicting_duplicate, 1 date_before_history, 1 foreign_currency, "
        "1 future_date, 1 implausible_discount, 1 implausible_price, 1 implausible_quantity, 1 store_not_open_yet"
    )

    kept_out = lake.read(CORE_QUARANTINE)
    assert set(kept_out["business_date"]) == {DAY}
    assert sorted(kept_out.select("event_id", "line_no", "reason").rows()) == [
        ("closed", 1, "store_not_open_yet"),
        ("dollars", 1, "foreign_currency"),
        ("early", 1, "date_before_history"),
        ("future", 1, "future_date"),
        ("good", 1, "conflicting_duplicate"),
        ("mixed", 1, "implausible_quantity"),
        ("mixed", 2, "implausible_price"),
        ("mixed2", 1, "implausible_discount"),
        ("much", 0, "implausible_quantity"),
        ("out", 0, "conflicting_duplicate"),
    ]
    facts = lake.read(CORE_SALES_LINES)
    assert sorted(facts.select("transaction_id", "line_no", pl.col("units").cast(pl.Float64)).rows()) == [
        ("Berlin", 1, 2.0),
        ("New York", 1, 2.0),
        ("good", 1, 2.0),
        ("lonely", 1, -2.0),
        ("mixed2", 2, -2.0),
        ("unknown", 1, 2.0),
    ]
    priced = facts.select("transaction_id", "promotion_id", "till_promotion_id", pl.col("list_price").cast(pl.Float64))
    assert sorted(priced.filter(pl.col("transaction_id").is_in(["Berlin", "New York", "unknown"])).rows()) == [
        ("Berlin", None, "PR1", 4.0),
        ("New York", "PR1", None, 4.0),
        ("unknown", None, None, None),
    ]
    assert lake.read(CORE_INVENTORY_DAILY)["closing"].cast(pl.Float64).to_list() == [8.0]
    assert balance(result).metadata["lines_of_baskets_raw"].value == "15 with 5,017.000 units"
    assert balance(result).metadata["quarantined"].value == 10

    # Facts and quarantine together are what the streaming service counts of the same baskets.
    compared = {
        (store, begins.hour): (verdict, lines)
        for store, begins, verdict, lines in compared_with_stream(spark_resource, lake).iter_rows()
    }
    assert compared.pop(("S1", 12))[0] in {SAME, UNCLEAR}, "which of two conflicting baskets it took is chance"
    assert compared == {
        ("S1", 13): (SAME, 1),
        ("S1", 14): (SAME, 2),
        ("S1", 15): (SAME, 1),
        ("S2", 2): (SAME, 0),
        ("S3", 12): (SAME, 1),
    }


def test_stock_that_comes_late_and_lies_nowhere_on_the_next_day_stops_the_day(raw: Raw, core: Core) -> None:
    raw.movements({"event_id": "M1", "quantity_delta": 5})
    assert core.make(DAY, CORE_INVENTORY_DAILY).success
    assert core.make(DAY + timedelta(days=1), CORE_INVENTORY_DAILY).success
    raw.movements({"event_id": "M2", "product_id": "P2", "movement": "receipt", "quantity_delta": 3})
    result = core.make(DAY, CORE_INVENTORY_DAILY)
    assert not result.success
    (found,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "ledger_balances"]
    assert found.description == "1 series have no row on the next day: materialize the later days too"


def test_what_comes_meanwhile_is_not_missed_and_what_is_lost_is_and_stops_the_day(
    raw: Raw, core: Core, lake: LakeResource
) -> None:
    raw.baskets({"transaction_id": "T1"}, {"transaction_id": "T2"})
    raw.movements({"event_id": "M1", "quantity_delta": 5})
    assert core.make(DAY, CORE_LIST_PRICES, CORE_SALES_LINES, CORE_INVENTORY_DAILY).success
    # The facts were made without these: a late events' run makes the day again, and this one's books close.
    raw.baskets({"transaction_id": "T3"}, {"transaction_id": "T1", "lines": [line(quantity=7)]})
    raw.movements({"event_id": "M2", "quantity_delta": 3})
    result = core.make(DAY, CORE_QUARANTINE)
    assert balance(result).passed, balance(result).description
    assert lake.read(CORE_QUARANTINE).is_empty()

    lines = lake.delta(CORE_SALES_LINES)
    assert lines is not None
    lines.delete("transaction_id = 'T2'")
    result = core.make(DAY, CORE_QUARANTINE, CORE_DAILY_SALES)
    assert not result.success
    found = balance(result).description or ""
    assert "lines of baskets: 2 with 4.000 units in raw, 1 with 2.000 units in core" in found
    assert lake.delta(CORE_DAILY_SALES) is None, "the day went on without the line"
