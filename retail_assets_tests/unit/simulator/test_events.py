"""Events are exactly what the contract says, and tell a story that holds together."""

from datetime import date, timedelta
from decimal import Decimal

import polars as pl

from retail_assets.contracts.events import INVENTORY_UPDATE, POS_EVENT, SALES_TRANSACTION
from retail_assets.contracts.tables import REFERENCE_PURCHASE_ORDERS
from retail_assets.contracts.types import polars_schema
from retail_assets.simulator.simulation import Simulation


def test_frames_have_the_contracts_schema(simulation: Simulation) -> None:
    for batch in (*simulation.history_batches(), simulation.today_events()):
        assert batch.sales_transactions.schema == polars_schema(SALES_TRANSACTION.columns)
        assert batch.inventory_updates.schema == polars_schema(INVENTORY_UPDATE.columns)
        assert batch.pos_events.schema == polars_schema(POS_EVENT.columns)
    assert simulation.purchase_orders.schema == polars_schema(REFERENCE_PURCHASE_ORDERS.columns)


def test_required_fields_are_filled_and_enums_known(
    baskets: pl.DataFrame, movements: pl.DataFrame, till_events: pl.DataFrame
) -> None:
    for frame, schema in ((baskets, SALES_TRANSACTION), (movements, INVENTORY_UPDATE), (till_events, POS_EVENT)):
        for column in schema.columns:
            assert column.nullable or frame[column.name].null_count() == 0, column.name
            assert column.allowed is None or set(frame[column.name]) <= set(column.allowed), column.name


def test_ids_are_unique(baskets: pl.DataFrame, movements: pl.DataFrame, till_events: pl.DataFrame) -> None:
    assert baskets["transaction_id"].is_unique().all()
    assert movements["event_id"].is_unique().all()
    assert till_events["event_id"].is_unique().all()


def test_batches_cover_the_days_before_today_once(simulation: Simulation) -> None:
    days: list[date] = []
    for batch in simulation.history_batches():
        days.extend(pl.date_range(batch.first_date, batch.last_date, eager=True).to_list())
        local = batch.sales_transactions["occurred_at"].dt.convert_time_zone("Europe/Berlin").dt.date()
        assert batch.first_date <= local.min() <= local.max() <= batch.last_date  # type: ignore[operator]
        assert batch.first_date.month == batch.last_date.month
    assert days == simulation.scenario.dates[:-1]


def test_baskets_have_one_to_eight_different_products_numbered_from_one(
    baskets: pl.DataFrame, lines: pl.DataFrame
) -> None:
    sizes = baskets["lines"].list.len()
    assert (sizes.min(), sizes.max()) == (1, 8)
    assert not lines.select("transaction_id", "product_id").is_duplicated().any()
    numbers = lines.group_by("transaction_id", maintain_order=True).agg("line_no")
    assert (numbers["line_no"].list.max() == numbers["line_no"].list.len()).all()
    assert (numbers["line_no"].list.min() == 1).all()


def test_tills_serve_within_opening_hours_also_when_the_clocks_change(
    simulation: Simulation, baskets: pl.DataFrame
) -> None:
    local = baskets.join(simulation.world.stores, on="store_id").with_columns(
        hour=pl.col("occurred_at").dt.convert_time_zone("Europe/Berlin").dt.hour()
    )
    served = local.filter(pl.col("kind") != "void")
    assert (served["hour"] >= served["opens_at_hour"]).all()
    assert (served["hour"] < served["closes_at_hour"]).all()
    changed = local.filter(pl.col("occurred_at").dt.convert_time_zone("Europe/Berlin").dt.date() == date(2026, 3, 29))
    assert changed.height > 0


