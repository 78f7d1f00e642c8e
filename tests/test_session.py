"""The loop between coordinator, executor and store: what is durable before what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from benchmarks.memory import MemoryStore
from spot_dask.coordinator import Event, Finished, Joined, Left, Policy
from spot_dask.coordinator.state import Coordinator
from spot_dask.errors import StoreError
from spot_dask.fold import Fold
from spot_dask.records import Entry, Header, History, Outcome, Record, Status, Told, Trial
from spot_dask.session import Session
from spot_dask.tuner import Tuner

HEADER = Header("run", "session", 0.0, {}, "", "loss", "min")


Lose = Callable[[Sequence[Finished]], list[Event]]
"""What arrives instead of the ends of trainings."""


class Story:
    """Executor, tuner and store that note what is done, in order; four trainings end at once."""

    concurrent = True

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

    def ask(self, history: History, q: int) -> tuple[Trial, ...]:
        self.done.append("propose")
        return tuple(Trial(history.asked + i, {}, 0) for i in range(q))

    def model(self, history: History) -> None:
        """There is none."""

    def recommend(self, history: History, model: None) -> None:
        """There is nothing to recommend."""

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
    with pytest.raises(StoreError, match="no such luck"):
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
