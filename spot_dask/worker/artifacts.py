"""Where the artifacts of trainings are kept: what they leave behind beside their metrics.

::

    ROOT/.run                          which run's they are
    ROOT/<trial>/                      what a successful training has saved
    ROOT/<trial>-<attempt>/            the same, where earlier attempts at the trial were lost
    ROOT/.<trial>-<attempt>-<random>/  a copy that is being made, or was when its maker was killed

    ROOT/<trial>/.complete             in a bucket: the names and sizes of its files, put last

A training saves in a temporary directory of its machine, so that a full disk elsewhere does not
cost its result. When it has ended well, all of it is copied, and the copy gets its name when it is
on disk and before anyone hears of the result. So a directory with such a name is complete, and an
evaluation that is in the store has its artifacts. In a bucket a directory is complete when its
``.complete`` is there. The coordinator makes ROOT, and removes what is not to be kept; a worker
that does not see it does not share it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from spot_dask.buckets import asked, is_address, objects_at
from spot_dask.errors import StoreError
from spot_dask.outputs import replacing

OWNER = ".run"
COMPLETE = ".complete"

SECONDS = 300.0
"""What a request for one part of a large file may take."""

PATIENCE_SECONDS = 60.0
"""For how long a failing request to a bucket is repeated."""

T = TypeVar("T")

_NAME = re.compile(r"(?:\.(\d+)-(\d+)-[0-9a-f]{8}|(\d+)(?:-(\d+))?)")


def attempt_of(name: str) -> tuple[int, int, bool] | None:
    """Trial and attempt of a directory, and whether it is complete; None for any other name."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    if found[1] is not None:
        return int(found[1]), int(found[2]), False
    return int(found[3]), int(found[4] or 0), True


class ArtifactPlace(Protocol):
    """Where the artifacts of a run, whose id is ``run``, are."""

    root: str
    """The directory or address, as a user would type it."""

    run: str

    remedy: ClassVar[str]
    """What to do where a worker does not see it."""

    @property
    def owner(self) -> str | None:
        """The id of the run whose artifacts are there; None where this machine sees none.

        Raises StoreError where a service does not answer.
        """
        ...

    def begin(self) -> None:
        """Make it, and sign it as this run's; raises OSError where that is not possible."""
        ...

    def end(self) -> None:
        """Remove it if it holds no artifacts."""
        ...

    def names(self) -> list[tuple[str, int, int, bool]]:
        """All artifacts: name, trial, attempt, whether they are complete."""
        ...

    def remove(self, name: str) -> None:
        """Remove artifacts; what cannot be removed stays."""
        ...

    def publish(self, saved: Path, number: int, attempt: int) -> None:
        """Keep a copy of a directory as the artifacts of an attempt.

        They are complete when all of it is stored. What was there is replaced: that of an attempt
        of which nobody has heard. Raises OSError, and leaves nothing complete, where that is not
        possible.
        """
        ...

    def address(self, number: int, attempt: int) -> str | None:
        """Where the complete artifacts of an attempt are; None where there are none."""
        ...

    def fetched(self, number: int, attempt: int, into: Path) -> Path:
        """The directory of complete artifacts: a copy in ``into`` if they are elsewhere.

        Raises OSError where they cannot be read.
        """
        ...


def name_of(number: int, attempt: int) -> str:
    """The name of the artifacts of an attempt that has ended well."""
    return f"{number}-{attempt}" if attempt else str(number)


@dataclass(frozen=True)
class ArtifactDirectory(ArtifactPlace):
    """Artifacts in a directory that all workers share."""

    root: str
    run: str
    remedy: ClassVar[str] = "give a directory that all workers share with --artifacts"

    @property
    def owner(self) -> str | None:
        try:
            return Path(self.root, OWNER).read_text("utf-8", "replace")
        except OSError:
            return None

    def begin(self) -> None:
        Path(self.root).mkdir(parents=True, exist_ok=True)
        if self.owner is None:
            with replacing(Path(self.root, OWNER)) as file:
                file.write(self.run.encode())

    def end(self) -> None:
        root = Path(self.root)
        with contextlib.suppress(OSError):
            if [path.name for path in root.iterdir()] == [OWNER]:
                (root / OWNER).unlink()
                root.rmdir()

    def names(self) -> list[tuple[str, int, int, bool]]:
        found = [(path.name, attempt_of(path.name)) for path in Path(self.root).iterdir()]
        return [(name, *attempt) for name, attempt in found if attempt is not None]

    def remove(self, name: str) -> None:
        shutil.rmtree(Path(self.root, name), ignore_errors=True)

    def publish(self, saved: Path, number: int, attempt: int) -> None:
        copy, target = self.aside(number, attempt), Path(self.root, name_of(number, attempt))
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

    def address(self, number: int, attempt: int) -> str | None:
        path = Path(self.root, name_of(number, attempt))
        return str(path) if path.is_dir() else None

    def fetched(self, number: int, attempt: int, into: Path) -> Path:
        return Path(self.root, name_of(number, attempt))

    def aside(self, number: int, attempt: int) -> Path:
        """A new path for what is no attempt's artifacts yet, or no more."""
        return Path(self.root, f".{number}-{attempt}-{uuid.uuid4().hex[:8]}")


