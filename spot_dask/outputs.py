"""Where results are written that are no part of a store, and how: whole, or not at all.

Two runs never have one folder for their results, none is in a store, and nothing that was there is
changed through a link: a file is written aside and takes the place of the old one.
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO

PARTIAL = ".partial"
"""How the name of a file ends that is not complete."""

RESULTS = ".results"
STORE = ".zarr"


def beside(store: Path | str) -> Path:
    """The folder for a store's results: ``run`` beside ``run.zarr``; ``lr0.1.results`` of lr0.1.

    ``run.zarr.results`` where ``run`` is a store itself. Of the address of a bucket (a text) the
    folder is in the current directory.
    """
    here = Path(PurePath(store).name) if isinstance(store, str) else store
    folder = here.with_name(here.name.removesuffix(STORE) or RESULTS)
    if folder == here or (folder / "zarr.json").exists():
        return here.with_name(f"{here.name}{RESULTS}")
    return folder


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that replaces ``path`` once it is complete and on disk, or never.

    A reader of ``path`` in the meantime, or after a crash, finds the old content; what ``path``
    linked to stays as it is. Raises OSError, also where ``path`` is a device or a pipe.

    >>> from pathlib import Path
    >>> from spot_dask import replacing
    >>> with replacing(Path("weights.bin")) as file:
    ...     _ = file.write(b"1234")
    >>> Path("weights.bin").read_bytes()
    b'1234'
    """
    if path.exists() and not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
        raise OSError(errno.EINVAL, "it is no regular file")
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")
    try:
        with aside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write files of UTF-8, each whole or not at all; makes their directories. Raises OSError."""
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(text.encode())
