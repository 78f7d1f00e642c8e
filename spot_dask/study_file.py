"""Loading a study: ``file.py[:name]`` or ``file.toml``, with settings laid over it.

The study file runs as a module of a name of its own, and what it defines travels to the workers by
value, so that no worker needs the file. Everything a user can get wrong is a StudyError of one
line.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shlex
import signal
import stat
import sys
import threading
import tomllib
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from importlib.machinery import ModuleSpec
from itertools import islice
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import cloudpickle

from spot_dask.errors import StudyError, did_you_mean, shown
from spot_dask.records import is_source
from spot_dask.settings import (
    COMPONENT,
    KEYS,
    GivenValue,
    Key,
    one_line,
    parse_override,
    plain,
)
from spot_dask.space import Integer, Parameter, Real, Space
from spot_dask.space.parameters import naming
from spot_dask.space.space import parameter_from_json
from spot_dask.store.backend import address
from spot_dask.study import Study
from spot_dask.tasks import nearest
from spot_dask.tasks.program import ProgramTask
from spot_dask.trackers import names as tracker_names

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A study with its settings applied, and where it is to run and be kept."""

    study: Study
    scheduler: str | None = None
    local: int | None = None
    store: Path | str | None = None


def load(target: str, overrides: Iterable[str | GivenValue] = ()) -> Loaded:
    """The study named by ``file.py[:name]`` or ``file.toml``, with ``KEY=VALUE`` overrides.

    Raises StudyError, in one line, for whatever is wrong with the file, the study or a setting.
    """
    found = locate(target)
    given = [parse_override(o) if isinstance(o, str) else o for o in overrides]
    return _loaded(found, read_text(found.file), given)


def reload(
    recorded: Mapping[str, Any],
    target: str | None = None,
    agrees: Callable[[str], bool] = lambda doubt: False,
) -> Loaded:
    """The study of a run from ``Header.study``: from the file named there, or from ``target``.

    Whoever wrote the store wrote the header, so a file that may not be the one the run was begun
    with is run only if ``agrees`` says so of the doubt. Recorded overrides are applied again, but
    for the names of components: those of the run are settings that ``Study.under`` restores.
    Raises StudyError in one line, also if the run was begun from Python and there is no target.
    """
    overrides = recorded.get("overrides", [])
    if not (isinstance(overrides, list) and all(isinstance(text, str) for text in overrides)):
        raise StudyError("the store's overrides of its study cannot be read")
    given = [parse_override(text, "recorded") for text in overrides]
    ignored = [key for key, declared in KEYS.items() if declared.kind is COMPONENT]
    given = [item for item in given if not _is_foreign(item)]
    if target is not None:
        found = locate(target)
        return _loaded(found, read_text(found.file), given, ignored)
    if "file" not in recorded:
        raise StudyError("this run was begun from Python; name its study with --study FILE")
    file, name = recorded["file"], recorded.get("name")
    if not (isinstance(file, str) and isinstance(name, str) and f"{file}{name}".isprintable()):
        raise StudyError("the store does not tell its study's file; name it with --study FILE")
    path = Path(file)
    try:
        state = path.stat()
    except OSError as error:
        gone = f"the run's study is gone: {file}; name its new place with --study"
        raise StudyError(gone) from error
    known = path.suffix in (".py", ".toml")
    if not (path.is_absolute() and known and stat.S_ISREG(state.st_mode)):
        raise StudyError(f"{file} is no study's file by its full path; name it with --study FILE")
    text, doubt = read_text(path), None
    if state.st_uid not in (0, os.getuid()):
        doubt = f"{file}, the run's study, is another user's"
    elif not is_source(recorded, text):
        doubt = f"{file} has changed since the run began"
    if doubt is not None and not agrees(doubt):
        own = file if path.suffix == ".toml" else f"{file}:{name}"
        raise StudyError(f"{doubt}; to run it as it is, add --study {own}")
    found = Target(path, name) if path.suffix == ".py" else locate(file)
    return _loaded(found, text, given, ignored)


