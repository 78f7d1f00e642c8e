"""What the sections of a report share: the run, its model, and each other's facts.

Objectives are shown in the user's sign (a study that maximises shows what it maximised),
parameters in the user's units, times in seconds; NaN means unknown. Everything random is drawn
from a fixed seed, so the same store always gives the same report.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from spot_dask.cards import counted
from spot_dask.constraints import Constraint, parsed, value_of
from spot_dask.fold import Fold
from spot_dask.inference import LEAST, Evidence, Inference, evidence, infer
from spot_dask.inference.confirmed import Confirmation, confirmation
from spot_dask.inference.gate import MORE, FillingCheck, filling_check
from spot_dask.inference.near import NearOptimal, near_optimal
from spot_dask.inference.transform import unfit
from spot_dask.magnitude import Magnitudes
from spot_dask.records import (
    Configuration,
    Evaluation,
    FoldPlan,
    Header,
    Import,
    Objective,
    Value,
)
from spot_dask.space import Categorical, Integer, Parameter, Real, Space
from spot_dask.stats import BoolArray, FloatArray, Snap
from spot_dask.stats.diagnostics import LeaveOneOut
from spot_dask.tuner.folds import FoldTable, key_of, table_of
from spot_dask.tuner.limited import eligible
from spot_dask.tuner.model import Best, Model
from spot_dask.tuner.ranges import holds

SEED = 0
LEAST_Q2 = 0.1
SHOWN_POINTS = 300
NONE_PRESENT = "no evaluation that succeeded lies in the ranges that are searched now"

Found_co = TypeVar("Found_co", covariant=True)
Item = TypeVar("Item")
Kind = Literal["real", "integer", "categorical"]
Floats = tuple[float, ...]


@dataclass(frozen=True)
class Missing:
    """Facts that cannot be told; the reason completes "not shown because ..."."""

    reason: str


@dataclass(frozen=True)
class Recommendation:
    """The configuration to use, as the search alone tells, and what was observed of it.

    ``number`` is its first trial, -1 where it was only imported. ``observed`` is the mean over
    ``trainings`` trainings, of which ``imported`` are another run's; confirmations do not count.
    """

    number: int
    config: Configuration
    observed: float
    trainings: int
    imported: int

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return "an imported configuration" if self.number < 0 else f"trial {self.number}"


class HasFacts(Protocol[Found_co]):
    """The half of a section that other sections use."""

    def facts(self, context: ReportContext) -> Found_co:
        """What the section found."""
        ...


@dataclass(frozen=True)
class ReportContext:
    """One run as its report sees it; ``context[SomeSection]`` are the facts of another section.

    ``model`` and ``best`` are as the tuner gives them. ``not_loaded`` is the name of the
    surrogate where only the study may load it, which was not given. ``magnitudes`` are
    the units of values that are no ordinary ones.
    """

    header: Header
    fold: Fold
    model: Model | None
    best: Best | None
    not_loaded: str = ""
    magnitudes: Magnitudes | None = None
    _facts: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def __getitem__(self, section: type[HasFacts[Found_co]]) -> Found_co:
        """The facts of a section, computed once."""
        if section not in self._facts:
            self._facts[section] = section().facts(self)
        found: Found_co = self._facts[section]
        return found

    def give_up(self, section: type[HasFacts[Any]], reason: str) -> None:
        """Let the facts of a section that failed be missing, unless it is the drawing that did."""
        self._facts.setdefault(section, Missing(reason))

    def once(self, make: Callable[[ReportContext], Item]) -> Item:
        """What a function makes of this context, made once."""
        if make not in self._facts:
            self._facts[make] = make(self)
        made: Item = self._facts[make]
        return made

    @property
    def sign(self) -> float:
        """Turns a minimised value into the user's."""
        return -1.0 if self.header.direction == "max" else 1.0

    def signed(self, values: FloatArray) -> Floats:
        """Minimised values in the user's sign."""
        return floats(self.sign * values)

    @cached_property
    def space(self) -> Space:
        return Space.from_json(self.header.space)

    @property
    def objective(self) -> Objective:
        return Objective(self.header.objective, self.header.direction)

    @cached_property
    def constraints(self) -> tuple[Constraint, ...]:
        """The outcome constraints of the study."""
        return parsed(self.settings.get("constraints", {}))

    def fulfils(self, item: Evaluation | Import) -> bool:
        """Whether an evaluation fulfils all outcome constraints, by what it reported."""
        return all(c.holds(value_of(c.metric, item, self.objective)) for c in self.constraints)

    @cached_property
    def within(self) -> Space:
        """The ranges that are searched at present: ``space``, or a part of it if they changed."""
        ranges = self.settings.get("ranges")
        return Space.from_json(ranges["within"]) if ranges else self.space

    def competes(self, config: Configuration) -> bool:
        """Whether a configuration competes with the recommended one.

        Where that lies in the ranges that are searched at present, those do that lie there too.
        """
        return not self._confined or holds(self.within, config)

    @cached_property
    def _confined(self) -> bool:
        best = self.best
        return self.within != self.space and best is not None and holds(self.within, best.config)

    @cached_property
    def arrivals(self) -> tuple[tuple[Evaluation, float], ...]:
        """The evaluations in order, and the working time of the study (seconds) by then."""
        return tuple((a.evaluation, a.elapsed) for a in self.fold.arrivals if a.evaluation)

    @cached_property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """The evaluations by trial number."""
        return tuple(sorted((e for e, _ in self.arrivals), key=lambda e: e.trial.number))

    @cached_property
    def ranked(self) -> tuple[Evaluation, ...]:
        """The successful evaluations, the best observed one first.

        In a study with folds one for each configuration, its first, with its mean as the value: of
        those with all folds, then of the others.
        """
        if not self.folds.several:
            return tuple(sorted(self._found, key=lambda e: e.y))
        some = sorted(self.table.means(self._found, complete=False), key=lambda e: e.y)
        return tuple(sorted(some, key=lambda e: not self.table.is_complete(e.trial.config)))

    @property
    def _found(self) -> list[Evaluation]:
        return [e for e in self.evaluations if e.ok and not e.trial.confirms]

    @property
    def folds(self) -> FoldPlan:
        """The folds that each configuration is trained on."""
        return FoldPlan(**self.header.settings.get("folds", {}))

    @cached_property
    def table(self) -> FoldTable:
        """Configurations and folds, in a study with several."""
        return table_of(self.folds, self.fold.history)

    @cached_property
    def settled(self) -> Mapping[int, Evaluation]:
        """What the search's trials settled, by their numbers: the evaluation of each.

        In a study with folds that of a configuration, with its means, by the trial that was the
        last of its folds to arrive.
        """
        if not self.folds.several:
            return {e.trial.number: e for e in self._found}
        last = {
            key_of(e.trial.config): e.trial.number
            for e, _ in self.arrivals
            if e.ok and not e.trial.confirms and e.trial.replicate < self.folds.count
        }
        means = self.table.means(self._found)
        return {last[key_of(e.trial.config)]: e for e in means}

    @cached_property
    def recommended(self) -> Recommendation | Missing:
        """The recommended configuration, or why there is none."""
        best = self.best
        if best is None:
            return Missing("no evaluation has succeeded")
        return Recommendation(
            number=-1 if best.trial is None else best.trial,
            config=best.config,
            observed=self.sign * best.observed,
            trainings=len(best.values),
            imported=len(best.imports),
        )

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The settings that the run began with, as later sessions changed them."""
        return {**self.header.settings, **self.fold.settings}

    @cached_property
    def confirmed(self) -> Confirmation | None:
        """What fresh seeds say of the recommended configuration, in the user's sign."""
        if self.best is None:
            return None
        history, default = self.fold.history, self.space.default
        return confirmation(history, self.best.config, default, self.sign)

    @property
    def is_confirmed(self) -> bool:
        """Whether enough fresh seeds tell of the recommended configuration to state its value."""
        return self.confirmed is not None and self.confirmed.stated

    @cached_property
    def inference(self) -> Inference | None:
        """The model that statements are made from; None while too little is known."""
        forced = self.settings.get("transform", "auto")
        return None if self._unfit else infer(self._evidence, self.sign, forced, SEED)

    @cached_property
    def eligible(self) -> BoolArray | None:
        """Which evaluations (n) of the model of inference are of configurations that fulfil the
        constraints and lie in the present ranges; None without constraints or a model."""
        if not self.constraints or self.inference is None:
            return None
        seen, history = self.inference.evidence, self.fold.history
        fine = eligible(self.space, seen.X, history, self.constraints, self.objective)
        return fine & seen.present

    @cached_property
    def _evidence(self) -> Evidence:
        return evidence(self.space, self.fold.history, self.sign, self.within)

    @property
    def _unfit(self) -> str:
        """Why the transformation that the study forces is impossible; empty where it is not."""
        forced = self.settings.get("transform", "auto")
        return "" if forced == "auto" else unfit(forced, self._evidence.v)

    @cached_property
    def inferred(self) -> Inference | Missing:
        """The model of inference, or why there is none."""
        if self.inference is not None:
            return self.inference
        n = len(self.fold.history.searched.ok) + len(self.fold.history.imports)
        if n < LEAST:
            return Missing(
                f"{counted(n, 'evaluation')} succeeded; at least {LEAST} are needed for a model"
            )
        if self._unfit:
            return Missing(f"the study's transform is impossible: {self._unfit}")
        return Missing("the model of inference could not be fitted to these evaluations")

    @property
    def fitted(self) -> Model | Missing:
        """The model, or why there is none."""
        if self.model is not None:
            return self.model
        if self.not_loaded:
            return Missing(
                f"the surrogate {self.not_loaded} is not loaded: "
                "`spot-dask report STORE --study FILE` loads it"
            )
        if len(self.fold.history.ok) > 1:
            return Missing("the surrogate could not be fitted; the log says why")
        return Missing("fewer than two evaluations succeeded, so there is no model")

    @cached_property
    def left_out(self) -> LeaveOneOut | Missing:
        """The evaluations' z as the model of inference predicts each from the others."""
        found = self.inferred
        if isinstance(found, Missing):
            return found
        return LeaveOneOut(found.z, *found.leave_one_out())

    @cached_property
    def explained(self) -> Inference | Missing:
        """The model of inference if it may be interpreted where the search went, or why not."""
        model = self.inferred
        if not self.space.d:
            return Missing("no parameter is free")
        if isinstance(model, Missing):
            return model
        if not model.evidence.present.any():
            return Missing(NONE_PRESENT)
        n, d, loo = len(model.z), model.space.d, self.left_out
        assert not isinstance(loo, Missing)  # there is a model
        least = 2 * d + 2
        if n < least:
            return Missing(
                f"{n} successful evaluations are too few for {d} parameters "
                f"(at least {least} are needed)"
            )
        if math.isnan(loo.q2):
            return Missing("all values of the objective are equal, so there is nothing to explain")
        if loo.q2 < LEAST_Q2:
            return Missing(
                f"the model explains nothing: left-out evaluations are predicted with Q² = "
                f"{loo.q2:.2f} (at least {LEAST_Q2} is needed)"
            )
        return model

    @cached_property
    def near(self) -> NearOptimal | Missing:
        """Which evaluated configurations are near-optimal, as far as the model can tell."""
        model = self.explained
        if isinstance(model, Missing):
            return model
        mde, some = self.settings.get("mde"), self.eligible
        some = some if some is not None and some.any() else None
        return near_optimal(model, np.random.default_rng(SEED), mde, some)

    @cached_property
    def filling(self) -> FillingCheck | Missing:
        """How the evaluations that fill the space are predicted."""
        return self.inferred if isinstance(self.inferred, Missing) else filling_check(self.inferred)

    @cached_property
    def whole(self) -> Inference | Missing:
        """The model of inference if it may speak of the whole space, or why not and what helps."""
        model, check = self.explained, self.filling
        if isinstance(model, Missing):
            return model
        assert not isinstance(check, Missing)  # there is a model
        if not check.failure:
            return model
        more = max(MORE, check.needed - check.n)
        return Missing(
            f"{check.failure}. {more} more space-filling evaluations would help: "
            f"spot-dask explore STORE -n {more}"
        )

    def on_scale(self, objective: str) -> str:
        """The name of what the model describes: the objective, or its transformation."""
        name = self.inference.transform.name if self.inference is not None else "identity"
        return objective if name == "identity" else f"{name}({objective})"


