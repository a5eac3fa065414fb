"""Settings explain what is wrong with them, and never show a secret."""

from pathlib import Path

import pytest

from retail_assets.settings import Settings, SettingsError, load_settings, unknown_variables


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


def test_a_date_that_no_calendar_has_is_refused_with_one_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIL_HISTORY_START", "2025-13-45")
    with pytest.raises(SettingsError, match="RETAIL_HISTORY_START is '2025-13-45': should be a date such as"):
        load_settings()


def test_a_text_of_the_wrong_form_is_refused_with_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIL_SPARK_DRIVER_MEMORY", "lots")
    monkeypatch.setenv("RETAIL_KAFKA_BOOTSTRAP_SERVERS", "broker")
    with pytest.raises(SettingsError) as error:
        load_settings()
    lines = str(error.value).splitlines()
    assert "RETAIL_SPARK_DRIVER_MEMORY is 'lots': should look like 2g" in lines
    assert "RETAIL_KAFKA_BOOTSTRAP_SERVERS is 'broker': should look like broker-1:9092,broker-2:9092" in lines


def test_a_folder_that_is_a_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RETAIL_VAR_DIR", str(tmp_path / "file" / "var"))
    with pytest.raises(SettingsError, match=r"should be a folder, but .*file is a file"):
        load_settings()


def test_a_variable_that_is_no_setting_is_named_with_the_one_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIL_KAFKA_PROT", "9092")
    monkeypatch.setenv("RETAIL_STREAM_TRIGGER_SECONDS", "2")
    assert unknown_variables() == ["RETAIL_KAFKA_PROT is no setting: did you mean RETAIL_KAFKA_PORT?"]


def test_a_file_of_settings_that_is_no_text_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / ".env"
    broken.write_bytes(b"RETAIL_CURRENCY=\xff\xfe")
    monkeypatch.setattr("retail_assets.settings._ENV_FILE", broken)
    with pytest.raises(SettingsError, match="save it as a text file in UTF-8"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "should"),
    [
        ("KAFKA_BATCH_EVENTS", "0", "greater than or equal to 1"),
        ("KAFKA_BATCH_WAIT_S", "-1", "greater than or equal to 0"),
        ("KAFKA_BATCH_WAIT_S", "nan", "finite number"),
        ("KAFKA_TICK_S", "60", "less than or equal to 45"),
    ],
)
def test_a_batch_that_could_never_start_or_a_tick_that_dagster_would_cut_off_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, should: str
) -> None:
    monkeypatch.setenv(f"RETAIL_{name}", value)
    with pytest.raises(SettingsError, match=f"RETAIL_{name} is '{value}': .*{should}"):
        load_settings()


def test_a_tenant_has_lake_database_topics_and_dagster_of_its_own(tmp_path: Path) -> None:
    main, tenant = Settings(var_dir=tmp_path), Settings(var_dir=tmp_path, tenant="shop")
    for name in ("lake", "database", "topic_prefix", "dagster_home"):
        assert getattr(main, name) != getattr(tenant, name), name
    assert not tenant.lake.startswith(main.lake), "what removes the main lake must not reach a tenant's"
    shared = "s3a://bucket/retail"
    assert Settings(lake_uri=shared, tenant="shop").lake == "s3a://bucket/retail/tenants/shop"


def test_a_tenants_own_settings_go_before_those_of_all_and_behind_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RETAIL_VAR_DIR", str(tmp_path))
    monkeypatch.setenv("RETAIL_TENANT", "shop")
    monkeypatch.setenv("RETAIL_CURRENCY", "USD")
    own = load_settings().tenant_file
    own.parent.mkdir(parents=True)
    own.write_text("RETAIL_HISTORY_START=2011-05-06\nRETAIL_CURRENCY=GBP\n", encoding="utf-8")
    settings = load_settings()
    assert (settings.history_start, settings.currency) == ("2011-05-06", "USD")
    monkeypatch.setenv("RETAIL_TENANT", "other")
    assert load_settings().history_start == "2025-01-01"


def test_a_tenants_name_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIL_TENANT", "../shop")
    with pytest.raises(SettingsError, match="RETAIL_TENANT is '../shop': should look like corner_shop"):
        load_settings()
