"""The tuner: from everything known so far to the next trials.

``Tuner.ask`` is a pure function of its settings and the history: the same history gives the same
trials, whatever the order in which the evaluations arrived. It first walks through the initial
design, then lets the infill criterion choose on a surrogate fitted to all evaluations.

n evaluations, d free parameters, q trials asked; rows are points of the unit cube.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from spot_dask import infill as criteria
from spot_dask import surrogates
from spot_dask.design import Design, initial_design, space_filling
from spot_dask.infill import Infill, Request
from spot_dask.infill.feasible import Risk
from spot_dask.records import Configuration, Evaluation, History, Origin, Status, Trial
from spot_dask.space import Space
from spot_dask.surrogates import FloatArray, Posterior, Surrogate
from spot_dask.surrogates.feasibility import fit_feasibility

logger = logging.getLogger(__name__)

# Streams of random numbers derived from the study's seed; never reuse one for another purpose.
_DESIGN, _TRAINING, _ASK, _MODEL = range(4)


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


@dataclass(frozen=True)
class Best:
    """The recommended evaluation with the surrogate's mean and sd there.

    ``mean`` and ``sd`` are NaN while too little is known to fit a surrogate; the recommendation
    is then the best observed value.
    """

    evaluation: Evaluation
    mean: float = math.nan
    sd: float = math.nan


@dataclass(frozen=True)
class Tuner:
    """Proposes trials for a search space.

    ``start`` holds configurations the user wants evaluated right after the defaults.
    ``surrogate`` and ``infill`` are names (a file in the folder of that name, or
    ``package.module:Name``, or ``sklearn:<module>.<Class>``) or objects of those protocols.
    """

    space: Space
    seed: int = 0
    design: Design = field(default_factory=Design)
    start: Sequence[Configuration] = ()
    surrogate: str | Surrogate = "kriging"
    infill: str | Infill = "log_ei"

    def ask(self, history: History, q: int = 1) -> tuple[Trial, ...]:
        """The next q trials; fewer, or none, only when no new configuration is left."""
        planned = self._planned(history)[history.asked : history.asked + q]
        trials = [
            Trial(history.asked + i, config, self._seed(replicate), replicate, origin)
            for i, (config, replicate, origin) in enumerate(planned)
        ]
        if len(trials) < q:
            known = history.ask(trials)
            trials += self._infill(known, q - len(trials))
        return tuple(trials)

    def model(self, history: History) -> Model | None:
        """The surrogate fitted to the history; None while fewer than two evaluations succeeded."""
        X, y = self._data(history)
        if len(self._good(history)) < 2:
            return None
        rng = np.random.default_rng([self.seed, _MODEL, len(y)])
        surrogate = surrogates.find(self.surrogate)
        features = self.space.features(X)
        return Model(self.space, X, y, surrogate.fit(features, y, self.space.groups, rng))

    def recommend(self, history: History, model: Model | None) -> Best | None:
        """The successful evaluation with the lowest posterior mean; None if there is none.

        A surrogate whose means hardly follow the evaluations they were fitted to (R^2 below 0.5)
        has no say: the best observed value is recommended then.
        """
        evaluations = sorted(history.ok, key=lambda e: e.trial.number)
        if not evaluations:
            return None
        y = np.array([e.y for e in evaluations])
        if model is None:
            return Best(evaluations[int(y.argmin())])
        mean, sd = model.predict(self.space.encode([e.trial.config for e in evaluations]))
        bounded = _bounded(y)
        unexplained = float(np.mean((bounded - mean) ** 2))
        i = int(np.argmin(mean if 2 * unexplained < float(np.var(bounded)) else y))
        return Best(evaluations[i], float(mean[i]), float(sd[i]))

    def _planned(self, history: History) -> list[tuple[Configuration, int, Origin]]:
        """The initial design with its replicates; imported evaluations replace its filling."""
        must = 1 + len(self.start)
        size = max(must, self.design.size(self.space) - len(history.imports))
        if history.asked >= size * self.design.replicates:
            return []
        imported = set(self._keys([item.config for item in history.imports]))
        return [
            (config, replicate, origin)
            for config, key, origin in self._design(size)
            if origin is not Origin.DESIGN or key not in imported
            for replicate in range(self.design.replicates)
        ]

    def _design(self, size: int) -> list[tuple[Configuration, bytes, Origin]]:
        """The initial design of so many configurations; made once, as it is asked for often."""
        if size not in self._designs:
            rng = np.random.default_rng([self.seed, _DESIGN])
            design = replace(self.design, initial=size)
            configs = initial_design(self.space, design, self.start, rng)
            keys, users = self._keys(configs), set(self._keys(self.start))
            origins = [Origin.USER if key in users else Origin.DESIGN for key in keys]
            origins[0] = Origin.DEFAULT
            self._designs[size] = list(zip(configs, keys, origins, strict=True))
        return self._designs[size]

    @cached_property
    def _designs(self) -> dict[int, list[tuple[Configuration, bytes, Origin]]]:
        return {}

    def _infill(self, history: History, q: int) -> list[Trial]:
        """q trials chosen by the infill criterion, given all that is known and pending."""
        rng = np.random.default_rng([self.seed, _ASK, history.asked])
        known = self._known_rows(history)
        forbidden = frozenset(self.space.keys(known))
        rows = self._propose(history, q, forbidden, rng)
        fresh = _distinct(self.space, rows, forbidden)
        if len(fresh) < q:
            taken = np.vstack([known, fresh])
            fresh = np.vstack([fresh, space_filling(self.space, q - len(fresh), taken, rng)])
        return [
            Trial(history.asked + i, config, self._seed(0))
            for i, config in enumerate(self.space.decode(fresh[:q]))
        ]

    def _propose(
        self, history: History, q: int, forbidden: frozenset[bytes], rng: np.random.Generator
    ) -> FloatArray:
        nothing = np.empty((0, self.space.d))
        # A surrogate of too few points knows less than a space-filling design covers.
        enough = min(self.space.d + 1, self.design.size(self.space))
        if len(self._good(history)) < enough:
            return nothing
        pending = sorted(history.pending, key=lambda t: t.number)
        try:
            model = self.model(history)
            if model is None:
                return nothing
            request = Request(
                space=self.space,
                q=q,
                evaluated=model.X,
                pending=self._rows(t.config for t in pending),
                forbidden=forbidden,
                risk=self._risk(history),
            )
            return criteria.find(self.infill).propose(model.posterior, request, rng)
        except np.linalg.LinAlgError as error:
            # Weeks of training must not end for one ill-conditioned fit.
            logger.warning("the surrogate could not be fitted (%s): space-filling points", error)
            return nothing

    def _risk(self, history: History) -> Risk | None:
        """Where trainings fail, as learnt from all that succeeded, failed or crashed.

        None while none failed. A lost trial says nothing about its configuration.
        """
        told = sorted(
            (e for e in history.evaluations if e.outcome.status is not Status.LOST),
            key=lambda e: e.trial.number,
        )
        if all(e.ok for e in told):
            return None
        rows = self._rows([i.config for i in history.imports] + [e.trial.config for e in told])
        success = np.array([True] * len(history.imports) + [e.ok for e in told])
        try:
            feasibility = fit_feasibility(self.space.features(rows), success, self.space.groups)
        except np.linalg.LinAlgError as error:
            logger.warning("failures could not be learnt from (%s): they are left out", error)
            return None
        y = _bounded(np.array(self._good(history)))
        return Risk(feasibility, float(y.std()) or abs(float(y.mean())) or 1.0)

    def _data(self, history: History) -> tuple[FloatArray, FloatArray]:
        """Rows and values the surrogate learns from: what succeeded, ordered by trial number.

        What failed has no value; ``_risk`` learns from it. Values far above the bulk (diverged
        trainings) are pulled in to the median plus three times the spread of the better three
        quarters, lest they own the scale.
        """
        evaluations = sorted(history.ok, key=lambda e: e.trial.number)
        configs = [i.config for i in history.imports] + [e.trial.config for e in evaluations]
        y = np.array([i.y for i in history.imports] + [e.y for e in evaluations], dtype=float)
        return self._rows(configs), _bounded(y)

    def _good(self, history: History) -> list[float]:
        return [i.y for i in history.imports] + [e.y for e in history.ok]

    def _known_rows(self, history: History) -> FloatArray:
        """Rows of every configuration that was ever asked or imported (k x d)."""
        trials = [e.trial for e in history.evaluations] + list(history.pending)
        configs = [t.config for t in sorted(trials, key=lambda t: t.number)]
        return self._rows([i.config for i in history.imports] + configs)

    def _rows(self, configs: Iterable[Configuration]) -> FloatArray:
        listed = list(configs)
        return self.space.encode(listed) if listed else np.empty((0, self.space.d))

    def _keys(self, configs: Sequence[Configuration]) -> list[bytes]:
        return self.space.keys(self._rows(configs))

    def _seed(self, replicate: int) -> int:
        """Seed of the training: one per replicate, the same for every configuration."""
        sequence = np.random.SeedSequence([self.seed, _TRAINING, replicate])
        return int(sequence.generate_state(1)[0])


def _bounded(y: FloatArray) -> FloatArray:
    """Finite values (n) without a runaway upper tail."""
    if not len(y):
        return y
    low, middle, high = np.quantile(y, [0.05, 0.5, 0.75])
    ceiling = middle + 3 * (high - low)
    bounded: FloatArray = np.minimum(y, ceiling) if ceiling > middle else y
    return bounded


def _distinct(space: Space, rows: FloatArray, forbidden: frozenset[bytes]) -> FloatArray:
    """The rows whose configuration is new, each once, snapped, in order."""
    snapped = space.snap(rows)
    seen = set(forbidden)
    keep = []
    for i, key in enumerate(space.keys(snapped)):
        if key not in seen:
            seen.add(key)
            keep.append(i)
    return snapped[keep]
