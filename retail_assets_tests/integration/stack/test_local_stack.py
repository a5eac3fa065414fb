"""The real broker under the real supervisor: kept alive, kept whole, and always ended.

Each test has a folder and ports of its own, so that it runs beside the stack of whoever runs it.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from retail_assets.settings import Settings, load_settings
from retail_local import broker, jars, supervision
from retail_local.java import JavaError, find_java
from retail_local.passwords import ensure_secrets
from retail_local.ports import PortInUseError
from retail_local.services import settings_environment, stack_mark
from retail_local.stack import ServiceFailedError, ServiceStatus, Stack
from retail_local.supervision import Supervisor
from retail_local.sweep import find_marked

pytestmark = pytest.mark.integration

TOPIC = "stack-test"


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_for(what: Callable[[], bool], seconds: float = 40) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.2)
    return False


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a stack of its own, or a skip that says what is missing."""
    numbers = free_ports(4)
    found = load_settings().model_copy(
        update={
            "var_dir": tmp_path_factory.mktemp("stack") / "var",
            "kafka_port": numbers[0],
            "kafka_controller_port": numbers[1],
            "clickhouse_port": numbers[2],
            "dagster_port": numbers[3],
            "kafka_bootstrap_servers": "",
        }
    )
    try:
        find_java(found)
        jars.classpath(found, "kafka")
    except (JavaError, jars.JarsError) as error:
        pytest.skip(str(error))
    return found


@pytest.fixture(scope="module")
def stack(settings: Settings) -> Iterator[Stack]:
    """A stack that runs the broker; whatever a test does to it, it is down at the end."""
    stack = Stack(settings)
    try:
        stack.up(["kafka"])
        yield stack
    finally:
        stack.down()
    assert find_marked(stack_mark(settings)) == []


def kafka_status(stack: Stack) -> ServiceStatus:
    return next(one for one in stack.status() if one.name == "kafka")


def produce(settings: Settings, *values: bytes) -> None:
    with contextlib.closing(
        KafkaProducer(bootstrap_servers=settings.bootstrap_servers, acks="all", request_timeout_ms=20_000)
    ) as producer:
        for value in values:
            producer.send(TOPIC, value).get(timeout=20)


def consume(settings: Settings, count: int) -> list[bytes]:
    consumer = KafkaConsumer(
        TOPIC, bootstrap_servers=settings.bootstrap_servers, auto_offset_reset="earliest", consumer_timeout_ms=15_000
    )
    with contextlib.closing(consumer):
        values = []
        for record in consumer:
            values.append(record.value)
            if len(values) == count:
                break
        return values


def test_events_survive_every_way_to_lose_the_broker(stack: Stack, settings: Settings):
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)) as admin:
        admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=1)])
    produce(settings, b"one")
    assert consume(settings, 1) == [b"one"]

    # kill -9 of the broker: supervisor starts it again, without anybody's help.
    first = kafka_status(stack)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    assert wait_for(lambda: kafka_status(stack).pid not in (None, first.pid) and bool(kafka_status(stack).healthy))
    produce(settings, b"two")
    assert consume(settings, 2) == [b"one", b"two"]

    # kill -9 of supervisor: the broker lives on alone; `status` says so, and `down` still ends it.
    supervisor = Supervisor(settings).pid()
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    assert wait_for(lambda: not psutil.pid_exists(supervisor) or psutil.Process(supervisor).status() == "zombie")
    orphan = kafka_status(stack)
    assert (orphan.state, orphan.healthy) == ("orphaned", True)
    assert stack.down() == 1
    assert find_marked(stack_mark(settings)) == []

    # `up` after a crash of everything: orphans are swept, the data are there.
    stack.up(["kafka"])
    supervisor = Supervisor(settings).pid()
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    said: list[str] = []
    stack.up(["kafka"], lambda _service, text: said.append(text))
    assert any("had left behind" in text for text in said)
    assert consume(settings, 2) == [b"one", b"two"]


def test_up_again_leaves_a_healthy_stack_alone(stack: Stack):
    stack.up(["kafka"])
    before = kafka_status(stack).pid
    stack.up(["kafka"])
    assert kafka_status(stack).pid == before