@dataclass(frozen=True)
class ArtifactBucket(ArtifactPlace):
    """Artifacts in an object store, as files below ``root``, an address such as s3://bucket/name.

    Links are followed, and empty directories are not kept: an object store has neither.
    """

    root: str
    run: str
    remedy: ClassVar[str] = (
        "its workers need the package obstore, and the service's usual environment variables "
        "(AWS_..., GOOGLE_... or AZURE_...)"
    )

    @property
    def owner(self) -> str | None:
        signed = self._get(OWNER)
        return None if signed is None else signed.decode("utf-8", "replace")

    def begin(self) -> None:
        if self._get(OWNER) is None:
            self._put(OWNER, self.run.encode())

    def end(self) -> None:
        with contextlib.suppress(StoreError):
            if [*self._listed("")] == [OWNER]:
                self._discard([OWNER])

    def names(self) -> list[tuple[str, int, int, bool]]:
        files: dict[str, set[str]] = {}
        for key in self._listed(""):
            name, _, rest = key.partition("/")
            files.setdefault(name, set()).add(rest)
        found = [(name, attempt_of(name), rest) for name, rest in files.items()]
        return [
            (name, attempt[0], attempt[1], COMPLETE in rest)
            for name, attempt, rest in found
            if attempt is not None
        ]

    def remove(self, name: str) -> None:
        with contextlib.suppress(StoreError):
            self._discard([f"{name}/{COMPLETE}"])  # from now on it is none
            self._discard([f"{name}/{key}" for key in self._listed(f"{name}/")])

    def publish(self, saved: Path, number: int, attempt: int) -> None:
        name = name_of(number, attempt)
        files = {str(path.relative_to(saved)): path for path in saved.rglob("*") if path.is_file()}
        if COMPLETE in files:
            raise OSError(f"a file named {COMPLETE} cannot be kept in a bucket")
        try:
            self.remove(name)
            for key, path in files.items():
                self._put(f"{name}/{key}", path)
            sizes = {key: path.stat().st_size for key, path in files.items()}
            self._put(f"{name}/{COMPLETE}", json.dumps(sizes).encode())
        except StoreError as error:
            self.remove(name)
            raise OSError(str(error)) from error

    def address(self, number: int, attempt: int) -> str | None:
        name = name_of(number, attempt)
        return None if self._get(f"{name}/{COMPLETE}") is None else f"{self.root}/{name}"

    def fetched(self, number: int, attempt: int, into: Path) -> Path:
        name = name_of(number, attempt)
        target, aside = into / name, into / f".{name}-{uuid.uuid4().hex[:8]}"
        if target.is_dir():
            return target  # they never change
        sizes = json.loads(self._get(f"{name}/{COMPLETE}") or b"{}")
        aside.mkdir(parents=True)
        try:
            for key, size in sizes.items():
                path = aside / key
                if not path.resolve().is_relative_to(aside.resolve()):
                    raise OSError(f"{key!r} is no name of a file among the artifacts in {name}")
                path.parent.mkdir(parents=True, exist_ok=True)
                self._download(f"{name}/{key}", path)
                if path.stat().st_size != size:
                    raise OSError(f"{self.root}/{name}/{key} is not whole")
            aside.rename(target)
        except StoreError as error:
            raise OSError(str(error)) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return target

    # ------------------------------------------------------------ requests

    def _asked(self, doing: str, key: str, request: Callable[[Any, Any], T]) -> T:
        objects = _objects(self.root, tuple(sorted(os.environ.items())))
        import obstore  # after objects_at, which says what to install

        what = f"{doing} {key or 'anything'} of {self.root}"
        return asked(what, PATIENCE_SECONDS, lambda: request(obstore, objects))

    def _get(self, key: str) -> bytes | None:
        def read(obstore: Any, objects: Any) -> bytes | None:
            try:
                return bytes(obstore.get(objects, key).bytes())
            except FileNotFoundError:
                return None

        return self._asked("read", key, read)

    def _put(self, key: str, data: bytes | Path) -> None:
        self._asked("write", key, lambda obstore, objects: obstore.put(objects, key, data))

    def _listed(self, prefix: str) -> list[str]:
        """The keys below a prefix, without it."""

        def read(obstore: Any, objects: Any) -> list[str]:
            pages = obstore.list(objects, prefix or None)
            return [each["path"].removeprefix(prefix) for page in pages for each in page]

        return self._asked("list", prefix, read)

    def _discard(self, keys: list[str]) -> None:
        def remove(obstore: Any, objects: Any) -> None:
            with contextlib.suppress(FileNotFoundError):
                for key in keys:
                    obstore.delete(objects, key)

        self._asked("remove from", keys[0] if keys else "", remove)

    def _download(self, key: str, path: Path) -> None:
        def read(obstore: Any, objects: Any) -> None:
            with path.open("wb") as file:
                for chunk in obstore.get(objects, key).stream():
                    file.write(chunk)

        self._asked("read", key, read)


@lru_cache(maxsize=8)
def _objects(root: str, environment: tuple[tuple[str, str], ...]) -> Any:
    """The objects below an address, with open connections; ``environment`` has credentials."""
    return objects_at(root, SECONDS)


def artifact_place(root: str, run: str) -> ArtifactPlace:
    """The place for a run's artifacts at a directory or an address."""
    return ArtifactBucket(root, run) if is_address(root) else ArtifactDirectory(root, run)


def _sync(path: Path) -> None:
    """Have a file, or a directory's names, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(PermissionError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
