"""A run with three trackers is killed -9 and resumed; MLflow and W&B files are read back.

MLflow's database takes seconds to make, so all here share the one of the run that is killed.
"""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tracked_examples import evaluation, evaluations, failed, points, study, told, tracked

from spot_dask import Budget, Run
from spot_dask.records import Evaluation
from spot_dask.store.journal import Journal
from spot_dask.trackers import feed
from spot_dask.trackers.mlflow import MLflow, allowed, made
from spot_dask.trackers.wandb import WandB

# They are not imported here: that takes seconds, in each process that collects the tests.
pytestmark = [
    pytest.mark.dask,
    *(
        pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed")
        for name in ("mlflow", "wandb")
    ),
]

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when the packages are imported
os.environ["WANDB_ERROR_REPORTING"] = "false"

ALL = ["tensorboard", "mlflow", "wandb"]

SESSION = """\
import sys, time
sys.path.insert(0, sys.argv[2])
import tracked_examples
from spot_dask import Budget, FunctionTask
def slow(cfg, trial):
    time.sleep(1.0)
    return tracked_examples.train(cfg, trial)
made = tracked_examples.study(trackers=["tensorboard", "mlflow", "wandb"])
made.task = FunctionTask(slow)
made.run(Budget(evaluations=1000), local=0, store=sys.argv[1])
"""

BEFORE = 2


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed once each tracker had begun to write, and resumed to its end."""
    folder = tmp_path_factory.mktemp("killed")
    path = folder / "run.zarr"
    with (folder / "log").open("wb") as log:
        words = [sys.executable, "-c", SESSION, str(path), str(Path(__file__).parent)]
        process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 120
        try:
            while not (_written(folder) or time.monotonic() > deadline):
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.02)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert _written(folder), (folder / "log").read_text()
    journal = Journal.open(path)
    journal.read()
    done = journal.fold.told
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(feed, "DRAIN_SECONDS", 120.0)  # the machine may be busy
        study(trackers=ALL).resume(path, Budget(evaluations=done + 3), local=0)
    assert len(evaluations(path)) == done + 3
    return path


def _written(folder: Path) -> bool:
    """Whether MLflow and W&B, which take a while to begin, have something of a run."""
    return (folder / "mlflow.db").exists() and len(list(folder.glob("run/wandb/*run-*"))) >= BEFORE


# ---------------------------------------------------------------- reading


def in_wandb(folder: Path) -> dict[int, dict[str, Any]]:
    """What lies in the folder of W&B by trial: config, summary, exit code and points.

    There must be one folder for each trial.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[int, dict[str, Any]] = {}
    for path in folder.glob("offline-run-*/*.wandb"):
        trial: dict[str, Any] = {"config": {}, "summary": {}, "points": [], "exit": None}
        for data in leveldb(path):
            record = Record.FromString(data)
            for item in record.run.config.update:
                trial["config"][item.key] = json.loads(item.value_json)
            for item in record.summary.update:
                trial["summary"][item.key or "/".join(item.nested_key)] = json.loads(
                    item.value_json
                )
            row = {i.key or i.nested_key[0]: json.loads(i.value_json) for i in record.history.item}
            step = row.get("_step")
            trial["points"] += [(k, step, v) for k, v in row.items() if not k.startswith("_")]
            if record.HasField("exit"):
                trial["exit"] = record.exit.exit_code
        number = int(path.stem.rpartition("-")[2])
        assert number not in found
        found[number] = trial | {"points": sorted(trial["points"])}
    return found


def leveldb(path: Path) -> Iterator[bytes]:
    """The records of a log of LevelDB's format, which W&B's files have after seven bytes."""
    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        whole = (b"" if kind in (1, 2) else whole) + data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield whole


