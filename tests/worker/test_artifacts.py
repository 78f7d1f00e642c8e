"""Artifacts of trainings: complete or not there, of the attempt that counts, of the best."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from spot_dask import (
    Budget,
    FunctionTask,
    ProgramTask,
    Real,
    Run,
    Space,
    StoreError,
    Study,
    TorchTask,
    by_value,
)
from spot_dask.executors.artifacts import ArtifactFolder, artifacts_of
from spot_dask.records import Evaluation, History, Outcome, Status, Trial
from spot_dask.tasks import Config, Context
from spot_dask.worker.artifacts import ArtifactDirectory, ArtifactPlace, attempt_of
from spot_dask.worker.context import RunningTrial
from spot_dask.worker.training_main import attempt_trial

SPACE = Space(x=Real(0, 1, default=0.5))

PUBLISHER = """\
import pathlib, sys
from spot_dask.worker.artifacts import ArtifactDirectory
place, n = ArtifactDirectory(sys.argv[1], "run"), int(sys.argv[2])
saved = pathlib.Path(sys.argv[3])
for i in range(5):
    (saved / str(i)).write_text("x" * 1000)
(saved / "deep").mkdir()
while True:
    (saved / "deep" / "last").write_text(str(n))
    place.publish(saved, n % 7, 0)
    print(n, flush=True)
    n += 1
