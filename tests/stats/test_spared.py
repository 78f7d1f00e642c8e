"""What early stopping costs, estimated from the trainings that chance let go on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from spot_dask.stats.intervals import clopper_pearson
from spot_dask.stats.spared import spared


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 8), (3, 10), (10, 10), (40, 90)])
def test_the_exact_interval_is_that_of_the_binomial_test(k: int, n: int) -> None:
    expected = stats.binomtest(k, n).proportion_ci(method="exact")
    found = clopper_pearson(k, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_what_is_better_than_the_best_is_counted() -> None:
    found = spared(np.array([3.0, 0.5, 1.0, math.inf]), best=1.0)
    assert (found.n, found.better, found.gain) == (4, 1, 0.5)
    assert found.share == clopper_pearson(1, 4)
    assert spared(np.array([3.0, math.inf]), best=1.0).gain == 0.0
    with pytest.raises(ValueError, match="no training has gone on by chance"):
        spared(np.array([]), best=1.0)


def test_the_share_is_unbiased_and_covered_whatever_the_rule_stops() -> None:
    rng, estimates, covered = np.random.default_rng(1), [], 0
    for _ in range(400):
        finals = rng.normal(size=200)
        stops = finals + 0.8 * rng.normal(size=200) > 0  # by a curve that tells something
        best, would = -0.5, finals[stops]
        true = float(np.mean(would < best))
        chance = rng.random(len(would)) < 0.1
        if not chance.any():
            continue
        found = spared(would[chance], best)
        estimates.append(found.better / found.n - true)
        covered += found.share.low <= true <= found.share.high
    error = float(np.std(estimates)) / math.sqrt(len(estimates))
    assert abs(float(np.mean(estimates))) < 3 * error
    assert covered / len(estimates) > 0.95
