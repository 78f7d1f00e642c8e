"""Shares of the gain against enumeration of all orders and closed forms."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from exact_posterior import CosinePosterior
from numpy.testing import assert_allclose

from spot_dask.stats.shapley import ablation, ablation_game, ablation_of_draws


def identity(X):
    return X


def game(default, tuned, snap=identity, seed=0):
    rng = np.random.default_rng(seed)
    return ablation_game(np.asarray(default, float), np.asarray(tuned, float), snap, rng)


def certain(f):
    return lambda X: (f(X), np.zeros((len(X), len(X))))


def by_enumeration(f, default, tuned, snap=identity):
    """Mean over all orders of what each change makes, one order after the other."""
    orders = list(permutations(range(len(default))))
    shares = np.zeros(len(default))
    for order in orders:
        row = np.array(default, float)
        before = f(snap(row[None]))[0]
        for player in order:
            row[player] = tuned[player]
            after = f(snap(row[None]))[0]
            shares[player] += (after - before) / len(orders)
            before = after
    return shares


def wild(X):
    return np.sin(9 * X).prod(axis=1) + np.exp(X[:, 0] * X[:, 1]) + X[:, 2] ** 3 * X[:, 3]


D5, T5 = np.array([0.1, 0.9, 0.5, 0.2, 0.6]), np.array([0.8, 0.3, 0.7, 0.9, 0.4])


def test_shares_are_those_of_all_orders_and_add_to_the_gain():
    found = ablation(certain(wild), game(D5, T5))
    assert_allclose(found.mean, by_enumeration(wild, D5, T5), atol=1e-12)
    assert found.mean.sum() == pytest.approx(wild(T5[None])[0] - wild(D5[None])[0])
    assert found.exact
    assert not found.error.any()


def optimiser(X):
    """Column 0 chooses the optimiser; column 1, the momentum, counts for the second alone."""
    rows = X.copy()
    rows[:, 0] = np.rint(X[:, 0])
    rows[rows[:, 0] == 0, 1] = 0.5
    return rows


def test_a_parameter_that_its_parent_activates_shares_with_it():
    default, tuned = np.array([0.0, 0.5, 0.3]), np.array([1.0, 0.9, 0.3])

    def f(X):
        return np.where(X[:, 0] == 1, 10 + 5 * X[:, 1], 0.0)

    found = ablation(certain(f), game(default, tuned, optimiser))
    # To the second optimiser with the default's momentum 12.5; then the momentum 2, which alone,
    # while it is not active, makes no difference.
    assert found.players.tolist() == [0, 1]
    assert_allclose(found.mean, [(12.5 + 14.5) / 2, (0.0 + 2.0) / 2])
    assert_allclose(found.mean, by_enumeration(f, default, tuned, optimiser)[:2])
    assert len(game(default, tuned, optimiser).rows) == 3  # of four corners two are the same


def model(count=4000):
    posterior = CosinePosterior(5, seed=2, count=count)
    X = posterior.rng.random((20, 5))
    return posterior.observe(X, wild(X), 0.1)


def test_the_sd_is_that_of_the_shares_of_functions_drawn_one_by_one():
    posterior = model(count=400)
    found = ablation(posterior.joint, game(D5, T5))
    shares = np.array(
        [
            ablation(certain(lambda X, w=w: posterior.features(X) @ w), game(D5, T5)).mean
            for w in posterior.weights
        ]
    )
    assert_allclose(found.sd, shares.std(axis=0), rtol=0.15)
    assert_allclose(found.mean, shares.mean(axis=0), atol=4 * found.sd.max() / 20)
    drawn = ablation_of_draws(posterior.paths, game(D5, T5))
    assert_allclose(drawn.mean, shares.mean(axis=0), atol=1e-9)
    assert_allclose(drawn.low, np.quantile(shares, 0.025, axis=0), atol=1e-9)


def test_the_sds_are_consistent_with_the_sd_of_the_whole_gain():
    posterior, played = model(), game(D5, T5)
    _, covariance = posterior.joint(np.stack([T5, D5]))
    whole = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    _, at_corners = posterior.joint(played.rows)
    W = played.weights
    assert (W @ at_corners @ W.T).sum() == pytest.approx(whole)


def test_many_parameters_are_shared_by_orders_drawn_with_an_honest_error():
    d = 15
    default, tuned = np.zeros(d), np.ones(d)
    linear, pairs = np.arange(d) / 10, np.random.default_rng(1).normal(size=(d, d))

    def f(X):
        return X @ linear + np.einsum("mi,ij,mj->m", X, np.triu(pairs, 1), X) + 3 * X.prod(axis=1)

    # Each pair is shared by its two, and what only all together make, by all.
    both = np.triu(pairs, 1)
    exact = linear + (both.sum(axis=0) + both.sum(axis=1)) / 2 + 3 / d
    found = [ablation(certain(f), game(default, tuned, seed=seed)) for seed in range(5)]
    assert not found[0].exact
    z = np.array([(a.mean - exact) / a.error for a in found])
    assert 0.7 < np.sqrt(np.mean(z**2)) < 1.3
    for a in found:
        assert a.mean.sum() == pytest.approx(f(tuned[None])[0])
    # An order and its reverse share pairs exactly: what is left is the product of all.
    assert found[0].error.max() < 0.1


def test_parameters_that_are_alike_are_no_players():
    found = ablation(certain(lambda X: X @ [1.0, 2.0, 4.0]), game([0, 0.5, 1], [1, 0.5, 0]))
    assert found.players.tolist() == [0, 2]
    assert_allclose(found.mean, [1, -4])


def test_without_a_change_nothing_is_shared():
    found = ablation(certain(lambda X: X[:, 0]), game([0.5, 0.5], [0.5, 0.5]))
    assert found.players.size == found.mean.size == found.sd.size == 0


@pytest.mark.parametrize("orders", [2, 7])
def test_orders_without_their_reverse_are_refused(orders):
    with pytest.raises(ValueError, match="even number"):
        ablation_game(np.zeros(2), np.ones(2), identity, np.random.default_rng(0), orders)
