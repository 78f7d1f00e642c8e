"""Tuned against default: what the section, the checks and the verdict claim, and when."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from report_studies import Builder

from spot_dask.records import Origin
from spot_dask.report.blocks import DataTable, Details, How, Sentences, Text
from spot_dask.report.context import Missing
from spot_dask.report.sections.checks import ChecksSection
from spot_dask.report.sections.gain import GainSection, draw_pairs, draw_severity, severity_curve
from spot_dask.report.sections.verdict import UNCONFIRMED, VerdictSection
from spot_dask.space import Real, Space
from spot_dask.stats.paired import compare_paired

LINE = Space(x=Real(0.0, 1.0, default=0.9))
TITLES = ("Better than the default", "Confirmed on fresh seeds")
DIFFERENCES = (0.11, 0.09, 0.12, 0.08, 0.10)


def searched(direction="min", **settings):
    """A default of 0.9, a best of 0.2 (x = 0.2) and something between."""
    b = Builder(space=LINE, direction=direction, settings=settings)
    for x in (0.9, 0.2, 0.5, 0.7):
        b.tell({"x": x}, x)
    return b


def confirmed(differences=DIFFERENCES, x=0.2, builder=None, **settings):
    """The same with fresh seeds: the default at 0.9, the other better by the differences."""
    b = searched(**settings) if builder is None else builder
    for r, d in enumerate(differences):
        if builder is None:
            b.tell({"x": 0.9}, 0.9 + 0.001 * r, origin=Origin.CONFIRM, replicate=r)
        b.tell({"x": x}, 0.9 + 0.001 * r - d, origin=Origin.CONFIRM, replicate=r)
    return b


def found(builder):
    context = builder.context(model=None)
    return context[GainSection], context


def words(blocks):
    """All texts of blocks, tables and what is folded away included."""
    said = []
    for block in blocks:
        if isinstance(block, Text):
            said.append(block.text)
        elif isinstance(block, Sentences):
            said += block.items
        elif isinstance(block, DataTable):
            said += [cell.text for row in block.rows for cell in row]
        elif isinstance(block, Details):
            said += words(block.blocks)
        elif isinstance(block, How):
            said += words(block.more)
    return said


def check(context, title):
    (one,) = (c for c in context[ChecksSection] if c.title == title)
    return one


def test_a_gain_on_fresh_seeds_is_that_of_the_pairs():
    g, context = found(confirmed())
    assert g.stated
    assert g.comparison.differences == pytest.approx(DIFFERENCES)
    assert g.comparison.mean == pytest.approx(0.1)
    se = np.std(DIFFERENCES, ddof=1) / math.sqrt(5)
    assert g.comparison.t.low == pytest.approx(0.1 - 2.776445 * se)
    assert g.comparison.p_smallest == 1 / 32
    assert [(p.seed, p.default, p.tuned) for p in g.pairs][1] == pytest.approx((1, 0.901, 0.811))
    # The severity at the lower end of the one-sided 95 % interval (t_4 = 2.131847).
    assert g.severity.warranted == pytest.approx(0.1 - 2.131847 * se)
    assert np.interp(g.severity.warranted, g.severity.delta, g.severity.severity) == pytest.approx(
        0.95, abs=0.01
    )
    said = " ".join(words(GainSection().render(g, context)))
    assert said.startswith("Yes: on 5 fresh seeds it improves val_loss over the default by 0.100 ")
    assert "warranted with severity 0.95" in said
    assert "so many pairs cannot give less than 0.031" in said
    assert check(context, "Better than the default").state == "PASS"
    assert check(context, "Confirmed on fresh seeds").state == "PASS"
    verdict = context[VerdictSection]
    assert "its val_loss is 0.802, the mean of 5 fresh seeds" in verdict[1]
    assert "Yes: on 5 fresh seeds" in verdict[2]
    assert UNCONFIRMED not in verdict


def test_a_study_that_maximises_gains_upwards():
    g, context = found(confirmed(direction="max"))
    assert g.comparison.mean == pytest.approx(0.1)
    assert g.pairs[0].default == pytest.approx(-0.9)
    assert g.pairs[0].tuned == pytest.approx(-0.79)
    assert g.observed == pytest.approx(0.7)
    assert check(context, "Better than the default").state == "PASS"


def test_before_confirmation_nothing_is_claimed():
    b = searched()
    b.tell({"x": 0.123456}, 0.123456)
    g, context = found(b)
    assert not g.stated
    assert g.comparison is None
    assert g.observed == pytest.approx(0.776544)
    blocks = [
        *GainSection().render(g, context),
        *VerdictSection().render(context[VerdictSection], context),
        Sentences([check(context, title).message for title in TITLES]),
    ]
    said = " ".join(words(blocks))
    assert "Unconfirmed" in said
    assert "0.777" in said
    assert "95 %" not in said
    assert not re.search(r"\d+\.\d{4,}", said)
    assert {check(context, title).state for title in TITLES} == {"WARN"}
    assert "spot-dask confirm STORE" in said


@pytest.mark.parametrize("pairs", [1, 2])
def test_too_few_pairs_are_shown_and_nothing_is_stated(pairs):
    g, context = found(confirmed(DIFFERENCES[:pairs]))
    assert g.comparison.n == pairs
    assert (g.stated, g.severity, g.needed) == (False, None, None)
    said = " ".join(words(GainSection().render(g, context)))
    assert "at least 3 are needed to state anything" in said
    assert f"fresh seed {pairs - 1}" in said
    assert "95 %" not in said
    assert check(context, "Better than the default").state == "WARN"
    assert f"on {pairs} fresh seed" in check(context, "Confirmed on fresh seeds").message


def test_what_cannot_be_told_says_what_could_have_been_seen():
    g, context = found(confirmed((0.11, -0.09, 0.02, -0.03, 0.04), mde=0.05))
    said = words(GainSection().render(g, context))
    assert said[0].startswith("That cannot be told")
    assert "would have been seen with a probability of 80 %" in said[0]
    assert g.severity.claim == "≤"
    assert g.needed == g.comparison.needed_seeds(0.05) > 5
    assert str(g.needed) in said
    assert check(context, "Better than the default").state == "WARN"
    assert "cannot be told" in context[VerdictSection][2]


def test_what_is_worse_fails():
    g, context = found(confirmed([-d for d in DIFFERENCES]))
    assert words(GainSection().render(g, context))[0].startswith("No: on 5 fresh seeds it is worse")
    assert check(context, "Better than the default").state == "FAIL"


def test_equal_values_are_no_gain():
    g, context = found(confirmed([0.0] * 5))
    assert words(GainSection().render(g, context))[0].startswith("No: it and the default gave the")
    assert check(context, "Better than the default").state == "FAIL"
    g, context = found(confirmed([0.25] * 5))
    assert words(GainSection().render(g, context))[0].startswith("Yes")


def test_several_finalists_are_adjusted_by_holm():
    b = confirmed()
    confirmed((0.02, 0.10, -0.01, 0.08, 0.05), x=0.5, builder=b)
    g, context = found(b)
    first, second = g.finalists
    assert (first.recommended, second.recommended) == (True, False)
    assert (first.name, second.name) == ("trial 1", "trial 2")
    p = [f.finalist.comparison.p_t for f in g.finalists]
    assert first.finalist.p_holm == pytest.approx(2 * p[0])
    assert second.finalist.p_holm == pytest.approx(p[1])
    assert second.finalist.comparison.better == (second.finalist.comparison.t.low > 0)
    assert "2 configurations were confirmed" in " ".join(words(GainSection().render(g, context)))


def test_failures_on_fresh_seeds_are_told():
    b = confirmed((0.1, 0.2, 0.1, math.nan, 0.1))
    g, context = found(b)
    assert [p.seed for p in g.pairs] == [0, 1, 2, 4]
    one = check(context, "Confirmed on fresh seeds")
    assert (one.state, one.message) == ("WARN", "1 of 5 trainings of it failed on fresh seeds")
    _, context = found(confirmed((0.1, math.nan, math.nan)))
    assert check(context, "Confirmed on fresh seeds").state == "FAIL"


def test_a_default_that_failed_or_is_best_has_no_gain():
    b = Builder(space=LINE).tell({"x": 0.9})
    b.tell({"x": 0.2}, 0.2)
    g, context = found(b.confirm({"x": 0.2}, f=lambda c: c["x"], default=False))
    assert g == Missing("the training of the default failed")
    assert check(context, "Better than the default").state == "NONE"
    assert check(context, "Confirmed on fresh seeds").state == "PASS"
    b = Builder(space=LINE).tell({"x": 0.9}, 0.1).tell({"x": 0.2}, 0.2)
    g, context = found(b.confirm(f=lambda c: c["x"]))
    assert "default itself" in g.reason
    assert check(context, "Better than the default").state == "NONE"
    assert check(context, "Confirmed on fresh seeds").state == "PASS"


def test_the_severity_curve_spans_zero_and_the_claims():
    curve = severity_curve(compare_paired([1.0, 1.1, 1.3], [0.5, 0.7, 0.6]))
    assert curve.delta[0] <= 0.0 <= curve.delta[-1]
    assert list(curve.severity) == sorted(curve.severity, reverse=True)
    assert curve.claim == ">"
    flat = severity_curve(compare_paired([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]))
    assert np.all(np.isfinite(flat.delta))


def test_figures_draw_on_axes_alone():
    from matplotlib.figure import Figure

    g, _ = found(confirmed((0.11, -0.02, 0.12), mde=0.05))
    for draw in (draw_pairs, draw_severity):
        ax = Figure().subplots()
        draw(ax, g)
        assert ax.has_data()
