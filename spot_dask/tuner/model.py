"""From a history to what is learnt of it: the fitted surrogate, the risk of failure, the best.

n evaluations, d free parameters; rows are points of the unit cube.

A training that was stopped early has no result, and one extrapolated from its curve would be a
guess with an error that no surrogate here is told of. Leaving these out would let a surrogate
expect good results, as far as it does not know better, just where trainings were stopped, again
and again. So each is an evaluation that is censored at the best finished one, b, and is believed
to have

    E[Y | Y > b] = mu + sd phi(a) / Phi(-a),    a = (b - mu) / sd

with mu and sd as the finished evaluations alone predict [Hutter, Hoos & Leyton-Brown 2013; Schmee &
Hahn 1979]. That is more than mu and more than b: a stopped training makes nothing look better where
it was, and never becomes the best. It is for proposing only. The model that recommends, and that a
report shows, knows the finished ones alone, to which also the hyperparameters are fitted.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, KeysView
from dataclasses import dataclass, field

import numpy as np

from spot_dask.cards import Card, Listed, counted, settings_text
from spot_dask.constraints import Fulfilment, feasible
from spot_dask.errors import did_you_mean, shown, warn_once
from spot_dask.infill.feasible import Risk
from spot_dask.magnitude import mean_of
from spot_dask.records import Configuration, Evaluation, History, Import, Status, Value
from spot_dask.space import Space
from spot_dask.stats.diagnostics import leave_one_out
from spot_dask.surrogates import FloatArray, Posterior
from spot_dask.surrogates.feasibility import Feasibility, fit_feasibility, hazard

logger = logging.getLogger(__name__)

LEAST = -1e4
"""So many sd below the bound, what is believed is the bound itself."""


@dataclass(frozen=True)
class Model:
    """The surrogate as fitted: rows X (n x d), values y (n, minimised) and the posterior."""

    space: Space
    X: FloatArray
    y: FloatArray
    posterior: Posterior

    def predict(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the objective at snapped rows (m x d)."""
        return self.posterior.predict(self.space.features(rows))

    @property
    def predicts(self) -> bool:
        """Whether left-out values are predicted better than by their mean (Q^2 above 0).

        Where the surrogate cannot leave one out: whether its means follow the values it was fitted
        to (R^2 above 0.5).
        """
        loo = leave_one_out(self.posterior, self.y)
        if loo is not None:
            return loo.q2 > 0
        mean, _ = self.predict(self.X)
        return 2 * float(np.mean((self.y - mean) ** 2)) < float(np.var(self.y))


@dataclass(frozen=True)
class Best(Listed):
    """A configuration that succeeded, with its evaluations and what the surrogate says of it.

    ``best["lr"]`` is a value of its configuration, over whose names it iterates.

    The evaluations are ordered by trial number; more than one if it was replicated, none if it was
    only imported. ``mean`` and ``sd`` are NaN while too little is known to fit a surrogate.
    ``fulfilments`` say how it stands to each outcome constraint. ``key`` is the configuration's in
    its space. In a study with folds ``level`` is its mean over them (of some, without what is
    particular to these), and it is ``complete`` with all of them.

    >>> from spot_dask import Best, Trial
    >>> best = Best((Trial(7, {"lr": 0.01}, seed=1).result(0.25),))
    >>> best["lr"], best.trial, best.observed, dict(best.config)
    (0.01, 7, 0.25, {'lr': 0.01})
    """

    _unlisted = frozenset(("complete", "fulfilments", "key", "level"))
    evaluations: tuple[Evaluation, ...] = ()
    mean: float = math.nan
    sd: float = math.nan
    imports: tuple[Import, ...] = ()
    fulfilments: tuple[Fulfilment, ...] = ()
    key: bytes = field(default=b"", repr=False, compare=False)
    level: float = math.nan
    complete: bool = True

    def __getitem__(self, name: str) -> Value:
        """A value of the configuration; KeyError, which tells of the nearest, if there is none."""
        if name not in self.config:
            near = did_you_mean(name, self.config)
            raise KeyError(f"no active parameter {shown(name)}, there are {', '.join(self)}{near}")
        return self.config[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.config)

    def __len__(self) -> int:
        return len(self.config)

    def __contains__(self, name: object) -> bool:
        return name in self.config

    def keys(self) -> KeysView[str]:
        """The names of its parameters, so that ``dict(best)`` is its configuration."""
        return self.config.keys()

    def __repr__(self) -> str:
        """The configuration, without values: what they are worth, ``Run.confirmed`` tells."""
        return f"Best({self._named}: {settings_text(self.config.items())})"

    def _repr_html_(self) -> str:
        """The configuration as a notebook shows it."""
        said = [
            f"chosen by {counted(len(self.values), 'value')} of the search; unconfirmed by them"
        ]
        if self.fulfilments:
            said.append(self.limits)
        rows = tuple(self.config.items())
        return Card(f"Best: {self._named}", said, ("parameter", "value"), rows)._repr_html_()

    @property
    def _named(self) -> str:
        return "imported" if self.trial is None else f"trial {self.trial}"

    @property
    def trial(self) -> int | None:
        """The first trial of the configuration; None if it was only imported."""
        return self.evaluations[0].trial.number if self.evaluations else None

    @property
    def config(self) -> Configuration:
        """The configuration: values of the active parameters by name."""
        return self.evaluations[0].trial.config if self.evaluations else self.imports[0].config

    @property
    def values(self) -> tuple[float, ...]:
        """The observed values (minimised), imported ones first."""
        return (*(i.y for i in self.imports), *(e.y for e in self.evaluations))

    @property
    def observed(self) -> float:
        """Mean of the observed values; in a study with folds the ``level``."""
        return mean_of(self.values) if math.isnan(self.level) else self.level

    @property
    def feasible(self) -> bool:
        """Whether it fulfils all outcome constraints; True where there are none."""
        return feasible(self.fulfilments)

    @property
    def limits(self) -> str:
        """How it stands to the outcome constraints, in one line; empty where there are none."""
        if not self.fulfilments:
            return ""
        if self.feasible:
            return f"fulfils {', '.join(map(str, self.fulfilments))}"
        all_of = ", ".join(str(f.constraint) for f in self.fulfilments)
        broken = ", ".join(map(str, (f for f in self.fulfilments if not f.fulfilled)))
        return f"nothing tried fulfils {all_of}; {self._named} came nearest: {broken}"

    @property
    def expected(self) -> float:
        """The surrogate's mean; the observed mean where there is no surrogate."""
        return self.observed if math.isnan(self.mean) else self.mean


