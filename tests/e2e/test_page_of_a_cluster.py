"""The page /spot of schedulers that are processes of their own, while runs go on and after."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from e2e_shell import Cluster, Shell, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.dask]

BODY = """trial.report(3, loss=cfg.x)
    if trial.number == 1:
        raise ValueError("not this one")
    import pathlib
    while trial.number == 4 and pathlib.Path({hold!r}).exists():
        time.sleep(0.05)"""


def held_study(shell: Shell, name: str) -> Path:
    """A study of that name whose trainings report epoch 3; trial 1 fails, trial 4 goes on as long
    as there is a file ``hold``."""
    (shell.home / "hold").touch()
    study = shell.study(f"{name}.py", body=BODY.format(hold=str(shell.home / "hold")))
    text = study.read_text().replace("def train(cfg)", "def train(cfg, trial)")
    study.write_text(text.replace('"quadratic"', repr(name)))
    return study


def begin(shell: Shell, name: str, scheduler: str | Path) -> tuple[subprocess.Popen[str], str]:
    """A run of ``held_study``, and the address of its page."""
    run = shell.begin(
        "run", held_study(shell, name), "--scheduler", scheduler, "--store", f"{name}.zarr"
    )
    assert run.stderr is not None
    told = ""
    while (found := re.search(r"in a browser: (http://127\.0\.0\.1:\d+/spot)\n", told)) is None:
        line = run.stderr.readline()
        assert line, told
        told += line
    return run, found[1]


def end(shell: Shell, *runs: subprocess.Popen[str]) -> None:
    (shell.home / "hold").unlink()
    for run in runs:
        _, told = run.communicate(timeout=60)
        assert run.returncode == 0, told
        assert "Traceback" not in told


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def standings(url: str) -> dict[str, dict[str, Any]]:
    """What the page tells, by the name of the run."""
    return {run["name"]: run for run in json.loads(read(f"{url}.json"))["runs"]}


def held(run: dict[str, Any]) -> bool:
    """Whether trial 4 waits."""
    return [(t["trial"], t["epoch"]) for t in run["running"]][:1] == [(4, 3)]


def test_a_plain_scheduler_shows_a_run_while_it_goes_on_and_after(shell: Shell) -> None:
    cluster = Cluster(shell)  # of its own: it shows what has run on it before
    cluster.two_workers()
    run, url = begin(shell, "one", cluster.address)
    wait_until(lambda: [told["done"] for told in standings(url).values()] == [11])
    (told,) = standings(url).values()
    assert held(told)
    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", read(url)))
    assert "11 of 12 evaluations in 0:" in text
    assert f"best loss {told['best']['value']:.3g}" in text
    assert f"in trial {told['best']['trial']}: x=" in text
    assert "not ok: 1 failed" in text
    assert "1 of 2 slots busy, 2 workers trial for epoch loss worker 4 0:" in text
    assert re.search(r" 4 0:\d\d:\d\d 3 [\d.]+ tcp://127\.0\.0\.1:\d+ ", text)
    end(shell, run)
    (told,) = standings(url).values()
    assert (told["done"], told["ended"], told["failures"]) == (12, "budget", {"failed": 1})
    assert "ended (budget)" in read(url)
    assert "slots busy" not in read(url)


def test_without_bokeh_two_runs_share_the_page_of_a_scheduler(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = shell.home / "stub"
    stub.mkdir()
    (stub / "bokeh.py").write_text("raise ImportError('there is no bokeh')\n")
    monkeypatch.setenv("PYTHONPATH", str(stub), prepend=":")
    file = shell.home / "scheduler.json"
    scheduler = shell.begin(
        "scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard", "127.0.0.1:0",
        "--scheduler-file", file,
    )  # fmt: skip
    wait_until(file.exists)
    worker = shell.begin("worker", file, "--local-directory", shell.home, "--slots", "2")
    first, url = begin(shell, "first", file)
    second, same = begin(shell, "second", file)
    assert same == url
    assert "bokeh" in read(url.replace("/spot", "/status")).lower()
    wait_until(lambda: len(told := standings(url)) == 2 and all(map(held, told.values())))
    assert re.findall("<h2>(.*)</h2>", read(url)) == ["second", "first"]
    end(shell, first, second)
    told = standings(url)
    assert {name: (run["done"], run["ended"]) for name, run in told.items()} == {
        "first": (12, "budget"), "second": (12, "budget"),
    }  # fmt: skip
    for process in (worker, scheduler):
        process.terminate()
        _, log = process.communicate(timeout=30)
        assert "Traceback" not in log
