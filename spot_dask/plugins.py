"""Extensions by name: the folder is the registry.

A file of an extension folder that holds one public class with the folder's method is an extension
and its name is the file's; there is no list to edit. Classes from elsewhere are named
``package.module:Name``. Settings may follow a name as they do in Python: ``kriging(starts=4)``.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import pkgutil
from dataclasses import MISSING, fields, is_dataclass
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
    name, settings = parse(name)
    label = f"{kind} {name!r}"
    if ":" in name:
        return _made(_load(kind, name), method, settings, label)
    # Only the file that is asked for is imported: a neighbour may import much more.
    if name not in _files(folder) or not _is_extension(f"{folder}.{name}", method):
        known = ", ".join([*names(folder, method), *also])
        raise ValueError(f"no {kind} named {name!r}; there are: {known}")
    (found,) = _classes(importlib.import_module(f"{folder}.{name}"), method)
    return make(found, settings, label)


def name_of(component: object) -> str:
    """The name that ``find`` makes an equal component from; ValueError if there is none.

    Settings of a component are the fields of its dataclass that differ from their defaults.
    """
    if isinstance(component, str):
        return component
    kind = type(component)
    name = f"{kind.__module__}:{kind.__qualname__}"
    try:
        findable = importlib.util.find_spec(kind.__module__) is not None
    except (ImportError, ValueError):
        findable = False
    settings = _settings(component)
    if not findable or any(_literal(repr(value)) != value for value in settings.values()):
        raise ValueError(
            f"{component!r} cannot be recorded in a store and made again from there; give its name "
            "instead, such as 'kriging(starts=4)' or 'sklearn:ensemble.RandomForestRegressor()', "
            "or define it in an importable module"
        )
    listed = ", ".join(f"{key}={value!r}" for key, value in settings.items())
    return f"{name}({listed})" if listed else name


def parse(name: str) -> tuple[str, dict[str, Any]]:
    """``kriging(starts=4)`` as its name and its settings; ValueError if it is malformed."""
    head, parenthesis, rest = name.partition("(")
    if not parenthesis:
        return name, {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError("settings are given by name")
        return head, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise ValueError(
            f"{name!r} cannot be read ({error}); expected name(setting=value, ...), plain values"
        ) from None


def make(found: Any, settings: dict[str, Any], label: str) -> Any:
    """An object of a class with settings; ValueError if it does not take them."""
    try:
        return found(**settings)
    except TypeError as error:
        raise ValueError(f"{label} does not take these settings: {error}") from None


def _settings(component: object) -> dict[str, Any]:
    if not is_dataclass(component):
        return {}
    settings = {}
    for field in fields(component):
        value, factory = getattr(component, field.name), field.default_factory
        if value != (field.default if factory is MISSING else factory()):
            settings[field.name] = value
    return settings


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return None


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


def _made(found: Any, method: str, settings: dict[str, Any], label: str) -> Any:
    """The object itself, or one of the class, made with the settings alone."""
    if not callable(getattr(found, method, None)):
        raise ValueError(f"{label} has no method {method!r}; name a class that has it")
    if not isinstance(found, type):
        return found
    if needed := [name for name in _required(found) if name not in settings]:
        raise ValueError(f"{label} cannot be made without arguments: it needs {', '.join(needed)}")
    return make(found, settings, label)


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
