"""Texts that the stack writes: configurations, the launch file, and its one-line errors."""

import json
import shutil
import socket
import threading
import time
from collections import namedtuple
from configparser import RawConfigParser
from pathlib import Path

import pytest

from retail_assets.settings import Settings
from retail_local import broker, logs, ports
from retail_local.files import locked
from retail_local.launch import Spec
from retail_local.passwords import ensure_secrets, loose_permissions
from retail_local.ports import PortInUseError, PortUse
from retail_local.services import (
    SERVICES,
    UnknownServiceError,
    default_services,
    digest,
    find_service,
    s3_port,
    settings_environment,
)
from retail_local.stack import DiskFullError, Stack
from retail_local.supervision import SupervisorError, render_config, socket_path

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 -- as shutil's own


def spec(folder: str = "/somewhere", **environment: str) -> Spec:
    return Spec("/stack", "kafka", ["java", "kafka.Kafka"], environment, folder, [9092])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    # Said, because whoever runs the tests may have set others in the environment.
    return Settings(
        var_dir=tmp_path / "var",
        cache_dir=tmp_path / "cache",
        java_home=None,
        kafka_port=9092,
        kafka_controller_port=9093,
        kafka_bootstrap_servers="",
        clickhouse_host="127.0.0.1",
        s3_endpoint="",
    )


def test_the_broker_listens_on_the_loopback_address_alone(settings: Settings):
    lines = dict(line.split("=", 1) for line in broker.server_properties(settings).splitlines() if "=" in line)
    assert lines["listeners"] == "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"
    assert "0.0.0.0" not in lines["advertised.listeners"]  # noqa: S104 -- its absence
    assert lines["auto.create.topics.enable"] == "false"


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("/plain/path with space", "/plain/path with space"),
        (r"a\b", r"a\\b"),
        ("/Köln", r"/K\u00f6ln"),
        ("🛒", r"\ud83d\uded2"),
    ],
)
def test_properties_are_written_in_javas_ascii(value: str, escaped: str):
    assert broker.escape_property(value) == escaped


def test_supervisors_configuration_keeps_percent_signs_and_restarts(tmp_path: Path):
    settings = Settings(var_dir=tmp_path / "100% mine")
    parser = RawConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(render_config(settings, [(SERVICES["kafka"], spec())]))
    program = parser["program:kafka"]
    assert program["autorestart"] == "true"
    assert f"{tmp_path}/100%% mine/run/kafka.json" in program["command"]
    assert parser["unix_http_server"]["chmod"] == "0600"


@pytest.mark.parametrize("name", ['quoted "name"', "a ;comment", "a #comment"])
def test_a_path_that_supervisor_cannot_read_is_refused_with_a_mend(tmp_path: Path, name: str):
    with pytest.raises(SupervisorError, match="choose a RETAIL_VAR_DIR"):
        render_config(Settings(var_dir=tmp_path / name), [])


def test_a_changed_setting_changes_the_programs_digest():
    assert digest(spec(RETAIL_KAFKA_PORT="9092")) != digest(spec(RETAIL_KAFKA_PORT="9192"))
    assert Spec.from_json(spec().to_json()) == spec()


def test_the_socket_of_a_long_folder_moves_to_a_short_one(tmp_path: Path):
    long = socket_path(Settings(var_dir=tmp_path / ("long" * 30)))
    other = socket_path(Settings(var_dir=tmp_path / ("long" * 31)))
    assert len(str(long)) < 85
    assert long != other
    assert socket_path(Settings(var_dir=Path("/srv/var"))) == Path("/srv/var/run/supervisor.sock")


def test_services_see_every_setting_of_the_process_that_started_them(settings: Settings):
    environment = settings_environment(settings.model_copy(update={"kafka_port": 19092}))
    assert environment["RETAIL_KAFKA_PORT"] == "19092"
    assert environment["RETAIL_MODE"] == "local"
    assert environment["RETAIL_VAR_DIR"] == str(settings.var_dir)
    assert "RETAIL_JAVA_HOME" not in environment


def test_services_that_the_settings_place_elsewhere_are_not_started(settings: Settings):
    assert default_services(settings) == ["kafka", "warehouse", "dagster"]
    elsewhere = {"kafka_bootstrap_servers": "kafka.example:9092", "clickhouse_host": "ch.example"}
    assert default_services(settings.model_copy(update=elsewhere)) == ["dagster"]


