"""Tuned against default: the paired comparison on fresh seeds, and what it can and cannot show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from spot_dask.inference.confirmed import FEWEST, fresh_values, paired
from spot_dask.records import Configuration
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Charts, DataTable, Heading, Text, how, table
from spot_dask.report.context import Floats, Missing, ReportContext, centred_defaults, floats
from spot_dask.stats.finalists import Finalist
from spot_dask.stats.intervals import SEED as BOOTSTRAP_SEED
from spot_dask.stats.paired import PairedComparison, compare_paired, holm
from spot_dask.stats.unpaired import WelchComparison, compare_unpaired

SEVERE = 0.95
POINTS = 60


@dataclass(frozen=True)
class FreshPair:
    """The values (user's sign) of default and tuned under one fresh seed."""

    seed: int
    default: float
    tuned: float


@dataclass(frozen=True)
class SeverityCurve:
    """How well each claim was tested: severity of "improvement ``claim`` delta", one per delta.

    The claim at ``warranted`` has severity 0.95.
    """

    claim: str
    delta: Floats
    severity: Floats
    warranted: float


@dataclass(frozen=True)
class NamedFinalist:
    """A confirmed configuration, called by its first trial, with its comparison after Holm."""

    name: str
    recommended: bool
    finalist: Finalist


@dataclass(frozen=True)
class Gain:
    """Improvement of the recommended configuration over the default; positive is better.

    ``default_observed`` and ``tuned_observed`` are means over as many trainings of the search, NaN
    where there are none, ``observed`` the improvement that they show. All else comes from ``pairs``
    of fresh seeds: the ``comparison``, of which ``stated`` tells whether the pairs are enough for
    an interval, its ``severity``, and the pairs ``needed`` to see an improvement of ``mde``.
    ``welch`` compares the two without their pairing, each with a noise of its own.
    """

    objective: str
    default_observed: float
    default_trainings: int
    tuned_observed: float
    tuned_trainings: int
    observed: float
    pairs: tuple[FreshPair, ...]
    comparison: PairedComparison | None
    stated: bool
    severity: SeverityCurve | None
    mde: float | None
    needed: int | None
    finalists: tuple[NamedFinalist, ...]
    welch: WelchComparison | None


_ORDINALS = {2: "half", 3: "third", 4: "quarter", 5: "fifth", 10: "tenth"}


class GainSection:
    title = "Is it better than the default?"
    order = 30

    def facts(self, context: ReportContext) -> Gain | Missing:
        r, default, history = context.recommended, context.space.default, context.fold.history
        if isinstance(r, Missing):
            return r
        if dict(r.config) == dict(default):
            return Missing("the default itself is the recommended configuration")
        tried = [e for e in history.searched.evaluations if e.trial.config == default]
        base = [e.y for e in tried if e.ok]
        fresh = [fresh_values(history, c, context.sign) for c in (default, r.config)]
        pairs = tuple(
            FreshPair(seed, *values)
            for seed, values in zip(
                sorted(set(fresh[0].seeds) & set(fresh[1].seeds)), paired(*fresh), strict=True
            )
        )
        if not base and not pairs:
            return Missing(
                "the training of the default failed" if tried else "the default is not evaluated"
            )
        found = None if context.confirmed is None else context.confirmed.gain
        stated, mde = found is not None and found.n >= FEWEST, context.settings.get("mde")
        expected = context.sign * float(np.mean(base)) if base else math.nan
        minimised = context.sign * np.array([[p.default, p.tuned] for p in pairs]).T
        return Gain(
            objective=context.header.objective,
            default_observed=expected,
            default_trainings=len(base),
            tuned_observed=r.observed,
            tuned_trainings=r.trainings,
            observed=context.sign * (expected - r.observed),
            pairs=pairs,
            comparison=found,
            stated=stated,
            severity=severity_curve(found) if found is not None and stated else None,
            mde=mde,
            needed=found.needed_seeds(mde) if found is not None and stated and mde else None,
            finalists=_finalists(context),
            welch=compare_unpaired(minimised[1], minimised[0]) if stated else None,
        )

    def render(self, found: Gain, context: ReportContext) -> Sequence[Block]:
        c, curve = found.comparison, found.severity
        centred = centred_defaults(context.space)
        noted = [Text(f"{centred} That is what is compared with.")] if centred else []
        if c is None or curve is None:
            origin = how(
                "The means over the trainings of the search, whose configuration was chosen for "
                "its value: that flatters it.",
                n=found.default_trainings + found.tuned_trainings,
            )
            return [Text(_unconfirmed(found), "warning"), *noted, *_observed(found), origin]
        pairs = figures.chart(
            lambda ax: draw_pairs(ax, found),
            "gain-pairs",
            "Default and tuned on the same fresh seeds",
            f"Tuned is better on {text.percent(c.share)} of {c.n} seeds.",
            "One line for each seed; its ends are one training each.",
            table(
                ("fresh seed", "default", "tuned", "improvement"),
                [(str(p.seed), p.default, p.tuned, d) for p, d in _with_differences(found)],
            ),
        )
        severity = figures.chart(
            lambda ax: draw_severity(ax, found),
            "gain-severity",
            "Severity of claims about the improvement",
            f"At {text.number(curve.warranted)} the severity is {SEVERE}.",
            f"How well “improvement {curve.claim} δ” was tested, for each δ.",
            table(
                ("δ", "severity"),
                [
                    (text.like(d, curve.delta[-1] - curve.delta[0]), f"{s:.3f}")
                    for d, s in list(zip(curve.delta, curve.severity, strict=True))[::6]
                ],
            ),
        )
        return [
            Text(sentence(found)),
            *noted,
            *_partitions(context),
            Charts([pairs, severity]),
            _numbers(found, c),
            *_several(found),
            how(
                "Tuned and default were trained under the same fresh seeds, which neither the "
                "search nor the choice of the configuration had seen, and only these trainings "
                "enter. The t interval is that of the mean of the paired differences (n - 1 "
                "degrees of freedom); BCa is the bias-corrected and accelerated bootstrap (9,999 "
                "resamples of a fixed seed, tails expanded for small n). The sign-flip test is "
                "exact over all 2^n signs up to n = 16. Severity is SEV(δ) = F((mean - δ) / se), F "
                "Student's t with n - 1 degrees of freedom (Mayo 2018): of “improvement > δ” where "
                "no improvement is rejected at 2.5 % (one-sided), else of “improvement <= δ”. "
                "Power is that of this t test, by the noncentral t. What is stated is about the "
                "mean over all seeds, with the data and the split as the study makes them.",
                *_observed(found),
                n=c.n,
                seed=BOOTSTRAP_SEED,
            ),
        ]


def _partitions(context: ReportContext) -> list[Block]:
    """What fresh seeds train on in a study with folds."""
    plan = context.folds
    if not plan.several:
        return []
    if plan.draws:
        return [
            Text(
                f"Every fresh seed holds out a {_ORDINALS.get(plan.k, f'{plan.k}th')} of the data "
                "that it draws itself, so what is stated rests on other partitions than the folds "
                "that chose the configuration."
            )
        ]
    return [
        Text(
            "Fresh seeds train on the same windows of time as the search, one after the other, so "
            "they tell of other trainings, but of no other data."
        )
    ]


def severity_curve(comparison: PairedComparison) -> SeverityCurve:
    """The severity of claims from no improvement to 3.5 standard errors around the mean."""
    c = comparison
    reach = 3.5 * c.se or 0.1 * abs(c.mean) or 1.0
    low, high = c.mean - reach, c.mean + reach
    wide = np.linspace(min(0.0, low), max(0.0, high), POINTS // 3)
    delta = np.union1d(wide, np.linspace(low, high, POINTS))
    claim = ">" if c.better else "≤"
    return SeverityCurve(claim, floats(delta), floats(c.severity(delta)), c.warranted(SEVERE))


def sentence(g: Gain) -> str:
    """What the comparison says, in one or two sentences; of a stated one."""
    c = g.comparison
    assert c is not None
    width, seeds = c.t.high - c.t.low, f"on {text.plural(c.n, 'fresh seed')}"
    value = f"{text.like(c.mean, width)} (95 % interval {text.interval(c.t.low, c.t.high)})"
    bound = text.like(c.warranted(SEVERE), width)
    if c.sd == 0 and c.mean == 0:
        return f"No: it and the default gave the same value {seeds}."
    if c.better:
        return (
            f"Yes: {seeds} it improves {g.objective} over the default by {value}. An improvement "
            f"of more than {bound} is warranted with severity {SEVERE}."
        )
    if c.t.high < 0:
        return f"No: {seeds} it is worse than the default; the improvement is {value}."
    return (
        f"That cannot be told: {seeds} the improvement over the default is {value}. More than "
        f"{bound} is ruled out with severity {SEVERE}; a true improvement of "
        f"{text.spread(c.smallest_effect)} would have been seen with a probability of 80 %."
    )


def _unconfirmed(g: Gain) -> str:
    """Why nothing can be claimed yet."""
    told = "Unconfirmed: the configuration was chosen because its values looked good, so these "
    told += "flatter it. "
    if g.pairs:
        told += f"{text.plural(len(g.pairs), 'pair')} of fresh seeds is all there is; "
        told += f"at least {FEWEST} are needed to state anything."
    else:
        told += "`spot-dask confirm STORE` trains it and the default under the same fresh seeds."
    return told


def _observed(g: Gain) -> list[Block]:
    """What the search observed of both."""
    rows: list[tuple[str, ...]] = []
    if not math.isnan(g.default_observed):
        times = f"{g.default_trainings} and {text.plural(g.tuned_trainings, 'training')}"
        values = map(text.rough, (g.default_observed, g.tuned_observed, g.observed))
        rows.append((f"search, {times}", *values))
    for p, d in _with_differences(g) if not g.stated else []:
        rows.append((f"fresh seed {p.seed}", *map(text.rough, (p.default, p.tuned, d))))
    numbers = (Heading(title, numeric=True) for title in ("default", "tuned", "gain"))
    return [table(("", *numbers), rows)] if rows else []


def _with_differences(g: Gain) -> list[tuple[FreshPair, float]]:
    c = g.comparison
    return [] if c is None else list(zip(g.pairs, c.differences, strict=True))


def _numbers(g: Gain, c: PairedComparison) -> DataTable:
    """What the pairs say, each with what it is."""
    width = c.t.high - c.t.low
    rows = [
        ("mean improvement", text.like(c.mean, width), f"of tuned over default, {c.n} pairs"),
        ("95 % t interval", text.interval(c.t.low, c.t.high), "of the mean; the one to state"),
        (
            "BCa interval",
            text.interval(c.bca.low, c.bca.high),
            "bootstrap: nominal 95 %, 92 % measured",
        ),
        ("p, paired t test", f"{c.p_t:.2g}", "one-sided; a claim needs .025 or less"),
        (
            "p, sign flips",
            f"{c.p_sign_flip:.2g}",
            f"one-sided; so many pairs cannot give less than {c.p_smallest:.2g}",
        ),
        (
            "P(tuned beats default)",
            text.percent(c.share),
            "on a new seed; 95 % interval "
            f"{text.percent(c.share_interval.low)} to {text.percent(c.share_interval.high)}",
        ),
        ("effect size d_z", text.spread(c.d_z), "mean / sd of the differences"),
        (
            "smallest effect",
            text.spread(c.smallest_effect),
            "a true improvement that would have been seen with a probability of 80 %",
        ),
    ]
    if g.welch is not None:
        apart = text.interval(g.welch.t.low, g.welch.t.high)
        said = f"two-sided; as if seeds were not shared: {apart}"
        rows.append(("p, Welch", f"{g.welch.p:.2g}", said))
    if g.needed is not None:
        what = f"to see an improvement of {text.number(g.mde or 0.0)} (mde) with 80 %; there are"
        rows.append(("seeds needed", str(g.needed), f"{what} {c.n}"))
    return table(("", Heading("value", numeric=True), "what it is"), rows)


def _several(g: Gain) -> list[Block]:
    """The table of all confirmed configurations where there is more than one."""
    if len(g.finalists) < 2:
        return []
    rows = []
    for named in g.finalists:
        c = named.finalist.comparison
        enough = c.n >= FEWEST
        ends = text.interval(c.t.low, c.t.high) if enough else "–"
        rows.append(
            (
                named.name + (" (recommended)" if named.recommended else ""),
                str(c.n),
                text.like(c.mean, c.t.high - c.t.low) if enough else text.rough(c.mean),
                ends,
                f"{named.finalist.p_holm:.2g}",
                "better" if enough and named.finalist.better else "cannot be told",
            )
        )
    said = (
        f"{len(rows)} configurations were confirmed. The last two columns are adjusted for that "
        "(Holm): the chance that any of these claims is false is at most 2.5 %."
    )
    titles = ("configuration", "pairs", "improvement", "95 % interval (each)", "p (Holm)", "claim")
    return [Text(said), table(titles, rows)]


def _finalists(context: ReportContext) -> tuple[NamedFinalist, ...]:
    """All configurations that have pairs of fresh seeds with the default, the recommended first."""
    history, default = context.fold.history, context.space.default
    recommended = None if context.best is None else dict(context.best.config)
    base = fresh_values(history, default, context.sign)
    distinct: list[Configuration] = []
    for e in history.confirmations:
        if e.trial.config != default and e.trial.config not in distinct:
            distinct.append(e.trial.config)
    distinct.sort(key=lambda config: dict(config) != recommended)
    found = []
    for config in distinct:
        if pairs := paired(base, fresh_values(history, config, context.sign)):
            found.append((config, compare_paired(*(context.sign * np.array(pairs).T))))
    adjusted = holm([c.p_t for _, c in found])
    return tuple(
        NamedFinalist(_name(context, config), dict(config) == recommended, Finalist(c, float(p)))
        for (config, c), p in zip(found, adjusted, strict=True)
    )


def _name(context: ReportContext, config: Configuration) -> str:
    numbers = [e.trial.number for e in context.ranked if e.trial.config == config]
    return f"trial {min(numbers)}" if numbers else "imported"


def draw_pairs(ax: Axes, g: Gain) -> None:
    """Default and tuned under each fresh seed, joined by a line; bars are the means."""
    sides = [[p.default for p in g.pairs], [p.tuned for p in g.pairs]]
    figures.frame(ax, "", figures.short(g.objective, 40))
    for p, (_, d) in zip(g.pairs, _with_differences(g), strict=True):
        colour = figures.ACCENT if d > 0 else figures.SECOND
        ax.plot([0, 1], [p.default, p.tuned], color=colour, linewidth=1.1, alpha=0.75)
    for x, values in enumerate(sides):
        figures.dots(ax, np.full(len(values), float(x)), np.array(values), figures.INK, 4.5)
        ax.hlines(np.mean(values), x - 0.13, x + 0.13, color=figures.INK, linewidth=2)
    ax.set_xlim(-0.4, 1.4)
    ax.set_xticks([0, 1], ["default", "tuned"])
    figures.value_scale(ax, np.concatenate(sides))
    handles = [
        Line2D([], [], color=figures.ACCENT, linewidth=1.4, label="tuned is better"),
        Line2D([], [], color=figures.INK, linewidth=2, label="mean"),
    ]
    if any(d <= 0 for _, d in _with_differences(g)):
        worse = Line2D([], [], color=figures.SECOND, linewidth=1.4, label="not better")
        handles.insert(1, worse)
    figures.legend(ax, handles)


def draw_severity(ax: Axes, g: Gain) -> None:
    """The severity of a claim about the improvement against the size that it claims."""
    curve, c = g.severity, g.comparison
    assert curve is not None
    assert c is not None
    figures.frame(ax, f"δ (improvement of {figures.short(g.objective, 24)})", "severity", "both")
    ax.plot(curve.delta, curve.severity, color=figures.ACCENT, linewidth=2)
    for y in (0.5, SEVERE):
        ax.axhline(y, color=figures.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    ax.axvline(0.0, color=figures.MUTED, linewidth=1)
    ax.plot([curve.warranted] * 2, [0, SEVERE], color=figures.SECOND, linewidth=1.4)
    handles = [
        Line2D([], [], color=figures.ACCENT, linewidth=2, label=f"“improvement {curve.claim} δ”"),
        Line2D([], [], color=figures.SECOND, linewidth=1.4, label=f"severity {SEVERE}"),
    ]
    if g.mde is not None and curve.delta[0] <= g.mde <= curve.delta[-1]:
        ax.axvline(g.mde, color=figures.INK, linewidth=1.2, linestyle=(0, (1, 2)))
        dotted = Line2D([], [], color=figures.INK, linestyle=(0, (1, 2)), label="mde")
        handles.append(dotted)
    ax.set_ylim(0, 1.02)
    figures.plain_ticks(ax.xaxis, ax.yaxis)
    figures.legend(ax, handles)
