"""From a store and its model to everything a report says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from spot_dask.records import Configuration, Header, Record, Value
from spot_dask.report import journal
from spot_dask.report.checks import health
from spot_dask.report.facts import Findings, Parameter
from spot_dask.report.insight import insight, kind, scale
from spot_dask.report.text import value
from spot_dask.report.verdict import verdict
from spot_dask.space import Categorical, Integer, Real, Space
from spot_dask.space import Parameter as Declared
from spot_dask.tuner.model import Best, Model

NEAR_BOUND = 0.01  # as a share of the range


def findings(
    header: Header, records: Sequence[Record], model: Model | None, best: Best | None
) -> Findings:
    """Everything the report of a store says; ``model`` and ``best`` as the tuner gives them."""
    digest = journal.digest(header, records)
    seen = insight(digest, model, best)
    found = Findings(
        run=journal.run(digest),
        parameters=_parameters(Space.from_json(header.space), best),
        trials=journal.rows(digest),
        pending=len(digest.asked) - len(digest.arrivals),
        recommended=seen.recommended,
        gain=seen.gain,
        progress=journal.progress(digest),
        importance=seen.importance,
        effects=seen.effects,
        contour=seen.contour,
        curves=journal.curves(digest),
        trust=seen.trust,
        cost=journal.cost(digest),
        failures=journal.failures(digest),
        warm_starts=journal.warm_starts(digest),
    )
    found = replace(found, checks=health(found))
    return replace(found, verdict=verdict(found))


def _parameters(space: Space, best: Best | None) -> tuple[Parameter, ...]:
    default = space.default
    tuned = {} if best is None else best.config
    return tuple(_parameter(space, name, default, tuned) for name in space.names)


def _parameter(space: Space, name: str, default: Configuration, tuned: Configuration) -> Parameter:
    p = space.parameters[name]
    domain = p.levels if isinstance(p, Categorical) else _range(p)
    free = name in space.free
    return Parameter(
        name=name,
        kind=kind(p),
        scale=scale(p),
        domain=tuple(domain),
        condition=" and ".join(
            f"only if {parent} is {' or '.join(map(value, values))}"
            for parent, values in p.conditions
        ),
        fixed=not free,
        default=default.get(name),
        tuned=tuned.get(name),
        bound=_bound(p, tuned[name]) if free and name in tuned else "",
    )


def _bound(p: Declared, tuned: Value) -> Literal["", "lower", "upper"]:
    """The end of its range that a real lies within 1 % of (on its scale), an integer at."""
    if not isinstance(p, (Real, Integer)) or p.low == p.high:
        return ""
    if isinstance(p, Integer):
        return "lower" if tuned == p.low else "upper" if tuned == p.high else ""
    low, high, at = float(p.low), float(p.high), float(tuned)
    if p.scale == "log":
        low, high, at = math.log(low), math.log(high), math.log(at)
    share = (at - low) / (high - low)
    return "lower" if share <= NEAR_BOUND else "upper" if share >= 1 - NEAR_BOUND else ""


def _range(p: Declared) -> tuple[Value, ...]:
    return (p.low, p.high) if isinstance(p, (Real, Integer)) else ()
