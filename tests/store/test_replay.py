import logging
from contextlib import closing
from dataclasses import replace

import pytest
from store_examples import HEADER, failed, succeeded, trial

from benchmarks.memory import MemoryStore
from spot_dask.errors import StoreCorrupt
from spot_dask.fold import Fold
from spot_dask.records import (
    Asked,
    Closed,
    History,
    Import,
    Imported,
    Opened,
    Outcome,
    Record,
    Retried,
    Status,
    Told,
)
from spot_dask.store.journal import Journal


def records(*entries, times=None, epochs=None):
    times = times or [float(seq) for seq in range(len(entries))]
    epochs = epochs or [1] * len(entries)
    rows = zip(epochs, times, entries, strict=True)
    return [Record(seq, epoch, time, entry) for seq, (epoch, time, entry) in enumerate(rows)]


def test_no_records_add_up_to_nothing():
    fold = Fold.of([])
    assert (fold.history, fold.last, fold.elapsed) == (History(), None, 0.0)


def test_trials_are_pending_until_their_evaluation_arrives():
    asked = Asked([trial(0), trial(1), trial(2)])
    state = Fold.of(records(Opened("h", 1), asked, succeeded(2), failed(0)))
    assert [e.trial.number for e in state.history.evaluations] == [2, 0]
    assert [t.number for t in state.history.pending] == [1]
    assert state.retried == {}
    assert state.history.asked == 3


def test_a_lost_attempt_raises_the_number_of_the_next_one():
    lost = Outcome(Status.LOST)
    state = Fold.of(
        records(Asked([trial(0), trial(1)]), Retried(0, 0, lost), Retried(0, 1, lost), failed(1))
    )
    assert state.retried == {0: (Status.LOST, Status.LOST)}


def test_the_first_evaluation_of_a_trial_counts_and_a_later_one_is_logged(caplog):
    with caplog.at_level(logging.WARNING):
        state = Fold.of(records(Asked([trial(0)]), succeeded(0, 0.5), succeeded(0, 0.1)))
    assert [e.y for e in state.history.evaluations] == [0.5]
    assert "record 2: trial 0" in caplog.text


@pytest.mark.parametrize("entry", [succeeded(7), Retried(7, 0, Outcome(Status.LOST))])
def test_an_entry_about_a_trial_never_asked_is_corruption(entry):
    with pytest.raises(StoreCorrupt, match="record 1 is about trial 7"):
        Fold.of(records(Asked([trial(0)]), entry))


def test_asking_a_trial_twice_is_corruption():
    with pytest.raises(StoreCorrupt, match="trial 0 a second time"):
        Fold.of(records(Asked([trial(0)]), succeeded(0), Asked([trial(0)])))


def test_elapsed_is_the_sum_of_the_sessions_without_the_time_between():
    state = Fold.of(
        records(
            Opened("h", 1),
            Asked([trial(0)]),
            Opened("h", 2),
            Closed("x"),
            Opened("h", 3),
            times=[100.0, 130.0, 1000.0, 1007.0, 5000.0],
            epochs=[1, 1, 2, 2, 3],
        )
    )
    assert state.elapsed == 37.0
    assert state.epoch == 3


def test_a_clock_set_back_gives_no_time_back():
    state = Fold.of(records(Opened("h", 1), Closed("x"), times=[100.0, 40.0]))
    assert state.elapsed == 0.0


def test_a_run_is_closed_only_by_its_last_record():
    assert Fold.of(records(Opened("h", 1), Closed("budget"))).closed == "budget"
    assert Fold.of(records(Opened("h", 1), Closed("budget"), Opened("h", 2))).closed is None


def test_later_sessions_change_the_settings_of_earlier_ones():
    opened = [Opened("h", 1, {"budget": 5, "q": 2}), Opened("h", 2, {"budget": 9})]
    assert Fold.of(records(*opened, epochs=[1, 2])).settings == {"budget": 9, "q": 2}


