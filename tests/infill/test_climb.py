"""The local search of all starts at once."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from spot_dask.infill.climb import climb

E = 6
CURVED = np.geomspace(1e2, 1e4, E)  # the hill is narrower than scales of 1 promise


class Counted:
    """A hill with its top inside the box or beyond its border, and the rows it was asked for."""

    def __init__(self, top: float = 0.6, height: float = 0.0):
        self.top, self.height = top, height
        self.calls, self.rows = 0, 0

    def __call__(self, X):
        self.calls, self.rows = self.calls + 1, self.rows + len(X)
        gap = X - self.top
        below = 1.0 + 0.5 * (gap * gap) @ CURVED
        return self.height - np.log(below), -gap * CURVED / below[:, None]


def run(function, starts, free=None, evaluations=60):
    free = np.ones(starts.shape, dtype=bool) if free is None else free
    return climb(function, starts, free, np.ones(starts.shape[1]), evaluations)


def starts(count=8):
    return np.random.default_rng(3).random((count, E))


def test_the_top_of_a_badly_scaled_hill_is_found_in_a_few_evaluations():
    hill = Counted()
    rows = run(hill, starts())
    best = rows[hill(rows)[0].argmax()]
    assert hill(best[None])[0][0] > -1e-3
    assert hill.calls < 40  # 45 if the first step does not set the scale


def test_where_the_top_is_outside_the_border_is_the_answer():
    hill = Counted(top=1.4)
    rows = run(hill, starts())
    assert_allclose(rows[hill(rows)[0].argmax()], 1.0)


def test_what_is_not_free_stays_and_nothing_gets_worse():
    free = np.arange(E) % 2 == 0
    before = starts()
    hill = Counted()
    rows = run(hill, before, np.broadcast_to(free, before.shape))
    assert_allclose(rows[:, ~free], before[:, ~free], rtol=0)
    assert (hill(rows)[0] >= hill(before)[0]).all()
    fixed = run(hill, before, np.zeros(before.shape, dtype=bool))
    assert_allclose(fixed, before, rtol=0)


def test_starts_that_cannot_catch_up_are_given_up():
    """Two hills along the first column: one is a hundred lower."""

    class Two(Counted):
        def __call__(self, X):
            values, gradient = super().__call__(X)
            return values - 100.0 * (X[:, 0] > 0.5), gradient

    low, high = starts(), starts()
    low[:, 0], high[:, 0] = 0.55, 0.4
    two, alone = Two(top=0.45), Two(top=0.45)
    run(two, np.vstack((low[:7], high[:1])))
    run(alone, high[:1])
    assert two.rows < alone.rows + 7 * 4


def test_a_function_that_is_no_number_leaves_the_starts_where_they_are():
    before = starts()
    for value, slope in ((np.nan, 1.0), (0.0, np.nan), (np.nan, np.nan)):

        def wrong(X, value=value, slope=slope):
            return np.full(len(X), value), np.full(X.shape, slope)

        assert_allclose(run(wrong, before), before, rtol=0)
