"""A training that ends while the coordinator is dead is not lost, and not counted twice."""

import dataclasses
import errno
import pickle

import pytest
from store_examples import HEADER, failed, succeeded, trial
from test_journal_crashes import crash_everywhere, file_system

from spot_dask import Budget, Design, FunctionTask, Real, Space, Study
from spot_dask.errors import StoreFull
from spot_dask.executors.serial import SerialExecutor
from spot_dask.fold import Fold
from spot_dask.records import Asked, Outcome, Status, Told
from spot_dask.store.inbox import Inbox
from spot_dask.store.journal import Journal


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run.zarr"
    journal = Journal.create(path, HEADER, durability="process")
    journal.append(Asked((trial(0), trial(1), trial(2))))
    journal.close()
    return path


def outcome(number, y=0.25):
    return succeeded(number, y).evaluation.outcome


def inbox(path):
    return Inbox(str(path), HEADER.run_id)


def names(path):
    return sorted(p.name for p in (path / "log/.inbox").glob("*"))


def told(path):
    entries = [record.entry for record in Journal.open(path).records()]
    return [(e.evaluation.trial.number, e.evaluation.y) for e in entries if isinstance(e, Told)]


def resumed(path):
    return Journal.resume(path, takeover=True, durability="process")


def test_what_was_left_is_taken_in_once_when_the_run_is_resumed(path):
    worker = pickle.loads(pickle.dumps(inbox(path)))
    assert worker.leave(1, 0, outcome(1, 0.5))
    assert worker.leave(2, 0, failed(2).evaluation.outcome)
    for taken in (["ok", "failed"], []):
        journal = resumed(path)
        assert [e.outcome.status.value for e in journal.take_in()] == taken
        assert names(path) == []
        journal.close()
    state = Fold.of(Journal.open(path).records())
    assert [t.number for t in state.history.pending] == [0]
    expected = [succeeded(1, 0.5).evaluation, failed(2).evaluation]
    expected = [dataclasses.replace(evaluation, attempt=0) for evaluation in expected]
    assert repr(state.history.evaluations) == repr(tuple(expected))


def test_what_the_coordinator_has_heard_of_leaves_the_inbox(path):
    inbox(path).leave(0, 1, outcome(0))
    inbox(path).leave(1, 0, outcome(1))
    journal = resumed(path)
    journal.append(succeeded(0))  # attempt 1
    assert names(path) == ["1.0"]
    journal.close()


def test_a_result_that_comes_late_or_twice_is_dropped(path):
    journal = resumed(path)
    journal.append(succeeded(0))
    assert inbox(path).leave(0, 0, outcome(0, 9.0))
    assert inbox(path).leave(1, 0, outcome(1, 1.0))
    assert inbox(path).leave(1, 0, outcome(1, 9.0))
    assert inbox(path).leave(1, 1, outcome(1, 9.0))
    assert inbox(path).leave(7, 0, outcome(7))  # a trial that was never asked
    journal.close()
    journal = resumed(path)
    assert [e.trial.number for e in journal.take_in()] == [1]
    journal.close()
    resumed(path).take_in()
    assert told(path) == [(0, 0.25), (1, 1.0)]
    assert names(path) == []


@pytest.mark.parametrize("status", [Status.CRASHED, Status.LOST])
def test_a_training_that_was_killed_leaves_nothing(path, status):
    assert not inbox(path).leave(0, 0, Outcome(status))
    assert names(path) == []


def test_a_worker_that_does_not_have_the_store_leaves_nothing(path, tmp_path):
    assert not Inbox(str(tmp_path / "elsewhere.zarr"), HEADER.run_id).leave(0, 0, outcome(0))
    assert not Inbox(str(path), "another run").leave(0, 0, outcome(0))
    (tmp_path / "file").write_text("x")
    assert not Inbox(str(tmp_path / "file"), HEADER.run_id).leave(0, 0, outcome(0))
    with file_system("write", error=errno.EROFS):
        assert not inbox(path).leave(0, 0, outcome(0))
    assert names(path) == []
    assert not (tmp_path / "elsewhere.zarr").exists()


