"""Where each column comes from, table by table: one module per layer.

The single source for the column lineage in Dagster; a test holds it to the contracts, to the DDL and to the graph.
Belongs here: the statement. Does not belong here: views (their SQL says it), and tables that are made by a model or by
rules from nearly everything before them (models, forecasts, reorder points): of those the graph tells enough.
"""

from typing import Final

from retail_assets.contracts.lineage.core import CORE
from retail_assets.contracts.lineage.features import FEATURES
from retail_assets.contracts.lineage.marts import MARTS
from retail_assets.contracts.lineage.raw import RAW
from retail_assets.contracts.lineage.real_time import REAL_TIME
from retail_assets.contracts.origins import Lineage

__all__ = ["LINEAGE"]

#: By table, `layer/name`.
LINEAGE: Final[dict[str, Lineage]] = {**RAW, **CORE, **FEATURES, **MARTS, **REAL_TIME}
