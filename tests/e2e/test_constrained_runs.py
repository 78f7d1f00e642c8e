"""A run with outcome constraints, killed and resumed as users do it."""

from __future__ import annotations

import csv
import os
import signal
from pathlib import Path

import pytest
from e2e_shell import Shell, wait_until

from spot_dask import Run
from spot_dask.errors import StoreError
from spot_dask.store.verify import verify

pytestmark = [pytest.mark.e2e, pytest.mark.dask]


def evaluations(store: Path) -> int:
    """Evaluations in a store that may not be there yet."""
    try:
        return len(Run.open(store).history.evaluations)
    except StoreError:
        return 0


def test_a_constrained_run_that_is_killed_goes_on_under_its_constraints(shell: Shell) -> None:
    study, store = shell.study(seconds=0.3), shell.home / "run.zarr"
    text = study.read_text().replace("    return (cfg.x", "    loss = (cfg.x")
    text = text.replace("else 0.0)\n", 'else 0.0)\n    return {"loss": loss, "size": 2 * cfg.x}\n')
    study.write_text(text)
    toml = shell.home / "study.toml"
    toml.write_text('[study]\nfile = "study.py"\n[constraints]\nsize = ">= 1"\n')
    limit = ("--set", "constraints.size=>= 1.2")  # beats the file; the best would be at 0.6
    process = shell.begin("run", toml, *limit, "--local", "2", "--store", store)
    wait_until(lambda: evaluations(store) >= 9)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = Run.open(store)
    assert before.settings["constraints"] == {"size": ">= 1.2"}
    done = shell.spot("resume", store, "--local", "2", "--evaluations", "16")
    assert done.returncode == 0, done.stderr
    run = Run.open(store)
    assert run.settings["constraints"] == {"size": ">= 1.2"}
    seen = len(before.history.evaluations)
    assert run.history.evaluations[:seen] == before.history.evaluations
    assert run.deviations() == []
    assert verify(store).problems == ()
    best = shell.json("best", store)
    assert best["feasible"]
    assert best["config"]["kind"] == "b"
    assert 0.6 <= best["config"]["x"] < 0.68
    assert "fulfils size >= 1.2" in shell.spot("status", store).stdout
    assert shell.spot("export", store, "--to", "csv").returncode == 0
    with (shell.home / "run" / "evaluations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16
    for row in rows:
        kept = "fulfilled" if float(row["metric.size"]) >= 1.2 else "broken"
        assert row["constraints"] == kept
