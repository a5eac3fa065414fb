"""The users of a ClickHouse server, by the text of their definition; only a server can prove their grants."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from retail_assets.settings import Settings
from retail_local.gateway.policy import READER_LIMITS

ROOT = Path(__file__).resolve().parents[3]
USERS_FILE = ROOT / "infra/clickhouse/users/retail.xml"
CONFIGURATION = ET.parse(USERS_FILE).getroot()  # noqa: S314 -- the project's own file
CLICKHOUSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["clickhouse"]


def grants(user: str) -> list[str]:
    return [query.text or "" for query in CONFIGURATION.findall(f"users/{user}/grants/query")]


def test_there_are_a_writer_and_a_reader():
    users = CONFIGURATION.find("users")
    assert users is not None
    assert [user.tag for user in users] == [Settings.model_fields["clickhouse_user"].default, "bi_reader"]


@pytest.mark.parametrize("user", ["etl", "bi_reader"])
def test_a_password_comes_from_the_environment_of_the_server(user: str):
    password = CONFIGURATION.find(f"users/{user}/password")
    assert password is not None
    assert not password.text
    assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", CLICKHOUSE["environment"][password.attrib["from_env"]])


def test_the_file_is_mounted_where_the_server_looks_for_users():
    assert any(
        volume == "./infra/clickhouse/users/retail.xml:/etc/clickhouse-server/users.d/retail.xml:ro"
        for volume in CLICKHOUSE["volumes"]
    )


def test_the_reader_reads_the_views_and_nothing_else():
    assert grants("bi_reader") == ["GRANT SELECT ON retail.v_*"]


def test_the_writer_is_kept_to_the_databases_of_the_platform():
    database = Settings.model_fields["clickhouse_database"].default
    assert grants("etl") == [f"GRANT ALL ON {database}.*", f"GRANT ALL ON {database}_staging.*"]


def test_the_reader_has_the_limits_that_the_local_gateway_sets_and_cannot_lift_them():
    for name, limit in READER_LIMITS.items():
        assert CONFIGURATION.findtext(f"profiles/bi_reader/{name}") == str(limit)
        assert CONFIGURATION.findtext(f"profiles/bi_reader/constraints/{name}/max") == str(limit)
        assert CONFIGURATION.findtext(f"profiles/bi_reader/constraints/{name}/min") == "1"
    assert CONFIGURATION.findtext("profiles/bi_reader/readonly") == "2"


def test_views_are_read_with_their_makers_rights():
    assert CONFIGURATION.findtext("profiles/etl/default_normal_view_sql_security") == "DEFINER"
