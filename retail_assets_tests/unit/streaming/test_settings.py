"""The service's own settings: the same names as the platform's, and one line for each that is wrong."""

from pathlib import Path

import pytest

from retail_assets.settings import Settings
from retail_streaming.errors import SettingsError
from retail_streaming.settings import StreamingSettings, load_settings


def test_what_the_platform_has_too_has_the_same_default(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = [name for name in StreamingSettings.model_fields if not name.startswith("stream_")]
    assert set(shared) <= set(Settings.model_fields)
    for name in shared:
        monkeypatch.delenv(f"RETAIL_{name.upper()}", raising=False)
    ours, theirs = StreamingSettings(), Settings()
    assert {name: getattr(ours, name) for name in shared} == {name: getattr(theirs, name) for name in shared}


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("RETAIL_STREAM_TRIGGER_SECONDS", "soon", "RETAIL_STREAM_TRIGGER_SECONDS is 'soon': Input should be a valid"),
        ("RETAIL_STREAM_LATE_MINUTES", "0", "RETAIL_STREAM_LATE_MINUTES is '0': Input should be greater than or equal"),
        ("RETAIL_STREAM_CHECKPOINT_URI", "/data", "RETAIL_STREAM_CHECKPOINT_URI is '/data': should start with"),
        ("RETAIL_KAFKA_BOOTSTRAP_SERVERS", "broker", "RETAIL_KAFKA_BOOTSTRAP_SERVERS is 'broker': String should match"),
        ("RETAIL_CLICKHOUSE_PORT", "0", "RETAIL_CLICKHOUSE_PORT is '0'"),
        ("RETAIL_SPARK_MASTER", "foo", "RETAIL_SPARK_MASTER is 'foo': String should match"),
        ("RETAIL_STREAM_LATE_MINUTES", "99999999999", "RETAIL_STREAM_LATE_MINUTES is '99999999999': Input should be"),
        (
            "RETAIL_STREAM_LATE_MINUTE",
            "3",
            "RETAIL_STREAM_LATE_MINUTE is no setting: did you mean RETAIL_STREAM_LATE_MINUTES?",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_what_it_should_be(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, line: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(line)


def test_a_setting_of_the_platform_that_is_none_of_our_business_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIL_LAKE_URI", "nonsense")
    assert load_settings().jar_groups == ["spark"]


def test_a_name_in_the_file_that_is_none_of_the_service_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("RETAIL_STREAM_RESTART=3\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="RETAIL_STREAM_RESTART is no setting"):
        load_settings()


@pytest.mark.parametrize("master", ["local", "local[2]", "local[*]", "local[2, 3]", "spark://host:7077", "yarn"])
def test_spark_may_run_wherever_it_can(monkeypatch: pytest.MonkeyPatch, master: str) -> None:
    monkeypatch.setenv("RETAIL_SPARK_MASTER", master)
    assert load_settings().spark_master == master


def test_checkpoints_lie_in_the_data_folder_unless_placed_elsewhere(tmp_path: Path) -> None:
    assert StreamingSettings(var_dir=tmp_path).checkpoint_of("q") == f"{tmp_path.as_uri()}/checkpoints/q"
    placed = StreamingSettings(stream_checkpoint_uri="s3a://bucket/checkpoints/")
    assert placed.checkpoint_of("q") == "s3a://bucket/checkpoints/q"
    assert placed.jar_groups == ["spark", "s3"]


def test_the_password_is_the_setting_or_the_generated_one_or_an_error_that_names_both(tmp_path: Path) -> None:
    settings = StreamingSettings(var_dir=tmp_path, clickhouse_user="etl")
    with pytest.raises(SettingsError, match=r"RETAIL_CLICKHOUSE_PASSWORD is not set and .*clickhouse_etl"):
        _ = settings.warehouse_password
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "clickhouse_etl").write_text("generated\n")
    assert settings.warehouse_password == "generated"


def test_limits_of_levels_in_the_wrong_order_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIL_STREAM_LOW_HOURS", "12")
    with pytest.raises(SettingsError, match=r"^RETAIL_STREAM_CRITICAL_HOURS is 24.0 and should be at most"):
        load_settings()
