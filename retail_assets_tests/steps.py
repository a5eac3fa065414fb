"""Runs assets of the real definitions over a lake and a database of a test's own, in this process or in another.

`start` gives a process of its own, which a cluster serves or a test kills: `python -m retail_assets_tests.steps STEPS`
under the settings of its environment. `here` uses the tests' own Spark session, which spares a start of Java.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import dagster as dg

from retail_assets.build import build_defs
from retail_assets.io_managers.clickhouse import ClickHouseIOManager
from retail_assets.io_managers.delta import SparkDeltaIOManager
from retail_assets.resources.clickhouse import ClickHouseResource
from retail_assets.resources.kafka import KafkaResource
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.spark import SparkResource, spark_config
from retail_assets.runs import partition_tags
from retail_assets.settings import get_settings

#: Written when the Spark session is there and the first step is about to start.
BEGUN: Final = "the steps begin"
#: Settings for little data: more tasks would only wait for each other.
SMALL: Final = {"RETAIL_SPARK_SHUFFLE_PARTITIONS": "2"}


@dataclass(frozen=True)
class Step:
    """Assets of a job, over some business dates.

    Attributes:
        job: a job of the code location.
        groups: which of its assets, by group; all where none is named.
        first: first date, as ISO text; empty for a job without partitions.
        last: last date, inclusive.
        config: of its assets, by their step.
    """

    job: str
    groups: tuple[str, ...] = ()
    first: str = ""
    last: str = ""
    config: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def tags(self) -> dict[str, str]:
        return partition_tags(date.fromisoformat(self.first), date.fromisoformat(self.last)) if self.first else {}

    def run(self, definitions: dg.Definitions) -> None:
        """Run the step in this process, with its checks, as Dagster's run process does."""
        job = definitions.resolve_job_def(self.job)
        keys = [
            key
            for key in job.asset_layer.executable_asset_keys
            if not self.groups or job.asset_layer.get(key).group_name in self.groups
        ]
        with dg.DagsterInstance.ephemeral() as instance:
            job.execute_in_process(
                asset_selection=keys,
                tags=self.tags,
                run_config={"ops": {step: {"config": values} for step, values in self.config.items()}},
                instance=instance,
            )


def here(spark: SparkResource, kafka: KafkaResource, root: str, database: str) -> dg.Definitions:
    """Return the definitions over a lake and a database, on a Spark session that is there."""
    lake, clickhouse = LakeResource(root=root), ClickHouseResource(database=database)
    return build_defs(
        resource_overrides={
            "spark": spark,
            "kafka": kafka,
            "lake": lake,
            "clickhouse": clickhouse,
            "lake_io_manager": SparkDeltaIOManager(spark=spark, lake=lake),
            "warehouse_io_manager": ClickHouseIOManager(spark=spark, clickhouse=clickhouse),
        }
    )


def start(steps: Iterable[Step], settings: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start the steps in a process of their own, with some settings beside those of this process."""
    command = [sys.executable, "-m", __name__, json.dumps([asdict(step) for step in steps])]
    with log.open("wb") as output:
        return subprocess.Popen(
            command, env={**os.environ, **SMALL, **settings}, stdout=output, stderr=subprocess.STDOUT
        )


def main() -> None:
    """Run the steps of the first argument."""
    from retail_assets.definitions import defs

    steps = [Step(**step) for step in json.loads(sys.argv[1])]
    # The session of the steps: Spark gives the same one to all who ask in a process.
    _ = SparkResource(spark_config=spark_config(get_settings())).spark_session
    print(BEGUN, flush=True)
    for step in steps:
        step.run(defs)


if __name__ == "__main__":
    main()
