"""What the surrogate says: importances, effects, a contour, its own believability, the gain.

Everything random is drawn from a fixed seed, so the same store always gives the same report.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spot_dask.records import Evaluation, Value
from spot_dask.report.facts import (
    Axis,
    Contour,
    Effect,
    Gain,
    Importance,
    Kind,
    Missing,
    Recommended,
    Share,
    Trust,
)
from spot_dask.report.journal import Digest
from spot_dask.space import Categorical, Integer, Parameter, Real, Space
from spot_dask.stats import FloatArray
from spot_dask.stats.comparison import Z95, difference
from spot_dask.stats.diagnostics import LeaveOneOut, leave_one_out
from spot_dask.stats.effects import contour, main_effect, raw_sample
from spot_dask.stats.sensitivity import Estimates, Sobol, sobol_indices
from spot_dask.tuner.model import Best, Model

SEED = 0
LEAST_Q2 = 0.1
CHUNK = 4096  # rows predicted at once: bounds the memory
SAMPLE = 64  # configurations an effect is averaged over
GRID = 25  # values at which an effect is computed
SECTION = 30  # values along each side of a contour
SHOWN_EFFECTS = 12
SHOWN_POINTS = 300
NO_MODEL = "fewer than two evaluations succeeded, so there is no model"


@dataclass(frozen=True)
class Insight:
    """The parts of the findings that need a model."""

    recommended: Recommended | Missing
    gain: Gain | Missing
    importance: tuple[Importance, ...] | Missing
    effects: tuple[Effect, ...] | Missing
    contour: Contour | Missing
    trust: Trust | Missing


def insight(digest: Digest, model: Model | None, best: Best | None) -> Insight:
    loo = None if model is None else leave_one_out(model.posterior, model.y)
    importance, effects, section = _learnt(digest, model, best, loo)
    return Insight(
        recommended=_recommended(digest, best),
        gain=_gain(digest, model, best),
        importance=importance,
        effects=effects,
        contour=section,
        trust=_trust(digest, loo),
    )


# --- the recommendation -----------------------------------------------------------------------


def _recommended(digest: Digest, best: Best | None) -> Recommended | Missing:
    if best is None:
        return Missing("no evaluation has succeeded")
    mean, margin = digest.sign * best.mean, Z95 * best.sd
    return Recommended(
        number=best.evaluation.trial.number,
        config=best.config,
        observed=digest.sign * best.observed,
        trainings=len(best.evaluations),
        mean=mean,
        sd=best.sd,
        low=mean - margin,
        high=mean + margin,
    )


def _gain(digest: Digest, model: Model | None, best: Best | None) -> Gain | Missing:
    default = next((e for e in digest.evaluations if e.trial.number == 0), None)
    if best is None or default is None:
        return Missing(
            "no evaluation has succeeded" if best is None else "the default is not evaluated"
        )
    if best.config == default.trial.config:
        return Missing("the default itself is the recommended configuration")
    if not default.ok:
        return Missing("the training of the default failed")
    if model is None:
        return Missing(NO_MODEL)
    rows = model.space.encode([default.trial.config, best.config])
    d = difference(lambda X: _joint(model, X), rows[0], rows[1])
    return Gain(
        default=digest.sign * default.y,
        observed=default.y - best.observed,
        mean=d.mean,
        sd=d.sd,
        low=d.low,
        high=d.high,
    )


# --- can the model be believed ----------------------------------------------------------------


def _trust(digest: Digest, loo: LeaveOneOut | None) -> Trust | Missing:
    if loo is None:
        return Missing("there is no model that can predict its own evaluations from the others")
    return Trust(
        observed=_signed(digest, loo.y),
        mean=_signed(digest, loo.mean),
        sd=tuple(map(float, loo.sd)),
        q2=loo.q2,
        within=loo.share_within(2),
    )


def _signed(digest: Digest, values: FloatArray) -> tuple[float, ...]:
    return tuple(float(v) for v in digest.sign * values)


# --- what the model has learnt ----------------------------------------------------------------


Learnt = tuple[tuple[Importance, ...] | Missing, tuple[Effect, ...] | Missing, Contour | Missing]


def _learnt(
    digest: Digest, model: Model | None, best: Best | None, loo: LeaveOneOut | None
) -> Learnt:
    """Importances, effects and contour, or the one reason why there are none."""
    if model is None or best is None:
        missing = Missing(NO_MODEL)
        return missing, missing, missing
    reason = _unexplained(model, len(model.y), loo)
    sobol = None if reason else _sobol(model)
    if sobol is not None and sobol.variance == 0.0:
        reason = "the model is constant: no parameter makes a difference"
    if sobol is None or reason:
        missing = Missing(reason)
        return missing, missing, missing
    ranked = _ranked(model.space, sobol)
    return ranked, _effects(digest, model, ranked), _contour(digest, model, ranked, best)


def _sobol(model: Model) -> Sobol:
    rng = np.random.default_rng(SEED)
    return sobol_indices(lambda X: _mean(model, X), model.space.snap, model.space.d, rng)


def _unexplained(model: Model, n: int, loo: LeaveOneOut | None) -> str:
    """Why the model must not be interpreted; "" if it may."""
    least = 2 * model.space.d + 2
    if model.space.d == 0:
        return "no parameter is free"
    if n < least:
        return (
            f"{n} successful evaluations are too few for {model.space.d} parameters "
            f"(at least {least} are needed)"
        )
    if loo is not None and math.isnan(loo.q2):
        return "all values of the objective are equal, so there is nothing to explain"
    if loo is not None and loo.q2 < LEAST_Q2:
        return (
            f"the model explains nothing: left-out evaluations are predicted with Q² = "
            f"{loo.q2:.2f} (at least {LEAST_Q2} is needed)"
        )
    return ""


def _ranked(space: Space, sobol: Sobol) -> tuple[Importance, ...]:
    """By total index, the largest first."""
    found = [
        Importance(name, _share(sobol.first, i), _share(sobol.total, i))
        for i, name in enumerate(space.free)
    ]
    return tuple(sorted(found, key=lambda p: (-p.total.value, p.name)))


def _share(estimates: Estimates, i: int) -> Share:
    """Clipped to [0, 1]: a share outside is an error of sampling."""
    value, low, high = (
        min(1.0, max(0.0, float(part[i])))
        for part in (estimates.value, estimates.low, estimates.high)
    )
    return Share(value, low, high)


def _effects(digest: Digest, model: Model, importance: Sequence[Importance]) -> tuple[Effect, ...]:
    sample = raw_sample(SAMPLE, model.space.d, np.random.default_rng(SEED))
    shown = [p.name for p in importance[:SHOWN_EFFECTS]]
    effects = (_effect(digest, model, sample, name) for name in shown)
    return tuple(e for e in effects if e is not None)


def _effect(digest: Digest, model: Model, sample: FloatArray, name: str) -> Effect | None:
    """None where no configuration of the sample has the parameter active."""
    space, j = model.space, list(model.space.free).index(name)
    active = np.array([name in config for config in space.decode(space.snap(sample))])
    if not active.any():
        return None
    values, grid = _values(space, name, sample[active][0], GRID)
    e = main_effect(lambda X: _joint(model, X), space.snap, sample[active], j, grid)
    mean, margin = digest.sign * e.mean, Z95 * e.sd
    return Effect(
        axis=_axis(space, name),
        values=values,
        mean=_floats(mean),
        low=_floats(mean - margin),
        high=_floats(mean + margin),
        points=_points(digest, name),
        condition="" if active.all() else f"Among configurations with {name} active.",
    )


def _values(
    space: Space, name: str, row: FloatArray, most: int
) -> tuple[tuple[Value, ...], FloatArray]:
    """Distinct values of a parameter that is active in a raw row, and their raw positions."""
    j = list(space.free).index(name)
    parameter = space.parameters[name]
    fine = 512 if isinstance(parameter, (Integer, Categorical)) else most
    rows = np.tile(row, (fine, 1))
    rows[:, j] = np.linspace(0.0, 1.0, fine)
    positions: dict[Value, float] = {}
    snapped = space.snap(rows)
    for config, position in zip(space.decode(snapped), snapped[:, j], strict=True):
        positions.setdefault(config[name], float(position))
    found = list(positions.items())
    if not isinstance(parameter, Categorical) and len(found) > most:
        found = [found[i] for i in np.rint(np.linspace(0, len(found) - 1, most)).astype(int)]
    return tuple(v for v, _ in found), np.array([p for _, p in found])


def _axis(space: Space, name: str) -> Axis:
    parameter = space.parameters[name]
    levels = tuple(parameter.levels) if isinstance(parameter, Categorical) else ()
    return Axis(name, kind(parameter), scale(parameter), levels)


def kind(parameter: Parameter) -> Kind:
    if isinstance(parameter, Categorical):
        return "categorical"
    return "integer" if isinstance(parameter, Integer) else "real"


def scale(parameter: Parameter) -> str:
    if isinstance(parameter, Categorical):
        return "ordered" if parameter.ordered else "unordered"
    return parameter.scale if isinstance(parameter, (Real, Integer)) else ""


def _points(digest: Digest, name: str) -> tuple[tuple[Value, float], ...]:
    """Evaluations with the parameter active, thinned evenly by rank if there are many."""
    found = [e for e in digest.ranked if name in e.trial.config]
    return tuple((e.trial.config[name], digest.sign * e.y) for e in _thinned(found))


def _thinned(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    n = len(evaluations)
    if n <= SHOWN_POINTS:
        return list(evaluations)
    return [evaluations[i] for i in np.linspace(0, n - 1, SHOWN_POINTS).astype(int)]


def _contour(
    digest: Digest, model: Model, importance: Sequence[Importance], best: Best
) -> Contour | Missing:
    """Of the two most important parameters that are active in the best configuration."""
    names = [p.name for p in importance if p.name in best.config]
    if len(names) < 2:
        return Missing("fewer than two parameters are active in the recommended configuration")
    return _section(digest, model, best.evaluation, (names[0], names[1]))


def _section(digest: Digest, model: Model, best: Evaluation, pair: tuple[str, str]) -> Contour:
    space = model.space
    row = space.encode([best.trial.config])[0]
    (x, grid_x), (y, grid_y) = (_values(space, name, row, SECTION) for name in pair)
    columns = (list(space.free).index(pair[0]), list(space.free).index(pair[1]))
    c = contour(lambda X: _mean(model, X), space.snap, row, columns, (grid_x, grid_y))
    tried = [e.trial.config for e in _thinned(digest.ranked)]
    return Contour(
        x_axis=_axis(space, pair[0]),
        y_axis=_axis(space, pair[1]),
        x=x,
        y=y,
        mean=tuple(_floats(digest.sign * line) for line in c.mean),
        points=tuple((t[pair[0]], t[pair[1]]) for t in tried if pair[0] in t and pair[1] in t),
        best=(best.trial.config[pair[0]], best.trial.config[pair[1]]),
    )


def _floats(values: FloatArray) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def _mean(model: Model, rows: FloatArray) -> FloatArray:
    parts = [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]
    return np.concatenate([model.predict(part)[0] for part in parts])


def _joint(model: Model, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    return model.posterior.joint(model.space.features(rows))
