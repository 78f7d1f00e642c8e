"""Outcome constraints: their texts, who fulfils them, what is recommended, told and recorded."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from spot_dask import Budget, FunctionTask, History, Integer, Real, Run, Space, Study, Tuner
from spot_dask.cli import main
from spot_dask.cli.progress import Plain, Screen
from spot_dask.constraints import Constraint, Fulfilment, checked, missing, parsed, value_of
from spot_dask.errors import StudyError
from spot_dask.progress import Update
from spot_dask.records import (
    Evaluation,
    Failure,
    Import,
    Imported,
    Objective,
    Outcome,
    Status,
    Trial,
)
from spot_dask.report.context import Missing
from spot_dask.report.sections.constraints import ConstraintsSection
from spot_dask.run import card_of
from spot_dask.study_file import load
from spot_dask.tuner.limited import learnt_metrics

SPACE = Space(x=Real(0.0, 1.0, default=0.9), y=Real(0.0, 1.0, default=0.9))
LIMITS = {"size": "<= 1"}
Training = Callable[[Mapping[str, Any]], dict[str, float]]


def training(config: Mapping[str, Any]) -> dict[str, float]:
    """Better the larger x + y is, which is the size; the best at x = 0.7, y = 0.3 where it is 1."""
    x, y = float(config["x"]), float(config["y"])
    return {"loss": 2 - x - y + (x - y - 0.4) ** 2, "size": x + y}


def told(trial: Trial, metrics: Mapping[str, float]) -> Evaluation:
    return Evaluation(trial, Outcome(Status.OK, metrics["loss"], dict(metrics)))


def searched(
    tuner: Tuner,
    budget: int,
    q: int = 1,
    train: Training = training,
    history: History | None = None,
) -> History:
    history = history or History()
    while history.asked < budget:
        trials = tuner.ask(history, q)
        history = history.ask(trials)
        for trial in trials:
            history = history.tell(told(trial, train(trial.config)))
    return history


# --- texts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kept", "inside", "outside"),
    [
        ("<= 10", "<= 10", 10.0, 10.1),
        (">=.9", ">= 0.9", 0.9, 0.89),
        ("  <  1e-3 ", "< 0.001", 0.0, 1e-3),
        ("> -2", "> -2", -1.9, -2.0),
    ],
)
def test_texts_are_kept_as_one_would_write_them(text, kept, inside, outside) -> None:
    assert checked({"m": text}) == {"m": kept}
    assert checked(checked({"m": text})) == {"m": kept}
    (constraint,) = parsed({"m": text})
    assert str(constraint) == f"m {kept}"
    assert constraint.holds(inside)
    assert not constraint.holds(outside)
    assert not constraint.holds(math.nan)
    assert constraint.excess(outside) >= 0 >= constraint.excess(inside)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"m": "< ten"}, "constraints.m is '< ten'; 'ten' is no finite number, expected one after"),
        ({"m": "=> 3"}, "'=>' is no operator, expected <=, >=, < or >, such as '<= 10' or '>="),
        ({"m": "=> 3"}, "; write >="),
        ({"m": "== 3"}, "'==' is no operator"),
        ({"m": "3"}, "constraints.m is '3'; it has no operator"),
        ({"m": "about 3"}, "it has no operator"),
        ({"m": ""}, "it has no operator"),
        ({"m": "<= nan"}, "'nan' is no finite number"),
        ({"m": "<= inf"}, "'inf' is no finite number"),
        ({"m": "<= 10 ms"}, "'10 ms' is no finite number"),
        ({"m": ">= 1, <= 2"}, "'1, <= 2' is no finite number"),
        ({"m": 10}, "constraints.m is 10; expected a text such as '<= 10'"),
        ({"m": None}, "constraints.m is None; expected a text"),
        ({3: "<= 1"}, "constraints: 3 is no name of a metric"),
        ({" ": "<= 1"}, "constraints: ' ' is no name of a metric"),
        ({"a\nb": "<= 1"}, "constraints: 'a\\nb' is no name of a metric"),
        ([("m", "<= 1")], 'expected limits by metric, such as {"latency_ms": "<= 10"}'),
        ("m <= 1", "constraints is 'm <= 1'; expected limits by metric"),
    ],
)
def test_what_is_no_constraint_is_refused_in_one_line(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        Study(SPACE, training, constraints=given)
    assert "\n" not in str(error.value)


def test_constraints_in_toml_and_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "study.py").write_text(
        "from spot_dask import *\n"
        "study = Study(Space(x=Real(0.0, 1.0, default=0.5)), lambda c: c.x, "
        'constraints={"a": "<= 3"})\n'
    )
    toml = tmp_path / "study.toml"
    toml.write_text('[study]\nfile = "study.py"\n[constraints]\nb = ">= .5"\n"val.acc" = "> 0"\n')
    study = load(str(toml), ["constraints.a=< 2", "constraints.test/f1=>= 0.1"]).study
    assert study.constraints == {"a": "< 2", "b": ">= 0.5", "val.acc": "> 0", "test/f1": ">= 0.1"}
    # As the store keeps them for resume.
    again = load(str(tmp_path / "study.py"), study.source["overrides"]).study
    assert again.constraints == study.constraints
    for text in ("constraints.a=about 2", "constraints.a=3", "constraints=3"):
        with pytest.raises(StudyError) as error:
            load(str(toml), [text])
        assert "\n" not in str(error.value)


# --- what is known ----------------------------------------------------------------------------


def test_what_a_training_tells_of_a_metric() -> None:
    trial, objective = Trial(0, {"x": 1.0}, 0), Objective("acc", "max")
    ok = Evaluation(trial, Outcome(Status.OK, -0.9, {"size": 3.0, "bad": math.nan}))
    assert value_of("size", ok, objective) == 3.0
    assert value_of("acc", ok, objective) == 0.9  # in the user's sign
    assert math.isnan(value_of("speed", ok, objective))
    for status in (Status.FAILED, Status.STOPPED, Status.LOST):
        ended = Evaluation(trial, Outcome(status, metrics={"size": 3.0}))
        assert math.isnan(value_of("size", ended, objective))
    taken = Import({"x": 1.0}, -0.5, "run", 3, {"size": 2.0})
    assert [value_of(n, taken, objective) for n in ("size", "acc")] == [2.0, 0.5]
    limits = parsed({"size": "<= 1", "bad": "<= 1", "gone": "<= 1"})
    assert missing(limits, ok.outcome.metrics) == ["bad", "gone"]


def metric_of(values: list[float], limit: str = "<= 1", xs: list[float] | None = None) -> Any:
    """What is learnt of a metric with these values along x."""
    at = np.linspace(0, 1, len(values)) if xs is None else xs
    history = History()
    for i, (x, v) in enumerate(zip(at, values, strict=True)):
        trial = Trial(i, {"x": float(x), "y": 0.5}, 0)
        history = history.ask([trial]).tell(told(trial, {"loss": 1.0, "size": v}))
    constraints = parsed({"size": limit})
    return learnt_metrics(SPACE, history, (), constraints, Objective("loss"))[0]


def test_a_metric_is_modelled_on_its_own_scale() -> None:
    x = np.linspace(0, 1, 12)
    latency = metric_of(list(np.exp(8 * x - 4)), "<= 2")
    assert latency.model.limit.bound == pytest.approx(math.log(2.0))
    plain = metric_of(list(3 * x - 1), "<= 0.5")
    assert plain.model.limit.bound == 0.5
    assert metric_of(list(np.exp(8 * x - 4)), "<= -1").model.limit.bound == -1.0  # has no logarithm
    share = metric_of(list(1 / (1 + np.exp(4 - 9 * x))), ">= 0.9")
    assert share.model.limit.bound == pytest.approx(math.log(9.0))
    for bound in ("<= 0", ">= 1", ">= 0"):  # ends of a share
        model = metric_of(list(1 / (1 + np.exp(4 - 9 * x))), bound).model
        assert math.isfinite(model.limit.bound)


def test_too_little_strange_and_infinite_values_of_a_metric() -> None:
    assert metric_of([math.nan] * 4).model is None
    assert metric_of([1.0, math.nan, math.nan]).model is None
    infinite = metric_of([0.1, 0.3, 0.5, math.inf, 0.9, math.inf, math.nan, -math.inf])
    X = np.array([[3 / 7, 0.5], [0.0, 0.5]])
    chance = np.exp(infinite.model.limit.log_chance(X))
    assert chance[0] < 0.5 < chance[1]
    assert metric_of([2.0] * 5).model.limit.log_chance(X)[0] < -10
    assert metric_of([1e300, -1e300, 0.0, 1e-300]).model is None  # its squares overflow


# --- recommendation ---------------------------------------------------------------------------


def test_the_best_that_fulfils_them_is_recommended_in_both_directions() -> None:
    for sign, direction in ((1.0, "min"), (-1.0, "max")):
        limits = {"size": "<= 1", "loss": "<= 1.9" if sign > 0 else ">= -1.9"}
        tuner = Tuner(SPACE, constraints=limits, objective=Objective("loss", direction))
        history = History()
        for i, (x, y) in enumerate([(0.9, 0.9), (0.6, 0.3), (0.4, 0.4), (0.0, 0.1), (0.8, 0.5)]):
            trial, found = Trial(i, {"x": x, "y": y}, 0), training({"x": x, "y": y})
            metrics = {"loss": sign * found["loss"], "size": found["size"]}
            outcome = Outcome(Status.OK, found["loss"], metrics)
            history = history.ask([trial]).tell(Evaluation(trial, outcome))
        best = tuner.recommend(history, None)
        assert best is not None
        assert best.trial == 1
        assert best.feasible
        assert best.limits.startswith("fulfils size <= 1 (0.9), loss ")
        assert [b.trial for b in tuner.finalists(history, 2)] == [1, 2]
        strict = replace(tuner, constraints={"size": "<= 0.05", **limits} | {"size": "<= 0.05"})
        nearest = strict.recommend(history, None)
        assert nearest is not None
        assert (nearest.trial, nearest.feasible) == (3, False)
        assert nearest.limits.startswith("nothing tried fulfils size <= 0.05, loss ")
        assert "trial 3 came nearest: size <= 0.05 (0.1)" in nearest.limits


def test_noise_counts_by_the_model_and_what_repeats_exactly_as_observed() -> None:
    rng = np.random.default_rng(0)
    xs = np.linspace(0.0, 1.0, 40)
    noisy = [float(0.5 + x + 0.3 * rng.standard_normal()) for x in xs]
    metric = metric_of(noisy, "<= 1")
    assert not metric.model.exact
    tuner = Tuner(SPACE, constraints=LIMITS)
    history = History()
    for i, (x, v) in enumerate(zip(xs, noisy, strict=True)):
        trial = Trial(i, {"x": float(x), "y": 0.5}, 0)
        history = history.ask([trial]).tell(told(trial, {"loss": 1.0 - x, "size": v}))
    best = tuner.recommend(history, tuner.model(history))
    assert best is not None
    assert best.feasible
    assert best.config["x"] < 0.6  # its mean is 1 at 0.5, and lucky values go up to 0.8
    assert max(x for x, v in zip(xs, noisy, strict=True) if v <= 1.0) > 0.7
    assert 0.9 <= best.fulfilments[0].chance <= 1.0
    twice = metric_of([0.4, 0.4, 1.3, 1.3, 0.9], xs=[0.1, 0.1, 0.9, 0.9, 0.5])
    assert twice.model.exact
    assert not metric_of([0.4, 0.5, 1.3, 1.3, 0.9], xs=[0.1, 0.1, 0.9, 0.9, 0.5]).model.exact


@pytest.mark.parametrize("q", [1, 4])
def test_a_search_finds_the_constrained_optimum(q: int) -> None:
    tuner = Tuner(SPACE, seed=3, constraints=LIMITS)
    best = tuner.recommend(h := searched(tuner, 24, q), tuner.model(h))
    assert best is not None
    assert best.feasible
    assert best.observed < 1.01  # the optimum is 1
    assert h.incumbent is not None
    assert h.incumbent.y < 1.0  # of what is too large there was better


def test_proposals_are_a_function_of_the_history_whatever_the_order() -> None:
    tuner = Tuner(SPACE, seed=3, constraints=LIMITS)
    history = searched(tuner, 12, 4)
    asked = tuner.ask(history, 3)
    other = replace(history, evaluations=history.evaluations[::-1])
    assert Tuner(SPACE, seed=3, constraints=LIMITS).ask(other, 3) == asked
    assert Tuner(SPACE, seed=3).ask(history, 3) != asked
    pending = history.ask(asked[:2])
    assert not {str(t.config) for t in tuner.ask(pending, 2)} & {str(t.config) for t in asked[:2]}


def test_nothing_that_fulfils_them_and_metrics_that_nobody_reports_are_survived() -> None:
    impossible = Tuner(SPACE, seed=1, constraints={"size": "<= -1"})
    history = searched(impossible, 20, 4)
    best = impossible.recommend(history, impossible.model(history))
    assert best is not None
    assert not best.feasible
    assert best.fulfilments[0].observed < 0.05  # it went as near as it could
    # A metric without a value is none to go by: the search is that without it.
    unknown = Tuner(SPACE, seed=1, constraints={"speed": ">= 1"})
    history = searched(unknown, 16, 4)
    plain = searched(Tuner(SPACE, seed=1), 16, 4)
    assert [e.trial.config for e in history.evaluations] == [
        e.trial.config for e in plain.evaluations
    ]
    best = unknown.recommend(history, unknown.model(history))
    assert best is not None
    assert best.limits.endswith("came nearest: speed >= 1 (not reported)")


def test_trainings_that_fail_stop_early_or_hide_the_metric_are_not_chosen() -> None:
    tuner, history = Tuner(SPACE, seed=5, constraints=LIMITS), History()
    while history.asked < 24:
        trials = tuner.ask(history, 2)
        history = history.ask(trials)
        for trial in trials:
            found = training(trial.config)
            outcome = Outcome(Status.OK, found["loss"], found)
            match trial.number % 6:
                case 2:
                    outcome = Outcome(Status.FAILED, error=Failure("ValueError", "no"))
                case 3:
                    outcome = Outcome(Status.STOPPED, metrics={"size": 0.0, "loss": -9.0})
                case 4:
                    outcome = Outcome(Status.OK, found["loss"] - 5, {"loss": found["loss"] - 5})
                case 5:
                    outcome = replace(outcome, metrics={"loss": found["loss"], "size": math.nan})
            history = history.tell(Evaluation(trial, outcome))
    best = tuner.recommend(history, tuner.model(history))
    assert best is not None
    assert best.feasible
    assert best.trial is not None
    assert best.trial % 6 in (0, 1)


def test_imports_know_what_their_source_reported(tmp_path: Path) -> None:
    table = tmp_path / "old.csv"
    lines = ["x,y,loss,size", "0.5,0.4,0.2,0.9", "0.9,0.9,0.1,1.8", "0.1,0.2,0.05,", "0,0,0.9,no"]
    table.write_text("\n".join(lines))
    study = Study(SPACE, training_task(), constraints=LIMITS, budget=Budget(evaluations=1))
    run = study.run(local=0, store=tmp_path / "a.zarr", warm_start=[table])
    assert [dict(i.metrics) for i in run.history.imports] == [{"size": 0.9}, {"size": 1.8}, {}, {}]
    assert run.best is not None
    assert (run.best.trial, run.best.config["y"], run.best.feasible) == (None, 0.4, True)
    # A store, what it had imported, its export: all know the metric.
    plain = Study(SPACE, training_task(), budget=Budget(evaluations=2))
    old = plain.run(local=0, store=tmp_path / "b.zarr")
    copies = [run.path, old.path, old.export("csv"), old.export("jsonl")]
    for source in copies:
        sizes = {i.source_trial: i.metrics for i in taken(study, source, tmp_path).items}
        assert sizes[0] == {"size": 1.8}
    less = tmp_path / "less.csv"
    less.write_text("x,y,loss\n0.5,0.4,0.2\n")
    entry = taken(study, less, tmp_path)
    assert entry.assumed == ("size is not in it: whether its constraint holds is unknown",)
    named = tmp_path / "named.csv"
    named.write_text("x,y,loss,bytes\n0.5,0.4,0.2,0.7\n0.4,0.4,0.2,0.8\n")
    from spot_dask import WarmStart

    renamed = taken(study, WarmStart(named, rename={"bytes": "size"}), tmp_path)
    assert [i.metrics for i in renamed.items] == [{"size": 0.7}, {"size": 0.8}]


def training_task() -> FunctionTask:
    return FunctionTask(lambda cfg: training({"x": cfg.x, "y": cfg.y}))


def taken(study: Study, source: Any, folder: Path) -> Imported:
    """What a study takes over from a source."""
    from spot_dask.warmstart import take_over

    (entry,) = take_over([source], study._header())
    return entry


def test_ranges_that_change_keep_what_was_learnt_of_metrics() -> None:
    tuner = Tuner(SPACE, seed=3, constraints=LIMITS)
    history = searched(tuner, 14, 2)
    box = SPACE.modify(x={"high": 0.5, "default": 0.5})
    moved = replace(tuner, within=box)
    asked = moved.ask(history, 4)
    assert all(t.config["x"] <= 0.5 for t in asked)
    assert np.median([t.config["x"] + t.config["y"] for t in asked]) <= 1.05
    best = moved.recommend(history, moved.model(history))
    assert best is not None
    assert best.feasible
    assert best.config["x"] <= 0.5


def test_what_noise_alone_makes_fulfil_is_told() -> None:
    lucky = Fulfilment(Constraint("size", "<=", 1.0), 0.98, 1, chance=0.4)
    assert not lucky.fulfilled
    assert str(lucky) == "size <= 1 (0.98, but by noise: with a probability of 40 %)"
    assert Fulfilment(Constraint("size", "<=", 1.0), 0.98, 1).fulfilled  # without a model


# --- runs -------------------------------------------------------------------------------------


def study(limits: Mapping[str, str] = LIMITS, evaluations: int = 14, **more: Any) -> Study:
    budget = Budget(evaluations=evaluations)
    return Study(SPACE, training_task(), constraints=limits, seed=2, budget=budget, **more)


def test_a_run_records_resumes_shows_and_reports_them(tmp_path: Path) -> None:
    updates: list[Update] = []
    run = study(evaluations=26, confirm=0.3).run(
        local=0, store=tmp_path / "run.zarr", watcher=updates.append
    )
    assert run.best is not None
    assert run.best.feasible
    assert updates[-1].best is not None
    assert updates[-1].best.feasible
    opened = Run.open(run.path)
    assert opened.settings["constraints"] == {"size": "<= 1"}
    assert opened.best == run.best
    assert opened.deviations() == []
    document = opened.status()["incumbent"]
    assert document["feasible"]
    assert document["limits"] in card_of(opened.status(), SPACE.default).lines
    (limit,) = document["constraints"]
    assert (limit["metric"], limit["limit"], limit["fulfilled"]) == ("size", "<= 1", True)
    shown = opened.table()
    told_by_trial = {row[0]: row[shown.columns.index("constraints")] for row in shown.rows}
    assert told_by_trial[0] == "broken"
    assert told_by_trial[run.best.trial] == "fulfilled"
    lucky = opened.luckiest
    assert lucky is not None
    assert lucky.feasible
    confirmed = [e.trial.config for e in opened.history.confirmations]
    assert {str(dict(c)) for c in confirmed} == {str(run.best.config), str(SPACE.default)}
    found = opened.context[ConstraintsSection]
    assert not isinstance(found, Missing)
    (held,) = found.held
    assert held.fulfilled + held.broken + held.unknown == found.trials == len(found.marks)
    assert held.kept == held.fresh == len(confirmed) // 2
    assert found.forgone is not None
    assert found.forgone.better_by > 0
    assert "size <= 1 (" in found.forgone.broken
    page = opened.report(tmp_path / "report.html")
    assert "Are the constraints fulfilled?" in page.read_text()
    told = json.loads(page.with_suffix(".json").read_text())["constraints"]
    assert told["held"][0]["constraint"] == "size <= 1"
    progress = json.loads(page.with_suffix(".json").read_text())["progress"]
    assert progress["best"][-1] >= run.best.observed > min(progress["y"])

    # What a store says counts, as for all settings of a run.
    more = study({"size": "<= 0.1"}).resume(run.path, Budget(evaluations=30), local=0)
    assert more.settings["constraints"] == {"size": "<= 1"}
    assert more.deviations() == []


def test_a_run_in_which_nothing_fulfils_them_says_so_in_one_line(tmp_path: Path) -> None:
    updates: list[Update] = []
    made = study({"size": "<= -1", "loss": "<= 9"})
    run = made.run(local=0, store=tmp_path / "run.zarr", watcher=updates.append)
    assert run.state == "done"
    lines, screen = list[str](), Screen(made.goal)
    log, shown = Plain(made.goal, lines.append), screen.listen(lines.append)
    for update in updates:
        log(update)
        shown(update)
    assert any("nearest to the constraints 2" in line for line in lines)  # its loss
    Console(width=120, file=(page := io.StringIO())).print(screen)
    assert "  nothing tried fulfils size <= -1, loss <= 9; trial " in page.getvalue()
    (line,) = {u.message for u in updates if u.message and "nothing tried fulfils" in u.message}
    assert line.startswith("nothing tried fulfils size <= -1, loss <= 9; trial ")
    assert "\n" not in line
    document = run.status()["incumbent"]
    assert not document["feasible"]
    assert "nearest: trial" in str(card_of(run.status(), SPACE.default))
    result = CliRunner().invoke(main, ["best", str(run.path)])
    assert result.exit_code == 0
    assert "nearest: trial" in result.stdout
    assert document["limits"] in " ".join(result.stdout.split())
    status = CliRunner().invoke(main, ["status", str(run.path)])
    assert "nothing tried fulfils size <= -1" in " ".join(status.stdout.split())
    text = run.report(tmp_path / "r.html").with_suffix(".md").read_text()
    assert "Nothing tried fulfils size" in text
    assert "None of 14 evaluations fulfils the constraints." in text


def test_a_metric_that_is_not_reported_is_told_once_and_by_check_at_once(tmp_path: Path) -> None:
    said: list[str] = []
    run = study({"latency": "<= 1", "size": "<= 1"}).run(
        local=0,
        store=tmp_path / "run.zarr",
        watcher=lambda update: said.append(update.message or ""),
    )
    assert run.state == "done"
    (line,) = [s for s in said if "reports no" in s]
    assert line.startswith(
        "trial 0 reports no latency, which is constrained (there are loss, size)"
    )
    (tmp_path / "study.py").write_text(
        "from spot_dask import *\n"
        "def train(cfg):\n    return {'loss': cfg.x, 'latency_ms': cfg.x, 'odd': float('nan')}\n"
        "study = Study(Space(x=Real(0.0, 1.0, default=0.5)), FunctionTask(train),\n"
        "    constraints={'latency': '<= 1', 'odd': '<= 1', 'latency_ms': '<= 0.1'})\n"
    )
    result = CliRunner().invoke(main, ["check", str(tmp_path / "study.py")])
    assert result.exit_code == 0
    lines = [s for s in result.stdout.splitlines() if "constraint:" in s]
    assert lines[0].startswith(
        "WARN  constraint: after an epoch the training has reported nothing as"
    )
    assert "did you mean 'latency_ms'" in lines[0]
    assert lines[1].startswith(
        "WARN  constraint: after an epoch the training has reported NaN as odd"
    )
    assert lines[2] == (
        "PASS  constraint: the defaults do not fulfil latency_ms <= 0.1: 0.5 after an epoch"
    )


def test_a_store_without_constraints_and_one_with_nonsense(tmp_path: Path) -> None:
    settings = dict(study().settings)
    del settings["constraints"]
    assert Study.restored(settings)["constraints"] == {}
    with pytest.raises(ValueError, match=r"constraints\.size is 'about 1'"):
        Study.restored(settings | {"constraints": {"size": "about 1"}})


def test_the_search_ends_early_by_what_fulfils_them(tmp_path: Path) -> None:
    space = Space(x=Real(0.0, 1.0, default=0.9), n=Integer(1, 4, default=1))

    def train(cfg: Any) -> dict[str, float]:
        return {"loss": (cfg.x - 0.5) ** 2, "size": cfg.x}

    def run(limit: str) -> Run:
        budget, limits = Budget(evaluations=24, until=0.05), {"size": limit}
        made = Study(space, FunctionTask(train), constraints=limits, budget=budget, confirm=0.0)
        return made.run(local=0, store=tmp_path / f"{limit[-1]}.zarr")

    assert run("<= 2").ended == "until"
    assert run("<= -9").ended == "budget"  # nothing to judge by


def test_other_ways_to_search_recommend_by_them(tmp_path: Path) -> None:
    run = study(search="random", evaluations=20).run(local=0, store=tmp_path / "run.zarr")
    assert run.best is not None
    assert run.best.feasible
    assert run.best.observed > min(e.y for e in run.history.ok)


def test_a_constraint_as_people_read_it() -> None:
    assert str(Constraint("a", "<=", 1e20)) == "a <= 1e+20"
    assert parsed({"a": "<= 1e20"})[0].bound == 1e20