def _is_foreign(given: GivenValue) -> bool:
    """Whether it names trackers that a store alone may not: others than ours as they are.

    With settings they may write, or send what is measured, to where the store wants it.
    """
    if given.key != ("study", "trackers"):
        return False
    named = given.value if isinstance(given.value, list) else [given.value]
    if all(name in tracker_names() for name in named):
        return False
    flags = " ".join(f"--track {shlex.quote(str(name))}" for name in named)
    logger.warning("the run was tracked, too; to go on with that, add %s", flags)
    return True


def _loaded(
    found: Target, text: str, given: Sequence[GivenValue], ignored: Collection[Key] = ()
) -> Loaded:
    """The study of a file with this text and settings laid over it, but for the keys ignored."""
    if found.program is not None:
        name, study = "program", program_study(found.program, str(found.file))
    else:
        name, study = _pick(_execute(found.file, text), found)
    settings = (*found.settings, *given)
    loaded = _apply(study, [*found.settings, *(s for s in given if s.key not in ignored)])
    kept = [str(setting) for setting in settings if setting.key[0] != "store"]
    file = str(found.file.resolve())
    loaded.study.source = {"file": file, "name": name, "overrides": kept, "text": text}
    return loaded


# --- which study ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """Which study is meant: its Python file, the name in it, and settings that came along.

    Or a TOML file that is all of it, and the tables in it that say so.
    """

    file: Path
    name: str | None
    settings: tuple[GivenValue, ...] = ()
    program: Mapping[str, Any] | None = None


def locate(target: str) -> Target:
    """Which Python file and name a STUDY argument means; reads a TOML file, runs nothing."""
    bare = target.endswith((".py", ".toml"))
    file, _, name = (target, "", "") if bare else target.rpartition(":")
    path = Path(file)
    if path.suffix not in (".py", ".toml"):
        raise StudyError(f"{target}: expected a study as file.py, file.py:name or file.toml")
    if not path.is_file():
        raise StudyError(f"{file}: no such file; `spot-dask init` writes a study to start from")
    if path.suffix == ".py":
        return Target(path, name or None)
    if name:
        raise StudyError(f'{target}: a name goes into the file: [study] file = "study.py:{name}"')
    try:
        data = tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise StudyError(f"{path}: not valid TOML: {one_line(error)}") from error
    program: dict[str, Any] | None = None
    if "program" in data:
        program = {key: data.pop(key) for key in ("program", "space", "where") if key in data}
    settings = {setting.key: setting for setting in _flatten(data, (), str(path))}
    if program is not None:
        _beside(path, settings)
        return Target(path, None, tuple(settings.values()), program)
    which = settings.pop(("study", "file"), None)
    if which is None:
        raise StudyError(
            f'{path}: which study? Add [study] file = "study.py:study", or a [program]'
        )
    study, _, name = str(which.value).partition(":")
    python = path.parent / study
    if python.suffix != ".py" or not python.is_file():
        raise which.error(f"no such Python file: {python}")
    _beside(path, settings)
    return Target(python, name or None, tuple(settings.values()))


def _beside(path: Path, settings: dict[Key, GivenValue]) -> None:
    """Have the store's path begin where the TOML file is."""
    store = settings.get(("store", "path"))
    if store is not None and isinstance(store.value, str):
        where = address(store.value)
        if isinstance(where, Path):
            settings[store.key] = replace(store, value=str(path.parent / where))


