"""When parameters are active: conditions on parents resolved into what all ancestors must hold.

A parameter is active if each of its parents is active and holds one of the named values. Since
conditions only ever join by "and", this is one set of allowed codes per ancestor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from spot_dask.errors import did_you_mean
from spot_dask.records import Value
from spot_dask.space.parameters import Categorical, FloatArray, Parameter, label, naming

Requirement = dict[str, frozenset[float]]
"""The codes each free ancestor must have for a parameter to be active; {}: always active."""

# Stands for all codes that no condition asks for.
_NONE_ASKED = -1.0


def by_name(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """The parameters, with conditions by the names of levels that they have by what these mean.

    ``.when(crop=[None])`` of ``Categorical({"none": None})`` is ``.when(crop=["none"])``.
    """
    found = dict(parameters)
    for name, parameter in parameters.items():
        conditions = []
        for parent, values in parameter.conditions:
            names = _names(parameters.get(parent))
            conditions.append((parent, tuple(names.get(v, v) for v in values)))
        if tuple(conditions) != parameter.conditions:
            found[name] = replace(parameter, conditions=tuple(conditions))  # type: ignore[type-var]
    return found


def _names(parent: Parameter | None) -> dict[Value, Value]:
    """The names of levels by the labels of what they stand for, unless such a label is a name."""
    if not isinstance(parent, Categorical):
        return {}
    found: dict[Value, Value] = {}
    for name, meaning in parent.meanings.items():
        with suppress(ValueError):  # what has no label cannot be in a condition
            found.setdefault(label(meaning), name)
    return {text: name for text, name in found.items() if text not in parent.levels}


def requirements(parameters: Mapping[str, Parameter]) -> dict[str, Requirement | None]:
    """What each parameter requires to be active; None: it never is.

    Raises ValueError for a condition on an unknown or later parameter or an impossible value.
    """
    found: dict[str, Requirement | None] = {}
    for name, parameter in parameters.items():
        required: Requirement | None = {}
        for parent, values in parameter.conditions:
            if parent not in parameters:
                near = did_you_mean(parent, found)
                raise ValueError(f"{name}: condition on {parent!r}, which is no parameter{near}")
            if parent not in found:
                raise ValueError(
                    f"{name}: condition on {parent!r}, which is not declared before it;"
                    f" declare {parent} first"
                )
            with naming(f"{name}: condition on {parent}"):
                allowed = frozenset(parameters[parent].codes(values).tolist())
            required = _both(required, _both(found[parent], {parent: allowed}))
        found[name] = _reduced(required, parameters)
    return found


def holds(requirement: Requirement | None, codes: Mapping[str, float]) -> bool:
    """Whether one assignment of codes meets a requirement; an ancestor without a code does not."""
    if requirement is None:
        return False
    return all(codes.get(name) in allowed for name, allowed in requirement.items())


def active(
    requirement: Requirement | None, codes: Mapping[str, FloatArray], n: int
) -> npt.NDArray[np.bool_]:
    """Whether each of n assignments of codes (columns of n) meets a requirement."""
    met = np.full(n, requirement is not None)
    for name, allowed in (requirement or {}).items():
        met &= np.isin(codes[name], list(allowed))
    return met


def count(parameters: Mapping[str, Parameter], needs: Sequence[Requirement]) -> int:
    """Number of distinct configurations of discrete free parameters with their requirements."""
    # The number of assignments so far by their state: the codes that later parameters ask for.
    counts: dict[tuple[tuple[str, float], ...], int] = {(): 1}
    for j, (name, parameter) in enumerate(parameters.items()):
        later = {parent for needed in needs[j:] for parent in needed}
        asked = {code for needed in needs for code in needed.get(name, ())}
        classes = [(code, 1) for code in sorted(asked)]
        if parameter.size > len(asked):
            classes.append((_NONE_ASKED, int(parameter.size) - len(asked)))
        following: dict[tuple[tuple[str, float], ...], int] = {}
        for state, before in counts.items():
            known = {n: c for n, c in state if n in later}
            for code, weight in classes if holds(needs[j], known) else [(_NONE_ASKED, 1)]:
                key = (*known.items(), (name, code))
                following[key] = following.get(key, 0) + before * weight
        counts = following
    return sum(counts.values())


def narrowed(name: str, parameters: Mapping[str, Parameter]) -> dict[str, list[Value]]:
    """The conditions of a parameter without the values its parents can no longer take.

    Raises ValueError if a condition loses all its values.
    """
    kept: dict[str, list[Value]] = {}
    for parent, values in parameters[name].conditions:
        kept[parent] = []
        for value in values:
            with suppress(ValueError):
                parameters[parent].parse(value)
                kept[parent].append(value)
        if not kept[parent]:
            raise ValueError(
                f"{name}: its condition on {parent} ({', '.join(map(repr, values))}) can no longer"
                f" hold; keep one of these values or change {name}'s when"
            )
    return kept


def _both(one: Requirement | None, other: Requirement | None) -> Requirement | None:
    """What is required where two requirements must hold."""
    if one is None or other is None:
        return None
    shared = {n: one[n] & other[n] for n in one.keys() & other.keys()}
    return {**one, **other, **shared}


def _reduced(
    requirement: Requirement | None, parameters: Mapping[str, Parameter]
) -> Requirement | None:
    """A requirement without what always holds; None if it never does."""
    if requirement is None:
        return None
    reduced = {}
    for name, allowed in requirement.items():
        parameter = parameters[name]
        if not allowed or (parameter.fixed and parameter.default_code not in allowed):
            return None
        if not parameter.fixed and len(allowed) < parameter.size:
            reduced[name] = allowed
    return reduced
