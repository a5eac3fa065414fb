"""Noise that remembers: of mean 0 and variance 1, alike from day to day, and without seams."""

import numpy as np
import numpy.typing as npt
import pytest

from retail_assets.simulator.noise import autoregression, drift
from retail_assets.simulator.randomness import BLOCK_DAYS, Purpose

BLOCKS = 60


def correlation(noise: npt.NDArray[np.float64], lag: int) -> float:
    return float((noise[lag:] * noise[:-lag]).mean() / (noise**2).mean())


def shocks(persistence: float) -> npt.NDArray[np.float64]:
    blocks = [
        autoregression(7, Purpose.SHOCKS, 1, block=block, width=50, persistence=persistence) for block in range(BLOCKS)
    ]
    return np.concatenate(blocks)


def slow() -> npt.NDArray[np.float64]:
    return np.concatenate([drift(7, Purpose.DRIFT, 1, block=block, width=200) for block in range(BLOCKS)])


@pytest.mark.parametrize("persistence", [0.0, 0.5, 0.78])
def test_an_autoregression_remembers_as_much_as_it_says(persistence: float) -> None:
    noise = shocks(persistence)
    assert noise.shape == (BLOCKS * BLOCK_DAYS, 50)
    assert noise.mean() == pytest.approx(0.0, abs=0.03)
    assert noise.std() == pytest.approx(1.0, abs=0.03)
    assert correlation(noise, 1) == pytest.approx(persistence, abs=0.02)
    assert correlation(noise, 3) == pytest.approx(persistence**3, abs=0.03)


def test_an_autoregression_has_no_seam_between_blocks() -> None:
    noise = shocks(0.78)
    steps = (np.diff(noise, axis=0) ** 2).mean(axis=1)
    seams = steps[BLOCK_DAYS - 1 :: BLOCK_DAYS]
    assert seams.mean() == pytest.approx(steps.mean(), rel=0.15)


def test_an_autoregression_that_would_need_a_longer_run_up_is_refused() -> None:
    with pytest.raises(ValueError, match="persistence"):
        autoregression(7, Purpose.SHOCKS, block=0, width=1, persistence=0.95)


def test_drift_is_smooth_and_forgets_within_half_a_year() -> None:
    noise = slow()
    assert noise.std() == pytest.approx(1.0, abs=0.03)
    assert noise.std(axis=1).min() > 0.8
    assert correlation(noise, 7) > 0.98
    assert 0.85 < correlation(noise, BLOCK_DAYS) < 0.95
    assert abs(correlation(noise, 6 * BLOCK_DAYS)) < 0.1
    steps = np.abs(np.diff(noise, axis=0)).mean(axis=1)
    assert steps.max() < 0.08
