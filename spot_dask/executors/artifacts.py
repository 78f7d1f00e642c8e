"""The artifacts of a run as its coordinator sees them: those of the best, or all of them."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from spot_dask.errors import StoreError
from spot_dask.outputs import replacing
from spot_dask.records import History
from spot_dask.worker.artifacts import OWNER, ArtifactPlace, attempt_of

logger = logging.getLogger(__name__)


class ArtifactFolder:
    """A run's artifacts, from which the coordinator removes what is not to be kept.

    Raises StoreError where there can be none, or are those of another run.
    """

    def __init__(self, place: ArtifactPlace) -> None:
        self.place = place
        self._root = Path(place.root)
        self._remover = ThreadPoolExecutor(1, "spot-dask-artifacts")  # a network may be slow
        self._lost = False
        try:
            self._make()
        except OSError as error:
            raise StoreError(
                f"no artifacts can be kept in {self._root} ({error.strerror}); "
                "give a directory that workers share with --artifacts"
            ) from error
        check_owner(place)

    def _make(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        if self.place.owner is None:
            with replacing(self._root / OWNER) as file:
                file.write(self.place.run.encode())

    def _remade(self) -> bool:
        """Whether the directory is there, anew where somebody has removed it; its loss is told."""
        if self.place.is_here:
            return True
        if not self._lost:
            self._lost = True
            logger.warning("%s was removed: artifacts kept until now are lost", self._root)
        try:
            self._make()
        except OSError as error:
            logger.info("no artifacts can be kept in %s: %s", self._root, error.strerror)
        return False

    def settle(self, history: History, kept: Collection[int] | None) -> None:
        """Remove, soon, all artifacts of evaluations but those of ``kept`` trials (None: all).

        Of these too what is of another attempt than the one that counts, or was never completed.
        What pending trials have is theirs: they may be trained on some worker.
        """
        if not self._remade():
            return
        counts = {e.trial.number: e for e in history.evaluations}
        for path in list(self._root.iterdir()):
            found = attempt_of(path.name)
            evaluation = None if found is None else counts.get(found[0])
            if found is None or evaluation is None:
                continue
            number, attempt, complete = found
            valid = complete and evaluation.ok and attempt == evaluation.attempt
            if not valid or not (kept is None or number in kept):
                self._remover.submit(shutil.rmtree, path, ignore_errors=True)

    def close(self) -> None:
        """Wait for what is being removed; without any artifacts the directory goes, too."""
        self._remover.shutdown()
        with contextlib.suppress(OSError):
            if [path.name for path in self._root.iterdir()] == [OWNER]:
                (self._root / OWNER).unlink()
                self._root.rmdir()


def check_owner(place: ArtifactPlace) -> None:
    """Raise StoreError where there are artifacts of another run."""
    if place.owner not in (None, place.run):
        raise StoreError(
            f"{place.root} has the artifacts of another run; move it away, or give another "
            "directory with --artifacts"
        )


def artifacts_of(
    directory: str | Path | None, store: Path | str, run_id: str
) -> ArtifactPlace | None:
    """Where the artifacts of a run are: in ``directory``, or beside a store that is a directory.

    None where it is neither.
    """
    if directory is not None:
        return ArtifactPlace(str(Path(directory).absolute() / run_id), run_id)
    if isinstance(store, str):
        return None
    return ArtifactPlace(str(store.absolute().with_name(f"{store.name}.artifacts")), run_id)
