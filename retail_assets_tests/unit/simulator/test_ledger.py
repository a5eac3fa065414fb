"""The books balance: to the unit, in time, for every series."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.simulator.demand.model import DemandModel
from retail_assets.simulator.randomness import BLOCK_DAYS
from retail_assets.simulator.scenario import CatalogueSettings, Scenario
from retail_assets.simulator.simulation import Simulation, simulate
from retail_assets.simulator.stock.shopping import TIME_STEP_MS, distinct_times
from retail_assets.simulator.world.world import build_world

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
    assert per_series.height == simulation.truth.select(SERIES).n_unique()
    assert set(per_series["first_movement"]) == {"count"}
    assert (per_series["opening"] > 0).all()
    assert (per_series["moved"] == per_series["closing"]).all()


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


def sold_by_day(simulation: Simulation, lines: pl.DataFrame) -> pl.DataFrame:
    """Return the truth with the units that were sold of each series on each day, before returns and voids."""
    zone = simulation.scenario.time_zone
    sold = (
        lines.filter(pl.col("kind") == "sale")
        .with_columns(business_date=pl.col("occurred_at").dt.convert_time_zone(zone).dt.date())
        .group_by(*SERIES, "business_date")
        .agg(sold=pl.col("quantity").sum().cast(pl.Int64))
    )
    both = simulation.truth.join(sold, on=[*SERIES, "business_date"], how="full", coalesce=True)
    assert both["demand"].null_count() == 0, "something was sold that the store doesn't carry"
    return both.with_columns(pl.col("sold").fill_null(0))


def test_nobody_buys_more_than_was_wanted_or_taken_as_a_substitute(simulation: Simulation, lines: pl.DataFrame) -> None:
    both = sold_by_day(simulation, lines)
    assert (both["sold"] - both["substituted"] <= both["demand"]).all()
    assert (both["substituted"] <= both["sold"]).all()
    assert both["sold"].sum() < both["demand"].sum()
    assert 0 < both["substituted"].sum() < int(both["demand"].sum()) - int(both["sold"].sum())


def test_demand_is_lost_only_where_the_shelf_was_empty(simulation: Simulation, lines: pl.DataFrame) -> None:
    lost = sold_by_day(simulation, lines).filter(pl.col("sold") - pl.col("substituted") < pl.col("demand"))
    assert lost.height > 0
    assert lost["ran_out"].all()


def test_substitutes_come_from_the_same_subcategory_as_something_that_ran_out(simulation: Simulation) -> None:
    truth = simulation.truth.join(simulation.world.products.select("product_id", "subcategory"), on="product_id")
    place = ["store_id", "business_date", "subcategory"]
    taken = truth.filter(pl.col("substituted") > 0)
    short = truth.filter(pl.col("ran_out")).select(*place, other="product_id")
    pairs = taken.join(short, on=place).filter(pl.col("product_id") != pl.col("other"))
    assert pairs.select("product_id", *place).n_unique() == taken.height


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
    # A supplier may bring less than was ordered, never more, and always whole packs.
    assert (both["quantity_delta"] <= both["quantity"]).all()
    assert 0.8 < (both["quantity_delta"] == both["quantity"]).mean() < 1  # type: ignore[operator]
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


def test_a_truck_comes_below_the_suppliers_least_value_only_for_what_has_run_out(
    simulation: Simulation, movements: pl.DataFrame
) -> None:
    truck = ["store_id", "supplier_id", "ordered_on"]
    closing = (
        movements.sort("occurred_at")
        .with_columns(ordered_on=pl.col("occurred_at").dt.convert_time_zone("Europe/Berlin").dt.date())
        .select(*SERIES, "ordered_on", "on_hand_after")
    )
    trucks = (
        simulation.purchase_orders.sort("ordered_on")
        .join(simulation.world.products.select("product_id", "unit_cost"), on="product_id")
        .join(simulation.world.suppliers.select("supplier_id", "minimum_order_value"), on="supplier_id")
        .join_asof(closing, on="ordered_on", by=list(SERIES), check_sortedness=False)
        .group_by(truck)
        .agg(
            value=(pl.col("quantity").cast(pl.Float64) * pl.col("unit_cost").cast(pl.Float64)).sum(),
            least=pl.col("minimum_order_value").first().cast(pl.Float64),
            ran_out=(pl.col("on_hand_after") <= 0).any(),
        )
    )
    small = trucks.filter(pl.col("value") < pl.col("least"))
    assert 0 < small.height < trucks.height / 4
    assert small["ran_out"].all()


def test_every_order_that_was_received_has_one_receipt(simulation: Simulation, movements: pl.DataFrame) -> None:
    received = simulation.purchase_orders.filter(pl.col("received_on").is_not_null())
    receipts = movements.filter(pl.col("movement") == "receipt")
    assert sorted(received["purchase_order_id"]) == sorted(receipts["purchase_order_id"])


def test_suppliers_come_on_their_own_days(simulation: Simulation) -> None:
    orders = simulation.purchase_orders.join(simulation.world.suppliers, on="supplier_id")
    for day in ("received_on", "expected_on"):
        known = orders.filter(pl.col(day).is_not_null())
        delivers = known["delivery_weekdays"].str.split(",").list.eval(pl.element().cast(pl.Int8))
        assert known.with_columns(delivers).select(pl.col(day).dt.weekday().is_in("delivery_weekdays").all()).item()


def test_what_goes_out_to_another_store_comes_in_there(simulation: Simulation, movements: pl.DataFrame) -> None:
    day = pl.col("occurred_at").dt.convert_time_zone("Europe/Berlin").dt.date().alias("day")
    out, into = (
        movements.filter(pl.col("movement") == kind).with_columns(day).sort("day", "product_id")
        for kind in ("transfer_out", "transfer_in")
    )
    assert out.height > 0
    assert out.select("day", "product_id").equals(into.select("day", "product_id"))
    assert (out["quantity_delta"] + into["quantity_delta"] == 0).all()
    assert (out["store_id"] != into["store_id"]).all()
    assert (out["occurred_at"] < into["occurred_at"]).all()


def test_the_books_dream_of_stock_until_somebody_counts(simulation: Simulation, movements: pl.DataFrame) -> None:
    last = movements.sort("occurred_at").group_by(SERIES).agg(pl.col("on_hand_after").last())
    truth = simulation.truth.filter(pl.col("business_date") == simulation.scenario.last_date)
    both = truth.join(last, on=SERIES)
    assert both.height == truth.height
    phantom = both["on_hand_after"] - both["on_shelf"]
    assert (phantom >= 0).all()
    assert 0.02 < (phantom > 0).mean() < 0.6  # type: ignore[operator]
    counts = movements.sort("occurred_at").filter(pl.col("movement") == "count")
    corrections = counts.filter(pl.col("occurred_at") > pl.col("occurred_at").min().over(SERIES))
    assert (corrections["quantity_delta"] <= 0).all()
    assert (corrections["quantity_delta"] < 0).any()


def test_only_what_spoils_is_thrown_away(simulation: Simulation, movements: pl.DataFrame) -> None:
    spoiled = movements.filter(pl.col("movement") == "spoilage").join(simulation.world.products, on="product_id")
    assert spoiled.height > 0
    assert (spoiled["shelf_life_days"] > 0).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_shelves_are_empty_on_some_days_and_not_on_most(seed: int) -> None:
    simulation = simulate(Scenario(last_date=date(2026, 1, 31), seed=seed, stores=4, products=96, days=150))
    assert 0.03 < simulation.truth["ran_out"].mean() < 0.2  # type: ignore[operator]


def test_a_product_that_ends_is_cleared_and_never_moves_again() -> None:
    scenario = Scenario(
        last_date=date(2026, 1, 31), seed=5, stores=2, days=160, catalogue=CatalogueSettings(discontinued=0.5)
    )
    simulation = simulate(scenario)
    ended = simulation.world.products.filter(pl.col("discontinued_on") < scenario.last_date)
    assert ended.height > 0
    moved = pl.concat([part.inventory_updates for part in simulation.history_batches()]).join(ended, on="product_id")
    day = pl.col("occurred_at").dt.convert_time_zone("Europe/Berlin").dt.date()
    assert moved.filter(day > pl.col("discontinued_on") + timedelta(days=1)).height == 0
    last = moved.sort("occurred_at").group_by(SERIES).last()
    assert (last.filter(day > pl.col("discontinued_on"))["on_hand_after"] == 0).all()


def test_a_product_that_is_launched_later_begins_with_an_opening_count() -> None:
    scenario = Scenario(
        last_date=date(2026, 1, 31), seed=11, stores=1, days=60, catalogue=CatalogueSettings(launched_later=0.5)
    )
    simulation = simulate(scenario)
    launched = pl.col("launched_on")
    late = simulation.world.products.filter((launched > scenario.first_date) & (launched <= scenario.last_date))
    assert late.height > 0
    parts = [*simulation.history_batches(), simulation.today_events()]
    moved = pl.concat([part.inventory_updates for part in parts]).sort("occurred_at")
    first = moved.group_by("product_id", maintain_order=True).first().join(late, on="product_id")
    assert set(first["movement"]) == {"count"}
    assert (first["occurred_at"].dt.convert_time_zone("Europe/Berlin").dt.date() == first["launched_on"]).all()


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
    scenario = simulation.scenario
    model = DemandModel(scenario, build_world(scenario))
    days = range(scenario.days)
    wanted = sum(
        int(model.block(store, block).units[: days.stop - block * BLOCK_DAYS].sum())
        for store in range(scenario.stores)
        for block in range(-(-scenario.days // BLOCK_DAYS))
    )
    assert simulation.truth["demand"].sum() == wanted
