"""The checkpoints of a run as its coordinator sees them: made at its start, kept small."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from spot_dask.errors import StoreError
from spot_dask.records import Trial
from spot_dask.worker.checkpoints import Place


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
        with contextlib.suppress(FileNotFoundError):  # somebody has removed them all
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
