"""A session: what is durable before what, the recommendation meanwhile, and signals."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import pytest

from benchmarks.memory import MemoryStore
from spot_dask import Real, Space
from spot_dask.coordinator import Detach, Drain, Event, Finished, Halt, Joined, Left, Policy
from spot_dask.coordinator.state import Coordinator
from spot_dask.errors import StoreError
from spot_dask.fold import Fold
from spot_dask.records import (
    Entry,
    Evaluation,
    Header,
    History,
    Outcome,
    Record,
    Status,
    Told,
    Trial,
)
from spot_dask.session import Ending, Incumbent, Session, as_events
from spot_dask.tuner import Tuner
from spot_dask.tuner.model import Best

HEADER = Header("run", "session", 0.0, {}, "", "loss", "min")


Lose = Callable[[Sequence[Finished]], list[Event]]
"""What arrives instead of the ends of trainings."""


class Story:
    """Executor, tuner and store that note what is done, in order; four trainings end at once."""

    concurrent = True
    within = None
    constraints: ClassVar[dict[str, str]] = {}

    def __init__(self, fail: int | None = None, lose: Lose | None = None) -> None:
        self.done: list[str] = []
        self.running: list[tuple[int, int]] = []
        self.deferred: list[Event] = [Joined("w", 4)]
        self.fail = fail
        self.lose = lose
        story = self

        class Store(MemoryStore):
            def commit(self, entries: Sequence[Entry]) -> list[Record]:
                story.done.append("+".join(type(entry).__name__ for entry in entries))
                if len(story.done) == story.fail:
                    raise StoreError("no such luck")
                return super().commit(entries)

            def left(self, number: int, attempt: int) -> Outcome:  # type: ignore[override]
                return Outcome(Status.OK, float(number))

        self.store = Store(HEADER)

    def now(self) -> float:
        return 0.0

    def start(self, trial: Trial, attempt: int, worker: str) -> None:
        self.done.append(f"start {trial.number}")
        self.running.append((trial.number, attempt))

    def defer(self, work: Callable[[], Event]) -> None:
        self.deferred.append(work())

    def listen(self, hear: Callable[[Event], None]) -> None:
        """Nothing happens while the session waits."""

    def wait(self, seconds: float) -> list[Event]:
        events, self.deferred = self.deferred, []
        if not events:
            ends = [Finished(n, a, Outcome(Status.OK, float(n))) for n, a in self.running]
            events = list(ends) if self.lose is None else self.lose(ends)
            self.running = []
        return events

    def ask(self, history: History, q: int, stage: object = None) -> tuple[Trial, ...]:
        self.done.append("propose")
        return tuple(Trial(history.asked + i, {}, 0) for i in range(q))

    def model(self, history: History) -> None:
        """There is none."""

    def recommend(self, history: History, model: None) -> None:
        """There is nothing to recommend."""

    def ranked(self, history: History, model: None) -> list[Best]:
        return []

    def seen(self, evaluations: Sequence[Evaluation], history: History) -> list[Best]:
        return [Best((e,)) for e in evaluations]

    def run(self) -> str:
        coordinator = Coordinator(Policy(evaluations=8), Fold(), 0.0)
        session = Session(
            coordinator, cast(Tuner, self), cast(Any, self), self.store, lambda _: None
        )
        return session.run()


def test_trainings_that_end_in_one_turn_are_one_commit_before_anything_follows() -> None:
    story = Story()
    assert story.run() == "budget"
    first = [f"start {n}" for n in range(4)]
    then = [f"start {n}" for n in range(4, 8)]
    told = "Told+Told+Told+Told"
    assert story.done == [
        "Opened", "propose", "Asked", *first, told, "propose", "Asked", *then, told, "Closed",
    ]  # fmt: skip
    assert [record.seq for record in story.store.records()] == [0, 1, *[2] * 4, 3, *[4] * 4, 5]


@pytest.mark.parametrize("fail", [3, 8, 10])
def test_nothing_follows_from_what_could_not_be_committed(fail: int) -> None:
    story = Story(fail)
    with pytest.raises(StoreError):
        story.run()
    assert len(story.done) == fail
    assert story.done[-1] in ("Asked", "Told+Told+Told+Told")


def lost(ends: Sequence[Finished]) -> list[Event]:
    """Dask has lost the results on their way."""
    return [Finished(end.number, end.attempt, Outcome(Status.LOST)) for end in ends]


def left(ends: Sequence[Finished]) -> list[Event]:
    """The worker has gone, and another one has come."""
    return [Left("w"), Joined("w", 4)]


@pytest.mark.parametrize("lose", [lost, left])
def test_a_result_that_was_left_in_the_store_is_taken_and_not_trained_again(lose: Lose) -> None:
    story = Story(lose=lose)
    assert story.run() == "budget"
    told = [r.entry.evaluation for r in story.store.records() if isinstance(r.entry, Told)]
    assert [(e.trial.number, e.attempt, e.outcome.y) for e in told] == [
        (n, 0, float(n)) for n in range(8)
    ]
    assert sorted(line for line in story.done if line.startswith("start")) == [
        f"start {n}" for n in range(8)
    ]


# --- the recommendation while a run goes on -------------------------------------------------------


SPACE = Space(x=Real(0.0, 1.0, default=0.5))


def history(*values: float) -> History:
    trials = [Trial(i, {"x": i / 10}, seed=0) for i in range(len(values))]
    pairs = zip(trials, values, strict=True)
    return History(tuple(Evaluation(trial, Outcome(Status.OK, y)) for trial, y in pairs))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: moment[0])
    return moment


def test_what_was_observed_since_the_last_look_counts_if_it_is_better(now: list[float]) -> None:
    incumbent = Incumbent(Tuner(SPACE))
    assert incumbent.of(History()) is None
    before = history(0.5, 0.4, 0.2, 0.1, 0.15)
    incumbent.look(before)
    looked = incumbent.of(before)
    assert looked == Tuner(SPACE).recommend(before, Tuner(SPACE).model(before))
    assert looked is not None
    assert math.isfinite(looked.sd)
    assert incumbent.of(history(0.5, 0.4, 0.2, 0.1, 0.15, 0.3)) == looked
    better = incumbent.of(history(0.5, 0.4, 0.2, 0.1, 0.15, -1.0))
    assert better is not None
    assert (better.trial, better.observed) == (5, -1.0)


def test_looks_take_a_small_share_of_the_time(now: list[float]) -> None:
    class Slow(Tuner):
        def model(self, history: History) -> None:
            now[0] += 1.0

    incumbent = Incumbent(Slow(SPACE))
    assert not incumbent.begin(History())
    assert incumbent.begin(history(0.5))
    assert not incumbent.begin(history(0.5))  # somebody looks
    incumbent.look(history(0.5))
    now[0] = 49.0
    assert not incumbent.begin(history(0.5, 0.4))
    now[0] = 50.0
    assert not incumbent.begin(history(0.5))
    assert incumbent.begin(history(0.5, 0.4))


def test_a_look_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def fit(self, X: object, y: object) -> None:
            raise ValueError("of the user")

    incumbent = Incumbent(Tuner(SPACE, surrogate=Broken()))
    assert incumbent.begin(history(0.5, 0.4))
    incumbent.look(history(0.5, 0.4))
    assert "of the user" in caplog.text
    best = incumbent.of(history(0.5, 0.4))
    assert best is not None
    assert best.observed == 0.4
    assert not incumbent.begin(history(0.5, 0.4, 0.3))  # not at once


# --- signals --------------------------------------------------------------------------------------


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes this process would have exited with."""
    codes: list[int] = []
    monkeypatch.setattr("spot_dask.session.os._exit", codes.append)
    return codes


def test_the_first_drains_the_second_halts_the_third_exits(exits: list[int]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with as_events(Ending()) as arrived:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        assert list(arrived) == [Drain("SIGINT", math.inf), Halt("SIGINT")]
    assert exits == [130]
    assert signal.getsignal(signal.SIGINT) is before


def test_grace_is_for_sigterm(exits: list[int]) -> None:
    with as_events(Ending(grace=7.0)) as arrived:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    assert list(arrived) == [Drain("SIGTERM", 7.0), Halt("SIGINT")]
    assert exits == [143]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_detaching_leaves_what_runs(name: str) -> None:
    with as_events(Ending(grace=7.0, detach=True)) as arrived:
        os.kill(os.getpid(), signal.Signals[name])
    assert list(arrived) == [Detach(name)]
