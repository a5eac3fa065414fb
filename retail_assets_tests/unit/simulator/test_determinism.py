"""The same scenario is the same data, in any process; another seed is other data."""

import os
import subprocess
import sys
from datetime import date

import polars as pl

from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.simulation import Simulation, simulate

DIGEST = """
import hashlib
from datetime import date
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.simulation import simulate

simulation = simulate(Scenario(last_date=date(2026, 4, 10), stores=2, products=30, days=20))
digest = hashlib.sha256()
world = simulation.world
frames = [world.stores, world.suppliers, world.products, world.promotions, world.calendar]
frames += [simulation.truth, simulation.purchase_orders]
for batch in simulation.history_batches():
    frames += [batch.sales_transactions, batch.inventory_updates, batch.pos_events]
for frame in frames:
    digest.update(frame.write_ipc(None).getvalue())
for topic, messages in simulation.today_messages().items():
    digest.update(repr((topic.name, messages)).encode())
print(simulation.scenario.fingerprint, digest.hexdigest())
"""


def test_two_processes_with_different_hash_seeds_make_the_same_bytes() -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DIGEST],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "4242")
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(outputs[0].split()[1]) == 64
    assert outputs[0] == outputs[1]


def test_simulating_twice_in_one_process_makes_the_same_frames(simulation: Simulation, scenario: Scenario) -> None:
    again = simulate(scenario)
    assert again.truth.equals(simulation.truth)
    assert again.purchase_orders.equals(simulation.purchase_orders)
    assert again.today_events().sales_transactions.equals(simulation.today_events().sales_transactions)


def test_another_seed_makes_another_retailer() -> None:
    one, other = (
        simulate(Scenario(last_date=date(2026, 1, 31), seed=s, stores=2, products=20, days=10)) for s in (1, 2)
    )
    assert not one.truth["demand"].equals(other.truth["demand"])
    assert not one.world.stores.equals(other.world.stores)


def test_faults_are_drawn_apart_from_all_else(simulation: Simulation, scenario: Scenario) -> None:
    calm = Scenario(
        last_date=scenario.last_date,
        seed=scenario.seed,
        stores=scenario.stores,
        products=scenario.products,
        days=scenario.days,
        malformed=0,
        duplicates=0,
    )
    frames: list[pl.DataFrame] = [one.today_events().sales_transactions for one in (simulation, simulate(calm))]
    assert frames[0].equals(frames[1])
