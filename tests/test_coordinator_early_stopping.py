"""When the coordinator stops a training early, and what becomes of it, by scripted events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from spot_dask.coordinator import (
    Commit,
    Finished,
    Instruction,
    Joined,
    Left,
    Policy,
    Propose,
    Proposed,
    Reported,
    Say,
    Start,
    StopEarly,
    Tick,
)
from spot_dask.coordinator.state import Coordinator
from spot_dask.early_stopping import Curve, Rule
from spot_dask.early_stopping.asha import Asha
from spot_dask.early_stopping.curve import LEAST, Unpromising
from spot_dask.early_stopping.rank import Rank
from spot_dask.fold import Fold
from spot_dask.records import (
    Asked,
    Evaluation,
    Failure,
    Objective,
    Origin,
    Outcome,
    Status,
    Told,
    Trial,
)
from spot_dask.space import Integer, Real, Space

OBJECTIVE = Objective("acc", "max")


def trial(number: int, origin: Origin = Origin.INFILL) -> Trial:
    return Trial(number, {"x": number / 100}, seed=1, origin=origin)


def policy(rule: Rule | None, **more: Any) -> Policy:
    return Policy(objective=OBJECTIVE, early_stopping=rule, **more)


def begun(rule: Rule | None, trials: Sequence[Trial], **more: Any) -> Coordinator:
    """A coordinator whose trials all run on one worker."""
    coordinator = Coordinator(policy(rule, **more), Fold(), now=0.0)
    feed(coordinator, Joined("w", len(trials)), Tick())
    feed(coordinator, Proposed(tuple(trials)))
    return coordinator


def feed(coordinator: Coordinator, *events: Any) -> list[Instruction]:
    return [i for event in events for i in coordinator.handle(event, 0.0)]


def reported(number: int, epoch: int, acc: float, attempt: int = 0) -> Reported:
    return Reported(number, attempt, epoch, {"acc": acc, "loss": -acc})


def stopped(*acc: float) -> Outcome:
    return Outcome(Status.STOPPED, metrics={"acc": acc[-1]}, curves={"acc": acc})


def done(*acc: float) -> Outcome:
    return Outcome(Status.OK, -acc[-1], curves={"acc": acc})


def test_the_worse_of_two_is_stopped_once_and_its_evaluation_is_stored() -> None:
    coordinator = begun(Asha(min_epochs=1), [trial(0), trial(1)], evaluations=3)
    assert feed(coordinator, reported(0, 1, 0.9), reported(0, 3, 0.9)) == []
    assert feed(coordinator, reported(1, 1, 0.5)) == [StopEarly(1, 0, "w")]
    assert coordinator.running[1].stopping
    assert feed(coordinator, reported(1, 2, 0.4), reported(1, 3, 0.3)) == []
    outcome = stopped(0.5, 0.4, 0.3)
    told = feed(coordinator, Finished(1, 0, outcome), Tick())
    assert told == [Commit(Told(Evaluation(trial(1), outcome))), Propose(1)]
    assert [e.trial.number for e in coordinator.history.stopped] == [1]
    assert coordinator.history.failed == ()


def test_without_a_rule_nothing_is_stopped() -> None:
    coordinator = begun(None, [trial(0), trial(1)])
    assert feed(coordinator, reported(0, 1, 0.9), reported(1, 1, 0.1)) == []


@pytest.mark.parametrize("origin", sorted(set(Origin) - {Origin.INFILL, Origin.FALLBACK}))
def test_the_initial_design_and_replicates_run_to_their_end(origin: Origin) -> None:
    coordinator = begun(Asha(min_epochs=1), [trial(0), trial(1, origin)])
    assert feed(coordinator, reported(0, 1, 0.9), reported(1, 1, 0.1)) == []
    assert feed(coordinator, reported(0, 3, 0.9), reported(1, 3, 0.1)) == []


def test_a_training_as_long_as_any_before_is_not_stopped_at_its_very_end() -> None:
    trials = [trial(0), trial(1), trial(2)]
    coordinator = begun(Asha(eta=2.0, min_epochs=1), trials)
    feed(coordinator, Finished(0, 0, done(0.6, 0.7, 0.8, 0.9)))
    assert feed(coordinator, reported(1, 1, 0.7), reported(1, 4, 0.1)) == []
    feed(coordinator, Finished(1, 0, stopped(0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.1)))
    assert feed(coordinator, reported(2, 2, 0.1)) == [StopEarly(2, 0, "w")]


def test_a_training_that_was_faster_than_its_stop_counts_in_full() -> None:
    coordinator = begun(Asha(min_epochs=1), [trial(0), trial(1)])
    feed(coordinator, reported(0, 1, 0.9), reported(1, 1, 0.5))
    feed(coordinator, Finished(1, 0, done(0.5, 0.95)))
    assert [e.trial.number for e in coordinator.history.ok] == [1]


def test_a_training_that_is_lost_while_it_is_stopped_is_judged_anew() -> None:
    coordinator = begun(Asha(min_epochs=1), [trial(0), trial(1)])
    feed(coordinator, reported(0, 1, 0.9), reported(1, 1, 0.5))
    again = feed(coordinator, Left("w"), Joined("v", 2))
    assert Start(trial(1), 1, "v") in again
    assert not coordinator.running[1].stopping
    feed(coordinator, reported(0, 1, 0.9, attempt=1))
    assert feed(coordinator, reported(1, 1, 0.5, attempt=0)) == []
    assert feed(coordinator, reported(1, 1, 0.5, attempt=1)) == [StopEarly(1, 1, "v")]


def test_another_attempt_is_not_judged_by_the_curve_of_the_one_before() -> None:
    coordinator = begun(Asha(min_epochs=1), [trial(0), trial(1)])
    feed(coordinator, reported(0, 1, 0.9), reported(1, 1, 0.5))
    feed(coordinator, Left("w"), Joined("v", 2))
    assert feed(coordinator, reported(0, 1, 0.9, attempt=1)) == []
    assert feed(coordinator, reported(1, 1, 0.95, attempt=1)) == []


def test_a_training_does_not_count_among_those_that_it_is_compared_with() -> None:
    coordinator = begun(Asha(min_epochs=1), [trial(n) for n in range(5)])
    for number, acc in enumerate([0.9, 0.2, 0.1, 0.1]):
        feed(coordinator, reported(number, 1, acc))
    assert feed(coordinator, reported(4, 1, 0.5)) == [StopEarly(4, 0, "w")]


def test_an_epoch_is_the_one_that_is_reported_whatever_came_before() -> None:
    coordinator = begun(Asha(min_epochs=3), [trial(0), trial(1), trial(2)])
    assert feed(coordinator, reported(0, 3, 0.9), reported(1, 1, 0.5)) == []
    assert feed(coordinator, reported(1, 1, 0.5), reported(1, 1, 0.5)) == []
    assert feed(coordinator, reported(2, 3, 0.5)) == [StopEarly(2, 0, "w")]


def test_a_report_without_the_objective_is_no_occasion_to_judge() -> None:
    coordinator = begun(Asha(min_epochs=1), [trial(0), trial(1)])
    assert feed(coordinator, reported(0, 1, 0.5), reported(1, 1, 0.9)) == []
    assert feed(coordinator, Reported(0, 0, 2, {"loss": 1.0})) == []


def recorded(*evaluations: Evaluation) -> Fold:
    """What earlier sessions have left that had these evaluations."""
    fold = Fold()
    fold.add(Asked([e.trial for e in evaluations]))
    for evaluation in evaluations:
        fold.add(Told(evaluation))
    return fold


def test_curves_are_told_with_the_results_of_what_ran_to_its_end() -> None:
    ended = tuple(Evaluation(trial(n), done(n / 10, n / 5)) for n in range(LEAST))
    coordinator = Coordinator(policy(Unpromising(min_epochs=1)), recorded(*ended), 0.0)
    feed(coordinator, Joined("w", 1), Tick(), Proposed((trial(9),)))
    assert feed(coordinator, reported(9, 1, -9.0)) == [StopEarly(9, 0, "w")]


def test_the_curves_of_earlier_sessions_count() -> None:
    early = Evaluation(trial(0), done(0.9, 0.95))
    coordinator = Coordinator(policy(Asha(min_epochs=1)), recorded(early), 0.0)
    feed(coordinator, Joined("w", 1), Tick(), Proposed((trial(1),)))
    assert feed(coordinator, reported(1, 1, 0.5)) == [StopEarly(1, 0, "w")]


def test_a_stopped_training_is_neither_a_failure_nor_a_reason_to_give_up_or_quarantine() -> None:
    coordinator = Coordinator(policy(Asha(min_epochs=1), give_up=3), Fold(), 0.0)
    feed(coordinator, Joined("w", 8, "a"), Joined("v", 1, "b"), Tick())
    feed(coordinator, Proposed(tuple(trial(n) for n in range(9))))
    for number in range(1, 9):
        said = feed(coordinator, Finished(number, 0, stopped(0.1)))
        assert [type(i) for i in said] == [Commit]
    assert coordinator.stopping is None
    assert coordinator.fleet.free == 8


def test_a_training_that_does_not_report_the_objective_is_complained_about_once() -> None:
    coordinator = begun(Asha(min_epochs=1), [trial(n) for n in range(3)])
    feed(coordinator, Reported(0, 0, 1, {"loss": 1.0}))
    said: list[Instruction] = []
    for number in range(3):
        outcome = Outcome(Status.OK, 1.0, curves={"loss": (1.0,)})
        said += feed(coordinator, Finished(number, 0, outcome))
    (line,) = [i.message for i in said if isinstance(i, Say)]
    assert line == (
        "early stopping needs acc by epoch, but the training reports loss: nothing is stopped "
        "early; call trial.report(epoch, acc=...) after each epoch"
    )


def test_a_failed_training_is_not_complained_about() -> None:
    coordinator = begun(Asha(min_epochs=1), [trial(0)])
    outcome = Outcome(Status.FAILED, error=Failure("ValueError", "bad"))
    assert [type(i) for i in feed(coordinator, Finished(0, 0, outcome))] == [Commit]


def test_chance_lets_the_share_go_on_and_it_is_recorded_where() -> None:
    trials = [trial(0), *(trial(n) for n in range(1, 401))]
    coordinator = begun(Asha(min_epochs=1), trials, spare=0.25)
    feed(coordinator, reported(0, 1, 0.9))
    worse = [feed(coordinator, reported(n, 1, 0.5 - n / 1000)) for n in range(1, 401)]
    spared = [n for n, said in enumerate(worse, 1) if not said]
    assert abs(len(spared) / 400 - 0.25) < 5 * (0.25 * 0.75 / 400) ** 0.5
    again = begun(Asha(min_epochs=1), trials, spare=0.25)
    feed(again, reported(0, 1, 0.9))
    once_more = [feed(again, reported(n, 1, 0.5 - n / 1000)) for n in range(1, 401)]
    assert once_more == worse
    number = spared[0]
    assert feed(coordinator, reported(number, 3, 0.1)) == []  # it is not judged again
    feed(coordinator, Finished(number, 0, done(0.5, 0.5, 0.1, 0.2)))
    feed(coordinator, Finished(0, 0, done(0.9, 0.9, 0.9, 0.9)))
    assert {e.trial.number: e.spared for e in coordinator.history.ok} == {number: 1, 0: 0}


def test_a_spared_training_that_is_lost_is_spared_again_where_it_is_judged() -> None:
    numbers = range(1, 60)
    coordinator = begun(Asha(min_epochs=1), [trial(0), *map(trial, numbers)], spare=0.5)
    feed(coordinator, reported(0, 1, 0.9))
    spared = [n for n in numbers if not feed(coordinator, reported(n, 1, 0.5))]
    feed(coordinator, Left("w"), Joined("v", 60))
    feed(coordinator, reported(0, 1, 0.9, attempt=1))
    assert [n for n in numbers if not feed(coordinator, reported(n, 1, 0.5, attempt=1))] == spared
    good = spared[0]
    feed(coordinator, Left("v"), Joined("u", 60))
    feed(coordinator, reported(good, 1, 0.95, attempt=2))
    feed(coordinator, Finished(good, 2, done(0.95, 0.95)))
    assert [e.spared for e in coordinator.history.ok] == [0]


@pytest.mark.parametrize("origin", [Origin.DESIGN, Origin.PRIOR])
def test_a_rule_may_judge_the_initial_design_too_but_never_the_default(origin: Origin) -> None:
    trials = [trial(0, Origin.DEFAULT), trial(1, origin), trial(2, Origin.USER), trial(3)]
    coordinator = begun(Rank(min_epochs=1), trials)
    assert feed(coordinator, reported(3, 1, 0.9), reported(0, 1, 0.1)) == []
    assert feed(coordinator, reported(1, 1, 0.1)) == [StopEarly(1, 0, "w")]
    assert feed(coordinator, reported(2, 1, 0.1)) == []


def test_a_rule_sees_configurations_and_what_was_told_to_stop() -> None:
    seen: list[tuple[Curve, Sequence[Curve]]] = []

    class Watches:
        def stops(self, curve: Curve, others: Sequence[Curve]) -> bool:
            seen.append((curve, others))
            return curve.number == 1

    space = Space(x=Real(0.0, 1.0, default=0.5))
    coordinator = begun(Watches(), [trial(0), trial(1), trial(2)], space=space)
    feed(coordinator, *(reported(n, 1, 0.5) for n in range(3)))
    curve, others = seen[-1]
    assert (curve.number, curve.features) == (2, (0.02,))
    assert [(o.number, o.features, o.stopped) for o in others] == [
        (0, (0.0,), False),
        (1, (0.01,), True),
    ]


def test_trainings_of_different_lengths_are_judged_at_equal_shares() -> None:
    space = Space(x=Real(0.0, 1.0, default=0.5), n=Integer(2, 80, default=8))

    def long(number: int, epochs: int) -> Trial:
        return replace(trial(number), config={"x": 0.5, "n": epochs})

    trials = [long(0, 8), long(1, 16), long(2, 4)]
    rule = Asha(eta=2.0, min_epochs=2)
    coordinator = begun(rule, trials, space=space, length="n")
    assert feed(coordinator, reported(0, 1, 0.9), reported(0, 2, 0.9)) == []
    assert feed(coordinator, *(reported(1, epoch, 0.1) for epoch in (1, 2, 3))) == []
    assert feed(coordinator, reported(1, 4, 0.1)) == [StopEarly(1, 0, "w")]
    assert feed(coordinator, reported(2, 1, 0.1)) == [StopEarly(2, 0, "w")]


@dataclass(frozen=True)
class Broken:
    def stops(self, curve: Curve, others: Sequence[Curve]) -> bool:
        raise ZeroDivisionError("oops")


def test_a_rule_that_fails_stops_nothing_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    coordinator = begun(Broken(), [trial(0), trial(1)])
    assert feed(coordinator, reported(0, 1, 0.9), reported(1, 1, 0.1)) == []
    (line,) = caplog.messages
    assert "early stopping failed (ZeroDivisionError('oops')): nothing is stopped" in line