def program_study(tables: Mapping[str, Any], where: str) -> Study:
    """The study of a TOML file alone: ``[program]``, ``[space.NAME]`` and ``where``.

    Raises StudyError, in one line, for what is wrong in it.
    """
    try:
        given = tables["program"]
        if not isinstance(given, Mapping):
            raise ValueError(f"program is {shown(given)}; expected a table, [program]")
        known = [item.name for item in fields(ProgramTask)]
        for key in given:
            if key not in known:
                raise ValueError(f"program.{key} is unknown{nearest(key, known)}")
        if "command" not in given:
            raise ValueError("[program] has no command; expected such as 'python main.py {...}'")
        task = ProgramTask(**{"cwd": str(Path(where).resolve().parent), **given})
        space = Space(_parameters(tables.get("space", {}), ()))
        conditions = tables.get("where", [])
        for condition in [conditions] if isinstance(conditions, str) else conditions:
            space = space.where(condition)
        return Study(space, task)
    except (ValueError, TypeError) as error:
        raise StudyError(f"{where}: {one_line(error)}") from error


def _parameters(tables: Any, start: tuple[str, ...]) -> dict[str, Parameter]:
    """Parameters by name; a table without a type holds those whose names begin with its own."""
    if not isinstance(tables, Mapping):
        raise ValueError(f"{'.'.join(('space', *start))} is {shown(tables)}; expected a table")
    found: dict[str, Parameter] = {}
    for key, value in tables.items():
        name = ".".join((*start, key))
        if isinstance(value, Mapping) and not isinstance(value.get("type", {}), Mapping):
            with naming(f"space.{name}"):
                found[name] = parameter_from_json(dict(value))
        elif isinstance(value, Mapping):
            found |= _parameters(value, (*start, key))
        else:
            raise ValueError(
                f"space.{name} is {shown(value)}; expected a table with a type, real, integer or "
                "categorical"
            )
    return found


def _flatten(table: Mapping[str, Any], key: Key, where: str) -> Iterator[GivenValue]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, (*key, name), where)
        else:
            yield GivenValue((*key, name), value, where)


def read_text(path: Path) -> str:
    """The text of a file; raises StudyError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read: {one_line(error)}") from error


# --- running the file -------------------------------------------------------------------------


def _execute(path: Path, text: str) -> ModuleType:
    """Run a study file as a module of its own name, registered to travel by value.

    One in a directory with ``__init__.py`` belongs to that package, and may import from it.
    """
    file = path.resolve()
    digest = hashlib.sha256(str(file).encode()).hexdigest()[:8]
    name = f"{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest}"
    places = [file.parent]
    while (places[-1] / "__init__.py").is_file():
        name = f"{places[-1].name}.{name}"
        places.append(places[-1].parent)
    places = list(dict.fromkeys((places[0], places[-1])))
    module = ModuleType(name)
    module.__file__ = str(file)
    module.__spec__ = ModuleSpec(name, None, origin=str(file))
    module.__package__ = module.__spec__.parent
    for helper, place in list(_helpers_of.items()):
        if place != places[-1]:  # another study's, whose name this one's may have, too
            for known in [n for n in sys.modules if n == helper or n.startswith(f"{helper}.")]:
                del sys.modules[known]
            del _helpers_of[helper]
    before = set(sys.modules)
    sys.modules[name] = module
    try:
        with _importable(places), _heard() as interrupted:
            exec(compile(text, str(file), "exec"), module.__dict__)
    except BaseException as error:  # whatever a user's file raises is told in one line
        del sys.modules[name]
        if interrupted:
            raise
        raise StudyError(_blame(error, path)) from error
    cloudpickle.register_pickle_by_value(module)
    for own in _helpers(set(sys.modules) - before, places):
        cloudpickle.register_pickle_by_value(own)
        _helpers_of[own.__name__] = places[-1]
    return module


@contextmanager
def _heard() -> Iterator[list[int]]:
    """A list that holds the signal when Ctrl-C was pressed, and not where code raises the same."""
    heard: list[int] = []
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not (ours and threading.current_thread() is threading.main_thread()):
        yield heard
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield heard
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:  # else the study has one of its own
            signal.signal(signal.SIGINT, signal.default_int_handler)


_helpers_of: dict[str, Path] = {}
"""The modules that travel by value, and the directories of their studies."""


@contextmanager
def _importable(places: Sequence[Path]) -> Iterator[None]:
    paths = [str(place) for place in places]
    sys.path[:0] = paths
    try:
        yield
    finally:
        for path in paths:
            sys.path.remove(path)
        # At the end, for what a training imports when it runs; the path travels with every trial.
        sys.path.extend(path for path in paths if path not in sys.path)


def _helpers(names: Iterable[str], places: Sequence[Path]) -> list[ModuleType]:
    """New top-level modules that only the study's places have: no worker could import them."""
    own = []
    for name in sorted(name for name in names if "." not in name):
        module = sys.modules[name]
        file = getattr(module, "__file__", None)
        file = file or next(iter(getattr(module, "__path__", ())), None)
        if file is not None and Path(file).is_relative_to(places[-1]):
            own.append(name)
    saved = sys.path[:]
    sys.path[:] = [path for path in saved if Path(path).resolve() not in places]
    try:
        finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
        lost = [n for n in own if all(f.find_spec(n, None) is None for f in finders)]
    finally:
        sys.path[:] = saved
    return [sys.modules[name] for name in lost]


