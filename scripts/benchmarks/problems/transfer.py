"""Problems with evaluations of other objectives at hand: related ones and ones that mislead.

``related/SUITE/NAME`` and ``unrelated/SUITE/NAME`` are the problem SUITE/NAME with sources. A
source is another problem of the same space or

``shifted``   the problem itself, moved by a tenth along every axis and in other units
``negated``   its opposite
``random``    a value by chance for every configuration

of which an optimiser (spot-dask, on a seed of its own) has made 48 evaluations, 8 at a time.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from benchmarks import problems
from benchmarks.optimisers import spot
from benchmarks.problems import FloatArray, Problem, stream
from spot_dask.records import Configuration

RELATED = {
    "hpobench/vehicle": ("hpobench/segment", "hpobench/kc1"),
    "hpobench/phoneme": ("hpobench/vehicle", "hpobench/credit_g"),
    "hpobench/car": ("hpobench/segment",),
    "hpolib/protein_structure": ("hpolib/parkinsons_telemonitoring", "hpolib/naval_propulsion"),
    "hpolib/slice_localization": ("hpolib/protein_structure",),
    "nasbench201/cifar100": ("nasbench201/cifar10",),
    "nasbench201/imagenet": ("nasbench201/cifar10", "nasbench201/cifar100"),
    "lcbench/7593": ("lcbench/34539", "lcbench/126026"),
    "lcbench/189354": ("lcbench/167104", "lcbench/168910", "lcbench/3945"),
    "bbob/f8-d5-i1": ("shifted",),
    "bbob/f6-d5-i2": ("shifted",),
    "bbob/f21-d3-i1-n0.05": ("shifted",),
    "bbob_mixint/f8-d5-i1": ("shifted",),
}
UNRELATED = {
    "hpobench/vehicle": ("negated",),
    "hpobench/phoneme": ("random",),
    "hpolib/protein_structure": ("negated",),
    "hpolib/slice_localization": ("random", "negated"),
    "nasbench201/cifar100": ("negated",),
    "nasbench201/imagenet": ("random",),
    "lcbench/7593": ("negated",),
    "lcbench/189354": ("random",),
    "bbob/f8-d5-i1": ("bbob/f24-d5-i3",),
    "bbob/f6-d5-i2": ("bbob/f21-d5-i5", "bbob/f15-d5-i4"),
    "bbob/f21-d3-i1-n0.05": ("negated",),
    "bbob/f10-d5-i1": ("negated",),
    "bbob_mixint/f8-d5-i1": ("random",),
}
_KINDS = {"related": RELATED, "unrelated": UNRELATED}

NAMES = [f"{kind}/{target}" for kind, targets in _KINDS.items() for target in targets]

Evaluations = Sequence[tuple[Configuration, float]]

_EVALUATIONS, _BATCH = 48, 8
_OTHER_SEEDS = 1000


def make(name: str) -> Problem:
    kind, _, target = name.partition("/")
    if target not in _KINDS.get(kind, {}):
        raise ValueError(f"no transfer/{name}; there are: {', '.join(NAMES)}")

    def earlier(seed: int) -> list[Evaluations]:
        return [_evaluated(target, source, seed) for source in _KINDS[kind][target]]

    return replace(problems.find(target), name=f"transfer/{name}", earlier=earlier)


def kind(name: str) -> str:
    return problems.kind(name.partition("/")[2])


@cache
def _evaluated(target: str, source: str, seed: int) -> Evaluations:
    """What an earlier run on a source has seen, in the target's space."""
    problem = _source(problems.find(target), source)
    seed += _OTHER_SEEDS
    optimiser = spot.make(problem.space, seed)
    found: list[tuple[Configuration, float]] = []
    while len(found) < _EVALUATIONS:
        first, asked = len(found), optimiser.ask(_BATCH)
        values = [
            problem.observe(config, stream(problem.name, seed, first + i))
            for i, config in enumerate(asked)
        ]
        found += zip(asked, values, strict=True)
        optimiser.tell([(first + i, y) for i, y in enumerate(values)])
    return found


def _source(target: Problem, name: str) -> Problem:
    made = {"shifted": _shifted, "negated": _negated, "random": _random}
    if name in made:
        return made[name](target)
    # A default of its own is no part of the objective: the target's space is the common one.
    return replace(problems.find(name), space=target.space)


def _negated(target: Problem) -> Problem:
    return replace(
        target,
        name=f"negated/{target.name}",
        observe=lambda config, rng: -target.observe(config, rng),
    )


def _shifted(target: Problem) -> Problem:
    space = target.space
    step = stream(target.name, "shift").choice([-0.1, 0.1], size=space.d)

    def moved(config: Configuration) -> Configuration:
        (there,) = space.decode(np.clip(space.encode([config]) + step, 0.0, 1.0))
        return there

    return replace(
        target,
        name=f"shifted/{target.name}",
        observe=lambda config, rng: 3.0 * target.observe(moved(config), rng) + 1.0,
    )


def _random(target: Problem) -> Problem:
    def observe(config: Configuration, rng: np.random.Generator) -> float:
        row: FloatArray = target.space.encode([config])
        return float(stream(target.name, zlib.crc32(row.tobytes())).standard_normal())

    return replace(target, name=f"random/{target.name}", observe=observe)
