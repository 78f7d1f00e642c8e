"""The values every layer shares: trials, evaluations and the history of a study.

All values are frozen. The objective is minimised everywhere: a study that maximises flips the
sign once, in its task, so ``Evaluation.y`` is always "smaller is better".
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import chain
from typing import Any, overload

from spot_dask.cards import Card, Listed, settings_text

Value = bool | int | float | str
"""What a parameter can hold: exactly what JSON can hold."""

Configuration = Mapping[str, Value]
"""Named values of the *active* parameters; an inactive parameter has no entry."""


_LATER = {"later": True}  # a field that older records do not have


class Status(StrEnum):
    """How an attempt at a trial ended."""

    OK = "ok"  # the training returned a finite objective
    FAILED = "failed"  # the training raised, diverged or returned no finite objective
    CRASHED = "crashed"  # the training's process died (segmentation fault, kill)
    MEMORY = "memory"  # the training ran out of memory, of its device or of its machine
    TIMEOUT = "timeout"  # the training took longer than it may
    LOST = "lost"  # the worker went away; counted only when the retries are used up
    STOPPED = "stopped"  # stopped early: its curve, so far, promised too little


class Origin(StrEnum):
    """Where a trial's configuration came from."""

    DEFAULT = "default"  # the default of every parameter
    USER = "user"  # among the configurations that the study starts with
    PRIOR = "prior"  # among the best of a related objective
    DESIGN = "design"  # space-filling: the initial design, or more of it
    INFILL = "infill"  # by the criterion, on the surrogate
    REPLICATE = "replicate"  # again, because it may be the best
    FALLBACK = "fallback"  # by log_ei or space-filling, as the surrogate or criterion failed
    BASELINE = "baseline"  # by another way to search, which SPOT is compared with
    EXPLORE = "explore"  # space-filling, asked for to learn about the whole space
    CONFIRM = "confirm"  # a finalist or the default under a seed that the search has not seen
    HAND = "hand"  # asked for by somebody who watched: ``spot-dask try``


LATER = {"later": True}
"""Metadata of a field that older records do not have."""


@dataclass(frozen=True)
class Expected:
    """What the model said of an evaluation before it was made: mean and sd, minimised.

    The sd includes the noise. It is the honest judge of the model where it leads the search.
    """

    mean: float
    sd: float


MOST_FOLDS = 10_000
"""Trainings of a configuration: a table has a column for each."""


@dataclass(frozen=True)
class FoldPlan:
    """How often a configuration is trained: once on each of k folds, of ``repeats`` partitions.

    Replicate r of a configuration is fold r % k of partition r // k. ``stop``: a configuration
    that is hopeless after some folds is not trained on the others. ``draws``: partitions are drawn
    at random; else there is one, such as that of a time series.
    """

    k: int = 1
    repeats: int = 1
    stop: bool = True
    draws: bool = True

    def __post_init__(self) -> None:
        for name in ("k", "repeats"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"folds: {name} is {value!r:.40}; expected a whole number from 1")
        if self.count > MOST_FOLDS:
            raise ValueError(
                f"folds: {self.k} folds of {self.repeats} partitions are {self.count:.3g} trainings"
                f" of a configuration; expected at most {MOST_FOLDS:,}"
            )
        for name in ("stop", "draws"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"folds: {name} is {getattr(self, name)!r:.40}; expected a bool")

    @classmethod
    def of(cls, owner: object) -> FoldPlan:
        """The plan of a task or a split: its ``folds``, a number of folds or a plan.

        Raises ValueError for anything else.
        """
        given = getattr(owner, "folds", 1)
        if isinstance(given, cls):
            return given
        if isinstance(own := getattr(given, "folds", None), cls):  # a split's
            return own
        if type(given) is not int or given < 1:
            raise ValueError(f"folds is {given!r:.40}; expected a number of folds, or Folds(5)")
        return cls(given)

    @property
    def count(self) -> int:
        """The trainings of a configuration."""
        return self.k * self.repeats

    @property
    def several(self) -> bool:
        """Whether a configuration is trained on more than one fold."""
        return self.count > 1