def test_an_evaluation_imported_twice_is_taken_once():
    items = [Import({"lr": 0.1}, 1.0, "old", n) for n in range(3)]
    first, again = Imported("a.zarr", items[:2]), Imported("a.zarr", items, ("trial 9: gone",))
    state = Fold.of(records(first, again))
    assert state.history.imports == tuple(items)
    assert state.imports == (first, again)


def test_priors_are_kept_apart_one_tuple_per_source_and_each_once():
    items = tuple(Import({"lr": 0.1}, 1.0, "old", n) for n in range(4))
    data = Imported("a.zarr", items[:1])
    hints = Imported("b.zarr", items[:3], mode="prior")
    state = Fold.of(records(data, hints, hints, Imported("c.zarr", items, mode="prior")))
    assert state.history.imports == items[:1]
    assert state.history.priors == (items[1:3], items[3:])
    assert len(state.imports) == 4


def test_a_store_replays_to_the_history_that_was_told():
    store = MemoryStore(HEADER)
    store.append(Asked([trial(n) for n in range(50)]))
    told = [store.append(succeeded(n, float(n))).entry.evaluation for n in range(0, 50, 2)]
    history = Fold.of(store.records()).history
    assert repr(history.evaluations) == repr(tuple(told))
    assert [t.number for t in history.pending] == list(range(1, 50, 2))


def essence(fold):
    return repr(
        (vars(fold.history), fold.retried, fold.rows, fold.settings, fold.elapsed, fold.opened)
    )


def test_reading_on_reads_nothing_twice_and_adds_up_to_the_replay_of_all(tmp_path):
    with closing(Journal.create(tmp_path / "a", HEADER, durability="process")) as journal:
        reader, read = Journal.open(tmp_path / "a"), []
        follow = reader.follow
        reader.follow = lambda tail: (read.append(found) or found for found in follow(tail))
        for entry in (
            Asked([trial(0), trial(1)]),
            succeeded(1),
            Retried(0, 0, Outcome(Status.LOST)),
        ):
            journal.append(entry)
            reader.read()
            assert essence(reader.fold) == essence(Fold.of(journal.records()))
        assert len(read) == 4
        journal.append(succeeded(0))
        reader.read(end=4)
        assert reader.fold.history.pending == (trial(0),)
        reader.read()
        assert reader.fold.history.pending == ()
        assert reader.tail.seq == 5


def test_a_resumed_journal_reads_only_what_came_after_a_reading(tmp_path):
    Journal.create(tmp_path / "a", HEADER, durability="process").close()
    reader = Journal.open(tmp_path / "a")
    reader.read()
    (tmp_path / "a/log/c/0/0").write_bytes(b"damaged since")
    with closing(Journal.resume(tmp_path / "a", before=reader)) as journal:
        assert journal.fold.epoch == 2
    assert reader.fold.epoch == 1
    with pytest.raises(StoreCorrupt):
        Journal.resume(tmp_path / "a")


def test_the_fold_of_a_writer_is_that_of_what_it_has_written(tmp_path):
    path = tmp_path / "a"
    with closing(Journal.create(path, HEADER, durability="process", fold=Fold())) as journal:
        journal.commit([Asked([trial(0), trial(1)]), succeeded(1)])
        journal.append(Closed("done"))
        assert essence(journal.fold) == essence(Fold.of(Journal.open(path).records()))


def test_what_a_trial_and_its_evaluation_share_is_kept_once(tmp_path):
    with closing(Journal.create(tmp_path / "a", HEADER, durability="process")) as journal:
        journal.append(Asked([trial(0), trial(1)]))
        journal.append(succeeded(0))
        journal.append(succeeded(1))
        first, second = Fold.of(journal.records()).history.evaluations
    names = [id(name) for e in (first, second) for name in (*e.trial.config, *e.outcome.curves)]
    assert len(set(names)) == len(names) / 2 > 1
    assert first.outcome.worker is second.outcome.worker
    asked = trial(0)
    told = replace(succeeded(0).evaluation, trial=trial(0))
    state = Fold.of(records(Asked([asked]), Told(told)))
    assert state.history.evaluations[0].trial is asked