def test_a_setting_of_whoever_started_the_stack_does_not_come_back_to_a_service_that_has_it_no_more(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    own = settings.model_copy(
        update={
            "var_dir": tmp_path / "var",
            **dict(zip(("kafka_port", "kafka_controller_port"), free_ports(2), strict=True)),
        }
    )
    monkeypatch.setenv("RETAIL_TENANT", "somebody")
    monkeypatch.setenv("PERHAPS_A_PROXY", "kept")
    stack = Stack(own)
    try:
        stack.up(["kafka"])
        pid = kafka_status(stack).pid
        assert pid is not None
        environment = psutil.Process(pid).environ()
    finally:
        stack.down()
    assert own.tenant == ""
    assert "RETAIL_TENANT" not in environment
    assert environment["RETAIL_KAFKA_PORT"] == str(own.kafka_port)
    assert environment["PERHAPS_A_PROXY"] == "kept"


def test_every_service_listens_on_the_loopback_address_alone(stack: Stack):
    stack.up(["kafka"])
    pid = kafka_status(stack).pid
    assert pid is not None
    listening = [one for one in psutil.Process(pid).net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    assert len(listening) >= 2
    assert {one.laddr.ip.removeprefix("::ffff:") for one in listening} == {"127.0.0.1"}


def test_a_changed_port_restarts_the_service_on_it(stack: Stack, settings: Settings):
    stack.up(["kafka"])
    before = kafka_status(stack).pid
    moved = Stack(settings.model_copy(update={"kafka_port": free_ports(1)[0]}))
    moved.up(["kafka"])
    assert kafka_status(moved).healthy
    assert kafka_status(moved).pid != before


def test_a_port_held_by_another_program_is_named_before_anything_starts(settings: Settings, tmp_path: Path):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        number = held.getsockname()[1]
        stack = Stack(settings.model_copy(update={"var_dir": tmp_path / "var", "kafka_port": number}))
        with pytest.raises(PortInUseError, match=rf"port {number}, .*set RETAIL_KAFKA_PORT"):
            stack.up(["kafka"])
        assert Supervisor(settings.model_copy(update={"var_dir": tmp_path / "var"})).pid() is None


def test_a_service_that_cannot_start_is_one_line_with_its_log(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Each further try takes a start of Java and a longer pause than the one before, to end the same.
    monkeypatch.setattr(supervision, "_START_RETRIES", 1)
    numbers = free_ports(2)
    own = settings.model_copy(
        update={"var_dir": tmp_path / "var", "kafka_port": numbers[0], "kafka_controller_port": numbers[1]}
    )
    stack = Stack(own)
    try:
        ensure_secrets(own)
        broker.prepare(own)
        meta = own.var_dir / "kafka" / "data" / "meta.properties"
        meta.write_text(meta.read_text(encoding="utf-8").replace("node.id=1", "node.id=7"), encoding="utf-8")
        with pytest.raises(ServiceFailedError) as caught:
            stack.up(["kafka"])
        message = str(caught.value)
        assert str(own.var_dir / "log" / "kafka.log") in message
        assert "node" in message.lower()
        assert "\n" not in message
    finally:
        stack.down()
    assert find_marked(stack_mark(own)) == []


@pytest.mark.parametrize(
    ("java", "expected"),
    [(None, "Java was not found"), ('openjdk version "11.0.2"', "is Java 11, and 17 or newer is needed")],
)
def test_the_command_without_a_right_java_ends_with_one_line(
    settings: Settings, tmp_path: Path, java: str | None, expected: str
):
    if java is not None:
        program = tmp_path / "java"
        program.write_text(f"#!/bin/sh\necho '{java}' >&2\n", encoding="utf-8")
        program.chmod(0o755)
    environment = {
        **os.environ,
        **settings_environment(settings),
        "PATH": f"{tmp_path}",
        "RETAIL_VAR_DIR": str(tmp_path),
    }
    for name in ("JAVA_HOME", "RETAIL_JAVA_HOME"):
        environment.pop(name, None)
    if java is not None:
        environment["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    answer = subprocess.run(
        [sys.executable, "-m", "retail_local", "up", "kafka"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 1
    assert expected in answer.stderr
    assert "Traceback" not in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
