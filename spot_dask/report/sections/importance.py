"""Sobol indices of the model's posterior: which parameters matter, near the best and anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from spot_dask.inference import Inference
from spot_dask.inference.gate import MORE
from spot_dask.inference.near import NearOptimal, too_rough
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Chart, Charts, DataTable, NotShown, Text, how, table
from spot_dask.report.context import SEED, Missing, ReportContext, known
from spot_dask.stats import FloatArray, Snap
from spot_dask.stats.sensitivity import Estimates, sobol_posterior

MOST = 20
MOST_PAIRS = 5
DRAWS = 128
BASE_POINTS = 256
FEWER = 64  # draws, of a quarter of the base points, where there are more than MANY parameters
MANY = 10
LEVEL = 0.95
NEAR_LEVEL = 0.99
"""The share of the draws that stated 95 % intervals hold: near the best the model takes itself for
surer than it is, because a search chose the evaluations (scripts/benchmarks/importance)."""

LITTLE = 0.02
"""A share below which a parameter may as well do nothing: intervals that begin there begin at 0."""


@dataclass(frozen=True)
class Share:
    """Posterior median of a share of the variance with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Importance:
    """Sobol indices of a parameter: alone (first) and in any combination (total)."""

    name: str
    first: Share
    total: Share


@dataclass(frozen=True)
class PairImportance:
    """What two parameters explain together beyond what each explains alone."""

    first: str
    second: str
    share: Share


@dataclass(frozen=True)
class RegionImportance:
    """Importances in a region: parameters by total index, the largest first, and all pairs.

    ``deviation`` is the standard deviation of the objective in the region, on the model's scale.
    ``draws`` functions of the posterior at ``base_points`` base points.
    """

    parameters: tuple[Importance, ...]
    pairs: tuple[PairImportance, ...]
    deviation: Share
    draws: int
    base_points: int


@dataclass(frozen=True)
class Importances:
    """Importances near the best and in the whole space, of the objective on the model's scale.

    ``evaluations`` lie in the near-optimal region; ``order`` has the names of the parameters as the
    model orders them there, whether that may be stated or not.
    """

    near: RegionImportance | Missing
    whole: RegionImportance | Missing
    scale: str
    evaluations: int
    order: tuple[str, ...]


class ImportanceSection:
    title = "Which parameters matter?"
    order = 70

    def facts(self, context: ReportContext) -> Importances | Missing:
        model, near, whole = context.explained, context.near, context.whole
        if isinstance(model, Missing):
            return model
        assert not isinstance(near, Missing)  # there is a model
        box, snap = near.box, model.space.snap
        found = region_importance(model, lambda raw: snap(box(raw)), NEAR_LEVEL)
        return Importances(
            near=_doubted(model, near) or found,
            whole=whole if isinstance(whole, Missing) else region_importance(model, model.snap),
            scale=context.on_scale(context.header.objective),
            evaluations=len(near.inside),
            order=tuple(p.name for p in found.parameters),
        )

    def render(self, found: Importances, context: ReportContext) -> Sequence[Block]:
        blocks: list[Block] = [Text(_said(found))]
        near, whole = found.near, found.whole
        charts: list[Chart] = []
        missing: list[Block] = []
        if isinstance(near, Missing):
            missing.append(NotShown(f"{near.reason} (importances near the best)"))
        else:
            charts.append(_chart(near, "near", "Near the best"))
        if isinstance(whole, Missing):
            missing.append(NotShown(f"{whole.reason} (importances in the whole space)"))
        else:
            charts.append(_chart(whole, "whole", "In the whole space"))
        blocks += [Charts(charts), *missing] if charts else missing
        if not isinstance(near, Missing) and near.pairs:
            blocks.append(_pairs(near))
        shown = [part for part in (near, whole) if isinstance(part, RegionImportance)]
        if not shown:
            return blocks
        n = shown[0]
        explanation = (
            f"Sobol indices of {found.scale}, the scale on which the model describes the objective "
            "best: the share of the variance that a parameter explains alone (S1) and takes part "
            "in (ST), all values of all parameters being equally likely. Near the best: in the "
            "smallest box around the evaluated configurations that may be near-optimal (section "
            f"on regions), which holds {text.plural(found.evaluations, 'evaluation')}. Medians "
            f"and 95 % intervals over {n.draws} functions drawn from the posterior, "
            "hyperparameters included, so they tell what the data leave open, wider by twice the "
            f"error of the sampling; near the best they hold {text.percent(NEAR_LEVEL)} of the "
            "draws, because those of 95 % were measured to hold the truth too seldom where a "
            "search chose the evaluations; estimator of Azzini, Mara & Rosati (2020) with "
            f"{n.base_points} base points. Shares of "
            f"less than {text.percent(LITTLE)} count as none. Statements about the whole space "
            "are made only where evaluations that fill it are predicted by the model."
        )
        return [*blocks, how(explanation, n=known(context), seed=SEED)]


def _doubted(model: Inference, near: NearOptimal) -> Missing | None:
    """Why the model may not speak of what is near the best; None where it may."""
    rough = too_rough(model, near.box)
    if not rough:
        return None
    return Missing(
        f"the model takes the objective for rough along {text.listed(rough, 3)}, which evaluations "
        "as close together as those of a search do not tell from a crease at the best or from "
        f"several minima. {MORE} more space-filling evaluations may help: "
        f"spot-dask explore STORE -n {MORE}"
    )


