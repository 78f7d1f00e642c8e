"""Budgets of epochs: what is used, promised and left, and runs that end by them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.simulated import Fate, SimulatedExecutor
from spot_dask import Budget, Design, FunctionTask, Integer, Real, Run, Space, Study
from spot_dask.cli import main
from spot_dask.coordinator import (
    Event,
    Finish,
    Lease,
    Policy,
    Propose,
    Proposed,
    Start,
    StopEarly,
    Tick,
)
from spot_dask.coordinator.epochs import Epochs
from spot_dask.coordinator.state import Coordinator
from spot_dask.early_stopping import Curve, Rule
from spot_dask.early_stopping.rank import Rank
from spot_dask.fold import Fold
from spot_dask.records import Evaluation, Objective, Origin, Outcome, Status, Trial


def trial(number: int, **config: Any) -> Trial:
    return Trial(number, {"x": number / 1000, **config}, seed=1)


def ended(number: int, epochs: int, status: Status = Status.OK) -> Evaluation:
    curves = {"loss": (1.0,) * epochs} if epochs else {}
    return Evaluation(trial(number), Outcome(status, 1.0, curves=curves))


def lease(number: int, epoch: int, *, stopping: bool = False) -> Lease:
    return Lease(trial(number), 0, "w", 0.0, epoch, stopping=stopping)


def test_what_runs_and_waits_is_promised_all_its_epochs() -> None:
    epochs = Epochs(100, None, 0, [ended(0, 20), ended(1, 5, Status.STOPPED)])
    assert (epochs.full, epochs.trainings) == (20, 5)
    assert epochs.left([], []) == 4  # of 75 epochs the last has only 15, and may begin
    assert epochs.left([lease(2, 0), lease(3, 19)], []) == 2
    assert epochs.left([lease(2, 5, stopping=True)], [trial(3)]) == 3
    assert epochs.left([lease(2, 40)], [trial(3), trial(4)]) == 0


def test_a_training_that_reports_nothing_counts_as_one_epoch() -> None:
    epochs = Epochs(3, None, 0, [ended(n, 0) for n in range(3)])
    assert epochs.left([], []) == 0
    assert Epochs(3, None, 0, []).left([lease(0, 0), lease(1, 0)], []) == 1


def test_without_such_a_budget_nothing_is_limited() -> None:
    assert Epochs(None, None, 10, []).left([lease(0, 5)], []) == math.inf
    assert Epochs(None, None, 10, []).trainings == math.inf


def test_a_parameter_may_hold_the_length() -> None:
    epochs = Epochs(100, "n", 0, [ended(0, 10)])
    assert epochs.left([], [trial(1, n=75)]) == 2
    assert epochs.left([], [trial(1, n=90)]) == 0


def simulated(
    limit: int, length: int, workers: int, rule: Rule | None, seed: int, **more: Any
) -> tuple[Coordinator, str]:
    """A run whose trainings get better and worse by chance, until it ends."""

    def training(trial: Trial, attempt: int) -> Fate:
        rng = np.random.default_rng([seed, trial.number])
        values = tuple(np.cumsum(rng.normal(size=length)).tolist())
        outcome = Outcome(Status.OK, values[-1], curves={"loss": values})
        return Fate(outcome, float(length), reports=[{"loss": v} for v in values])

    executor = SimulatedExecutor(training, workers=workers)
    policy = Policy(objective=Objective("loss"), early_stopping=rule, epochs=limit, **more)
    coordinator = Coordinator(policy, Fold(), executor.now())
    for _ in range(100_000):
        events: list[Event] = [*executor.wait(3600.0), Tick()]
        while events:
            for instruction in coordinator.handle(events.pop(0), executor.now()):
                match instruction:
                    case Propose(q):
                        asked = coordinator.history.asked
                        found = [
                            replace(trial(n), origin=Origin.INFILL if n else Origin.DEFAULT)
                            for n in range(asked, asked + q)
                        ]
                        events.append(Proposed(tuple(found)))
                    case Start(begun, attempt, worker):
                        executor.start(begun, attempt, worker)
                    case StopEarly(number, attempt, worker):
                        executor.stop_early(number, attempt, worker)
                    case Finish(reason):
                        return coordinator, reason
    raise AssertionError("the run never ends")


@given(
    limit=st.integers(1, 400),
    length=st.integers(1, 30),
    workers=st.integers(1, 6),
    stops=st.booleans(),
    known=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_run_uses_its_epochs_and_goes_beyond_them_by_less_than_a_training(
    limit: int, length: int, workers: int, stops: bool, known: bool, seed: int
) -> None:
    rule = Rank(min_epochs=2, eta=2.0) if stops else None
    each = length if known else 0
    coordinator, reason = simulated(limit, length, workers, rule, seed, each=each)
    used = sum(e.outcome.epochs for e in coordinator.history.evaluations)
    assert reason == "budget"
    assert limit <= used < limit + length * (1 if known else max(workers, 1))


class Never:
    """Stops everything at once, as no rule of ours does."""

    def stops(self, curve: Curve, others: Any) -> bool:
        return True


def test_even_a_rule_that_stops_everything_comes_to_the_end_of_the_budget() -> None:
    coordinator, reason = simulated(500, 20, 4, Never(), 0, each=20)
    assert reason == "budget"
    assert len(coordinator.history.evaluations) <= 500


# ---------------------------------------------------------------- whole runs


def train(cfg: Any, trial: Any) -> dict[str, float]:
    for epoch in range(1, 13):
        trial.report(epoch, loss=(cfg.x - 0.3) ** 2 + 1 / epoch)
    return {"loss": (cfg.x - 0.3) ** 2 + 1 / 12}


def study(**changes: Any) -> Study:
    settings = {"design": Design(initial=4), "repeats": 0, "early_stopping": "rank", **changes}
    space = Space(x=Real(0.0, 1.0, default=0.9))
    return Study(space, FunctionTask(train), infill="log_ei", **settings)


def test_a_study_ends_by_its_epochs_and_keeps_some_for_confirmation(tmp_path: Path) -> None:
    run = study().run(Budget(epochs=360), local=0, store=tmp_path / "a.zarr")
    history = run.history
    used = sum(e.outcome.epochs for e in history.evaluations)
    assert 360 <= used < 372
    assert history.stopped
    assert len(history.confirmations) >= 10  # five seeds of each, as 360 epochs are 30 trainings
    assert all(e.ok for e in history.confirmations)
    assert run.ended == "budget"
    assert run.deviations() == []
    status = run.status()["budget"]
    assert (status["epochs_limit"], status["epochs_used"]) == (360, used)
    told = CliRunner().invoke(main, ["status", str(run.path)], catch_exceptions=False)
    assert f"epochs       {used} of 360" in told.stdout
    assert run.epochs_end_it
    again = study().resume(run.path, local=0)
    assert again.history.asked == history.asked
    more = study().resume(run.path, Budget(epochs=420), local=0)
    assert 420 <= sum(e.outcome.epochs for e in more.history.evaluations) < 432
    assert Run.open(run.path).settings["budget"]["epochs"] == 420


def test_the_progress_counts_epochs(tmp_path: Path) -> None:
    from spot_dask.cli.progress import count
    from spot_dask.progress import Goal, Update, View

    run = study().run(Budget(epochs=60), local=0, store=tmp_path / "a.zarr")
    view = View(Goal("loss", "min", None, None, epochs=60))
    running = replace(lease(99, 6))
    view.take(Update(run.history, None, (running,), 1, 1, 0.0, 0.0))
    standing = view.standing()
    assert standing is not None
    done = sum(e.outcome.epochs for e in run.history.evaluations)
    assert standing.epochs == done + 6
    assert standing.share == 1.0
    assert count(standing) == f"{len(run.history.evaluations)} ({done + 6}/60 epochs)"


def test_the_time_left_of_a_budget_of_epochs_is_told(tmp_path: Path) -> None:
    from spot_dask.progress import Goal, Update, View, trainings_left

    run = study().run(Budget(epochs=60), local=0, store=tmp_path / "a.zarr")
    ended = run.history.evaluations
    trained = sum(e.outcome.epochs for e in ended)
    each = trained / len(ended)
    goal = Goal("loss", "min", None, None, epochs=trained + round(3 * each))
    assert trainings_left(goal, ended, 1) == 2
    assert trainings_left(replace(goal, evaluations=len(ended) + 2), ended, 1) == 1
    assert trainings_left(replace(goal, epochs=None), ended, 1) is None
    assert trainings_left(goal, ended[:1], 1) is None  # too little to tell how long they are
    view = View(goal)
    view.take(Update(run.history, None, (lease(99, 6),), 1, 1, 0.0, 0.0))
    standing = view.standing()
    assert standing is not None
    assert standing.left is not None


def test_lengths_that_differ_are_learnt_from_the_parameter(tmp_path: Path) -> None:
    def long(cfg: Any, trial: Any) -> float:
        for epoch in range(1, cfg.n + 1):
            trial.report(epoch, loss=(cfg.x - 0.3) ** 2 + epoch / cfg.n)
        return float((cfg.x - 0.3) ** 2 + 1)

    space = Space(x=Real(0.0, 1.0, default=0.9), n=Integer(4, 40, default=16))
    made = Study(space, FunctionTask(long), early_stopping="rank", length="n", repeats=0,
                 confirm=0.0, design=Design(initial=4), infill="log_ei")  # fmt: skip
    run = made.run(Budget(epochs=600), local=0, store=tmp_path / "a.zarr")
    assert 600 <= sum(e.outcome.epochs for e in run.history.evaluations) < 640
    assert run.deviations() == []
    for e in run.history.stopped:
        # Rungs are at 4, 8 of the default's 16: a quarter and a half of every training.
        share = e.outcome.epochs / e.trial.config["n"]
        assert share < 1
    with pytest.raises(ValueError, match="length is 'm'; expected a parameter of the space"):
        replace(made, length="m")
