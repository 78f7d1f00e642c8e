"""What kind of landscape the objective is: rugged or smooth, its basins, and a screening."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from spot_dask.inference import Inference
from spot_dask.inference.present import columns
from spot_dask.records import Configuration
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, NotShown, Text, how, table
from spot_dask.report.context import SEED, Missing, ReportContext, known
from spot_dask.stats.landscape import FitnessDistance, basins, fitness_distance
from spot_dask.stats.landscape import ruggedness as ruggedness_of
from spot_dask.stats.morris import elementary_effects

STARTS = 16
FEWER_STARTS = 8  # where there are more than MANY parameters
MANY = 10
WALKS = 32
MOST = 5  # basins named


@dataclass(frozen=True)
class Basin:
    """A local minimum of the model's mean: median of the objective and the share of the starts."""

    config: Configuration
    median: float
    share: float


@dataclass(frozen=True)
class Screening:
    """Elementary effects of a parameter on the model's scale; ``mu`` in the user's sign."""

    name: str
    mu: float
    mu_star: float
    sigma: float


@dataclass(frozen=True)
class WholeLandscape:
    """What is told only where the model may speak of the whole space.

    ``unseen`` is the estimated probability of a further basin in a further descent.
    """

    basins: tuple[Basin, ...]
    unseen: float
    starts: int
    screening: tuple[Screening, ...]


@dataclass(frozen=True)
class Landscape:
    """``noise_share`` of the variance is noise; ``turns`` per parameter along its range.

    ``distance`` correlates value and distance to the best among space-filling evaluations; None
    where they are too few.
    """

    noise_share: float
    turns: dict[str, float]
    distance: FitnessDistance | None
    whole: WholeLandscape | Missing


class LandscapeSection:
    title = "What kind of landscape is it?"
    order = 115

    def facts(self, context: ReportContext) -> Landscape | Missing:
        model, whole = context.explained, context.whole
        if isinstance(model, Missing):
            return model
        sets = model.process.sets
        process = float(np.median([s.s2 for s in sets]))
        error, seed = model.noise
        lengths = np.exp(np.mean([np.log(s.scales) for s in sets], axis=0))
        rugged = ruggedness_of(error**2 + seed**2, process, lengths)
        filling = model.evidence.filling & model.evidence.present
        _, factors = columns(model.space)
        distance = fitness_distance(model.evidence.X[filling], model.z[filling], sorted(factors))
        return Landscape(
            noise_share=rugged.noise_share,
            turns=dict(zip(model.space.free, map(float, rugged.turns), strict=True)),
            distance=distance,
            whole=whole if isinstance(whole, Missing) else _whole(whole, sorted(factors), context),
        )

    def render(self, found: Landscape, context: ReportContext) -> Sequence[Block]:
        turns = sorted(found.turns.items(), key=lambda item: -item[1])
        rows = [(name, f"{value:.2f}") for name, value in turns]
        blocks: list[Block] = [Text(_said(found)), table(("parameter", "turns"), rows)]
        if isinstance(found.whole, Missing):
            blocks.append(NotShown(f"{found.whole.reason} (basins and screening)"))
        else:
            blocks += _shown(found.whole, context)
        explanation = (
            "Turns are how often a function with the model's length scales crosses its mean along "
            "the whole range of a parameter, on average (Rice 1944): below 1 it is smooth. Basins "
            "are local minima of the model's mean, found by descents from space-filling starts; "
            "two count as one unless the mean rises between them by 5 % of its standard "
            "deviation. The screening is Morris' (1991): one parameter after the other is moved "
            f"by 4/7 of its range in {WALKS} random walks through the model's mean; mu* is the "
            "mean size of what that changes, sigma how much it depends on the place. All on the "
            f"scale {context.on_scale(context.header.objective)}."
        )
        return [*blocks, how(explanation, n=known(context), seed=SEED)]


def _whole(model: Inference, factors: Sequence[int], context: ReportContext) -> WholeLandscape:
    space, rng = model.space, np.random.default_rng(SEED)
    starts = STARTS if space.d <= MANY else FEWER_STARTS
    inside = model.evidence.inside
    found = basins(model.mean, space.snap, space.d, rng, factors, starts, region=inside)
    effects = elementary_effects(model.mean, model.snap, space.d, rng, WALKS)
    scale = model.scale
    screening = [
        Screening(
            name,
            context.sign * scale * float(effects.mu[i]),
            scale * float(effects.mu_star[i]),
            scale * float(effects.sigma[i]),
        )
        for i, name in enumerate(space.free)
    ]
    return WholeLandscape(
        basins=tuple(
            Basin(config, float(median), float(share))
            for config, median, share in zip(
                space.decode(found.rows), model.user(found.values), found.shares, strict=True
            )
        ),
        unseen=found.unseen,
        starts=found.starts,
        screening=tuple(sorted(screening, key=lambda s: (-s.mu_star, s.name))),
    )


def _said(found: Landscape) -> str:
    rough = [name for name, value in found.turns.items() if value >= 1]
    said = f"{text.percent(found.noise_share)} of the model's variance is noise. "
    said += f"It turns more than once along {text.listed(rough)}." if rough else "It is smooth."
    if found.distance is not None:
        rho = found.distance.spearman
        leads = "lead to" if rho > 0.3 else "say little of where to find"
        said += (
            f" Values of {found.distance.n} space-filling evaluations {leads} the best of them "
            f"(rank correlation with the distance {rho:.2f})."
        )
    if isinstance(found.whole, WholeLandscape):
        said += f" In the model's mean {text.plural(len(found.whole.basins), 'basin')} can be seen."
    return said


def _shown(whole: WholeLandscape, context: ReportContext) -> list[Block]:
    named = whole.basins[:MOST]
    rows = [
        (text.configuration(b.config), text.rough(b.median), text.percent(b.share)) for b in named
    ]
    title = f"basins ({len(named)} of {len(whole.basins)}; {whole.starts} descents)"
    lines = [
        (s.name, text.rough(s.mu), text.rough(s.mu_star), text.rough(s.sigma))
        for s in whole.screening
    ]
    chart = figures.chart(
        lambda ax: draw_screening(ax, whole.screening),
        "screening",
        "Elementary effects",
        "; ".join(f"{s.name} {text.rough(s.mu_star)}" for s in whole.screening[:12]),
        "Right: strong. Above: its effect depends on the place. Weak ones are in the data only.",
        table(("parameter", "mu", "mu*", "sigma"), lines),
    )
    return [table((title, context.header.objective, "share of descents"), rows), chart]


def draw_screening(ax: Axes, screening: Sequence[Screening]) -> None:
    """sigma against mu*, with names at those of at least a tenth of the largest mu*."""
    x, y = (np.array(part) for part in zip(*((s.mu_star, s.sigma) for s in screening), strict=True))
    figures.frame(ax, "mu* (mean size of the effect)", "sigma", grid="both")
    figures.dots(ax, x, y, figures.ACCENT, 5.0)
    for s in [s for s in screening[:12] if s.mu_star >= 0.1 * x.max()]:
        ax.annotate(
            figures.short(s.name, 14), (s.mu_star, s.sigma), xytext=(5, 3),
            textcoords="offset points", fontsize=8, color=figures.MUTED,
        )  # fmt: skip
    ax.set_xlim(*figures.padded(0.0, float(x.max()), 0.15))
    ax.set_ylim(*figures.padded(0.0, float(y.max()), 0.15))
    figures.plain_ticks(ax.xaxis, ax.yaxis)
