"""Beliefs of the user about where good values are, as a weight on the criterion that fades.

The log criterion after n evaluations of the search is

    log gain(x) + (STRENGTH / n) log pi(x)         [piBO: Hvarfner et al. 2022, with beta = 10]

where pi is a product over the parameters of which something is believed:

- numbers: (1 - DOUBT) exp(-z^2 / 2) + DOUBT, z the distance from the believed centre in spreads,
  on the parameter's own scale. A spread is in units of the parameter, on the scales log and power2
  in decades: (0.01, 0.5) is 0.01, and a factor of three either way. The doubt bounds what a wrong
  belief can take: it is survived.
- factors: the weight of the level as a share of the largest; a level that is not named has 1.

Nothing is believed of a parameter where it is inactive. m rows of e features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spot_dask.errors import did_you_mean, shown
from spot_dask.records import Configuration, Value
from spot_dask.settings import is_number
from spot_dask.space import Categorical, Integer, Parameter, Real, Space
from spot_dask.surrogates import FloatArray

STRENGTH = 10.0
"""beta: so many evaluations weigh as much as the belief."""

DOUBT = 0.05
"""What a belief leaves to everything else."""

NARROWEST = 1e-9
"""The least spread as a share of a range: to believe in less is to believe in one value."""

Believed = Mapping[str, Any]
"""By parameter: (centre, spread) of a number; weights by level of a factor."""


def checked(space: Space, prior: Believed) -> dict[str, Any]:
    """The beliefs as JSON has them: [centre, spread], or pairs [level, weight].

    Raises ValueError, in one line, for what cannot be believed of the space's parameters.
    """
    if not isinstance(prior, Mapping):
        raise ValueError(f"prior is {shown(prior)}; expected beliefs by parameter")
    found: dict[str, Any] = {}
    for name, given in prior.items():
        if name not in space.parameters:
            near = did_you_mean(name, space.names)
            raise ValueError(f"prior: no parameter {shown(name)}{near}")
        parameter = space.parameters[name]
        try:
            if isinstance(parameter, Categorical):
                found[name] = [list(pair) for pair in _weights(parameter, given)]
            else:
                found[name] = list(_centre(parameter, given))
        except ValueError as error:
            raise ValueError(f"prior.{name}: {error}") from None
    return found


def _centre(parameter: Parameter, given: Any) -> tuple[Value, float]:
    if not (isinstance(given, Sequence) and len(given) == 2 and not isinstance(given, str)):
        raise ValueError(f"{shown(given)} is no belief; expected (centre, spread)")
    centre, spread = given
    if not (is_number(spread) and 0 < spread < math.inf):
        raise ValueError(f"the spread is {shown(spread)}; expected a number, more than 0")
    return parameter.value(float(parameter.codes([centre])[0])), float(spread)


def _weights(factor: Categorical, given: Any) -> list[tuple[Value, float]]:
    pairs: Any = list(given.items()) if isinstance(given, Mapping) else given
    listed = isinstance(pairs, Sequence) and not isinstance(pairs, str)
    if not (listed and pairs and all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs)):
        raise ValueError(
            f"{shown(given)} is no belief; expected weights by level, "
            f"such as {{{str(factor.levels[0])!r}: 3}}"
        )
    texts = {str(level): level for level in factor.levels}  # as TOML has them
    found = []
    for level, weight in pairs:
        level = texts.get(level, level) if isinstance(level, str) else level
        if not (is_number(weight) and 0 < weight < math.inf):
            raise ValueError(
                f"the weight of {shown(level)} is {shown(weight)}; expected more than 0"
            )
        found.append((factor.value(factor.parse(level)), float(weight)))
    return found


def described(space: Space, prior: Believed) -> dict[str, str]:
    """Each belief in words, by parameter."""
    found = {}
    for name, given in checked(space, prior).items():
        if isinstance(space.parameters[name], Categorical):
            found[name] = ", ".join(f"{level} {weight:g}" for level, weight in given)
        elif _is_log(space.parameters[name]):
            centre, spread = given
            factor = f"{10.0**spread:.3g}" if spread < 300 else f"1e+{spread:.0f}"
            found[name] = f"{centre:g}, a factor {factor} either way"
        else:
            found[name] = f"{given[0]:g} ± {given[1]:g}"
    return found


def likeliest(space: Space, prior: Believed) -> dict[str, Value]:
    """The configuration that is believed to be the best; what nothing is believed of is default."""
    config: dict[str, Value] = dict(space.default)
    for name, given in checked(space, prior).items():
        if isinstance(space.parameters[name], Categorical):
            config[name] = max(given, key=lambda pair: pair[1])[0]
        else:
            config[name] = given[0]
    free = {k: v for k, v in config.items() if not space.parameters[k].fixed}
    return space.validate(free)


def off(space: Space, prior: Believed, config: Configuration) -> dict[str, float]:
    """How many spreads the believed numbers of a configuration are from their centres."""
    found = {}
    for name, given in checked(space, prior).items():
        parameter = space.parameters[name]
        if name in config and not isinstance(parameter, Categorical):
            centre, spread = given
            found[name] = abs(along(parameter, config[name]) - along(parameter, centre)) / spread
    return found


@dataclass(frozen=True, eq=False)
class Leaning:
    """The beliefs over a space's features; ``power`` is what is left of them, 1 / n of STRENGTH."""

    terms: tuple[_Term, ...]
    power: float = 1.0

    @classmethod
    def of(cls, space: Space, prior: Believed) -> Leaning | None:
        """What is believed of free parameters, as ``checked`` gives it; None if that is nothing."""
        terms = tuple(
            _term(space, j, prior[name]) for j, name in enumerate(space.free) if name in prior
        )
        return cls(terms) if terms else None

    def after(self, n: int) -> Leaning:
        """What is left of it after so many evaluations."""
        return replace(self, power=STRENGTH / max(1, n))

    def weigh(self, values: FloatArray, X: FloatArray) -> FloatArray:
        """The weighted criterion of m values of a log criterion at m x e features."""
        return values + self.power * sum(term.weigh(X)[0] for term in self.terms)

    def weigh_gradient(
        self, values: FloatArray, gradient: FloatArray, X: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """The weighted criterion (m) and its gradient (m x e), from those of the criterion."""
        gradient = gradient.copy()
        for term in self.terms:
            more, slope = term.weigh(X)
            values = values + self.power * more
            gradient[:, term.columns] += self.power * slope
        return values, gradient


@dataclass(frozen=True, eq=False)
class _Term:
    """log pi of one parameter: of the feature ``columns`` (k); ``active`` is the column that says
    whether it is there (None: always).

    A number has a ``centre`` and a ``spread`` in units of its column. A factor has the log weights
    ``levels``: of its one-hot columns, or at the positions ``at`` along its only column.
    """

    columns: tuple[int, ...]
    active: int | None
    centre: float = 0.0
    spread: float = 0.0
    levels: FloatArray | None = None
    at: FloatArray | None = None

    def weigh(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """log pi (m) and its gradient with respect to the columns (m x k)."""
        x = X[:, self.columns]
        if self.levels is None:
            z = (x[:, 0] - self.centre) / self.spread
            bell = (1.0 - DOUBT) * np.exp(-0.5 * z * z)
            value = np.log(bell + DOUBT)
            slope = (-bell / (bell + DOUBT) * z / self.spread)[:, None]
        elif self.at is None:
            weights = math.sqrt(2.0) * self.levels
            value, slope = x @ weights, np.broadcast_to(weights, x.shape).copy()
        else:
            value = np.interp(x[:, 0], self.at, self.levels)
            slope = np.zeros_like(x)  # its levels are exchanged, not climbed
        if self.active is None:
            return value, slope
        here = X[:, self.active]
        return here * value, here[:, None] * slope


def _term(space: Space, j: int, believed: Sequence[Any]) -> _Term:
    """log pi of the j-th free parameter."""
    parameter = space.parameters[space.free[j]]
    own = [int(k) for k in np.flatnonzero(space.groups == j)]
    active = own.pop() if parameter.conditions else None
    if isinstance(parameter, Real | Integer):
        ends = (parameter.low, parameter.high)
        low, high = parameter.position(parameter.codes(ends))
        first, last = (along(parameter, end) for end in ends)
        unit = float(high - low) / (last - first)
        # Also outside of the range: it may have been narrowed since.
        centre = float(low) + (along(parameter, believed[0]) - first) * unit
        return _Term((own[0],), active, centre, max(believed[1] * unit, NARROWEST))
    assert isinstance(parameter, Categorical)
    weights = np.ones(int(parameter.size))
    for level, weight in believed:
        weights[int(parameter.parse(level))] = weight
    logs = np.log(weights) - np.log(weights.max())
    if len(own) > 1:
        return _Term(tuple(own), active, levels=logs)
    codes = np.arange(len(logs), dtype=np.float64)
    at = parameter.position(codes) if parameter.ordered else codes
    return _Term((own[0],), active, levels=logs, at=at)


def _is_log(parameter: Parameter) -> bool:
    return getattr(parameter, "scale", "linear") != "linear"


def along(parameter: Parameter, value: Any) -> float:
    """A number along its parameter's own scale: as it is, or in decades."""
    return math.log10(value) if _is_log(parameter) else float(value)
