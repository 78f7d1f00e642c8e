"""Numbers at the ends of what floats can be neither raise nor warn, wherever they go.

The whole of it, objectives x spaces x curves x times, is ``scripts/chaos/extremes``.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from chaos.extremes import LARGEST, LEAST, OBJECTIVES, SPACES, Case, made, pages, proposals, rules
from spot_dask.magnitude import REACH, Scale, magnitudes, mean_of
from spot_dask.records import Evaluation, FoldPlan, History, Objective, Outcome, Status, Trial
from spot_dask.report import figures, html, sections
from spot_dask.report.sections.gain import GainSection
from spot_dask.run import Run
from spot_dask.stats.intervals import mean_interval
from spot_dask.stats.paired import compare_paired
from spot_dask.store.journal import Journal
from spot_dask.tuner import Tuner
from spot_dask.tuner.folds import table_of

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def test_a_scale_is_the_identity_of_ordinary_values_and_grows_everywhere():
    values = np.array([-LARGEST, -1e60, -1.0, -LEAST, 0.0, LEAST, 0.1, 1e40, 1e51, 1e308, LARGEST])
    plain, there = Scale(), np.abs(values) <= REACH
    assert (plain.forward(values)[there] == values[there]).all()
    for exponent in (-323, -300, 0, 300, 308):
        mapped = Scale(exponent).forward(values)
        assert np.isfinite(mapped).all()
        assert (np.abs(mapped) < 1e54).all()
        assert (np.diff(mapped) >= 0).all()
        assert mapped[0] == -mapped[-1]


@given(FINITE, st.sampled_from([-323, -300, -61, 0, 61, 300, 308]))
def test_a_scale_gives_back_what_it_was_given(value, exponent):
    scale = Scale(exponent)
    back = scale.returned(scale.number(value))
    small = LEAST * 1e16  # below there are no sixteen digits
    assert back == pytest.approx(value, rel=1e-9, abs=max(small, 10.0 ** (exponent - 300)))


def test_infinities_and_nan_stay():
    scale = Scale(-300)
    assert np.isnan(scale.forward(math.nan))
    assert np.isnan(scale.back(math.nan))
    assert scale.number(math.inf) == scale.returned(math.inf) == math.inf


@given(st.lists(FINITE, min_size=1, max_size=8))
def test_a_mean_is_no_infinity(values):
    exact = sum(v / len(values) for v in values)
    assert mean_of(values) == pytest.approx(exact, rel=1e-9, abs=1e-9 * max(map(abs, values)))


def test_ordinary_histories_pass_as_they_are():
    history = made(Case("ordinary")).history
    assert magnitudes(history, Objective("loss")) is None


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_proposals_in_any_unit(objective):
    case = Case(objective, n=12, limits="huge", metric="huge", imported=objective == "huge")
    assert proposals(case, ["log_ei"], ["evolution", "pattern"]) == []


@pytest.mark.parametrize("factor", [-300, -150, 150, 300])
def test_the_unit_of_the_objective_changes_no_proposal(factor):
    """The same study in another unit: the same trials, expectations in that unit."""
    study = made(Case("ordinary", n=12), confirmed=0)

    def scaled(e):
        outcome = e.outcome
        return replace(e, outcome=replace(outcome, y=outcome.y * 10.0**factor))

    told = replace(study.history, evaluations=tuple(map(scaled, study.history.evaluations)))
    tuner = Tuner(study.space, infill="log_ei", budget=60)
    (one,), (other,) = tuner.ask(study.history, 1), tuner.ask(told, 1)
    numbers = [[t.config[name] for name in "ab"] for t in (one, other)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-3, abs=1e-3)
    assert one.config["c"] == other.config["c"]
    assert other.expected.mean == pytest.approx(one.expected.mean * 10.0**factor, rel=1e-3)
    assert other.expected.sd == pytest.approx(one.expected.sd * 10.0**factor, rel=1e-2)
    best = tuner.recommend(told, tuner.model(told))
    assert best.evaluations[0].y in [e.y for e in told.evaluations]
    assert best.trial == tuner.recommend(study.history, tuner.model(study.history)).trial


@pytest.mark.parametrize("space", SPACES)
def test_spaces_of_the_least_and_the_widest_ranges(space):
    assert proposals(Case(space=space, n=12), ["log_ei"], ["sobol"]) == []


@pytest.mark.parametrize("curve", ["not finite", "huge", "of any magnitude"])
@pytest.mark.parametrize("objective", ["tiny", "one huge", "both ends"])
def test_rules_of_early_stopping(objective, curve):
    assert rules(Case(objective, curve=curve, n=20)) == []


@pytest.mark.parametrize("e", [-330, -300, 0, 300])
def test_intervals_are_those_of_any_unit(e):
    v = np.array([3.0, 1.0, 2.5, 4.0])
    one, other = mean_interval(v), mean_interval(v * 10.0 ** (e / 2) * 10.0 ** (e / 2))
    if e == -330:  # nothing is left of them
        assert other.mean == other.t.low == other.t.high == 0.0
        return
    assert other.mean == pytest.approx(one.mean * 10.0**e)
    assert other.t.high == pytest.approx(one.t.high * 10.0**e)
    assert other.bca.low == pytest.approx(one.bca.low * 10.0**e)
    pair, far = compare_paired(v, v[::-1] - 1), compare_paired(v * 10.0**e, (v[::-1] - 1) * 10.0**e)
    assert (far.p_t, far.share) == (pytest.approx(pair.p_t), pair.share)
    assert far.smallest_effect == pytest.approx(pair.smallest_effect * 10.0**e)


def test_differences_of_the_ends_are_no_infinity():
    found = compare_paired([LARGEST, LARGEST, 1.0], [-LARGEST, 1.0, -LARGEST])
    assert all(map(math.isfinite, (*found.differences, found.mean, found.sd, found.se, found.p_t)))


def test_a_run_of_extreme_numbers_is_told_and_written(tmp_path):
    case = Case("huge", curve="of any magnitude", time="both ends of time", metric="tiny",
                limits="huge", seed=2**63 - 2, n=6)  # fmt: skip
    assert pages(case, tmp_path) == []
    page = (tmp_path / "report.md").read_text()
    assert "in units of 1e" in page.replace("\\", "")
    best = Run.open(tmp_path / "extreme.zarr").best_json(Run.open(tmp_path / "extreme.zarr").best)
    assert best["observed"] > 1e300  # what is told is the study's own number
    told = (tmp_path / "e.csv").read_text()
    assert "e+30" in told
    json.loads((tmp_path / "report.json").read_text())


def test_means_over_folds_and_of_metrics_are_no_infinity():
    metrics = {"loss": 1.7e308, "size": -1.7e308, "odd": math.inf}
    ended = [
        Evaluation(Trial(r, {"a": 0.5}, 0, r), Outcome(Status.OK, 1.7e308, metrics))
        for r in range(3)
    ]
    history = History(tuple(ended))
    (mean,) = table_of(FoldPlan(3), history).means(history.ok)
    assert mean.y == mean.outcome.metrics["loss"] == pytest.approx(1.7e308)
    assert mean.outcome.metrics["size"] == pytest.approx(-1.7e308)
    assert mean.outcome.metrics["odd"] == math.inf


def test_effects_of_folds_are_those_of_any_unit():
    rng = np.random.default_rng(0)
    values = rng.choice([-1.0, 1.0], (4, 3)) * rng.random((4, 3))

    def table(unit):
        ended = [
            Evaluation(Trial(3 * i + r, {"a": i / 4}, 0, r), Outcome(Status.OK, float(unit * y)))
            for i, row in enumerate(values)
            for r, y in enumerate(row[: 3 - i % 2])
        ]
        return table_of(FoldPlan(3), History(tuple(ended)))

    one, far = table(1.0), table(LARGEST / 4)
    for r in range(3):
        assert far.effect(r) / (LARGEST / 4) == pytest.approx(one.effect(r))
    levels = [t.level({"a": 0.25}) for t in (one, far)]
    assert levels[1] / (LARGEST / 4) == pytest.approx(levels[0])


def test_what_is_drawn_on_a_logarithmic_scale_is_no_infinity(tmp_path):
    study = made(Case("any magnitude"))
    path = tmp_path / "r.zarr"
    past = [(1.7e9 + i, entry) for i, entry in enumerate(study.entries)]
    Journal.create(path, study.header, durability="process", past=past).close()
    model = Run.open(path).context.inference
    values = model.user(np.array([-1e4, -20.0, 0.0, 20.0, 1e4]))
    assert np.isfinite(values).all()
    assert (np.diff(values) >= 0).all()


@pytest.mark.parametrize("ends", [(5e-324, 1.0), (1.0, 1.7e308)])
def test_a_logarithmic_axis_holds_the_ends_of_floats(ends):
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_yscale("log")
    figures.limit_to_bulk(axes, np.array(ends))
    low, high = axes.get_ylim()
    assert 0 < low < high < math.inf


def test_a_section_that_fails_costs_itself_alone(tmp_path, monkeypatch, caplog):
    study = made(Case(n=4))
    path = tmp_path / "r.zarr"
    past = [(1.7e9 + i, entry) for i, entry in enumerate(study.entries)]
    Journal.create(path, study.header, durability="process", past=past).close()

    def fail(self, *_):
        raise OverflowError("too [bold]large")

    monkeypatch.setattr(GainSection, "render", fail)
    monkeypatch.setattr(GainSection, "facts", fail)
    with caplog.at_level(logging.WARNING):
        text = html(Run.open(path).context)
    assert "the section failed: it raises OverflowError" in text
    failed = {name for name, _ in sections.found() if f"section '{name}'" in caplog.text}
    assert "gain" in failed
    assert len(failed) < 5
