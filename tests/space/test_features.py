"""Features: every parameter embedded in one Euclidean space."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from space_strategies import spaces_and_rows

from spot_dask.space import Categorical, Integer, Real, Space


@settings(deadline=None)
@given(spaces_and_rows())
def test_feature_columns_belong_to_the_parameters_they_say(drawn: Any) -> None:
    space, X = drawn
    X = space.snap(X)
    F, active = space.features(X), space.active(X)
    assert F.shape == (len(X), len(space.groups)) == (len(X), len(space.columns))
    assert sorted(set(space.groups.tolist())) == list(range(space.d))
    assert space.continuous.tolist() == [isinstance(space.parameters[n], Real) for n in space.free]
    for f, j in enumerate(space.columns):
        if j >= 0:
            assert space.groups[f] == j
            assert (F[active[:, j], f] == X[active[:, j], j]).all()
    for j in range(space.d):
        one = X[:1].repeat(2, axis=0)
        one[1, j] = X[1, j]
        one = space.snap(one)
        if (one[0] == one[1]).all():
            assert (space.features(one)[0] == space.features(one)[1]).all()


@settings(deadline=None)
@given(spaces_and_rows())
def test_features_are_equal_exactly_if_the_configurations_are(drawn: Any) -> None:
    space, X = drawn
    X = space.snap(X)
    features = [f.tobytes() for f in space.features(X)]
    for (fa, ka), (fb, kb) in itertools.combinations(
        zip(features, space.row_keys(X), strict=True), 2
    ):
        assert (fa == fb) == (ka == kb)


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("conditional", [False, True])
def test_all_levels_of_an_unordered_factor_are_equally_far_apart(
    size: int, conditional: bool
) -> None:
    factor = Categorical([f"level {i}" for i in range(size)], default="level 0")
    space = Space(a=Integer(0, 1, default=1), f=factor.when(a=1) if conditional else factor)
    F = space.features(space.encode([{"f": level} for level in factor.levels]))
    distances = [np.linalg.norm(F[i] - F[j]) for i, j in itertools.combinations(range(size), 2)]
    assert distances == pytest.approx([1.0] * len(distances), rel=1e-14)
    if conditional:
        inactive = space.features(space.encode([{"a": 0}]))[0]
        own = space.groups == 1
        to_inactive = [np.linalg.norm(f[own] - inactive[own]) for f in F]
        assert to_inactive == pytest.approx([to_inactive[0]] * size, rel=1e-14)
        assert to_inactive[0] >= 1


def test_ordered_levels_are_apart_by_rank() -> None:
    sizes = Categorical(["small", "medium", "large"], default="small", ordered=True)
    space = Space(size=sizes)
    F = space.features(space.encode([{"size": s} for s in sizes.levels]))
    assert np.diff(F[:, 0]) == pytest.approx([1 / 3, 1 / 3])
    assert space.columns.tolist() == [0]
