"""Dagster in containers: the instance and the workspace are valid, and a run gets all that it needs."""

import shutil
from pathlib import Path
from typing import Any

import docker.types
import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from dagster._core.instance.ref import InstanceRef
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster_aws.s3 import S3ComputeLogManager
from dagster_docker import DockerRunLauncher

from retail_assets.runs import LOCATION
from retail_assets.settings import ENV_PREFIX

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
INSTANCE_FILE = ROOT / "infra/docker/dagster.yaml"
INSTANCE: dict[str, Any] = yaml.safe_load(INSTANCE_FILE.read_text(encoding="utf-8"))
LOCAL_INSTANCE: dict[str, Any] = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))


def variables_that_are_read(value: Any) -> set[str]:
    """Return the variables that a part of `dagster.yaml` takes from the environment."""
    if isinstance(value, dict):
        if set(value) == {"env"}:
            return {value["env"]}
        return set().union(*map(variables_that_are_read, value.values()))
    return set()


@pytest.fixture
def instance_ref(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstanceRef:
    """Return the instance as Dagster reads it; nothing is connected."""
    shutil.copy(INSTANCE_FILE, tmp_path / "dagster.yaml")
    for name in variables_that_are_read(INSTANCE):
        monkeypatch.setenv(name, "http://store:9000" if name.endswith("_URL") else "made-up")
    dagster_instance_config(str(tmp_path))
    return InstanceRef.from_dir(str(tmp_path))


def test_the_instance_is_valid_by_dagsters_own_schema(instance_ref: InstanceRef):
    storage = instance_ref.storage_data
    assert storage is not None
    assert storage.class_name == "DagsterPostgresStorage"
    assert instance_ref.settings["run_monitoring"]["enabled"]


def test_a_wrong_name_in_the_instance_would_be_caught(tmp_path: Path):
    text = INSTANCE_FILE.read_text(encoding="utf-8").replace("max_concurrent_runs", "max_runs_at_once")
    (tmp_path / "dagster.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(Exception, match="max_runs_at_once"):
        InstanceRef.from_dir(str(tmp_path))


def test_the_run_launcher_takes_its_configuration(instance_ref: InstanceRef):
    launcher = instance_ref.run_launcher_data.rehydrate(as_type=DockerRunLauncher)
    assert launcher.networks == [COMPOSE["networks"]["retail"]["name"]]
    arguments = dict(launcher.container_kwargs)
    assert arguments.pop("auto_remove")
    arguments.pop("stop_timeout")  # Dagster's own
    # Docker's client judges the rest.
    host = docker.types.HostConfig(version="1.44", **arguments)
    assert host["LogConfig"]["Config"]["max-size"] == "10m"
    assert host["Memory"] == 1536 * 1024**2


def test_the_output_of_runs_goes_to_the_bucket_of_the_lake(instance_ref: InstanceRef):
    data = instance_ref.compute_logs_data
    assert data is not None
    manager = data.rehydrate(as_type=S3ComputeLogManager)
    bucket = SERVICES["dagster-code"]["environment"]["RETAIL_LAKE_URI"].removeprefix("s3a://").split("/")[0]
    assert manager._s3_bucket == bucket


def test_runs_get_exactly_the_settings_of_the_code_location():
    handed_on = INSTANCE["run_launcher"]["config"]["env_vars"]
    assert len(handed_on) == len(set(handed_on))
    given = {name for name in SERVICES["dagster-code"]["environment"] if name.startswith(ENV_PREFIX)}
    assert {name for name in handed_on if name.startswith(ENV_PREFIX)} == given


def test_the_launching_process_has_every_variable_that_it_hands_on():
    assert set(INSTANCE["run_launcher"]["config"]["env_vars"]) <= SERVICES["dagster-daemon"]["environment"].keys()


@pytest.mark.parametrize("name", ["dagster-code", "dagster-webserver", "dagster-daemon", "migrate"])
def test_whoever_reads_the_instance_has_its_variables(name: str):
    assert variables_that_are_read(INSTANCE) <= SERVICES[name]["environment"].keys()


def test_runs_that_read_the_instance_get_its_variables():
    assert variables_that_are_read(INSTANCE) <= set(INSTANCE["run_launcher"]["config"]["env_vars"])


def test_runs_use_the_image_of_the_code_location():
    service = SERVICES["dagster-code"]
    assert service["environment"]["DAGSTER_CURRENT_IMAGE"] == service["image"]


def test_the_workspace_names_the_code_server():
    origins = location_origins_from_yaml_paths([str(ROOT / "infra/docker/workspace.yaml")])
    (origin,) = origins
    assert origin.location_name == LOCATION
    assert isinstance(origin, GrpcServerCodeLocationOrigin)
    assert origin.host in SERVICES
    assert str(origin.port) in SERVICES[origin.host]["command"]


@pytest.mark.parametrize("part", ["telemetry", "concurrency", "retention"])
def test_containers_and_the_local_mode_share_the_rules_that_are_not_about_containers(part: str):
    assert INSTANCE[part] == LOCAL_INSTANCE[part]
