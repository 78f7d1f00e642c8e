"""Overtuning by the definition, rank correlation against scipy and by its coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spot_dask.stats.generalisation import generalisation, rank_correlation


def test_overtuning_by_hand() -> None:
    validation = [5.0, 4.0, 6.0, 3.0, 3.0, 1.0]
    test = [5.5, 4.2, 1.0, 4.9, 0.0, 6.0]
    found = generalisation(validation, test)
    assert found.incumbents == (0, 1, 1, 3, 3, 5)
    assert list(found.overtuning) == pytest.approx([0, 0, 0, 0.7, 0.7, 1.8])
    assert list(found.relative[1:]) == pytest.approx([0, 0, 0.7 / 1.3, 0.7 / 1.3, 1.8 / 1.3])
    assert np.isnan(found.relative[0])
    assert found.relative[-1] > 1  # worse than the first, as 6.0 > 5.5
    assert found.gap.mean == pytest.approx(np.mean(np.subtract(test, validation)))
    assert found.correlation.rho == pytest.approx(stats.spearmanr(validation, test).statistic)


@pytest.mark.parametrize("seed", range(10))
def test_overtuning_is_the_definition(seed: int) -> None:
    validation, test = np.random.default_rng(seed).integers(0, 9, size=(2, 12)).astype(float)
    found = generalisation(validation, test).overtuning
    chosen = [int(np.argmin(validation[: t + 1])) for t in range(12)]
    for t in range(12):
        assert found[t] == test[chosen[t]] - min(test[c] for c in chosen[: t + 1])


def test_the_rank_correlation_is_scipys() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 15)).round(1)
    found = rank_correlation(x, x + y)
    reference = stats.spearmanr(x, x + y)
    assert (found.rho, found.p) == pytest.approx((reference.statistic, reference.pvalue))
    half = stats.norm.ppf(0.975) * np.sqrt((1 + found.rho**2 / 2) / 12)  # Bonett and Wright
    assert np.arctanh([found.interval.low, found.interval.high]) == pytest.approx(
        [np.arctanh(found.rho) - half, np.arctanh(found.rho) + half]
    )


def test_the_interval_of_the_rank_correlation_covers() -> None:
    rng, r = np.random.default_rng(2), 0.7
    truth = 6 / np.pi * np.arcsin(r / 2)  # of a normal pair (Pearson 1907)
    hits = []
    for _ in range(800):
        x = rng.normal(size=25)
        found = rank_correlation(x, r * x + np.sqrt(1 - r**2) * rng.normal(size=25)).interval
        hits.append(found.low <= truth <= found.high)
    assert np.mean(hits) == pytest.approx(0.96, abs=0.02)


def test_perfect_constant_and_few_pairs() -> None:
    x = np.arange(6.0)
    up, down = rank_correlation(x, x**3), rank_correlation(x, -x)
    assert (up.rho, up.interval.high, down.rho, down.interval.low) == (1, 1, -1, -1)
    assert up.p == pytest.approx(2 / 720)
    assert up.interval.low == pytest.approx(-down.interval.high)
    assert 0 < up.interval.low < 0.9
    for few in (rank_correlation(x[:3], x[:3]), rank_correlation(x, np.ones(6))):
        assert np.isnan([few.rho, few.p]).all()
        assert (few.interval.low, few.interval.high) == (-1, 1)


def test_one_evaluation_is_its_own_incumbent() -> None:
    found = generalisation([1.0], [2.0])
    assert (found.incumbents, found.overtuning[0], found.gap.mean) == ((0,), 0.0, 1.0)
    with pytest.raises(ValueError, match="expected pairs"):
        generalisation([1.0], [2.0, 3.0])
