"""The classifier of succeeded and failed trials: probabilities, gradients, what it must not do."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import ndtr

from spot_dask.surrogates import feasibility
from spot_dask.surrogates.feasibility import NegativeLogEvidence, fit_feasibility

TWO = np.array([0, 1])


def trials(n=40, d=2, seed=0):
    """Rows and whether they succeed: above a slanted border they do not."""
    X = np.random.default_rng(seed).random((n, d))
    return X, X[:, 0] + X[:, 1] < 1.2


def probability(model, X):
    return ndtr(model.score(X))


def differences(f, X, h=1e-5):
    steps = np.eye(X.shape[1]) * h
    return np.column_stack([(f(X + e) - f(X - e)) / (2 * h) for e in steps])


def test_probabilities_are_low_at_failures_and_high_at_successes():
    X, success = trials()
    p = probability(fit_feasibility(X, success, TWO), X)
    assert ((p > 0) & (p < 1)).all()
    assert p[success].min() > 0.5 > p[~success].max()
    assert p[success].mean() > 0.9
    assert p[~success].mean() < 0.1


def test_a_border_is_drawn_from_a_few_failures():
    X, success = trials(n=25)
    model = fit_feasibility(X, success, TWO)
    new, truth = trials(n=2000, seed=1)
    assert ((model.score(new) > 0) == truth).mean() > 0.9


def test_what_matters_gets_the_short_length_scale():
    X, success = trials(n=80, d=5)
    lengths = fit_feasibility(X, success, np.arange(5)).columns
    assert lengths[:2].max() < lengths[2:].min()


@pytest.mark.parametrize("failures", [1, 7, 19, 20])
def test_far_away_the_probability_is_the_share_of_successes(failures):
    X, _ = trials(n=20)
    model = fit_feasibility(0.1 * X, np.arange(20) >= failures, TWO)
    far = np.full((1, 2), 1000.0)
    assert_allclose(probability(model, far), (20 - failures + 1) / 22, rtol=1e-6)


def test_failures_by_chance_leave_the_probability_flat():
    spread = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = rng.random((100, 4))
        model = fit_feasibility(X, rng.random(100) > 0.3, np.arange(4))
        spread.append(np.ptp(probability(model, rng.random((500, 4)))))
    assert np.median(spread) < 0.35


def test_one_configuration_may_fail_and_succeed():
    X = np.repeat([[0.2, 0.2], [0.8, 0.8]], 10, axis=0)
    model = fit_feasibility(X, np.arange(20) % 2 == 0, TWO)
    assert_allclose(probability(model, X), 0.5, atol=0.05)


def test_gradients_are_those_of_differences():
    X, success = trials()
    model = fit_feasibility(X, success, TWO).after_failure(np.array([0.3, 0.3]))
    Q = np.random.default_rng(2).random((10, 2))
    values, gradient = model.score_gradient(Q)
    assert_allclose(gradient, differences(model.score, Q), rtol=1e-6, atol=1e-6)
    assert_allclose(values, model.score(Q), rtol=1e-12)


def test_the_gradient_of_the_evidence_is_that_of_differences(monkeypatch):
    monkeypatch.setattr(feasibility, "TOLERANCE", 0.0)
    X, success = trials(n=30, d=3)
    t, theta = np.where(success, 1.0, -1.0), np.array([0.1, -0.4, 0.9])

    def value(theta):
        return NegativeLogEvidence(X - 0.5, t, np.array([0, 1, 1]), 0.3)(theta)

    h = 1e-3
    gradient = [
        (8 * (value(theta + e)[0] - value(theta - e)[0]))
        - (value(theta + 2 * e)[0] - value(theta - 2 * e)[0])
        for e in np.eye(3) * h
    ]
    assert_allclose(value(theta)[1], np.array(gradient) / (12 * h), rtol=1e-6, atol=2e-6)


def test_the_order_of_trials_changes_nothing():
    X, success = trials()
    Q = np.random.default_rng(2).random((10, 2))
    order = np.random.default_rng(1).permutation(len(X))
    one = fit_feasibility(X, success, TWO).score(Q)
    other = fit_feasibility(X[order], success[order], TWO).score(Q)
    assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_many_trials_are_thinned_to_those_near_the_border():
    X, success = trials(n=3000)
    model = fit_feasibility(X, success, TWO)
    new, truth = trials(n=2000, seed=1)
    assert len(model.Z) == feasibility.LARGEST
    assert ((model.score(new) > 0) == truth).mean() > 0.98


def test_thinning_keeps_every_rare_failure():
    X, _ = trials(n=1000)
    success = np.arange(1000) >= 3
    kept = feasibility._informative(X, success)
    assert len(kept) == feasibility.LARGEST
    assert set(range(3)) <= set(kept.tolist())
    assert len(feasibility._informative(X, ~success)) == feasibility.LARGEST


def test_a_believed_failure_lowers_the_probability_there_and_not_far_away():
    X, success = trials()
    model = fit_feasibility(X, success, TWO)
    x = np.array([0.55, 0.55])
    believed = model.after_failure(x)
    assert probability(believed, x[None])[0] < probability(model, x[None])[0] - 0.05
    far = np.array([[1000.0, 0.0]])
    assert_allclose(believed.score(far), model.score(far), rtol=1e-9)


@pytest.mark.parametrize("outcome", [True, False])
def test_trials_of_one_kind_only_are_no_trouble(outcome):
    X, _ = trials(n=6)
    model = fit_feasibility(X, np.full(6, outcome), TWO)
    assert ((probability(model, X) > 0.5) == outcome).all()


def test_one_trial_coinciding_trials_and_no_columns_are_no_trouble():
    failed = np.array([False])
    assert np.isfinite(fit_feasibility(np.zeros((1, 2)), failed, TWO).score(np.ones((3, 2)))).all()
    same = fit_feasibility(np.full((9, 2), 0.5), np.arange(9) > 2, TWO)
    assert np.isfinite(same.score(np.ones((3, 2)))).all()
    none = fit_feasibility(np.empty((3, 0)), np.arange(3) > 0, np.empty(0, dtype=np.int64))
    assert np.isfinite(none.score(np.empty((2, 0)))).all()


def test_where_the_evidence_fails_the_prior_serves(monkeypatch, caplog):
    real = NegativeLogEvidence.__call__
    monkeypatch.setattr(
        NegativeLogEvidence, "__call__", lambda self, theta: (1e10, 0 * real(self, theta)[1])
    )
    X, success = trials()
    with caplog.at_level(logging.WARNING):
        model = fit_feasibility(X, success, TWO)
    assert len(caplog.records) == 1
    assert "prior" in caplog.text
    assert_allclose(model.columns, 1.0)
    assert probability(model, X)[success].mean() > 0.8
