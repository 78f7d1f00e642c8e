"""Components by name: the folder is the registry.

A file of an extension folder that holds one public class with the folder's method is an extension
and its name is the file's; there is no list to edit. The forms of a name:

================================================= =============================================
``log_nei``                                       the file of that name, with default settings
``kriging(starts=4)``                             with settings: plain values, by name
``mean(kriging, kriging(starts=4))``              with other components, the field ``parts``
``sklearn:ensemble.ExtraTreesRegressor()``        what the file ``sklearn`` makes of the rest
``package.module:Name(size=3)``                   a class, or an object, from anywhere
================================================= =============================================

A name that was read from data is not *trusted*: it may name the files of the folder, and what
these make of it without running foreign code. Everything else raises ``NotLoaded``.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import math
import pkgutil
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import wraps
from types import ModuleType
from typing import Any
from weakref import WeakValueDictionary

from spot_dask.errors import did_you_mean, shown

DEEPEST = 8  # brackets in brackets in a name
LONGEST = 4000  # characters of a name
LARGEST = 10_000  # whole numbers in a name that is not trusted: nobody waits for a million trees
LARGEST_PRODUCT = 1_000_000  # of those in one list: the weights of a network


class NotLoaded(ValueError):
    """Data name a component that only a study may load."""

    def __init__(self, label: str, why: str = "it runs code that the store only names") -> None:
        super().__init__(f"{label} is not loaded: {why}; give the study's file")


@dataclass(frozen=True)
class Named:
    """A name taken apart: ``head(part, part, setting=value)``."""

    head: str
    parts: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


def names(folder: str, method: str) -> list[str]:
    """The sorted names of the extensions in a package, e.g. ``("spot_dask.infill", "propose")``.

    Only classes that can be made without arguments count: others need more than a name. A file that
    cannot be loaded counts, too: ``find`` says what is wrong with it.
    """
    found = []
    for name in _files(folder):
        try:
            kinds = _extensions(f"{folder}.{name}", method)
            if len(kinds) == 1 and not _required(kinds[0]):
                found.append(name)
        except ValueError:
            found.append(name)
    return found


def find(
    folder: str, method: str, name: str, *, also: tuple[str, ...] = (), trusted: bool = True
) -> Any:
    """The extension of that name, an object that has the method; the forms stand above.

    ``also`` are further forms of a name, shown to the user. Raises ValueError if there is no such
    extension, NotLoaded where a name that is not trusted stands for foreign code.
    """
    kind = folder.rpartition(".")[2].removesuffix("s")  # surrogates, infill
    named = parse(name) if trusted else _bounded(parse(name))
    label = f"{kind} {shown(named.head)}"
    head, colon, rest = named.head.partition(":")
    if (
        colon
        and head.startswith(f"{folder}.")
        and head.removeprefix(f"{folder}.") in _files(folder)
    ):
        head, colon = head.removeprefix(f"{folder}."), ""  # a class of ours by its full name
    ours = importlib.import_module(f"{folder}.{head}") if colon and head in _files(folder) else None
    if ours is not None and hasattr(ours, "named"):
        if named.parts:
            raise ValueError(f"{label} takes settings by name, not {', '.join(named.parts)}")
        return ours.named(rest, named.settings, trusted)
    if colon and not trusted:
        raise NotLoaded(label)
    if colon:
        found = _load(kind, named.head)
        if not callable(getattr(found, method, None)):
            raise ValueError(f"{label} has no method {method!r}; name a class that has it")
        if not isinstance(found, type):
            return found
    else:
        # Only the file that is asked for is imported: a neighbour may import much more.
        found = _of_the_folder(folder, method, named.head, head, rest, also)
    settings = named.settings
    if named.parts:
        settings |= {
            "parts": tuple(find(folder, method, p, also=also, trusted=trusted) for p in named.parts)
        }
    if needed := [name for name in _required(found) if name not in settings]:
        raise ValueError(f"{label} cannot be made without arguments: it needs {', '.join(needed)}")
    check_settings(label, found, settings)
    try:
        return found(**settings)
    except TypeError as error:
        raise ValueError(f"{label} does not take these settings: {error}") from None


def check_settings(label: str, found: type, settings: Iterable[str]) -> None:
    """Raise ValueError, with the nearest name, for a setting that a class does not have."""
    parameters = inspect.signature(found).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for name in settings:
        if name not in parameters:
            there = ", ".join(parameters) or "none"
            near = did_you_mean(name, parameters)
            raise ValueError(f"{label} has no setting {shown(name)}, there are {there}{near}")


def name_of(component: object) -> str:
    """The name that ``find`` makes an equal component from; ValueError if there is none.

    Settings of a component are the fields of its dataclass that differ from their defaults.
    """
    if isinstance(component, str):
        return component
    kind = type(component)
    try:
        findable = importlib.util.find_spec(kind.__module__) is not None
    except (ImportError, ValueError):
        findable = False
    listed, settings = [], _settings(component)
    if isinstance(settings.get("parts"), tuple):
        listed += [name_of(part) for part in settings.pop("parts")]
    if not findable or any(_literal(repr(value)) != value for value in settings.values()):
        raise ValueError(
            f"{component!r} cannot be recorded in a store and made again from there; give its name "
            "instead, such as 'kriging(starts=4)' or 'sklearn:ensemble.RandomForestRegressor()', "
            "or define it in an importable module"
        )
    listed += [f"{key}={value!r}" for key, value in settings.items()]
    name = f"{kind.__module__}:{kind.__qualname__}"
    return f"{name}({', '.join(listed)})" if listed else name


def same(one: object, other: object) -> bool:
    """Whether two components are equal, or of one class with equal attributes."""
    if type(one) is not type(other):
        return False
    try:
        return bool(one == other) or getattr(one, "__dict__", 0) == getattr(other, "__dict__", 1)
    except ValueError:  # of arrays
        return False


def parse(name: str) -> Named:
    """``kriging(starts=4)`` taken apart; ValueError if it is malformed, too long or too deep."""
    head, parenthesis, rest = name.partition("(")
    if not parenthesis:
        return Named(name)
    parts: list[str] = []
    settings: dict[str, Any] = {}
    try:
        if len(name) > LONGEST:
            raise ValueError(f"it has more than {LONGEST} characters")
        for piece in filter(None, map(str.strip, _pieces(rest))):
            setting = re.match(r"(\w+)\s*=(?!=)", piece)
            if setting is None:
                parts.append(piece)
            elif setting[1] in settings:
                raise ValueError(f"{setting[1]} is set twice")
            else:
                settings[setting[1]] = _value(piece[setting.end() :].strip())
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        shown = name if len(name) <= 200 else f"{name[:200]}..."
        raise ValueError(
            f"{shown!r} cannot be read ({error}); expected name(setting=value, ...), plain values"
        ) from None
    return Named(head, tuple(parts), settings)


def _value(text: str) -> Any:
    """The value that a text of Python stands for; ValueError where it is no plain one."""
    try:
        return ast.literal_eval(text)
    except ValueError:
        raise ValueError(f"{text[:60]} is no plain value") from None


def check_call(label: str, method: Callable[..., object], *arguments: str) -> None:
    """Raise ValueError unless a method can be called with so many arguments, named for the user."""
    try:
        signature = inspect.signature(method)
    except ValueError:  # a method of C need not tell
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise ValueError(f"{label} does not take ({', '.join(arguments)}): {error}") from None


def once(check: Callable[[Any], None]) -> Callable[[Any], None]:
    """A check of components that is not made again of a name or an object that has passed it."""
    passed: set[str] = set()
    objects: WeakValueDictionary[int, object] = WeakValueDictionary()

    @wraps(check)
    def checked(component: Any) -> None:
        if isinstance(component, str):
            if component not in passed:
                check(component)
                passed.add(component)
        elif objects.get(id(component)) is not component:
            check(component)
            with suppress(TypeError):  # one that cannot be referred to is checked again
                objects[id(component)] = component

    return checked


def _pieces(text: str) -> list[str]:
    """What stands between the outer commas of ``a, b(c, d), e=[1, 2])``."""
    pieces, depth, quote, start = [], 1, "", 0
    for i, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        if depth > DEEPEST:
            raise ValueError(f"brackets are nested more than {DEEPEST} deep")
        if depth == 0 or (depth == 1 and character == "," and not quote):
            pieces.append(text[start:i])
            start = i + 1
        if depth == 0:
            break
    if depth > 0 or text[start:].strip():
        raise ValueError("its parentheses do not match")
    return pieces


def _bounded(named: Named) -> Named:
    """The name; raises NotLoaded where its settings ask for work without end."""
    if not _is_small("", named.settings):
        raise NotLoaded(shown(named.head), "the store gives it settings that may take for ever")
    return named


def _is_small(name: str, value: Any) -> bool:
    """Whether no number of a setting makes work without end; a seed is none that does."""
    if name.endswith("random_state"):
        return True
    if isinstance(value, dict):
        return all(_is_small(str(key), inner) for key, inner in value.items())
    if isinstance(value, list | tuple | set):
        numbers = [abs(inner) for inner in value if isinstance(inner, int) and inner]
        return math.prod(numbers) <= LARGEST_PRODUCT and all(_is_small("", v) for v in value)
    return not isinstance(value, int) or abs(value) <= LARGEST


def _settings(component: object) -> dict[str, Any]:
    if not is_dataclass(component):
        return {}
    settings = {}
    for own in fields(component):
        value, factory = getattr(component, own.name), own.default_factory
        if value != (own.default if factory is MISSING else factory()):
            settings[own.name] = value
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
            f"{kind} {shown(name)} cannot be loaded ({error}); expected package.module:Name"
        ) from error


def _of_the_folder(
    folder: str, method: str, name: str, head: str, rest: str, also: tuple[str, ...]
) -> type:
    """The class in the file ``head``, called ``rest`` if that is given; ValueError without one."""
    there = head in _files(folder)
    kinds = _extensions(f"{folder}.{head}", method) if there else []
    if len(kinds) == 1 and rest in ("", kinds[0].__name__):
        return kinds[0]
    why = ""
    if there and len(kinds) != 1:
        listed = ", ".join(each.__name__ for each in kinds) or "no public class"
        why = f" ({folder}.{head} has {listed} with {method!r}; expected one class)"
    kind = getattr(importlib.import_module(folder), "KIND", "")
    kind = kind or folder.rpartition(".")[2].removesuffix("s")
    known = ", ".join([*names(folder, method), *also])
    raise ValueError(f"no {kind} named {shown(name)}{why}; there are: {known}")


def _extensions(module: str, method: str) -> list[type]:
    """The public classes defined in a module of ours that have a method: one of an extension."""
    try:
        loaded: ModuleType = importlib.import_module(module)
    except Exception as error:
        raise ValueError(f"{module} cannot be loaded: {type(error).__name__}: {error}") from error
    return [
        value
        for name, value in vars(loaded).items()
        if inspect.isclass(value)
        and value.__module__ == module
        and not name.startswith("_")
        and callable(getattr(value, method, None))
    ]


def _required(found: type) -> list[str]:
    """The arguments without which a class cannot be made."""
    parameters = inspect.signature(found).parameters.values()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]
