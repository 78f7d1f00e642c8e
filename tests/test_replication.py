"""The end of a noisy budget: what may be best is trained again, and the model chooses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from spot_dask.records import (
    Configuration,
    Evaluation,
    History,
    Import,
    Origin,
    Outcome,
    Status,
    Trial,
)
from spot_dask.settings import Design
from spot_dask.space import Integer, Real, Space
from spot_dask.tuner import Tuner

SPACE = Space(x=Real(0.0, 1.0, default=0.1), z=Real(0.0, 1.0, default=0.9))
SMALL = Space(stairs=Integer(0, 9, default=0))
NOISE = 0.35
BUDGET = 48
KNOWN = 42
TUNER = Tuner(
    SPACE, seed=1, budget=BUDGET, replication=0.125, design=Design(initial=12, replicates=3)
)

Objective = Callable[[Trial], float]


def bowl(config: Configuration) -> float:
    return sum((float(v) - 0.6) ** 2 for v in config.values())


def noisy(trial: Trial) -> float:
    return bowl(trial.config) + NOISE * float(np.random.default_rng(trial.number).normal())


def stairs(config: Configuration) -> float:
    return abs(float(config["stairs"]) - 6.0) / 9.0


def slippery(trial: Trial) -> float:
    return stairs(trial.config) + 0.2 * float(np.random.default_rng(trial.number).normal())


def told(history: History, objective: Objective) -> History:
    for trial in history.pending:
        history = history.tell(trial.result(objective(trial)))
    return history


def run(tuner: Tuner, objective: Objective = noisy, until: int = BUDGET, q: int = 4) -> History:
    history = History()
    while history.asked < until:
        trials = tuner.ask(history, min(q, until - history.asked))
        if not trials:
            break
        history = told(history.ask(trials), objective)
    return history


def replicates(history: History) -> list[Trial]:
    trials = [e.trial for e in history.evaluations] + list(history.pending)
    return [t for t in trials if t.origin is Origin.REPLICATE]


@pytest.fixture(scope="module")
def known() -> History:
    """All that is known when the last eighth of the budget begins."""
    return run(TUNER, until=KNOWN, q=KNOWN)


def test_the_last_share_of_a_noisy_budget_goes_into_replicates(known: History) -> None:
    assert replicates(known) == []
    trials = TUNER.ask(known, 6)
    assert [t.origin for t in trials] == [Origin.REPLICATE] * 6
    assert [t.number for t in trials] == list(range(KNOWN, BUDGET))
    configs = [e.trial.config for e in known.evaluations]
    assert all(t.config in configs for t in trials)
    # A batch that begins before the share reaches into it.
    earlier = replace(known, evaluations=known.evaluations[: KNOWN - 3])
    origins = [t.origin for t in TUNER.ask(earlier, 6)]
    assert sorted(origins) == [Origin.INFILL] * 3 + [Origin.REPLICATE] * 3


def test_a_replicate_has_the_next_seed_of_its_configuration(known: History) -> None:
    history = known
    for _ in range(2):
        history = history.ask(TUNER.ask(history, 3))
    assert len(replicates(history)) == 6
    trials = [e.trial for e in history.evaluations] + list(history.pending)
    seen: dict[bytes, list[Trial]] = {}
    for key, trial in zip(
        SPACE.row_keys(SPACE.encode([t.config for t in trials])), trials, strict=True
    ):
        seen.setdefault(key, []).append(trial)
    for same in seen.values():
        assert [t.replicate for t in same] == list(range(len(same)))
    assert max(map(len, seen.values())) > 4
    seeds = {(t.replicate, t.seed) for t in trials}
    assert len(seeds) == len({r for r, _ in seeds}) == len({s for _, s in seeds})


def test_replicates_depend_on_the_history_alone(known: History) -> None:
    backwards = replace(known, evaluations=tuple(reversed(known.evaluations)))
    assert TUNER.ask(known, 6) == TUNER.ask(backwards, 6) == TUNER.ask(known, 6)


def test_slots_refilled_one_by_one_share_like_a_batch(known: History) -> None:
    """Replicates that run count as evaluated, so the next ones go where the batch's would."""
    history = known
    for _ in range(6):
        history = history.ask(TUNER.ask(history, 1))
    assert history.pending == TUNER.ask(known, 6)


@pytest.mark.parametrize(
    "tuner",
    [
        replace(TUNER, replication=0.0),
        replace(TUNER, budget=None),
        replace(TUNER, surrogate="kriging(deterministic=True)"),
        replace(TUNER, surrogate="sklearn:linear_model.LinearRegression"),
    ],
    ids=["off", "no budget", "deterministic", "no nugget"],
)
def test_no_replicates_without_a_reason(tuner: Tuner, known: History) -> None:
    assert {t.origin for t in tuner.ask(known, 6)} == {Origin.INFILL}


