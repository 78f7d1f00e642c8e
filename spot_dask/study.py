"""A study: search space, task and settings, and how they are run.

``Study.run`` wires the parts: it opens a store, takes over old evaluations, connects to (or
embeds) a cluster and drives the session to its end. Resuming is replaying the store and running on.
"""

from __future__ import annotations

import logging
import math
import platform
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from spot_dask import baselines, constraints, early_stopping, infill, plugins, surrogates
from spot_dask.cards import Card, brief, counted
from spot_dask.coordinator import Policy
from spot_dask.coordinator.state import Coordinator
from spot_dask.errors import (
    RunTakenOver,
    StoreError,
    StoreFull,
    StoreGone,
    StudyError,
    did_you_mean,
    shown,
)
from spot_dask.executors import Executor
from spot_dask.executors.artifacts import ArtifactFolder, artifacts_of, check_owner, settled
from spot_dask.executors.checkpoints import Folder
from spot_dask.executors.connection import Connection
from spot_dask.executors.open import executor_of, place_of, saying_how_to_go_on
from spot_dask.fold import Fold
from spot_dask.infill import leaning
from spot_dask.live import check_mode, fruitless, live, warn
from spot_dask.progress import Goal, OnPage, Watcher
from spot_dask.records import (
    Entry,
    FoldPlan,
    Header,
    History,
    Objective,
    Stage,
    without_text,
)
from spot_dask.run import Run, tuner_of
from spot_dask.session import Ending, Session
from spot_dask.settings import Budget, Settings, one_line, shared
from spot_dask.settings import check as check_setting
from spot_dask.space import Parameter, Space
from spot_dask.space.config import TAKEN
from spot_dask.store.backend import address
from spot_dask.store.inbox import Inbox
from spot_dask.store.journal import Journal
from spot_dask.store.rescue import device_of, rescued
from spot_dask.store.tables import TableKeeper
from spot_dask.surrogates import completed
from spot_dask.tasks import Task
from spot_dask.tasks.function import as_task
from spot_dask.tasks.meant import meant
from spot_dask.texts import printable
from spot_dask.trackers import Listener, Tracked, opened
from spot_dask.trackers import check as check_tracker
from spot_dask.trackers.feed import Feed
from spot_dask.tuner import Tuner
from spot_dask.tuner.confirmation import seeds_of
from spot_dask.tuner.model import Best
from spot_dask.tuner.stopping import FIRST, NEVER
from spot_dask.warmstart import WarmStart, summary, take_over
from spot_dask.worker.heartbeat import SILENCE_SECONDS
from spot_dask.worker.limits import Conditions, Limits

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from distributed import Client

    class _GivenTask:
        """What a type checker makes of ``Study.task``: a function may be given, a task is kept."""

        def __get__(self, study: object, kind: object = None) -> Task: ...

        def __set__(self, study: object, given: Task | Callable[..., Any]) -> None: ...


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Course:
    """Where a session trains, who hears of it and how it ends; arguments of ``Study.resume``."""

    client: Client | Connection | str | None
    local: int | None
    takeover: bool
    watcher: Watcher | None
    ending: Ending | None
    listeners: Sequence[tuple[str, Listener]] = ()
    progress: str = "auto"

    @property
    def warns(self) -> bool:
        """Whether what needs attention is warned of: nobody else would be told."""
        return self.watcher is None and self.progress != "none"


