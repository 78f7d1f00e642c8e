"""Confirmation: what is kept for it, who is confirmed, and that the search never learns of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_dask import Budget, Categorical, FunctionTask, Real, Run, Space, Study, Tuner
from spot_dask.coordinator import (
    Commit,
    Finish,
    Finished,
    Joined,
    Policy,
    Propose,
    Proposed,
    Start,
    Tick,
)
from spot_dask.coordinator.state import Coordinator
from spot_dask.fold import Fold
from spot_dask.inference.confirmed import bounds_of, confirmation
from spot_dask.inference.transform import transform
from spot_dask.records import History, Origin, Outcome, Stage, Status, Trial
from spot_dask.tuner.confirmation import FROM, LEAST, reserve, seeds_of

SPACE = Space(x=Real(-1.0, 1.0, default=0.9), kind=Categorical(["a", "b"], default="a"))
CONFIRM = Stage("confirm", 5)


def noisy(cfg: Any, trial: Any) -> float:
    """Each training has a value of its own, the same when it is run again."""
    key = [trial.seed, round(1e6 * (cfg.x + 1)), int(cfg.kind == "a")]
    noise = 0.1 * float(np.random.default_rng(key).normal())
    return (cfg.x - 0.3) ** 2 + 0.1 * (cfg.kind == "a") + noise


def study(**changes: Any) -> Study:
    """Searched at random, in a third of the time: who is confirmed, and how, is the same."""
    train = FunctionTask(changes.pop("train", noisy))
    return Study(SPACE, train, seed=1, search="random", **changes)


def confirming(run: Run) -> list[Trial]:
    return [e.trial for e in run.history.confirmations]


@given(st.none() | st.floats(0, 0.5), st.integers(1, 2000))
def test_a_share_of_the_budget_is_kept(share: float | None, budget: int) -> None:
    seeds = seeds_of(share, budget)
    assert 0 <= 2 * seeds <= budget / 2
    if share is None and budget >= FROM:
        assert seeds >= LEAST
        assert 0.15 * budget <= 2 * seeds <= max(10, 0.25 * budget)
    if share == 0 or (share is None and budget < FROM):
        assert seeds == 0


def test_a_run_ends_with_tuned_and_default_under_the_same_fresh_seeds(tmp_path: Path) -> None:
    run = study().run(Budget(evaluations=30), local=0, store=tmp_path / "a.zarr")
    trials, best = confirming(run), run.best
    assert best is not None
    assert len(run.history.evaluations) == 30
    assert [t.number for t in trials] == list(range(20, 30))
    searched = {e.trial.seed for e in run.history.searched.evaluations}
    assert not searched & {t.seed for t in trials}
    by_seed: dict[int, list[Any]] = {}
    for trial in trials:
        by_seed.setdefault(trial.seed, []).append(dict(trial.config))
    assert list(by_seed.values()) == [[dict(SPACE.default), dict(best.config)]] * 5
    found = run.confirmed
    assert found is not None
    assert found.gain is not None
    assert found.gain.n == 5
    values = [e.y for e in run.history.confirmations if e.trial.config == best.config]
    assert found.value.mean == pytest.approx(np.mean(values))
    assert run.deviations() == []


def test_the_search_learns_nothing_of_what_confirms() -> None:
    tuner = Tuner(SPACE, budget=60, confirm=None)
    history = History()
    for _ in range(20):
        (trial,) = tuner.ask(history, 1)
        history = history.ask([trial]).tell(trial.result(noisy(config(trial), trial)))
    known = history
    for y in (-1e6, 1e6):
        after = history
        for trial in tuner.ask(history, 10, CONFIRM):
            after = after.ask([trial]).tell(trial.result(y))
        assert tuner.finalists(after) == tuner.finalists(known)
        assert tuner.recommend(after, None) == tuner.recommend(known, None)
        (mine,), (theirs,) = tuner.ask(after, 1), tuner.ask(known, 1)
        assert mine.number == 30
        assert replace(mine, number=20) == theirs
        assert after.incumbent == known.incumbent


def config(trial: Trial) -> Any:
    return type("Config", (), dict(trial.config))


def test_finalists_wait_for_the_whole_search_and_the_default_does_not() -> None:
    tuner = Tuner(SPACE, budget=30, confirm=None)
    trials = tuner.ask(History(), 8)
    history = History(pending=trials[7:], evaluations=tuple(t.result(t.number) for t in trials[:7]))
    assert [dict(t.config) for t in tuner.ask(history, 99, CONFIRM)] == [dict(SPACE.default)] * 5
    done = history.tell(trials[7].result(-5.0))
    both = tuner.ask(done, 99, CONFIRM)
    assert [dict(t.config) for t in both[:2]] == [dict(SPACE.default), dict(trials[7].config)]
    assert len(both) == 10
    three = tuner.ask(done, 99, Stage("confirm", 5, 3))
    assert len({tuple(t.config.values()) for t in three}) >= 3
    assert {t.seed for t in three} == {t.seed for t in both}


def test_more_seeds_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    first = study().run(Budget(evaluations=30), local=0, store=tmp_path / "a.zarr")
    again = study().confirm_more(tmp_path / "a.zarr", seeds=7, local=0)
    added = confirming(again)[10:]
    assert [t.replicate for t in added] == [5, 5, 6, 6]
    assert confirming(again)[:10] == confirming(first)
    assert again.deviations() == []
    same = study().confirm_more(tmp_path / "a.zarr", seeds=7, local=0)
    assert len(same.history.evaluations) == 34
    more = study().explore(tmp_path / "a.zarr", count=3, local=0)
    assert [e.trial.origin for e in more.history.evaluations[34:]] == [Origin.EXPLORE] * 3
    assert more.deviations() == []


def test_a_default_that_failed_leaves_its_share_to_the_search(tmp_path: Path) -> None:
    def train(cfg: Any, trial: Any) -> float:
        if cfg.x == 0.9:
            raise ValueError("the default diverges")
        return noisy(cfg, trial)

    run = study(train=train).run(Budget(evaluations=30), local=0, store=tmp_path / "a.zarr")
    best, found = run.best, run.confirmed
    assert best is not None
    assert found is not None
    assert [dict(t.config) for t in confirming(run)] == [dict(best.config)] * 5
    assert (found.gain, found.default, found.value.n) == (None, None, 5)
    assert len(run.history.evaluations) == 30
    failed = run.history.evaluations[0]
    assert reserve(History((failed,)), 5) == 5


def test_a_default_that_is_the_best_is_confirmed_alone(tmp_path: Path) -> None:
    run = study(train=lambda cfg: (cfg.x - 0.9) ** 2 + (cfg.kind == "b")).run(
        Budget(evaluations=30), local=0, store=tmp_path / "a.zarr"
    )
    found = run.confirmed
    assert found is not None
    assert (found.is_default, found.gain) == (True, None)


def test_a_small_budget_is_not_confirmed_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    run = study().run(
        Budget(evaluations=12), local=0, store=tmp_path / "a.zarr",
        watcher=lambda update: said.append(update.message or ""),
    )  # fmt: skip
    assert run.history.confirmations == ()
    assert run.confirmed is None
    assert any("too small for it" in line and "spot-dask confirm" in line for line in said)


def test_a_larger_budget_searches_on_and_confirms_what_it_finds(tmp_path: Path) -> None:
    study().run(Budget(evaluations=30), local=0, store=tmp_path / "a.zarr")
    run = study().resume(tmp_path / "a.zarr", Budget(evaluations=50), local=0)
    best = run.best
    assert best is not None
    assert len(run.history.evaluations) == 50
    searched = [e for e in run.history.evaluations[30:] if not e.trial.confirms]
    assert len(searched) == 15
    found = run.confirmed
    assert found is not None
    assert found.value.n >= 5
    assert run.deviations() == []


def test_a_killed_confirmation_goes_on(tmp_path: Path) -> None:
    def stop(update: Any) -> None:
        if len(update.history.evaluations) == 24:
            raise KeyboardInterrupt

    whole = study().run(Budget(evaluations=30), local=0, store=tmp_path / "a.zarr")
    with pytest.raises(KeyboardInterrupt):
        study().run(Budget(evaluations=30), local=0, store=tmp_path / "b.zarr", watcher=stop)
    run = study().resume(tmp_path / "b.zarr", local=0)
    assert confirming(run) == confirming(whole)
    assert [e.y for e in run.history.evaluations] == [e.y for e in whole.history.evaluations]


def test_some_of_the_wall_time_is_kept_for_confirmation() -> None:
    """Trainings of 10 s, one slot, 400 s: the last ten of forty confirm."""
    tuner = Tuner(SPACE, confirm=None)
    coordinator = Coordinator(Policy(seconds=400.0, confirm=None, ahead=False), Fold(), 0.0)
    now, events, order = 0.0, [Joined("w", 1), Tick()], []
    while True:
        instructions = [i for event in events for i in coordinator.handle(event, now)]
        events = []
        for instruction in instructions:
            match instruction:
                case Propose(q, stage):
                    events += [Proposed(tuner.ask(coordinator.history, q, stage)), Tick()]
                case Start(trial, attempt, worker):
                    order.append(trial.origin)
                    now += 10.0
                    y = noisy(config(trial), trial)
                    outcome = Outcome(Status.OK, y, worker=worker)
                    events += [Finished(trial.number, attempt, outcome), Tick()]
                case Finish(reason):
                    assert reason in ("wall", "budget")
                    fresh = order.count(Origin.CONFIRM)
                    assert 8 <= fresh <= 12
                    assert order[-fresh:] == [Origin.CONFIRM] * fresh
                    return
                case Commit():
                    pass
        if not events:
            events = [Tick()]


def test_only_seeds_that_both_succeeded_with_are_compared() -> None:
    default, tuned = dict(SPACE.default), {"x": 0.3, "kind": "b"}
    history = History()
    values = [(default, 1.0, 0.4), (tuned, None, 0.1), (default, None, 0.5), (tuned, 0.2, 0.2)]
    number = 0
    for r in range(2):
        for configuration, *pair in values:
            if (y := pair[r]) is None:
                continue
            trial = Trial(number, configuration, r, r, Origin.CONFIRM)
            history = history.ask([trial]).tell(trial.result(y))
            number += 1
    found = confirmation(history, tuned, default, 1.0)
    assert found is not None
    assert found.gain is not None


@pytest.mark.parametrize(
    ("sign", "values", "ends"),
    [
        (1.0, [0.2, 0.9, 0.7], (0.0, np.inf)),  # a loss may well be more than 1
        (-1.0, [0.2, 0.9, 0.7], (0.0, 1.0)),
        (-1.0, [0.0, 1.0], (0.0, 1.0)),
        (-1.0, [0.2, 1.7], (0.0, np.inf)),
        (1.0, [-0.1, 0.5], (-np.inf, np.inf)),
        (1.0, [], (-np.inf, np.inf)),
    ],
)
def test_the_bounds_of_confirmed_values_are_those_of_all_statements(
    sign: float, values: list[float], ends: tuple[float, float]
) -> None:
    history = History()
    for i, v in enumerate(values):
        trial = Trial(i, {"x": 0.5}, i, i, Origin.CONFIRM)
        history = history.ask([trial]).tell(trial.result(sign * v))
    assert bounds_of(history, sign) == ends
    if values:
        told = transform("identity", np.array(values), sign < 0)
        assert (told.low, told.high) == ends


def test_the_interval_of_a_loss_that_was_below_one_may_go_beyond() -> None:
    history = History()
    for i, v in enumerate([0.7, 0.99, 0.8]):
        trial = Trial(i, {"x": 0.5}, i, i, Origin.CONFIRM)
        history = history.ask([trial]).tell(trial.result(v))
    found = confirmation(history, {"x": 0.5}, {"x": 0.5}, 1.0)
    assert found is not None
    assert found.value.t.high > 1.0
