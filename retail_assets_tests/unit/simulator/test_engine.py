"""The result is the same, byte for byte, whoever does the work, however much at a time, and with breaks in between."""

import gc
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.contracts.topics import EVENT_TOPICS
from retail_assets.simulator import engine
from retail_assets.simulator.clusters import clusters_of
from retail_assets.simulator.demand.model import DemandModel
from retail_assets.simulator.engine import Engine, EngineError, Feed, Part, Stretch
from retail_assets.simulator.scenario import AnomalyRates, DemandSettings, Scenario
from retail_assets.simulator.simulation import Simulation, simulate
from retail_assets.simulator.stock.daybook import DayBook
from retail_assets.simulator.stock.stock_state import StateError, StockState
from retail_assets.simulator.world.world import build_world

FIRST = date(2025, 12, 20)


def shop(days: int, seed: int = 7) -> Scenario:
    """Two clusters; each week something goes wrong, and clocks, months and blocks of days change underway."""
    often = 12.0
    return Scenario(
        last_date=FIRST + timedelta(days=days - 1),
        seed=seed,
        stores=4,
        products=4_000,
        days=days,
        demand=DemandSettings(mean_units_per_day=0.15),
        anomalies=AnomalyRates(
            double_scans=often, thefts=often, price_errors=often, silent_tills=often, missed_deliveries=often
        ),
    )


def rows(parts: Iterable[Part]) -> dict[Feed, pl.DataFrame]:
    """Return all rows of each feed, in the order in which they came."""
    frames: dict[Feed, list[pl.DataFrame]] = {}
    for part in parts:
        for feed, frame in part.frames.items():
            frames.setdefault(feed, []).append(frame)
    return {feed: pl.concat(of_feed) for feed, of_feed in frames.items()}


@pytest.fixture(scope="module")
def long() -> Simulation:
    return simulate(shop(40))


@pytest.fixture(scope="module")
def history(long: Simulation) -> dict[Feed, pl.DataFrame]:
    return rows(long.feeds())


def test_the_scenario_has_several_clusters_and_the_split_does_not_depend_on_days() -> None:
    assert len(clusters_of(shop(40))) == 2
    assert clusters_of(shop(40)) == clusters_of(shop(400))


@given(st.integers(1, 999), st.integers(1, 9_999))
def test_every_store_is_in_one_cluster_and_has_a_neighbour_there(stores: int, products: int) -> None:
    clusters = clusters_of(Scenario(last_date=FIRST, stores=stores, products=products))
    assert [store for cluster in clusters for store in cluster.store_numbers] == list(range(stores))
    assert stores == 1 or all(cluster.stores > 1 for cluster in clusters)


def test_two_processes_make_the_rows_of_one(long: Simulation, history: dict[Feed, pl.DataFrame]) -> None:
    apart = Simulation(long.scenario, workers=2)
    found = rows(apart.feeds())
    assert all(found[feed].equals(history[feed]) for feed in Feed)
    assert apart.today_events().inventory_updates.equals(long.today_events().inventory_updates)


