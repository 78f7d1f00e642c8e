"""Stores of evaluations to compare: each makes a batch of finished evaluations durable.

All of them get the same evaluations: ten parameters, three metrics and a curve of thirty points.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from benchmarks import Unavailable
from spot_dask import FunctionTask, Real, Space, Study
from spot_dask.records import Asked, Evaluation, Header, Outcome, Status, Told, Trial
from spot_dask.store.journal import Journal

PARAMETERS = tuple(f"x{j}" for j in range(10))
METRICS = ("accuracy", "f1", "train_loss")
POINTS = 30
SPACE = Space({name: Real(0.0, 1.0, default=0.5) for name in PARAMETERS})


class Storage(Protocol):
    """A store under test: ``commit`` returns when the evaluations are as durable as it gets."""

    def commit(self, batch: Sequence[Evaluation]) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Contender:
    """How to open a store; ``synced`` says whether it survives a loss of power."""

    name: str
    synced: bool
    open: Callable[[Path], Storage]


def evaluation(number: int) -> Evaluation:
    """Evaluation ``number``; always the same."""
    rng = np.random.default_rng(number)
    config = dict(zip(PARAMETERS, map(float, rng.random(len(PARAMETERS))), strict=True))
    curve = tuple(map(float, np.exp(-np.arange(POINTS) / 10) + 0.01 * rng.random(POINTS)))
    metrics = dict(zip(METRICS, map(float, rng.random(len(METRICS))), strict=True))
    began = 1.7e9 + 60.0 * number
    outcome = Outcome(
        Status.OK, curve[-1], metrics, {"val_loss": curve}, began, began + 55.0,
        f"tcp://10.0.0.{number % 16}:40001", "cuda:0",
    )  # fmt: skip
    return Evaluation(Trial(number, config, seed=number), outcome, attempt=0)


def study() -> Study:
    """The study that the evaluations are of."""
    return Study(SPACE, FunctionTask(lambda config: 0.0, "val_loss"), name="store")


def header() -> Header:
    settings = study().settings
    return Header("f00d", "store", 1.7e9, SPACE.to_json(), SPACE.hash, "val_loss", "min", settings)


class SpotJournal:
    """Ours: a record per batch, as trainings that ended since the last turn of the loop."""

    def __init__(self, path: Path, *, synced: bool) -> None:
        durability = "fsync" if synced else "process"
        self._journal = Journal.create(path, header(), durability=durability)  # type: ignore[arg-type]

    def ask(self, batch: Sequence[Evaluation]) -> None:
        """What a coordinator records before it starts trainings."""
        self._journal.append(Asked(tuple(each.trial for each in batch)))

    def commit(self, batch: Sequence[Evaluation]) -> None:
        self._journal.commit([Told(each) for each in batch])

    def close(self) -> None:
        self._journal.close()


class SyncedStore(LocalStore):
    """zarr-python's store on disk, with every object and its directory synced."""

    async def set(self, key: str, value: Buffer) -> None:
        await super().set(key, value)
        await asyncio.to_thread(self._sync, key)

    def _sync(self, key: str) -> None:
        path = self.root / key
        for each in (path, path.parent):
            descriptor = os.open(each, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


COLUMNS: dict[str, str] = {
    **dict.fromkeys(("number", "seed", "attempt", "status"), "int64"),
    **dict.fromkeys(("y", "started", "finished", *METRICS, *PARAMETERS), "float64"),
    **dict.fromkeys(("worker", "device", "error"), "string"),
}


def rows(batch: Sequence[Evaluation]) -> dict[str, np.ndarray[Any, Any]]:
    """The evaluations as columns; the curve is a column of its own."""
    outs = [each.outcome for each in batch]
    values: dict[str, list[Any]] = {
        "number": [each.trial.number for each in batch],
        "seed": [each.trial.seed for each in batch],
        "attempt": [each.attempt for each in batch],
        "status": [1 for _ in batch],
        "y": [out.y for out in outs],
        "started": [out.started for out in outs],
        "finished": [out.finished for out in outs],
        "worker": [out.worker for out in outs],
        "device": [out.device for out in outs],
        "error": ["" for _ in outs],
        **{name: [out.metrics[name] for out in outs] for name in METRICS},
        **{name: [each.trial.config[name] for each in batch] for name in PARAMETERS},
    }
    kinds = {"string": np.dtypes.StringDType()}
    columns = {k: np.array(values[k], kinds.get(dtype, dtype)) for k, dtype in COLUMNS.items()}
    return {**columns, "curve": np.array([out.curves["val_loss"] for out in outs])}


def make_columns(group: zarr.Group) -> None:
    for name, dtype in COLUMNS.items():
        group.create_array(name, shape=(0,), chunks=(1024,), dtype=dtype)
    group.create_array("curve", shape=(0, POINTS), chunks=(1024, POINTS), dtype="float64")


class ZarrAppend:
    """``zarr.Array.append`` on every column."""

    def __init__(self, path: Path, *, synced: bool) -> None:
        store = (SyncedStore if synced else LocalStore)(path)
        self._group = zarr.create_group(store)
        make_columns(self._group)

    def commit(self, batch: Sequence[Evaluation]) -> None:
        append(self._group, batch)

    def close(self) -> None:
        """Nothing to close."""


def append(group: zarr.Group, batch: Sequence[Evaluation]) -> None:
    for name, values in rows(batch).items():
        array = group[name]
        assert isinstance(array, zarr.Array)
        array.append(values)


class Icechunk:
    """The same columns in an icechunk repository, a commit per batch; it never syncs."""

    def __init__(self, path: Path) -> None:
        os.environ.setdefault("ICECHUNK_LOG", "error")
        import icechunk

        self._repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(path)))
        session = self._repository.writable_session("main")
        make_columns(zarr.create_group(session.store))
        session.commit("columns")

    def commit(self, batch: Sequence[Evaluation]) -> None:
        session = self._repository.writable_session("main")
        append(zarr.open_group(session.store), batch)
        session.commit("batch")

    def close(self) -> None:
        """Nothing to close."""


