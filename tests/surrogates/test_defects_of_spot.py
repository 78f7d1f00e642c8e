"""Defects measured in earlier SPOT implementations must not come back."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from spot_dask.records import Evaluation, History, Outcome, Status
from spot_dask.space import Real, Space
from spot_dask.surrogates.kriging import Kriging
from spot_dask.tuner import Tuner


def ranges(*halves: float) -> Space:
    """A box of these half widths, its default off the centre."""
    return Space({f"x{j}": Real(-h, h, default=0.6 * h) for j, h in enumerate(halves)})


def searched(space: Space, halves: np.ndarray, evaluations: int) -> np.ndarray:
    """Values of a sphere, in the same units for every space, that a search evaluates."""
    tuner, history = Tuner(space, seed=5), History()
    while len(history.evaluations) < evaluations:
        trials = tuner.ask(history, 4)
        history = history.ask(trials)
        for trial in trials:
            x = np.array([trial.config[f"x{j}"] for j in range(len(halves))]) / halves
            outcome = Outcome(Status.OK, float(((x - 0.2) ** 2).sum()))
            history = history.tell(Evaluation(trial, outcome))
    return np.array([e.y for e in history.evaluations])


def test_a_sphere_in_other_units_is_searched_as_well():
    plain, scaled = np.ones(4), np.array([1.0, 1e4, 1.0, 1e4])
    found = [searched(ranges(*halves), halves, 32) for halves in (plain, scaled)]
    assert_allclose(found[1][:8], found[0][:8], rtol=1e-3)  # the design is the same
    assert max(y.min() for y in found) < 0.01 < 10 * min(y[:8].min() for y in found)


@pytest.mark.parametrize("deterministic", [False, True])
def test_where_all_values_are_equal_doubt_still_grows_with_the_distance(deterministic):
    rng = np.random.default_rng(1)
    X = 0.2 * rng.random((15, 2))
    p = Kriging(deterministic=deterministic).fit(X, np.full(15, 3.0), np.arange(2), rng)
    diagonal = np.linspace(0.2, 1, 30)[:, None] * np.ones(2)
    mean, sd = p.predict(diagonal)
    assert_allclose(mean, 3.0)
    assert (np.diff(sd) > 0).all()
    assert (np.abs(p.gradient(diagonal)[1]).max(axis=1) > 0).all()


def test_importance_follows_the_function_not_its_units():
    """f = 10 x0^2 + x1 / 2: the length scale of x0 is the short one."""
    rng = np.random.default_rng(2)
    X = rng.random((60, 2))
    y = 10 * (2 * X[:, 0] - 1) ** 2 + (2 * X[:, 1] - 1) / 2
    p = Kriging().fit(X, y, np.arange(2), rng)
    assert p.length_scales[1] > 1.5 * p.length_scales[0]
    same = Kriging().fit(X, 1e6 * y - 1e9, np.arange(2), rng)
    assert_allclose(same.length_scales, p.length_scales, rtol=1e-2)
