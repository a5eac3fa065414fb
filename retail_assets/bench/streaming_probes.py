"""Following probes: when each shows in the warehouse, and how long its way was.

Does not belong here: making and sending them (`streaming_load`).
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from clickhouse_connect.driver.client import Client

from retail_assets.bench.errors import BenchError
from retail_assets.bench.streaming_load import PROBE_STORE, Load, Sent, probe_name
from retail_assets.bench.waiting import PATIENCE_S, POLL_S


def watch_probes(warehouse: Client, places: Mapping[str, tuple[str, str]], load: Load) -> dict[str, dict[str, float]]:
    """Return for each place when each probe was first seen there, in epoch milliseconds.

    Looks on until all probes of a load that has ended are there.

    Args:
        warehouse: where to look.
        places: table and column in which a probe's name shows, by a name for the place.
        load: sends the probes.

    Raises:
        BenchError: probes don't arrive.
    """
    seen: dict[str, dict[str, float]] = {name: {} for name in places}
    deadline = time.monotonic() + PATIENCE_S
    while True:
        looked = time.monotonic()
        for name, (table, column) in places.items():
            # Those before are there already: only new ones are asked for.
            rows = warehouse.query(
                f"SELECT {column} FROM {table} WHERE store_id = {{store:String}} AND {column} > {{known:String}}",  # noqa: S608
                parameters={"store": PROBE_STORE, "known": _safely_before(max(seen[name], default=""))},
            ).result_rows
            now = time.time_ns() / 1e6
            for (probe,) in rows:
                seen[name].setdefault(str(probe), now)
        if load.done and all(len(found) >= len(load.sent().probes_ms) for found in seen.values()):
            return seen
        if time.monotonic() > deadline:
            raise BenchError("probes don't arrive")
        time.sleep(max(0.0, POLL_S - (time.monotonic() - looked)))


def _safely_before(probe: str) -> str:
    """Return the name of a probe some seconds earlier: probes of different partitions may overtake each other."""
    return probe_name(max(0, int(probe.removeprefix("probe-")) - 500)) if probe else ""


def percentiles(seen: Mapping[str, Mapping[str, float]], sent: Sent) -> dict[str, Any]:
    """Return the percentiles of all probes, and the median by table."""
    waits = {
        name: [(found[probe_name(number)] - at) / 1000 for number, at in sent.probes_ms.items()]
        for name, found in seen.items()
    }
    all_of_them = [wait for some in waits.values() for wait in some]
    return {
        "p50_s": round(float(np.percentile(all_of_them, 50)), 2),
        "p99_s": round(float(np.percentile(all_of_them, 99)), 2),
        "worst_s": round(max(all_of_them), 2),
        "probes": len(all_of_them),
        "by_query": {
            name: {"p50_s": round(float(np.percentile(some, 50)), 2), "p99_s": round(float(np.percentile(some, 99)), 2)}
            for name, some in waits.items()
        },
    }
