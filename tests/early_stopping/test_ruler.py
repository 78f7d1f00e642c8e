"""Curves on one time axis, and what proposals learn of trainings that were stopped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from spot_dask.early_stopping import Curve, rung
from spot_dask.early_stopping.rank import Rank
from spot_dask.early_stopping.ruler import Ruler
from spot_dask.records import (
    Evaluation,
    Failure,
    History,
    Objective,
    Origin,
    Outcome,
    Status,
    Trial,
)
from spot_dask.space import Integer, Real, Space
from spot_dask.tuner import Tuner
from spot_dask.tuner.foreseen import foreseen

nan = math.nan
SPACE = Space(x=Real(0.0, 1.0, default=0.5), epochs=Integer(5, 80, default=20))
RULER = Ruler(Objective("acc", "max"), SPACE, "epochs")


def trial(epochs: int, number: int = 1, x: float = 0.5) -> Trial:
    return Trial(number, {"x": x, "epochs": epochs}, seed=3)


def test_a_training_of_the_default_s_length_is_as_it_is() -> None:
    curve = RULER.curve(trial(20), [3.0, nan, 1.0])
    assert list(map(str, curve.values)) == ["3.0", "nan", "1.0"]
    (row,) = SPACE.features(SPACE.encode([trial(20).config]))
    assert (curve.number, curve.features) == (1, tuple(row))
    assert Ruler(Objective("acc")).curve(trial(5), [3.0]) == Curve([3.0], number=1)


def test_a_shorter_training_reaches_every_rung_at_the_same_share() -> None:
    half = [RULER.curve(trial(10), [5.0] * n) for n in range(1, 11)]
    assert [len(c.values) for c in half] == list(range(2, 21, 2))
    assert [rung(c.values, 4, 2.0) for c in half] == [
        None, 4, None, 8, None, None, None, 16, None, None
    ]  # fmt: skip


def test_a_longer_training_does_so_too_and_its_latest_value_counts() -> None:
    values = [float(n) for n in range(1, 41)]
    long = [RULER.curve(trial(40), values[:n]) for n in range(1, 41)]
    assert [len(c.values) for c in long] == [n // 2 for n in range(1, 41)]
    assert long[8].values == [3.0, 5.0, 7.0, 9.0]
    assert long[9].values == [3.0, 5.0, 7.0, 9.0, 10.0]
    assert [RULER.epoch(trial(40), n) for n in range(5)] == [0, 0, 1, 1, 2]


def test_where_the_parameter_is_not_there_curves_are_as_they_are() -> None:
    inactive = Trial(0, {"x": 0.5}, seed=1)
    assert Ruler(Objective("loss"), None, "epochs").curve(trial(5), [1.0]).values == [1.0]
    assert RULER.epoch(inactive, 7) == 7


def test_ended_trainings_keep_their_ends() -> None:
    t = trial(20)
    ok = Evaluation(t, Outcome(Status.OK, -0.9, curves={"acc": (0.5, 0.9)}))
    stopped = Evaluation(t, Outcome(Status.STOPPED, curves={"acc": (0.5,)}))
    failed = Evaluation(t, Outcome(Status.FAILED, curves={"acc": (0.4,)}, error=Failure("E", "")))
    first, second, third = RULER.ended([ok, stopped, failed])
    assert (first.final, list(first.values), first.stopped) == (-0.9, [-0.5, -0.9], False)
    assert math.isnan(second.final)
    assert second.stopped
    assert (third.final, third.stopped) == (math.inf, False)


# ---------------------------------------------------------------- what proposals learn

TUNER = Tuner(Space(x=Real(0.0, 1.0, default=0.9), y=Real(0.0, 1.0, default=0.1)), seed=4)
STOPPING = replace(TUNER, early_stopping="rank", objective=Objective("loss"))


def told(number: int, x: float, epochs: int) -> Evaluation:
    values = tuple((x - 0.3) ** 2 + 1 / e for e in range(1, epochs + 1))
    t = Trial(number, {"x": x, "y": 0.5}, seed=1, origin=Origin.INFILL)
    if epochs < 20:
        return Evaluation(t, Outcome(Status.STOPPED, curves={"loss": values}))
    return Evaluation(t, Outcome(Status.OK, values[-1], curves={"loss": values}))


def history(finished: int, stopped: int) -> History:
    xs = np.linspace(0.05, 0.95, finished + stopped)
    lengths = [20] * finished + [8] * stopped
    made = [told(n, float(x), e) for n, (x, e) in enumerate(zip(xs, lengths, strict=True))]
    return History(evaluations=tuple(made))


def test_a_stopped_training_counts_as_what_it_would_have_come_to() -> None:
    known = history(8, 4)
    seen = foreseen(known, Rank(), Ruler(Objective("loss"), TUNER.space))
    assert seen.evaluations[:8] == known.evaluations[:8]
    for e in seen.evaluations[8:]:
        assert e.ok
        assert e.y == pytest.approx((e.trial.config["x"] - 0.3) ** 2 + 1 / 20, abs=0.02)
    few = history(2, 4)
    assert foreseen(few, Rank(), Ruler(Objective("loss"), TUNER.space)) == few


def test_proposals_know_it_and_recommendations_do_not() -> None:
    known = history(8, 6)
    asked = STOPPING.ask(known, 3)
    assert asked == STOPPING.ask(replace(known, evaluations=known.evaluations[::-1]), 3)
    assert asked != TUNER.ask(known, 3)
    assert {t.origin for t in asked} == {Origin.INFILL}
    finished = replace(known, evaluations=known.ok)
    best = STOPPING.recommend(known, STOPPING.model(known))
    assert best == TUNER.recommend(finished, TUNER.model(finished))


def test_the_surrogate_chooses_as_soon_as_enough_is_known_or_predicted() -> None:
    few = history(3, 9)
    design = replace(STOPPING.design, initial=8)
    assert {t.origin for t in replace(STOPPING, design=design).ask(few, 2)} == {Origin.INFILL}
    none = replace(TUNER, design=design).ask(history(2, 9), 2)
    assert {t.origin for t in none} == {Origin.DESIGN}


@dataclass(frozen=True)
class Broken:
    def stops(self, curve: Curve, others: Sequence[Curve]) -> bool:
        return False

    def predicts(self, asked: Sequence[Curve], known: Sequence[Curve]) -> Any:
        raise ZeroDivisionError("oops")


def test_a_rule_that_cannot_predict_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    known = history(8, 4)
    assert replace(TUNER, early_stopping=Broken()).ask(known, 2) == TUNER.ask(known, 2)
    assert "early stopping predicts nothing: ZeroDivisionError('oops')" in caplog.messages
