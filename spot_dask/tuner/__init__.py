"""The tuner: from everything known so far to the next trials.

``Tuner.ask`` is a pure function of its settings and the history: the same history gives the same
trials, whatever the order in which the evaluations arrived. It first walks through the initial
design, then lets the infill criterion choose on a surrogate fitted to all evaluations.

n evaluations, d free parameters, q trials asked; rows are points of the unit cube.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from spot_dask import infill as criteria
from spot_dask import surrogates
from spot_dask.errors import warn_once
from spot_dask.infill import Infill, Request
from spot_dask.infill.feasible import Risk
from spot_dask.records import (
    Configuration,
    Evaluation,
    History,
    Import,
    Origin,
    Status,
    Trial,
)
from spot_dask.settings import Design
from spot_dask.space import Space
from spot_dask.surrogates import FloatArray, Surrogate
from spot_dask.surrogates.censored import condition_above
from spot_dask.surrogates.feasibility import fit_feasibility
from spot_dask.surrogates.posterior import KrigingPosterior
from spot_dask.surrogates.transfer import Transfer, source_model
from spot_dask.tuner.design import best_of_each, initial_design, space_filling
from spot_dask.tuner.model import Best, Model
from spot_dask.tuner.replication import Noisy, choose, worth

logger = logging.getLogger(__name__)

FALLBACK = "log_ei"  # the criterion that serves when another one fails

# Streams of random numbers derived from the study's seed; never reuse one for another purpose.
_DESIGN, _TRAINING, _ASK, _MODEL = range(4)


@dataclass(frozen=True)
class Tuner:
    """Proposes trials for a search space.

    ``start`` holds configurations the user wants evaluated right after the defaults.
    ``surrogate`` and ``infill`` are names (a file in the folder of that name, or
    ``package.module:Name``, or ``sklearn:<module>.<Class>``) or objects of those protocols.
    ``budget`` is the number of trials there will be, if that is known: up to the share
    ``replication`` of it, sized by the noise, goes at the end into replicates of what may be best.
    """

    space: Space
    seed: int = 0
    design: Design = field(default_factory=Design)
    start: Sequence[Configuration] = ()
    surrogate: str | Surrogate = "kriging"
    infill: str | Infill = "log_ei"
    budget: int | None = None
    replication: float = 0.08

    def ask(self, history: History, q: int = 1) -> tuple[Trial, ...]:
        """The next q trials; fewer, or none, only when no new configuration is left.

        And none is worth another training, or the budget is not known.
        """
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
        return self._fitted(surrogates.find(self.surrogate), history)

    def _fitted(self, surrogate: Surrogate, history: History) -> Model | None:
        X, y = self._data(history)
        if len(self._good(history)) < 2:
            return None
        rng = np.random.default_rng([self.seed, _MODEL, len(y)])
        features = self.space.features(X)
        return Model(self.space, X, y, surrogate.fit(features, y, self.space.groups, rng))

    def recommend(self, history: History, model: Model | None) -> Best | None:
        """The configuration of lowest posterior mean among the successful; None if there is none.

        A surrogate that predicts evaluations from all others no better than their mean does has no
        say, and without one the configuration of lowest mean value is recommended.
        """
        found = list(self._successes(history).values())
        if not found:
            return None
        y = [float(np.mean([e.y for e in evaluations])) for evaluations in found]
        if model is None:
            return Best(found[int(np.argmin(y))])
        mean, sd = model.predict(self._rows(e[0].trial.config for e in found))
        i = int(np.argmin(mean if model.predicts else y))
        return Best(found[i], float(mean[i]), float(sd[i]))

    def _successes(self, history: History) -> dict[bytes, tuple[Evaluation, ...]]:
        """Successful evaluations by configuration, both in the order of trial numbers."""
        evaluations = sorted(history.ok, key=lambda e: e.trial.number)
        found: dict[bytes, tuple[Evaluation, ...]] = {}
        for key, e in zip(
            self._keys([e.trial.config for e in evaluations]), evaluations, strict=True
        ):
            found[key] = (*found.get(key, ()), e)
        return found

    def _planned(self, history: History) -> list[tuple[Configuration, int, Origin]]:
        """The initial design with its replicates; imported evaluations replace its filling.

        A third of the filling are the best configurations of other objectives, where there are any.
        """
        must = 1 + len(self.start)
        size = max(must, self.design.size(self.space) - len(history.imports))
        if history.asked >= size * self.design.replicates:
            return []
        hints = best_of_each(self.space, history.priors, (size - must + 1) // 3)
        imported = set(self._keys([item.config for item in history.imports]))
        return [
            (config, replicate, origin)
            for config, key, origin in self._design(size, hints)
            if origin is not Origin.DESIGN or key not in imported
            for replicate in range(self.design.replicates)
        ]

    def _design(
        self, size: int, hints: Sequence[Configuration]
    ) -> list[tuple[Configuration, bytes, Origin]]:
        """The initial design of so many configurations; made once, as it is asked for often."""
        hinted = self._keys(hints)
        made = size, tuple(hinted)
        if made not in self._designs:
            rng = np.random.default_rng([self.seed, _DESIGN])
            design = replace(self.design, initial=size)
            configs = initial_design(self.space, design, (*self.start, *hints), rng)
            origin = dict.fromkeys(hinted, Origin.PRIOR)
            origin |= dict.fromkeys(self._keys(self.start), Origin.USER)
            keys = self._keys(configs)
            origins = [origin.get(key, Origin.DESIGN) for key in keys]
            origins[0] = Origin.DEFAULT
            self._designs[made] = list(zip(configs, keys, origins, strict=True))
        return self._designs[made]

    @cached_property
    def _designs(
        self,
    ) -> dict[tuple[int, tuple[bytes, ...]], list[tuple[Configuration, bytes, Origin]]]:
        return {}

    def _infill(self, history: History, q: int) -> list[Trial]:
        """q trials chosen by the surrogate, given all that is known and pending: replicates of
        what may be the best towards the end of the budget, else by the infill criterion.

        Other objectives inform where to look, not what is replicated."""
        rng = np.random.default_rng([self.seed, _ASK, history.asked])
        model = self._believed(history)
        informed = (history.priors and self._believed(history, history.priors)) or model
        trials = self._replicates(history, model, self._due(history, model, q))
        trials += self._new(history.ask(trials), informed, q - len(trials), rng)
        if len(trials) < q and self.budget is not None and self.replication > 0:
            # No new configuration is left: what remains of the budget may still tell them apart.
            trials += self._replicates(history.ask(trials), model, q - len(trials))
        return trials

    def _believed(self, history: History, priors: Sequence[Sequence[Import]] = ()) -> Model | None:
        """The surrogate, informed by priors, if it knows more than a space-filling design does."""
        if len(self._good(history)) < min(self.space.d + 1, self.design.size(self.space)):
            return None
        surrogate = surrogates.find(self.surrogate)  # a name of which there is none is refused
        try:
            if priors:
                surrogate = Transfer(surrogate, [self._source(items) for items in priors])
            model = self._fitted(surrogate, history)
            return None if model is None else self._censored(model, history)
        except Exception as error:
            # Weeks of training must not end for one fit.
            warn_once(logger, "no surrogate: %s; space-filling points", _told(error))
            return None

    def _censored(self, model: Model, history: History) -> Model:
        """The model after also hearing of the trainings that were stopped early."""
        stopped = sorted(history.stopped, key=lambda e: e.trial.number)
        X = self.space.features(self._rows(e.trial.config for e in stopped))
        best = float(model.y.min())
        return replace(model, posterior=condition_above(model.posterior, X, best))

    def _due(self, history: History, model: Model | None, q: int) -> int:
        """How many of the next q trials are among those at the end that replicates are worth."""
        if self.budget is None or model is None or not isinstance(model.posterior, Noisy):
            return 0
        share = self.replication * worth(model.posterior.nugget)
        return min(q, max(0, history.asked + q - self.budget + round(share * self.budget)))

    def _replicates(self, history: History, model: Model | None, slots: int) -> list[Trial]:
        """At most so many replicates of configurations that succeeded and never failed."""
        if model is None or not isinstance(model.posterior, Noisy):
            return []
        failed = set(self._keys([e.trial.config for e in history.failed]))
        found = {k: e for k, e in self._successes(history).items() if k not in failed}
        keys, configs = list(found), [e[0].trial.config for e in found.values()]
        pending = sorted(history.pending, key=lambda t: t.number)
        X, running = (self._rows(c) for c in (configs, [t.config for t in pending]))
        features = self.space.features
        chosen = choose(model.posterior, features(X), features(running), slots)
        asked = [e.trial for e in history.evaluations] + pending
        used = dict.fromkeys(keys, 0)
        for key, trial in zip(self._keys([t.config for t in asked]), asked, strict=True):
            used[key] = max(used.get(key, 0), trial.replicate + 1)
        trials: list[Trial] = []
        for number, i in enumerate(chosen, start=history.asked):
            r, used[keys[i]] = used[keys[i]], used[keys[i]] + 1
            trials.append(Trial(number, configs[i], self._seed(r), r, Origin.REPLICATE))
        return trials

    def _new(
        self, history: History, model: Model | None, q: int, rng: np.random.Generator
    ) -> list[Trial]:
        """q trials of new configurations; fewer only when no more are left."""
        known = self._known_rows(history)
        forbidden = frozenset(self.space.keys(known))
        fresh = self._propose(history, model, q, forbidden, rng)
        if len(fresh) < q:
            taken = np.vstack([known, fresh])
            fresh = np.vstack([fresh, space_filling(self.space, q - len(fresh), taken, rng)])
        return [
            Trial(history.asked + i, config, self._seed(0))
            for i, config in enumerate(self.space.decode(fresh[:q]))
        ]

    def _propose(
        self,
        history: History,
        model: Model | None,
        q: int,
        forbidden: frozenset[bytes],
        rng: np.random.Generator,
    ) -> FloatArray:
        """At most q new, distinct, snapped rows (<= q x d), whatever fails on the way.

        Weeks of training must not end for one criterion: one that fails is replaced by
        ``FALLBACK``; without that, or without a surrogate, there are no rows, and space-filling
        ones are taken.
        """
        nothing = np.empty((0, self.space.d))
        # A name of which there is none is the user's error; it is refused.
        infills = criteria.find(self.infill), criteria.find(FALLBACK)
        if model is None or q < 1:
            return nothing
        pending = sorted(history.pending, key=lambda t: t.number)
        request = Request(
            space=self.space,
            q=q,
            evaluated=model.X,
            pending=self._rows(t.config for t in pending),
            forbidden=forbidden,
            risk=self._risk(history),
        )
        for infill in infills:
            try:
                rows = infill.propose(model.posterior, request, rng)
                return _distinct(self.space, rows, forbidden)
            except Exception as error:
                name = type(infill).__name__
                warn_once(logger, f"infill {name} failed: %s; another one serves", _told(error))
        return nothing

    def _source(self, items: Sequence[Import]) -> KrigingPosterior:
        """The model of a source; made once, as it is the same for every proposal."""
        key = tuple((i.source_run, i.source_trial, i.y) for i in items)
        if key not in self._sources:
            X = self.space.features(self._rows(i.config for i in items))
            y = _bounded(np.array([i.y for i in items]))
            self._sources[key] = source_model(X, y, self.space.groups)
        return self._sources[key]

    @cached_property
    def _sources(self) -> dict[tuple[tuple[str, int, float], ...], KrigingPosterior]:
        return {}

    def _risk(self, history: History) -> Risk | None:
        """Where trainings fail, as learnt from all that succeeded, failed or crashed.

        None while none failed. A lost trial says nothing about its configuration; one that was
        stopped early did not fail.
        """
        told = sorted(
            (e for e in history.evaluations if e.outcome.status is not Status.LOST),
            key=lambda e: e.trial.number,
        )
        if not any(e.failed for e in told):
            return None
        rows = self._rows([i.config for i in history.imports] + [e.trial.config for e in told])
        success = np.array([True] * len(history.imports) + [not e.failed for e in told])
        try:
            feasibility = fit_feasibility(self.space.features(rows), success, self.space.groups)
        except np.linalg.LinAlgError as error:
            warn_once(logger, "failures could not be learnt from (%s): they are left out", error)
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


def _told(error: Exception) -> str:
    """What an error says, in one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


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
