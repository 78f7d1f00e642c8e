"""Ranges that are changed while a study goes on: what becomes of its space, and of what is known.

A run's space is then the ``hull`` of all ranges it has had, of which every configuration is one,
and it searches a box in it. What was evaluated outside of the box is kept and counts as what it is;
the surrogate of the search learns from it where it can: a number beyond an end of the range has its
place beyond the end of the unit interval, on the same scale. What has a level that was left out, or
a value of a parameter that is fixed now, has no such place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from spot_dask.errors import did_you_mean, shown
from spot_dask.infill.leaning import along
from spot_dask.records import Configuration, History, Value
from spot_dask.space import Categorical, Integer, Real, Space
from spot_dask.surrogates import FloatArray

DUST = 1e-9  # of a step


def changed(box: Space, hull: Space, ranges: Mapping[str, str]) -> Space:
    """The box with other ranges: ``LOW:HIGH`` of numbers, levels with commas of factors.

    An end that is left out stays as it is. A default that is outside now becomes the nearest value.
    Raises ValueError, in one line, for what is no range of the parameter.
    """
    changes = {}
    for name, text in ranges.items():
        if name not in box.parameters:
            near = did_you_mean(name, box.names)
            raise ValueError(f"no parameter {shown(name)}, there are {', '.join(box.names)}{near}")
        parameter, widest = box.parameters[name], hull.parameters[name]
        if isinstance(parameter, Categorical):
            assert isinstance(widest, Categorical)
            changes[name] = _levels(name, widest, parameter, text)
            _check_needed(box, name, changes[name]["levels"])
        else:
            assert isinstance(parameter, Real | Integer)
            changes[name] = _ends(name, parameter, text)
    return box.modify(**changes)


def _levels(name: str, widest: Categorical, now: Categorical, text: str) -> dict[str, Any]:
    texts = {str(level): level for level in widest.levels}
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [part for part in wanted if part not in texts]
    if unknown or not wanted:
        listed = ", ".join(texts)
        raise ValueError(
            f"{name}: {text!r} are no levels of it; give some of {listed}, with commas"
        )
    levels = [level for level in widest.levels if str(level) in wanted]
    default = now.default if str(now.default) in wanted else levels[0]
    return {"levels": levels, "default": default}


def _check_needed(box: Space, name: str, kept: Sequence[Value]) -> None:
    """Raise ValueError if another parameter could never be active with the levels that are kept."""
    for child, parameter in box.parameters.items():
        for parent, values in parameter.conditions:
            if parent == name and not any(value in kept for value in values):
                needed = " or ".join(map(str, values))
                raise ValueError(
                    f"{name}: {child} is only there if {name} is {needed}, so that has to stay; "
                    f"a run keeps the parameters that it began with"
                )


def _ends(name: str, parameter: Real | Integer, text: str) -> dict[str, Any]:
    low, colon, high = (part.strip() for part in text.partition(":"))
    if not colon:
        raise ValueError(f"{name}: {text!r} is no range; give LOW:HIGH, such as 1e-5:0.1")
    read: Any = int if isinstance(parameter, Integer) else float
    try:
        ends = [read(given) if given else end for given, end in
                ((low, parameter.low), (high, parameter.high))]  # fmt: skip
    except ValueError:
        what = "integers" if read is int else "numbers"
        raise ValueError(f"{name}: {text!r} is no range; its ends are {what}") from None
    first, last = ends
    if parameter.step not in (None, 1):
        _check_steps(name, parameter, ends)
    return {"low": first, "high": last, "default": min(max(parameter.default, first), last)}


def _check_steps(name: str, parameter: Real | Integer, ends: Sequence[float]) -> None:
    """Raises ValueError unless the old range's steps lead to both ends of the new one."""
    for end in ends:
        steps = (end - parameter.low) / float(parameter.step or 1)
        if abs(steps - round(steps)) > DUST:
            raise ValueError(
                f"{name}: {end!r} is no number of steps of {parameter.step!r} from "
                f"{parameter.low!r}; give ends that are"
            )


def hull_of(hull: Space, box: Space) -> Space:
    """The least space with the configurations of both; the defaults are those of the first."""
    changes = {}
    for name, parameter in box.parameters.items():
        widest = hull.parameters[name]
        if isinstance(parameter, Real | Integer) and isinstance(widest, Real | Integer):
            ends = {"low": min(parameter.low, widest.low), "high": max(parameter.high, widest.high)}
            changes[name] = ends
    return hull.modify(**changes)


def holds(box: Space, config: Configuration) -> bool:
    """Whether a configuration of the hull is one of the box."""
    try:
        return box.validate(config) == dict(config)
    except ValueError:
        return False


def inside(box: Space, history: History) -> History:
    """The part of a history that is in the box."""
    return replace(
        history,
        evaluations=tuple(e for e in history.evaluations if holds(box, e.trial.config)),
        pending=tuple(t for t in history.pending if holds(box, t.config)),
        imports=tuple(i for i in history.imports if holds(box, i.config)),
        priors=tuple(tuple(i for i in items if holds(box, i.config)) for items in history.priors),
    )


def places(box: Space, configs: Sequence[Configuration]) -> tuple[FloatArray, list[int]]:
    """Features (k x e) of configurations outside of the box, and which (k) have any."""
    found, kept = np.empty((0, len(box.groups))), list[int]()
    for i, config in enumerate(configs):
        try:
            features = box.features(box.encode([_nearest(box, config)]))
        except ValueError:
            continue
        for k, j in enumerate(box.columns):
            name = box.free[j] if j >= 0 else ""
            parameter = box.parameters.get(name)
            if isinstance(parameter, Real | Integer) and name in config:
                features[0, k] = _place(parameter, config[name])
        found, kept = np.vstack((found, features)), [*kept, i]
    return found, kept


def _nearest(box: Space, config: Configuration) -> dict[str, Value]:
    """The configuration of the box with the nearest numbers; ValueError where there is none."""
    near: dict[str, Value] = {}
    for name, value in config.items():
        parameter = box.parameters[name]
        if isinstance(parameter, Real | Integer) and not parameter.fixed:
            number = float(value)
            low, high = parameter.low, parameter.high
            near[name] = low if number < low else high if number > high else value
        else:
            near[name] = value
    return near


def _place(parameter: Real | Integer, value: Value) -> float:
    """The position of a number along its parameter's scale, beyond 0 and 1 outside its range."""
    ends = [parameter.low, parameter.high]
    first, last = parameter.position(parameter.codes(ends))
    at, low, high = (along(parameter, v) for v in (value, *ends))
    return float(first + (at - low) / (high - low) * (last - first))
