"""A training that was stopped early informs proposals, and counts as a result nowhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spot_dask.records import Evaluation, History, Origin, Outcome, Status, Trial
from spot_dask.space import Real, Space
from spot_dask.tuner import Tuner
from spot_dask.tuner.model import risk_of

SPACE = Space(x=Real(0.0, 1.0, default=0.9), y=Real(0.0, 1.0, default=0.1))
TUNER = Tuner(SPACE, seed=4)


def stopped(trial: Trial) -> Evaluation:
    """As good as it gets, as far as it went."""
    outcome = Outcome(Status.STOPPED, metrics={"loss": -9.0}, curves={"loss": (-8.0, -9.0)})
    return Evaluation(trial, outcome)


def studied(n: int, seed: int = 0) -> History:
    """A history of n trials of which, after the design, every other one was stopped early."""
    history, rng = History(), np.random.default_rng(seed)
    while history.asked < n:
        trials = TUNER.ask(history, 2)
        history = history.ask(trials)
        for trial in trials:
            if trial.origin is Origin.INFILL and rng.random() < 0.5:
                history = history.tell(stopped(trial))
            else:
                config = trial.config
                history = history.tell(
                    trial.result((config["x"] - 0.3) ** 2 + (config["y"] - 0.6) ** 2)
                )
    return history


@pytest.fixture(scope="module")
def history() -> History:
    found = studied(24)
    assert len(found.stopped) >= 5
    assert found.failed == ()
    return found


def test_the_recommendation_and_its_model_are_those_of_the_finished_trainings(
    history: History,
) -> None:
    finished = replace(history, evaluations=history.ok)
    model, alone = TUNER.model(history), TUNER.model(finished)
    assert model is not None
    assert alone is not None
    np.testing.assert_array_equal(model.X, alone.X)
    rows = np.random.default_rng(0).random((50, 2))
    np.testing.assert_array_equal(model.predict(rows), alone.predict(rows))
    best = TUNER.recommend(history, model)
    assert best == TUNER.recommend(finished, alone)
    assert best is not None
    assert all(e.ok for e in best.evaluations)


def test_however_good_its_curve_was_a_stopped_training_is_never_the_best() -> None:
    history = History()
    for number in range(9):
        trial = Trial(number, {"x": number / 10, "y": 0.5}, seed=1)
        told = trial.result(5.0 + number) if number % 3 == 0 else stopped(trial)
        history = history.ask([trial]).tell(told)
        best = TUNER.recommend(history, TUNER.model(history))
        assert best is not None
        assert best.evaluations[0].trial.number % 3 == 0
        assert history.incumbent == history.evaluations[0]


def test_where_trainings_were_stopped_nothing_better_is_expected(history: History) -> None:
    model, believed = TUNER.model(history), TUNER._believed(TUNER._surrogate, history)
    assert model is not None
    assert believed is not None
    rows = SPACE.encode([e.trial.config for e in history.stopped])
    before, after = model.predict(rows)[0], believed.predict(rows)[0]
    assert (after >= np.maximum(before, model.y.min()) - 1e-6).all()
    assert (after > before).any()
    assert np.median(after) < 0.5 * model.y.max()


def test_a_stopped_configuration_is_not_proposed_again(history: History) -> None:
    keys = SPACE.row_keys(SPACE.encode([e.trial.config for e in history.evaluations]))
    assert len(set(keys)) == len(keys)


def test_stopped_trainings_are_no_failures_to_be_learnt(history: History) -> None:
    assert risk_of(TUNER.space, history) is None


def test_what_was_stopped_changes_where_to_look_whatever_its_order(history: History) -> None:
    asked = TUNER.ask(history, 3)
    backwards = replace(history, evaluations=history.evaluations[::-1])
    assert TUNER.ask(backwards, 3) == asked == TUNER.ask(history, 3)
    pretended = tuple(
        e if e.ok else Evaluation(e.trial, Outcome(Status.LOST)) for e in history.evaluations
    )
    assert TUNER.ask(replace(history, evaluations=pretended), 3) != asked
