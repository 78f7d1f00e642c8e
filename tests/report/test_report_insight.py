"""What the report says of parameters and regions, against functions that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from report_studies import Builder, fill

from spot_dask.inference.gate import FillingCheck
from spot_dask.report import sections
from spot_dask.report.context import Missing
from spot_dask.report.sections.ablation import AblationSection
from spot_dask.report.sections.anova import AnovaSection
from spot_dask.report.sections.contour import ContourSection
from spot_dask.report.sections.importance import ImportanceSection
from spot_dask.report.sections.landscape import LandscapeSection
from spot_dask.report.sections.regions import RegionsSection
from spot_dask.report.sections.trust import TrustSection
from spot_dask.space import Categorical, Real, Space

SPACE = Space(
    x=Real(0.0, 1.0, default=0.9),
    y=Real(0.0, 1.0, default=0.5),
    kind=Categorical(["a", "b", "c"], default="a"),
)
SHIFTS = {"a": 1.0, "b": 0.0, "c": 0.2}
OURS = ("importance", "ablation", "effects", "contour", "regions", "trust", "landscape", "anova")


def planes(config):
    return 3.0 + 2.0 * config["x"] + SHIFTS[config["kind"]]


@pytest.fixture(scope="module")
def context():
    """30 evaluations that fill the space."""
    return fill(Builder(space=SPACE), 30, planes, initial=30, noise=0.0).context()


@pytest.fixture(scope="module")
def narrow():
    """A search that left the design after 8 evaluations."""
    return fill(Builder(space=SPACE), 30, planes, initial=8, noise=0.01).context()


def test_importances_are_those_of_the_function_where_the_space_is_filled(context):
    found = context[ImportanceSection]
    spread = np.array([4 / 12, 0.0, np.var([1.0, 0.0, 0.2])])
    named = {p.name: p for p in found.whole.parameters}
    for name, share in zip(SPACE.free, spread / spread.sum(), strict=True):
        for index in (named[name].first, named[name].total):
            assert index.value == pytest.approx(share, abs=0.06)
            assert index.low <= share + 0.01
            assert share - 0.01 <= index.high


def test_a_search_speaks_of_where_it_went_and_says_what_the_rest_would_take(narrow):
    found = narrow[ImportanceSection]
    assert len(found.near.parameters) == 3
    assert isinstance(found.whole, Missing)
    assert "only 8 evaluations fill the whole space" in found.whole.reason
    alone = FillingCheck(1, 16, math.nan, math.nan, math.nan)
    assert alone.failure.startswith("only 1 evaluation fills the whole space; 16 are needed")
    assert "spot-dask explore STORE -n 16" in found.whole.reason
    assert "It is not asked about the whole space" in page(narrow, "trust")


def test_averages_of_pairs_are_those_of_the_function_where_the_space_is_filled(context):
    found = context[ContourSection]
    sections, averages = ([c for c in found if bool(c.over) is over] for over in (False, True))
    assert [(c.x_axis.name, c.y_axis.name) for c in averages] == [
        (c.x_axis.name, c.y_axis.name) for c in sections
    ]
    assert {c.over for c in averages} == {"the whole space"}
    levels = list(SHIFTS.values())
    checked = set()
    for c in averages:
        for a, b, median in (
            (a, b, c.median[i][j]) for i, a in enumerate(c.x) for j, b in enumerate(c.y)
        ):
            at = {c.x_axis.name: a, c.y_axis.name: b}
            kind = SHIFTS[at["kind"]] if "kind" in at else np.mean(levels)
            assert median == pytest.approx(3.0 + 2.0 * at.get("x", 0.5) + kind, abs=0.1)
        checked |= {c.x_axis.name, c.y_axis.name}
    assert checked == {"x", "y", "kind"}
    _, charts, _ = ContourSection().render(found, context)
    captions = [chart.caption for chart in charts.items]
    assert captions[-1] == "Averaged over all other parameters in the whole space."
    assert captions[0].startswith("Dots: evaluations.")


def test_averages_of_pairs_stay_near_the_best_where_the_search_did(narrow):
    found, near = narrow[ContourSection], narrow.near
    averages = [c for c in found if c.over]
    assert averages
    assert {c.over for c in averages} == {"what is near the best"}
    for c in averages:
        for axis, values in ((c.x_axis, c.x), (c.y_axis, c.y)):
            j = SPACE.free.index(axis.name)
            if axis.kind == "real":
                assert near.box.low[j] - 1e-6 <= min(values) <= max(values)
                assert max(values) <= near.box.high[j] + 1e-6


def test_shares_of_the_gain_are_those_of_a_sum_and_add_to_it(context):
    found = context[AblationSection]
    named = {s.name: s for s in found.parameters}
    assert found.total == pytest.approx(sum(s.share for s in found.parameters))
    if found.scale == "val_loss":
        tuned = context.best.config
        assert named["x"].share == pytest.approx(2.0 * (0.9 - tuned["x"]), abs=0.1)
        assert named["kind"].share == pytest.approx(1.0 - SHIFTS[tuned["kind"]], abs=0.1)
    assert named["x"].counts
    assert not named["y"].counts


def test_the_near_optimal_region_is_where_the_function_is_low(context):
    named = {r.name: r for r in context[RegionsSection].near.ranges}
    assert named["x"].share < 0.5
    assert named["x"].values[0] <= context.best.config["x"] <= named["x"].values[1]
    assert "b" in named["kind"].values
    assert "a" not in named["kind"].values


def test_left_out_evaluations_are_told_with_their_trials(context):
    found = context[TrustSection]
    assert sorted(found.numbers) == list(range(30))
    assert found.q2 > 0.95
    assert np.all(np.array(found.low) <= found.predicted)
    assert np.all(np.array(found.predicted) <= found.high)
    assert found.filling.failure == ""


def test_a_bowl_has_one_basin_and_a_plane_leads_to_its_foot(context):
    found = context[LandscapeSection]
    assert len(found.whole.basins) == 1
    assert found.whole.basins[0].config["x"] < 0.05
    assert found.whole.screening[-1].name == "y"
    assert found.distance.spearman > 0.3


def test_the_classical_tables_see_the_two_terms_that_there_are(context):
    found = context[AnovaSection]
    p = {r.name: r.p for r in found.anova.rows}
    assert max(p["x"], p["kind"]) < 1e-4 < p["y"]
    (slope,) = (c.value for c in found.regression.coefficients if c.label == "x")
    assert slope == pytest.approx(2.0)


def page(context, name):
    """The texts of a section."""
    (section,) = (s for n, s in sections.found() if n == name)
    found = context[type(section)]
    return " ".join(getattr(block, "text", "") for block in section.render(found, context))


@pytest.mark.parametrize("name", OURS)
def test_every_section_renders_with_and_without_the_whole_space(name, context, narrow):
    for seen in (context, narrow):
        (section,) = (s for n, s in sections.found() if n == name)
        found = seen[type(section)]
        if not isinstance(found, Missing):
            assert len(section.render(found, seen)) > 1


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("value", [lambda c: 1.0, planes])
def test_few_or_equal_evaluations_say_what_is_missing(n, value):
    seen = fill(Builder(space=SPACE), n, value, noise=0.0).context()
    for name, section in sections.found():
        if name in OURS:
            found = seen[type(section)]
            assert isinstance(found, Missing) or section.render(found, seen)
