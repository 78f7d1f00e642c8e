"""Health checks: what would make a reader distrust the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from spot_dask.inference.confirmed import FEWEST
from spot_dask.records import Origin
from spot_dask.report import text
from spot_dask.report.blocks import Block, CheckList, HealthCheck, State, Text, how
from spot_dask.report.context import LEAST_Q2, Missing, ReportContext
from spot_dask.report.sections.constraints import ConstraintsSection
from spot_dask.report.sections.cost import CostSection
from spot_dask.report.sections.curves import CurvesSection
from spot_dask.report.sections.gain import GainSection
from spot_dask.report.sections.generalisation import GeneralisationSection
from spot_dask.report.sections.noise import DIFFERENT, FEW, NoiseSection
from spot_dask.report.sections.parameters import ParametersSection
from spot_dask.tuner.foretold import FEWEST as FEWEST_PROPOSALS
from spot_dask.tuner.foretold import foretold

TOO_MANY_FAILURES = 0.1
LEAST_RANK = 0.5
LEAST_BUSY = 0.6

Seen = tuple[State, str]
"""The state of a check and what was seen."""

LIMITS = (
    "Checks compare what the sections below found with limits that were fixed beforehand; the "
    "sections say how the numbers were computed. WARN asks for a look, FAIL for an action."
)


class ChecksSection:
    title = "Can this result be trusted?"
    order = 10

    def facts(self, context: ReportContext) -> tuple[HealthCheck, ...]:
        checks: dict[str, Callable[[ReportContext], Seen | Missing | None]] = {
            "Confirmed on fresh seeds": _confirmed,
            "The constraints are fulfilled": _constraints,
            "Better than the default": _beats_default,
            "Configurations differ by more than noise": _differ,
            "The model predicts evaluations it has not seen": _believable,
            "The model may speak of the whole space": _everywhere,
            "The model knows how wrong it may be": _calibrated,
            "The model foretold its own proposals": _foretold,
            "The recommended values lie inside their ranges": _inside,
            "Few trainings failed": _few_failures,
            "The model could always choose": _fallbacks,
            "The best trainings had converged": _converged,
            "The model's noise is that of repeated trainings": _noise,
            "Validation ranks as test data do": _holds,
            "The workers were busy": _busy,
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
        summary = f"{text.plural(passed, 'check')} passed, {text.plural(warned, 'warning')}"
        return [
            Text(f"{summary}, {failed} failed."),
            CheckList(found),
            how(LIMITS, n=len(context.evaluations)),
        ]


def _foretold(context: ReportContext) -> Seen | Missing | None:
    history = context.fold.history
    told = foretold(history, context.folds, last=len(history.evaluations))
    if told is None:
        return None
    if told.n < FEWEST_PROPOSALS:
        return Missing(f"of {text.plural(told.n, 'proposal')} only")
    if told.rank is None:
        return Missing("expected or observed values are all equal, so nothing was foretold")
    said = f"{told.inside} of {told.n} lie in the 95 % interval that was expected before"
    said += f"; rank correlation {told.rank:.2f}; {told.exploring} were to explore"
    if told.rank <= 0:
        return "WARN", f"{said}: which of them are better it did not foretell"
    return ("WARN" if told.misleads else "PASS"), said


def _constraints(context: ReportContext) -> Seen | None:
    found = context[ConstraintsSection]
    if isinstance(found, Missing):
        return None
    if not found.feasible:
        return "FAIL", found.limits
    fresh = sum(h.fresh for h in found.held)
    broken = [f"{h.constraint} {h.fresh - h.kept} of {h.fresh}" for h in found.held
              if h.kept < h.fresh]  # fmt: skip
    if broken:
        return "WARN", f"fresh seeds broke {text.listed(broken)} times"
    return "PASS", f"{found.limits}{'; fresh seeds kept them, too' if fresh else ''}"


def _confirmed(context: ReportContext) -> Seen | Missing:
    c = context.confirmed
    if isinstance(context.recommended, Missing):
        return context.recommended
    if c is None:
        return "WARN", "not yet: the best of many noisy values looks better than it is"
    n, failed = c.value.n, c.tuned.failed
    if failed:
        said = f"{failed} of {text.plural(n + failed, 'training')} of it failed on fresh seeds"
        return ("FAIL" if failed >= n else "WARN"), said
    if not c.stated:
        said = f"on {text.plural(n, 'fresh seed')} only; at least {FEWEST} are needed"
        return "WARN", f"{said} to state anything"
    low, high = c.value.t.low, c.value.t.high
    said = f"{text.like(c.value.mean, high - low)} on {n} fresh seeds"
    return "PASS", f"{said} (95 %: {text.interval(low, high)})"


def _beats_default(context: ReportContext) -> Seen | Missing:
    g = context[GainSection]
    if isinstance(g, Missing):
        return g
    if g.comparison is None or not g.stated:
        if math.isnan(g.observed):
            return "WARN", "unconfirmed, and the default has no value of its own"
        trainings = f"{g.default_trainings} and {text.plural(g.tuned_trainings, 'training')}"
        return "WARN", f"unconfirmed: by {text.rough(g.observed)} as observed in {trainings}"
    c = g.comparison
    said = f"by {text.like(c.mean, c.t.high - c.t.low)} on {text.plural(c.n, 'fresh seed')}"
    said += f" (95 %: {text.interval(c.t.low, c.t.high)})"
    if c.better:
        return "PASS", said
    if c.t.high < 0 or (c.mean <= 0 and c.sd == 0):
        return "FAIL", f"{said}: it is not"
    return "WARN", f"{said}: no improvement cannot be ruled out"


def _differ(context: ReportContext) -> Seen | Missing:
    """Whether there is any effect: by what was repeated, or by what the model foretells."""
    found, loo = context[NoiseSection], context.left_out
    if isinstance(found, Missing):
        return found
    test = found.difference
    if test is None:
        return Missing("only one configuration was trained more than once")
    if math.isnan(test.p) or not test.residual_df >= FEW:
        return Missing(
            f"too few trainings of the same seeds or configurations repeat: {found.trainings} of "
            f"{len(found.configurations)} configurations"
        )
    how = f"{'configurations beyond seeds, F test' if test.paired else 'Welch'}, p = {test.p:.2g}"
    said = f"{test.df + 1} that were trained several times ({how})"
    if test.p < DIFFERENT:
        return "PASS", f"{said} do"
    if not isinstance(loo, Missing) and loo.q2 >= LEAST_Q2:
        return "PASS", f"{said} do not, but others do: the model predicts them (Q² = {loo.q2:.2f})"
    return "WARN", (
        f"{said} do not, and the model predicts nothing: no effect of the hyperparameters is "
        "distinguishable from noise"
    )


def _believable(context: ReportContext) -> Seen | Missing:
    loo = context.left_out
    if isinstance(loo, Missing):
        return loo
    if math.isnan(loo.q2):
        return "WARN", "all values are equal: there is nothing to predict"
    said = f"Q² = {loo.q2:.2f}, each of {len(loo.y)} left out in turn"
    if loo.q2 >= LEAST_Q2:
        return "PASS", said
    return "WARN", f"{said}, is below {LEAST_Q2}: do not read anything into the model"


def _everywhere(context: ReportContext) -> Seen | Missing:
    check = context.filling
    if isinstance(check, Missing):
        return check
    if check.failure:
        return "WARN", check.failure
    return "PASS", f"Q² = {check.q2:.2f} at the {check.n} evaluations that fill it"


def _calibrated(context: ReportContext) -> Seen | Missing:
    model, loo = context.inferred, context.left_out
    if isinstance(model, Missing) or isinstance(loo, Missing):
        return Missing("there is no model")
    number = int(model.evidence.numbers[loo.largest])
    trial = f"trial {number}" if number >= 0 else "an imported evaluation"
    said = f"{text.percent(loo.share_within(3))} of errors lie within ±3 sd"
    said += f"; the largest is {abs(float(loo.z[loo.largest])):.1f} sd, of {trial}"
    return ("PASS" if loo.share_within(3) >= 0.95 else "WARN"), said


def _inside(context: ReportContext) -> Seen | Missing:
    if isinstance(context.recommended, Missing):
        return context.recommended
    ends = [f"{p.name} at its {p.bound} bound" for p in context[ParametersSection] if p.bound]
    if not ends:
        return "PASS", "no parameter sits within 1 % of a bound"
    return "WARN", f"{text.listed(ends)}: a wider range may hold something better"


def _few_failures(context: ReportContext) -> Seen | Missing:
    n, failed = len(context.evaluations), sum(e.failed for e in context.evaluations)
    if not n:
        return Missing("no trial has been evaluated")
    said = f"{failed} of {text.plural(n, 'trial')} ({text.percent(failed / n)})"
    if failed == n:
        return "FAIL", f"{said}: every training failed"
    if failed / n > TOO_MANY_FAILURES:
        return "WARN", f"{said}: more than {text.percent(TOO_MANY_FAILURES)}"
    return "PASS", said


def _fallbacks(context: ReportContext) -> Seen | None:
    trials = context.fold.trials
    filled = sum(trial.origin is Origin.FALLBACK for trial in trials)
    if not filled:
        return None
    said = f"{filled} of {text.plural(len(trials), 'trial')} took the place of what the surrogate"
    return "WARN", f"{said} or the criterion failed to choose; the log says how"


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


def _noise(context: ReportContext) -> Seen | Missing:
    found = context[NoiseSection]
    if isinstance(found, Missing):
        return found
    if found.model is None or math.isnan(found.model.ratio):
        return Missing("the search repeated no evaluation, or none of them shows noise")
    if math.isinf(found.model.ratio):
        return "PASS", "repeated trainings gave the same values again: there is no noise"
    said = f"the variance it assumes is {text.rough(found.model.ratio)} times theirs"
    if found.model.agrees:
        return "PASS", said
    return "WARN", f"{said}: its intervals are too {'wide' if found.model.ratio > 1 else 'short'}"


def _holds(context: ReportContext) -> Seen | None:
    found = context[GeneralisationSection]
    if isinstance(found, Missing):
        return None
    rho = found.correlation.rho
    if math.isnan(rho):
        return None
    said = f"rank correlation with {found.metric} is {rho:.2f}"
    if rho >= LEAST_RANK:
        return "PASS", said
    return "WARN", f"{said}: what is best in validation need not be in use"


def _busy(context: ReportContext) -> Seen | None:
    slots = context[CostSection].slots
    if slots.slots < 2 or math.isnan(slots.training):
        return None
    said = f"{text.percent(slots.training)} of the time of {slots.slots} slots was training"
    if slots.training >= LEAST_BUSY:
        return "PASS", said
    return "WARN", f"{said}: fewer workers would have done"
