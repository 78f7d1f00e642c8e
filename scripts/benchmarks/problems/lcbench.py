"""YAHPO's surrogate of LCBench [Pfisterer et al. 2022]: networks on 34 OpenML tasks, 52 epochs.

Needs onnxruntime and the folder that holds ``lcbench/model.onnx``, named by ``--data`` or the
environment variable SPOT_DASK_BENCH_DATA. The objective is 100 minus the validation accuracy; the
optimum is the best of many samples, so it is only the best known one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import Unavailable
from benchmarks.problems import Course, FloatArray, Problem, stream, uniform, with_random_default
from spot_dask import Integer, Real, Space
from spot_dask.records import Configuration

NAMES = ["3945", "7593", "34539", "126026", "167104", "167168", "167190", "168910", "189354"]

DATA = "SPOT_DASK_BENCH_DATA"
_EPOCHS, _TIME, _ACCURACY = 52, 0, 1
_SAMPLES, _ROUNDS, _ELITE = 20_000, 20, 20


def make(name: str) -> Problem:
    folder = _folder()
    tasks = json.loads((folder / "encoding.json").read_text())["OpenML_task_id"]
    if name not in tasks:
        raise ValueError(f"no lcbench/{name}; there are: {', '.join(sorted(tasks))}")
    session = _session(folder / "model.onnx")

    def outputs(configs: Sequence[Configuration]) -> FloatArray:
        """Rows of time, accuracy and four more outputs (n x 6)."""
        x = np.array([[_EPOCHS, *(c[n] for n in _SPACE.names)] for c in configs], dtype=np.float32)
        task = np.full((len(x), 1), tasks[name], dtype=np.int32)
        return np.asarray(session.run(None, {"x_cat": task, "x_cont": x})[0], dtype=np.float64)

    def truth(configs: Sequence[Configuration]) -> FloatArray:
        return 100.0 - outputs(configs)[:, _ACCURACY]

    def observe(config: Configuration, rng: np.random.Generator) -> float:
        return float(truth([config])[0])

    def seconds(config: Configuration, rng: np.random.Generator) -> float:
        return max(float(outputs([config])[0, _TIME]), 1.0)

    full = f"lcbench/{name}"
    optimum = _best_known(_SPACE, truth, full)
    return Problem(full, with_random_default(_SPACE, full), truth, observe, optimum, seconds)


def course(name: str) -> Callable[[Configuration, np.random.Generator], Course]:
    """All 52 epochs of the trainings that ``make(name)`` shows the last of."""
    folder = _folder()
    task = json.loads((folder / "encoding.json").read_text())["OpenML_task_id"][name]
    session = _session(folder / "model.onnx")
    x_cat = np.full((_EPOCHS, 1), task, dtype=np.int32)

    def trained(config: Configuration, rng: np.random.Generator) -> Course:
        rows = [[epoch, *(config[n] for n in _SPACE.names)] for epoch in range(1, _EPOCHS + 1)]
        inputs = {"x_cat": x_cat, "x_cont": np.array(rows, dtype=np.float32)}
        outputs = np.asarray(session.run(None, inputs)[0], dtype=np.float64)
        return Course(100.0 - outputs[:, _ACCURACY], max(float(outputs[-1, _TIME]), 1.0))

    return trained


_SPACE = Space(
    batch_size=Integer(16, 512, scale="log", default=64),
    learning_rate=Real(1e-4, 0.1, scale="log", default=1e-2),
    momentum=Real(0.1, 0.99, default=0.9),
    weight_decay=Real(1e-5, 0.1, default=1e-2),
    num_layers=Integer(1, 5, default=2),
    max_units=Integer(64, 1024, scale="log", default=256),
    max_dropout=Real(0.0, 1.0, default=0.5),
)


def _best_known(space: Space, truth: Any, name: str) -> float:
    """The lowest of uniform samples and of ever smaller steps from the best of them."""
    rng = stream(name, "optimum")
    X = space.encode(uniform(space, _SAMPLES, rng))
    y = truth(space.decode(X))
    for i in range(_ROUNDS):
        elite = np.argsort(y)[:_ELITE]
        steps = 0.3 * 0.8**i * rng.standard_normal((50, _ELITE, space.d))
        steps *= rng.random(steps.shape) < 0.5
        near = space.snap(np.clip(X[elite] + steps, 0, 1).reshape(-1, space.d))
        X, y = np.vstack([X[elite], near]), np.append(y[elite], truth(space.decode(near)))
    return float(y.min())


def _folder() -> Path:
    given = os.environ.get(DATA)
    if not given:
        raise Unavailable(f"lcbench needs --data or {DATA}: the folder with lcbench/model.onnx")
    folder = Path(given) / "lcbench"
    if not (folder / "model.onnx").is_file():
        raise Unavailable(f"lcbench: {folder} has no model.onnx")
    return folder


@cache
def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise Unavailable("lcbench needs onnxruntime: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)
