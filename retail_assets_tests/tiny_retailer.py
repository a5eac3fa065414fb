"""The smallest retailer that goes through every layer: its scenario, and the assets of each layer's run."""

from datetime import date
from typing import Final

from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.scenario_file import load_scenario

#: The day whose events come over Kafka. The day before lies in another month, so a run over both swaps two months.
TODAY: Final = date(2026, 6, 1)


def tiny_retailer(days: int) -> Scenario:
    return load_scenario("tiny", last_date=TODAY, stores=2, products=12, days=days)