def _blame(error: BaseException, path: Path) -> str:
    """``file:line: what`` of an exception that left a study file."""
    own = str(path.resolve())
    if isinstance(error, SyntaxError):
        return f"{path if error.filename == own else error.filename}:{error.lineno}: {error.msg}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == own]
    kind, told = type(error).__name__, one_line(error)
    if told != kind and type(error) not in (ValueError, StudyError):
        told = f"{kind}: {told}"
    what = f"{path}:{lines[-1] if lines else 1}: {told}"
    if isinstance(error, ImportError) and "no known parent package" in str(error):
        return f"{what}; an empty {path.parent / '__init__.py'} makes its directory a package"
    return what


def _pick(module: ModuleType, found: Target) -> tuple[str, Study]:
    """The study that is meant, and its name; StudyError where that is not clear."""
    studies: dict[str, Study] = {}
    for name, value in vars(module).items():
        if isinstance(value, Study) and not any(value is known for known in studies.values()):
            studies[name] = value
    if found.name is not None:
        value = getattr(module, found.name, None)
        if isinstance(value, Study):
            return found.name, value
        problem = f"no Study named {found.name!r}; there are: {', '.join(studies) or 'none'}"
    elif len(studies) == 1:
        return next(iter(studies.items()))
    elif studies:
        listing = ", ".join(f"{found.file}:{name}" for name in studies)
        problem = f"several studies; say which: {listing}"
    else:
        own = (
            n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__
        )
        defined = ", ".join(own) or "nothing"
        problem = f"no Study in it (it defines: {defined}); add study = Study(space=..., task=...)"
    raise StudyError(f"{found.file}: {problem}")


# --- applying settings ------------------------------------------------------------------------


def _apply(study: Study, settings: Sequence[GivenValue]) -> Loaded:
    """The study with settings laid over it, of which a later one wins.

    Raises StudyError, which names the settings that are wrong.
    """
    try:
        return _laid_over(study, settings)
    except (ValueError, TypeError) as error:
        where = ", ".join(dict.fromkeys(s.told for s in _at_fault(study, settings))) or "study"
        raise StudyError(f"{where}: {one_line(error)}") from error


def _at_fault(study: Study, settings: Sequence[GivenValue]) -> list[GivenValue]:
    """Of settings that cannot be laid over a study together, those without any of which they can.

    Where there are several faults, the one that comes first.
    """

    def fits(some: Sequence[GivenValue]) -> bool:
        try:
            _laid_over(study, some)
        except (ValueError, TypeError):
            return False
        return True

    single = [s for i, s in enumerate(settings) if fits([*settings[:i], *settings[i + 1 :]])]
    first = (s for i, s in enumerate(settings) if not fits(settings[: i + 1]))
    return single or [*islice(first, 1)]


