"""Work beside the queries: the hours of a time zone, how often it is looked, and what is said when a look fails."""

import logging
from datetime import UTC, date, datetime, timedelta
from threading import Event
from zoneinfo import ZoneInfoNotFoundError

import pytest

from retail_streaming.background import keep_doing
from retail_streaming.errors import TransientError
from retail_streaming.looks import Looks
from retail_streaming.metrics import Metrics
from retail_streaming.settings import StreamingSettings
from retail_streaming.store_clock import CLOCK, hours_of
from retail_streaming.warehouse import Warehouse


def test_an_hour_of_the_clock_is_that_of_the_store_on_both_sides_of_a_change() -> None:
    before = datetime(2026, 3, 29, 0, 20, tzinfo=UTC)
    rows = hours_of("Europe/Berlin", before, before + timedelta(hours=2)).to_pylist()
    assert [(row["hour_start"].hour, row["local_hour"]) for row in rows] == [(0, 1), (1, 3), (2, 4)]
    late = datetime(2026, 3, 1, 23, 0, tzinfo=UTC)
    (row,) = hours_of("Asia/Kolkata", late, late).to_pylist()
    assert (row["local_date"], row["local_hour"]) == (date(2026, 3, 2), 4)
    assert hours_of("UTC", late, late).schema == CLOCK


def test_a_time_zone_that_does_not_exist_has_no_hours() -> None:
    now = datetime.now(UTC)
    with pytest.raises(ZoneInfoNotFoundError):
        hours_of("Europe/Nowhere", now, now)


def test_work_that_says_how_long_to_wait_is_not_done_before() -> None:
    stopping, done = Event(), Event()
    turns: list[int] = []

    def work() -> float:
        turns.append(1)
        done.set()
        return 3600

    thread = keep_doing("test", work, stopping)
    assert done.wait(30)
    stopping.set()
    thread.join(30)
    assert turns == [1]


def test_a_warehouse_that_is_away_is_said_once_and_asked_again(seen: pytest.LogCaptureFixture) -> None:
    settings = StreamingSettings(clickhouse_port=9, clickhouse_password="x")  # type: ignore[arg-type]
    metrics = Metrics()
    looks = Looks(settings, Warehouse(settings), metrics)
    for _ in range(2):
        with pytest.raises(TransientError):
            looks.turn()
    assert "retail_stream_look_failures_total 2.0" in metrics.text().decode()
    said = [record for record in seen.records if record.getMessage() == "look failed"]
    assert [record.levelno for record in said] == [logging.WARNING]


def test_the_metrics_show_the_newest_look_alone() -> None:
    metrics = Metrics()
    metrics.looked(0.5, {"out": 3, "low": 1}, {"till_silent": 1}, 2)
    metrics.looked(0.2, {"out": 2}, {}, 0)
    text = metrics.text().decode()
    assert "retail_stream_looks_total 2.0" in text
    assert 'retail_stream_products_at_risk{level="out"} 2.0' in text
    assert 'level="low"' not in text
    assert "till_silent" not in text
