"""What the service asks of the warehouse again and again: levels of risk, anomalies, clocks, and the summaries."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from retail_streaming.looks import Looks
from retail_streaming.settings import load_settings
from retail_streaming.store_clock import write_store_clock
from retail_streaming.warehouse import Warehouse

pytestmark = pytest.mark.integration

#: A Tuesday; Berlin is two hours ahead of UTC.
NOW = datetime(2026, 3, 31, 10, 30, tzinfo=UTC)
WRITTEN = datetime.now(UTC) - timedelta(hours=1)
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def aware(at: datetime) -> datetime:
    """Return a time of the warehouse, which is in UTC, as such."""
    return at.replace(tzinfo=UTC)


class Heard:
    """What a look tells."""

    products: dict[str, int]
    anomalies: dict[str, int]

    def __init__(self) -> None:
        self.left_out: set[str] = set()

    def looked(
        self, seconds: float, products: dict[str, int], anomalies: dict[str, int], failing_refreshes: int
    ) -> None:
        assert seconds > 0
        assert failing_refreshes == 0
        self.products, self.anomalies = products, anomalies

    def look_failed(self) -> None:
        pytest.fail("the look failed")

    def look_left_out(self, statement: str) -> None:
        self.left_out.add(statement)


@dataclass
class Shop:
    """The live picture of a store in Berlin, made up, and the looks at it."""

    client: Client
    heard: Heard = field(default_factory=Heard)
    version: int = 0
    behind: frozenset[str] = frozenset()

    def insert(self, table: str, *rows: tuple[Any, ...]) -> None:
        self.client.insert(table, rows, database="retail")

    def stock(
        self,
        product: str,
        on_hand: float,
        at: datetime = NOW,
        *,
        unexplained: int = 0,
        counted_at: datetime = NEVER,
        first_at: datetime = NOW - 999 * HOUR,
    ) -> None:
        self.version += 1
        units = Decimal(str(on_hand))
        known = (Decimal(unexplained), 1, at, NEVER, counted_at, Decimal(0))
        row = ("S1", product, units, "sale", at, first_at, units, Decimal(0), *known)
        self.insert("rt_inventory", (*row, self.version, WRITTEN))

    def sell(self, product: str, units: float, at: datetime) -> None:
        self.version += 1
        start = at.replace(minute=at.minute // 5 * 5, second=0)
        figures = (Decimal(str(units)), Decimal(str(2 * units)), 1)
        self.insert("rt_sales_velocity", ("S1", product, start, *figures, self.version, WRITTEN))

    def till(self, register: str, kind: str, at: datetime, store: str = "S1") -> None:
        self.version += 1
        hour = at.replace(minute=0, second=0)
        self.insert("rt_pos_hourly", (store, register, hour, at, kind, 1, 0, 0, 0, 0, self.version, WRITTEN))

    def override(self, register: str, hour: datetime, times: int) -> None:
        """Have prices changed by hand at a till in an hour, its last event being half past."""
        self.version += 1
        counts = (times, times, 0, 0, 0)
        at = hour + 30 * MINUTE
        self.insert("rt_pos_hourly", ("S1", register, hour, at, "price_override", *counts, self.version, WRITTEN))

    def earn(self, hour: datetime, revenue: int) -> None:
        self.version += 1
        self.insert("rt_revenue_hourly", ("S1", hour, Decimal(1), Decimal(revenue), 1, self.version, WRITTEN))

    def look(self) -> None:
        """Look as the service does: first what the hours are, then at risks and anomalies."""
        warehouse = Warehouse(load_settings())
        write_store_clock(warehouse)
        Looks(load_settings(), warehouse, self.heard, self._why_behind).turn()
        warehouse.close()

    def _why_behind(self, queries: Collection[str]) -> str | None:
        return ", ".join(self.behind.intersection(queries)) or None

    def risks(self) -> dict[str, tuple[Any, ...]]:
        """Return level, level before and time of the change by product."""
        found = self.client.query(
            "SELECT product_id, level, previous_level, changed_at FROM retail.rt_stockout_risk FINAL"
        ).result_rows
        return {str(product): (level, before, aware(at)) for product, level, before, at in found}

    def anomalies(self, kind: str) -> list[tuple[Any, ...]]:
        """Return subject, beginning, end, expected, observed and sentence of the incidents of a kind."""
        found = self.client.query(
            "SELECT subject, started_at, ended_at, round(expected, 1), round(observed, 1), sentence "
            "FROM retail.v_anomaly WHERE kind = {kind:String} ORDER BY started_at",
            parameters={"kind": kind},
        ).result_rows
        return [(subject, aware(begun), aware(ended), *rest) for subject, begun, ended, *rest in found]

    def refresh(self, table: str) -> list[dict[str, Any]]:
        """Return the rows of a table that refreshes itself, refreshed now."""
        self.client.command(f"SYSTEM REFRESH VIEW retail.{table}_refresh")
        self.client.command(f"SYSTEM WAIT VIEW retail.{table}_refresh")
        return list(self.client.query(f"SELECT * FROM retail.{table}").named_results())


@pytest.fixture
def shop(warehouse: Client) -> Shop:
    shop = Shop(warehouse)
    unknown = (0, *["unknown"] * 6, date(1970, 1, 1))
    shop.insert(
        "dim_store", unknown, (1, "S1", "One", "North", "Town", "supermarket", "Europe/Berlin", date(2020, 1, 1))
    )
    for key, product in enumerate(("milk", "salt"), start=1):
        money = (Decimal(1), Decimal(2))
        shop.insert("dim_product", (key, product, product.title(), "Food", "Basics", "Basics", "B", *money, 6, 0, 1))
    shop.till("R1", "heartbeat", NOW)
    return shop


def shown(shop: Shop) -> tuple[object, object]:
    """Look, and return what is unexplained of the milk, and whether it is suspected."""
    shop.look()
    found = shop.client.query("SELECT unexplained, phantom_suspected FROM retail.v_inventory_now").result_rows
    return tuple(found[0])


def test_a_count_settles_what_no_movement_explains_and_what_goes_missing_later_shows(shop: Shop) -> None:
    shop.stock("milk", 80, unexplained=-3)
    assert shown(shop) == (-3, True)
    shop.stock("milk", 78, unexplained=-3, counted_at=NOW - 25 * HOUR)
    assert shown(shop) == (0, False)
    shop.stock("milk", 70, unexplained=-5, counted_at=NOW - 25 * HOUR)
    assert shown(shop) == (-2, True)
    shop.stock("milk", 70, NOW + 2 * HOUR, unexplained=-5, counted_at=NOW - 23 * HOUR)
    assert shown(shop) == (0, False)


def test_a_count_settles_nothing_while_movements_from_before_it_may_still_come(shop: Shop) -> None:
    shop.stock("milk", 7, unexplained=-3, counted_at=NOW - HOUR)
    assert shown(shop) == (-3, True)
    # The sale that was late.
    shop.stock("milk", 7, unexplained=0, counted_at=NOW - HOUR)
    assert shown(shop) == (0, False)
    shop.till("R1", "heartbeat", NOW + 25 * HOUR)
    assert shown(shop) == (0, False)


def test_books_that_begin_anew_are_not_held_to_what_the_old_ones_could_not_explain(shop: Shop) -> None:
    shop.stock("milk", 80, unexplained=-5, counted_at=NOW - 25 * HOUR, first_at=NOW - 900 * HOUR)
    assert shown(shop) == (0, False)
    shop.behind = frozenset({"inventory"})
    shop.stock("milk", 80, unexplained=0, counted_at=NOW - 25 * HOUR, first_at=NOW - 300 * HOUR)
    assert shown(shop) == (0, False)
    shop.behind = frozenset()
    assert shown(shop) == (0, False)
    # An older movement that comes late changes neither what is missing nor what was settled.
    shop.stock("milk", 80, unexplained=-2, counted_at=NOW - 25 * HOUR, first_at=NOW - 301 * HOUR)
    assert shown(shop) == (-2, True)


def test_stock_is_at_risk_by_the_hours_that_it_lasts_and_the_time_of_each_change_is_kept(shop: Shop) -> None:
    shop.sell("milk", 24, NOW - 3 * HOUR)
    shop.sell("milk", 99, NOW - 25 * HOUR)
    shop.stock("milk", 80)
    shop.stock("salt", 5)
    shop.look()
    assert shop.risks() == {}, "80 units at one an hour are enough, and of salt nothing is sold"
    shop.stock("milk", 30)
    shop.look()
    assert shop.risks() == {"milk": ("low", "ok", NOW)}
    shop.stock("milk", 20, NOW + MINUTE)
    shop.look()
    assert shop.risks() == {"milk": ("critical", "low", NOW + MINUTE)}
    shop.stock("milk", 0, NOW + 2 * MINUTE)
    shop.till("R1", "heartbeat", NOW + 5 * MINUTE)
    shop.look()
    shop.look()
    assert shop.risks() == {"milk": ("out", "critical", NOW + 2 * MINUTE)}
    assert shop.heard.products == {"out": 1}
    written = shop.client.query("SELECT count() FROM retail.rt_stockout_risk").result_rows[0][0]
    shop.look()
    assert shop.client.query("SELECT count() FROM retail.rt_stockout_risk").result_rows[0][0] == written
    (row,) = [
        row
        for row in shop.client.query("SELECT * FROM retail.v_stockout_risk ORDER BY product_id").named_results()
        if row["product_id"] == "milk"
    ]
    assert (row["level"], row["previous_level"], row["store"], row["product"], row["hours_of_cover"]) == (
        "out",
        "critical",
        "One",
        "Milk",
        0,
    )


def test_a_level_is_left_for_a_better_one_only_well_above_its_limit(shop: Shop) -> None:
    shop.sell("milk", 24, NOW - 3 * HOUR)
    for on_hand, level in [(23, "critical"), (25, "critical"), (27, "low"), (78, "low"), (80, "ok"), (73, "ok")]:
        shop.stock("milk", on_hand)
        shop.look()
        assert shop.risks()["milk"][0] == level, on_hand


def test_a_forecast_for_the_stores_own_date_counts_as_much_as_the_last_24_hours(shop: Shop) -> None:
    quantiles = [0.0] * 9
    for day, mean in [(30, 900.0), (31, 48.0), (32, 900.0)]:
        target = date(2026, 3, 1) + timedelta(days=day - 1)
        shop.insert("fact_forecast", (date(2026, 3, 29), 1, 1, target, 1, mean, *quantiles, "m", "1"))
    shop.sell("milk", 24, NOW - 3 * HOUR)
    shop.stock("milk", 36)
    shop.stock("salt", 36)
    shop.look()
    cover = shop.client.query(
        "SELECT product_id, has_forecast, expected_units, hours_of_cover FROM retail.v_stock_cover ORDER BY product_id"
    ).result_rows
    assert [tuple(row) for row in cover] == [("milk", True, 36, 24), ("salt", False, 0, 8760)]


def test_an_hour_stands_beside_the_same_hour_of_last_week_on_the_stores_clock(shop: Shop) -> None:
    # Clocks went forward on 29 March: 12:00 was 11:00 UTC the week before.
    shop.earn(datetime(2026, 3, 31, 10, tzinfo=UTC), 70)
    shop.earn(datetime(2026, 3, 24, 11, tzinfo=UTC), 50)
    shop.earn(datetime(2026, 3, 24, 10, tzinfo=UTC), 40)
    shop.look()
    rows = shop.client.query(
        "SELECT hour_start, local_hour, revenue, revenue_last_week FROM retail.v_revenue_hourly ORDER BY hour_start"
    ).result_rows
    assert [(at.day, hour, int(now), int(before)) for at, hour, now, before in rows] == [
        (24, 11, 40, 0),
        (24, 12, 50, 0),
        (31, 12, 70, 50),
    ]
    # Where the stream has nothing of last week, the facts may.
    shop.earn(datetime(2026, 3, 31, 8, tzinfo=UTC), 30)
    shop.insert("fact_sales", (date(2026, 3, 24), 10, 1, 1, Decimal(9), Decimal(45), Decimal(0), 9))
    shop.insert("fact_sales", (date(2026, 3, 24), 12, 1, 1, Decimal(9), Decimal(99), Decimal(0), 9))
    shop.refresh("rt_fact_hours")
    hours = shop.client.query(
        "SELECT local_hour, revenue_last_week FROM retail.v_revenue_hourly WHERE local_date = '2026-03-31' ORDER BY 1"
    ).result_rows
    assert [(hour, int(before)) for hour, before in hours] == [(10, 45), (12, 50)]
    (today,) = shop.refresh("rt_revenue_today")
    # 45 and 40 of whole hours, and of the running one's 50 what its 31 minutes stand for.
    assert (today["region"], today["revenue"], today["revenue_last_week"]) == ("North", Decimal(100), Decimal("110.83"))


def test_while_a_query_is_behind_nothing_is_judged_by_what_it_has_not_read_yet(shop: Shop) -> None:
    shop.stock("milk", -1)
    shop.till("R2", "offline", NOW - HOUR)
    shop.behind = frozenset({"sales", "inventory", "tills"})
    shop.look()
    assert (shop.risks(), shop.anomalies("negative_stock"), shop.anomalies("till_offline")) == ({}, [], [])
    shop.behind = frozenset({"sales"})
    shop.look()
    assert shop.heard.left_out == {"counts", "levels", "unusual sales", "tills", "stock"}
    assert shop.risks() == {}
    assert len(shop.anomalies("negative_stock")) == len(shop.anomalies("till_offline")) == 1
    shop.behind = frozenset()
    shop.look()
    assert len(shop.risks()) == 1


def test_a_query_that_has_failed_ends_no_incident_and_holds_up_no_other_judgement(shop: Shop) -> None:
    shop.till("R2", "offline", NOW - HOUR)
    shop.look()
    shop.behind = frozenset({"tills", "dead_letters"})
    shop.till("R2", "online", NOW)
    shop.stock("milk", -1)
    shop.look()
    (offline,) = shop.anomalies("till_offline")
    assert offline[2] == NEVER, "nobody knows whether it ended"
    assert len(shop.risks()) == len(shop.anomalies("negative_stock")) == 1


def test_a_store_that_has_not_sold_yet_has_no_part_in_today_but_its_last_week_has(shop: Shop) -> None:
    shop.insert("dim_store", (2, "S2", "Two", "North", "Town", "supermarket", "Europe/Berlin", date(2020, 1, 1)))
    shop.till("R1", "close", NOW - 14 * HOUR, store="S2")
    shop.insert("rt_revenue_hourly", ("S2", NOW.replace(minute=0) - 15 * HOUR, Decimal(1), Decimal(500), 1, 1, WRITTEN))
    shop.insert("fact_sales", (date(2026, 3, 24), 9, 2, 1, Decimal(9), Decimal(45), Decimal(0), 9))
    shop.insert("fact_sales", (date(2026, 3, 24), 24, 2, 1, Decimal(9), Decimal(999), Decimal(0), 9))
    shop.earn(NOW.replace(minute=0), 70)
    shop.sell("milk", 1, NOW - MINUTE)
    shop.insert("rt_sales_velocity", ("S2", "salt", NOW - 14.5 * HOUR, Decimal(1), Decimal(2), 1, 1, WRITTEN))
    shop.look()
    shop.refresh("rt_fact_hours")
    (today,) = shop.refresh("rt_revenue_today")
    assert (today["stores"], today["revenue"], today["revenue_last_week"]) == (1, Decimal(70), Decimal(45))
    assert [row["product_id"] for row in shop.refresh("rt_top_movers")] == ["milk"]


def test_a_store_that_opens_is_measured_by_the_hour_it_knows_and_imported_days_tell_of_no_hour(shop: Shop) -> None:
    facts = []
    for week in range(1, 9):
        day = date(2026, 3, 31) - timedelta(weeks=week)
        # Five weeks are known by the hour, three as whole days.
        hour = 12 if week < 6 else 24
        facts.append((day, hour, 1, 1, Decimal(60), Decimal(120), Decimal(0), 1))
    shop.insert("fact_sales", *facts)
    (profile,) = shop.refresh("rt_sales_profile")
    assert (profile["weeks"], profile["units"]) == (5, 60)
    # The store opened at 12 by its clock, seven minutes ago: five are expected, and ten are nothing special.
    shop.client.command("TRUNCATE TABLE retail.rt_pos_hourly")
    opened = NOW.replace(minute=0)
    shop.till("R1", "open", opened + 7 * MINUTE)
    shop.sell("milk", 10, opened)
    shop.look()
    assert shop.anomalies("unusual_units") == []
    shop.sell("salt", 30, opened)
    shop.look()
    assert len(shop.anomalies("unusual_units")) == 1


def test_the_summaries_name_what_sells_and_where_stock_runs_out(shop: Shop) -> None:
    for product, units, hours in [("milk", 5, 0.5), ("milk", 7, 5), ("salt", 9, 0.5), ("salt", 2, 30)]:
        shop.sell(product, units, NOW - hours * HOUR)
        shop.stock(product, 1)
    shop.look()
    movers = {row["product_id"]: (row["units_1h"], row["units_24h"]) for row in shop.refresh("rt_top_movers")}
    assert movers == {"milk": (5, 12), "salt": (9, 9)}
    (store,) = shop.refresh("rt_stores_at_risk")
    counts = [store[name] for name in ("out_products", "critical_products", "low_products", "products")]
    assert (store["store"], counts, store["revenue_at_risk"]) == ("One", [0, 2, 0, 2], Decimal(42))


def test_an_hour_far_from_what_the_store_is_used_to_is_an_anomaly_until_it_is_not(shop: Shop) -> None:
    # Tuesdays, by the store's clock: 100 units from 11 to 12, 40 from 12 to 13; the fact has eight weeks.
    facts = []
    for week in range(1, 9):
        day = date(2026, 3, 31) - timedelta(weeks=week)
        for hour, units in [(11, 100 + week % 2), (12, 40)]:
            facts.append((day, hour, 1, 1, Decimal(units), Decimal(2 * units), Decimal(0), 1))
    shop.insert("fact_sales", *facts)
    assert {row["weeks"] for row in shop.refresh("rt_sales_profile")} == {8}
    # At 12:30 half of either hour is expected: 70 units, and some ten more or less would be nothing special.
    for minute in range(0, 60, 5):
        shop.sell("milk", 6, NOW - HOUR + minute * MINUTE)
    shop.look()
    assert shop.anomalies("unusual_units") == []
    shop.sell("milk", 500, NOW - 20 * MINUTE)
    shop.look()
    ((subject, started, ended, expected, observed, words),) = shop.anomalies("unusual_units")
    assert (subject, started, ended) == ("Basics", NOW, NEVER)
    assert (round(expected), round(observed)) == (70, 566)
    assert words.startswith("One, Basics: 566 units in an hour, 70")
    assert len(shop.anomalies("unusual_revenue")) == 1
    shop.till("R1", "heartbeat", NOW + 2 * HOUR)
    shop.look()
    ((_, started, ended, *_),) = shop.anomalies("unusual_units")
    assert (started, ended) == (NOW, NOW + 2 * HOUR)


def test_a_till_that_is_silent_or_offline_and_a_store_that_is_are_anomalies(shop: Shop) -> None:
    shop.till("R2", "heartbeat", NOW - 6 * HOUR)
    shop.till("R3", "close", NOW - 9 * HOUR)
    shop.till("R4", "offline", NOW - 10 * MINUTE)
    shop.till("R1", "open", NOW - 7 * HOUR, store="S2")
    shop.till("R2", "close", NOW - 7 * HOUR, store="S2")
    shop.look()
    assert shop.anomalies("till_silent") == [
        ("R2", NOW - 6 * HOUR, NEVER, 300, 360, "One, Till R2: nothing for 360 minutes, though it did not close")
    ]
    assert shop.anomalies("till_offline") == [
        ("R4", NOW - 10 * MINUTE, NEVER, 0, 10, "One, Till R4: offline for 10 minutes")
    ]
    assert shop.anomalies("store_silent") == [
        ("", NOW - 7 * HOUR, NEVER, 300, 420, "S2, All tills: nothing for 420 minutes, though 1 did not close")
    ]
    shop.till("R2", "heartbeat", NOW + MINUTE)
    shop.till("R4", "online", NOW + MINUTE)
    shop.till("R1", "heartbeat", NOW + MINUTE, store="S2")
    shop.look()
    for kind in ("till_silent", "till_offline", "store_silent"):
        assert [row[2] for row in shop.anomalies(kind)] == [NOW + MINUTE], kind
    assert shop.heard.anomalies == {}


def test_too_many_prices_changed_by_hand_and_stock_below_zero_are_anomalies(shop: Shop) -> None:
    hour = NOW.replace(minute=0)
    shop.override("R1", hour, 14)
    shop.stock("milk", -3, NOW - MINUTE)
    shop.look()
    assert [(row[0], *row[3:]) for row in shop.anomalies("price_overrides")] == [
        ("R1", 10, 14, "One, Till R1: 14 prices changed by hand in an hour, 10 at most are usual")
    ]
    assert shop.anomalies("negative_stock") == [
        ("milk", NOW - MINUTE, NEVER, 0, -3, "One, Milk: -3 units on hand by the books")
    ]
    shop.stock("milk", -9, NOW)
    shop.look()
    assert [(row[1], row[4]) for row in shop.anomalies("negative_stock")] == [(NOW - MINUTE, -9)], "the same, worse"
    shop.stock("milk", 0, NOW + MINUTE)
    shop.look()
    shop.stock("milk", -1, NOW + 2 * MINUTE)
    shop.look()
    incidents = [(row[1], row[2], row[4]) for row in shop.anomalies("negative_stock")]
    assert incidents == [(NOW - MINUTE, NOW + MINUTE, -9), (NOW + 2 * MINUTE, NEVER, -1)]


def test_every_hour_with_too_many_prices_changed_by_hand_is_told_of_once_also_after_it_is_over(shop: Shop) -> None:
    ten = NOW.replace(minute=0)
    found = lambda: [(*row[:3], row[4]) for row in shop.anomalies("price_overrides")]  # noqa: E731

    shop.override("R1", ten, 10)
    shop.look()
    assert found() == []
    # The eleventh comes two seconds before eleven, and the next look after it.
    shop.override("R1", ten, 11)
    shop.till("R2", "heartbeat", ten + HOUR + MINUTE)
    shop.look()
    assert found() == [("R1", ten, NEVER, 11)]
    over = ("R1", ten, ten + HOUR + MINUTE, 11)
    for _ in range(3):
        shop.look()
        assert found() == [over], "it is over, and told of already"


def test_hours_with_too_many_prices_changed_by_hand_are_incidents_of_their_own_one_after_another(shop: Shop) -> None:
    ten = NOW.replace(minute=0)
    found = lambda: [(*row[:3], row[4]) for row in shop.anomalies("price_overrides")]  # noqa: E731

    shop.override("R1", ten - 26 * HOUR, 50)
    shop.override("R1", ten, 12)
    shop.look()
    assert found() == [("R1", ten, NEVER, 12)], "a day ago is too long ago"
    # No look for two hours; then one hour is over that was never looked at, and another runs.
    shop.override("R1", ten + HOUR, 13)
    shop.override("R1", ten + 2 * HOUR, 14)
    shop.override("R2", ten + 2 * HOUR, 15)
    now = ten + 2.5 * HOUR
    for _ in range(6):
        shop.look()
    three = [("R1", ten, now, 12), ("R1", ten + HOUR, now, 13), ("R1", ten + 2 * HOUR, NEVER, 14)]
    assert sorted(found()) == [*three, ("R2", ten + 2 * HOUR, NEVER, 15)]
    # It gets worse while it runs, and ends with its hour.
    shop.override("R1", ten + 2 * HOUR, 30)
    shop.look()
    assert sorted(found())[2] == ("R1", ten + 2 * HOUR, NEVER, 30)
    shop.till("R3", "heartbeat", ten + 3 * HOUR)
    shop.look()
    shop.look()
    assert [row[2] for row in sorted(found())] == [now, now, ten + 3 * HOUR, ten + 3 * HOUR]


def test_a_till_that_was_once_ahead_falls_silent_like_the_others_and_its_store_keeps_its_time(shop: Shop) -> None:
    shop.till("R2", "heartbeat", NOW - 6 * HOUR)
    next_year = datetime.now(UTC).replace(microsecond=0) + timedelta(days=365)
    shop.till("R2", "heartbeat", next_year)
    shop.stock("milk", 5, next_year)
    shop.look()
    assert [row[:3] for row in shop.anomalies("till_silent")] == [("R2", NOW - 6 * HOUR, NEVER)]
    clock = shop.client.query("SELECT store_id, as_of FROM retail.v_store_clock").result_rows
    assert [(store, aware(as_of)) for store, as_of in clock] == [("S1", NOW)]


def test_a_late_event_of_an_earlier_hour_is_not_the_tills_last_word(shop: Shop) -> None:
    shop.till("R2", "offline", NOW)
    shop.till("R2", "heartbeat", NOW - 2 * HOUR)
    query = "SELECT last_event_at, last_kind FROM retail.v_pos_health WHERE register_id = 'R2'"
    assert [(aware(at), kind) for at, kind in shop.client.query(query).result_rows] == [(NOW, "offline")]
