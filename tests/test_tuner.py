"""What the tuner asks for: pure, repeatable, distinct, and never the same failure again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from spot_dask.records import (
    Configuration,
    Evaluation,
    Failure,
    History,
    Import,
    Origin,
    Outcome,
    Status,
    Trial,
)
from spot_dask.settings import Design
from spot_dask.space import Categorical, Integer, Real, Space
from spot_dask.tuner import Tuner
from spot_dask.tuner.model import bounded, risk_of

SPACE = Space(
    lr=Real(1e-4, 1.0, default=1e-2, scale="log"),
    width=Integer(8, 64, default=16, scale="power2"),
    opt=Categorical(["sgd", "adam"], default="sgd"),
    momentum=Real(0.0, 0.99, default=0.9).when(opt="sgd"),
)

Objective = Callable[[Configuration], float]


def bowl(config: Configuration) -> float:
    """Best at lr = 0.1 with adam."""
    lr = float(config["lr"])
    return (math.log10(lr) + 1) ** 2 + 0.3 * (config["opt"] == "sgd")


def evaluate(trial: Trial, objective: Objective) -> Evaluation:
    y = objective(trial.config)
    if math.isfinite(y):
        return Evaluation(trial, Outcome(Status.OK, y))
    return Evaluation(trial, Outcome(Status.FAILED, error=Failure("Diverged", "nan")))


def histories(tuner: Tuner, objective: Objective, q: int = 1) -> Iterator[History]:
    """The history after every batch of a synchronous run."""
    history = History()
    while trials := tuner.ask(history, q):
        history = history.ask(trials)
        for trial in trials:
            history = history.tell(evaluate(trial, objective))
        yield history


def after(batches: int, tuner: Tuner, objective: Objective = bowl, q: int = 1) -> History:
    return list(islice(histories(tuner, objective, q), batches))[-1]


def test_trial_0_is_the_default_then_the_users_then_the_design() -> None:
    start = ({"lr": 0.5, "opt": "adam"},)
    trials = Tuner(SPACE, start=start, design=Design(initial=6)).ask(History(), 6)
    assert trials[0].config == SPACE.default
    assert trials[1].config == SPACE.validate(start[0])
    assert [t.origin for t in trials] == [Origin.DEFAULT, Origin.USER, *[Origin.DESIGN] * 4]
    assert [t.number for t in trials] == list(range(6))


def test_the_same_history_gives_the_same_trials() -> None:
    tuner = Tuner(SPACE, seed=3)
    history = after(12, tuner)
    assert tuner.ask(history, 4) == tuner.ask(history, 4)
    assert tuner.ask(history, 4) == Tuner(SPACE, seed=3).ask(history, 4)
    assert tuner.ask(history, 4) != Tuner(SPACE, seed=4).ask(history, 4)


def test_the_order_of_arrival_changes_nothing() -> None:
    tuner = Tuner(SPACE)
    history = after(12, tuner)
    shuffled = History(evaluations=tuple(reversed(history.evaluations)))
    assert tuner.ask(history, 3) == tuner.ask(shuffled, 3)


def test_what_is_pending_changes_the_proposal_and_is_not_proposed_again() -> None:
    tuner = Tuner(SPACE)
    history = after(12, tuner)
    first = tuner.ask(history, 1)
    second = tuner.ask(history.ask(first), 1)
    assert SPACE.row_keys(SPACE.encode([first[0].config])) != SPACE.row_keys(
        SPACE.encode([second[0].config])
    )


@pytest.mark.parametrize("q", [1, 4, 8])
def test_no_configuration_is_asked_twice(q: int) -> None:
    history = after(32 // q, Tuner(SPACE), q=q)
    configs = [e.trial.config for e in history.evaluations]
    assert len(set(SPACE.row_keys(SPACE.encode(configs)))) == len(configs) == 32


def test_inactive_parameters_never_reach_a_trial() -> None:
    history = after(24, Tuner(SPACE))
    for evaluation in history.evaluations:
        config = evaluation.trial.config
        assert ("momentum" in config) == (config["opt"] == "sgd")


def test_infill_finds_what_the_design_did_not() -> None:
    history = after(30, Tuner(SPACE, seed=1))
    design = [e.y for e in history.evaluations if e.trial.origin is not Origin.INFILL]
    infill = [e.y for e in history.evaluations if e.trial.origin is Origin.INFILL]
    assert min(infill) < 0.01 < min(design)


@pytest.mark.parametrize("infill", ["log_ei", "log_nei", "ucb", "thompson"])
def test_a_failing_region_is_not_proposed_in_a_loop(infill: str) -> None:
    def crashes_above(config: Configuration) -> float:
        return math.nan if float(config["lr"]) > 0.03 else -float(config["lr"])

    history = after(40, Tuner(SPACE, seed=1, infill=infill), crashes_above)
    late = history.evaluations[20:]
    assert sum(not e.ok for e in late) < 15
    assert history.incumbent is not None
    assert history.incumbent.y < -0.02


def test_nothing_but_failures_keeps_to_space_filling_points() -> None:
    history = after(15, Tuner(SPACE), lambda config: math.nan)
    rows = SPACE.encode([e.trial.config for e in history.evaluations])
    assert len(set(SPACE.row_keys(rows))) == 15
    assert np.ptp(rows[8:, 0]) > 0.5


def test_a_finite_space_is_tried_out_and_then_nothing_is_asked() -> None:
    space = Space(a=Integer(1, 3, default=1), b=Categorical(["x", "y"], default="x"))
    tuner = Tuner(space)
    every = list(histories(tuner, lambda config: float(config["a"]), q=4))
    assert len(every[-1].evaluations) == 6
    assert tuner.ask(every[-1], 1) == ()


def test_replicates_share_their_training_seed_across_configurations() -> None:
    tuner = Tuner(SPACE, design=Design(initial=4, replicates=2))
    trials = tuner.ask(History(), 8)
    assert [t.replicate for t in trials] == [0, 1] * 4
    assert len({t.seed for t in trials if t.replicate == 0}) == 1
    assert len({t.seed for t in trials}) == 2
    assert trials[0].config == trials[1].config == SPACE.default


def test_imported_evaluations_replace_the_design() -> None:
    old = after(20, Tuner(SPACE, seed=9))
    imports = tuple(Import(e.trial.config, e.y, "old", e.trial.number) for e in old.evaluations)
    trials = Tuner(SPACE).ask(History(imports=imports), 3)
    assert [t.origin for t in trials] == [Origin.DEFAULT, Origin.INFILL, Origin.INFILL]


def related(objective: Objective, seed: int = 9) -> tuple[Import, ...]:
    """20 evaluations of a tuner on another objective."""
    old = after(20, Tuner(SPACE, seed=seed), objective)
    return tuple(Import(e.trial.config, e.y, "old", e.trial.number) for e in old.evaluations)


def test_a_prior_neither_shortens_the_design_nor_replaces_its_user_points() -> None:
    start = ({"lr": 0.5, "opt": "adam"},)
    tuner, priors = Tuner(SPACE, start=start), (related(bowl),)
    trials = tuner.ask(History(priors=priors), 9)
    assert [t.origin for t in trials] == [
        Origin.DEFAULT, Origin.USER, *[Origin.PRIOR] * 2, *[Origin.DESIGN] * 5
    ]  # fmt: skip
    best = sorted(priors[0], key=lambda i: i.y)[:2]
    assert [t.config for t in trials[2:4]] == [i.config for i in best]
    assert trials[1].config == SPACE.validate(start[0])


def test_the_best_of_several_sources_take_turns() -> None:
    one, other = related(bowl), related(lambda c: -bowl(c))
    trials = Tuner(SPACE, design=Design(initial=12)).ask(History(priors=(one, other)), 12)
    hints = [t.config for t in trials if t.origin is Origin.PRIOR]
    ranked = [sorted(items, key=lambda i: i.y) for items in (one, other)]
    assert hints == [ranked[0][0].config, ranked[1][0].config, ranked[0][1].config,
                     ranked[1][1].config]  # fmt: skip


def test_a_prior_that_misleads_changes_no_proposal_of_the_surrogate() -> None:
    history = after(20, Tuner(SPACE))
    misled = replace(history, priors=(related(lambda c: -bowl(c)),))
    assert Tuner(SPACE).ask(misled, 4) == Tuner(SPACE).ask(history, 4)


def test_a_prior_informs_proposals_but_not_the_model_that_is_reported() -> None:
    history = after(10, Tuner(SPACE))
    informed = replace(history, priors=(related(lambda c: 100 + 7 * bowl(c)),))
    tuner = Tuner(SPACE)
    assert tuner.ask(informed, 4) != tuner.ask(history, 4)
    assert tuner.ask(informed, 4) == Tuner(SPACE).ask(informed, 4)
    mine, theirs = tuner.model(informed), tuner.model(history)
    assert mine is not None
    assert theirs is not None
    assert mine.y.tolist() == theirs.y.tolist()
    rows = SPACE.encode([SPACE.default])
    assert mine.predict(rows) == theirs.predict(rows)
    assert tuner.recommend(informed, mine) == tuner.recommend(history, theirs)


@pytest.mark.parametrize(
    ("infill", "surrogate"),
    [
        *((infill, "kriging") for infill in ("log_nei", "ucb", "thompson")),
        ("log_ei", "sklearn:ensemble.ExtraTreesRegressor"),
    ],
)
def test_every_criterion_and_surrogate_can_be_informed(infill: str, surrogate: str) -> None:
    tuner = Tuner(SPACE, infill=infill, surrogate=surrogate)
    history = replace(after(10, Tuner(SPACE)), priors=(related(bowl),))
    trials = tuner.ask(history, 2)
    assert len(trials) == 2
    assert tuner.ask(history, 2) == trials


def test_what_a_prior_has_evaluated_may_be_evaluated_here() -> None:
    space = Space(k=Categorical(["a", "b", "c"], default="a"))
    items = tuple(Import({"k": k}, float(i), "old", i) for i, k in enumerate("abc"))
    trials = Tuner(space).ask(History(priors=(items,)), 5)
    assert sorted(str(t.config["k"]) for t in trials) == ["a", "b", "c"]


def test_the_recommendation_beats_the_luckiest_of_noisy_values() -> None:
    def noisy(config: Configuration) -> float:
        return bowl(config) + rng.normal(0, 0.5)

    chosen, lucky = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        tuner = Tuner(SPACE, design=Design(initial=30), seed=seed)
        history = after(1, tuner, noisy, q=30)
        best = tuner.recommend(history, tuner.model(history))
        assert best is not None
        assert history.incumbent is not None
        chosen.append(bowl(best.config))
        lucky.append(bowl(history.incumbent.trial.config))
    assert np.mean(chosen) < 0.8 * np.mean(lucky)


def test_diverged_values_are_pulled_in() -> None:
    pulled = bounded(np.array([1.0, 2.0, 3.0, 1e9]))
    assert pulled[:3].tolist() == [1.0, 2.0, 3.0]
    assert 3.0 < pulled[3] < 1e9
    assert bounded(np.array([1.0, 1.0])).tolist() == [1.0, 1.0]
    assert bounded(np.array([])).tolist() == []


def ended(history: History, last: Status) -> History:
    """The history with its last evaluation, a success, ended by that status instead."""
    *others, e = history.evaluations
    outcome = Outcome(last, error=Failure("Killed", "signal 9"))
    return replace(history, evaluations=(*others, replace(e, outcome=outcome)))


def test_failures_are_learnt_from_and_lost_trainings_are_not() -> None:
    history = after(12, Tuner(SPACE, infill="log_ei"))
    assert risk_of(SPACE, history) is None
    assert risk_of(SPACE, ended(history, Status.LOST)) is None
    for status in (Status.FAILED, Status.CRASHED):
        risk = risk_of(SPACE, ended(history, status))
        assert risk is not None
        rows = SPACE.encode([e.trial.config for e in history.evaluations])
        u = risk.feasibility.score(SPACE.features(rows))
        assert u[:-1].min() > u[-1]


def test_the_surrogate_learns_from_what_succeeded_only() -> None:
    tuner, history = Tuner(SPACE), ended(after(12, Tuner(SPACE)), Status.FAILED)
    model = tuner.model(history)
    assert model is not None
    assert len(model.y) == len(model.X) == 11


def test_failures_that_cannot_be_learnt_from_are_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def singular(*args: object) -> None:
        raise np.linalg.LinAlgError("no factor")

    monkeypatch.setattr("spot_dask.tuner.model.fit_feasibility", singular)
    history = ended(after(12, Tuner(SPACE)), Status.CRASHED)
    trials = Tuner(SPACE).ask(history, 3)
    assert [t.origin for t in trials] == [Origin.INFILL] * 3
    assert len(caplog.records) == 1
    assert "left out" in caplog.text


@pytest.mark.parametrize(
    "surrogate", ["sklearn:ensemble.RandomForestRegressor", "sklearn:linear_model.LinearRegression"]
)
def test_any_regressor_serves_as_surrogate(surrogate: str) -> None:
    history = after(14, Tuner(SPACE, surrogate=surrogate))
    keys = SPACE.row_keys(SPACE.encode([e.trial.config for e in history.evaluations]))
    assert len(set(keys)) == 14