ONE_FOLD = FoldPlan()
"""The plan of a study without folds."""


@dataclass(frozen=True)
class Trial(Listed):
    """A configuration to be run once, under one seed.

    ``number`` counts the trials of a study from 0 and is the trial's identity; trial 0 is the
    default configuration. ``replicate`` r has the same training seed for every configuration
    (common random numbers, so that paired tests are valid). A confirmation's ``replicate`` counts
    seeds of its own, which no other trial has. ``expected`` is there where a criterion chose.
    ``partition`` is the seed of the partition of the data of which the trial takes ``fold``; None
    is the trial's own seed.

    >>> from spot_dask import Trial
    >>> trial = Trial(7, {"lr": 0.01}, seed=1)
    >>> trial.config["lr"], trial.origin.value
    (0.01, 'infill')
    """

    _unlisted = frozenset(("confirms",))
    number: int
    config: Configuration
    seed: int
    replicate: int = 0
    origin: Origin = Origin.INFILL
    expected: Expected | None = field(default=None, compare=False, metadata=LATER)
    fold: int = field(default=0, metadata=LATER)
    partition: int | None = field(default=None, metadata=LATER)

    @property
    def confirms(self) -> bool:
        """Whether it is a confirmation, of which the search learns nothing."""
        return self.origin is Origin.CONFIRM

    def result(self, y: float) -> Evaluation:
        """This trial's evaluation with objective y (minimised), failed where y is not finite.

        >>> from spot_dask import Trial
        >>> Trial(0, {"lr": 0.01}, seed=1).result(float("nan")).failed
        True
        """
        if math.isfinite(y):
            return Evaluation(self, Outcome(Status.OK, float(y)))
        error = Failure("NotFinite", f"the objective is {y}")
        return Evaluation(self, Outcome(Status.FAILED, error=error))


