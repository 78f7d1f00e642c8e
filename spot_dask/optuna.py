"""A sampler for Optuna that proposes by SPOT: ``optuna.create_study(sampler=SpotSampler())``.

It holds no state: a proposal is a function of the seed and of the trials in the study's storage, so
that several processes and threads share a study. What a trial is proposed is kept with it, as a
system attribute; trials that run count as pending with that. Trials take the places of the
initial design, and of a batch, by their numbers, in whatever order they ask. What another trial
runs or has run is not proposed again; what a trial was proposed that failed before it suggested
anything is.

Optuna's spaces are defined by running. The space here holds every parameter that any trial has
suggested, with the widest range it had. A parameter that some trials lack is conditional on the
factor or the integer by whose values that can be told; while none tells, it is believed to be there
always, with the centre of its range in trials that lack it. What no trial has suggested yet is
sampled at random; the first trial takes centres of ranges. Choices that are equal in Python, such
as 1 and True, are one: Optuna stores the second as the first.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

try:
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )
    from optuna.samplers import BaseSampler, RandomSampler
    from optuna.study import Study, StudyDirection
    from optuna.trial import FrozenTrial, TrialState
except ImportError as missing:
    raise ImportError(
        f"SpotSampler needs Optuna ({missing}): pip install 'spot-dask[optuna]'"
    ) from (missing)

from spot_dask import infill as criteria
from spot_dask.records import (
    Evaluation,
    Failure,
    History,
    Objective,
    Origin,
    Outcome,
    Status,
    Trial,
    Value,
)
from spot_dask.settings import Design, check
from spot_dask.space import Categorical, Integer, Parameter, Real, Space
from spot_dask.surrogates import completed
from spot_dask.tuner import Tuner
from spot_dask.tuner.design import space_filling

PROPOSED = "spot-dask:proposed"
SEED = "spot-dask:seed"
_FIXED = "fixed_params"  # Optuna's own, of enqueued trials
_SETTLED = (TrialState.COMPLETE, TrialState.PRUNED)
_MOST_AHEAD = 16
_MANY_VALUES = 64
_TRIES = 4

Distributions = dict[str, BaseDistribution]


class SpotSampler(BaseSampler):
    """Kriging and its batches as an Optuna sampler; see the module for what it does with a space.

    >>> import optuna
    >>> from spot_dask.optuna import SpotSampler
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> study = optuna.create_study(sampler=SpotSampler(seed=1))
    >>> study.optimize(lambda trial: (trial.suggest_float("x", -5, 5) - 2) ** 2, n_trials=15)
    >>> study.best_value < 0.1
    True

    ``initial`` is the number of configurations of the design that comes first (8, or half the
    number of parameters if that is more); ``surrogate`` and ``infill`` are those of
    ``spot_dask.Study``. With the same ``seed`` and trials it proposes the same; without one, the
    first process draws a seed and keeps it with the study.

    Trials that failed, or whose value is not finite, teach where trainings fail; pruned ones count
    as worse than what finished. A trial that a killed process left running stays pending until
    Optuna marks it as failed. Where no new configuration is left values are random. A study with
    several objectives is refused with a ValueError.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        initial: int | None = None,
        surrogate: Any = "kriging",
        infill: Any = "averaged_ei",
    ) -> None:
        if seed is not None and (type(seed) is not int or seed < 0):
            raise ValueError(f"seed is {seed!r:.40}; expected a whole number from 0, or None")
        for name, component, probe in (
            ("surrogate", surrogate, completed.check),
            ("infill", infill, criteria.check),
        ):
            check(name, component)
            probe(component)
        self._seed = seed
        self._design = Design(initial=initial)
        self._surrogate, self._infill = surrogate, infill
        self._lock = threading.RLock()
        self._last: Tuner | None = None

    def __repr__(self) -> str:
        given = {
            "seed": self._seed,
            "initial": self._design.initial,
            "surrogate": self._surrogate,
            "infill": self._infill,
        }
        return f"SpotSampler({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def __getstate__(self) -> dict[str, Any]:
        """The settings alone; what is fitted is fitted again."""
        return {n: v for n, v in vars(self).items() if n not in ("_lock", "_last")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state, _lock=threading.RLock(), _last=None)

    def reseed_rng(self) -> None:
        """Nothing: a proposal depends on the trials, and no two trials get the same."""

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Raise ValueError for a study of several objectives; its trial is marked as failed."""
        if len(study.directions) > 1:
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            raise ValueError(
                f"SpotSampler searches one objective, this study has {len(study.directions)}; "
                "use another sampler, such as NSGAIISampler"
            )

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Distributions:
        """The parameters, by name, that other trials have suggested and that can be searched."""
        return _union(t for t in study.get_trials(deepcopy=False) if t.number != trial.number)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Distributions
    ) -> dict[str, Any]:
        """What the trial is proposed, by name, of the parameters that are known; kept with it."""
        if not search_space:
            return {}
        with self._lock:
            for _ in range(_TRIES):
                others = _others(study, trial)
                translated = Translation.of(search_space, others)
                found = self._proposed(study, trial, others, translated)
                study._storage.set_trial_system_attr(trial._trial_id, PROPOSED, found)
                # Another process may have kept the same meanwhile: who is the last to keep sees it.
                kept = [t.system_attrs.get(PROPOSED) for t in _others(study, trial) if _runs(t)]
                if not found or _fixed(trial) or found not in kept:
                    break
        return found

    def _proposed(
        self,
        study: Study,
        trial: FrozenTrial,
        others: Sequence[FrozenTrial],
        translated: Translation,
    ) -> dict[str, Any]:
        """What a trial is proposed given the others; nothing where no new configuration is left."""
        space = translated.space
        sign = -1.0 if study.direction is StudyDirection.MAXIMIZE else 1.0
        history = translated.history(others, sign, before=trial.number)
        ahead = sum(  # that another thread or process is about to propose
            t.number < trial.number and not (t.params or _fixed(t) or PROPOSED in t.system_attrs)
            for t in others
            if _runs(t)
        )
        asked = self._tuner(study, space).ask(history, 1 + min(ahead, _MOST_AHEAD))
        known = [*(e.trial for e in history.evaluations), *history.pending]
        taken = space.rows([t.config for t in known])
        keys, rows = set(space.row_keys(taken)), space.rows([t.config for t in asked])
        new = [
            t.config for t, key in zip(asked, space.row_keys(rows), strict=True) if key not in keys
        ]
        if not new:
            rng = np.random.default_rng([self._seed_of(study), trial.number])
            new = [*space.decode(space_filling(space, 1, taken, rng))]
        found = translated.values(new[-1]) if new else {}
        return found | {n: v for n, v in _fixed(trial).items() if n in translated.names}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A value of a parameter that no trial has suggested before, or in another range."""
        if trial.number == 0 and (parameter := _parameter(param_distribution)) is not None:
            return _external(param_distribution, parameter.default)
        at = [self._seed_of(study), trial.number, zlib.crc32(param_name.encode())]
        seed = int(np.random.default_rng(at).integers(2**31))
        sampler = RandomSampler(seed=seed)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def _tuner(self, study: Study, space: Space) -> Tuner:
        """The tuner of a space, which remembers what it has encoded and fitted."""
        seed = self._seed_of(study)
        if self._last is None or self._last.space != space or self._last.seed != seed:
            self._last = Tuner(
                space,
                seed=seed,
                design=self._design,
                surrogate=self._surrogate,
                infill=self._infill,
                objective=Objective("value"),
            )
        return self._last

    def _seed_of(self, study: Study) -> int:
        """The seed, or that of whoever began the study."""
        if self._seed is not None:
            return self._seed
        kept = study._storage.get_study_system_attrs(study._study_id).get(SEED)
        if kept is None:
            kept = int(np.random.default_rng().integers(2**31))
            study._storage.set_study_system_attr(study._study_id, SEED, kept)
        return int(kept)


