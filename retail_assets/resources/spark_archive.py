"""Makes the class-data archive by which a run's Spark session starts seconds sooner.

The JVM learns from a small run which classes belong into it. Belongs here: that small run. Does not belong here: where
the archive lies (`retail_local.class_data`) and how a session uses it (`resources.spark`).
"""

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from retail_assets.resources.spark import JAVA_OPTIONS, SparkResource, spark_config
from retail_assets.settings import Settings
from retail_local.class_data import SUFFIX, archive_file
from retail_local.errors import StackError
from retail_local.files import locked
from retail_local.jars import spark_classpath
from retail_local.java import find_java


class ArchiveError(StackError):
    """The archive could not be made. Spark works without it and starts some seconds later."""


def build_archive(settings: Settings) -> bool:
    """Make the archive, unless it is there; those of other Javas and jars, 200 MB each, are removed.

    Returns:
        Whether it was made now.

    Raises:
        ArchiveError: Java wrote none.
        JavaError: there is no Java that fits.
        JarsError: the jars are not there.
    """
    target = archive_file(settings, find_java(settings), spark_classpath(settings))
    with locked(target.parent / ".lock"):
        if target.is_file():
            return False
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as folder:
            made = Path(folder) / target.name
            _learn(settings, made, Path(folder) / "lake")
            if not made.is_file():
                raise ArchiveError(
                    f"Java wrote no archive of Spark's classes to {target.parent}: Spark works, but starts some "
                    "seconds later. Is the disk full?"
                )
            for other in target.parent.glob(f"*{SUFFIX}"):
                other.unlink()
            made.replace(target)
    return True


def _learn(settings: Settings, archive: Path, lake: Path) -> None:
    """Do a little of everything that runs do, in a JVM that keeps the classes that it loaded."""
    options = f"{JAVA_OPTIONS} -XX:ArchiveClassesAtExit={archive} -Xlog:disable -Xlog:all=error:stderr"
    config = spark_config(settings) | {
        "spark.driver.extraJavaOptions": options,
        "spark.ui.showConsoleProgress": "false",
    }
    resource = SparkResource(spark_config=config)
    _typical_work(resource.spark_session, lake.as_uri())
    context: Any = resource.spark_context
    jvm = context._gateway.proc  # noqa: SLF001 - pyspark has no other way to wait for its JVM
    context.stop()
    context._gateway.shutdown()  # noqa: SLF001
    # The JVM ends with its standard input, and writes the archive as the last thing that it does.
    jvm.stdin.close()
    jvm.wait()


def _typical_work(session: SparkSession, lake: str) -> None:
    rows = session.range(1000).selectExpr(
        "id",
        "cast(id % 7 as string) as store_id",
        "date_add(date '2026-01-01', cast(id % 3 as int)) as business_date",
        "cast(id as decimal(12, 3)) as units",
        "timestamp_micros(id) as occurred_at",
    )
    write = rows.repartition("business_date").write.format("delta").partitionBy("business_date")
    write.save(lake)
    write.mode("overwrite").option("replaceWhere", "business_date >= '2026-01-01'").save(lake)
    kept = session.read.format("delta").load(lake).where("business_date < '2026-01-03'")

    def left(one: pa.Table, _: pa.Table) -> pa.Table:
        return one

    sides = kept.groupBy("store_id").cogroup(kept.groupBy("store_id")).applyInArrow(left, kept.schema)
    sides.join(kept.groupBy("id").count(), "id").agg({"units": "sum"}).collect()
    kept.mapInArrow(lambda batches: batches, kept.schema).toArrow()
