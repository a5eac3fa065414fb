"""Stream and facts, hour by hour: a perfect stream always reconciles, and what doesn't is named."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retail_assets.contracts.types import polars_schema
from retail_assets.domain.reconciliation import (
    DIFFERENT,
    FACTS,
    KEPT_OUT,
    MADE,
    PROGRESS,
    SAME,
    STREAM,
    TOO_MANY,
    UNCLEAR,
    compared_stretches,
    left_out_by_stream,
)

DAY = date(2026, 3, 10)
LATER = datetime(2026, 12, 1, tzinfo=UTC)
NO_PROGRESS = left_out_by_stream(pl.DataFrame(), 24)
#: Clocks go back by an hour, forward by an hour, back by half an hour, and zones lie off by 30 and 45 minutes.
SPECIAL = [
    ("Europe/Berlin", date(2026, 10, 25)),
    ("Europe/Berlin", date(2026, 3, 29)),
    ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("America/Havana", date(2026, 11, 1)),
    ("Asia/Kolkata", DAY),
    ("Asia/Kathmandu", DAY),
    ("Pacific/Chatham", date(2026, 4, 5)),
    ("Pacific/Kiritimati", DAY),
    ("Etc/GMT+12", DAY),
]


def at(hour: float, on: date = DAY) -> datetime:
    return datetime(on.year, on.month, on.day, tzinfo=UTC) + timedelta(hours=hour)


class Shop:
    """One store's baskets, counted by both sides as they count."""

    def __init__(self, zone: str = "Europe/Berlin", on: date = DAY, store: str = "S1") -> None:
        self.zone, self.on, self.store = zone, on, store
        # The stream began days before, and goes on days after.
        self.stream: list[tuple[datetime, Decimal]] = [(at(-70, on), Decimal(1)), (at(90, on), Decimal(1))]
        self.batch: list[tuple[datetime, Decimal]] = []
        self.imported: list[date] = []
        self.kept_out: list[dict[str, Any]] = []
        self.known_until = LATER
        self.written_at = at(60, on)
        #: Hours of which the rows were written at another time than the others.
        self.written: dict[datetime, datetime] = {at(90, on): at(91, on)}
        self.now = LATER

    def sell(self, *baskets: tuple[datetime, int]) -> None:
        self.stream += [(when, Decimal(units)) for when, units in baskets]
        self.batch += [(when, Decimal(units)) for when, units in baskets]

    def quarantine(self, when: datetime, units: int, reason: str) -> None:
        row = {"store_id": self.store, "occurred_at": when, "units": units, "revenue": 2 * units, "reason": reason}
        self.kept_out.append(row)

    def frames(self) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        hours: dict[Any, Decimal] = defaultdict(Decimal)
        for when, units in self.stream:
            hours[when.replace(minute=0, second=0, microsecond=0)] += units
        local: dict[Any, Decimal] = defaultdict(Decimal)
        for when, units in self.batch:
            clock = when.astimezone(ZoneInfo(self.zone))
            local[clock.date(), clock.hour] += units
        stream = [
            (self.store, hour, units, 2 * units, self.written.get(hour, self.written_at))
            for hour, units in hours.items()
        ]
        facts = [(self.store, day, hour, units, 2 * units) for (day, hour), units in local.items()]
        facts += [(self.store, day, 24, Decimal(9), Decimal(9)) for day in self.imported]
        kept = pl.DataFrame(self.kept_out, schema=polars_schema(KEPT_OUT), strict=False)
        return (
            pl.DataFrame(stream, schema=polars_schema(STREAM), orient="row"),
            pl.DataFrame(facts, schema=polars_schema(FACTS), orient="row"),
            kept,
        )

    def compared(self, left_out: pl.DataFrame = NO_PROGRESS, days: int = 1) -> list[dict[str, Any]]:
        made = [(self.on + timedelta(days=number), self.known_until) for number in range(days)]
        stream, facts, kept = self.frames()
        stores = pl.DataFrame({"store_id": [self.store], "time_zone": [self.zone]})
        dates = pl.DataFrame(made, schema=polars_schema(MADE), orient="row")
        return compared_stretches(stream, facts, stores, dates, kept, left_out, self.now).to_dicts()

    def verdicts(self, left_out: pl.DataFrame = NO_PROGRESS) -> list[tuple[int, str]]:
        """Return the hour (UTC) in which each stretch begins, and its verdict."""
        return [(row["begins"].hour, row["verdict"]) for row in self.compared(left_out)]


