"""What the service's image is made of: the distribution without extras, by the lock, and no more."""

import importlib.util
import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "spark/Dockerfile").read_text(encoding="utf-8")

_spec = importlib.util.spec_from_file_location("lock_for_service", ROOT / "spark/lock_for_service.py")
assert _spec is not None
assert _spec.loader is not None
lock_for_service = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(lock_for_service)


def needed_by(requirements: list[str]) -> set[str]:
    """Return the names of all packages that some requirements lead to in this environment."""
    found: set[tuple[str, str]] = set()
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in found:
                found.add((name, wanted))
                waiting += [(Requirement(text), wanted) for text in metadata.requires(name) or []]
    return {name for name, _ in found}


def test_the_image_gets_all_that_the_service_needs_by_its_hash_and_nothing_of_dagster() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = needed_by([*project["dependencies"], "hatchling"])
    assert needed <= lock_for_service.NEEDED
    kept = lock_for_service.lock_for_service((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    names = {canonicalize_name(name) for name in re.findall(r"(?m)^([A-Za-z0-9._-]+)==", kept)}
    assert names == lock_for_service.NEEDED
    assert not [name for name in names if name.startswith("dagster")]
    assert all("--hash=sha256:" in block for block in re.split(r"(?m)^(?=[A-Za-z0-9])", kept) if block)


def test_the_image_runs_without_root_from_an_exact_base_and_names_no_index() -> None:
    assert re.findall(r"(?m)^USER (\S+)$", DOCKERFILE) == ["retail"]
    assert re.search(r"(?m)^ARG PYTHON_IMAGE=python:3\.\d+\.\d+-slim-\w+$", DOCKERFILE)
    assert not re.search(r"--(extra-)?index-url|--trusted-host|https?://|--mount=|<<", DOCKERFILE)
    for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", DOCKERFILE):
        assert all((ROOT / source).exists() for source in line.split()[:-1]), line
