"""The blocking checks of the contracts: what they count, rule by rule."""

import pytest
from pyspark.sql import SparkSession

from retail_assets.checks.contracts import broken_rules
from retail_assets.contracts.tables import Table
from retail_assets.contracts.types import INT32, STRING, Column

pytestmark = pytest.mark.integration

SHELVES = Table(
    layer="core",
    name="shelves",
    grain=("shelf_id",),
    columns=(
        Column("shelf_id", STRING, "Shelf."),
        Column("places", INT32, "Places.", nullable=True, minimum=1, maximum=10),
        Column("kind", STRING, "Kind.", nullable=True, allowed=("wall", "island")),
    ),
    description="Shelves.",
)
SCHEMA = "shelf_id string, places int, kind string"


def test_rows_that_keep_the_contract_break_nothing_and_nulls_are_allowed_where_it_says(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("a", 1, "wall"), ("b", 10, "island"), ("c", None, None)], SCHEMA)
    assert broken_rules(rows, SHELVES) == (3, {})
    assert broken_rules(rows.limit(0), SHELVES) == (0, {})


def test_each_broken_rule_is_counted_by_itself_and_a_row_may_break_several(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [("a", 0, "wall"), ("b", 11, "cave"), (None, 5, "island"), ("c", None, "hole"), ("c", 3, "wall")], SCHEMA
    )
    assert broken_rules(rows, SHELVES) == (
        5,
        {
            "shelf_id is null": 1,
            "places < 1": 1,
            "places > 10": 1,
            "kind not in ('wall', 'island')": 2,
            "repeated shelf_id": 1,
        },
    )
