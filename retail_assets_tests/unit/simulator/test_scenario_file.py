"""Scenario files: presets that load, values that arrive, and errors that name the field."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from retail_assets.simulator.scenario import Scenario, ScenarioError
from retail_assets.simulator.scenario_file import PRESETS, field_names, load_scenario


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_loads(preset: str) -> None:
    scenario = load_scenario(preset)
    assert scenario.anomalies.thefts > 0


def test_presets_grow() -> None:
    sizes = [s.stores * s.products * s.days for s in map(load_scenario, PRESETS)]
    assert sizes == sorted(sizes)
    chain = load_scenario("chain")
    assert (chain.stores, chain.products, chain.days) == (500, 5_000, 730)


def test_a_file_with_nothing_but_a_date_has_all_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "[retailer]\nlast_date = 2025-12-31\n")
    assert load_scenario(path) == load_scenario(str(path)) == Scenario(last_date=date(2025, 12, 31))


def test_values_of_a_file_arrive(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        [retailer]
        last_date = 2025-06-30
        seed = 5
        [stores]
        count = 3
        hypermarkets = 1
        [stores.time_zones]
        West = "Europe/Paris"
        East = "Europe/Warsaw"
        [catalogue]
        products = 44
        [demand]
        dispersion = 0.9
        [dirt]
        malformed = 0
        late_rate = 0.01
        """,
    )
    scenario = load_scenario(path)
    assert (scenario.last_date, scenario.seed, scenario.stores, scenario.products) == (date(2025, 6, 30), 5, 3, 44)
    assert scenario.store_settings.hypermarkets == 1.0
    assert scenario.store_settings.time_zones == (("East", "Europe/Warsaw"), ("West", "Europe/Paris"))
    assert scenario.demand.dispersion == 0.9
    assert (scenario.malformed, scenario.dirt.late_rate) == (0, 0.01)


def test_overrides_go_by_the_names_of_either_side_and_none_leaves_the_file() -> None:
    scenario = load_scenario("demo", stores=4, seed=None, **{"demand.dispersion": 0.1, "retailer.days": 20})
    assert (scenario.stores, scenario.days, scenario.demand.dispersion) == (4, 20, 0.1)
    assert scenario.seed == load_scenario("demo").seed
    assert scenario.anomalies == load_scenario("demo").anomalies


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"stores": 0}, r"^stores\.count should be a whole number from 1 to 999, not 0$"),
        ({"stores.count": "ten"}, r"^stores\.count should be a whole number .*, not 'ten'$"),
        ({"products": -1}, r"^catalogue\.products should be"),
        ({"last_date": "2025-12-31"}, r"^retailer\.last_date should be a date, not '2025-12-31'$"),
        ({"time_zone": "Berlin"}, r"^retailer\.time_zone should be an IANA time zone"),
        ({"currency": "euro"}, r"^retailer\.currency should be three capital letters"),
        ({"malformed": -1}, r"^dirt\.malformed should be"),
        ({"dirt.late_rate": -0.1}, r"^dirt\.late_rate should be a number from 0 to 1, not -0\.1$"),
        ({"anomalies.thefts": -1}, r"^anomalies\.thefts should be a number from 0 to 1000, not -1$"),
        ({"demand.dispersion": float("nan")}, r"^demand\.dispersion should be a number .*, not nan$"),
        ({"demand.dispersion": True}, r"^demand\.dispersion should be a number .*, not True$"),
        ({"catalogue.promoted": "all"}, r"^catalogue\.promoted should be a number from 0 to 1, not 'all'$"),
        (
            {"stores.hypermarkets": 0, "stores.supermarkets": 0, "stores.convenience_stores": 0},
            r"^stores\.supermarkets",
        ),
        ({"stores.time_zones": {"East": "Leipzig"}}, r"^stores\.time_zones\.East should be an IANA time zone"),
        ({"stores.time_zones": {"Est": "Europe/Berlin"}}, r"^stores\.time_zones should name regions .*, not 'Est'$"),
        ({"stores.time_zones": "Europe/Berlin"}, r"^stores\.time_zones should be a table"),
        ({"demand.dispersal": 1}, r"^demand\.dispersal is no field of a scenario; did you mean demand\.dispersion\?$"),
        ({"store": 1}, r"^store is no field of a scenario"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load_scenario("tiny", **overrides)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[retailer]\nseed = 1\n", r"^retailer\.last_date should be a date .* it is missing$"),
        ("[retailer]\nlast_date = 2025-12-31T00:00:00\n", r"^retailer\.last_date should be a date"),
        ("[retail]\nseed = 1\n", r"^\[retail\] in .*mine\.toml is no section; did you mean retailer\?$"),
        ("seed = 1\n", r"^\[seed\] in .* is no section"),
        ("stores = 5\n", r"^stores should be a section \[stores\] with fields, not 5$"),
        ("[stores]\nnumber = 5\n", r"^stores\.number is no field of a scenario"),
        ("[stores\n", r"mine\.toml should be a TOML file"),
    ],
)
def test_a_wrong_file_is_refused_by_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load_scenario(written(tmp_path, text))


def test_a_file_that_is_not_there_or_no_text_is_refused_with_the_presets_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"preset \(tiny, demo, city, chain\).*'metropolis'"):
        load_scenario("metropolis")
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match="UTF-8"):
        load_scenario(path)


def test_field_names_are_those_that_load() -> None:
    names = field_names()
    assert len(set(names)) == len(names)
    assert {"retailer.seed", "stores.count", "catalogue.products", "stock.target_days", "dirt.late_rate"} <= set(names)
    assert not [name for name in names if name.startswith("retailer.stores")]