class InMLflow:
    """The runs of a run of spot-dask in MLflow's database."""

    def __init__(self, database: Path, experiment: str, run_id: str) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient(f"sqlite:///{database}")
        found = self._client.get_experiment_by_name(experiment)
        (self.parent,) = self._search(found.experiment_id, f"tags.`spot_dask.run` = '{run_id}'")
        ours = f"tags.`mlflow.parentRunId` = '{self.parent.info.run_id}'"
        self._children = list(self._search(found.experiment_id, ours))
        numbers = [int(child.data.tags["spot_dask.trial"]) for child in self._children]
        assert max(Counter(numbers).values()) == 1, "each trial has one run"
        self.trials = dict(sorted(zip(numbers, self._children, strict=True)))

    def _search(self, experiment: str, condition: str) -> Any:
        return self._client.search_runs([experiment], condition, max_results=10_000)

    def points(self, run: Any) -> list[tuple[str, int, float]]:
        """Every point of a run: name, step, value."""
        return sorted(
            (name, metric.step, metric.value)
            for name in run.data.metrics
            for metric in self._client.get_metric_history(run.info.run_id, name)
        )


def expected(found: Evaluation) -> list[tuple[str, int, float]]:
    """The points of a trial in MLflow: curves, and results at the last epoch."""
    metrics = found.outcome.metrics if found.ok else {}
    last = [(f"result/{name}", found.outcome.epochs, value) for name, value in metrics.items()]
    return sorted([*points(found), *last])


# ---------------------------------------------------------------- a killed run


def test_after_a_kill_every_point_is_in_mlflow_once(store: Path) -> None:
    run = Run.open(store)
    kept = InMLflow(store.parent / "mlflow.db", "example", run.header.run_id)
    assert list(kept.trials) == sorted(e.trial.number for e in evaluations(store))
    for found in evaluations(store):
        child = kept.trials[found.trial.number]
        assert kept.points(child) == expected(found)
        assert child.data.params == {k: str(v) for k, v in found.trial.config.items()}
        assert child.info.status == ("FINISHED" if found.ok else "FAILED")
    search = [(name, step) for name, step, _ in kept.points(kept.parent) if name == "seconds"]
    assert search == [("seconds", k + 1) for k in range(len(evaluations(store)))]
    assert kept.parent.info.status == "FINISHED"


def test_after_a_kill_every_point_is_in_weights_and_biases_once(store: Path) -> None:
    kept = in_wandb(store.parent / "run" / "wandb")
    assert sorted(kept) == sorted(e.trial.number for e in evaluations(store))
    for place, found in enumerate(evaluations(store), 1):
        trial = kept[found.trial.number]
        assert trial["points"] == points(found)
        assert trial["config"].items() >= dict(found.trial.config).items()
        assert trial["exit"] == (0 if found.ok else 1)
        assert trial["summary"]["place"] == place
        if found.ok:
            assert trial["summary"]["result/loss"] == found.outcome.metrics["loss"]
    assert not list(store.parent.glob("run/wandb/.*"))


def test_after_a_kill_every_point_is_in_tensorboard_once(store: Path) -> None:
    from test_tensorboard import is_whole

    ordered = sorted(evaluations(store), key=lambda e: e.trial.number)
    assert is_whole(store.parent / "run" / "tensorboard", *ordered)


# ---------------------------------------------------------------- MLflow


class Killed(BaseException):
    """Instead of a kill: what a call to MLflow's client commits is there in whole or not at all."""


class Counting:
    """A client of MLflow that is killed at its ``step``-th call."""

    def __init__(self, client: Any, step: int) -> None:
        self._client, self._left = client, step

    def __getattr__(self, name: str) -> Any:
        self._left -= 1
        if self._left == 0:
            raise Killed
        return getattr(self._client, name)


