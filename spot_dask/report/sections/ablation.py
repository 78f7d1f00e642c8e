"""Where the gain came from: the change from the default to the tuned shared among parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from spot_dask.records import Value
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Text, how, table
from spot_dask.report.context import SEED, Missing, ReportContext, known
from spot_dask.stats.shapley import ablation, ablation_game, ablation_of_draws

FEW = 10  # players at most for all corners at once
ORDERS = 64
DRAWS = 256
MOST = 20


@dataclass(frozen=True)
class GainShare:
    """What the change of a parameter contributed; positive is better.

    On the model's scale, with the ends of the model's 95 % interval. A value is None where the
    parameter is not active.
    """

    name: str
    default: Value | None
    tuned: Value | None
    share: float
    low: float
    high: float

    @property
    def counts(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Shares:
    """The shares of the parameters that differ, the largest first; they add to ``total``.

    ``scale`` is what they are differences of. ``orders`` were drawn, 0 where all were used.
    """

    parameters: tuple[GainShare, ...]
    total: float
    scale: str
    orders: int


class AblationSection:
    title = "Where did the gain come from?"
    order = 80

    def facts(self, context: ReportContext) -> Shares | Missing:
        model, best = context.explained, context.best
        if isinstance(model, Missing):
            return model
        assert best is not None  # the model has seen a success
        space, rng = model.space, np.random.default_rng(SEED)
        default, tuned = space.encode([space.default, best.config])
        game = ablation_game(default, tuned, space.snap, rng, ORDERS)
        if not len(game.players):
            return Missing("the default itself is the recommended configuration")
        if len(game.players) <= FEW:
            found = ablation(model.joint, game)
        else:
            found = ablation_of_draws(model.paths(DRAWS, rng), game)
        # z is minimised: the objective falls where the change was good.
        mean, low, high = (-model.scale * v for v in (found.mean, found.high, found.low))
        shares = []
        for k, column in enumerate(found.players):
            name = space.free[column]
            ends = space.default.get(name), best.config.get(name)
            shares.append(GainShare(name, *ends, float(mean[k]), float(low[k]), float(high[k])))
        return Shares(
            parameters=tuple(sorted(shares, key=lambda s: (-abs(s.share), s.name))),
            total=float(mean.sum()),
            scale=context.on_scale(context.header.objective),
            orders=0 if found.exact else ORDERS,
        )

    def render(self, found: Shares, context: ReportContext) -> Sequence[Block]:
        shown = found.parameters[:MOST]
        rows = [
            (
                s.name,
                text.value(s.default),
                text.value(s.tuned),
                text.rough(s.share),
                text.interval(s.low, s.high),
            )
            for s in found.parameters
        ]
        titles = ("parameter", "default", "tuned", f"improvement of {found.scale}", "95 %")
        caption = f"Share of each change in the improvement of {found.scale}, with 95 % intervals."
        if len(shown) < len(found.parameters):
            caption += f" {len(shown)} of {len(found.parameters)} shown, all in the table."
        chart = figures.chart(
            lambda ax: draw_ablation(ax, shown, found.scale),
            "ablation",
            "Where the gain came from",
            "; ".join(f"{s.name} {text.rough(s.share)}" for s in shown),
            caption,
            table(titles, rows),
            (figures.SIZE[0], 1.0 + 0.27 * len(shown)),
        )
        drawn = f"{found.orders} orders drawn at random, half of them the reverse of the others"
        explanation = (
            "Shapley values of the ablation from the default to the recommended configuration: the "
            "mean over all orders of changing one parameter after the other of what its own change "
            f"makes, in the model of inference, on its scale {found.scale}. The shares add to the "
            "model's whole improvement. Intervals are those of the posterior. "
            f"Computed from {drawn if found.orders else 'all combinations'}. What the model says "
            "of configurations between the two, which nobody trained, is in the shares."
        )
        return [
            Text(_said(found)),
            chart,
            how(explanation, n=known(context), seed=SEED if found.orders else None),
        ]


def _said(found: Shares) -> str:
    sure = [s for s in found.parameters if s.counts and s.share > 0]
    worse = [s.name for s in found.parameters if s.counts and s.share < 0]
    rest = [s.name for s in found.parameters if not s.counts]
    if sure:
        said = f"In the model, the improvement comes from {text.listed([s.name for s in sure])}"
        said += f": {sure[0].name} made {text.rough(sure[0].share)} of {text.rough(found.total)} "
        said += f"(of {found.scale}, unconfirmed)."
    else:
        said = "The model can tell of no single change that it made an improvement."
    if worse:
        said += f" Changed for the worse: {text.listed(worse)}."
    if rest:
        said += f" The default would do as well, as far as is known, for {text.listed(rest)}."
    return said


def draw_ablation(ax: Axes, shares: Sequence[GainShare], scale: str) -> None:
    """Shares as bars with their 95 % intervals."""
    at = np.arange(len(shares), dtype=np.float64)[::-1]
    figures.frame(ax, f"improvement of {figures.short(scale, 30)}", "", grid="x")
    colours = [figures.ACCENT if s.counts else figures.FAINT for s in shares]
    ax.barh(at, [s.share for s in shares], height=0.62, color=colours)
    ax.hlines(at, [s.low for s in shares], [s.high for s in shares], color=figures.INK,
              linewidth=1.4)  # fmt: skip
    ax.axvline(0, color=figures.MUTED, linewidth=1)
    ax.yaxis.set_major_locator(FixedLocator(list(at)))
    names = {a: figures.short(s.name, 22) for a, s in zip(at, shares, strict=True)}
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: names.get(v, "")))
    ax.tick_params(axis="y", colors=figures.INK)
    figures.plain_ticks(ax.xaxis)
