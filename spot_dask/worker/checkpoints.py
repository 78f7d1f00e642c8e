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
from dataclasses import dataclass
from pathlib import Path

from spot_dask.outputs import PARTIAL

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