def test_killed_between_any_two_calls_and_resumed_mlflow_has_each_point_once(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    client = mlflow.MlflowClient
    uri = f"sqlite:///{store.parent / 'mlflow.db'}"
    before, after = (evaluation(0), failed(1)), evaluation(2)
    step, killed = 0, True
    while killed:
        step += 3
        listener, run = MLflow(uri, "kills"), f"{step:08d}kills"
        monkeypatch.setattr(
            mlflow, "MlflowClient", lambda uri, step=step: Counting(client(uri), step)
        )
        try:
            told(listener, tracked(store, run=run), *before)
            killed = False
        except Killed:
            pass
        monkeypatch.setattr(mlflow, "MlflowClient", client)
        told(MLflow(uri, "kills"), tracked(store, *before, run=run), after)
        kept = InMLflow(store.parent / "mlflow.db", "kills", run)
        for found in (*before, after):
            wanted = [(n.replace("<", "_").replace(">", "_"), k, min(v, 1.7976931348623157e308))
                      for n, k, v in expected(found)]  # fmt: skip
            assert kept.points(kept.trials[found.trial.number]) == wanted, step
        best = [p[2] for p in kept.points(kept.parent) if p[0] == "best so far"]
        assert best == [1.0, 1.0, 1 / 3], step
        assert kept.trials[1].data.tags["error"] == f"RuntimeError: {'too long ' * 3000}"[:500]
    assert step > 12


def test_killed_while_the_database_is_made_mlflow_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.store.tracking import sqlalchemy_store

    def half(uri: str, artifacts: str) -> None:
        Path(uri.removeprefix("sqlite:///")).write_bytes(b"half of it")
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(sqlalchemy_store, "SqlAlchemyStore", half)
        with pytest.raises(Killed):
            made(tmp_path / "mlflow.db", (tmp_path / "mlartifacts").as_uri())
    assert not (tmp_path / "mlflow.db").exists()
    store = tmp_path / "run.zarr"
    told(MLflow(), tracked(store), evaluation(0))
    assert InMLflow(
        tmp_path / "mlflow.db", tracked(store).name, tracked(store).id
    ).trials.keys() == {0}
    assert not [*tmp_path.glob("*.partial")]


@pytest.mark.parametrize(
    ("names", "mended"),
    [
        (["loss", "val/acc", "a b:c-d.e_1"], ["loss", "val/acc", "a b:c-d.e_1"]),
        (["a<b>", "a>b<", "a_b_"], ["a_b_", "a_b__2", "a_b__3"]),
        (["/x", "x//y", "../z", ".", ""], ["x", "x/y", "_/z", "_", "__2"]),
        (["é"], ["é"]),
        (["x" * 400, "x" * 300], ["x" * 245, f"{'x' * 245}_2"]),
    ],
)
def test_names_that_mlflow_refuses_are_mended_and_stay_apart(
    names: list[str], mended: list[str]
) -> None:
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    assert list(allowed(names).values()) == mended
    for name in mended:
        _validate_metric_name(name)
        _validate_param_name(name)


# ---------------------------------------------------------------- Weights & Biases


def test_weights_and_biases_takes_odd_names_and_values_and_a_trial_cut_off_is_written_anew(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = evaluation(
        1, metrics={"loss": 0.5, "_mine": math.inf, "none": math.nan}, curves={"_mine": (1.0, 2.0)}
    )
    before = (evaluation(0), odd)

    def no_move(path: Path, target: Path) -> None:
        if path.name.endswith("-1"):
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", no_move)
        with pytest.raises(Killed):
            told(WandB(dir=tmp_path), tracked(store), odd)
    assert not list(tmp_path.glob("wandb/offline-run-*"))
    told(WandB(dir=tmp_path), tracked(store, *before), failed(2))
    kept = in_wandb(tmp_path / "wandb")
    assert kept.keys() == {0, 1, 2}
    assert kept[1]["points"] == [("metric_mine", 1, 1.0), ("metric_mine", 2, 2.0)]
    assert kept[1]["summary"]["result/_mine"] == math.inf
    assert "result/none" not in kept[1]["summary"]
    assert kept[2]["points"] == [("loss", 1, 3.0), ("loss", 2, math.inf)]
    assert kept[2]["summary"]["error"] == f"RuntimeError: {'too long ' * 3000}"[:500]
    assert (kept[2]["exit"], kept[0]["config"]["kind"]) == (1, "none")
