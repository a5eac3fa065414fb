"""Events are exactly what the contract says, and tell a story that holds together."""

from datetime import date, timedelta
from decimal import Decimal

import polars as pl

from retail_assets.contracts.events import INVENTORY_UPDATE, POS_EVENT, SALES_TRANSACTION
from retail_assets.contracts.tables import REFERENCE_PURCHASE_ORDERS
from retail_assets.contracts.types import polars_schema
from retail_assets.simulator.simulation import Simulation

SOLD_AS = ("store_id", "product_id", "unit_price", "promotion_id")


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


def test_every_return_brings_back_what_was_sold_before_at_the_same_price(lines: pl.DataFrame) -> None:
    sold = lines.filter(pl.col("kind") == "sale")
    returned = lines.filter(pl.col("kind") == "return").with_row_index()
    assert 0.005 < returned.height / sold.height < 0.02
    pairs = returned.join(sold, on=SOLD_AS, how="left", nulls_equal=True, suffix="_sold").filter(
        (pl.col("occurred_at_sold") < pl.col("occurred_at"))
        & (pl.col("occurred_at_sold") > pl.col("occurred_at") - timedelta(days=15))
        & (pl.col("quantity_sold") >= pl.col("quantity"))
    )
    assert pairs["index"].n_unique() == returned.height


def test_no_more_comes_back_than_was_sold(lines: pl.DataFrame) -> None:
    back = pl.col("kind") != "sale"
    units = lines.group_by(SOLD_AS).agg(
        sold=pl.col("quantity").filter(~back).sum(), returned=pl.col("quantity").filter(back).sum()
    )
    assert (units["returned"] <= units["sold"]).all()


def test_every_void_cancels_one_sale_at_its_till_within_minutes(baskets: pl.DataFrame) -> None:
    voids = baskets.filter(pl.col("kind") == "void").with_row_index()
    assert voids.height > 0
    sales = baskets.filter(pl.col("kind") == "sale")
    pairs = voids.join(sales, on=["store_id", "register_id", "cashier_id", "payment_method"], suffix="_sold").filter(
        (pl.col("occurred_at_sold") < pl.col("occurred_at"))
        & (pl.col("occurred_at") - pl.col("occurred_at_sold") < timedelta(minutes=3))
    )
    same = pairs.filter(
        pl.Series([a.to_list() == b.to_list() for a, b in zip(pairs["lines"], pairs["lines_sold"], strict=True)])
    )
    assert same["index"].to_list() == voids["index"].to_list()
    assert same["transaction_id_sold"].is_unique().all()


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
