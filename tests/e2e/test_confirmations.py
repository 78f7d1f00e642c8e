"""Confirmations and comparisons on a cluster of separate processes, also when they are killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from e2e_shell import Cluster, Shell, wait_until

from spot_dask import Run

pytestmark = [pytest.mark.e2e, pytest.mark.dask]


def confirmed(store: Path) -> int:
    """Confirmations that have ended."""
    return len(Run.open(store).history.confirmations)


def test_a_killed_confirmation_on_a_cluster_goes_on_by_the_same_command(
    shell: Shell, cluster: Cluster
) -> None:
    store, where = shell.home / "run.zarr", ("--scheduler", cluster.address)
    done = shell.spot("run", shell.study(seconds=0.3), "--store", store, "--local", "2")
    assert done.returncode == 0, done.stderr
    searched = Run.open(store).history.evaluations
    command = ("confirm", store, "--seeds", "4", *where)
    process = shell.begin(*command)
    wait_until(lambda: confirmed(store) >= 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = Run.open(store).history
    assert 2 <= len(before.confirmations) < 8

    done = shell.spot(*command)
    assert done.returncode == 0, done.stderr
    run = Run.open(store)
    history, best = run.history, run.best
    assert best is not None
    assert history.pending == ()
    assert history.evaluations[: len(searched)] == searched
    assert history.confirmations[: len(before.confirmations)] != ()
    assert set(map(repr, before.confirmations)) <= set(map(repr, history.confirmations))
    trials = [e.trial for e in history.confirmations]
    assert [t.number for t in trials] == list(range(12, 20))
    for config in (run.space.default, best.config):
        assert sorted(t.replicate for t in trials if t.config == config) == [0, 1, 2, 3]
    seeds = {t.replicate: t.seed for t in trials}
    assert all(seeds[t.replicate] == t.seed for t in trials)
    assert not set(seeds.values()) & {e.trial.seed for e in searched}
    assert run.deviations() == []  # asked again in one go, they have the same seeds
    workers = {e.outcome.worker for e in history.confirmations}
    assert not workers & {e.outcome.worker for e in searched}
    again = shell.spot(*command)
    assert (again.returncode, "nothing to do" in again.stderr) == (0, True)
    assert confirmed(store) == 8


def test_ways_to_search_are_compared_on_a_cluster(shell: Shell, cluster: Cluster) -> None:
    command = (
        "run", shell.study(), "--against", "random", "--seeds", "1", "--evaluations", "6",
        "--store", "cmp", "--scheduler", cluster.address,
    )  # fmt: skip
    done = shell.spot(*command)
    assert done.returncode == 0, done.stderr
    assert "random" in done.stdout
    stores = sorted(shell.home.glob("cmp*.zarr"))
    assert len(stores) == 2
    for store in stores:
        history = Run.open(store).history
        assert len(history.ok) == 6
        assert {e.outcome.worker for e in history.ok} <= set(_workers(stores))
    assert len(_workers(stores)) == 2


def _workers(stores: list[Path]) -> set[str]:
    """The workers that trained for any of these runs."""
    return {e.outcome.worker for store in stores for e in Run.open(store).history.ok}
