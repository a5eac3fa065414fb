"""A stack of a benchmark's own: in a temporary folder, on free ports, beside one that is in use.

Does not belong here: what is measured on it.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from retail_assets.settings import Settings
from retail_local.ports import free_ports
from retail_local.stack import Stack


@contextmanager
def own_stack(settings: Settings, services: Sequence[str]) -> Iterator[Settings]:
    """Start services, yield the settings that name them, and end them.

    Args:
        settings: say where Java and the jars are.
        services: `kafka`, `warehouse` or both.

    Raises:
        StackError: one of them doesn't start.
    """
    kafka, controller, clickhouse = free_ports(3)
    with tempfile.TemporaryDirectory(prefix="retail-bench-") as folder:
        own = settings.model_copy(
            update={
                "var_dir": Path(os.path.realpath(folder)) / "var",
                "kafka_bootstrap_servers": "",
                "kafka_port": kafka,
                "kafka_controller_port": controller,
                "clickhouse_host": "127.0.0.1",
                "clickhouse_port": clickhouse,
            }
        )
        stack = Stack(own)
        try:
            stack.up(services)
            yield own
        finally:
            stack.down()
