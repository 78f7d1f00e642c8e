"""A real training whose importances are known from several hundred random configurations.

No formula tells the Sobol indices of a training. So random configurations are trained, once each:
over the whole space, and in the box around the best tenth of those, because what matters near the
best is something else. The truth is the mean of a Gaussian process of scikit-learn's for the
logarithm of their values: another kernel, other code and other evaluations than those of the
statements that are judged. ``python -m benchmarks.problems.reference`` tells how well it is known.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from benchmarks.problems import FloatArray, Problem, stream, uniform, with_random_default
from benchmarks.problems.sklearn import MLP, WRONG, mlp, trainer
from benchmarks.trainings import FOLDER, Kept, Known, quiet
from spot_dask.records import Configuration
from spot_dask.stats.sensitivity import sobol_posterior

NAMES = ["mlp_digits"]
KIND = "networks"

SPACE = MLP
TRAIN = quiet(trainer(mlp, "digits", WRONG))
KNOWN = Known(0.0550, 0.8275)

WHOLE, NEAR = 320, 240
GOOD = 0.1  # the share of the first whose box holds the others
FITTED = 280  # configurations that the kernel's parameters are estimated from
BLOCK = 2048  # configurations predicted at once


def make(name: str) -> Problem:
    """A problem by its name; ValueError where there is none."""
    if name not in NAMES:
        raise ValueError(f"no reference/{name}; there are: {', '.join(NAMES)}")

    def observe(config: Configuration, rng: np.random.Generator) -> float:
        return TRAIN(config, int(rng.integers(1, 2**31)))

    def truth(configs: Sequence[Configuration]) -> FloatArray:
        return np.exp(predicted(reference(), SPACE.encode(list(configs))))

    full = f"reference/{name}"
    space = with_random_default(SPACE, full)
    return Problem(full, space, truth, observe, KNOWN.optimum, median=KNOWN.median)


@cache
def values() -> tuple[FloatArray, FloatArray]:
    """Random rows (n x d) and the value of one training of each (n); trainings are kept on disk."""
    kept = Kept(FOLDER / f"reference-mlp_digits-{sklearn.__version__}.jsonl")
    rng = stream("reference", "mlp_digits")

    def shown(configs: Sequence[Configuration]) -> FloatArray:
        found = []
        for config, seed in zip(configs, rng.integers(1, 2**31, size=len(configs)), strict=True):
            found.append(kept.value(config, lambda c, s=int(seed): TRAIN(c, s)))
        return np.array(found)

    whole: list[Configuration] = uniform(SPACE, WHOLE, rng)
    rows, first = SPACE.encode(whole), shown(whole)
    best = rows[np.argsort(first)[: int(GOOD * WHOLE)]]
    low, high = best.min(axis=0), best.max(axis=0)
    near = SPACE.snap(low + (high - low) * rng.random((NEAR, SPACE.d)))
    return np.vstack([rows, near]), np.concatenate([first, shown(list(SPACE.decode(near)))])


@cache
def reference() -> Any:
    """The Gaussian process fitted to all random configurations."""
    rows, y = values()
    return fitted(rows, np.log(y))


def fitted(rows: FloatArray, z: FloatArray) -> Any:
    """A Gaussian process fitted to values z (n) at rows (n x d)."""
    X = SPACE.features(rows)
    kernel = ConstantKernel() * Matern(np.ones(X.shape[1]), (0.05, 100.0), nu=2.5)
    process = GaussianProcessRegressor(
        kernel + WhiteKernel(0.01, (1e-5, 1.0)), normalize_y=True, random_state=0
    )
    some = np.random.default_rng(0).permutation(len(z))[:FITTED]
    with warnings.catch_warnings():  # a parameter that does nothing has no length scale
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(X[some], z[some])
    fixed = GaussianProcessRegressor(process.kernel_, optimizer=None, normalize_y=True)
    return fixed.fit(X, z)


def predicted(process: Any, rows: FloatArray) -> FloatArray:
    """The logarithm of the objective (m) at rows (m x d)."""
    X = SPACE.features(rows)
    return np.concatenate([process.predict(X[i : i + BLOCK]) for i in range(0, len(X), BLOCK)])


def main() -> None:
    """Print how configurations that were left out are predicted, and two halves' indices."""
    rows, y = values()
    z, part = np.log(y), np.random.default_rng(1).permutation(len(y)) % 5
    left_out = np.empty(len(z))
    for k in range(5):
        left_out[part == k] = predicted(fitted(rows[part != k], z[part != k]), rows[part == k])
    for place, of in (("whole", slice(WHOLE)), ("near", slice(WHOLE, None))):
        q2 = 1.0 - np.square(z - left_out)[of].sum() / np.square(z[of] - z[of].mean()).sum()
        print(f"{place}: Q2 = {q2:.2f}")
    print(f"lowest {y.min():.4f}, median {np.median(y[:WHOLE]):.4f}")
    for half in (fitted(rows, z), *(fitted(rows[i::2], z[i::2]) for i in (0, 1))):
        found = sobol_posterior(
            lambda X, h=half: predicted(h, X)[None], SPACE.snap, SPACE.d,
            np.random.default_rng(0), 2048,
        )  # fmt: skip
        print(dict(zip(SPACE.free, found.total.value.round(3).tolist(), strict=True)))


if __name__ == "__main__":
    main()
