"""What the report says, against what is known about made-up studies."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from report_studies import Builder, facts, fill

from spot_dask import Budget, FunctionTask, Study
from spot_dask.records import (
    Asked,
    Closed,
    Failure,
    Imported,
    Opened,
    Origin,
    Outcome,
    Record,
    Retried,
    Status,
    Told,
)
from spot_dask.report import html
from spot_dask.report.context import Missing
from spot_dask.report.sections import verdict
from spot_dask.report.sections.importance import (
    Importance,
    Importances,
    ImportanceSection,
    RegionImportance,
    Share,
)
from spot_dask.space import Categorical, Integer, Real, Space
from spot_dask.tuner import Tuner

LINE = Space(x=Real(0.0, 1.0, default=0.9), y=Real(0.0, 1.0, default=0.5))


def slope(config):
    return 2.0 * config["x"] + 0.1 * config["y"]


def line(n=20, direction="min", f=slope, **more):
    return fill(Builder(space=LINE, direction=direction, **more), n, f, initial=n, noise=0.0)


def check(f, words):
    (found,) = (c for c in f.checks if words in c.title)
    return found


def test_the_recommended_configuration_is_the_tuners(full, full_facts):
    best = Tuner(full.space).recommend(full.history, full.model())
    r = full_facts.recommended
    assert r.number == best.trial
    assert r.config == best.config
    assert r.observed == best.observed


def test_a_study_that_maximises_shows_what_it_maximised():
    low, high = line().facts(), line(direction="max").facts()
    assert high.recommended.observed == -low.recommended.observed
    assert high.gain.observed == pytest.approx(low.gain.observed)
    assert high.gain.observed > 0
    assert high.trials[3].y == -low.trials[3].y
    assert list(high.progress.best) == sorted(high.progress.best)
    sections = (np.array(f.effects[0].section.median) for f in (high, low))
    np.testing.assert_allclose(next(sections), -next(sections), atol=0.02)
    assert "higher is better" in high.verdict[0]


def test_importances_of_a_plane_are_its_squared_slopes():
    found = line(40).facts().importance
    named = {p.name: p for p in found.whole.parameters}
    assert named["x"].first.value == pytest.approx(4 / 4.01, abs=0.02)
    assert named["y"].total.value == pytest.approx(0.01 / 4.01, abs=0.02)


def test_the_main_effect_of_a_plane_is_its_slope():
    (effect,) = (e for e in line(40).facts().effects if e.axis.name == "x")
    for curve in (effect.section, effect.average):
        slopes = np.diff(curve.median) / np.diff(effect.values)
        np.testing.assert_allclose(slopes, 2.0, atol=0.2)
        assert np.all(np.array(curve.low) <= curve.median)
        assert np.all(np.array(curve.median) <= curve.high)


def test_the_contour_passes_through_the_recommended_configuration():
    f = line(40).facts()
    contour = f.contour[0]
    mean = np.array(contour.median)
    x, y = np.meshgrid(contour.x, contour.y, indexing="ij")
    axes = {contour.x_axis.name: x, contour.y_axis.name: y}
    np.testing.assert_allclose(mean, 2 * axes["x"] + 0.1 * axes["y"], atol=0.05)


def test_a_conditional_parameter_is_shown_where_it_is_active(full_facts):
    space = Space(
        x=Real(0.0, 1.0, default=0.5),
        opt=Categorical(["sgd", "adam"], default="sgd"),
        mom=Real(0.0, 1.0, default=0.5).when(opt="sgd"),
    )
    study = fill(Builder(space=space), 24, lambda c: c["x"] + c.get("mom", -0.5), 0, 24, 0.0)
    (effect,) = (e for e in study.facts().effects if e.axis.name == "mom")
    assert "active" in effect.condition
    assert effect.section is None  # adam is better
    assert effect.average.median[-1] - effect.average.median[0] == pytest.approx(1.0, abs=0.2)
    (parameter,) = (p for p in full_facts.parameters if p.name == "mom")
    assert parameter.condition == "only if opt is sgd"


def test_effects_of_factors_and_integers_are_at_every_level(full_facts):
    named = {e.axis.name: e for e in full_facts.effects}
    assert named["opt"].values == ("sgd", "adamw", "rmsprop")
    assert named["norm"].values == (False, True)
    assert named["depth"].values == (1, 2, 3, 4, 5, 6)
    assert named["width"].values == (16, 32, 64, 128, 256)


def test_a_value_at_a_bound_is_named():
    f = line(40).tell({"x": 0.001, "y": 0.5}, slope({"x": 0.001, "y": 0.5})).facts()
    assert f.recommended.config["x"] == 0.001
    assert check(f, "inside").state == "WARN"
    assert "x at its lower bound" in check(f, "inside").message


def test_bounds_of_log_scales_and_integers():
    space = Space(
        lr=Real(1e-4, 1.0, default=1.05e-4, scale="log"),
        k=Integer(1, 8, default=8),
        o=Categorical([1, 2], default=1),
    )
    f = Builder(space=space).tell({}, 1.0).tell({"lr": 0.02, "k": 7}, 2.0).facts()
    assert [p.bound for p in f.parameters] == ["lower", "upper", ""]


def test_a_default_that_is_best_is_no_gain():
    f = line(f=lambda c: (c["x"] - 0.9) ** 2 + (c["y"] - 0.5) ** 2).facts()
    assert isinstance(f.gain, Missing)
    assert "default" in f.gain.reason


def test_a_model_that_explains_nothing_is_not_interpreted():
    rng = np.random.default_rng(5)
    f = line(30, f=lambda c: rng.normal()).facts()
    assert f.trust.q2 < 0.1
    assert "explains nothing" in f.importance.reason
    assert f.effects == f.contour == f.importance
    assert check(f, "predicts").state == "WARN"
    assert check(f, "Better").state != "PASS"


def test_too_few_evaluations_are_not_interpreted():
    f = line(5).facts()
    assert "too few" in f.importance.reason
    assert check(f, "Better").state == "WARN"
    assert not isinstance(line(6).facts().importance, Missing)


def test_failures_do_not_count_as_predictions():
    b = line(12)
    b.tell({"x": 0.33}).tell({"x": 0.44})
    f = b.facts()
    assert len(f.trust.observed) == 12
    assert f.failures[0].numbers == (12, 13)
    assert check(f, "failed").state == "WARN"


def test_failures_are_grouped_by_what_was_raised():
    b = line(4)
    b.tell({"x": 0.1}, error=Failure("ValueError", "bad", "Traceback ..."))
    b.tell({"x": 0.2}).tell({"x": 0.3})
    groups = b.facts().failures
    assert [(g.type, len(g.numbers)) for g in groups] == [("RuntimeError", 2), ("ValueError", 1)]
    assert groups[1].traceback == "Traceback ..."


def test_training_that_was_still_improving_is_told():
    def told(curve):
        b = Builder(space=LINE)
        for i in range(4):
            b.tell({"x": i / 4}, 1.0 + i, curves={"val_loss": curve, "val_acc": (0.1, 0.9)})
        return b.facts()

    assert check(told((3.0, 2.0, 1.0)), "converged").state == "WARN"
    assert check(told((3.0, 1.0, 2.0)), "converged").state == "PASS"
    assert check(told((3.0, 1.0, math.nan)), "converged").state == "PASS"
    assert set(told((3.0, 2.0, 1.0)).curves.metrics) == {"val_loss", "val_acc"}


def test_trials_that_the_model_could_not_choose_are_shown_as_such():
    b = line(12)
    assert [c.title for c in b.facts().checks if "choose" in c.title] == []
    b.tell({"x": 0.2}, 0.4, origin=Origin.FALLBACK).tell({"x": 0.3}, 0.6, origin=Origin.INFILL)
    f = b.facts()
    assert f.progress.fallback == (False,) * 12 + (True, False)
    assert f.progress.initial == (True,) * 12 + (False, False)
    assert f.trials[12].origin == "fallback"
    assert check(f, "choose").state == "WARN"
    assert check(f, "choose").message.startswith("1 of 14 trials took the place")
    page = html(b.context())
    assert "1 trial took the place" in page
    assert '<td class="t bad">fallback</td>' in page
    assert ">the model failed</text>" in page


def test_a_replicated_configuration_is_told_by_the_mean_of_its_trainings():
    b = Builder(space=LINE).tell({}, 2.0).tell({"x": 0.1}, 0.5).tell({"x": 0.2}, 0.0)
    b.tell({"x": 0.2}, 0.5, origin=Origin.REPLICATE)
    f = b.facts(model=None)
    assert (f.recommended.number, f.recommended.trainings, f.recommended.observed) == (2, 2, 0.25)
    assert f.progress.initial == (True, True, True, False)
    assert "0.25 is the val_loss observed in 2 trainings" in f.verdict[1]


def test_pauses_between_sessions_are_no_working_time():
    b = line(3)
    records = b.records()
    trial = b.history.evaluations[0].trial
    more = dataclasses.replace(trial, number=3)
    outcome = Outcome(Status.OK, 1.0, started=0.0, finished=5.0, worker="w")
    late = records[-1].time + 86_400
    evaluation = dataclasses.replace(b.history.evaluations[0], trial=more, outcome=outcome)
    for i, entry in enumerate(
        [Opened("h", 2), Asked([more]), Retried(3, 0, outcome), Told(evaluation), Closed("budget")]
    ):
        records.append(Record(len(records), 2, late + 10 * i, entry))
    f = b.facts(records, model=None)
    first = records[len(records) - 6].time - records[0].time
    assert f.cost.wall == pytest.approx(first + 40)
    assert f.run["sessions"] == 2
    assert f.cost.repeated == 1


def test_warm_starts_say_what_was_dropped():
    extra = [Imported("old.zarr", [], ["trial 3: lr: 2.0 is above 1.0"])]
    f = line(3, extra=extra).facts()
    assert (f.warm_starts[0].source, f.warm_starts[0].taken) == ("old.zarr", 0)
    assert f.warm_starts[0].dropped == ("trial 3: lr: 2.0 is above 1.0",)


def test_trials_without_a_result_are_counted():
    b = line(3)
    b.entries.append((b.clock, Asked([dataclasses.replace(b.history.ok[0].trial, number=3)])))
    b.ended = False
    f = b.facts()
    assert f.pending == 1
    assert f.run["ended"] == ""


def test_a_surrogate_that_is_not_loaded_is_said_where_it_would_be_needed():
    f = line(12).context(model=None, not_loaded="acme.forest:Forest")
    seen = facts(f)
    assert seen.recommended.number == min(seen.trials, key=lambda row: row.y).number
    assert check(seen, "Better").state == "WARN"
    page = html(f)
    for name in ("parameters",):
        body = page.split(f'<section id="{name}"')[1].split("</section>")[0]
        assert "--study FILE" in body, name


def test_a_trial_that_was_told_twice_counts_once():
    b = line(4)
    once = b.facts()
    told = b.entries[-1][1]
    b.entries.append((b.clock, Told(dataclasses.replace(told.evaluation, attempt=1))))
    twice = b.facts()
    assert len(twice.trials) == 4
    assert (twice.pending, twice.verdict) == (0, once.verdict)
    assert twice.progress == once.progress
    assert twice.cost.workers == once.cost.workers


def test_only_parameters_whose_intervals_lie_above_nothing_are_said_to_matter():
    def said(*totals):
        shares = [Share(*total) for total in totals]
        near = RegionImportance(
            tuple(Importance(f"p{i}", share, share) for i, share in enumerate(shares)),
            (), Share(1, 1, 1), 100, 100,
        )  # fmt: skip
        found = Importances(near, near, "loss", 20, ("p0", "p1"))
        return verdict._mattered({ImportanceSection: found})

    assert "p0 (60 %)." in said((0.6, 0.4, 0.9), (0.5, 0.0, 1.0))
    assert "is not clear" in said((0.64, 0.0, 1.0), (0.46, 0.01, 0.9))


def test_a_transform_that_the_values_do_not_allow_is_told_and_the_rest_is_shown(tmp_path):
    """A forced log of negative losses: no section that needs the model, but a page."""
    study = Study(
        Space(x=Real(0.0, 1.0, default=0.9)),
        FunctionTask(lambda cfg: cfg.x - 0.5),
        transform="log",
        confirm=0.0,
    )
    run = study.run(Budget(evaluations=10), local=0, store=tmp_path / "run.zarr")
    assert run.inference is None
    page = run.report(tmp_path / "report.html").read_text()
    assert "the study&#39;s transform is impossible: log needs positive values" in page
