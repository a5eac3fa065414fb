"""Waiting in a benchmark for what comes by itself, with an end to the patience.

Does not belong here: what is waited for.
"""

import time
from collections.abc import Callable
from typing import Final

from retail_assets.bench.errors import BenchError

POLL_S: Final = 0.2
PATIENCE_S: Final = 600.0


def until(wanted: Callable[[], bool], complaint: str) -> None:
    """Ask again and again until something is so.

    Raises:
        BenchError: it isn't within `PATIENCE_S`; says the complaint.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not wanted():
        if time.monotonic() > deadline:
            raise BenchError(f"{complaint} within {PATIENCE_S:.0f} s")
        time.sleep(POLL_S)