@dataclass(frozen=True)
class Objective:
    """The metric that is minimised ("min"), or maximised ("max")."""

    name: str
    direction: str = "min"

    def minimised(self, metrics: Mapping[str, float]) -> float:
        """Its value among the metrics, smaller being better; NaN where it is not among them."""
        return self._signed(metrics.get(self.name, math.nan))

    def curve(self, curves: Mapping[str, Sequence[float]]) -> tuple[float, ...]:
        """Its values by epoch, smaller being better; none where it is not among the curves."""
        return tuple(map(self._signed, curves.get(self.name, ())))

    @property
    def sign(self) -> float:
        """-1 where it is maximised, else 1."""
        return -1.0 if self.direction == "max" else 1.0

    def _signed(self, value: float) -> float:
        return -value if self.direction == "max" else value


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed: exception type, one-line message, the tail of the traceback."""

    type: str
    message: str
    traceback: str = ""


LONGEST = 1e12
"""Seconds that a training lasts at most, 30,000 years; what is said to be longer is not known."""

ORDINARY = 60
"""Magnitudes from 10^-60 to 10^60 are ordinary: their fourth powers are numbers."""


def is_extreme(values: Iterable[float]) -> bool:
    """Whether some value is finite, not 0, and of no ordinary magnitude."""
    low, high = 10.0**-ORDINARY, 10.0**ORDINARY
    return any(v and not low <= abs(v) <= high and math.isfinite(v) for v in values)


@dataclass(frozen=True)
class Outcome:
    """What running a trial once produced, before it is attributed and stored.

    ``y`` is minimised and finite exactly when ``status`` is OK. ``curves`` holds per-epoch
    values by metric name; ``started`` and ``finished`` are seconds since the epoch (UTC), read on
    the machine that trained. A training that was stopped early has no y: its curves end with the
    epoch it was stopped in, and its metrics are the last it reported.
    """

    status: Status
    y: float = math.nan
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    started: float = math.nan
    finished: float = math.nan
    worker: str = ""
    device: str = ""
    error: Failure | None = None

    def __eq__(self, other: object) -> bool:
        """NaN, for what is not known, equals NaN: an outcome equals its copies."""
        if not isinstance(other, Outcome):
            return NotImplemented
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return all(mine == its or (mine != mine and its != its) for mine, its in pairs)

    @property
    def ok(self) -> bool:
        return self.status is Status.OK

    @property
    def stopped(self) -> bool:
        return self.status is Status.STOPPED

    @property
    def failed(self) -> bool:
        """Neither a result nor stopped early."""
        return not (self.ok or self.stopped)

    @property
    def epochs(self) -> int:
        """How many epochs it has reported; 0 where none."""
        return max(map(len, self.curves.values()), default=0)

    @property
    def seconds(self) -> float:
        """Duration of the training in seconds.

        NaN where it never started, or where a clock was so wrong that no training lasts so long.
        """
        seconds = self.finished - self.started
        return seconds if abs(seconds) <= LONGEST else math.nan


@dataclass(frozen=True)
class Evaluation(Listed):
    """The result of a trial: the outcome of its last attempt.

    ``spared`` is the epoch after which early stopping would have ended it, had chance not let it go
    on; 0 where it would not have. So what stopping costs can be told.

    >>> from spot_dask import Trial
    >>> evaluation = Trial(7, {"lr": 0.01}, seed=1).result(0.25)
    >>> evaluation.y, evaluation.ok, evaluation.config["lr"]
    (0.25, True, 0.01)
    """

    _unlisted = frozenset(("is_extreme", "sizes"))
    trial: Trial
    outcome: Outcome
    attempt: int = 0
    spared: int = field(default=0, metadata=_LATER)

    @property
    def config(self) -> Configuration:
        """The configuration of its trial."""
        return self.trial.config

    @property
    def ok(self) -> bool:
        """Whether it has an objective."""
        return self.outcome.ok

    @property
    def stopped(self) -> bool:
        """Whether it was stopped early."""
        return self.outcome.stopped

    @property
    def failed(self) -> bool:
        """Neither a result nor stopped early."""
        return self.outcome.failed

    @property
    def y(self) -> float:
        """The objective, minimised: of one that is maximised, the negative. NaN without one."""
        return self.outcome.y

    @cached_property
    def is_extreme(self) -> bool:
        """Whether some value is finite, not 0, and of no ordinary magnitude."""
        return is_extreme(self.sizes.values())

    @cached_property
    def sizes(self) -> Mapping[str, float]:
        """The largest finite magnitude of each metric, in its curve or at the end.

        That of the objective y has the name "".
        """
        o = self.outcome
        found = {"": abs(o.y)} if math.isfinite(o.y) else {}
        for name, value in o.metrics.items():
            if math.isfinite(value):
                found[name] = abs(value)
        for name, curve in o.curves.items():
            top = max((abs(v) for v in curve if math.isfinite(v)), default=0.0)
            found[name] = max(found.get(name, 0.0), top)
        return found


@dataclass(frozen=True)
class Import:
    """An evaluation taken over from another study's store (warm start), with its provenance.

    ``config`` is already a configuration of *this* study's space. ``metrics`` are those that this
    study constrains, as far as the source has them.
    """

    config: Configuration
    y: float
    source_run: str
    source_trial: int
    metrics: Mapping[str, float] = field(default_factory=dict, metadata=_LATER, hash=False)


@dataclass(frozen=True)
class History(Listed):
    """Everything known about a study: evaluations, pending trials and imported evaluations.

    It has the length of its ``evaluations`` and iterates over them, in the order they arrived.

    ``imports`` are evaluations of the same objective. ``priors`` are those of other ones (other
    data, another budget), one tuple per source: they inform proposals and count as nothing else.

    >>> from spot_dask import History, Trial
    >>> trials = [Trial(i, {"lr": lr}, seed=1) for i, lr in enumerate([0.1, 0.2, 0.4])]
    >>> history = History().ask(trials)
    >>> history = history.tell(trials[0].result(0.5)).tell(trials[1].result(0.25))
    >>> history, len(history)
    (History(2 ok, 1 pending), 2)
    >>> [evaluation.y for evaluation in history]
    [0.5, 0.25]
    >>> history[-1].y, len(history[:1])
    (0.25, 1)
    >>> history.incumbent.config["lr"]
    0.2
    """

    _unlisted = frozenset(
        ("asked", "by_hand", "confirming", "counting_on", "is_extreme", "searched", "take_over")
    )
    evaluations: tuple[Evaluation, ...] = ()
    pending: tuple[Trial, ...] = ()
    imports: tuple[Import, ...] = ()
    priors: tuple[tuple[Import, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.evaluations)

    def __iter__(self) -> Iterator[Evaluation]:
        return iter(self.evaluations)

    @overload
    def __getitem__(self, place: int) -> Evaluation: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Evaluation, ...]: ...
    def __getitem__(self, place: int | slice) -> Evaluation | tuple[Evaluation, ...]:
        """The evaluation at a place, in the order they arrived, from 0; -1 is the last."""
        return self.evaluations[place]

    def __bool__(self) -> bool:
        """True: a history without evaluations may have pending trials, or imports."""
        return True

    def __repr__(self) -> str:
        """How many there are of each kind."""
        return f"History({', '.join(self._counts)})"

    def _repr_html_(self) -> str:
        """The last evaluations, as a notebook shows them; values are minimised."""
        rows = [
            (e.trial.number, e.trial.origin.value, e.outcome.status.value,
             e.y if e.ok else None, settings_text(e.trial.config.items()))
            for e in reversed(self.evaluations)
        ]  # fmt: skip
        columns = ("trial", "origin", "status", "y (minimised)", "configuration")
        return Card("History", [", ".join(self._counts)], columns, rows)._repr_html_()

    @property
    def _counts(self) -> list[str]:
        counts = {
            "ok": len(self.ok),
            "failed": len(self.failed),
            "stopped early": len(self.stopped),
            "pending": len(self.pending),
            "imported": len(self.imports),
            "hints": sum(map(len, self.priors)),
        }
        return [f"{n} {kind}" for kind, n in counts.items() if n] or ["empty"]

    @property
    def asked(self) -> int:
        """Number of trials ever asked; the number of the next trial."""
        return len(self.evaluations) + len(self.pending)

    @cached_property
    def ok(self) -> tuple[Evaluation, ...]:
        """Those that have an objective."""
        return tuple([e for e in self.evaluations if e.outcome.status is Status.OK])

    @cached_property
    def failed(self) -> tuple[Evaluation, ...]:
        """Those that have none and were not stopped early."""
        return tuple(e for e in self.evaluations if e.failed)

    @cached_property
    def stopped(self) -> tuple[Evaluation, ...]:
        """Those that were stopped early."""
        return tuple(e for e in self.evaluations if e.stopped)

    @cached_property
    def searched(self) -> History:
        """The history without confirmations: what the search, and whoever recommends, may know.

        So that the values that confirm a choice never had a part in it.
        """
        if not self.confirming:
            return self
        return replace(
            self,
            evaluations=tuple(e for e in self.evaluations if not e.trial.confirms),
            pending=tuple(t for t in self.pending if not t.confirms),
        )

    @cached_property
    def is_extreme(self) -> bool:
        """Whether some value in it is of no ordinary magnitude."""
        return True in [e.is_extreme for e in self.evaluations] or any(
            is_extreme([item.y, *item.metrics.values()])
            for item in chain(self.imports, *self.priors)
        )

    @cached_property
    def confirmations(self) -> tuple[Evaluation, ...]:
        """The evaluations that confirm, by trial number."""
        found = [e for e in self.evaluations if e.trial.origin is Origin.CONFIRM]
        return tuple(sorted(found, key=lambda e: e.trial.number))

    @cached_property
    def confirming(self) -> tuple[Trial, ...]:
        """The trials that confirm, ended or pending."""
        ended = [e.trial for e in self.evaluations if e.trial.origin is Origin.CONFIRM]
        return (*ended, *(t for t in self.pending if t.origin is Origin.CONFIRM))

    @cached_property
    def by_hand(self) -> tuple[Trial, ...]:
        """The trials that somebody has asked for, ended or pending."""
        ended = [e.trial for e in self.evaluations if e.trial.origin is Origin.HAND]
        return (*ended, *(t for t in self.pending if t.origin is Origin.HAND))

    @cached_property
    def default(self) -> Trial | None:
        """The trial of the default configuration, which is the first; None before it is asked."""
        trials = chain((e.trial for e in self.evaluations), self.pending)
        return next((t for t in trials if t.number == 0), None)

    @property
    def incumbent(self) -> Evaluation | None:
        """The search's best evaluation by its observed value; the earliest of equals."""
        found = (e for e in self.ok if not e.trial.confirms)
        return min(found, key=lambda e: (e.y, e.trial.number), default=None)

    def ask(self, trials: Iterable[Trial]) -> History:
        """The history after these trials were asked.

        >>> from spot_dask import History, Trial
        >>> History().ask([Trial(0, {"lr": 0.1}, seed=1)])
        History(1 pending)
        """
        asked = tuple(trials)
        return replace(self, pending=self.pending + asked).counting_on(self, (), asked)

    def take_over(self, imported: Imported) -> History:
        """The history with what a source adds; an evaluation of a run counts once."""
        known = chain(self.imports, *self.priors)
        taken = {(i.source_run, i.source_trial) for i in known}
        unique: dict[tuple[str, int], Import] = {}
        for i in imported.items:
            unique.setdefault((i.source_run, i.source_trial), i)
        fresh = tuple(i for key, i in unique.items() if key not in taken)
        if imported.mode == "data":
            return replace(self, imports=self.imports + fresh)
        return replace(self, priors=(*self.priors, fresh)) if fresh else self

    def tell(self, evaluation: Evaluation) -> History:
        """The history after this evaluation arrived; KeyError if its trial is not pending.

        >>> from spot_dask import History, Trial
        >>> trial = Trial(0, {"lr": 0.1}, seed=1)
        >>> History().ask([trial]).tell(trial.result(0.5))
        History(1 ok)
        """
        number = evaluation.trial.number
        pending = tuple(t for t in self.pending if t.number != number)
        if len(pending) == len(self.pending):
            raise KeyError(f"trial {number} is not pending")
        after = replace(self, evaluations=(*self.evaluations, evaluation), pending=pending)
        return after.counting_on(self, (evaluation,), ())

    def counting_on(
        self, before: History, told: Sequence[Evaluation], asked: Sequence[Trial]
    ) -> History:
        """This history with what was found of the one before, lest a long one be gone through.

        Since then these evaluations were told and these trials asked.
        """
        known, found = vars(before), vars(self)
        for name in ("ok", "failed", "stopped"):
            if name in known:
                found[name] = (*known[name], *(e for e in told if getattr(e, name)))
        if known.get("is_extreme") is False:
            found["is_extreme"] = any(e.is_extreme for e in told)
        for name, origin in (("confirming", Origin.CONFIRM), ("by_hand", Origin.HAND)):
            if known.get(name) == () and not any(t.origin is origin for t in asked):
                found[name] = ()
        return self


