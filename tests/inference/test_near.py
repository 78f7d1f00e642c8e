"""What the model may not speak of near the best."""

from __future__ import annotations

import numpy as np
import pytest

from spot_dask.inference import Evidence, Inference, infer
from spot_dask.inference.near import near_optimal, too_rough
from spot_dask.space import Integer, Real, Space
from spot_dask.surrogates import FloatArray

SPACE = Space(
    a=Real(0.0, 1.0, default=0.5), b=Real(0.0, 1.0, default=0.5), k=Integer(1, 3, default=2)
)


def seen(X: FloatArray, v: FloatArray) -> Inference:
    n = len(v)
    zeros = np.zeros(n, dtype=np.int64)
    found = infer(Evidence(SPACE, X, v, zeros, np.arange(n), np.arange(n) < 8), 1.0)
    assert found is not None
    return found


def searched(rng: np.random.Generator) -> FloatArray:
    """Eight rows that fill the space, and forty that a search placed closely around the best."""
    X = rng.random((48, 3))
    X[8:, 0] = 0.5 + 0.01 * rng.standard_normal(40)
    X[8:, 1:] = rng.random((40, 2))
    return SPACE.snap(np.clip(X, 0.0, 1.0))


def test_a_crease_at_the_best_is_not_taken_for_roughness() -> None:
    """b takes part in a fifth of the variation, of which the model says that it does nothing."""
    X = searched(np.random.default_rng(0))
    model = seen(X, np.abs(4 * X[:, 0] - 2) * (1 + np.abs(4 * X[:, 1] - 2)))
    near = near_optimal(model, np.random.default_rng(0))
    assert too_rough(model, near.box) == ["a"]


def test_of_a_smooth_function_the_model_may_speak() -> None:
    X = searched(np.random.default_rng(0))
    model = seen(X, (X[:, 0] - 0.5) ** 2 + 0.1 * X[:, 1])
    near = near_optimal(model, np.random.default_rng(0))
    assert too_rough(model, near.box) == []


@pytest.mark.parametrize(("apart", "doubted"), [(6.0, True), (1.0, False)])
def test_many_minima_in_the_region_are_doubted(apart: float, doubted: bool) -> None:
    X = SPACE.snap(np.random.default_rng(1).random((60, 3)))
    model = seen(X, 1 + np.cos(2 * np.pi * apart * X[:, 0]) + 0.001 * X[:, 1])
    near = near_optimal(model, np.random.default_rng(0))
    assert ("a" in too_rough(model, near.box)) is doubted