def test_the_s3_server_listens_where_the_endpoint_says(settings: Settings):
    assert s3_port(settings) == 8333
    assert s3_port(settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9555"})) == 9555
    assert s3_port(settings.model_copy(update={"s3_endpoint": "https://s3.example"})) == 8333


def test_an_unknown_service_is_answered_with_the_known_ones():
    with pytest.raises(UnknownServiceError, match="choose from kafka, warehouse, dagster, s3"):
        find_service("zookeeper")


def test_a_port_in_use_names_the_port_its_holder_and_the_variable():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        number = held.getsockname()[1]
        assert not ports.is_free(number)
        with pytest.raises(PortInUseError) as caught:
            ports.require_free("kafka", PortUse(number, "RETAIL_KAFKA_PORT"))
    message = str(caught.value)
    assert f"port {number}, which kafka needs, is in use by" in message
    assert "set RETAIL_KAFKA_PORT to a free port" in message
    assert "\n" not in message


def test_a_nearly_full_disk_refuses_the_start(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 300_000_000))
    with pytest.raises(DiskFullError, match=r"only 0.30 GB are free .*1.00 GB are needed"):
        Stack(settings).up(["kafka"])
    assert not settings.secrets_dir.exists()


def test_secrets_are_private_and_made_once(settings: Settings):
    ensure_secrets(settings)
    before = {path.name: path.read_text(encoding="utf-8") for path in settings.secrets_dir.iterdir()}
    assert {"clickhouse_etl", "clickhouse_bi_reader"} <= set(before)
    assert len(set(before.values())) == len(before)
    assert loose_permissions(settings) == []
    ensure_secrets(settings)
    assert {path.name: path.read_text(encoding="utf-8") for path in settings.secrets_dir.iterdir()} == before
    assert json.loads(before["s3_identities.json"])["identities"][0]["name"] == "retail"


def test_a_secret_that_others_can_read_is_found(settings: Settings):
    ensure_secrets(settings)
    (settings.secrets_dir / "clickhouse_etl").chmod(0o644)
    assert loose_permissions(settings) == [settings.secrets_dir / "clickhouse_etl"]


def test_a_kafka_folder_that_is_formatted_is_not_formatted_again(settings: Settings):
    assert broker.cluster_id(settings) is None
    meta = broker.data_dir(settings) / "meta.properties"
    meta.parent.mkdir(parents=True)
    meta.write_text("version=1\ncluster.id=restored-from-a-backup\n", encoding="utf-8")
    broker.prepare(settings)
    assert broker.cluster_id(settings) == "restored-from-a-backup"
    assert [path.name for path in broker.data_dir(settings).iterdir()] == ["meta.properties"]


def test_the_telling_line_of_a_log_is_the_last_error_and_not_its_stack(tmp_path: Path):
    log = tmp_path / "kafka.log"
    assert logs.telling_line(log) == "the log is empty"
    log.write_text("one\nERROR first\njava.net.BindException: in use\n\tat java.base/x\nbye\n", encoding="utf-8")
    assert logs.telling_line(log) == "java.net.BindException: in use"


def test_following_a_log_goes_on_after_its_rotation(tmp_path: Path):
    log = tmp_path / "kafka.log"
    log.write_text("old\n", encoding="utf-8")
    lines = logs.follow({"kafka": log}, poll_seconds=0.02)

    def later() -> None:
        with log.open("a", encoding="utf-8") as stream:
            stream.write("half")
            stream.flush()
            time.sleep(0.1)
            stream.write(" and half\n")
        time.sleep(0.2)
        log.rename(tmp_path / "kafka.log.1")
        log.write_text("new file\n", encoding="utf-8")

    writer = threading.Timer(0.1, later)
    writer.start()
    assert [next(lines), next(lines)] == [("kafka", "half and half"), ("kafka", "new file")]
    writer.join()


def test_the_second_holder_of_a_lock_waits_and_says_so(tmp_path: Path):
    waited = threading.Event()
    order = []

    def second() -> None:
        with locked(tmp_path / "lock", on_wait=waited.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path / "lock"):
        thread.start()
        assert waited.wait(5)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
