"""Whole runs in which trainings are stopped early, on real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import early_stopping_studies as studies
import network_studies as networks
import pytest
from early_stopping_studies import EPOCHS, study

from spot_dask import Budget, Run
from spot_dask.records import Origin, Status
from spot_dask.store.verify import verify

for module in (studies, networks):
    cloudpickle.register_pickle_by_value(module)


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which trainings write down what they do."""
    folder = tmp_path / "trained"
    folder.mkdir()
    monkeypatch.setenv("TRAINED", str(folder))
    return folder


def processes(trained: Path) -> Iterator[int]:
    for path in trained.iterdir():
        yield from map(int, path.read_text().split())


def check(run: Run, trained: Path, budget: int) -> None:
    """What holds for every run with early stopping, whatever happened to it."""
    history = run.history
    assert sorted(e.trial.number for e in history.evaluations) == list(range(budget))
    assert history.failed == ()
    assert history.stopped
    for e in history.stopped:
        lines = (trained / f"{e.trial.number}.{e.attempt}").read_text().split()
        assert e.trial.origin in (Origin.INFILL, Origin.DESIGN)
        # A trial that was interrupted was begun anew, in another process. A stop takes a moment
        # to arrive, and on a busy machine these trainings of 0.3 s are at their last epoch then.
        assert len(e.outcome.curves["acc"]) == lines.count(lines[-1]) <= EPOCHS
        assert e.outcome.metrics["acc"] == e.outcome.curves["acc"][-1]
    assert min(len(e.outcome.curves["acc"]) for e in history.stopped) < EPOCHS
    assert run.deviations() == []
    best = run.best
    assert best is not None
    assert best.evaluations[0].ok
    assert verify(run.path).problems == ()
    assert not any(Path(f"/proc/{pid}").exists() for pid in set(processes(trained)))


@pytest.mark.dask
def test_a_run_on_an_embedded_cluster_stops_early_and_keeps_its_processes(
    tmp_path: Path, trained: Path
) -> None:
    run = study().run(Budget(evaluations=24), local=2, store=tmp_path / "a.zarr")
    check(run, trained, 24)
    assert len(set(processes(trained))) == 2  # no stop has cost a process
    assert sum(1 for _ in processes(trained)) < 24 * EPOCHS


@pytest.mark.dask
@pytest.mark.parametrize("isolation", ["warm", "thread"])
def test_trainings_of_networks_are_stopped_and_their_slots_used_again(
    tmp_path: Path, trained: Path, isolation: str
) -> None:
    run = networks.torch_study(isolation=isolation).run(
        Budget(evaluations=12), local=2, store=tmp_path / "a.zarr"
    )
    pids = {int(path.read_text()) for path in trained.iterdir()}
    if isolation == "thread":
        assert pids == {os.getpid()}
    else:
        assert len(pids) == 2
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    again = Run.open(run.path).history
    assert len(again.evaluations) == 12
    assert again.failed == again.pending == ()
    losses = [e.outcome.curves["val_loss"] for e in again.stopped]
    assert all(len(values) >= 2 for values in losses)
    assert min(map(len, losses)) < 30
    assert [e.outcome.metrics["val_loss"] for e in again.stopped] == [v[-1] for v in losses]
    assert verify(run.path).problems == ()


def test_trainings_in_this_process_are_stopped_too(tmp_path: Path, trained: Path) -> None:
    run = study().run(Budget(evaluations=16), local=0, store=tmp_path / "a.zarr")
    assert {e.outcome.status for e in run.history.evaluations} == {Status.OK, Status.STOPPED}
    assert set(processes(trained)) == {os.getpid()}
    assert sum(1 for _ in processes(trained)) < 16 * EPOCHS


def test_the_rule_is_recorded_and_restored_where_a_study_names_another(
    tmp_path: Path, trained: Path
) -> None:
    store = tmp_path / "a.zarr"
    study(early_stopping="asha(eta=9.0)").run(Budget(evaluations=4), local=0, store=store)
    assert Run.open(store).settings["early_stopping"] == "asha(eta=9.0)"
    run = study(early_stopping=None).resume(store, Budget(evaluations=16), local=0)
    assert run.history.stopped
    assert {e.trial.origin for e in run.history.stopped} == {Origin.INFILL}  # asha spares designs


def test_by_default_every_training_runs_to_its_end(tmp_path: Path, trained: Path) -> None:
    run = study(early_stopping=None).run(Budget(evaluations=9), local=0, store=tmp_path / "a.zarr")
    assert len(run.history.ok) == 9


def test_an_unknown_rule_is_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="no early_stopping named 'halving'; there are: asha"):
        study(early_stopping="halving")


RUN = """
import sys
import cloudpickle, early_stopping_studies
from spot_dask import Budget
cloudpickle.register_pickle_by_value(early_stopping_studies)
study = early_stopping_studies.study(early_stopping="rank")
study.run(Budget(evaluations=24), client={client}, local=2, store={store})
"""


@pytest.mark.dask
def test_a_killed_coordinator_is_resumed_and_goes_on_stopping(
    tmp_path: Path, trained: Path
) -> None:
    store = tmp_path / "a.zarr"
    code = RUN.format(client=None, store=repr(str(store)))
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path})
    deadline = time.monotonic() + 60
    while not (store.exists() and _stopped(store)):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = Run.open(store).history
    run = study(early_stopping="rank").resume(store, local=2)
    check(run, trained, 24)
    assert next(e for e in run.history.evaluations if e.trial.number == 0).ok  # the default
    kept = {e.trial.number: e for e in run.history.evaluations}
    for e in before.evaluations:
        assert repr(kept[e.trial.number]) == repr(e)


def _stopped(store: Path) -> bool:
    return bool(Run.open(store).history.stopped)


@pytest.mark.dask
def test_trainings_on_workers_elsewhere_are_stopped(tmp_path: Path, trained: Path) -> None:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        run = study().run(Budget(evaluations=20), client=client, store=tmp_path / "a.zarr")
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in set(processes(trained))):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    check(run, trained, 20)
    assert run.history.stopped
    assert len({e.outcome.worker for e in run.history.evaluations}) == 2


def test_what_was_stopped_is_told_in_table_status_and_report(tmp_path: Path, trained: Path) -> None:
    run = study().run(Budget(evaluations=16), local=0, store=tmp_path / "a.zarr")
    stopped = [e.trial.number for e in run.history.stopped]
    frame = run.to_dataframe()
    rows = frame[frame["status"] == "stopped"]
    assert sorted(rows["trial"]) == sorted(stopped)
    assert rows["objective"].isna().all()
    assert rows["metric.acc"].notna().all()
    assert run.status()["trials"]["stopped"] == len(stopped)
    page = run.report(tmp_path / "report.html")
    assert f"{len(stopped)} trainings promised too little" in page.read_text()
    assert "no evaluated training failed" in page.read_text()
    document = json.loads(page.with_suffix(".json").read_text())
    assert document["failures"] == []
    assert sum(document["progress"]["stopped"]) == len(stopped)
