"""One Spark session per run, made when it is first needed.

Belongs here: how a session is configured. Runs use the in-process executor, so that one run is one Spark application;
a run that needs no Spark starts no JVM.
"""

import os
import sys
from collections.abc import Callable
from typing import Final

import dagster as dg
from dagster_pyspark import LazyPySparkResource
from pydantic import PrivateAttr
from pyspark import StorageLevel
from pyspark.sql import DataFrame as SparkFrame

from retail_assets.settings import Settings, get_settings
from retail_local.class_data import archive_file
from retail_local.jars import spark_classpath
from retail_local.java import find_java

#: Two cores have no room for a collector that works beside the program.
JAVA_OPTIONS: Final = "-XX:+UseParallelGC"


def spark_config(settings: Settings) -> dict[str, str]:
    """Return the Spark settings that the platform relies on.

    Jars are not among them: they are looked up when a session starts, so that the code location loads without them.
    """
    local = settings.spark_master.startswith("local")
    config = {
        "spark.app.name": "retail-assets",
        "spark.master": settings.spark_master,
        "spark.driver.memory": settings.spark_driver_memory,
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(settings.spark_shuffle_partitions),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # A Delta snapshot is rebuilt by a job of this many tasks; the default of 50 costs a second per table here.
        "spark.databricks.delta.snapshotPartitions": "2",
        # The log says which offsets a table holds and what its days were made from. Housekeeping cleans it, which says
        # that again first; Delta by itself would forget it after a month.
        "spark.databricks.delta.properties.defaults.enableExpiredLogCleanup": "false",
    }
    if local:
        config |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            # The web UI would listen on all interfaces.
            "spark.ui.enabled": "false",
            "spark.driver.extraJavaOptions": JAVA_OPTIONS,
            # Hadoop's own local file system starts a `chmod` process for every file and folder that it makes; a day
            # is a folder with a file, so a year would start over a thousand.
            "spark.hadoop.fs.file.impl": "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem",
        }
    if settings.lake.startswith("s3a://"):
        config |= {
            "spark.hadoop.fs.s3a.endpoint": settings.s3_endpoint,
            "spark.hadoop.fs.s3a.endpoint.region": settings.s3_region,
            "spark.hadoop.fs.s3a.path.style.access": "true",
        }
        if settings.s3_access_key:
            config["spark.hadoop.fs.s3a.access.key"] = settings.s3_access_key
    return config


class SparkResource(LazyPySparkResource):
    """The run's Spark session, on `dagster-pyspark`'s lazy resource.

    It adds what must wait until a session is really needed: a Java that Spark can run on, and the verified jars; and
    frames that the steps of a run share.
    """

    _shared: dict[str, SparkFrame] = PrivateAttr(default_factory=dict)

    def shared(self, name: str, make: Callable[[], SparkFrame]) -> SparkFrame:
        """Return a frame that several steps of a run read: Spark computes it when the first does, and keeps it.

        What doesn't fit into memory is kept on the workers' disks; what a worker loses is computed again.

        Args:
            name: says all that the frame depends on.
            make: returns it, lazily.
        """
        if name not in self._shared:
            self._shared[name] = make().persist(StorageLevel.MEMORY_AND_DISK)
        return self._shared[name]

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002 - Dagster names it
        """Let go of what the run's steps shared: a session may outlive its run, in tests for instance."""
        for frame in self._shared.values():
            frame.unpersist()
        self._shared.clear()

    def _init_session(self) -> None:
        if self._spark_session is not None:
            return
        settings = get_settings()
        # pyspark starts the JVM that JAVA_HOME names; find_java explains in one line what is wrong with Java.
        java = find_java(settings)
        os.environ["JAVA_HOME"] = str(java.home)
        # Spark's workers start `python3` from the PATH otherwise, which knows nothing of this environment. In client
        # mode PySpark looks at this variable alone; the setting `spark.pyspark.python` is for `spark-submit`.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        jars = spark_classpath(settings)
        if settings.spark_master.startswith("local"):
            # One process: on its class path they are there from the start and needn't be copied.
            self.spark_config["spark.driver.extraClassPath"] = os.pathsep.join(map(str, jars))
            archive = archive_file(settings, java, jars)
            if archive.is_file():
                options = self.spark_config.get("spark.driver.extraJavaOptions", "")
                self.spark_config["spark.driver.extraJavaOptions"] = (
                    f"{options} -XX:SharedArchiveFile={archive}".strip()
                )
        else:
            self.spark_config["spark.jars"] = ",".join(map(str, jars))
        super()._init_session()
        self.spark_context.setLogLevel("WARN")
        secret = settings.s3_secret_key.get_secret_value()
        if secret:
            # Not among the settings above: pyspark puts those on the JVM's command line, which everybody can read.
            self.spark_context._jsc.hadoopConfiguration().set("fs.s3a.secret.key", secret)  # noqa: SLF001
