"""The session that runs get: what its JVM was started with."""

from typing import Any

import pytest
from pyspark.sql import SparkSession

from retail_assets.resources.spark_archive import build_archive
from retail_assets.settings import Settings
from retail_local.class_data import archive_file
from retail_local.jars import spark_classpath
from retail_local.java import find_java

pytestmark = pytest.mark.integration


def test_the_jvm_maps_the_archive_that_set_up_made(spark: SparkSession, settings: Settings) -> None:
    archive = archive_file(settings, find_java(settings), spark_classpath(settings))
    if not archive.is_file():
        pytest.skip("set-up made no archive on this machine")
    jvm: Any = spark.sparkContext._jvm
    arguments = list(jvm.java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments())
    assert f"-XX:SharedArchiveFile={archive}" in arguments
    assert "-XX:+UseParallelGC" in arguments


def test_an_archive_that_is_there_is_not_made_again(settings: Settings) -> None:
    archive = archive_file(settings, find_java(settings), spark_classpath(settings))
    if not archive.is_file():
        pytest.skip("set-up made no archive on this machine")
    before = archive.stat().st_mtime_ns
    assert not build_archive(settings)
    assert archive.stat().st_mtime_ns == before
