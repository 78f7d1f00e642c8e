"""Whole sessions in virtual time with everything that can go wrong, thousands of workers wide.

The simulated executor itself refuses a slot that is used twice.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np
import pytest
from numpy.random import Generator, default_rng

from benchmarks.memory import MemoryStore
from benchmarks.simulated import Fate, SimulatedExecutor
from spot_dask.coordinator import Policy
from spot_dask.coordinator.state import Coordinator
from spot_dask.fold import Fold
from spot_dask.records import (
    Asked,
    Entry,
    Failure,
    Header,
    History,
    Outcome,
    Record,
    Retried,
    Status,
    Told,
    Trial,
)
from spot_dask.session import Session
from spot_dask.tuner import Tuner

HEADER = Header("run", "chaos", 0.0, {}, "", "loss", "min")
SILENCE = 90.0


class Numbering:
    """Proposes trials that are just numbered."""

    constraints: Mapping[str, str] = {}

    def ask(self, history: History, q: int, stage: object = None) -> tuple[Trial, ...]:
        return tuple(Trial(n, {"x": n}, 1) for n in range(history.asked, history.asked + q))


def chaos(seed: int) -> Callable[[Trial, int], Fate]:
    """Trainings of about a minute of which every third does not simply end well."""

    def training(trial: Trial, attempt: int) -> Fate:
        rng = default_rng([seed, trial.number, attempt])
        seconds = float(rng.lognormal(4.0, 0.5))
        ok = Outcome(Status.OK, float(trial.number))
        return _fate(rng, ok, seconds)

    return training


def _fate(rng: Generator, ok: Outcome, seconds: float) -> Fate:
    match rng.choice(
        ["ok", "failed", "crashed", "memory", "lost", "kills", "hangs", "twice", "late", "mute"],
        p=[0.64, 0.05, 0.04, 0.04, 0.04, 0.05, 0.02, 0.05, 0.05, 0.02],
    ):
        case "failed" | "crashed" | "memory" | "lost" as status:
            return Fate(Outcome(Status(status), error=Failure("Simulated", status)), seconds)
        case "kills":  # the machine is taken away in mid-training
            return Fate(ok, seconds, kills=True)
        case "hangs":
            return Fate(ok, 3000.0, hangs=True)
        case "twice":
            return Fate(ok, seconds, again=float(rng.uniform(0, 200)))
        case "late":
            return Fate(ok, seconds, late=float(rng.uniform(0, 200)))
        case "mute":  # nothing is heard for so long that it is given up; then it ends well
            return Fate(ok, float(rng.uniform(100, 400)), mute=True)
    return Fate(ok, seconds)


def policy(budget: int) -> Policy:
    return Policy(evaluations=budget, silence=SILENCE, give_up=budget)


def resume(store: MemoryStore, budget: int, executor: SimulatedExecutor) -> Coordinator:
    """Run a study to its end from whatever its store holds."""
    past = Fold.of(store.records())
    coordinator = Coordinator(policy(budget), past, executor.now())
    tuner = cast(Tuner, Numbering())
    assert Session(coordinator, tuner, executor, store).run() == "budget"
    return coordinator


def check(store: MemoryStore, budget: int) -> dict[str, int]:
    """Each trial has one evaluation, after one record for each earlier attempt that counted."""
    entries = [record.entry for record in store.records()]
    asked = [trial.number for e in entries if isinstance(e, Asked) for trial in e.trials]
    told = [e.evaluation for e in entries if isinstance(e, Told)]
    assert asked == list(range(budget))
    assert sorted(e.trial.number for e in told) == asked
    retried = Counter(e.number for e in entries if isinstance(e, Retried))
    assert all(e.attempt <= retried[e.trial.number] <= 4 for e in told)
    lost = sum(e.outcome.status is Status.LOST for e in told)
    assert lost <= budget / 100
    return {
        "retried": retried.total(),
        "late": sum(e.attempt < retried[e.trial.number] for e in told),
    }


@pytest.mark.parametrize("seed", range(2))
def test_each_trial_is_committed_once_on_a_thousand_workers(seed: int) -> None:
    rng = default_rng(seed)
    departures = {f"sim-{i}": float(rng.uniform(0, 400)) for i in range(100)}
    executor = SimulatedExecutor(
        chaos(seed), 1000, departures, beat=30.0, deferred=float(rng.uniform(0, 20))
    )
    store = MemoryStore(HEADER)
    began = time.process_time()
    resume(store, 3000, executor)
    seconds = time.process_time() - began
    counts = check(store, 3000)
    assert counts["retried"] > 300
    assert counts["late"] > 0
    # Simulator, journal and heartbeats included; a machine that is busy otherwise counts too.
    assert seconds / 3000 < 0.005


def test_each_trial_is_committed_once_on_thousands_of_workers() -> None:
    workers = int(os.environ.get("SPOT_DASK_TEST_WORKERS", "3000"))
    executor = SimulatedExecutor(chaos(7), workers, beat=60.0)
    store = MemoryStore(HEADER)
    trials = workers + workers // 10
    resume(store, trials, executor)
    assert check(store, trials)["retried"] > trials / 10


def test_workers_of_several_slots_share_and_are_kept_for_one_where_memory_ran_out() -> None:
    executor = SimulatedExecutor(chaos(5), 40, slots=4, beat=30.0)
    store = MemoryStore(HEADER)
    resume(store, 1500, executor)
    check(store, 1500)


def essence(history: History, retried: Mapping[int, tuple[Status, ...]]) -> object:
    """All that resuming depends on; an outcome's NaN would equal nothing."""
    told = [(e.trial, e.attempt, e.outcome.status) for e in history.evaluations]
    return told, history.pending, dict(retried)


