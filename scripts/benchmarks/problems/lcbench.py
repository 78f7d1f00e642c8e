"""YAHPO's surrogate of LCBench [Pfisterer et al. 2022]: networks on 34 OpenML tasks, 52 epochs.

``lcbench/7593`` is 100 minus the validation accuracy in percent, ``lcbench/7593-ce`` the validation
cross entropy; ``lcbench/7593-ce-n0.05`` adds Gaussian noise with a standard deviation of 0.05
spreads. Needs onnxruntime and ``lcbench/model.onnx`` in the folder that ``--data`` or the
environment variable SPOT_DASK_BENCH_DATA names. The optimum is the best of many samples, so it is
only the best known one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import Unavailable, data
from benchmarks.best_known import lowest
from benchmarks.problems import KEPT, Course, FloatArray, Problem, with_random_default
from spot_dask import Integer, Real, Space
from spot_dask.records import Configuration

TASKS = [
    "3945", "7593", "34539", "126025", "126026", "126029", "146212", "167104", "167149", "167152",
    "167161", "167168", "167181", "167184", "167190", "167200", "168330", "168331", "168335",
    "168868", "168908", "168910", "189354", "189862", "189866", "189873", "189906", "189909",
]  # fmt: skip
NAMES = [f"{task}{metric}" for task in TASKS for metric in ("", "-ce")]

_KEPT = {"167083", "167185", "167201", "168329", "189865", "189905", "189908"}
_NOISE = "-n"
_EPOCHS, _TIME, _ACCURACY, _ENTROPY = 52, 0, 1, 2


def make(name: str) -> Problem:
    """The problem of a task and a metric; ValueError where there is none or it is kept."""
    name, _, share = name.partition(_NOISE)
    noise, (session, row, metric) = float(share or 0.0), _opened(name)

    def outputs(configs: Sequence[Configuration]) -> FloatArray:
        """Rows of time, accuracy and four more outputs (n x 6)."""
        x = np.array([[_EPOCHS, *(c[n] for n in _SPACE.names)] for c in configs], dtype=np.float32)
        task = np.full((len(x), 1), row, dtype=np.int32)
        return np.asarray(session.run(None, {"x_cat": task, "x_cont": x})[0], dtype=np.float64)

    def truth(configs: Sequence[Configuration]) -> FloatArray:
        return _minimised(outputs(configs), metric)

    def observe(config: Configuration, rng: np.random.Generator) -> float:
        value = float(truth([config])[0])
        return value + noise * problem.spread * rng.standard_normal() if noise else value

    def seconds(config: Configuration, rng: np.random.Generator) -> float:
        return max(float(outputs([config])[0, _TIME]), 1.0)

    full = f"lcbench/{name}"
    optimum, _ = lowest(_SPACE, truth, full, samples=20_000, rounds=20, elite=20, children=50)
    space, called = with_random_default(_SPACE, full), full + (f"{_NOISE}{share}" if share else "")
    problem = Problem(called, space, truth, observe, optimum, seconds)
    return problem


def kind(name: str) -> str:
    return "noisy" if _NOISE in name else "networks"


def course(name: str) -> Callable[[Configuration, np.random.Generator], Course]:
    """All 52 epochs of the trainings that ``make(name)`` shows the last of."""
    session, row, metric = _opened(name)
    x_cat = np.full((_EPOCHS, 1), row, dtype=np.int32)

    def trained(config: Configuration, rng: np.random.Generator) -> Course:
        rows = [[epoch, *(config[n] for n in _SPACE.names)] for epoch in range(1, _EPOCHS + 1)]
        inputs = {"x_cat": x_cat, "x_cont": np.array(rows, dtype=np.float32)}
        outputs = np.asarray(session.run(None, inputs)[0], dtype=np.float64)
        return Course(_minimised(outputs, metric), max(float(outputs[-1, _TIME]), 1.0))

    return trained


def _opened(name: str) -> tuple[Any, int, int]:
    """The model, the number it has for the task, and the column of the metric."""
    task, dash, metric = name.partition("-")
    if task in _KEPT:
        raise ValueError(f"lcbench/{name}: {KEPT}")
    if task not in TASKS or (dash and metric != "ce"):
        raise ValueError(f"no lcbench/{name}; there are, also with -ce: {', '.join(TASKS)}")
    path = data.find("lcbench/model.onnx")
    tasks = json.loads((path.parent / "encoding.json").read_text())["OpenML_task_id"]
    return _session(path), tasks[task], _ENTROPY if metric else _ACCURACY


def _minimised(outputs: FloatArray, metric: int) -> FloatArray:
    values: FloatArray = outputs[:, metric]
    return 100.0 - values if metric == _ACCURACY else values


_SPACE = Space(
    batch_size=Integer(16, 512, scale="log", default=64),
    learning_rate=Real(1e-4, 0.1, scale="log", default=1e-2),
    momentum=Real(0.1, 0.99, default=0.9),
    weight_decay=Real(1e-5, 0.1, default=1e-2),
    num_layers=Integer(1, 5, default=2),
    max_units=Integer(64, 1024, scale="log", default=256),
    max_dropout=Real(0.0, 1.0, default=0.5),
)


@cache
def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise Unavailable("lcbench needs onnxruntime: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)
