"""Replicates go where they lower the expected loss of choosing wrongly, and nowhere else."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest

from spot_dask.surrogates import FloatArray
from spot_dask.surrogates.kriging import Kriging
from spot_dask.surrogates.posterior import KrigingPosterior
from spot_dask.tuner import replication
from spot_dask.tuner.replication import allocate, choose, evaluated, expected_loss, worth

MEAN = np.array([0.0, 0.3, 0.1, 0.9])


@pytest.fixture
def covariance() -> FloatArray:
    root = np.random.default_rng(1).normal(size=(4, 4))
    return np.asarray(0.1 * root @ root.T + 0.05 * np.eye(4))


@pytest.fixture
def posterior() -> KrigingPosterior:
    """Noisy values of a bowl."""
    rng = np.random.default_rng(0)
    X = rng.random((25, 2))
    y = ((X - 0.5) ** 2).sum(axis=1) + rng.normal(0, 0.1, 25)
    return Kriging().fit(X, y, np.arange(2), rng)


def bound(mean: FloatArray, covariance: FloatArray) -> float:
    """The expected loss by its definition, one pair after the other."""
    b = int(np.argmin(mean))
    pairs = [
        (mean[j] - mean[b], covariance[j, j] + covariance[b, b] - 2 * covariance[j, b])
        for j in range(len(mean))
        if j != b
    ]
    return sum(float(expected_loss(np.array([g]), np.array([v]))[0]) for g, v in pairs)


def test_the_expected_loss_is_that_of_draws() -> None:
    rng = np.random.default_rng(2)
    gap, variance = np.array([0.0, 0.2, 1.5, 8.0]), np.array([0.3, 1.0, 0.5, 0.01])
    drawn = np.maximum(rng.normal(-gap, np.sqrt(variance), (1_000_000, 4)), 0.0)
    error = 5 * drawn.std(axis=0) / 1000
    assert (np.abs(expected_loss(gap, variance) - drawn.mean(axis=0)) <= error + 1e-12).all()
    assert expected_loss(np.zeros(1), np.ones(1))[0] == pytest.approx(1 / np.sqrt(2 * np.pi))
    assert expected_loss(np.zeros(1), np.zeros(1))[0] == pytest.approx(0.0, abs=1e-100)


def test_an_evaluation_adds_its_precision(covariance: FloatArray) -> None:
    precision = np.linalg.inv(covariance) + np.diag([0.0, 1.0, 2.0, 0.0]) / 0.2
    after = evaluated(covariance, [2, 1, 2], 0.2)
    np.testing.assert_allclose(after, np.linalg.inv(precision), rtol=1e-10)


def test_every_choice_lowers_the_expected_loss_most(covariance: FloatArray) -> None:
    chosen = allocate(MEAN, covariance, 0.2, 6)
    assert len(chosen) == 6
    for done, i in enumerate(chosen):
        now = evaluated(covariance, chosen[:done], 0.2)
        losses = [bound(MEAN, evaluated(now, [j], 0.2)) for j in range(4)]
        assert i == int(np.argmin(losses))


def test_the_greedy_choice_is_nearly_the_best_of_all(covariance: FloatArray) -> None:
    every = combinations_with_replacement(range(4), 5)
    best = min(bound(MEAN, evaluated(covariance, rows, 0.2)) for rows in every)
    chosen = allocate(MEAN, covariance, 0.2, 5)
    assert bound(MEAN, evaluated(covariance, chosen, 0.2)) <= 1.02 * best


def test_many_replicates_balance_as_ocba_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """[Chen et al. 2000, theorem 1], which drops 1 / N_b beside 1 / N_j [Glynn & Juneja 2004]."""
    monkeypatch.setattr(replication, "NEGLIGIBLE", 0.0)
    gap = np.array([0.0, 1.0, 1.5, 2.0, 1.0, 1.5, 2.0])
    chosen = allocate(gap, 1e6 * np.eye(7), 1.0, 3000)
    N = np.bincount(chosen, minlength=7).astype(float)
    assert N[0] == pytest.approx(np.sqrt((N[1:] ** 2).sum()), rel=0.04)
    rate = gap[1:] ** 2 / (1 / N[1:] + 1 / N[0])
    np.testing.assert_allclose(rate, rate.mean(), rtol=0.02)


def test_replicates_find_the_best_more_often_than_equal_shares() -> None:
    rng = np.random.default_rng(3)
    mean, covariance, noise, slots = np.linspace(0.0, 1.4, 8), 0.1 * np.eye(8), 0.5, 16
    shares = {
        "ours": allocate(mean, covariance, noise, slots),
        "equal": [*range(8)] * 2,
        "none": [],
    }
    f = rng.multivariate_normal(mean, covariance, 20_000)
    found, loss = {}, {}
    for name, rows in shares.items():
        N = np.bincount(rows, minlength=8)
        seen = f + rng.normal(size=f.shape) * np.sqrt(noise / np.maximum(N, 1))
        believed = (mean / 0.1 + N * seen / noise) / (1 / 0.1 + N / noise)
        choice = believed.argmin(axis=1)
        found[name] = float((choice == f.argmin(axis=1)).mean())
        loss[name] = float((f[np.arange(len(f)), choice] - f.min(axis=1)).mean())
    assert found["ours"] > found["equal"] + 0.02 > found["none"] + 0.04
    assert loss["ours"] < 0.95 * loss["equal"] < 0.9 * loss["none"]


def test_nothing_is_spent_where_nothing_is_to_be_decided(covariance: FloatArray) -> None:
    assert allocate(np.array([0.0, 9.0]), 0.1 * np.eye(2), 0.1, 8) == []
    # Two points that the model knows to be equal, however uncertain their value is.
    assert allocate(np.zeros(2), np.ones((2, 2)), 0.1, 8) == []
    assert allocate(np.zeros(1), np.ones((1, 1)), 0.1, 8) == []
    assert allocate(MEAN, covariance, 0.2, 0) == []


def test_the_order_of_the_candidates_does_not_matter(covariance: FloatArray) -> None:
    order = np.array([2, 0, 3, 1])
    turned = allocate(MEAN[order], covariance[np.ix_(order, order)], 0.2, 6)
    assert [int(order[i]) for i in turned] == allocate(MEAN, covariance, 0.2, 6)


def test_what_is_running_counts_as_evaluated(posterior: KrigingPosterior) -> None:
    X = posterior.data.X + 0.5
    nothing = np.empty((0, 2))
    alone = choose(posterior, X, nothing, 5)
    assert len(alone) == 5
    for done in range(1, 5):
        assert choose(posterior, X, X[alone[:done]], 5 - done) == alone[done:]


def test_only_noise_makes_replicates_worth_it(posterior: KrigingPosterior) -> None:
    assert worth(1e-8) == 0.0 < worth(0.02) < worth(0.2) < worth(0.5) == worth(9.0) == 1.0
    exact = Kriging(deterministic=True).fit(
        posterior.data.X + 0.5, posterior.data.values, np.arange(2), np.random.default_rng(0)
    )
    assert choose(exact, posterior.data.X + 0.5, np.empty((0, 2)), 5) == []