def _laid_over(study: Study, settings: Sequence[GivenValue]) -> Loaded:
    """The study with settings; raises ValueError or TypeError where these do not fit together."""
    values: dict[Key, Any] = {}
    prior: list[GivenValue] = []
    limits = dict(study.constraints)
    for setting in settings:
        setting = replace(setting, key=_with_dots(setting.key, study.space))
        declared = KEYS.get(setting.key)
        if setting.key[0] == "prior" and len(setting.key) in (2, 3):
            prior.append(setting)
            continue
        if setting.key[0] == "constraints" and len(setting.key) > 1:
            limits[".".join(setting.key[1:])] = setting.value
            continue
        if declared is None and setting.key not in _space_keys(study.space):
            raise _unknown(setting, study.space)
        try:
            values[setting.key] = declared.read(setting.value) if declared else plain(setting.value)
        except ValueError as error:
            raise setting.error(error) from error

    def part(table: str) -> dict[str, Any]:
        return {key[1]: value for key, value in values.items() if key[0] == table}

    store = values.get(("store", "path"))
    nested = {name: replace(getattr(study, name), **part(name)) for name in Study.nested()}
    space, believed = _space(study.space, values), _believed(study.prior, prior)
    given = {"prior": believed, "constraints": limits, **part("study")}
    changed = replace(study, space=space, **nested, **given)
    return Loaded(changed, **part("cluster"), store=None if store is None else address(store))


def _believed(prior: Mapping[str, Any], given: Iterable[GivenValue]) -> dict[str, Any]:
    """``prior.NAME = [centre, spread]`` and ``prior.NAME.LEVEL = weight`` laid over beliefs."""
    found = dict(prior)
    levels: dict[str, dict[str, Any]] = {}
    for item in given:
        _, name, *level = item.key
        if level:
            levels.setdefault(name, {})[level[0]] = item.value
        else:
            found[name] = item.value
    return {**found, **levels}


def _space(space: Space, values: Mapping[Key, Any]) -> Space:
    """The space with parameters changed (``space.NAME.FIELD``) and fixed (``space.NAME``)."""
    changes: dict[str, dict[str, Any]] = {}
    fixed: dict[str, Any] = {}
    for (table, *rest), value in values.items():
        if table == "space" and len(rest) == 2:
            changes.setdefault(rest[0], {})[rest[1]] = value
        elif table == "space":
            fixed[rest[0]] = value
    changed = space.modify(**changes) if changes else space
    return changed.fix(**fixed) if fixed else changed


def _with_dots(key: Key, space: Space) -> Key:
    """A key whose parts make up the name of a parameter with dots, such as ``space.optim.lr``."""
    if key[0] in ("space", "prior"):
        for end in range(len(key), 2, -1):
            if (name := ".".join(key[1:end])) in space.parameters:
                return (key[0], name, *key[end:])
    return key


def _space_keys(space: Space) -> list[Key]:
    keys: list[Key] = []
    for name, parameter in space.parameters.items():
        fields = [f for f in parameter.to_json() if f not in ("type", "fixed", "when", "centred")]
        if isinstance(parameter, Real | Integer) and "step" not in fields:
            fields.append("step")
        keys += [("space", name), *(("space", name, field) for field in fields)]
    return keys


def _unknown(setting: GivenValue, space: Space) -> StudyError:
    """The error that a key is none of the settings'; it names the nearest key."""
    if setting.key[0] == "space" and setting.key[1:2] and setting.key[1] not in space.parameters:
        seen, names = setting.key[1], ", ".join(space.names)
        problem = f"no parameter {seen!r}, there are {names}{did_you_mean(seen, space.names)}"
    else:
        known = [".".join(key) for key in (*KEYS, *_space_keys(space))]
        near = did_you_mean(setting.name, known) or f"; there are: {', '.join(known)}"
        problem = f"unknown key {setting.name!r}{near}"
    return StudyError(f"{setting.where}: {problem}")
