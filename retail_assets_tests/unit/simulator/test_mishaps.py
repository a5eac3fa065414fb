"""What goes wrong on purpose shows in the events where and when its label says, and nowhere else."""

from datetime import date

import polars as pl
import pytest

from retail_assets.contracts.types import polars_schema
from retail_assets.simulator.demand.anomalies import TRUTH_ANOMALIES
from retail_assets.simulator.scenario import AnomalyRates, Scenario, StockSettings
from retail_assets.simulator.simulation import Simulation, simulate

SERIES = ("store_id", "product_id")
ZONE = "Europe/Berlin"


def shop(seed: int = 4, voids: float = 0.0, returns: float = 0.014, **rates: float) -> Simulation:
    """A small retailer of whose stores nothing else is out of the ordinary."""
    calm = StockSettings(shrinkage=0.0, counts=0.0, adjustments=0.0, voids=voids, returns=returns)
    return simulate(
        Scenario(
            last_date=date(2026, 3, 1), seed=seed, stores=3, products=40, days=90, stock=calm,
            anomalies=AnomalyRates(**rates),
        )
    )  # fmt: skip


def events(simulation: Simulation, name: str) -> pl.DataFrame:
    batches = (*simulation.history_batches(), simulation.today_events())
    frames: list[pl.DataFrame] = [getattr(batch, name) for batch in batches]
    return pl.concat(frames)


def labelled(rows: pl.DataFrame, labels: pl.DataFrame, *on: str) -> pl.Series:
    """Return whether each row lies within one of the labels, given columns that say where."""
    during = pl.col("occurred_at").is_between("starts_at", "ends_at", closed="left")
    inside = rows.with_row_index("row").join(labels.drop_nulls(on), on=on, suffix="_label").filter(during)["row"]
    return pl.Series(range(rows.height)).is_in(inside.unique().implode())


def test_labels_have_their_tables_schema_and_say_what_was_asked_for() -> None:
    simulation = shop(thefts=20.0, silent_tills=20.0)
    assert simulation.anomalies.schema == polars_schema(TRUTH_ANOMALIES.columns)
    assert set(simulation.anomalies["kind"]) == {"theft", "silent_till"}
    assert shop().anomalies.is_empty()


def test_the_tills_ask_a_wrong_price_just_where_the_label_says() -> None:
    simulation = shop(price_errors=30.0)
    lines = events(simulation, "sales_transactions").filter(pl.col("kind") == "sale").explode("lines").unnest("lines")
    lines = lines.join(simulation.world.products, on="product_id")
    wrong = lines["unit_price"] != lines["list_price"]
    assert wrong.sum() > 20
    assert (wrong == labelled(lines, simulation.anomalies, *SERIES)).all()


def test_a_silent_till_emits_nothing_at_all_and_its_customers_go_to_another() -> None:
    simulation = shop(silent_tills=60.0, voids=0.2, returns=0.3)
    sales = events(simulation, "sales_transactions")
    for emitted in (sales, events(simulation, "pos_events")):
        assert not labelled(emitted, simulation.anomalies, "register_id").any()
    # At these times, returns and voids would have come to the silent tills too, if they weren't sent elsewhere.
    in_silence = sales.filter(labelled(sales, simulation.anomalies, "store_id"))
    assert {"sale", "return", "void"} == set(in_silence["kind"])
    calm = events(shop(voids=0.2, returns=0.3), "sales_transactions")
    assert sales.filter(pl.col("kind") == "sale").height == calm.filter(pl.col("kind") == "sale").height


def test_customers_of_silences_that_overlap_go_to_a_till_that_answers_or_leave() -> None:
    simulation = shop(silent_tills=1_000.0, voids=0.2, returns=0.3)
    sales = events(simulation, "sales_transactions")
    assert not labelled(sales, simulation.anomalies, "register_id").any()
    calm = events(shop(voids=0.2, returns=0.3), "sales_transactions")
    sold, could_be_sold = (one.filter(pl.col("kind") == "sale").height for one in (sales, calm))
    assert 0.5 < sold / could_be_sold < 1, "there are times at which all tills of a store are silent"
    taken_back = sales.filter(pl.col("kind") != "sale")["original_transaction_id"]
    assert taken_back.is_in(sales["transaction_id"].implode()).all()
    lines = sales.explode("lines").unnest("lines")
    at_till = events(simulation, "inventory_updates").filter(pl.col("movement").is_in(["sale", "return"]))
    key = [*SERIES, "occurred_at"]
    assert lines.join(at_till, on=key).height == lines.height == at_till.height


