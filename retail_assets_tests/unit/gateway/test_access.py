"""Who may come in."""

import base64
from pathlib import Path

import pytest

from retail_local.gateway.access import Passwords, SecretsError, User, authenticate
from retail_local.gateway.errors import GatewayError


@pytest.fixture
def passwords(tmp_path: Path) -> Passwords:
    (tmp_path / "clickhouse_etl").write_text("one:two\n")
    (tmp_path / "clickhouse_bi_reader").write_text("zwei ü")
    return Passwords.read(tmp_path)


def basic(text: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def test_a_password_may_have_colons_and_any_letters(passwords: Passwords) -> None:
    assert authenticate(passwords, basic("etl:one:two"), {}) is User.ETL
    assert authenticate(passwords, {}, {"user": "bi_reader", "password": "zwei ü"}) is User.BI_READER
    headers = {"x-clickhouse-user": "etl", "x-clickhouse-key": "one:two"}
    assert authenticate(passwords, headers, {}) is User.ETL


@pytest.mark.parametrize("text", ["etl:", "etl:one", ":one:two", "default:", "bi_reader:one:two", "etl", "ETL:one:two"])
def test_anything_else_stays_out(passwords: Passwords, text: str) -> None:
    with pytest.raises(GatewayError) as caught:
        authenticate(passwords, basic(text), {})
    assert caught.value.code == 516


def test_two_kinds_of_credentials_at_once_are_refused(passwords: Passwords) -> None:
    with pytest.raises(GatewayError, match="several kinds"):
        authenticate(passwords, basic("etl:one:two"), {"user": "etl", "password": "one:two"})


def test_passwords_do_not_show_when_printed(passwords: Passwords) -> None:
    assert "one" not in repr(passwords)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretsError, match="clickhouse_etl"):
        Passwords.read(tmp_path)