@given(
    place=st.sampled_from(SPECIAL),
    minutes=st.lists(st.tuples(st.integers(-36 * 60, 60 * 60), st.integers(-5, 50)), min_size=1, max_size=40),
    lost=st.integers(0),
)
def test_a_perfect_stream_always_reconciles_and_a_lost_basket_never_does(
    place: tuple[str, date], minutes: list[tuple[int, int]], lost: int
) -> None:
    shop = Shop(*place)
    shop.sell(*((at(minute / 60, shop.on), units) for minute, units in minutes))
    compared = shop.compared(days=2)
    assert {row["verdict"] for row in compared} <= {SAME}
    dates = {shop.on, shop.on + timedelta(days=1)}
    inside = [when for when, _ in shop.batch if when.astimezone(ZoneInfo(shop.zone)).date() in dates]
    if shop.zone in {"Europe/Berlin", "America/New_York", "America/Havana"}:
        covered = [sum(row["begins"] <= when < row["ends"] for row in compared) for when in inside]
        assert covered == [1] * len(inside), "where clocks differ by hours, everything is compared, and once"

    when, units = shop.batch[lost % len(shop.batch)]
    shop.stream.remove((when, units))
    wrong = [row for row in shop.compared(days=2) if row["verdict"] != SAME]
    touched = [row for row in compared if row["begins"] <= when < row["ends"]]
    # Without a row that lay across midnight, the hour next to it may be compared that wasn't before.
    assert bool(touched and units) <= len(wrong) <= bool(units)
    assert all(row["begins"] <= when < row["ends"] and row["verdict"] == DIFFERENT for row in wrong)


def test_a_difference_names_store_hour_and_both_figures() -> None:
    shop = Shop()
    shop.sell((at(9.1), 4), (at(9.5), 3), (at(11), 2))
    shop.stream.remove((at(9.5), Decimal(3)))
    wrong = [row for row in shop.compared() if row["verdict"] == DIFFERENT]
    assert wrong == [
        {
            "store_id": "S1",
            "begins": at(9),
            "ends": at(10),
            "stream_units": Decimal(4),
            "stream_revenue": Decimal(8),
            "units": Decimal(7),
            "revenue": Decimal(14),
            "kept_out": 0,
            "verdict": DIFFERENT,
        }
    ]


def test_an_hour_that_only_one_side_has_differs() -> None:
    shop = Shop()
    shop.stream.append((at(9), Decimal(1)))
    shop.batch.append((at(11), Decimal(1)))
    assert shop.verdicts() == [(9, DIFFERENT), (11, DIFFERENT)]


def test_units_that_agree_with_revenue_that_is_a_cent_off_differ() -> None:
    shop = Shop()
    shop.sell((at(9), 1))
    stream, facts, kept = shop.frames()
    stores = pl.DataFrame({"store_id": ["S1"], "time_zone": ["Europe/Berlin"]})
    dates = pl.DataFrame([(DAY, LATER)], schema=polars_schema(MADE), orient="row")
    off = stream.with_columns(revenue=pl.col("revenue") + Decimal("0.01"))
    assert compared_stretches(off, facts, stores, dates, kept, NO_PROGRESS, LATER)["verdict"].to_list() == [DIFFERENT]


def test_the_hour_that_a_clock_shows_twice_is_one_stretch_of_two() -> None:
    shop = Shop("Europe/Berlin", date(2026, 10, 25))
    # 02:30 summer time and 02:30 winter time, one hour apart.
    shop.sell((at(0.5, shop.on), 2), (at(1.5, shop.on), 3), (at(2.5, shop.on), 4))
    assert [(row["begins"], row["ends"], row["units"]) for row in shop.compared()] == [
        (at(0, shop.on), at(2, shop.on), 5),
        (at(2, shop.on), at(3, shop.on), 4),
    ]


def test_where_clocks_are_off_by_half_an_hour_trade_between_quiet_hours_is_compared() -> None:
    shop = Shop("Asia/Kolkata")
    # 09:30 to 12:00 and 17:30 on the wall.
    shop.sell((at(4), 1), (at(5.2), 1), (at(6.5), 1), (at(12), 5))
    assert [(row["begins"], row["ends"], row["units"]) for row in shop.compared()] == [
        (at(3.5), at(6), 2),
        (at(6), at(7.5), 1),
        (at(11.5), at(13), 5),
    ]


