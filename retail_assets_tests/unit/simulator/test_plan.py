"""A stream's plan: one order that anybody can work out again, and dirt whose counts add up."""

import json
import math
import threading
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.contracts.events import HEADER_SCHEMA_VERSION
from retail_assets.contracts.topics import EVENT_TOPICS, INVENTORY_UPDATES, POS_EVENTS, SALES_TRANSACTIONS, Topic
from retail_assets.simulator.scenario import DirtRates
from retail_assets.simulator.tills.dirt import KIND_BITS, LATE_MS, SKEW_MS, DirtCounts, Label, _overtake
from retail_assets.simulator.tills.live import fixed_headers
from retail_assets.simulator.tills.plan import DayEvents, StreamPlan
from retail_assets.simulator.tills.wire import WireFormat
from retail_assets_tests.made_up_days import MadeUpDay, MadeUpDays
from retail_assets_tests.made_up_stream import expected

SOURCE = MadeUpDays()
FIRST, LAST = SOURCE.first_date, SOURCE.last_date
_DAY_MS = 24 * 60 * 60 * 1_000
CLEAN = DirtRates()
DIRTY = DirtRates(
    duplicate_rate=0.1,
    late_rate=0.1,
    out_of_order_rate=0.1,
    clock_skew_rate=0.3,
    malformed_rate=0.1,
    unknown_version_rate=0.1,
)
share = st.sampled_from([0.0, 0.01, 0.3, 1.0])
rates = st.builds(
    DirtRates,
    duplicate_rate=share,
    late_rate=share,
    out_of_order_rate=share,
    clock_skew_rate=share,
    malformed_rate=share,
    unknown_version_rate=share,
)


def whole(plan: StreamPlan, first: date = FIRST) -> pl.DataFrame:
    return pl.concat(plan.stretches(first))


def of(topic: Topic, messages: pl.DataFrame) -> pl.DataFrame:
    return messages.filter(topic=EVENT_TOPICS.index(topic))


def kind(messages: pl.DataFrame, label: Label) -> pl.DataFrame:
    return messages.filter(pl.col("label") & 3 == int(label))


def flagged(messages: pl.DataFrame, label: Label) -> pl.DataFrame:
    return kind(messages, Label.EVENT).filter(pl.col("label") & int(label) != 0)


def bodies(messages: pl.DataFrame) -> list[dict[str, object]]:
    return [json.loads(value) for value in messages["value"]]


@settings(max_examples=25)
@given(rates, st.integers(0, 3))
def test_every_event_is_planned_once_and_the_counts_add_up(rates: DirtRates, seed: int) -> None:
    plan = StreamPlan(SOURCE, seed, rates)
    messages = whole(plan)
    books = expected(plan, FIRST)
    assert sum(books.values(), DirtCounts()).messages == messages.height
    for topic in EVENT_TOPICS:
        mine, counts = of(topic, messages), books[topic.name]
        ids = [body[topic.schema.id_field] for body in bodies(kind(mine, Label.EVENT))]
        assert Counter(ids) == Counter(SOURCE.expected_ids(topic, FIRST, LAST))
        assert counts.events == len(ids)
        for label, count in [
            (Label.DUPLICATE, counts.duplicates),
            (Label.MALFORMED, counts.malformed),
            (Label.UNKNOWN_VERSION, counts.unknown_version),
        ]:
            assert kind(mine, label).height == count
        for label, count in [
            (Label.LATE, counts.late),
            (Label.OUT_OF_ORDER, counts.out_of_order),
            (Label.CLOCK_SKEW, counts.clock_skew),
        ]:
            assert flagged(mine, label).height == count
        assert not flagged(mine, Label.LATE).filter(pl.col("label") & int(Label.OUT_OF_ORDER) != 0).height


def seen(messages: pl.DataFrame, topic: Topic, known: set[str]) -> dict[str, int]:
    """Count what a consumer can see go wrong, who has versions, values and order, and knows which events there are."""
    versions = {
        kind: dict(headers)[HEADER_SCHEMA_VERSION]
        for kind, headers in fixed_headers(topic, "x", WireFormat.JSON).items()
    }
    found = Counter[str]()
    ids = set[str]()
    latest: dict[str, int] = {}
    tills: dict[str, int] = {}
    for due, label, value in messages.select("due", "label", "value").iter_rows():
        if versions[label & KIND_BITS] != str(topic.schema.version).encode():
            found["unknown_version"] += 1
            continue
        try:
            body = json.loads(value)
        except ValueError:
            body = {}
        if body.get(topic.schema.id_field) not in known:
            found["malformed"] += 1
        elif body[topic.schema.id_field] in ids:
            found["duplicate"] += 1
        else:
            ids.add(body[topic.schema.id_field])
            store, happened = body["store_id"], body["occurred_at"]
            found["late"] += due - happened >= LATE_MS[0]
            found["out_of_order"] += happened < latest.get(store, happened)
            found["clock_skew"] += happened != due
            latest[store] = max(latest.get(store, happened), happened)
            tills[body.get("register_id", "none")] = happened - due
    found["events"] = len(ids)
    found["tills"] = len(tills)
    found["wrong_tills"] = sum(by != 0 for by in tills.values())
    return found


