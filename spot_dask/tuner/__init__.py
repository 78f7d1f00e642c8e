"""The tuner: from everything known so far to the next trials.

``Tuner.ask`` is a pure function of its settings and the history: the same history gives the same
trials, whatever the order in which the evaluations arrived. It first walks through the initial
design, then lets the infill criterion choose on a surrogate fitted to all evaluations.

n evaluations, d free parameters, q trials asked; rows are points of the unit cube.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from spot_dask import baselines, early_stopping, surrogates
from spot_dask import infill as criteria
from spot_dask.baselines import SPOT, Baseline, Known
from spot_dask.cards import Listed
from spot_dask.constraints import Constraint, Limits, parsed
from spot_dask.early_stopping import Rule
from spot_dask.early_stopping.ruler import Ruler
from spot_dask.errors import warn_once
from spot_dask.infill import Infill, Proposal, Request
from spot_dask.infill.constrained import Constrained
from spot_dask.infill.leaning import Believed, Leaning, likeliest
from spot_dask.infill.log_ei import LogEI
from spot_dask.magnitude import magnitudes
from spot_dask.records import (
    Configuration,
    Evaluation,
    Expected,
    FoldPlan,
    History,
    Import,
    Objective,
    Origin,
    Stage,
    Trial,
)
from spot_dask.settings import Design
from spot_dask.space import Space
from spot_dask.surrogates import FloatArray, Surrogate, completed
from spot_dask.surrogates.posterior import KrigingPosterior
from spot_dask.surrogates.transfer import Transfer, source_model
from spot_dask.tuner.confirmation import FROM, default_failed, missing, reserve, seeds_of
from spot_dask.tuner.design import best_of_each, initial_design, space_filling
from spot_dask.tuner.durations import price
from spot_dask.tuner.folds import MissingFold, key_of, table_of
from spot_dask.tuner.foreseen import foreseen
from spot_dask.tuner.limited import KnownMetric, constrained, judged, learnt_metrics, rank
from spot_dask.tuner.model import (
    Best,
    GrowingRows,
    Model,
    bounded,
    condition_above,
    failures_of,
    learnt,
    risk_of,
    rows_of,
    succeeded,
)
from spot_dask.tuner.ranges import holds, inside, places
from spot_dask.tuner.replication import Noisy, choose, worth
from spot_dask.tuner.stopping import Judgement, Stopping
from spot_dask.tuner.tame import Tame

logger = logging.getLogger(__name__)

# Streams of random numbers derived from the study's seed; never reuse one for another purpose.
_DESIGN, _TRAINING, _ASK, _MODEL, _CONFIRMING, _EXPLORING, _FOLDING = range(7)

RANDOM = 64
"""Random configurations tried for each that another way to search leaves open."""


@dataclass(frozen=True)
class Tuner(Listed):
    """Proposes trials for a search space.

    ``start`` holds configurations the user wants evaluated right after the defaults. ``prior`` is
    what the user believes of good values (``infill/leaning.py``): what is believed to be the best
    is among ``start``, and the criterion leans to it, the less the more is known.
    ``surrogate`` and ``infill`` are names (a file in the folder of that name, or
    ``package.module:Name``, or ``sklearn:<module>.<Class>``) or objects of those protocols.
    ``search`` names another way to search, of which the default and ``start`` are the first too.
    ``budget`` is the number of trials there will be, if that is known: the share ``confirm`` of it
    is kept for confirmation (see ``tuner/confirmation.py``), and of the rest up to the share
    ``replication``, sized by the noise, goes at the end into replicates of what may be best. After
    the initial design ``repeats`` trials train the default and the best so far, in turn, under
    other seeds, so that noise can be told from effects; not in a budget too small for it.
    ``stopping`` may end the search before its budget. Trainings that the rule ``early_stopping``
    ended count for proposals as what it predicts of them, from the curves of the ``objective``;
    ``length`` is the parameter that holds a training's epochs, where they differ. Where ranges were
    changed, only what is ``within`` a part of the space is proposed and recommended; of the tuner
    that does so, that part is the space, and evaluations ``beyond`` it inform the surrogate.
    ``constraints`` are limits of metrics (``constraints.py``): what fulfils them is recommended,
    and proposed where the criterion is one of ours; while nothing does, what is nearest. Names
    that are not ``trusted``, because a store gave them, load no foreign code: ``ask`` and ``model``
    raise ``plugins.NotLoaded``. With several ``folds`` a configuration is worth its mean over them;
    ``tuner/folds.py`` says which are trained.

    >>> from spot_dask import Design, History, Real, Space, Tuner
    >>> tuner = Tuner(Space(lr=Real(1e-4, 1.0, scale="log")), seed=1, design=Design(initial=4))
    >>> history = History()
    >>> for _ in range(3):
    ...     trials = tuner.ask(history, 2)
    ...     history = history.ask(trials)
    ...     for trial in trials:
    ...         history = history.tell(trial.result((trial.config["lr"] - 0.1) ** 2))
    >>> history
    History(6 ok)
    """

    _unlisted = frozenset(("beyond", "finalists", "seen", "trusted", "within"))
    space: Space
    seed: int = 0
    design: Design = field(default_factory=Design)
    start: Sequence[Configuration] = ()
    prior: Believed = field(default_factory=dict)
    surrogate: str | Surrogate = "kriging"
    infill: str | Infill = "averaged_ei"
    budget: int | None = None
    search: str | Baseline = SPOT
    replication: float = 0.08
    repeats: int = 0
    confirm: float | None = 0.0
    stopping: Stopping | None = None
    objective: Objective = field(default_factory=lambda: Objective("loss"))
    early_stopping: str | Rule | None = None
    length: str | None = None
    constraints: Limits = field(default_factory=dict)
    folds: FoldPlan = field(default_factory=FoldPlan)
    within: Space | None = None
    beyond: tuple[Evaluation, ...] = ()
    trusted: bool = True

    def ask(self, history: History, q: int = 1, stage: Stage | None = None) -> tuple[Trial, ...]:
        """The next q trials of the search, or of another stage.

        Of the search there are fewer, or none, only when no new configuration is left and the
        budget is not known, and none once there is ``enough``; of a confirmation, where all is
        asked that can be by now: the finalists are known when no trial of the search is pending.

        >>> from spot_dask import History, Real, Space, Tuner
        >>> tuner = Tuner(Space(lr=Real(1e-4, 1.0, scale="log")), seed=1)
        >>> [trial.origin.value for trial in tuner.ask(History(), 3)]
        ['default', 'design', 'design']
        >>> tuner.ask(History(), 3) == tuner.ask(History(), 3)
        True
        """
        if (tamed := self._tamed(history)) is not None:
            tuner, tame = tamed
            return tuple(map(tame.asked, tuner.ask(tame.history, q, stage)))
        known = history.searched
        trials: Sequence[Trial]
        if stage is None and self.enough(known) is not None:
            trials = []
        elif self.within is not None and (stage is None or stage.kind == "explore"):
            trials = self._inner(self.within, known).ask(inside(self.within, known), q, stage)
            again = {Origin.DEFAULT: Origin.DESIGN} if known.asked else {}
            trials = [replace(t, origin=again.get(t.origin, t.origin)) for t in trials]
        elif stage is None:
            trials = self._search(known, q)
        elif stage.kind == "confirm":
            trials = self._confirmations(history, stage, q)
        elif stage.kind == "try":
            trials = self._by_hand(known, stage.configs)
        else:
            trials = self._new(known, None, q, Origin.EXPLORE, self._rng(_EXPLORING, known))
        return tuple(
            replace(self._placed_in_folds(t), number=history.asked + i)
            for i, t in enumerate(trials)
        )

    def _placed_in_folds(self, trial: Trial) -> Trial:
        """A trial with its fold and the seed of its partition, in a study with folds.

        A confirmation draws a partition of its own by its seed, or takes one window after the other
        where partitions are not drawn.
        """
        plan, r = self.folds, trial.replicate
        if not plan.several:
            return trial
        if trial.confirms:
            return trial if plan.draws else replace(trial, fold=r % plan.k)
        return replace(trial, fold=r % plan.k, partition=self._seed(r // plan.k, _FOLDING))

    def _inner(self, box: Space, history: History) -> Tuner:
        """The tuner of the part of the space that is searched now."""
        beyond = [e for e in history.ok if not holds(box, e.trial.config)]
        start = tuple(config for config in self.start if holds(box, config))
        repeats = self.repeats if holds(box, self.space.default) else 0
        return replace(
            self,
            space=box,
            start=start,
            repeats=repeats,
            within=None,
            stopping=None,
            beyond=tuple(sorted(beyond, key=lambda e: e.trial.number)),
        )

    def enough(self, history: History) -> Judgement | None:
        """Why the search is to end before its budget; None while it is to go on."""
        if (tamed := self._tamed(history)) is not None:
            tuner, tame = tamed
            found = tuner.enough(tame.history)
            return found and replace(
                found, bound=tame.width(found.bound), limit=tame.width(found.limit)
            )
        return None if self.stopping is None else self.stopping.verdict(history)

    def finalists(self, history: History, top: int = 1) -> list[Best]:
        """The ``top`` best configurations of a history, as the search alone tells.

        A confirmation asks for them again and again; what they rest on is fitted once.
        """
        known = history.searched
        asked = (known.evaluations, known.imports, known.priors)
        for told, ranked in tuple(self._last_ranked):
            if told == asked:
                return ranked[:top]
        ranked = self.ranked(known, self.model(known))
        self._last_ranked[:] = [(asked, ranked)]
        return ranked[:top]

    @cached_property
    def _last_ranked(self) -> list[tuple[Any, list[Best]]]:
        return []

    def _confirmations(self, history: History, stage: Stage, q: int) -> list[Trial]:
        """At most q trials of a confirmation that are to be asked now, those of a seed together."""
        known = history.searched
        wanted: list[Configuration] = [] if default_failed(known) else [self.space.default]
        if not known.pending:
            wanted += [best.config for best in self.finalists(known, stage.top)]
        distinct = dict(zip(self._keys(wanted), wanted, strict=True))
        return [
            Trial(0, config, self._seed(r, _CONFIRMING), r, Origin.CONFIRM)
            for config, r in missing(self.space, [*distinct.values()], history, stage.seeds)[:q]
        ]

    def _by_hand(self, history: History, configs: Sequence[Configuration]) -> list[Trial]:
        """Trials of the configurations that somebody asked for, but for those that are known."""
        asked = [e.trial.config for e in history.evaluations] + [t.config for t in history.pending]
        known, fresh = set(self._keys(asked)), []
        for config, key in zip(configs, self._keys(configs), strict=True):
            if key not in known:
                known.add(key)
                fresh.append(Trial(0, config, self._seed(0), origin=Origin.HAND))
        return fresh

    def _search(self, history: History, q: int) -> list[Trial]:
        """The next q trials: folds that are due, and new configurations."""
        if not self.folds.several:
            return self._new_to_search(history, q)
        plan, left = self.folds, self._search_left(history)
        trials = [] if history.asked else self._new_to_search(history, 1)  # the default
        table = table_of(plan, history.ask(trials))
        due = table.due(left)
        # What is begun may take all its folds; none is begun that could not have them.
        room = (left - len(trials) - len(due) - len(table.ahead())) / plan.count
        trials += self._fold_trials(history.ask(trials), due[: q - len(trials)])
        idle = q - len(trials)
        new = int(min(idle if plan.stop else -(-idle // plan.count), room))
        if new >= 1:
            trials += self._new_to_search(history.ask(trials), new)
        return self._for_idle(history, trials, q) if len(trials) < q else trials

    def _for_idle(self, history: History, trials: list[Trial], q: int) -> list[Trial]:
        """The trials and, for workers that would be idle, others, q in all if there are so many.

        Folds of what has none back yet; other partitions for what may be the best; and what else
        there is.
        """

        def soon(now: History, n: int) -> list[Trial]:
            table = table_of(self.folds, now)
            return self._fold_trials(now, [*table.due(self._search_left(now)), *table.ahead()][:n])

        def rest(now: History, n: int) -> list[Trial]:
            return self._fold_trials(now, table_of(self.folds, now).rest()[:n])

        for more in (soon, self._again, self._new_to_search, rest):
            if len(trials) < q:
                trials = trials + more(history.ask(trials), q - len(trials))
        return trials

    def _again(self, history: History, q: int) -> list[Trial]:
        """At most q replicates of what may be the best, on other partitions.

        None where no budget says that the end is near.
        """
        if self.budget is None:
            return []
        known = len(self._successes(history)) > 1
        model = self._believed(self._surrogate, history) if known else None
        return self._replicates(history, model, q, to_the_end=True)

    def _fold_trials(self, history: History, folds: Sequence[MissingFold]) -> list[Trial]:
        return [
            Trial(history.asked + i, f.config, self._seed(f.replicate), f.replicate, f.origin)
            for i, f in enumerate(folds)
        ]

    def _search_left(self, history: History) -> float:
        """How many trainings the search still has; infinite where that is not known."""
        if self.budget is None:
            return math.inf
        kept = reserve(history, seeds_of(self.confirm, self.budget))
        return self.budget - kept - history.asked

    def _new_to_search(self, history: History, q: int) -> list[Trial]:
        """The next q trials of configurations of the design and of the criterion."""
        baseline = baselines.find(self.search, trusted=self.trusted)
        if baseline is not None:
            return self._by(baseline, history, q)
        placed = self._placed(history)
        planned = self._planned(history)[placed : placed + q]
        trials = [
            Trial(history.asked + i, config, self._seed(replicate), replicate, origin)
            for i, (config, replicate, origin) in enumerate(planned)
        ]
        if len(trials) < q:
            trials += self._repeated(history.ask(trials), q - len(trials))
        if len(trials) < q:
            trials += self._infill(history.ask(trials), q - len(trials))
        return trials

    def _by(self, baseline: Baseline, history: History, q: int) -> list[Trial]:
        """The next q trials by another way to search, which begins with what the user gave.

        Where it has fewer, the rest is random.
        """
        must = [config for config, _, _ in self._design(1 + len(self._given), ())]
        placed = self._placed(history)
        given = must[placed : placed + q]
        X, y, asked = self._told_and_asked(history)
        asked = np.vstack([asked, rows_of(self.space, given)])
        known = Known(self.space, X, y, asked, self.seed, self.budget)
        rng, left = self._rng(_ASK, history), q - len(given)
        rows = known.fresh(baseline.propose(known, left, rng), left) if left else known.X[:0]
        if len(rows) < left:
            rows = np.vstack([rows, rng.random((RANDOM * q, self.space.d))])
        configs = [*given, *self.space.decode(known.fresh(rows, left))]
        return [
            Trial(
                history.asked + i,
                config,
                self._seed(0),
                origin=Origin.BASELINE if history.asked + i else Origin.DEFAULT,
            )
            for i, config in enumerate(configs)
        ]

    def _told_and_asked(self, history: History) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Rows (n x d) and values (n) of what succeeded, and rows of all that was asked.

        By trial number; of a configuration with folds the means, and the first trial.
        """
        if not self.folds.several:
            return self._growing.of(history)
        evaluations = sorted(history.ok, key=lambda e: e.trial.number)
        means = table_of(self.folds, history).means(evaluations, complete=False)
        asked = [e.trial for e in history.evaluations] + list(history.pending)
        asked = sorted((t for t in asked if t.replicate == 0), key=lambda trial: trial.number)
        return (
            rows_of(self.space, (e.trial.config for e in means)),
            np.array([e.y for e in means], dtype=float),
            rows_of(self.space, (t.config for t in asked)),
        )

    @cached_property
    def _growing(self) -> GrowingRows:
        return GrowingRows(self.space)

    def _repeated(self, history: History, q: int) -> list[Trial]:
        """The next of the ``repeats`` early replicates, at most q.

        Of the default, and in turn with it of the best other configuration that is known by now.
        """
        if self.folds.several or (self.budget is not None and self.budget < FROM):
            return []  # folds show the noise
        trials: list[Trial] = []
        while len(trials) < q:
            asked = [e.trial for e in history.evaluations] + list(history.pending)
            done = sum(t.origin is Origin.REPLICATE for t in asked)
            if done >= self.repeats:
                break
            default = self._keys([self.space.default])[0]
            others = [b for b in self.ranked(history, None) if b.key != default]
            if others and (done % 2 or default_failed(history)):
                trials.append(self._replicate(history, others[0].config))
            elif not default_failed(history):
                trials.append(self._replicate(history, self.space.default))
            else:
                break
            history = history.ask(trials[-1:])
        return trials

    def _replicate(self, history: History, config: Configuration) -> Trial:
        """Another trial of a configuration, under the first seed that it was not trained with."""
        key = self._keys([config])[0]
        asked = [e.trial for e in history.evaluations] + list(history.pending)
        own = self._keys([t.config for t in asked])
        used = (t.replicate + 1 for k, t in zip(own, asked, strict=True) if k == key)
        r = max(used, default=0)
        return Trial(history.asked, config, self._seed(r), r, Origin.REPLICATE)

    def model(self, history: History) -> Model | None:
        """The surrogate fitted to the history; None while fewer than two evaluations succeeded.

        And where it fails, which is logged once. It knows nothing of confirmations. Its units are
        those of ``magnitude.magnitudes(history)`` where values are no ordinary ones.
        """
        if (tamed := self._tamed(history)) is not None:
            tuner, tame = tamed
            return tuner.model(tame.history)
        if baselines.find(self.search, trusted=self.trusted) is not None:
            return None  # who searches without a surrogate takes what was observed
        return self._fitted(self._surrogate, history.searched, "what was observed counts")

    @property
    def _surrogate(self) -> Surrogate:
        return surrogates.find(self.surrogate, trusted=self.trusted)

    def _fitted(self, surrogate: Surrogate, history: History, instead: str) -> Model | None:
        """The surrogate fitted to the history; None where fewer than two evaluations succeeded.

        And where it fails, which is logged once with what serves ``instead``: weeks of training
        must not end for one fit.
        """
        beyond = self.beyond
        if self.folds.several:
            table = table_of(self.folds, history, beyond)
            history = replace(history, evaluations=table.levelled(history.evaluations))
            beyond = table.levelled(beyond)
        X, y = learnt(self.space, history)
        if len(y) < 2:
            return None
        rng = np.random.default_rng([self.seed, _MODEL, len(y)])
        features = self.space.features(X)
        if beyond:
            more, which = places(self.space, [e.trial.config for e in beyond])
            features = np.vstack((features, more))
            y = bounded(np.append(y, [beyond[i].y for i in which]))
        try:
            posterior = completed.fit(surrogate, features, y, self.space.groups, rng)
            if not np.isfinite(posterior.predict(features)).all():
                raise ValueError("it predicts values that are not finite")
        except Exception as error:  # of a surrogate, which may be the user's
            warn_once(logger, f"no surrogate: %s; {instead}", _first_line(error))
            return None
        return Model(self.space, X, y, posterior)

    def recommend(self, history: History, model: Model | None) -> Best | None:
        """The configuration of lowest posterior mean among the successful; None if there is none.

        Under constraints, among those that fulfil them, or the one that comes nearest. A surrogate
        that predicts evaluations from all others no better than their mean does has no say, nor has
        one where replicates gave the same values again: of an objective without noise
        nothing is better than the best value observed. Without a surrogate the configuration of
        lowest mean value is recommended. Imported evaluations of the same objective take part;
        confirmations do not.

        >>> from spot_dask import History, Real, Space, Tuner
        >>> tuner, history = Tuner(Space(lr=Real(0.0, 1.0)), seed=1), History()
        >>> trials = tuner.ask(history, 6)
        >>> history = history.ask(trials)
        >>> for trial in trials:
        ...     history = history.tell(trial.result(trial.config["lr"]))
        >>> best = tuner.recommend(history, tuner.model(history))
        >>> best["lr"] == min(trial.config["lr"] for trial in trials)
        True
        """
        return next(iter(self.ranked(history.searched, model)), None)

    def ranked(self, history: History, model: Model | None) -> list[Best]:
        """The successful and imported configurations, the one to recommend first.

        Without a model they are in the order of their observed values.
        """
        if (tamed := self._tamed(history)) is not None:
            tuner, tame = tamed
            return [tame.best(b) for b in tuner.ranked(tame.history, model)]
        found = self._successes(history)
        if self.within is not None:
            box = self.within
            found = [best for best in found if holds(box, best.config)] or found
        found = [best for best in found if best.complete] or found
        found = self._judged(found, history, by_model=model is not None)
        if model is None or not found or self._is_exact(history):
            return sorted(found, key=lambda best: rank(best, best.observed))
        rows = rows_of(self.space, (best.config for best in found))
        try:
            (mean, sd), predicts = model.predict(rows), model.predicts
        except Exception as error:  # of a posterior, which may be the user's
            warn_once(logger, "no prediction: %s; what was observed counts", _first_line(error))
            return sorted(found, key=lambda best: rank(best, best.observed))
        known = [
            replace(best, mean=float(m), sd=float(s))
            for best, m, s in zip(found, mean, sd, strict=True)
        ]
        return sorted(known, key=lambda best: rank(best, best.mean if predicts else best.observed))

    def seen(self, evaluations: Sequence[Evaluation], history: History) -> list[Best]:
        """Evaluations as recommendations, which stand to constraints as they were observed.

        Of several folds the configurations that have all of them by now.
        """
        if (tamed := self._tamed(history)) is not None:
            tuner, tame = tamed
            told = list(map(tame.magnitudes.evaluation, evaluations))
            return [tame.best(b) for b in tuner.seen(told, tame.history)]
        found = [Best((e,)) for e in evaluations]
        if self.folds.several:
            numbers = {e.trial.number for e in evaluations}
            found = [
                best
                for best in self._successes(history)
                if best.complete and any(e.trial.number in numbers for e in best.evaluations)
            ]
        return self._judged(found, history, by_model=False)

    def _tamed(self, history: History) -> tuple[Tuner, Tame] | None:
        """This tuner and a history with values of ordinary magnitude; None where they are that."""
        found = magnitudes(history, self.objective)
        if found is None:
            return None
        stopping = self.stopping
        if stopping is not None:
            until = stopping.until
            stopping = replace(
                stopping,
                until=until if isinstance(until, str) else found.own.number(until),
                constraints=found.limits(stopping.constraints),
            )
        tuner = replace(self, stopping=stopping, constraints=found.limits(self.constraints))
        return tuner, Tame(found.history(history), history, found, self.constraints)

    def _judged(self, found: Sequence[Best], history: History, by_model: bool) -> list[Best]:
        """Configurations with how they stand to every constraint."""
        if not self._limits or not found:
            return list(found)
        return judged(self._metrics(history, by_model), found, self.space, self.objective)

    @cached_property
    def _limits(self) -> tuple[Constraint, ...]:
        return parsed(self.constraints)

    def _metrics(self, history: History, modelled: bool = True) -> tuple[KnownMetric, ...]:
        """What a history tells of the constraints' metrics; the last is kept for the next call."""
        limits, objective = self._limits, self.objective
        if not modelled:
            return learnt_metrics(self.space, history, (), limits, objective, modelled=False)
        asked = (history.imports, sorted(history.searched.ok, key=lambda e: e.trial.number))
        for known, metrics in tuple(self._last_metrics):
            if known == asked:
                return metrics
        found = learnt_metrics(self.space, history, self.beyond, limits, objective)
        self._last_metrics[:] = [(asked, found)]
        return found

    @cached_property
    def _last_metrics(self) -> list[tuple[Any, tuple[KnownMetric, ...]]]:
        return []

    def _constrained(self, history: History, rows: FloatArray) -> Constrained | None:
        """What the criterion is told of constraints; ``rows`` (n x d) are those evaluated."""
        if not self._limits:
            return None
        metrics = self._metrics(history)
        by = [m.model is not None for m in metrics]  # of the others nothing is known to go by
        found = self._judged(self._successes(history), history, by_model=True)
        fine = {
            best.key: all(f.fulfilled for f, m in zip(best.fulfilments, by, strict=True) if m)
            for best in found
        }
        return constrained(metrics, [fine.get(key, False) for key in self.space.row_keys(rows)])

    def _successes(self, history: History) -> list[Best]:
        """What succeeded or was imported, by configuration, in the order of trial numbers."""
        evaluations = sorted(history.ok, key=lambda e: e.trial.number)
        own = self._keys([e.trial.config for e in evaluations])
        found = {key: Best(key=key) for key in own}
        for key, e in zip(own, evaluations, strict=True):
            best = found[key]
            found[key] = replace(best, evaluations=(*best.evaluations, e))
        imported = self._keys([i.config for i in history.imports])
        for key, item in zip(imported, history.imports, strict=True):
            best = found.get(key, Best(key=key))
            found[key] = replace(best, imports=(*best.imports, item))
        if not self.folds.several:
            return list(found.values())
        table = table_of(self.folds, history)
        return [
            best
            if not best.evaluations or best.imports
            else replace(
                best, level=table.level(best.config), complete=table.is_complete(best.config)
            )
            for best in found.values()
        ]

    def _planned(self, history: History) -> list[tuple[Configuration, int, Origin]]:
        """The initial design with its replicates; imported evaluations replace its filling.

        A third of the filling are the best configurations of other objectives, where there are any.
        """
        must = 1 + len(self._given)
        size = max(must, self.design.size(self.space) - len(history.imports))
        if self._placed(history) >= size * self.design.replicates:
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
            configs = initial_design(self.space, design, (*self._given, *hints), rng)
            origin = dict.fromkeys(hinted, Origin.PRIOR)
            origin |= dict.fromkeys(self._keys(self._given), Origin.USER)
            keys = self._keys(configs)
            origins = [origin.get(key, Origin.DESIGN) for key in keys]
            origins[0] = Origin.DEFAULT
            self._designs[made] = list(zip(configs, keys, origins, strict=True))
        return self._designs[made]

    @cached_property
    def _leaning(self) -> Leaning | None:
        return Leaning.of(self.space, self.prior)

    @cached_property
    def _given(self) -> tuple[Configuration, ...]:
        """What the user wants to be tried first, and what is believed to be the best."""
        if not self.prior:
            return tuple(self.start)
        try:
            believed = likeliest(self.space, self.prior)
        except ValueError:  # not within the ranges any more
            return tuple(self.start)
        there = set(self._keys([self.space.default, *self.start]))
        return (*self.start, *([] if self._keys([believed])[0] in there else [believed]))

    @cached_property
    def _designs(
        self,
    ) -> dict[tuple[int, tuple[bytes, ...]], list[tuple[Configuration, bytes, Origin]]]:
        return {}

    def _infill(self, history: History, q: int) -> list[Trial]:
        """q trials chosen by the surrogate, given all that is known and pending: replicates of
        what may be the best towards the end of the budget, else by the infill criterion.

        Other objectives inform where to look, not what is replicated. Where the surrogate has
        failed, space-filling points are fallbacks; where it knows too little, more of the design.
        """
        rng = self._rng(_ASK, history)
        model = informed = None
        filling = Origin.DESIGN
        told = self._foreseen(history)
        known = len(self._successes(told)) if self.folds.several else len(succeeded(told))
        if known >= min(self.space.d + 1, self.design.size(self.space)):
            surrogate = self._surrogate  # a name of which there is none is refused
            model = informed = self._believed(surrogate, told)
            if history.priors and (sources := self._sources_of(history)):
                informed = self._believed(Transfer(surrogate, sources), told) or model
            if model is None and known > 1:
                filling = Origin.FALLBACK
        trials = self._replicates(history, model, self._due(history, model, q))
        trials += self._new(history.ask(trials), informed, q - len(trials), filling, rng)
        replicates = self.replication > 0 or self.confirm != 0
        if len(trials) < q and self.budget is not None and replicates:
            # No new configuration is left: what remains of the budget tells them apart.
            noisy = not self._is_exact(history)
            more = self._replicates(history.ask(trials), model, q - len(trials), to_the_end=noisy)
            trials += more
        return trials

    def _foreseen(self, history: History) -> History:
        """The history as the rule of early stopping expects what it has stopped to have ended."""
        if self.early_stopping is None:
            return history
        rule = early_stopping.find(self.early_stopping, trusted=self.trusted)
        return foreseen(history, rule, Ruler(self.objective, self.space, self.length))

    def _is_exact(self, history: History) -> bool:
        """Whether replicates, of several configurations, have each given the same value again."""
        again = [b.values for b in self._successes(history) if len(b.evaluations) > 1]
        return len(again) > 1 and all(min(values) == max(values) for values in again)

    def _believed(self, surrogate: Surrogate, history: History) -> Model | None:
        """The fitted surrogate, which has also heard of trainings that were stopped early.

        None where it fails.
        """
        model = self._fitted(surrogate, history, "space-filling points")
        if model is None:
            return None
        stopped = sorted(history.stopped, key=lambda e: e.trial.number)
        X = self.space.features(rows_of(self.space, (e.trial.config for e in stopped)))
        try:
            posterior = condition_above(model.posterior, X, float(model.y.min()))
        except Exception as error:  # of a posterior, which may be the user's
            warn_once(logger, "no surrogate: %s; space-filling points", _first_line(error))
            return None
        return replace(model, posterior=posterior)

    def _due(self, history: History, model: Model | None, q: int) -> int:
        """How many of the next q trials are among those at the end that replicates are worth."""
        if self.budget is None or model is None or not isinstance(model.posterior, Noisy):
            return 0
        left = self._search_left(history)
        share = self.replication * worth(model.posterior.nugget)
        return int(min(q, max(0, q - left + round(share * (left + history.asked)))))

    def _replicates(
        self, history: History, model: Model | None, slots: int, *, to_the_end: bool = False
    ) -> list[Trial]:
        """At most so many replicates of configurations that succeeded and never failed.

        As many as that, ``to_the_end``, also where they promise next to nothing.
        """
        if slots < 1 or model is None or not isinstance(model.posterior, Noisy):
            return []
        failed = set(self._keys([e.trial.config for e in history.failed]))
        own = [b for b in self._successes(history) if b.evaluations and b.key not in failed]
        own = [b for b in own if b.complete]
        own = self._judged(own, history, by_model=True)
        own = [best for best in own if best.feasible] or own
        if not own:
            return []
        keys, configs = [b.key for b in own], [b.config for b in own]
        pending = sorted(history.pending, key=lambda t: t.number)
        X, running = (rows_of(self.space, c) for c in (configs, [t.config for t in pending]))
        features = self.space.features
        chosen = choose(model.posterior, features(X), features(running), slots, to_the_end)
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
        self,
        history: History,
        model: Model | None,
        q: int,
        filling: Origin,
        rng: np.random.Generator,
    ) -> list[Trial]:
        """q trials of new configurations; fewer only when no more are left.

        Without a model they are space-filling points of the origin ``filling``, away from what
        failed. With one, those that the criterion should have chosen and did not are fallbacks.
        """
        trials = [e.trial for e in history.evaluations] + list(history.pending)
        configs = [t.config for t in sorted(trials, key=lambda t: t.number)]
        known = rows_of(self.space, [i.config for i in history.imports] + configs)
        none = np.empty((0, self.space.d))
        fresh, expected, origin = none, list[Expected | None](), Origin.INFILL
        # A name of which there is none is the user's error; it is refused.
        infill = criteria.find(self.infill, trusted=self.trusted)
        if model is not None and q > 0:
            pending = sorted(history.pending, key=lambda t: t.number)
            if self.folds.several:  # once each, where nothing is known yet
                begun = table_of(self.folds, history).candidates
                firsts = {key_of(t.config): t for t in reversed(pending)}
                pending = [t for key, t in reversed(firsts.items()) if not begun[key].known]
            timed = getattr(infill, "timed", False)
            request = Request(
                space=self.space,
                q=q,
                evaluated=model.X,
                pending=rows_of(self.space, (t.config for t in pending)),
                forbidden=frozenset(self.space.row_keys(known)),
                risk=risk_of(self.space, history),
                leaning=self._leaning and self._leaning.after(len(history.evaluations)),
                constrained=self._constrained(history, model.X),
                price=price(self.space, history, self.length) if timed else None,
            )
            fresh, expected, origin = self._propose(infill, model, request, rng)
        fresh = fresh[:q]
        taken = np.vstack([known, fresh])
        failures = failures_of(self.space, history) if len(fresh) < q else None
        chances = None if failures is None else failures.favour
        more = space_filling(self.space, q - len(fresh), taken, rng, chances)
        rows = np.vstack([fresh, more])
        if model is not None:
            filling = Origin.FALLBACK  # new configurations are left, and the criterion gave none
        origins = [origin] * len(fresh) + [filling] * len(more)
        told = [*expected[:q], *[None] * len(more)]
        return [
            Trial(history.asked + i, config, self._seed(0), origin=origin, expected=said)
            for i, (config, origin, said) in enumerate(
                zip(self.space.decode(rows), origins, told, strict=True)
            )
        ]

    def _propose(
        self, infill: Infill, model: Model, request: Request, rng: np.random.Generator
    ) -> tuple[FloatArray, list[Expected | None], Origin]:
        """New, distinct, snapped rows, what is expected there, and their origin, whatever fails.

        Weeks of training must not end for one criterion: ``log_ei`` serves in place of another one
        that fails. Where that fails itself there are no rows.
        """
        origin = Origin.INFILL
        for criterion in (infill,) if isinstance(infill, LogEI) else (infill, LogEI()):
            try:
                found = criterion.propose(model.posterior, request, rng)
                rows, kept = _distinct(self.space, criteria.rows_of(found), request.forbidden)
                return rows, _expected(model, rows, found, kept), origin
            except Exception as error:
                name, origin = type(criterion).__name__, Origin.FALLBACK
                warn_once(
                    logger, f"infill {name} failed: %s; another one serves", _first_line(error)
                )
        return np.empty((0, self.space.d)), [], origin

    def _sources_of(self, history: History) -> list[KrigingPosterior]:
        """The models of other objectives; none, said once, where one cannot be learnt from."""
        try:
            return [self._source(items) for items in history.priors]
        except (ValueError, np.linalg.LinAlgError) as error:
            warn_once(logger, "the priors could not be learnt from (%s): they are left out", error)
            return []

    def _source(self, items: Sequence[Import]) -> KrigingPosterior:
        """The model of a source; made once, as it is the same for every proposal."""
        key = tuple((i.source_run, i.source_trial, i.y) for i in items)
        if key not in self._sources:
            X = self.space.features(rows_of(self.space, (i.config for i in items)))
            y = bounded(np.array([i.y for i in items]))
            self._sources[key] = source_model(X, y, self.space.groups)
        return self._sources[key]

    @cached_property
    def _sources(self) -> dict[tuple[tuple[str, int, float], ...], KrigingPosterior]:
        return {}

    def _placed(self, history: History) -> int:
        """How many trials were asked by the tuner itself: what was tried by hand delays no design.

        Of a configuration with folds the first counts.
        """
        if not self.folds.several:
            return history.asked - len(history.by_hand)
        asked = [e.trial for e in history.evaluations] + list(history.pending)
        return sum(t.origin is not Origin.HAND for t in asked if t.replicate == 0)

    def _keys(self, configs: Sequence[Configuration]) -> list[bytes]:
        return self.space.row_keys(rows_of(self.space, configs))

    def _rng(self, purpose: int, history: History) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, history.asked])

    def _seed(self, replicate: int, purpose: int = _TRAINING) -> int:
        """Seed of the training: one per replicate, the same for every configuration."""
        sequence = np.random.SeedSequence([self.seed, purpose, replicate])
        return int(sequence.generate_state(1)[0])


