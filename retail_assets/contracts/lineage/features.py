"""Features: by their dictionary."""

from typing import Final

from retail_assets.contracts.features import DEMAND_FEATURES
from retail_assets.contracts.origins import Lineage, of
from retail_assets.contracts.tables import CORE_DAILY_SALES, FEATURES_DEMAND

FEATURES: Final[dict[str, Lineage]] = {
    FEATURES_DEMAND.path: {
        **{name: of(CORE_DAILY_SALES.path, name) for name in FEATURES_DEMAND.grain},
        **{feature.column.name: feature.origins for feature in DEMAND_FEATURES},
    }
}
