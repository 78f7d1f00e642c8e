"""A store that is removed, moved, replaced or damaged while a run writes it: noticed and kept."""

from __future__ import annotations

import logging
import re
import shutil

import pytest
from store_examples import HEADER, succeeded, trial

from spot_dask import Budget, Design, FunctionTask, Real, Space, Study
from spot_dask.errors import StoreError, StoreGone
from spot_dask.fold import Fold
from spot_dask.records import PAUSED, Asked, Changed, Closed, Outcome, Record, Retried, Status
from spot_dask.run import Run
from spot_dask.store import files
from spot_dask.store.journal import Journal
from spot_dask.store.rescue import dated
from spot_dask.store.verify import verify

ONE_LINE = r"(?s)\A[^\n]*\Z"
AT = 4


def other_run(path):
    shutil.rmtree(path)
    Journal.create(path, HEADER, durability="process").close()


def all_but_the_block(path):
    """As ``rm -r`` leaves it when a record came meanwhile."""
    for name in ("zarr.json", "log/zarr.json", "log/.writer"):
        (path / name).unlink()
    for record in (path / "log/c/0").iterdir():
        record.unlink()


CHANGES = {
    "removed": shutil.rmtree,
    "moved": lambda path: path.rename(path.with_name("elsewhere.zarr")),
    "replaced": other_run,
    "head": lambda path: (path / "zarr.json").unlink(),
    "journal": lambda path: shutil.rmtree(path / "log"),
    "metadata": lambda path: (path / "log/zarr.json").unlink(),
    "last record": lambda path: (path / f"log/c/0/{2 * AT - 1}").unlink(),
    "all but the block": all_but_the_block,
}


class Trainings:
    """Trainings that count, the fifth of which changes the store."""

    def __init__(self, path, change, at=AT):
        self.path, self.change, self.at, self.count = path, change, at, 0

    def study(self, **settings):
        def train(cfg, trial):
            self.count += 1
            if self.count == self.at:
                self.change(self.path)
            trial.report(1, loss=cfg.x)
            return (cfg.x - 0.3) ** 2

        return Study(
            Space(x=Real(0.0, 1.0)),
            FunctionTask(train),
            design=Design(initial=8),
            repeats=0,
            search="random",
            durability="process",
            **settings,
        )


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_whose_store_changes_ends_at_once_and_is_kept(name, tmp_path):
    path = tmp_path / "run.zarr"
    trainings = Trainings(path, CHANGES[name])
    study = trainings.study()
    with pytest.raises(StoreGone, match=ONE_LINE) as raised:
        study.run(Budget(evaluations=12), local=0, store=path, progress="none")
    assert trainings.count == AT
    message = str(raised.value)
    assert f"{path} is not the run any more that was written" in message
    assert f"({AT} evaluations) is saved" in message
    kept = re.search(r"spot-dask resume (\S*)`", message)[1]
    run = Run.open(kept)
    assert [e.trial.number for e in run.history.evaluations] == list(range(AT))
    assert not verify(kept).problems
    assert run.path.parent == tmp_path
    more = study.resume(run, local=0, progress="none", budget=Budget(evaluations=AT + 2))
    assert len(more.history.evaluations) == AT + 2
    if name == "replaced":
        assert Journal.open(path).count() == 1


def test_a_store_that_goes_while_nothing_is_committed_is_noticed(tmp_path):
    path = tmp_path / "run.zarr"
    journal = Journal.create(path, HEADER, durability="process")
    assert not journal.stop_requested
    shutil.rmtree(path)
    with pytest.raises(StoreGone, match="it was removed or moved"):
        assert journal.stop_requested
    assert journal.gone


def test_a_store_that_cannot_be_written_any_more_is_kept_elsewhere(tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"

    def refuse(place):
        real = files.os.access
        monkeypatch.setattr(
            files.os, "access", lambda p, mode: real(p, mode) and not str(p).startswith(str(path))
        )

    trainings = Trainings(path, refuse)
    with pytest.raises(StoreError, match=f"cannot be written.*{AT} evaluations.* is saved"):
        trainings.study().run(Budget(evaluations=12), local=0, store=path, progress="none")
    assert trainings.count == AT
    assert len(Run.open(path).history.evaluations) == AT - 1
    (kept,) = tmp_path.glob("run-rescued-*")
    assert len(Run.open(kept).history.evaluations) == AT


def test_a_run_without_its_directory_is_kept_in_the_current_one(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = tmp_path / "there" / "run.zarr"
    trainings = Trainings(path, lambda path: shutil.rmtree(path.parent))
    with pytest.raises(StoreGone):
        trainings.study().run(Budget(evaluations=12), local=0, store=path, progress="none")
    assert not path.parent.exists()
    (kept,) = (tmp_path / "here").iterdir()
    assert len(Run.open(kept).history.evaluations) == AT


def test_what_cannot_be_kept_anywhere_is_said(tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"
    monkeypatch.setattr("spot_dask.store.rescue._folders", lambda *_: [tmp_path / "run.txt"])
    (tmp_path / "run.txt").write_text("")
    trainings = Trainings(path, shutil.rmtree)
    with pytest.raises(StoreGone, match="4 evaluations could not be saved elsewhere: cannot"):
        trainings.study().run(Budget(evaluations=12), local=0, store=path, progress="none")


def test_artifacts_and_checkpoints_that_are_removed_meanwhile_cost_themselves_only(
    tmp_path, caplog
):
    path = tmp_path / "run.zarr"

    def remove(path):
        for kind in ("artifacts", "checkpoints"):
            shutil.rmtree(path.with_name(f"{path.name}.{kind}"), ignore_errors=True)

    study = Trainings(path, remove).study(keep="all")
    with caplog.at_level(logging.WARNING):
        run = study.run(Budget(evaluations=8), local=0, store=path, progress="none")
    assert len(run.history.evaluations) == 8
    assert caplog.text.count("artifacts kept until now are lost") == 1


def told_again(fold):
    """The fold of what is written of a fold."""
    again, epoch = Fold(), 0
    for seq, (time, entry) in enumerate(dated(fold)):
        epoch += type(entry).__name__ == "Opened"
        again.take(Record(seq, epoch, time, entry))
    return again


def test_what_is_written_of_a_fold_adds_up_to_it(tmp_path):
    path = tmp_path / "run.zarr"
    journal = Journal.create(path, HEADER, durability="process", fold=Fold())
    journal.append(Asked((trial(0), trial(1)), 0))
    journal.append(succeeded(0))
    journal.append(Retried(1, 0, Outcome(Status.LOST)))
    journal.append(Changed({PAUSED: True}))
    journal.append(Changed({PAUSED: False}))
    journal.append(Asked((trial(2),), 1))
    journal.append(Changed({"ranges": {"within": {}, "before": {}, "hull": {}}}))
    journal.append(succeeded(2))
    journal.append(Closed("stopped"))
    journal.close()
    settings = {"budget": {"evaluations": 30}}
    journal = Journal.resume(path, durability="process", settings=settings)
    journal.append(Asked((trial(3),), 2))
    fold = Fold.of(journal.records())
    again = told_again(fold)
    assert repr(again.history) == repr(fold.history)
    assert (again.settings, again.ranges) == (fold.settings, fold.ranges)
    assert (again.retried, again.asked) == (fold.retried, fold.asked)
    assert [b.told for b in again.batches] == [b.told for b in fold.batches]
    assert [r.time for r in again.rows] == pytest.approx([r.time for r in fold.rows])
    assert again.elapsed == pytest.approx(fold.elapsed, abs=0.01)
