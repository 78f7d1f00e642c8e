"""Optuna's TPESampler with the defaults of version 5: multivariate, constant liar."""

from __future__ import annotations

from benchmarks.optimisers import require
from benchmarks.peers import OptunaStudy
from spot_dask import Space


def make(space: Space, seed: int) -> OptunaStudy:
    optuna = require("optuna", "optuna")
    return OptunaStudy(optuna, space, optuna.samplers.TPESampler(seed=seed))
