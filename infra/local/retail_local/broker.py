"""The Kafka broker of a machine without Docker: one node in KRaft mode, on the loopback address alone.

Belongs here: its configuration, its log's configuration, the first formatting of its folder, and its command. Topics
are not made here; they are part of the contracts.
"""

import base64
import subprocess
import uuid
from pathlib import Path
from typing import Final

from retail_assets.settings import Settings
from retail_local import jars
from retail_local.errors import StackError
from retail_local.files import write_atomically
from retail_local.java import find_java
from retail_local.ports import LOOPBACK

_FORMAT_SECONDS: Final = 120
_HEAP: Final = ("-Xms256m", "-Xmx512m")

_LOG4J: Final = """\
# Written by `retail up`. The broker logs to its standard output, which supervisor writes and rotates.
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss.SSS} %-5p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


class BrokerError(StackError):
    """The broker's folder could not be formatted."""


def data_dir(settings: Settings) -> Path:
    """Where the broker keeps its log segments."""
    return settings.var_dir / "kafka" / "data"


def cluster_id(settings: Settings) -> str | None:
    """Return the id that the broker's folder was formatted with, or None before that."""
    meta = data_dir(settings) / "meta.properties"
    if not meta.is_file():
        return None
    known = dict(line.split("=", 1) for line in meta.read_text(encoding="utf-8").splitlines() if "=" in line)
    return known.get("cluster.id")


def _new_cluster_id() -> str:
    # Kafka's form of a UUID: its 16 bytes in URL-safe base64 without padding; a leading dash would read as an option.
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def server_properties(settings: Settings) -> str:
    """Return the broker's configuration."""
    controller = f"{LOOPBACK}:{settings.kafka_controller_port}"
    listener = f"PLAINTEXT://{LOOPBACK}:{settings.kafka_port}"
    values = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": controller,
        "controller.listener.names": "CONTROLLER",
        "listeners": f"{listener},CONTROLLER://{controller}",
        "advertised.listeners": f"{listener},CONTROLLER://{controller}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data_dir(settings)),
        # A topic that nobody made is a typing error, not a wish.
        "auto.create.topics.enable": "false",
        "num.partitions": "1",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        # Somebody waits in front of this machine: don't wait for more consumers that never come.
        "group.initial.rebalance.delay.ms": "0",
        # After a crash the controller, which is this node too, doesn't let the broker in before its former session is
        # over. With no other node to take over, the default of nine seconds is time without a broker and nothing else.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # The defaults are made for a server; this heap is half a gigabyte.
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
    }
    lines = "".join(f"{name}={escape_property(value)}\n" for name, value in values.items())
    return f"# Written by `retail up`: don't edit.\n{lines}"


def escape_property(value: str) -> str:
    r"""Return `value` as a Java properties file holds it: ASCII, with `\` doubled and anything else as `\uXXXX`."""
    units = value.replace("\\", "\\\\").encode("utf-16-be", "surrogatepass")
    characters = (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    return "".join(chr(unit) if 0x20 <= unit <= 0x7E else f"\\u{unit:04x}" for unit in characters)  # noqa: PLR2004


def prepare(settings: Settings) -> None:
    """Write the configuration, and format the broker's folder at the first start.

    Raises:
        BrokerError: Kafka refused to format it.
        JarsError: the jars of the broker are missing.
        JavaError: there is no Java.
    """
    folder = _config_dir(settings)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "server.properties", server_properties(settings))
    write_atomically(folder / "log4j2.properties", _LOG4J)
    if cluster_id(settings) is not None:
        return
    answer = subprocess.run(
        [
            *_java(settings, "-Xmx128m"),
            *("kafka.tools.StorageTool", "format", "--standalone", "--ignore-formatted"),
            *("-t", _new_cluster_id(), "-c", str(folder / "server.properties")),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_FORMAT_SECONDS,
        check=False,
    )
    if answer.returncode != 0:
        lines = [line for line in (answer.stdout + answer.stderr).splitlines() if line.strip()]
        raise BrokerError(f"Kafka could not format {data_dir(settings)}: {lines[0] if lines else 'no output'}")


def command(settings: Settings) -> list[str]:
    """Return the broker's program and arguments: Java itself, so that a signal reaches the broker."""
    return [
        *_java(settings, *_HEAP, "-XX:+ExitOnOutOfMemoryError"),
        "kafka.Kafka",
        str(_config_dir(settings) / "server.properties"),
    ]


def _java(settings: Settings, *options: str) -> list[str]:
    class_path = ":".join(map(str, jars.classpath(settings, "kafka")))
    log4j = _config_dir(settings) / "log4j2.properties"
    return [
        str(find_java(settings).path),
        *options,
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={log4j.as_uri()}",
        *("-cp", class_path),
    ]


def _config_dir(settings: Settings) -> Path:
    return settings.var_dir / "kafka" / "config"
