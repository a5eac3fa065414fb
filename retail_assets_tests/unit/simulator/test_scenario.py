"""A scenario says what is wrong with it, and stands for one set of data."""

from datetime import date, datetime
from typing import Any

import pytest

from retail_assets.simulator.scenario import (
    AnomalyRates,
    CatalogueSettings,
    DemandSettings,
    DirtRates,
    Scenario,
    ScenarioError,
    StockSettings,
    StoreSettings,
)

TODAY = date(2026, 1, 31)


def test_the_history_and_today_together_are_the_days_asked_for() -> None:
    scenario = Scenario(last_date=TODAY, days=31)
    assert scenario.first_date == date(2026, 1, 1)
    assert len(scenario.dates) == 31
    assert scenario.dates[-1] == TODAY


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -1),
        ("seed", 1.5),
        ("stores", 0),
        ("stores", 1_000),
        ("stores", True),
        ("products", 0),
        ("products", "120"),
        ("days", 1),
        ("malformed", -1),
        ("duplicates", 10**9),
        ("last_date", "2026-01-31"),
        ("last_date", datetime(2026, 1, 31)),  # noqa: DTZ001 - wrong on purpose
        ("time_zone", "Berlin"),
        ("currency", "euro"),
        ("currency", None),
    ],
)
def test_a_wrong_field_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ScenarioError, match=rf"^{field} should be"):
        Scenario(**{"last_date": TODAY, field: value})


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 8},
        {"stores": 9},
        {"products": 119},
        {"days": 399},
        {"last_date": date(2026, 1, 30)},
        {"time_zone": "Europe/Paris"},
        {"currency": "CHF"},
        {"malformed": 6},
        {"duplicates": 26},
        {"store_settings": StoreSettings(hypermarkets=0.3)},
        {"store_settings": StoreSettings(time_zones=(("East", "Europe/Warsaw"),))},
        {"catalogue": CatalogueSettings(promoted=0.1)},
        {"demand": DemandSettings(season=0.5)},
        {"stock": StockSettings(target_days=20)},
        {"anomalies": AnomalyRates(thefts=1)},
        {"dirt": DirtRates(late_rate=0.1)},
    ],
)
def test_every_field_changes_the_fingerprint(other: dict[str, Any]) -> None:
    assert Scenario(**{"last_date": TODAY} | other).fingerprint != Scenario(last_date=TODAY).fingerprint


def test_equal_scenarios_have_equal_fingerprints() -> None:
    assert Scenario(last_date=TODAY, seed=7).fingerprint == Scenario(last_date=TODAY).fingerprint


def test_a_whole_number_and_the_same_float_are_one_scenario() -> None:
    one, other = (Scenario(last_date=TODAY, demand=DemandSettings(season=value)) for value in (1, 1.0))
    assert one == other
    assert one.fingerprint == other.fingerprint


def test_a_section_names_its_field() -> None:
    with pytest.raises(ScenarioError, match=r"^demand\.season should be a number from 0 to 5, not -1$"):
        DemandSettings(season=-1)