# What a run writes down, in order; replaying the entries gives the history back.


@dataclass(frozen=True)
class Opened:
    """A coordinator took the store over for writing."""

    host: str
    pid: int
    settings: dict[str, Any] = field(default_factory=dict)  # what this session changed, e.g. budget


@dataclass(frozen=True)
class Wish:
    """A configuration that somebody wants to be tried, under the name that its store gave it."""

    name: str
    config: Configuration


@dataclass(frozen=True)
class Stage:
    """What trials are for where they are not the search's next.

    ``confirm``: under ``seeds`` fresh seeds, the ``top`` configurations and the default.
    ``explore``: to learn about the whole space.
    ``try``: these ``configs``, which somebody has asked for.
    """

    kind: str
    seeds: int = 0
    top: int = 1
    configs: Sequence[Configuration] = field(default=(), metadata={"later": True})

    def __post_init__(self) -> None:
        if self.kind not in ("confirm", "explore", "try") or self.seeds < 0 or self.top < 1:
            raise ValueError(
                f"no stage is {self.kind!r:.40} with {self.seeds} seeds, top {self.top}"
            )


@dataclass(frozen=True)
class Asked:
    """Trials were proposed; written before any of them is dispatched.

    They are the answer to ``ask(history, q, stage)`` on the first ``known`` evaluations of this
    run; all other trials asked before were pending then. None stands for all evaluations recorded
    before, for as many trials as there are, and for the search.
    """

    trials: Sequence[Trial]
    known: int | None = None
    q: int | None = None
    stage: Stage | None = field(default=None, metadata=LATER)


