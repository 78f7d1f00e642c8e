"""The page of a scheduler's runs, in the scheduler's own HTTP server."""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import pytest
from distributed import Client, LocalCluster

from spot_dask import Budget, FunctionTask, Real, Space, Study
from spot_dask.executors import page

pytestmark = pytest.mark.dask

# The processes must not have to find this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

TOLD = "how the run stands, in a browser: "
NAME = "<script>alert(1)</script>"


def loss(cfg, trial):
    trial.report(1, loss=cfg.x)
    time.sleep(0.5)
    return cfg.x


STUDY = Study(
    Space(x=Real(0.0, 1.0, default=0.5)),
    FunctionTask(loss),
    name=NAME,
    constraints={"loss": "<= -1"},
)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, memory_limit=0,
            dashboard_address="127.0.0.1:0", worker_dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        yield client


def read(url: str | None) -> str:
    assert url is not None
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.status == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        return str(answer.read().decode())


def test_the_page_tells_how_a_run_stands(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PUSH_SECONDS", 0.1)
    urls: list[str] = []
    run = threading.Thread(
        target=STUDY.run,
        args=[Budget(evaluations=6)],
        kwargs={
            "client": client,
            "store": tmp_path / "run.zarr",
            "watcher": lambda u: urls.append(u.message) if u.message else None,
        },
    )
    run.start()
    deadline = time.monotonic() + 60
    while not any(told.startswith(TOLD) for told in urls):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    url = next(told for told in urls if told.startswith(TOLD)).removeprefix(TOLD)
    while True:
        assert time.monotonic() < deadline
        runs = json.loads(read(f"{url}.json"))["runs"]
        if runs and runs[0]["running"] and runs[0]["running"][0]["epoch"] and runs[0]["done"]:
            break
        time.sleep(0.05)
    assert runs[0]["goal"]["evaluations"] == 6
    assert runs[0]["busy"] <= runs[0]["slots"] == 2
    assert runs[0]["best"]["config"].keys() == {"x"}
    assert not runs[0]["best"]["feasible"]
    html = read(url)
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "of 6 evaluations" in html
    assert '<p class="bad">nothing tried fulfils loss &lt;= -1; trial ' in html
    run.join(timeout=60)
    ended = json.loads(read(f"{url}.json"))["runs"][0]
    assert (ended["done"], ended["ended"]) == (6, "budget")
    assert "ended (budget)" in read(url)


def fail(*args, dask_scheduler=None):
    raise RuntimeError("no page today")


@pytest.mark.parametrize("broken", ["install", "put"])
def test_a_run_goes_on_whatever_fails_about_its_page(
    broken: str,
    client: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "spot_dask.executors.page")
    monkeypatch.setattr(page, "PUSH_SECONDS", 0.05)
    monkeypatch.setattr(page, broken, fail)
    run = STUDY.run(Budget(evaluations=3), client=client, store=tmp_path / "run.zarr")
    assert "no page today" in caplog.text
    assert len(run.history.ok) == 3


def standing(began: float, ended: str | None) -> dict[str, object]:
    return {"began": began, "ended": ended}


def test_the_runs_that_go_on_come_first_and_then_the_newest() -> None:
    board = page.Board()
    board.put("old", standing(1.0, None))
    board.put("over", standing(3.0, "budget"))
    board.put("new", standing(2.0, None))
    assert [run["began"] for run in board.runs()] == [2.0, 1.0, 3.0]


def test_the_run_that_was_heard_of_longest_ago_is_forgotten() -> None:
    board = page.Board()
    for number in range(page.KEPT):
        board.put(str(number), standing(float(number), None))
    board.put("0", standing(0.0, None))
    board.put("one more", standing(99.0, None))
    began = {run["began"] for run in board.runs()}
    assert len(began) == page.KEPT
    assert 1.0 not in began
    assert {0.0, 99.0} <= began