def test_the_streams_first_day_and_its_newest_hour_are_not_compared() -> None:
    shop = Shop()
    shop.stream.clear()
    shop.sell((at(8), 1), (at(12), 1), (at(32.5), 1), (at(33.5), 1))
    shop.batch += [(at(9), Decimal(7)), (at(33.9), Decimal(7))]
    assert [row["begins"] for row in shop.compared(days=2)] == [at(32)]


def test_a_lone_old_row_of_a_till_with_a_wrong_clock_is_no_beginning() -> None:
    shop = Shop()
    shop.stream[0] = (at(-24 * 12), Decimal(1))
    shop.sell((at(9), 1))
    shop.batch.append((at(7), Decimal(7)))
    assert shop.compared() == [], "the stream began at nine"


def test_a_day_that_an_import_tells_of_and_a_store_that_only_one_side_knows_are_not_compared() -> None:
    shop = Shop()
    shop.sell((at(9), 1))
    shop.imported = [DAY]
    shop.stream.append((at(10), Decimal(7)))
    assert shop.compared() == []
    shop.imported = []
    stream, facts, kept = shop.frames()
    stores = pl.DataFrame({"store_id": ["S1", "S2"], "time_zone": ["Europe/Berlin"] * 2})
    dates = pl.DataFrame([(DAY, LATER)], schema=polars_schema(MADE), orient="row")
    elsewhere = pl.concat([facts, facts.with_columns(store_id=pl.lit("S2"))])
    found = compared_stretches(stream, elsewhere, stores, dates, kept, NO_PROGRESS, LATER)
    assert found["store_id"].unique().to_list() == ["S1"]
    assert compared_stretches(stream, facts, stores.tail(1), dates, kept, NO_PROGRESS, LATER).is_empty()


def test_lines_in_quarantine_count_with_the_facts_unless_nobody_knows_whether_the_stream_has_them() -> None:
    shop = Shop()
    shop.sell((at(9), 1), (at(11), 1), (at(13), 1))
    for hour in (9.5, 11.5):
        shop.stream.append((at(hour), Decimal(3)))
    shop.quarantine(at(9.5), 3, "implausible_price")
    shop.quarantine(at(11.5), 3, "future_date")
    shop.quarantine(at(13.5), 3, "conflicting_duplicate")
    assert shop.verdicts() == [(9, SAME), (11, UNCLEAR), (13, SAME)]
    assert [row["kept_out"] for row in shop.compared()] == [1, 0, 0]


def test_an_hour_that_changed_after_the_facts_were_made_is_unclear() -> None:
    shop = Shop()
    shop.sell((at(9), 1))
    shop.stream.append((at(9.5), Decimal(1)))
    shop.known_until = shop.written_at
    assert shop.verdicts() == [(9, DIFFERENT)]
    shop.written_at += timedelta(seconds=1)
    assert shop.verdicts() == [(9, UNCLEAR)]


def told(*rows: dict[str, Any]) -> pl.DataFrame:
    """Return what the service says of itself: ten batches every ten seconds of which a row says nothing else."""
    full: list[dict[str, Any]] = []
    for row in rows:
        before = full[-1] if full else {"at": datetime(1970, 1, 1, tzinfo=UTC), "batch": -1}
        usual = {
            "at": at(15),
            "batch": before["batch"] + 10,
            "batches": 10,
            "previous_at": before["at"],
            "previous_batch": before["batch"],
            "ahead": 0,
            "too_large": 0,
            "late": 0,
            "newest_event_at": at(15),
            "watermark": at(-9),
        }
        full.append({**usual, **row})
    return pl.DataFrame(full, schema=polars_schema(PROGRESS))


#: The service's oldest word that is kept.
OLDEST = {"at": at(-300), "watermark": at(-300), "newest_event_at": at(-280)}


