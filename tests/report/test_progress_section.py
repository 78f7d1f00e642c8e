"""How the search went: what counts as search, and what random search would have reached."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from report_studies import Builder
from test_gain_section import words

from spot_dask.records import Origin
from spot_dask.report.context import Missing
from spot_dask.report.sections.progress import ProgressSection, draw_search
from spot_dask.space import Real, Space

LINE = Space(x=Real(0.0, 1.0, default=0.9))


def found(builder):
    context = builder.context(model=None)
    return context[ProgressSection], context


def told(ys, direction="min", origin=Origin.DESIGN):
    b = Builder(space=LINE, direction=direction).tell({"x": 0.9}, 0.0)
    for i, y in enumerate(ys):
        b.tell({"x": 0.01 * (i + 1)}, y, origin=origin)
    return b


def linear(n, design, f=lambda x: x):
    """A search of n evaluations of f, of which so many fill the space evenly."""
    b = Builder(space=LINE).tell({"x": 0.9}, f(0.9))
    for x in (np.arange(design) + 0.5) / design:
        b.tell({"x": float(x)}, f(float(x)), origin=Origin.DESIGN)
    for x in np.linspace(0.3, 0.05, n - design - 1):
        b.tell({"x": float(x)}, f(float(x)), origin=Origin.INFILL)
    return b


def test_random_search_is_drawn_without_replacement_from_what_fills_the_space():
    b = told([1.0, 3.0]).tell({"x": 0.7}, -5.0, origin=Origin.INFILL)
    p, _ = found(b)
    assert p.random.exact == 2
    # Of the values 1 and 3: 2 with one draw, 1 with both.
    assert p.random.mean[:2] == pytest.approx((2.0, 1.0))
    assert p.random.low[:2] == pytest.approx((1.0, 1.0))
    assert p.initial == (True, True, True, False)


def test_a_study_that_maximises_searches_upwards():
    p, _ = found(told([1.0, 3.0], "max"))
    assert p.random.mean == pytest.approx((-2.0, -1.0))
    assert p.best == (0.0, 0.0, 0.0)


def test_a_failure_is_never_the_best_of_random_search():
    p, _ = found(told([1.0, math.nan, 3.0]))
    # 1, 3 and a failure that counts as 3.
    assert p.random.mean[:3] == pytest.approx((7 / 3, 5 / 3, 1.0))


def test_beyond_the_design_random_search_is_simulated_to_the_full_budget():
    p, _ = found(linear(40, 12))
    assert p.random.exact == 12
    assert len(p.random.mean) == 40
    k = np.arange(13, 41)
    # The least of k uniform values is 1 / (k + 1) on average.
    np.testing.assert_allclose(p.random.mean[12:], 1 / (k + 1), rtol=0.3)
    assert list(p.random.mean[12:]) == sorted(p.random.mean[12:], reverse=True)
    assert np.all(np.array(p.random.low) <= np.array(p.random.mean))


def test_confirmations_are_no_part_of_the_search():
    b = told([1.0, 3.0]).tell({"x": 0.01}, -9.0, origin=Origin.CONFIRM)
    p, context = found(b)
    assert len(p.y) == 3
    assert min(p.best) == 0.0
    assert "1 confirmation followed" in words(ProgressSection().render(p, context))[0]


def test_work_is_the_sum_of_the_trainings():
    p, context = found(told([1.0, 3.0]))
    seconds = [e.outcome.seconds for e in context.evaluations]
    assert p.work == pytest.approx(np.cumsum(seconds))
    assert p.work[-1] > p.elapsed[-1]


@pytest.mark.parametrize("by", ["evaluations", "time", "work"])
@pytest.mark.parametrize(
    ("f", "scale"), [(lambda x: 10 ** (3 * x), "log"), (lambda x: x - 0.5, "linear")]
)
def test_values_of_several_decades_have_a_log_axis(by, f, scale):
    p, _ = found(linear(20, 8, f))
    ax = Figure().subplots()
    draw_search(ax, p, "loss", by)
    assert ax.get_yscale() == scale
    low, high = ax.get_ylim()
    assert low <= min(p.y) <= max(p.y) <= high


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_evaluations_have_a_search_and_no_baseline(n):
    p, context = found(told([1.0] * n))
    assert len(p.y) == n + 1
    assert len(p.random.mean) == (2 if n == 2 else 0)
    assert ProgressSection().render(p, context)


def test_without_a_success_nothing_is_shown():
    assert found(Builder(space=LINE).tell({}))[0] == Missing("no evaluation has succeeded")
