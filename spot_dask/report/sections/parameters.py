"""The parameters: their ranges, the default and the recommended configuration."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from spot_dask.records import Configuration, Value
from spot_dask.report import text
from spot_dask.report.blocks import (
    Block,
    Cell,
    Code,
    DataTable,
    Details,
    Heading,
    NotShown,
    Text,
    table,
)
from spot_dask.report.context import Kind, Missing, ReportContext, kind_and_scale
from spot_dask.report.sections.importance import ImportanceSection
from spot_dask.space import Categorical, Integer, Parameter, Real

NEAR_BOUND = 0.01  # as a share of the range


@dataclass(frozen=True)
class TunedParameter:
    """A parameter of the space, its default and its value in the recommended configuration.

    ``domain`` holds the ends of its range or its levels; ``default`` and ``tuned`` are None where
    the parameter is not active; ``bound`` tells which end of its range the recommended value sits
    at: a real within 1 % of the range (on its scale), an integer exactly.
    """

    name: str
    kind: Kind
    scale: str
    domain: tuple[Value, ...]
    condition: str
    fixed: bool
    default: Value | None
    tuned: Value | None
    bound: Literal["", "lower", "upper"]


class ParametersSection:
    title = "Which configuration should be used?"
    order = 20

    def facts(self, context: ReportContext) -> tuple[TunedParameter, ...]:
        return tuple(_parameter(context, name) for name in context.space.names)

    def render(self, found: tuple[TunedParameter, ...], context: ReportContext) -> Sequence[Block]:
        r, shown = context.recommended, _table(found, context)
        if isinstance(r, Missing):
            return [NotShown(r.reason), shown]
        better = "highest" if context.header.direction == "max" else "lowest"
        said = f"the {better} estimate of the model among the configurations that were tried, not "
        said += "the luckiest single value"
        if isinstance(context.fitted, Missing):
            said = f"the {better} value that was observed, because {context.fitted.reason}"
        known = "" if context.is_confirmed else " It is unconfirmed."
        return [
            Text(f"That of {r.name}: {said}.{known}"),
            shown,
            *(Details(f"Copy as {name}", [Code(code)]) for name, code in _copies(r.config)),
        ]


def _copies(config: Configuration) -> list[tuple[str, str]]:
    """A configuration in the notations that it may be wanted in."""
    values = dict(config)
    written = [(json.dumps(k, ensure_ascii=False), v) for k, v in values.items()]
    toml = [f"{key} = {_toml(value)}" for key, value in written]
    return [
        ("JSON", json.dumps(values, indent=2, ensure_ascii=False)),
        ("TOML", "\n".join(toml)),
        ("Python", f"config = {values!r}"),
    ]


def _toml(value: Value) -> str:
    """A value as TOML writes it; its texts are those of JSON but for DEL, which it escapes."""
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _parameter(context: ReportContext, name: str) -> TunedParameter:
    space, default = context.space, context.space.default
    tuned = {} if context.best is None else context.best.config
    p, free = space.parameters[name], name in space.free
    domain: tuple[Value, ...] = ()
    if isinstance(p, Categorical):
        domain = tuple(p.levels)
    elif isinstance(p, (Real, Integer)):
        domain = (p.low, p.high)
    kind, scale = kind_and_scale(p)
    conditions = (
        f"only if {parent} is {' or '.join(map(text.value, values))}"
        for parent, values in p.conditions
    )
    return TunedParameter(
        name=name,
        kind=kind,
        scale=scale,
        domain=domain,
        condition=" and ".join(conditions),
        fixed=not free,
        default=default.get(name),
        tuned=tuned.get(name),
        bound=_bound(p, tuned[name]) if free and name in tuned else "",
    )


def _bound(p: Parameter, tuned: Value) -> Literal["", "lower", "upper"]:
    if not isinstance(p, (Real, Integer)) or p.low == p.high:
        return ""
    if isinstance(p, Integer):
        return "lower" if tuned == p.low else "upper" if tuned == p.high else ""
    low, high, at = float(p.low), float(p.high), float(tuned)
    if p.scale == "log":
        low, high, at = math.log(low), math.log(high), math.log(at)
    share = (at - low) / (high - low)
    return "lower" if share <= NEAR_BOUND else "upper" if share >= 1 - NEAR_BOUND else ""


def _table(parameters: Sequence[TunedParameter], context: ReportContext) -> DataTable:
    importance = context[ImportanceSection]
    shares = (
        {} if isinstance(importance, Missing) else {p.name: p for p in importance.near.parameters}
    )
    rows = []
    for p in parameters:
        values = [text.value(v) for v in p.domain]
        domain = text.listed(values) if p.kind == "categorical" else " to ".join(values)
        tuned = text.value(p.tuned) + (f" ({p.bound} bound)" if p.bound else "")
        rows.append(
            [
                Cell(p.name, style="code"),
                p.kind,
                Cell("fixed" if p.fixed else p.scale, style="muted"),
                Cell(f"{domain}; {p.condition}" if p.condition else domain, style="muted"),
                text.value(p.default),
                Cell(tuned, style="strong"),
                text.percent(shares[p.name].total.value) if p.name in shares else "–",
            ]
        )
    numbers = (Heading(title, numeric=True) for title in ("default", "tuned", "importance"))
    return table(["parameter", "type", "scale", "range or levels", *numbers], rows)
