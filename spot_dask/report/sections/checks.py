"""Health checks: what would make a reader distrust the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from spot_dask.records import Origin
from spot_dask.report.blocks import Block, CheckList, HealthCheck, State, Text
from spot_dask.report.context import LEAST_Q2, Missing, ReportContext
from spot_dask.report.sections.curves import CurvesSection
from spot_dask.report.sections.failures import FailuresSection
from spot_dask.report.sections.gain import GainSection
from spot_dask.report.sections.importance import ImportanceSection
from spot_dask.report.sections.parameters import ParametersSection
from spot_dask.report.sections.trust import TrustSection
from spot_dask.report.text import interval, like, listed, percent, plural

TOO_MANY_FAILURES = 0.1

Seen = tuple[State, str]
"""The state of a check and what was seen."""


class ChecksSection:
    title = "Can this result be trusted?"
    order = 10

    def facts(self, context: ReportContext) -> tuple[HealthCheck, ...]:
        checks: dict[str, Callable[[ReportContext], Seen | Missing | None]] = {
            "Better than the default": _beats_default,
            "The model predicts evaluations it has not seen": _believable,
            "The recommended values lie inside their ranges": _inside,
            "Few trainings failed": _few_failures,
            "The model could always choose": _fallbacks,
            "The best trainings had converged": _converged,
            "Confirmed on fresh seeds": _confirmed,
        }
        found = []
        for title, check in checks.items():
            seen = check(context)
            if isinstance(seen, Missing):
                found.append(HealthCheck("NONE", title, f"cannot be told: {seen.reason}"))
            elif seen is not None:
                found.append(HealthCheck(seen[0], title, seen[1]))
        return tuple(found)

    def render(self, found: tuple[HealthCheck, ...], context: ReportContext) -> Sequence[Block]:
        passed, warned, failed = (
            sum(check.state == state for check in found) for state in ("PASS", "WARN", "FAIL")
        )
        summary = f"{plural(passed, 'check')} passed, {plural(warned, 'warning')}, {failed} failed."
        return [Text(summary), CheckList(found)]


def _beats_default(context: ReportContext) -> Seen | Missing:
    g = context[GainSection]
    if isinstance(g, Missing):
        nothing = isinstance(context.recommended, Missing)
        return g if nothing else ("WARN", f"cannot be told: {g.reason}")
    said = f"by {like(g.mean, g.high - g.low)} in the model (95 %: {interval(g.low, g.high)})"
    if isinstance(context[ImportanceSection], Missing):
        return "WARN", f"{said}, but the model is not to be relied on yet"
    if g.low > 0:
        return "PASS", said
    if g.mean > 0:
        return "WARN", f"{said}: no improvement cannot be ruled out"
    return "FAIL", f"{said}: no improvement was found"


def _believable(context: ReportContext) -> Seen | Missing:
    trust = context[TrustSection]
    if isinstance(trust, Missing):
        return trust
    if math.isnan(trust.q2):
        return "WARN", "all values are equal: there is nothing to predict"
    said = f"leave-one-out Q² = {trust.q2:.2f}"
    if trust.q2 >= LEAST_Q2:
        return "PASS", f"{said}; {percent(trust.within)} of errors within ±2 sd"
    return "WARN", f"{said} is below {LEAST_Q2}: do not read anything into the model"


def _inside(context: ReportContext) -> Seen | Missing:
    if isinstance(context.recommended, Missing):
        return context.recommended
    ends = [f"{p.name} at its {p.bound} bound" for p in context[ParametersSection] if p.bound]
    if not ends:
        return "PASS", "no parameter sits within 1 % of a bound"
    return "WARN", f"{listed(ends)}: a wider range may hold something better"


def _few_failures(context: ReportContext) -> Seen | Missing:
    n, failed = len(context.evaluations), sum(len(g.numbers) for g in context[FailuresSection])
    if not n:
        return Missing("no trial has been evaluated")
    said = f"{failed} of {plural(n, 'trial')} ({percent(failed / n)})"
    if failed == n:
        return "FAIL", f"{said}: every training failed"
    if failed / n > TOO_MANY_FAILURES:
        return "WARN", f"{said}: more than {percent(TOO_MANY_FAILURES)}"
    return "PASS", said


def _fallbacks(context: ReportContext) -> Seen | None:
    trials = context.fold.trials
    filled = sum(trial.origin is Origin.FALLBACK for trial in trials)
    if not filled:
        return None
    said = f"{filled} of {plural(len(trials), 'trial')} took the place of what the surrogate or the"
    return "WARN", f"{said} criterion failed to choose; the log says how"


def _converged(context: ReportContext) -> Seen | Missing:
    c = context[CurvesSection]
    if isinstance(c, Missing):
        return c
    if not c.judged_of:
        return Missing(f"{context.header.objective} was not reported by epoch")
    said = f"the last epoch was the best in {c.last_is_best} of the {c.judged_of} best trials"
    if 2 * c.last_is_best > c.judged_of:
        return "WARN", f"{said}: more epochs may improve them further"
    return "PASS", said


def _confirmed(context: ReportContext) -> Seen | Missing:
    if isinstance(context.recommended, Missing):
        return context.recommended
    return "WARN", "not yet: the best of many noisy values looks better than it is"
