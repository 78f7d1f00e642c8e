"""Where a study's trainings run, and where its store and their checkpoints are kept."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from spot_dask.budget import check_count
from spot_dask.executors import Executor
from spot_dask.executors.checkpoints import Place
from spot_dask.executors.conditions import Conditions
from spot_dask.executors.connection import Connection
from spot_dask.executors.serial import SerialExecutor
from spot_dask.store.inbox import Inbox

if TYPE_CHECKING:
    from distributed import Client

    from spot_dask.study import Study

logger = logging.getLogger(__name__)


def default_store(name: str) -> Path:
    """Where a run is kept unless told otherwise: ``runs/<name>-<UTC time>.zarr``."""
    safe = re.sub(r"[^\w.-]+", "-", name).lstrip(".")
    return Path("runs") / f"{safe}-{datetime.now(UTC):%Y%m%d-%H%M%S}.zarr"


def place_of(study: Study, run_id: str, store: Path | str) -> Place | None:
    """Where a run's checkpoints are; beside a store that is a directory, unless the study says.

    None, which is told, for a store of objects and a study that says nothing.
    """
    if study.checkpoints is not None:
        directory = Path(study.checkpoints)
    elif isinstance(store, Path):
        directory = store.with_name(f"{store.name}.checkpoints")
    else:
        logger.warning(
            "trainings that are interrupted will begin anew: %s can keep no checkpoints; "
            "give a directory that all workers share with --checkpoints",
            store,
        )
        return None
    return Place.of(directory, run_id, study.source.get("text", ""))


def executor_of(
    study: Study,
    run_id: str,
    store: Path | str,
    place: Place | None,
    client: Client | Connection | str | None,
    local: int | None,
) -> Executor:
    """What runs the trainings of a run; see ``Study.run``."""
    conditions = Conditions(study.limits, study.isolation, place)
    if local is not None:
        check_count("local", local, least=0)
    if client is None and local == 0:
        return SerialExecutor(study.task, place)
    from spot_dask.executors import cluster
    from spot_dask.executors.dask import DaskExecutor

    if client is None:
        slots = cluster.local_slots(study.limits) if local is None else local
        inside = cluster.embedded(slots)
        return DaskExecutor(inside, study.task, run_id, owned=True, conditions=conditions)
    owned = isinstance(client, str | Connection)
    if isinstance(client, str | Connection):
        client = cluster.connect(client)
    where = store if isinstance(store, str) else str(store.absolute())
    keep = Inbox(where, run_id).leave
    return DaskExecutor(client, study.task, run_id, owned=owned, conditions=conditions, keep=keep)
