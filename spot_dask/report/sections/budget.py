"""Would more budget help? What is expected of it, what bounds it, and what noise hides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from spot_dask.inference import outlook
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Heading, NotShown, Text, how, table
from spot_dask.report.context import LEAST_Q2, NONE_PRESENT, Floats, Missing, ReportContext
from spot_dask.report.sections.noise import NoiseSection
from spot_dask.stats.advice import Advice, Trend, advise, trend
from spot_dask.stats.diagnostics import LeaveOneOut
from spot_dask.tuner.stopping import Stopping

MORE = 20


@dataclass(frozen=True)
class BudgetAdvice:
    """Whether more evaluations are worth it; values in the user's units.

    ``recent`` are the largest expected improvements after each of the last evaluations of the
    model of inference, of which there were then ``counts``, and ``trend`` how they went. ``single``
    is the sd of a single training near the best and ``noise_is`` what the noise of the advice is.
    ``q2`` tells how well the model predicts left-out evaluations. ``ended`` is why the search ended
    before its budget; empty where it did not.
    """

    objective: str
    advice: Advice
    trend: Trend | None
    recent: Floats
    counts: tuple[int, ...]
    single: float
    noise_is: str
    q2: float
    ended: str = ""


class BudgetSection:
    title = "Would more budget help?"
    order = 60

    def facts(self, context: ReportContext) -> BudgetAdvice | Missing:
        model, c = context.inferred, context.confirmed
        if isinstance(model, Missing):
            return model
        if not model.evidence.present.any():
            return Missing(NONE_PRESENT)
        loo = LeaveOneOut(model.z, *model.leave_one_out())
        if math.isnan(loo.q2):
            return Missing("all values of the objective are equal, so there is nothing to improve")
        some = context.eligible
        if some is not None and not some.any():
            return Missing("nothing that was tried fulfils the constraints")
        seen = outlook.outlook(model, some)
        trainings = 1 if context.best is None else len(context.best.values)
        known = context[NoiseSection]
        exact = not isinstance(known, Missing) and known.sd == 0
        single = 0.0 if exact else seen.noise
        noise, noise_is = single / math.sqrt(trainings), text.plural(trainings, "training")
        if c is not None and c.stated:
            noise, noise_is = c.value.se, text.plural(c.value.n, "fresh seed")
        relevant = float(context.settings.get("mde") or 0.0)
        return BudgetAdvice(
            objective=context.header.objective,
            advice=advise(seen.improvement, seen.bound, noise, relevant, MORE),
            trend=trend(np.array(seen.recent)),
            recent=seen.recent,
            counts=seen.counts,
            single=single,
            noise_is=noise_is,
            q2=loo.q2,
            ended=_ended(context),
        )

    def render(self, found: BudgetAdvice, context: ReportContext) -> Sequence[Block]:
        blocks: list[Block] = [Text(sentence(found))]
        if found.ended:
            blocks.append(Text(f"The search ended before its budget: {found.ended}."))
        if found.q2 < LEAST_Q2:
            blocks.append(
                Text(
                    f"The model predicts left-out evaluations with Q² = {found.q2:.2f}: take this "
                    "as a rough guide.",
                    "warning",
                )
            )
        a = found.advice
        rows = [
            ("largest expected improvement now", text.rough(a.improvement), "by one evaluation"),
            (f"gain of {a.more} more", text.rough(a.gain), "expected at most"),
            (
                "bound of the regret",
                text.rough(a.bound),
                "what the best tried can still lack, as far as the model's bounds hold",
            ),
            ("noise of the best", text.rough(a.noise or 0.0), f"sd of its value: {found.noise_is}"),
        ]
        if a.relevant > 0:
            rows.append(("smallest that matters", text.rough(a.relevant), "mde, as you set it"))
        blocks.append(table(("", Heading(found.objective, numeric=True), "what it is"), rows))
        if any(v > 0 for v in found.recent):
            blocks.append(
                figures.chart(
                    lambda ax: draw_outlook(ax, found),
                    "budget-improvement",
                    "The largest expected improvement after each of the last evaluations",
                    f"Now {text.rough(a.improvement)}.",
                    "What the next evaluation was expected to bring, as of then.",
                    table(
                        ("evaluations", "largest expected improvement"),
                        [
                            (str(k), text.rough(v))
                            for k, v in zip(found.counts, found.recent, strict=True)
                        ],
                    ),
                )
            )
        else:
            blocks.append(NotShown("no improvement is expected anywhere, so there is no trend"))
        blocks.append(
            how(
                "The expected improvement E max(f(best) - f(x), 0) under the model of inference, "
                f"largest over {outlook.SPREAD} configurations that fill the space and "
                f"{outlook.NEIGHBOURS * outlook.NEAR} near the best; in the user's units, by "
                f"integration. The gain of {MORE} more evaluations is at most {MORE} times that, "
                "and at most the bound of the regret: the largest upper bound, mean + √β sd, of "
                "what a configuration is better than the best, with β = 2 log(d n² π² / 0.6) / 5 "
                "(after Makarova et al. 2022, for differences). Stop where the bound is "
                "below the noise, or where the gain does not matter (mde). The trend is the median "
                "slope of the logarithm (Theil and Sen); it and the figure take the "
                "hyperparameters that are the most likely ones today.",
                n=found.counts[-1],
                seed=outlook.SEED,
            )
        )
        return blocks


def _ended(context: ReportContext) -> str:
    """Why the search ended before its budget, by the rule of the study; empty if it did not."""
    until = context.settings.get("budget", {}).get("until")
    if until is None:
        return ""
    forced = context.settings.get("transform", "auto")
    limits = context.settings.get("constraints", {})
    rule = Stopping(context.space, until, context.objective, forced, context.within, limits)
    verdict = rule.verdict(context.fold.history)
    return "" if verdict is None else str(verdict)


def sentence(b: BudgetAdvice) -> str:
    """The advice, and what it rests on."""
    a = b.advice
    gain = f"{a.more} more evaluations are expected to improve {b.objective} by at most "
    gain += text.rough(a.gain)
    if a.verdict == "stop: below the noise":
        said = (
            f"No: what can still be gained is at most {text.rough(a.bound)}, less than the noise "
            f"of the best value ({text.rough(a.noise or 0.0)}, {b.noise_is})."
        )
    elif a.verdict == "stop: not worth it":
        said = f"No: {gain}, less than the {text.rough(a.relevant)} that matter to you."
    elif a.gain < b.single:
        said = f"Hardly: {gain}, less than a single training varies by ({text.rough(b.single)})."
    else:
        said = f"It may: {gain}."
    if b.trend is not None:
        fell = "fell" if b.trend.high < 1 else "rose" if b.trend.low > 1 else "did not clearly fall"
        said += f" Over the last {b.trend.n} evaluations this expectation {fell}."
    return said


def draw_outlook(ax: Axes, b: BudgetAdvice) -> None:
    """The largest expected improvement after each of the last evaluations, with what hides it."""
    k, v = np.array(b.counts, dtype=np.float64), np.array(b.recent)
    figures.frame(ax, "evaluations", f"improvement of {figures.short(b.objective, 30)}")
    keep = v > 0
    ax.plot(k[keep], v[keep], color=figures.ACCENT, linewidth=1.6)
    figures.dots(ax, k[keep], v[keep], figures.ACCENT, 4.5)
    handles = [Line2D([], [], color=figures.ACCENT, linewidth=2, label="expected at most")]
    levels = [
        (b.advice.noise or 0.0, (0, (4, 3)), figures.MUTED, "noise of the best"),
        (b.advice.relevant, (0, (1, 2)), figures.INK, "mde"),
    ]
    shown = [v[keep]]
    for level, dash, colour, label in levels:
        if level > 0:
            ax.axhline(level, color=colour, linewidth=1.2, linestyle=dash)
            handles.append(Line2D([], [], color=colour, linestyle=dash, label=label))
            shown.append(np.array([level]))
    figures.value_scale(ax, *shown)
    figures.plain_ticks(ax.xaxis)
    figures.legend(ax, handles)
