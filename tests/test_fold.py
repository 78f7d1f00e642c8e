"""One fold: whatever a journal holds, every view of it says the same."""

from __future__ import annotations

import math

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sizes import size

from spot_dask import Real, Run, Space, Study
from spot_dask.fold import Fold
from spot_dask.records import (
    Asked,
    Closed,
    Evaluation,
    Header,
    Import,
    Imported,
    Opened,
    Outcome,
    Record,
    Retried,
    Status,
    Told,
    Trial,
)
from spot_dask.report import ReportContext
from spot_dask.store import tables
from spot_dask.store.journal import Journal
from spot_dask.store.table import tabulate
from spot_dask.store.verify import salvage, verify


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


# ---------------------------------------------------------------- all views agree

_ids = st.integers(0, 5)


def _outcomes():
    finite = st.floats(-10, 10)
    good = st.builds(Outcome, st.just(Status.OK), finite, st.just({"loss": 0.5}))
    bad = st.builds(Outcome, st.sampled_from([s for s in Status if s is not Status.OK]))
    return good | bad


@st.composite
def journals(draw):
    """Journals with doubles of every kind but the question, late results, takeovers, imports."""
    entries, epochs = [Opened("h", 1)], [1]
    asked = 0
    for _ in range(draw(st.integers(0, 25))):
        kind = draw(
            st.sampled_from(["ask", "tell", "tell", "retry", "import", "close", "open", "double"])
        )
        epoch = epochs[-1]
        if kind == "ask":
            q = draw(st.integers(1, 3))
            trials = tuple(
                Trial(asked + i, {"x": draw(st.integers(1, 9)) / 10}, asked + i) for i in range(q)
            )
            entry = Asked(trials, draw(st.none() | st.integers(0, 4)), q)
            asked += q
        elif kind == "open":
            entry, epoch = Opened("h", 2, {"seed": draw(_ids)}), epoch + 1
        elif kind == "import":
            item = st.builds(Import, st.just({"x": 0.5}), st.floats(0, 1), st.just("r"), _ids)
            mode = draw(st.sampled_from(["data", "prior"]))
            entry = Imported("old", tuple(draw(st.lists(item, max_size=3))), mode=mode)
        elif kind == "close":
            entry = Closed("budget")
        elif kind == "double" and not isinstance(entries[-1], Asked | Opened):
            entry = draw(st.sampled_from([e for e in entries if not isinstance(e, Asked | Opened)]))
        elif asked:
            number = draw(st.integers(0, asked - 1))
            trial = next(
                t for e in entries if isinstance(e, Asked) for t in e.trials if t.number == number
            )
            outcome, attempt = draw(_outcomes()), draw(st.integers(0, 2))
            told = Told(Evaluation(trial, outcome, attempt))
            entry = Retried(number, attempt, outcome) if kind == "retry" else told
        else:
            continue
        entries.append(entry)
        epochs.append(epoch)
    return entries, epochs


def header():
    space = Space(x=Real(0.0, 1.0, default=0.5))
    settings = Study(space, lambda cfg: 0.0, seed=1, replication=0.0).settings
    return Header("f00d", "n", 1.0, space.to_json(), space.hash, "loss", "min", settings)


@settings(
    max_examples=size(5, 15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(found=journals())
def test_all_views_of_a_journal_agree(found, tmp_path_factory):
    entries, epochs = found
    path = tmp_path_factory.mktemp("runs") / "run.zarr"
    write(path, entries, epochs)
    run = Run.open(path)
    history, fold = run.history, run.fold
    first = {}
    for entry in entries:
        if isinstance(entry, Told):
            first.setdefault(entry.evaluation.trial.number, entry.evaluation)
    asked = [t for e in entries if isinstance(e, Asked) for t in e.trials]
    # the replay
    assert history.evaluations == tuple(first.values())
    assert history.pending == tuple(t for t in asked if t.number not in first)
    assert fold.told + fold.pending == fold.asked == len(asked)
    # the coordinator's own fold, to which entries come as they are decided
    ledger = Fold()
    for entry in entries:
        ledger.add(entry)
    assert (ledger.history, ledger.retried) == (history, fold.retried)
    # the table, made at once or from the newest table in the store
    table = tabulate(run.header, fold.rows)
    own = table["trial"].values[~table["trial"].missing]
    assert own.tolist() == [e.trial.number for e in history.evaluations]
    assert len(table) == len(history.evaluations) + len(history.imports)
    tables.publish(Journal.open(path).backend, run.header, fold.rows, run.journal.tail)
    assert repr(Run.open(path).tabulated) == repr(table)
    assert verify(path).problems == ()
    # the report
    context = ReportContext(run.header, fold, None, None)
    assert len(context.evaluations) == len(history.evaluations)
    assert run.status()["trials"]["pending"] == len(history.pending)
    # what every batch was asked on
    for batch in fold.batches:
        question = fold.question(batch)
        assert question.asked == batch.before
        assert history.evaluations[: len(question.evaluations)] == question.evaluations
    # what a salvage keeps
    salvage(path, path.with_name("saved.zarr"))
    saved = Run.open(path.with_name("saved.zarr")).history
    assert (saved.evaluations, saved.pending) == (history.evaluations, history.pending)
    assert saved.imports == history.imports


def write(path, entries, epochs):
    """A journal of these entries, by one coordinator after the other."""
    journal, epoch = Journal.create(path, header(), durability="process"), 1
    for entry, new in zip(entries[1:], epochs[1:], strict=True):
        if new > epoch:
            journal.close()
            journal = Journal.resume(path, settings=entry.settings, durability="process")
            epoch = new
        else:
            journal.append(entry)
    journal.close()


def test_a_second_result_is_not_counted_by_the_report(tmp_path):
    """Five records of four trials: it told of 5 evaluations and of "-1 trials" without a result."""
    trials = tuple(Trial(n, {"x": n / 10}, n) for n in range(4))
    results = [Told(Evaluation(t, Outcome(Status.OK, 0.5))) for t in trials]
    write(tmp_path / "a", [Opened("h", 1), Asked(trials), *results, results[0]], [1] * 7)
    run = Run.open(tmp_path / "a")
    assert "-1 trial" not in run.report(tmp_path / "r.html").read_text()
    assert len(ReportContext(run.header, run.fold, None, None).arrivals) == 4
    assert run.status()["budget"]["used"] == 4
