"""One small retailer that all tests of the simulator look at. Its days hold a change of the clocks and Easter."""

from datetime import date

import polars as pl
import pytest

from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.simulation import Simulation, simulate


@pytest.fixture(scope="session")
def scenario() -> Scenario:
    return Scenario(last_date=date(2026, 4, 10), seed=3, stores=3, products=48, days=70, malformed=7, duplicates=9)


@pytest.fixture(scope="session")
def simulation(scenario: Scenario) -> Simulation:
    return simulate(scenario)


@pytest.fixture(scope="session")
def baskets(simulation: Simulation) -> pl.DataFrame:
    """All baskets, today's among them."""
    parts = [*simulation.history_batches(), simulation.today_events()]
    return pl.concat([part.sales_transactions for part in parts])


@pytest.fixture(scope="session")
def lines(baskets: pl.DataFrame) -> pl.DataFrame:
    """All lines of all baskets, with their basket's fields."""
    return baskets.explode("lines").unnest("lines")


@pytest.fixture(scope="session")
def movements(simulation: Simulation) -> pl.DataFrame:
    """All movements of stock, today's among them."""
    parts = [*simulation.history_batches(), simulation.today_events()]
    return pl.concat([part.inventory_updates for part in parts])


@pytest.fixture(scope="session")
def till_events(simulation: Simulation) -> pl.DataFrame:
    """All that tills said of themselves, today included."""
    parts = [*simulation.history_batches(), simulation.today_events()]
    return pl.concat([part.pos_events for part in parts])
