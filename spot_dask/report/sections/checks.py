"""Health checks: what would make a reader distrust the result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from spot_dask.report.blocks import Block, CheckList, HealthCheck, Text
from spot_dask.report.context import LEAST_Q2, Missing, ReportContext
from spot_dask.report.sections.curves import CurvesSection
from spot_dask.report.sections.failures import FailuresSection
from spot_dask.report.sections.gain import GainSection
from spot_dask.report.sections.importance import ImportanceSection
from spot_dask.report.sections.parameters import ParametersSection
from spot_dask.report.sections.trust import TrustSection
from spot_dask.report.text import interval, like, listed, percent, plural

TOO_MANY_FAILURES = 0.1


class ChecksSection:
    title = "Can this result be trusted?"
    order = 10

    def facts(self, context: ReportContext) -> tuple[HealthCheck, ...]:
        return (
            _beats_default(context),
            _believable(context),
            _inside(context),
            _few_failures(context),
            _converged(context),
            _confirmed(context),
        )

    def render(self, found: tuple[HealthCheck, ...], context: ReportContext) -> Sequence[Block]:
        passed, warned, failed = (
            sum(check.state == state for check in found) for state in ("PASS", "WARN", "FAIL")
        )
        summary = f"{plural(passed, 'check')} passed, {plural(warned, 'warning')}, {failed} failed."
        return [Text(summary), CheckList(found)]


def _untold(title: str, why: Missing) -> HealthCheck:
    return HealthCheck("NONE", title, f"cannot be told: {why.reason}")


def _beats_default(context: ReportContext) -> HealthCheck:
    title, g = "Better than the default", context[GainSection]
    if isinstance(g, Missing):
        untold = _untold(title, g)
        nothing = isinstance(context.recommended, Missing)
        return untold if nothing else replace(untold, state="WARN")
    said = f"by {like(g.mean, g.high - g.low)} in the model (95 %: {interval(g.low, g.high)})"
    if isinstance(context[ImportanceSection], Missing):
        return HealthCheck("WARN", title, f"{said}, but the model is not to be relied on yet")
    if g.low > 0:
        return HealthCheck("PASS", title, said)
    if g.mean > 0:
        return HealthCheck("WARN", title, f"{said}: no improvement cannot be ruled out")
    return HealthCheck("FAIL", title, f"{said}: no improvement was found")


def _believable(context: ReportContext) -> HealthCheck:
    title, trust = "The model predicts evaluations it has not seen", context[TrustSection]
    if isinstance(trust, Missing):
        return _untold(title, trust)
    if math.isnan(trust.q2):
        return HealthCheck("WARN", title, "all values are equal: there is nothing to predict")
    said = f"leave-one-out Q² = {trust.q2:.2f}"
    if trust.q2 >= LEAST_Q2:
        said += f"; {percent(trust.within)} of errors within ±2 sd"
        return HealthCheck("PASS", title, said)
    said += f" is below {LEAST_Q2}: do not read anything into the model"
    return HealthCheck("WARN", title, said)


def _inside(context: ReportContext) -> HealthCheck:
    title = "The recommended values lie inside their ranges"
    if isinstance(context.recommended, Missing):
        return _untold(title, context.recommended)
    ends = [f"{p.name} at its {p.bound} bound" for p in context[ParametersSection] if p.bound]
    if not ends:
        return HealthCheck("PASS", title, "no parameter sits within 1 % of a bound")
    return HealthCheck("WARN", title, f"{listed(ends)}: a wider range may hold something better")


def _few_failures(context: ReportContext) -> HealthCheck:
    title, n = "Few trainings failed", len(context.evaluations)
    if not n:
        return _untold(title, Missing("no trial has been evaluated"))
    failed = sum(len(g.numbers) for g in context[FailuresSection])
    said = f"{failed} of {plural(n, 'trial')} ({percent(failed / n)})"
    if failed == n:
        return HealthCheck("FAIL", title, f"{said}: every training failed")
    if failed / n > TOO_MANY_FAILURES:
        return HealthCheck("WARN", title, f"{said}: more than {percent(TOO_MANY_FAILURES)}")
    return HealthCheck("PASS", title, said)


def _converged(context: ReportContext) -> HealthCheck:
    title, c = "The best trainings had converged", context[CurvesSection]
    if isinstance(c, Missing):
        return _untold(title, c)
    if not c.judged_of:
        return _untold(title, Missing(f"{context.header.objective} was not reported by epoch"))
    said = f"the last epoch was the best in {c.last_is_best} of the {c.judged_of} best trials"
    if 2 * c.last_is_best > c.judged_of:
        return HealthCheck("WARN", title, f"{said}: more epochs may improve them further")
    return HealthCheck("PASS", title, said)


def _confirmed(context: ReportContext) -> HealthCheck:
    title = "Confirmed on fresh seeds"
    if isinstance(context.recommended, Missing):
        return _untold(title, context.recommended)
    said = "not yet: the best of many noisy values looks better than it is"
    return HealthCheck("WARN", title, said)