def test_a_result_of_another_run_is_dropped(path):
    inbox(path).leave(0, 0, outcome(0))
    document = (path / "zarr.json").read_bytes()
    journal = Journal.create(
        path.with_name("other.zarr"), dataclasses.replace(HEADER, run_id="other")
    )
    journal.append(Asked((trial(0),)))
    target = path.with_name("other.zarr") / "log/.inbox"
    (path / "log/.inbox").rename(target)
    assert journal.take_in() == []
    assert not list(target.iterdir())
    journal.close()
    assert (path / "zarr.json").read_bytes() == document


def test_a_damaged_result_is_told_and_left_and_its_trial_stays_pending(path, caplog):
    for number in (0, 1):
        inbox(path).leave(number, 0, outcome(number, number))
    place = path / "log/.inbox/0.0"
    data = place.read_bytes()
    for position in range(0, len(data), 11):
        place.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        journal = resumed(path)
        journal.take_in()
        journal.close()
    assert "log/.inbox/0.0 is damaged" in caplog.text
    assert told(path) == [(1, 1.0)]
    assert names(path) == ["0.0"]
    (path / "log/.inbox/1.0").write_bytes(data)  # at the place of another
    journal = resumed(path)
    journal.take_in()
    journal.close()
    assert told(path) == [(1, 1.0)]


def test_a_crash_at_any_step_of_leaving_a_result_leaves_all_of_it_or_none(path):
    said = []

    def act(copy):
        said.clear()
        said.append(inbox(copy).leave(0, 0, outcome(0)))

    def check(copy, done):
        journal = resumed(copy)
        journal.take_in()
        journal.close()
        assert told(copy) in ([(0, 0.25)], [] if not said else None)

    assert crash_everywhere(path, act, check) > 5


def test_a_crash_at_any_step_of_taking_in_loses_and_doubles_nothing(path):
    for number in (0, 1):
        inbox(path).leave(number, 0, outcome(number, number))
    journals = []

    def act(copy):
        journals.append(resumed(copy))
        journals[-1].take_in()

    def check(copy, done):
        while journals:
            journals.pop().close()
        journal = resumed(copy)
        journal.take_in()
        journal.close()
        assert told(copy) == [(0, 0.0), (1, 1.0)]
        assert names(copy) == []

    assert crash_everywhere(path, act, check) > 10


def test_a_full_disk_while_taking_in_loses_nothing(path):
    inbox(path).leave(0, 0, outcome(0))
    journal = resumed(path)
    with file_system("link", error=errno.ENOSPC), pytest.raises(StoreFull):
        journal.take_in()
    assert names(path) == ["0.0"]
    assert len(journal.take_in()) == 1
    journal.close()
    assert told(path) == [(0, 0.25)]


def test_a_resumed_study_counts_what_was_left_and_trains_only_the_rest(tmp_path, monkeypatch):
    path, trained, said, wait = tmp_path / "run.zarr", [], [], SerialExecutor.wait

    def loss(cfg, trial):
        trained.append(trial.number)
        return cfg.x**2

    def dying(executor, seconds):
        events = wait(executor, seconds)
        if trained[-1:] == [3]:
            monkeypatch.undo()
            raise KeyboardInterrupt  # the coordinator dies; the training of trial 3 goes on
        return events

    monkeypatch.setattr(SerialExecutor, "wait", dying)

    study = Study(
        Space(x=Real(-1.0, 1.0, default=0.9)), FunctionTask(loss), design=Design(initial=4)
    )
    with pytest.raises(KeyboardInterrupt):
        study.run(Budget(evaluations=6), local=0, store=path)
    journal = Journal.open(path)
    assert Inbox(str(path), journal.header.run_id).leave(3, 0, outcome(3, 0.125))
    run = study.resume(path, local=0, watcher=lambda update: said.append(update.message))
    assert trained == [0, 1, 2, 3, 4, 5]
    assert [e.y for e in run.history.evaluations if e.trial.number == 3] == [0.125]
    assert any(line and line.startswith("inbox: 1 trainings") for line in said)
