"""What is read from a lake: days of series, promotions and empty shelves, on lakes written by hand."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_assets.contracts.tables import REFERENCE_PROMOTIONS
from retail_assets.simulator.realism import observation
from retail_assets.simulator.realism.observation import Observation, ObservationError, observe
from retail_assets.simulator.realism.store_days import StoreDays, days_by_store
from retail_assets_tests.unit.simulator.lake_of_events import BERLIN, HandMadeLake, at

MONDAY = date(2026, 3, 2)
Look = Callable[[], Observation]


@pytest.fixture
def lake(tmp_path: Path) -> HandMadeLake:
    made = HandMadeLake(tmp_path / "lake")
    made.store()
    made.product()
    return made


@pytest.fixture
def look(lake: HandMadeLake, tmp_path: Path) -> Look:
    """Write the lake and observe it."""

    def write_and_observe() -> Observation:
        folder = tmp_path / "kept"
        folder.mkdir(exist_ok=True)
        return observe(lake.write(), folder)

    return write_and_observe


def only(seen: Observation) -> StoreDays:
    (store,) = days_by_store(seen)
    return store


def column(seen: Observation, name: str, product_id: str = "P1") -> dict[date, object]:
    """Return one column of the only store's days, by date."""
    days = only(seen).days.filter(pl.col("product_id") == product_id).sort("date")
    return dict(days.select("date", name).iter_rows())


def days_after(count: int) -> list[date]:
    return [MONDAY + timedelta(days=day) for day in range(count)]


def test_units_are_net_of_voids_and_returns_are_not_taken_off(lake: HandMadeLake, look: Look) -> None:
    lake.basket(at("2026-03-02 10:00"), ("P1", 5), ("P1", 2))
    lake.basket(at("2026-03-02 10:01"), ("P1", 2), kind="void")
    lake.basket(at("2026-03-02 16:00"), ("P1", 3), kind="return")
    seen = look()
    assert column(seen, "units") == {MONDAY: 5.0}
    assert seen.counts == {
        "transactions": 3,
        "sale_lines": 2,
        "inventory_updates": 0,
        "units_sold": 5,
        "units_voided": 2,
        "units_returned": 3,
        "unknown": 0,
    }


def test_repeated_and_refused_messages_count_once_and_not_at_all(lake: HandMadeLake, look: Look) -> None:
    for _ in range(3):
        lake.basket(at("2026-03-02 10:00"), ("P1", 4), transaction_id="T-again")
        lake.move(at("2026-03-02 10:00"), 6, event_id="I-again")
    lake.basket(at("2026-03-02 11:00"), ("P1", 100), rejection="a broken line")
    seen = look()
    assert column(seen, "units") == {MONDAY: 4.0}
    assert (seen.counts["transactions"], seen.counts["inventory_updates"]) == (1, 1)


def test_what_the_reference_tables_do_not_know_is_counted_and_left_out(lake: HandMadeLake, look: Look) -> None:
    lake.basket(at("2026-03-02 10:00"), ("P1", 4), ("P9", 1))
    lake.move(at("2026-03-02 10:00"), 6, store_id="S9")
    seen = look()
    assert seen.counts["unknown"] == 2
    assert column(seen, "units") == {MONDAY: 4.0}


def test_a_sale_belongs_to_the_date_and_hour_of_its_stores_clock(lake: HandMadeLake, look: Look) -> None:
    lake.store("S2", zone="America/New_York")
    instant = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
    lake.basket(instant, ("P1", 1))
    lake.basket(instant, ("P1", 1), store_id="S2")
    seen = look()
    berlin, york = days_by_store(seen)
    assert berlin.days["date"].to_list() == [date(2026, 3, 3)]
    assert york.days.filter(pl.col("units") > 0)["date"].to_list() == [MONDAY]
    assert seen.by_hour.select("store_id", "weekday", "hour", "units").rows() == [("S1", 2, 0, 1.0), ("S2", 1, 18, 1.0)]


def test_days_without_a_sale_are_zeros_from_the_first_sale_or_movement_to_the_last_date(
    lake: HandMadeLake, look: Look
) -> None:
    lake.product("P2")
    lake.product("P3")
    lake.basket(at("2026-03-02 10:00"), ("P1", 1))
    lake.move(at("2026-03-04 04:00"), 12, product_id="P2")
    lake.basket(at("2026-03-05 10:00"), ("P2", 2))
    lake.basket(at("2026-03-06 10:00"), ("P1", 3))
    seen = look()
    assert list(column(seen, "units").values()) == [1.0, 0.0, 0.0, 0.0, 3.0]
    assert column(seen, "units", "P2") == dict(zip(days_after(5)[2:], [0.0, 2.0, 0.0], strict=True))
    # Nobody ever stocked it.
    assert column(seen, "units", "P3") == {}