@dataclass(frozen=True)
class Told:
    """A trial has its evaluation: successful (record kind ``tell``), failed or stopped early.

    The kinds of the latter are ``fail`` and ``stop``.
    """

    evaluation: Evaluation


@dataclass(frozen=True)
class Retried:
    """An attempt ended in a way that is worth another one; the trial is dispatched again."""

    number: int
    attempt: int
    outcome: Outcome


@dataclass(frozen=True)
class Imported:
    """Evaluations taken over from a source; ``dropped`` says what was not, and why.

    ``mode`` is ``data`` (the study's own objective) or ``prior`` (another one); ``assumed`` says
    what the source does not record and was supplied.
    """

    source: str
    items: Sequence[Import]
    dropped: Sequence[str] = ()
    mode: str = field(default="data", metadata=LATER)
    assumed: Sequence[str] = field(default=(), metadata=LATER)


PAUSED = "paused"


@dataclass(frozen=True)
class Changed:
    """Settings were changed while a session went on; they hold for what is asked later.

    ``{PAUSED: True}`` is no setting but says that the run was paused, until it says False.
    """

    settings: dict[str, Any]


@dataclass(frozen=True)
class Closed:
    """The coordinator ended in good order; ``why`` says more, where the reason needs it."""

    reason: str
    why: str = field(default="", metadata=LATER)


