"""The coordinator's policy against simulated workers: whole runs in virtual time."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.simulated import Fate, SimulatedExecutor
from spot_dask.coordinator import (
    Commit,
    Finish,
    Policy,
    Propose,
    Proposed,
    Reported,
    Start,
    Tick,
)
from spot_dask.coordinator.state import Coordinator
from spot_dask.fold import Fold
from spot_dask.records import Failure, Outcome, Retried, Status, Told, Trial


def drive(
    coordinator: Coordinator, executor: SimulatedExecutor, seconds: float = 3600.0
) -> tuple[str, list[object]]:
    """Run to the end with trials that are just numbered; the reason and all commits."""
    commits: list[object] = []
    while True:
        events = [*executor.wait(seconds), Tick()]
        while events:
            for instruction in coordinator.handle(events.pop(0), executor.now()):
                match instruction:
                    case Finish(reason):
                        return reason, commits
                    case Commit(entry):
                        commits.append(entry)
                    case Propose(q):
                        first = coordinator.history.asked
                        numbers = range(first, first + q)
                        events.append(Proposed(tuple(Trial(n, {"x": n}, 1) for n in numbers)))
                    case Start(trial, attempt, worker):
                        executor.start(trial, attempt, worker)


def test_asynchronous_refill_beats_synchronous_batches_on_uneven_trainings() -> None:
    def training(trial: Trial, attempt: int) -> Fate:
        seconds = np.random.default_rng(trial.number).lognormal(4.0, 1.0)
        return Fate(Outcome(Status.OK, float(trial.number)), float(seconds))

    spent = {}
    for sync in (False, True):
        executor = SimulatedExecutor(training, workers=8)
        policy = Policy(evaluations=160, batch=8, sync=sync)
        reason, _ = drive(Coordinator(policy, Fold(), 0.0), executor)
        assert reason == "budget"
        spent[sync] = executor.now()
    assert spent[False] < 0.7 * spent[True]


@pytest.mark.parametrize("seed", range(20))
def test_every_trial_is_committed_once_whatever_is_lost(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def training(trial: Trial, attempt: int) -> Fate:
        seconds = float(rng.exponential(60.0))
        kind = rng.choice(["ok", "failed", "lost"], p=[0.7, 0.15, 0.15])
        if kind == "ok":
            return Fate(Outcome(Status.OK, 1.0), seconds)
        return Fate(Outcome(Status(kind), error=Failure("Simulated", str(kind))), seconds)

    departures = {f"sim-{i}": float(rng.uniform(0, 400)) for i in range(4)}
    executor = SimulatedExecutor(training, workers=6, departures=departures)
    coordinator = Coordinator(Policy(evaluations=60), Fold(), 0.0)
    reason, commits = drive(coordinator, executor)
    told = [c.evaluation for c in commits if isinstance(c, Told)]
    assert reason == "budget"
    assert sorted(e.trial.number for e in told) == list(range(60))
    attempts = [c for c in commits if isinstance(c, Retried)]
    for evaluation in told:
        earlier = [r.attempt for r in attempts if r.number == evaluation.trial.number]
        assert earlier == list(range(evaluation.attempt))


def test_a_run_whose_workers_all_left_waits() -> None:
    def training(trial: Trial, attempt: int) -> Fate:
        return Fate(Outcome(Status.OK, 1.0), 100.0)

    executor = SimulatedExecutor(training, workers=1, departures={"sim-0": 50.0})
    coordinator = Coordinator(Policy(evaluations=3, seconds=1000.0), Fold(), 0.0)
    reason, commits = drive(coordinator, executor, seconds=10.0)
    assert reason == "wall"
    assert [type(c).__name__ for c in commits] == ["Asked", "Retried"]
    assert len(coordinator.history.pending) == 1


def test_a_simulated_training_reports_its_epochs_until_it_ends() -> None:
    def training(trial: Trial, attempt: int) -> Fate:
        return Fate(Outcome(Status.OK, 1.0), 100.0, reports=[{"loss": x} for x in (4, 3, 2, 1)])

    executor = SimulatedExecutor(training, workers=2, departures={"sim-1": 60.0})
    executor.wait(1.0)
    for number in range(2):
        executor.start(Trial(number, {"x": number}, 1), 0, f"sim-{number}")
    heard: dict[int, list[tuple[float, int, float]]] = {0: [], 1: []}
    while executor.now() < 200.0:
        for event in executor.wait(50.0):
            if isinstance(event, Reported):
                heard[event.number].append((executor.now(), event.epoch, event.metrics["loss"]))
    assert heard[0] == [(25.0, 1, 4), (50.0, 2, 3), (75.0, 3, 2), (100.0, 4, 1)]
    assert heard[1] == heard[0][:2]
