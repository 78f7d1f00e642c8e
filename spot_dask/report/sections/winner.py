"""How sure one can be of the recommended configuration, and which others are as good."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from spot_dask.inference import Inference
from spot_dask.inference.outlook import noise_at
from spot_dask.records import Configuration, Evaluation, Import, Value
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Cell, DataTable, Heading, Text, how, table
from spot_dask.report.context import SEED, Missing, ReportContext
from spot_dask.stats.best import best_chances, joint_draws
from spot_dask.stats.intervals import MeanEstimate

SHOWN = 10
DRAWS = 4000
EQUIVALENT = 0.5  # P(within delta) from which on a configuration counts as equivalent
TOGETHER = 400  # configurations that are drawn jointly; worse ones have no chance


@dataclass(frozen=True)
class Candidate:
    """A configuration that was tried, and its chances under the model of inference.

    ``number`` is its first trial, -1 where it was only imported; ``observed`` the mean of its
    ``trainings`` in the search; ``estimate`` the model's median of what it gives over all seeds;
    ``best`` the probability that no other of them is better, ``within`` that it is at most delta
    worse than the best. ``seconds`` is the mean duration of a training, NaN where it is not known.
    """

    number: int
    config: Configuration
    observed: float
    trainings: int
    estimate: float
    best: float
    within: float
    seconds: float

    @property
    def name(self) -> str:
        return "imported" if self.number < 0 else f"trial {self.number}"


@dataclass(frozen=True)
class Winner:
    """Three numbers of the recommended configuration, and its rivals.

    ``observed`` is the mean over ``trainings`` of the search, ``model`` the median of the model of
    inference (NaN without one), ``confirmed`` the mean over fresh seeds, ``stated`` whether there
    are enough of these. ``optimism`` is by how much the observed value looked better than the
    confirmed one. ``rivals`` are the ``total`` configurations of which the likeliest to be within
    ``delta`` of the best are kept, in this order, and the recommended one; ``equivalent`` counts
    those more likely than not.
    """

    name: str
    config: Configuration
    objective: str
    observed: float
    trainings: int
    model: float
    confirmed: MeanEstimate | None
    stated: bool
    optimism: float
    delta: float
    delta_is: str
    rivals: tuple[Candidate, ...]
    total: int
    equivalent: int
    cheapest: Candidate | None
    without_model: str


@dataclass(frozen=True)
class _Tried:
    """A distinct configuration with its evaluations in the search and its imports."""

    row: np.ndarray[tuple[int], np.dtype[np.float64]]
    evaluations: tuple[Evaluation, ...]
    imports: tuple[Import, ...]
    level: float = math.nan

    @property
    def y(self) -> float:
        if not math.isnan(self.level):
            return self.level
        return float(np.mean([*(i.y for i in self.imports), *(e.y for e in self.evaluations)]))

    @property
    def config(self) -> Configuration:
        return self.evaluations[0].trial.config if self.evaluations else self.imports[0].config

    @property
    def number(self) -> int:
        return self.evaluations[0].trial.number if self.evaluations else -1


class WinnerSection:
    title = "How sure is the winner?"
    order = 40

    def facts(self, context: ReportContext) -> Winner | Missing:
        r, model, c = context.recommended, context.inferred, context.confirmed
        if isinstance(r, Missing):
            return r
        estimate, delta, delta_is = math.nan, 0.0, ""
        rivals: tuple[Candidate, ...] = ()
        if not isinstance(model, Missing):
            row = context.space.encode([r.config])
            estimate = float(model.user(model.mean(row))[0])
            delta, delta_is = _delta(context, model, row)
            rivals = _rivals(context, model, delta)
        confirmed = None if c is None else c.value
        known = math.nan if confirmed is None else confirmed.mean
        equal = [rival for rival in rivals if rival.within >= EQUIVALENT]
        timed = [rival for rival in equal if not math.isnan(rival.seconds)]
        return Winner(
            name=r.name,
            config=r.config,
            objective=context.header.objective,
            observed=r.observed,
            trainings=r.trainings,
            model=estimate,
            confirmed=confirmed,
            stated=context.is_confirmed,
            optimism=context.sign * (known - r.observed),
            delta=delta,
            delta_is=delta_is,
            rivals=tuple(
                rival for i, rival in enumerate(rivals) if i < SHOWN or rival.config == r.config
            ),
            total=len(rivals),
            equivalent=len(equal),
            cheapest=min(timed, key=lambda rival: rival.seconds, default=None),
            without_model=model.reason if isinstance(model, Missing) else "",
        )

    def render(self, found: Winner, context: ReportContext) -> Sequence[Block]:
        blocks: list[Block] = [Text(_sentence(found)), _three(found)]
        if not found.rivals:
            return [*blocks, Text(f"Its rivals are not compared: {found.without_model}.", "note")]
        changing = _changing(context, found.rivals)
        chances = figures.chart(
            lambda ax: draw_chances(ax, found),
            "winner-chances",
            "The chances of the best configurations",
            f"{found.equivalent} of {found.total} are more likely than not within δ of the best.",
            f"Under the model of inference; {len(found.rivals)} of the {found.total} "
            "configurations that were tried are shown.",
            size=(figures.SIZE[0], 1.2 + 0.27 * len(found.rivals)),
        )
        return [
            *blocks,
            Text(_equivalents(found)),
            chances,
            _table(found, changing),
            how(
                "Observed is the mean over the trainings of the search; it flatters, because the "
                "configuration was chosen for it. The model's value is the posterior median of "
                "the objective over all seeds at this configuration. Confirmed is the mean over "
                "fresh seeds, which had no part in the choice, with its t interval. The chances "
                f"are shares of {DRAWS} joint draws from the posterior of the model of inference "
                f"at the tried configurations; δ is {found.delta_is}. A probability p of so many "
                f"draws has a standard error of at most {0.5 / math.sqrt(DRAWS):.3f}.",
                n=None if context.inference is None else len(context.inference.z),
                seed=SEED,
            ),
        ]


def _delta(
    context: ReportContext, model: Inference, row: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> tuple[float, str]:
    """What counts as equally good (user's units), and what that is in words."""
    if mde := context.settings.get("mde"):
        return float(mde), "the smallest improvement that matters (mde)"
    noise = noise_at(model, float(model.mean(row)[0]))
    return noise, "the standard deviation of a single training, as estimated"


def _tried(context: ReportContext) -> list[_Tried]:
    """The configurations that succeeded in the search or were imported, best observed first.

    Under constraints those that fulfil them, as observed, if there are any.
    """
    history = context.fold.history
    present = (e for e in history.searched.ok if context.competes(e.trial.config))
    own = sorted(present, key=lambda e: e.trial.number)
    imports = [i for i in history.imports if context.competes(i.config)]
    if context.best is not None and context.best.feasible:
        best = dict(context.best.config)
        own = [e for e in own if context.fulfils(e) or dict(e.trial.config) == best]
        imports = [i for i in imports if context.fulfils(i) or dict(i.config) == best]
    configs = [e.trial.config for e in own] + [i.config for i in imports]
    rows = context.space.encode(configs)
    groups: dict[bytes, list[int]] = {}
    for i, key in enumerate(context.space.row_keys(rows)):
        groups.setdefault(key, []).append(i)
    n = len(own)
    found = [
        _Tried(
            rows[at[0]],
            tuple(own[i] for i in at if i < n),
            tuple(imports[i - n] for i in at if i >= n),
            context.table.level(configs[at[0]]) if context.folds.several else math.nan,
        )
        for at in groups.values()
    ]
    return sorted(found, key=lambda tried: tried.y)


def _rivals(context: ReportContext, model: Inference, delta: float) -> tuple[Candidate, ...]:
    """All configurations tried, the likeliest to be within delta of the best first."""
    tried = _tried(context)
    z = model.mean(np.array([t.row for t in tried]))
    order = np.argsort(z, kind="stable")
    close = order[:TOGETHER]
    rng = np.random.default_rng(SEED)
    draws = joint_draws(model.joint, np.array([tried[i].row for i in close]), DRAWS, rng)
    chances = best_chances(context.sign * model.user(draws), delta)
    best, within = np.zeros(len(tried)), np.zeros(len(tried))
    best[close], within[close] = chances.best, chances.within
    found = []
    for i in order:
        t, seconds = tried[i], [e.outcome.seconds for e in tried[i].evaluations]
        known = [s for s in seconds if math.isfinite(s)]
        found.append(
            Candidate(
                number=t.number,
                config=t.config,
                observed=context.sign * t.y,
                trainings=len(t.evaluations) + len(t.imports),
                estimate=float(model.user(z[i])),
                best=float(best[i]),
                within=float(within[i]),
                seconds=float(np.mean(known)) if known else math.nan,
            )
        )
    return tuple(sorted(found, key=lambda c: (-c.within, -c.best)))


def _sentence(w: Winner) -> str:
    """How far the three numbers agree."""
    name = w.name[0].upper() + w.name[1:]
    c = w.confirmed
    if c is None or not w.stated:
        seeds = "" if c is None else f" {text.plural(c.n, 'fresh seed')} gave {text.rough(c.mean)}."
        return (
            f"{name} is unconfirmed: its {w.objective} of {text.rough(w.observed)} was observed in "
            f"{text.plural(w.trainings, 'training')} and looks better than it is.{seeds}"
        )
    width = c.t.high - c.t.low
    said = (
        f"{name} has a mean {w.objective} of {text.like(c.mean, width)} on {c.n} fresh seeds (95 % "
        f"interval {text.interval(c.t.low, c.t.high)}). "
    )
    if w.optimism > 0:
        return f"{said}The search had seen a value better by {text.spread(w.optimism)}."
    return f"{said}What the search had seen was no better than that."


def _three(w: Winner) -> DataTable:
    """Observed, model and confirmed side by side."""
    rows = [(f"observed in {text.plural(w.trainings, 'training')}", text.rough(w.observed), "–")]
    if not math.isnan(w.model):
        rows.append(("model of all evaluations", text.rough(w.model), "–"))
    c = w.confirmed
    if c is None:
        rows.append(("confirmed: not yet", "–", "–"))
    elif not w.stated:
        seeds = text.plural(c.n, "fresh seed")
        rows.append((f"{seeds}, too few to state it", text.rough(c.mean), "–"))
    else:
        ends = text.interval(c.t.low, c.t.high)
        value = text.like(c.mean, c.t.high - c.t.low)
        rows.append((f"confirmed on {c.n} fresh seeds", value, ends))
    titles = ("", Heading(w.objective, numeric=True), Heading("95 % interval", numeric=True))
    shown = 3 if w.stated else 2
    return table(titles[:shown], [row[:shown] for row in rows])


def _equivalents(w: Winner) -> str:
    """What the chances mean for the choice."""
    first, delta = w.rivals[0], text.spread(w.delta)
    if w.equivalent == 0:
        return (
            f"No configuration is more likely than not within {delta} of the best of the {w.total} "
            f"that were tried; {first.name} comes closest, with {text.percent(first.within)}."
        )
    if w.equivalent == 1:
        return (
            f"Of the {w.total} configurations tried only {first.name} is more likely than not "
            f"within {delta} of the best ({text.percent(first.within)})."
        )
    said = (
        f"{w.equivalent} of the {w.total} configurations tried are more likely than not within "
        f"{delta} of the best"
    )
    if w.cheapest is None:
        return f"{said}."
    return (
        f"{said}; the cheapest of these is {w.cheapest.name}, with "
        f"{text.seconds(w.cheapest.seconds)} a training."
    )


def _changing(context: ReportContext, rivals: Sequence[Candidate]) -> list[str]:
    """The parameters in which the rivals differ, in the order of the space."""
    return [
        name
        for name in context.space.free
        if len({str(rival.config.get(name)) for rival in rivals}) > 1
    ]


def _table(w: Winner, changing: Sequence[str]) -> DataTable:
    titles: list[str | Heading] = [
        "configuration",
        *(Heading(title, True) for title in ("observed", "model", "P(best)", "P(within δ)")),
        Heading("a training takes", True),
        *(Heading(name, True) for name in changing),
    ]
    rows = [
        [
            Cell(rival.name, style="strong" if rival.config == w.config else ""),
            text.rough(rival.observed),
            text.rough(rival.estimate),
            text.percent(rival.best),
            text.percent(rival.within),
            text.seconds(rival.seconds),
            *(Cell(_short(rival.config.get(name)), style="muted") for name in changing),
        ]
        for rival in w.rivals
    ]
    return table(titles, rows)


def _short(value: Value | None) -> str:
    """A parameter's value to three digits; the exact ones stand in the table of trials."""
    return text.rough(value) if isinstance(value, float) else text.value(value)


def draw_chances(ax: Axes, w: Winner) -> None:
    """For each of the best configurations, the chances to be the best and to be within delta."""
    y = np.arange(len(w.rivals), dtype=np.float64)
    within, best = (np.array([getattr(r, kind) for r in w.rivals]) for kind in ("within", "best"))
    figures.frame(ax, "probability", "", "x")
    ax.barh(y, within, height=0.62, color=figures.BAND)
    ax.barh(y, best, height=0.62, color=figures.ACCENT)
    ax.axvline(EQUIVALENT, color=figures.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    ax.set_yticks(y, [r.name for r in w.rivals])
    ax.set_ylim(len(y) - 0.4, -0.6)
    ax.set_xlim(0, 1)
    figures.legend(
        ax,
        [
            Line2D([], [], color=figures.ACCENT, linewidth=6, label="is the best"),
            Line2D([], [], color=figures.BAND, linewidth=6, label="within δ of the best"),
        ],
    )
