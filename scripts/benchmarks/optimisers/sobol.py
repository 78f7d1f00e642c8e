"""A scrambled Sobol sequence."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from scipy.stats import qmc

from spot_dask import Space
from spot_dask.records import Configuration


class Sobol:
    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._sequence = space, qmc.Sobol(space.d, seed=seed)

    def ask(self, n: int) -> list[Configuration]:
        with warnings.catch_warnings():  # batches need not be powers of two
            warnings.simplefilter("ignore", UserWarning)
            return list(self._space.decode(self._sequence.random(n)))

    def tell(self, results: Sequence[tuple[int, float]]) -> None:
        pass


def make(space: Space, seed: int) -> Sobol:
    return Sobol(space, seed)
