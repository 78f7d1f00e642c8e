"""The configuration to use, parameter by parameter, and how far each may be changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from spot_dask.notation import NOTATIONS, written
from spot_dask.records import Value
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
    how,
    table,
)
from spot_dask.report.context import (
    Kind,
    Missing,
    ReportContext,
    centred_defaults,
    kind_and_scale,
)
from spot_dask.report.sections.importance import ImportanceSection
from spot_dask.report.sections.regions import NearRange, RegionsSection
from spot_dask.space import Categorical, Integer, Parameter, Real, Space

NEAR_BOUND = 0.01  # as a share of the range


@dataclass(frozen=True)
class TunedParameter:
    """A parameter of the space, its default and its value in the recommended configuration.

    ``domain`` holds the ends of its range or its levels; ``default`` and ``tuned`` are None where
    the parameter is not active; ``bound`` tells which end of its range the recommended value sits
    at: a real within 1 % of the range (on its scale), an integer exactly. ``near`` is where its
    near-optimal values are, None where that cannot be told.
    """

    name: str
    kind: Kind
    scale: str
    domain: tuple[Value, ...]
    step: Value | None
    condition: str
    fixed: bool
    default: Value | None
    tuned: Value | None
    bound: Literal["", "lower", "upper"]
    near: NearRange | None


class ParametersSection:
    title = "Which configuration should be used?"
    order = 20

    def facts(self, context: ReportContext) -> tuple[TunedParameter, ...]:
        regions = context[RegionsSection]
        region = None if isinstance(regions, Missing) else regions.near
        known = () if region is None or isinstance(region, Missing) else region.ranges
        near = {r.name: r for r in known if r.values}
        return tuple(_parameter(context, name, near.get(name)) for name in context.space.names)

    def render(self, found: tuple[TunedParameter, ...], context: ReportContext) -> Sequence[Block]:
        r, shown = context.recommended, _table(found, context)
        noted = [Text(sentence) for sentence in _notes(context.space)]
        if isinstance(r, Missing):
            return [NotShown(r.reason), shown, *noted]
        known = "" if context.is_confirmed else " It is unconfirmed."
        return [
            Text(f"That of {r.name}: {_why(context)}.{known}"),
            shown,
            *noted,
            how(
                "Near-optimal are the values of configurations that may be as good as the best "
                "(section on regions). What matters is the share of the variance that a parameter "
                "takes part in (section on importances), in that region and in the whole space; a "
                "dash stands for what cannot be told or does not apply. A value is at a bound "
                "where it is within 1 % of the end of its range, an integer exactly.",
                n=len(context.ranked),
            ),
            *(
                Details(f"Copy as {name}", [Code(written(r.config, notation))])
                for notation, name in NOTATIONS.items()
            ),
        ]


def _why(context: ReportContext) -> str:
    """Why the recommended configuration is the one; ``Tuner.ranked`` is the rule."""
    better = "highest" if context.header.direction == "max" else "lowest"
    model, best = context.fitted, context.best
    if isinstance(model, Missing):
        reason = model.reason
    elif best is not None and math.isnan(best.mean):
        reason = "configurations that were trained again gave the same values: there is no noise"
    elif not model.predicts:
        reason = "the model predicts evaluations it has not seen no better than their mean does"
    else:
        return (
            f"the {better} estimate of the model among the configurations that were tried, not "
            "the luckiest single value"
        )
    return f"the {better} value that was observed, the first of equal ones, because {reason}"


def _notes(space: Space) -> list[str]:
    """What a reader of the table must know: defaults that nobody gave, and predicates."""
    notes = []
    if centred := centred_defaults(space):
        notes.append(centred)
    if space.predicates:
        texts = text.listed([f"“{predicate.text}”" for predicate in space.predicates])
        notes.append(
            f"Only configurations with {texts} are possible. Statements over the whole space also "
            "cover those that this excludes."
        )
    return notes


def _parameter(context: ReportContext, name: str, near: NearRange | None) -> TunedParameter:
    """The parameter of that name in the default and in the recommended configuration."""
    space, default = context.within, context.space.default
    tuned = {} if context.best is None else context.best.config
    p, free = space.parameters[name], name in space.free
    domain: tuple[Value, ...] = ()
    step: Value | None = None
    if isinstance(p, Categorical):
        domain = tuple(p.levels)
    elif isinstance(p, (Real, Integer)):
        domain = (p.low, p.high)
        step = None if p.step == 1 and isinstance(p, Integer) else p.step
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
        step=step,
        condition=" and ".join(conditions),
        fixed=not free,
        default=default.get(name),
        tuned=tuned.get(name),
        bound=_bound(p, tuned[name]) if free and name in tuned else "",
        near=near,
    )


def _bound(p: Parameter, tuned: Value) -> Literal["", "lower", "upper"]:
    if not isinstance(p, (Real, Integer)) or p.low == p.high:
        return ""
    if isinstance(p, Integer) or p.step is not None:
        return "lower" if tuned == p.low else "upper" if tuned == p.high else ""
    low, high, at = float(p.low), float(p.high), float(tuned)
    if p.scale == "log":
        low, high, at = math.log(low), math.log(high), math.log(at)
    if not low < high:  # neighbouring numbers, whose logarithms are equal
        return ""
    share = (at - low) / (high - low)
    return "lower" if share <= NEAR_BOUND else "upper" if share >= 1 - NEAR_BOUND else ""


def _table(parameters: Sequence[TunedParameter], context: ReportContext) -> DataTable:
    found = context[ImportanceSection]
    regions = [] if isinstance(found, Missing) else [found.near, found.whole]
    told = [() if isinstance(region, Missing) else region.parameters for region in regions]
    near, anywhere = told or ((), ())
    shares = [{p.name: text.percent(p.total.value) for p in part} for part in (near, anywhere)]
    rows = []
    for p in parameters:
        domain = _values(p.domain, p.kind != "categorical")
        if p.step is not None:
            domain += f" in steps of {text.value(p.step)}"
        tuned = text.value(p.tuned) + (f" ({p.bound} bound)" if p.bound else "")
        rows.append(
            [
                Cell(p.name, style="code"),
                text.value(p.default),
                Cell(tuned, style="strong"),
                "–" if p.near is None else _values(p.near.values, p.near.is_range),
                *(part.get(p.name, "–") for part in shares),
                Cell(f"{domain}; {p.condition}" if p.condition else domain, style="muted"),
                Cell(f"{p.kind}, {'fixed' if p.fixed else p.scale}", style="muted"),
            ]
        )
    titles: list[str | Heading] = [
        "parameter",
        *(Heading(title, numeric=True) for title in ("default", "tuned")),
        "near-optimal",
        Heading("matters near it", numeric=True),
        Heading("anywhere", numeric=True),
        "range or levels",
        "type",
    ]
    return table(titles, rows)


def _values(values: Sequence[Value], is_range: bool) -> str:
    """The ends of a range, or levels."""
    said = [text.rough(v) if isinstance(v, float) else text.value(v) for v in values]
    if is_range and len(set(said)) == 1:
        return said[0]
    return " to ".join(said) if is_range else text.listed(said)