class Optuna:
    """A storage of Optuna; every evaluation is a complete trial."""

    def __init__(self, storage: Any) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self._storage = optuna, storage
        self._study = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "store")

    def commit(self, batch: Sequence[Evaluation]) -> None:
        optuna = self._optuna
        distribution = optuna.distributions.FloatDistribution(0.0, 1.0)
        for each in batch:
            out = each.outcome
            trial = optuna.trial.create_trial(
                params=dict(each.trial.config),
                distributions=dict.fromkeys(each.trial.config, distribution),
                value=out.y,
                intermediate_values=dict(enumerate(out.curves["val_loss"])),
                user_attrs={**out.metrics, "worker": out.worker, "seed": each.trial.seed},
            )
            self._storage.create_new_trial(self._study, template_trial=trial)

    def close(self) -> None:
        self._storage.remove_session()


def _optuna_journal(path: Path) -> Storage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path.mkdir()
    return Optuna(JournalStorage(JournalFileBackend(str(path / "journal.log"))))


def _optuna_sqlite(path: Path, *, synced: bool) -> Storage:
    from optuna.storages import RDBStorage
    from sqlalchemy import event

    path.mkdir()
    storage = RDBStorage(f"sqlite:///{path / 'optuna.db'}")
    if not synced:
        storage.engine.dispose()

        def relax(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA synchronous = OFF")

        event.listen(storage.engine, "connect", relax)
    return Optuna(storage)


CONTENDERS = (
    Contender("zarr append per column", False, lambda path: ZarrAppend(path, synced=False)),
    Contender("zarr append per column", True, lambda path: ZarrAppend(path, synced=True)),
    Contender("spot-dask journal", False, lambda path: SpotJournal(path, synced=False)),
    Contender("spot-dask journal", True, lambda path: SpotJournal(path, synced=True)),
    Contender("icechunk", False, Icechunk),
    Contender("optuna journal", True, _optuna_journal),
    Contender("optuna sqlite", False, lambda path: _optuna_sqlite(path, synced=False)),
    Contender("optuna sqlite", True, lambda path: _optuna_sqlite(path, synced=True)),
)


def opened(contender: Contender, path: Path) -> Storage:
    """The store; raises Unavailable where its package is missing."""
    try:
        return contender.open(path)
    except ImportError as error:
        raise Unavailable(
            f"{contender.name}: left out, no module {error.name}; install the extra [bench]"
        ) from error
