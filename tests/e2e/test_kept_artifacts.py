"""``--keep best``: whoever is killed, the best in the store has its artifacts, and all of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from e2e_shell import Cluster, Shell, wait_until

from spot_dask import Run
from spot_dask.errors import StoreError

pytestmark = [pytest.mark.e2e, pytest.mark.dask]

BODY = """
    (trial.artifacts / "number").write_text(str(trial.number))
    time.sleep({seconds})
    (trial.artifacts / "last").write_text(str(os.getpid()))
"""


def keeping_study(shell: Shell, seconds: float = 0.01) -> Path:
    study = shell.study(seconds=seconds, body=BODY.format(seconds=seconds).strip())
    text = study.read_text().replace("import time", "import os, time", 1)
    text = text.replace("def train(cfg)", "def train(cfg, trial)")
    study.write_text(text.replace("seed=1", 'seed=1, infill="log_ei", confirm=0'))
    return study


def check(store: Path) -> int:
    """The evaluations in a store, whose best one by value must have its artifacts, complete."""
    try:
        run = Run.open(store)
        luckiest = run.luckiest
    except StoreError:
        return 0
    if luckiest is not None:
        kept = run.artifacts(luckiest.trial)
        assert (kept / "number").read_text() == str(luckiest.trial)
        assert (kept / "last").exists()
    return len(run.history.evaluations)


def test_a_coordinator_that_is_killed_leaves_the_best_with_its_artifacts(shell: Shell) -> None:
    study, store = keeping_study(shell), shell.home / "run.zarr"
    options = ["--local", "2", "--evaluations", "12"]
    process = shell.begin("run", study, "--keep", "best", "--store", "run.zarr", *options)
    for least in (3, 7):
        wait_until(lambda least=least: check(store) >= least)  # type: ignore[misc]
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
        check(store)
        process = shell.begin("resume", store, *options)
    assert process.wait(timeout=60) == 0
    assert check(store) == 12
    run, folder = Run.open(store), shell.home / "run.zarr.artifacts"
    assert run.settings["keep"] == "best"
    assert not [p.name for p in folder.iterdir() if p.name.startswith(".") and p.name != ".run"]
    done = shell.spot("best", store)
    assert f"\nartifacts  {run.artifacts()}\n" in done.stdout


def test_a_worker_that_is_killed_leaves_nothing_of_its_trainings(
    shell: Shell, cluster: Cluster
) -> None:
    study, store, shared = keeping_study(shell, 0.2), shell.home / "run.zarr", shell.home / "kept"
    process = shell.begin(
        "run", study, "--scheduler", cluster.address, "--store", "run.zarr", "--keep", "all",
        "--artifacts", "kept", "--evaluations", "9",
    )  # fmt: skip
    wait_until(lambda: check(store) >= 3)
    os.kill(cluster.workers[0].pid, signal.SIGKILL)
    assert process.wait(timeout=60) == 0
    run = Run.open(store)
    (folder,) = shared.iterdir()
    assert folder.name == run.header.run_id
    assert len(run.history.ok) == 9
    for evaluation in run.history.ok:
        kept = run.artifacts(evaluation.trial.number)
        assert (kept / "number").read_text() == str(evaluation.trial.number)
        assert (kept / "last").exists()
    assert {p.name for p in folder.iterdir()} == {
        ".run", *(run.artifacts(e.trial.number).name for e in run.history.ok),
    }  # fmt: skip
