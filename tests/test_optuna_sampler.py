"""SpotSampler with a real Optuna: define-by-run, pending trials, failures, processes, seeds."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from spot_dask import Real, Space, Study
from spot_dask.optuna import PROPOSED, SEED, SpotSampler

optuna.logging.set_verbosity(optuna.logging.ERROR)


def sampler(seed: int = 1, **settings: Any) -> SpotSampler:
    """One whose criterion is cheap."""
    return SpotSampler(seed=seed, **{"initial": 4, "infill": "log_ei", **settings})


def bowl(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -5.0, 5.0)
    y = trial.suggest_float("a name/with signs", 1e-3, 10.0, log=True)
    return (x - 2.0) ** 2 + (np.log10(y) - 0.5) ** 2


def params(study: optuna.Study) -> list[dict[str, Any]]:
    return [t.params for t in study.trials]


def test_it_finds_the_minimum_and_the_same_seed_proposes_the_same() -> None:
    studies = [optuna.create_study(sampler=sampler()) for _ in range(2)]
    for study in studies:
        study.optimize(bowl, n_trials=16)
    assert params(studies[0]) == params(studies[1])
    assert studies[0].best_value < 0.3
    other = optuna.create_study(sampler=sampler(seed=2))
    other.optimize(bowl, n_trials=6)
    assert params(other) != params(studies[0])[:6]
    assert params(other)[0] == params(studies[0])[0]  # the centre of the ranges


def test_a_maximum_is_a_minimum_turned_over() -> None:
    up = optuna.create_study(direction="maximize", sampler=sampler())
    down = optuna.create_study(sampler=sampler())
    up.optimize(lambda t: -bowl(t), n_trials=10)
    down.optimize(bowl, n_trials=10)
    assert params(up) == params(down)


def test_every_kind_of_distribution_is_proposed_within_its_range() -> None:
    def objective(trial: optuna.Trial) -> float:
        n = trial.suggest_int("n", 1, 9, step=2)
        m = trial.suggest_int("m", 1, 1000, log=True)
        s = trial.suggest_float("s", 0.0, 1.0, step=0.25)
        act = trial.suggest_categorical("act", ["relu", None, True, 1.5])
        trial.suggest_float("fixed", 2.0, 2.0)
        huge = trial.suggest_float("huge", 0.0, 1e200)
        assert n % 2 == 1
        assert s % 0.25 == 0
        assert 0 <= huge <= 1e200
        return n + m / 1000 + s + (act is None)

    study = optuna.create_study(sampler=sampler())
    study.optimize(objective, n_trials=12)
    assert {t.state for t in study.trials} == {TrialState.COMPLETE}
    assert len({str(sorted(map(str, p.items()))) for p in params(study)}) == 12


def test_eight_pending_trials_are_distinct_and_spread() -> None:
    study = optuna.create_study(sampler=sampler())
    study.optimize(bowl, n_trials=8)
    asked = [study.ask() for _ in range(8)]  # all are asked before any of them suggests
    for trial in asked:
        bowl(trial)
    points = np.array(
        [
            [(t.params["x"] + 5) / 10, (np.log10(t.params["a name/with signs"]) + 3) / 4]
            for t in study.trials[8:]
        ]
    )
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2) + 10 * np.eye(8)
    assert gaps.min() > 1e-3
    assert np.ptp(points, axis=0).max() > 0.2
    assert all(t.state is TrialState.RUNNING for t in study.trials[8:])


def test_trials_that_another_process_is_proposing_have_the_first_places_of_the_batch() -> None:
    """As two processes would read one storage: neither has stored its proposal yet."""
    proposed = []
    for before in range(3):
        study = optuna.create_study(sampler=sampler())
        study.optimize(bowl, n_trials=5)
        for _ in range(before):
            study._storage.create_new_trial(study._study_id)
        proposed.append(study.ask().relative_params)
    assert len({str(p) for p in proposed}) == 3


def kept(study: optuna.Study, order: list[int], told: int) -> dict[int, dict[str, Any]]:
    """What trials that were created by their numbers are proposed, asking in another order."""
    study.optimize(bowl, n_trials=told)
    storage, sampler = study._storage, study.sampler
    ids = [storage.create_new_trial(study._study_id) for _ in order]
    for i in order:
        trial = storage.get_trial(ids[i])
        space = sampler.infer_relative_search_space(study, trial)
        sampler.sample_relative(study, trial, space)
    return {i: storage.get_trial(ids[i]).system_attrs[PROPOSED] for i in range(len(order))}


@pytest.mark.parametrize("order", [[3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]])
@pytest.mark.parametrize("initial", [4, 8])
def test_trials_take_the_places_of_their_numbers_in_whatever_order_they_ask(
    order: list[int], initial: int
) -> None:
    studies = [optuna.create_study(sampler=sampler(initial=initial)) for _ in range(2)]
    mixed = kept(studies[0], order, told=2)
    assert len({str(p) for p in mixed.values()}) == 4
    if initial == 8:  # all of them within the initial design
        assert mixed == kept(studies[1], [0, 1, 2, 3], told=2)


def test_an_overtaken_trial_takes_its_own_place_when_the_others_have_ended() -> None:
    study = optuna.create_study(sampler=sampler(initial=8))
    study.optimize(bowl, n_trials=2)
    first, *faster = [study.ask() for _ in range(3)]
    for trial in reversed(faster):
        study.tell(trial, bowl(trial))
    study.tell(first, bowl(first))
    assert len({str(p) for p in params(study)}) == 5


def test_a_place_of_the_design_that_is_taken_is_not_proposed_again() -> None:
    """A trial that failed before it suggested anything moves the places of those after it."""
    study = optuna.create_study(sampler=sampler(initial=8))
    study.optimize(bowl, n_trials=2)
    failed, running = study.ask(), study.ask()
    bowl(running)
    study.tell(failed, state=TrialState.FAIL)
    assert study.ask().relative_params != study.trials[3].params


def test_what_another_process_keeps_at_the_same_time_is_not_proposed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = optuna.create_study(sampler=sampler())
    study.optimize(bowl, n_trials=5)
    other = study._storage.create_new_trial(study._study_id)
    proposed = SpotSampler._proposed

    def also_by_the_other(self: SpotSampler, study: optuna.Study, *rest: Any) -> dict[str, Any]:
        found = proposed(self, study, *rest)
        if PROPOSED not in study._storage.get_trial(other).system_attrs:
            study._storage.set_trial_system_attr(other, PROPOSED, found)
        return found

    monkeypatch.setattr(SpotSampler, "_proposed", also_by_the_other)
    assert study.ask().relative_params != study._storage.get_trial(other).system_attrs[PROPOSED]


def conditional(trial: optuna.Trial) -> float:
    kind = trial.suggest_categorical("kind", ["sgd", "adam"])
    layers = trial.suggest_int("layers", 1, 3)
    loss = sum(abs(trial.suggest_float(f"w{i}", 0.0, 1.0) - 0.3) for i in range(layers))
    if kind == "sgd":
        loss += abs(trial.suggest_float("momentum", 0.0, 0.99) - 0.9)
        trial.suggest_int("another", 1, 9)  # before its parent in the order of names
    return loss + layers


def test_conditional_parameters_are_conditional_in_the_space() -> None:
    study = optuna.create_study(sampler=sampler())
    study.optimize(conditional, n_trials=14)
    tuner = study.sampler._last
    assert tuner is not None
    found = {name: dict(p.conditions) for name, p in tuner.space.parameters.items()}
    # p0 kind, p1 layers, p2 w0, p3 another, p4 momentum, p5 w1, p6 w2
    assert found["p4"] == found["p3"] == {"p0": (0,)}
    assert found["p5"] == {"p1": (2, 3)}
    assert found["p6"] == {"p1": (3,)}
    assert found["p2"] == {}
    for t in study.trials[1:]:
        assert ("momentum" in t.params) == (t.params["kind"] == "sgd")


def test_a_region_that_fails_is_left_alone() -> None:
    def objective(trial: optuna.Trial) -> float:
        x, y = trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", 0.0, 1.0)
        if x > 0.6:
            raise RuntimeError("out of memory")
        return (x - 0.8) ** 2 + (y - 0.5) ** 2

    study = optuna.create_study(sampler=sampler())
    study.optimize(objective, n_trials=26, catch=(RuntimeError,))
    failed = [t.state is TrialState.FAIL for t in study.trials]
    assert any(failed[:12])
    assert sum(failed[14:]) <= 4
    assert study.best_value < 0.08


def test_pruned_trials_and_values_that_are_not_finite_are_told() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        for step in range(3):
            trial.report(x + 1 / (step + 1), step)
        if x > 0.7:
            raise optuna.TrialPruned
        return float("inf") if x < 0.1 else x

    study = optuna.create_study(sampler=sampler())
    study.optimize(objective, n_trials=14)
    states = [t.state for t in study.trials]
    assert TrialState.PRUNED in states
    assert study.best_value < 0.25


def test_enqueued_trials_are_tried_and_informed_by() -> None:
    study = optuna.create_study(sampler=sampler())
    study.enqueue_trial({"x": 2.0, "a name/with signs": 10**0.5})
    study.enqueue_trial({"x": -5.0})
    study.enqueue_trial({"x": 7.0})  # Optuna warns of it, and tries it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        study.optimize(bowl, n_trials=6)
    assert study.trials[0].value == pytest.approx(0.0)
    assert [t.params["x"] for t in study.trials[1:3]] == [-5.0, 7.0]
    assert study.best_trial.number == 0


def test_threads_share_a_study() -> None:
    study = optuna.create_study(sampler=sampler())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.optimize(bowl, n_trials=12, n_jobs=3)
    assert len({str(p) for p in params(study)[3:]}) == 9


def test_threads_that_take_their_time_before_they_suggest_share_the_initial_design() -> None:
    def slow(trial: optuna.Trial) -> float:
        time.sleep(0.02)
        return bowl(trial)

    for seed in range(4):
        study = optuna.create_study(sampler=sampler(seed=seed, initial=16))
        study.optimize(bowl, n_trials=1)
        study.optimize(slow, n_trials=12, n_jobs=4)
        assert len({str(p) for p in params(study)}) == 13


CHILD = """
import sys, optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from spot_dask.optuna import SpotSampler
optuna.logging.set_verbosity(optuna.logging.ERROR)
storage = JournalStorage(JournalFileBackend(sys.argv[1]))
study = optuna.load_study(study_name="s", storage=storage,
                          sampler=SpotSampler(initial=4, infill="log_ei"))