def region_importance(model: Inference, snap: Snap, level: float = LEVEL) -> RegionImportance:
    """Importances of a model of inference where ``snap`` puts raw rows.

    Intervals hold the share ``level`` of the draws.
    """
    space = model.space
    draws = DRAWS if space.d <= MANY else FEWER
    rng = np.random.default_rng(SEED)
    n = BASE_POINTS if space.d <= MANY else BASE_POINTS // 4
    found = sobol_posterior(model.paths(draws, rng), snap, space.d, rng, n, level)
    parameters = [
        Importance(
            name,
            _share(found.first, (i,), float(found.first_error[i])),
            _share(found.total, (i,), float(found.total_error[i])),
        )
        for i, name in enumerate(space.free)
    ]
    pairs = [
        PairImportance(space.free[i], space.free[j], _share(found.pairs, (i, j)))
        for i, j in combinations(range(space.d), 2)
    ]
    sd = (model.scale * float(np.sqrt(max(0.0, float(v)))) for v in _ends(found.variance, ()))
    return RegionImportance(
        parameters=tuple(sorted(parameters, key=lambda p: (-p.total.value, p.name))),
        pairs=tuple(sorted(pairs, key=lambda p: (-p.share.value, p.first, p.second))),
        deviation=Share(*sd),
        draws=found.draws,
        base_points=found.n,
    )


def _ends(estimates: Estimates, at: tuple[int, ...]) -> tuple[FloatArray, FloatArray, FloatArray]:
    return estimates.value[at], estimates.low[at], estimates.high[at]


def _share(estimates: Estimates, at: tuple[int, ...], error: float = 0.0) -> Share:
    """Within [0, 1], with an interval that does not deny what is too little to be told from 0.

    It is wider by twice the standard ``error`` of the sampling.
    """
    value, low, high = (float(v) for v in _ends(estimates, at))
    ends = value, low - 2.0 * error, high + 2.0 * error
    value, low, high = (min(1.0, max(0.0, v)) for v in ends)
    low, high = low if low > LITTLE else 0.0, high if high < 1.0 - LITTLE else 1.0
    return Share(value, low, max(high, LITTLE))


def _said(found: Importances) -> str:
    said = []
    if isinstance(found.near, RegionImportance):
        top = found.near.parameters[0]
        said.append(
            f"Near the best, {top.name} matters most: it takes part in "
            f"{text.percent(top.total.value)} of the variation ({_range(top.total)}) and explains "
            f"{text.percent(top.first.value)} alone."
        )
        if small := [p.name for p in found.near.parameters if p.total.high <= 2.5 * LITTLE]:
            said.append(f"Without visible effect there: {text.listed(small)}.")
    if isinstance(found.whole, RegionImportance):
        first = found.whole.parameters[0]
        said.append(f"In the whole space, {first.name} matters most ({_range(first.total)}).")
    return " ".join(said) or "That cannot be told from these evaluations."


def _range(share: Share) -> str:
    return f"95 %: {text.percent(share.low)} to {text.percent(share.high)}"


def _table(found: RegionImportance) -> DataTable:
    rows = [
        [
            p.name,
            text.percent(p.first.value),
            f"{text.percent(p.first.low)} to {text.percent(p.first.high)}",
            text.percent(p.total.value),
            f"{text.percent(p.total.low)} to {text.percent(p.total.high)}",
        ]
        for p in found.parameters
    ]
    return table(("parameter", "alone (S1)", "95 %", "in all (ST)", "95 %"), rows)


def _chart(found: RegionImportance, name: str, title: str) -> Chart:
    shown = found.parameters[:MOST]
    of = ""
    if len(shown) < len(found.parameters):
        of = f" {len(shown)} of {len(found.parameters)} shown, all in the table."
    return figures.chart(
        lambda ax: draw_importance(ax, shown),
        f"importance-{name}",
        f"Importance of the parameters: {title.lower()}",
        "; ".join(f"{p.name} {text.percent(p.total.value)}" for p in shown),
        f"{title}: each parameter's share, alone and in any combination.{of}",
        _table(found),
        (figures.SIZE[0], 1.15 + 0.27 * len(shown)),
    )


def _pairs(found: RegionImportance) -> DataTable:
    """The pairs of the largest interactions."""
    shown = found.pairs[:MOST_PAIRS]
    title = f"largest interactions near the best ({len(shown)} of {len(found.pairs)} pairs)"
    rows = [
        (f"{p.first} × {p.second}", text.percent(p.share.value), _range(p.share)) for p in shown
    ]
    return table((title, "share", "interval"), rows)


def draw_importance(ax: Axes, shares: Sequence[Importance]) -> None:
    """Total index as a bar with its interval, the share alone within it."""
    at = np.arange(len(shares), dtype=np.float64)[::-1]

    def each(part: Callable[[Importance], float]) -> FloatArray:
        return np.array([part(s) for s in shares])

    total, high = each(lambda s: s.total.value), each(lambda s: s.total.high)
    figures.frame(ax, "share of the variation", "", grid="x")
    ax.barh(at, total, height=0.62, color=figures.BAND)
    ax.barh(at, each(lambda s: min(s.first.value, s.total.value)), height=0.62,
            color=figures.ACCENT)  # fmt: skip
    ax.hlines(at, each(lambda s: s.total.low), high, color=figures.INK, linewidth=1.4)
    ax.yaxis.set_major_locator(FixedLocator(list(at)))
    names = {a: figures.short(s.name, 22) for a, s in zip(at, shares, strict=True)}
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: names.get(v, "")))
    ax.tick_params(axis="y", colors=figures.INK)
    ax.set_xlim(0, max(0.1, float(high.max()) * 1.04))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f} %"))
    handles = [
        Line2D([], [], color=figures.ACCENT, linewidth=6, label="alone"),
        Line2D([], [], color=figures.BAND, linewidth=6, label="together with others"),
        Line2D([], [], color=figures.INK, linewidth=1.4, label="95 % interval"),
    ]
    figures.legend(ax, handles)