@pytest.mark.parametrize("days", [1, 5, 28])
def test_the_rows_do_not_depend_on_how_many_days_are_made_at_a_time(
    long: Simulation, history: dict[Feed, pl.DataFrame], monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    monkeypatch.setattr(engine, "_DAYS_AT_A_TIME", days)
    found = rows(long.feeds())
    assert all(found[feed].equals(history[feed]) for feed in Feed)


def in_date_order(rows: pl.DataFrame, id_field: str) -> pl.DataFrame:
    """Sort by business date, then id, and so by store and time."""
    return rows.sort(pl.col(id_field).str.extract(r"-(\d{8})-"), id_field)


def test_months_and_single_days_are_the_events_of_the_history_by_business_date_and_store(
    long: Simulation, history: dict[Feed, pl.DataFrame]
) -> None:
    batches = list(long.history_batches())
    ids = {Feed.SALES: "transaction_id", Feed.INVENTORY: "event_id", Feed.POS: "event_id"}
    for topic in EVENT_TOPICS:
        months = pl.concat([batch.events(topic) for batch in batches])
        feed = Feed(topic.name)
        assert months.equals(in_date_order(history[feed], ids[feed]))
    on = FIRST + timedelta(days=33)
    that_day = history[Feed.INVENTORY].filter(pl.col("event_id").str.contains(f"-{on:%Y%m%d}-"))
    for _ in range(2):
        assert long.day_events(on).inventory_updates.equals(that_day.sort("event_id"))
        long.day_events(FIRST)  # backwards, and forwards again


def test_more_days_leave_the_earlier_ones_as_they_were(history: dict[Feed, pl.DataFrame]) -> None:
    longer = rows(simulate(shop(47)).feeds())
    for feed in (Feed.SALES, Feed.INVENTORY, Feed.POS, Feed.TRUTH):
        key = history[feed].columns[:3] if feed is Feed.TRUTH else history[feed].columns[:1]
        shared = longer[feed].join(history[feed].select(key), on=key, how="semi", maintain_order="left")
        assert shared.sort(key).equals(history[feed].sort(key)), feed
    # What was on its way on the last date has been received since, where it came at all.
    placed = history[Feed.ORDERS].join(longer[Feed.ORDERS], on="purchase_order_id", suffix="_later")
    assert placed.height == history[Feed.ORDERS].height
    known = placed.filter(pl.col("received_on").is_not_null())
    assert (known["received_on"] == known["received_on_later"]).all()


@pytest.mark.parametrize("days", [12, 28, 35])
def test_going_on_from_a_saved_state_equals_one_long_run(
    tmp_path: Path, long: Simulation, history: dict[Feed, pl.DataFrame], days: int
) -> None:
    saved = tmp_path / "state.npz"
    # The state is that before the last date.
    simulate(shop(days + 1)).save_state(saved)
    later = simulate(long.scenario, state=saved)
    found = rows(later.feeds())
    for feed in Feed:
        assert 0 < found[feed].height < history[feed].height
        key = found[feed].columns[:3] if feed is Feed.TRUTH else found[feed].columns[:1]
        expected = history[feed].join(found[feed].select(key), on=key, how="semi")
        assert found[feed].sort(key).equals(expected.sort(key)), feed
        earlier = rows(simulate(shop(days)).feeds())[feed].height if feed is Feed.TRUTH else 0
        assert feed is not Feed.TRUTH or earlier + found[feed].height == history[feed].height
    assert later.today_events().sales_transactions.equals(long.today_events().sales_transactions)
    with pytest.raises(ValueError, match=f"the simulation has {FIRST + timedelta(days=days)} to"):
        later.day_events(FIRST)


def test_a_day_is_the_same_with_a_state_and_without_and_whichever_days_were_asked_for_before(
    tmp_path: Path, long: Simulation
) -> None:
    saved = [tmp_path / "saved.npz", tmp_path / "after_history.npz", tmp_path / "gone_on.npz"]
    simulate(shop(20)).save_state(saved[0])
    written = simulate(shop(20), workers=2)
    rows(written.feeds())
    written.save_state(saved[1])
    simulate(shop(20), state=saved[0]).save_state(saved[2])
    last = FIRST + timedelta(days=19)
    before = [last - timedelta(days=number) for number in range(19, 0, -1)]
    for path in saved:
        gone_on = simulate(shop(20), state=path)
        assert list(gone_on.approach(last)) == []
        assert gone_on.today_events().sales_transactions.equals(long.day_events(last).sales_transactions)
    stepwise = simulate(shop(20))
    assert list(stepwise.approach(last)) == before
    for _ in range(2):
        assert stepwise.day_events(last).inventory_updates.equals(long.day_events(last).inventory_updates)
        assert list(stepwise.approach(last)) == []


def test_a_state_of_another_scenario_or_time_is_refused(tmp_path: Path) -> None:
    saved = tmp_path / "state.npz"
    simulate(shop(5)).save_state(saved)
    with pytest.raises(StateError, match="a state goes with its own scenario"):
        simulate(shop(10, seed=8), state=saved)
    with pytest.raises(StateError, match="goes on after 4 days, but the scenario has no more than 4"):
        simulate(shop(4), state=saved)
    whole = saved.read_bytes()
    middle = whole.index(b"0/on_hand.npy") + 200
    entry = whole.rindex(b"PK\x01\x02")
    encrypted, wrong_method = entry + 8, entry + 10
    damaged = [
        *(whole[:end] for end in range(0, len(whole), len(whole) // 20)),
        *(whole[:at] + bytes([whole[at] ^ 0xFF]) * 50 + whole[at + 50 :] for at in (middle, middle + 400)),
        whole[:encrypted] + bytes([whole[encrypted] ^ 1]) + whole[encrypted + 1 :],
        whole[:wrong_method] + b"\x7f" + whole[wrong_method + 1 :],
    ]
    for content in damaged:
        saved.write_bytes(content)
        with pytest.raises(StateError, match="holds no saved state"):
            simulate(shop(10), state=saved)
    with pytest.raises(StateError, match="holds no saved state"):
        simulate(shop(10), state=tmp_path / "nowhere.npz")


def test_what_is_held_does_not_grow_with_the_days() -> None:
    scenario = Scenario(last_date=FIRST, stores=1, products=30, days=448, anomalies=AnomalyRates(thefts=12.0))
    world = build_world(scenario)
    course = Engine(scenario, world, DemandModel(scenario, world))
    before = rows_held([])
    stretches = [Stretch(day, day + 14, tuple(Feed), keep_state=True) for day in range(0, scenario.days, 14)]
    held = [rows_held(part.states) - before for part in course.run(stretches)]
    # The first quarter fills what looks back: 90 days of sales, orders and returns on their way, caches of blocks.
    quarter = len(held) // 4
    assert max(held[-quarter:]) < 1.25 * max(held[quarter : 2 * quarter])


def rows_held(states: list[StockState]) -> int:
    """Return the rows of all frames and books that are alive, and of the states."""
    gc.collect()
    alive = gc.get_objects()
    frames = sum(thing.height for thing in alive if isinstance(thing, pl.DataFrame))
    books = sum(thing.movements.series.size for thing in alive if isinstance(thing, DayBook))
    return frames + books + sum(state.in_transit.series.size + state.coming_back.series.size for state in states)


def test_days_out_of_turn_are_refused(long: Simulation) -> None:
    course = Engine(long.scenario, long.world, long.demand)
    with pytest.raises(ValueError, match="day 0 comes next"):
        next(course.run([Stretch(3, 4, ())]))
    with pytest.raises(ValueError, match="can't be simulated: the simulation has"):
        long.day_events(FIRST - timedelta(days=1))


def test_an_engine_whose_processes_have_ended_does_not_begin_again_unnoticed(long: Simulation) -> None:
    course = Engine(long.scenario, long.world, long.demand)
    list(course.run([Stretch(0, 2, ())], workers=2))
    with pytest.raises(ValueError, match="the cluster's state is that before day 0"):
        next(course.run([Stretch(2, 3, ())]))


def test_a_process_that_fails_says_why(long: Simulation) -> None:
    course = Engine(long.scenario, long.world, long.demand)
    # Nothing can be made of a feed that doesn't exist, in whichever process.
    with pytest.raises(EngineError, match="failed:"):
        list(course.run([Stretch(0, 1, ("no such feed",))], workers=2))  # type: ignore[arg-type]


def test_a_process_that_is_killed_is_noticed(long: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = engine._take

    def kill_first(results: object, process: object) -> Part:
        process.kill()  # type: ignore[attr-defined]
        return taken(results, process)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "_take", kill_first)
    with pytest.raises(EngineError, match="died with exit code -9"):
        list(Engine(long.scenario, long.world, long.demand).run([Stretch(0, 2, ())], workers=2))


@given(seed=st.integers(0, 2**32), stores=st.integers(1, 3), products=st.integers(1, 30), days=st.integers(2, 35))
@settings(deadline=None, max_examples=15)
def test_any_small_retailer_keeps_its_books(seed: int, stores: int, products: int, days: int) -> None:
    often = 50.0
    scenario = Scenario(
        last_date=FIRST,
        seed=seed,
        stores=stores,
        products=products,
        days=days,
        anomalies=AnomalyRates(
            double_scans=often, thefts=often, price_errors=often, silent_tills=often, missed_deliveries=often
        ),
    )
    found = rows(simulate(scenario).feeds())
    moves = found[Feed.INVENTORY].sort("occurred_at")
    by_series = moves.group_by("store_id", "product_id", maintain_order=True)
    closed = by_series.agg(pl.col("quantity_delta").sum(), pl.col("on_hand_after").last())
    assert (closed["quantity_delta"] == closed["on_hand_after"]).all()
    truth = found[Feed.TRUTH]
    assert (truth["on_shelf"] >= 0).all()
    assert found[Feed.SALES]["transaction_id"].is_unique().all()
    assert found[Feed.ORDERS]["purchase_order_id"].is_unique().all()
