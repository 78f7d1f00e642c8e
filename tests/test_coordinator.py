"""The coordinator's decisions, by scripted events: no cluster, no clock, no store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from spot_dask.coordinator import (
    Attached,
    Beat,
    Commit,
    Detach,
    Drain,
    Event,
    Finish,
    Finished,
    Halt,
    Instruction,
    Joined,
    Kill,
    Left,
    Policy,
    Propose,
    Proposed,
    Reported,
    Retries,
    Say,
    Start,
    Stop,
    Tick,
)
from spot_dask.coordinator.state import Coordinator, Pace
from spot_dask.fold import Fold
from spot_dask.records import (
    Asked,
    Entry,
    Evaluation,
    Failure,
    Objective,
    Origin,
    Outcome,
    Retried,
    Status,
    Told,
    Trial,
)


def trials(*numbers: int) -> tuple[Trial, ...]:
    return tuple(Trial(n, {"x": n / 100}, seed=1) for n in numbers)


def ok(y: float = 1.0) -> Outcome:
    return Outcome(Status.OK, y)


def failed() -> Outcome:
    return Outcome(Status.FAILED, error=Failure("ValueError", "bad"))


def lost() -> Outcome:
    return Outcome(Status.LOST, error=Failure("WorkerLost", "gone"))


def feed(coordinator: Coordinator, events: Iterable[Event], now: float = 0.0) -> list[Instruction]:
    return [i for event in events for i in coordinator.handle(event, now)]


def begun(policy: Policy, slots: int = 2) -> Coordinator:
    """A coordinator with one worker of so many slots, all of them training."""
    coordinator = Coordinator(policy, Fold(), now=0.0)
    proposed = feed(coordinator, [Joined("w", slots), Tick()])
    assert isinstance(proposed[0], Propose)
    feed(coordinator, [Proposed(trials(*range(proposed[0].q)))])
    return coordinator


def test_nothing_is_proposed_before_a_worker_is_there() -> None:
    coordinator = Coordinator(Policy(evaluations=4), Fold(), now=0.0)
    assert feed(coordinator, [Tick(), Tick()]) == []
    assert feed(coordinator, [Joined("w", 3), Tick()]) == [Propose(3)]


def test_trials_are_in_the_journal_before_they_start() -> None:
    coordinator = Coordinator(Policy(evaluations=4), Fold(), now=0.0)
    feed(coordinator, [Joined("w", 2), Tick()])
    a, b = trials(0, 1)
    assert feed(coordinator, [Proposed((a, b))]) == [
        Commit(Asked((a, b), 0, 2)),
        Start(a, 0, "w"),
        Start(b, 0, "w"),
    ]


def test_a_free_slot_is_refilled_and_the_result_committed_first() -> None:
    coordinator = begun(Policy(evaluations=10))
    done = feed(coordinator, [Finished(0, 0, ok()), Tick()])
    assert done == [Commit(Told(Evaluation(trials(0)[0], ok()))), Propose(1)]


def test_results_that_arrive_together_are_answered_by_one_batch() -> None:
    coordinator = begun(Policy(evaluations=10), slots=3)
    done = feed(coordinator, [Finished(0, 0, ok()), Finished(2, 0, ok()), Tick()])
    assert [type(i) for i in done] == [Commit, Commit, Propose]
    assert done[-1] == Propose(2)


def test_only_one_proposal_is_awaited_at_a_time() -> None:
    coordinator = begun(Policy(evaluations=10))
    assert feed(coordinator, [Finished(0, 0, ok()), Tick()])[-1] == Propose(1)
    assert Propose(1) not in feed(coordinator, [Finished(1, 0, ok()), Tick()])


def running_slowly(policy: Policy, slots: int = 4) -> Coordinator:
    """A coordinator whose proposals take 3 s and whose trainings take 10 s."""
    coordinator = Coordinator(policy, Fold(), now=0.0)
    feed(coordinator, [Joined("w", slots), Tick()])
    feed(coordinator, [Proposed(trials(*range(slots)))], now=3.0)
    return coordinator


def test_slow_proposals_are_made_before_slots_are_free() -> None:
    coordinator = running_slowly(Policy(evaluations=50))
    done = feed(coordinator, [Finished(0, 0, ok()), Tick()], now=13.0)
    assert done[-1] == Propose(3)  # one slot is free, two more will be when the answer is there
    done = feed(coordinator, [Finished(1, 0, ok()), Tick()], now=14.0)
    assert [type(i) for i in done] == [Commit]
    done = feed(coordinator, [Proposed(trials(4, 5, 6)), Tick()], now=16.0)
    assert done[0] == Commit(Asked(trials(4, 5, 6), 1, 3))  # 5 has its slot, 6 waits for one
    assert [i.trial.number for i in done if isinstance(i, Start)] == [4, 5]
    assert done[-1] == Propose(1)
    done = feed(coordinator, [Finished(2, 0, ok()), Tick()], now=17.0)
    assert done[-1] == Start(trials(6)[0], 0, "w")


@pytest.mark.parametrize(
    "policy",
    [Policy(evaluations=50, ahead=False), Policy(evaluations=50, batch=4, sync=True)],
    ids=["asked not to", "sync"],
)
def test_nothing_is_proposed_ahead(policy: Policy) -> None:
    coordinator = running_slowly(policy)
    done = feed(coordinator, [Finished(0, 0, ok()), Tick()], now=13.0)
    assert [i for i in done if isinstance(i, Propose)] == ([] if policy.sync else [Propose(1)])


def test_quick_proposals_are_made_when_a_slot_is_free() -> None:
    coordinator = Coordinator(Policy(evaluations=50), Fold(), now=0.0)
    feed(coordinator, [Joined("w", 2), Tick()])
    feed(coordinator, [Proposed(trials(0, 1))], now=0.05)
    assert feed(coordinator, [Finished(0, 0, ok()), Tick()], now=10.05)[-1] == Propose(1)


def test_proposals_ahead_stay_within_the_budget() -> None:
    coordinator = running_slowly(Policy(evaluations=5))
    assert feed(coordinator, [Finished(0, 0, ok()), Tick()], now=13.0)[-1] == Propose(1)


def test_a_proposal_that_comes_after_the_drain_is_dropped() -> None:
    coordinator = running_slowly(Policy(evaluations=50), slots=1)
    feed(coordinator, [Finished(0, 0, ok()), Tick()], now=13.0)
    assert feed(coordinator, [Drain("SIGINT")], now=14.0) == [Finish("SIGINT")]
    assert len(coordinator.history.pending) == 0


def test_batch_limits_how_many_are_proposed_together() -> None:
    coordinator = Coordinator(Policy(evaluations=10, batch=2), Fold(), now=0.0)
    assert feed(coordinator, [Joined("w", 5), Tick()]) == [Propose(2)]
    assert feed(coordinator, [Proposed(trials(0, 1)), Tick()])[-1] == Propose(2)


def test_a_synchronous_run_waits_for_the_whole_batch() -> None:
    coordinator = Coordinator(Policy(evaluations=10, batch=3, sync=True), Fold(), now=0.0)
    assert feed(coordinator, [Joined("w", 2), Tick()]) == [Propose(3)]
    assert len(feed(coordinator, [Proposed(trials(0, 1, 2)), Tick()])) == 3  # commit and two starts
    assert feed(coordinator, [Finished(0, 0, ok()), Tick()])[-1] == Start(trials(2)[0], 0, "w")
    assert len(feed(coordinator, [Finished(1, 0, ok()), Tick()])) == 1
    assert feed(coordinator, [Finished(2, 0, ok()), Tick()])[-1] == Propose(3)


def test_the_budget_is_met_exactly() -> None:
    coordinator = begun(Policy(evaluations=3))
    assert feed(coordinator, [Finished(0, 0, ok()), Tick()])[-1] == Propose(1)
    feed(coordinator, [Proposed(trials(2))])
    assert len(feed(coordinator, [Finished(1, 0, failed()), Tick()])) == 1
    assert feed(coordinator, [Finished(2, 0, ok())])[-1] == Finish("budget")
    assert len(coordinator.history.evaluations) == 3


def test_a_failed_training_is_an_evaluation_and_is_not_retried() -> None:
    coordinator = begun(Policy(evaluations=4))
    done = feed(coordinator, [Finished(0, 0, failed())])
    assert done == [Commit(Told(Evaluation(trials(0)[0], failed())))]


def test_a_lost_worker_gives_its_trials_another_attempt_elsewhere() -> None:
    coordinator = begun(Policy(evaluations=4), slots=1)
    feed(coordinator, [Joined("v", 1), Tick(), Proposed(trials(1))])
    done = feed(coordinator, [Left("w")])
    assert isinstance(done[0], Commit)
    assert isinstance(done[0].entry, Retried)
    assert done[0].entry.number == 0
    restarted = feed(coordinator, [Joined("u", 1)])
    assert restarted == [Start(trials(0)[0], 1, "u")]


def test_retries_end_as_a_lost_evaluation() -> None:
    coordinator = begun(Policy(evaluations=1, retries=Retries(lost=1)), slots=1)
    done = feed(coordinator, [Finished(0, 0, lost())])
    assert done == [Commit(Retried(0, 0, lost())), Start(trials(0)[0], 1, "w")]
    done = feed(coordinator, [Finished(0, 1, lost())])
    assert done == [Commit(Told(Evaluation(trials(0)[0], lost(), 1))), Finish("budget")]


def test_an_end_that_is_reported_twice_counts_once() -> None:
    coordinator = begun(Policy(evaluations=4), slots=1)
    feed(coordinator, [Finished(0, 0, lost())])
    assert feed(coordinator, [Finished(0, 0, ok())]) == []
    assert len(feed(coordinator, [Finished(0, 1, ok())])) == 1
    assert feed(coordinator, [Finished(0, 1, ok())]) == []
    assert len(coordinator.history.evaluations) == 1


@pytest.mark.parametrize(
    ("status", "retries"), [("memory", 1), ("timeout", 0), ("crashed", 0), ("failed", 0)]
)
def test_each_kind_of_end_has_its_own_budget(status: str, retries: int) -> None:
    coordinator = begun(Policy(evaluations=4, retries=Retries(lost=2)), slots=1)
    ends = ["lost"] + [status] * retries + ["lost"]
    for attempt, end in enumerate(ends):
        done = feed(coordinator, [Finished(0, attempt, Outcome(Status(end)))])
        assert done[0] == Commit(Retried(0, attempt, Outcome(Status(end))))
        assert done[1] == Start(trials(0)[0], attempt + 1, "w")
    final = Outcome(Status(status))
    done = feed(coordinator, [Finished(0, len(ends), final)])
    assert done == [Commit(Told(Evaluation(trials(0)[0], final, len(ends))))]


def test_a_trial_that_ran_out_of_memory_gets_a_worker_for_itself() -> None:
    coordinator = begun(Policy(evaluations=10), slots=3)
    done = feed(coordinator, [Finished(0, 0, Outcome(Status.MEMORY)), Tick()])
    assert [type(i) for i in done] == [Commit]  # its slot is kept free for it
    assert Start not in map(type, feed(coordinator, [Finished(1, 0, ok()), Tick()]))
    done = feed(coordinator, [Finished(2, 0, ok()), Tick()])
    assert done[-1] == Start(trials(0)[0], 1, "w")
    done = feed(coordinator, [Finished(0, 1, ok()), Tick()])
    assert done[-1] == Propose(3)


# --- leases: what a worker is heard of, and what not -----------------------------------------


def leased(silence: float = 90.0) -> Coordinator:
    """Trials 0 and 1 on workers "a" and "b" of one slot each, all of it at time 0."""
    coordinator = Coordinator(Policy(evaluations=9, silence=silence), Fold(), now=0.0)
    feed(coordinator, [Joined("a", 1), Joined("b", 1), Tick(), Proposed(trials(0, 1))])
    assert {n: lease.worker for n, lease in coordinator.running.items()} == {0: "a", 1: "b"}
    return coordinator


def beat(coordinator: Coordinator, begin: int, end: int) -> list[Instruction]:
    """Heartbeats of worker "b" alone, every 10 s."""
    return [
        i
        for now in range(begin, end, 10)
        for i in feed(coordinator, [Beat("b", ((1, 0),))], now=float(now))
    ]


def test_a_silent_attempt_is_given_up_and_its_slot_is_not_used() -> None:
    coordinator = leased()
    assert beat(coordinator, 10, 90) == []
    stop, retried = beat(coordinator, 90, 120)
    assert stop == Stop(0, 0, "a")
    assert isinstance(retried, Commit)
    assert isinstance(retried.entry, Retried)
    assert coordinator.fleet.free == 0
    done = feed(coordinator, [Finished(1, 0, ok())], now=120.0)
    assert done[-1] == Start(trials(0)[0], 1, "b")


def test_the_late_result_of_an_attempt_given_up_counts_if_it_is_the_first() -> None:
    coordinator = leased()
    beat(coordinator, 10, 120)
    feed(coordinator, [Finished(1, 0, ok())], now=120.0)
    done = feed(coordinator, [Finished(0, 0, Outcome(Status.OK, 7.0, worker="a"))], now=121.0)
    assert done[0] == Stop(0, 1, "b")
    assert isinstance(done[1], Commit)
    assert done[1].entry == Told(
        Evaluation(trials(0)[0], Outcome(Status.OK, 7.0, worker="a"), attempt=0)
    )
    assert coordinator.fleet.free == 1  # that of "a"; the other attempt has yet to end
    assert feed(coordinator, [Finished(0, 1, ok(3.0))], now=122.0) == []
    assert [e.y for e in coordinator.history.evaluations] == [1.0, 7.0]


def test_a_worker_that_is_heard_of_again_is_told_to_stop_what_was_given_up() -> None:
    coordinator = leased()
    beat(coordinator, 10, 120)
    assert feed(coordinator, [Beat("a", ((0, 0),))], now=121.0) == [Stop(0, 0, "a")]
    assert coordinator.fleet.free == 0
    assert feed(coordinator, [Beat("a", ())], now=131.0) == [Start(trials(0)[0], 1, "a")]


def test_a_coordinator_that_slept_gives_nothing_up() -> None:
    coordinator = leased()
    assert beat(coordinator, 10, 20) == []
    assert beat(coordinator, 7200, 7280) == []
    assert len(coordinator.running) == 2


def recorded(*entries: Entry) -> Fold:
    """What earlier sessions have left that recorded these entries."""
    fold = Fold()
    for entry in entries:
        fold.add(entry)
    return fold


def tried_again(number: int, *attempts: int) -> list[Entry]:
    return [Retried(number, attempt, Outcome(Status.LOST)) for attempt in attempts]


# --- attaching to what an earlier coordinator has started ------------------------------------


def test_what_still_runs_is_not_started_again() -> None:
    past = recorded(Asked(trials(0, 1)), *tried_again(1, 0))
    coordinator = Coordinator(Policy(evaluations=2), past, now=0.0)
    done = feed(coordinator, [Attached(1, 1, "w"), Joined("w", 2)])
    assert done == [Start(trials(0)[0], 0, "w")]
    assert feed(coordinator, [Finished(1, 1, ok())])[0] == Commit(
        Told(Evaluation(trials(1)[0], ok(), 1))
    )


@pytest.mark.parametrize("number", [0, 7], ids=["another attempt", "not pending"])
def test_what_runs_and_does_not_count_is_stopped_and_keeps_its_slot(number: int) -> None:
    past = recorded(Asked(trials(0)), *tried_again(0, 0))
    coordinator = Coordinator(Policy(evaluations=1), past, now=0.0)
    done = feed(coordinator, [Attached(number, 0, "w"), Joined("w", 1), Tick()])
    assert done == [Stop(number, 0, "w")]
    stopped = Outcome(Status.CRASHED, worker="w")
    assert feed(coordinator, [Finished(number, 0, stopped)]) == [Start(trials(0)[0], 1, "w")]


# --- quarantine -------------------------------------------------------------------------------


def test_a_host_on_which_trial_after_trial_fails_gets_none_for_a_while() -> None:
    coordinator = Coordinator(Policy(evaluations=99), Fold(), now=0.0)
    feed(coordinator, [Joined("good:1", 1, "good"), Joined("bad:1", 1, "bad"), Tick()])
    feed(coordinator, [Proposed(trials(0, 1))])
    said: list[Instruction] = []
    for number in range(2, 40):
        for lease in list(coordinator.running.values()):
            end = ok() if lease.worker == "good:1" else failed()
            said += feed(coordinator, [Finished(lease.trial.number, 0, end)], now=1.0)
        if any(isinstance(i, Say) for i in said):
            break
        feed(coordinator, [Tick(), Proposed(trials(2 * number, 2 * number + 1))], now=1.0)
    bad = [e for e in coordinator.history.evaluations if not e.ok]
    assert 3 <= len(bad) <= 6
    assert coordinator.fleet.free == 1
    feed(coordinator, [Left("bad:1"), Joined("bad:2", 1, "bad")], now=2.0)  # it is the host
    assert coordinator.fleet.free == 1
    feed(coordinator, [Tick()], now=602.0)
    assert coordinator.fleet.free == 2


def test_failures_that_happen_everywhere_quarantine_nobody() -> None:
    coordinator = Coordinator(Policy(evaluations=400, give_up=400), Fold(), now=0.0)
    feed(coordinator, [Joined(f"w{i}", 1) for i in range(4)])
    number, rng = 0, np.random.default_rng(1)
    while number < 200:
        feed(coordinator, [Tick(), Proposed(trials(*range(number, number + 4)))])
        number += 4
        for lease in list(coordinator.running.values()):
            end = failed() if rng.random() < 0.7 else ok()
            done = feed(coordinator, [Finished(lease.trial.number, 0, end)])
            assert not any(isinstance(i, Say) for i in done)


def test_the_only_host_is_never_quarantined() -> None:
    coordinator = begun(Policy(evaluations=99, give_up=50), slots=1)
    for number in range(40):
        feed(coordinator, [Finished(number, 0, failed()), Tick(), Proposed(trials(number + 1))])
    assert len(coordinator.running) == 1


def test_trials_spread_over_the_emptiest_workers() -> None:
    coordinator = Coordinator(Policy(evaluations=9), Fold(), now=0.0)
    feed(coordinator, [Joined("a", 2), Joined("b", 2), Tick()])
    starts = feed(coordinator, [Proposed(trials(0, 1, 2, 3))])[1:]
    assert sorted(s.worker for s in starts[:2] if isinstance(s, Start)) == ["a", "b"]
    assert sorted(s.worker for s in starts if isinstance(s, Start)) == ["a", "a", "b", "b"]


def test_pending_trials_of_an_earlier_session_run_first() -> None:
    past = recorded(Asked(trials(0, 1)), *tried_again(1, 0, 1))
    coordinator = Coordinator(Policy(evaluations=2), past, now=0.0)
    a, b = trials(0, 1)
    assert feed(coordinator, [Joined("w", 2), Tick()]) == [Start(b, 2, "w"), Start(a, 0, "w")]


def test_a_drained_run_finishes_what_runs_and_starts_nothing() -> None:
    coordinator = begun(Policy(evaluations=10))
    assert feed(coordinator, [Drain("SIGINT"), Tick()]) == []
    assert len(feed(coordinator, [Finished(0, 0, ok()), Tick()])) == 1
    assert feed(coordinator, [Finished(1, 0, ok())])[-1] == Finish("SIGINT")


def test_a_trial_lost_while_draining_stays_pending() -> None:
    coordinator = begun(Policy(evaluations=10), slots=1)
    done = feed(coordinator, [Drain("SIGTERM"), Finished(0, 0, lost())])
    assert done == [Commit(Retried(0, 0, lost())), Finish("SIGTERM")]
    assert len(coordinator.history.pending) == 1


def test_a_halted_run_kills_what_runs_and_records_nothing_more() -> None:
    coordinator = begun(Policy(evaluations=10))
    assert feed(coordinator, [Halt("SIGINT")]) == [Kill(), Finish("SIGINT")]
    assert feed(coordinator, [Finished(0, 0, ok()), Tick()]) == []


def test_what_outlasts_the_grace_of_a_drain_is_killed_and_stays_pending() -> None:
    coordinator = begun(Policy(evaluations=10))
    assert feed(coordinator, [Drain("SIGTERM", grace=30.0), Tick()], now=5.0) == []
    assert len(feed(coordinator, [Finished(0, 0, ok()), Tick()], now=34.0)) == 1
    assert feed(coordinator, [Tick()], now=35.0) == [Kill(), Finish("SIGTERM")]
    assert [t.number for t in coordinator.history.pending] == [1]


def test_a_detached_run_kills_nothing() -> None:
    coordinator = begun(Policy(evaluations=10))
    assert feed(coordinator, [Detach("SIGINT")]) == [Finish("SIGINT")]
    assert len(coordinator.history.pending) == 2


def test_wall_time_drains_the_run() -> None:
    coordinator = begun(Policy(evaluations=10, seconds=60.0))
    assert feed(coordinator, [Finished(0, 0, ok()), Tick()], now=59.0)[-1] == Propose(1)
    feed(coordinator, [Proposed(trials(2))], now=59.5)
    assert len(feed(coordinator, [Finished(1, 0, ok()), Tick()], now=61.0)) == 1
    assert feed(coordinator, [Finished(2, 0, ok()), Tick()], now=62.0)[-1] == Finish("wall")


def test_an_exhausted_space_ends_the_run() -> None:
    coordinator = begun(Policy(evaluations=10))
    feed(coordinator, [Finished(0, 0, ok()), Tick(), Proposed(())])
    assert feed(coordinator, [Finished(1, 0, ok()), Tick()])[-1] == Finish("exhausted")


def test_nothing_but_failures_ends_the_run() -> None:
    coordinator = begun(Policy(evaluations=50, give_up=2))
    feed(coordinator, [Finished(0, 0, failed())])
    assert feed(coordinator, [Finished(1, 0, failed())])[-1] == Finish("failing")


def test_one_success_keeps_a_failing_run_going() -> None:
    coordinator = begun(Policy(evaluations=50, give_up=2), slots=3)
    done = feed(
        coordinator, [Finished(0, 0, ok()), Finished(1, 0, failed()), Finished(2, 0, failed())]
    )
    assert all(isinstance(i, Commit) for i in done)


@pytest.mark.parametrize("field", ["evaluations", "batch", "give_up"])
def test_a_policy_refuses_less_than_one(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is 0; expected at least 1"):
        Policy(**{field: 0})


def reported(number: int, epoch: int, attempt: int = 0, **metrics: float) -> Reported:
    return Reported(number, attempt, epoch, metrics)


def test_a_lease_tells_the_latest_epoch_and_the_objective_minimised() -> None:
    coordinator = begun(Policy(evaluations=10, objective=Objective("acc", "max")))
    assert np.isnan(coordinator.running[0].value)
    feed(coordinator, [reported(0, 1, acc=0.25, loss=9.0), reported(0, 2, acc=0.5)])
    assert (coordinator.running[0].epoch, coordinator.running[0].value) == (2, -0.5)
    feed(coordinator, [reported(0, 3, loss=8.0)])  # an epoch without a validation
    assert (coordinator.running[0].epoch, coordinator.running[0].value) == (3, -0.5)
    assert coordinator.running[1].epoch == 0


def test_reports_of_what_does_not_count_are_ignored() -> None:
    coordinator = begun(Policy(evaluations=10))
    feed(coordinator, [Finished(0, 0, lost())])  # the second attempt runs
    assert feed(coordinator, [reported(0, 7, attempt=0, loss=1.0), reported(5, 1, loss=1.0)]) == []
    assert coordinator.running[0].epoch == 0
    feed(coordinator, [reported(0, 1, attempt=1, loss=1.0)])
    assert coordinator.running[0].epoch == 1


def test_a_report_renews_the_lease() -> None:
    coordinator = begun(Policy(evaluations=10, silence=90.0), slots=1)
    for now in (25.0, 50.0, 75.0, 100.0, 125.0):
        assert feed(coordinator, [reported(0, int(now), loss=1.0)], now) == []
    assert 0 in coordinator.running
    for now in (150.0, 175.0, 200.0):
        assert feed(coordinator, [Tick()], now) == []
    assert Stop(0, 0, "w") in feed(coordinator, [Tick()], 230.0)


# --- how far ahead of demand proposals are made ---------------------------------------------------


def pace(proposal: float, training: float) -> Pace:
    found = Pace()
    found.proposed(proposal)
    found.trained(training)
    return found


@pytest.mark.parametrize(
    ("slots", "proposal", "training", "expected"),
    [
        (8, 0.2, 600.0, (0, 0)),  # a slot hardly notices
        (8, 3.0, 60.0, (1, 1)),  # one is started meanwhile
        (8, 90.0, 60.0, (8, 8)),
        (1000, 0.01, 600.0, (0, 0)),  # cheap enough to be made one by one
        (1000, 1.5, 600.0, (0, 50)),  # rarely, and then for a twentieth of the slots
        (1000, 9.0, 600.0, (15, 65)),
    ],
)
def test_as_many_as_needed_and_as_few_proposals_as_possible(
    slots: int, proposal: float, training: float, expected: tuple[int, int]
) -> None:
    assert pace(proposal, training).ahead(slots) == expected


def test_nothing_is_proposed_ahead_while_durations_are_unknown() -> None:
    assert Pace().ahead(1000) == (0, 0)


def test_one_slow_proposal_counts_a_fifth() -> None:
    found = pace(0.2, 600.0)
    found.proposed(100.0)
    assert found.ahead(1000) == pace(0.8 * 0.2 + 0.2 * 100.0, 600.0).ahead(1000) == (34, 84)


def unbuilt(name: str = "ImportError") -> Outcome:
    return Outcome(Status.FAILED, error=Failure(name, "No module named 'timm'"))


def with_default(slots: int = 2) -> Coordinator:
    """A run whose default and the trials after it are started."""
    coordinator = Coordinator(Policy(evaluations=10), Fold(), now=0.0)
    first, *others = trials(*range(slots))
    default = replace(first, origin=Origin.DEFAULT)
    feed(coordinator, [Joined("w", slots), Tick(), Proposed((default, *others))])
    return coordinator


@pytest.mark.parametrize("name", ["ModuleNotFoundError", "TypeError", "FileNotFoundError"])
def test_a_default_that_cannot_be_built_ends_the_run_and_costs_nothing(name: str) -> None:
    coordinator = with_default()
    done = feed(coordinator, [Finished(1, 0, unbuilt(name)), Finished(0, 0, unbuilt(name))])
    say, kill, finish = done
    assert isinstance(say, Say)
    assert f"cannot be trained: {name}: No module named 'timm'; no evaluation was" in say.message
    assert (kill, finish) == (Kill(), Finish("broken"))
    assert [trial.number for trial in coordinator.history.pending] == [0, 1]
    assert not coordinator.history.evaluations


def test_a_default_without_the_objective_ends_the_run_whatever_it_has_reported() -> None:
    coordinator = with_default()
    error = Failure("ObjectiveMissing", "no metric 'loss' (the objective) among ...")
    lacking = Outcome(Status.FAILED, error=error, curves={"val_loss": (1.0, 0.5)})
    say, *rest = feed(coordinator, [Finished(1, 0, lacking), Finished(0, 0, lacking)])
    assert isinstance(say, Say)
    assert "cannot be trained: ObjectiveMissing: no metric 'loss'" in say.message
    assert rest == [Kill(), Finish("broken")]


def test_what_only_others_cannot_build_counts_once_the_default_has_ended() -> None:
    coordinator = with_default()
    assert feed(coordinator, [Finished(1, 0, unbuilt())]) == []
    told = [i.entry for i in feed(coordinator, [Finished(0, 0, ok())]) if isinstance(i, Commit)]
    assert [(e.evaluation.trial.number, e.evaluation.ok) for e in told if isinstance(e, Told)] == [
        (0, True), (1, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "outcome",
    [
        failed(),
        replace(unbuilt("TypeError"), curves={"loss": (1.0,)}),
        replace(unbuilt(), error=None),
    ],
)
def test_any_other_failure_of_the_default_is_an_evaluation(outcome: Outcome) -> None:
    told = feed(with_default(), [Finished(0, 0, outcome)])
    assert any(isinstance(i, Commit) and isinstance(i.entry, Told) for i in told)
