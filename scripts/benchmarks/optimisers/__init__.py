"""Optimisers: spot-dask and its peers behind one ask and tell.

A peer is one file of this folder with ``make(space, seed, **options)``; it raises Unavailable where
its package is missing. One whose defaults depend on the budget takes ``budget``. A specification is
``[label=]name[:option=value,...]``, for instance ``spot:infill=log_nei`` or
``few=spot:design.initial=8``.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from benchmarks import Unavailable
from spot_dask import Categorical, Space
from spot_dask.records import Configuration

FloatArray = npt.NDArray[np.float64]


class Optimiser(Protocol):
    """Configurations are numbered from 0 in the order in which they were asked."""

    def ask(self, n: int) -> Sequence[Configuration]:
        """The next n configurations; fewer only where the space is exhausted."""
        ...

    def tell(self, results: Sequence[tuple[int, float]]) -> None:
        """Numbers and values of finished evaluations; NaN for a failed one."""
        ...


@runtime_checkable
class Attachable(Optimiser, Protocol):
    """An optimiser that can learn from evaluations it did not ask for, before its first ask."""

    def attach(self, results: Sequence[tuple[Configuration, float]]) -> None:
        """Configurations and values, which take the first numbers."""
        ...


@runtime_checkable
class Informable(Protocol):
    """An optimiser that can learn from evaluations of other objectives, before its first ask."""

    def inform(self, sources: Sequence[Sequence[tuple[Configuration, float]]]) -> None:
        """One sequence of configurations and values per source."""
        ...


@dataclass(frozen=True)
class Spec:
    """Which optimiser, with which options, and what it is called in the results."""

    label: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def parse(text: str) -> Spec:
        head, _, tail = text.partition(":")
        label, _, name = head.rpartition("=")
        if name not in names():
            raise ValueError(f"no optimiser named {name!r}; there are: {', '.join(names())}")
        options = {}
        for part in filter(None, tail.split(",")):
            key, equals, value = part.partition("=")
            if not equals:
                raise ValueError(f"{text}: {part!r} is not option=value")
            options[key] = _literal(value)
        return Spec(label or text, name, options)

    def make(self, space: Space, seed: int, budget: int = 64) -> Optimiser:
        """The optimiser; ``budget`` is how many evaluations the run will have."""
        module = importlib.import_module(f"{__name__}.{self.name}")
        told = {"budget": budget} if "budget" in signature(module.make).parameters else {}
        made: Optimiser = module.make(space, seed, **told, **self.options)
        return made


def names() -> list[str]:
    """The optimisers: the files of this folder."""
    return sorted(info.name for info in pkgutil.iter_modules(__path__))


def require(module: str, package: str) -> Any:
    """An imported module; Unavailable with the package to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Unavailable(f"{package} is not installed ({error}): pip install {package}") from error


def cpu_seconds(optimiser: Optimiser) -> float:
    """CPU seconds used so far by this process and by the optimiser's child, if it has one."""
    return time.process_time() + float(getattr(optimiser, "child_seconds", 0.0))


def _literal(value: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return value


class OneHot:
    """A space for peers that know only boxes: unordered factors one-hot, all else a coordinate."""

    def __init__(self, space: Space) -> None:
        self._space = space
        free = [space.parameters[n] for n in space.free]
        self._levels = [
            p.size if isinstance(p, Categorical) and not p.ordered and p.size > 2 else 1
            for p in free
        ]
        self.d = int(sum(self._levels))

    def points(self, configs: Sequence[Configuration]) -> FloatArray:
        """Configurations as points of the unit cube (n x self.d)."""
        columns = []
        for u, k in zip(self._space.encode(configs).T, self._levels, strict=True):
            columns.append(u[:, None] if k == 1 else np.eye(k)[np.floor(u * k).astype(int)])
        return np.hstack(columns)

    def configs(self, points: FloatArray) -> list[Configuration]:
        """The configurations nearest to points (n x self.d)."""
        starts = np.cumsum([0, *self._levels])
        columns = [
            points[:, start] if k == 1 else (points[:, start : start + k].argmax(axis=1) + 0.5) / k
            for start, k in zip(starts[:-1], self._levels, strict=True)
        ]
        return list(self._space.decode(np.clip(np.column_stack(columns), 0.0, 1.0)))