def test_a_scanner_that_counts_twice_takes_from_the_books_what_is_still_there() -> None:
    simulation = shop(double_scans=60.0)
    calm = shop()
    lines, plain = (
        events(one, "sales_transactions").filter(pl.col("kind") == "sale").explode("lines").unnest("lines")
        for one in (simulation, calm)
    )
    inside = lines.filter(labelled(lines, simulation.anomalies, "register_id"))
    assert inside.height > 50
    # Until the first label, both stores are one and the same; behind it, orders follow other books.
    begins = simulation.anomalies["starts_at"].min()
    assert lines.filter(pl.col("occurred_at") < begins).equals(plain.filter(pl.col("occurred_at") < begins))
    last = (
        events(simulation, "inventory_updates")
        .sort("occurred_at")
        .group_by(SERIES)
        .agg(pl.col("on_hand_after").last())
        .join(simulation.truth.filter(pl.col("business_date") == simulation.scenario.last_date), on=SERIES)
    )
    assert (last["on_hand_after"] <= last["on_shelf"]).all()
    assert (last["on_hand_after"] < last["on_shelf"]).any()


def test_thieves_leave_no_movement_but_an_emptier_shelf() -> None:
    simulation = shop(thefts=20.0)
    moved = events(simulation, "inventory_updates").sort("occurred_at").group_by(SERIES)
    books = moved.agg(pl.col("on_hand_after").last())
    truth = simulation.truth.filter(pl.col("business_date") == simulation.scenario.last_date)
    phantom = books.join(truth, on=SERIES).filter(pl.col("on_hand_after") > pl.col("on_shelf")).select(SERIES)
    robbed = simulation.anomalies.select(SERIES).unique()
    assert phantom.height > 0
    assert phantom.join(robbed, on=SERIES, how="anti").is_empty()


def test_a_missed_delivery_is_one_suppliers_to_one_store() -> None:
    simulation = shop(missed_deliveries=30.0)
    receipts = events(simulation, "inventory_updates").filter(pl.col("movement") == "receipt")
    labels = simulation.anomalies
    assert labels.select("supplier_id", "store_id").null_count().sum_horizontal().item() == 0
    assert labels["supplier_id"].n_unique() > 1
    assert not labelled(receipts, labels, "store_id", "supplier_id").any()
    elsewhere = labelled(receipts, labels, "supplier_id").sum()
    others = labelled(receipts, labels, "store_id").sum()
    assert elsewhere > 50, "the supplier brings what other stores ordered"
    assert others > 50, "other suppliers come to the store"


def test_after_a_missed_delivery_opening_and_movements_still_give_closing() -> None:
    simulation = shop(missed_deliveries=60.0)
    orders = simulation.purchase_orders.filter(pl.col("received_on").is_null())
    assert orders.height > 20
    moved = events(simulation, "inventory_updates").sort("occurred_at").group_by(SERIES)
    books = moved.agg(
        opening=pl.col("quantity_delta").first(),
        movements=pl.col("quantity_delta").slice(1).sum(),
        closing=pl.col("on_hand_after").last(),
    )
    assert (books["opening"] + books["movements"] == books["closing"]).all()
    # Nothing is stolen or lost here: what the books say is what lies on the shelf.
    truth = simulation.truth.filter(pl.col("business_date") == simulation.scenario.last_date)
    both = books.join(truth, on=SERIES)
    assert both.height == truth.height
    assert (both["closing"] == both["on_shelf"]).all()


@pytest.mark.parametrize("seed", [1, 2])
def test_over_a_year_the_books_balance_whatever_goes_wrong(seed: int) -> None:
    often = 6.0
    scenario = Scenario(
        last_date=date(2026, 3, 1),
        seed=seed,
        stores=3,
        products=40,
        days=370,
        anomalies=AnomalyRates(
            demand_spikes=often, demand_drops=often, double_scans=often, thefts=often, price_errors=often,
            silent_tills=often, missed_deliveries=often,
        ),
    )  # fmt: skip
    simulation = simulate(scenario)
    moved = events(simulation, "inventory_updates").sort("occurred_at")
    in_time = moved.with_columns(before=pl.col("on_hand_after").shift(fill_value=0).over(SERIES))
    assert (in_time["before"] + in_time["quantity_delta"] == in_time["on_hand_after"]).all()

    lines = events(simulation, "sales_transactions").explode("lines").unnest("lines")
    by_hand = labelled(lines, simulation.anomalies.filter(pl.col("kind") == "double_scan"), "register_id")
    sold = (
        lines.filter((pl.col("kind") == "sale") & ~by_hand)
        .with_columns(business_date=pl.col("occurred_at").dt.convert_time_zone(ZONE).dt.date())
        .group_by(*SERIES, "business_date")
        .agg(sold=pl.col("quantity").sum())
        .join(simulation.truth, on=[*SERIES, "business_date"], how="left")
    )
    assert (sold["sold"] <= sold["demand"] + sold["substituted"]).all()

    back = lines.filter(pl.col("kind") == "return")
    sales = lines.filter(pl.col("kind") == "sale").select("transaction_id", "product_id", bought="quantity")
    pairs = back.join(
        sales, left_on=["original_transaction_id", "product_id"], right_on=["transaction_id", "product_id"]
    )
    assert pairs.height == back.height > 100
    assert (pairs["quantity"] <= pairs["bought"]).all()