@dataclass(frozen=True)
class Translation:
    """Optuna's parameters, whatever their names and levels, as a space and back.

    Parameters are p0, p1, ... in the order of their names, conditional ones last; levels are the
    numbers of choices, of equal ones that of the first.
    """

    distributions: Distributions
    names: Mapping[str, str]
    space: Space

    @classmethod
    def of(cls, distributions: Distributions, trials: Sequence[FrozenTrial]) -> Translation:
        """The translation of these parameters, conditional as the trials tell."""
        settled = [t for t in trials if t.state in _SETTLED and t.params]
        conditions = {name: _condition(name, distributions, settled) for name in distributions}
        ordered = sorted(distributions, key=lambda name: (conditions[name] is not None, name))
        names = {name: f"p{i}" for i, name in enumerate(ordered)}  # parents come first
        made: dict[str, Parameter] = {}
        for name, short in names.items():
            parameter = _parameter(distributions[name])
            assert parameter is not None  # else it was not among what is searched
            if (condition := conditions[name]) is not None:
                parent, values = condition
                parameter = parameter.when(**{names[parent]: values})
            made[short] = parameter
        return cls(distributions, names, Space(made))

    def config(self, params: Mapping[str, Any]) -> dict[str, Value]:
        """A configuration; what is not given takes its default."""
        return self.space.validate(
            {
                short: _internal(self.distributions[name], params[name])
                for name, short in self.names.items()
                if name in params
            }
        )

    def values(self, config: Mapping[str, Value]) -> dict[str, Any]:
        """The values that Optuna knows of a configuration, by Optuna's names."""
        return {
            name: _external(self.distributions[name], config[short])
            for name, short in self.names.items()
            if short in config
        }

    def history(self, trials: Iterable[FrozenTrial], sign: float, before: int) -> History:
        """What the trials tell a trial of the number ``before``.

        Those of a higher number, which were faster, take no place of the design before it.

        Those of which no value is known tell nothing, nor do those with a value that is outside of
        its range, as an enqueued one can be.
        """
        evaluations: list[Evaluation] = []
        pending: list[Trial] = []
        for t in trials:
            params = {**t.system_attrs.get(PROPOSED, {}), **t.params}
            if not t.params and (t.state is not TrialState.RUNNING or not params):
                continue
            origin = Origin.HAND if _fixed(t) or t.number > before else Origin.INFILL
            try:
                config = self.config(params)
            except ValueError:
                continue
            trial = Trial(len(evaluations) + len(pending), config, 0, origin=origin)
            if t.state is TrialState.RUNNING:
                pending.append(trial)
            elif t.state.is_finished():
                evaluations.append(Evaluation(trial, _outcome(t, sign)))
        return History(tuple(evaluations), tuple(pending))


