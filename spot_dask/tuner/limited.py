"""Outcome constraints as a history tells them: models of metrics, and who fulfils what.

Every metric is learnt by Kriging from the trainings of the search that reported it, at its true
values: on that scale (identity, log, square root, logit) which predicts left-out values best,
Jacobian included. An infinite value counts as one beyond all finite ones. A training without a
value, because it failed, was stopped early or does not report the metric, tells nothing.

Confirmations are not learnt from: whoever is recommended has been chosen without them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spot_dask.constraints import Constraint, Fulfilment, feasible, nearness, value_of
from spot_dask.errors import warn_once
from spot_dask.inference.transform import Transform, candidates
from spot_dask.infill.constrained import Constrained, MetricLimit
from spot_dask.magnitude import mean_of
from spot_dask.records import Evaluation, History, Import, Objective
from spot_dask.space import Space
from spot_dask.surrogates import FloatArray, IntArray
from spot_dask.surrogates.feasibility import BoolArray
from spot_dask.surrogates.kriging import Kriging
from spot_dask.surrogates.posterior import KrigingPosterior
from spot_dask.tuner.model import Best, rows_of
from spot_dask.tuner.ranges import places

logger = logging.getLogger(__name__)

FEWEST = 2
"""Values of a metric below which there is no model of it."""

JUDGED = 150
"""At most so many values decide on the scale of a metric."""

EXACT = 1e-5
"""The estimated variance of noise, as a share, below which a metric is taken to have none: little
noise is enough to make what lies just beyond a bound look as if it did not."""


@dataclass(frozen=True, eq=False)
class MetricModel:
    """The model of a constraint's metric.

    ``exact``: the same configuration gives the same value again, so what was observed decides.
    """

    limit: MetricLimit
    exact: bool
    predicts: bool


@dataclass(frozen=True, eq=False)
class KnownMetric:
    """A constraint with what is known of its metric: ``unit`` is an sd of its values, and the
    ``model`` is None while fewer than two are known."""

    constraint: Constraint
    unit: float
    model: MetricModel | None


def learnt_metrics(
    space: Space,
    history: History,
    beyond: Sequence[Evaluation],
    constraints: Sequence[Constraint],
    objective: Objective,
    modelled: bool = True,
) -> tuple[KnownMetric, ...]:
    """What a history tells of the metrics of constraints, with or without models of them.

    Evaluations ``beyond`` the space inform where they have a place, as they do the surrogate.
    """
    told = sorted(history.searched.ok, key=lambda e: e.trial.number)
    items: list[Evaluation | Import] = [*history.imports, *told]
    X, keys = np.empty((len(items), 0)), [b""] * len(items)
    if modelled:
        rows = rows_of(
            space, [*(i.config for i in history.imports), *(e.trial.config for e in told)]
        )
        X, keys = space.features(rows), space.row_keys(rows)
        more, which = places(space, [e.trial.config for e in beyond])
        X, items = np.vstack((X, more)), items + [beyond[i] for i in which]
        keys = [*keys, *(b"beyond %d" % i for i in which)]
    found = []
    for constraint in constraints:
        values = np.array([value_of(constraint.metric, item, objective) for item in items])
        known = ~np.isnan(values)
        v = _finite(values[known], constraint)
        own = [key for key, there in zip(keys, known, strict=True) if there]
        model = None
        if modelled and len(v) >= FEWEST:
            model = _model(X[known], v, own, space.groups, constraint)
        largest = float(np.abs(v).max(initial=0.0)) or 1.0
        spread = float((v / largest).std()) * largest if len(v) else 0.0  # squares may overflow
        found.append(KnownMetric(constraint, spread or 1.0, model))
    return tuple(found)


def judged(
    metrics: Sequence[KnownMetric], found: Sequence[Best], space: Space, objective: Objective
) -> list[Best]:
    """Configurations with how they stand to every constraint."""
    X = np.empty((len(found), 0))
    if any(metric.model is not None for metric in metrics):
        X = space.features(rows_of(space, [best.config for best in found]))
    columns: list[list[Fulfilment]] = []
    for metric in metrics:
        model, constraint = metric.model, metric.constraint
        seen = [observed(constraint, best, objective, metric.unit) for best in found]
        if model is not None and model.predicts:
            chances = np.exp(model.limit.log_chance(X))
            seen = [replace(f, chance=float(p)) for f, p in zip(seen, chances, strict=True)]
        if model is not None and model.exact:
            seen = [
                replace(f, chance=float(constraint.holds(f.observed))) if f.known else f
                for f in seen
            ]
        columns.append(seen)
    return [replace(best, fulfilments=f) for best, *f in zip(found, *columns, strict=True)]


def observed(
    constraint: Constraint, best: Best, objective: Objective, unit: float = 1.0
) -> Fulfilment:
    """How a configuration stands to a constraint by what its trainings reported alone."""
    items: list[Evaluation | Import] = [*best.imports, *best.evaluations]
    values = [value_of(constraint.metric, item, objective) for item in items]
    known = [v for v in values if not math.isnan(v)]
    return Fulfilment(constraint, mean_of(known) if known else math.nan, len(known), unit=unit)


def eligible(
    space: Space,
    X: FloatArray,
    history: History,
    constraints: Sequence[Constraint],
    objective: Objective,
) -> BoolArray:
    """Which of the rows X (n x d) have a training in the search that fulfils all constraints."""
    items: list[Evaluation | Import] = [*history.imports, *history.searched.ok]
    fine = [
        item.config if isinstance(item, Import) else item.trial.config
        for item in items
        if all(c.holds(value_of(c.metric, item, objective)) for c in constraints)
    ]
    keys = set(space.row_keys(rows_of(space, fine)))
    return np.array([key in keys for key in space.row_keys(X)], dtype=np.bool_)


def rank(best: Best, value: float) -> tuple[bool, tuple[int, float], float]:
    """By what recommendations are ordered, the first first: who fulfils all, then how near."""
    fine = feasible(best.fulfilments)
    return not fine, (0, 0.0) if fine else nearness(best.fulfilments), value


def constrained(metrics: Sequence[KnownMetric], fulfils: Sequence[bool]) -> Constrained | None:
    """What a criterion is told; ``fulfils`` says which evaluated rows (n) fulfil what is modelled.

    None where no metric is modelled: there is nothing to go by.
    """
    limits = tuple(m.model.limit for m in metrics if m.model is not None)
    return Constrained(limits, np.array(fulfils, dtype=np.bool_)) if limits else None


def _finite(values: FloatArray, constraint: Constraint) -> FloatArray:
    """Values (n) that are no NaN, with infinite ones beyond all others and the bound.

    By as much as those are apart.
    """
    if np.isfinite(values).all():
        return values
    some = [*values[np.isfinite(values)], constraint.bound]
    low, high = min(some), max(some)
    step = (high - low) or abs(constraint.bound) or 1.0
    return np.asarray(np.clip(values, low - step, high + step))


def _model(
    X: FloatArray, v: FloatArray, keys: Sequence[bytes], groups: IntArray, constraint: Constraint
) -> MetricModel | None:
    """The model of a metric with values v (n) at features X (n x e); None where it fails."""
    bound = np.array([constraint.bound])
    try:
        scale = _scale(X, v, groups, constraint)
        posterior = _fit(X, scale.forward(v), groups)
        loo, _ = posterior.leave_one_out()
        if not np.isfinite(posterior.predict(X)).all():
            raise ValueError("it predicts values that are not finite")
    except (ValueError, ArithmeticError) as error:  # of values that overflow, among others
        warn_once(logger, "no model of the metric %s: %s", constraint.metric, error)
        return None
    t = scale.forward(v)
    limit = MetricLimit(posterior, constraint.side, float(scale.forward(bound)[0]))
    predicts = bool(np.square(t - loo).sum() <= np.square(t - t.mean()).sum())
    return MetricModel(limit, _is_exact(v, keys, posterior), predicts)


def _is_exact(v: FloatArray, keys: Sequence[bytes], posterior: KrigingPosterior) -> bool:
    """Whether a metric has no noise: by replicates, and while there are none, as estimated."""
    groups: dict[bytes, list[float]] = {}
    for key, value in zip(keys, v, strict=True):
        groups.setdefault(key, []).append(value)
    again = [values for values in groups.values() if len(values) > 1]
    if again:
        return all(min(values) == max(values) for values in again)
    return posterior.nugget < EXACT


def _scale(X: FloatArray, v: FloatArray, groups: IntArray, constraint: Constraint) -> Transform:
    """The scale on which left-out values are predicted best, of those that the bound has, too."""
    few = np.linspace(0, len(v) - 1, min(len(v), JUDGED)).astype(int)
    scales = candidates(np.append(v, constraint.bound), maximised=constraint.side < 0)
    if len(v) < 4 or len(scales) == 1:
        return scales[0]
    return max(scales, key=lambda scale: _density(X[few], v[few], groups, scale))


def _density(X: FloatArray, v: FloatArray, groups: IntArray, scale: Transform) -> float:
    """The leave-one-out log density of each of the values v (n), on a scale."""
    t = scale.forward(v)
    mean, sd = _fit(X, t, groups).leave_one_out()
    sd = np.maximum(sd, 1e-12 * (1.0 + np.abs(t)))
    log = -0.5 * np.square((t - mean) / sd) - np.log(sd)
    return float(np.mean(log + scale.log_jacobian(v)))


def _fit(X: FloatArray, t: FloatArray, groups: IntArray) -> KrigingPosterior:
    return Kriging().fit(X, t, groups, np.random.default_rng(0))
