"""A study: search space, task and settings, and how they are run.

``Study.run`` wires the parts: it opens a store, takes over old evaluations, connects to (or
embeds) a cluster and drives the session to its end. Resuming is replaying the store and running on.
"""

from __future__ import annotations

import math
import platform
import re
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from spot_dask import early_stopping, infill, plugins, surrogates
from spot_dask.coordinator import Coordinator, Policy
from spot_dask.early_stopping import Rule
from spot_dask.errors import StoreError
from spot_dask.executors import Executor
from spot_dask.executors.checkpoints import Folder
from spot_dask.executors.connection import Connection
from spot_dask.executors.open import executor_of, place_of
from spot_dask.fold import Fold
from spot_dask.infill import Infill
from spot_dask.progress import Goal, Listener, OnPage
from spot_dask.records import Configuration, Header, Objective
from spot_dask.run import Run
from spot_dask.session import Ending, Session
from spot_dask.settings import Budget, check_count, is_number
from spot_dask.space import Space
from spot_dask.store.backend import address
from spot_dask.store.inbox import Inbox
from spot_dask.store.journal import Journal
from spot_dask.store.objects import Durability
from spot_dask.store.tables import Published
from spot_dask.surrogates import Surrogate
from spot_dask.tasks import Task
from spot_dask.tasks.function import FunctionTask
from spot_dask.tuner import Tuner
from spot_dask.tuner.design import Design
from spot_dask.tuner.model import Best
from spot_dask.warmstart import WarmStart, summary, take_over
from spot_dask.worker.checkpoints import Place
from spot_dask.worker.heartbeat import SILENCE_SECONDS
from spot_dask.worker.limits import Conditions, Isolation, Limits

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from distributed import Client