class Watched(MemoryStore):
    """A store that notes the coordinator's state after each record."""

    def __init__(self, header: Header) -> None:
        self.states: list[object] = []
        self.coordinator: Coordinator | None = None
        super().__init__(header)

    def commit(self, entries: Sequence[Entry]) -> list[Record]:
        records = super().commit(entries)
        if self.coordinator is not None:
            state = essence(self.coordinator.history, self.coordinator._fold.retried)
            self.states += [state for _ in records]
        return records


def test_every_prefix_of_the_journal_resumes_to_the_same_state_and_budget() -> None:
    budget = 60
    store = Watched(HEADER)
    executor = SimulatedExecutor(chaos(3), 12, beat=30.0)
    past = Fold.of(store.records())
    store.coordinator = Coordinator(policy(budget), past, 0.0)
    tuner = cast(Tuner, Numbering())
    Session(store.coordinator, tuner, executor, store).run()
    records = store.records()
    kinds = Counter(type(record.entry).__name__ for record in records)
    assert kinds["Retried"] > 5
    compared = 0
    for n in range(1, len(records) - 1):
        prefix = MemoryStore(HEADER)
        prefix._log = list(records[:n])
        again = Fold.of(prefix.records())
        # What follows from one turn of the loop is decided and then written at once.
        if n > 1 and store.states[n - 2] != store.states[n - 1]:
            assert essence(again.history, again.retried) == store.states[n - 2]
            compared += 1
        if n % 7 == 1:
            resumed = prefix.resume()
            resume(resumed, budget, SimulatedExecutor(chaos(n), 12, beat=30.0))
            check(resumed, budget)
    assert compared > 0.8 * len(records)


def test_the_clock_of_utilisation_shows_proposals_ahead_of_demand() -> None:
    """With proposals of 3 s for trainings of a minute, slots hardly wait."""

    def training(trial: Trial, attempt: int) -> Fate:
        seconds = default_rng(trial.number).lognormal(4.0, 0.5)
        return Fate(Outcome(Status.OK, 1.0), float(seconds))

    spent = {}
    for ahead in (True, False):
        executor = SimulatedExecutor(training, 64, deferred=3.0)
        coordinator = Coordinator(Policy(evaluations=1280, ahead=ahead), Fold(), 0.0)
        tuner = cast(Tuner, Numbering())
        store = MemoryStore(HEADER)
        Session(coordinator, tuner, executor, store).run()
        busy = sum(e.outcome.seconds for e in coordinator.history.evaluations)
        last = max(e.outcome.finished for e in coordinator.history.evaluations)
        spent[ahead] = busy / (64 * last)
    bound = _list_scheduling(64, 1280)
    assert spent[True] > 0.97 * bound
    assert spent[True] > spent[False] + 0.01


def _list_scheduling(workers: int, trials: int) -> float:
    """Utilisation where no slot ever waits."""
    ends = np.zeros(workers)
    seconds = [float(default_rng(n).lognormal(4.0, 0.5)) for n in range(trials)]
    for duration in seconds:
        ends[ends.argmin()] += duration
    return float(sum(seconds) / (workers * ends.max()))


class Shared(MemoryStore):
    """A store in which trainings leave their results; only what nobody hears of is read."""

    def left(self, number: int, attempt: int) -> Outcome | None:
        return Outcome(Status.OK, float(number)) if number % 2 == 0 else None


def test_a_result_that_was_left_in_the_store_is_not_trained_again() -> None:
    def training(trial: Trial, attempt: int) -> Fate:
        lost = Outcome(Status.LOST, error=Failure("Cancelled", "nobody heard of it"))
        if attempt == 0:
            return Fate(lost, 60.0, kills=trial.number % 4 < 2)
        return Fate(Outcome(Status.OK, -1.0), 60.0)

    store = Shared(HEADER)
    resume(store, 40, SimulatedExecutor(training, 4))
    entries = [record.entry for record in store.records()]
    assert sorted(e.number for e in entries if isinstance(e, Retried)) == list(range(1, 40, 2))
    told = {e.evaluation.trial.number: e.evaluation for e in entries if isinstance(e, Told)}
    assert [told[n].y for n in range(40)] == [-1.0 if n % 2 else n for n in range(40)]
