"""A system clock that is set while a run goes on changes neither its budget nor its durations."""

import time
from pathlib import Path

import pytest

from spot_dask import Budget, FunctionTask, Real, Run, Space, Study


class SetClock:
    """The system's clock, which a training sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead, real = 0.0, time.time
        monkeypatch.setattr(time, "time", lambda: real() + self.ahead)


def run_while_set(
    clock: SetClock, hours: float, budget: Budget, store: Path, pause: float = 0.0
) -> Run:
    trained: list[float] = []

    def training(cfg: dict[str, float]) -> float:
        trained.append(cfg["x"])
        if len(trained) == 3:
            clock.ahead = 3600 * hours
        time.sleep(pause)
        return cfg["x"] ** 2

    study = Study(Space(x=Real(-1, 1)), FunctionTask(training), search="random", confirm=0)
    return study.run(budget, store=store, local=0)


def test_a_clock_that_is_set_forward_ends_no_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = run_while_set(
        SetClock(monkeypatch), 10, Budget(evaluations=6, wall=3600), tmp_path / "run.zarr"
    )
    assert len(run.history.ok) == 6
    assert run.status()["budget"]["wall_used_seconds"] < 60
    assert all(0 <= e.outcome.seconds < 60 for e in run.history.evaluations)


def test_a_clock_that_is_set_back_gives_no_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    budget = Budget(evaluations=400, wall=1.0)
    run = run_while_set(SetClock(monkeypatch), -2, budget, tmp_path / "run.zarr", 0.05)
    assert len(run.history.ok) <= 25
    assert all(0 <= e.outcome.seconds < 60 for e in run.history.evaluations)
    assert 0.5 < run.status()["budget"]["wall_used_seconds"] < 60
