"""Whole runs as a user makes them: real processes, real kills, a real store."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_shell import Cluster, Shell, wait_until

from spot_dask import Run
from spot_dask.errors import StoreError
from spot_dask.records import Imported, Origin

pytestmark = [pytest.mark.e2e, pytest.mark.dask]


def evaluations(store: Path) -> int:
    """Evaluations in a store that may not be there yet."""
    try:
        return len(Run.open(store).history.evaluations)
    except StoreError:
        return 0


def proposed(store: Path) -> list[tuple[int, dict[str, object]]]:
    run = Run.open(store)
    return sorted((e.trial.number, dict(e.trial.config)) for e in run.history.evaluations)


def test_a_run_meets_its_budget_and_ends_with_a_report(shell: Shell) -> None:
    done = shell.spot("run", shell.study(), "--local", "2", "--store", "run.zarr", "--report")
    assert done.returncode == 0, done.stderr
    report = Path(done.stdout.strip().splitlines()[-1])
    assert report.name == "report.html"
    assert "<html" in (shell.home / report).read_text()
    run = Run.open(shell.home / "run.zarr")
    assert [e.trial.number for e in run.history.evaluations if e.ok].__len__() == 12
    assert run.state == "done"
    assert run.history.evaluations[0].trial.origin in (Origin.DEFAULT, Origin.DESIGN)
    best = run.best
    assert best is not None
    assert best.evaluations[0].y < 0.02


def test_a_cluster_of_separate_processes_gives_the_same_kind_of_run(
    shell: Shell, cluster: Cluster
) -> None:
    done = shell.spot("run", shell.study(), "--scheduler", cluster.address, "--store", "run.zarr")
    assert done.returncode == 0, done.stderr
    run = Run.open(shell.home / "run.zarr")
    assert len(run.history.ok) == 12
    assert len({e.outcome.worker for e in run.history.evaluations}) == 2


def test_a_killed_worker_costs_no_evaluation(shell: Shell, cluster: Cluster) -> None:
    process = shell.begin(
        "run", shell.study(seconds=0.5), "--scheduler", cluster.address, "--store", "run.zarr"
    )
    store = shell.home / "run.zarr"
    wait_until(lambda: evaluations(store) >= 2)
    os.killpg(cluster.workers[0].pid, signal.SIGKILL)
    assert process.wait(timeout=60) == 0
    run = Run.open(store)
    assert len(run.history.ok) == 12
    assert max(e.attempt for e in run.history.evaluations) == 1


@pytest.mark.parametrize("mode", [["--sync", "--batch", "2"], []], ids=["sync", "async"])
def test_a_killed_run_resumes_to_exactly_its_budget(shell: Shell, mode: list[str]) -> None:
    study = shell.study(seconds=0.2)
    process = shell.begin("run", study, "--local", "2", "--store", "killed.zarr", *mode)
    store = shell.home / "killed.zarr"
    wait_until(lambda: evaluations(store) >= 5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    acknowledged = proposed(store)
    assert len(acknowledged) < 12
    assert shell.json("status", store)["state"] == "interrupted"

    done = shell.spot("resume", store, "--local", "2")
    assert done.returncode == 0, done.stderr
    after = proposed(store)
    assert [number for number, _ in after] == list(range(12))
    assert [row for row in after if row in acknowledged] == acknowledged
    if mode:
        done = shell.spot("run", study, "--local", "2", "--store", "whole.zarr", *mode)
        assert done.returncode == 0, done.stderr
        assert proposed(shell.home / "whole.zarr") == after


def test_no_training_outlives_a_killed_coordinator(shell: Shell) -> None:
    pids = shell.home / "pids"
    body = f"import os; open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(120)"
    process = shell.begin("run", shell.study(body=body), "--local", "2", "--store", "run.zarr")
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    running = [Path("/proc", pid) for pid in pids.read_text().split()]
    assert all(p.exists() for p in running)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(p.exists() for p in running), seconds=10)


def test_a_warm_start_uses_the_old_evaluations(shell: Shell) -> None:
    study = shell.study()
    assert shell.spot("run", study, "--local", "2", "--store", "old.zarr").returncode == 0
    narrowed = shell.study("narrowed.py", low=0.2)
    done = shell.spot(
        "run", narrowed, "--local", "1", "--store", "new.zarr", "--warm-start", "old.zarr",
        "--evaluations", "4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"took \d+ of 12 evaluations", done.stderr)
    run = Run.open(shell.home / "new.zarr")
    imported = next(r.entry for r in run.journal.records() if isinstance(r.entry, Imported))
    assert len(imported.items) + len(imported.dropped) == 12
    assert all(0.2 <= float(i.config["x"]) <= 1.0 for i in imported.items)
    origins = {e.trial.number: e.trial.origin for e in run.history.evaluations}
    assert origins[0] is Origin.DEFAULT
    assert {origins[n] for n in (1, 2, 3)} == {Origin.INFILL}


def test_failures_of_every_kind_are_stored_and_the_run_goes_on(shell: Shell) -> None:
    body = (
        "if cfg.kind == 'a' and cfg.x > 0.6: raise ValueError('too large')\n"
        "    if cfg.kind == 'b' and cfg.x > 0.6: __import__('os').abort()\n"
        "    if cfg.x < 0.15: return float('nan')"
    )
    done = shell.spot("run", shell.study(body=body), "--local", "2", "--store", "run.zarr")
    assert done.returncode == 0, done.stderr
    history = Run.open(shell.home / "run.zarr").history
    assert len(history.evaluations) == 12
    kinds = {e.outcome.status for e in history.failed}
    assert {"failed", "crashed"} <= {str(k) for k in kinds}
    assert all(e.outcome.error is not None for e in history.failed)
    assert len(history.ok) >= 4


def test_ctrl_c_finishes_what_runs_and_stops(shell: Shell) -> None:
    process = shell.begin(
        "run", shell.study(seconds=0.5), "--local", "2", "--store", "run.zarr",
        "--evaluations", "500",
    )  # fmt: skip
    store = shell.home / "run.zarr"
    wait_until(lambda: evaluations(store) >= 2)
    assert shell.json("status", store)["state"] == "running"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "resume" in err
    run = Run.open(store)
    assert run.state == "stopped"
    assert len(run.history.pending) <= 2  # proposed ahead of demand and never started
    assert len(run.history.evaluations) < 500


def held(shell: Shell, *args: str) -> tuple[subprocess.Popen[str], Callable[[], list[Path]]]:
    """A run on two slots whose trainings take for ever, and what shows which of them are there."""
    pids = shell.home / "pids"
    body = f"import os; open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(300)"
    study = shell.study(body=body)
    process = shell.begin("run", study, "--local", "2", "--store", "run.zarr", *args)

    def running() -> list[Path]:
        found = [Path("/proc", pid) for pid in pids.read_text().split()]
        return [path for path in found if path.exists()]

    wait_until(lambda: pids.exists() and len(running()) == 2)
    return process, running


def test_sigterm_stops_what_outlasts_the_grace(shell: Shell) -> None:
    process, running = held(shell, "--grace", "1s")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert running() == []
    run = Run.open(shell.home / "run.zarr")
    assert (run.state, len(run.history.pending)) == ("stopped", 2)


def test_a_stop_through_the_store_drains_and_a_second_signal_ends_it(shell: Shell) -> None:
    process, running = held(shell)
    assert "finishes what runs and stops" in shell.spot("stop", "run.zarr").stdout
    time.sleep(3.0)  # it looks every two seconds
    assert len(running()) == 2
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)  # the kernel would make one of two alike
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert running() == []
    assert Run.open(shell.home / "run.zarr").ended == "spot-dask stop"
    refused = shell.spot("stop", "run.zarr")
    assert refused.returncode == 2
    assert "it has ended (spot-dask stop)" in refused.stderr


def test_the_embedded_cluster_listens_on_the_loopback_interface_only(shell: Shell) -> None:
    process = shell.begin("run", shell.study(seconds=0.5), "--local", "2", "--store", "run.zarr")
    wait_until(lambda: evaluations(shell.home / "run.zarr") >= 1)
    assert listening_addresses(process.pid) <= {"127.0.0.1"}


def listening_addresses(pid: int) -> set[str]:
    """IPv4 and IPv6 addresses a process listens on, as /proc tells."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            sockets.add(link.readlink().name.removeprefix("socket:[").rstrip("]"))
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                local = fields[1].partition(":")[0]
                addresses.add("127.0.0.1" if local == "0100007F" else local)
    return addresses


