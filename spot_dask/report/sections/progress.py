"""The search over evaluations and over time, beside what random search would have reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from spot_dask.inference import Inference
from spot_dask.records import Origin
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Charts, Text, how, table
from spot_dask.report.context import SEED, Floats, Missing, ReportContext
from spot_dask.stats import FloatArray
from spot_dask.stats.baseline import RandomSearch, expected_best, expected_best_of_draws
from spot_dask.stats.progress import incumbent_curve

PATHS = 64
FEWEST_ROWS = 512
By = Literal["evaluations", "time", "work"]


@dataclass(frozen=True)
class RandomBaseline:
    """The best of 1, 2, ... random evaluations: expectation, and 5 % and 95 % quantiles.

    Of the first ``exact`` it is that of evaluations of this run which fill the space, drawn
    without replacement; beyond, of functions drawn from the model of inference.
    """

    mean: Floats
    low: Floats
    high: Floats
    exact: int


@dataclass(frozen=True)
class SearchProgress:
    """The search's evaluations in order of arrival (n), the incumbent after each, and the baseline.

    ``elapsed`` is the working time of the study in seconds when each arrived, ``work`` the sum of
    the trainings' seconds by then. ``initial`` marks evaluations of the initial design, ``stopped``
    those that were stopped early, ``fallback`` those that were chosen otherwise, as the surrogate
    or the criterion failed. ``confirmations`` are not among them. Under constraints the incumbent
    fulfils them, as observed, and there is no baseline: random search would seldom. Nor is there
    one with folds; an evaluation's value is then that of the configuration that it completes.
    """

    number: tuple[int, ...]
    elapsed: Floats
    work: Floats
    y: Floats
    best: Floats
    initial: tuple[bool, ...]
    random: RandomBaseline
    stopped: tuple[bool, ...]
    fallback: tuple[bool, ...]
    confirmations: int


class ProgressSection:
    title = "How did the search go?"
    order = 50

    def facts(self, context: ReportContext) -> SearchProgress | Missing:
        if not context.ranked:
            return Missing("no evaluation has succeeded")
        arrivals = [(e, elapsed) for e, elapsed in context.arrivals if not e.trial.confirms]
        told = [e for e, _ in arrivals]
        settled = [context.settled.get(e.trial.number) for e in told]
        y = np.array([math.nan if e is None else e.y for e in settled])
        fine = np.array([e is not None and context.fulfils(e) for e in settled])
        later = (Origin.INFILL, Origin.REPLICATE, Origin.FALLBACK)
        return SearchProgress(
            number=tuple(e.trial.number for e in told),
            elapsed=tuple(elapsed for _, elapsed in arrivals),
            work=tuple(np.nancumsum([e.outcome.seconds for e in told]).tolist()),
            y=context.signed(y),
            best=context.signed(incumbent_curve(np.where(fine, y, np.nan))),
            initial=tuple(e.trial.origin not in later for e in told),
            random=_baseline(context, len(told)),
            stopped=tuple(e.stopped for e in told),
            fallback=tuple(e.trial.origin is Origin.FALLBACK for e in told),
            confirmations=len(context.arrivals) - len(arrivals),
        )

    def render(self, found: SearchProgress, context: ReportContext) -> Sequence[Block]:
        name = context.header.objective
        # Only the evaluations that improved on all before them.
        steps = [
            i
            for i in range(len(found.best))
            if found.y[i] == found.best[i] and (i == 0 or found.best[i] != found.best[i - 1])
        ]
        rows = []
        for i in steps:
            elapsed, best = text.seconds(found.elapsed[i]), text.rough(found.best[i])
            rows.append((str(i + 1), str(found.number[i]), elapsed, best))
        by_evaluations = figures.chart(
            lambda ax: draw_search(ax, found, name, "evaluations"),
            "progress-evaluations",
            "Best value so far by number of evaluations",
            f"{len(found.y)} evaluations; the best value improved {len(steps) - 1} times.",
            "By evaluations.",
            table(("evaluation", "trial", "working time", "best so far"), rows),
        )
        by_time = figures.chart(
            lambda ax: draw_search(ax, found, name, "time"),
            "progress-time",
            "Best value so far by working time",
            f"{text.seconds(found.elapsed[-1])} of working time.",
            "By working time; pauses between sessions are left out.",
        )
        by_work = figures.chart(
            lambda ax: draw_search(ax, found, name, "work"),
            "progress-work",
            "Best value so far by the time that workers trained",
            f"{text.seconds(found.work[-1])} of training.",
            "By the time that all workers together trained.",
        )
        r = found.random
        shown = sorted({*range(0, len(r.mean), max(1, len(r.mean) // 12)), len(r.mean) - 1} - {-1})
        rows_of_random = [
            (str(k + 1), *map(text.rough, (r.mean[k], r.low[k], r.high[k]))) for k in shown
        ]
        titles = ("random evaluations", "expected best", "5 %", "95 %")
        return [
            Text(_sentence(found, name)),
            Charts([by_evaluations, by_time, by_work]),
            how(
                "A configuration counts when the last of its folds has come, by its mean. "
                "The best value so far is an observed one, which flatters."
                if context.folds.several
                else "The line for random search is the expected best of k random evaluations, and "
                "its band holds nine of ten such searches. "
                + _where_from(r)
                + "The best value so far is an observed one, as is that of random search; both "
                "flatter.",
                *([table(titles, rows_of_random)] if rows_of_random else []),
                n=len(found.y),
                seed=SEED,
            ),
        ]


def _baseline(context: ReportContext, k: int) -> RandomBaseline:
    """What random search would reach with 1 to k evaluations, as far as that can be told."""
    filling = [e for e in context.evaluations if e.trial.origin in (Origin.DESIGN, Origin.EXPLORE)]
    seen = np.array([e.y if e.ok else np.nan for e in filling if not e.stopped])
    parts: list[RandomSearch] = []
    exact = 0
    if context.constraints or context.folds.several:
        return RandomBaseline((), (), (), 0)
    if np.isfinite(seen).sum() > 1:
        exact = min(len(seen), k)
        parts.append(expected_best(np.where(np.isnan(seen), np.nanmax(seen), seen), exact))
    if context.inference is not None and k > exact:
        failing = float(np.mean(np.isnan(seen))) if len(seen) else 0.0
        simulated = _simulated(context.inference, k, failing)
        parts.append(RandomSearch(*(part[exact:] for part in simulated)))
    mean, low, high = (
        context.signed(np.concatenate([getattr(p, side) for p in parts] or [np.empty(0)]))
        for side in ("mean", "low", "high")
    )
    return RandomBaseline(mean, low, high, exact)


def _simulated(model: Inference, k: int, failing: float) -> tuple[FloatArray, ...]:
    """Mean and quantiles (k each, minimised) of random search on functions that may be the truth.

    Each is seen with the noise of a single training, and the share ``failing`` fails.
    """
    rng = np.random.default_rng(SEED)
    # Evenly spread in every column (a Latin hypercube), lest all draws share one sample's luck.
    cells = np.tile(np.arange(max(FEWEST_ROWS, 2 * k))[:, None], (1, model.space.d))
    raw = (rng.permuted(cells, axis=0) + rng.random(cells.shape)) / len(cells)
    z = model.paths(PATHS, rng)(model.snap(raw))
    z = z + model.noise[0] * rng.standard_normal(z.shape)
    y = model.sign * model.user(z)
    fails = rng.random(y.shape) < failing
    y = np.where(fails, y.max(axis=1, keepdims=True), y)
    found = expected_best_of_draws(y, k)
    return found.mean, found.low, found.high


def _where_from(r: RandomBaseline) -> str:
    """What the baseline is computed from."""
    said = ""
    if r.exact:
        said = (
            f"Up to {r.exact} evaluations it is exact for those of this run that fill the space, "
            "drawn without replacement. "
        )
    if len(r.mean) > r.exact:
        said += (
            f"{'Beyond (dashed)' if r.exact else 'Here'} it is simulated: {PATHS} functions drawn "
            "from the model of inference, seen at random configurations with its noise. "
        )
    return (
        said
        or "It is not shown, because there are constraints, or too few evaluations fill the space. "
    )


def _sentence(p: SearchProgress, objective: str) -> str:
    last = max(i for i in range(len(p.best)) if i == 0 or p.best[i] != p.best[i - 1])
    said = (
        f"The best observed {objective}, {text.rough(p.best[-1])}, came as evaluation "
        f"{last + 1} of {len(p.y)} (trial {p.number[last]})."
    )
    if math.isnan(p.best[-1]):
        said = f"None of {text.plural(len(p.y), 'evaluation')} fulfils the constraints."
    if any(p.stopped):
        said += (
            f" {text.plural(sum(p.stopped), 'training')} promised too little, ended early and "
            "gave no result."
        )
    if any(p.fallback):
        said += (
            f" {text.plural(sum(p.fallback), 'trial')} took the place of what the surrogate or the "
            "criterion failed to choose."
        )
    if p.random.mean:
        said += (
            f" {text.plural(len(p.random.mean), 'random evaluation')} would be expected to reach "
            f"{text.rough(p.random.mean[-1])}."
        )
    if p.confirmations:
        said += f" {text.plural(p.confirmations, 'confirmation')} followed, not shown here."
    return said


def draw_search(ax: Axes, p: SearchProgress, objective: str, by: By) -> None:
    """Every evaluation, the incumbent, and what random search would be expected to reach."""
    y, best = np.array(p.y), np.array(p.best)
    initial, fallback = np.array(p.initial, dtype=bool), np.array(p.fallback, dtype=bool)
    chosen = ~(initial | fallback)
    x, label = _places(p, by)
    figures.frame(ax, label, figures.short(objective, 40))
    begun = int(np.argmin(initial)) if not initial.all() else len(x)
    ax.axvspan(0.0, float(x[begun - 1]), color=figures.GRID, alpha=0.5, linewidth=0)
    figures.dots(ax, x[initial], y[initial], figures.FAINT)
    figures.dots(ax, x[chosen], y[chosen], figures.POINT)
    figures.dots(ax, x[fallback], y[fallback], figures.INK)
    ax.step(x, best, where="post", color=figures.ACCENT, linewidth=2)
    handles = [
        Line2D([], [], color=figures.ACCENT, linewidth=2, label="best so far"),
        figures.dot_handle(figures.FAINT, "initial design (shaded)"),
        figures.dot_handle(figures.POINT, "chosen by the model"),
    ]
    if fallback.any():
        handles.append(figures.dot_handle(figures.INK, "the model failed"))
    shown = [y[initial], y[~initial]]
    if by == "evaluations" and p.random.mean:
        handles.append(_draw_random(ax, p.random))
        shown.append(np.array(p.random.mean))
    figures.value_scale(ax, *shown)
    figures.limit_to_bulk(ax, *shown)
    figures.plain_ticks(ax.xaxis)
    ax.set_xlim(0, max(float(x[-1]) * 1.02, 1e-9))
    figures.legend(ax, handles)


def _places(p: SearchProgress, by: By) -> tuple[FloatArray, str]:
    """Where the evaluations stand on the x axis (n), and what that is."""
    if by == "evaluations":
        return np.arange(1, len(p.y) + 1, dtype=np.float64), "evaluations"
    seconds = np.array(p.elapsed if by == "time" else p.work)
    unit, name = (3600.0, "hours") if seconds.max() >= 2 * 3600 else (60.0, "minutes")
    if seconds.max() < 120:
        unit, name = 1.0, "seconds"
    return seconds / unit, f"{'working time' if by == 'time' else 'training time'} ({name})"


def _draw_random(ax: Axes, r: RandomBaseline) -> Line2D:
    """Random search with its band; what is simulated is dashed. Its entry in the legend."""
    k = np.arange(1, len(r.mean) + 1)
    ax.fill_between(k, r.low, r.high, color=figures.SECOND, alpha=0.12, linewidth=0)
    ax.plot(k[: r.exact], r.mean[: r.exact], color=figures.SECOND, linewidth=1.6)
    start = max(r.exact - 1, 0)
    ax.plot(k[start:], r.mean[start:], color=figures.SECOND, linewidth=1.6, linestyle=(0, (4, 2)))
    return Line2D([], [], color=figures.SECOND, linewidth=1.6, label="random search, expected")
