"""What the demo did: counted from lake, warehouse and broker, independently of the runs that did it."""

import json
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

import polars as pl

from retail_assets.contracts.tables import (
    BULK_PARTITION,
    CORE_SALES_LINES,
    FORECASTS_DEMAND_7D,
    INVENTORY_REORDER_POINTS,
    MODELS_DEMAND_FORECAST,
    RAW_DEAD_LETTERS,
    RAW_TABLES,
    REFERENCE_PRODUCTS,
    REFERENCE_STORES,
    Table,
)
from retail_assets.domain.inventory_policy import most_urgent
from retail_assets.resources.clickhouse import connect
from retail_assets.resources.lake import LakeResource
from retail_assets.settings import Settings


@dataclass(frozen=True)
class Stage:
    """One stage of the demo: what it was, how many rows it made, how long it took."""

    name: str
    rows: int
    seconds: float


@dataclass
class DemoReport:
    """The numbers of `var/reports/demo.json`."""

    stages: list[Stage] = field(default_factory=list)
    events_produced: int = 0
    events_in_raw: int = 0
    dead_letters: int = 0
    sales_lines_in_core: int = 0
    core_units: float = 0.0
    fact_sales_units: float = 0.0
    series: int = 0
    forecast_rows: int = 0
    reorder_rows: int = 0
    wape: float = 0.0
    wape_seasonal_naive: float = 0.0
    wape_vs_seasonal_naive: float = 0.0
    seconds_total: float = 0.0
    last_date: str = ""
    seed: int = 0

    def imbalances(self, horizon_days: int) -> list[str]:
        """Return the books that don't balance, each as a sentence; none when all is well."""
        pairs = [
            (
                "events produced",
                self.events_produced,
                "events in raw + dead letters",
                self.events_in_raw + self.dead_letters,
            ),
            ("units in core", self.core_units, "units in fact_sales", self.fact_sales_units),
            ("forecast rows", self.forecast_rows, f"series x {horizon_days}", self.series * horizon_days),
            ("reorder rows", self.reorder_rows, "series", self.series),
        ]
        return [f"{left} is {a:,}, but {right} is {b:,}" for left, a, right, b in pairs if a != b]

    def write(self, path: Path) -> None:
        """Write the report as JSON, all or nothing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        draft.replace(path)


def count(settings: Settings, lake: LakeResource, last_date: date, report: DemoReport) -> None:
    """Fill in the report's counts from what lies in the lake and in the warehouse."""
    from_kafka = pl.col("kafka_partition") != BULK_PARTITION
    report.events_in_raw = sum(
        _scan(lake, table).filter(from_kafka & pl.col("rejection").is_null()).select(pl.len()).collect().item()
        for table in RAW_TABLES
    )
    report.dead_letters = _scan(lake, RAW_DEAD_LETTERS).select(pl.len()).collect().item()
    lines = _scan(lake, CORE_SALES_LINES).select(pl.len().alias("lines"), pl.col("units").sum()).collect()
    report.sales_lines_in_core = lines["lines"].item()
    report.core_units = float(lines["units"].item() or 0)
    client = connect(settings)
    try:
        report.fact_sales_units = float(client.query("SELECT sum(units) FROM fact_sales").result_rows[0][0])
    finally:
        client.close()
    run = pl.col("run_date") == last_date
    forecasts = _scan(lake, FORECASTS_DEMAND_7D).filter(run)
    report.forecast_rows = forecasts.select(pl.len()).collect().item()
    report.series = forecasts.select(pl.struct("store_id", "product_id").n_unique()).collect().item()
    report.reorder_rows = _scan(lake, INVENTORY_REORDER_POINTS).filter(run).select(pl.len()).collect().item()
    model = lake.read(MODELS_DEMAND_FORECAST, columns=["wape", "wape_seasonal_naive"])
    report.wape, report.wape_seasonal_naive = model["wape"].item(), model["wape_seasonal_naive"].item()
    report.wape_vs_seasonal_naive = report.wape / report.wape_seasonal_naive


def urgent_reorders(lake: LakeResource, last_date: date, n: int = 10) -> pl.DataFrame:
    """Return the most urgent orders to place, with the names that people use: store, product, risk, reason."""
    stores = lake.read(REFERENCE_STORES, columns=["store_id", "name"]).rename({"name": "store"})
    products = lake.read(REFERENCE_PRODUCTS, columns=["product_id", "name"]).rename({"name": "product"})
    return (
        most_urgent(lake.read(INVENTORY_REORDER_POINTS, on=last_date).filter(pl.col("order_quantity") > 0), n)
        .join(stores, on="store_id", how="left", maintain_order="left")
        .join(products, on="product_id", how="left", maintain_order="left")
        .select(pl.coalesce("store", "store_id"), pl.coalesce("product", "product_id"), "stockout_risk", "reason")
    )


def _scan(lake: LakeResource, table: Table) -> pl.LazyFrame:
    delta = lake.delta(table)
    if delta is None:
        return pl.DataFrame(schema=dict.fromkeys(table.column_names, pl.Null)).lazy()
    return pl.scan_delta(delta)
