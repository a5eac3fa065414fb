"""Noise that remembers: random numbers of neighbouring days that resemble each other.

Belongs here: processes over days that are made block by block, each a pure function of the seed and of where the block
lies. Does not belong here: what the noise moves. All have a mean of 0 and a variance of 1 on every day.
"""

from functools import lru_cache
from typing import Final

import numpy as np

from retail_assets.simulator.randomness import BLOCK_DAYS, Purpose, stream
from retail_assets.simulator.runs import Floats

# An autoregression starts this many blocks before the one that is asked for: what came earlier has been forgotten, to
# the sixth digit at a persistence of 0.78 a day, so that no state needs to be carried from block to block.
_RUN_UP_BLOCKS: Final = 2
_MAX_PERSISTENCE: Final = 0.8
# The drift is iid knots, one a block, under a bell curve this many blocks wide, cut off at about three widths.
_DRIFT_WIDTH_BLOCKS: Final = 1.6
_DRIFT_REACH: Final = 5
# Keys of streams can't be negative; knots and run-ups begin before the first day.
_KEY_OFFSET: Final = 8


def autoregression(seed: int, purpose: Purpose, *keys: int, block: int, width: int, persistence: float) -> Floats:
    """Return one block of first-order autoregressions.

    Args:
        seed: the scenario's.
        purpose: what the noise is for.
        keys: which of the purpose's streams.
        block: which block of days.
        width: how many autoregressions.
        persistence: correlation of neighbouring days, 0 to 0.8.

    Returns:
        BLOCK_DAYS x width.

    Raises:
        ValueError: the persistence is out of its range; the run-up would be too short.
    """
    if not 0.0 <= persistence <= _MAX_PERSISTENCE:
        raise ValueError(f"persistence should be from 0 to {_MAX_PERSISTENCE}, not {persistence}")
    first = block - _RUN_UP_BLOCKS
    shocks = np.concatenate(
        [
            stream(seed, purpose, *keys, number + _KEY_OFFSET).normal(size=(BLOCK_DAYS, width))
            for number in range(first, block + 1)
        ]
    )
    shocks *= np.sqrt(1.0 - persistence**2)
    # A loop over days: scipy's filter would do the same, and takes a second to import in every process.
    for day in range(1, shocks.shape[0]):
        shocks[day] += persistence * shocks[day - 1]
    return np.asarray(shocks[-BLOCK_DAYS:], dtype=np.float64)


def drift(seed: int, purpose: Purpose, *keys: int, block: int, width: int) -> Floats:
    """Return one block of slow, smooth noise: days a week apart are much alike, days half a year apart not at all.

    The correlation at a distance of t blocks is about exp(-(t / 3.2) ** 2).

    Args:
        seed: the scenario's.
        purpose: what the noise is for.
        keys: which of the purpose's streams.
        block: which block of days.
        width: how many series.

    Returns:
        BLOCK_DAYS x width.
    """
    knots = np.stack(
        [
            stream(seed, purpose, *keys, number + _KEY_OFFSET).standard_normal(width)
            for number in range(block - _DRIFT_REACH, block + _DRIFT_REACH + 2)
        ]
    )
    return np.asarray(_bell() @ knots, dtype=np.float64)


@lru_cache(maxsize=1)
def _bell() -> Floats:
    """Return the weight of each knot around a block on each of its days, BLOCK_DAYS x knots."""
    days = np.arange(BLOCK_DAYS) / BLOCK_DAYS
    knots = np.arange(-_DRIFT_REACH, _DRIFT_REACH + 2)
    distance = (days[:, None] - knots[None, :]) / _DRIFT_WIDTH_BLOCKS
    weights = np.where(np.abs(days[:, None] - knots[None, :]) <= _DRIFT_REACH, np.exp(-(distance**2) / 2.0), 0.0)
    return np.asarray(weights / np.sqrt((weights**2).sum(axis=1, keepdims=True)), dtype=np.float64)
