"""Opens what runs the trainings of a run, and says where their checkpoints are kept."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from spot_dask.errors import ClusterError, StoreError
from spot_dask.executors import Executor
from spot_dask.executors.connection import Connection
from spot_dask.executors.serial import SerialExecutor
from spot_dask.settings import check, size
from spot_dask.tasks import Task
from spot_dask.texts import shell
from spot_dask.worker.checkpoints import Place
from spot_dask.worker.limits import Conditions, Limits
from spot_dask.worker.supervisor import Keep

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)


def place_of(
    directory: str | Path | None, store: Path | str, run_id: str, text: str
) -> Place | None:
    """The place of a run's checkpoints: in ``directory``, or beside a store that is a directory.

    ``text`` is that of the study's file: another text makes its checkpoints unusable. Returns None,
    with a warning, for a store of objects without a directory. Raises StoreError for an id that is
    no name of a directory: what is in the place is removed at the end.
    """
    if not re.fullmatch(r"\w[\w.-]*", run_id):
        raise StoreError(f"{store} holds a run whose id is {run_id!r}; expected letters and digits")
    if directory is None and isinstance(store, str):
        logger.warning(
            "trainings that are interrupted will begin anew: %s can keep no checkpoints; "
            "give a directory that all workers share with --checkpoints",
            store,
        )
        return None
    if directory is None:
        assert isinstance(store, Path)
        directory = store.with_name(f"{store.name}.checkpoints")
    return Place.of(Path(directory), run_id, text)


def executor_of(
    task: Task,
    run_id: str,
    conditions: Conditions,
    keep: Keep,
    client: Client | Connection | str | None = None,
    local: int | None = None,
) -> Executor:
    """What runs the trainings of a run: see ``Study.run`` for ``client`` and ``local``.

    ``keep`` is called on a worker with the outcome of a training that outlived its coordinator.
    """
    check("cluster.local", local)
    if client is None and local == 0:
        if asked := conditions.limits.enforced:
            logger.warning(
                "trainings in this very process (local 0) can have no %s: it is not kept; "
                "--local 1 gives them a process of their own",
                " and no ".join(asked),
            )
        return SerialExecutor(task, conditions.place, conditions.artifacts)
    from spot_dask.executors import cluster
    from spot_dask.executors.dask import DaskExecutor

    if client is None:
        slots = cluster.local_slots(conditions.limits) if local is None else local
        _compare_memory(slots, conditions.limits)
        inside = cluster.embedded(slots)
        return DaskExecutor(inside, task, run_id, owned=True, conditions=conditions)
    owned = isinstance(client, str | Connection)
    if isinstance(client, str | Connection):
        client = cluster.connect(client)
    return DaskExecutor(client, task, run_id, owned=owned, conditions=conditions, keep=keep)


def _compare_memory(slots: int, limits: Limits) -> None:
    """Say where so many trainings at a time may together have more memory than there is."""
    from distributed.system import MEMORY_LIMIT  # of the control group, where it has one

    if limits.memory is not None and slots > 1 and slots * size(limits.memory) > MEMORY_LIMIT:
        logger.warning(
            "%d trainings at a time may have %s of memory each, and there are %.3g GB in all; "
            "--local %d leaves none without",
            slots,
            limits.memory,
            MEMORY_LIMIT / 1e9,
            max(1, MEMORY_LIMIT // size(limits.memory)),
        )


@contextmanager
def saying_how_to_go_on(
    store: Path | str, client: Client | Connection | str | None
) -> Iterator[None]:
    """Add to an error of the cluster where the run is, and the command that goes on with it."""
    try:
        yield
    except ClusterError as error:
        words = ["spot-dask", "resume", str(store)]
        if isinstance(client, str | Connection):
            words += ["--scheduler", client if isinstance(client, str) else client.address]
        raise ClusterError(
            f"{error}; every finished training is in {store}: `{shell(words)}` goes on"
        ) from error
