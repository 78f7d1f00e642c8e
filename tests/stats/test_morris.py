"""Elementary effects against the enumeration of all of them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose

from spot_dask.stats.morris import LEVELS, STEP, elementary_effects


def identity(X):
    return X


def rng(seed=0):
    return np.random.default_rng(seed)


def f(X):
    return 3 * X[:, 0] + X[:, 1] ** 2 * X[:, 2] - np.sin(6 * X[:, 2])


def every_effect(f, snap, d, i):
    """All elementary effects of column i: upwards from each point of the grid's lower half."""
    grid = np.arange(LEVELS) / (LEVELS - 1)
    choices = [grid] * d
    choices[i] = grid[: LEVELS // 2]
    rows = np.array(list(product(*choices)))
    moved = rows.copy()
    moved[:, i] += STEP
    return (f(snap(moved)) - f(snap(rows))) / STEP


def switch(X):
    rows = X.copy()
    rows[:, 0] = np.rint(X[:, 0])
    rows[rows[:, 0] == 0, 1] = 0.5
    return rows


@pytest.mark.parametrize("snap", [identity, switch])
def test_a_sample_has_the_moments_of_all_elementary_effects(snap):
    found = elementary_effects(f, snap, 3, rng(), r=4000)
    for i in range(3):
        effects = every_effect(f, snap, 3, i)
        error = 4 * max(found.error[i], effects.std() / np.sqrt(4000)) + 1e-12
        assert_allclose(found.mu[i], effects.mean(), atol=error)
        assert_allclose(found.mu_star[i], np.abs(effects).mean(), atol=error)
        assert_allclose(found.sigma[i], effects.std(), atol=0.03)


def test_a_line_has_its_slope_and_no_sigma():
    found = elementary_effects(lambda X: X @ [2.0, -3.0, 0.0], identity, 3, rng())
    assert_allclose(found.mu, [2, -3, 0], atol=1e-12)
    assert_allclose(found.mu_star, [2, 3, 0], atol=1e-12)
    assert_allclose(found.sigma, 0, atol=1e-12)


def test_an_interaction_shows_in_sigma_and_not_in_mu():
    found = elementary_effects(lambda X: (X[:, 0] - 0.5) * (X[:, 1] - 0.5), identity, 2, rng())
    assert np.all(np.abs(found.mu) < 0.15)
    assert np.all(found.sigma > 0.25)
    assert np.all(found.mu_star > 0.2)


def test_the_error_is_that_of_other_walks():
    several = [elementary_effects(f, identity, 3, rng(seed)) for seed in range(60)]
    spread = np.std([e.mu_star for e in several], axis=0)
    assert_allclose(spread[1:], several[0].error[1:], rtol=0.35)


@pytest.mark.parametrize(("d", "r"), [(0, 8), (2, 1)])
def test_what_cannot_be_walked_is_refused(d, r):
    with pytest.raises(ValueError, match="r >= 2"):
        elementary_effects(f, identity, d, rng(), r)
