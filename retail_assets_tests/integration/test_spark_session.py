"""The session that runs get: what its JVM was started with, and what its steps share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame as SparkFrame
from pyspark.sql import SparkSession

from retail_assets.resources.spark import SparkResource
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


def test_a_frame_that_steps_share_is_computed_once_in_a_run_and_let_go_at_its_end(
    spark_resource: SparkResource, tmp_path: Path
) -> None:
    seen = tmp_path / "computed"
    frames: list[SparkFrame] = []

    def computed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            with seen.open("a") as file:
                file.write("once\n")
            yield batch

    def rows() -> SparkFrame:
        return spark_resource.spark_session.range(0, 10, numPartitions=1).mapInArrow(computed, "id long")

    @dg.asset
    def sold(spark: SparkResource) -> None:
        frames.append(spark.shared("rows", rows))
        assert frames[-1].count() == 10

    @dg.asset(deps=[sold])
    def kept_out(spark: SparkResource) -> None:
        assert spark.shared("rows", rows).where("id > 3").count() == 6

    @dg.asset_check(asset=kept_out)
    def all_there(spark: SparkResource) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=spark.shared("rows", rows).count() == 10 and frames[0].is_cached)

    run = dg.materialize([sold, kept_out, all_there], resources={"spark": spark_resource})
    assert [one.passed for one in run.get_asset_check_evaluations()] == [True]
    assert seen.read_text().count("once") == 1
    assert not frames[0].is_cached
