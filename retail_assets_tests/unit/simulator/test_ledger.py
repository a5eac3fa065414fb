"""The books balance: to the unit, in time, for every series."""

from datetime import date

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.simulator.demand import draw_demand
from retail_assets.simulator.ledger import stock_walk
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.shopping import TIME_STEP_MS, distinct_times
from retail_assets.simulator.simulation import Simulation, simulate
from retail_assets.simulator.world import build_world

SERIES = ("store_id", "product_id")


def test_opening_and_movements_give_closing_for_every_series(simulation: Simulation, movements: pl.DataFrame) -> None:
    per_series = (
        movements.sort("occurred_at")
        .group_by(SERIES)
        .agg(
            opening=pl.col("quantity_delta").first(),
            first_movement=pl.col("movement").first(),
            moved=pl.col("quantity_delta").sum(),
            closing=pl.col("on_hand_after").last(),
        )
    )
    assert per_series.height == simulation.scenario.stores * simulation.scenario.products
    assert set(per_series["first_movement"]) == {"count"}
    assert (per_series["opening"] > 0).all()
    assert (per_series["moved"] == per_series["closing"]).all()
    assert int(per_series["closing"].sum()) == int(simulation.ledger.closing.sum())


def test_every_movement_follows_from_the_one_before_it(movements: pl.DataFrame) -> None:
    in_time = movements.sort(*SERIES, "occurred_at").with_columns(
        before=pl.col("on_hand_after").shift().over(SERIES), earlier=pl.col("occurred_at").shift().over(SERIES)
    )
    later = in_time.filter(pl.col("before").is_not_null())
    assert (later["before"] + later["quantity_delta"] == later["on_hand_after"]).all()
    # Two movements of a series at the same instant would leave their order open.
    assert (later["occurred_at"] > later["earlier"]).all()


def test_stock_is_never_negative(movements: pl.DataFrame) -> None:
    assert (movements["on_hand_after"] >= 0).all()


def test_nobody_buys_more_than_was_wanted(simulation: Simulation, lines: pl.DataFrame) -> None:
    zone = simulation.scenario.time_zone
    sold = (
        lines.filter(pl.col("kind") == "sale")
        .with_columns(business_date=pl.col("occurred_at").dt.convert_time_zone(zone).dt.date())
        .group_by(*SERIES, "business_date")
        .agg(sold=pl.col("quantity").sum().cast(pl.Int64))
    )
    both = sold.join(simulation.truth, on=[*SERIES, "business_date"], how="left")
    assert both["demand"].null_count() == 0
    assert (both["sold"] <= both["demand"]).all()
    assert both["sold"].sum() < simulation.truth["demand"].sum()


def test_demand_is_lost_only_where_the_shelf_was_empty(simulation: Simulation, lines: pl.DataFrame) -> None:
    zone = simulation.scenario.time_zone
    sold = (
        lines.filter(pl.col("kind") == "sale")
        .with_columns(business_date=pl.col("occurred_at").dt.convert_time_zone(zone).dt.date())
        .group_by(*SERIES, "business_date")
        .agg(sold=pl.col("quantity").sum().cast(pl.Int64))
    )
    both = simulation.truth.join(sold, on=[*SERIES, "business_date"], how="left").sort("business_date", *SERIES)
    lost = both.with_columns(lost=pl.col("demand") - pl.col("sold").fill_null(0))
    began = draw_demand(simulation.scenario, simulation.world).starts
    carried = np.arange(simulation.scenario.days)[:, None] >= began[None, :]
    empty = simulation.ledger.ran_out[carried]
    assert lost.height == empty.size
    assert empty[(lost["lost"] > 0).to_numpy()].all()
    assert lost["lost"].sum() > 0


def test_stock_runs_out_in_the_middle_of_days(movements: pl.DataFrame) -> None:
    emptied = movements.filter((pl.col("movement") == "sale") & (pl.col("on_hand_after") == 0))
    hours = emptied["occurred_at"].dt.convert_time_zone("Europe/Berlin").dt.hour()
    assert hours.n_unique() > 8


def test_every_sold_line_moves_stock_once_at_the_same_instant(lines: pl.DataFrame, movements: pl.DataFrame) -> None:
    key = [*SERIES, "occurred_at"]
    at_till = movements.filter(pl.col("movement").is_in(["sale", "return"]))
    both = lines.join(at_till, on=key, how="full", coalesce=True)
    assert both.height == lines.height == at_till.height
    sign = pl.when(pl.col("kind") == "sale").then(-1).otherwise(1)
    assert both.select((pl.col("quantity_delta") == pl.col("quantity") * sign).all()).item()


