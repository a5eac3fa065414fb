"""What the images are made of: the Dockerfile, the lock without the developer's tools, and the programs inside."""

import importlib.util
import re
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from botocore.exceptions import ClientError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from retail_assets.settings import Settings, SettingsError

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "infra/docker/Dockerfile").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def load(name: str) -> ModuleType:
    """Return a program of `infra/docker`, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "infra/docker" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


answers = load("answers")
create_bucket = load("create_bucket")
lock_for_image = load("lock_for_image")


def needed_by(requirements: list[str], extra: str = "") -> set[str]:
    """Return the names of all packages that some requirements lead to in this environment."""
    found: set[str] = set()
    waiting = [(Requirement(text), extra) for text in requirements]
    while waiting:
        requirement, parent_extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": parent_extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in ("", *requirement.extras):
            key = f"{name}[{wanted}]" if wanted else name
            if key in found:
                continue
            found.add(key)
            waiting += [(Requirement(text), wanted) for text in metadata.requires(name) or []]
    return {name for name in found if "[" not in name}


def stages() -> dict[str, str]:
    """Return the text of each stage of the Dockerfile by its name."""
    parts = re.split(r"(?m)^FROM \S+ AS (\S+)$", DOCKERFILE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_images_run_without_root():
    for name in ("platform", "spark"):
        assert re.findall(r"(?m)^USER (\S+)$", stages()[name]) == ["retail"]


def test_the_base_image_has_an_exact_version():
    assert re.search(r"(?m)^ARG PYTHON_IMAGE=python:3\.\d+\.\d+-slim-\w+$", DOCKERFILE)
    assert set(re.findall(r"(?m)^FROM (\S+)", DOCKERFILE)) <= {"${PYTHON_IMAGE}", *stages()}


def test_every_builder_understands_the_dockerfile():
    assert not re.search(r"--mount=|<<|--link|--chmod", DOCKERFILE)


def test_packages_are_checked_by_their_hashes_and_no_index_is_named():
    assert "--require-hashes" in stages()["builder"]
    assert not re.search(r"--(extra-)?index-url|--trusted-host|https?://", DOCKERFILE)


def test_what_is_copied_exists_and_is_let_through():
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    ]
    for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", DOCKERFILE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(source.rstrip("/") == one or source.startswith(f"{one}/") for one in allowed), source


def test_no_secret_and_no_data_is_let_into_the_context():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*"
    assert not {"!.env", "!var", "!.git"} & set(lines)


def test_what_the_image_leaves_out_is_in_the_lock():
    names = {name for name, _ in lock_for_image.requirements(LOCK)}
    assert names >= lock_for_image.LEFT_OUT


def test_nothing_that_stays_needs_what_is_left_out():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = needed_by([*project["dependencies"], *project["optional-dependencies"]["platform"], "hatchling"])
    assert {"dagster", "pyspark", "boto3", "docker", "psycopg2-binary"} <= needed
    assert not needed & lock_for_image.LEFT_OUT
    locked = {name for name, _ in lock_for_image.requirements(lock_for_image.lock_for_image(LOCK))}
    assert needed <= locked


def test_what_stays_in_the_lock_keeps_its_hashes():
    text = (
        "chdb==4.4.0 ; python_version < '4' \\\n    --hash=sha256:aa\n"
        "click==8.5.1 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
        "types-requests==2 \\\n    --hash=sha256:dd\n"
    )
    assert lock_for_image.lock_for_image(text) == "click==8.5.1 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"


class Store:
    """An object store that knows buckets, and can refuse."""

    def __init__(self, *buckets: str, refuses: str = "") -> None:
        """Hold some buckets; with `refuses`, answer every question with that code."""
        self.buckets = set(buckets)
        self.requests: list[dict[str, Any]] = []
        self._refuses = refuses

    def head_bucket(self, **request: Any) -> None:
        if self._refuses or request["Bucket"] not in self.buckets:
            raise ClientError({"Error": {"Code": self._refuses or "404"}}, "HeadBucket")

    def create_bucket(self, **request: Any) -> None:
        self.requests.append(request)
        self.buckets.add(request["Bucket"])


def test_a_missing_bucket_is_made_once():
    store = Store()
    assert create_bucket.ensure_bucket(store, "retail", "us-east-1")
    assert not create_bucket.ensure_bucket(store, "retail", "us-east-1")
    assert store.requests == [{"Bucket": "retail"}]


def test_a_bucket_is_made_in_the_region_of_the_settings():
    store = Store()
    create_bucket.ensure_bucket(store, "retail", "eu-central-1")
    assert store.requests == [{"Bucket": "retail", "CreateBucketConfiguration": {"LocationConstraint": "eu-central-1"}}]


def test_a_store_that_refuses_is_not_taken_for_a_missing_bucket():
    store = Store("retail", refuses="403")
    with pytest.raises(ClientError):
        create_bucket.ensure_bucket(store, "retail", "us-east-1")
    assert not store.requests


def test_the_bucket_comes_from_the_address_of_the_lake():
    assert create_bucket.bucket_of(Settings(lake_uri="s3a://retail/lake")) == "retail"
    with pytest.raises(SettingsError, match="RETAIL_LAKE_URI"):
        create_bucket.bucket_of(Settings(lake_uri="file:///lake"))


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/well" else 500)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def page() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_health_check_tells_a_page_that_answers_well_from_one_that_does_not(
    page: str, monkeypatch: pytest.MonkeyPatch
):
    # A proxy for everybody else must not be asked.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert answers.answers(f"{page}/well")
    assert not answers.answers(f"{page}/ill")
    assert not answers.answers("http://127.0.0.1:9/")
