"""The recommendation that is shown while a run goes on."""

from __future__ import annotations

import math

import pytest

from spot_dask import Real, Space
from spot_dask.records import Evaluation, History, Outcome, Status, Trial
from spot_dask.session import Incumbent
from spot_dask.tuner import Tuner

SPACE = Space(x=Real(0.0, 1.0, default=0.5))


def history(*values: float) -> History:
    trials = [Trial(i, {"x": i / 10}, seed=0) for i in range(len(values))]
    pairs = zip(trials, values, strict=True)
    return History(tuple(Evaluation(trial, Outcome(Status.OK, y)) for trial, y in pairs))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_what_was_observed_since_the_last_look_counts_if_it_is_better(clock: list[float]) -> None:
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
    assert (better.evaluation.trial.number, better.observed) == (5, -1.0)


def test_looks_take_a_small_share_of_the_time(clock: list[float]) -> None:
    class Slow(Tuner):
        def model(self, history: History) -> None:
            clock[0] += 1.0

    incumbent = Incumbent(Slow(SPACE))
    assert not incumbent.begin(History())
    assert incumbent.begin(history(0.5))
    assert not incumbent.begin(history(0.5))  # somebody looks
    incumbent.look(history(0.5))
    clock[0] = 49.0
    assert not incumbent.begin(history(0.5, 0.4))
    clock[0] = 50.0
    assert not incumbent.begin(history(0.5))
    assert incumbent.begin(history(0.5, 0.4))


def test_a_look_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Tuner):
        def model(self, history: History) -> None:
            raise ValueError("no model")

    incumbent = Incumbent(Broken(SPACE))
    assert incumbent.begin(history(0.5))
    incumbent.look(history(0.5))
    assert "no model" in caplog.text
    assert not incumbent.begin(history(0.5, 0.4))  # not at once
