"""BBOB [Hansen et al. 2021], the 24 noise-free functions, through coco-experiment.

``f8-d5-i1`` is function 8 in 5 dimensions, instance 1; ``f8-d5-i1-n0.05`` adds Gaussian noise with
a standard deviation of 0.05 spreads.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import Unavailable
from benchmarks.problems import KEPT, Problem, synthetic
from spot_dask import Integer, Real, Space
from spot_dask.records import Configuration

_NAME = re.compile(r"f(\d+)-d(\d+)-i(\d+)(?:-n([\d.]+))?")

NAMES = [f"f{f}-d{d}-i1{n}" for f in range(1, 25) for d in (2, 5, 10, 20) for n in ("", "-n0.05")]
_KEPT = 60
_RUGGED = {3, 4, 7, *range(15, 25)}
"""Separable but multimodal, a staircase, and the groups of many optima; the others have one."""


def make(name: str) -> Problem:
    return coco("bbob", name)


def kind(name: str) -> str:
    match = _NAME.fullmatch(name)
    if match is not None and match[4]:
        return "noisy"
    return "rugged" if match is not None and int(match[1]) in _RUGGED else "smooth"


def coco(suite: str, name: str) -> Problem:
    """A function of one of coco's suites; integers come first in mixed-integer ones."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{suite}/{name}: expected f8-d5-i1 or f8-d5-i1-n0.05")
    f, d, i, noise = match.groups()
    if int(i) >= _KEPT:
        raise ValueError(f"{suite}/{name}: {KEPT}")
    function = _function(suite.replace("_", "-"), int(f), int(d), int(i))
    integers = function.number_of_integer_variables
    bounds = list(zip(function.lower_bounds, function.upper_bounds, strict=True))
    space = Space(
        {
            f"x{j}": Integer(int(low), int(high), default=int(low))
            if j < integers
            else Real(float(low), float(high), default=float(low))
            for j, (low, high) in enumerate(bounds)
        }
    )

    def value(config: Configuration) -> float:
        return float(function(np.array([config[n] for n in space.names], dtype=np.float64)))

    return synthetic(f"{suite}/{name}", space, value, _optimum(function), float(noise or 0.0))


def _function(suite: str, f: int, d: int, i: int) -> Any:
    try:
        import cocoex
    except ImportError as error:
        raise Unavailable(f"{suite} needs coco-experiment: pip install coco-experiment") from error
    found = cocoex.Suite(
        suite, f"instances: {i}", f"dimensions: {d} function_indices: {f} instance_indices: 1"
    )
    # The suite owns its problems: it must live as long as they do.
    _ALIVE.append(found)
    return found.next_problem()


_ALIVE: list[Any] = []


def _optimum(function: Any) -> float:
    """The lowest value; coco only writes its place to a file in the working directory."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            function._best_parameter("print")
            (file,) = Path(folder).iterdir()
            return float(function(np.loadtxt(file, ndmin=1)))
        finally:
            os.chdir(here)
