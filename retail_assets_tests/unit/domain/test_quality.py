"""What is unusual, and what isn't: closed days, holidays and short histories."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.contracts.thresholds import load_thresholds
from retail_assets.domain.quality import (
    PRICES,
    SHARES,
    VOLUMES,
    changed_shares,
    hours_since,
    price_jumps,
    summary,
    unusual_volumes,
    weekdays_before,
    worst,
)

DAY = date(2026, 3, 10)
THRESHOLDS = load_thresholds()
VOLUME = THRESHOLDS.volume


def volumes(units: dict[int, float], store: str = "S1") -> pl.DataFrame:
    """Return the volumes of a store, by weeks before `DAY`."""
    rows = [(store, DAY - timedelta(weeks=week), value) for week, value in units.items()]
    return pl.DataFrame(rows, schema=VOLUMES, orient="row")


def verdict(units: dict[int, float], holidays: set[date] | None = None) -> str:
    found = unusual_volumes(volumes(units), [DAY], holidays or set(), VOLUME)
    assert found.height == 1
    return str(found["verdict"].item())


USUAL = {1: 1000.0, 2: 1040, 3: 960, 4: 1010, 5: 990, 6: 1000, 7: 1020, 8: 980}


@pytest.mark.parametrize(
    ("today", "expected"), [(1000, "ok"), (1500, "ok"), (1700, "unusual"), (300, "unusual"), (0, "closed")]
)
def test_a_day_is_unusual_far_from_the_same_weekday_of_the_weeks_before(today: float, expected: str) -> None:
    assert verdict({0: today, **USUAL}) == expected


def test_one_odd_week_in_the_past_hides_nothing() -> None:
    odd = {0: 300, **USUAL, 3: 90_000}
    assert verdict(odd) == "unusual"
    assert unusual_volumes(volumes(odd), [DAY], set(), VOLUME)["expected"].item() == pytest.approx(1005)


def test_days_without_trade_and_holidays_are_neither_judged_nor_history() -> None:
    assert verdict({0: 1000, **USUAL, 2: 0, 4: 0}) == "ok"
    assert verdict({0: 1000, 1: 1000, 2: 1000, 3: 1000, 4: 0, 5: 0}) == "short history"
    assert verdict({0: 5, **USUAL}, {DAY}) == "holiday"
    holidays = {DAY - timedelta(weeks=week) for week in range(1, 6)}
    assert verdict({0: 5, **USUAL}, holidays) == "short history"


def test_a_new_store_and_an_empty_lake_pass_with_a_reason() -> None:
    found = unusual_volumes(volumes({0: 5}), [DAY], set(), VOLUME)
    assert summary(found, "days of stores") == (
        "0 days of stores judged, all as usual; not judged: 1 too short a history"
    )
    assert unusual_volumes(pl.DataFrame(schema=VOLUMES), [DAY], set(), VOLUME).is_empty()
    assert unusual_volumes(pl.DataFrame(schema=VOLUMES), [], set(), VOLUME).is_empty()


def test_slow_stores_may_vary_as_counts_do() -> None:
    few = dict.fromkeys(range(1, 9), 4.0)
    assert verdict({0: 12, **few}) == "ok"
    assert verdict({0: 40, **few}) == "unusual"


def test_the_worst_comes_first_and_the_sentence_counts() -> None:
    both = pl.concat([volumes({0: 1700, **USUAL}), volumes({0: 5000, **USUAL}, "S2")])
    found = unusual_volumes(both, [DAY], set(), VOLUME)
    assert worst(found)["store_id"].to_list() == ["S2", "S1"]
    assert summary(found, "days of stores") == "2 of 2 days of stores unusual"


@settings(max_examples=30)
@given(st.dictionaries(st.integers(0, 8), st.floats(0, 1e6), max_size=9))
def test_every_traded_store_gets_exactly_one_verdict_whatever_its_history(units: dict[int, float]) -> None:
    found = unusual_volumes(volumes(units), [DAY], set(), VOLUME)
    assert found.height == any(value > 0 for value in units.values())
    if found.height:
        row = found.row(0, named=True)
        assert (row["verdict"] == "closed") == (units.get(0, 0) <= 0)


def test_only_the_weekdays_that_are_needed_are_asked_for() -> None:
    assert weekdays_before([DAY], 8) == sorted(DAY - timedelta(weeks=week) for week in range(9))


def shares(nulls: dict[int, int], trade: bool = True, **more: Any) -> pl.DataFrame:
    """Return counts of a column by days before `DAY`, of 1,000 rows each."""
    rows = [
        {
            "store_id": "S1",
            "business_date": DAY - timedelta(days=day),
            "trade": trade,
            "column": "list_price",
            "rows": 1000,
            "nulls": count,
            "zeros": 0,
            **more,
        }
        for day, count in nulls.items()
    ]
    return pl.DataFrame(rows, schema=SHARES)


def nulls_verdict(counts: pl.DataFrame) -> list[str]:
    found = changed_shares(counts, [DAY], THRESHOLDS.shares)
    verdicts: list[str] = found.filter(kind="nulls")["verdict"].to_list()
    return verdicts


#: About a tenth on this weekday, and none on the days between.
STEADY = {day: 0 if day % 7 else 100 + day % 2 for day in range(1, 57)}


@pytest.mark.parametrize(("today", "expected"), [(100, "ok"), (150, "ok"), (300, "unusual"), (0, "unusual")])
def test_a_share_is_unusual_far_from_the_same_weekday_before(today: int, expected: str) -> None:
    assert nulls_verdict(shares({0: today, **STEADY})) == [expected]


def test_a_share_that_always_varies_may_vary() -> None:
    assert nulls_verdict(shares({0: 450, **{day: 100 + 50 * (day % 5) for day in range(7, 57, 7)}})) == ["ok"]


def test_a_share_of_few_rows_varies_by_chance() -> None:
    half = dict.fromkeys(range(7, 57, 7), 13)
    assert nulls_verdict(shares({0: 8, **half}, rows=26)) == ["ok"]
    assert nulls_verdict(shares({0: 2, **dict.fromkeys(half, 0)}, rows=26)) == ["ok"]
    assert nulls_verdict(shares({0: 800, **dict.fromkeys(half, 1300)}, rows=2600)) == ["unusual"]


def test_closed_stores_change_no_share() -> None:
    closed = shares(dict.fromkeys(range(57), 1000), trade=False, store_id="S2")
    assert nulls_verdict(pl.concat([shares({0: 100, **STEADY}), closed])) == ["ok"]
    assert nulls_verdict(closed) == []


def test_a_short_history_of_shares_is_not_judged() -> None:
    assert nulls_verdict(shares({0: 900, 1: 0, 7: 0, 14: 0, 21: 0})) == ["short history"]


def prices(by_day: dict[int, float]) -> pl.DataFrame:
    rows = [("P1", DAY - timedelta(days=day), price) for day, price in by_day.items()]
    return pl.DataFrame(rows, schema=PRICES, orient="row")


@pytest.mark.parametrize(
    ("today", "days", "expected"),
    [
        (2.0, 10, "ok"),
        (3.0, 10, "ok"),
        (3.1, 10, "unusual"),
        (1.3, 10, "unusual"),
        (1.4, 10, "ok"),
        (9.0, 6, "short history"),
    ],
)
def test_a_price_jumps_up_or_down_by_more_than_a_ratio(today: float, days: int, expected: str) -> None:
    found = price_jumps(prices({0: today, **dict.fromkeys(range(1, days + 1), 2.0)}), [DAY], THRESHOLDS.price_jumps)
    assert found["verdict"].to_list() == [expected]


def test_a_price_before_the_days_that_count_is_forgotten() -> None:
    old = dict.fromkeys(range(29, 60), 9.0)
    found = price_jumps(prices({0: 9.0, **dict.fromkeys(range(1, 29), 2.0), **old}), [DAY], THRESHOLDS.price_jumps)
    assert found["expected"].to_list() == [2.0]


def test_an_age_is_never_below_nothing() -> None:
    now = datetime(2026, 3, 10, 12, tzinfo=UTC)
    assert hours_since(now - timedelta(hours=5), now) == 5
    assert hours_since(now + timedelta(hours=5), now) == 0
    assert hours_since(None, now) is None
