"""Uniform random search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spot_dask import Space
from spot_dask.records import Configuration


class Random:
    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._rng = space, np.random.default_rng(seed)

    def ask(self, n: int) -> list[Configuration]:
        return list(self._space.decode(self._rng.random((n, self._space.d))))

    def tell(self, results: Sequence[tuple[int, float]]) -> None:
        pass


def make(space: Space, seed: int) -> Random:
    return Random(space, seed)