def _first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _distinct(
    space: Space, rows: FloatArray, forbidden: frozenset[bytes]
) -> tuple[FloatArray, list[int]]:
    """The allowed rows whose configuration is new, each once, snapped; and their indices."""
    snapped = space.snap(rows)
    seen, allowed = set(forbidden), space.allowed(snapped)
    keep = []
    for i, key in enumerate(space.row_keys(snapped)):
        if allowed[i] and key not in seen:
            seen.add(key)
            keep.append(i)
    return snapped[keep], keep


def _expected(
    model: Model, rows: FloatArray, found: FloatArray | Proposal, kept: list[int]
) -> list[Expected | None]:
    """What is expected at rows (q x d), the ``kept`` ones of what was found.

    By the criterion's own models where it has any, else by the surrogate's; None for what is not a
    number, or where a surrogate does not tell its noise.
    """
    if isinstance(found, Proposal):
        mean, sd = found.mean[kept], found.sd[kept]
    else:
        mean, sd = model.predict(rows)
        noise = getattr(model.posterior, "nugget", math.nan) * getattr(
            model.posterior, "variance", math.nan
        )
        sd = np.sqrt(sd**2 + noise)
    return [
        Expected(float(m), float(s)) if math.isfinite(m) and math.isfinite(s) else None
        for m, s in zip(mean, sd, strict=True)
    ]