def rows_of(space: Space, configs: Iterable[Configuration]) -> FloatArray:
    """Configurations as snapped rows (n x d), of which there may be none."""
    return space.rows(configs)


class GrowingRows:
    """Rows and values of a history that grows: each evaluation is encoded once."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._forget()

    def _forget(self) -> None:
        self._known: tuple[Evaluation, ...] = ()
        self._X, self._y = np.empty((0, self._space.d)), np.empty(0)
        self._numbers, self._ok = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_)

    def of(self, history: History) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Rows (n x d) and values (n) of what succeeded, and rows (m x d) of all that was asked.

        Both by trial number.
        """
        n = len(self._known)
        if history.evaluations[:n] != self._known:  # of another run, or of an earlier moment
            self._forget()
            n = 0
        new = history.evaluations[n:]
        self._known = history.evaluations
        self._X = np.vstack([self._X, rows_of(self._space, (e.trial.config for e in new))])
        self._y = np.append(self._y, [e.y for e in new])
        self._numbers = np.append(self._numbers, [e.trial.number for e in new]).astype(np.int64)
        self._ok = np.append(self._ok, [e.ok for e in new]).astype(np.bool_)
        pending = [t.config for t in history.pending]
        numbers = np.append(self._numbers, [t.number for t in history.pending])
        asked = np.vstack([self._X, rows_of(self._space, pending)])[np.argsort(numbers)]
        told = np.argsort(self._numbers[self._ok])
        return self._X[self._ok][told], self._y[self._ok][told], asked


def succeeded(history: History) -> FloatArray:
    """The values (n) of what was imported and of what succeeded, as they arrived."""
    return np.array([i.y for i in history.imports] + [e.y for e in history.ok], dtype=float)


def learnt(space: Space, history: History) -> tuple[FloatArray, FloatArray]:
    """Rows (n x d) and values (n) that the surrogate learns from: what succeeded.

    Ordered by trial number. What failed has no value; ``risk_of`` learns from it.
    """
    evaluations = sorted(history.ok, key=lambda e: e.trial.number)
    configs = [i.config for i in history.imports] + [e.trial.config for e in evaluations]
    y = np.array([i.y for i in history.imports] + [e.y for e in evaluations], dtype=float)
    return rows_of(space, configs), bounded(y)


def bounded(y: FloatArray) -> FloatArray:
    """Finite values (n) without a runaway upper tail.

    Values far above the bulk (diverged trainings) are pulled in to the median plus three times the
    spread of the better three quarters, lest they own the scale.
    """
    if not len(y):
        return y
    low, middle, high = np.quantile(y, [0.05, 0.5, 0.75])
    ceiling = middle + 3 * (high - low)
    pulled: FloatArray = np.minimum(y, ceiling) if ceiling > middle else y
    return pulled


def above(mean: FloatArray, sd: FloatArray, bound: float) -> FloatArray:
    """E[Y | Y > bound] of Y ~ N(mean, sd^2), elementwise."""
    spread = np.maximum(sd, 1e-12 * (1.0 + np.abs(mean)))
    u = np.maximum((mean - bound) / spread, LEAST)
    expected: FloatArray = mean + spread * hazard(u)
    return np.maximum(expected, np.maximum(mean, bound))


def condition_above(posterior: Posterior, X: FloatArray, bound: float) -> Posterior:
    """The posterior given that results at X (k x e) would have been above a bound."""
    if not len(X):
        return posterior
    return posterior.condition(X, above(*posterior.predict(X), bound))


def risk_of(space: Space, history: History) -> Risk | None:
    """Where trainings fail and what a gain is worth; None while none failed."""
    feasibility = failures_of(space, history)
    if feasibility is None:
        return None
    y = bounded(succeeded(history))
    return Risk(feasibility, float(y.std()) or abs(float(y.mean())) or 1.0)


def failures_of(space: Space, history: History) -> Feasibility | None:
    """Where trainings fail, as learnt from all that succeeded, failed or crashed.

    None while none failed. A lost trial says nothing about its configuration; one that was stopped
    early did not fail.
    """
    told = sorted(
        (e for e in history.evaluations if e.outcome.status is not Status.LOST),
        key=lambda e: e.trial.number,
    )
    if not any(e.failed for e in told):
        return None
    rows = rows_of(space, [i.config for i in history.imports] + [e.trial.config for e in told])
    success = np.array([True] * len(history.imports) + [not e.failed for e in told])
    try:
        return fit_feasibility(space.features(rows), success, space.groups)
    except np.linalg.LinAlgError as error:
        warn_once(logger, "failures could not be learnt from (%s): they are left out", error)
        return None