BUSY = MadeUpDays(last_date=FIRST + timedelta(days=1), events=2_000, stores=50)


@pytest.mark.parametrize("fault", ["duplicate", "late", "out_of_order", "clock_skew", "malformed", "unknown_version"])
def test_a_consumer_sees_each_fault_as_often_as_was_asked_for_and_as_was_counted(fault: str) -> None:
    share = 0.08
    messages = whole(StreamPlan(BUSY, 11, DirtRates(**{f"{fault}_rate": share})))
    for topic in EVENT_TOPICS:
        mine = of(topic, messages)
        found = seen(mine, topic, BUSY.expected_ids(topic, BUSY.first_date, BUSY.last_date))
        counts = asdict(DirtCounts.of(Counter(mine["label"])))
        counted = counts["duplicates" if fault == "duplicate" else fault]
        assert found["events"] == counts["events"] == BUSY.events * 2
        assert found[fault] == counted
        if topic is INVENTORY_UPDATES and fault == "clock_skew":
            assert counted == 0  # no till reports those
            continue
        trials, hits = (found["tills"], found["wrong_tills"]) if fault == "clock_skew" else (found["events"], counted)
        # The last of a store's events on a day has no later one to be overtaken by.
        chances = trials - (BUSY.stores * 2 if fault == "out_of_order" else 0)
        assert abs(hits - share * chances) < 3 * math.sqrt(chances * share * (1 - share))


def test_each_fault_keeps_its_rate_when_all_happen_at_once() -> None:
    asked = {"duplicates": 0.02, "late": 0.05, "out_of_order": 0.04, "malformed": 0.01, "unknown_version": 0.03}
    plan = StreamPlan(BUSY, 5, DirtRates(**{f"{name.removesuffix('s')}_rate": share for name, share in asked.items()}))
    for name, counts in expected(plan, FIRST).items():
        for fault, share in asked.items():
            # What is late isn't overtaken as well.
            chances = (
                counts.events * (1 - asked["late"]) - BUSY.stores * 2 if fault == "out_of_order" else counts.events
            )
            deviation = math.sqrt(chances * share * (1 - share))
            assert abs(asdict(counts)[fault] - share * chances) < 3 * deviation, (name, fault)


@settings(max_examples=25)
@given(rates)
def test_messages_are_in_order_and_none_is_due_before_it_happened(rates: DirtRates) -> None:
    rates = replace(rates, clock_skew_rate=0.0)  # a wrong clock hides when something happened
    messages = whole(StreamPlan(SOURCE, 1, rates))
    assert messages["due"].is_sorted()
    for topic in EVENT_TOPICS:
        mine = of(topic, messages)
        assert mine["sequence"].is_sorted()
        assert mine["sequence"].n_unique() == mine.height
        events = kind(mine, Label.EVENT)
        happened = pl.Series([body["occurred_at"] for body in bodies(events)], dtype=pl.Int64)
        assert (events["due"] >= happened).all()


@pytest.mark.parametrize("wire", WireFormat)
def test_a_plan_is_the_same_wherever_it_is_begun_and_however_many_days_there_are(wire: WireFormat) -> None:
    plan = StreamPlan(SOURCE, 7, DIRTY, wire)
    assert whole(plan).equals(whole(StreamPlan(MadeUpDays(), 7, DIRTY, wire)))
    longer = StreamPlan(MadeUpDays(last_date=LAST + timedelta(days=2)), 7, DIRTY, wire)
    for on in (FIRST, LAST):
        assert plan.day(on).equals(longer.day(on))
    # What is missing at a later beginning is what the day before left to be sent later.
    later = whole(plan, LAST)
    assert later.equals(whole(plan).join(later, on=["topic", "sequence"], how="semi"))
    assert not whole(plan).equals(whole(StreamPlan(SOURCE, 8, DIRTY, wire)))


def test_what_is_out_of_order_comes_after_a_later_event_of_its_store() -> None:
    messages = whole(StreamPlan(SOURCE, 7, DirtRates(out_of_order_rate=0.1, late_rate=0.1)))
    for topic in EVENT_TOPICS:
        latest: dict[object, int] = {}
        found = 0
        for label, body in zip(of(topic, messages)["label"], bodies(of(topic, messages)), strict=True):
            happened = body["occurred_at"]
            assert isinstance(happened, int)
            if label & Label.OUT_OF_ORDER:
                found += 1
                assert latest[body["store_id"]] > happened
            latest[body["store_id"]] = max(latest.get(body["store_id"], 0), happened)
        assert found > 20


def test_late_events_are_as_late_as_they_say() -> None:
    messages = whole(StreamPlan(SOURCE, 7, DirtRates(late_rate=0.2)))
    late = flagged(messages, Label.LATE)
    assert late.height > 100
    overnight = 0
    for due, body in zip(late["due"], bodies(late), strict=True):
        happened = body["occurred_at"]
        assert isinstance(happened, int)
        assert LATE_MS[0] <= due - happened <= LATE_MS[1]
        overnight += due // _DAY_MS > happened // _DAY_MS
    # Some touch a day that was thought to be over.
    assert overnight > 0


