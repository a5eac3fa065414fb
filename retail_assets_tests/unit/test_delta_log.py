"""What a table's log says of a file: bounds that no value lies outside of."""

import json
from datetime import UTC, date, datetime, timedelta, timezone

from retail_assets.delta_log import added


def test_times_are_cut_to_milliseconds_below_and_rounded_up_above() -> None:
    at = datetime(2026, 3, 10, 12, 0, 0, 1_200, tzinfo=UTC)
    whole = datetime(2026, 3, 10, 13, 0, 0, 2_000, tzinfo=timezone(timedelta(hours=1)))
    entry = added("a", 1, 2, bounds={"at": (at, at), "whole": (whole, whole), "day": (at.date(), date(2026, 3, 11))})
    statistics = json.loads(entry.stats)
    assert statistics["minValues"] == {
        "at": "2026-03-10T12:00:00.001Z",
        "whole": "2026-03-10T12:00:00.002Z",
        "day": "2026-03-10",
    }
    assert statistics["maxValues"] == {
        "at": "2026-03-10T12:00:00.002Z",
        "whole": "2026-03-10T12:00:00.002Z",
        "day": "2026-03-11",
    }


def test_columns_with_bounds_have_no_nulls_and_others_as_many_as_were_counted() -> None:
    statistics = json.loads(added("a", 1, 2, bounds={"day": (date(2026, 3, 1),) * 2}, nulls={"rejection": 2}).stats)
    assert statistics["nullCount"] == {"day": 0, "rejection": 2}
    assert statistics["numRecords"] == 2
