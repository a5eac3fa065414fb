"""Asking an HTTP server of a test what it answers, whatever the status."""

import urllib.error
import urllib.request


def ask(port: int, path: str) -> tuple[int, str]:
    """Return status and text of the answer.

    Raises:
        OSError: nobody listens.
    """
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