def known(context: ReportContext) -> int | None:
    """How many evaluations the model of inference rests on; None without a model."""
    return None if context.inference is None else len(context.inference.z)


def floats(values: Sequence[float] | FloatArray) -> Floats:
    """Numbers as JSON can hold them."""
    return tuple(float(v) for v in values)


def thinned(items: Sequence[Item]) -> list[Item]:
    """At most as many as a chart can show, evenly chosen."""
    n = len(items)
    if n <= SHOWN_POINTS:
        return list(items)
    return [items[i] for i in np.linspace(0, n - 1, SHOWN_POINTS).astype(int)]


def centred_defaults(space: Space) -> str:
    """Which defaults are the centres of ranges because none was given; empty if all were."""
    names = space.centred
    if not names:
        return ""
    which = "any parameter" if len(names) == len(space.free) else ", ".join(names)
    return (
        f"No default was given for {which}: it is the centre of the range on its scale, and the "
        "first level of a factor."
    )


def kind_and_scale(parameter: Parameter) -> tuple[Kind, str]:
    """A parameter's type and scale in words."""
    if isinstance(parameter, Categorical):
        return "categorical", "ordered" if parameter.ordered else "unordered"
    scale = parameter.scale if isinstance(parameter, (Real, Integer)) else ""
    return "integer" if isinstance(parameter, Integer) else "real", scale


