"""Secrets of the local stack: made at the first start, kept in files that only their owner can read.

Belongs here: names, making and permissions of those files. Nothing here is ever printed or logged.
"""

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from retail_assets.settings import Settings
from retail_local.files import PRIVATE_FILE, private_dir

S3_ACCESS_KEY: Final = "s3_access_key"
S3_SECRET_KEY: Final = "s3_secret_key"  # noqa: S105 -- the name of a file
S3_CONFIG: Final = "s3_identities.json"
S3_OPTIONS: Final = "s3_options"
_BYTES: Final = 32


def _token() -> str:
    return secrets.token_urlsafe(_BYTES)


_GENERATED: Final[dict[str, Callable[[], str]]] = {
    "clickhouse_etl": _token,
    "clickhouse_bi_reader": _token,
    S3_ACCESS_KEY: lambda: secrets.token_hex(10),
    S3_SECRET_KEY: _token,
    # Its admin server cannot be switched off and is open unless it gets a password; in a file, for `ps` shows options.
    S3_OPTIONS: lambda: f"admin.password={_token()}\n",
}


def ensure_secrets(settings: Settings) -> None:
    """Make each secret that is not there yet. One that is there is never written again."""
    folder = private_dir(settings.secrets_dir)
    for name, make in _GENERATED.items():
        _create_once(folder / name, make())
    identity = {
        "name": "retail",
        "credentials": [
            {"accessKey": read_secret(settings, S3_ACCESS_KEY), "secretKey": read_secret(settings, S3_SECRET_KEY)}
        ],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    _create_once(folder / S3_CONFIG, json.dumps({"identities": [identity]}))


def read_secret(settings: Settings, name: str) -> str:
    """Return a secret, or an empty text where it was not made yet."""
    try:
        return (settings.secrets_dir / name).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def loose_permissions(settings: Settings) -> list[Path]:
    """Return the folder or files of secrets that others than their owner could read."""
    folder = settings.secrets_dir
    if not folder.is_dir():
        return []
    return [path for path in (folder, *folder.iterdir()) if path.stat().st_mode & 0o077]


def _create_once(path: Path, text: str) -> None:
    try:
        # O_EXCL: two first starts at once agree on one secret; the mode holds from the first moment.
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE)
    except FileExistsError:
        return
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
