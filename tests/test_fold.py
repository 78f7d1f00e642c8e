"""One fold: whatever a journal holds, every view of it says the same."""

from __future__ import annotations

import math

from spot_dask.fold import Fold
from spot_dask.records import (
    Asked,
    Closed,
    Evaluation,
    Opened,
    Outcome,
    Record,
    Retried,
    Status,
    Told,
    Trial,
)


def journal(*entries, epochs=None):
    epochs = epochs or [1] * len(entries)
    return [
        Record(seq, epoch, 10.0 * seq, entry)
        for seq, (epoch, entry) in enumerate(zip(epochs, entries, strict=True))
    ]


def told(number, y=0.5):
    return Told(Evaluation(Trial(number, {}, 0), Outcome(Status.OK, y)))


TRIALS = [Trial(n, {}, 0) for n in range(4)]


def test_the_arrivals_have_the_working_time_of_all_sessions():
    fold = Fold.of(
        journal(
            Opened("h", 1),
            Asked(TRIALS),
            told(0),
            Opened("h", 2),
            told(1),
            Closed("budget"),
            epochs=[1, 1, 1, 2, 2, 2],
        )
    )
    assert [(a.seq, a.time, a.elapsed) for a in fold.arrivals] == [(2, 20.0, 20.0), (4, 40.0, 30.0)]
    assert (fold.sessions, fold.elapsed, fold.closed) == (2, 40.0, "budget")


def test_a_second_result_and_a_second_retry_change_nothing(caplog):
    lost = Retried(1, 0, Outcome(Status.LOST))
    fold = Fold.of(journal(Asked(TRIALS), told(0, 0.5), told(0, 0.1), lost, lost, told(1), lost))
    assert [e.y for e in fold.history.evaluations] == [0.5, 0.5]
    assert (fold.told, fold.pending, fold.asked) == (2, 2, 4)
    assert fold.retries == (lost,)
    assert fold.attempts(1) == ()
    assert len(caplog.messages) == 3


def test_a_copy_grows_by_itself():
    fold = Fold.of(journal(Asked(TRIALS), told(0)))
    twin = fold.copy()
    twin.add(told(1))
    assert (fold.told, twin.told) == (1, 2)
    assert fold.history.pending == tuple(TRIALS[1:])


def test_a_batch_is_asked_on_what_was_known():
    batch = Asked([Trial(9, {}, 0)], known=1, q=1)
    fold = Fold.of(journal(Asked(TRIALS), told(2), told(0), batch))
    asked = fold.question(fold.batches[1])
    assert [e.trial.number for e in asked.evaluations] == [2]
    assert [t.number for t in asked.pending] == [0, 1, 3]


def test_of_later_records_only_the_new_rows_are_rows():
    fold = Fold.after({0}, {("r", 1)})
    for record in journal(told(0), told(1, math.inf)):
        fold.take(record)
    assert [a.evaluation.trial.number for a in fold.rows] == [1]
