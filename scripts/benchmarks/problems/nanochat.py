"""Real trainings of a language model of 50 M parameters, five minutes of an H200 each.

From the data of arXiv 2603.24647 (10,199 trainings by 8 methods, MIT): a classifier of failure,
nearly always out of memory, and a regressor of the validation bits per byte, both deterministic.
Boosted trees; out of 4 folds of whole runs, .999 of the failures are told and the rank correlation
of the others is .96. Uniform random fails 56 % of the time.

As in the published runs everyone's first evaluation is that of the defaults, which does not fail.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from benchmarks import data
from benchmarks.best_known import lowest
from benchmarks.problems import FloatArray, Problem
from spot_dask import Categorical, Integer, Real, Space
from spot_dask.records import Configuration

NAMES = ["trials"]
KIND = "failures"
VALUE = "bpb"

_FILE = "nanochat/trials.csv.gz"
_PATTERNS = ["SSSL", "SSLL", "SLSL", "LSSL", "SSSS", "LLLL"]
_FLOOR = 0.96  # bits per byte that nothing reached: the logarithm above it is what is learnt
_SECONDS, _FAILED_SECONDS = 300.0, 33.0  # the medians

_SPACE = Space(
    depth=Integer(4, 24, default=8),
    aspect_ratio=Integer(32, 128, default=64),
    head_dim=Categorical([64, 128, 256], default=128, ordered=True),
    device_batch_size=Integer(32, 256, scale="power2", default=128),
    total_batch_size=Integer(65_536, 2_097_152, scale="power2", default=524_288),
    embedding_lr=Real(0.01, 2.0, scale="log", default=0.6),
    unembedding_lr=Real(5e-4, 0.05, scale="log", default=0.004),
    matrix_lr=Real(0.005, 0.2, scale="log", default=0.04),
    scalar_lr=Real(0.05, 2.0, scale="log", default=0.5),
    weight_decay=Real(0.0, 0.5, default=0.2),
    warmup_ratio=Real(0.0, 0.3, default=0.0),
    warmdown_ratio=Real(0.1, 0.8, default=0.5),
    final_lr_frac=Real(0.0, 0.2, default=0.0),
    window_pattern=Categorical(_PATTERNS, default="SSSL"),
)
_RATES = ("embedding_lr", "unembedding_lr", "matrix_lr", "scalar_lr")
_SHARES = ("weight_decay", "warmup_ratio", "warmdown_ratio", "final_lr_frac")


@cache
def make(name: str) -> Problem:
    """The problem ``trials``; ValueError for any other name."""
    if name not in NAMES:
        raise ValueError(f"no nanochat/{name}; there is: trials")
    trainings = rows()
    X, ok = _features(trainings), np.array([row["success"] == "1" for row in trainings])
    y = np.array([float(row["val_bpb"]) for row in trainings if row["success"] == "1"])
    classifier = HistGradientBoostingClassifier(random_state=0).fit(X, ok)
    regressor = HistGradientBoostingRegressor(max_iter=300, learning_rate=0.06, random_state=0).fit(
        X[ok], np.log(y - _FLOOR)
    )

    def truth(configs: Sequence[Configuration]) -> FloatArray:
        features = _features(configs)
        values = _FLOOR + np.exp(regressor.predict(features))
        return np.where(classifier.predict(features), values, np.inf)

    def observe(config: Configuration, rng: np.random.Generator) -> float:
        value = float(truth([config])[0])
        return value if np.isfinite(value) else np.nan

    def seconds(config: Configuration, rng: np.random.Generator) -> float:
        return _SECONDS if np.isfinite(truth([config])[0]) else _FAILED_SECONDS

    optimum, values = lowest(
        _SPACE, truth, "nanochat", samples=20_000, rounds=20, elite=20, children=50
    )
    median = float(np.median(values[np.isfinite(values)]))
    return Problem(
        "nanochat/trials",
        _SPACE,
        truth,
        observe,
        optimum,
        seconds,
        median=median,
        first=_SPACE.default,
    )


def published(evaluations: int) -> dict[str, tuple[float, float, int]]:
    """Of each method's published runs, cut off after so many trainings: mean best bits per byte,
    mean number of failures, number of runs."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows():
        if int(row["trial"]) < evaluations:
            value = float(row["val_bpb"]) if row["success"] == "1" else np.inf
            found.setdefault(row["method"], {}).setdefault(row["seed"], []).append(value)
    return {
        method: (
            float(np.mean([min(values) for values in runs.values()])),
            float(np.mean([np.isinf(values).sum() for values in runs.values()])),
            len(runs),
        )
        for method, runs in found.items()
    }


@cache
def rows() -> list[dict[str, str]]:
    """All published trainings: method, seed, number, success, value and configuration."""
    with gzip.open(data.find(_FILE), "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _features(rows: Sequence[Mapping[str, Any]]) -> FloatArray:
    """The parameters and the sizes that memory and speed follow from (n x 22)."""
    return np.array([_feature(row) for row in rows])


def _feature(row: Mapping[str, Any]) -> list[float]:
    depth, aspect, head = (float(row[n]) for n in ("depth", "aspect_ratio", "head_dim"))
    device, total = float(row["device_batch_size"]), float(row["total_batch_size"])
    width = np.ceil(depth * aspect / head) * head
    return [
        depth,
        aspect,
        *np.log2([head, device, total]),
        *(np.log(float(row[n])) for n in _RATES),
        *(float(row[n]) for n in _SHARES),
        *(float(row["window_pattern"] == p) for p in _PATTERNS),
        *np.log2([width, width**2 * depth, device * width * depth]),
    ]