def _outcome(trial: FrozenTrial, sign: float) -> Outcome:
    """How a finished trial ended, minimised."""
    reported = [trial.intermediate_values[s] for s in sorted(trial.intermediate_values)]
    curves = {"value": tuple(sign * float(v) for v in reported)} if reported else {}
    if trial.state is TrialState.PRUNED:
        return Outcome(Status.STOPPED, curves=curves)
    if trial.state is TrialState.COMPLETE and trial.value is not None and np.isfinite(trial.value):
        y = sign * float(trial.value)
        return Outcome(Status.OK, y, {"value": y}, curves)
    return Outcome(Status.FAILED, curves=curves, error=Failure("Failed", "marked so by Optuna"))


def _others(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """The trials of a study but this one, as its storage has them now."""
    return [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]


def _runs(trial: FrozenTrial) -> bool:
    return trial.state is TrialState.RUNNING


def _fixed(trial: FrozenTrial) -> dict[str, Any]:
    """What was enqueued of a trial."""
    return dict(trial.system_attrs.get(_FIXED, {}))


def _union(trials: Iterable[FrozenTrial]) -> Distributions:
    """All that trials have suggested and that can be searched; ranges as wide as they were."""
    found: Distributions = {}
    for trial in trials:
        for name, new in trial.distributions.items():
            found[name] = _wider(found[name], new) if name in found else new
    searched = {n: d for n, d in found.items() if not d.single() and _parameter(d) is not None}
    return dict(sorted(searched.items()))


def _wider(old: BaseDistribution, new: BaseDistribution) -> BaseDistribution:
    """The distribution that holds both; the old one of two that are not comparable."""
    if old == new:
        return old
    for kind in (FloatDistribution, IntDistribution):
        if isinstance(old, kind) and isinstance(new, kind):
            if (old.log, old.step) != (new.log, new.step):
                return old
            low, high = min(old.low, new.low), max(old.high, new.high)
            return kind(low, high, log=old.log, step=old.step)  # type: ignore[arg-type]
    return old


def _parameter(distribution: BaseDistribution) -> Parameter | None:
    """A distribution as a parameter; None for one that has no such, such as of 1e200."""
    d = distribution
    try:
        if isinstance(d, FloatDistribution):
            return Real(d.low, d.high, step=d.step, scale="log" if d.log else "linear")
        if isinstance(d, IntDistribution):
            return Integer(d.low, d.high, step=d.step, scale="log" if d.log else "linear")
        if isinstance(d, CategoricalDistribution):
            return Categorical(sorted({int(d.to_internal_repr(choice)) for choice in d.choices}))
    except ValueError:
        pass
    return None


def _internal(distribution: BaseDistribution, value: Any) -> Value:
    if isinstance(distribution, CategoricalDistribution):
        return int(distribution.to_internal_repr(value))
    return int(value) if isinstance(distribution, IntDistribution) else float(value)


def _external(distribution: BaseDistribution, value: Value) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(value)]
    return value


def _condition(
    name: str, distributions: Distributions, settled: Sequence[FrozenTrial]
) -> tuple[str, list[int]] | None:
    """The parameter, and its values, by which a parameter is there; None where none tells.

    Of values that were not seen yet, an integer does as the nearest one, and a level has it.
    """
    if all(name in t.params for t in settled) or not any(name in t.params for t in settled):
        return None
    for parent, distribution in distributions.items():
        parameter = _parameter(distribution)
        if parameter is None or isinstance(parameter, Real) or parameter.size > _MANY_VALUES:
            continue
        if parent == name or not all(parent in t.params for t in settled):
            continue
        told: dict[int, set[bool]] = {}
        for t in settled:
            told.setdefault(int(_internal(distribution, t.params[parent])), set()).add(
                name in t.params
            )
        if any(len(answers) > 1 for answers in told.values()):
            continue
        values = [int(parameter.value(float(code))) for code in range(int(parameter.size))]
        if isinstance(distribution, IntDistribution):
            seen = np.array(sorted(told))
            nearest = [int(seen[np.argmin(np.abs(seen - v))]) for v in values]
            return parent, [v for v, at in zip(values, nearest, strict=True) if True in told[at]]
        return parent, [v for v in values if True in told.get(v, {True})]
    return None
