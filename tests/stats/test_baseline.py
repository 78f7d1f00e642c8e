"""The best of k random evaluations, against enumeration of all draws."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest

from spot_dask.stats.baseline import chances, expected_best, expected_best_of_draws

VALUES = np.array([3.0, 1.0, 4.0, 1.5, 9.0, 2.6, 1.0])


def test_the_expected_best_is_that_of_all_subsets() -> None:
    found = expected_best(VALUES, 7)
    for k in range(1, 8):
        bests = np.array([min(s) for s in combinations(VALUES, k)])
        assert found.mean[k - 1] == pytest.approx(bests.mean())
        low, high = np.quantile(bests, [0.05, 0.95], method="inverted_cdf")
        assert (found.low[k - 1], found.high[k - 1]) == (low, high)
    assert found.mean[0] == pytest.approx(VALUES.mean())
    assert found.mean[-1] == 1.0


def test_chances_are_the_hypergeometric_ones_also_of_many() -> None:
    p = chances(300, 300)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    for i, j in [(1, 1), (1, 40), (7, 40), (100, 3), (300, 1)]:
        assert p[j - 1, i - 1] == pytest.approx(comb(300 - i, j - 1) / comb(300, j), rel=1e-9)
    assert chances(1000, 1000).shape == (1000, 1000)


def test_drawing_without_replacement_is_unbiased_and_with_replacement_is_not() -> None:
    """From 20 exponential values, the best of 10 others is expected at 1 / 10."""
    samples = np.random.default_rng(1).exponential(size=(4000, 20))
    found = np.mean([expected_best(sample, 10).mean[-1] for sample in samples])
    assert found == pytest.approx(0.1, abs=0.006)
    survival = (1 - np.arange(21) / 20) ** 10
    flattering = np.mean(np.sort(samples) @ (survival[:-1] - survival[1:]))
    assert flattering > 0.12


@pytest.mark.parametrize("k", [0, 8])
def test_the_values_say_nothing_of_more(k: int) -> None:
    with pytest.raises(ValueError, match="1 <= k <= 7"):
        expected_best(VALUES, k)
    with pytest.raises(ValueError, match="expected"):
        expected_best([], 1)


def test_simulated_functions_are_mixed() -> None:
    draws = np.random.default_rng(2).normal(size=(3, 5)) + np.arange(3)[:, None] * 4
    found = expected_best_of_draws(draws, 4)
    for k in range(1, 5):
        bests = np.array([min(s) for row in draws for s in combinations(row, k)])
        assert found.mean[k - 1] == pytest.approx(bests.mean())
        low, high = np.quantile(bests, [0.05, 0.95], method="inverted_cdf")
        assert (found.low[k - 1], found.high[k - 1]) == (low, high)
    one = expected_best_of_draws(VALUES[None], 7)
    np.testing.assert_allclose(one.mean, expected_best(VALUES, 7).mean)
    with pytest.raises(ValueError, match="s x N"):
        expected_best_of_draws(VALUES, 2)
