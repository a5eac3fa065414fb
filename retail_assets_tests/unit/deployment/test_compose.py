"""`docker-compose.yml`: valid by the Compose specification, and by the project's own rules."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from retail_assets.settings import ENV_PREFIX, Mode, Settings
from retail_streaming.settings import StreamingSettings

ROOT = Path(__file__).resolve().parents[3]
COMPOSE_FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOTS = {name for name, service in SERVICES.items() if service["restart"] == "no"}
LONG_RUNNING = set(SERVICES) - ONE_SHOTS
LAUNCHER = yaml.safe_load((ROOT / "infra/docker/dagster.yaml").read_text(encoding="utf-8"))["run_launcher"]["config"]

MEBIBYTE = 1024**2
MEMORY_OF_THE_MACHINE = 8 * 1024 * MEBIBYTE
SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY")
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[?-])(?P<rest>[^}]*))?\}")


def interpolated(text: str) -> str:
    """Return `text` as Compose would, with a made-up value for what `.env` has to give."""
    return VARIABLE.sub(lambda match: match["rest"] if match["kind"] == "-" else "123456", text)


def environment(service: str) -> dict[str, str]:
    return {name: interpolated(str(value)) for name, value in SERVICES[service].get("environment", {}).items()}


def size(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([mg])", text).groups()  # type: ignore[union-attr]
    return int(number) * MEBIBYTE * (1024 if unit == "g" else 1)


def validate(path: Path) -> subprocess.CompletedProcess[str]:
    """Judge a file by the published schema of the Compose specification, which the validator brings along."""
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_file_is_valid_by_the_compose_specification():
    answer = validate(COMPOSE_FILE)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize(
    ("service", "key", "value"),
    [("kafka", "helthcheck", {}), ("kafka", "restart", ["always"]), ("clickhouse", "depends_on", {"kafka": "healthy"})],
)
def test_the_specification_would_catch_a_slip(tmp_path: Path, service: str, key: str, value: Any):
    broken = json.loads(json.dumps(COMPOSE))
    broken["services"][service][key] = value
    path = tmp_path / "docker-compose.yml"
    path.write_text(yaml.safe_dump(broken), encoding="utf-8")
    assert validate(path).returncode != 0


def test_the_file_has_the_services_of_the_platform():
    assert {
        "kafka", "minio", "clickhouse", "postgres", "spark-master", "spark-worker", "streaming",
        "dagster-code", "dagster-webserver", "dagster-daemon",
    } == LONG_RUNNING  # fmt: skip
    assert {"bucket", "migrate"} == ONE_SHOTS


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_published_on_the_loopback_address_alone(name: str):
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", interpolated(port)), port
    assert SERVICES[name].get("network_mode") != "host"


def test_no_two_services_publish_the_same_port():
    ports = [interpolated(port).split(":")[1] for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == len(set(ports))


@pytest.mark.parametrize("name", sorted(LONG_RUNNING))
def test_a_service_that_stays_says_how_it_is_and_is_started_again(name: str):
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"].keys() >= {"test", "interval", "timeout", "retries", "start_period"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_has_limits_for_memory_and_logs_and_one_network(name: str):
    service = SERVICES[name]
    assert size(service["mem_limit"]) > 0
    assert service["logging"]["options"].keys() >= {"max-size", "max-file"}
    assert service["networks"] == ["retail"]
    assert not service.get("privileged")
    assert "no-new-privileges:true" in service["security_opt"]


def test_all_memory_limits_fit_the_machine():
    assert sum(size(service["mem_limit"]) for service in SERVICES.values()) <= MEMORY_OF_THE_MACHINE


def test_a_run_fits_beside_everything_that_stays():
    staying = sum(size(SERVICES[name]["mem_limit"]) for name in LONG_RUNNING)
    assert staying + size(LAUNCHER["container_kwargs"]["mem_limit"]) <= MEMORY_OF_THE_MACHINE


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_have_an_exact_version(name: str):
    tag = interpolated(SERVICES[name]["image"]).rpartition(":")[2]
    assert re.search(r"\d+\.\d+(\.\d+)?|RELEASE\.\d{4}-\d\d-\d\d", tag), tag
    assert "latest" not in tag


def test_own_images_have_the_version_of_the_project():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    own = {service["image"] for service in SERVICES.values() if service["image"].startswith("retail-assets/")}
    assert {image.rpartition(":")[2] for image in own} == {version}
    built = [service["image"] for service in SERVICES.values() if "build" in service]
    assert sorted(built) == sorted(own), "each own image is built by exactly one service"


def test_targets_of_builds_exist():
    stages = re.findall(r"(?m)^FROM .+ AS (\S+)$", (ROOT / "infra/docker/Dockerfile").read_text(encoding="utf-8"))
    for service in SERVICES.values():
        if "target" in service.get("build", {}):
            assert service["build"]["target"] in stages


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_password_stands_in_the_file(name: str):
    for variable, value in SERVICES[name].get("environment", {}).items():
        if SECRET.search(variable):
            assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", str(value)), f"{variable} has a value or a default"


def test_compose_refuses_to_start_without_what_the_example_leaves_empty():
    text = COMPOSE_FILE.read_text(encoding="utf-8")
    required = {match["name"] for match in VARIABLE.finditer(text) if match["kind"] == "?"}
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"(?m)^(\w+)=$", example)) == required
    messages = {match["rest"] for match in VARIABLE.finditer(text) if match["kind"] == "?"}
    assert messages == {"set it in .env, see .env.example"}


def test_the_example_tells_every_optional_variable_with_its_default():
    text = COMPOSE_FILE.read_text(encoding="utf-8")
    optional = {match["name"]: match["rest"] for match in VARIABLE.finditer(text) if match["kind"] != "?"}
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert dict(re.findall(r"(?m)^#(\w+)=(.*)$", example)) == optional


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_settings_that_are_given_exist(name: str):
    fields = (StreamingSettings if name == "streaming" else Settings).model_fields
    given = {variable for variable in environment(name) if variable.startswith(ENV_PREFIX)}
    assert {variable.removeprefix(ENV_PREFIX).lower() for variable in given} <= set(fields)


@pytest.mark.parametrize(
    ("service", "settings_class"), [("dagster-code", Settings), ("migrate", Settings), ("streaming", StreamingSettings)]
)
def test_the_settings_accept_what_is_given(
    monkeypatch: pytest.MonkeyPatch, service: str, settings_class: type[Settings]
):
    for variable, value in environment(service).items():
        monkeypatch.setenv(variable, value)
    settings = settings_class(_env_file=None)
    assert settings.bootstrap_servers == "kafka:9092"
    assert settings.clickhouse_host in SERVICES
    if isinstance(settings, Settings):
        assert settings.mode is Mode.COMPOSE


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_waits_only_for_what_can_be_waited_for(name: str):
    for other, how in SERVICES[name].get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other], f"{other} doesn't say how it is"
        else:
            assert how["condition"] == "service_completed_successfully"
            assert other in ONE_SHOTS, f"{other} never ends"


def test_no_service_waits_for_itself():
    waits = {name: set(service.get("depends_on", {})) for name, service in SERVICES.items()}
    while waits:
        ready = {name for name, others in waits.items() if not others & waits.keys()}
        assert ready, f"a circle: {waits}"
        waits = {name: others for name, others in waits.items() if name not in ready}


def test_named_volumes_are_used_and_declared():
    used = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if not volume.startswith((".", "/", "$"))
    }
    assert used == set(COMPOSE["volumes"])


def test_files_that_are_mounted_exist():
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            if volume.startswith("."):
                assert (ROOT / volume.split(":")[0]).is_file(), volume


def test_only_the_webserver_and_the_daemon_have_the_socket_of_docker():
    with_socket = {name for name, service in SERVICES.items() if "docker.sock" in str(service.get("volumes"))}
    assert with_socket == {"dagster-webserver", "dagster-daemon"}


def test_programs_on_this_machine_find_the_broker_by_its_published_port():
    published = interpolated(SERVICES["kafka"]["ports"][0]).split(":")[1]
    assert f"HOST://127.0.0.1:{published}" in environment("kafka")["KAFKA_ADVERTISED_LISTENERS"]
