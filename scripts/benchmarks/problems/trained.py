"""Made-up trainings of 50 epochs: a bowl in four parameters, and the way down to it.

The objective falls exponentially to what it will be, the slower the lower the learning rate, so
that curves cross; every epoch's value is noisy, as a validation is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from benchmarks.problems import Course, Problem, synthetic
from spot_dask import Real, Space
from spot_dask.records import Configuration

NAMES = ["bowl", "bowl-n05"]
KIND = "networks"

_EPOCHS, _SECONDS, _START = 50, 100.0, 3.0

_SPACE = Space(
    lr=Real(1e-4, 1.0, scale="log", default=1e-2),
    momentum=Real(0.0, 1.0, default=0.5),
    decay=Real(1e-5, 1e-1, scale="log", default=1e-3),
    dropout=Real(0.0, 1.0, default=0.5),
)


def make(name: str) -> Problem:
    """A problem by its name; ``-n05`` has a noise of 0.05 in each epoch's value."""
    if name not in NAMES:
        raise ValueError(f"no trained/{name}; there are: {', '.join(NAMES)}")

    def truth(config: Configuration) -> float:
        return float(_values(config)[-1])

    lowest = min(_result(u, u, 0.3, 0.7) + _gap(u, _EPOCHS) for u in np.linspace(0, 1, 2001))
    return synthetic(f"trained/{name}", _SPACE, truth, lowest)


def course(name: str) -> Callable[[Configuration, np.random.Generator], Course]:
    """All epochs of the trainings that ``make(name)`` shows the last of."""
    noise = 0.05 if name.endswith("-n05") else 0.0

    def trained(config: Configuration, rng: np.random.Generator) -> Course:
        return Course(_values(config) + noise * rng.standard_normal(_EPOCHS), _SECONDS)

    return trained


def _values(config: Configuration) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    u = _SPACE.encode([config])[0]
    return _result(*u) + np.array([_gap(u[0], epoch) for epoch in range(1, _EPOCHS + 1)])


def _result(lr: float, momentum: float, decay: float, dropout: float) -> float:
    """What a training comes to; parameters on the unit cube."""
    valley = (3.0 * (lr - 0.6)) ** 2 + (2.0 * (momentum - lr)) ** 2
    return valley + (decay - 0.3) ** 2 + 0.5 * (dropout - 0.7) ** 2


def _gap(lr: float, epoch: int) -> float:
    """How far a training still is from there."""
    return _START * math.exp(-epoch / (1.0 + 15.0 * (1.0 - lr)))