def test_every_returned_line_refers_to_a_sale_of_it_at_the_same_price(lines: pl.DataFrame) -> None:
    sold = lines.filter(pl.col("kind") == "sale")
    returned = lines.filter(pl.col("kind") == "return")
    assert 0.005 < returned.height / sold.height < 0.02
    pairs = returned.join(
        sold,
        left_on=["original_transaction_id", "product_id"],
        right_on=["transaction_id", "product_id"],
        suffix="_sold",
    )
    assert pairs.height == returned.height
    assert (pairs["store_id"] == pairs["store_id_sold"]).all()
    assert (pairs["unit_price"] == pairs["unit_price_sold"]).all()
    assert pairs["promotion_id"].eq_missing(pairs["promotion_id_sold"]).all()
    assert (pairs["quantity"] <= pairs["quantity_sold"]).all()
    assert (pairs["discount"] <= pairs["discount_sold"]).all()
    assert (pairs["occurred_at_sold"] < pairs["occurred_at"]).all()
    assert (pairs["occurred_at_sold"] > pairs["occurred_at"] - timedelta(days=15)).all()
    assert pairs.select("original_transaction_id", "product_id").is_unique().all()


def test_sales_refer_to_nothing_and_all_else_to_a_sale(baskets: pl.DataFrame) -> None:
    refers = baskets["original_transaction_id"].is_not_null()
    assert (refers == (baskets["kind"] != "sale")).all()
    sales = baskets.filter(pl.col("kind") == "sale")
    assert baskets["original_transaction_id"].drop_nulls().is_in(sales["transaction_id"].implode()).all()


def test_every_void_cancels_one_sale_at_its_till_within_minutes(baskets: pl.DataFrame) -> None:
    voids = baskets.filter(pl.col("kind") == "void")
    assert voids.height > 0
    sales = baskets.filter(pl.col("kind") == "sale")
    pairs = voids.join(sales, left_on="original_transaction_id", right_on="transaction_id", suffix="_sold")
    assert pairs.height == voids.height
    for field in ("store_id", "register_id", "cashier_id", "payment_method", "lines"):
        assert pairs[field].to_list() == pairs[f"{field}_sold"].to_list(), field
    assert (pairs["occurred_at_sold"] < pairs["occurred_at"]).all()
    assert (pairs["occurred_at"] - pairs["occurred_at_sold"] < timedelta(minutes=3)).all()
    assert voids["original_transaction_id"].is_unique().all()
    returned = baskets.filter(pl.col("kind") == "return")
    assert not returned["original_transaction_id"].is_in(voids["original_transaction_id"].implode()).any()


def test_discounts_are_those_of_the_promotion_that_runs(simulation: Simulation, lines: pl.DataFrame) -> None:
    plain = lines.filter(pl.col("promotion_id").is_null())
    assert (plain["discount"] == 0).all()
    promoted = lines.filter(pl.col("promotion_id").is_not_null() & (pl.col("kind") == "sale")).join(
        simulation.world.promotions, on=["promotion_id", "store_id", "product_id"], how="left"
    )
    assert promoted.height > 20
    assert promoted["starts_on"].null_count() == 0
    day = promoted["occurred_at"].dt.convert_time_zone("Europe/Berlin").dt.date()
    assert ((day >= promoted["starts_on"]) & (day <= promoted["ends_on"])).all()
    for row in promoted.head(200).iter_rows(named=True):
        exact = row["unit_price"] * row["quantity"] * Decimal(str(row["discount_share"]))
        assert abs(row["discount"] - exact) <= Decimal("0.005")


def test_lines_cost_the_list_price(simulation: Simulation, lines: pl.DataFrame) -> None:
    both = lines.join(simulation.world.products, on="product_id")
    assert (both["unit_price"] == both["list_price"]).all()
    assert (both["quantity"] > 0).all()


def test_every_till_opens_closes_and_beats_every_day(simulation: Simulation, till_events: pl.DataFrame) -> None:
    tills = till_events["register_id"].n_unique()
    kinds = till_events.group_by("kind").len()
    counts = dict(kinds.iter_rows())
    assert counts["open"] == counts["close"] == tills * simulation.scenario.days
    assert counts["heartbeat"] >= 3 * counts["open"]
    assert {"no_sale", "price_override", "scan_error"} <= set(counts)