def test_a_series_ends_with_its_last_day_in_the_catalogue_or_its_last_sale(lake: HandMadeLake, look: Look) -> None:
    lake.product("P2", discontinued_on=MONDAY + timedelta(days=2))
    lake.product("P3", discontinued_on=MONDAY + timedelta(days=2))
    for product_id, day in (("P1", 0), ("P2", 0), ("P3", 0), ("P3", 3), ("P1", 6)):
        lake.basket(at(f"2026-03-0{2 + day} 10:00"), (product_id, 1))
    seen = look()
    assert list(column(seen, "units", "P1")) == days_after(7)
    assert list(column(seen, "units", "P2")) == days_after(3)
    assert list(column(seen, "units", "P3")) == days_after(4)


def test_a_void_after_midnight_leaves_no_day_below_zero(lake: HandMadeLake, look: Look) -> None:
    lake.basket(at("2026-03-02 19:59"), ("P1", 1))
    lake.basket(at("2026-03-03 00:01"), ("P1", 1), kind="void")
    assert column(look(), "units") == dict(zip(days_after(2), [1.0, 0.0], strict=True))


def test_promoted_days_go_from_the_first_to_the_last_inclusive(lake: HandMadeLake, look: Look) -> None:
    lake.basket(at("2026-03-02 10:00"), ("P1", 1))
    lake.basket(at("2026-03-08 10:00"), ("P1", 1))
    lake.promotion(date(2026, 2, 23), MONDAY)
    lake.promotion(MONDAY + timedelta(days=3), MONDAY + timedelta(days=4))
    lake.promotion(MONDAY + timedelta(days=4), MONDAY + timedelta(days=4))
    lake.promotion(MONDAY, MONDAY + timedelta(days=6), store_id="S9")
    assert list(column(look(), "on_promotion").values()) == [True, False, False, True, True, False, False]


@pytest.mark.parametrize(
    ("empty_from", "filled_at", "expected"),
    [
        ("2026-03-02 15:00", "2026-03-02 15:01", [True, False, False]),
        ("2026-03-02 15:00", "2026-03-04 04:00", [True, True, False]),
        ("2026-03-02 20:00", "2026-03-03 08:00", [False, False, False]),
        ("2026-03-02 19:59", "2026-03-03 08:01", [True, True, False]),
        ("2026-03-03 03:00", None, [False, True, True]),
    ],
    ids=["a minute", "over night", "while closed", "a minute each", "to the end"],
)
def test_a_day_counts_where_the_shelf_is_empty_at_some_time_of_trade(
    lake: HandMadeLake, look: Look, empty_from: str, filled_at: str | None, expected: list[bool]
) -> None:
    for day in range(3):
        lake.basket(at(f"2026-03-0{2 + day} 09:00"), ("P1", 1))
    lake.move(at("2026-03-02 04:00"), 8)
    lake.move(at(empty_from), 0)
    if filled_at is not None:
        lake.move(at(filled_at), 12)
    assert list(column(look(), "stocked_out").values()) == expected


def test_a_shelf_is_unknown_before_its_first_movement(lake: HandMadeLake, look: Look) -> None:
    lake.product("P2")
    for day in range(3):
        lake.basket(at(f"2026-03-0{2 + day} 09:00"), ("P1", 1), ("P2", 1))
    lake.move(at("2026-03-03 12:00"), 0)
    seen = look()
    assert list(column(seen, "stocked_out").values()) == [None, True, True]
    assert list(column(seen, "stocked_out", "P2").values()) == [None, None, None]
    assert list(column(seen, "empty_hours").values()) == [None, 8.0, 12.0]
    assert only(seen).clock["series_days"].unique().to_list() == [2]


def test_an_empty_shelf_is_carried_over_stretches_and_months(
    lake: HandMadeLake, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observation, "STRETCH_ROWS", 1)
    lake.product("P2")
    for day in (MONDAY, date(2026, 4, 20)):
        lake.basket(at(f"{day} 09:00"), ("P2", 1))
    lake.move(at("2026-03-30 10:00"), 3)
    lake.move(at("2026-03-30 12:00"), 0)
    lake.move(at("2026-04-02 12:00"), 0)
    lake.move(at("2026-04-03 06:00"), 24)
    found = column(look(), "stocked_out")
    assert [day for day, empty in found.items() if empty] == [date(2026, 3, 30) + timedelta(days=n) for n in range(4)]


