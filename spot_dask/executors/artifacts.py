"""The artifacts of a run as its coordinator sees them: those of the best, or all of them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from spot_dask.buckets import is_address
from spot_dask.errors import StoreError, warn_once
from spot_dask.records import Evaluation, History
from spot_dask.worker.artifacts import ArtifactPlace, artifact_place

logger = logging.getLogger(__name__)


class ArtifactFolder:
    """A run's artifacts, from which the coordinator removes what is not to be kept.

    Raises StoreError where there can be none, or are those of another run.
    """

    def __init__(self, place: ArtifactPlace) -> None:
        self.place = place
        self._remover = ThreadPoolExecutor(1, "spot-dask-artifacts")  # a network may be slow
        self._lost = False
        try:
            place.begin()
        except OSError as error:
            raise StoreError(
                f"no artifacts can be kept in {place.root} ({error.strerror}); "
                "give a directory that workers share with --artifacts"
            ) from error
        check_owner(place)

    def settle(self, history: History, kept: Collection[int] | None) -> None:
        """Remove, soon, all artifacts of evaluations but those of ``kept`` trials (None: all).

        Of these too what is of another attempt than the one that counts, or was never completed.
        What pending trials have is theirs: they may be trained on some worker.
        """
        counts = {e.trial.number: e for e in history.evaluations}
        self._remover.submit(self._settle, counts, kept).add_done_callback(_tell)

    def _settle(self, counts: Mapping[int, Evaluation], kept: Collection[int] | None) -> None:
        if not self._remade():
            return
        for name, number, attempt, complete in self.place.names():
            evaluation = counts.get(number)
            if evaluation is None:
                continue
            valid = complete and evaluation.ok and attempt == evaluation.attempt
            if not valid or not (kept is None or number in kept):
                self.place.remove(name)

    def _remade(self) -> bool:
        """Whether the directory is there, anew where somebody has removed it; its loss is told."""
        if self.place.owner == self.place.run:
            return True
        if not self._lost:
            self._lost = True
            logger.warning("%s was removed: artifacts kept until now are lost", self.place.root)
        self.place.begin()
        return False

    def close(self) -> None:
        """Wait for what is being removed; without any artifacts the directory goes, too."""
        self._remover.shutdown()
        self.place.end()


def _tell(removal: Future[None]) -> None:
    """Log why artifacts could not be removed; nobody else looks at the result of the thread."""
    if (error := removal.exception()) is not None:
        warn_once(logger, "artifacts that are not to be kept stay: %s", error)


def check_owner(place: ArtifactPlace) -> None:
    """Raise StoreError where there are artifacts of another run."""
    if place.owner not in (None, place.run):
        raise StoreError(
            f"{place.root} has the artifacts of another run; move it away, or give another "
            "directory with --artifacts"
        )


def artifacts_of(directory: str | Path | None, store: Path | str, run_id: str) -> ArtifactPlace:
    """Where the artifacts of a run are: in ``directory``, or beside its store.

    Both may be addresses of buckets.
    """
    if directory is not None:
        return artifact_place(f"{settled(directory)}/{run_id}", run_id)
    beside = store if isinstance(store, str) else store.absolute()
    return artifact_place(f"{beside}.artifacts", run_id)


def settled(directory: str | Path) -> str:
    """A place for artifacts as whoever reads the store from elsewhere finds it."""
    return str(directory) if is_address(directory) else str(Path(directory).absolute())