def test_a_deterministic_objective_is_not_replicated() -> None:
    history = run(TUNER, lambda trial: bowl(trial.config))
    assert replicates(history) == []
    assert len(history.evaluations) == BUDGET


def test_a_configuration_that_failed_is_not_replicated_again(known: History) -> None:
    history = known
    for _ in range(6):
        trials = TUNER.ask(history, 1)
        history = told(history.ask(trials), lambda trial: math.nan)
    failed = [t.config for t in replicates(history)]
    assert len(failed) == 6
    assert len(set(SPACE.row_keys(SPACE.encode(failed)))) == 6
    best = TUNER.recommend(history, TUNER.model(history))
    assert best is not None


def test_an_exhausted_noisy_space_is_replicated_to_the_end_of_the_budget() -> None:
    tuner = Tuner(SMALL, budget=36, design=Design(initial=8, replicates=3))
    history = run(tuner, slippery, 36)
    assert len(history.evaluations) == 36
    assert len({e.trial.config["stairs"] for e in history.evaluations}) == 10
    assert len(replicates(history)) == 36 - 8 * 3 - 2
    for other in (replace(tuner, replication=0.0), replace(tuner, budget=None)):
        assert len(run(other, slippery, 36).evaluations) == 26
    assert len(run(tuner, lambda trial: stairs(trial.config), 36).evaluations) == 26


def test_imported_evaluations_count_but_are_not_replicated(known: History) -> None:
    early, late = known.evaluations[:20], known.evaluations[20:]
    imports = tuple(Import(e.trial.config, e.y - 1.0, "old", e.trial.number) for e in early)
    own = tuple(replace(e, trial=replace(e.trial, number=i)) for i, e in enumerate(late))
    tuner = replace(TUNER, budget=KNOWN - 20 + 6, replication=0.25)
    trials = tuner.ask(History(evaluations=own, imports=imports), 6)
    origins = [t.origin for t in trials]
    assert Origin.REPLICATE in origins
    again = [t.config for t in trials if t.origin is Origin.REPLICATE]
    assert all(config in [e.trial.config for e in own] for config in again)


def evaluation(number: int, x: float, y: float, replicate: int = 0) -> Evaluation:
    config = {"x": x, "z": 0.5}
    return Evaluation(Trial(number, config, replicate, replicate), Outcome(Status.OK, y))


def test_the_mean_of_the_replicates_stands_for_a_configuration() -> None:
    first, second, other = (
        evaluation(0, 0.2, -1.0),
        evaluation(2, 0.2, 2.0, 1),
        evaluation(1, 0.8, 0),
    )
    best = TUNER.recommend(History((second, other, first)), None)
    assert best is not None
    assert best.evaluations == (other,)
    best = TUNER.recommend(History((second, first)), None)
    assert best is not None
    assert best.evaluations == (first, second)
    assert best.observed == 0.5


def test_a_lucky_value_is_given_up_when_its_replicates_disagree(known: History) -> None:
    model = TUNER.model(known)
    best = TUNER.recommend(known, model)
    assert best is not None
    bad = tuple(
        Trial(KNOWN + r, best.config, r, 1 + r, Origin.REPLICATE).result(1.0) for r in range(4)
    )
    history = replace(known, evaluations=known.evaluations + bad)
    after = TUNER.recommend(history, TUNER.model(history))
    assert after is not None
    assert after.config != best.config


def test_a_surrogate_that_predicts_nothing_has_no_say() -> None:
    rng = np.random.default_rng(1)
    tuner = replace(TUNER, design=Design("sobol", initial=40))
    history = run(tuner, lambda trial: rng.normal(), 40, 40)
    model = tuner.model(history)
    assert model is not None
    left_out, _ = model.posterior.leave_one_out()  # type: ignore[attr-defined]
    assert np.mean((model.y - left_out) ** 2) > np.var(model.y)
    mean, _ = model.predict(model.X)
    assert mean.argmin() != model.y.argmin()
    best = tuner.recommend(history, model)
    assert best is not None
    assert best.evaluations[0] == history.incumbent


def test_replicates_improve_what_is_recommended() -> None:
    """In a space of ten configurations, each evaluated twice before."""
    loss = {0.0: 0.0, 0.15: 0.0}
    for seed in range(12):
        for share in loss:
            rng = np.random.default_rng(seed)
            design = Design(initial=10, replicates=2)
            tuner = Tuner(SMALL, seed=seed, budget=40, replication=share, design=design)
            history = run(tuner, lambda t, rng=rng: stairs(t.config) + rng.normal(0, 0.2), 40, 20)
            best = tuner.recommend(history, tuner.model(history))
            assert best is not None
            loss[share] += stairs(best.config)
    assert loss[0.15] < 0.7 * loss[0.0]
