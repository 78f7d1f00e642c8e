"""Where the artifacts of trainings are kept: what they leave behind beside their metrics.

::

    ROOT/.run                          which run's they are
    ROOT/<trial>/                      what a successful training has saved
    ROOT/<trial>-<attempt>/            the same, where earlier attempts at the trial were lost
    ROOT/.<trial>-<attempt>-<random>/  a copy that is being made, or was when its maker was killed

A training saves in a temporary directory of its machine, so that a full disk elsewhere does not
cost its result. When it has ended well, all of it is copied, and the copy gets its name when it is
on disk and before anyone hears of the result. So a directory with such a name is complete, and an
evaluation that is in the store has its artifacts. The coordinator makes ROOT, and removes what is
not to be kept; a worker that does not see it does not share it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

OWNER = ".run"

_NAME = re.compile(r"(?:\.(\d+)-(\d+)-[0-9a-f]{8}|(\d+)(?:-(\d+))?)")


def attempt_of(name: str) -> tuple[int, int, bool] | None:
    """Trial and attempt of a directory, and whether it is complete; None for any other name."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    if found[1] is not None:
        return int(found[1]), int(found[2]), False
    return int(found[3]), int(found[4] or 0), True


@dataclass(frozen=True)
class ArtifactPlace:
    """Where the artifacts of a run, whose id is ``run``, are."""

    root: str
    run: str

    @property
    def owner(self) -> str | None:
        """The id of the run whose artifacts are there; None where this machine sees none."""
        try:
            return Path(self.root, OWNER).read_text()
        except OSError:
            return None

    @property
    def is_here(self) -> bool:
        """Whether this machine sees it."""
        return self.owner == self.run

    def of(self, number: int, attempt: int) -> Path:
        """The directory of an attempt that has ended well, which is there if it saved anything."""
        return Path(self.root, f"{number}-{attempt}" if attempt else str(number))

    def publish(self, saved: Path, number: int, attempt: int) -> Path:
        """Keep a copy of a directory as the artifacts of an attempt; where it is.

        It is there when all of it is on disk. What was there is replaced: that of an attempt of
        which nobody has heard. Raises OSError, and leaves nothing, where that is not possible.
        """
        copy, target = self.aside(number, attempt), self.of(number, attempt)
        try:
            shutil.copytree(saved, copy, symlinks=True)
            for folder, _, files in os.walk(copy):
                for path in (Path(folder, file) for file in files):
                    if path.is_file() and not path.is_symlink():
                        _sync(path)
                _sync(Path(folder))
            if target.exists():
                target.rename(before := self.aside(number, attempt))
                shutil.rmtree(before, ignore_errors=True)
            copy.rename(target)
        except OSError as error:
            shutil.rmtree(copy, ignore_errors=True)
            if isinstance(error, shutil.Error):  # of all that could not be copied
                raise OSError(error.args[0][0][2]) from error
            raise
        _sync(Path(self.root))
        return target

    def aside(self, number: int, attempt: int) -> Path:
        """A new path for what is no attempt's artifacts yet, or no more."""
        return Path(self.root, f".{number}-{attempt}-{uuid.uuid4().hex[:8]}")


def _sync(path: Path) -> None:
    """Have a file, or a directory's names, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(PermissionError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