def test_a_finite_space_ends_when_everything_was_tried(shell: Shell) -> None:
    study = shell.study()
    text = study.read_text().replace("x=Real(0.0, 1.0, default=0.9)", "x=Integer(0, 2, default=2)")
    study.write_text(text.replace("import Budget", "import Integer, Budget"))
    done = shell.spot("run", study, "--local", "2", "--store", "run.zarr")
    assert done.returncode == 0, done.stderr
    assert "every configuration" in done.stderr
    run = Run.open(shell.home / "run.zarr")
    assert run.ended == "exhausted"
    searched = [e for e in run.history.evaluations if e.trial.origin is not Origin.REPLICATE]
    assert len({(e.trial.config["x"], e.trial.config["kind"]) for e in searched}) == 6
    assert len(searched) == 6


def test_a_training_may_import_a_neighbour_of_its_study(shell: Shell) -> None:
    (shell.home / "neighbour.py").write_text("OFFSET = 1.0\n")
    study = shell.study(body="from neighbour import OFFSET; return OFFSET")
    done = shell.spot("run", study, "--local", "1", "--evaluations", "1", "--store", "run.zarr")
    assert done.returncode == 0, done.stderr
    assert Run.open(shell.home / "run.zarr").history.ok[0].y == 1.0


def test_a_run_that_failed_throughout_goes_on_once_its_study_is_mended(shell: Shell) -> None:
    study = shell.study(body="raise ValueError('a bug')")
    assert shell.spot("run", study, "--local", "2", "--store", "run.zarr").returncode == 3
    assert len(Run.open(shell.home / "run.zarr").history.failed) >= 10
    mended = shell.study()
    args = ("run.zarr", "--local", "2", "--evaluations", "16")
    assert "has changed since the run began" in shell.spot("resume", *args).stderr
    done = shell.spot("resume", *args, "--study", mended)
    assert done.returncode == 0, done.stderr
    history = Run.open(shell.home / "run.zarr").history
    assert len(history.evaluations) == 16
    assert len(history.ok) >= 4
