"""Prints what the streaming service needs of requirements.lock.

    python spark/lock_for_service.py requirements.lock >service.lock

Belongs here: names of packages, in the build of the image only. A test holds that they are just the ones that the
distribution without extras leads to. It runs in a bare Python, before anything is installed.
"""

import re
import sys
from pathlib import Path

NEEDED = frozenset({
    "annotated-types", "backports-zstd", "certifi", "clickhouse-connect", "lz4", "numpy", "pandas", "polars",
    "polars-runtime-32", "prometheus-client", "py4j", "pyarrow", "pydantic", "pydantic-core", "pydantic-settings",
    "pyspark", "python-dateutil", "python-dotenv", "pytz", "scipy", "six", "typing-extensions", "typing-inspection",
    "tzdata", "urllib3", "zstandard",
    # builds the wheel
    "hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers",
})  # fmt: skip

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def lock_for_service(text: str) -> str:
    """Return those blocks of a lock, hashes included, that the service needs."""
    kept = []
    for block in re.split(r"(?m)^(?=[A-Za-z0-9])", text):
        match = _NAME.match(block)
        if match and re.sub(r"[-_.]+", "-", match[0]).lower() in NEEDED:
            kept.append(block)
    return "".join(kept)


if __name__ == "__main__":
    sys.stdout.write(lock_for_service(Path(sys.argv[1]).read_text(encoding="utf-8")))
