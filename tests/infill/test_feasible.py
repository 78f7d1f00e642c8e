"""The weight of the risk of failure: flat by chance, steep at a border, never a wall."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from spot_dask.infill import Request
from spot_dask.infill.feasible import WORTH, Risk
from spot_dask.infill.log_ei import LogEI
from spot_dask.space import Real, Space
from spot_dask.surrogates.feasibility import fit_feasibility
from spot_dask.surrogates.kriging import Kriging

SQUARE = Space(x=Real(0.0, 1.0, default=0.5), y=Real(0.0, 1.0, default=0.5))


def border(n=30, seed=0):
    """Rows, whether they succeed, and the risk learnt from them."""
    X = np.random.default_rng(seed).random((n, 2))
    success = X.sum(axis=1) < 1.2
    return X, success, Risk(fit_feasibility(X, success, SQUARE.groups), unit=1.0)


def test_the_weighted_gradient_is_that_of_differences():
    _, _, risk = border()
    risk = risk.after(np.array([[0.6, 0.6]]))
    Q = np.random.default_rng(1).random((20, 2))

    def criterion(Q):
        return -8.0 + 6.0 * np.sin(3 * Q[:, 0]), np.column_stack(
            (18.0 * np.cos(3 * Q[:, 0]), np.zeros(len(Q)))
        )

    values, gradient = risk.weigh_gradient(*criterion(Q), Q)
    assert_allclose(values, risk.weigh(criterion(Q)[0], Q), rtol=1e-12)
    h = 1e-5
    for j, e in enumerate(np.eye(2) * h):
        up, down = (risk.weigh(criterion(P)[0], P) for P in (Q + e, Q - e))
        assert_allclose(gradient[:, j], (up - down) / (2 * h), rtol=1e-6, atol=1e-6)


def test_gains_worth_it_keep_their_order_and_their_differences():
    _, _, risk = border()
    safe = np.full((4, 2), 0.2)
    values = np.log(WORTH) + np.array([-1e4, -50.0, 8.0, 9.0])
    weighted = risk.weigh(values, safe)
    assert (np.diff(weighted) > 0).all()
    assert_allclose(weighted[3] - weighted[2], 1.0, atol=0.01)
    assert weighted[1] - weighted[0] < 2.0


def test_a_large_gain_is_worth_a_risk_and_a_tiny_one_is_not():
    _, _, risk = border()
    towards = np.linspace(0.3, 0.9, 200)[:, None] * np.ones(2)
    u = risk.feasibility.score(towards)
    sure, unsure = towards[:1], towards[[np.argmin(np.abs(u - 0.4))]]
    nothing = np.array([-500.0])
    assert risk.weigh(np.log([1e-3]), unsure) < risk.weigh(nothing, sure)
    assert risk.weigh(np.log([0.1]), unsure) > risk.weigh(nothing, sure)


def test_failures_by_chance_weigh_next_to_nothing():
    spread = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = rng.random((60, 2))
        model = fit_feasibility(X, rng.random(60) > 0.3, SQUARE.groups)
        weights = Risk(model, 1.0).weigh(np.zeros(500), rng.random((500, 2)))
        spread.append(weights.std())
    assert np.median(spread) < 0.5


def test_unlikely_pending_trials_are_believed_to_fail_and_sure_ones_change_nothing():
    _, _, risk = border()
    unlikely, sure = np.array([[0.62, 0.6]]), np.array([[0.15, 0.15]])
    assert risk.after(sure).feasibility is risk.feasibility
    after = risk.after(unlikely).feasibility
    assert after.score(unlikely)[0] < risk.feasibility.score(unlikely)[0]
    assert risk.likely(sure)[0]
    assert not risk.likely(np.array([[0.9, 0.9]]))[0]


def test_a_batch_does_not_crowd_beyond_the_border():
    X, success, risk = border()
    y = 2.0 - X[success].sum(axis=1)
    posterior = Kriging().fit(X[success], y, SQUARE.groups, np.random.default_rng(0))
    nothing = np.empty((0, 2))
    for seed in range(3):
        free = Request(SQUARE, 8, X[success], nothing, frozenset())
        asked = Request(SQUARE, 8, X[success], nothing, frozenset(), risk)
        wild = LogEI().propose(posterior, free, np.random.default_rng(seed))
        batch = LogEI().propose(posterior, asked, np.random.default_rng(seed))
        assert (wild.sum(axis=1) > 1.2).sum() > (batch.sum(axis=1) > 1.2).sum()
        assert (batch.sum(axis=1) > 1.2).sum() <= 4