def test_a_receipt_names_an_order_that_was_placed_before(simulation: Simulation, movements: pl.DataFrame) -> None:
    receipts = movements.filter(pl.col("movement") == "receipt")
    assert receipts.height > 100
    both = receipts.join(simulation.purchase_orders, on="purchase_order_id", how="left", suffix="_ordered")
    for column in ("store_id", "product_id", "supplier_id"):
        assert (both[column] == both[f"{column}_ordered"]).all()
    assert (both["quantity_delta"] == both["quantity"]).all()
    received = both["occurred_at"].dt.convert_time_zone("Europe/Berlin").dt.date()
    assert (received == both["received_on"]).all()
    assert (both["ordered_on"] < both["received_on"]).all()
    assert receipts["purchase_order_id"].is_unique().all()


def test_orders_are_whole_packs_and_open_ones_have_no_date_of_receipt(simulation: Simulation) -> None:
    orders = simulation.purchase_orders.join(simulation.world.products, on="product_id")
    packs = orders["quantity"].cast(pl.Int64)
    assert (packs % orders["pack_size"] == 0).all()
    assert (packs >= orders["pack_size"] * orders["minimum_order_packs"]).all()
    last = simulation.scenario.last_date
    assert orders["received_on"].drop_nulls().max() <= last  # type: ignore[operator]
    still_open = orders.filter(pl.col("received_on").is_null())
    assert 0 < still_open.height < orders.height
    received = simulation.purchase_orders.filter(pl.col("received_on").is_not_null()).height
    assert received == sum(int((day.movements.order >= 0).sum()) for day in simulation.ledger.days)


def test_only_what_spoils_is_thrown_away(simulation: Simulation, movements: pl.DataFrame) -> None:
    spoiled = movements.filter(pl.col("movement") == "spoilage").join(simulation.world.products, on="product_id")
    assert spoiled.height > 0
    assert (spoiled["shelf_life_days"] > 0).all()


def test_shelves_are_empty_on_some_days_and_not_on_most() -> None:
    simulation = simulate(Scenario(last_date=date(2026, 1, 31), stores=4, products=96, days=150))
    assert 0.03 < simulation.ledger.ran_out.mean() < 0.14


def test_a_product_that_is_launched_later_begins_with_an_opening_count() -> None:
    scenario = Scenario(last_date=date(2026, 1, 31), seed=11, stores=1, days=60)
    simulation = simulate(scenario)
    late = simulation.world.products.filter(pl.col("launched_on") > scenario.first_date)
    assert late.height > 0
    parts = [*simulation.history_batches(), simulation.today_events()]
    moved = pl.concat([part.inventory_updates for part in parts]).sort("occurred_at")
    first = moved.group_by("product_id", maintain_order=True).first().join(late, on="product_id")
    assert set(first["movement"]) == {"count"}
    assert (first["occurred_at"].dt.convert_time_zone("Europe/Berlin").dt.date() == first["launched_on"]).all()


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), max_size=60),
    st.lists(st.integers(0, 12), min_size=5, max_size=5),
)
@settings(deadline=None)
def test_the_walk_of_all_series_is_what_a_shopkeeper_would_count(
    entries: list[tuple[int, int]], on_hand: list[int]
) -> None:
    entries.sort(key=lambda entry: entry[0])
    series, change = (np.array([entry[i] for entry in entries], dtype=np.int64) for i in (0, 1))
    after, moved = stock_walk(series, change, np.array(on_hand, dtype=np.int64))
    counted = list(on_hand)
    for place, (which, wanted) in enumerate(entries):
        before = counted[which]
        counted[which] = max(0, before + wanted)
        assert (after[place], moved[place]) == (counted[which], counted[which] - before)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=60), st.integers(0, TIME_STEP_MS - 1))
@settings(deadline=None)
def test_times_are_set_apart_and_keep_their_order(entries: list[tuple[int, int]], residue: int) -> None:
    group, at = (np.array([entry[i] for entry in entries], dtype=np.int64) for i in (0, 1))
    times = distinct_times(at, group, residue)
    assert len(set(zip(group.tolist(), times.tolist(), strict=True))) == len(entries)
    assert (times % TIME_STEP_MS == residue).all()
    assert (times >= at // TIME_STEP_MS * TIME_STEP_MS).all()
    for one in set(group.tolist()):
        order = np.argsort(at[group == one], kind="stable")
        assert (np.diff(times[group == one][order]) > 0).all()
        crowd = int((group == one).sum())
        assert (times[group == one] - at[group == one] <= crowd * TIME_STEP_MS).all()


def test_demand_is_the_same_whether_or_not_a_ledger_is_kept(simulation: Simulation) -> None:
    world = build_world(simulation.scenario)
    assert simulation.truth["demand"].sum() == draw_demand(simulation.scenario, world).units.sum()
