"""Processes of a Dask cluster are killed while trainings run: nothing is lost, nothing doubled."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from e2e_shell import Cluster, Shell, wait_until

from chaos.cluster import Scene, Size
from spot_dask import Run
from spot_dask.records import Status

pytestmark = [pytest.mark.e2e, pytest.mark.dask]


class Watched:
    """A run on a cluster whose trainings write down that they begin, and wait for a file to go."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.store = shell.home / "run.zarr"
        self.log, self.hold = shell.home / "begun", shell.home / "hold"
        self.hold.touch()
        self.study = shell.held_study(self.log, self.hold)

    def begun(self) -> list[tuple[int, int]]:
        """Trial and process of every training that was begun."""
        text = self.log.read_text() if self.log.exists() else ""
        return [(int(n), int(pid)) for n, pid in map(str.split, text.splitlines())]

    def wait_for_two_to_run(self) -> None:
        wait_until(lambda: {4, 5} <= {n for n, _ in self.begun()})

    def still_running(self) -> list[int]:
        """Processes of trainings that are still there."""
        return [pid for _, pid in self.begun() if Path("/proc", str(pid)).exists()]


@pytest.fixture
def watched(shell: Shell) -> Watched:
    return Watched(shell)


def test_a_new_coordinator_takes_over_what_runs_and_what_has_ended(
    watched: Watched, cluster: Cluster
) -> None:
    shell, store = watched.shell, watched.store
    process = shell.begin(
        "run", watched.study, "--scheduler", cluster.address, "--store", store, "--detach"
    )
    watched.wait_for_two_to_run()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    again = shell.begin("resume", store, "--scheduler", cluster.address)
    wait_until(lambda: Run.open(store).fold.epoch == 2)
    assert len(watched.still_running()) >= 2
    os.kill(again.pid, signal.SIGKILL)
    again.wait()
    watched.hold.unlink()  # they end while nobody is there
    done = shell.spot("resume", store, "--scheduler", cluster.address)
    assert done.returncode == 0, done.stderr
    run = Run.open(store)
    assert sorted(e.trial.number for e in run.history.ok) == list(range(12))
    assert Counter(n for n, _ in watched.begun()) == dict.fromkeys(range(12), 1)
    assert run.deviations() == []


def test_a_killed_worker_and_a_killed_training_leave_nothing_behind(
    watched: Watched, cluster: Cluster
) -> None:
    shell, store = watched.shell, watched.store
    process = shell.begin("run", watched.study, "--scheduler", cluster.address, "--store", store)
    watched.wait_for_two_to_run()
    victim = watched.still_running()[-1]
    os.kill(victim, signal.SIGKILL)  # a failed evaluation
    wait_until(lambda: len(Run.open(store).history.failed) == 1)
    worker, other = cluster.workers
    os.killpg(worker.pid, signal.SIGKILL)  # its training is run again on the other worker
    watched.hold.unlink()
    assert process.wait(timeout=90) == 0
    run = Run.open(store)
    assert sorted(e.trial.number for e in run.history.evaluations) == list(range(12))
    assert [e.outcome.status for e in run.history.failed] == [Status.CRASHED]
    other.send_signal(signal.SIGTERM)
    other.wait(timeout=60)
    wait_until(lambda: watched.still_running() == [], seconds=10)


def test_whatever_happens_to_the_processes_nothing_is_lost_or_run_for_nothing(
    tmp_path: Path,
) -> None:
    """A small run of scripts/chaos/cluster."""
    size = Size(evaluations=8, seconds=1.0, pause=0.5, limit=240.0, faults=4)
    verdict, faults = Scene(tmp_path, size, seed=3).play()
    assert verdict.failures == 0, verdict
    assert verdict.evaluated == 8
    assert len(faults) >= 3