def test_the_order_of_one_instants_movements_is_that_of_their_messages(lake: HandMadeLake, look: Look) -> None:
    lake.basket(at("2026-03-02 09:00"), ("P1", 1))
    for on_hand in (2, 1, 0, 5):
        lake.move(at("2026-03-02 12:00"), on_hand)
    seen = look()
    assert list(column(seen, "stocked_out").values()) == [False]
    # Messages can come late; their own time counts.
    lake.move(at("2026-03-02 11:00"), 0)
    assert list(column(look(), "stocked_out").values()) == [True]


def test_the_clock_counts_empty_shelves_at_every_full_hour_from_opening_to_closing(
    lake: HandMadeLake, look: Look
) -> None:
    lake.product("P2")
    for product_id in ("P1", "P2"):
        lake.basket(at("2026-03-02 09:00"), (product_id, 1))
        lake.basket(at("2026-03-03 09:00"), (product_id, 1))
    lake.move(at("2026-03-02 11:30"), 0)
    lake.move(at("2026-03-02 16:00"), 0, product_id="P2")
    lake.move(at("2026-03-03 04:00"), 9)
    lake.move(at("2026-03-03 10:00"), 9, product_id="P2")
    clock = only(look()).clock
    assert clock["hour"].to_list() == list(range(8, 21))
    assert clock["series_days"].unique().to_list() == [4]
    assert dict(clock.select("hour", "empty").iter_rows()) == {
        8: 1, 9: 1, 10: 0, 11: 0, 12: 1, 13: 1, 14: 1, 15: 1, 16: 2, 17: 2, 18: 2, 19: 2, 20: 2
    }  # fmt: skip
    assert clock.filter("opening")["hour"].to_list() == [8]
    assert clock.filter("closing")["hour"].to_list() == [20]


def test_the_clock_is_the_stores_own_when_it_changes(lake: HandMadeLake, look: Look) -> None:
    for day in ("2026-03-28", "2026-03-29", "2026-03-30"):
        lake.basket(at(f"{day} 09:00"), ("P1", 1))
        lake.move(at(f"{day} 06:00"), 5)
        lake.move(at(f"{day} 18:00"), 0)
    clock = only(look()).clock
    assert dict(clock.select("hour", "empty").iter_rows()) == {h: 3 if h >= 18 else 0 for h in range(8, 21)}


def test_a_store_may_trade_until_midnight(lake: HandMadeLake, look: Look) -> None:
    lake.stores.clear()
    lake.store(opens=0, closes=24)
    lake.basket(at("2026-03-02 09:00"), ("P1", 1))
    lake.move(at("2026-03-02 23:59"), 0)
    seen = look()
    assert list(column(seen, "stocked_out").values()) == [True]
    assert only(seen).clock["hour"].to_list() == list(range(25))


def test_where_trade_never_ends_a_series_that_has_ended_is_not_counted_on_the_next_day(
    lake: HandMadeLake, look: Look
) -> None:
    lake.stores.clear()
    lake.store(opens=0, closes=24)
    lake.product("P2", discontinued_on=MONDAY)
    lake.basket(at("2026-03-02 09:00"), ("P1", 1), ("P2", 1))
    lake.basket(at("2026-03-03 09:00"), ("P1", 1))
    lake.move(at("2026-03-02 00:00"), 9)
    lake.move(at("2026-03-02 20:30"), 0, product_id="P2")
    clock = only(look()).clock.filter(pl.col("empty") > 0)
    assert clock.select("hour", "empty", "closing").rows() == [(h, 1, h == 24) for h in range(21, 25)]


def test_a_stretch_ends_with_its_month_or_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation, "STRETCH_ROWS", 100)
    dates = [date(2026, 1, day) for day in (28, 29, 30, 31)] + [date(2026, 2, day) for day in (1, 2, 5)]
    cut = observation._cut(dates, [40, 60, 10, 20, 300, 10, 90])
    assert [(first.day, last.day) for first, last in cut] == [(28, 29), (30, 31), (1, 1), (2, 5)]


