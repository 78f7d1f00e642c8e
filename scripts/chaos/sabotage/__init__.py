"""Ways to break the product: a chaos run that does not find them shows nothing.

``sitecustomize`` beside this file breaks every Python process of a run that is to be broken.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

VARIABLE = "SPOT_CHAOS_SABOTAGE"
"""The environment's variable that names the way."""


def no_attach(module: ModuleType) -> None:
    """A new coordinator does not look for what runs, and does not use its keys again."""

    def nothing(self: Any) -> Iterator[Any]:
        return iter(())

    def key(self: Any, number: int, attempt: int) -> str:
        return f"spot:{self._run_id}:{number}:a{attempt}:{os.getpid()}"

    module.DaskExecutor._attach = nothing  # type: ignore[attr-defined]
    module.DaskExecutor._key = key  # type: ignore[attr-defined]


def double_commit(module: ModuleType) -> None:
    """Every seventh record is written twice."""
    append = module.Journal.append  # type: ignore[attr-defined]

    def twice(self: Any, entry: Any) -> Any:
        record = append(self, entry)
        return append(self, entry) if record.seq % 7 == 0 else record

    module.Journal.append = twice  # type: ignore[attr-defined]


def forgetful_store(module: ModuleType) -> None:
    """Some evaluations are taken for durable before they are written, and never are."""
    append = module.Journal.append  # type: ignore[attr-defined]

    def sometimes(self: Any, entry: Any) -> Any:
        told = getattr(entry, "evaluation", None)
        if told is not None and told.trial.number % 11 == 10:
            return self.records()[-1]
        return append(self, entry)

    module.Journal.append = sometimes  # type: ignore[attr-defined]


def no_death_signal(module: ModuleType) -> None:
    """The kernel is not told to end a training with its worker."""
    load = module.CDLL

    def without_prctl(name: Any, *args: Any, **options: Any) -> Any:
        library = load(name, *args, **options)
        if name is None:
            library.prctl = lambda *ignored: 0
        return library

    module.CDLL = without_prctl  # type: ignore[attr-defined]


SABOTAGE: dict[str, tuple[str, Callable[[ModuleType], None]]] = {
    "no attach": ("spot_dask.executors.dask", no_attach),
    "double commit": ("spot_dask.store.journal", double_commit),
    "forgetful store": ("spot_dask.store.journal", forgetful_store),
    "no death signal": ("ctypes", no_death_signal),
}
"""Name -> the module to break and how."""


class Saboteur:
    """An import hook that breaks a module as soon as it is loaded."""

    def __init__(self, target: str, act: Callable[[ModuleType], None]) -> None:
        self._target, self._act = target, act

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name != self._target:
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec

        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Breaking(spec.loader, self._act)
        return spec


class _Breaking:
    """A loader that breaks what another one has loaded."""

    def __init__(self, loader: Any, act: Callable[[ModuleType], None]) -> None:
        self._loader, self._act = loader, act

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._act(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)  # runpy asks for the code of a module
