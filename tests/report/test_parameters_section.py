"""What to use: the values, where they may be changed, and what each parameter is worth."""

from __future__ import annotations

import numpy as np
import pytest
from report_studies import Builder
from test_gain_section import words

from spot_dask.records import Origin
from spot_dask.report.blocks import DataTable
from spot_dask.report.sections.parameters import ParametersSection
from spot_dask.space import Categorical, Real, Space

SPACE = Space(
    x=Real(0.0, 1.0, default=0.9),
    junk=Real(0.0, 1.0, default=0.5),
    kind=Categorical(["good", "bad"], default="bad"),
)


@pytest.fixture(scope="module")
def told():
    """A bowl in x around 0.3; kind "bad" costs 0.5; junk does nothing."""
    rng = np.random.default_rng(1)
    b = Builder(space=SPACE).tell({"x": 0.9, "junk": 0.5, "kind": "bad"}, 0.86)
    for i in range(40):
        x = float(rng.random() if i < 20 else np.clip(0.3 + 0.15 * rng.normal(), 0, 1))
        kind = "bad" if i < 20 and i % 2 else "good"
        origin = Origin.DESIGN if i < 20 else Origin.INFILL
        config = {"x": x, "junk": float(rng.random()), "kind": kind}
        b.tell(config, (x - 0.3) ** 2 + 0.5 * (kind == "bad"), origin=origin)
    context = b.context(model=None)
    return {p.name: p for p in context[ParametersSection]}, context


def test_near_optimal_values_hold_the_recommended_ones(told):
    named, context = told
    low, high = named["x"].near.values
    assert 0.0 < low < context.recommended.config["x"] < high < 0.6
    assert named["kind"].near.values == ("good",)
    junk = named["junk"].near.values
    assert junk[1] - junk[0] > 0.5


def test_the_table_says_what_matters_near_the_best_and_anywhere(told):
    _, context = told
    section = ParametersSection()
    blocks = section.render(context[ParametersSection], context)
    (shown,) = (b for b in blocks if isinstance(b, DataTable))
    rows = {row[0].text: [cell.text for cell in row] for row in shown.rows}
    near, anywhere = rows["kind"][4], rows["kind"][5]
    assert near == "0 %"
    assert int(anywhere.removesuffix(" %")) > 50
    assert rows["x"][3].count(" to ") == 1
    assert rows["kind"][3] == "good"


def test_without_a_model_the_values_stand_alone():
    b = Builder(space=SPACE).tell({"x": 0.9, "junk": 0.5, "kind": "bad"}, 0.86)
    context = b.context(model=None)
    found = context[ParametersSection]
    assert [p.near for p in found] == [None] * 3
    text = words(ParametersSection().render(found, context))
    assert "It is unconfirmed." in text[0]
    assert "0.9" in text


def reason(b: Builder) -> str:
    context = b.context()
    return words(ParametersSection().render(context[ParametersSection], context))[0]


def test_the_reason_why_it_is_recommended_is_the_true_one():
    """By the model under noise; by what was observed without noise, or without a model's say."""
    space, rng = Space(x=Real(0.0, 1.0, default=0.9)), np.random.default_rng(3)
    noisy, exact, wild = (Builder(space=space) for _ in range(3))
    for x in rng.random(24):
        config, y = {"x": float(x)}, (x - 0.3) ** 2
        noisy.tell(config, y + 0.01 * rng.normal())
        exact.tell(config, y)
        wild.tell(config, rng.normal())
    for x in (0.2, 0.7):  # trained twice
        for replicate in (0, 1):
            exact.tell({"x": x}, (x - 0.3) ** 2, replicate=replicate)
    assert "the lowest estimate of the model" in reason(noisy)
    assert "the lowest value that was observed" in reason(exact)
    assert "gave the same values: there is no noise" in reason(exact)
    assert "the lowest value that was observed" in reason(wild)
    assert "no better than their mean" in reason(wild)