@pytest.mark.parametrize(
    ("more", "verdicts"),
    [
        ({}, [(9, DIFFERENT), (13, DIFFERENT)]),
        ({"late": 1, "watermark": at(10)}, [(9, UNCLEAR), (13, DIFFERENT)]),
        ({"ahead": 1, "at": at(10)}, [(9, DIFFERENT), (13, UNCLEAR)]),
        ({"ahead": 1, "at": at(10) - timedelta(days=2)}, [(9, DIFFERENT), (13, DIFFERENT)]),
        ({"too_large": 1, "watermark": at(6), "newest_event_at": at(9)}, [(9, UNCLEAR), (13, DIFFERENT)]),
    ],
)
def test_hours_into_which_the_stream_left_something_out_are_unclear(
    more: dict[str, Any], verdicts: list[tuple[int, str]]
) -> None:
    shop = Shop()
    shop.sell((at(9), 1), (at(13), 1))
    shop.batch += [(at(9.5), Decimal(1)), (at(13.5), Decimal(1))]
    assert shop.verdicts(left_out_by_stream(told(OLDEST, more), 24)) == verdicts


@pytest.mark.parametrize("hours", [1, 2, 3])
def test_one_basket_that_was_left_out_explains_one_hour_and_no_more(hours: int) -> None:
    shop = Shop()
    shop.sell(*((at(hour), 1) for hour in range(8, 8 + hours)))
    shop.batch += [(at(hour + 0.5), Decimal(100)) for hour in range(8, 8 + hours)]
    left_out = left_out_by_stream(told(OLDEST, {"late": 1, "watermark": at(12)}, {"late": 1, "watermark": at(14)}), 24)
    expected = UNCLEAR if hours <= 2 else TOO_MANY
    assert shop.verdicts(left_out) == [(hour, expected) for hour in range(8, 8 + hours)]


def test_hours_of_several_stores_need_baskets_of_their_own() -> None:
    shop = Shop()
    shop.sell((at(9), 1))
    shop.batch.append((at(9.5), Decimal(1)))
    stream, facts, kept = shop.frames()
    names = [f"S{number}" for number in range(1, 5)]
    both = [pl.concat([frame.with_columns(store_id=pl.lit(name)) for name in names]) for frame in (stream, facts)]
    stores = pl.DataFrame({"store_id": names, "time_zone": ["Europe/Berlin"] * 4})
    dates = pl.DataFrame([(DAY, LATER)], schema=polars_schema(MADE), orient="row")
    for late, verdict in ((4, UNCLEAR), (3, TOO_MANY)):
        left_out = left_out_by_stream(told(OLDEST, {"late": late, "watermark": at(12)}), 24)
        found = compared_stretches(*both, stores, dates, kept, left_out, LATER)
        assert found["verdict"].to_list() == [verdict] * 4


def test_what_was_left_out_long_ago_explains_nothing_of_later_hours() -> None:
    shop = Shop()
    shop.sell((at(7), 1), (at(9), 1), (at(13), 1))
    shop.batch += [(at(hour), Decimal(1)) for hour in (7.5, 9.5, 13.5)]
    before, after = {"late": 50, "watermark": at(8)}, {"late": 1, "watermark": at(14)}
    verdicts = shop.verdicts(left_out_by_stream(told(OLDEST, before, after), 24))
    assert verdicts == [(7, UNCLEAR), (9, TOO_MANY), (13, TOO_MANY)]


def test_hours_that_are_unclear_for_another_reason_use_up_nothing_that_was_left_out() -> None:
    shop = Shop()
    shop.sell((at(9), 1), (at(11), 1))
    shop.batch.append((at(9.5), Decimal(1)))
    shop.stream.append((at(11.5), Decimal(3)))
    shop.quarantine(at(11.5), 3, "future_date")
    left_out = left_out_by_stream(told(OLDEST, {"late": 1, "watermark": at(12)}), 24)
    assert shop.verdicts(left_out) == [(9, UNCLEAR), (11, UNCLEAR)]


def test_a_return_that_came_late_explains_an_hour_of_which_the_stream_has_more() -> None:
    shop = Shop()
    shop.sell((at(9), 5))
    shop.batch.append((at(9.5), Decimal(-1)))
    left_out = left_out_by_stream(told(OLDEST, {"late": 1, "watermark": at(12)}), 24)
    assert shop.verdicts(left_out) == [(9, UNCLEAR)]


def test_no_basket_that_was_left_out_explains_an_hour_of_which_the_facts_have_nothing() -> None:
    shop = Shop()
    shop.stream.append((at(9), Decimal(1)))
    left_out = left_out_by_stream(told(OLDEST, {"late": 9, "watermark": at(12)}), 24)
    assert shop.verdicts(left_out) == [(9, DIFFERENT)]
    # A line in quarantine is one that may be of such a basket.
    shop.quarantine(at(9.2), 2, "implausible_price")
    assert shop.verdicts(left_out) == [(9, UNCLEAR)]


