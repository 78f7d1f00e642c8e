"""Other ways to search: each by what defines it, and all by what the tuner promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spot_dask import Budget, Categorical, FunctionTask, Integer, Real, Space, Study, Tuner
from spot_dask.baselines import Known, check
from spot_dask.baselines.evolution import Evolution
from spot_dask.baselines.grid import GridSearch
from spot_dask.baselines.pattern import Pattern
from spot_dask.records import History, Origin

SPACE = Space(
    x=Real(0.0, 1.0, default=0.9),
    n=Integer(1, 64, scale="log", default=8),
    k=Categorical(["a", "b", "c"], default="a"),
    m=Real(0.0, 1.0, default=0.5).when(k="b"),
)
NAMES = ("random", "sobol", "grid", "evolution", "pattern")


def loss(config: object) -> float:
    c = dict(config)  # type: ignore[call-overload]
    return (c["x"] - 0.3) ** 2 + 0.02 * np.log2(c["n"]) + 0.1 * (c["k"] != "b")


def run(tuner: Tuner, n: int, q: int) -> History:
    history = History()
    while history.asked < n:
        trials = tuner.ask(history, min(q, n - history.asked))
        for trial in trials:
            history = history.ask([trial]).tell(trial.result(loss(trial.config)))
    return history


@pytest.mark.parametrize("name", NAMES)
def test_it_begins_with_the_default_and_never_repeats_a_configuration(name: str) -> None:
    tuner = Tuner(SPACE, seed=3, budget=40, search=name, start=[{"x": 0.1, "n": 2, "k": "c"}])
    history = run(tuner, 40, 3)
    trials = [e.trial for e in history.evaluations]
    assert [t.number for t in trials] == list(range(40))
    assert trials[0].config == SPACE.default
    assert dict(trials[1].config) == {"x": 0.1, "n": 2, "k": "c"}
    assert {t.origin for t in trials[1:]} == {Origin.BASELINE}
    assert len(set(SPACE.row_keys(SPACE.encode([t.config for t in trials])))) == 40
    again = run(Tuner(SPACE, seed=3, budget=40, search=name, start=tuner.start), 40, 3)
    assert [e.trial for e in again.evaluations] == trials
    other = run(Tuner(SPACE, seed=4, budget=40, search=name), 40, 3)
    assert [e.trial.config for e in other.evaluations][2:] != [t.config for t in trials][2:]


@pytest.mark.parametrize("name", ["evolution", "pattern"])
def test_what_learns_is_better_than_chance(name: str) -> None:
    """By the mean best of 40 evaluations over some seeds, and clearly so."""

    def mean_best(search: str) -> float:
        found = []
        for seed in range(4):
            best = run(Tuner(SPACE, seed=seed, budget=40, search=search), 40, 1).incumbent
            assert best is not None
            found.append(best.y)
        return float(np.mean(found))

    assert mean_best(name) < mean_best("random") / 2


def known(X: np.ndarray, y: np.ndarray, budget: int | None = None) -> Known:
    return Known(SPACE, SPACE.snap(X), y, SPACE.snap(X), 0, budget)


def test_a_grid_is_as_large_as_the_budget_and_no_larger_than_it_must() -> None:
    rows = GridSearch().propose(
        known(np.empty((0, 4)), np.empty(0), 40), 500, np.random.default_rng()
    )
    configs = SPACE.decode(rows)
    assert {c["k"] for c in configs} == {"a", "b", "c"}
    assert len({c["x"] for c in configs}) == 3  # 2 x 2 x 2 x 3 levels would be too few
    # m counts only where k is b: 9 points of the others, 3 times as many there
    assert len(configs) == 2 * 9 + 27


def test_polls_are_one_step_from_the_best_along_one_axis() -> None:
    X = SPACE.snap(np.array([[0.5, 0.5, 0.1, 0.5], [0.9, 0.9, 0.5, 0.5]]))
    rows = Pattern().propose(known(X, np.array([0.0, 1.0])), 6, np.random.default_rng(0))
    moved = np.abs(rows - X[0]) > 1e-3
    assert (moved.sum(axis=1) == 1).all()
    assert len(rows) == 6
    numbers = np.abs(rows - X[0])[:, 0]
    assert set(np.round(numbers[numbers > 0], 6)) == {0.25}
    # With all polls known, the step is halved.
    both = np.vstack([X, rows])
    more = Pattern().propose(known(both, np.arange(len(both)) + 0.0), 2, np.random.default_rng(0))
    steps = np.abs(more - X[0]).max(axis=1)
    assert (steps < 0.2).all()


def test_children_stay_near_their_parents_as_the_step_gets_shorter() -> None:
    rng = np.random.default_rng(0)
    X = rng.random((6, 4))
    worse = np.vstack([X, rng.random((200, 4))])
    y = np.concatenate([np.zeros(6), np.ones(200)])
    early = Evolution().propose(known(X, np.zeros(6)), 30, np.random.default_rng(1))
    late = Evolution().propose(known(worse, y), 30, np.random.default_rng(1))

    def apart(rows: np.ndarray) -> float:
        return float(np.abs(rows[:, None, 0] - SPACE.snap(X)[None, :, 0]).min(axis=1).mean())

    assert apart(late) < 0.6 * apart(early)


def test_a_study_is_searched_by_name_and_confirmed_as_any_other(tmp_path: Path) -> None:
    task = FunctionTask(lambda cfg: (cfg.x - 0.3) ** 2 + 0.1 * (cfg.k != "b"))
    study = Study(SPACE, task, search="random", seed=1)
    done = study.run(Budget(evaluations=30), local=0, store=tmp_path / "a.zarr")
    origins = [e.trial.origin for e in done.history.evaluations]
    assert origins == [Origin.DEFAULT] + [Origin.BASELINE] * 19 + [Origin.CONFIRM] * 10
    assert done.deviations() == []
    assert done.best is not None
    assert done.best.evaluations[0] == done.history.incumbent


@pytest.mark.parametrize(
    ("search", "message"),
    [("randon", "there are: evolution"), (object(), "has no method"), (7, "search")],
)
def test_no_such_search(search: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Study(SPACE, FunctionTask(lambda cfg: 0.0), search=search)
    with pytest.raises(ValueError, match="propose"):
        check(object())  # type: ignore[arg-type]
