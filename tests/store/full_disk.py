"""A disk that is full until somebody makes room: a real one of 3 MB, or an injected error."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from spot_dask.store.files import Directory

MEGABYTE = 2**20


@dataclass(frozen=True)
class Disk:
    folder: Path
    fill: Callable[[], None]
    free: Callable[[], None]


@contextmanager
def small(folder: Path) -> Iterator[Disk]:
    """A file system of 3 MB; skips the test where none can be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "spot-dask-test", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    filler = folder / "filler"

    def fill() -> None:
        with filler.open("ab", buffering=0) as file:
            for size in (MEGABYTE, 4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    assert error.errno == errno.ENOSPC  # noqa: PT017

    try:
        yield Disk(folder, fill, filler.unlink)
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def injected(folder: Path) -> Iterator[Disk]:
    """Any file system, on which every write of the store fails while it is full."""
    folder.mkdir()
    full = False

    def fill() -> None:
        nonlocal full
        full = True

    def free() -> None:
        nonlocal full
        full = False

    write = Directory._write

    def failing(self: Directory, path: Path, data: bytes) -> None:
        write(self, path, data[:10] if full else data)
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Directory, "_write", failing)
        yield Disk(folder, fill, free)


DISKS = {"tmpfs of 3 MB": small, "injected": injected}
