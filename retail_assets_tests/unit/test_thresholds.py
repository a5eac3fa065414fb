"""The file of thresholds: typed, and clear about what is wrong."""

from pathlib import Path

import pytest

from retail_assets.contracts.thresholds import ThresholdsError, load_thresholds
from retail_assets.settings import SettingsError, load_settings


def own(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "own.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_of_ones_own_names_only_what_differs(tmp_path: Path) -> None:
    platform = load_thresholds()
    ours = load_thresholds(own(tmp_path, "[quarantine]\nunits_per_line = 50.0\n"))
    assert ours.quarantine.units_per_line == 50
    assert ours.quarantine.hours_ahead == platform.quarantine.hours_ahead
    assert ours.volume == platform.volume


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[volume]\nscor = 3.0\n", "volume.scor is 3.0: is no threshold"),
        ("[volumes]\nscore = 3.0\n", "volumes is {'score': 3.0}: is no threshold"),
        ("[volume]\nscore = 'high'\n", "volume.score is 'high': Input should be a valid number"),
        ("[price_jumps]\nratio = 0.5\n", "price_jumps.ratio is 0.5: Input should be greater than 1"),
        ("volume = 3\n", "volume is 3: "),
        ("[volume\n", "can't be read as TOML"),
    ],
)
def test_a_wrong_field_is_named_with_its_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ThresholdsError) as error:
        load_thresholds(own(tmp_path, text))
    assert message in str(error.value)
    assert "own.toml" in str(error.value)


def test_a_wrong_file_is_refused_with_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIL_THRESHOLDS_FILE", str(own(tmp_path, "[volume]\nscor = 3.0\n")))
    with pytest.raises(SettingsError, match=r"RETAIL_THRESHOLDS_FILE is .*volume\.scor is 3\.0: is no threshold"):
        load_settings()
    monkeypatch.setenv("RETAIL_THRESHOLDS_FILE", str(own(tmp_path, "[volume]\nscore = 3.0\n")))
    assert load_thresholds(load_settings().thresholds_file).volume.score == 3


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ThresholdsError, match="missing.toml"):
        load_thresholds(tmp_path / "missing.toml")
