"""BoTorch's qLogNoisyExpectedImprovement, sequential greedy, on a one-hot box.

A single-task Gaussian process with BoTorch's default priors; pending points enter as ``X_pending``,
failed ones are left out. It starts with a scrambled Sobol design of max(8, 2 d) points.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.optimisers import OneHot, require
from benchmarks.optimisers.sobol import Sobol
from spot_dask import Space
from spot_dask.records import Configuration


class BoTorch:
    def __init__(self, space: Space, seed: int, restarts: int, raw: int) -> None:
        self._torch = require("torch", "torch")
        self._fit = require("botorch.fit", "botorch").fit_gpytorch_mll
        self._gp = require("botorch.models", "botorch").SingleTaskGP
        self._mll = require("gpytorch.mlls", "gpytorch").ExactMarginalLogLikelihood
        criteria = require("botorch.acquisition.logei", "botorch")
        self._criterion = criteria.qLogNoisyExpectedImprovement
        self._optimise = require("botorch.optim", "botorch").optimize_acqf
        self._torch.set_num_threads(1)
        self._space, self._seed, self._restarts, self._raw = space, seed, restarts, raw
        self._box, self._start = OneHot(space), Sobol(space, seed)
        self._design = max(8, 2 * space.d)
        self._asked: list[Configuration] = []
        self._y: dict[int, float] = {}

    def ask(self, n: int) -> list[Configuration]:
        first = min(n, max(0, self._design - len(self._asked)))
        configs = self._start.ask(first) if first else []
        good = sum(map(math.isfinite, self._y.values()))
        rest = n - len(configs)
        if rest and good < 2:
            configs += self._start.ask(rest)
        elif rest:
            configs += self._proposed(rest, configs)
        self._asked += configs
        return configs

    def tell(self, results: Sequence[tuple[int, float]]) -> None:
        self._y.update(results)

    def attach(self, results: Sequence[tuple[Configuration, float]]) -> None:
        self._asked = [config for config, _ in results]
        self._y = {k: y for k, (_, y) in enumerate(results)}

    def _proposed(self, n: int, also: Sequence[Configuration]) -> list[Configuration]:
        torch = self._torch
        torch.manual_seed(self._seed * 100_003 + len(self._asked))
        done = [k for k, y in self._y.items() if math.isfinite(y)]
        X = torch.as_tensor(self._box.points([self._asked[k] for k in done]))
        y = -torch.as_tensor(np.array([[self._y[k]] for k in done]))
        pending = [c for k, c in enumerate(self._asked) if k not in self._y] + list(also)
        bounds = torch.stack([torch.zeros(self._box.d), torch.ones(self._box.d)]).double()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model: Any = self._gp(X, y)
            self._fit(self._mll(model.likelihood, model))
            criterion = self._criterion(
                model,
                X_baseline=X,
                X_pending=torch.as_tensor(self._box.points(pending)) if pending else None,
            )
            points, _ = self._optimise(
                criterion,
                bounds,
                q=n,
                num_restarts=self._restarts,
                raw_samples=self._raw,
                sequential=True,
            )
        return self._box.configs(points.numpy())


def make(space: Space, seed: int, restarts: int = 10, raw: int = 512) -> BoTorch:
    return BoTorch(space, seed, restarts, raw)
