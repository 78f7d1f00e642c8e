"""The arguments of a function or class as parameters."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from spot_dask.errors import did_you_mean, shown
from spot_dask.space.parameters import Categorical, Parameter, naming

_ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def parameters_from_signature(
    function: Callable[..., Any], ranges: Mapping[str, Parameter | None]
) -> dict[str, Parameter]:
    """The parameters in the order of the arguments; see ``Space.from_signature``."""
    name = getattr(function, "__name__", repr(function))
    try:
        arguments = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        raise ValueError(f"{name} has no signature that could be read; give a Space") from None
    hints = _hints(function)
    open_ended = any(a.kind is inspect.Parameter.VAR_KEYWORD for a in arguments.values())
    for wanted in ranges:
        if wanted not in arguments and not open_ended:
            near = did_you_mean(wanted, arguments)
            raise ValueError(
                f"{name} has no argument {wanted!r}, there are {', '.join(arguments)}{near}"
            )
    found: dict[str, Parameter] = {}
    for argument in arguments.values():
        if argument.kind in _ANY:
            continue
        default = argument.default
        with naming(argument.name):
            parameter: Parameter | None
            if argument.name not in ranges:
                parameter = _guessed(hints.get(argument.name), default)
            elif (parameter := ranges[argument.name]) is not None:
                if not isinstance(parameter, Parameter):
                    raise ValueError(
                        f"{shown(parameter)} is not a parameter;"
                        " give a Real, Integer or Categorical"
                    )
                parameter = _with_default(parameter, default)
        if parameter is not None:
            found[argument.name] = parameter
    more = {n: p for n, p in ranges.items() if n not in arguments and p is not None}
    return {**found, **more}


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of the arguments; none where they cannot be told."""
    made = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
    try:
        return get_type_hints(made)
    except (NameError, TypeError, AttributeError):
        return {}


def _guessed(hint: Any, default: Any) -> Parameter | None:
    """A flag, a Literal or an Enum as its levels; None for anything else."""
    if isinstance(default, bool) or hint is bool:
        return _with_default(Categorical([False, True]), default)
    if get_origin(hint) is Literal:
        return _with_default(Categorical(get_args(hint)), default)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _with_default(Categorical({e.name: e for e in hint}), default)
    return None


def _with_default(parameter: Parameter, default: Any) -> Parameter:
    """The parameter; if it has no default of its own, with that of the argument where it fits."""
    if default is inspect.Parameter.empty or not parameter.centred:
        return parameter
    try:
        parameter.parse(default)
    except ValueError:
        return parameter
    return replace(parameter, default=default, centred=False)  # type: ignore[type-var]