study.optimize(lambda t: (t.suggest_float("x", -5, 5) - 2) ** 2, n_trials=5)
"""


def test_processes_share_a_journal_and_its_seed(tmp_path: Path) -> None:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    file = str(tmp_path / "journal")
    study = optuna.create_study(study_name="s", storage=JournalStorage(JournalFileBackend(file)))
    children = [subprocess.Popen([sys.executable, "-c", CHILD, file]) for _ in range(2)]
    assert [child.wait(200) for child in children] == [0, 0]
    assert len(study.trials) == 10
    assert isinstance(study._storage.get_study_system_attrs(study._study_id)[SEED], int)
    values = [t.params["x"] for t in study.trials]
    assert len(set(values[2:])) == 8
    assert len({SpotSampler()._seed_of(study) for _ in range(3)}) == 1


def test_a_database_holds_what_is_proposed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    kept = optuna.create_study(storage=url, sampler=sampler())
    kept.optimize(bowl, n_trials=7)
    again = optuna.load_study(study_name=kept.study_name, storage=url, sampler=sampler())
    again.optimize(bowl, n_trials=3)
    whole = optuna.create_study(sampler=sampler())
    whole.optimize(bowl, n_trials=10)
    assert params(again) == params(whole)
    again._storage.remove_session()


def test_an_exhausted_space_goes_on() -> None:
    study = optuna.create_study(sampler=sampler())
    study.optimize(lambda t: t.suggest_categorical("k", [3, 1, 2]), n_trials=6)
    assert {t.params["k"] for t in study.trials[:4]} == {1, 2, 3}
    assert len(study.trials) == 6


def test_choices_that_are_equal_in_python_are_one() -> None:
    """Optuna stores True as the choice 1 that it is equal to."""
    study = optuna.create_study(sampler=sampler(initial=8))
    study.optimize(lambda t: len(str(t.suggest_categorical("k", [1, True, "a"]))), n_trials=2)
    assert {t.params["k"] for t in study.trials} == {1, "a"}
    study.optimize(
        lambda t: (
            t.suggest_float("x", 0.0, 1.0) + (t.suggest_categorical("k", [1, True, "a"]) == 1)
        ),
        n_trials=12,
    )
    counted = [t.params["k"] for t in study.trials[2:10]]
    assert 3 <= counted.count("a") <= 5


def test_a_range_that_moves_is_searched_as_a_whole() -> None:
    def objective(trial: optuna.Trial) -> float:
        n = trial.suggest_int("n", 2, 5)
        return n + trial.suggest_int("k", 1, n)

    study = optuna.create_study(sampler=sampler())
    study.optimize(objective, n_trials=10)
    assert all(t.params["k"] <= t.params["n"] for t in study.trials)
    assert study.best_value == 3


def test_it_can_be_pickled() -> None:
    study = optuna.create_study(sampler=sampler())
    study.optimize(bowl, n_trials=6)
    study.sampler = pickle.loads(pickle.dumps(study.sampler))
    study.optimize(bowl, n_trials=1)
    whole = optuna.create_study(sampler=sampler())
    whole.optimize(bowl, n_trials=7)
    assert params(study) == params(whole)


def test_several_objectives_and_wrong_seeds_are_refused_in_one_line() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler())
    with pytest.raises(ValueError, match=r"^SpotSampler searches one objective.*NSGAIISampler$"):
        study.ask()
    assert [t.state for t in study.trials] == [TrialState.FAIL]  # not left running
    with pytest.raises(ValueError, match="seed is -1"):
        SpotSampler(seed=-1)


@pytest.mark.parametrize("name", ["surrogate", "infill"])
@pytest.mark.parametrize("wrong", ["nope", 5])
def test_components_are_refused_at_once_as_a_study_refuses_them(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} ") as theirs:
        Study(space=Space(x=Real(0.0, 1.0)), task=lambda c: 1.0, **{name: wrong})
    with pytest.raises(ValueError, match=f"{name} ") as ours:
        SpotSampler(**{name: wrong})
    assert str(ours.value) == str(theirs.value)


def test_it_shows_its_settings() -> None:
    shown = repr(SpotSampler(seed=3))
    assert shown == ("SpotSampler(seed=3, initial=None, surrogate='kriging', infill='averaged_ei')")
    assert eval(shown).__getstate__() == SpotSampler(seed=3).__getstate__()
