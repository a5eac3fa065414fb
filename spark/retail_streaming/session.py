"""The service's Spark session: one JVM, one application, for all its queries.

Belongs here: how Spark is configured and started. Does not belong here: finding Java and jars (`installation`).
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from retail_streaming import installation
from retail_streaming.errors import StreamingError, first_line
from retail_streaming.settings import StreamingSettings

_FILE_MANAGER = "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
_STATE_STORE = "spark.sql.streaming.stateStore"


def spark_config(settings: StreamingSettings) -> dict[str, str]:
    """Return the Spark settings that the service relies on, without the jars."""
    config = {
        "spark.app.name": "retail-streaming",
        "spark.master": settings.spark_master,
        "spark.driver.memory": settings.spark_driver_memory,
        # A JVM that is out of memory but not dead would hold the service still; ended, it is started again.
        "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
        "spark.sql.session.timeZone": "UTC",
        # The code of all queries together; what doesn't fit is compiled again for each batch.
        "spark.sql.codegen.cache.maxEntries": "1000",
        # The JVM never compiles longer methods; Spark would put a whole stage in one.
        "spark.sql.codegen.hugeMethodLimit": "8000",
        # A batch of one query must not wait for all tasks of another's.
        "spark.scheduler.mode": "FAIR",
        "spark.ui.showConsoleProgress": "false",
        # What Spark remembers of past batches for its web UI, with their plans, whether the UI is there or not. By
        # default that takes days to fill, and looks like a leak until then.
        "spark.ui.retainedJobs": "50",
        "spark.ui.retainedStages": "50",
        "spark.ui.retainedTasks": "500",
        "spark.ui.dagGraph.retainedRootRDDs": "50",
        "spark.sql.ui.retainedExecutions": "50",
        # As many as the parts of the state: a query with state can't change it later.
        "spark.sql.shuffle.partitions": str(settings.stream_state_partitions),
        # State on the disk rather than in the heap, and only its changes written per batch.
        f"{_STATE_STORE}.providerClass": "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
        f"{_STATE_STORE}.rocksdb.changelogCheckpointing.enabled": "true",
        # All parts together, outside of the heap; without a bound each part would take its own share.
        f"{_STATE_STORE}.rocksdb.boundedMemoryUsage": "true",
        f"{_STATE_STORE}.rocksdb.maxMemoryUsageMB": "128",
        "spark.sql.streaming.stopTimeout": "60s",
    }
    if settings.spark_master.startswith("local"):
        config |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            # The web UI would listen on all interfaces.
            "spark.ui.enabled": "false",
            # Hadoop's own local file system starts a `chmod` process for every file that it makes, and each batch makes
            # some for each part of the state.
            "spark.hadoop.fs.file.impl": "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem",
            # The default goes through another interface, with a local file system of its own.
            "spark.sql.streaming.checkpointFileManagerClass": _FILE_MANAGER,
        }
    return config


def with_jars(config: dict[str, str], settings: StreamingSettings, jars: Sequence[Path]) -> dict[str, str]:
    """Return Spark settings with the jars, and with the archive of their classes where there is one.

    Raises:
        StreamingError: there is no Java.
    """
    if not settings.spark_master.startswith("local"):
        return config | {"spark.jars": ",".join(map(str, jars))}
    # One process: on its class path they are there from the start and needn't be copied.
    config = config | {"spark.driver.extraClassPath": os.pathsep.join(map(str, jars))}
    archive = installation.class_archive(settings.cache_dir, settings.java_home, jars)
    if archive is not None:
        config["spark.driver.extraJavaOptions"] += f" -XX:SharedArchiveFile={archive}"
    return config


def start(settings: StreamingSettings) -> SparkSession:
    """Start Spark.

    Raises:
        StreamingError: there is no Java, a jar is missing, or Spark doesn't start.
    """
    # pyspark starts the JVM that JAVA_HOME names.
    os.environ["JAVA_HOME"] = str(installation.java_home(settings.java_home))
    # Spark's workers start `python3` from the PATH otherwise, which knows nothing of this environment.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    jars = installation.classpath(settings.cache_dir, settings.jar_groups)
    conf = SparkConf().setAll(list(with_jars(spark_config(settings), settings, jars).items()))
    try:
        # A session of its own: a signal to the whole process group, as a terminal or a supervisor sends it, must not
        # end the JVM under a batch that this process wants to finish. When this process dies the JVM ends by itself.
        options = {"start_new_session": True, "stdout": sys.stderr}
        gateway = launch_gateway(conf, popen_kwargs=options)  # type: ignore[no-untyped-call]
        context = SparkContext(conf=conf, gateway=gateway)
    except (PySparkException, OSError) as error:
        raise StreamingError(f"Spark doesn't start ({first_line(error)}): its own words are above") from error
    context.setLogLevel("WARN")
    session = SparkSession(context)
    jvm: Any = session._jvm  # noqa: SLF001 -- the documented way to the JVM's classes has this name
    _remember_classes(jvm)
    # One WARN a second while the broker is away; the service says it in one line of its own.
    levels = jvm.org.apache.logging.log4j.Level
    jvm.org.apache.logging.log4j.core.config.Configurator.setLevel("org.apache.kafka.clients", levels.ERROR)
    if settings.uses_s3:
        _configure_s3(context, settings)
    return session


def _remember_classes(jvm: Any) -> None:
    """Keep what pyspark looks up again and again: with each batch, and some hundred times for its progress.

    py4j asks the JVM for each part of a name, which looks for it in all packages that pyspark imports, in every jar:
    together a fifth of a core.
    """
    jvm.PythonSQLUtils = jvm.PythonSQLUtils
    jvm.py4j = jvm.py4j
    jvm.py4j.reflection = jvm.py4j.reflection
    jvm.py4j.reflection.TypeUtil = jvm.py4j.reflection.TypeUtil


def _configure_s3(context: SparkContext, settings: StreamingSettings) -> None:
    """Set up S3A after the start: as Spark settings the keys would stand in the JVM's command line."""
    java_context: Any = context._jsc  # noqa: SLF001
    hadoop = java_context.hadoopConfiguration()
    values = {
        "fs.s3a.endpoint": settings.s3_endpoint,
        "fs.s3a.endpoint.region": settings.s3_region,
        "fs.s3a.path.style.access": "true",
        "fs.s3a.access.key": settings.s3_access_key,
        "fs.s3a.secret.key": settings.s3_secret_key.get_secret_value(),
    }
    for name, value in values.items():
        if value:
            hadoop.set(name, value)
