"""A run that is paused, killed, told what to try, resumed and let go on, as users do it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from e2e_shell import Shell, wait_until

from spot_dask import Run
from spot_dask.errors import StoreError
from spot_dask.records import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.dask]


def evaluations(store: Path) -> int:
    """Evaluations in a store that may not be there yet."""
    try:
        return len(Run.open(store).history.evaluations)
    except StoreError:
        return 0


def test_a_paused_run_survives_its_death_and_tries_what_was_asked_for(shell: Shell) -> None:
    store, tried = shell.home / "run.zarr", {"x": 0.123, "kind": "b"}
    process = shell.begin("run", shell.study(seconds=0.7), "--local", "2", "--store", store)
    wait_until(lambda: evaluations(store) >= 2)
    assert shell.spot("pause", store).stdout == "no training begins; what runs goes on\n"
    time.sleep(3.5)  # it looks every two seconds, and what runs takes less than one
    status = shell.json("status", store)
    assert (status["state"], status["paused"]) == ("running", True)
    seen = evaluations(store)
    assert 2 <= seen < 12
    time.sleep(1.5)
    assert evaluations(store) == seen
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert "resume" in shell.spot("try", store, '{"x": 0.123, "kind": "b"}').stdout

    assert "when it is resumed" in shell.spot("range", store, "x=0.05:0.6").stdout
    process = shell.begin("resume", store, "--local", "2")
    wait_until(lambda: Run.open(store).state == "running")
    time.sleep(2.0)
    assert evaluations(store) == seen
    assert shell.spot("unpause", store).stdout == "trainings begin again\n"
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "paused" in err
    run = Run.open(store)
    trials = [e.trial for e in run.history.evaluations]
    assert sorted(t.number for t in trials) == list(range(12))
    assert [dict(t.config) for t in trials if t.origin is Origin.HAND] == [tried]
    ((asked, _),) = run.fold.ranges
    assert all(0.05 <= t.config["x"] <= 0.6 for t in trials if t.number >= asked)
    assert "x: low 0.05" in str(run.within.difference(run.space))
    assert run.deviations() == []
    assert "trial" in shell.spot("try", store, "x=0.123", "kind=b").stderr