@pytest.mark.parametrize(
    ("row", "verdicts"),
    [
        # Numbers up to 9 were said; the row's ten batches began with 10, or with another.
        ({"batch": 19}, [DIFFERENT] * 3),
        ({"batch": 20}, [UNCLEAR, UNCLEAR, DIFFERENT]),
        ({"batch": 400}, [UNCLEAR, UNCLEAR, DIFFERENT]),
        # The last one came again after a crash; a fresh checkpoint began.
        ({"batch": 18}, [DIFFERENT] * 3),
        ({"batch": 9}, [DIFFERENT] * 3),
        ({"batch": 4, "batches": 5}, [DIFFERENT] * 3),
        # A fresh checkpoint of which the first rows are missing, or one that was restored.
        ({"batch": 14}, [UNCLEAR, UNCLEAR, DIFFERENT]),
        # What was ahead in the gap lies up to a day after it.
        ({"batch": 20, "at": at(-3), "newest_event_at": at(-4)}, [UNCLEAR, UNCLEAR, DIFFERENT]),
        ({"batch": 20, "at": at(-12), "newest_event_at": at(-13)}, [UNCLEAR, DIFFERENT, DIFFERENT]),
    ],
)
def test_where_batches_are_missing_from_what_the_service_says_any_number_may_have_been_left_out(
    row: dict[str, Any], verdicts: list[str]
) -> None:
    shop = Shop()
    shop.sell((at(10), 1), (at(14), 1), (at(22), 1))
    shop.batch += [(at(hour), Decimal(99)) for hour in (10.5, 14.5, 22.5)]
    left_out = left_out_by_stream(told(OLDEST, {"at": at(-4), "watermark": at(-40), **row}), 24)
    assert [verdict for _, verdict in shop.verdicts(left_out)] == verdicts


def test_a_gap_in_what_the_service_says_makes_no_number_of_hours_too_many() -> None:
    shop = Shop()
    shop.sell(*((at(hour), 1) for hour in range(6, 12)))
    shop.batch += [(at(hour + 0.5), Decimal(9)) for hour in range(6, 12)]
    late, gap = {"late": 1, "watermark": at(12)}, {"at": at(16), "batch": 500, "watermark": at(13)}
    verdicts = shop.verdicts(left_out_by_stream(told(OLDEST, late, gap), 24))
    assert verdicts == [(hour, UNCLEAR) for hour in range(6, 12)]


def test_what_the_stream_left_out_before_its_oldest_word_is_not_known() -> None:
    begun = {"at": at(15), "watermark": at(10)}
    left_out = left_out_by_stream(told(begun), 24)
    assert left_out.rows() == [(datetime(1970, 1, 1, tzinfo=UTC), at(10), None)]
    # Unless it is of a checkpoint's first batches, events ahead of the clock may have been left out before it too.
    left_out = left_out_by_stream(told({**begun, "batch": 500}), 24)
    assert left_out["ends"].max() == at(39)
    assert left_out["baskets"].to_list() == [None] * 3


@pytest.mark.parametrize("is_machine_wrong", [True, False])
def test_an_hour_in_the_future_of_a_till_whose_clock_was_wrong_closes_none_before_it(is_machine_wrong: bool) -> None:
    shop = Shop()
    shop.stream[1] = (at(13.2), Decimal(1))
    shop.sell((at(9), 1), (at(13.5), 1))
    shop.batch += [(at(13.2), Decimal(1)), (at(13.7), Decimal(1)), (at(15), Decimal(1))]
    shop.now, shop.written_at = at(14), at(13.9)
    ghost = at(60)
    shop.stream.append((ghost, Decimal(1)))
    shop.written[ghost] = ghost if is_machine_wrong else at(13.9)
    assert shop.verdicts() == [(9, SAME)], "hours from one o'clock on are open"
    shop.stream = [(ghost, Decimal(1))]
    assert shop.verdicts() == [], "nothing else is there"


def test_an_hour_in_the_future_is_no_new_beginning_after_silence() -> None:
    shop = Shop()
    shop.stream[1] = (at(20), Decimal(1))
    shop.sell((at(9), 1))
    shop.stream.append((at(20 + 24 * 7.5), Decimal(1)))
    assert shop.verdicts() == [(9, SAME)]