@dataclass
class Study:
    """What is tuned and how. See the README for a complete example.

    ``start`` holds configurations to be evaluated right after the defaults (which are always
    trial 0). ``batch`` is the batch size q; ``sync`` waits for a whole batch before the next one
    is proposed, which makes a run repeatable from its seed. ``replication`` is the largest share of
    the budget for training the best configurations again at its end; how much of it is used follows
    from the noise, and 0 is none. ``early_stopping`` names a rule, such as ``"asha"``, that ends
    trainings which are not worth their remaining epochs. ``durability`` tells what a finished
    evaluation survives: loss of power ("fsync") or only the end of the process ("process").

    ``gpus`` is what a training has for itself: 2, or 0.25 for a GPU shared by four, or 0; by
    default one where there are any. ``timeout`` (seconds) ends a training that takes longer, as a
    failed evaluation. ``isolation`` is where it runs: in a process of its own that is used again
    ("warm"), in a new one each time ("process"), or in the worker's own ("thread"), for debugging
    and tiny functions: without limits, and what crashes it crashes the worker. ``checkpoints`` is
    the directory, shared by all workers, for what trainings save while they run; by default beside
    a store that is a directory.
    """

    space: Space
    task: Task  # or a plain function, which is then wrapped as a FunctionTask
    name: str = "study"
    seed: int = 0
    budget: Budget = field(default_factory=Budget)
    design: Design = field(default_factory=Design)
    start: Sequence[Configuration] = ()
    surrogate: str | Surrogate = "kriging"
    infill: str | Infill = "log_ei"
    replication: float = 0.08
    early_stopping: str | Rule | None = None
    batch: int | None = None
    sync: bool = False
    gpus: float | None = None
    timeout: float | None = None
    isolation: Isolation = "warm"
    checkpoints: str | Path | None = None
    durability: Durability = "fsync"
    source: dict[str, Any] = field(default_factory=dict, repr=False)
    _last: Run | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if callable(self.task) and not hasattr(self.task, "objective"):
            self.task = FunctionTask(self.task)
        if not isinstance(self.task, Task):
            raise ValueError(
                f"task is {self.task!r}; expected a TorchTask, a FunctionTask or a function"
            )
        check_count("seed", self.seed, least=0)
        if not (is_number(self.replication) and 0 <= self.replication <= 0.5):
            raise ValueError(f"replication is {self.replication!r}; expected a share from 0 to 0.5")
        if self.batch is not None:
            check_count("batch", self.batch)
        if self.sync and self.batch is None:
            raise ValueError("sync is on without a batch size; expected batch (--batch q) as well")
        Conditions(self.limits, self.isolation)  # checks them
        self.start = tuple(self.space.validate(config) for config in self.start)
        self._check_recorded()

    def run(
        self,
        budget: Budget | None = None,
        *,
        client: Client | Connection | str | None = None,
        local: int | None = None,
        store: str | Path | None = None,
        warm_start: Iterable[str | Path | WarmStart] = (),
        listener: Listener | None = None,
        ending: Ending | None = None,
    ) -> Run:
        """Run the study into a new store and return the finished run.

        ``client`` is a Dask client or the address of a scheduler; without it, a cluster of
        ``local`` slots is embedded in this process (0: no cluster, one training after the other
        right here, for debugging). ``store`` is a path, or s3://bucket/run.zarr and
        the like; it defaults to ``runs/<name>-<time>.zarr``. ``warm_start`` are sources of earlier
        evaluations: stores, CSV or JSON lines files, studies of Optuna; a path stands for
        ``WarmStart(path)``, evaluations of the same objective. ``ending`` says what a signal does
        with the trainings that run. Raises StoreError if the store exists, ClusterError if the
        scheduler does not answer.
        """
        study = self if budget is None else replace(self, budget=budget)
        path = address(store) if store is not None else default_store(self.name)
        header = study._header()
        imported = take_over(warm_start, header)
        place = study._place(path, header.run_id)
        with (
            closing(study._executor(header.run_id, path, place, client, local)) as executor,
            closing(
                Journal.create(path, header, durability=study.durability, fold=Fold())
            ) as journal,
            closing(Published(journal)) as published,
        ):
            for entry in imported:
                journal.append(entry)
            notes = [f"store {path}"]
            study._drive(published, executor, place, listener, ending, path, notes)
        self._last = Run.of(path, journal)
        return self._last

    def resume(
        self,
        store: str | Path | Run,
        budget: Budget | None = None,
        *,
        client: Client | Connection | str | None = None,
        local: int | None = None,
        takeover: bool = False,
        listener: Listener | None = None,
        ending: Ending | None = None,
    ) -> Run:
        """Go on with a run, opened or at a path: evaluations are kept, pending trials run again.

        The seed, design and all other settings are those the run began with; ``budget`` raises
        (or lowers) its budget. Raises StoreError if the store holds a run of another space.
        """
        run = store if isinstance(store, Run) else Run.open(store)
        self._check_same(run)
        path, study = run.path, _restored(self, run.settings)
        changed = {k: v for k, v in asdict(budget or Budget()).items() if v is not None}
        study.budget = replace(study.budget, **changed)
        limit, done = study.budget.evaluations, len(run.history.evaluations)
        if limit is not None and limit < done:
            raise StoreError(
                f"{run.path} has {done} evaluations already, more than the {limit} asked for; "
                "--evaluations counts all of a run"
            )
        settings = {"budget": asdict(study.budget)} if changed else {}
        run_id = run.header.run_id
        place = study._place(path, run_id)
        with (
            closing(study._executor(run_id, path, place, client, local)) as executor,
            closing(
                Journal.resume(
                    path,
                    settings=settings,
                    takeover=takeover,
                    durability=study.durability,
                    before=run.journal,
                )
            ) as journal,
        ):
            late = len(journal.take_in())
            taken = f"inbox: {late} trainings had ended without a coordinator; taken in"
            notes = [taken] if late else []
            with closing(Published(journal)) as published:
                study._drive(published, executor, place, listener, ending, path, notes)
        self._last = Run.of(path, journal)
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
        return Limits(self.gpus, self.timeout)

    @property
    def tuner(self) -> Tuner:
        """The study's tuner, for asking and telling without a cluster."""
        return Tuner(
            space=self.space,
            seed=self.seed,
            design=self.design,
            start=self.start,
            surrogate=self.surrogate,
            infill=self.infill,
            budget=self.budget.limit,
            replication=self.replication,
        )

    @property
    def objective(self) -> Objective:
        """The metric that is minimised or maximised."""
        return Objective(self.task.objective, self.task.direction)

    def _check_recorded(self) -> None:
        """Raise ValueError where a setting could not be made again from the store."""
        if self.durability not in get_args(Durability):
            known = " or ".join(map(repr, get_args(Durability)))
            raise ValueError(f"durability is {self.durability!r}; expected {known}")
        components: list[tuple[Callable[[Any], Any], Any]] = [
            (surrogates.find, self.surrogate),
            (infill.find, self.infill),
        ]
        if self.early_stopping is not None:
            components.append((early_stopping.find, self.early_stopping))
        for find, component in components:
            name = plugins.name_of(component)
            if not isinstance(component, str) and find(name) != component:
                raise ValueError(f"{component!r} is not what its name {name!r} stands for")
            find(name)

    def _place(self, store: Path | str, run_id: str) -> Place | None:
        """Where the checkpoints of a run are kept; None: nowhere."""
        return place_of(self.checkpoints, store, run_id, self.source.get("text", ""))

    def _executor(
        self,
        run_id: str,
        store: Path | str,
        place: Place | None,
        client: Client | Connection | str | None,
        local: int | None,
    ) -> Executor:
        """What runs the trainings of a run; outcomes that nobody hears go to the store's inbox."""
        conditions = Conditions(self.limits, self.isolation, place)
        inbox = Inbox(store if isinstance(store, str) else str(store.absolute()), run_id)
        return executor_of(self.task, run_id, conditions, inbox.leave, client, local)

    def _run(self) -> Run:
        if self._last is None:
            raise ValueError("this study has not been run yet; call run() or open a store with Run")
        return self._last

    def _check_same(self, run: Run) -> None:
        """Raise StoreError unless the run is one of this study."""
        advice = "use the study it was begun with, or a new store with --warm-start"
        differences = self.space.difference(run.space)
        if differences:
            what = "; ".join(differences)
            raise StoreError(f"{run.path} holds a run of another search space ({what}); {advice}")
        theirs = f"{run.header.direction}imises {run.header.objective}"
        ours = f"{self.task.direction}imises {self.task.objective}"
        if theirs != ours:
            raise StoreError(f"{run.path} holds a run that {theirs}, this study {ours}; {advice}")

    def _drive(
        self,
        store: Published,
        executor: Executor,
        place: Place | None,
        listener: Listener | None,
        ending: Ending | None,
        where: Path | str,
        notes: Iterable[str],
    ) -> None:
        rule, past = self.early_stopping, store.fold
        policy = Policy(
            evaluations=self.budget.limit,
            seconds=None if self.budget.wall is None else max(0.0, self.budget.wall - past.elapsed),
            batch=self.batch,
            sync=self.sync,
            ahead=executor.concurrent,
            silence=SILENCE_SECONDS if executor.concurrent else math.inf,
            objective=self.objective,
            early_stopping=None if rule is None else early_stopping.find(rule),
        )
        coordinator = Coordinator(policy, past, executor.now())
        folder = None if place is None else Folder(place)
        if folder is not None:
            folder.sweep(past.history.pending)  # what a killed coordinator had no time to remove
        shown = OnPage(executor.page, self._goal, self.name, where)
        told = shown.beside(listener)
        session = Session(
            coordinator, self.tuner, executor, store, told, past.elapsed, ending, folder
        )
        for note in (*notes, *shown.notes):
            session.tell(note)
        design = self.design.size(self.space)
        if (
            policy.evaluations is not None
            and policy.evaluations <= design
            and not past.history.imports
        ):
            session.tell(
                f"the budget of {policy.evaluations} ends within the initial design of {design}: "
                "no configuration will be chosen by the surrogate"
            )
        for entry in past.imports:
            session.tell(f"warm start: {entry.source}: {summary(entry)}")
        shown.end(session.run())
        if folder is not None:
            folder.close(coordinator.history.pending)

    @property
    def _goal(self) -> Goal:
        together = self.batch if self.sync else None
        task, budget = self.task, self.budget
        return Goal(task.objective, task.direction, budget.limit, budget.wall, together)

    def _header(self) -> Header:
        return Header(
            run_id=uuid.uuid4().hex,
            name=self.name,
            created=time.time(),
            space=self.space.to_json(),
            space_hash=self.space.hash,
            objective=self.task.objective,
            direction=self.task.direction,
            settings=self.settings,
            study=self.source,
            versions=_versions(),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved settings as JSON: what a store records and a resumed run restores."""
        rule = self.early_stopping
        return {
            "seed": self.seed,
            "budget": asdict(self.budget),
            "design": asdict(self.design),
            "start": [dict(config) for config in self.start],
            "surrogate": plugins.name_of(self.surrogate),
            "infill": plugins.name_of(self.infill),
            "replication": self.replication,
            "early_stopping": None if rule is None else plugins.name_of(rule),
            "batch": self.batch,
            "sync": self.sync,
            "durability": self.durability,
        }


def _restored(study: Study, settings: dict[str, Any]) -> Study:
    """The study under the settings its run was begun with; objects are taken from the study."""
    named = ("surrogate", "infill", "early_stopping")
    names = {k: settings[k] for k in named if isinstance(getattr(study, k), str | None)}
    return replace(
        study,
        seed=settings["seed"],
        budget=Budget(**settings["budget"]),
        design=Design(**settings["design"]),
        start=settings["start"],
        replication=settings["replication"],
        batch=settings["batch"],
        sync=settings["sync"],
        durability=settings["durability"],
        **names,
    )


def default_store(name: str) -> Path:
    """Where a run is kept unless told otherwise: ``runs/<name>-<UTC time>.zarr``."""
    safe = re.sub(r"[^\w.-]+", "-", name).lstrip(".")
    return Path("runs") / f"{safe}-{datetime.now(UTC):%Y%m%d-%H%M%S}.zarr"


def _versions() -> dict[str, str]:
    packages = ("spot-dask", "numpy", "scipy", "scikit-learn", "torch", "dask", "zarr")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