def test_a_tills_clock_is_wrong_by_the_same_every_day() -> None:
    messages = whole(StreamPlan(SOURCE, 7, DirtRates(clock_skew_rate=0.4)))
    by: dict[object, set[int]] = {}
    for topic in (SALES_TRANSACTIONS, POS_EVENTS):
        mine = of(topic, messages)
        for due, label, body in zip(mine["due"], mine["label"], bodies(mine), strict=True):
            happened = body["occurred_at"]
            assert isinstance(happened, int)
            assert bool(label & Label.CLOCK_SKEW) == (happened != due)
            by.setdefault(body["register_id"], set()).add(happened - due)
    assert all(len(skews) == 1 for skews in by.values())
    wrong = [skew for skews in by.values() for skew in skews if skew]
    assert 0 < len(wrong) < len(by)
    assert all(SKEW_MS[0] <= abs(skew) <= SKEW_MS[1] for skew in wrong)
    assert not flagged(of(INVENTORY_UPDATES, messages), Label.CLOCK_SKEW).height


def test_duplicates_repeat_an_event_byte_for_byte_after_it() -> None:
    messages = whole(StreamPlan(SOURCE, 7, DIRTY))
    for topic in EVENT_TOPICS:
        mine = of(topic, messages)
        originals = kind(mine, Label.EVENT).select("key", "value", first="due")
        pairs = kind(mine, Label.DUPLICATE).join(originals, on=["key", "value"], how="left")
        assert pairs.height > 20
        assert (pairs["due"] > pairs["first"]).all()


def test_what_is_made_up_has_an_identity_of_its_own_or_none() -> None:
    messages = whole(StreamPlan(SOURCE, 7, DIRTY))
    for topic in EVENT_TOPICS:
        mine = of(topic, messages)
        known = SOURCE.expected_ids(topic, FIRST, LAST)
        for value in pl.concat([kind(mine, Label.MALFORMED), kind(mine, Label.UNKNOWN_VERSION)])["value"]:
            try:
                body = json.loads(value)
            except ValueError:
                continue
            assert body[topic.schema.id_field] not in known


def test_once_a_stream_is_stopped_no_further_day_is_made() -> None:
    stop = threading.Event()

    @dataclass(frozen=True)
    class Stopping(MadeUpDays):
        made: list[date] = field(default_factory=list)

        def day(self, on: date) -> DayEvents:
            self.made.append(on)
            stop.set()
            return super().day(on)

    source = Stopping()
    assert list(StreamPlan(source, 1, CLEAN).stretches(FIRST, stop)) == []
    assert source.made == [FIRST]


@dataclass(frozen=True)
class _OneMoment:
    """Days on which everything happens at once."""

    first_date: date = FIRST
    last_date: date = FIRST + timedelta(days=5)

    def day(self, on: date) -> DayEvents:  # noqa: ARG002 - the protocol's
        frames = {topic.name: SOURCE.day(FIRST).events(topic) for topic in EVENT_TOPICS}
        moment = frames[POS_EVENTS.name]["occurred_at"][0]
        return MadeUpDay({name: frame.with_columns(occurred_at=pl.lit(moment)) for name, frame in frames.items()})


def test_messages_of_one_millisecond_have_numbers_of_their_own() -> None:
    plan = StreamPlan(_OneMoment(), 1, CLEAN)
    days = pl.concat([plan.day(FIRST + timedelta(days=number)) for number in range(4)])
    assert days.group_by("topic", "sequence").len()["len"].max() == 1


def test_counts_are_added_field_by_field() -> None:
    counts = DirtCounts.of({Label.EVENT: 5, Label.LATE: 2, Label.LATE | Label.CLOCK_SKEW: 1, Label.DUPLICATE: 3})
    assert counts == DirtCounts(events=8, duplicates=3, late=3, clock_skew=1)
    assert counts + counts == DirtCounts(events=16, duplicates=6, late=6, clock_skew=2)
    assert "11 messages: 8 events (3 late, 0 out of order, 1 by a wrong clock), 3 duplicates" in str(counts)


def test_lines_of_one_basket_that_share_an_instant_are_overtaken_as_often_as_others() -> None:
    moments = [at for at in range(0, 1_000_000, 1_000) for _ in range(3)]
    messages = pl.DataFrame({"due": moments, "label": [0] * len(moments), "store": ["S1"] * len(moments)})
    chosen = np.arange(len(moments)) % 10 == 0
    moved = _overtake(messages, chosen, np.zeros(len(moments), dtype=np.bool_))
    out_of_order = (moved["label"] & int(Label.OUT_OF_ORDER) != 0).to_numpy()
    assert out_of_order.sum() >= chosen.sum() - 1  # nothing comes after the last
    assert (moved["due"].to_numpy()[out_of_order] == messages["due"].to_numpy()[out_of_order] + 1_001).all()
