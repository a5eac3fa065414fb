"""Settings explain what is wrong with them, and never show a secret."""

from pathlib import Path

import pytest

from retail_assets.settings import Settings, SettingsError, load_settings


def test_a_wrong_setting_is_named_with_what_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIL_KAFKA_PORT", "ninety")
    monkeypatch.setenv("RETAIL_TIME_ZONE", "Berlin")
    with pytest.raises(SettingsError) as error:
        load_settings()
    lines = str(error.value).splitlines()
    assert any(line.startswith("RETAIL_KAFKA_PORT is 'ninety'") for line in lines)
    assert "RETAIL_TIME_ZONE is 'Berlin': should be an IANA time zone such as Europe/Berlin" in lines


def test_a_lake_of_an_unknown_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIL_LAKE_URI", "gs://bucket")
    with pytest.raises(SettingsError, match="RETAIL_LAKE_URI is 'gs://bucket': should start with file:/// or s3a://"):
        load_settings()


def test_a_missing_password_names_the_variable_and_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"RETAIL_CLICKHOUSE_PASSWORD is not set .* run `retail up`"):
        Settings(var_dir=tmp_path).password_of("etl")


def test_a_password_is_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIL_CLICKHOUSE_PASSWORD", "open sesame")
    assert "open sesame" not in repr(load_settings())
    assert load_settings().password_of("etl") == "open sesame"


def test_everything_lies_below_the_folder_that_is_set(tmp_path: Path) -> None:
    settings = Settings(var_dir=tmp_path)
    assert settings.lake == (tmp_path.resolve() / "lake").as_uri()
    assert settings.dagster_home.is_relative_to(tmp_path.resolve())