@dataclass(repr=False)
class Study(Settings):
    """What is tuned and how; ``spot-dask help settings`` has the table of all settings.

    ``task`` may be a function, which becomes a FunctionTask. ``start`` holds configurations to be
    evaluated right after the defaults, which are always trial 0. ``prior`` is what you believe of
    good values: ``{"lr": (0.01, 0.5), "opt": {"adam": 3}}`` is a learning rate of 0.01 and a factor
    of three (half a decade) either way, and adam three times as likely as any other level.
    ``budget.wall`` and ``timeout`` are seconds. ``surrogate``, ``infill`` and ``early_stopping``
    are names or objects. Raises ValueError, with the setting's name, what was seen and what was
    expected.

    >>> from spot_dask import Budget, Real, Space, Study
    >>> def loss(cfg):
    ...     return (cfg.lr - 0.1) ** 2
    >>> study = Study(Space(lr=Real(1e-4, 1.0, scale="log")), loss, name="parabola",
    ...               budget=Budget(evaluations=8))
    >>> study
    Study(parabola: 1 parameter, minimises loss)
    >>> run = study.run(local=0, progress="none")
    >>> run.history
    History(8 ok)
    """

    _unlisted = Settings._unlisted | {"goal", "limits", "source", "training", "under"}
    space: Space
    if TYPE_CHECKING:
        task: _GivenTask = _GivenTask()
    else:
        task: Task
    source: dict[str, Any] = field(default_factory=dict, repr=False, kw_only=True)
    _last: Run | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.task = as_task(self.task)
        super().__post_init__()
        if self.sync and self.batch is None:
            raise ValueError("sync is on without a batch size; expected batch (--batch q) as well")
        Conditions(self.limits, self.isolation)  # checks that they go together
        if not isinstance(self.space, Space):
            raise ValueError(f"space is {shown(self.space)}; expected a Space(NAME=Real(...), ...)")
        for name in self.space.names:
            if taken := TAKEN.intersection(name.split(".")):
                raise ValueError(
                    f"parameter {name!r}: cfg.{min(taken)} is a method of every configuration; "
                    f"rename it, such as {name}_"
                )
        if hasattr(self.task, "check_names"):  # of a task that names parameters in texts
            self.task.check_names(self.space.names)
        if isinstance(self.start, Mapping):
            raise ValueError(f"start is {shown(self.start)}; expected a list of configurations")
        self.start = tuple(self.space.validate(config) for config in self.start)
        self.prior = leaning.checked(self.space, self.prior)
        self.constraints = constraints.checked(self.constraints)
        self.folds = FoldPlan.of(self.task)
        if self.folds.several and self.design.replicates > 1:
            raise ValueError(
                f"design.replicates is {self.design.replicates} in a study with "
                f"{self.folds.count} folds, which are replicates; expected 1, and repeats of the "
                "folds if need be"
            )
        if self.early_stopping == "none":  # as on the command line
            self.early_stopping = None
        if self.length is None and isinstance(named := getattr(self.task, "epochs", None), str):
            self.length = named
        if self.length is not None and self.length not in self.space.names:
            raise ValueError(
                f"length is {self.length!r}; expected a parameter of the space"
                f"{did_you_mean(self.length, self.space.names)}"
            )
        self._check_components()
        self.trackers = tuple(self.trackers)
        for tracker in self.trackers:
            check_tracker(tracker)

    def _check_components(self) -> None:
        """Raise ValueError unless each can be made from its name and can serve."""
        for name, (find, check) in _COMPONENTS.items():
            component = getattr(self, name)
            if component is None:
                continue
            known = plugins.name_of(component)
            if not isinstance(component, str) and not plugins.same(find(known), component):
                raise ValueError(f"{component!r} is not what its name {known!r} stands for")
            check(component)
        if self.prior and not getattr(infill.find(self.infill), "leans", True):
            raise ValueError(
                f"prior: infill {plugins.name_of(self.infill)!r} takes no beliefs; choose another "
                "one, such as log_ei, or leave them out"
            )

    @classmethod
    def of(
        cls,
        model: Any,
        data: Any,
        *,
        classes: int | None = None,
        space: Mapping[str, Parameter] | None = None,
        task: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Self:
        """The study of a core model on data, SPOT's seven steps with what is usual in each.

        ``model`` is a name, such as "mlp", "cnn" or "torchvision:resnet18", or a core model.
        ``data`` is what ``TorchTask``'s ``data()`` returns, which then travels with every training,
        or a function that returns it. Sizes, loss and metrics follow from the data; ``classes`` is
        the number of classes where the training data do not have all. Tuned are the model's
        hyperparameters, epochs, batch size and SPOT's optimizers with theirs; ``space`` replaces
        some or adds others. ``task`` holds arguments of ``TorchTask``, such as ``{"epochs": 5}``,
        which is then not tuned; ``settings`` are the study's. Raises ValueError for data that no
        core model can be trained on.

        >>> from sklearn.datasets import load_digits
        >>> from spot_dask import Study
        >>> study = Study.of("mlp", load_digits(return_X_y=True), name="digits")
        >>> study.space["batch_size"]
        Integer(8, 256, default=32, scale='power2')
        """
        from spot_dask.tasks.core import core_study

        parameters, trained = core_study(model, data, classes=classes, space=space, **(task or {}))
        return cls(parameters, trained, **settings)

    @property
    def training(self) -> Task:
        """The task as workers call it: with what named levels stand for."""
        return meant(self.task, self.space.meanings)

    def __repr__(self) -> str:
        """What is tuned, in one line."""
        what = f"{counted(len(self.space.names), 'parameter')}, {self.objective.direction}imises"
        return printable(f"Study({self.name}: {what} {self.objective.name})")

    def _repr_html_(self) -> str:
        """The settings that differ from their defaults, and the space, as a notebook shows them."""
        changed = [
            f"{declared.name}: {brief(str(getattr(owner, declared.attribute)))}"
            for owner in (self, self.budget, self.design)
            for declared in owner.declared()
            if getattr(owner, declared.attribute) != declared.default
        ]
        changed += [f"constraint: {c}" for c in constraints.parsed(self.constraints)]
        return Card(repr(self), changed)._repr_html_() + self.space._repr_html_()

    def run(
        self,
        budget: Budget | None = None,
        *,
        client: Client | Connection | str | None = None,
        local: int | None = None,
        store: str | Path | None = None,
        warm_start: Iterable[str | Path | WarmStart] = (),
        watcher: Watcher | None = None,
        ending: Ending | None = None,
        trackers: Sequence[str | Listener] | None = None,
        progress: str = "auto",
    ) -> Run:
        """Run the study into a new store and return the finished run.

        ``client`` is a Dask client or the address of a scheduler; without it, a cluster of
        ``local`` slots is embedded in this process (0: no cluster, one training after the other
        right here, for debugging). ``store`` is a path, or s3://bucket/run.zarr and
        the like; it defaults to ``runs/<name>-<time>.zarr``. ``warm_start`` are sources of earlier
        evaluations: stores, CSV or JSON lines files, studies of Optuna; a path stands for
        ``WarmStart(path)``, evaluations of the same objective. ``ending`` says what a signal does
        with the trainings that run. ``trackers`` are others than the study's: names,
        or objects that are a ``Listener``. Without a ``watcher``, ``progress`` shows a line in a
        notebook and on a terminal ("auto"), everywhere ("line") or nowhere ("none"); what needs
        attention is a ``RunWarning``, unless it is "none". A run in which no training succeeds is
        such a warning and no error, so that it can be looked at. Raises StoreError if the store
        exists, ClusterError if the scheduler does not answer.

        >>> from spot_dask import Budget, Real, Space, Study
        >>> def loss(cfg, trial):
        ...     for epoch in range(1, 4):
        ...         trial.report(epoch, loss=cfg.lr / epoch)
        ...     return cfg.lr / 3
        >>> study = Study(Space(lr=Real(0.0, 1.0)), loss)
        >>> run = study.run(Budget(evaluations=4), local=0, store="four.zarr", progress="none")
        >>> len(run.history), run.history.evaluations[0].outcome.epochs
        (4, 3)
        """
        study = self if budget is None else replace(self, budget=budget)
        path = address(store) if store is not None else default_store(self.name)
        header = study._header()
        imported = take_over(warm_start, header)
        conditions = study._conditions(path, header.run_id)
        if conditions.artifacts is not None and not (isinstance(path, Path) and path.exists()):
            check_owner(conditions.artifacts)
        course = study._course(client, local, False, watcher, ending, trackers, progress)
        with (
            closing(study._executor(header.run_id, path, conditions, course)) as executor,
            closing(
                Journal.create(path, header, durability=study.durability, fold=Fold())
            ) as journal,
            closing(TableKeeper(journal)) as published,
        ):
            for entry in imported:
                journal.append(entry)
            notes = [f"store {path}"]
            study._drive(published, executor, conditions, course, path, notes)
        self._last = Run.of(path, journal, study)
        return self._last

    def resume(
        self,
        store: str | Path | Run,
        budget: Budget | None = None,
        *,
        client: Client | Connection | str | None = None,
        local: int | None = None,
        takeover: bool = False,
        watcher: Watcher | None = None,
        ending: Ending | None = None,
        trackers: Sequence[str | Listener] | None = None,
        progress: str = "auto",
    ) -> Run:
        """Go on with a run, opened or at a path: evaluations are kept, pending trials run again.

        The seed, design and all other settings are those the run began with; ``budget`` raises
        (or lowers) its budget. Raises StoreError if the store holds a run of another space.

        >>> from spot_dask import Budget, Real, Space, Study
        >>> study = Study(Space(lr=Real(0.0, 1.0)), lambda cfg: cfg.lr)
        >>> run = study.run(Budget(evaluations=4), local=0, store="grows.zarr", progress="none")
        >>> run = study.resume("grows.zarr", Budget(evaluations=6), local=0, progress="none")
        >>> len(run.history)
        6
        """
        if budget is not None:
            Budget.expect("budget", budget)
        run = store if isinstance(store, Run) else Run.open(store)
        self._check_same(run)
        study = self.under(run.settings, budget)
        limit, done = study.budget.evaluations, len(run.history.searched.evaluations)
        if limit is not None and limit < done:
            raise StoreError(
                f"{run.path} has {done} evaluations already, more than the {limit} asked for; "
                "--evaluations counts all of a run"
            )
        settings = {} if budget in (None, Budget()) else {"budget": study.budget.settings}
        course = study._course(client, local, takeover, watcher, ending, trackers, progress)
        return study._go_on(run, settings, course)

    def confirm_more(
        self,
        store: str | Path | Run,
        seeds: int = 10,
        top: int = 1,
        *,
        client: Client | Connection | str | None = None,
        local: int | None = None,
        takeover: bool = False,
        watcher: Watcher | None = None,
        ending: Ending | None = None,
        trackers: Sequence[str | Listener] | None = None,
        progress: str = "auto",
    ) -> Run:
        """Train the ``top`` best configurations of a run and the default under fresh seeds.

        Until each has ``seeds`` of them, those of earlier confirmations included. The search's
        evaluations alone decide which configurations these are. Raises what ``resume`` does.

        >>> from spot_dask import Budget, Real, Space, Study
        >>> study = Study(Space(lr=Real(0.0, 1.0)), lambda cfg: cfg.lr)
        >>> run = study.run(Budget(evaluations=4), local=0, store="short.zarr", progress="none")
        >>> run.confirmed is None
        True
        >>> run = study.confirm_more(run, seeds=3, local=0, progress="none")
        >>> run.confirmed.value.n, len(run.history.confirmations)
        (3, 6)
        """
        if seeds < 1 or top < 1:
            raise ValueError(f"seeds is {seeds} and top is {top}; expected at least 1")
        stage = Stage("confirm", seeds, top)
        course = self._course(client, local, takeover, watcher, ending, trackers, progress)
        return self._only(store, stage, None, course)

    def explore(
        self,
        store: str | Path | Run,
        count: int = 16,
        *,
        client: Client | Connection | str | None = None,
        local: int | None = None,
        takeover: bool = False,
        watcher: Watcher | None = None,
        ending: Ending | None = None,
        trackers: Sequence[str | Listener] | None = None,
        progress: str = "auto",
    ) -> Run:
        """Add ``count`` space-filling evaluations to a run, from which the whole space is judged.

        Raises what ``resume`` does.

        >>> from spot_dask import Budget, Real, Space, Study
        >>> study = Study(Space(lr=Real(0.0, 1.0)), lambda cfg: cfg.lr)
        >>> run = study.run(Budget(evaluations=4), local=0, store="wide.zarr", progress="none")
        >>> run = study.explore(run, 3, local=0, progress="none")
        >>> [evaluation.trial.origin.value for evaluation in run.history][4:]
        ['explore', 'explore', 'explore']
        """
        if count < 1:
            raise ValueError(f"count is {count}; expected at least 1")
        course = self._course(client, local, takeover, watcher, ending, trackers, progress)
        return self._only(store, Stage("explore"), count, course)

    def _course(
        self,
        client: Client | Connection | str | None,
        local: int | None,
        takeover: bool,
        watcher: Watcher | None,
        ending: Ending | None,
        trackers: Sequence[str | Listener] | None,
        progress: str,
    ) -> Course:
        """The course of a session; raises StudyError where a tracker lacks its packages."""
        if trackers is not None:
            check_setting("trackers", trackers)
        listeners = opened(self.trackers if trackers is None else trackers)
        check_mode(progress)
        return Course(client, local, takeover, watcher, ending, listeners, progress)

    def _only(
        self,
        store: str | Path | Run,
        stage: Stage,
        count: int | None,
        course: Course,
    ) -> Run:
        """A session of one stage, which asks ``count`` trials, or all there are of it."""
        run = store if isinstance(store, Run) else Run.open(store)
        self._check_same(run)
        study, asked = self.under(run.settings), run.history.asked
        if count is None:
            most = stage.seeds * (stage.top + 1)  # while the finalists are not known yet
            searches = bool(run.history.searched.pending)
            count = most if searches else len(study.tuner.ask(run.history, sys.maxsize, stage))
        budget = Budget(evaluations=max(1, asked + count))
        study = replace(study, budget=budget)
        return study._go_on(run, {}, course, stage)

    def _go_on(
        self,
        run: Run,
        settings: dict[str, Any],
        course: Course,
        only: Stage | None = None,
    ) -> Run:
        """A further session of a run under this study, which records what ``settings`` changed."""
        path, run_id = run.path, run.header.run_id
        conditions = self._conditions(path, run_id)
        with (
            closing(self._executor(run_id, path, conditions, course)) as executor,
            closing(
                Journal.resume(
                    path,
                    settings=settings,
                    takeover=course.takeover,
                    durability=self.durability,
                    before=run.journal,
                )
            ) as journal,
        ):
            late = len(journal.take_in())
            taken = f"inbox: {late} trainings had ended without a coordinator; taken in"
            notes = [taken] if late else []
            with closing(TableKeeper(journal)) as published:
                self._drive(published, executor, conditions, course, path, notes, only)
        self._last = Run.of(path, journal, self)
        return self._last

    @property
    def best(self) -> Best | None:
        """The recommendation of the study's last run; None if no evaluation succeeded."""
        return self._run().best

    def report(self, path: str | Path | None = None) -> Path:
        """Write the report of the study's last run; returns the path of the HTML file."""
        return self._run().report(path)

    def to_dataframe(self) -> pd.DataFrame:
        """The evaluations of the study's last run, one per row; see ``Run.to_dataframe``."""
        return self._run().to_dataframe()

    def curves(self) -> pd.DataFrame:
        """The learning curves of the study's last run; see ``Run.curves``."""
        return self._run().curves()

    def to_xarray(self) -> xr.Dataset:
        """Evaluations and curves of the study's last run; see ``Run.to_xarray``."""
        return self._run().to_xarray()

    @property
    def limits(self) -> Limits:
        """What one training may use."""
        return Limits(self.gpus, self.timeout, self.memory)

    @property
    def tuner(self) -> Tuner:
        """The study's tuner, for asking and telling without a cluster.

        >>> from spot_dask import History, Real, Space, Study
        >>> study = Study(Space(lr=Real(0.0, 1.0)), lambda cfg: cfg.lr)
        >>> study.tuner.ask(History(), 1)[0].config
        {'lr': 0.5}
        """
        return tuner_of(self.space, self, self.objective)

    @property
    def objective(self) -> Objective:
        """The metric that is minimised or maximised."""
        return Objective(self.task.objective, self.task.direction)

    @property
    def goal(self) -> Goal:
        """What a run of the study is after, for those who show how it stands."""
        together = self.batch if self.sync else None
        task, budget = self.task, self.budget
        return Goal(
            task.objective,
            task.direction,
            budget.limit,
            budget.wall,
            together,
            budget.epochs,
            self.folds,
        )

    def under(self, settings: Mapping[str, Any], budget: Budget | None = None) -> Study:
        """The study under the settings of a store, with what ``budget`` sets of theirs changed.

        A component that the store names is the study's own where that has this name, or is an
        object of this class; else it is made if it is ours or a regressor of scikit-learn. Raises
        StudyError for settings that are not valid, and for any other component: none is run because
        a store names it.
        """
        try:
            values = self.restored(settings)
            for name in _COMPONENTS:
                values[name] = _component(name, getattr(self, name), values[name])
            changes = {k: v for k, v in asdict(budget or Budget()).items() if v is not None}
            return replace(self, **values | {"budget": replace(values["budget"], **changes)})
        except ValueError as error:
            raise StudyError(f"the run's settings: {one_line(error)}") from error

    def _conditions(self, store: Path | str, run_id: str) -> Conditions:
        """What trainings of a run may use."""
        place = place_of(self.checkpoints, store, run_id, self.source.get("text", ""))
        artifacts = None
        if self.keep is not None:
            artifacts = artifacts_of(self.artifacts, store, run_id)
        return Conditions(self.limits, self.isolation, place, artifacts)

    def _executor(
        self,
        run_id: str,
        store: Path | str,
        conditions: Conditions,
        course: Course,
    ) -> Executor:
        """What runs the trainings of a run; outcomes that nobody hears go to the store's inbox."""
        inbox = Inbox(store if isinstance(store, str) else str(store.absolute()), run_id)
        task, leave = self.training, inbox.leave
        return executor_of(task, run_id, conditions, leave, course.client, course.local)

    def _run(self) -> Run:
        if self._last is None:
            raise ValueError("this study has not been run yet; call run() or open a store with Run")
        return self._last

    def _check_same(self, run: Run) -> None:
        """Raise StoreError unless the run is one of this study."""
        advice = "use the study it was begun with, or a new store with --warm-start"
        differences = self.space.difference(Space.from_json(run.header.space))
        if differences:
            what = "; ".join(differences)
            raise StoreError(f"{run.path} holds a run of another search space ({what}); {advice}")
        theirs = f"{run.header.direction}imises {run.header.objective}"
        ours = f"{self.task.direction}imises {self.task.objective}"
        if theirs != ours:
            raise StoreError(f"{run.path} holds a run that {theirs}, this study {ours}; {advice}")
        if run.folds != self.folds:
            raise StoreError(
                f"{run.path} holds a run with {run.folds}, this study {self.folds}; {advice}"
            )

    def _drive(
        self,
        store: TableKeeper,
        executor: Executor,
        conditions: Conditions,
        course: Course,
        where: Path | str,
        notes: Iterable[str],
        only: Stage | None = None,
    ) -> None:
        rule, wall, past = self.early_stopping, self.budget.wall, store.fold
        tuner = self.tuner
        policy = Policy(
            **shared(Policy, self)
            | {
                "evaluations": self.budget.limit,
                "epochs": self.budget.epochs,
                "each": self._each,
                "seconds": None if wall is None else max(0.0, wall - past.elapsed),
                "ahead": executor.concurrent,
                "silence": SILENCE_SECONDS if executor.concurrent else math.inf,
                "objective": self.objective,
                "space": tuner.space,
                "early_stopping": None if rule is None else early_stopping.find(rule),
                "only": only,
                "enough": tuner.enough(past.history.searched) is not None,
            }
        )
        coordinator = Coordinator(policy, past, executor.now())
        place, shelf = conditions.place, conditions.artifacts
        folder = None if place is None else Folder(place)
        artifacts = None if shelf is None else ArtifactFolder(shelf)
        if folder is not None:
            folder.sweep(past.history.pending)  # what a killed coordinator had no time to remove
        shown = OnPage(executor.page, self.goal, self.name, where)
        run = Tracked(
            store.header.run_id, self.name, where, self.space, self.objective, past.history
        )
        watched: AbstractContextManager[Watcher | None] = live(course.progress, self.goal)
        if course.watcher is not None:
            watched = nullcontext(course.watcher)
        with saying_how_to_go_on(where, course.client), watched as watcher:
            feed = Feed(course.listeners, run)
            session = Session(
                coordinator,
                tuner,
                executor,
                store,
                shown.beside(watcher),
                past.elapsed,
                course.ending,
                folder,
                feed.take,
                artifacts,
                self.keep,
            )
            for note in (*notes, *shown.notes):
                session.tell(note)
            if self.budget.until not in (None, NEVER) and only is None:
                session.tell(
                    f"the search ends before its budget if it can gain too little (until "
                    f"{self.budget.until}); judged from {FIRST} trials on"
                )
            if self.folds.several:
                session.tell(
                    f"each configuration is trained on up to {self.folds.count} folds; each of "
                    "these trainings counts as one evaluation"
                )
            for caution in self._cautions(policy, past.history):
                (warn if course.warns else session.tell)(caution)
            for entry in past.imports:
                said = f"warm start: {entry.source}: {summary(entry)}"
                if entry.dropped and watcher is None:
                    logger.warning("%s", said)  # what is lost is said, whatever the progress
                else:
                    session.tell(said)
            reason = None
            try:
                with _keeping(store, session, where):
                    reason = session.run()
            finally:
                feed.close(reason, session.tell)
            shown.end(reason)
        nothing = coordinator.broken or fruitless(coordinator.history)
        if course.warns and nothing is not None:
            warn(nothing)
        if folder is not None:
            folder.close(coordinator.history.pending)
        if artifacts is not None:
            artifacts.close()

    def _cautions(self, policy: Policy, past: History) -> Iterator[str]:
        """What a user is to know of a run before it begins."""
        design = self.design.size(self.space) + self.folds.count - 1  # the default has all folds
        if policy.evaluations is not None and policy.evaluations <= design and not past.imports:
            yield (
                f"the budget of {policy.evaluations} ends within the initial design of {design}: "
                "no configuration will be chosen by the surrogate"
            )
        lost = None
        if self.artifacts is not None and self.keep is None:
            lost = f"artifacts is {str(self.artifacts)!r}, but none are kept: add --keep best"
        for caution in (self._unconfirmed(policy), getattr(self.task, "caution", None), lost):
            if caution is not None:
                yield caution

    @property
    def _each(self) -> int:
        """The epochs of every training, where the task tells; else 0."""
        epochs = getattr(self.task, "epochs", 0)
        return epochs if isinstance(epochs, int) else 0

    def _unconfirmed(self, policy: Policy) -> str | None:
        """What a user is told of a run whose result will not be confirmed."""
        if policy.only is not None or policy.evaluations is None:
            return None
        if seeds_of(self.confirm, policy.evaluations):
            return None
        why = (
            f"a budget of {policy.evaluations} is too small for it"
            if self.confirm is None
            else f"confirm is {self.confirm:g}"
        )
        return f"the result will be unconfirmed ({why}); afterwards: spot-dask confirm STORE"

    def _header(self) -> Header:
        settings = self.settings
        if self.artifacts is not None:  # for whoever reads the store from elsewhere
            settings["artifacts"] = settled(self.artifacts)
        return Header(
            run_id=uuid.uuid4().hex,
            name=self.name,
            created=time.time(),
            space=self.space.to_json(),
            space_hash=self.space.hash,
            objective=self.task.objective,
            direction=self.task.direction,
            settings=settings,
            study=without_text(self.source) if self.no_source else self.source,
            versions=_versions(),
        )


@contextmanager
def _keeping(store: TableKeeper, session: Session, where: Path | str) -> Iterator[None]:
    """Have what a session would lose with its store saved elsewhere; the error tells where."""
    device = device_of(where)
    try:
        yield
    except (RunTakenOver, StoreFull):  # nothing is lost: another run has it, or is to have it
        raise
    except StoreError as error:
        raise _kept(error, store, session.unstored(), where, device) from error


def _kept(
    error: StoreError,
    store: TableKeeper,
    unstored: Sequence[Entry],
    where: Path | str,
    device: int | None,
) -> StoreError:
    """The error of a run that cannot be written any more, once what it would lose is kept."""
    fold = store.fold.copy()
    for entry in unstored:
        fold.add(entry)
    if not isinstance(error, StoreGone) and fold.told == store.fold.told:
        return error  # all is in the store
    count = counted(fold.told, "evaluation")
    try:
        path = rescued(store.header, fold, where, device)
    except StoreError as problem:
        return type(error)(f"{error}; {count} could not be saved elsewhere: {problem}")
    return type(error)(
        f"{error}; the run ends, all that it had ({count}) is saved: "
        f"`spot-dask resume {path}` goes on"
    )


_COMPONENTS: dict[str, tuple[Callable[..., Any], Callable[[Any], None]]] = {
    "surrogate": (surrogates.find, completed.check),
    "infill": (infill.find, infill.check),
    "search": (baselines.find, baselines.check),
    "early_stopping": (early_stopping.find, early_stopping.check),
}
"""The settings that name a component, with what makes it of its name and what checks it, both of
which raise ValueError."""


def _component(name: str, own: Any, theirs: str | None) -> Any:
    """The component of a study under the settings of a store; see ``Study.under``.

    Raises ValueError for one that only the store names.
    """
    named = None if own is None else plugins.name_of(own)
    if theirs is None or theirs == named:
        return None if theirs is None else own
    try:
        _COMPONENTS[name][0](theirs, trusted=False)
        return theirs
    except plugins.NotLoaded:
        # An object whose settings were changed since: the study's own, as it is now.
        same = named is not None and plugins.parse(named).head == plugins.parse(theirs).head
        if same and not isinstance(own, str):
            return own
        raise ValueError(
            f"{name} is {theirs!r} and the study's is {own!r}; what only a store names is not "
            f"run: write {name}={theirs!r} in the study, or in a copy of it that --study FILE names"
        ) from None


def default_store(name: str) -> Path:
    """Where a run is kept unless told otherwise: ``runs/<name>-<UTC time>.zarr``.

    A second one of the same second ends in ``-2.zarr``, and so on.
    """
    begun = f"{safe(name)}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    ends = chain([""], (f"-{n}" for n in count(2)))
    paths = (Path("runs", f"{begun}{end}.zarr") for end in ends)
    return next(path for path in paths if not path.exists())


def safe(name: str) -> str:
    """A name as a part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", name).lstrip(".")


def _versions() -> dict[str, str]:
    packages = ("spot-dask", "numpy", "scipy", "scikit-learn", "torch", "dask", "zarr")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
