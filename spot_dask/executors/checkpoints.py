"""Where the checkpoints of trainings are kept.

::

    DIR/<run>/<trial>/<start>-<version>-<random>/    what one start of a trial has saved

Every start has a directory of its own, which begins as a copy of the last one's: a training that
was given up, and nobody can reach, may still write. A copy is seen whole or not at all. The
coordinator makes ``DIR/<run>`` and removes what no trial waits for; a worker that does not see it
does not share DIR.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import uuid
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from spot_dask.errors import StoreError
from spot_dask.records import Trial
from spot_dask.tasks import PARTIAL

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a run's checkpoints are: ``root`` is ``DIR/<run>``.

    ``version`` stands for the text of the study; what another one has saved is not used.
    """

    root: str
    version: str

    @classmethod
    def of(cls, directory: Path, run: str, text: str) -> Place:
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return cls(str(directory.absolute() / run), digest)

    @property
    def is_here(self) -> bool:
        """Whether this machine sees it."""
        return Path(self.root).is_dir()

    def begin(self, number: int) -> Path:
        """A directory for one more start of a trial, with all that its last start has saved.

        Raises OSError where the place cannot be written.
        """
        trial = Path(self.root, str(number))
        trial.mkdir(exist_ok=True)
        earlier = sorted(path for path in trial.iterdir() if not path.name.startswith("."))
        start = 1 + int(earlier[-1].name.partition("-")[0]) if earlier else 0
        mine = trial / f"{start:06d}-{self.version}-{uuid.uuid4().hex[:8]}"
        if not earlier or not self._copied(earlier[-1], mine):
            mine.mkdir()
        for old in earlier[:-1]:
            shutil.rmtree(old, ignore_errors=True)
        return mine

    def _copied(self, last: Path, mine: Path) -> bool:
        """Whether ``mine`` is now a copy of what the last start has saved."""
        if last.name.split("-")[1] != self.version:
            logger.warning("%s is of another version of the study: not used", last)
            return False
        copy = mine.with_name(f".{mine.name}")
        try:
            ignored = shutil.ignore_patterns(f"*{PARTIAL}")
            shutil.copytree(last, copy, ignore=ignored, copy_function=_copy)
        except OSError as error:
            logger.warning("%s cannot be copied: not used (%s)", last, error)
            shutil.rmtree(copy, ignore_errors=True)
            return False
        copy.rename(mine)
        return True


def _copy(source: str, target: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # whoever saves there has just removed it
        shutil.copy2(source, target)


class Folder:
    """A run's checkpoints as its coordinator sees them: made at its start, kept small."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._root = Path(place.root)
        self._remover = ThreadPoolExecutor(1, "spot-dask-checkpoints")  # a network may be slow
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"no checkpoints can be kept in {self._root.parent} ({error.strerror}); "
                "give a directory that workers share with --checkpoints"
            ) from error

    def discard(self, number: int) -> None:
        """Remove the checkpoints of a trial, soon."""
        self._remove(self._root / str(number))

    def sweep(self, pending: Collection[Trial]) -> None:
        """Remove the checkpoints of all trials but these."""
        kept = {str(trial.number) for trial in pending}
        for path in self._root.iterdir():
            if path.name not in kept:
                self._remove(path)

    def close(self, pending: Collection[Trial]) -> None:
        """Remove what no pending trial waits for; all of it if there is none."""
        self.sweep(pending)
        self._remover.shutdown()
        if not pending:
            shutil.rmtree(self._root, ignore_errors=True)
            with contextlib.suppress(OSError):  # other runs use it
                self._root.parent.rmdir()

    def _remove(self, path: Path) -> None:
        self._remover.submit(shutil.rmtree, path, ignore_errors=True)