def test_the_stretches_do_not_matter(tmp_path: Path, lake: HandMadeLake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.store("S2", zone="America/New_York", opens=6, closes=23)
    lake.product("P2")
    for hour in range(900):
        when = datetime(2026, 2, 20, 5, tzinfo=UTC) + timedelta(hours=hour)
        store_id, product_id = ("S1", "S2")[hour % 2], ("P1", "P2")[hour % 3 == 0]
        lake.basket(when, (product_id, 1 + hour % 4), store_id=store_id)
        lake.move(when, (hour * 7) % 5, store_id=store_id, product_id=product_id)
    uri = lake.write()
    seen = []
    for rows in (1, 100, 1_000_000):
        monkeypatch.setattr(observation, "STRETCH_ROWS", rows)
        folder = tmp_path / str(rows)
        folder.mkdir()
        seen.append(observe(uri, folder))
    for other in seen[1:]:
        assert other.counts == seen[0].counts
        assert_frame_equal(other.by_hour, seen[0].by_hour)
        for one, another in zip(days_by_store(seen[0]), days_by_store(other), strict=True):
            assert_frame_equal(one.days, another.days, check_row_order=False)
            assert_frame_equal(one.clock, another.clock)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 4 * 24 * 6), st.integers(0, 2)),
        min_size=1,
        max_size=12,
        unique_by=lambda step: step[0],
    )
)
def test_empty_days_are_those_that_a_walk_minute_by_minute_finds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("walk")
    lake = HandMadeLake(folder / "lake")
    lake.store()
    lake.product()
    midnight = at("2026-03-02 00:00")
    lake.move(midnight - timedelta(days=1), 1)
    moves = {midnight + timedelta(minutes=10 * tenth): on_hand for tenth, on_hand in steps}
    for when, on_hand in moves.items():
        lake.move(when, on_hand)
    for day in range(4):
        lake.basket(at(f"2026-03-0{2 + day} 09:00"), ("P1", 1))
    (folder / "kept").mkdir()
    seen = observe(lake.write(), folder / "kept")

    walked = dict.fromkeys(column(seen, "stocked_out"), 0)
    on_hand = 1
    for tenth in range(4 * 24 * 6):
        when = midnight + timedelta(minutes=10 * tenth)
        on_hand = moves.get(when, on_hand)
        local = when.astimezone(BERLIN)
        if on_hand == 0 and 8 <= local.hour < 20:
            walked[local.date()] += 1
    assert column(seen, "stocked_out") == {day: tenths > 0 for day, tenths in walked.items()}
    assert column(seen, "empty_hours") == pytest.approx({day: tenths / 6 for day, tenths in walked.items()})
    assert set(column(seen, "open_hours").values()) == {12.0}


def test_stock_of_one_series_is_read_in_order(lake: HandMadeLake, look: Look) -> None:
    lake.product("P2")
    lake.basket(at("2026-03-02 09:00"), ("P1", 1))
    lake.move(at("2026-03-03 09:00"), 4)
    lake.move(at("2026-03-02 09:00"), 5)
    lake.move(at("2026-03-02 09:00"), 5, product_id="P2")
    lake.move(at("2026-03-09 09:00"), 3)
    found = look().on_hand("S1", "P1", MONDAY, MONDAY + timedelta(days=2))
    assert found["on_hand"].to_list() == [5.0, 4.0]
    assert found["at"].to_list() == [at("2026-03-02 09:00"), at("2026-03-03 09:00")]


def test_stores_without_events_are_left_out(lake: HandMadeLake, look: Look) -> None:
    lake.store("S2")
    lake.basket(at("2026-03-02 09:00"), ("P1", 1))
    assert only(look()).store_id == "S1"


def test_a_lake_without_tables_or_sales_says_what_to_do(lake: HandMadeLake, look: Look, tmp_path: Path) -> None:
    with pytest.raises(ObservationError, match="has no table reference/stores: write one with retail simulate history"):
        observe((tmp_path / "nothing").as_uri(), tmp_path)
    with pytest.raises(ObservationError, match="holds no sales"):
        look()
    lake.basket(at("2026-03-02 09:00"), ("P1", 1), rejection="broken")
    with pytest.raises(ObservationError, match="holds no sales"):
        look()


def test_the_truth_is_not_needed_and_not_read(lake: HandMadeLake, look: Look) -> None:
    lake.basket(at("2026-03-02 09:00"), ("P1", 1))
    look()
    assert {path.name for path in lake.root.iterdir()} == {"raw", "reference"}
    assert REFERENCE_PROMOTIONS.path == "reference/promotions"


def test_other_zones_are_read_by_their_own_rules(lake: HandMadeLake, look: Look) -> None:
    lake.stores.clear()
    lake.store(zone="Asia/Kolkata")
    lake.basket(at("2026-03-02 00:10", ZoneInfo("Asia/Kolkata")), ("P1", 1))
    assert list(column(look(), "units")) == [MONDAY]
