"""The verdict: at most six plain sentences."""

from __future__ import annotations

import math

from spot_dask.report.facts import Findings, Missing
from spot_dask.report.text import configuration, interval, like, listed, number, percent, plural

MOST_NAMED = 3
MATTERS = 0.05  # total index above which a parameter is worth naming


def verdict(findings: Findings) -> tuple[str, ...]:
    """What a reader in a hurry should know."""
    parts = (
        _what(findings),
        _best(findings),
        _gain(findings),
        _mattered(findings),
        _failures(findings),
        _warning(findings),
    )
    return tuple(part for part in parts if part)


def _what(f: Findings) -> str:
    better = "higher" if f.run.direction == "max" else "lower"
    free = sum(not p.fixed for p in f.parameters)
    return (
        f"{f.run.name} tuned {plural(free, 'parameter')} for {f.run.objective} ({better} is "
        f"better) with {plural(len(f.trials), 'evaluation')}"
        + (f"; {plural(f.pending, 'trial')} had no result yet." if f.pending else ".")
    )


def _best(f: Findings) -> str:
    r = f.recommended
    if isinstance(r, Missing):
        return f"There is no recommendation: {r.reason}."
    said = (
        f"The best configuration is that of trial {r.number}: {configuration(r.config)}; "
        f"its observed {f.run.objective} is {number(r.observed)}"
        + (f" (mean of {r.trainings} trainings)" if r.trainings > 1 else "")
    )
    if math.isnan(r.mean):
        return f"{said}."
    return (
        f"{said}, the model's estimate {like(r.mean, r.high - r.low)} "
        f"(approx. 95 % interval {interval(r.low, r.high)})."
    )


def _gain(f: Findings) -> str:
    g = f.gain
    if isinstance(f.recommended, Missing):
        return ""
    if isinstance(g, Missing):
        return f"An improvement over the default cannot be told: {g.reason}."
    if isinstance(f.importance, Missing):
        return (
            "Whether it improves on the default cannot be told yet, because the model knows too "
            f"little; the observed values differ by {number(g.observed)} in its favour."
        )
    gain = like(g.mean, g.high - g.low)
    said = f"{gain} (approx. 95 % interval {interval(g.low, g.high)})"
    if g.low > 0:
        return f"By the model it improves on the default by {said}."
    if g.mean > 0:
        return f"By the model it improves on the default by {said}: perhaps not at all."
    return f"By the model it does not improve on the default: the improvement is {said}."


def _mattered(f: Findings) -> str:
    if isinstance(f.recommended, Missing):
        return ""
    if isinstance(f.importance, Missing):
        return f"Which parameters matter cannot be told: {f.importance.reason}."
    named = [
        f"{p.name} ({percent(p.total.value)})"
        for p in f.importance[:MOST_NAMED]
        if p.total.value >= MATTERS
    ]
    return f"What mattered most, by its share in the variation: {listed(named)}."


def _failures(f: Findings) -> str:
    failed = sum(len(g.numbers) for g in f.failures)
    if not failed:
        return "No training failed." if f.trials else ""
    most = f.failures[0]
    kind = f", most often with {most.type}" if most.type else ""
    return f"{failed} of {plural(len(f.trials), 'training')} failed{kind}."


def _warning(f: Findings) -> str:
    if isinstance(f.recommended, Missing):
        return ""
    return (
        "This result is not confirmed on fresh seeds: the best of many noisy values tends to "
        "look better than it is."
    )
