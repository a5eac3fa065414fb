"""Random numbers that depend on the scenario and on what they are for, and on nothing else.

Every purpose has streams of its own, so that a new draw in one place leaves all others as they were. Does not belong
here: any distribution.
"""

from enum import IntEnum
from typing import Final

import numpy as np

#: What goes on day by day is drawn for a store, or for all, and so many days at a time. Blocks are counted from the
#: scenario's first date, so that a day's numbers don't depend on how many days there are, nor on who draws them.
BLOCK_DAYS: Final = 28


class Purpose(IntEnum):
    """What a stream is drawn for. The numbers are part of every scenario's data: add new ones, change none."""

    NAMES = 0
    STORES = 1
    SUPPLIERS = 2
    PRODUCTS = 3
    PROMOTIONS = 4
    DEMAND_LEVELS = 5
    DEMAND_DRAWS = 6
    SHOPPING = 7
    STOCKROOM = 8
    ORDERS = 9
    TILLS = 10
    FAULTS = 11
    WEATHER = 12
    DRIFT = 13
    SHOCKS = 14
    ANOMALIES = 15
    LAUNCHES = 16
    ELASTICITIES = 17
    LIFTS = 18
    DOUBLE_SCANS = 19
    PLANS = 20
    RETURNS = 21
    VOIDS = 22
    SHRINKAGE = 23


def stream(seed: int, purpose: Purpose, *keys: int) -> np.random.Generator:
    """Return a fresh generator.

    Args:
        seed: the scenario's.
        purpose: what the numbers are for.
        keys: which of the purpose's streams: a day, a store.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(int(purpose), *keys))))