@dataclass(frozen=True)
class Axis:
    """How a parameter is drawn; ``levels`` only for factors."""

    name: str
    kind: Kind
    scale: str
    levels: tuple[Value, ...] = ()

    @classmethod
    def of(cls, space: Space, name: str) -> Axis:
        """The axis of the parameter of that name."""
        parameter = space.parameters[name]
        levels = tuple(parameter.levels) if isinstance(parameter, Categorical) else ()
        return cls(name, *kind_and_scale(parameter), levels)

    def values(
        self, space: Space, region: Snap, row: FloatArray, most: int
    ) -> tuple[tuple[Value, ...], FloatArray]:
        """At most so many distinct values of the parameter, and their raw positions (as many).

        Those where ``region`` maps raw rows. The parameter is active in the raw row (d), which
        holds the other parameters. Of a factor all levels are returned.
        """
        j = list(space.free).index(self.name)
        fine = most if self.kind == "real" else 512
        rows = np.tile(row, (fine, 1))
        rows[:, j] = region(np.tile(np.linspace(0.0, 1.0, fine)[:, None], space.d))[:, j]
        positions: dict[Value, float] = {}
        snapped = space.snap(rows)
        for config, position in zip(space.decode(snapped), snapped[:, j], strict=True):
            positions.setdefault(config[self.name], float(position))
        found = list(positions.items())
        if self.kind != "categorical" and len(found) > most:
            found = [found[i] for i in np.rint(np.linspace(0, len(found) - 1, most)).astype(int)]
        return tuple(v for v, _ in found), np.array([p for _, p in found])

    def place(self, values: Iterable[Value]) -> FloatArray:
        """Where values stand on the axis: numbers at themselves, levels at their index."""
        if self.kind != "categorical":
            return np.array([float(v) for v in values])
        index = {(type(level), level): i for i, level in enumerate(self.levels)}
        return np.array([float(index[type(v), v]) for v in values])
