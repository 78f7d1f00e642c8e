"""Health checks: what would make a reader distrust the result."""

from __future__ import annotations

import math
from collections.abc import Callable

from spot_dask.report.facts import Check, Findings, Missing
from spot_dask.report.insight import LEAST_Q2
from spot_dask.report.text import interval, like, listed, percent, plural

TOO_MANY_FAILURES = 0.1


def health(findings: Findings) -> tuple[Check, ...]:
    """All checks, in the order of the page."""
    checks: tuple[Callable[[Findings], Check], ...] = (
        _beats_default,
        _believable,
        _inside,
        _few_failures,
        _converged,
        _confirmed,
    )
    return tuple(check(findings) for check in checks)


def _beats_default(f: Findings) -> Check:
    title = "Better than the default"
    if isinstance(f.gain, Missing):
        said = f"cannot be told: {f.gain.reason}"
        return Check("NONE" if isinstance(f.recommended, Missing) else "WARN", title, said)
    g = f.gain
    said = f"by {like(g.mean, g.high - g.low)} in the model (95 %: {interval(g.low, g.high)})"
    if isinstance(f.importance, Missing):
        return Check("WARN", title, f"{said}, but the model is not to be relied on yet")
    if g.low > 0:
        return Check("PASS", title, said)
    if g.mean > 0:
        return Check("WARN", title, f"{said}: no improvement cannot be ruled out")
    return Check("FAIL", title, f"{said}: no improvement was found")


def _believable(f: Findings) -> Check:
    title = "The model predicts evaluations it has not seen"
    if isinstance(f.trust, Missing):
        return Check("NONE", title, f"cannot be told: {f.trust.reason}")
    if math.isnan(f.trust.q2):
        return Check("WARN", title, "all values are equal: there is nothing to predict")
    said = f"leave-one-out Q² = {f.trust.q2:.2f}"
    if f.trust.q2 >= LEAST_Q2:
        return Check("PASS", title, f"{said}; {percent(f.trust.within)} of errors within ±2 sd")
    return Check("WARN", title, f"{said} is below {LEAST_Q2}: do not read anything into the model")


def _inside(f: Findings) -> Check:
    title = "The recommended values lie inside their ranges"
    if isinstance(f.recommended, Missing):
        return Check("NONE", title, f"cannot be told: {f.recommended.reason}")
    ends = [f"{p.name} at its {p.bound} bound" for p in f.parameters if p.bound]
    if not ends:
        return Check("PASS", title, "no parameter sits within 1 % of a bound")
    return Check("WARN", title, f"{listed(ends)}: a wider range may hold something better")


def _few_failures(f: Findings) -> Check:
    title = "Few trainings failed"
    n, failed = len(f.trials), sum(len(g.numbers) for g in f.failures)
    if not n:
        return Check("NONE", title, "cannot be told: no trial has been evaluated")
    said = f"{failed} of {plural(n, 'trial')} ({percent(failed / n)})"
    if failed == n:
        return Check("FAIL", title, f"{said}: every training failed")
    if failed / n > TOO_MANY_FAILURES:
        return Check("WARN", title, f"{said}: more than {percent(TOO_MANY_FAILURES)}")
    return Check("PASS", title, said)


def _converged(f: Findings) -> Check:
    title = "The best trainings had converged"
    if isinstance(f.curves, Missing):
        return Check("NONE", title, f"cannot be told: {f.curves.reason}")
    c = f.curves
    if not c.judged_of:
        return Check("NONE", title, f"cannot be told: {f.run.objective} was not reported by epoch")
    said = f"the last epoch was the best in {c.last_is_best} of the {c.judged_of} best trials"
    if 2 * c.last_is_best > c.judged_of:
        return Check("WARN", title, f"{said}: more epochs may improve them further")
    return Check("PASS", title, said)


def _confirmed(f: Findings) -> Check:
    title = "Confirmed on fresh seeds"
    if isinstance(f.recommended, Missing):
        return Check("NONE", title, f"cannot be told: {f.recommended.reason}")
    return Check("WARN", title, "not yet: the best of many noisy values looks better than it is")
