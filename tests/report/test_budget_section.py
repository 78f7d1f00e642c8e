"""Would more budget help: the advice by rule, in words and in the user's units."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from report_studies import Builder
from test_gain_section import words

from spot_dask.inference.outlook import outlook
from spot_dask.records import Origin
from spot_dask.report.context import Missing
from spot_dask.report.sections.budget import MORE, BudgetSection, draw_outlook
from spot_dask.space import Real, Space

LINE = Space(x=Real(0.0, 1.0, default=0.9))


def study(f, n, direction="min", **settings):
    b = Builder(space=LINE, direction=direction, settings=settings)
    for x in (0.9, *((np.arange(n - 1) + 0.5) / (n - 1))):
        b.tell({"x": float(x)}, f(float(x)))
    return b


def found(builder):
    context = builder.context(model=None)
    return context[BudgetSection], context


def said(builder):
    b, context = found(builder)
    return words(BudgetSection().render(b, context))


def waves(x):
    return 2 + math.sin(12 * x)


def test_the_numbers_are_those_of_the_outlook():
    b, context = found(study(waves, 8))
    seen = outlook(context.inference)
    assert b.advice.improvement == seen.improvement
    assert b.advice.gain == min(MORE * seen.improvement, seen.bound)
    assert b.advice.noise == seen.noise
    assert b.counts[-1] == 8


def test_a_space_that_is_known_needs_no_more():
    text = said(study(waves, 40, mde=0.05))[0]
    assert text.startswith("No: 20 more evaluations are expected to improve val_loss by at most")
    assert "less than the 0.05 that matter to you" in text


def test_a_space_that_is_hardly_known_may_give_more():
    assert said(study(waves, 6))[0].startswith("It may: 20 more evaluations")


def test_what_noise_hides_is_not_worth_more():
    b = study(lambda x: 1.0 + 1e-3 * x, 20)
    rng = np.random.default_rng(0)
    best = b.context(model=None).best.config
    for r in range(3):
        b.tell(best, 1.0 + 0.5 * float(rng.standard_normal()), origin=Origin.CONFIRM, replicate=r)
    advice, _ = found(b)
    assert advice.noise_is == "3 fresh seeds"
    assert advice.advice.verdict == "stop: below the noise"
    assert said(b)[0].startswith("No: what can still be gained")


@pytest.mark.parametrize("direction", ["min", "max"])
def test_a_confirmed_best_has_the_noise_of_its_mean(direction):
    b = study(waves, 10, direction)
    context = b.context(model=None)
    for r, y in enumerate((1.0, 1.2, 1.4)):
        b.tell(context.best.config, y, origin=Origin.CONFIRM, replicate=r)
    found_now, _ = found(b)
    assert found_now.noise_is == "3 fresh seeds"
    assert found_now.advice.noise == pytest.approx(0.2 / math.sqrt(3))


def test_nothing_is_given_to_four_digits():
    for text in said(study(waves, 8)):
        for number in text.replace("(", " ").replace(")", " ").replace(",", " ").split():
            digits = number.strip(".").replace(".", "").lstrip("0")
            assert not digits.isdigit() or len(digits) <= 3, text


@pytest.mark.parametrize("n", [1, 2, 3])
def test_too_few_evaluations_say_how_many_are_needed(n):
    b = Builder(space=LINE)
    for i in range(n):
        b.tell({"x": 0.9 - 0.1 * i}, 1.0 + i)
    b, _ = found(b)
    assert isinstance(b, Missing)
    assert "at least 4 are needed" in b.reason


def test_equal_values_have_nothing_to_improve():
    b, _ = found(study(lambda x: 0.25, 8))
    assert isinstance(b, Missing)
    assert "equal" in b.reason


def test_the_outlook_can_be_drawn():
    ax = Figure().subplots()
    draw_outlook(ax, found(study(waves, 8, mde=0.01))[0])
    assert ax.has_data()
