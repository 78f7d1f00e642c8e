"""How sure the winner is: three numbers of it, and the chances of its rivals."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from report_studies import Builder
from test_gain_section import words

from spot_dask.records import Import, Imported, Origin
from spot_dask.report.context import Missing
from spot_dask.report.sections.winner import DRAWS, SHOWN, WinnerSection, draw_chances
from spot_dask.space import Real, Space

LINE = Space(x=Real(0.0, 1.0, default=0.9))


def valley(n=16, direction="min", noise=0.0, **settings):
    """Evaluations of 1 + (x - 0.3)^2 at a grid that holds 0.3, the default first."""
    b = Builder(space=LINE, direction=direction, settings=settings)
    rng = np.random.default_rng(3)
    for x in (0.9, 0.3, *np.linspace(0.0, 1.0, n - 2)):
        b.tell({"x": float(x)}, 1 + (x - 0.3) ** 2 + noise * rng.normal())
    return b


def found(builder):
    context = builder.context(model=None)
    return context[WinnerSection], context


def confirmed(builder, values, x=0.3):
    for r, y in enumerate(values):
        builder.tell({"x": x}, y, origin=Origin.CONFIRM, replicate=r)
    return builder


def said(builder):
    w, context = found(builder)
    return " ".join(words(WinnerSection().render(w, context)))


def test_without_noise_the_best_is_certain():
    w, _ = found(valley(mde=1e-3))
    assert w.rivals[0].config == {"x": 0.3}
    assert w.rivals[0].best > 0.9
    assert w.rivals[0].within > 0.99
    assert w.total == 16
    assert len(w.rivals) == SHOWN
    assert w.model == pytest.approx(1.0, abs=1e-3)
    assert sum(r.best for r in w.rivals) <= 1 + 1e-9


def test_what_is_within_delta_is_equivalent_and_the_cheapest_is_named():
    b = valley(mde=0.0101)
    w, context = found(b)
    # |x - 0.3| <= 0.1: 0.3 itself, and 3/13 and 4/13 and 5/13 of the grid.
    assert w.equivalent == sum((e.trial.config["x"] - 0.3) ** 2 <= 0.01 for e in context.ranked)
    assert w.delta == 0.0101
    seconds = {e.trial.number: e.outcome.seconds for e in context.ranked}
    assert w.cheapest.seconds == min(
        s for n, s in seconds.items() if abs(context.evaluations[n].trial.config["x"] - 0.3) <= 0.1
    )
    text = said(b)
    assert f"{w.equivalent} of the 16 configurations tried are more likely than not" in text
    assert f"the cheapest of these is {w.cheapest.name}" in text


def test_noise_leaves_several_with_a_chance():
    w, _ = found(valley(30, noise=0.2))
    assert w.rivals[0].best < 0.6
    assert w.delta == pytest.approx(0.2, rel=0.5)
    assert "single training" in w.delta_is
    assert DRAWS >= 1000


@pytest.mark.parametrize("direction", ["min", "max"])
def test_the_three_numbers_and_the_optimism(direction):
    sign = -1.0 if direction == "max" else 1.0
    b = confirmed(valley(direction=direction), (1.10, 1.12, 1.14))
    w, context = found(b)
    assert w.observed == pytest.approx(sign)
    assert w.confirmed.mean == pytest.approx(sign * 1.12)
    assert w.optimism == pytest.approx(0.12)
    assert w.stated
    words_of_it = " ".join(words(WinnerSection().render(w, context)))
    assert "on 3 fresh seeds (95 % interval" in words_of_it
    assert "The search had seen a value better by 0.12" in words_of_it


def test_before_confirmation_no_interval_and_three_digits():
    b = valley(noise=0.05)
    text = said(b)
    assert "is unconfirmed: its val_loss of" in text
    assert "95 %" not in text
    numbers = re.findall(r"\d+\.\d+", text)
    assert numbers
    # δ and the shares of draws apart, nothing is given to four digits.
    assert all(len(n.replace(".", "").lstrip("0")) <= 3 for n in numbers)
    text = said(confirmed(b, (1.1, 1.2)))
    assert "2 fresh seeds, too few to state it" in text
    assert "95 % interval" not in text


def test_an_imported_best_has_no_trial():
    b = valley(8)
    b.extra.append(Imported("run.zarr", [Import({"x": 0.31}, 0.5, "abc", 4)]))
    b.history = b.history.take_over(b.extra[0])
    b.entries.insert(1, (0.5, b.extra[0]))
    w, context = found(b)
    assert context.recommended.number == -1
    assert w.name == "an imported configuration"
    (rival,) = (r for r in w.rivals if r.config == {"x": 0.31})
    assert (rival.name, rival.observed) == ("imported", 0.5)
    assert math.isnan(rival.seconds)
    assert "An imported configuration is unconfirmed" in said(b)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_evaluations_have_no_rivals(n):
    b = Builder(space=LINE)
    for i in range(n):
        b.tell({"x": 0.9 - 0.1 * i}, 1.0 - 0.1 * i)
    w, context = found(b)
    assert w.rivals == ()
    text = " ".join(words(WinnerSection().render(w, context)))
    assert "at least 4 are needed" in text
    assert found(Builder(space=LINE))[0] == Missing("no evaluation has succeeded")


def test_equal_values_share_the_chances():
    b = Builder(space=LINE)
    for x in (0.9, 0.1, 0.3, 0.5, 0.7):
        b.tell({"x": x}, 0.25)
    w, context = found(b)
    assert sum(r.best for r in w.rivals) == pytest.approx(1.0)
    assert WinnerSection().render(w, context)


def test_the_chances_can_be_drawn():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    draw_chances(ax, found(valley())[0])
    assert ax.has_data()
