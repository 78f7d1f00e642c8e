"""Extensions by name: the folder is the registry.

A file of an extension folder that holds one public class with the folder's method is an extension
and its name is the file's; there is no list to edit. Classes from elsewhere are named
``package.module:Name``.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any


def names(folder: str, method: str) -> list[str]:
    """The sorted names of the extensions in a package, e.g. ``("spot_dask.infill", "propose")``.

    Only classes that can be made without arguments count: others need more than a name.
    """
    return [name for name in _files(folder) if _is_extension(f"{folder}.{name}", method)]


def find(folder: str, method: str, name: str, *, also: tuple[str, ...] = ()) -> Any:
    """An extension with its default settings, by file name or as ``package.module:Name``.

    ``also`` are further forms of a name that the caller understands, shown to the user. Raises
    ValueError if there is no such extension.
    """
    kind = folder.rpartition(".")[2].removesuffix("s")  # surrogates, infill
    if ":" in name:
        return _made(_load(kind, name), method, f"{kind} {name!r}")
    # Only the file that is asked for is imported: a neighbour may import much more.
    if name not in _files(folder) or not _is_extension(f"{folder}.{name}", method):
        known = ", ".join([*names(folder, method), *also])
        raise ValueError(f"no {kind} named {name!r}; there are: {known}")
    (found,) = _classes(importlib.import_module(f"{folder}.{name}"), method)
    return found()


def _files(folder: str) -> list[str]:
    package = importlib.import_module(folder)
    return sorted(info.name for info in pkgutil.iter_modules(package.__path__))


def _load(kind: str, name: str) -> Any:
    """What ``package.module:Name`` names."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{kind} {name!r} cannot be loaded ({error}); expected package.module:Name"
        ) from error


def _made(found: Any, method: str, label: str) -> Any:
    """The object itself, or one of the class, made without arguments."""
    if not callable(getattr(found, method, None)):
        raise ValueError(f"{label} has no method {method!r}; name a class that has it")
    if not isinstance(found, type):
        return found
    if needed := _required(found):
        raise ValueError(f"{label} cannot be made without arguments: it needs {', '.join(needed)}")
    return found()


def _is_extension(module: str, method: str) -> bool:
    found = _classes(importlib.import_module(module), method)
    return len(found) == 1 and not _required(found[0])


def _classes(module: ModuleType, method: str) -> list[type]:
    """The public classes defined in a module that have a method."""
    return [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and callable(getattr(value, method, None))
    ]


def _required(found: type) -> list[str]:
    """The arguments without which a class cannot be made."""
    parameters = inspect.signature(found).parameters.values()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]