Entry = Opened | Asked | Told | Retried | Imported | Changed | Closed


def without_text(source: Mapping[str, Any]) -> dict[str, Any]:
    """Where a study comes from, with a digest of its text instead of the text."""
    kept = {name: value for name, value in source.items() if name != "text"}
    if "text" in source:
        kept["sha256"] = hashlib.sha256(str(source["text"]).encode("utf-8", "replace")).hexdigest()
    return kept


def is_source(recorded: Mapping[str, Any], text: str) -> bool:
    """Whether a study's text is the one that a store has recorded, or has a digest of."""
    if "text" in recorded:
        return bool(recorded["text"] == text)
    return bool(recorded.get("sha256") == without_text({"text": text})["sha256"])


@dataclass(frozen=True)
class Header:
    """What a store says about its run; written once, at creation.

    ``space`` is ``Space.to_json()`` and ``settings`` the resolved configuration of the study;
    ``study`` tells how to load it again (file, name, overrides, source text); ``created`` is in
    seconds since the epoch (UTC).
    """

    run_id: str
    name: str
    created: float
    space: dict[str, Any]
    space_hash: str
    objective: str
    direction: str
    settings: dict[str, Any] = field(default_factory=dict)
    study: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def widened(header: Header, settings: Mapping[str, Any]) -> Header:
    """The header with the space that holds every configuration of the run.

    ``settings`` is what sessions changed: where ranges were widened, that is more than the space
    that the run began with.
    """
    hull = dict(settings.get("ranges") or {}).get("hull")
    return replace(header, space=hull) if isinstance(hull, dict) else header


@dataclass(frozen=True)
class Record:
    """An entry as it stands in the journal: position, epoch of its writer, time of writing.

    Entries that were committed at once have all three in common.
    """

    seq: int
    epoch: int
    time: float
    entry: Entry


STOP = "spot-dask stop"
"""The reason (``Closed.reason``) of a run that was asked to stop through its store."""