"""


@pytest.fixture
def place(tmp_path: Path) -> ArtifactPlace:
    place = ArtifactDirectory(str(tmp_path / "artifacts"), "run")
    ArtifactFolder(place)
    return place


def kept(place: ArtifactPlace, number: int) -> Path:
    return place.fetched(number, 0, Path())


def names(place: ArtifactPlace) -> list[str]:
    return sorted(path.name for path in Path(place.root).iterdir() if path.name != ".run")


def train(place: ArtifactPlace | None, task: Any, number: int = 3, attempt: int = 0) -> Outcome:
    running = RunningTrial(Trial(number, {"x": 0.5}, 1), attempt, shelf=place)
    return attempt_trial(lambda: task, Trial(number, {"x": 0.5}, 1), running)


def leaving(text: str) -> FunctionTask:
    def run(cfg: Config, trial: Context) -> float:
        assert not any(trial.artifacts.iterdir())
        (trial.artifacts / "text").write_text(text)
        return cfg.x

    return FunctionTask(run)


def test_a_training_that_ends_well_leaves_its_artifacts(place: ArtifactPlace) -> None:
    assert train(place, leaving("a")).ok
    assert (kept(place, 3) / "text").read_text() == "a"
    assert train(place, leaving("b")).ok  # nobody has heard of the first: its run was killed
    assert (kept(place, 3) / "text").read_text() == "b"
    assert train(place, leaving("c"), attempt=2).ok
    assert names(place) == ["3", "3-2"]
    assert train(place, FunctionTask(lambda cfg: 1.0), number=4).ok
    assert names(place) == ["3", "3-2"]


def test_a_training_that_fails_or_is_stopped_leaves_none(place: ArtifactPlace) -> None:
    def fail(cfg: Config, trial: Context) -> float:
        (trial.artifacts / "text").write_text("a")
        raise ValueError

    assert train(place, FunctionTask(fail)).status is Status.FAILED
    assert train(place, FunctionTask(lambda cfg, trial: (trial.artifacts, float("nan"))[1])).error
    running = RunningTrial(Trial(3, {"x": 0.5}, 1), shelf=place, to_stop=lambda: True)

    def stopped(cfg: Config, trial: Context) -> float:
        (trial.artifacts / "text").write_text("a")
        trial.report(1, loss=1.0)
        return 1.0

    ended = attempt_trial(lambda: FunctionTask(stopped), Trial(3, {"x": 0.5}, 1), running)
    assert ended.status is Status.STOPPED
    assert names(place) == []


def test_without_a_place_artifacts_are_temporary() -> None:
    seen: list[Path] = []

    def run(cfg: Config, trial: Context) -> float:
        assert not trial.keeps_artifacts
        seen.append(trial.artifacts)
        (trial.artifacts / "text").write_text("a")
        return 1.0

    assert train(None, FunctionTask(run)).ok
    assert not seen[0].exists()


def test_a_disk_that_is_full_costs_the_artifacts_and_not_the_result(
    place: ArtifactPlace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with caplog.at_level(logging.WARNING):
        assert train(place, leaving("a")).y == 0.5
        assert train(place, leaving("a"), number=4).y == 0.5
    assert names(place) == []
    assert [r.message.count("No space left") for r in caplog.records] == [1]


def test_a_worker_that_does_not_share_the_place_trains_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = ArtifactDirectory(str(tmp_path / "gone"), "run")
    with caplog.at_level(logging.WARNING):
        assert train(elsewhere, leaving("a")).ok
        assert train(elsewhere, leaving("a")).ok
    assert [r.message.count("--artifacts") for r in caplog.records] == [1]
    assert not (tmp_path / "gone").exists()


def test_whoever_is_killed_at_any_moment_leaves_no_half_of_a_directory(
    place: ArtifactPlace, tmp_path: Path
) -> None:
    counted = 0
    for kill in range(6):
        (saved := tmp_path / str(kill)).mkdir()
        process = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, place.root, str(100 * kill), str(saved)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(by_value.__file__).parents[1])},
        )
        assert process.stdout is not None
        acknowledged = int(process.stdout.readline())
        time.sleep(0.004 * kill)
        process.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
        process.wait()
        process.stdout.close()
        for name in names(place):
            found = attempt_of(name)
            assert found is not None
            if found[2]:
                directory = kept(place, found[0])
                assert {p.name for p in directory.iterdir()} == {*"01234", "deep"}
                assert int((directory / "deep" / "last").read_text()) <= acknowledged + 1
                counted += 1
        assert (kept(place, acknowledged % 7) / "deep" / "last").exists()
    assert counted > 6


def test_what_counts_is_kept_and_orphans_are_removed(place: ArtifactPlace) -> None:
    ended = [(0, 0, Status.OK), (1, 1, Status.OK), (2, 0, Status.FAILED), (3, 0, Status.OK)]
    history = History(
        tuple(
            Evaluation(Trial(n, {"x": 0.1 * n}, n), Outcome(status, y=float(n)), attempt)
            for n, attempt, status in ended
        ),
        (Trial(4, {"x": 0.9}, 4),),
    )
    for name in ("0", "1", "1-1", "2", "3", "4", "5", "mine"):
        Path(place.root, name).mkdir()
    for number in (0, 3, 4):
        place.aside(number, 0).mkdir()
    folder = ArtifactFolder(place)
    folder.settle(history, None)
    folder.close()
    there = [name for name in names(place) if not name.startswith(".")]
    assert there == ["0", "1-1", "3", "4", "5", "mine"]
    assert [name[:4] for name in names(place) if name.startswith(".")] == [".4-0"]
    folder = ArtifactFolder(place)
    folder.settle(history, {3})
    folder.close()
    assert [n for n in names(place) if n[0] != "."] == ["3", "4", "5", "mine"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), ValueError("a defect")])
def test_what_cannot_be_removed_is_told(
    place: ArtifactPlace,
    error: Exception,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: ArtifactPlace, name: str) -> None:
        raise error

    Path(place.root, "0").mkdir(parents=True)
    folder = ArtifactFolder(place)
    monkeypatch.setattr(type(place), "remove", fail)
    folder.settle(History((Evaluation(Trial(0, {}, 0), Outcome(Status.FAILED)),)), None)
    folder.close()
    assert f"artifacts that are not to be kept stay: {error}" in caplog.text


# ---------------------------------------------------------------- whole runs


def study(**settings: Any) -> Study:
    def run(cfg: Config, trial: Context) -> Mapping[str, float]:
        (trial.artifacts / "number").write_text(str(trial.number))
        return {"loss": (cfg.x - 0.3) ** 2}

    return Study(SPACE, FunctionTask(run), infill="log_ei", confirm=0, repeats=0, **settings)


def test_the_artifacts_of_the_best_are_kept_and_few_others(tmp_path: Path) -> None:
    run = study(keep="best", budget=Budget(evaluations=20)).run(local=0, store=tmp_path / "r.zarr")
    best = run.best
    assert best is not None
    assert (run.artifacts() / "number").read_text() == str(best.trial)
    there = [p.name for p in (tmp_path / "r.zarr.artifacts").iterdir() if p.name != ".run"]
    assert 1 <= len(there) <= 12
    lost = next(e.trial.number for e in run.history.ok if str(e.trial.number) not in there)
    with pytest.raises(StoreError, match=f"no artifacts of trial {lost} are kept"):
        run.artifacts(lost)
    (tmp_path / "r.zarr").rename(tmp_path / "copy.zarr")
    with pytest.raises(StoreError, match=r"copy\.zarr are not here: there is no .*copy\.zarr\.art"):
        Run.open(tmp_path / "copy.zarr").artifacts()
    with pytest.raises(StoreError, match=r"r\.zarr\.artifacts has the artifacts of another run"):
        study(keep="best").run(local=0, store=tmp_path / "r.zarr")
    assert not (tmp_path / "r.zarr").exists()


def test_who_has_signed_by_no_text_is_another_run(tmp_path: Path) -> None:
    run = study(keep="all", budget=Budget(evaluations=2)).run(local=0, store=tmp_path / "r.zarr")
    (tmp_path / "r.zarr.artifacts" / ".run").write_bytes(b"\x80\x04\xb5")
    with pytest.raises(StoreError, match="artifacts"):
        Run.open(run.path).artifacts()
    with pytest.raises(StoreError, match="has the artifacts of another run"):
        study(keep="all").resume(run.path, Budget(evaluations=3), local=0)


def test_all_or_none_are_kept_where_the_study_says(tmp_path: Path) -> None:
    budget = Budget(evaluations=9)
    run = study(keep="all", budget=budget, artifacts=tmp_path / "kept").run(
        local=0, store=tmp_path / "r.zarr"
    )
    place = artifacts_of(tmp_path / "kept", run.path, run.header.run_id)
    assert names(place) == sorted(map(str, range(9)))
    assert (Run.open(tmp_path / "r.zarr").artifacts(4) / "number").read_text() == "4"
    none = study(budget=budget).run(local=0, store=tmp_path / "n.zarr")
    with pytest.raises(StoreError, match="without --keep best"):
        none.artifacts()
    assert not (tmp_path / "n.zarr.artifacts").exists()


def test_a_torch_task_keeps_its_model(place: ArtifactPlace) -> None:
    X = torch.linspace(0, 1, 40)[:, None]
    task = TorchTask(
        model=lambda cfg: torch.nn.Linear(1, 1),
        data=lambda: (X, 2 * X),
        optimizer=lambda parameters, cfg: torch.optim.SGD(parameters, cfg.x),
        loss=torch.nn.MSELoss(),
        epochs=1,
        device="cpu",
    )
    outcome = train(place, task)
    assert outcome.ok, outcome.error
    saved = torch.load(kept(place, 3) / "model.pt", weights_only=True)
    assert saved["metrics"] == outcome.metrics
    again = torch.nn.Linear(1, 1)
    again.load_state_dict(saved["weights"])
    assert saved["config"] == {"x": 0.5}


def test_a_program_gets_the_directory_by_its_placeholder(place: ArtifactPlace) -> None:
    code = "import os, sys; open(sys.argv[1] + '/m', 'w').write(os.environ['SPOT_DASK_ARTIFACTS'])"
    text = f"{code}; print('{{\"val_loss\": 1.5}}')"
    assert train(place, ProgramTask([sys.executable, "-c", text, "{artifacts}"])).y == 1.5
    told = Path((kept(place, 3) / "m").read_text())
    assert told.is_absolute()
    assert not told.exists()
