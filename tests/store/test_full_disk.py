"""A run that meets a full disk says so, waits, and goes on when there is space again."""

import os
import signal

import pytest
from full_disk import DISKS
from store_examples import HEADER

from spot_dask import Budget, Design, FunctionTask, Real, Run, Space, Study, session
from spot_dask.errors import StoreError, StoreFull
from spot_dask.records import Closed
from spot_dask.store.journal import Journal


@pytest.fixture(params=DISKS)
def disk(request, tmp_path):
    with DISKS[request.param](tmp_path / "disk") as disk:
        yield disk


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    monkeypatch.setattr(session, "RETRY_SECONDS", 0.02)


def study(disk, full_at):
    def loss(cfg, trial):
        if trial.number == full_at:
            disk.fill()
        return cfg.x**2

    return Study(
        Space(x=Real(-1.0, 1.0, default=0.9)), FunctionTask(loss), design=Design(initial=4)
    )


def entries(path):
    return [r.entry.reason for r in Journal.open(path).records() if isinstance(r.entry, Closed)]


def test_all_that_was_acknowledged_until_the_disk_was_full_is_there(disk):
    path = disk.folder / "run.zarr"
    journal, promised = Journal.create(path, HEADER), []
    text = "x" * 1000

    def append():
        while True:
            journal.append(Closed(f"{len(promised)}{text}"))
            promised.append(f"{len(promised)}{text}")
            if len(promised) == 20:
                disk.fill()

    with pytest.raises(StoreFull, match=r"(?s)\A[^\n]*No space left on device; free[^\n]*\Z"):
        append()
    assert entries(path) == promised
    assert len(promised) >= 20
    disk.free()
    for _ in range(10):
        journal.append(Closed("more"))
    journal.close()
    assert entries(path) == promised + ["more"] * 10
    assert not list(path.rglob("*.partial"))


def test_a_run_goes_on_when_there_is_space_again(disk):
    path, said, present = disk.folder / "run.zarr", [], []

    def listen(update):
        if update.message:
            said.append(update.message)
        if update.message and "waits for space" in update.message:
            present.extend(e.trial.number for e in Run.open(path).history.evaluations)
            disk.free()

    run = study(disk, 5).run(Budget(evaluations=9), local=0, store=path, watcher=listen)
    assert present == [0, 1, 2, 3, 4]
    assert sorted(e.trial.number for e in run.history.evaluations) == list(range(9))
    assert run.state == "done"
    waits, goes_on = [line for line in said if "space" in line]
    assert "cannot write log/c/0/" in waits
    assert "nothing is lost" in waits
    assert "\n" not in waits
    assert goes_on == "there is space again; the run goes on"


def test_a_run_that_waits_for_space_is_stopped_by_two_signals_and_resumed(disk):
    path = disk.folder / "run.zarr"

    def listen(update):
        if update.message and "waits for space" in update.message:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(StoreFull, match="No space left"):
        study(disk, 5).run(Budget(evaluations=7), local=0, store=path, watcher=listen)
    assert [t.number for t in Run.open(path).history.pending] == [5]
    with pytest.raises(StoreError, match="No space left"):
        study(disk, None).resume(path, local=0)
    disk.free()
    run = study(disk, None).resume(path, local=0)
    assert len(run.history.ok) == 7
